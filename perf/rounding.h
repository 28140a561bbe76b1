/* SPDX-License-Identifier: Apache-2.0
 * Judging rows that crossed in a wire precision: how far they may be from what they would be otherwise. Bounds are
 * those of the contract, in double, and share no code with the library. */
#ifndef PERF_ROUNDING_H
#define PERF_ROUNDING_H

#include "perf/case.h"

/**
 * Most that a scalar may be off which is a sum (or min, max) of what crossed rounded.
 * @param[in] magnitude sum of the magnitudes that it is made of
 * @param[in] largest   the same of the scalar of its row where that is largest
 * @param[in] num       [count] contributions: no more messages than that were rounded
 */
double perf_rounding_bound(tulle_wire_precision_t precision, double magnitude, double largest, int64_t num);

/**
 * As perf_case_count_wrong(), but scalars are wrong only beyond their bound; those that no exchange may touch must be
 * what they were.
 * @param[in,out] error_out [of the bound] raised to the largest error
 */
int64_t perf_rounding_count_wrong(const perf_case_t *one, const void *ghost, const int64_t *position,
                                  double *error_out);

#endif
