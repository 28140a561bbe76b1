/* SPDX-License-Identifier: Apache-2.0
 * Scatter: gather's messages backwards. What came in over a message goes back over it, combined with what came back
 * from where its rows were sent on. Contributions to a row are combined in a fixed order: this rank's own, then by
 * message. */
#include "collectives/steps_build.h"

/* Contributions to every slot and to every owned row, in their order. Targets 0..slots-1 are slots, then owned rows,
 * unless those are combined by message. */
typedef struct scatter {
    tli_steps_builder_t *b;
    int64_t num_slots, num_targets;
    int64_t *entry_ptr; /* [num_targets + 1] */
    int64_t *entry_area, *entry_row;
    int64_t *num_inputs; /* [num_in + 1] messages that come back before this one can go; last: for the owned rows */
    int64_t *task_of_in; /* [num_in] */
    int64_t owned_task;
} scatter_t;

static int64_t target_of(const scatter_t *s, int64_t source)
{
    return TLI_IS_OWNED(source) ? s->num_slots + source : TLI_SLOT_OF(source);
}

static void place_returns(scatter_t *s)
{
    tli_steps_builder_t *b = s->b;
    for (int64_t m = 0; m < b->plan->num_out; m++) {
        static const tli_area_kind_t kinds[] = {[TLI_WAY_SENT] = TLI_AREA_PRIVATE,
                                                [TLI_WAY_READ] = TLI_AREA_REMOTE,
                                                [TLI_WAY_STORED] = TLI_AREA_SHARED,
                                                [TLI_WAY_STAGED] = TLI_AREA_SHARED,
                                                [TLI_WAY_CARRIED] = TLI_AREA_PRIVATE};
        tli_end_t *end = &b->steps.receive_ends[m];
        end->area = tli_add_wire_area(b, kinds[end->way], end, m);
    }
}

/* First pass counts, second fills: own contributions, then messages in the plan's order. */
static void visit_contributions(scatter_t *s, int64_t *next)
{
    const tli_steps_builder_t *b = s->b;
    const tulle_plan_t *plan = b->plan;
    int is_plan_order = plan->ghost_order == TULLE_GHOST_ORDER_PLAN;
    int64_t num_own = is_plan_order ? s->num_slots : plan->num_needed;
    for (int64_t i = 0; i < num_own; i++) {
        int64_t row = is_plan_order ? b->slot_position[i] : i;
        int64_t target = is_plan_order ? i : target_of(s, plan->need_source[i]);
        if (row < 0 || target >= s->num_targets)
            continue;
        if (s->entry_area != NULL) {
            s->entry_area[next[target]] = TLI_AREA_GHOST;
            s->entry_row[next[target]] = row;
        }
        next[target]++;
    }
    for (int64_t m = 0; m < plan->num_out; m++) {
        for (int64_t i = plan->out_ptr[m]; i < plan->out_ptr[m + 1]; i++) {
            int64_t target = target_of(s, plan->out_source[i]);
            if (target >= s->num_targets)
                continue;
            if (s->entry_area != NULL) {
                s->entry_area[next[target]] = b->steps.receive_ends[m].area;
                s->entry_row[next[target]] = i - plan->out_ptr[m];
            }
            next[target]++;
        }
    }
}

static tulle_status_t list_contributions(scatter_t *s)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = s->b;
    int64_t num_targets = s->num_targets;
    int64_t *next = NULL;
    TLI_TRY(tli_arena_alloc(&b->scratch, num_targets, sizeof *next, &next));
    TLI_TRY(tli_arena_alloc(b->arena, num_targets + 1, sizeof(int64_t), &s->entry_ptr));
    visit_contributions(s, next);
    for (int64_t t = 0; t < num_targets; t++) {
        s->entry_ptr[t + 1] = s->entry_ptr[t] + next[t];
        next[t] = s->entry_ptr[t];
    }
    TLI_TRY(tli_arena_alloc_raw(b->arena, s->entry_ptr[num_targets], sizeof(int64_t), &s->entry_area));
    TLI_TRY(tli_arena_alloc_raw(b->arena, s->entry_ptr[num_targets], sizeof(int64_t), &s->entry_row));
    visit_contributions(s, next);
done:
    return st;
}

/* What each returning message has to wait for. */
static tulle_status_t count_inputs(scatter_t *s)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_builder_t *b = s->b;
    int64_t num_in = b->plan->num_in;
    TLI_TRY(tli_arena_alloc(&s->b->scratch, num_in + 1, sizeof(int64_t), &s->num_inputs));
    for (int64_t m = 0; m < b->plan->num_out; m++) {
        s->num_inputs[num_in] += b->has_owned[m];
        for (int64_t f = b->feed_ptr[m]; f < b->feed_ptr[m + 1]; f++)
            s->num_inputs[b->feeds[f]]++;
    }
