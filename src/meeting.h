/* SPDX-License-Identifier: Apache-2.0
 * Where all ranks of a communicator meet and learn the minima of some words: inside a node in shared memory, between
 * nodes by one small message per pair of their first ranks, or a few times seven where nodes are many. */
#ifndef TLI_MEETING_H
#define TLI_MEETING_H

#include <mpi.h>
#include <stdint.h>

#include "src/agree.h"
#include "src/pool.h"

struct tulle_comm;

/** Words of a meeting. */
#define TLI_MEETING_WORDS TLI_AGREE_WORDS

/** Messages that a first rank sends at the same time, at most. */
#define TLI_MEETING_FAN 7

/** Zero-initialised is that of a rank alone, before the first meeting. */
typedef struct tli_meeting {
    uint32_t number; /* meetings so far: alike on all ranks, unless some left one out */
    int is_given_up; /* for ever: some rank did not come */
    int is_pending;  /* MPI still reads and writes what it was given; stays when given up */
    int seat;        /* of this rank, among those that share memory; the one in seat 0 speaks for them */
    struct tli_hall *hall;
    tli_block_t block; /* the hall's, of the rank in seat 0 */
    int num_nodes;
    int *to, *from; /* whom this rank tells and hears, one round of messages after another */
    int64_t said[TLI_MEETING_WORDS], heard[TLI_MEETING_FAN][TLI_MEETING_WORDS];
    MPI_Request requests[2 * TLI_MEETING_FAN];
} tli_meeting_t;

/** Make it for a communicator, which knows who shares memory by now. @collective all ranks */
tulle_status_t tli_meeting_open(struct tulle_comm *comm);

/**
 * Meet: words become their minima over all ranks. Also a barrier, for what was written to shared memory, too. MPI makes
 * progress meanwhile.
 * @param[in] limit_ms [ms] 0 = none
 * @retval TULLE_ERR_TIMEOUT now, and from every later meeting
 * @collective all ranks
 */
tulle_status_t tli_meeting_hold(struct tulle_comm *comm, int64_t limit_ms, int64_t words[TLI_MEETING_WORDS]);

/**
 * How far on in a circle of nodes are those that a node tells what it knows in one round of messages. All know all once
 * rounds of strides 1, 1 + TLI_MEETING_FAN, its square, ... below the number of nodes are over. Pure.
 * @return how many distances there are
 */
int tli_meeting_round(int num_nodes, int64_t stride, int distance[TLI_MEETING_FAN]);

#endif
