/* SPDX-License-Identifier: Apache-2.0
 * Rows as they travel, against the definition of each precision. */
#include "src/device/wire_rows.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "src/device/wire_kernel.h"
#include "tests/support/wire_reference.h"

#define MOST_WIDTH 1300
#define NUM_ROWS   7
#define GAP        24 /* [bytes] behind every row */

static const int64_t widths[] = {1, 2, 3, 8, 31, 64, 257, MOST_WIDTH};
#define NUM_WIDTHS ((int)(sizeof widths / sizeof *widths))

static float scratch[2 * MOST_WIDTH];
static const tulle_wire_precision_t all[] = {TULLE_WIRE_PRECISION_NONE, TULLE_WIRE_PRECISION_BF16,
                                             TULLE_WIRE_PRECISION_F16, TULLE_WIRE_PRECISION_FP8};

/* --- buffers of rows ---------------------------------------------------------------------------------------------- */

static int64_t stride_of(tulle_wire_precision_t precision, int64_t width)
{
    int64_t bytes = tli_wire_row_bytes(precision, width) + GAP;
    return precision == TULLE_WIRE_PRECISION_FP8 ? bytes : (bytes + 3) / 4 * 4;
}

static tli_rows_t make_rows(tulle_wire_precision_t precision, int64_t width)
{
    tli_rows_t rows = {NULL, stride_of(precision, width)};
    rows.base = spt_alloc(NUM_ROWS, (size_t)rows.stride_bytes);
    memset(rows.base, 0xa5, NUM_ROWS * (size_t)rows.stride_bytes);
    return rows;
}

static float *row_of(tli_rows_t rows, int64_t row)
{
    return (float *)(rows.base + row * rows.stride_bytes);
}

static tli_rows_t make_values(spt_random_t *random, int special, int64_t width)
{
    tli_rows_t rows = make_rows(TULLE_WIRE_PRECISION_NONE, width);
    for (int64_t row = 0; row < NUM_ROWS; row++)
        spt_wire_fill(random, special, row_of(rows, row), width);
    return rows;
}

static tli_rows_t convert(tli_rows_t source, tulle_wire_precision_t from, tulle_wire_precision_t to, int64_t width)
{
    tli_rows_t target = make_rows(to, width);
    tli_wire_copy_args_t args = {.rows = {.target = target, .source = source, .num_rows = NUM_ROWS},
                                 .target = to,
                                 .source = from,
                                 .width = width,
                                 .scratch = scratch};
    tli_wire_copy_rows(&args);
    for (int64_t row = 0; row < NUM_ROWS; row++)
        for (int64_t i = tli_wire_row_bytes(to, width); i < target.stride_bytes; i++)
            assert_int_equal(target.base[row * target.stride_bytes + i], 0xa5);
    return target;
}

/* There and back. */
static tli_rows_t cross(tli_rows_t source, tulle_wire_precision_t precision, int64_t width)
{
    tli_rows_t wire = convert(source, TULLE_WIRE_PRECISION_NONE, precision, width);
    return convert(wire, precision, TULLE_WIRE_PRECISION_NONE, width);
}

static void assert_same_rows(tli_rows_t a, tli_rows_t b, int64_t width)
{
    for (int64_t row = 0; row < NUM_ROWS; row++)
        for (int64_t i = 0; i < width; i++)
            if (!spt_wire_is((double)row_of(a, row)[i], row_of(b, row)[i]))
                fail_msg("row %lld, scalar %lld: %a is not %a", (long long)row, (long long)i, (double)row_of(b, row)[i],
                         (double)row_of(a, row)[i]);
}

/* The kernel for the same rows: every thread of a few warps, last ones first. */
static void run_kernel(const tli_wire_args_t *args, int num_warps)
{
    for (int thread = num_warps * TLI_WARP_THREADS - 1; thread >= 0; thread--)
        tli_wire_thread(args, tli_wire_lane_bits(args), thread, num_warps * TLI_WARP_THREADS);
}

/* --- one precision ------------------------------------------------------------------------------------------------ */

