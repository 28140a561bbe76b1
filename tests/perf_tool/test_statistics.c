/* SPDX-License-Identifier: Apache-2.0
 * Order statistics, ratios and break-even, by hand-made samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "perf/statistics.h"

static void test_statistics_empty_sample_is_zero(void **state)
{
    perf_statistics_t statistics = perf_statistics(NULL, 0);
    assert_float_equal(statistics.min, 0, 0);
    assert_float_equal(statistics.median, 0, 0);
    assert_float_equal(statistics.p99, 0, 0);
}

static void test_statistics_one_value_is_all_of_them(void **state)
{
    double values[] = {7};
    perf_statistics_t statistics = perf_statistics(values, 1);
    assert_float_equal(statistics.min, 7, 0);
    assert_float_equal(statistics.median, 7, 0);
    assert_float_equal(statistics.p99, 7, 0);
}

static void test_statistics_odd_sample_has_middle_value(void **state)
{
    double values[] = {5, 1, 9};
    perf_statistics_t statistics = perf_statistics(values, 3);
    assert_float_equal(statistics.min, 1, 0);
    assert_float_equal(statistics.median, 5, 0);
    assert_float_equal(statistics.p99, 9, 0);
}

static void test_statistics_even_sample_has_mean_of_middle_two(void **state)
{
    double values[] = {4, 1, 3, 100};
    assert_float_equal(perf_statistics(values, 4).median, 3.5, 0);
}

/* 1 to n in falling order: the value of rank r is r. */
static double p99_of(int64_t n)
{
    double values[1000];
    for (int64_t i = 0; i < n; i++)
        values[i] = (double)(n - i);
    return perf_statistics(values, n).p99;
}

static void test_statistics_p99_is_nearest_rank(void **state)
{
    assert_float_equal(p99_of(20), 20, 0);
    assert_float_equal(p99_of(99), 99, 0);
    assert_float_equal(p99_of(100), 99, 0);
    assert_float_equal(p99_of(101), 100, 0);
    assert_float_equal(p99_of(200), 198, 0);
    assert_float_equal(p99_of(1000), 990, 0);
}

static double scratch[2 * 5000 + PERF_RATIO_DRAWS];

static void test_ratio_of_equal_factors_has_no_spread(void **state)
{
    double before[] = {2, 4, 6, 20};
    double after[] = {1, 2, 3, 10};
    perf_ratio_t ratio = perf_ratio(before, after, 4, scratch);
    assert_float_equal(ratio.ratio, 2, 1e-12);
    assert_float_equal(ratio.low, 2, 1e-12);
    assert_float_equal(ratio.high, 2, 1e-12);
    assert_float_equal(before[3], 20, 0); /* samples stay as they are */
}

static void test_ratio_is_that_of_medians(void **state)
{
    double before[] = {9, 1, 3};
    double after[] = {2, 100, 1};
    assert_float_equal(perf_ratio(before, after, 3, scratch).ratio, 1.5, 1e-12);
}

static void test_ratio_of_nothing_is_zero(void **state)
{
    assert_float_equal(perf_ratio(NULL, NULL, 0, scratch).ratio, 0, 0);
}

/* Of a sample with medians 1 and 3 and outliers on both sides, narrower the more turns there are. */
static perf_ratio_t spread_of(int64_t n)
{
    static double before[5000];
    static double after[5000];
    for (int64_t i = 0; i < n; i++) {
        before[i] = 3 + 0.001 * (double)((i * 7919) % 2001 - 1000);
        after[i] = 1 + 0.0003 * (double)((i * 104729) % 2001 - 1000);
    }
    return perf_ratio(before, after, n, scratch);
}

static void test_ratio_interval_holds_the_ratio_and_shrinks(void **state)
{
    perf_ratio_t few = spread_of(21);
    perf_ratio_t many = spread_of(4001);
    assert_true(few.low < few.ratio && few.ratio < few.high);
    assert_true(many.low < many.ratio && many.ratio < many.high);
    assert_true(many.low < 3 && 3 < many.high);
    assert_true(many.high - many.low < (few.high - few.low) / 5);
    assert_float_equal(spread_of(21).low, few.low, 0); /* the same in every run */
}

static void test_ratio_of_too_many_turns_takes_the_last(void **state)
{
    static double before[5000];
    static double after[5000];
    for (int64_t i = 0; i < 5000; i++) {
        before[i] = i < 904 ? 1e9 : 5;
        after[i] = 1;
    }
    perf_ratio_t ratio = perf_ratio(before, after, 5000, scratch);
    assert_float_equal(ratio.low, 5, 1e-12);
    assert_float_equal(ratio.high, 5, 1e-12);
}

static void test_break_even_rounds_up(void **state)
{
    assert_int_equal(perf_break_even(100, 20, 10), 10);
    assert_int_equal(perf_break_even(101, 20, 10), 11);
    assert_int_equal(perf_break_even(1, 1000, 1), 1);
    assert_int_equal(perf_break_even(0, 20, 10), 0);
}

static void test_break_even_not_faster_is_never(void **state)
{
    assert_int_equal(perf_break_even(100, 10, 10), -1);
    assert_int_equal(perf_break_even(100, 10, 20), -1);
    assert_int_equal(perf_break_even(1e300, 10, 9.999), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statistics_empty_sample_is_zero),
        cmocka_unit_test(test_statistics_one_value_is_all_of_them),
        cmocka_unit_test(test_statistics_odd_sample_has_middle_value),
        cmocka_unit_test(test_statistics_even_sample_has_mean_of_middle_two),
        cmocka_unit_test(test_statistics_p99_is_nearest_rank),
        cmocka_unit_test(test_ratio_of_equal_factors_has_no_spread),
        cmocka_unit_test(test_ratio_is_that_of_medians),
        cmocka_unit_test(test_ratio_of_nothing_is_zero),
        cmocka_unit_test(test_ratio_interval_holds_the_ratio_and_shrinks),
        cmocka_unit_test(test_ratio_of_too_many_turns_takes_the_last),
        cmocka_unit_test(test_break_even_rounds_up),
        cmocka_unit_test(test_break_even_not_faster_is_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
