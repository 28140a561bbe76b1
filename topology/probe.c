/* SPDX-License-Identifier: Apache-2.0
 * The probe. What it times are direct exchanges of the library itself, made through its public interface: so packing,
 * transports and waiting are in the figures just as they are in the times that the cost model is to predict. */
#include "topology/probe.h"

#include <math.h>
#include <stdio.h>

#include "src/agree.h"
#include "src/comm.h"
#include "src/options.h"
#include "src/transport/transport.h"
#include "topology/stopwatch.h"

#define DEFAULT_TIME_MS 1200
#define MOST_PARTNERS   8

/* [bytes] Large enough to outlast the latency, small enough for slow networks. */
#define SMALL_MESSAGE   ((int64_t)8)
#define LARGE_MESSAGE   ((int64_t)1 << 18)
#define LEAST_LARGE     ((int64_t)1 << 14)
#define LARGE_PER_GROUP ((int64_t)1 << 21)

/* [ms] A carrier that takes longer for one exchange is none. */
#define TRIAL_MS 5000

/* Exchanges over one level; short ones first. */
typedef enum kind { ONE, FEW, MANY, COLLECTED, LONE, ALL, NUM_KINDS } kind_t;

/* By what messages are carried: as the communicator has it, and over levels without shared memory by UCX too. */
typedef enum candidate { GIVEN, UCX, NUM_CANDIDATES } candidate_t;

typedef struct probe {
    tulle_comm_t *comm;
    const tulle_topology_t *topology;
    int num_many[TULLE_TOPOLOGY_MAX_LEVELS];
    tli_probe_times_t alone[TULLE_TOPOLOGY_MAX_LEVELS]; /* of the given carrier, before there is another */
    /* Without an exchange where nothing crosses the level. */
    tli_lap_t laps[NUM_KINDS][NUM_CANDIDATES][TULLE_TOPOLOGY_MAX_LEVELS];
    tli_arena_t arena;
} probe_t;

static int64_t large_message(const tulle_topology_t *topology)
{
    int64_t ranks_per_node = topology->num_ranks / topology->levels[0].num_groups;
    int64_t bytes = LARGE_PER_GROUP / (ranks_per_node > 0 ? ranks_per_node : 1);
    if (bytes > LARGE_MESSAGE)
        return LARGE_MESSAGE;
    return bytes < LEAST_LARGE ? LEAST_LARGE : bytes;
}

/* Inside a node only one pair of each group is alone, between nodes one rank of each. */
static int is_lone(const tulle_topology_t *topology, int level, int rank)
{
    return topology->levels[level > 0 ? level - 1 : 0].local_index[rank] == 0;
}

static int num_needed(const probe_t *p, int level, kind_t kind)
{
    int num = kind == MANY ? MOST_PARTNERS : 1, num_found = 0, rank = p->comm->rank;
    if ((kind == ONE || kind == LONE) && !is_lone(p->topology, level, rank))
        return 0;
    while (num_found < num && tli_probe_partner(p->topology, level, rank, num_found) >= 0)
        num_found++;
    return num_found;
}

/* Every rank owns one row and needs those of its partners. */
static tulle_status_t make_plan(probe_t *p, int level, kind_t kind, tulle_plan_t **plan_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_pattern_t *pattern = NULL;
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    int32_t partners[MOST_PARTNERS];
    int64_t rows[MOST_PARTNERS] = {0};
    int num = num_needed(p, level, kind);
    for (int i = 0; i < num; i++)
        partners[i] = tli_probe_partner(p->topology, level, p->comm->rank, i);
    options.strategy = kind == COLLECTED ? TULLE_STRATEGY_AGGREGATED : TULLE_STRATEGY_DIRECT;
    TLI_TRY(tulle_pattern_create_from_forest(p->comm, 1, num, partners, rows, &pattern));
    TLI_TRY(tulle_plan_create(p->comm, pattern, &options, plan_out));
done:
    tulle_pattern_destroy(&pattern);
    return st;
}

