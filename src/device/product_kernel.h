/* SPDX-License-Identifier: Apache-2.0
 * What one thread does in a product of a sparse block and dense rows, as pack_kernel.h has it for rows that move: in C
 * too, and alike on GPU and host. Neighbouring threads take neighbouring scalars of a row, so that rows of B are read
 * in whole lines; each goes through the row's nonzeros in their order, so that sums are the same in every run. */
#ifndef TLI_PRODUCT_KERNEL_H
#define TLI_PRODUCT_KERNEL_H

#include "src/device/pack_kernel.h"
#include "src/device/product_device.h"

#define TLI_MOST_SCALARS 8 /* of a thread: 16 bytes of halves */

TLI_INLINE int64_t tli_product_row(const int32_t *rows, int64_t i)
{
    return rows != NULL ? rows[i] : i;
}

/** Scalar e of a list of f32, f16 or bf16. */
TLI_INLINE float tli_product_f32_at(tulle_datatype_t datatype, const void *list, int64_t e)
{
    if (datatype == TULLE_F32)
        return ((const float *)list)[e];
    return tli_f32_from_half(datatype == TULLE_BF16, ((const uint16_t *)list)[e]);
}

/** @p n scalars of listed row @p i, from column @p k on. */
TLI_INLINE void tli_product_f32(const tli_product_args_t *a, tulle_datatype_t datatype, int n, int64_t i, int64_t k)
{
    const tli_device_sparse_t *block = &a->block;
    const int size = datatype == TULLE_F32 ? 4 : 2, bytes = n * size;
    float sums[TLI_MOST_SCALARS] = {0};
    float *c = (float *)a->c + tli_product_row(block->row, i) * a->c_stride + k;
    for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++) {
        const unsigned char *b = (const unsigned char *)a->b + (block->col[e] * a->b_stride + k) * size;
        tli_item_t item = tli_load(b, bytes, bytes);
        float value = tli_product_f32_at(datatype, block->values, e);
        for (int j = 0; j < n; j++)
            sums[j] += value * tli_product_f32_at(datatype, &item, j);
    }
    for (int j = 0; j < n; j++)
        c[j] = (float)a->alpha * sums[j] + (a->beta == 0 ? 0 : (float)a->beta * c[j]);
}

TLI_INLINE void tli_product_f64(const tli_product_args_t *a, int n, int64_t i, int64_t k)
{
    const tli_device_sparse_t *block = &a->block;
    const int bytes = n * 8;
    double sums[2] = {0};
    double *c = (double *)a->c + tli_product_row(block->row, i) * a->c_stride + k;
    for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++) {
        const unsigned char *b = (const unsigned char *)a->b + (block->col[e] * a->b_stride + k) * 8;
        tli_item_t item = tli_load(b, bytes, bytes);
        double value = ((const double *)block->values)[e];
        for (int j = 0; j < n; j++)
            sums[j] += value * item.f64[j];
    }
    for (int j = 0; j < n; j++)
        c[j] = a->alpha * sums[j] + (a->beta == 0 ? 0 : a->beta * c[j]);
}

TLI_INLINE void tli_product_thread(const tli_product_args_t *a, tulle_datatype_t datatype, int n, int64_t thread,
                                   int64_t num_threads)
{
    int64_t num_pieces = a->width / n, piece = 0;
    for (int64_t task = thread; task < a->block.num_rows * num_pieces; task += num_threads) {
        int64_t i = tli_row_of_task(task, num_pieces, &piece);
        if (datatype == TULLE_F64)
            tli_product_f64(a, n, i, piece * n);
        else
            tli_product_f32(a, datatype, n, i, piece * n);
    }
}

/** Of f16 and bf16: C = sums + beta C, rounded once. */
TLI_INLINE void tli_round_thread(const tli_round_args_t *a, tulle_datatype_t datatype, int n, int64_t thread,
                                 int64_t num_threads)
{
    const int is_bf16 = datatype == TULLE_BF16, bytes = n * 2;
    int64_t num_pieces = a->width / n, piece = 0;
    for (int64_t task = thread; task < a->num_rows * num_pieces; task += num_threads) {
        int64_t i = tli_row_of_task(task, num_pieces, &piece);
        const float *sums = (const float *)a->sums + i * a->width + piece * n;
        unsigned char *c =
            (unsigned char *)a->c + (tli_product_row(a->row, i) * a->c_stride + piece * n) * (int64_t)sizeof(uint16_t);
        tli_item_t item = {{{0, 0}}};
        if (a->beta != 0)
            item = tli_load(c, bytes, bytes);
        for (int j = 0; j < n; j++) {
            float old = a->beta == 0 ? 0 : (float)a->beta * tli_f32_from_half(is_bf16, item.u16[j]);
            item.u16[j] = tli_half_from_f32(is_bf16, sums[j] + old);
        }
        tli_store(c, &item, bytes, bytes);
    }
}

/* --- inner products, and other sums over a row -------------------------------------------------------------------- */

TLI_INLINE int tli_scalar_bytes(tulle_datatype_t datatype)
{
    return datatype == TULLE_F64 ? 8 : datatype == TULLE_F32 ? 4 : 2;
}

/** Scalar @p at of a list, from a sum in f64. */
TLI_INLINE void tli_store_sum(tulle_datatype_t datatype, void *list, int64_t at, double sum)
{
    if (datatype == TULLE_F64)
        ((double *)list)[at] = sum;
    else if (datatype == TULLE_F32)
        ((float *)list)[at] = (float)sum;
    else
        ((uint16_t *)list)[at] = tli_half_from_f32(datatype == TULLE_BF16, (float)sum);
}

/** What one of the lanes that share nonzero @p e adds to its inner product. */
TLI_INLINE double tli_sampled_lane(const tli_sampled_args_t *a, tulle_datatype_t datatype, int n, int64_t e,
                                   int64_t lane, int64_t num_lanes)
{
    const int size = tli_scalar_bytes(datatype), bytes = n * size;
    const unsigned char *b = (const unsigned char *)a->b + a->col[e] * a->b_stride * size;
    const unsigned char *c = (const unsigned char *)a->c + a->row[e] * a->c_stride * size;
    double sum = 0;
    for (int64_t k = lane * n; k < a->width; k += num_lanes * n) {
        tli_item_t left = tli_load(b + k * size, bytes, bytes), right = tli_load(c + k * size, bytes, bytes);
        for (int j = 0; j < n; j++)
            sum += datatype == TULLE_F64 ? left.f64[j] * right.f64[j]
                                         : (double)tli_product_f32_at(datatype, &left, j) *
                                               (double)tli_product_f32_at(datatype, &right, j);
    }
    return sum;
}

TLI_INLINE void tli_sampled_store(const tli_sampled_args_t *a, tulle_datatype_t datatype, int64_t e, double sum)
{
    tli_store_sum(datatype, a->values_out, a->entry[e], a->alpha * sum);
}

#endif
