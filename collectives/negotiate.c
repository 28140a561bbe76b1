/* SPDX-License-Identifier: Apache-2.0
 * Two conversations. Members of a node tell its first rank what they need and hear what they will receive (not with
 * DIRECT, where that is plain). Then receivers tell senders, and senders answer where the rows will lie. */
#include "collectives/negotiate.h"

#include <string.h>

#include "collectives/routes.h"
#include "src/agree.h"
#include "src/sort.h"
#include "src/sparse_exchange.h"

/* Of an expectation: see pack_expectations(). */
#define HEAD_WORDS 3

typedef struct negotiation {
    tulle_comm_t *comm;
    const tulle_pattern_t *pattern;
    tulle_plan_t *plan;
    tli_arena_t arena;       /* scratch */
    int64_t *owner, *row;    /* [num_remote of the plan] distinct remote rows that this rank needs, ascending */
    int64_t *distinct_of;    /* [num_needed] place of each remote need among them */
    int64_t *by_row;         /* [slots * 3] owner, row, slot: ascending, to find a slot */
    int64_t next_found;      /* place in by_row after that of the last slot found */
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

/* Remote needs as records of owner, row, place in the pattern: ascending, as most patterns list them, or sorted. */
static tulle_status_t list_remote_needs(negotiation_t *n, int64_t **records_out, int64_t *num_out)
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
    *records_out = records;
    *num_out = num;
done:
    return st;
}

static tulle_status_t find_distinct_needs(negotiation_t *n)
{
    tulle_status_t st = TULLE_OK;
    int64_t *records = NULL, num = 0, num_distinct = 0;
    TLI_TRY(list_remote_needs(n, &records, &num));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, num, sizeof(int64_t), &n->owner));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, num, sizeof(int64_t), &n->row));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, n->pattern->num_needed, sizeof(int64_t), &n->distinct_of));
    for (int64_t i = 0; i < num; i++) {
        const int64_t *need = records + 3 * i;
        if (i == 0 || need[0] != need[-3] || need[1] != need[-2]) {
            n->owner[num_distinct] = need[0];
            n->row[num_distinct++] = need[1];
        }
        n->distinct_of[need[2]] = num_distinct - 1;
    }
    n->plan->num_remote = num_distinct;
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
    TLI_TRY(tli_arena_alloc_raw(&plan->arena, num_slots, sizeof(int64_t), &plan->slot_owner));
    TLI_TRY(tli_arena_alloc_raw(&plan->arena, num_slots, sizeof(int64_t), &plan->slot_row));
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
        if (i == 0 || n->owner[i] != n->owner[i - 1])
            plan->in_peer[++message] = n->owner[i];
        plan->in_ptr[message + 1] = i + 1;
    }
    memcpy(plan->slot_owner, n->owner, (size_t)plan->num_remote * sizeof *n->owner);
    memcpy(plan->slot_row, n->row, (size_t)plan->num_remote * sizeof *n->row);
done:
    return st;
}

static tulle_status_t pack_needs(negotiation_t *n, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    int64_t *records = NULL;
    int leader = first_rank_of_node(n->comm->topology, my_node(n->comm));
    int64_t num = n->plan->num_remote;
    TLI_TRY(tli_arena_alloc_raw(&n->arena, num, 3 * sizeof *records, &records));
    for (int64_t i = 0; i < num; i++) {
        records[3 * i] = leader;
        records[3 * i + 1] = n->owner[i];
        records[3 * i + 2] = n->row[i];
    }
    TLI_TRY(tli_packets_from_records(&n->arena, records, num, 3, packets));
done:
    return st;
}

