/* SPDX-License-Identifier: Apache-2.0
 * Order statistics of a sample. */
#include "perf/statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_PAIRS 4096 /* 1000 times two sorts of so many take a second */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of_sorted(const double *values, int64_t n)
{
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

perf_statistics_t perf_statistics(double *values, int64_t n)
{
    perf_statistics_t statistics = {0, 0, 0};
    if (n <= 0)
        return statistics;
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    int64_t p99_rank = n - n / 100; /* ceil(0.99 n), counted from 1 */
    statistics.min = values[0];
    statistics.median = median_of_sorted(values, n);
    statistics.p99 = values[p99_rank - 1];
    return statistics;
}

/* Linear congruences with the constants of Knuth's MMIX; the upper bits are the good ones. */
static int64_t draw_below(int64_t n, uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((*state >> 33) % (uint64_t)n);
}

static double ratio_of_medians(double *before, double *after, int64_t n)
{
    qsort(before, (size_t)n, sizeof *before, compare_doubles);
    qsort(after, (size_t)n, sizeof *after, compare_doubles);
    double divisor = median_of_sorted(after, n);
    return divisor > 0 ? median_of_sorted(before, n) / divisor : 0;
}

perf_ratio_t perf_ratio(const double *before, const double *after, int64_t n, double *scratch)
{
    perf_ratio_t result = {0, 0, 0};
    uint64_t state = 1;
    if (n <= 0)
        return result;
    int64_t skipped = n > MOST_PAIRS ? n - MOST_PAIRS : 0;
    int64_t num = n - skipped;
    double *a = scratch;
    double *b = scratch + num;
    double *ratios = scratch + 2 * num;
    memcpy(a, before + skipped, (size_t)num * sizeof *a);
    memcpy(b, after + skipped, (size_t)num * sizeof *b);
    result.ratio = ratio_of_medians(a, b, num);
    for (int k = 0; k < PERF_RATIO_DRAWS; k++) {
        for (int64_t i = 0; i < num; i++) {
            int64_t pair = skipped + draw_below(num, &state);
            a[i] = before[pair];
            b[i] = after[pair];
        }
        ratios[k] = ratio_of_medians(a, b, num);
    }
    qsort(ratios, PERF_RATIO_DRAWS, sizeof *ratios, compare_doubles);
    result.low = ratios[PERF_RATIO_DRAWS / 40 - 1];
    result.high = ratios[PERF_RATIO_DRAWS - PERF_RATIO_DRAWS / 40];
    return result;
}

int64_t perf_break_even(double setup_us, double before_us, double after_us)
{
    double saved_us = before_us - after_us;
    if (!(saved_us > 0) || setup_us / saved_us > 0x1p53)
        return -1;
    return (int64_t)ceil(setup_us / saved_us);
}