done:
    return st;
}

/* Releases of messages that a task reads: each of its readers releases one within the node; others need none. */
static void release_inputs(scatter_t *s, tli_task_t *task, int64_t k)
{
    tli_steps_builder_t *b = s->b;
    for (int64_t u = b->use_ptr[k]; u < b->use_ptr[k + 1]; u++)
        if (tli_reads_remotely(&b->steps.receive_ends[b->uses[u]]))
            tli_add_release(b, task, b->uses[u]);
}

/* Within the node, rows are all owned here or none is. */
static void release_owned(scatter_t *s, tli_task_t *task)
{
    tli_steps_builder_t *b = s->b;
    for (int64_t m = 0; m < b->plan->num_out; m++)
        if (b->has_owned[m] && tli_reads_remotely(&b->steps.receive_ends[m]))
            tli_add_release(b, task, m);
}

/* Nothing comes back for these rows: they are ghost rows as they are, one for each slot. */
static int is_plain(const scatter_t *s, int64_t k)
{
    const tulle_plan_t *plan = s->b->plan;
    int64_t first = plan->in_ptr[k], last = plan->in_ptr[k + 1];
    return s->num_inputs[k] == 0 && s->entry_ptr[last] - s->entry_ptr[first] == last - first;
}

/* They follow one another, so that the one who combines them can read them where they lie. */
static int is_dense(const scatter_t *s, int64_t k)
{
    const int64_t *row = s->entry_row + s->entry_ptr[s->b->plan->in_ptr[k]];
    int64_t n = s->b->steps.send_ends[k].num_rows, i = 1;
    while (i < n && row[i] == row[0] + i)
        i++;
    return i >= n;
}

static int stays_in_place(const scatter_t *s, int64_t k)
{
    const tli_steps_builder_t *b = s->b;
    if (!is_plain(s, k) || tli_writes_remotely(&b->steps.send_ends[k]) || tli_is_rounded(&b->steps.send_ends[k]))
        return 0;
    return tli_reads_remotely(&b->steps.send_ends[k]) ? b->options.lends && is_dense(s, k) : b->options.in_place;
}

static void return_message(scatter_t *s, int64_t k)
{
    tli_steps_builder_t *b = s->b;
    tli_end_t *end = &b->steps.send_ends[k];
    int64_t first = b->plan->in_ptr[k], first_entry = s->entry_ptr[first];
    tli_task_t *task = tli_add_task(b, s->num_inputs[k]);
    s->task_of_in[k] = b->steps.num_tasks - 1;
    if (stays_in_place(s, k)) {
        end->area = TLI_AREA_GHOST;
        end->first_row = s->entry_row[first_entry];
    } else {
        static const tli_area_kind_t kinds[] = {[TLI_WAY_SENT] = TLI_AREA_PRIVATE,
                                                [TLI_WAY_READ] = TLI_AREA_SHARED,
                                                [TLI_WAY_STORED] = TLI_AREA_PEER,
                                                [TLI_WAY_STAGED] = TLI_AREA_PEER,
                                                [TLI_WAY_CARRIED] = TLI_AREA_PRIVATE};
        end->area = tli_add_wire_area(b, kinds[end->way], end, tli_writes_remotely(end) ? k : -1);
        tli_operation_t *operation = tli_add_operation(b, task, end->area, TLI_AREA_GHOST, end->num_rows);
        if (is_plain(s, k)) {
            tli_name_sources(b, operation, s->entry_row + first_entry);
        } else {
            operation->entry_ptr = s->entry_ptr + first;
            operation->entry_area = s->entry_area;
            operation->entry_row = s->entry_row;
        }
    }
    tli_add_send(b, task, k);
    release_inputs(s, task, k);
}

/* All contributions to an owned row in one go. Only owned rows that somebody contributes to are touched. */
static tulle_status_t combine_rows(scatter_t *s, tli_task_t *task)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = s->b;
    int64_t num_owned = b->plan->num_owned, num_rows = 0, num_entries = 0;
    const int64_t *all = s->entry_ptr + s->num_slots;
    int64_t *rows = NULL, *ptr = NULL;
    for (int64_t row = 0; row < num_owned; row++)
        num_rows += all[row + 1] > all[row];
    TLI_TRY(tli_arena_alloc_raw(b->arena, num_rows, sizeof *rows, &rows));
    TLI_TRY(tli_arena_alloc_raw(b->arena, num_rows + 1, sizeof *ptr, &ptr));
    num_rows = 0;
    for (int64_t row = 0; row < num_owned; row++) {
        if (all[row + 1] > all[row]) {
            ptr[num_rows] = all[row];
            rows[num_rows++] = row;
            num_entries = all[row + 1];
        }
    }
    /* Rows in between have no entries, so that one row's end is the next one's beginning. */
    ptr[num_rows] = num_entries;
    tli_operation_t *operation = tli_add_operation(b, task, TLI_AREA_OWNED, -1, num_rows);
    operation->target_index = rows;
    operation->entry_ptr = ptr;
    operation->entry_area = s->entry_area;
    operation->entry_row = s->entry_row;
    operation->keeps_target = 1;
