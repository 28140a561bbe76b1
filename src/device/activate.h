/* SPDX-License-Identifier: Apache-2.0
 * Bias and activation of a layer, there and back: what activate_host.c implements for host memory. Plain C, so that
 * device code can implement the same. */
#ifndef TLI_ACTIVATE_H
#define TLI_ACTIVATE_H

#include <stdint.h>

#include <tulle/layer.h>

typedef struct tli_activate_args {
    tulle_datatype_t datatype; /* f64, f32, f16 or bf16; the last two are computed in f32 and rounded */
    tulle_activation_t activation;
    double limit;        /* of CLAMP */
    int has_sparse_bias; /* the bias leaves zeros alone */
    int64_t num_rows, width;
} tli_activate_args_t;

/** y = activation(y + bias), where y is a product. @param[in] bias [num_rows] @param[in] y_stride [scalars] */
void tli_activate(const tli_activate_args_t *args, const void *bias, void *y, int64_t y_stride);

/**
 * Gradients with respect to the product: dz = dy where the activation rises at y, else 0.
 * @param[in]  y     what tli_activate() left
 * @param[in]  dy    may be dz, with an equal stride
 * @param[out] dbias [num_rows] sums over dz; NULL = not wanted
 */
void tli_activate_back(const tli_activate_args_t *args, const void *y, int64_t y_stride, const void *dy,
                       int64_t dy_stride, void *dz, int64_t dz_stride, void *dbias);

#endif
