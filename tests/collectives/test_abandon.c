/* SPDX-License-Identifier: Apache-2.0
 * Exchanges that are destroyed under way: some ranks start what others do not, nobody waits. Whatever is still on its
 * way then must not come back, neither in a later exchange of the communicator nor in one of the next communicator. */
#include "tests/support/trial.h"

#define PATIENCE_MS  60000
#define MOST_LOST    2
#define NUM_ATTEMPTS 3 /* to find what was lost in the way */

/* A message that is sent at once, and one that waits to be asked for. */
static const int64_t widths[] = {3, 12000};

/* Which of two exchanges a rank starts. */
typedef enum habit { LAST_RANK, ALL_BUT_LAST_RANK, BY_PARITY, ALL_RANKS, NUM_HABITS } habit_t;

static int does_start(habit_t habit, int exchange)
{
    int is_last = spt_rank() == spt_size() - 1;
    int first[] = {is_last, !is_last, spt_rank() % 2 == 0, 1};
    int second[] = {0, 0, spt_rank() % 2 == 1, 1};
    return (exchange == 0 ? first : second)[habit];
}

typedef struct way {
    const char *topology;
    tulle_transport_t carrier;
    tulle_strategy_t strategy;
    tulle_direction_t direction;
    int64_t width;
} way_t;

static tulle_status_t make_comm(const way_t *way, tulle_comm_t **comm_out)
{
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    options.topology_text = way->topology;
    options.timeout_ms = PATIENCE_MS;
    options.transport = way->carrier;
    return tulle_comm_create(MPI_COMM_WORLD, &options, comm_out);
}

/* Every rank owns four rows and needs one of every other rank. */
static spt_pattern_t everybody(void)
{
    spt_pattern_t p = {.num_owned = 4, .first = (int64_t)4 * spt_rank(), .num_needed = spt_size() - 1};
    p.needed_ids = spt_alloc(p.num_needed, sizeof *p.needed_ids);
    p.owner_rank = spt_alloc(p.num_needed, sizeof *p.owner_rank);
    p.owner_row = spt_alloc(p.num_needed, sizeof *p.owner_row);
    for (int i = 0; i < p.num_needed; i++) {
        p.owner_rank[i] = (spt_rank() + i + 1) % spt_size();
        p.owner_row[i] = (spt_rank() + i) % 4;
        p.needed_ids[i] = (int64_t)4 * p.owner_rank[i] + p.owner_row[i];
    }
    return p;
}

/* New values in buffers of their own each time. */
static spt_trial_t make_trial(const way_t *way, const tulle_plan_t *plan, const spt_pattern_t *pattern)
{
    static uint64_t stream = 100;
    spt_random_t mine = spt_random_mine(stream++);
    spt_trial_t trial = spt_trial(plan, pattern, way->direction, TULLE_OP_SUM);
    spt_trial_add(&trial, TULLE_I64, way->width, 0);
    spt_trial_fill(&trial, &mine);
    return trial;
}

static void lose(const way_t *way, const tulle_plan_t *plan, const spt_pattern_t *pattern, habit_t habit)
{
    tulle_exchange_t *lost[MOST_LOST];
    for (int i = 0; i < MOST_LOST; i++) {
        spt_trial_t trial = make_trial(way, plan, pattern);
        lost[i] = spt_trial_bind(&trial, plan);
    }
    for (int i = 0; i < MOST_LOST; i++)
        if (does_start(habit, i))
            assert_int_equal(tulle_exchange_start(lost[i], NULL), TULLE_OK);
    for (int i = 0; i < MOST_LOST; i++)
        tulle_exchange_destroy(&lost[i]);
}

static void find(const way_t *way, const tulle_plan_t *plan, const spt_pattern_t *pattern)
{
    for (int attempt = 0; attempt < NUM_ATTEMPTS; attempt++) {
        spt_trial_t trial = make_trial(way, plan, pattern);
        tulle_exchange_t *exchange = spt_trial_bind(&trial, plan);
        spt_run(exchange);
        spt_assert_all(spt_trial_is_right(&trial));
        tulle_exchange_destroy(&exchange);
    }
}

/* The first exchanges of communicators that follow one another are alike in all that MPI sees. */
static void lose_and_find(const way_t *way, habit_t habit)
{
    spt_pattern_t pattern = everybody();
    for (int is_next = 0; is_next < 2; is_next++) {
        tulle_comm_t *comm = NULL;
        spt_assert_ok_all(make_comm(way, &comm));
        tulle_plan_t *plan = spt_plan_make(comm, &pattern, way->strategy, TULLE_GHOST_ORDER_PLAN);
        if (!is_next)
            lose(way, plan, &pattern, habit);
        find(way, plan, &pattern);
        tulle_plan_destroy(&plan);
        tulle_comm_destroy(&comm);
    }
}

static int is_built(tulle_transport_t carrier)
{
    const way_t way = {.topology = NULL, .carrier = carrier};
    tulle_comm_t *comm = NULL;
    tulle_status_t st = make_comm(&way, &comm);
    tulle_comm_destroy(&comm);
    return st == TULLE_OK;
}

/* Closing a connection waits for the last word of ranks that keep what they sent: of UCX, one topology in three. */
static void check_carrier(tulle_transport_t carrier, int first_topology, int step)
{
    const tulle_strategy_t strategies[] = {TULLE_STRATEGY_DIRECT, TULLE_STRATEGY_BALANCED, TULLE_STRATEGY_AGGREGATED};
    int num_ways = 0;
    for (int t = first_topology; spt_topology(t) != NULL && is_built(carrier); t += step)
        for (int habit = 0; habit < NUM_HABITS; habit++) {
            way_t way = {.topology = spt_topology(t),
                         .carrier = carrier,
                         .strategy = strategies[num_ways % 3],
                         .direction = (tulle_direction_t)(num_ways / 3 % 2),
                         .width = widths[num_ways / 2 % 2]};
            lose_and_find(&way, (habit_t)habit);
            num_ways++;
        }
}

static void test_abandon_messages_of_mpi_do_not_come_back(void **state)
{
    check_carrier(TULLE_TRANSPORT_MPI, 0, 1);
}

static void test_abandon_messages_of_ucx_do_not_come_back(void **state)
{
    check_carrier(TULLE_TRANSPORT_UCX, 1, 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_abandon_messages_of_mpi_do_not_come_back),
        spt_test(test_abandon_messages_of_ucx_do_not_come_back),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
