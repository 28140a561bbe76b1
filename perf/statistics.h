/* SPDX-License-Identifier: Apache-2.0
 * What is said about repeated times. */
#ifndef PERF_STATISTICS_H
#define PERF_STATISTICS_H

#include <stdint.h>

/** Of one sample; all 0 when it is empty. */
typedef struct perf_statistics {
    double min;
    double median; /* of an even number, the mean of the middle two */
    double p99;    /* nearest rank: the smallest value that 99 % of the sample do not exceed */
} perf_statistics_t;

/** @param[in,out] values [n] sorted afterwards */
perf_statistics_t perf_statistics(double *values, int64_t n);

/**
 * Exchanges after which a setup has paid for itself.
 * @param[in] setup_us  [us] spent once
 * @param[in] before_us [us] of one exchange without it
 * @param[in] after_us  [us] of one exchange with it
 * @return rounded up; -1 when an exchange is not faster
 */
int64_t perf_break_even(double setup_us, double before_us, double after_us);

#endif
