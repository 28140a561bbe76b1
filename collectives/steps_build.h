/* SPDX-License-Identifier: Apache-2.0
 * Steps under construction: shared by the two directions. */
#ifndef TLI_STEPS_BUILD_H
#define TLI_STEPS_BUILD_H

#include "collectives/steps.h"
#include "src/fault.h"
#include "src/transport/gpu_peers.h"
#include "src/transport/transport.h"

typedef struct tli_steps_builder {
    const tulle_plan_t *plan;
    tli_arena_t *arena; /* of the steps */
    tli_arena_t scratch;
    tli_steps_options_t options;
    tli_steps_t steps;
    int64_t num_operations, num_sends;

    int64_t *slot_position;   /* [slots] place in plan order, -1 for a row that is only passed on */
    int64_t *in_of_slot;      /* [slots] incoming message */
    unsigned char *has_owned; /* [num_out] some of its rows are owned here */
    int64_t *feed_ptr;        /* [num_out + 1] */
    int64_t *feeds;           /* incoming messages whose rows an outgoing one carries on */
    int64_t num_feeds;
    int64_t *use_ptr; /* [num_in + 1] */
    int64_t *uses;    /* outgoing messages that carry on rows of an incoming one */
} tli_steps_builder_t;

/** Whether some rows of an incoming message are sent on. */
static inline int tli_is_forwarded(const tli_steps_builder_t *b, int64_t k)
{
    return b->use_ptr[k + 1] > b->use_ptr[k];
}

/** Whether the receiver of a message reads its rows where the sender has them. */
static inline int tli_reads_remotely(const tli_end_t *end)
{
    return end->way == TLI_WAY_READ;
}

/** Whether the sender writes them where the receiver wants them. */
static inline int tli_writes_remotely(const tli_end_t *end)
{
    return end->way == TLI_WAY_STORED || end->way == TLI_WAY_STAGED;
}

/** Whether its rows travel rounded, so that they cannot lie among the caller's. */
static inline int tli_is_rounded(const tli_end_t *end)
{
    return end->precision != TULLE_WIRE_PRECISION_NONE;
}

tulle_status_t tli_steps_gather(tli_steps_builder_t *b);
tulle_status_t tli_steps_scatter(tli_steps_builder_t *b);

int64_t tli_add_area(tli_steps_builder_t *b, tli_area_kind_t kind, int64_t rows, int64_t wire);
/** The same for the rows of one end of a message, in the precision in which they travel. */
int64_t tli_add_wire_area(tli_steps_builder_t *b, tli_area_kind_t kind, const tli_end_t *end, int64_t wire);
/** Operations, sends and releases are added to the newest task only. */
tli_task_t *tli_add_task(tli_steps_builder_t *b, int64_t num_inputs);
tli_operation_t *tli_add_operation(tli_steps_builder_t *b, tli_task_t *task, int64_t target, int64_t source,
                                   int64_t num_rows);
/** Rows of an operation, by their index or by their first. @param[in] index [num_rows] kept; NULL: 0, 1, 2, ... */
void tli_name_targets(const tli_steps_builder_t *b, tli_operation_t *operation, const int64_t *index);
void tli_name_sources(const tli_steps_builder_t *b, tli_operation_t *operation, const int64_t *index);
void tli_add_send(tli_steps_builder_t *b, tli_task_t *task, int64_t wire);
/** Outgoing messages and chunks: all peers are sent the same share of their rows in the same time, so that no link that
 * leads to one of them is idle while others wait; where that leaves a choice, the next rank comes first, so that not
 * all begin with the same one.
 * @param[out] order_out [num_sends] in the builder's scratch */
tulle_status_t tli_order_sends(tli_steps_builder_t *b, int64_t **order_out);
void tli_add_release(tli_steps_builder_t *b, tli_task_t *task, int64_t wire);

#endif
