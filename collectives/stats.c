/* SPDX-License-Identifier: Apache-2.0
 * What a plan moves per level, what the alternatives would, and what the cost model makes of it. Counted from the
 * plan's messages; only the limit needs the needs of a whole node, which its first rank collects. */
#include <stdio.h>
#include <string.h>

#include "collectives/pattern.h"
#include "collectives/plan.h"
#include "collectives/routes.h"
#include "src/agree.h"
#include "src/sparse_exchange.h"
#include "topology/cost.h"

#define MAX_LEVELS TULLE_TOPOLOGY_MAX_LEVELS

/* The ways to move the rows that are compared. */
enum { NAIVE, DIRECT, PLAN, NUM_WAYS };

/* What one rank receives. */
typedef struct incoming {
    int64_t rows[NUM_WAYS][MAX_LEVELS];
    int64_t messages[NUM_WAYS][MAX_LEVELS];
} incoming_t;

typedef struct counting {
    const tulle_plan_t *plan;
    const tulle_topology_t *topology;
    int64_t *owned; /* [num_ranks] rows of every rank */
    incoming_t mine;
    int64_t limits[MAX_LEVELS]; /* of my node, on its first rank */
    double node_ns[NUM_WAYS];   /* links of my node, on its first rank */
    int64_t num_sources;        /* nodes that my node needs rows of, on its first rank */
    tli_arena_t arena;
} counting_t;

static void count_naive(counting_t *c)
{
    int me = c->plan->comm->rank;
    for (int rank = 0; rank < c->topology->num_ranks; rank++) {
        if (rank != me && c->owned[rank] > 0) {
            int level = tli_topology_crossing(c->topology, rank, me);
            c->mine.rows[NAIVE][level] += c->owned[rank];
            c->mine.messages[NAIVE][level]++;
        }
    }
}

/* Distinct needed remote rows: what DIRECT moves, and the words that the node's first rank wants for the limit. */
static tulle_status_t count_direct(counting_t *c, int64_t **needs_out, int64_t *num_needs_out)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = c->plan;
    int64_t *position = NULL, *needs = NULL, n = 0;
    unsigned char *is_owner = NULL;
    TLI_TRY(tli_plan_slot_positions(plan, &c->arena, &position, NULL));
    TLI_TRY(tli_arena_alloc_raw(&c->arena, tli_plan_num_slots(plan), 2 * sizeof *needs, &needs));
    TLI_TRY(tli_arena_alloc(&c->arena, c->topology->num_ranks, 1, &is_owner));
    for (int64_t slot = 0; slot < tli_plan_num_slots(plan); slot++) {
        int owner = (int)plan->slot_owner[slot];
        if (position[slot] < 0)
            continue;
        int level = tli_topology_crossing(c->topology, owner, plan->comm->rank);
        c->mine.rows[DIRECT][level]++;
        c->mine.messages[DIRECT][level] += !is_owner[owner];
        is_owner[owner] = 1;
        needs[2 * n] = owner;
        needs[2 * n++ + 1] = plan->slot_row[slot];
    }
    *needs_out = needs;
    *num_needs_out = n;
done:
    return st;
}

static void count_plan(counting_t *c)
{
    const tulle_plan_t *plan = c->plan;
    for (int64_t m = 0; m < plan->num_in; m++) {
        int level = tli_topology_crossing(c->topology, (int)plan->in_peer[m], plan->comm->rank);
        c->mine.rows[PLAN][level] += plan->in_ptr[m + 1] - plan->in_ptr[m];
        c->mine.messages[PLAN][level]++;
    }
}

