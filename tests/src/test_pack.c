/* SPDX-License-Identifier: Apache-2.0
 * Copies and reductions of rows against the definition: every datatype, op and shape; nothing outside the rows is
 * touched. */
#include <stdlib.h>
#include <string.h>

#include "pack_oracle.h"
#include "src/device/half.h"

#define NUM_AREAS   3
#define AREA_ROWS   6
#define TARGET_ROWS 9
#define MAX_ENTRIES 5

static const int64_t widths[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 127, 128, 129, 257};
#define NUM_WIDTHS (sizeof widths / sizeof *widths)

static const tulle_datatype_t datatypes[] = {
#define DATATYPE_ENTRY(name, value, size, text) TULLE_##name,
    TULLE_DATATYPE_MAP(DATATYPE_ENTRY)
#undef DATATYPE_ENTRY
};
#define NUM_DATATYPES (sizeof datatypes / sizeof *datatypes)

static const tulle_op_t ops[] = {
#define OP_ENTRY(name, value, text) TULLE_OP_##name,
    TULLE_OP_MAP(OP_ENTRY)
#undef OP_ENTRY
};
#define NUM_OPS (sizeof ops / sizeof *ops)

/* --- rows with gaps ---------------------------------------------------------------------------------------------- */

/* Bytes between rows hold arbitrary values, too: comparing whole buffers shows who wrote there. */
static tli_rows_t new_rows(spt_random_t *random, tulle_datatype_t datatype, int64_t width, int64_t gap,
                           int64_t num_rows)
{
    int64_t size = (int64_t)tulle_datatype_size(datatype);
    tli_rows_t rows = {NULL, (width + gap) * size};
    /* Exact, without a gap behind the last row: sanitizers see an overrun. */
    int64_t num_scalars = num_rows * (width + gap) - gap;
    rows.base = malloc((size_t)(num_scalars * size));
    assert_non_null(rows.base);
    for (int64_t i = 0; i < num_scalars; i++)
        pack_oracle_random(random, datatype, rows.base + i * size);
    return rows;
}

static size_t bytes_of(const tli_rows_t *rows, int64_t num_rows, int64_t row_bytes)
{
    return (size_t)((num_rows - 1) * rows->stride_bytes + row_bytes);
}

static tli_rows_t copy_of(const tli_rows_t *rows, int64_t num_rows, int64_t row_bytes)
{
    tli_rows_t copy = {malloc(bytes_of(rows, num_rows, row_bytes)), rows->stride_bytes};
    assert_non_null(copy.base);
    memcpy(copy.base, rows->base, bytes_of(rows, num_rows, row_bytes));
    return copy;
}

static void shuffle(spt_random_t *random, int64_t *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = spt_below(random, i + 1), held = values[i];
        values[i] = values[j];
        values[j] = held;
    }
}

/* --- copies ------------------------------------------------------------------------------------------------------ */

static void check_copy(spt_random_t *random, int64_t row_bytes, int64_t target_gap, int64_t source_gap, int has_index)
{
    int64_t target_index[TARGET_ROWS], source_index[TARGET_ROWS];
    tli_rows_t target = new_rows(random, TULLE_BYTE, row_bytes, target_gap, TARGET_ROWS);
    tli_rows_t source = new_rows(random, TULLE_BYTE, row_bytes, source_gap, TARGET_ROWS);
    tli_rows_t expected = copy_of(&target, TARGET_ROWS, row_bytes);
    int64_t num_rows = spt_below(random, TARGET_ROWS + 1);
    shuffle(random, target_index, TARGET_ROWS);
    for (int64_t i = 0; i < TARGET_ROWS; i++)
        source_index[i] = spt_below(random, TARGET_ROWS);
    for (int64_t i = 0; i < num_rows; i++) {
        unsigned char *to = expected.base + (has_index & 1 ? target_index[i] : i) * expected.stride_bytes;
        const unsigned char *from = source.base + (has_index & 2 ? source_index[i] : i) * source.stride_bytes;
        for (int64_t b = 0; b < row_bytes; b++)
            to[b] = from[b];
    }
    tli_copy_rows(&(tli_copy_args_t){.target = target,
                                     .source = source,
                                     .target_index = has_index & 1 ? target_index : NULL,
                                     .source_index = has_index & 2 ? source_index : NULL,
                                     .num_rows = num_rows,
                                     .row_bytes = row_bytes});
    assert_memory_equal(target.base, expected.base, bytes_of(&target, TARGET_ROWS, row_bytes));
    free(expected.base);
    free(source.base);
    free(target.base);
}

