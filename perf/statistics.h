/* SPDX-License-Identifier: Apache-2.0
 * What is said about repeated times. */
#ifndef PERF_STATISTICS_H
#define PERF_STATISTICS_H

#include <stdint.h>

#define PERF_RATIO_DRAWS 1000

/** Of one sample; all 0 when it is empty. */
typedef struct perf_statistics {
    double min;
    double median; /* of an even number, the mean of the middle two */
    double p99;    /* nearest rank: the smallest value that 99 % of the sample do not exceed */
} perf_statistics_t;

/** How much longer one thing takes than another. */
typedef struct perf_ratio {
    double ratio; /* of medians; 0 when there is none */
    double low;   /* 95 % of medians of such samples have a ratio between these two */
    double high;
} perf_ratio_t;

/** @param[in,out] values [n] sorted afterwards */
perf_statistics_t perf_statistics(double *values, int64_t n);

/**
 * Ratio of the medians of two samples that were taken in turns, and its 95 % confidence interval by a paired bootstrap:
 * 1000 times n of the n pairs are drawn, with repetition; of the 1000 ratios of medians the 25th from either end. The
 * draws are the same in every run.
 * @param[in]     before, after [n] values of one turn each
 * @param[in]     n             of more than 4096 pairs, the last 4096 are used
 * @param[in,out] scratch       [2 * n + PERF_RATIO_DRAWS]
 */
perf_ratio_t perf_ratio(const double *before, const double *after, int64_t n, double *scratch);

/**
 * Exchanges after which a setup has paid for itself.
 * @param[in] setup_us  [us] spent once
 * @param[in] before_us [us] of one exchange without it
 * @param[in] after_us  [us] of one exchange with it
 * @return rounded up; -1 when an exchange is not faster
 */
int64_t perf_break_even(double setup_us, double before_us, double after_us);

#endif
