/* SPDX-License-Identifier: Apache-2.0
 * What tests of exchanges on GPUs share: random plans against the naive exchange, and a job of rows that tell from
 * which row and round they come. */
#ifndef DEVICE_JOB_H
#define DEVICE_JOB_H

#include "tests/support/gpu_trial.h"

extern void *stream; /* of all tests that need only one; main makes it */

/** A topology with nodes and domains where there are ranks enough. */
const char *some_topology(void);

/** Two rounds of a trial. */
void check_trial(spt_trial_t *trial, const tulle_plan_t *plan, tulle_space_t owned, tulle_space_t ghost,
                 tulle_transport_t transport, uint64_t seed);
/** Every topology, strategy, order and direction. */
void check_every_plan(tulle_transport_t transport, uint64_t num_patterns);

/** Rows are one i64: owned row i of rank r in round n is id * 1000 + n. Some rank needs rows of others, where there are
 * others. */
typedef struct job {
    tulle_comm_t *comm;
    spt_pattern_t pattern;
    tulle_plan_t *plan;
    int64_t *values, *received; /* on the host */
    int64_t *owned, *ghost;     /* on the device */
    int64_t owned_bytes, ghost_bytes;
    tulle_exchange_t *exchange;
} job_t;

job_t job_make(uint64_t seed, tulle_ghost_order_t order, tulle_transport_t transport);
job_t job_make_on(const char *topology, uint64_t seed, tulle_ghost_order_t order, tulle_transport_t transport);
/** @param[in] comm is the job's from here on */
job_t job_make_in(tulle_comm_t *comm, uint64_t seed, tulle_ghost_order_t order, tulle_transport_t transport);
void job_free(job_t *job);
void job_fill(const job_t *job, int64_t round);
int job_is_right(const job_t *job, int64_t round);
tulle_exchange_stats_t stats_of(const job_t *job);

tulle_status_t start_and_wait(tulle_exchange_t *exchange, void *on);
/** Owned rows are overwritten and ghost rows read by work on the stream, round after round, and the host never looks.
 */
void check_back_to_back(tulle_ghost_order_t order, tulle_transport_t transport);
void replay(const job_t *job, void *graph, int num_replays);

#endif
