/* SPDX-License-Identifier: Apache-2.0
 * tulle_perf dnn: inference of a sparse network whose neurons are split over ranks. */
#ifndef PERF_DNN_H
#define PERF_DNN_H

#include <stdio.h>

#include "perf/dnn_model.h"
#include "perf/statistics.h"
#include "perf/tool.h"

/** Of one layout. */
typedef struct perf_dnn_result {
    perf_dnn_layout_t layout;
    double setup_us;
    perf_dnn_rows_t sum;     /* over all layers */
    perf_statistics_t us;    /* of one run of all layers, slowest rank */
    double edges_per_second; /* nonzeros of all layers by inputs, by the median */
    perf_dnn_verdict_t verdict;
} perf_dnn_result_t;

/** All figures of one run. Pointers are borrowed. */
typedef struct perf_dnn_report {
    const perf_dnn_options_t *options;
    const perf_network_t *network;
    int num_ranks;
    const char *topology;
    int is_emulated;
    int64_t batch;
    int64_t nonzeros; /* of all layers */
    double serial_us; /* [us] of the serial run in double precision, plainly written */
    int num_results;
    perf_dnn_result_t results[PERF_DNN_NUM_LAYOUTS];
} perf_dnn_report_t;

/**
 * Do what the words behind "dnn" say; rank 0 prints results on standard output and failures on standard error.
 * @collective all ranks of @p comm, with equal words
 * @return equal on every rank
 */
perf_exit_t perf_dnn_run(MPI_Comm comm, int argc, char **argv);

/** Rank 0. */
void perf_dnn_report_print(const perf_dnn_report_t *report, FILE *out);

/** Whether a result is what it must be: no wrong value, categories as expected, volumes as counted. */
int perf_dnn_result_is_right(const perf_dnn_result_t *result);

/** Rank 0. @retval TULLE_ERR_FILE cannot be written; TULLE_ERR_NOMEM; TULLE_ERR_UNSUPPORTED built without Jansson */
tulle_status_t perf_dnn_report_write_json(const perf_dnn_report_t *report, const char *path);

#endif
