/* SPDX-License-Identifier: Apache-2.0
 * Steps: what one rank does in one exchange, as plain data. A task runs once all messages it waits for have arrived: it
 * copies or combines rows, then hands messages over. There is no order between tasks but that, so no barrier between
 * levels. Steps follow from the plan alone: no buffers, widths or clocks in them. */
#ifndef TLI_STEPS_H
#define TLI_STEPS_H

#include <stdint.h>

#include <tulle/exchange.h>

#include "collectives/plan.h"

/** Areas 0 and 1 are the caller's; then the staging areas, then one per receiving wire that is read where it arrives.
 */
enum { TLI_AREA_OWNED = 0, TLI_AREA_GHOST = 1, TLI_FIRST_STAGING = 2 };

typedef enum tli_area_kind {
    TLI_AREA_USER,    /* the caller's rows */
    TLI_AREA_PRIVATE, /* staging that only this rank reads */
    TLI_AREA_SHARED,  /* staging that ranks of the node read, or, from their GPUs, write */
    TLI_AREA_REMOTE,  /* the rows of another rank, read where they lie */
    TLI_AREA_PEER     /* staging or ghost rows of another rank, written where they are to lie */
} tli_area_kind_t;

typedef struct tli_area {
    tli_area_kind_t kind;
    int64_t rows;                     /* staging: to be allocated; remote: known when bound */
    int64_t wire;                     /* remote: the receiving wire; peer: the sending one */
    tulle_wire_precision_t precision; /* of its rows: those of a message as they travel, all others as they are */
} tli_area_t;

/** Copy rows, combine them one by one, or combine the entries of each. */
typedef struct tli_operation {
    int64_t target, source; /* areas; no source when there are entries */
    int64_t num_rows;
    const int64_t *target_index, *source_index; /* NULL: the first, the one after it, ... */
    int64_t target_first, source_first;         /* 0 with an index */
    const int64_t *entry_ptr;                   /* [num_rows + 1] NULL: a copy */
    const int64_t *entry_area, *entry_row;
    int keeps_target;
    int combines; /* without entries: a row is combined with what the target is, not copied over it */
} tli_operation_t;

/** Waits for num_inputs arrivals, runs its operations, hands over its sends, releases what it read. */
typedef struct tli_task {
    int64_t num_inputs;
    int64_t first_operation, num_operations;
    int64_t first_send, num_sends;
    int64_t first_release, num_releases;
} tli_task_t;

/** How the rows of a message get across. */
typedef enum tli_way {
    TLI_WAY_SENT,   /* packed here, sent by the transport */
    TLI_WAY_READ,   /* the receiver reads them in the sender's shared memory */
    TLI_WAY_STORED, /* the sender's GPU stores them into memory of the receiver's GPU */
    TLI_WAY_STAGED, /* as stored, into pinned host memory of the receiver: its GPU is out of reach */
    TLI_WAY_CARRIED /* packed by the GPU, carried to another machine with all else for that rank: carrier.h */
} tli_way_t;

/** One end of a message, or of a chunk of one: index among the plan's messages is index of the wire. */
typedef struct tli_end {
    int64_t peer;
    int64_t area;      /* where the rows are put or found */
    int64_t first_row; /* of that area */
    int64_t num_rows;
    int tag; /* tells apart messages of one transport between the same two ranks */
    tli_way_t way;
    int transport; /* index into the table, on the host */
    tulle_wire_precision_t precision;
} tli_end_t;

typedef struct tli_steps {
    int64_t num_areas;
    tli_area_t *areas;
    int64_t num_tasks;
    tli_task_t *tasks; /* those without inputs run first, in order */
    tli_operation_t *operations;
    int64_t *sends;    /* wires */
    int64_t *releases; /* receiving wires, each as often as it has readers */
    int64_t num_releases;
    int64_t num_sends, num_receives;
    tli_end_t *send_ends, *receive_ends;
    int64_t *waiter_ptr; /* [num_receives + 1] tasks that wait for a wire */
    int64_t *waiters;
    int num_tags; /* tags that this rank's wires use */
} tli_steps_t;

/** How steps are laid out. Zeroes: nothing in place, every row by its index, combined in one go, any transport. */
typedef struct tli_steps_options {
    int in_place; /* ghost rows in plan order may be sent from and received into directly */
    int lends;    /* ranks of the node may read this rank's rows, owned or ghost as the direction has it */
    const unsigned char *is_lent; /* [num_in] gather: the message's rows are read among its owner's; NULL: none */
    const int64_t *in_block;     /* [num_in] of chunks, the first that is in the same block; NULL: messages are whole */
    int names_runs;              /* rows that follow one another go by their first */
    int by_message;              /* scatter combines into owned rows one message after the other, in the same order */
    tulle_transport_t transport; /* the only one, or any */
    tulle_wire_precision_t wire_precision; /* of messages that cross one of the outermost wire_levels */
    int wire_levels;
    const struct tli_gpu_peers *gpus; /* NULL on the host; otherwise GPUs store the rows: how each peer is reached */
} tli_steps_options_t;

/**
 * Lay out the steps of one direction.
 * @param[in]  options  ranks of a node agree on what they lend
 * @param[in]  arena    everything is allocated here
 * @retval TULLE_ERR_UNSUPPORTED the transport that was chosen does not lead to a peer
 * @cost O(slots + outgoing rows + needed) time and memory
 */
tulle_status_t tli_steps_build(const tulle_plan_t *plan, tulle_direction_t direction,
                               const tli_steps_options_t *options, tli_arena_t *arena, tli_steps_t *steps_out);

#endif
