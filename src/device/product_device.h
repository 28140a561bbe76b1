/* SPDX-License-Identifier: Apache-2.0
 * Sparse block times dense rows on a GPU: kernels of our own in pack.cu, or device_none.c in a build without CUDA. What
 * a thread does is in product_kernel.h. Everything is in memory that the device reaches, but for the structs
 * themselves, which are read before a launch returns. */
#ifndef TLI_PRODUCT_DEVICE_H
#define TLI_PRODUCT_DEVICE_H

#include <stdint.h>

#include "src/device/multiply.h"

/** A sparse block in device memory. */
typedef struct tli_device_sparse {
    int64_t num_rows; /* that are listed */
    int64_t num_cols, num_nonzeros;
    const int32_t *row;        /* [num_rows] row of the result; NULL = 0, 1, 2, ... */
    const int64_t *row_ptr;    /* [num_rows + 1] */
    const int32_t *row_ptr_32; /* [num_rows + 1] the same, for cuSPARSE; NULL: there are too many nonzeros for it */
    const int32_t *col;        /* [num_nonzeros] row of the dense operand */
    const void *values;        /* [num_nonzeros] of its datatype */
} tli_device_sparse_t;

/** C[row] = alpha * sum of values * B[col] + beta * C[row] for all listed rows, the nonzeros in their order. */
typedef struct tli_product_args {
    tli_device_sparse_t block;
    tulle_datatype_t datatype; /* of B and of the values: f64, f32, f16 or bf16; C is of the type of sums */
    int64_t width;             /* [scalars] */
    const void *b;
    int64_t b_stride; /* [scalars] */
    void *c;
    int64_t c_stride; /* [scalars] */
    double alpha, beta;
} tli_product_args_t;

/** values_out[entry] = alpha * C[row] . B[col], summed up in f64 and rounded once: tli_multiply_sampled() of rows in
 * device memory. */
typedef struct tli_sampled_args {
    int64_t num_nonzeros;
    const int32_t *row, *col;  /* [num_nonzeros] */
    const int64_t *entry;      /* [num_nonzeros] place in values_out */
    tulle_datatype_t datatype; /* of B, C and values_out: f64, f32, f16 or bf16 */
    int64_t width;             /* [scalars] */
    const void *b;
    int64_t b_stride; /* [scalars] */
    const void *c;
    int64_t c_stride; /* [scalars] */
    double alpha;
    void *values_out;
} tli_sampled_args_t;

/** Scalars of a row that one thread computes: as many as it reads at a time, 16 bytes or one scalar. */
int tli_product_scalars(const tli_product_args_t *args);
int tli_round_scalars(const tli_round_args_t *args);
int tli_sampled_scalars(const tli_sampled_args_t *args);
/** 2^lane_bits neighbouring threads, a warp at most, share a row of so many scalars in kernels that sum it up. */
int tli_sum_lane_bits(int64_t width, int num_scalars);
/** Blocks of TLI_BLOCK_THREADS for so many rows, cut so; 0 when there is nothing to do. */
int64_t tli_product_blocks(int64_t num_rows, int64_t width, int num_scalars);

/** All return when the kernel is on the stream; nothing is launched for nothing to do. @param[in] stream cudaStream_t
 */
tulle_status_t tli_product_launch(const tli_product_args_t *args, void *stream);
/** As tli_multiply_round(); its list of rows may be NULL: 0, 1, 2, ... */
tulle_status_t tli_round_rows_launch(const tli_round_args_t *args, void *stream);
tulle_status_t tli_sampled_launch(const tli_sampled_args_t *args, void *stream);

#endif