/* On the first rank of a node; on others the packets are empty and so is the route. */
static tulle_status_t begin_route(negotiation_t *n, const tli_packets_t *member_needs, tli_node_route_t *route)
{
    tulle_status_t st = TULLE_OK;
    const tulle_topology_t *topology = n->comm->topology;
    tli_needs_t needs = {member_needs->ptr[member_needs->num_peers] / 2, NULL};
    int64_t at = 0;
    TLI_TRY(tli_arena_alloc_raw(&n->arena, needs.num, 3 * sizeof *needs.words, &needs.words));
    for (int p = 0; p < member_needs->num_peers; p++) {
        for (int64_t w = member_needs->ptr[p]; w < member_needs->ptr[p + 1]; w += 2) {
            needs.words[at++] = member_needs->words[w];
            needs.words[at++] = member_needs->words[w + 1];
            needs.words[at++] = member_needs->peer[p];
        }
    }
    TLI_TRY(
        tli_route_begin(topology, my_node(n->comm), n->plan->strategy, n->plan->row_bytes, &needs, &n->arena, route));
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

/* Every member hears of its messages: sender, number of rows, rows. */
static tulle_status_t finish_route(negotiation_t *n, tli_node_route_t *route, const tli_packets_t *transit_in,
                                   tli_packets_t *messages_out)
{
    tulle_status_t st = TULLE_OK;
    tli_needs_t transit = {transit_in->ptr[transit_in->num_peers] / 3, transit_in->words};
    tli_packets_t out = {0, NULL, NULL, NULL};
    const tli_route_messages_t *messages = &route->messages;
    int64_t at = 0;
    TLI_TRY(tli_route_finish(route, &transit));
    TLI_TRY(tli_arena_alloc(&n->arena, messages->num, sizeof *out.peer, &out.peer));
    TLI_TRY(tli_arena_alloc(&n->arena, messages->num + 1, sizeof *out.ptr, &out.ptr));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, 2 * (messages->num + messages->ptr[messages->num]), sizeof *out.words,
                                &out.words));
    for (int64_t m = 0; m < messages->num; m++) {
        int64_t count = messages->ptr[m + 1] - messages->ptr[m];
        if (m == 0 || messages->receiver[m] != messages->receiver[m - 1])
            out.peer[out.num_peers++] = (int)messages->receiver[m];
        out.words[at++] = messages->sender[m];
        out.words[at++] = count;
        memcpy(out.words + at, messages->rows + 2 * messages->ptr[m], (size_t)count * 2 * sizeof *out.words);
        at += 2 * count;
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
    int64_t num_words = told->ptr[told->num_peers], num_in = 0, num_slots = 0, slot = 0, message = 0;
    for (int64_t w = 0; w < num_words; w += 2 + 2 * told->words[w + 1], num_in++)
        num_slots += told->words[w + 1];
    TLI_TRY(alloc_in(n, num_in, num_slots));
    for (int64_t w = 0; w < num_words; message++) {
        int64_t count = told->words[w + 1];
        plan->in_peer[message] = told->words[w];
        for (int64_t i = 0; i < count; i++, slot++) {
            plan->slot_owner[slot] = told->words[w + 2 + 2 * i];
            plan->slot_row[slot] = told->words[w + 3 + 2 * i];
        }
        plan->in_ptr[message + 1] = slot;
        w += 2 + 2 * count;
    }
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
    int may_collect =
        strategy == TULLE_STRATEGY_AUTO || strategy == TULLE_STRATEGY_AGGREGATED || strategy == TULLE_STRATEGY_STRIPED;
    if (st == TULLE_OK)
        st = pack_needs(n, &needs);
    st = tli_sparse_exchange(n->comm, st, &needs, &n->arena, &member_needs);
    if (st == TULLE_OK)
        st = begin_route(n, &member_needs, &route);
    if (strategy == TULLE_STRATEGY_AUTO)
        st = find_dearest(n, st, &route, dearest_ns);
    if (st == TULLE_OK)
        st = settle_route(n, dearest_ns, &route, &transit_out);
    if (may_collect)
        st = tli_sparse_exchange(n->comm, st, &transit_out, &n->arena, &transit_in);
    if (st == TULLE_OK)
        st = finish_route(n, &route, &transit_in, &messages);
    st = tli_sparse_exchange(n->comm, st, &messages, &n->arena, &told);
    if (st == TULLE_OK)
        st = receive_as_told(n, &told);
    return st;
}

/* --- what I will send -------------------------------------------------------------------------------------------- */

static tulle_status_t index_slots(negotiation_t *n)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_slots = tli_plan_num_slots(n->plan);
    int64_t *scratch = NULL;
    TLI_TRY(tli_arena_alloc_raw(&n->arena, num_slots, 3 * sizeof(int64_t), &n->by_row));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, num_slots, 3 * sizeof(int64_t), &scratch));
    for (int64_t slot = 0; slot < num_slots; slot++) {
        n->by_row[3 * slot] = n->plan->slot_owner[slot];
        n->by_row[3 * slot + 1] = n->plan->slot_row[slot];
        n->by_row[3 * slot + 2] = slot;
    }
    tli_sort_by(n->by_row, scratch, num_slots, 3, 2);
done:
    return st;
}

/* Slot that holds a row; -1 if none. Needs mostly ascend: the row after the last one found is looked at first. */
static int64_t find_slot(negotiation_t *n, int64_t owner, int64_t row)
{
    int64_t low = n->next_found, high = tli_plan_num_slots(n->plan);
    if (low >= high || n->by_row[3 * low] != owner || n->by_row[3 * low + 1] != row)
        low = 0;
    else
        high = low;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        const int64_t *here = n->by_row + 3 * middle;
        if (here[0] < owner || (here[0] == owner && here[1] < row))
            low = middle + 1;
        else
            high = middle;
    }
    const int64_t *found = n->by_row + 3 * low;
    n->next_found = low + 1;
    int is_found = low < tli_plan_num_slots(n->plan) && found[0] == owner && found[1] == row;
    return is_found ? found[2] : -1;
}

