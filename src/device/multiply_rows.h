/* SPDX-License-Identifier: Apache-2.0
 * The inner loops of multiply_host.c, included once for each scalar and vector length: SCALAR, VECTOR_BYTES, NAME(x),
 * TARGET, an attribute, and NARROWER, which does the columns that do not fill a vector, are defined by then. A row of
 * the result is computed in registers, up to eight vectors of columns at a time, and written once. No include guard. */

typedef SCALAR NAME(vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(SCALAR)), may_alias));

#define LANES ((int64_t)(VECTOR_BYTES / sizeof(SCALAR)))

/* One row of the result, `num` vectors of its columns from a first one on. */
static inline __attribute__((always_inline)) TARGET void NAME(row)(const tli_multiply_args_t *args, int64_t i,
                                                                   int64_t column, const int num)
{
    const tli_sparse_t *block = args->block;
    const SCALAR *values = block->values, *b = (const SCALAR *)args->b + column;
    const SCALAR alpha = (SCALAR)args->alpha, beta = (SCALAR)args->beta;
    SCALAR *c = (SCALAR *)args->c + tli_multiply_row(args, i) * args->c_stride + column;
    NAME(vector) sum[8] = {{0}};
    for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++) {
        const SCALAR *row = b + block->col[e] * args->b_stride;
        TLI_UNROLL
        for (int j = 0; j < num; j++)
            sum[j] += values[e] * *(const NAME(vector) *)(row + j * LANES);
    }
    TLI_UNROLL
    for (int j = 0; j < num; j++) {
        NAME(vector) *to = (NAME(vector) *)(c + j * LANES);
        *to = args->beta == 0 ? alpha * sum[j] : alpha * sum[j] + beta * *to;
    }
}

#include "src/device/multiply_passes.h"

#undef LANES
#undef SCALAR
#undef VECTOR_BYTES
#undef NAME
#undef TARGET
#undef NARROWER
