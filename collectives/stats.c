/* SPDX-License-Identifier: Apache-2.0
 * What a plan moves per level, what the alternatives would, and what the cost model makes of it. Counted from the
 * plan's messages; only the limit needs the needs of a whole node, which its first rank collects. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "collectives/pattern.h"
#include "collectives/plan.h"
#include "collectives/routes.h"
#include "src/agree.h"
#include "src/options.h"
#include "src/sparse_exchange.h"
#include "topology/cost.h"

#define MAX_LEVELS TULLE_TOPOLOGY_MAX_LEVELS

/* The ways to move the rows that are compared. */
enum { NAIVE, DIRECT, PLAN, NUM_WAYS };

/* Gather's directions; scatter's are the other way round. */
enum { IN, OUT, NUM_DIRECTIONS };

/* What one rank receives or sends over each level. */
typedef struct flow {
    int64_t rows[MAX_LEVELS];
    int64_t messages[MAX_LEVELS];
} flow_t;

#define FLOW_WORDS ((int64_t)(sizeof(flow_t) / sizeof(int64_t)))
#define ALL_WORDS  (FLOW_WORDS * NUM_WAYS * NUM_DIRECTIONS)

typedef struct counting {
    const tulle_plan_t *plan;
    const tulle_topology_t *topology;
    int64_t *owned; /* [num_ranks] rows of every rank */
    flow_t mine[NUM_DIRECTIONS][NUM_WAYS];
    int hops[MAX_LEVELS];       /* of the plan, on any rank: messages that wait for others */
    int is_passed_on_again;     /* on any rank: rows that waited to leave a node wait again behind it */
    int64_t limits[MAX_LEVELS]; /* of my node, on its first rank */
    double node_ns[NUM_WAYS];   /* of my node, on its first rank */
    int64_t num_sources;        /* nodes that my node needs rows of, on its first rank */
    tli_arena_t arena;
} counting_t;

static void add_flow(flow_t *flow, int level, int64_t rows)
{
    flow->rows[level] += rows;
    flow->messages[level]++;
}

static void count_naive(counting_t *c)
{
    int me = c->plan->comm->rank;
    for (int rank = 0; rank < c->topology->num_ranks; rank++) {
        int level = tli_topology_crossing(c->topology, rank, me);
        if (rank != me && c->owned[rank] > 0)
            add_flow(&c->mine[IN][NAIVE], level, c->owned[rank]);
        if (rank != me && c->owned[me] > 0)
            add_flow(&c->mine[OUT][NAIVE], level, c->owned[me]);
    }
}

/* Distinct needed remote rows: the words that the node's first rank wants for the limit. */
static tulle_status_t list_needs(counting_t *c, int64_t **needs_out, int64_t *num_needs_out)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = c->plan;
    int64_t *position = NULL, *needs = NULL, n = 0;
    TLI_TRY(tli_plan_slot_positions(plan, &c->arena, &position, NULL));
    TLI_TRY(tli_arena_alloc_raw(&c->arena, tli_plan_num_slots(plan), 2 * sizeof *needs, &needs));
    for (int64_t slot = 0; slot < tli_plan_num_slots(plan); slot++) {
        if (position[slot] >= 0) {
            needs[2 * n] = plan->slot_owner[slot];
            needs[2 * n++ + 1] = plan->slot_row[slot];
        }
    }
    *needs_out = needs;
    *num_needs_out = n;
done:
    return st;
}

/* What DIRECT would bring here, and what it would have every owner send: to each owner its number of rows. */
static tulle_status_t count_direct(counting_t *c, const int64_t *needs, int64_t num_needs, tli_packets_t *asked)
{
    tulle_status_t st = TULLE_OK;
    int64_t *rows_of = NULL;
    int num_ranks = c->topology->num_ranks;
    TLI_TRY(tli_arena_alloc(&c->arena, num_ranks, sizeof *rows_of, &rows_of));
    TLI_TRY(tli_arena_alloc(&c->arena, num_ranks, sizeof *asked->peer, &asked->peer));
    TLI_TRY(tli_arena_alloc(&c->arena, (int64_t)num_ranks + 1, sizeof *asked->ptr, &asked->ptr));
    TLI_TRY(tli_arena_alloc(&c->arena, num_ranks, sizeof *asked->words, &asked->words));
    for (int64_t i = 0; i < num_needs; i++)
        rows_of[needs[2 * i]]++;
    for (int owner = 0; owner < num_ranks; owner++) {
        if (rows_of[owner] > 0) {
            add_flow(&c->mine[IN][DIRECT], tli_topology_crossing(c->topology, owner, c->plan->comm->rank),
                     rows_of[owner]);
            asked->peer[asked->num_peers] = owner;
            asked->words[asked->num_peers++] = rows_of[owner];
            asked->ptr[asked->num_peers] = asked->num_peers;
        }
    }
done:
    return st;
}

