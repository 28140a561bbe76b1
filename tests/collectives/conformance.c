/* SPDX-License-Identifier: Apache-2.0
 * The suite: random patterns, empty ranks, rows for oneself, duplicates, every type and reduction, long messages,
 * silent ranks, several exchanges in flight, both directions. */
#include "tests/collectives/conformance.h"

#define PATIENCE_MS   60000
#define NUM_IN_FLIGHT 5

static tulle_comm_t *make_comm(const way_t *way)
{
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    tulle_comm_t *comm = NULL;
    options.topology_text = way->topology;
    options.timeout_ms = PATIENCE_MS;
    options.disable_shared_memory = way->disable_shared_memory;
    options.transport = way->carrier;
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
    return comm;
}

/* Every rank owns six rows and needs two of every rank, some twice. */
static spt_pattern_t everybody(void)
{
    spt_pattern_t p = {.num_owned = 6, .first = 6 * spt_rank(), .num_needed = 3 * spt_size()};
    p.needed_ids = spt_alloc(p.num_needed, 8);
    p.owner_rank = spt_alloc(p.num_needed, 4);
    p.owner_row = spt_alloc(p.num_needed, 8);
    for (int i = 0; i < p.num_needed; i++) {
        p.owner_rank[i] = (spt_rank() + i) % spt_size();
        p.owner_row[i] = (i / spt_size() * 5 + spt_rank()) % 6;
        p.needed_ids[i] = 6 * p.owner_rank[i] + p.owner_row[i];
    }
    return p;
}

/* --- flights ----------------------------------------------------------------------------------------------------- */

static flight_t *begin(const way_t *way, const tulle_plan_t *plan, const spt_pattern_t *pattern,
                       tulle_direction_t direction, tulle_op_t op)
{
    flight_t *flight = spt_alloc(1, sizeof *flight);
    flight->way = way;
    flight->trial = spt_trial(plan, pattern, direction, op);
    return flight;
}

/* A message that takes another way than it should would go unnoticed. */
static void check_transport(const flight_t *flight)
{
    tulle_exchange_stats_t stats = {.struct_size = sizeof stats};
    int64_t num = 0;
    spt_assert_ok_all(tulle_exchange_get_stats(flight->exchange, &stats));
    for (int t = 0; t < TULLE_NUM_TRANSPORTS; t++)
        num += stats.transports[t].messages;
    spt_assert_all(flight->way->only == TULLE_TRANSPORT_AUTO || num == stats.transports[flight->way->only].messages);
}

static void bind(flight_t *flight, const tulle_plan_t *plan)
{
    flight->way->mover->bind(flight, plan);
    check_transport(flight);
}

static void run(flight_t *flight, int num_rounds, uint64_t stream)
{
    spt_random_t mine = spt_random_mine(stream);
    for (int round = 0; round < num_rounds; round++) {
        spt_trial_fill(&flight->trial, &mine);
        tulle_status_t st = flight->way->mover->start(flight);
        if (st == TULLE_OK)
            st = flight->way->mover->finish(flight);
        spt_assert_ok_all(st);
        spt_assert_all(spt_trial_is_right(&flight->trial));
    }
}

static void end(flight_t *flight)
{
    tulle_exchange_destroy(&flight->exchange);
    flight->way->mover->release(flight);
}

/* --- the suite --------------------------------------------------------------------------------------------------- */

static void check_random_patterns(const way_t *way, tulle_comm_t *comm)
{
    for (uint64_t kind = 0; kind < 10; kind++) {
        spt_random_t shared = spt_random_shared(kind);
        spt_pattern_t pattern = spt_pattern_random(kind);
        tulle_plan_t *plan =
            spt_plan_make(comm, &pattern, (tulle_strategy_t)(kind / 2), (tulle_ghost_order_t)(kind % 2));
        for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++) {
            tulle_op_t op = (tulle_op_t)(TULLE_OP_SUM + spt_below(&shared, 5));
            flight_t *flight = begin(way, plan, &pattern, (tulle_direction_t)direction, op);
            spt_trial_add_random(&flight->trial, &shared);
            bind(flight, plan);
            run(flight, 2, kind);
            end(flight);
        }
        tulle_plan_destroy(&plan);
    }
}

static void check_type(const way_t *way, const tulle_plan_t *plan, const spt_pattern_t *pattern,
                       tulle_datatype_t datatype, tulle_direction_t direction, tulle_op_t op)
{
    flight_t *flight = begin(way, plan, pattern, direction, op);
    spt_trial_add(&flight->trial, datatype, 3, 0);
    bind(flight, plan);
    run(flight, 1, 7);
    end(flight);
}

