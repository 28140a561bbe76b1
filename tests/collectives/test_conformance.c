/* SPDX-License-Identifier: Apache-2.0
 * What every transport must do, run over each of them and over mixtures: to oneself, through shared memory, through
 * MPI. Which one a message takes follows from the topology and from disable_shared_memory. */
#include <string.h>

#include "collectives/exchange.h"
#include "src/comm.h"
#include "tests/support/trial.h"

typedef struct way {
    const char *topology;
    int disable_shared_memory;
    const char *only; /* transport that all messages must take; NULL: a mixture */
} way_t;

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

/* --- the suite --------------------------------------------------------------------------------------------------- */

static int takes_only(const tulle_exchange_t *x, const char *name)
{
    int is_so = 1;
    for (int64_t w = 0; w < x->steps.num_sends; w++)
        is_so = is_so && strcmp(tli_transports[x->steps.send_ends[w].transport]->name, name) == 0;
    for (int64_t w = 0; w < x->steps.num_receives; w++)
        is_so = is_so && strcmp(tli_transports[x->steps.receive_ends[w].transport]->name, name) == 0;
    return is_so;
}

static void check_values(tulle_comm_t *comm, const way_t *way, tulle_direction_t direction, int64_t width, int step)
{
    spt_random_t mine = spt_random_mine(1);
    spt_pattern_t pattern = everybody();
    for (int kind = 0; kind < 10; kind += step) {
        tulle_plan_t *plan =
            spt_plan_make(comm, &pattern, (tulle_strategy_t)(kind / 2), (tulle_ghost_order_t)(kind % 2));
        spt_trial_t trial = spt_trial(plan, &pattern, direction, TULLE_OP_SUM);
        spt_trial_add(&trial, TULLE_F32, width, 0);
        tulle_exchange_t *exchange = spt_trial_bind(&trial, plan);
        spt_assert_all(way->only == NULL || takes_only(exchange, way->only));
        for (int round = 0; round < 3; round++) {
            spt_trial_fill(&trial, &mine);
            spt_run(exchange);
            spt_assert_all(spt_trial_is_right(&trial));
        }
        tulle_exchange_destroy(&exchange);
        tulle_plan_destroy(&plan);
    }
}

/* A few ranks only, every other one silent in this exchange. */
static void check_silent_ranks(tulle_comm_t *comm)
{
    spt_pattern_t pattern = everybody();
    pattern.num_needed = spt_rank() % 2 ? 0 : pattern.num_needed;
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_RAIL, TULLE_GHOST_ORDER_CALLER);
    spt_assert_plan_works(plan, &pattern, 5, 3);
    tulle_plan_destroy(&plan);
}

/* Rounds without synchronisation, the values changing right after each: nothing may be read late. */
static void check_no_round_reads_the_next(tulle_comm_t *comm)
{
    spt_pattern_t pattern = everybody();
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_BALANCED, TULLE_GHOST_ORDER_CALLER);
    int64_t *owned = spt_alloc(pattern.num_owned, 8), *ghost = spt_alloc(pattern.num_needed, 8);
    tulle_field_t field = {owned, ghost, TULLE_I64, 1, 0, 0};
    tulle_exchange_t *exchange = NULL;
    tulle_status_t st = TULLE_OK;
    int is_right = 1;
    spt_assert_ok_all(tulle_exchange_create(plan, TULLE_GATHER, &field, 1, NULL, &exchange));
    for (int64_t round = 0; round < 60 && st == TULLE_OK; round++) {
        for (int64_t i = 0; i < pattern.num_owned; i++)
            owned[i] = (pattern.first + i) * 1000 + round;
        st = tulle_exchange_start(exchange, NULL);
        while (st == TULLE_OK && (st = tulle_exchange_test(exchange)) == TULLE_IN_PROGRESS)
            st = TULLE_OK;
        for (int64_t i = 0; i < pattern.num_owned; i++)
            owned[i] = -1;
        for (int64_t i = 0; i < pattern.num_needed; i++)
            is_right = is_right && ghost[i] == pattern.needed_ids[i] * 1000 + round;
    }
    spt_assert_ok_all(st);
    spt_assert_all(is_right);
    tulle_exchange_destroy(&exchange);
    tulle_plan_destroy(&plan);
}

static void check_destroyed_unused(tulle_comm_t *comm)
{
    spt_pattern_t pattern = everybody();
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_PLAN);
    spt_trial_t trial = spt_trial(plan, &pattern, TULLE_GATHER, TULLE_OP_SUM);
    spt_trial_add(&trial, TULLE_U8, 5, 0);
    for (int i = 0; i < 3; i++) {
        tulle_exchange_t *exchange = spt_trial_bind(&trial, plan);
        tulle_exchange_destroy(&exchange);
    }
    tulle_plan_destroy(&plan);
}

static void run_suite(const way_t *way)
{
    tulle_comm_t *comm = spt_comm(way->topology, way->disable_shared_memory);
    check_values(comm, way, TULLE_GATHER, 3, 3);
    check_values(comm, way, TULLE_SCATTER, 3, 3);
    check_values(comm, way, TULLE_GATHER, 5000, 4); /* more than MPI sends eagerly */
    check_silent_ranks(comm);
    check_no_round_reads_the_next(comm);
    check_destroyed_unused(comm);
    tulle_comm_destroy(&comm);
}

/* --- over each ---------------------------------------------------------------------------------------------------- */

static void test_conformance_self(void **state)
{
    if (spt_size() > 1)
        skip();
    for (int disable = 0; disable < 2; disable++) {
        way_t way = {"1x1", disable, "none at all"};
        run_suite(&way);
    }
}

static void test_conformance_shared_memory(void **state)
{
    way_t way = {spt_topology(0), 0, "shared memory"};
    if (spt_size() == 1)
        skip();
    run_suite(&way);
}

static void test_conformance_mpi(void **state)
{
    way_t one_node = {NULL, 1, "mpi"}, many_nodes = {NULL, 0, "mpi"};
    if (spt_size() == 1)
        skip();
    one_node.topology = spt_topology(0);
    run_suite(&one_node);
    many_nodes.topology = spt_topology(1);
    run_suite(&many_nodes);
}

static void test_conformance_mixture(void **state)
{
    if (spt_size() < 3)
        skip();
    for (int i = 2; spt_topology(i) != NULL; i += 3) {
        way_t way = {spt_topology(i), 0, NULL};
        run_suite(&way);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_conformance_self),
        spt_test(test_conformance_shared_memory),
        spt_test(test_conformance_mpi),
        spt_test(test_conformance_mixture),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
