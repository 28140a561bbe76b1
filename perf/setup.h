/* SPDX-License-Identifier: Apache-2.0
 * What it takes to begin: patterns, plans and exchanges made over and over, in turns with what the peers make. */
#ifndef PERF_SETUP_H
#define PERF_SETUP_H

#include <stdint.h>

#include "perf/case.h"
#include "perf/input.h"
#include "perf/statistics.h"
#include "perf/watch.h"

#define PERF_SETUP_MOST 16

/** Times of one thing that is made. Equal on every rank. */
typedef struct perf_setup_result {
    char name[40];             /* "pattern", "plan direct", "exchange", or "petsc_basic": what a peer sets up */
    perf_statistics_t seconds; /* [s] of the slowest rank, each time */
    perf_ratio_t ratio;        /* its times by those of "plan direct" in the same turns; 0 for that itself */
} perf_setup_result_t;

/** What is made, and how often. */
typedef struct perf_setup_options {
    const perf_input_t *input; /* the matrix of the case */
    const perf_case_t *one;    /* its plan is what exchanges are made of */
    tulle_comm_t *tulle;
    unsigned methods; /* or of perf_method_bit_t: peers; tulle and naive are not among what is made */
    int64_t repeats;  /* >= 1, after one that does not count */
    perf_watch_t *watch;
} perf_setup_options_t;

/**
 * @collective all ranks of the case
 * @param[out] results         [PERF_SETUP_MOST]
 * @param[out] num_results_out [count]
 * @retval TULLE_ERR_NOMEM, TULLE_ERR_TRANSPORT, or what the library or a peer reported; on all ranks
 */
tulle_status_t perf_setup_measure(const perf_setup_options_t *options, perf_setup_result_t *results,
                                  int *num_results_out);

#endif
