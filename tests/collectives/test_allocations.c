/* SPDX-License-Identifier: Apache-2.0
 * The k-th allocation fails, for every k, on one rank or on all: every rank gets a status, nothing hangs, nothing is
 * lost, and the communicator works afterwards. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/transport/transport.h"
#include "tests/support/failing.h"
#include "tests/support/trial.h"

/* What jobs work on: made once per test. */
typedef struct world {
    tulle_comm_t *comm;
    spt_pattern_t needs;
    tulle_pattern_t *pattern;
    tulle_plan_t *plan;
    tulle_strategy_t strategy;
    tulle_direction_t direction;
    tulle_wire_precision_t precision;
    tulle_topology_t *topology;
    char path[64];
} world_t;

/* --- jobs -------------------------------------------------------------------------------------------------------- */

static tulle_status_t make_comm(const void *world)
{
    const world_t *w = world;
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    tulle_comm_t *comm = NULL;
    options.topology = w->topology;
    tulle_status_t st = tulle_comm_create(MPI_COMM_WORLD, &options, &comm);
    tulle_comm_destroy(&comm);
    return st;
}

static tulle_status_t make_comm_from_text(const void *world)
{
    const world_t *w = world;
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    tulle_comm_t *comm = NULL;
    options.topology_text = tulle_topology_text(w->topology);
    tulle_status_t st = tulle_comm_create(MPI_COMM_WORLD, &options, &comm);
    tulle_comm_destroy(&comm);
    return st;
}

static tulle_status_t discover_comm(const void *world)
{
    tulle_comm_t *comm = NULL;
    tulle_status_t st = tulle_comm_create(MPI_COMM_WORLD, NULL, &comm);
    tulle_comm_destroy(&comm);
    return st;
}

static tulle_status_t make_pattern_from_ids(const void *world)
{
    const world_t *w = world;
    tulle_layout_t list = TULLE_LAYOUT_LIST(w->needs.num_owned, w->needs.ids);
    tulle_pattern_t *pattern = NULL;
    tulle_status_t st =
        tulle_pattern_create_from_ids(w->comm, &list, w->needs.needed_ids, w->needs.num_needed, &pattern);
    tulle_pattern_destroy(&pattern);
    return st;
}

static tulle_status_t make_pattern_from_csr(const void *world)
{
    const world_t *w = world;
    tulle_layout_t columns = TULLE_LAYOUT_LIST(w->needs.num_owned, w->needs.ids);
    int64_t row_ptr[2] = {0, w->needs.num_needed}, row_id = 3 * spt_rank();
    tulle_layout_t rows = TULLE_LAYOUT_LIST(1, &row_id);
    tulle_pattern_t *pattern = NULL;
    tulle_status_t st = tulle_pattern_create_from_csr(w->comm, &rows, &columns, row_ptr, w->needs.needed_ids, &pattern);
    tulle_pattern_destroy(&pattern);
    return st;
}

static tulle_status_t make_pattern_from_forest(const void *world)
{
    const world_t *w = world;
    tulle_pattern_t *pattern = NULL;
    tulle_status_t st = tulle_pattern_create_from_forest(w->comm, w->needs.num_owned, w->needs.num_needed,
                                                         w->needs.owner_rank, w->needs.owner_row, &pattern);
    tulle_pattern_destroy(&pattern);
    return st;
}

static tulle_status_t make_pattern_from_grid(const void *world)
{
    const world_t *w = world;
    tulle_grid_t grid = {2, 9, {5, 3 * spt_size()}, {0, 3 * spt_rank()}, {5, 3 * spt_rank() + 3}, {1, 1}};
    tulle_pattern_t *pattern = NULL;
    tulle_status_t st = tulle_pattern_create_from_grid(w->comm, &grid, &pattern);
    tulle_pattern_destroy(&pattern);
    return st;
}

static tulle_status_t make_plan(const void *world)
{
    const world_t *w = world;
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_plan_t *plan = NULL;
    options.strategy = w->strategy;
    tulle_status_t st = tulle_plan_create(w->comm, w->pattern, &options, &plan);
    tulle_plan_destroy(&plan);
    return st;
}

