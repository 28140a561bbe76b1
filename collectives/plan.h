/* SPDX-License-Identifier: Apache-2.0
 * Inside of a plan: the messages of this rank, as plain data. Named for gather; scatter runs the same messages
 * backwards.
 *
 * Rows that arrive fill slots: message k of the incoming ones holds slots in_ptr[k] to in_ptr[k + 1]. A row that is
 * sent on comes from an owned row (>= 0) or from a slot (-1 - slot); so does every needed row. That is all: levels,
 * volumes, steps and drawings follow from it. */
#ifndef TLI_PLAN_H
#define TLI_PLAN_H

#include <tulle/plan.h>

#include "collectives/routes.h"
#include "src/arena.h"
#include "src/comm.h"

/** A row comes from owned row `source`, or from slot -1 - `source` when that is negative. */
#define TLI_FROM_SLOT(slot)  (-1 - (slot))
#define TLI_SLOT_OF(source)  (-1 - (source))
#define TLI_IS_OWNED(source) ((source) >= 0)

/** Area of a sender that a receiver on the same node reads from. */
#define TLI_READ_PUBLISHED (-1) /* the sender's published owned rows; otherwise the index of one of its in-messages */
#define TLI_READ_NOTHING   (-2) /* another node: rows are sent */

struct tulle_plan {
    tulle_comm_t *comm; /* one reference */
    int references;
    int num_kept; /* times that the communicator keeps it: without users it then stays, and holds no reference */
    tulle_strategy_t strategy;
    tulle_ghost_order_t ghost_order;
    tli_row_size_t row;
    int64_t num_owned, num_needed;
    int64_t num_remote; /* distinct remote rows needed */

    int64_t num_in;
    int64_t *in_peer;       /* [num_in] sender, ascending */
    int64_t *in_ptr;        /* [num_in + 1] slots */
    int64_t *in_peer_index; /* [num_in] the same message among the sender's outgoing ones */
    int64_t *in_read;       /* [num_in] area of the sender, TLI_READ_* */
    int64_t *slot_owner;    /* [slots] owner's rank */
    int64_t *slot_row;      /* [slots] row there */
    int64_t *slot_read;     /* [slots] row of the sender's area, where in_read names one */

    int64_t num_out;
    int64_t *out_peer;       /* [num_out] receiver, ascending */
    int64_t *out_ptr;        /* [num_out + 1] */
    int64_t *out_peer_index; /* [num_out] the same message among the receiver's incoming ones */
    int64_t *out_source;     /* [out_ptr[num_out]] */

    int64_t *need_source; /* [num_needed] */

    int64_t num_published;
    int64_t *published; /* [num_published] owned rows that ranks of this node read, ascending */

    int64_t num_pairs[4]; /* [tli_pair_mode_t] node pairs into this node, counted on its first rank */
    double setup_ns;      /* slowest rank */

    struct tulle_exchange *cached; /* bindings of tulle_gather() and tulle_scatter(), which own them: once.c */
    void (*destroy_cached)(struct tulle_exchange **first);
    tli_arena_t arena;
};

/** One more user of the plan, also the first of a kept one; matched by tulle_plan_destroy() on the returned handle. */
tulle_plan_t *tli_plan_retain(const tulle_plan_t *plan);

/** The communicator keeps it no longer: freed at once if it has no users. */
void tli_plan_let_go(tulle_plan_t *plan);

/** Slots in all. */
static inline int64_t tli_plan_num_slots(const tulle_plan_t *plan)
{
    return plan->in_ptr[plan->num_in];
}

/**
 * Place of every slot among the needed ones: its row of a ghost buffer in plan order.
 * @param[out] position_out   [slots] in @p arena; -1 for slots that are only passed on
 * @param[out] num_needed_out distinct remote rows that this rank needs
 */
tulle_status_t tli_plan_slot_positions(const tulle_plan_t *plan, tli_arena_t *arena, int64_t **position_out,
                                       int64_t *num_needed_out);

/** Of plans and exchanges: wire_precision and wire_levels mean something on this communicator. Local. */
tulle_status_t tli_wire_options_check(const tulle_comm_t *comm, tulle_wire_precision_t precision, int32_t num_wired);

#endif
