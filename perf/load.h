/* SPDX-License-Identifier: Apache-2.0
 * What the busiest machine has to move in one exchange, and what can be told from that before naive has run. */
#ifndef PERF_LOAD_H
#define PERF_LOAD_H

#include <stdint.h>

#include "perf/halo.h"

/** Equal on every rank, but for num_local_ranks. */
typedef struct perf_load {
    int num_local_ranks; /* [ranks] that share this machine and its memory */
    int64_t naive_rows;  /* [rows] that enter or leave the busiest machine, whichever is more; where all ranks are on */
    int64_t direct_rows; /* one machine, rows that move at all */
} perf_load_t;

/**
 * @collective all ranks of the halo's communicator
 * @retval TULLE_ERR_NOMEM, TULLE_ERR_TRANSPORT; on all ranks
 */
tulle_status_t perf_load_count(const perf_halo_t *halo, perf_load_t *load_out);

/**
 * Time of a naive exchange, at the rate at which alltoallv moved its rows.
 * @param[in] seconds [s] of alltoallv
 * @return [s]; 0 = cannot be told, as alltoallv moved too little for a rate
 */
double perf_load_predict_naive(const perf_load_t *load, size_t row_bytes, double seconds);

#endif
