/* SPDX-License-Identifier: Apache-2.0
 * Plans that a communicator keeps: the same for the same pattern and options on all ranks, never for others, no more
 * than were asked for, and all gone with the communicator. */
#include "collectives/plan.h"
#include "src/arena.h"
#include "tests/support/trial.h"

static tulle_comm_t *comm_that_keeps(int64_t num_plans)
{
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    tulle_comm_t *comm = NULL;
    options.topology_text = spt_topology(0);
    options.num_kept_plans = num_plans;
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
    return comm;
}

static tulle_plan_t *make_plan(tulle_comm_t *comm, uint64_t stream, tulle_strategy_t strategy)
{
    spt_pattern_t pattern = spt_pattern_random(stream);
    return spt_plan_make(comm, &pattern, strategy, TULLE_GHOST_ORDER_CALLER);
}

/* A plan that is found is not made: only its handle is allocated, and given back. */
static int is_found(tulle_comm_t *comm, tulle_pattern_t *pattern)
{
    tulle_plan_t *plan = NULL;
    int64_t before = tli_alloc_count();
    spt_assert_ok_all(tulle_plan_create(comm, pattern, NULL, &plan));
    int found = tli_alloc_count() - before == 1;
    tulle_plan_destroy(&plan);
    return found;
}

static void test_kept_plan_is_shared_and_survives_its_users(void **state)
{
    tulle_comm_t *comm = comm_that_keeps(4);
    spt_pattern_t needs = spt_pattern_random(1);
    tulle_plan_t *first = make_plan(comm, 1, TULLE_STRATEGY_AUTO), *kept = first;
    for (int round = 0; round < 3; round++) {
        tulle_plan_t *again = make_plan(comm, 1, TULLE_STRATEGY_AUTO);
        spt_assert_all(again == kept);
        spt_assert_plan_works(again, &needs, 5, 2);
        tulle_plan_destroy(&again);
        tulle_plan_destroy(&first);
    }
    tulle_comm_destroy(&comm);
}

static void test_other_options_and_patterns_are_other_plans(void **state)
{
    tulle_comm_t *comm = comm_that_keeps(64);
    tulle_plan_t *plans[5][3];
    int are_different = 1;
    for (int s = 0; s < 5; s++)
        for (int p = 0; p < 3; p++)
            plans[s][p] = make_plan(comm, (uint64_t)p, (tulle_strategy_t)s);
    for (int i = 0; i < 15; i++)
        for (int k = 0; k < i; k++)
            are_different = are_different && plans[i / 3][i % 3] != plans[k / 3][k % 3];
    spt_assert_all(are_different);
    for (int i = 0; i < 15; i++) {
        spt_pattern_t pattern = spt_pattern_random((uint64_t)(i % 3));
        spt_assert_plan_works(plans[i / 3][i % 3], &pattern, (uint64_t)i, 1);
        tulle_plan_destroy(&plans[i / 3][i % 3]);
    }
    tulle_comm_destroy(&comm);
}

/* What one rank needs is what it needed before; what the last rank needs is not. */
static void test_part_of_a_pattern_is_not_the_pattern(void **state)
{
    tulle_comm_t *comm = comm_that_keeps(4);
    int is_last = spt_rank() == spt_size() - 1;
    for (int round = 0; round < 3; round++) {
        int64_t ids[4] = {0, 1, 2, is_last ? 3 + round : 3}, got[4] = {-1, -1, -1, -1}, owned[8];
        tulle_layout_t layout = TULLE_LAYOUT_BLOCK(8);
        tulle_pattern_t *pattern = NULL;
        tulle_plan_t *plan = NULL;
        for (int i = 0; i < 8; i++)
            owned[i] = 8 * spt_rank() + i;
        spt_assert_ok_all(tulle_pattern_create_from_ids(comm, &layout, ids, 4, &pattern));
        spt_assert_ok_all(tulle_plan_create(comm, pattern, NULL, &plan));
        spt_assert_ok_all(tulle_gather(plan, owned, got, TULLE_I64, 1, NULL));
        spt_assert_all(got[0] == ids[0] && got[1] == ids[1] && got[2] == ids[2] && got[3] == ids[3]);
        tulle_plan_destroy(&plan);
        tulle_pattern_destroy(&pattern);
    }
    tulle_comm_destroy(&comm);
}

static void test_no_more_plans_are_kept_than_asked_for(void **state)
{
    for (int64_t most = 0; most <= 2; most++) {
        tulle_comm_t *comm = comm_that_keeps(most);
        tulle_pattern_t *patterns[3];
        for (uint64_t p = 0; p < 3; p++) {
            spt_pattern_t needs = spt_pattern_random(p);
            patterns[p] = spt_pattern_make(comm, &needs);
            spt_assert_all(!is_found(comm, patterns[p]));
        }
        spt_assert_all(is_found(comm, patterns[2]) == (most > 0));
        spt_assert_all(is_found(comm, patterns[1]) == (most > 1));
        spt_assert_all(!is_found(comm, patterns[0])); /* in the place of the third, not asked for longest */
        spt_assert_all(is_found(comm, patterns[1]) == (most > 1));
        spt_assert_all(!is_found(comm, patterns[2]));
        for (int p = 0; p < 3; p++)
            tulle_pattern_destroy(&patterns[p]);
        tulle_comm_destroy(&comm);
    }
}

static void test_plan_that_is_kept_no_longer_lives_while_it_is_used(void **state)
{
    tulle_comm_t *comm = comm_that_keeps(1);
    spt_pattern_t needs = spt_pattern_random(0);
    tulle_plan_t *used = make_plan(comm, 0, TULLE_STRATEGY_AUTO), *other = make_plan(comm, 1, TULLE_STRATEGY_AUTO);
    tulle_plan_destroy(&other);
    spt_assert_plan_works(used, &needs, 7, 1);
    tulle_comm_destroy(&comm); /* the plan keeps it alive */
    spt_assert_plan_works(used, &needs, 8, 1);
    tulle_plan_destroy(&used);
}

static void test_everything_goes_with_the_communicator(void **state)
{
    int64_t live = tli_alloc_live();
    for (int64_t k = 0; k < 60; k++) {
        tulle_comm_t *comm = comm_that_keeps(2);
        spt_pattern_t needs = spt_pattern_random(3);
        tulle_pattern_t *pattern = spt_pattern_make(comm, &needs);
        tulle_plan_t *plan = NULL, *again = NULL;
        tli_alloc_fail_at(k % spt_size() == spt_rank() ? k : 0);
        tulle_status_t st = tulle_plan_create(comm, pattern, NULL, &plan);
        tli_alloc_fail_at(0);
        spt_assert_all((st == TULLE_OK) == (plan != NULL));
        spt_assert_ok_all(tulle_plan_create(comm, pattern, NULL, &again));
        spt_assert_all(st != TULLE_OK || again == plan);
        spt_assert_plan_works(again, &needs, 3, 1);
        tulle_plan_destroy(&again);
        tulle_plan_destroy(&plan);
        tulle_pattern_destroy(&pattern);
        tulle_comm_destroy(&comm);
        spt_assert_all(tli_alloc_live() == live);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_kept_plan_is_shared_and_survives_its_users),
        spt_test(test_other_options_and_patterns_are_other_plans),
        spt_test(test_part_of_a_pattern_is_not_the_pattern),
        spt_test(test_no_more_plans_are_kept_than_asked_for),
        spt_test(test_plan_that_is_kept_no_longer_lives_while_it_is_used),
        spt_test(test_everything_goes_with_the_communicator),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
