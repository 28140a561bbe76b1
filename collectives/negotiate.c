/* SPDX-License-Identifier: Apache-2.0
 * Two conversations. Members of a node tell its first rank what they need and hear what they will receive (not with
 * DIRECT, where that is plain). Then receivers tell senders, and senders answer where the rows will lie. */
#include "collectives/negotiate.h"

#include <string.h>

#include "collectives/modes.h"
#include "collectives/row_runs.h"
#include "src/agree.h"
#include "src/sort.h"
#include "src/sparse_exchange.h"

typedef struct negotiation {
    tulle_comm_t *comm;
    const tulle_pattern_t *pattern;
    tulle_plan_t *plan;
    tli_arena_t arena;       /* scratch */
    int64_t *owner, *row;    /* [num_remote of the plan] distinct remote rows that this rank needs, ascending */
    int64_t found_message;   /* incoming message of the last slot that was looked up */
    int64_t next_found;      /* slot after it */
    int64_t *place_of_owned; /* [num_owned] among the published rows, where the row is one */
} negotiation_t;

static int first_rank_of_node(const tulle_topology_t *topology, int node)
{
    const tli_level_t *nodes = &topology->levels[0];
    return nodes->members[nodes->member_ptr[node]];
}

static int my_node(const tulle_comm_t *comm)
{
    return comm->topology->levels[0].group_of[comm->rank];
}

/* Counts distinct remote needs as long as they ascend, equal ones side by side, as those of most patterns do. */
static int are_needs_ascending(negotiation_t *n)
{
    const tulle_pattern_t *pattern = n->pattern;
    int64_t num = 0, last_owner = -1, last_row = -1;
    int is_ascending = 1;
    for (int64_t i = 0; i < pattern->num_needed && is_ascending; i++) {
        int64_t owner = pattern->owner_rank[i], row = pattern->owner_row[i];
        if (owner == n->comm->rank)
            continue;
        is_ascending = owner > last_owner || (owner == last_owner && row >= last_row);
        num += owner != last_owner || row != last_row;
        last_owner = owner;
        last_row = row;
    }
    n->plan->num_remote = num;
    return is_ascending;
}

static void take_ascending_needs(negotiation_t *n)
{
    const tulle_pattern_t *pattern = n->pattern;
    int64_t num = 0, last_owner = -1, last_row = -1;
    for (int64_t i = 0; i < pattern->num_needed; i++) {
        int64_t owner = pattern->owner_rank[i], row = pattern->owner_row[i];
        if (owner == n->comm->rank) {
            n->plan->need_source[i] = row;
            continue;
        }
        if (owner != last_owner || row != last_row) {
            n->owner[num] = last_owner = owner;
            n->row[num++] = last_row = row;
        }
        n->plan->need_source[i] = TLI_FROM_SLOT(num - 1);
    }
}

/* In any order: as sorted records of owner, row, place in the pattern. */
static tulle_status_t sort_needs(negotiation_t *n, int64_t **records_out, int64_t *num_records_out)
{
    tulle_status_t st = TULLE_OK;
    const tulle_pattern_t *pattern = n->pattern;
    int64_t *records = NULL, *scratch = NULL, num = 0;
    TLI_TRY(tli_arena_alloc_raw(&n->arena, pattern->num_needed, 3 * sizeof *records, &records));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, pattern->num_needed, 3 * sizeof *records, &scratch));
    for (int64_t i = 0; i < pattern->num_needed; i++) {
        if (pattern->owner_rank[i] != n->comm->rank) {
            int64_t *need = records + 3 * num++;
            need[0] = pattern->owner_rank[i];
            need[1] = pattern->owner_row[i];
            need[2] = i;
        }
    }
    tli_sort_by(records, scratch, num, 3, 2);
    n->plan->num_remote = 0;
    for (int64_t i = 0; i < num; i++) {
        const int64_t *need = records + 3 * i;
        n->plan->num_remote += i == 0 || need[0] != need[-3] || need[1] != need[-2];
    }
    *records_out = records;
    *num_records_out = num;
done:
    return st;
}

