/* SPDX-License-Identifier: Apache-2.0
 * Sparse block times dense rows: what multiply_host.c implements for host memory. Plain C, so that device code can
 * implement the same. */
#ifndef TLI_MULTIPLY_H
#define TLI_MULTIPLY_H

#include <stdint.h>

#include <tulle/types.h>

#include "src/arena.h"

/** A sparse block between local rows, row after row. */
typedef struct tli_sparse {
    int64_t num_rows; /* that are listed */
    int64_t num_cols;
    int32_t *row;     /* [num_rows] row of the result; NULL = 0, 1, 2, ... */
    int32_t *sum_row; /* [num_rows] likewise, where the result is kept as sums: see tli_multiply_args_t */
    int64_t *row_ptr; /* [num_rows + 1] */
    int32_t *col;     /* [row_ptr[num_rows]] row of the dense operand */
    void *values;     /* [row_ptr[num_rows]] of the type of sums */
    int64_t *entry;   /* [row_ptr[num_rows]] where the value comes from, in the list that values are given in */
    /* Columns by the first row that uses them, so that rows of the dense operand can be asked for early. */
    int64_t *fresh_ptr; /* [num_rows + 1] NULL: they are not */
    int32_t *fresh;     /* [fresh_ptr[num_rows]] */
} tli_sparse_t;

/** What sums of scalars of a type are kept in: f32 for f16 and bf16, which are rounded once in the end. */
static inline tulle_datatype_t tli_sum_type(tulle_datatype_t datatype)
{
    return datatype == TULLE_F64 ? TULLE_F64 : TULLE_F32;
}

/** Take the values of a block from the list that its entries point into, NULL: from one in the block's order.
 * @param[in] type of that list */
void tli_sparse_fill(tli_sparse_t *block, const void *values, tulle_datatype_t type);

/** List the columns by the first row that uses them. */
tulle_status_t tli_sparse_list_fresh(tli_arena_t *arena, tli_sparse_t *block);

/** Whether the rows of B that a block uses are larger than so many bytes. @param[in] width [scalars] */
static inline int tli_sparse_is_b_far(const tli_sparse_t *block, tulle_datatype_t datatype, int64_t width,
                                      int64_t far_bytes)
{
    return block->fresh_ptr != NULL &&
           block->fresh_ptr[block->num_rows] * width * (int64_t)tulle_datatype_size(datatype) >= far_bytes;
}

/** C[row] = alpha * sum of values * B[col] + beta * C[row], for listed rows `first` to `last` - 1. */
typedef struct tli_multiply_args {
    const tli_sparse_t *block;
    int64_t first, last;
    tulle_datatype_t datatype; /* of B and C: f64, f32, f16 or bf16 */
    int c_is_sum;              /* [bool] C is of the type of sums, and its rows are those of sum_row */
    int64_t width;             /* [scalars] */
    const void *b;
    int64_t b_stride; /* [scalars] */
    void *c;
    int64_t c_stride;   /* [scalars] */
    double alpha, beta; /* beta 0: C is not read */
    int is_b_far;       /* [bool] rows of B that the block uses are larger than caches are: they are asked for early */
    int is_far;         /* [bool] C is larger than caches are: with beta 0, lines of it are written past them */
    int num_threads;    /* 0 and 1: the caller alone */
} tli_multiply_args_t;

void tli_multiply(const tli_multiply_args_t *args);

/** Row of C that a listed one is. */
static inline int64_t tli_multiply_row(const tli_multiply_args_t *args, int64_t i)
{
    const int32_t *row = args->c_is_sum ? args->block->sum_row : args->block->row;
    return row != NULL ? row[i] : i;
}

/** C[row[i]] = sums[i] + beta * C[row[i]], rounded once. */
typedef struct tli_round_args {
    tulle_datatype_t datatype; /* of C: f16 or bf16 */
    int64_t width;             /* [scalars] */
    int64_t num_rows;
    const int32_t *row; /* [num_rows] */
    const void *sums;   /* [num_rows * width] of f32 */
    void *c;
    int64_t c_stride; /* [scalars] */
    double beta;      /* 0: C is not read */
} tli_round_args_t;

void tli_multiply_round(const tli_round_args_t *args);

/** [bytes] of B or C, on one rank of those on a machine, from which on it is far. */
int64_t tli_multiply_far_bytes(int num_ranks);

/** Threads for one rank of those on a machine: as many as wanted, or, if that is 0, its share of the processors. */
int tli_multiply_num_threads(int wanted, int num_ranks);

/** values_out[entry] = alpha * C[row] . B[col] for the nonzeros of all listed rows; C is only read. */
void tli_multiply_sampled(const tli_multiply_args_t *args, void *values_out);

#endif