static void test_row_bytes_are_as_documented(void **state)
{
    assert_int_equal(tli_wire_row_bytes(TULLE_WIRE_PRECISION_NONE, 64), 256);
    assert_int_equal(tli_wire_row_bytes(TULLE_WIRE_PRECISION_BF16, 64), 128);
    assert_int_equal(tli_wire_row_bytes(TULLE_WIRE_PRECISION_F16, 64), 128);
    assert_int_equal(tli_wire_row_bytes(TULLE_WIRE_PRECISION_FP8, 64), 65);
    assert_int_equal(tli_wire_row_bytes(TULLE_WIRE_PRECISION_FP8, 1), 2);
}

static void check_rounding(tulle_wire_precision_t precision, tli_rows_t values, int64_t width)
{
    static double expected[MOST_WIDTH];
    tli_rows_t got = cross(values, precision, width);
    for (int64_t row = 0; row < NUM_ROWS; row++) {
        spt_wire_round(precision, row_of(values, row), width, expected);
        for (int64_t i = 0; i < width; i++)
            if (!spt_wire_is(expected[i], row_of(got, row)[i]))
                fail_msg("%s of %a is %a, not %a", tulle_wire_precision_name(precision), (double)row_of(values, row)[i],
                         (double)row_of(got, row)[i], expected[i]);
    }
    assert_same_rows(got, cross(got, precision, width), width); /* once is as good as twice */
}

static void test_rows_are_rounded_as_defined_and_only_once(void **state)
{
    spt_random_t random = {7};
    for (int p = 0; p < SPT_NUM_PRECISIONS; p++)
        for (int i = 0; i < 40 * NUM_WIDTHS; i++)
            check_rounding(spt_precisions[p], make_values(&random, i % 4, widths[i % NUM_WIDTHS]),
                           widths[i % NUM_WIDTHS]);
}

/* The reference says what must come; the contract, how far that may be from what was sent. */
static void check_bound(tulle_wire_precision_t precision, tli_rows_t values, int64_t width)
{
    tli_rows_t got = cross(values, precision, width);
    for (int64_t row = 0; row < NUM_ROWS; row++) {
        double largest = 0;
        for (int64_t i = 0; i < width; i++)
            largest = fmax(largest, fabs((double)row_of(values, row)[i]));
        for (int64_t i = 0; i < width; i++) {
            double value = (double)row_of(values, row)[i], error = fabs((double)row_of(got, row)[i] - value);
            int is_in_range = precision != TULLE_WIRE_PRECISION_F16 || fabs(value) < 65520;
            if (is_in_range && !(error <= spt_wire_bound(precision, fabs(value), largest)))
                fail_msg("%s of %a is off by %a, more than %a", tulle_wire_precision_name(precision), value, error,
                         spt_wire_bound(precision, fabs(value), largest));
        }
    }
}

static void test_errors_stay_within_the_contract(void **state)
{
    spt_random_t random = {11};
    for (int p = 0; p < SPT_NUM_PRECISIONS; p++) {
        for (int i = 0; i < 60; i++) {
            int64_t width = widths[i % NUM_WIDTHS];
            tli_rows_t values = make_values(&random, 0, width);
            for (int64_t row = 0; row < NUM_ROWS; row++) /* from the least to the largest magnitudes of f32 */
                for (int64_t k = 0; k < width; k++)
                    row_of(values, row)[k] = ldexpf(row_of(values, row)[k], i * 4 - 130);
            check_bound(spt_precisions[p], values, width);
        }
    }
}

static void check_one(tulle_wire_precision_t precision, float value, double expected)
{
    tli_rows_t values = make_rows(TULLE_WIRE_PRECISION_NONE, 1);
    for (int64_t row = 0; row < NUM_ROWS; row++)
        *row_of(values, row) = value;
    float got = *row_of(cross(values, precision, 1), NUM_ROWS - 1);
    if (!spt_wire_is(expected, got))
        fail_msg("%s of %a is %a, not %a", tulle_wire_precision_name(precision), (double)value, (double)got, expected);
}

