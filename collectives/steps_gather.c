/* SPDX-License-Identifier: Apache-2.0
 * Gather: owned rows are packed and sent; what arrives is sent on first, then put into the ghost rows. */
#include "collectives/steps_build.h"

typedef struct gather {
    tli_steps_builder_t *b;
    int64_t *area_of_in;    /* [num_in] staging or remote area where the rows of a message are read here */
    int64_t *first_in_area; /* [num_in] row of it that is the message's first, unless it is remote */
    int64_t *held_of_block; /* [num_in] by a block's first chunk: staging that its rows are copied to; -1: none yet */
    int64_t *task_of_out;   /* [num_out] task that waits to send it; -1: sent by the task of its only feed */
    int64_t *ghost_ptr;     /* [num_in + 1] ghost rows that each message fills */
    int64_t *ghost_target;  /* rows of the ghost area */
    int64_t *ghost_slot;    /* slots they come from */
} gather_t;

/* A message lands in the caller's ghost rows when those are exactly its rows and nobody here reads them again. */
static int lands_in_place(const tli_steps_builder_t *b, int64_t k)
{
    const tli_end_t *end = &b->steps.receive_ends[k];
    return b->options.in_place && !tli_is_forwarded(b, k) && !tli_is_rounded(end) &&
           (end->way == TLI_WAY_SENT || end->way == TLI_WAY_STORED);
}

static void place_arrivals(gather_t *g)
{
    tli_steps_builder_t *b = g->b;
    for (int64_t k = 0; k < b->plan->num_in; k++) {
        tli_end_t *end = &b->steps.receive_ends[k];
        if (lands_in_place(b, k)) {
            end->area = TLI_AREA_GHOST;
            end->first_row = b->slot_position[b->plan->in_ptr[k]];
        } else {
            int is_remote = tli_reads_remotely(end);
            end->area = tli_add_wire_area(b, is_remote ? TLI_AREA_REMOTE : TLI_AREA_SHARED, end, k);
        }
        g->area_of_in[k] = end->area;
        g->held_of_block[k] = -1;
    }
}

/* Where each slot's row lies in the remote area that its message is read from: where its sender published it, or among
 * its owner's rows. */
static const int64_t *remote_rows(const tli_steps_builder_t *b, int64_t k)
{
    int is_lent = b->options.is_lent != NULL && b->options.is_lent[k];
    return is_lent ? b->plan->slot_row : b->plan->slot_read;
}

/* --- sends that wait for nothing --------------------------------------------------------------------------------- */

static tulle_status_t source_index(const gather_t *g, int64_t m, int64_t in, int64_t **target_out, int64_t **source_out,
                                   int64_t *num_rows_out)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_builder_t *b = g->b;
    const tulle_plan_t *plan = b->plan;
    int64_t *target = NULL, *source = NULL, n = 0;
    int64_t first = plan->out_ptr[m], last = plan->out_ptr[m + 1];
    TLI_TRY(tli_arena_alloc_raw(b->arena, last - first, sizeof *target, &target));
    TLI_TRY(tli_arena_alloc_raw(b->arena, last - first, sizeof *source, &source));
    for (int64_t i = first; i < last; i++) {
        int64_t from = plan->out_source[i];
        int64_t k = TLI_IS_OWNED(from) ? -1 : b->in_of_slot[TLI_SLOT_OF(from)];
        if (k == in) {
            target[n] = i - first;
            source[n++] = k < 0 ? from : g->first_in_area[k] + TLI_SLOT_OF(from) - plan->in_ptr[k];
        }
    }
    *target_out = n == last - first ? NULL : target; /* all rows: in order */
    *source_out = source;
    *num_rows_out = n;
done:
    return st;
}

/* Copy one message's rows from where they are, owned (in = -1) or arrived, into its send area. */
static tulle_status_t pack_part(gather_t *g, tli_task_t *task, int64_t m, int64_t in)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = g->b;
    int64_t *target = NULL, *source = NULL, num_rows = 0;
    TLI_TRY(source_index(g, m, in, &target, &source, &num_rows));
    tli_operation_t *copy =
        tli_add_operation(b, task, b->steps.send_ends[m].area, in < 0 ? TLI_AREA_OWNED : g->area_of_in[in], num_rows);
    tli_name_targets(b, copy, target);
    tli_name_sources(b, copy, source);
done:
    return st;
}