static void test_copy_rows_all_shapes_match_loop(void **state)
{
    static const int64_t sizes[] = {1,  2,  3,  4,  5,  6,   7,   8,   9,   12,   15,   16,   17,  31,
                                    32, 33, 63, 64, 65, 128, 255, 256, 257, 1000, 1032, 2048, 2049};
    static const int64_t gaps[] = {0, 1, 7, 64};
    spt_random_t random = {1};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int gap = 0; gap < 16; gap++)
            for (int has_index = 0; has_index < 4; has_index++)
                check_copy(&random, sizes[s], gaps[gap / 4], gaps[gap % 4], has_index);
}

static void test_copy_rows_of_none_touches_nothing(void **state)
{
    tli_copy_rows(&(tli_copy_args_t){.num_rows = 0, .row_bytes = 8});
    tli_copy_rows(&(tli_copy_args_t){.target = {NULL, 8}, .source = {NULL, 8}, .num_rows = 0, .row_bytes = 8});
}

/* --- reductions -------------------------------------------------------------------------------------------------- */

/* One reduction with all that its arguments point to. */
typedef struct reduction {
    tli_reduce_args_t args;
    tli_rows_t areas[NUM_AREAS];
    int64_t target_index[TARGET_ROWS];
    int64_t entry_ptr[TARGET_ROWS + 1];
    int64_t entry_area[TARGET_ROWS * MAX_ENTRIES], entry_row[TARGET_ROWS * MAX_ENTRIES];
    int64_t row_bytes;
} reduction_t;

static void reduction_init(reduction_t *r, spt_random_t *random, tulle_datatype_t datatype, tulle_op_t op,
                           int64_t width, int is_indexed, int keeps_target)
{
    r->row_bytes = width * (int64_t)tulle_datatype_size(datatype);
    for (int i = 0; i < NUM_AREAS; i++)
        r->areas[i] = new_rows(random, datatype, width, i * spt_below(random, 4), AREA_ROWS);
    shuffle(random, r->target_index, TARGET_ROWS);
    r->entry_ptr[0] = 0;
    for (int64_t t = 0; t < TARGET_ROWS; t++) {
        int64_t least = keeps_target ? 0 : 1;
        r->entry_ptr[t + 1] = r->entry_ptr[t] + least + spt_below(random, MAX_ENTRIES + 1 - least);
    }
    for (int64_t e = 0; e < r->entry_ptr[TARGET_ROWS]; e++) {
        r->entry_area[e] = spt_below(random, NUM_AREAS);
        r->entry_row[e] = spt_below(random, AREA_ROWS);
    }
    r->args = (tli_reduce_args_t){.target = new_rows(random, datatype, width, spt_below(random, 4), TARGET_ROWS),
                                  .target_index = is_indexed ? r->target_index : NULL,
                                  .num_rows = spt_below(random, TARGET_ROWS + 1),
                                  .keeps_target = keeps_target,
                                  .entry_ptr = r->entry_ptr,
                                  .entry_area = r->entry_area,
                                  .entry_row = r->entry_row,
                                  .areas = r->areas,
                                  .datatype = datatype,
                                  .op = op,
                                  .width = width};
}

static void reduction_fini(reduction_t *r)
{
    for (int i = 0; i < NUM_AREAS; i++)
        free(r->areas[i].base);
    free(r->args.target.base);
}