static void check_types_and_ops(const way_t *way, tulle_comm_t *comm)
{
    spt_pattern_t pattern = everybody();
    for (int i = 0; i < SPT_NUM_DATATYPES; i++) {
        tulle_plan_t *plan = spt_plan_make(comm, &pattern, (tulle_strategy_t)(i % 5), (tulle_ghost_order_t)(i / 5 % 2));
        check_type(way, plan, &pattern, spt_datatypes[i], TULLE_GATHER, TULLE_OP_SUM);
        for (int op = TULLE_OP_SUM; op <= TULLE_OP_REPLACE; op++)
            if (spt_knows(spt_datatypes[i], (tulle_op_t)op))
                check_type(way, plan, &pattern, spt_datatypes[i], TULLE_SCATTER, (tulle_op_t)op);
        tulle_plan_destroy(&plan);
    }
}

/* Beyond what MPI sends before it asks the receiver, and, with the longest, beyond one piece. */
static void check_long_messages(const way_t *way, tulle_comm_t *comm)
{
    static const int64_t widths[] = {5000, 400000};
    spt_pattern_t pattern = everybody();
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_PLAN);
    for (int i = 0; i < 4; i++) {
        flight_t *flight = begin(way, plan, &pattern, (tulle_direction_t)(i % 2), TULLE_OP_MAX);
        spt_trial_add(&flight->trial, TULLE_U8, widths[i / 2], 0);
        bind(flight, plan);
        run(flight, 2, (uint64_t)i);
        end(flight);
    }
    tulle_plan_destroy(&plan);
}

/* A few ranks only, every other one silent in this exchange. */
static void check_silent_ranks(const way_t *way, tulle_comm_t *comm)
{
    spt_pattern_t pattern = everybody();
    pattern.num_needed = spt_rank() % 2 ? 0 : pattern.num_needed;
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_RAIL, TULLE_GHOST_ORDER_CALLER);
    flight_t *flight = begin(way, plan, &pattern, TULLE_SCATTER, TULLE_OP_SUM);
    spt_trial_add(&flight->trial, TULLE_F64, 5, 1);
    bind(flight, plan);
    run(flight, 3, 5);
    end(flight);
    tulle_plan_destroy(&plan);
}

/* Finished in another order than started, another one on every rank. */
static void check_several_in_flight(const way_t *way, tulle_comm_t *comm)
{
    spt_pattern_t patterns[NUM_IN_FLIGHT];
    flight_t *flights[NUM_IN_FLIGHT];
    tulle_plan_t *plans[NUM_IN_FLIGHT];
    spt_random_t mine = spt_random_mine(3);
    for (int i = 0; i < NUM_IN_FLIGHT; i++) {
        patterns[i] = spt_pattern_random(20 + (uint64_t)i);
        plans[i] = spt_plan_make(comm, &patterns[i], (tulle_strategy_t)i, (tulle_ghost_order_t)(i % 2));
        flights[i] = begin(way, plans[i], &patterns[i], (tulle_direction_t)(i % 2), TULLE_OP_SUM);
        spt_trial_add(&flights[i]->trial, TULLE_I32, i == 2 ? 3000 : 3, 0);
        bind(flights[i], plans[i]);
    }
    for (int round = 0; round < 3; round++) {
        tulle_status_t st = TULLE_OK;
        int is_right = 1;
        for (int i = 0; i < NUM_IN_FLIGHT; i++)
            spt_trial_fill(&flights[i]->trial, &mine);
        for (int i = 0; i < NUM_IN_FLIGHT && st == TULLE_OK; i++)
            st = way->mover->start(flights[(i + spt_rank()) % NUM_IN_FLIGHT]);
        for (int i = 0; i < NUM_IN_FLIGHT && st == TULLE_OK; i++)
            st = way->mover->finish(flights[(3 * i + round + spt_rank()) % NUM_IN_FLIGHT]);
        for (int i = 0; i < NUM_IN_FLIGHT && st == TULLE_OK; i++)
            is_right = is_right && spt_trial_is_right(&flights[i]->trial);
        spt_assert_ok_all(st);
        spt_assert_all(is_right);
    }
    for (int i = 0; i < NUM_IN_FLIGHT; i++) {
        end(flights[i]);
        tulle_plan_destroy(&plans[i]);
    }
}

static void check_destroyed_unused(const way_t *way, tulle_comm_t *comm)
{
    spt_pattern_t pattern = everybody();
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_PLAN);
    for (int i = 0; i < 3; i++) {
        flight_t *flight = begin(way, plan, &pattern, TULLE_GATHER, TULLE_OP_SUM);
        spt_trial_add(&flight->trial, TULLE_U8, 5, 0);
        bind(flight, plan);
        end(flight);
    }
    tulle_plan_destroy(&plan);
}

void conformance_run(const way_t *way)
{
    tulle_comm_t *comm = make_comm(way);
    check_random_patterns(way, comm);
    check_types_and_ops(way, comm);
    check_long_messages(way, comm);
    check_silent_ranks(way, comm);
    check_several_in_flight(way, comm);
    check_destroyed_unused(way, comm);
    tulle_comm_destroy(&comm);
    spt_teardown(NULL);
}