static void take_sorted_needs(negotiation_t *n, const int64_t *records, int64_t num_records)
{
    const tulle_pattern_t *pattern = n->pattern;
    int64_t num = 0;
    for (int64_t i = 0; i < pattern->num_needed; i++)
        n->plan->need_source[i] = pattern->owner_row[i]; /* of own rows; others follow */
    for (int64_t i = 0; i < num_records; i++) {
        const int64_t *need = records + 3 * i;
        num += i == 0 || need[0] != need[-3] || need[1] != need[-2];
        n->owner[num - 1] = need[0];
        n->row[num - 1] = need[1];
        n->plan->need_source[need[2]] = TLI_FROM_SLOT(num - 1);
    }
}

/* Sources of needs name the place among distinct needs at first, which is the slot if rows come directly: then the
 * needs are the plan's slots. */
static tulle_status_t find_distinct_needs(negotiation_t *n, int is_direct)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_t *plan = n->plan;
    tli_arena_t *arena = is_direct ? &plan->arena : &n->arena;
    int64_t *records = NULL, num_records = 0;
    int is_ascending = are_needs_ascending(n);
    if (!is_ascending)
        TLI_TRY(sort_needs(n, &records, &num_records));
    TLI_TRY(tli_arena_alloc_raw(&plan->arena, plan->num_needed, sizeof(int64_t), &plan->need_source));
    TLI_TRY(tli_arena_alloc_raw(arena, plan->num_remote, sizeof(int64_t), &n->owner));
    TLI_TRY(tli_arena_alloc_raw(arena, plan->num_remote, sizeof(int64_t), &n->row));
    if (is_ascending)
        take_ascending_needs(n);
    else
        take_sorted_needs(n, records, num_records);
done:
    return st;
}

/* --- what I will receive ----------------------------------------------------------------------------------------- */

static tulle_status_t alloc_in(negotiation_t *n, int64_t num_in, int64_t num_slots)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_t *plan = n->plan;
    plan->num_in = num_in;
    TLI_TRY(tli_arena_alloc(&plan->arena, num_in, sizeof(int64_t), &plan->in_peer));
    TLI_TRY(tli_arena_alloc(&plan->arena, num_in + 1, sizeof(int64_t), &plan->in_ptr));
    TLI_TRY(tli_arena_alloc(&plan->arena, num_in, sizeof(int64_t), &plan->in_peer_index));
    TLI_TRY(tli_arena_alloc(&plan->arena, num_in, sizeof(int64_t), &plan->in_read));
    TLI_TRY(tli_arena_alloc(&plan->arena, num_slots, sizeof(int64_t), &plan->slot_read));
done:
    return st;
}

/* DIRECT: one message from every owner. */
static tulle_status_t receive_from_owners(negotiation_t *n)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_t *plan = n->plan;
    int64_t num_owners = 0, message = -1;
    for (int64_t i = 0; i < plan->num_remote; i++)
        num_owners += i == 0 || n->owner[i] != n->owner[i - 1];
    TLI_TRY(alloc_in(n, num_owners, plan->num_remote));
    for (int64_t i = 0; i < plan->num_remote; i++) {
        if (i == 0 || n->owner[i] != n->owner[i - 1]) {
            plan->in_peer[++message] = n->owner[i];
            plan->in_ptr[message] = i;
        }
    }
    plan->in_ptr[num_owners] = plan->num_remote;
    plan->slot_owner = n->owner;
    plan->slot_row = n->row;
done:
    return st;
}

/* One packet, for the first rank of the node. */
static tulle_status_t pack_needs(negotiation_t *n, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    tli_packets_t out = {1, NULL, NULL, NULL};
    int64_t num = n->plan->num_remote;
    TLI_TRY(tli_arena_alloc(&n->arena, 1, sizeof *out.peer, &out.peer));
    TLI_TRY(tli_arena_alloc(&n->arena, 2, sizeof *out.ptr, &out.ptr));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, tli_row_runs_most(num), sizeof *out.words, &out.words));
    out.peer[0] = first_rank_of_node(n->comm->topology, my_node(n->comm));
    out.ptr[1] = tli_row_runs_put(n->owner, n->row, 1, num, out.words);
    *packets = out;