static tulle_status_t measure_plan(const void *world)
{
    const world_t *w = world;
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_plan_t *plan = NULL;
    options.measure = 1;
    tulle_status_t st = tulle_plan_create(w->comm, w->pattern, &options, &plan);
    tulle_plan_destroy(&plan);
    return st;
}

static tulle_status_t probe_links(const void *world)
{
    const world_t *w = world;
    tulle_probe_options_t options = TULLE_PROBE_OPTIONS_INIT;
    tulle_topology_t *topology = NULL;
    options.time_ms = 1;
    tulle_status_t st = tulle_comm_probe(w->comm, &options, &topology);
    tulle_topology_destroy(&topology);
    return st;
}

static tulle_status_t make_exchange(const void *world)
{
    const world_t *w = world;
    float owned[100] = {0}, ghost[100] = {0};
    tulle_field_t field = {owned, ghost, TULLE_F32, 1, 0, 0};
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_t *exchange = NULL;
    options.wire_precision = w->precision;
    tulle_status_t st = tulle_exchange_create(w->plan, w->direction, &field, 1, &options, &exchange);
    tulle_exchange_destroy(&exchange);
    return st;
}

static tulle_status_t make_plan_and_gather(const void *world)
{
    const world_t *w = world;
    float owned[100] = {0}, ghost[100] = {0};
    tulle_plan_t *plan = NULL;
    tulle_status_t st = tulle_plan_create(w->comm, w->pattern, NULL, &plan);
    if (st == TULLE_OK)
        st = tulle_gather(plan, owned, ghost, TULLE_F32, 1, NULL);
    tulle_plan_destroy(&plan);
    return st;
}

static tulle_status_t ask_stats(const void *world)
{
    const world_t *w = world;
    tulle_plan_stats_t stats = {.struct_size = sizeof stats};
    return tulle_plan_get_stats(w->plan, &stats);
}

static tulle_status_t save_plan(const void *world)
{
    const world_t *w = world;
    return tulle_plan_save(w->plan, w->path);
}

static tulle_status_t load_plan(const void *world)
{
    const world_t *w = world;
    tulle_plan_t *plan = NULL;
    tulle_status_t st = tulle_plan_load(w->comm, w->path, &plan);
    tulle_plan_destroy(&plan);
    return st;
}

static void check_job(const world_t *w, spt_job_t job)
{
    spt_assert_survives_failing_allocations(job, w);
    if (w->comm != NULL)
        spt_assert_comm_works(w->comm);
}

/* --- worlds ------------------------------------------------------------------------------------------------------ */

/* The last of the list: the one with most levels and unevenness. */
static const char *deep_topology(void)
{
    int last = 0;
    while (spt_topology(last + 1) != NULL)
        last++;
    return spt_topology(last);
}

static world_t open_world(const char *topology, int disable_shared_memory)
{
    world_t w = {.comm = spt_comm(topology, disable_shared_memory), .needs = spt_pattern_random(2)};
    w.pattern = spt_pattern_make(w.comm, &w.needs);
    w.plan = spt_plan_make(w.comm, &w.needs, TULLE_STRATEGY_AGGREGATED, TULLE_GHOST_ORDER_CALLER);
    snprintf(w.path, sizeof w.path, "/tmp/tulle-allocations-%d", (int)getpid());
    return w;
}

static void close_world(world_t *w)
{
    tulle_plan_destroy(&w->plan);
    tulle_pattern_destroy(&w->pattern);
    tulle_comm_destroy(&w->comm);
}

static void test_comm_create_failing_allocation_fails_all(void **state)
{
    world_t w = {0};
    assert_int_equal(tulle_topology_parse(deep_topology(), 0, &w.topology), TULLE_OK);
    check_job(&w, make_comm);
    check_job(&w, make_comm_from_text);
    check_job(&w, discover_comm);
    tulle_topology_destroy(&w.topology);
}