/* To the first rank of the node: rows and messages from other nodes in each way, then the needs. */
static tulle_status_t pack_summary(counting_t *c, const int64_t *needs, int64_t num_needs, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    const tli_level_t *nodes = &c->topology->levels[0];
    int64_t at = 0;
    TLI_TRY(tli_arena_alloc(&c->arena, 1, sizeof(int), &packets->peer));
    TLI_TRY(tli_arena_alloc(&c->arena, 2, sizeof(int64_t), &packets->ptr));
    TLI_TRY(tli_arena_alloc_raw(&c->arena, 2 * NUM_WAYS + 2 * num_needs, sizeof(int64_t), &packets->words));
    packets->num_peers = 1;
    packets->peer[0] = nodes->members[nodes->member_ptr[nodes->group_of[c->plan->comm->rank]]];
    for (int way = 0; way < NUM_WAYS; way++) {
        packets->words[at++] = c->mine.rows[way][0];
        packets->words[at++] = c->mine.messages[way][0];
    }
    memcpy(packets->words + at, needs, (size_t)num_needs * 2 * sizeof *needs);
    packets->ptr[1] = at + 2 * num_needs;
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

static tulle_status_t sum_node(counting_t *c, const tli_packets_t *summaries)
{
    tulle_status_t st = TULLE_OK;
    int64_t totals[2 * NUM_WAYS] = {0};
    tli_needs_t needs = {0, NULL};
    TLI_TRY(tli_arena_alloc_raw(&c->arena, summaries->ptr[summaries->num_peers], 3 * sizeof(int64_t), &needs.words));
    for (int p = 0; p < summaries->num_peers; p++) {
        const int64_t *words = summaries->words + summaries->ptr[p];
        for (int w = 0; w < 2 * NUM_WAYS; w++)
            totals[w] += words[w];
        for (int64_t w = summaries->ptr[p] + 2 * NUM_WAYS; w < summaries->ptr[p + 1]; w += 2) {
            int64_t *need = needs.words + 3 * needs.num++;
            need[0] = summaries->words[w];
            need[1] = summaries->words[w + 1];
            need[2] = summaries->peer[p];
        }
    }
    for (int way = 0; way < NUM_WAYS; way++)
        c->node_ns[way] = tli_cost_node_ns(c->topology, totals[2 * way + 1], totals[2 * way] * c->plan->row_bytes);
    TLI_TRY(count_sources(c, &needs));
    TLI_TRY(tli_route_limits(c->topology, &needs, &c->arena, c->limits));
done:
    return st;
}

/* Inside the node a rank takes its messages one after the other. */
static double inner_ns(const counting_t *c, int way)
{
    double ns = 0;
    for (int level = 1; level < c->topology->num_levels; level++) {
        int64_t messages = c->mine.messages[way][level];
        if (messages > 0)
            ns += tli_cost_message_ns(c->topology, level, c->mine.rows[way][level] * c->plan->row_bytes) +
                  (double)(messages - 1) * tli_cost_message_ns(c->topology, level, 0);
    }
    return ns;
}

static tulle_status_t reduce_levels(const counting_t *c, tulle_plan_stats_t *stats)
{
    tulle_status_t st = TULLE_OK;
    MPI_Comm mpi = c->plan->comm->mpi;
    incoming_t sum;
    int64_t limits[MAX_LEVELS], busiest[MAX_LEVELS];
    TLI_MPI(MPI_Allreduce(&c->mine, &sum, (int)(sizeof sum / sizeof(int64_t)), MPI_INT64_T, MPI_SUM, mpi));
    TLI_MPI(MPI_Allreduce(c->limits, limits, MAX_LEVELS, MPI_INT64_T, MPI_SUM, mpi));
    TLI_MPI(MPI_Allreduce(c->mine.rows[PLAN], busiest, MAX_LEVELS, MPI_INT64_T, MPI_MAX, mpi));
    stats->num_levels = c->topology->num_levels;
    for (int level = 0; level < stats->num_levels; level++) {
        tulle_level_stats_t *to = &stats->levels[level];
        snprintf(to->name, sizeof to->name, "%s", c->topology->levels[level].name);
        to->naive_rows = sum.rows[NAIVE][level];
        to->direct_rows = sum.rows[DIRECT][level];
        to->plan_rows = sum.rows[PLAN][level];
        to->limit_rows = limits[level];
        to->naive_messages = sum.messages[NAIVE][level];
        to->direct_messages = sum.messages[DIRECT][level];
        to->plan_messages = sum.messages[PLAN][level];
        to->busiest_rows = busiest[level];
    }
done:
    return st;
}

static tulle_status_t reduce_times(const counting_t *c, tulle_plan_stats_t *stats)
{
    tulle_status_t st = TULLE_OK;
    double ns[2 * NUM_WAYS];
    for (int way = 0; way < NUM_WAYS; way++) {
        ns[way] = c->node_ns[way];
        ns[NUM_WAYS + way] = inner_ns(c, way);
    }
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, ns, 2 * NUM_WAYS, MPI_DOUBLE, MPI_MAX, c->plan->comm->mpi));
    stats->predicted_naive_ns = ns[NAIVE] + ns[NUM_WAYS + NAIVE];
    stats->predicted_direct_ns = ns[DIRECT] + ns[NUM_WAYS + DIRECT];
    stats->predicted_plan_ns = ns[PLAN] + ns[NUM_WAYS + PLAN];
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
    int64_t counts[6] = {plan->num_owned,
                         plan->num_remote,
                         tli_plan_num_slots(plan) - plan->num_remote,
                         c->num_sources - plan->num_pairs[TLI_PAIR_ROUTED] - plan->num_pairs[TLI_PAIR_AGGREGATED],
                         plan->num_pairs[TLI_PAIR_ROUTED],
                         plan->num_pairs[TLI_PAIR_AGGREGATED]};
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, counts, 6, MPI_INT64_T, MPI_SUM, plan->comm->mpi));
    stats->strategy = plan->strategy;
    stats->row_bytes = plan->row_bytes;
    stats->num_owned = counts[0];
    stats->num_needed = counts[1];
    stats->staging_rows = counts[2];
    stats->direct_pairs = (int32_t)counts[3];
    stats->routed_pairs = (int32_t)counts[4];
    stats->aggregated_pairs = (int32_t)counts[5];
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
    tli_packets_t summary = {0}, summaries = {0};
    int64_t *needs = NULL, num_needs = 0;
    TLI_TRY(gather_owned(c));
    count_plan(c);
    st = count_direct(c, &needs, &num_needs);
    if (st == TULLE_OK)
        st = pack_summary(c, needs, num_needs, &summary);
    st = tli_sparse_exchange(c->plan->comm, st, &summary, &c->arena, &summaries);
    if (st == TULLE_OK)
        st = sum_node(c, &summaries);
    TLI_TRY(tli_agree(c->plan->comm->mpi, st));
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
    if (stats_out == NULL || stats_out->struct_size != sizeof stats)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "stats is NULL or its struct_size is not set to %zu", sizeof stats);
    TLI_TRY(tli_agree(plan->comm->mpi, st));
    TLI_TRY(count_all(&c, &stats));
    *stats_out = stats;
done:
    tli_arena_release(&c.arena);
    return st;
}