done:
    return st;
}

static tulle_status_t list_needs_of_members(negotiation_t *n, const tli_packets_t *member_needs, tli_needs_t *needs)
{
    tulle_status_t st = TULLE_OK;
    int64_t num = 0;
    for (int p = 0; p < member_needs->num_peers; p++)
        num += member_needs->words[member_needs->ptr[p]];
    TLI_TRY(tli_arena_alloc_raw(&n->arena, num, 3 * sizeof *needs->words, &needs->words));
    for (int p = 0; p < member_needs->num_peers; p++) {
        const int64_t *words = member_needs->words + member_needs->ptr[p];
        int64_t *first = needs->words + 3 * needs->num;
        tli_row_runs_get(words, 3, first, first + 1);
        for (int64_t i = 0; i < words[0]; i++)
            first[3 * i + 2] = member_needs->peer[p];
        needs->num += words[0];
    }
done:
    return st;
}

/* On the first rank of a node; on others the packets are empty and so is the route. */
static tulle_status_t begin_route(negotiation_t *n, const tli_packets_t *member_needs, tli_node_route_t *route)
{
    tulle_status_t st = TULLE_OK;
    const tulle_topology_t *topology = n->comm->topology;
    tli_needs_t needs = {0, NULL};
    TLI_TRY(list_needs_of_members(n, member_needs, &needs));
    TLI_TRY(tli_route_begin(topology, my_node(n->comm), n->plan->strategy, n->plan->row, &needs, &n->arena, route));
done:
    return st;
}

/* All ranks, whatever their status; those that are not the first of their node have no prices. */
static tulle_status_t find_dearest(const negotiation_t *n, tulle_status_t local, const tli_node_route_t *route,
                                   double dearest_ns[TLI_NUM_PRICES])
{
    tulle_status_t st = local;
    if (local == TULLE_OK)
        memcpy(dearest_ns, route->price_ns, sizeof route->price_ns);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, dearest_ns, TLI_NUM_PRICES, MPI_DOUBLE, MPI_MAX, n->comm->mpi));
done:
    return st;
}

static tulle_status_t settle_route(negotiation_t *n, const double dearest_ns[TLI_NUM_PRICES], tli_node_route_t *route,
                                   tli_packets_t *transit_out)
{
    tulle_status_t st = TULLE_OK;
    const tulle_topology_t *topology = n->comm->topology;
    int64_t *records = NULL;
    TLI_TRY(tli_route_settle(route, dearest_ns));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, route->transit.num, 4 * sizeof *records, &records));
    for (int64_t i = 0; i < route->transit.num; i++) {
        const int64_t *asked = route->transit.words + 3 * i;
        records[4 * i] = first_rank_of_node(topology, topology->levels[0].group_of[asked[0]]);
        memcpy(records + 4 * i + 1, asked, 3 * sizeof *asked);
    }
    TLI_TRY(tli_packets_from_records(&n->arena, records, route->transit.num, 4, transit_out));
done:
    return st;
}

/* Every member hears of its messages: sender, rows. */
static tulle_status_t finish_route(negotiation_t *n, tli_node_route_t *route, const tli_packets_t *transit_in,
                                   tli_packets_t *messages_out)
{
    tulle_status_t st = TULLE_OK;
    tli_needs_t transit = {transit_in->ptr[transit_in->num_peers] / 3, transit_in->words};
    tli_packets_t out = {0, NULL, NULL, NULL};
    const tli_route_messages_t *messages = &route->messages;
    int64_t at = 0, num_words = 0;
    TLI_TRY(tli_route_finish(route, &transit));
    TLI_TRY(tli_arena_alloc(&n->arena, messages->num, sizeof *out.peer, &out.peer));
    TLI_TRY(tli_arena_alloc(&n->arena, messages->num + 1, sizeof *out.ptr, &out.ptr));
    for (int64_t m = 0; m < messages->num; m++)
        num_words += 1 + tli_row_runs_most(messages->ptr[m + 1] - messages->ptr[m]);
    TLI_TRY(tli_arena_alloc_raw(&n->arena, num_words, sizeof *out.words, &out.words));
    for (int64_t m = 0; m < messages->num; m++) {
        const int64_t *rows = messages->rows + 2 * messages->ptr[m];
        if (m == 0 || messages->receiver[m] != messages->receiver[m - 1])
            out.peer[out.num_peers++] = (int)messages->receiver[m];
        out.words[at++] = messages->sender[m];
        at += tli_row_runs_put(rows, rows + 1, 2, messages->ptr[m + 1] - messages->ptr[m], out.words + at);
        out.ptr[out.num_peers] = at;
    }
    for (int pair = 0; pair < route->num_pairs; pair++)
        n->plan->num_pairs[route->mode[pair]]++;
    *messages_out = out;
done:
    return st;
}

