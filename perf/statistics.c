/* SPDX-License-Identifier: Apache-2.0
 * Order statistics of a sample. */
#include "perf/statistics.h"

#include <math.h>
#include <stdlib.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

perf_statistics_t perf_statistics(double *values, int64_t n)
{
    perf_statistics_t statistics = {0, 0, 0};
    if (n <= 0)
        return statistics;
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    int64_t p99_rank = n - n / 100; /* ceil(0.99 n), counted from 1 */
    statistics.min = values[0];
    statistics.median = (values[(n - 1) / 2] + values[n / 2]) / 2;
    statistics.p99 = values[p99_rank - 1];
    return statistics;
}

int64_t perf_break_even(double setup_us, double before_us, double after_us)
{
    double saved_us = before_us - after_us;
    if (!(saved_us > 0) || setup_us / saved_us > 0x1p53)
        return -1;
    return (int64_t)ceil(setup_us / saved_us);
}
