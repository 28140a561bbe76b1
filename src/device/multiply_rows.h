/* SPDX-License-Identifier: Apache-2.0
 * The inner loops of multiply_host.c, included once for each scalar and vector length: SCALAR, VECTOR_BYTES, NAME(x),
 * TARGET, an attribute, STREAM(to, vector), a store past the caches, and NARROWER, which does the columns that do not
 * fill a vector, are defined by then. A row of the result is computed in registers, up to eight vectors of columns at a
 * time, and written once. No include guard. */

typedef SCALAR NAME(vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(SCALAR)), may_alias));

#define LANES ((int64_t)(VECTOR_BYTES / sizeof(SCALAR)))

static inline __attribute__((always_inline)) TARGET void NAME(put)(const tli_multiply_args_t *args, SCALAR *c,
                                                                   NAME(vector) sum)
{
    NAME(vector) *to = (NAME(vector) *)c;
    if (args->beta != 0)
        sum += (SCALAR)args->beta * *to;
    if (args->is_far)
        STREAM(c, sum);
    else
        *to = sum;
}

/* sum += values[e] * its row of B. */
static inline __attribute__((always_inline)) TARGET void NAME(add)(const tli_multiply_args_t *args, int64_t e,
                                                                   int64_t column, const int num, NAME(vector) * sum)
{
    const SCALAR *row = (const SCALAR *)args->b + column + args->block->col[e] * args->b_stride;
    const SCALAR value = ((const SCALAR *)args->block->values)[e];
    TLI_UNROLL
    for (int j = 0; j < num; j++)
        sum[j] += value * *(const NAME(vector) *)(row + j * LANES);
}

/* One row of the result, `num` vectors of its columns from a first one on. Where these are few, nonzeros in turns go to
 * two sums, as an addition takes longer than what it adds takes to come. */
static inline __attribute__((always_inline)) TARGET void NAME(row)(const tli_multiply_args_t *args, int64_t i,
                                                                   int64_t column, const int num)
{
    const tli_sparse_t *block = args->block;
    const int64_t end = block->row_ptr[i + 1], last = block->row_ptr[args->last] - 1;
    SCALAR *c = (SCALAR *)args->c + tli_multiply_row(args, i) * args->c_stride + column;
    NAME(vector) sum[8] = {{0}}, other[2] = {{0}};
    int64_t e = block->row_ptr[i];
    if (num <= 2)
        tli_fetch_nonzeros(block, e, sizeof(SCALAR));
    for (; num <= 2 && e + 1 < end; e += 2) {
        NAME(add)(args, e, column, num, sum);
        NAME(add)(args, e + 1, column, num, other);
    }
    for (; e < end; e++) {
        if (num == 8)
            tli_fetch_row((const SCALAR *)args->b + column +
                              block->col[e + TLI_ROWS_AHEAD < last ? e + TLI_ROWS_AHEAD : last] * args->b_stride,
                          8 * VECTOR_BYTES);
        NAME(add)(args, e, column, num, sum);
    }
    for (int j = 0; num <= 2 && j < num; j++)
        sum[j] += other[j];
    TLI_UNROLL
    for (int j = 0; j < num; j++)
        NAME(put)(args, c + j * LANES, (SCALAR)args->alpha * sum[j]);
}

#include "src/device/multiply_passes.h"

#undef LANES
#undef SCALAR
#undef VECTOR_BYTES
#undef NAME
#undef TARGET
#undef STREAM
#undef NARROWER