static tulle_status_t receive_as_told(negotiation_t *n, const tli_packets_t *told)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_t *plan = n->plan;
    int64_t num_words = told->ptr[told->num_peers], num_in = 0, num_slots = 0, message = 0;
    for (int64_t w = 0; w < num_words; w += 1 + tli_row_runs_words(told->words + w + 1), num_in++)
        num_slots += told->words[w + 1];
    TLI_TRY(alloc_in(n, num_in, num_slots));
    TLI_TRY(tli_arena_alloc_raw(&plan->arena, num_slots, sizeof(int64_t), &plan->slot_owner));
    TLI_TRY(tli_arena_alloc_raw(&plan->arena, num_slots, sizeof(int64_t), &plan->slot_row));
    for (int64_t w = 0; w < num_words; message++) {
        int64_t slot = plan->in_ptr[message];
        plan->in_peer[message] = told->words[w];
        plan->in_ptr[message + 1] = slot + told->words[w + 1];
        w += 1 + tli_row_runs_get(told->words + w + 1, 1, plan->slot_owner + slot, plan->slot_row + slot);
    }
done:
    return st;
}

/* Slot of each distinct need: both the needs and the rows of a message ascend. */
static tulle_status_t find_slots(negotiation_t *n, int64_t **slot_out)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = n->plan;
    int64_t *slot = NULL, num_found = 0;
    TLI_TRY(tli_arena_alloc_raw(&n->arena, plan->num_remote, sizeof *slot, &slot));
    for (int64_t m = 0; m < plan->num_in; m++) {
        int64_t need = 0;
        for (int64_t s = plan->in_ptr[m]; s < plan->in_ptr[m + 1]; s++) {
            int64_t owner = plan->slot_owner[s], row = plan->slot_row[s];
            need = tli_row_seek(n->owner, n->row, need, plan->num_remote, owner, row);
            if (need < plan->num_remote && n->owner[need] == owner && n->row[need] == row) {
                slot[need++] = s;
                num_found++;
            }
        }
    }
    TLI_ASSERT(num_found == plan->num_remote);
    (void)num_found;
    *slot_out = slot;
done:
    return st;
}

/* From the place among distinct needs to the slot that brings the row. */
static tulle_status_t place_needs(negotiation_t *n)
{
    tulle_status_t st = TULLE_OK;
    int64_t *slot = NULL, *source = n->plan->need_source;
    TLI_TRY(find_slots(n, &slot));
    for (int64_t i = 0; i < n->plan->num_needed; i++)
        if (!TLI_IS_OWNED(source[i]))
            source[i] = TLI_FROM_SLOT(slot[TLI_SLOT_OF(source[i])]);
done:
    return st;
}