static tulle_status_t pack_and_send(gather_t *g, int64_t m)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = g->b;
    tli_end_t *end = &b->steps.send_ends[m];
    int64_t num_feeds = b->feed_ptr[m + 1] - b->feed_ptr[m];
    tli_task_t *task = tli_add_task(b, num_feeds);
    end->area = tli_writes_remotely(end) ? tli_add_wire_area(b, TLI_AREA_PEER, end, m)
                                         : tli_add_wire_area(b, TLI_AREA_PRIVATE, end, -1);
    if (b->has_owned[m])
        TLI_TRY(pack_part(g, task, m, -1));
    for (int64_t f = b->feed_ptr[m]; f < b->feed_ptr[m + 1]; f++)
        TLI_TRY(pack_part(g, task, m, b->feeds[f]));
    tli_add_send(b, task, m);
    g->task_of_out[m] = b->steps.num_tasks - 1;
done:
    return st;
}

static tulle_status_t start_sends(gather_t *g)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = g->b;
    int64_t *order = NULL;
    TLI_TRY(tli_order_sends(b, &order));
    for (int64_t i = 0; i < b->steps.num_sends; i++)
        if (!tli_reads_remotely(&b->steps.send_ends[order[i]]))
            TLI_TRY(pack_and_send(g, order[i]));
done:
    return st;
}

/* Owned rows that ranks of the node read are packed once, for all of them, unless they read them where they lie. */
static void publish(gather_t *g)
{
    tli_steps_builder_t *b = g->b;
    tli_task_t *task = tli_add_task(b, 0);
    int64_t area = b->options.lends ? TLI_AREA_OWNED : -1;
    for (int64_t m = 0; m < b->steps.num_sends; m++) {
        if (!tli_reads_remotely(&b->steps.send_ends[m]) || !b->has_owned[m])
            continue;
        if (area < 0) {
            area = tli_add_area(b, TLI_AREA_SHARED, b->plan->num_published, -1);
            tli_name_sources(b, tli_add_operation(b, task, area, TLI_AREA_OWNED, b->plan->num_published),
                             b->plan->published);
        }
        b->steps.send_ends[m].area = area;
        tli_add_send(b, task, m);
    }
}

/* --- ghost rows -------------------------------------------------------------------------------------------------- */

static tulle_status_t copy_own_rows(gather_t *g)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = g->b;
    const tulle_plan_t *plan = b->plan;
    int64_t *target = NULL, *source = NULL, n = 0;
    if (plan->ghost_order == TULLE_GHOST_ORDER_PLAN)
        goto done;
    for (int64_t i = 0; i < plan->num_needed; i++)
        n += TLI_IS_OWNED(plan->need_source[i]);
    if (n == 0)
        goto done;
    TLI_TRY(tli_arena_alloc_raw(b->arena, n, sizeof *target, &target));
    TLI_TRY(tli_arena_alloc_raw(b->arena, n, sizeof *source, &source));
    n = 0;
    for (int64_t i = 0; i < plan->num_needed; i++) {
        if (TLI_IS_OWNED(plan->need_source[i])) {
            target[n] = i;
            source[n++] = plan->need_source[i];
        }
    }
    tli_operation_t *copy = tli_add_operation(b, tli_add_task(b, 0), TLI_AREA_GHOST, TLI_AREA_OWNED, n);
    tli_name_targets(b, copy, target);
    tli_name_sources(b, copy, source);
done:
    return st;
}

/* Ghost rows by the message that brings them; within a message ascending, so that writes run forward. */
static tulle_status_t list_ghosts(gather_t *g)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = g->b;
    const tulle_plan_t *plan = b->plan;
    int is_plan_order = plan->ghost_order == TULLE_GHOST_ORDER_PLAN;
    int64_t n = is_plan_order ? tli_plan_num_slots(plan) : plan->num_needed;
    int64_t *next = NULL;
    TLI_TRY(tli_arena_alloc(&b->scratch, plan->num_in + 1, sizeof(int64_t), &g->ghost_ptr));
    TLI_TRY(tli_arena_alloc_raw(&b->scratch, plan->num_in, sizeof(int64_t), &next));
    TLI_TRY(tli_arena_alloc_raw(b->arena, n, sizeof(int64_t), &g->ghost_target));
    TLI_TRY(tli_arena_alloc_raw(&b->scratch, n, sizeof(int64_t), &g->ghost_slot));
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < n; i++) {
            int64_t slot = is_plan_order ? i : TLI_SLOT_OF(plan->need_source[i]);
            int64_t target = is_plan_order ? b->slot_position[i] : i;
            if (slot < 0 || target < 0)
                continue; /* an own row; a row that is only passed on */
            int64_t k = b->in_of_slot[slot];
            if (pass == 0) {
                g->ghost_ptr[k + 1]++;
            } else {
                g->ghost_target[next[k]] = target;
                g->ghost_slot[next[k]++] = slot;
            }
        }
        for (int64_t k = 0; pass == 0 && k < plan->num_in; k++) {
            next[k] = g->ghost_ptr[k];
            g->ghost_ptr[k + 1] += g->ghost_ptr[k];
        }
    }