/* Short exchanges run more often in each round: they take next to no time beside long ones, and vary more. */
static tulle_status_t make_lap(probe_t *p, const tulle_plan_t *plan, int64_t row_bytes, int64_t timeout_ms,
                               tli_lap_t *lap)
{
    tulle_status_t st = TULLE_OK;
    tulle_field_t field = {NULL, NULL, TULLE_BYTE, row_bytes, 0, 0};
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    options.timeout_ms = timeout_ms;
    lap->num_turns = row_bytes == SMALL_MESSAGE ? TLI_MOST_TURNS : 1;
    st = tli_arena_alloc(&p->arena, 1, (size_t)row_bytes, &field.owned);
    if (st == TULLE_OK)
        st = tli_arena_alloc(&p->arena, tulle_plan_num_needed(plan), (size_t)row_bytes, &field.ghost);
    TLI_TRY(tli_agree(p->comm->mpi, st));
    TLI_TRY(tulle_exchange_create(plan, TULLE_GATHER, &field, 1, &options, &lap->exchange));
done:
    return st;
}

static tulle_status_t make_level(probe_t *p, int level, candidate_t candidate)
{
    tulle_status_t st = TULLE_OK;
    int64_t large = large_message(p->topology), timeout_ms = candidate == UCX ? TRIAL_MS : 0;
    tulle_plan_t *few = NULL, *many = NULL, *lone = NULL;
    p->num_many[level] = tli_probe_num_partners(p->topology, level, MOST_PARTNERS);
    if (p->num_many[level] == 0)
        goto done;
    TLI_TRY(make_plan(p, level, FEW, &few));
    TLI_TRY(make_plan(p, level, MANY, &many));
    TLI_TRY(make_plan(p, level, LONE, &lone));
    TLI_TRY(make_lap(p, lone, SMALL_MESSAGE, timeout_ms, &p->laps[ONE][candidate][level]));
    TLI_TRY(make_lap(p, few, SMALL_MESSAGE, timeout_ms, &p->laps[FEW][candidate][level]));
    TLI_TRY(make_lap(p, many, SMALL_MESSAGE, timeout_ms, &p->laps[MANY][candidate][level]));
    TLI_TRY(make_lap(p, lone, large, timeout_ms, &p->laps[LONE][candidate][level]));
    TLI_TRY(make_lap(p, few, large, timeout_ms, &p->laps[ALL][candidate][level]));
done:
    tulle_plan_destroy(&few);
    tulle_plan_destroy(&many);
    tulle_plan_destroy(&lone);
    return st;
}

/* A row for every rank, collected and passed on inside: one message for each node, with hops before and behind it. */
static tulle_status_t make_collected(probe_t *p)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_t *collected = NULL;
    if (p->num_many[0] == 0 || p->num_many[p->topology->num_levels - 1] == 0)
        goto done;
    TLI_TRY(make_plan(p, 0, COLLECTED, &collected));
    TLI_TRY(make_lap(p, collected, SMALL_MESSAGE, 0, &p->laps[COLLECTED][GIVEN][0]));
done:
    tulle_plan_destroy(&collected);
    return st;
}

/* A hop that waits for another costs less than an exchange of its own, on all inner levels alike: each is crossed on
 * the way out and on the way in. */
static double hop_ns(const probe_t *p, int level)
{
    const tli_lap_t *collected = &p->laps[COLLECTED][GIVEN][0], *few = p->laps[FEW][GIVEN];
    double inner_ns = 0;
    if (level == 0 || collected->exchange == NULL)
        return 0;
    for (int inner = 1; inner < p->topology->num_levels; inner++)
        inner_ns += few[inner].median_ns;
    double waited_ns = tli_probe_excess_ns(collected->median_ns, p->laps[ONE][GIVEN][0].median_ns) / 2;
    return fmin(waited_ns / inner_ns, 1.0) * few[level].median_ns;
}

static tli_probe_times_t times_of(const probe_t *p, int level, candidate_t candidate)
{
    return (tli_probe_times_t){.one_ns = p->laps[ONE][candidate][level].median_ns,
                               .few_ns = p->laps[FEW][candidate][level].median_ns,
                               .hop_ns = hop_ns(p, level),
                               .many_ns = p->laps[MANY][candidate][level].median_ns,
                               .lone_ns = p->laps[LONE][candidate][level].median_ns,
                               .all_ns = p->laps[ALL][candidate][level].median_ns,
                               .num_many = p->num_many[level],
                               .bytes = large_message(p->topology)};
}