static void count_asked(counting_t *c, const tli_packets_t *asked)
{
    for (int p = 0; p < asked->num_peers; p++)
        add_flow(&c->mine[OUT][DIRECT], tli_topology_crossing(c->topology, asked->peer[p], c->plan->comm->rank),
                 asked->words[asked->ptr[p]]);
}

/* What came from another node by a rank that does not own it was collected there. */
static void count_incoming(counting_t *c, unsigned char *is_collected)
{
    const tulle_plan_t *plan = c->plan;
    for (int64_t m = 0; m < plan->num_in; m++) {
        int level = tli_topology_crossing(c->topology, (int)plan->in_peer[m], plan->comm->rank);
        add_flow(&c->mine[IN][PLAN], level, plan->in_ptr[m + 1] - plan->in_ptr[m]);
        for (int64_t slot = plan->in_ptr[m]; slot < plan->in_ptr[m + 1]; slot++)
            is_collected[slot] = level == 0 && plan->slot_owner[slot] != plan->in_peer[m];
    }
}

static void count_outgoing(counting_t *c, const unsigned char *is_collected)
{
    const tulle_plan_t *plan = c->plan;
    for (int64_t m = 0; m < plan->num_out; m++) {
        int level = tli_topology_crossing(c->topology, (int)plan->out_peer[m], plan->comm->rank);
        add_flow(&c->mine[OUT][PLAN], level, plan->out_ptr[m + 1] - plan->out_ptr[m]);
        for (int64_t i = plan->out_ptr[m]; i < plan->out_ptr[m + 1]; i++) {
            int64_t source = plan->out_source[i];
            c->hops[level] |= !TLI_IS_OWNED(source);
            c->is_passed_on_again |= !TLI_IS_OWNED(source) && is_collected[TLI_SLOT_OF(source)];
        }
    }
}

static tulle_status_t count_plan(counting_t *c)
{
    tulle_status_t st = TULLE_OK;
    unsigned char *is_collected = NULL;
    TLI_TRY(tli_arena_alloc(&c->arena, tli_plan_num_slots(c->plan), 1, &is_collected));
    count_incoming(c, is_collected);
    count_outgoing(c, is_collected);
done:
    return st;
}

/* What waits in order to leave a node was collected inside: a hop more, where the same rows wait again. */
static tulle_status_t agree_on_hops(counting_t *c)
{
    tulle_status_t st = TULLE_OK;
    int hops[MAX_LEVELS + 1], *inner = &c->hops[c->topology->num_levels - 1];
    memcpy(hops, c->hops, sizeof c->hops);
    hops[MAX_LEVELS] = c->is_passed_on_again;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, hops, MAX_LEVELS + 1, MPI_INT, MPI_MAX, c->plan->comm->mpi));
    memcpy(c->hops, hops, sizeof c->hops);
    *inner = hops[MAX_LEVELS] ? *inner + hops[0] : (*inner > hops[0] ? *inner : hops[0]);
    c->hops[0] = 1;
done:
    return st;
}

/* To the first rank of the node: all flows, then the needs. */
static tulle_status_t pack_summary(counting_t *c, const int64_t *needs, int64_t num_needs, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    const tli_level_t *nodes = &c->topology->levels[0];
    TLI_TRY(tli_arena_alloc(&c->arena, 1, sizeof(int), &packets->peer));
    TLI_TRY(tli_arena_alloc(&c->arena, 2, sizeof(int64_t), &packets->ptr));
    TLI_TRY(tli_arena_alloc_raw(&c->arena, ALL_WORDS + 2 * num_needs, sizeof(int64_t), &packets->words));
    packets->num_peers = 1;
    packets->peer[0] = nodes->members[nodes->member_ptr[nodes->group_of[c->plan->comm->rank]]];
    memcpy(packets->words, c->mine, sizeof c->mine);
    memcpy(packets->words + ALL_WORDS, needs, (size_t)num_needs * 2 * sizeof *needs);
    packets->ptr[1] = ALL_WORDS + 2 * num_needs;
done:
    return st;
}

/* Counted from the needs: a DIRECT plan is not made node by node and does not know. */
static tulle_status_t count_sources(counting_t *c, const tli_needs_t *needs)
{
    tulle_status_t st = TULLE_OK;
    const tli_level_t *nodes = &c->topology->levels[0];
    unsigned char *is_known = NULL;
    TLI_TRY(tli_arena_alloc(&c->arena, nodes->num_groups, 1, &is_known));
    is_known[nodes->group_of[c->plan->comm->rank]] = 1;
    for (int64_t i = 0; i < needs->num; i++) {
        int node = nodes->group_of[needs->words[3 * i]];
        c->num_sources += !is_known[node];
        is_known[node] = 1;
    }
done:
    return st;
}

