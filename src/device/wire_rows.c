/* SPDX-License-Identifier: Apache-2.0
 * Rounding and widening of rows. Loops over scalars are plain, so that compilers make vectors of them. */
#include "src/device/wire_rows.h"

#include <string.h>

#include "src/device/fp8.h"
#include "src/fault.h"

#define BLOCK 512 /* [scalars] widened at a time, where rows are short */

const char *tulle_wire_precision_name(tulle_wire_precision_t precision)
{
    switch (precision) {
#define NAME_CASE(name, value, text)                                                                                   \
    case TULLE_WIRE_PRECISION_##name:                                                                                  \
        return text;
        TULLE_WIRE_PRECISION_MAP(NAME_CASE)
#undef NAME_CASE
    }
    return "unknown";
}

int64_t tli_wire_row_bytes(tulle_wire_precision_t precision, int64_t width)
{
    switch (precision) {
    case TULLE_WIRE_PRECISION_BF16:
    case TULLE_WIRE_PRECISION_F16:
        return 2 * width;
    case TULLE_WIRE_PRECISION_FP8:
        return 1 + width;
    case TULLE_WIRE_PRECISION_NONE:
        break;
    }
    return 4 * width;
}

int64_t tli_wire_scratch_elems(int64_t width)
{
    return 2 * (width > BLOCK ? width : BLOCK);
}

/* --- one row ------------------------------------------------------------------------------------------------------ */

static uint32_t largest_finite(const float *values, int64_t width)
{
    int32_t largest = 0; /* magnitudes order as integers do */
    for (int64_t i = 0; i < width; i++) {
        int32_t magnitude = (int32_t)(tli_bits_from_f32(values[i]) & 0x7fffffffu);
        magnitude = magnitude < 0x7f800000 ? magnitude : 0;
        largest = magnitude > largest ? magnitude : largest;
    }
    return (uint32_t)largest;
}

static void round_to_fp8(const float *restrict values, int64_t width, unsigned char *restrict row)
{
    uint8_t scale = tli_fp8_scale(largest_finite(values, width));
    float inverse = tli_fp8_inverse(scale);
    int32_t limit = tli_fp8_limit(scale);
    row[0] = scale;
    for (int64_t i = 0; i < width; i++)
        row[1 + i] = tli_fp8_from_f32(values[i], inverse, limit);
}

static void round_to_f16(const float *restrict values, int64_t width, uint16_t *restrict row)
{
    for (int64_t i = 0; i < width; i++)
        row[i] = tli_f16_from_f32(values[i]);
}

static void round_to_bf16(const float *restrict values, int64_t width, uint16_t *restrict row)
{
    for (int64_t i = 0; i < width; i++)
        row[i] = tli_bf16_from_f32(values[i]);
}

static void round_row(tulle_wire_precision_t precision, const float *values, int64_t width, unsigned char *row)
{
    if (precision == TULLE_WIRE_PRECISION_BF16)
        round_to_bf16(values, width, (uint16_t *)row);
    else if (precision == TULLE_WIRE_PRECISION_F16)
        round_to_f16(values, width, (uint16_t *)row);
    else if (precision == TULLE_WIRE_PRECISION_FP8)
        round_to_fp8(values, width, row);
    else
        memcpy(row, values, (size_t)width * sizeof *values);
}

static void widen_fp8(const unsigned char *restrict row, int64_t width, float *restrict values)
{
    float unit = tli_fp8_unit(row[0]);
    for (int64_t i = 0; i < width; i++)
        values[i] = tli_f32_from_fp8(row[1 + i], unit);
}

static void widen_f16(const uint16_t *restrict row, int64_t width, float *restrict values)
{
    for (int64_t i = 0; i < width; i++)
        values[i] = tli_f32_from_f16(row[i]);
}

static void widen_bf16(const uint16_t *restrict row, int64_t width, float *restrict values)
{
    for (int64_t i = 0; i < width; i++)
        values[i] = tli_f32_from_bf16(row[i]);
}

static void widen_row(tulle_wire_precision_t precision, const unsigned char *row, int64_t width, float *values)
{
    if (precision == TULLE_WIRE_PRECISION_BF16)
        widen_bf16((const uint16_t *)row, width, values);
    else if (precision == TULLE_WIRE_PRECISION_F16)
        widen_f16((const uint16_t *)row, width, values);
    else if (precision == TULLE_WIRE_PRECISION_FP8)
        widen_fp8(row, width, values);
    else
        memcpy(values, row, (size_t)width * sizeof *values);
}

/* --- lists of rows ------------------------------------------------------------------------------------------------ */

static unsigned char *row_at(const tli_rows_t *rows, const int64_t *index, int64_t i)
{
    return rows->base + (index != NULL ? index[i] : i) * rows->stride_bytes;
}

