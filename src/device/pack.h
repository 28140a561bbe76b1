/* SPDX-License-Identifier: Apache-2.0
 * Moving and combining rows by index: what pack_host.c implements for host memory. Plain C, so that device code can
 * implement the same. */
#ifndef TLI_PACK_H
#define TLI_PACK_H

#include <stdint.h>

#include <tulle/types.h>

/** Rows of one field: row i begins at base + i * stride_bytes. */
typedef struct tli_rows {
    unsigned char *base;
    int64_t stride_bytes;
} tli_rows_t;

/** The rows from a first one on. */
static inline tli_rows_t tli_rows_from(const tli_rows_t *rows, int64_t first)
{
    return (tli_rows_t){rows->base + first * rows->stride_bytes, rows->stride_bytes};
}

/** Copy rows: target row target_index[i] = source row source_index[i]. A NULL index stands for 0, 1, 2, ... */
typedef struct tli_copy_args {
    tli_rows_t target, source;
    const int64_t *target_index; /* [num_rows] or NULL */
    const int64_t *source_index; /* [num_rows] or NULL */
    int64_t num_rows;
    int64_t row_bytes;
} tli_copy_args_t;

void tli_copy_rows(const tli_copy_args_t *args);

/** Combine rows: target row target_index[i] = op(it, source row source_index[i]), in the order of i; not for f16 and
 * bf16, which would be rounded each time. @param[in] width [scalars] */
void tli_combine_rows(const tli_copy_args_t *args, tulle_datatype_t datatype, tulle_op_t op, int64_t width);

/** Combine rows: target row t = op over its entries in their order, and over its old value first if keeps_target. f16
 * and bf16 are combined in f32 and rounded once. */
typedef struct tli_reduce_args {
    tli_rows_t target;
    const int64_t *target_index; /* [num_rows] or NULL */
    int64_t num_rows;
    int keeps_target;          /* 0: every target has at least one entry, its old value is not read */
    const int64_t *entry_ptr;  /* [num_rows + 1] */
    const int64_t *entry_area; /* [entries] index into areas */
    const int64_t *entry_row;  /* [entries] row of that area */
    const tli_rows_t *areas;
    tulle_datatype_t datatype;
    tulle_op_t op;
    int64_t width; /* [scalars] */
} tli_reduce_args_t;

void tli_reduce_rows(const tli_reduce_args_t *args);

/** Whether a datatype knows an op. */
int tli_has_reduction(tulle_datatype_t datatype, tulle_op_t op);

#endif