/* Where both were measured, the links are those of the faster one. */
static tulle_status_t conclude(const probe_t *p, tulle_topology_t *topology)
{
    tulle_status_t st = TULLE_OK;
    for (int level = 0; level < topology->num_levels; level++) {
        const tli_probe_times_t *alone = &p->alone[level];
        tli_probe_times_t given = times_of(p, level, GIVEN), ucx = times_of(p, level, UCX);
        tulle_carrier_t carrier = {tli_probe_carrier(&given, &ucx), given.few_ns, given.all_ns, ucx.few_ns, ucx.all_ns};
        int has_both = p->laps[FEW][UCX][level].exchange != NULL;
        tulle_link_t link =
            tli_probe_link(topology, level, has_both && carrier.transport == TULLE_TRANSPORT_UCX ? &ucx : alone,
                           &topology->levels[level].link);
        TLI_TRY(tulle_topology_set_link(topology, level, &link));
        if (has_both)
            TLI_TRY(tulle_topology_set_carrier(topology, level, &carrier));
    }
done:
    return st;
}

/* --- UCX beside MPI ---------------------------------------------------------------------------------------------- */

static void drop_ucx(probe_t *p)
{
    for (int level = 0; level < TULLE_TOPOLOGY_MAX_LEVELS; level++)
        for (int kind = 0; kind < NUM_KINDS; kind++)
            tulle_exchange_destroy(&p->laps[kind][UCX][level].exchange);
}

/* Levels over which UCX may be tried: nobody asked for a carrier, and any rank's messages go through no shared memory.
 */
static tulle_status_t find_wired_levels(const probe_t *p, int is_wired[TULLE_TOPOLOGY_MAX_LEVELS])
{
    tulle_status_t st = TULLE_OK;
    if (p->comm->is_carrier_asked || !tli_transport_is_built(TULLE_TRANSPORT_UCX))
        goto done;
    for (int level = 0; level < p->topology->num_levels; level++)
        for (int i = 0, peer = 0; i < MOST_PARTNERS && peer >= 0; i++) {
            peer = tli_probe_partner(p->topology, level, p->comm->rank, i);
            is_wired[level] |= peer >= 0 && tli_comm_shared_rank(p->comm, peer) < 0;
        }
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, is_wired, TULLE_TOPOLOGY_MAX_LEVELS, MPI_INT, MPI_MAX, p->comm->mpi));
    for (int level = 0; level < p->topology->num_levels; level++)
        is_wired[level] &= p->comm->carriers[level] == TULLE_TRANSPORT_MPI;
done:
    return st;
}

/* A level's exchanges as they would be if UCX carried its messages. */
static tulle_status_t make_ucx_level(probe_t *p, int level)
{
    tulle_transport_t given = p->comm->carriers[level];
    p->comm->carriers[level] = TULLE_TRANSPORT_UCX;
    tulle_status_t st = make_level(p, level, UCX);
    p->comm->carriers[level] = given;
    return st;
}

/* UCX that is badly set up, say on a network that leads nowhere, must not take the probe along. */
static tulle_status_t try_ucx(probe_t *p)
{
    tulle_status_t st = TULLE_OK;
    for (int level = 0; level < TULLE_TOPOLOGY_MAX_LEVELS; level++)
        for (int kind = 0; kind < NUM_KINDS && st == TULLE_OK; kind++) {
            tulle_exchange_t *exchange = p->laps[kind][UCX][level].exchange;
            st = exchange != NULL ? tulle_exchange_start(exchange, NULL) : TULLE_OK;
            if (st == TULLE_OK && exchange != NULL)
                st = tulle_exchange_wait(exchange);
        }
    return tli_agree(p->comm->mpi, st);
}

static tulle_status_t make_ucx_levels(probe_t *p, const int is_wired[TULLE_TOPOLOGY_MAX_LEVELS])
{
    tulle_status_t st = TULLE_OK;
    for (int level = 0; level < p->topology->num_levels && st == TULLE_OK; level++)
        if (is_wired[level])
            st = make_ucx_level(p, level);
    if (st == TULLE_OK)
        st = try_ucx(p);
    if (st != TULLE_OK) { /* on all ranks; UCX is to blame, unless one of them has no memory */
        drop_ucx(p);
        st = tli_agree(p->comm->mpi, st == TULLE_ERR_NOMEM ? st : TULLE_OK);
    }
    return st;
}

