/* SPDX-License-Identifier: Apache-2.0
 * The inner loops of multiply_half.c, included once for each datatype and vector length: VECTOR, of f32, NAME(x),
 * TARGET, an attribute, WIDEN and ROUND, its conversions, and NARROWER, which does the columns that do not fill one,
 * are defined by then. As multiply_rows.h, but that scalars are widened when read and sums, of f32, are rounded when
 * written. No include guard. */

#define LANES ((int64_t)(sizeof(VECTOR) / sizeof(float)))

static inline __attribute__((always_inline)) TARGET void NAME(put)(const tli_multiply_args_t *args, int64_t at,
                                                                   VECTOR sum)
{
    const float beta = (float)args->beta;
    VECTOR *whole = (VECTOR *)((float *)args->c + at);
    uint16_t *half = (uint16_t *)args->c + at;
    if (beta != 0)
        sum += beta * (args->c_is_sum ? *whole : WIDEN(half));
    if (args->c_is_sum)
        *whole = sum;
    else
        ROUND(sum, half);
}

/* One row of the result, `num` vectors of its columns from a first one on. */
static inline __attribute__((always_inline)) TARGET void NAME(row)(const tli_multiply_args_t *args, int64_t i,
                                                                   int64_t column, const int num)
{
    const tli_sparse_t *block = args->block;
    const float *values = block->values, alpha = (float)args->alpha;
    const uint16_t *b = (const uint16_t *)args->b + column;
    const int64_t c = tli_multiply_row(args, i) * args->c_stride + column;
    VECTOR sum[8] = {{0}};
    for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++) {
        const uint16_t *row = b + block->col[e] * args->b_stride;
        TLI_UNROLL
        for (int j = 0; j < num; j++)
            sum[j] += values[e] * WIDEN(row + j * LANES);
    }
    TLI_UNROLL
    for (int j = 0; j < num; j++)
        NAME(put)(args, c + j * LANES, alpha * sum[j]);
}

#include "src/device/multiply_passes.h"

/* One row of sums, to where it begins in C. */
static TARGET void NAME(round)(const tli_multiply_args_t *args, const float *sums, int64_t at)
{
    int64_t k = 0;
    for (; k + LANES <= args->width; k += LANES)
        NAME(put)(args, at + k, *(const VECTOR *)(sums + k));
    for (; k < args->width; k++)
        put(args, at + k, sums[k]);
}

static const half_loops_t NAME(loops) = {NAME(rows), NAME(round)};

#undef LANES
#undef VECTOR
#undef NAME
#undef TARGET
#undef WIDEN
#undef ROUND
#undef NARROWER
