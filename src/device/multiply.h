/* SPDX-License-Identifier: Apache-2.0
 * Sparse block times dense rows: what multiply_host.c implements for host memory. Plain C, so that device code can
 * implement the same. */
#ifndef TLI_MULTIPLY_H
#define TLI_MULTIPLY_H

#include <stdint.h>

#include <tulle/types.h>

/** A sparse block between local rows, row after row. */
typedef struct tli_sparse {
    int64_t num_rows; /* that are listed */
    int64_t num_cols;
    int32_t *row;     /* [num_rows] row of the result, ascending; NULL = 0, 1, 2, ... */
    int64_t *row_ptr; /* [num_rows + 1] */
    int32_t *col;     /* [row_ptr[num_rows]] row of the dense operand */
    void *values;     /* [row_ptr[num_rows]] */
    int64_t *entry;   /* [row_ptr[num_rows]] where the value comes from, in the list that values are given in */
} tli_sparse_t;

/** C[row] = alpha * sum of values * B[col] + beta * C[row], for listed rows `first` to `last` - 1. */
typedef struct tli_multiply_args {
    const tli_sparse_t *block;
    int64_t first, last;
    tulle_datatype_t datatype; /* f32 or f64 */
    int64_t width;             /* [scalars] */
    const void *b;
    int64_t b_stride; /* [scalars] */
    void *c;
    int64_t c_stride;   /* [scalars] */
    double alpha, beta; /* beta 0: C is not read */
    int num_threads;    /* 0 and 1: the caller alone */
} tli_multiply_args_t;

void tli_multiply(const tli_multiply_args_t *args);

/** Threads for one rank of those on a machine: as many as wanted, or, if that is 0, its share of the processors. */
int tli_multiply_num_threads(int wanted, int num_ranks);

/** values_out[entry] = alpha * C[row] . B[col] for the nonzeros of all listed rows; C is only read. */
void tli_multiply_sampled(const tli_multiply_args_t *args, void *values_out);

#endif
