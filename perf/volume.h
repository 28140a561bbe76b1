/* SPDX-License-Identifier: Apache-2.0
 * Rows and messages between nodes, counted from the matrix by other means than the library's, to judge its figures. */
#ifndef PERF_VOLUME_H
#define PERF_VOLUME_H

#include <stdint.h>

#include <tulle/plan.h>

#include "perf/halo.h"

/** Of one exchange, summed over all ranks; equal on every rank. */
typedef struct perf_volume {
    int64_t naive_rows;
    int64_t direct_rows;
    int64_t limit_rows; /* -1 when a node needs more rows than MPI can collect on one rank */
    int64_t naive_messages;
    int64_t direct_messages;
    int64_t busiest_rows; /* of limit: rows that enter or leave the busiest node, whichever is more; -1 as above */
} perf_volume_t;

/**
 * @collective all ranks of the halo's communicator
 * @param[in]  node_of [num_ranks] node of each rank
 * @param[out] volume_out untouched on failure
 * @retval TULLE_ERR_NOMEM, TULLE_ERR_TRANSPORT; on all ranks
 */
tulle_status_t perf_volume_count(const perf_halo_t *halo, const int *node_of, perf_volume_t *volume_out);

/**
 * Compare with what a plan says about its outermost level.
 * @retval TULLE_ERR_MISMATCH the detail has the first figure that differs
 */
tulle_status_t perf_volume_check(const perf_volume_t *volume, const tulle_plan_stats_t *stats);

#endif