/* The node's load from the flows of its ranks. */
static tli_load_t load_of_node(const counting_t *c, const tli_packets_t *summaries, int direction, int way)
{
    tli_load_t load = {.messages = {0}};
    int outermost = 0;
    for (int p = 0; p < summaries->num_peers; p++) {
        flow_t flow;
        memcpy(&flow, summaries->words + summaries->ptr[p] + FLOW_WORDS * ((int64_t)direction * NUM_WAYS + way),
               sizeof flow);
        for (int level = 0; level < c->topology->num_levels; level++) {
            load.messages[level] += flow.messages[level];
            load.bytes[level] += flow.rows[level] * tli_row_bytes_at(&c->plan->row, level);
        }
        if (flow.rows[0] * tli_row_bytes_at(&c->plan->row, 0) > load.busiest_bytes)
            load.busiest_bytes = flow.rows[0] * tli_row_bytes_at(&c->plan->row, 0);
    }
    if (way == PLAN)
        memcpy(load.hops, c->hops, sizeof load.hops);
    while (outermost + 1 < c->topology->num_levels && load.messages[outermost] == 0)
        outermost++;
    if (load.hops[outermost] == 0)
        load.hops[outermost] = 1;
    return load;
}

static tulle_status_t sum_node(counting_t *c, const tli_packets_t *summaries)
{
    tulle_status_t st = TULLE_OK;
    tli_needs_t needs = {0, NULL};
    TLI_TRY(tli_arena_alloc_raw(&c->arena, summaries->ptr[summaries->num_peers], 3 * sizeof(int64_t), &needs.words));
    for (int p = 0; p < summaries->num_peers; p++) {
        for (int64_t w = summaries->ptr[p] + ALL_WORDS; w < summaries->ptr[p + 1]; w += 2) {
            int64_t *need = needs.words + 3 * needs.num++;
            need[0] = summaries->words[w];
            need[1] = summaries->words[w + 1];
            need[2] = summaries->peer[p];
        }
    }
    TLI_TRY(count_sources(c, &needs));
    TLI_TRY(tli_route_limits(c->topology, &needs, &c->arena, c->limits));
    for (int way = 0; way < NUM_WAYS && summaries->num_peers > 0; way++) {
        for (int direction = 0; direction < NUM_DIRECTIONS; direction++) {
            tli_load_t load = load_of_node(c, summaries, direction, way);
            c->node_ns[way] = fmax(c->node_ns[way], tli_cost_load_ns(c->topology, summaries->num_peers, &load));
        }
    }
done:
    return st;
}

static tulle_status_t reduce_levels(const counting_t *c, tulle_plan_stats_t *stats)
{
    tulle_status_t st = TULLE_OK;
    MPI_Comm mpi = c->plan->comm->mpi;
    flow_t sum[NUM_WAYS];
    int64_t limits[MAX_LEVELS], busiest[MAX_LEVELS];
    TLI_MPI(MPI_Allreduce(c->mine[IN], sum, (int)(NUM_WAYS * FLOW_WORDS), MPI_INT64_T, MPI_SUM, mpi));
    TLI_MPI(MPI_Allreduce(c->limits, limits, MAX_LEVELS, MPI_INT64_T, MPI_SUM, mpi));
    TLI_MPI(MPI_Allreduce(c->mine[IN][PLAN].rows, busiest, MAX_LEVELS, MPI_INT64_T, MPI_MAX, mpi));
    stats->num_levels = c->topology->num_levels;
    for (int level = 0; level < stats->num_levels; level++) {
        tulle_level_stats_t *to = &stats->levels[level];
        snprintf(to->name, sizeof to->name, "%s", c->topology->levels[level].name);
        to->naive_rows = sum[NAIVE].rows[level];
        to->direct_rows = sum[DIRECT].rows[level];
        to->plan_rows = sum[PLAN].rows[level];
        to->limit_rows = limits[level];
        to->naive_messages = sum[NAIVE].messages[level];
        to->direct_messages = sum[DIRECT].messages[level];
        to->plan_messages = sum[PLAN].messages[level];
        to->busiest_rows = busiest[level];
    }
done:
    return st;
}

