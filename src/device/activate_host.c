/* SPDX-License-Identifier: Apache-2.0
 * Bias and activation in host memory, one row at a time. */
#include "src/device/activate.h"

#include <math.h>

#include "src/device/half.h"

/* A layer without a limit is one with an infinite limit, and one without an activation has no floor either. */
static double floor_of(const tli_activate_args_t *args)
{
    return args->activation == TULLE_ACTIVATION_NONE ? -INFINITY : 0;
}

static double limit_of(const tli_activate_args_t *args)
{
    return args->activation == TULLE_ACTIVATION_CLAMP ? args->limit : INFINITY;
}

static void activate_f32(const tli_activate_args_t *args, float bias, float *y)
{
    float low = (float)floor_of(args), high = (float)limit_of(args);
    for (int64_t k = 0; k < args->width; k++) {
        float z = args->has_sparse_bias && y[k] == 0 ? 0 : y[k] + bias;
        z = z < low ? low : z;
        y[k] = z > high ? high : z;
    }
}

static void activate_f64(const tli_activate_args_t *args, double bias, double *y)
{
    double low = floor_of(args), high = limit_of(args);
    for (int64_t k = 0; k < args->width; k++) {
        double z = args->has_sparse_bias && y[k] == 0 ? 0 : y[k] + bias;
        z = z < low ? low : z;
        y[k] = z > high ? high : z;
    }
}

static void activate_half(const tli_activate_args_t *args, uint16_t bias, uint16_t *y)
{
    const int is_bf16 = args->datatype == TULLE_BF16;
    float low = (float)floor_of(args), high = (float)limit_of(args), b = tli_f32_from_half(is_bf16, bias);
    for (int64_t k = 0; k < args->width; k++) {
        float product = tli_f32_from_half(is_bf16, y[k]);
        float z = args->has_sparse_bias && product == 0 ? 0 : product + b;
        z = z < low ? low : z;
        y[k] = tli_half_from_f32(is_bf16, z > high ? high : z);
    }
}

void tli_activate(const tli_activate_args_t *args, const void *bias, void *y, int64_t y_stride)
{
    for (int64_t row = 0; row < args->num_rows; row++) {
        if (args->datatype == TULLE_F32)
            activate_f32(args, ((const float *)bias)[row], (float *)y + row * y_stride);
        else if (args->datatype == TULLE_F64)
            activate_f64(args, ((const double *)bias)[row], (double *)y + row * y_stride);
        else
            activate_half(args, ((const uint16_t *)bias)[row], (uint16_t *)y + row * y_stride);
    }
}

/* A NaN in y lets the gradient through, so that it is not lost on the way back. Returns the sum over dz. */
static double back_f32(const tli_activate_args_t *args, const float *y, const float *dy, float *dz)
{
    float low = (float)floor_of(args), high = (float)limit_of(args);
    double sum = 0;
    for (int64_t k = 0; k < args->width; k++) {
        dz[k] = y[k] <= low || y[k] >= high ? 0 : dy[k];
        sum += (double)dz[k];
    }
    return sum;
}

static double back_f64(const tli_activate_args_t *args, const double *y, const double *dy, double *dz)
{
    double low = floor_of(args), high = limit_of(args);
    double sum = 0;
    for (int64_t k = 0; k < args->width; k++) {
        dz[k] = y[k] <= low || y[k] >= high ? 0 : dy[k];
        sum += dz[k];
    }
    return sum;
}

/* The limit as it is stored. */
static double back_half(const tli_activate_args_t *args, const uint16_t *y, const uint16_t *dy, uint16_t *dz)
{
    const int is_bf16 = args->datatype == TULLE_BF16;
    float low = (float)floor_of(args);
    float high = tli_f32_from_half(is_bf16, tli_half_from_f32(is_bf16, (float)limit_of(args)));
    double sum = 0;
    for (int64_t k = 0; k < args->width; k++) {
        float at = tli_f32_from_half(is_bf16, y[k]);
        dz[k] = at <= low || at >= high ? 0 : dy[k];
        sum += (double)tli_f32_from_half(is_bf16, dz[k]);
    }
    return sum;
}

void tli_activate_back(const tli_activate_args_t *args, const void *y, int64_t y_stride, const void *dy,
                       int64_t dy_stride, void *dz, int64_t dz_stride, void *dbias)
{
    for (int64_t row = 0; row < args->num_rows; row++) {
        if (args->datatype == TULLE_F32) {
            double sum = back_f32(args, (const float *)y + row * y_stride, (const float *)dy + row * dy_stride,
                                  (float *)dz + row * dz_stride);
            if (dbias != NULL)
                ((float *)dbias)[row] = (float)sum;
        } else if (args->datatype == TULLE_F64) {
            double sum = back_f64(args, (const double *)y + row * y_stride, (const double *)dy + row * dy_stride,
                                  (double *)dz + row * dz_stride);
            if (dbias != NULL)
                ((double *)dbias)[row] = sum;
        } else {
            double sum = back_half(args, (const uint16_t *)y + row * y_stride, (const uint16_t *)dy + row * dy_stride,
                                   (uint16_t *)dz + row * dz_stride);
            if (dbias != NULL)
                ((uint16_t *)dbias)[row] = tli_half_from_f32(args->datatype == TULLE_BF16, (float)sum);
        }
    }
}