static void test_values_that_are_no_numbers_or_out_of_range(void **state)
{
    const double infinity = (double)INFINITY, nan = (double)NAN;
    for (int p = 0; p < SPT_NUM_PRECISIONS; p++) {
        check_one(spt_precisions[p], NAN, nan);
        check_one(spt_precisions[p], 0.0f, 0.0);
        check_one(spt_precisions[p], -0.0f, -0.0);
    }
    check_one(TULLE_WIRE_PRECISION_BF16, -INFINITY, -infinity);
    check_one(TULLE_WIRE_PRECISION_F16, INFINITY, infinity);
    check_one(TULLE_WIRE_PRECISION_FP8, INFINITY, nan);
    check_one(TULLE_WIRE_PRECISION_F16, 65519.996f, 65504.0);
    check_one(TULLE_WIRE_PRECISION_F16, -65520.0f, -infinity);
    check_one(TULLE_WIRE_PRECISION_BF16, FLT_MAX, infinity);
    check_one(TULLE_WIRE_PRECISION_BF16, 0x1.fefffep127f, 0x1.fep127);
    check_one(TULLE_WIRE_PRECISION_FP8, FLT_MAX, 0x1.ep127); /* not infinity: that would be beyond every bound */
    check_one(TULLE_WIRE_PRECISION_BF16, FLT_TRUE_MIN, 0.0);
    check_one(TULLE_WIRE_PRECISION_F16, 0x1.8p-25f, 0x1p-24);
    check_one(TULLE_WIRE_PRECISION_FP8, 0x1p-135f, 0x1p-135);
}

/* One scalar that is no number costs its neighbours nothing. */
static void test_fp8_scale_follows_the_finite_scalars(void **state)
{
    tli_rows_t values = make_rows(TULLE_WIRE_PRECISION_NONE, 4);
    for (int64_t row = 0; row < NUM_ROWS; row++)
        memcpy(row_of(values, row), (float[]){INFINITY, 0x1.2p-30f, NAN, -0x1.ep-33f}, 4 * sizeof(float));
    float *got = row_of(cross(values, TULLE_WIRE_PRECISION_FP8, 4), 0);
    assert_true(isnan(got[0]) && isnan(got[2]));
    assert_true(got[1] == 0x1.2p-30f && got[3] == -0x1.ep-33f);
}