static tulle_status_t receive_routed(negotiation_t *n, tulle_status_t local, tulle_strategy_t strategy)
{
    tli_node_route_t route;
    tli_packets_t needs = {0}, member_needs = {0}, transit_out = {0}, transit_in = {0, NULL, (int64_t[]){0}, NULL};
    tli_packets_t messages = {0}, told = {0};
    double dearest_ns[TLI_NUM_PRICES] = {0};
    tulle_status_t st = local;
    if (st == TULLE_OK)
        st = pack_needs(n, &needs);
    st = tli_sparse_exchange(n->comm, st, &needs, &n->arena, &member_needs);
    if (st == TULLE_OK)
        st = begin_route(n, &member_needs, &route);
    if (strategy == TULLE_STRATEGY_AUTO)
        st = find_dearest(n, st, &route, dearest_ns);
    if (st == TULLE_OK)
        st = settle_route(n, dearest_ns, &route, &transit_out);
    if (tli_modes_collect(n->comm->topology, strategy, dearest_ns))
        st = tli_sparse_exchange(n->comm, st, &transit_out, &n->arena, &transit_in);
    if (st == TULLE_OK)
        st = finish_route(n, &route, &transit_in, &messages);
    st = tli_sparse_exchange(n->comm, st, &messages, &n->arena, &told);
    if (st == TULLE_OK)
        st = receive_as_told(n, &told);
    if (st == TULLE_OK)
        st = place_needs(n);
    return st;
}

/* --- what I will send -------------------------------------------------------------------------------------------- */

/* The slot from `first` on that holds a row, in one incoming message; -1 if none. Rows of a message ascend. */
static int64_t find_in_message(const tulle_plan_t *plan, int64_t message, int64_t first, int64_t owner, int64_t row)
{
    int64_t end = plan->in_ptr[message + 1];
    int64_t slot = tli_row_seek(plan->slot_owner, plan->slot_row, first, end, owner, row);
    return slot < end && plan->slot_owner[slot] == owner && plan->slot_row[slot] == row ? slot : -1;
}

/* Slot that holds a row; -1 if none. Rows that are asked for come from one message after the other, in its order. */
static int64_t find_slot(negotiation_t *n, int64_t owner, int64_t row)
{
    const tulle_plan_t *plan = n->plan;
    int64_t slot = -1;
    if (n->found_message < plan->num_in)
        slot = find_in_message(plan, n->found_message, n->next_found, owner, row);
    for (int64_t m = 0; m < plan->num_in && slot < 0; m++) {
        slot = find_in_message(plan, m, plan->in_ptr[m], owner, row);
        if (slot >= 0)
            n->found_message = m;
    }
    if (slot >= 0)
        n->next_found = slot + 1;
    return slot;
}

/* To every sender, for each of its messages: my index of it, rows. */
static tulle_status_t pack_expectations(negotiation_t *n, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = n->plan;
    tli_packets_t out = {0, NULL, NULL, NULL};
    int64_t at = 0;
    TLI_TRY(tli_arena_alloc(&n->arena, plan->num_in, sizeof *out.peer, &out.peer));
    TLI_TRY(tli_arena_alloc(&n->arena, plan->num_in + 1, sizeof *out.ptr, &out.ptr));
    TLI_TRY(
        tli_arena_alloc_raw(&n->arena, 2 * plan->num_in + 3 * tli_plan_num_slots(plan), sizeof *out.words, &out.words));
    for (int64_t m = 0; m < plan->num_in; m++) {
        int64_t first = plan->in_ptr[m];
        if (m == 0 || plan->in_peer[m] != plan->in_peer[m - 1])
            out.peer[out.num_peers++] = (int)plan->in_peer[m];
        out.words[at++] = m;
        at += tli_row_runs_put(plan->slot_owner + first, plan->slot_row + first, 1, plan->in_ptr[m + 1] - first,
                               out.words + at);
        out.ptr[out.num_peers] = at;
    }
    *packets = out;
done:
    return st;
}

/* Where the rows of one run are that a receiver expects: in place of the rows. */
static tulle_status_t find_sources(negotiation_t *n, int receiver, int64_t owner, int64_t num_rows, int64_t *row)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t i = 0; i < num_rows && owner == n->comm->rank; i++)
        TLI_REQUIRE(row[i] < n->plan->num_owned, TULLE_ERR_ARG, "rank %d needs row %lld of a rank that owns %lld rows",
                    receiver, (long long)row[i], (long long)n->plan->num_owned);
    for (int64_t i = 0; i < num_rows && owner != n->comm->rank; i++) {
        int64_t slot = find_slot(n, owner, row[i]);
        TLI_REQUIRE(slot >= 0, TULLE_ERR_MISMATCH, "rank %d expects row %lld of rank %lld, which does not pass here",
                    receiver, (long long)row[i], (long long)owner);
        row[i] = TLI_FROM_SLOT(slot);
    }