static void test_pattern_create_failing_allocation_fails_all(void **state)
{
    world_t w = open_world(deep_topology(), 0);
    check_job(&w, make_pattern_from_ids);
    check_job(&w, make_pattern_from_csr);
    check_job(&w, make_pattern_from_forest);
    check_job(&w, make_pattern_from_grid);
    close_world(&w);
}

static void test_plan_create_failing_allocation_fails_all(void **state)
{
    world_t w = open_world(deep_topology(), 0);
    for (int strategy = TULLE_STRATEGY_AUTO; strategy <= TULLE_STRATEGY_STRIPED; strategy++) {
        w.strategy = (tulle_strategy_t)strategy;
        check_job(&w, make_plan);
    }
    close_world(&w);
}

static void check_measuring(const char *topology, int disable_shared_memory)
{
    world_t w = open_world(topology, disable_shared_memory);
    check_job(&w, measure_plan);
    check_job(&w, probe_links);
    close_world(&w);
}

/* With UCX beside MPI only where nothing is shared: which segments of others are mapped, and stay so, follows from the
 * order in which blocks come and go. */
static void test_measuring_failing_allocation_fails_all(void **state)
{
    setenv("TULLE_TRANSPORT", "mpi", 1);
    check_measuring(deep_topology(), 0);
    unsetenv("TULLE_TRANSPORT");
    check_measuring(deep_topology(), 1);
}

static void check_exchanges(const char *topology, int disable_shared_memory, tulle_wire_precision_t precision)
{
    world_t w = open_world(topology, disable_shared_memory);
    w.precision = precision;
    for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++) {
        w.direction = (tulle_direction_t)direction;
        spt_assert_ok_all(make_exchange(&w)); /* what the communicator keeps is there now */
        check_job(&w, make_exchange);
    }
    close_world(&w);
}

static void test_exchange_create_failing_allocation_fails_all(void **state)
{
    check_exchanges(deep_topology(), 0, TULLE_WIRE_PRECISION_NONE);
    check_exchanges(deep_topology(), 0, TULLE_WIRE_PRECISION_FP8);
    check_exchanges(spt_topology(0), 0, TULLE_WIRE_PRECISION_NONE);
    check_exchanges(spt_topology(0), 1, TULLE_WIRE_PRECISION_NONE);
}

static void test_exchange_create_over_ucx_failing_allocation_fails_all(void **state)
{
    if (!tli_transport_is_built(TULLE_TRANSPORT_UCX))
        skip();
    setenv("TULLE_TRANSPORT", "ucx", 1);
    check_exchanges(spt_topology(0), 1, TULLE_WIRE_PRECISION_NONE);
    unsetenv("TULLE_TRANSPORT");
}

static void test_one_shot_failing_allocation_fails_all(void **state)
{
    world_t w = open_world(deep_topology(), 0);
    check_job(&w, make_plan_and_gather);
    close_world(&w);
}

static void test_stats_failing_allocation_fails_all(void **state)
{
    world_t w = open_world(deep_topology(), 0);
    check_job(&w, ask_stats);
    close_world(&w);
}

static void test_save_and_load_failing_allocation_fails_all(void **state)
{
    world_t w = open_world(deep_topology(), 0);
    check_job(&w, save_plan);
    check_job(&w, load_plan);
    if (spt_rank() == 0) {
        char part[80];
        snprintf(part, sizeof part, "%s.part", w.path);
        assert_int_not_equal(access(part, F_OK), 0);
        assert_int_equal(remove(w.path), 0);
    }
    close_world(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_comm_create_failing_allocation_fails_all),
        spt_test(test_pattern_create_failing_allocation_fails_all),
        spt_test(test_plan_create_failing_allocation_fails_all),
        spt_test(test_measuring_failing_allocation_fails_all),
        spt_test(test_exchange_create_failing_allocation_fails_all),
        spt_test(test_exchange_create_over_ucx_failing_allocation_fails_all),
        spt_test(test_one_shot_failing_allocation_fails_all),
        spt_test(test_stats_failing_allocation_fails_all),
        spt_test(test_save_and_load_failing_allocation_fails_all),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