static tulle_status_t reduce_times(const counting_t *c, tulle_plan_stats_t *stats)
{
    tulle_status_t st = TULLE_OK;
    double ns[NUM_WAYS];
    TLI_MPI(MPI_Allreduce(c->node_ns, ns, NUM_WAYS, MPI_DOUBLE, MPI_MAX, c->plan->comm->mpi));
    stats->predicted_naive_ns = ns[NAIVE];
    stats->predicted_direct_ns = ns[DIRECT];
    stats->predicted_plan_ns = ns[PLAN];
    double saved = stats->predicted_direct_ns - stats->predicted_plan_ns;
    stats->setup_ns = c->plan->setup_ns;
    stats->break_even_exchanges = saved > 0 ? stats->setup_ns / saved : -1;
done:
    return st;
}

static tulle_status_t reduce_counts(const counting_t *c, tulle_plan_stats_t *stats)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = c->plan;
    int64_t routed = plan->num_pairs[TLI_PAIR_ROUTED], aggregated = plan->num_pairs[TLI_PAIR_AGGREGATED];
    int64_t striped = plan->num_pairs[TLI_PAIR_STRIPED];
    int64_t counts[7] = {plan->num_owned,
                         plan->num_remote,
                         tli_plan_num_slots(plan) - plan->num_remote,
                         c->num_sources - routed - aggregated - striped,
                         routed,
                         aggregated,
                         striped};
    int64_t memory_bytes = (int64_t)sizeof *plan + tli_arena_bytes(&plan->arena);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, counts, 7, MPI_INT64_T, MPI_SUM, plan->comm->mpi));
    TLI_MPI(MPI_Allreduce(&memory_bytes, &stats->memory_bytes, 1, MPI_INT64_T, MPI_MAX, plan->comm->mpi));
    stats->strategy = plan->strategy;
    stats->row_bytes = plan->row.bytes;
    stats->wire_row_bytes = plan->row.wire_bytes;
    stats->wire_levels = plan->row.wire_levels;
    stats->num_owned = counts[0];
    stats->num_needed = counts[1];
    stats->staging_rows = counts[2];
    stats->direct_pairs = (int32_t)counts[3];
    stats->routed_pairs = (int32_t)counts[4];
    stats->aggregated_pairs = (int32_t)counts[5];
    stats->striped_pairs = (int32_t)counts[6];
done:
    return st;
}

static tulle_status_t gather_owned(counting_t *c)
{
    tulle_status_t st = TULLE_OK;
    MPI_Comm mpi = c->plan->comm->mpi;
    TLI_TRY(tli_agree(mpi, tli_arena_alloc(&c->arena, c->topology->num_ranks, sizeof *c->owned, &c->owned)));
    TLI_MPI(MPI_Allgather(&c->plan->num_owned, 1, MPI_INT64_T, c->owned, 1, MPI_INT64_T, mpi));
    count_naive(c);
done:
    return st;
}

static tulle_status_t count_all(counting_t *c, tulle_plan_stats_t *stats)
{
    tulle_status_t st = TULLE_OK;
    MPI_Comm mpi = c->plan->comm->mpi;
    tli_packets_t direct = {0}, asked = {0}, summary = {0}, summaries = {0};
    int64_t *needs = NULL, num_needs = 0;
    TLI_TRY(gather_owned(c));
    TLI_TRY(tli_agree(mpi, count_plan(c)));
    TLI_TRY(agree_on_hops(c));
    st = list_needs(c, &needs, &num_needs);
    if (st == TULLE_OK)
        st = count_direct(c, needs, num_needs, &direct);
    st = tli_sparse_exchange(c->plan->comm, st, &direct, &c->arena, &asked);
    if (st == TULLE_OK) {
        count_asked(c, &asked);
        st = pack_summary(c, needs, num_needs, &summary);
    }
    st = tli_sparse_exchange(c->plan->comm, st, &summary, &c->arena, &summaries);
    if (st == TULLE_OK)
        st = sum_node(c, &summaries);
    TLI_TRY(tli_agree(mpi, st));
    TLI_TRY(reduce_levels(c, stats));
    TLI_TRY(reduce_times(c, stats));
    TLI_TRY(reduce_counts(c, stats));
done:
    return st;
}

tulle_status_t tulle_plan_get_stats(const tulle_plan_t *plan, tulle_plan_stats_t *stats_out)
{
    tulle_status_t st = TULLE_OK;
    counting_t c = {.plan = plan};
    tulle_plan_stats_t stats = {.struct_size = sizeof stats};
    TLI_REQUIRE(plan != NULL, TULLE_ERR_ARG, "the plan is NULL: was it created, or already destroyed?");
    c.topology = plan->comm->topology;
    st = tli_options_check_results(stats_out, sizeof stats, offsetof(tulle_plan_stats_t, striped_pairs));
    TLI_TRY(tli_agree(plan->comm->mpi, st));
    TLI_TRY(count_all(&c, &stats));
    tli_options_give(&stats, sizeof stats, stats_out);
done:
    tli_arena_release(&c.arena);
    return st;
}