done:
    return st;
}

static tulle_status_t count_expected(negotiation_t *n, const tli_packets_t *expected)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_t *plan = n->plan;
    int64_t num_words = expected->ptr[expected->num_peers], num_rows = 0;
    for (int64_t w = 0; w < num_words; w += 1 + tli_row_runs_words(expected->words + w + 1), plan->num_out++)
        num_rows += expected->words[w + 1];
    TLI_TRY(tli_arena_alloc(&plan->arena, plan->num_out, sizeof(int64_t), &plan->out_peer));
    TLI_TRY(tli_arena_alloc(&plan->arena, plan->num_out + 1, sizeof(int64_t), &plan->out_ptr));
    TLI_TRY(tli_arena_alloc(&plan->arena, plan->num_out, sizeof(int64_t), &plan->out_peer_index));
    TLI_TRY(tli_arena_alloc_raw(&plan->arena, num_rows, sizeof(int64_t), &plan->out_source));
done:
    return st;
}

static tulle_status_t send_as_expected(negotiation_t *n, const tli_packets_t *expected)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_t *plan = n->plan;
    const int64_t *words = expected->words;
    int64_t message = 0, at = 0;
    TLI_TRY(count_expected(n, expected));
    for (int p = 0; p < expected->num_peers; p++) {
        for (int64_t w = expected->ptr[p]; w < expected->ptr[p + 1]; message++) {
            int64_t end = at + words[w + 1];
            plan->out_peer[message] = expected->peer[p];
            plan->out_peer_index[message] = words[w];
            plan->out_ptr[message + 1] = end;
            for (w += 2; at < end;) {
                int64_t owner = words[w++], num_rows = tli_numbers_count(words + w);
                w += tli_numbers_get(words + w, 1, plan->out_source + at);
                TLI_TRY(find_sources(n, expected->peer[p], owner, num_rows, plan->out_source + at));
                at += num_rows;
            }
        }
    }
done:
    return st;
}

/* --- where receivers of my node will read ------------------------------------------------------------------------ */

static int is_on_my_node(const tulle_comm_t *comm, int64_t peer)
{
    return comm->topology->levels[0].group_of[peer] == my_node(comm);
}

/* Marks owned rows of a message that this node reads. Returns how many were not marked before. */
static int64_t mark_published(const negotiation_t *n, int64_t message)
{
    int64_t num = 0;
    for (int64_t i = n->plan->out_ptr[message]; i < n->plan->out_ptr[message + 1]; i++) {
        int64_t source = n->plan->out_source[i];
        if (TLI_IS_OWNED(source)) {
            num += n->place_of_owned[source] == 0;
            n->place_of_owned[source] = 1;
        }
    }
    return num;
}

static tulle_status_t list_published(negotiation_t *n)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_t *plan = n->plan;
    TLI_TRY(tli_arena_alloc(&n->arena, plan->num_owned, sizeof(int64_t), &n->place_of_owned));
    for (int64_t m = 0; m < plan->num_out; m++)
        if (is_on_my_node(n->comm, plan->out_peer[m]))
            plan->num_published += mark_published(n, m);
    TLI_TRY(tli_arena_alloc_raw(&plan->arena, plan->num_published, sizeof(int64_t), &plan->published));
    for (int64_t row = 0, place = 0; place < plan->num_published; row++) {
        if (n->place_of_owned[row]) {
            plan->published[place] = row;
            n->place_of_owned[row] = place++;
        }
    }
done:
    return st;
}

/* Inside a node all rows of a message come from one place: owned rows, or one message that came in. */
static int64_t area_of_message(const tulle_plan_t *plan, int64_t message)
{
    int64_t source = plan->out_source[plan->out_ptr[message]];
    if (TLI_IS_OWNED(source))
        return TLI_READ_PUBLISHED;
    return tli_lower_bound(plan->in_ptr, plan->num_in + 1, TLI_SLOT_OF(source) + 1) - 1;
}