/* From one precision to another goes through f32. */
static void convert_row(const tli_wire_copy_args_t *a, int64_t i)
{
    const unsigned char *source = row_at(&a->rows.source, a->rows.source_index, i);
    unsigned char *target = row_at(&a->rows.target, a->rows.target_index, i);
    if (a->source == TULLE_WIRE_PRECISION_NONE) {
        round_row(a->target, (const float *)source, a->width, target);
    } else if (a->target == TULLE_WIRE_PRECISION_NONE) {
        widen_row(a->source, source, a->width, (float *)target);
    } else {
        widen_row(a->source, source, a->width, a->scratch);
        round_row(a->target, a->scratch, a->width, target);
    }
}

void tli_wire_copy_rows(const tli_wire_copy_args_t *a)
{
    tli_copy_args_t rows = a->rows;
    rows.row_bytes = tli_wire_row_bytes(a->source, a->width);
    if (a->source == a->target)
        tli_copy_rows(&rows);
    else
        for (int64_t i = 0; i < rows.num_rows; i++)
            convert_row(a, i);
}

/* Rows from i on that are widened into the scratch one after the other; then they are combined from there. */
static void combine_block(const tli_wire_copy_args_t *a, tulle_op_t op, int64_t first, int64_t num_rows)
{
    tli_copy_args_t rows = a->rows;
    for (int64_t i = 0; i < num_rows; i++)
        widen_row(a->source, row_at(&a->rows.source, a->rows.source_index, first + i), a->width,
                  a->scratch + i * a->width);
    if (rows.target_index != NULL)
        rows.target_index += first;
    else
        rows.target = tli_rows_from(&rows.target, first);
    rows.source = (tli_rows_t){(unsigned char *)a->scratch, a->width * (int64_t)sizeof(float)};
    rows.source_index = NULL;
    rows.num_rows = num_rows;
    tli_combine_rows(&rows, TULLE_F32, op, a->width);
}

void tli_wire_combine_rows(const tli_wire_copy_args_t *a, tulle_op_t op)
{
    tli_copy_args_t rows = a->rows;
    int64_t most = a->width < BLOCK ? BLOCK / a->width : 1;
    rows.row_bytes = tli_wire_row_bytes(TULLE_WIRE_PRECISION_NONE, a->width);
    TLI_ASSERT(a->target == TULLE_WIRE_PRECISION_NONE);
    if (op == TULLE_OP_REPLACE)
        tli_wire_copy_rows(a);
    else if (a->source == TULLE_WIRE_PRECISION_NONE)
        tli_combine_rows(&rows, TULLE_F32, op, a->width);
    else
        for (int64_t first = 0; first < rows.num_rows; first += most)
            combine_block(a, op, first, rows.num_rows - first < most ? rows.num_rows - first : most);
}

/* --- entries of rows ---------------------------------------------------------------------------------------------- */

static void add_entry(const tli_wire_reduce_args_t *a, int64_t e, int is_first, float *total)
{
    const tli_reduce_args_t *rows = &a->rows;
    float *next = a->scratch + rows->width;
    tulle_wire_precision_t precision = (tulle_wire_precision_t)a->area_precision[rows->entry_area[e]];
    unsigned char *row = row_at(&rows->areas[rows->entry_area[e]], rows->entry_row, e);
    tli_copy_args_t one = {.target = {(unsigned char *)total, 0}, .source = {row, 0}, .num_rows = 1};
    if (is_first) {
        widen_row(precision, row, rows->width, total);
        return;
    }
    if (precision != TULLE_WIRE_PRECISION_NONE) {
        widen_row(precision, row, rows->width, next);
        one.source.base = (unsigned char *)next;
    }
    tli_combine_rows(&one, TULLE_F32, rows->op, rows->width);
}

/* The total of a row grows where it is to be, unless it is rounded in the end. */
static void reduce_row(const tli_wire_reduce_args_t *a, int64_t t)
{
    const tli_reduce_args_t *rows = &a->rows;
    int64_t first = rows->entry_ptr[t], last = rows->entry_ptr[t + 1];
    unsigned char *row = row_at(&rows->target, rows->target_index, t);
    int is_rounded = a->target != TULLE_WIRE_PRECISION_NONE, has_total = rows->keeps_target;
    float *total = is_rounded ? a->scratch : (float *)row;
    TLI_ASSERT(!is_rounded || !has_total);
    if (rows->op == TULLE_OP_REPLACE && last > first) { /* the last one stays */
        first = last - 1;
        has_total = 0;
    }
    for (int64_t e = first; e < last; e++)
        add_entry(a, e, !has_total && e == first, total);
    if (is_rounded)
        round_row(a->target, total, rows->width, row);
}

void tli_wire_reduce_rows(const tli_wire_reduce_args_t *a)
{
    for (int64_t t = 0; t < a->rows.num_rows; t++)
        reduce_row(a, t);
}