static tulle_status_t read_options(const tulle_probe_options_t *given, tulle_topology_t *const *topology_out,
                                   int64_t *time_ms_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_probe_options_t options = TULLE_PROBE_OPTIONS_INIT;
    TLI_REQUIRE(topology_out != NULL, TULLE_ERR_ARG, "topology_out is NULL");
    TLI_TRY(tli_options_take(given, &options, sizeof options, sizeof options, "TULLE_PROBE_OPTIONS_INIT"));
    TLI_REQUIRE(options.time_ms >= 0, TULLE_ERR_ARG, "options.time_ms is %lld, must not be negative",
                (long long)options.time_ms);
    *time_ms_out = options.time_ms > 0 ? options.time_ms : DEFAULT_TIME_MS;
done:
    return st;
}

static int is_any(const int is_wired[TULLE_TOPOLOGY_MAX_LEVELS])
{
    int is_one = 0;
    for (int level = 0; level < TULLE_TOPOLOGY_MAX_LEVELS; level++)
        is_one |= is_wired[level];
    return is_one;
}

/* Short exchanges, then long ones: behind long ones short ones take longer than among their like. */
static tulle_status_t time_both(probe_t *p, double time_ms)
{
    tulle_status_t st = TULLE_OK;
    int laps_per_kind = NUM_CANDIDATES * TULLE_TOPOLOGY_MAX_LEVELS;
    double began = MPI_Wtime();
    TLI_TRY(tli_time_exchanges(p->comm->mpi, time_ms / 2, LONE * laps_per_kind, &p->laps[ONE][0][0]));
    TLI_TRY(tli_time_exchanges(p->comm->mpi, time_ms - (MPI_Wtime() - began) * 1e3, (NUM_KINDS - LONE) * laps_per_kind,
                               &p->laps[LONE][0][0]));
done:
    return st;
}

/* UCX slows everything down by being there, with a thread for each rank: links are measured before, then both carriers
 * in the same rounds. */
static tulle_status_t time_all(probe_t *p, double began, double time_ms)
{
    tulle_status_t st = TULLE_OK;
    int is_wired[TULLE_TOPOLOGY_MAX_LEVELS] = {0};
    TLI_TRY(find_wired_levels(p, is_wired));
    double left_ms = time_ms - (MPI_Wtime() - began) * 1e3;
    TLI_TRY(time_both(p, is_any(is_wired) ? left_ms / 2 : left_ms));
    for (int level = 0; level < p->topology->num_levels; level++)
        p->alone[level] = times_of(p, level, GIVEN);
    if (is_any(is_wired)) {
        TLI_TRY(make_ucx_levels(p, is_wired));
        TLI_TRY(time_both(p, time_ms - (MPI_Wtime() - began) * 1e3));
    }
done:
    return st;
}

static void release(probe_t *p)
{
    for (int level = 0; level < TULLE_TOPOLOGY_MAX_LEVELS; level++)
        for (int kind = 0; kind < NUM_KINDS; kind++)
            tulle_exchange_destroy(&p->laps[kind][GIVEN][level].exchange);
    drop_ucx(p);
    tli_arena_release(&p->arena);
    tli_free(p);
}

tulle_status_t tulle_comm_probe(tulle_comm_t *comm, const tulle_probe_options_t *options,
                                tulle_topology_t **topology_out)
{
    tulle_status_t st = TULLE_OK;
    probe_t *p = NULL;
    tulle_topology_t *topology = NULL;
    int64_t time_ms = 0;
    double began = MPI_Wtime();
    TLI_REQUIRE(comm != NULL, TULLE_ERR_ARG, "the communicator is NULL: was it created, or already destroyed?");
    tli_fault_set_rank(comm->rank);
    st = read_options(options, topology_out, &time_ms);
    if (st == TULLE_OK)
        st = tli_alloc(sizeof *p, &p);
    if (st == TULLE_OK)
        st = tulle_topology_dup(comm->topology, &topology);
    TLI_TRY(tli_agree_on(comm->mpi, st, time_ms, "the probe's time_ms"));
    *p = (probe_t){
        .comm = comm,
        .topology = comm->topology,
    };
    for (int level = 0; level < topology->num_levels; level++)
        TLI_TRY(make_level(p, level, GIVEN));
    TLI_TRY(make_collected(p));
    TLI_TRY(time_all(p, began, (double)time_ms));
    TLI_TRY(conclude(p, topology));
    *topology_out = topology;
    topology = NULL;
done:
    tulle_topology_destroy(&topology);
    if (p != NULL)
        release(p);
    return st;
}
