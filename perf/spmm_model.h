/* SPDX-License-Identifier: Apache-2.0
 * What a local multiplication must at least take: bytes that come from each level of memory, by its rate. Pure. */
#ifndef PERF_SPMM_MODEL_H
#define PERF_SPMM_MODEL_H

#include "collectives/spmm.h"
#include "src/arena.h"

/** Where bytes come from: caches of level 1 and 2, which a core has alone, of level 3, which is shared, or memory. */
enum { PERF_FROM_L1, PERF_FROM_L2, PERF_FROM_L3, PERF_FROM_MEMORY, PERF_NUM_LEVELS };

/** [bytes] of caches that a rank has; at least those of a small processor where the system does not tell. */
typedef struct perf_caches {
    int64_t of_level[PERF_FROM_MEMORY]; /* of the shared one: the rank's share */
} perf_caches_t;

perf_caches_t perf_caches_find(int num_ranks);

/** [bytes] that come from each level in one product, and from no nearer one. */
typedef struct perf_spmm_traffic {
    int64_t rows[PERF_NUM_LEVELS]; /* of B */
    int64_t once[PERF_NUM_LEVELS]; /* A and C; the numbers of columns only where they come from memory */
} perf_spmm_traffic_t;

/**
 * A is read once; C is read or allocated, and written, once, or only written where it is streamed; a row of B is read
 * for each nonzero, from further away if as many others as the cache holds were used since. Where all fits into a cache
 * nothing comes from further away.
 * @param[in] sum_bytes [bytes] of a value of A
 * @param[in] row_bytes [bytes] of a row of B, and of C
 */
tulle_status_t perf_spmm_traffic(const tli_spmm_way_t *way, int64_t sum_bytes, int64_t row_bytes, int is_streamed,
                                 const perf_caches_t *caches, perf_spmm_traffic_t *traffic_out);

/** [GB/s] at which a rank reads what fits into each level: streams, and rows of one length, found by their numbers. */
typedef struct perf_spmm_rates {
    double stream[PERF_NUM_LEVELS], rows[PERF_NUM_LEVELS];
} perf_spmm_rates_t;

/** [us] of one rank: what comes from caches, one after another, or what comes from memory, whichever takes longer. */
double perf_spmm_model_us(const perf_spmm_traffic_t *traffic, const perf_spmm_rates_t *rates);

/** Uses of rows, in order, that find theirs gone from a cache that holds so many, least recently used go first, when
 * the same uses went before. */
tulle_status_t perf_count_misses(const int32_t *use, int64_t num_uses, int64_t num_rows, int64_t capacity,
                                 int64_t *misses_out);

#endif
