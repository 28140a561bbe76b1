/* SPDX-License-Identifier: Apache-2.0
 * All columns of some rows of the result, as multiply_rows.h and multiply_half_rows.h do them: included by both, which
 * define LANES, and NAME(row) for up to eight vectors of columns of one row. No include guard. */

/* Whole rows of the dense operand go by while they are near; what is left over is narrow, and goes in passes. */
static TARGET void NAME(rows)(const tli_multiply_args_t *args, int64_t first, int64_t last, int64_t column)
{
    const int64_t begin = column, num_vectors = (args->width - column) / LANES;
    column += num_vectors / 8 * 8 * LANES;
    for (int64_t i = first; begin < column && i < last; i++)
        for (int64_t k = begin; k < column; k += 8 * LANES)
            NAME(row)(args, i, k, 8);
    for (int64_t i = first; (num_vectors & 4) && i < last; i++)
        NAME(row)(args, i, column, 4);
    column += (num_vectors & 4) * LANES;
    for (int64_t i = first; (num_vectors & 2) && i < last; i++)
        NAME(row)(args, i, column, 2);
    column += (num_vectors & 2) * LANES;
    for (int64_t i = first; (num_vectors & 1) && i < last; i++)
        NAME(row)(args, i, column, 1);
    column += (num_vectors & 1) * LANES;
    if (column < args->width)
        NARROWER(args, first, last, column);
}