/* Twice by the library, from the same start, and once by definition: all bits equal. */
static void check_reduction(spt_random_t *random, tulle_datatype_t datatype, tulle_op_t op, int64_t width,
                            int is_indexed, int keeps_target)
{
    reduction_t r;
    reduction_init(&r, random, datatype, op, width, is_indexed, keeps_target);
    tli_reduce_args_t again = r.args, expected = r.args;
    size_t size = bytes_of(&r.args.target, TARGET_ROWS, r.row_bytes);
    again.target = copy_of(&r.args.target, TARGET_ROWS, r.row_bytes);
    expected.target = copy_of(&r.args.target, TARGET_ROWS, r.row_bytes);
    tli_reduce_rows(&r.args);
    tli_reduce_rows(&again);
    pack_oracle_reduce(&expected);
    if (memcmp(r.args.target.base, expected.target.base, size) != 0)
        fail_msg("%s of %s is wrong: width %d, %s, %s", tulle_op_name(op), tulle_datatype_name(datatype), (int)width,
                 is_indexed ? "indexed" : "in order", keeps_target ? "onto old values" : "afresh");
    assert_memory_equal(r.args.target.base, again.target.base, size);
    free(again.target.base);
    free(expected.target.base);
    reduction_fini(&r);
}

static void test_reduce_rows_every_datatype_op_and_width_matches_definition(void **state)
{
    spt_random_t random = {2};
    for (size_t d = 0; d < NUM_DATATYPES; d++)
        for (size_t o = 0; o < NUM_OPS; o++)
            for (size_t w = 0; w < NUM_WIDTHS && tli_has_reduction(datatypes[d], ops[o]); w++)
                for (int i = 0; i < 12; i++)
                    check_reduction(&random, datatypes[d], ops[o], widths[w], i & 1, i & 2);
}

/* One entry per row, the same target several times: by definition as a reduction of one row after the other. */
static void check_combination(spt_random_t *random, tulle_datatype_t datatype, tulle_op_t op, int64_t width,
                              int has_index)
{
    int64_t row_bytes = width * (int64_t)tulle_datatype_size(datatype), entry_ptr[2] = {0, 1}, entry_area = 0;
    int64_t target_index[TARGET_ROWS], source_index[TARGET_ROWS], num_rows = spt_below(random, TARGET_ROWS + 1);
    tli_rows_t target = new_rows(random, datatype, width, spt_below(random, 3), TARGET_ROWS);
    tli_rows_t source = new_rows(random, datatype, width, spt_below(random, 3), TARGET_ROWS);
    tli_rows_t expected = copy_of(&target, TARGET_ROWS, row_bytes);
    for (int64_t i = 0; i < TARGET_ROWS; i++) {
        target_index[i] = has_index & 1 ? spt_below(random, TARGET_ROWS) : i;
        source_index[i] = has_index & 2 ? spt_below(random, TARGET_ROWS) : i;
    }
    for (int64_t i = 0; i < num_rows; i++)
        pack_oracle_reduce(&(tli_reduce_args_t){.target = expected,
                                                .target_index = &target_index[i],
                                                .num_rows = 1,
                                                .keeps_target = 1,
                                                .entry_ptr = entry_ptr,
                                                .entry_area = &entry_area,
                                                .entry_row = &source_index[i],
                                                .areas = &source,
                                                .datatype = datatype,
                                                .op = op,
                                                .width = width});
    tli_copy_args_t args = {
        target, source, has_index & 1 ? target_index : NULL, has_index & 2 ? source_index : NULL, num_rows, row_bytes};
    tli_combine_rows(&args, datatype, op, width);
    assert_memory_equal(target.base, expected.base, bytes_of(&target, TARGET_ROWS, row_bytes));
    free(expected.base);
    free(source.base);
    free(target.base);
}

