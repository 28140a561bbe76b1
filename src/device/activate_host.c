/* SPDX-License-Identifier: Apache-2.0
 * Bias and activation in host memory, one row at a time. */
#include "src/device/activate_kernel.h"

static void activate_f32(const tli_activate_args_t *args, float bias, float *y)
{
    const float low = (float)tli_activate_floor(args), high = (float)tli_activate_limit(args);
    for (int64_t k = 0; k < args->width; k++)
        y[k] = tli_activated_f32(low, high, args->has_sparse_bias, y[k], bias);
}

static void activate_f64(const tli_activate_args_t *args, double bias, double *y)
{
    const double low = tli_activate_floor(args), high = tli_activate_limit(args);
    for (int64_t k = 0; k < args->width; k++)
        y[k] = tli_activated_f64(low, high, args->has_sparse_bias, y[k], bias);
}

static void activate_half(const tli_activate_args_t *args, uint16_t bias, uint16_t *y)
{
    const int is_bf16 = args->datatype == TULLE_BF16;
    const float low = (float)tli_activate_floor(args), high = (float)tli_activate_limit(args);
    const float b = tli_f32_from_half(is_bf16, bias);
    for (int64_t k = 0; k < args->width; k++)
        y[k] = tli_half_from_f32(
            is_bf16, tli_activated_f32(low, high, args->has_sparse_bias, tli_f32_from_half(is_bf16, y[k]), b));
}

void tli_activate(const tli_activate_args_t *args)
{
    for (int64_t row = 0; row < args->num_rows; row++) {
        if (args->datatype == TULLE_F32)
            activate_f32(args, ((const float *)args->bias)[row], (float *)args->y + row * args->y_stride);
        else if (args->datatype == TULLE_F64)
            activate_f64(args, ((const double *)args->bias)[row], (double *)args->y + row * args->y_stride);
        else
            activate_half(args, ((const uint16_t *)args->bias)[row], (uint16_t *)args->y + row * args->y_stride);
    }
}

/* Each returns the sum over dz. */
static double back_f32(const tli_activate_args_t *args, const float *y, const float *dy, float *dz)
{
    const float low = (float)tli_activate_floor(args), high = (float)tli_activate_limit(args);
    double sum = 0;
    for (int64_t k = 0; k < args->width; k++) {
        dz[k] = tli_rises_f32(low, high, y[k]) ? dy[k] : 0;
        sum += (double)dz[k];
    }
    return sum;
}

static double back_f64(const tli_activate_args_t *args, const double *y, const double *dy, double *dz)
{
    const double low = tli_activate_floor(args), high = tli_activate_limit(args);
    double sum = 0;
    for (int64_t k = 0; k < args->width; k++) {
        dz[k] = tli_rises_f64(low, high, y[k]) ? dy[k] : 0;
        sum += dz[k];
    }
    return sum;
}

static double back_half(const tli_activate_args_t *args, const uint16_t *y, const uint16_t *dy, uint16_t *dz)
{
    const int is_bf16 = args->datatype == TULLE_BF16;
    const float low = (float)tli_activate_floor(args), high = tli_activate_stored_limit(args, is_bf16);
    double sum = 0;
    for (int64_t k = 0; k < args->width; k++) {
        dz[k] = tli_rises_f32(low, high, tli_f32_from_half(is_bf16, y[k])) ? dy[k] : 0;
        sum += (double)tli_f32_from_half(is_bf16, dz[k]);
    }
    return sum;
}

static double back_row(const tli_activate_back_args_t *args, int64_t row)
{
    const tli_activate_args_t *forward = &args->forward;
    int64_t y = row * forward->y_stride, dy = row * args->dy_stride, dz = row * args->dz_stride;
    if (forward->datatype == TULLE_F32)
        return back_f32(forward, (const float *)forward->y + y, (const float *)args->dy + dy, (float *)args->dz + dz);
    if (forward->datatype == TULLE_F64)
        return back_f64(forward, (const double *)forward->y + y, (const double *)args->dy + dy,
                        (double *)args->dz + dz);
    return back_half(forward, (const uint16_t *)forward->y + y, (const uint16_t *)args->dy + dy,
                     (uint16_t *)args->dz + dz);
}

void tli_activate_back(const tli_activate_back_args_t *args)
{
    for (int64_t row = 0; row < args->forward.num_rows; row++) {
        double sum = back_row(args, row);
        if (args->dbias != NULL)
            tli_store_sum(args->forward.datatype, args->dbias, row, sum);
    }
}
