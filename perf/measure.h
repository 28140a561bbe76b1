/* SPDX-License-Identifier: Apache-2.0
 * Verifies and times the methods on one case, interleaved: iteration k runs each of them once. */
#ifndef PERF_MEASURE_H
#define PERF_MEASURE_H

#include <stdint.h>

#include "perf/methods.h"
#include "perf/statistics.h"
#include "perf/watch.h"

/** What one method did in one direction. Equal on every rank. */
typedef struct perf_result {
    const char *method;
    tulle_direction_t direction;
    int64_t iterations; /* timed */
    double setup_us;    /* [us] buffers, graphs and bindings of the method, slowest rank */
    double min_us;      /* [us] times of one iteration are those of its slowest rank */
    double median_us;
    double p99_us;
    perf_ratio_t ratio;  /* its times by those of tulle in the same iterations; 0 when
                             tulle did not run too */
    double predicted_us; /* [us] by the cost model; of naive, at the rate of alltoallv; 0 = not known */
    double rounding;     /* [of the bound] largest error that a wire precision made; 0 without one */
    int64_t wrong;       /* [scalars] over all ranks: the larger of the check before and the check after the timing */
    perf_skip_t skip;    /* why it did not run at all */
    perf_skip_t note;    /* why it ran fewer iterations than asked for */
} perf_result_t;

/** What PERF_SLOW_SECONDS is for: nobody waits for an exchange that is there to be outdone. */
#define PERF_SLOW_SECONDS 2.0

/** Of what a limit on seconds leaves: the fewest whose median says something. */
#define PERF_LEAST_ITERATIONS 5

/** How to measure. */
typedef struct perf_measure_options {
    unsigned methods; /* or of perf_method_bit_t */
    int64_t warmup;
    int64_t iterations;  /* >= 1 */
    double slow_seconds; /* naive is not run when it is predicted to take longer; others are repeated less often */
    double most_seconds; /* for all repetitions together, though at least PERF_LEAST_ITERATIONS are; 0 = no limit */
    perf_watch_t *watch;
} perf_measure_options_t;

/**
 * @collective all ranks of the case
 * @param[out] results [PERF_NUM_METHODS] one per method that was asked for, in the order of perf_methods
 * @param[out] num_results_out [count]
 * @retval TULLE_ERR_NOMEM, TULLE_ERR_TRANSPORT, or what the library reported; on all ranks
 */
tulle_status_t perf_measure(const perf_case_t *one, const perf_measure_options_t *options, perf_result_t *results,
                            int *num_results_out);

#endif
