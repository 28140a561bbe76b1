/* SPDX-License-Identifier: Apache-2.0
 * Order statistics and break-even, by hand-made samples. */
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
        cmocka_unit_test(test_break_even_rounds_up),
        cmocka_unit_test(test_break_even_not_faster_is_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
