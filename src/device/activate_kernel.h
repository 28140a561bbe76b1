/* SPDX-License-Identifier: Apache-2.0
 * What becomes of one scalar of a layer, alike on host and GPU; and what one thread of a kernel does, as
 * product_kernel.h has it for products. */
#ifndef TLI_ACTIVATE_KERNEL_H
#define TLI_ACTIVATE_KERNEL_H

#include <math.h>

#include "src/device/activate.h"
#include "src/device/product_kernel.h"

/* A layer without a limit is one with an infinite limit, and one without an activation has no floor either. */
TLI_INLINE double tli_activate_floor(const tli_activate_args_t *args)
{
    return args->activation == TULLE_ACTIVATION_NONE ? -INFINITY : 0;
}

TLI_INLINE double tli_activate_limit(const tli_activate_args_t *args)
{
    return args->activation == TULLE_ACTIVATION_CLAMP ? args->limit : INFINITY;
}

/** The limit of halves, as it is stored. */
TLI_INLINE float tli_activate_stored_limit(const tli_activate_args_t *args, int is_bf16)
{
    return tli_f32_from_half(is_bf16, tli_half_from_f32(is_bf16, (float)tli_activate_limit(args)));
}

TLI_INLINE float tli_activated_f32(float low, float high, int has_sparse_bias, float product, float bias)
{
    float z = has_sparse_bias && product == 0 ? 0 : product + bias;
    z = z < low ? low : z;
    return z > high ? high : z;
}

TLI_INLINE double tli_activated_f64(double low, double high, int has_sparse_bias, double product, double bias)
{
    double z = has_sparse_bias && product == 0 ? 0 : product + bias;
    z = z < low ? low : z;
    return z > high ? high : z;
}

/** Whether the gradient goes through. It does at a NaN, so that it is not lost on the way back. */
TLI_INLINE int tli_rises_f32(float low, float high, float y)
{
    return !(y <= low || y >= high);
}

TLI_INLINE int tli_rises_f64(double low, double high, double y)
{
    return !(y <= low || y >= high);
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

/** @p n scalars of an item of a row. */
TLI_INLINE void tli_activate_item(const tli_activate_args_t *a, tulle_datatype_t datatype, int n, int64_t row,
                                  tli_item_t *item)
{
    const int is_bf16 = datatype == TULLE_BF16, is_sparse = a->has_sparse_bias;
    const double low = tli_activate_floor(a), high = tli_activate_limit(a);
    for (int j = 0; j < n; j++) {
        if (datatype == TULLE_F64)
            item->f64[j] = tli_activated_f64(low, high, is_sparse, item->f64[j], ((const double *)a->bias)[row]);
        else if (datatype == TULLE_F32)
            item->f32[j] =
                tli_activated_f32((float)low, (float)high, is_sparse, item->f32[j], ((const float *)a->bias)[row]);
        else
            item->u16[j] = tli_half_from_f32(
                is_bf16, tli_activated_f32((float)low, (float)high, is_sparse, tli_f32_from_half(is_bf16, item->u16[j]),
                                           tli_f32_from_half(is_bf16, ((const uint16_t *)a->bias)[row])));
    }
}

TLI_INLINE void tli_activate_thread(const tli_activate_args_t *a, tulle_datatype_t datatype, int n, int64_t thread,
                                    int64_t num_threads)
{
    const int size = tli_scalar_bytes(datatype), bytes = n * size;
    int64_t num_pieces = a->width / n, piece = 0;
    for (int64_t task = thread; task < a->num_rows * num_pieces; task += num_threads) {
        int64_t row = tli_row_of_task(task, num_pieces, &piece);
        unsigned char *y = (unsigned char *)a->y + (row * a->y_stride + piece * n) * size;
        tli_item_t item = tli_load(y, bytes, bytes);
        tli_activate_item(a, datatype, n, row, &item);
        tli_store(y, &item, bytes, bytes);
    }
}

/** Gradients of an item, in place; their sum. */
TLI_INLINE double tli_activate_back_item(const tli_activate_args_t *a, tulle_datatype_t datatype, int n,
                                         const tli_item_t *y, tli_item_t *gradient)
{
    const int is_bf16 = datatype == TULLE_BF16, is_half = datatype == TULLE_F16 || is_bf16;
    const double low = tli_activate_floor(a), high = tli_activate_limit(a);
    const float high_f32 = is_half ? tli_activate_stored_limit(a, is_bf16) : (float)high;
    double sum = 0;
    for (int j = 0; j < n; j++) {
        if (datatype == TULLE_F64) {
            gradient->f64[j] = tli_rises_f64(low, high, y->f64[j]) ? gradient->f64[j] : 0;
            sum += gradient->f64[j];
        } else if (datatype == TULLE_F32) {
            gradient->f32[j] = tli_rises_f32((float)low, high_f32, y->f32[j]) ? gradient->f32[j] : 0;
            sum += (double)gradient->f32[j];
        } else {
            float at = tli_f32_from_half(is_bf16, y->u16[j]);
            gradient->u16[j] = tli_rises_f32((float)low, high_f32, at) ? gradient->u16[j] : 0;
            sum += (double)tli_f32_from_half(is_bf16, gradient->u16[j]);
        }
    }
    return sum;
}

/** One lane's share of a row; the sum over it is for its bias. */
TLI_INLINE double tli_activate_back_lane(const tli_activate_back_args_t *a, tulle_datatype_t datatype, int n,
                                         int64_t row, int64_t lane, int64_t num_lanes)
{
    const tli_activate_args_t *forward = &a->forward;
    const int size = tli_scalar_bytes(datatype), bytes = n * size;
    double sum = 0;
    for (int64_t k = lane * n; k < forward->width; k += num_lanes * n) {
        const unsigned char *y = (const unsigned char *)forward->y + (row * forward->y_stride + k) * size;
        tli_item_t at = tli_load(y, bytes, bytes);
        tli_item_t gradient = tli_load((const unsigned char *)a->dy + (row * a->dy_stride + k) * size, bytes, bytes);
        sum += tli_activate_back_item(forward, datatype, n, &at, &gradient);
        tli_store((unsigned char *)a->dz + (row * a->dz_stride + k) * size, &gradient, bytes, bytes);
    }
    return sum;
}

#endif