done:
    return st;
}

static tulle_status_t place_ghosts(gather_t *g, tli_task_t *task, int64_t k)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = g->b;
    int64_t first = g->ghost_ptr[k], n = g->ghost_ptr[k + 1] - first;
    int is_remote = b->steps.areas[g->area_of_in[k]].kind == TLI_AREA_REMOTE;
    int64_t *source = NULL;
    if (n == 0 || g->area_of_in[k] == TLI_AREA_GHOST)
        goto done;
    TLI_TRY(tli_arena_alloc_raw(b->arena, n, sizeof *source, &source));
    for (int64_t i = 0; i < n; i++) {
        int64_t slot = g->ghost_slot[first + i];
        source[i] = is_remote ? remote_rows(b, k)[slot] : g->first_in_area[k] + slot - b->plan->in_ptr[k];
    }
    tli_operation_t *copy = tli_add_operation(b, task, TLI_AREA_GHOST, g->area_of_in[k], n);
    tli_name_targets(b, copy, g->ghost_target + first);
    tli_name_sources(b, copy, source);
done:
    return st;
}

/* --- arrivals ---------------------------------------------------------------------------------------------------- */

/* Ranks of the node read rows as they are: rounded ones are widened for them, once for all. They are sent on as they
 * came. */
static int64_t widen(gather_t *g, tli_task_t *task, int64_t k)
{
    tli_steps_builder_t *b = g->b;
    const tli_end_t *end = &b->steps.receive_ends[k];
    int64_t held = tli_add_area(b, TLI_AREA_SHARED, end->num_rows, -1);
    tli_add_operation(b, task, held, end->area, end->num_rows);
    return held;
}

static int64_t block_of(const tli_steps_builder_t *b, int64_t k)
{
    return b->options.in_block != NULL ? b->options.in_block[k] : k;
}

/* Chunks from a block on that are in it. */
static int64_t num_chunks_of(const tli_steps_builder_t *b, int64_t block)
{
    int64_t k = block + 1;
    while (k < b->plan->num_in && block_of(b, k) == block)
        k++;
    return k - block;
}

/* Rows read from another rank, or that come in several chunks, are copied once, to where their block is read on. */
static void hold(gather_t *g, tli_task_t *task, int64_t k)
{
    tli_steps_builder_t *b = g->b;
    const int64_t *ptr = b->plan->in_ptr;
    int64_t block = block_of(b, k), area = g->area_of_in[k], *held = &g->held_of_block[block];
    if (*held < 0)
        *held = tli_add_area(b, TLI_AREA_SHARED, ptr[block + num_chunks_of(b, block)] - ptr[block], -1);
    tli_operation_t *copy = tli_add_operation(b, task, *held, area, ptr[k + 1] - ptr[k]);
    copy->target_first = g->first_in_area[k] = ptr[k] - ptr[block];
    if (b->steps.areas[area].kind == TLI_AREA_REMOTE)
        tli_name_sources(b, copy, remote_rows(b, k) + ptr[k]);
    g->area_of_in[k] = *held;
}

/* Forward first: others wait for it. */
static void pass_on(gather_t *g, int64_t k)
{
    tli_steps_builder_t *b = g->b;
    tli_task_t *task = tli_add_task(b, 1);
    if (b->steps.areas[g->area_of_in[k]].kind == TLI_AREA_REMOTE || num_chunks_of(b, block_of(b, k)) > 1)
        hold(g, task, k);
    int64_t area = g->area_of_in[k];
    for (int64_t u = b->use_ptr[k]; u < b->use_ptr[k + 1]; u++) {
        int64_t m = b->uses[u];
        if (b->feed_ptr[m + 1] - b->feed_ptr[m] == 1 && tli_reads_remotely(&b->steps.send_ends[m])) {
            if (b->steps.areas[area].precision != TULLE_WIRE_PRECISION_NONE)
                area = widen(g, task, k);
            b->steps.send_ends[m].area = area;
            tli_add_send(b, task, m);
        }
    }
}

