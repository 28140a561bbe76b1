/* SPDX-License-Identifier: Apache-2.0
 * Sparse block times dense rows, in host memory. */
#include "src/device/multiply.h"

static void multiply_f32(const tli_multiply_args_t *args)
{
    const tli_sparse_t *block = args->block;
    const float *values = block->values;
    for (int64_t i = args->first; i < args->last; i++) {
        float *c = (float *)args->c + (block->row != NULL ? block->row[i] : i) * args->c_stride;
        for (int64_t k = 0; k < args->width; k++)
            c[k] = args->beta == 0 ? 0 : (float)args->beta * c[k];
        for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++) {
            const float *b = (const float *)args->b + block->col[e] * args->b_stride;
            for (int64_t k = 0; k < args->width; k++)
                c[k] += (float)args->alpha * values[e] * b[k];
        }
    }
}

static void multiply_f64(const tli_multiply_args_t *args)
{
    const tli_sparse_t *block = args->block;
    const double *values = block->values;
    for (int64_t i = args->first; i < args->last; i++) {
        double *c = (double *)args->c + (block->row != NULL ? block->row[i] : i) * args->c_stride;
        for (int64_t k = 0; k < args->width; k++)
            c[k] = args->beta == 0 ? 0 : args->beta * c[k];
        for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++) {
            const double *b = (const double *)args->b + block->col[e] * args->b_stride;
            for (int64_t k = 0; k < args->width; k++)
                c[k] += args->alpha * values[e] * b[k];
        }
    }
}

void tli_multiply(const tli_multiply_args_t *args)
{
    if (args->datatype == TULLE_F32)
        multiply_f32(args);
    else
        multiply_f64(args);
}

static double dot(const tli_multiply_args_t *args, int64_t row, int64_t col)
{
    double sum = 0;
    if (args->datatype == TULLE_F32) {
        const float *b = (const float *)args->b + col * args->b_stride;
        const float *c = (const float *)args->c + row * args->c_stride;
        for (int64_t k = 0; k < args->width; k++)
            sum += (double)b[k] * (double)c[k];
    } else {
        const double *b = (const double *)args->b + col * args->b_stride;
        const double *c = (const double *)args->c + row * args->c_stride;
        for (int64_t k = 0; k < args->width; k++)
            sum += b[k] * c[k];
    }
    return args->alpha * sum;
}

void tli_multiply_sampled(const tli_multiply_args_t *args, void *values_out)
{
    const tli_sparse_t *block = args->block;
    for (int64_t i = args->first; i < args->last; i++) {
        int64_t row = block->row != NULL ? block->row[i] : i;
        for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++) {
            double value = dot(args, row, block->col[e]);
            if (args->datatype == TULLE_F32)
                ((float *)values_out)[block->entry[e]] = (float)value;
            else
                ((double *)values_out)[block->entry[e]] = value;
        }
    }
}
