/* SPDX-License-Identifier: Apache-2.0
 * What tulle_perf says: tables in the manner of nccl-tests, and JSON. Rank 0 only. */
#ifndef PERF_REPORT_H
#define PERF_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include <tulle/plan.h>

#include "perf/input.h"
#include "perf/measure.h"
#include "perf/options.h"
#include "perf/partition_input.h"
#include "perf/setup.h"
#include "perf/volume.h"

/** All figures of one run. Pointers are borrowed. */
typedef struct perf_report {
    const perf_options_t *options;
    const perf_input_t *input;
    int num_ranks;
    const char *topology; /* text form */
    int is_emulated;
    int64_t row_bytes;      /* [bytes] */
    int64_t wire_row_bytes; /* [bytes] as rows cross between nodes */
    int64_t num_needed;     /* [rows] needed by all ranks of others: what a gather delivers */
    double pattern_us;      /* [us] tulle_pattern_create_from_csr(), slowest rank */
    double setup_us;        /* [us] tulle_plan_create() or tulle_plan_load(), slowest rank */
    tulle_plan_stats_t stats;
    perf_volume_t volume;
    perf_partitioned_t partitioned;
    char volume_fault[256]; /* where the library's volumes differ from the tool's; empty = nowhere */
    int num_setups;
    perf_setup_result_t setups[PERF_SETUP_MOST];
    int num_results;
    perf_result_t results[2 * PERF_NUM_METHODS];
} perf_report_t;

/** Result of a method that ran, or NULL. */
const perf_result_t *perf_report_find(const perf_report_t *report, const char *method, tulle_direction_t direction);

/**
 * Exchanges after which the plan has paid for itself against MPI_Alltoallv, by the medians of gather, or of scatter
 * when gather was not measured; -1 when it is not faster or not both were measured.
 */
int64_t perf_report_break_even(const perf_report_t *report);

/** [bytes] of the plan's rows at a level, as they travel there. */
int64_t perf_report_level_bytes(const perf_report_t *report, int level);

/** [percent] by which the model overestimates a result of the library; NAN for other methods, without a time, and for
 * rows that cross in less than the plan was made for. */
double perf_report_prediction_error(const perf_result_t *result);

/** Scalars wrong in all results. */
int64_t perf_report_count_wrong(const perf_report_t *report);

/** Versions, ranks, input, plan, and the volumes of every level: all that is known before anything is timed. */
void perf_report_print_plan(const perf_report_t *report, FILE *out);

/** One line per result, and the verdict. */
void perf_report_print_results(const perf_report_t *report, FILE *out);

/** Whether this build can write JSON. */
int perf_report_has_json(void);

struct json_t; /* of Jansson */
/** Add what a partition did to an input, as a member; nothing when @p how is NULL. In builds with Jansson. */
void perf_report_add_partition(struct json_t *object, const char *how, const perf_partitioned_t *partitioned);

/** Write everything as JSON. @retval TULLE_ERR_FILE cannot be written; TULLE_ERR_NOMEM; TULLE_ERR_UNSUPPORTED */
tulle_status_t perf_report_write_json(const perf_report_t *report, const char *path);

#endif
