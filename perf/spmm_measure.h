/* SPDX-License-Identifier: Apache-2.0
 * Verifies and times the methods on one product, in turns: iteration k runs each of them once. */
#ifndef PERF_SPMM_MEASURE_H
#define PERF_SPMM_MEASURE_H

#include "perf/spmm_methods.h"
#include "perf/statistics.h"
#include "perf/watch.h"

/** What one method did. Equal on every rank. */
typedef struct perf_spmm_result {
    const perf_spmm_method_t *method;
    const char *refusal; /* why it did not run; NULL = it did */
    double setup_us;     /* [us] slowest rank */
    double min_us;       /* [us] times of one iteration are those of its slowest rank */
    double median_us;
    double p99_us;
    perf_ratio_t ratio; /* its times by those of tulle in the same iterations */
    int64_t wrong;      /* [scalars] over all ranks: the larger of the check before and the check after the timing */
} perf_spmm_result_t;

/** How to measure. */
typedef struct perf_spmm_measure_options {
    unsigned methods; /* or of perf_spmm_method_bit_t */
    int64_t warmup;
    int64_t iterations; /* >= 1 */
    perf_watch_t *watch;
} perf_spmm_measure_options_t;

/**
 * Where ranks share processors, one that waits for nobody may begin and end while others have not begun. So local
 * methods are run many times in a row, between two barriers, and the time is that of one.
 * @collective all ranks of the case
 * @param[out] results         [PERF_SPMM_NUM_METHODS]
 * @param[out] num_results_out [count]
 * @retval TULLE_ERR_NOMEM, TULLE_ERR_TRANSPORT, or what the library or a peer reported; on all ranks
 */
tulle_status_t perf_spmm_measure(const perf_spmm_problem_t *problem, const perf_spmm_measure_options_t *options,
                                 perf_spmm_result_t *results, int *num_results_out);

#endif