static void test_combine_rows_one_by_one_matches_definition(void **state)
{
    spt_random_t random = {3};
    for (size_t d = 0; d < NUM_DATATYPES; d++)
        for (size_t o = 0; o < NUM_OPS; o++)
            for (size_t w = 0; w < NUM_WIDTHS && tli_has_reduction(datatypes[d], ops[o]); w++)
                for (int i = 0; i < 12 && datatypes[d] != TULLE_F16 && datatypes[d] != TULLE_BF16; i++)
                    check_combination(&random, datatypes[d], ops[o], widths[w], i % 4);
}

static void test_has_reduction_is_what_the_api_says(void **state)
{
    for (size_t d = 0; d < NUM_DATATYPES; d++) {
        for (size_t o = 0; o < NUM_OPS; o++) {
            int is_complex = datatypes[d] == TULLE_C64 || datatypes[d] == TULLE_C128;
            int is_order = ops[o] == TULLE_OP_MIN || ops[o] == TULLE_OP_MAX;
            int is_known = ops[o] == TULLE_OP_REPLACE || (datatypes[d] != TULLE_BYTE && !(is_complex && is_order));
            assert_int_equal(tli_has_reduction(datatypes[d], ops[o]), is_known);
        }
    }
    assert_false(tli_has_reduction((tulle_datatype_t)0, TULLE_OP_SUM));
    assert_false(tli_has_reduction((tulle_datatype_t)12, TULLE_OP_REPLACE));
    assert_false(tli_has_reduction((tulle_datatype_t)-1, TULLE_OP_SUM));
    assert_false(tli_has_reduction(TULLE_F64, (tulle_op_t)0));
    assert_false(tli_has_reduction(TULLE_F64, (tulle_op_t)6));
    assert_false(tli_has_reduction(TULLE_F64, (tulle_op_t)-1));
}