/* What is read out of several chunks of a block can be read when the last of them was copied there. */
static void let_read(gather_t *g)
{
    tli_steps_builder_t *b = g->b;
    for (int64_t m = 0; m < b->plan->num_out; m++) {
        int64_t num_feeds = b->feed_ptr[m + 1] - b->feed_ptr[m];
        if (num_feeds < 2 || !tli_reads_remotely(&b->steps.send_ends[m]))
            continue;
        b->steps.send_ends[m].area = g->area_of_in[b->feeds[b->feed_ptr[m]]];
        tli_add_send(b, tli_add_task(b, num_feeds), m);
        g->task_of_out[m] = b->steps.num_tasks - 1;
    }
}

static tulle_status_t receive(gather_t *g, int64_t k)
{
    tulle_status_t st = TULLE_OK;
    tli_task_t *task = tli_add_task(g->b, 1);
    TLI_TRY(place_ghosts(g, task, k));
    if (tli_reads_remotely(&g->b->steps.receive_ends[k]))
        tli_add_release(g->b, task, k);
done:
    return st;
}

/* Order in which an arrival runs what waits for it: pass on, send on to other nodes, keep. */
static tulle_status_t list_waiters(gather_t *g, const int64_t *pass_task, const int64_t *keep_task)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = g->b;
    int64_t num_in = b->plan->num_in, at = 0;
    TLI_TRY(tli_arena_alloc(b->arena, num_in + 1, sizeof(int64_t), &b->steps.waiter_ptr));
    TLI_TRY(tli_arena_alloc(b->arena, 2 * num_in + b->num_feeds, sizeof(int64_t), &b->steps.waiters));
    for (int64_t k = 0; k < num_in; k++) {
        if (pass_task[k] >= 0)
            b->steps.waiters[at++] = pass_task[k];
        for (int64_t u = b->use_ptr[k]; u < b->use_ptr[k + 1]; u++)
            if (g->task_of_out[b->uses[u]] >= 0)
                b->steps.waiters[at++] = g->task_of_out[b->uses[u]];
        b->steps.waiters[at++] = keep_task[k];
        b->steps.waiter_ptr[k + 1] = at;
    }
done:
    return st;
}

tulle_status_t tli_steps_gather(tli_steps_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    gather_t g = {.b = b};
    int64_t num_in = b->plan->num_in;
    int64_t *pass_task = NULL, *keep_task = NULL;
    TLI_TRY(tli_arena_alloc(&b->scratch, num_in, sizeof(int64_t), &g.area_of_in));
    TLI_TRY(tli_arena_alloc(&b->scratch, num_in, sizeof(int64_t), &pass_task));
    TLI_TRY(tli_arena_alloc(&b->scratch, num_in, sizeof(int64_t), &keep_task));
    TLI_TRY(tli_arena_alloc(&b->scratch, num_in, sizeof(int64_t), &g.first_in_area));
    TLI_TRY(tli_arena_alloc(&b->scratch, num_in, sizeof(int64_t), &g.held_of_block));
    TLI_TRY(tli_arena_alloc(&b->scratch, b->plan->num_out, sizeof(int64_t), &g.task_of_out));
    for (int64_t m = 0; m < b->plan->num_out; m++)
        g.task_of_out[m] = -1;
    place_arrivals(&g);
    /* Passing on comes before the sends: it settles where rows are read from. */
    for (int64_t k = 0; k < num_in; k++) {
        pass_task[k] = -1;
        if (tli_is_forwarded(b, k)) {
            pass_on(&g, k);
            pass_task[k] = b->steps.num_tasks - 1;
        }
    }
    let_read(&g);
    TLI_TRY(start_sends(&g));
    publish(&g);
    TLI_TRY(copy_own_rows(&g));
    TLI_TRY(list_ghosts(&g));
    for (int64_t k = 0; k < num_in; k++) {
        TLI_TRY(receive(&g, k));
        keep_task[k] = b->steps.num_tasks - 1;
    }
    TLI_TRY(list_waiters(&g, pass_task, keep_task));
done:
    return st;
}