done:
    return st;
}

/* Those among some sources that are owned rows: which they are, and their place in the list. */
static tulle_status_t combine_owned(tli_steps_builder_t *b, tli_task_t *task, int64_t area, const int64_t *source,
                                    int64_t n)
{
    tulle_status_t st = TULLE_OK;
    int64_t *rows = NULL, *places = NULL, num_rows = 0;
    for (int64_t i = 0; i < n; i++)
        num_rows += TLI_IS_OWNED(source[i]);
    if (num_rows == 0)
        goto done;
    tli_operation_t *operation = tli_add_operation(b, task, TLI_AREA_OWNED, area, num_rows);
    operation->combines = 1;
    if (num_rows == n) {
        tli_name_targets(b, operation, source);
        goto done;
    }
    TLI_TRY(tli_arena_alloc_raw(b->arena, num_rows, sizeof *rows, &rows));
    TLI_TRY(tli_arena_alloc_raw(b->arena, num_rows, sizeof *places, &places));
    num_rows = 0;
    for (int64_t i = 0; i < n; i++) {
        if (TLI_IS_OWNED(source[i])) {
            rows[num_rows] = source[i];
            places[num_rows++] = i;
        }
    }
    tli_name_targets(b, operation, rows);
    tli_name_sources(b, operation, places);
done:
    return st;
}

/* A short index per message instead of entries per row: half the memory that is read for rows of one scalar. */
static tulle_status_t combine_messages(scatter_t *s, tli_task_t *task)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = s->b;
    const tulle_plan_t *plan = b->plan;
    if (plan->ghost_order == TULLE_GHOST_ORDER_CALLER)
        TLI_TRY(combine_owned(b, task, TLI_AREA_GHOST, plan->need_source, plan->num_needed));
    for (int64_t m = 0; m < plan->num_out; m++)
        TLI_TRY(combine_owned(b, task, b->steps.receive_ends[m].area, plan->out_source + plan->out_ptr[m],
                              plan->out_ptr[m + 1] - plan->out_ptr[m]));
done:
    return st;
}

static tulle_status_t update_owned(scatter_t *s)
{
    tulle_status_t st = TULLE_OK;
    tli_task_t *task = tli_add_task(s->b, s->num_inputs[s->b->plan->num_in]);
    s->owned_task = s->b->steps.num_tasks - 1;
    TLI_TRY(s->b->options.by_message ? combine_messages(s, task) : combine_rows(s, task));
    release_owned(s, task);
done:
    return st;
}

static tulle_status_t list_waiters(scatter_t *s)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t *b = s->b;
    int64_t num_out = b->plan->num_out, at = 0;
    TLI_TRY(tli_arena_alloc(b->arena, num_out + 1, sizeof(int64_t), &b->steps.waiter_ptr));
    TLI_TRY(tli_arena_alloc(b->arena, num_out + b->num_feeds, sizeof(int64_t), &b->steps.waiters));
    for (int64_t m = 0; m < num_out; m++) {
        for (int64_t f = b->feed_ptr[m]; f < b->feed_ptr[m + 1]; f++)
            b->steps.waiters[at++] = s->task_of_in[b->feeds[f]];
        if (b->has_owned[m])
            b->steps.waiters[at++] = s->owned_task;
        b->steps.waiter_ptr[m + 1] = at;
    }
done:
    return st;
}

tulle_status_t tli_steps_scatter(tli_steps_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    scatter_t s = {.b = b, .num_slots = tli_plan_num_slots(b->plan)};
    int64_t *order = NULL;
    s.num_targets = s.num_slots + (b->options.by_message ? 0 : b->plan->num_owned);
    TLI_TRY(tli_arena_alloc(&b->scratch, b->plan->num_in, sizeof(int64_t), &s.task_of_in));
    place_returns(&s);
    TLI_TRY(list_contributions(&s));
    TLI_TRY(count_inputs(&s));
    TLI_TRY(tli_order_sends(b, &order));
    for (int64_t i = 0; i < b->plan->num_in; i++)
        return_message(&s, order[i]);
    TLI_TRY(update_owned(&s));
    TLI_TRY(list_waiters(&s));
done:
    return st;
}