static void test_fp8_patterns_have_their_values(void **state)
{
    for (int scale = 1; scale <= 247; scale++) {
        for (int pattern = 0; pattern < 256; pattern++) {
            int exponent = pattern >> 3 & 15, fraction = pattern & 7;
            double magnitude = exponent == 0 ? ldexp(fraction, -9) : ldexp(8 + fraction, exponent - 10);
            double expected = ldexp(pattern < 128 ? magnitude : -magnitude, scale - 127);
            if ((pattern & 0x7f) == 0x7f)
                expected = (double)NAN;
            if (scale < 247 || magnitude <= 240)
                assert_true(spt_wire_is(expected, tli_f32_from_fp8((uint8_t)pattern, tli_fp8_unit((uint8_t)scale))));
        }
    }
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

static const int64_t target_index[] = {6, 0, 3, 2}, source_index[] = {1, 1, 5, 0};

static void check_copy(tulle_wire_precision_t from, tulle_wire_precision_t to, tli_rows_t values, int64_t width)
{
    tli_rows_t source = convert(values, TULLE_WIRE_PRECISION_NONE, from, width), target = make_rows(to, width);
    tli_rows_t whole = convert(source, from, to, width); /* row by row the same, without an index */
    tli_wire_copy_args_t args = {.rows = {target, source, target_index, source_index, 4, 0},
                                 .target = to,
                                 .source = from,
                                 .width = width,
                                 .scratch = scratch};
    tli_wire_copy_rows(&args);
    for (int i = 0; i < 4; i++)
        assert_memory_equal(row_of(target, target_index[i]), row_of(whole, source_index[i]),
                            (size_t)tli_wire_row_bytes(to, width));
    tli_rows_t pushed = make_rows(to, width);
    tli_wire_args_t launch = {.copy = args};
    launch.copy.rows.target = pushed;
    if (from != to) { /* equal ones are plain copies */
        run_kernel(&launch, 1 + (int)width % 3);
        assert_memory_equal(pushed.base, target.base, (size_t)(NUM_ROWS * target.stride_bytes));
    }
    for (int64_t i = 0; i < target.stride_bytes; i++)
        assert_int_equal(target.base[1 * target.stride_bytes + i], 0xa5);
}

static void test_copy_takes_rows_by_index(void **state)
{
    spt_random_t random = {5};
    for (int from = 0; from < 4; from++)
        for (int to = 0; to < 4; to++)
            for (int w = 0; w < NUM_WIDTHS; w++)
                check_copy(all[from], all[to], make_values(&random, 0, widths[w]), widths[w]);
}

static float combine(tulle_op_t op, float a, float b)
{
    switch (op) {
    case TULLE_OP_SUM:
        return a + b;
    case TULLE_OP_PROD:
        return a * b;
    case TULLE_OP_MIN:
        return b < a ? b : a;
    case TULLE_OP_MAX:
        return b > a ? b : a;
    case TULLE_OP_REPLACE:
        return b;
    }
    return NAN;
}

static void check_combine(tulle_wire_precision_t from, tulle_op_t op, spt_random_t *random, int64_t width)
{
    tli_rows_t values = make_values(random, 0, width), target = make_values(random, 0, width);
    tli_rows_t source = convert(values, TULLE_WIRE_PRECISION_NONE, from, width);
    tli_rows_t widened = convert(source, from, TULLE_WIRE_PRECISION_NONE, width);
    tli_rows_t expected = convert(target, TULLE_WIRE_PRECISION_NONE, TULLE_WIRE_PRECISION_NONE, width);
    tli_wire_copy_args_t args = {
        .rows = {target, source, target_index, source_index, 4, 0}, .source = from, .width = width, .scratch = scratch};
    tli_wire_combine_rows(&args, op);
    for (int i = 0; i < 4; i++)
        for (int64_t k = 0; k < width; k++) {
            float *total = &row_of(expected, target_index[i])[k];
            *total = combine(op, *total, row_of(widened, source_index[i])[k]);
        }
    assert_same_rows(expected, target, width);
    args.rows.target_index = args.rows.source_index = NULL; /* and all of them, in order */
    args.rows.num_rows = NUM_ROWS;
    tli_wire_combine_rows(&args, op);
    for (int i = 0; i < NUM_ROWS; i++)
        for (int64_t k = 0; k < width; k++)
            row_of(expected, i)[k] = combine(op, row_of(expected, i)[k], row_of(widened, i)[k]);
    assert_same_rows(expected, target, width);
}

static void test_combine_is_that_of_widened_rows(void **state)
{
    spt_random_t random = {6};
    for (int from = 0; from < 4; from++)
        for (int op = TULLE_OP_SUM; op <= TULLE_OP_REPLACE; op++)
            for (int w = 0; w < NUM_WIDTHS; w++)
                check_combine(all[from], (tulle_op_t)op, &random, widths[w]);
}

/* Entries of every precision in every row; what they sum up to is rounded in the end, and not before. */
static void check_reduce(tulle_wire_precision_t to, tulle_op_t op, spt_random_t *random, int64_t width)
{
    static const int64_t ptr[] = {0, 1, 5, 8}, area[] = {2, 0, 1, 2, 3, 3, 1, 1}, row[] = {4, 0, 6, 2, 1, 1, 0, 5};
    static const unsigned char precision[] = {TULLE_WIRE_PRECISION_NONE, TULLE_WIRE_PRECISION_BF16,
                                              TULLE_WIRE_PRECISION_F16, TULLE_WIRE_PRECISION_FP8};
    tli_rows_t areas[4], widened[4], target = make_rows(to, width);
    tli_rows_t expected = make_rows(TULLE_WIRE_PRECISION_NONE, width);
    memset(expected.base, 0, (size_t)(NUM_ROWS * expected.stride_bytes));
    for (int i = 0; i < 4; i++) {
        areas[i] = convert(make_values(random, 0, width), TULLE_WIRE_PRECISION_NONE, all[i], width);
        widened[i] = convert(areas[i], all[i], TULLE_WIRE_PRECISION_NONE, width);
    }
    tli_wire_reduce_args_t args = {.rows = {.target = target,
                                            .target_index = target_index,
                                            .num_rows = 3,
                                            .entry_ptr = ptr,
                                            .entry_area = area,
                                            .entry_row = row,
                                            .areas = areas,
                                            .datatype = TULLE_F32,
                                            .op = op,
                                            .width = width},
                                   .target = to,
                                   .area_precision = precision,
                                   .scratch = scratch};
    tli_wire_reduce_rows(&args);
    tli_rows_t reduced = make_rows(to, width);
    tli_wire_args_t launch = {.is_reduction = 1, .reduction = args};
    launch.reduction.rows.target = reduced;
    run_kernel(&launch, 2);
    assert_memory_equal(reduced.base, target.base, (size_t)(NUM_ROWS * target.stride_bytes));
    for (int t = 0; t < 3; t++)
        for (int64_t k = 0; k < width; k++) {
            float total = row_of(widened[area[ptr[t]]], row[ptr[t]])[k];
            for (int64_t e = ptr[t] + 1; e < ptr[t + 1]; e++)
                total = combine(op, total, row_of(widened[area[e]], row[e])[k]);
            row_of(expected, target_index[t])[k] = total;
        }
    tli_rows_t rounded = convert(expected, TULLE_WIRE_PRECISION_NONE, to, width);
    for (int t = 0; t < 3; t++)
        assert_memory_equal(row_of(target, target_index[t]), row_of(rounded, target_index[t]),
                            (size_t)tli_wire_row_bytes(to, width));
}

static void test_reduce_rounds_the_total_only(void **state)
{
    spt_random_t random = {8};
    for (int to = 0; to < 4; to++)
        for (int op = TULLE_OP_SUM; op <= TULLE_OP_REPLACE; op++)
            for (int w = 0; w < NUM_WIDTHS; w++)
                check_reduce(all[to], (tulle_op_t)op, &random, widths[w]);
}

/* The old value counts first. */
static void test_reduce_keeps_targets_that_are_not_rounded(void **state)
{
    static const int64_t ptr[] = {0, 2}, area[] = {0, 0}, row[] = {2, 3};
    static const unsigned char precision[] = {TULLE_WIRE_PRECISION_BF16};
    spt_random_t random = {9};
    tli_rows_t values = make_values(&random, 0, 5), target = make_values(&random, 0, 5);
    tli_rows_t wire = convert(values, TULLE_WIRE_PRECISION_NONE, TULLE_WIRE_PRECISION_BF16, 5);
    tli_rows_t widened = convert(wire, TULLE_WIRE_PRECISION_BF16, TULLE_WIRE_PRECISION_NONE, 5);
    tli_rows_t expected = convert(target, TULLE_WIRE_PRECISION_NONE, TULLE_WIRE_PRECISION_NONE, 5);
    tli_wire_reduce_args_t args = {.rows = {target, NULL, 1, 1, ptr, area, row, &wire, TULLE_F32, TULLE_OP_SUM, 5},
                                   .area_precision = precision,
                                   .scratch = scratch};
    for (int k = 0; k < 5; k++)
        row_of(expected, 0)[k] = row_of(expected, 0)[k] + row_of(widened, 2)[k] + row_of(widened, 3)[k];
    tli_rows_t kept = convert(target, TULLE_WIRE_PRECISION_NONE, TULLE_WIRE_PRECISION_NONE, 5);
    tli_wire_args_t launch = {.is_reduction = 1, .reduction = args};
    launch.reduction.rows.target = kept;
    tli_wire_reduce_rows(&args);
    assert_same_rows(expected, target, 5);
    run_kernel(&launch, 1);
    assert_same_rows(expected, kept, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_row_bytes_are_as_documented),
        spt_test(test_rows_are_rounded_as_defined_and_only_once),
        spt_test(test_errors_stay_within_the_contract),
        spt_test(test_values_that_are_no_numbers_or_out_of_range),
        spt_test(test_fp8_scale_follows_the_finite_scalars),
        spt_test(test_fp8_patterns_have_their_values),
        spt_test(test_copy_takes_rows_by_index),
        spt_test(test_combine_is_that_of_widened_rows),
        spt_test(test_reduce_rounds_the_total_only),
        spt_test(test_reduce_keeps_targets_that_are_not_rounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