/* Slot of each distinct need. Direct messages bring them in their own order. */
static tulle_status_t find_slots(negotiation_t *n, int is_direct, int64_t **slot_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t *slot = NULL;
    TLI_TRY(tli_arena_alloc_raw(&n->arena, n->plan->num_remote, sizeof *slot, &slot));
    if (!is_direct)
        TLI_TRY(index_slots(n));
    for (int64_t i = 0; i < n->plan->num_remote; i++) {
        slot[i] = is_direct ? i : find_slot(n, n->owner[i], n->row[i]);
        TLI_ASSERT(slot[i] >= 0);
    }
    *slot_out = slot;
done:
    return st;
}

static tulle_status_t place_needs(negotiation_t *n, int is_direct)
{
    tulle_status_t st = TULLE_OK;
    const tulle_pattern_t *pattern = n->pattern;
    int64_t *slot = NULL;
    TLI_TRY(find_slots(n, is_direct, &slot));
    TLI_TRY(tli_arena_alloc_raw(&n->plan->arena, pattern->num_needed, sizeof(int64_t), &n->plan->need_source));
    for (int64_t i = 0; i < pattern->num_needed; i++) {
        int is_own = pattern->owner_rank[i] == n->comm->rank;
        n->plan->need_source[i] = is_own ? pattern->owner_row[i] : TLI_FROM_SLOT(slot[n->distinct_of[i]]);
    }
done:
    return st;
}

/* Whether all rows of a message are the sender's own: then their places there say it all. */
static int is_from_owner(const tulle_plan_t *plan, int64_t message)
{
    int is_own = 1;
    for (int64_t slot = plan->in_ptr[message]; is_own && slot < plan->in_ptr[message + 1]; slot++)
        is_own = plan->slot_owner[slot] == plan->in_peer[message];
    return is_own;
}

/* To every sender, for each of its messages: my index of it, number of rows, whether they are the sender's own; then
 * the rows, without their owner if so. */
static tulle_status_t pack_expectations(negotiation_t *n, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = n->plan;
    tli_packets_t out = {0, NULL, NULL, NULL};
    int64_t at = 0;
    TLI_TRY(tli_arena_alloc(&n->arena, plan->num_in, sizeof *out.peer, &out.peer));
    TLI_TRY(tli_arena_alloc(&n->arena, plan->num_in + 1, sizeof *out.ptr, &out.ptr));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, HEAD_WORDS * plan->num_in + 2 * tli_plan_num_slots(plan), sizeof *out.words,
                                &out.words));
    for (int64_t m = 0; m < plan->num_in; m++) {
        if (m == 0 || plan->in_peer[m] != plan->in_peer[m - 1])
            out.peer[out.num_peers++] = (int)plan->in_peer[m];
        out.words[at++] = m;
        out.words[at++] = plan->in_ptr[m + 1] - plan->in_ptr[m];
        int is_own = is_from_owner(plan, m);
        out.words[at++] = is_own;
        for (int64_t slot = plan->in_ptr[m]; slot < plan->in_ptr[m + 1]; slot++) {
            if (!is_own)
                out.words[at++] = plan->slot_owner[slot];
            out.words[at++] = plan->slot_row[slot];
        }
        out.ptr[out.num_peers] = at;
    }
    *packets = out;
done:
    return st;
}

static tulle_status_t find_source(negotiation_t *n, int receiver, int64_t owner, int64_t row, int64_t *source_out)
{
    tulle_status_t st = TULLE_OK;
    if (owner == n->comm->rank) {
        TLI_REQUIRE(row < n->plan->num_owned, TULLE_ERR_ARG, "rank %d needs row %lld of a rank that owns %lld rows",
                    receiver, (long long)row, (long long)n->plan->num_owned);
        *source_out = row;
    } else {
        int64_t slot = find_slot(n, owner, row);
        TLI_REQUIRE(slot >= 0, TULLE_ERR_MISMATCH, "rank %d expects row %lld of rank %lld, which does not pass here",
                    receiver, (long long)row, (long long)owner);
        *source_out = TLI_FROM_SLOT(slot);
    }
done:
    return st;
}

static int64_t words_of_expectation(const int64_t *head)
{
    return HEAD_WORDS + (head[2] ? 1 : 2) * head[1];
}

