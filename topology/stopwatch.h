/* SPDX-License-Identifier: Apache-2.0
 * How long exchanges take: several of them, run in turn, each time that of the slowest rank. What the probe and the
 * choice among measured plans have in common. */
#ifndef TLI_TOPOLOGY_STOPWATCH_H
#define TLI_TOPOLOGY_STOPWATCH_H

#include <mpi.h>

#include <tulle/exchange.h>

/** Most rounds that are timed, and times that an exchange runs in each; more would not change them by much. */
#define TLI_MOST_ROUNDS 32
#define TLI_MOST_TURNS  8

/** One exchange to be timed. */
typedef struct tli_lap {
    tulle_exchange_t *exchange;                  /* borrowed; NULL on every rank = none: its times are 0 */
    int num_turns;                               /* times that it runs in each round; 0 = once */
    double ns[TLI_MOST_ROUNDS * TLI_MOST_TURNS]; /* [rounds * turns] scratch */
    double median_ns;                            /* equal on every rank */
} tli_lap_t;

/**
 * Run all exchanges once to warm up, then in turn, at least three times each, until the time is over.
 * @collective all ranks, with exchanges in the same order
 * @param[in]     time_ms after which no new round begins, by rank 0's clock
 * @param[in,out] laps    [num_laps] the exchanges' results are left as they come
 * @retval TULLE_ERR_TRANSPORT, TULLE_ERR_TIMEOUT, TULLE_ERR_REMOTE, on all ranks
 */
tulle_status_t tli_time_exchanges(MPI_Comm mpi, double time_ms, int num_laps, tli_lap_t *laps);

#endif
