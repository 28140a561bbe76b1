/* SPDX-License-Identifier: Apache-2.0
 * What tulle_perf spmm says: a table, and JSON. Rank 0 only. */
#ifndef PERF_SPMM_REPORT_H
#define PERF_SPMM_REPORT_H

#include <stdio.h>

#include <tulle/spmm.h>

#include "perf/input.h"
#include "perf/partition_input.h"
#include "perf/spmm_measure.h"
#include "perf/spmm_model.h"
#include "perf/spmm_options.h"
#include "perf/volume.h"

/** All figures of one run. Pointers are borrowed. */
typedef struct perf_spmm_report {
    const perf_spmm_options_t *options;
    const perf_input_t *input;
    int num_ranks;
    const char *topology;
    int is_emulated;
    int64_t row_bytes;    /* [bytes] */
    perf_volume_t volume; /* of rows of B alone, counted without the library */
    perf_partitioned_t partitioned;
    tulle_spmm_stats_t stats;
    int64_t plan_rows;                      /* [rows] between nodes, in both plans */
    int64_t plan_messages;                  /* [messages] likewise */
    int64_t busiest_rows;                   /* [rows] of the node that sends or receives most, in both plans */
    double dedup_us;                        /* [us] to create the same with rows of B alone */
    double create_us;                       /* [us] slowest rank */
    double link_us;                         /* [us] of busiest_rows at the rate of a node; 0 = one node */
    double model_us;                        /* [us] of the local multiplication, by bandwidths; 0 = not measured */
    double level_gb_per_s[PERF_NUM_LEVELS]; /* of all ranks at once, reading rows that fit there */
    int64_t level_bytes[PERF_NUM_LEVELS];   /* [bytes] of the multiplication that come from it, by the model */
    char fault[256];                        /* where volumes cannot be; empty = nowhere */
    int num_results;
    perf_spmm_result_t results[PERF_SPMM_NUM_METHODS];
} perf_spmm_report_t;

/** Result of a method that ran, or NULL. */
const perf_spmm_result_t *perf_spmm_report_find(const perf_spmm_report_t *report, perf_spmm_method_bit_t bit);

/** Total by the longer of its halves, exchange and multiplication; 0 when not all were measured. */
double perf_spmm_report_overlap(const perf_spmm_report_t *report);

/** [%] of what was measured that the model of the multiplication explains; 0 when not measured. */
double perf_spmm_report_percent(const perf_spmm_report_t *report);

/** Scalars wrong in all results. */
int64_t perf_spmm_report_count_wrong(const perf_spmm_report_t *report);

/** What is known before anything is timed; then the results. */
void perf_spmm_report_print_plan(const perf_spmm_report_t *report, FILE *out);
void perf_spmm_report_print_results(const perf_spmm_report_t *report, FILE *out);

/** Write everything as JSON. @retval TULLE_ERR_FILE cannot be written; TULLE_ERR_NOMEM; TULLE_ERR_UNSUPPORTED */
tulle_status_t perf_spmm_report_write_json(const perf_spmm_report_t *report, const char *path);

#endif
