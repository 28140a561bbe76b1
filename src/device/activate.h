/* SPDX-License-Identifier: Apache-2.0
 * Bias and activation of a layer, there and back: in host memory by activate_host.c, in device memory by kernels of
 * pack.cu, or device_none.c in a build without CUDA. What becomes of one scalar is in activate_kernel.h, for both. */
#ifndef TLI_ACTIVATE_H
#define TLI_ACTIVATE_H

#include <stdint.h>

#include <tulle/layer.h>

/** y = activation(y + bias), where y is a product. */
typedef struct tli_activate_args {
    tulle_datatype_t datatype; /* f64, f32, f16 or bf16; the last two are computed in f32 and rounded */
    tulle_activation_t activation;
    double limit;        /* of CLAMP */
    int has_sparse_bias; /* the bias leaves zeros alone */
    int64_t num_rows, width;
    const void *bias; /* [num_rows] */
    void *y;
    int64_t y_stride; /* [scalars] */
} tli_activate_args_t;

void tli_activate(const tli_activate_args_t *args);

/** Gradients with respect to the product: dz = dy where the activation rises at y, else 0. */
typedef struct tli_activate_back_args {
    tli_activate_args_t forward; /* with y as tli_activate() left it; only read, and its bias is not */
    const void *dy;              /* may be dz, with an equal stride */
    int64_t dy_stride;           /* [scalars] */
    void *dz;
    int64_t dz_stride; /* [scalars] */
    void *dbias;       /* [num_rows] sums over dz, summed up in f64; NULL = not wanted */
} tli_activate_back_args_t;

void tli_activate_back(const tli_activate_back_args_t *args);

/** The same as kernels. Both return when the kernel is on the stream; the structs are read before.
 * @param[in] stream cudaStream_t */
tulle_status_t tli_activate_launch(const tli_activate_args_t *args, void *stream);
tulle_status_t tli_activate_back_launch(const tli_activate_back_args_t *args, void *stream);

/** Scalars that a thread of them takes at a time: 16 bytes or one scalar. */
int tli_activate_scalars(const tli_activate_args_t *args);
int tli_activate_back_scalars(const tli_activate_back_args_t *args);

#endif
