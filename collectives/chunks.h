/* SPDX-License-Identifier: Apache-2.0
 * Long messages cut into chunks that travel one after the other, so that rows are packed, passed on and read while
 * others are still on the wire. A plan is turned into one whose messages are the chunks; steps are made of that. */
#ifndef TLI_CHUNKS_H
#define TLI_CHUNKS_H

#include "collectives/plan.h"

/** A plan cut into chunks. Ends of messages are not numbered for their peers: in_peer_index and out_peer_index are
 * those of the whole messages. */
typedef struct tli_chunks {
    tulle_plan_t plan;                     /* all but its messages is borrowed from the plan that was cut */
    int64_t *in_block;                     /* [chunks that come in] first chunk of the block */
    int64_t *in_chunk_ptr, *out_chunk_ptr; /* [messages + 1] chunks of each message */
} tli_chunks_t;

/**
 * Rows that make a chunk worth its latency. Pure, and the same on every rank.
 * @param[in] chunk_bytes what the caller wants, not 0; TULLE_CHUNK_NEVER: no chunks
 * @param[in] row_bytes   of all fields, as they cross between nodes
 * @return [rows] 0: messages stay whole
 */
int64_t tli_chunk_rows(const tulle_topology_t *topology, size_t chunk_bytes, int64_t row_bytes);

/** Block that a row of a message is in, and the first row of a block. Blocks have so many rows, and twice as many each
 * time when there are many: the longest message has some thousand. */
int64_t tli_block_of(int64_t row, int64_t chunk_rows);
int64_t tli_block_first(int64_t block, int64_t chunk_rows);

/**
 * Cut all messages of a plan. Both ends of each find the same chunks.
 * @param[in]  chunk_rows [rows] at least 1
 * @param[in]  arena      everything is allocated here
 * @cost O(slots + outgoing rows)
 */
tulle_status_t tli_chunks_cut(const tulle_plan_t *plan, int64_t chunk_rows, tli_arena_t *arena,
                              tli_chunks_t *chunks_out);

#endif