/* One target scalar, then each of `values` in turn. */
static void reduce_column(tulle_datatype_t datatype, tulle_op_t op, void *target, const void *values, int64_t n)
{
    int64_t entry_ptr[2] = {0, n}, entry_area[8] = {0}, entry_row[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    int64_t size = (int64_t)tulle_datatype_size(datatype);
    tli_rows_t area = {(unsigned char *)(uintptr_t)values, size};
    tli_reduce_rows(&(tli_reduce_args_t){.target = {target, size},
                                         .num_rows = 1,
                                         .keeps_target = 1,
                                         .entry_ptr = entry_ptr,
                                         .entry_area = entry_area,
                                         .entry_row = entry_row,
                                         .areas = &area,
                                         .datatype = datatype,
                                         .op = op,
                                         .width = 1});
}

static void test_reduce_rows_integers_wrap(void **state)
{
    int8_t i8 = INT8_MAX, i8_product = INT8_MIN;
    uint8_t u8 = 250;
    int32_t i32 = INT32_MAX, i32_product = INT32_MIN;
    int64_t i64 = INT64_MIN, i64_product = INT64_MAX;
    reduce_column(TULLE_I8, TULLE_OP_SUM, &i8, (int8_t[]){1, -1, 2}, 3);
    reduce_column(TULLE_I8, TULLE_OP_PROD, &i8_product, (int8_t[]){-1}, 1);
    reduce_column(TULLE_U8, TULLE_OP_SUM, &u8, (uint8_t[]){10}, 1);
    reduce_column(TULLE_I32, TULLE_OP_SUM, &i32, (int32_t[]){2}, 1);
    reduce_column(TULLE_I32, TULLE_OP_PROD, &i32_product, (int32_t[]){-1}, 1);
    reduce_column(TULLE_I64, TULLE_OP_SUM, &i64, (int64_t[]){-1}, 1);
    reduce_column(TULLE_I64, TULLE_OP_PROD, &i64_product, (int64_t[]){2}, 1);
    assert_int_equal(i8, INT8_MIN + 1);
    assert_int_equal(i8_product, INT8_MIN);
    assert_int_equal(u8, 4);
    assert_int_equal(i32, INT32_MIN + 1);
    assert_int_equal(i32_product, INT32_MIN);
    assert_true(i64 == INT64_MAX);
    assert_true(i64_product == -2);
}

static void test_reduce_rows_signs_order_min_and_max(void **state)
{
    int8_t i8 = 5;
    uint8_t u8 = 5;
    reduce_column(TULLE_I8, TULLE_OP_MIN, &i8, (int8_t[]){-128, 127}, 2);
    reduce_column(TULLE_U8, TULLE_OP_MAX, &u8, (uint8_t[]){200, 100}, 2);
    assert_int_equal(i8, -128);
    assert_int_equal(u8, 200);
}

/* 2048 + 1 is a tie in f16 and goes back to 2048 each time; 256 + 1 likewise in bf16. */
static void test_reduce_rows_halves_are_rounded_once(void **state)
{
    uint16_t f16 = tli_f16_from_f32(2048), bf16 = tli_bf16_from_f32(256);
    uint16_t f16_ones[4], bf16_ones[4];
    for (int i = 0; i < 4; i++) {
        f16_ones[i] = tli_f16_from_f32(1);
        bf16_ones[i] = tli_bf16_from_f32(1);
    }
    reduce_column(TULLE_F16, TULLE_OP_SUM, &f16, f16_ones, 4);
    reduce_column(TULLE_BF16, TULLE_OP_SUM, &bf16, bf16_ones, 4);
    assert_true(tli_f32_from_f16(f16) == 2052);
    assert_true(tli_f32_from_bf16(bf16) == 260);
}

/* Beyond the range of f16 on the way only. */
static void test_reduce_rows_f16_overflows_at_the_end_only(void **state)
{
    uint16_t back = tli_f16_from_f32(60000), beyond = back;
    uint16_t values[] = {back, back | 0x8000};
    reduce_column(TULLE_F16, TULLE_OP_SUM, &back, values, 2);
    reduce_column(TULLE_F16, TULLE_OP_SUM, &beyond, values, 1);
    assert_true(tli_f32_from_f16(back) == tli_f32_from_f16(values[0]));
    assert_int_equal(beyond, 0x7c00);
}

static void test_reduce_rows_complex_product(void **state)
{
    double c128[2] = {1, 2};
    float c64[2] = {0, 1};
    reduce_column(TULLE_C128, TULLE_OP_PROD, c128, (double[]){3, 4}, 1); /* (1 + 2i)(3 + 4i) */
    reduce_column(TULLE_C64, TULLE_OP_PROD, c64, (float[]){0, 1, 0, 1, 0, 1}, 3);
    assert_true(c128[0] == -5 && c128[1] == 10);
    assert_true(c64[0] == 1 && c64[1] == 0);
}

static void test_reduce_rows_replace_last_one_stays(void **state)
{
    int32_t replaced = 1, kept = 1;
    reduce_column(TULLE_I32, TULLE_OP_REPLACE, &replaced, (int32_t[]){2, 4, 3}, 3);
    reduce_column(TULLE_I32, TULLE_OP_REPLACE, &kept, (int32_t[]){2}, 0);
    assert_int_equal(replaced, 3);
    assert_int_equal(kept, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_rows_all_shapes_match_loop),
        cmocka_unit_test(test_copy_rows_of_none_touches_nothing),
        cmocka_unit_test(test_reduce_rows_every_datatype_op_and_width_matches_definition),
        cmocka_unit_test(test_combine_rows_one_by_one_matches_definition),
        cmocka_unit_test(test_has_reduction_is_what_the_api_says),
        cmocka_unit_test(test_reduce_rows_integers_wrap),
        cmocka_unit_test(test_reduce_rows_signs_order_min_and_max),
        cmocka_unit_test(test_reduce_rows_halves_are_rounded_once),
        cmocka_unit_test(test_reduce_rows_f16_overflows_at_the_end_only),
        cmocka_unit_test(test_reduce_rows_complex_product),
        cmocka_unit_test(test_reduce_rows_replace_last_one_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