static tulle_status_t send_as_expected(negotiation_t *n, const tli_packets_t *expected)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_t *plan = n->plan;
    int64_t num_words = expected->ptr[expected->num_peers], num_rows = 0, message = 0, at = 0;
    for (int64_t w = 0; w < num_words; w += words_of_expectation(expected->words + w), plan->num_out++)
        num_rows += expected->words[w + 1];
    TLI_TRY(tli_arena_alloc(&plan->arena, plan->num_out, sizeof(int64_t), &plan->out_peer));
    TLI_TRY(tli_arena_alloc(&plan->arena, plan->num_out + 1, sizeof(int64_t), &plan->out_ptr));
    TLI_TRY(tli_arena_alloc(&plan->arena, plan->num_out, sizeof(int64_t), &plan->out_peer_index));
    TLI_TRY(tli_arena_alloc_raw(&plan->arena, num_rows, sizeof(int64_t), &plan->out_source));
    for (int p = 0; p < expected->num_peers; p++) {
        for (int64_t w = expected->ptr[p]; w < expected->ptr[p + 1]; message++) {
            const int64_t *head = expected->words + w, *row = head + HEAD_WORDS;
            int is_own = head[2] != 0;
            plan->out_peer[message] = expected->peer[p];
            plan->out_peer_index[message] = head[0];
            for (int64_t i = 0; i < head[1]; i++, at++, row += is_own ? 1 : 2)
                TLI_TRY(find_source(n, expected->peer[p], is_own ? n->comm->rank : row[0], row[!is_own],
                                    &plan->out_source[at]));
            plan->out_ptr[message + 1] = at;
            w += words_of_expectation(head);
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

static tulle_status_t list_published(negotiation_t *n)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_t *plan = n->plan;
    TLI_TRY(tli_arena_alloc(&n->arena, plan->num_owned, sizeof(int64_t), &n->place_of_owned));
    for (int64_t m = 0; m < plan->num_out; m++)
        for (int64_t i = plan->out_ptr[m]; is_on_my_node(n->comm, plan->out_peer[m]) && i < plan->out_ptr[m + 1]; i++)
            if (TLI_IS_OWNED(plan->out_source[i]))
                n->place_of_owned[plan->out_source[i]] = 1;
    for (int64_t row = 0; row < plan->num_owned; row++)
        plan->num_published += n->place_of_owned[row];
    TLI_TRY(tli_arena_alloc_raw(&plan->arena, plan->num_published, sizeof(int64_t), &plan->published));
    for (int64_t row = 0, place = 0; row < plan->num_owned; row++) {
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

/* Back to the receiver, for each message: its index, mine, the area, number of places, places. */
static tulle_status_t pack_places(negotiation_t *n, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = n->plan;
    tli_packets_t out = {0, NULL, NULL, NULL};
    int64_t at = 0;
    TLI_TRY(tli_arena_alloc(&n->arena, plan->num_out, sizeof *out.peer, &out.peer));
    TLI_TRY(tli_arena_alloc(&n->arena, plan->num_out + 1, sizeof *out.ptr, &out.ptr));
    TLI_TRY(tli_arena_alloc_raw(&n->arena, 4 * plan->num_out + plan->out_ptr[plan->num_out], sizeof *out.words,
                                &out.words));
    for (int64_t m = 0; m < plan->num_out; m++) {
        int is_read = is_on_my_node(n->comm, plan->out_peer[m]);
        int64_t area = is_read ? area_of_message(plan, m) : TLI_READ_NOTHING;
        if (m == 0 || plan->out_peer[m] != plan->out_peer[m - 1])
            out.peer[out.num_peers++] = (int)plan->out_peer[m];
        out.words[at++] = plan->out_peer_index[m];
        out.words[at++] = m;
        out.words[at++] = area;
        out.words[at++] = is_read ? plan->out_ptr[m + 1] - plan->out_ptr[m] : 0;
        for (int64_t i = plan->out_ptr[m]; is_read && i < plan->out_ptr[m + 1]; i++)
            out.words[at++] = place_in_area(n, area, plan->out_source[i]);
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
        int64_t message = placed->words[w], count = placed->words[w + 3];
        plan->in_peer_index[message] = placed->words[w + 1];
        plan->in_read[message] = placed->words[w + 2];
        memcpy(plan->slot_read + plan->in_ptr[message], placed->words + w + 4, (size_t)count * sizeof(int64_t));
        w += 4 + count;
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
    if (st == TULLE_OK)
        st = find_distinct_needs(&n);
    int is_direct = is_plain(comm->topology, strategy);
    if (!is_direct)
        st = receive_routed(&n, st, strategy);
    else if (st == TULLE_OK)
        st = receive_from_owners(&n);
    if (st == TULLE_OK)
        st = place_needs(&n, is_direct);
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