static int64_t place_in_area(const negotiation_t *n, int64_t area, int64_t source)
{
    TLI_ASSERT(TLI_IS_OWNED(source) == (area == TLI_READ_PUBLISHED));
    return area == TLI_READ_PUBLISHED ? n->place_of_owned[source] : TLI_SLOT_OF(source) - n->plan->in_ptr[area];
}

/* Back to the receiver, for each message: its index, mine, the area, places. */
static tulle_status_t pack_places(negotiation_t *n, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = n->plan;
    tli_packets_t out = {0, NULL, NULL, NULL};
    int64_t at = 0, *place = NULL;
    TLI_TRY(tli_arena_alloc(&n->arena, plan->num_out, sizeof *out.peer, &out.peer));
    TLI_TRY(tli_arena_alloc(&n->arena, plan->num_out + 1, sizeof *out.ptr, &out.ptr));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, 4 * plan->num_out + plan->out_ptr[plan->num_out], sizeof *out.words,
                                &out.words));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, plan->out_ptr[plan->num_out], sizeof *place, &place));
    for (int64_t m = 0; m < plan->num_out; m++) {
        int is_read = is_on_my_node(n->comm, plan->out_peer[m]);
        int64_t area = is_read ? area_of_message(plan, m) : TLI_READ_NOTHING;
        const int64_t *source = plan->out_source + plan->out_ptr[m];
        int64_t num_places = is_read ? plan->out_ptr[m + 1] - plan->out_ptr[m] : 0;
        if (m == 0 || plan->out_peer[m] != plan->out_peer[m - 1])
            out.peer[out.num_peers++] = (int)plan->out_peer[m];
        out.words[at++] = plan->out_peer_index[m];
        out.words[at++] = m;
        out.words[at++] = area;
        for (int64_t i = 0; i < num_places; i++)
            place[i] = place_in_area(n, area, source[i]);
        at += tli_numbers_put(place, 1, num_places, out.words + at);
        out.ptr[out.num_peers] = at;
    }
    *packets = out;
done:
    return st;
}

static void read_as_placed(negotiation_t *n, const tli_packets_t *placed)
{
    tulle_plan_t *plan = n->plan;
    for (int64_t w = 0; w < placed->ptr[placed->num_peers];) {
        int64_t message = placed->words[w];
        plan->in_peer_index[message] = placed->words[w + 1];
        plan->in_read[message] = placed->words[w + 2];
        w += 3 + tli_numbers_get(placed->words + w + 3, 1, plan->slot_read + plan->in_ptr[message]);
    }
}

/* One node without groups inside: there is nothing to route, whatever the strategy. */
static int is_plain(const tulle_topology_t *topology, tulle_strategy_t strategy)
{
    return strategy == TULLE_STRATEGY_DIRECT || (topology->num_levels == 2 && topology->levels[0].num_groups == 1);
}

tulle_status_t tli_negotiate(tulle_comm_t *comm, tulle_status_t local, tulle_strategy_t strategy,
                             const tulle_pattern_t *pattern, tulle_plan_t *plan)
{
    negotiation_t n = {.comm = comm, .pattern = pattern, .plan = plan};
    tli_packets_t expectations = {0}, expected = {0}, places = {0}, placed = {0};
    tulle_status_t st = local;
    int is_direct = is_plain(comm->topology, strategy);
    if (st == TULLE_OK)
        st = find_distinct_needs(&n, is_direct);
    if (!is_direct)
        st = receive_routed(&n, st, strategy);
    else if (st == TULLE_OK)
        st = receive_from_owners(&n);
    if (st == TULLE_OK)
        st = pack_expectations(&n, &expectations);
    st = tli_sparse_exchange(comm, st, &expectations, &n.arena, &expected);
    if (st == TULLE_OK)
        st = send_as_expected(&n, &expected);
    if (st == TULLE_OK)
        st = list_published(&n);
    if (st == TULLE_OK)
        st = pack_places(&n, &places);
    st = tli_sparse_exchange(comm, st, &places, &n.arena, &placed);
    if (st == TULLE_OK)
        read_as_placed(&n, &placed);
    tli_arena_release(&n.arena);
    return st;
}
