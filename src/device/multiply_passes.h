/* SPDX-License-Identifier: Apache-2.0
 * All columns of some rows of the result, as multiply_rows.h and multiply_half_rows.h do them: included by both, which
 * define LANES, and NAME(row) for up to eight vectors of columns of one row. No include guard. */

/* Columns `column` to `end` - 1 of rows, `num` vectors at a time. */
static inline __attribute__((always_inline)) TARGET void NAME(pass)(const tli_multiply_args_t *args, int64_t first,
                                                                    int64_t last, int64_t column, int64_t end,
                                                                    const int num, const int asks_early)
{
    /* Copies that nobody else knows, so that what they say stays in registers while C is written. */
    const tli_sparse_t block = *args->block;
    const int64_t size = (int64_t)tulle_datatype_size(args->datatype);
    tli_multiply_args_t here = *args;
    here.block = &block;
    here.is_far = tli_multiply_is_streamed(args);
    for (int64_t i = first; i < last; i++) {
        if (asks_early)
            tli_fetch_fresh(&here, i + TLI_FRESH_AHEAD, column * size, (end - column) * size, here.b_stride * size);
        for (int64_t k = column; k < end; k += num * LANES)
            NAME(row)(&here, i, k, num);
    }
}

/* Functions of their own, or they would take each other's registers. */
#define DEFINE_PASS(name, num, asks_early)                                                                             \
    static __attribute__((noinline)) TARGET void NAME(name)(const tli_multiply_args_t *args, int64_t first,            \
                                                            int64_t last, int64_t column, int64_t end)                 \
    {                                                                                                                  \
        NAME(pass)(args, first, last, column, end, num, asks_early);                                                   \
    }

DEFINE_PASS(pass_1, 1, 0)
DEFINE_PASS(pass_2, 2, 0)
DEFINE_PASS(pass_4, 4, 0)
DEFINE_PASS(pass_8, 8, 0)
DEFINE_PASS(pass_4_early, 4, 1)
DEFINE_PASS(pass_8_early, 8, 1)
#undef DEFINE_PASS

/* Whole rows of the dense operand go by while they are near; what is left over is narrow, and goes in passes. */
static TARGET void NAME(rows)(const tli_multiply_args_t *args, int64_t first, int64_t last, int64_t column)
{
    const int64_t num_vectors = (args->width - column) / LANES;
    int64_t end = column + num_vectors / 8 * 8 * LANES;
    if (column < end)
        (tli_asks_early(args, end - column) ? NAME(pass_8_early) : NAME(pass_8))(args, first, last, column, end);
    if (num_vectors & 4)
        (tli_asks_early(args, 4 * LANES) ? NAME(pass_4_early) : NAME(pass_4))(args, first, last, end, end + 4 * LANES);
    end += (num_vectors & 4) * LANES;
    if (num_vectors & 2)
        NAME(pass_2)(args, first, last, end, end + 2 * LANES);
    end += (num_vectors & 2) * LANES;
    if (num_vectors & 1)
        NAME(pass_1)(args, first, last, end, end + LANES);
    end += (num_vectors & 1) * LANES;
    if (end < args->width)
        NARROWER(args, first, last, end);
}
