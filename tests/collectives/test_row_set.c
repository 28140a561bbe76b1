/* SPDX-License-Identifier: Apache-2.0
 * Needs merged into rows, and the volume limits of nodes against counting over the whole machine. */
#include <stdlib.h>
#include <string.h>

#include "virtual_job.h"

static tli_needs_t copy_of(const tli_needs_t *needs)
{
    tli_needs_t copy = {needs->num, virtual_alloc(needs->num, 3 * sizeof(int64_t))};
    if (needs->num > 0)
        memcpy(copy.words, needs->words, (size_t)needs->num * 3 * sizeof(int64_t));
    return copy;
}

/* A row set lists distinct needs, each once, in order. */
static void check_rows(const tli_row_set_t *set, const tli_needs_t *expected)
{
    int64_t at = 0;
    assert_int_equal(set->needer_ptr[0], 0);
    assert_int_equal(set->needer_ptr[set->num_rows], expected->num);
    for (int64_t row = 0; row < set->num_rows; row++) {
        int is_new = row == 0 || set->owner[row] != set->owner[row - 1] || set->row[row] != set->row[row - 1];
        assert_true(is_new && set->needer_ptr[row + 1] > set->needer_ptr[row]);
        for (; at < set->needer_ptr[row + 1]; at++) {
            const int64_t need[3] = {set->owner[row], set->row[row], set->needer[at]};
            assert_int_equal(virtual_compare_needs(need, expected->words + 3 * at), 0);
        }
    }
}

static void check_row_set(const virtual_job_t *job)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    tli_row_set_t set;
    tli_needs_t expected = virtual_distinct(&job->needs), given = copy_of(&job->needs);
    assert_int_equal(tli_row_set_build(&given, &arena, &set), TULLE_OK);
    check_rows(&set, &expected);
    free(given.words);
    free(expected.words);
    tli_arena_release(&arena);
}

/* Moves the needs to the front whose owner is on a node; returns the others. */
static tli_needs_t take_apart(const virtual_job_t *job, int node, tli_needs_t *needs)
{
    tli_needs_t others = {0, virtual_alloc(needs->num, 3 * sizeof(int64_t))};
    int64_t num_needs = needs->num;
    needs->num = 0;
    for (int64_t i = 0; i < num_needs; i++) {
        const int64_t *need = needs->words + 3 * i;
        tli_needs_t *to = tulle_topology_group(job->topology, 0, (int)need[0]) == node ? needs : &others;
        memmove(to->words + 3 * to->num++, need, 3 * sizeof *need);
    }
    return others;
}

static void check_split(const virtual_job_t *job)
{
    for (int node = 0; node < tulle_topology_num_groups(job->topology, 0) && node < 3; node++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        tli_row_set_t inside, outside;
        tli_needs_t given = copy_of(&job->needs), near = virtual_distinct(&job->needs);
        tli_needs_t far = take_apart(job, node, &near);
        assert_int_equal(tli_row_set_split(&given, job->topology->levels[0].group_of, node, &arena, &inside, &outside),
                         TULLE_OK);
        check_rows(&inside, &near);
        check_rows(&outside, &far);
        free(far.words);
        free(near.words);
        free(given.words);
        tli_arena_release(&arena);
    }
}

static void test_row_set_is_the_distinct_needs_in_order(void **state)
{
    virtual_for_all_jobs(check_row_set);
}

static void test_row_sets_split_by_the_owners_node(void **state)
{
    virtual_for_all_jobs(check_split);
}

static tli_needs_t needs_of_node(const virtual_job_t *job, int node)
{
    tli_needs_t needs = {0, virtual_alloc(job->needs.num, 3 * sizeof(int64_t))};
    for (int64_t i = 0; i < job->needs.num; i++) {
        const int64_t *need = job->needs.words + 3 * i;
        if (tulle_topology_group(job->topology, 0, (int)need[2]) == node)
            memcpy(needs.words + 3 * needs.num++, need, 3 * sizeof *need);
    }
    return needs;
}

static void check_limits(const virtual_job_t *job)
{
    int num_levels = tulle_topology_num_levels(job->topology);
    int64_t expected[TULLE_TOPOLOGY_MAX_LEVELS], sums[TULLE_TOPOLOGY_MAX_LEVELS] = {0};
    virtual_limits(job, expected);
    for (int node = 0; node < tulle_topology_num_groups(job->topology, 0); node++) {
        tli_arena_t scratch = TLI_ARENA_INIT;
        int64_t limits[TULLE_TOPOLOGY_MAX_LEVELS];
        tli_needs_t needs = needs_of_node(job, node);
        assert_int_equal(tli_route_limits(job->topology, &needs, &scratch, limits), TULLE_OK);
        for (int level = 0; level < num_levels; level++)
            sums[level] += limits[level];
        free(needs.words);
        tli_arena_release(&scratch);
    }
    for (int level = 0; level < num_levels; level++)
        if (sums[level] != expected[level])
            fail_msg("%s: limit of level %d is %d, not %d", job->name, level, (int)sums[level], (int)expected[level]);
}

static void test_limits_of_nodes_add_up_to_the_count_over_the_machine(void **state)
{
    virtual_for_all_jobs(check_limits);
}

/* One row of rank 0 for ranks 1 (its domain), 2 (its node), 5 and 7 (two domains of the other node). */
static void test_limits_of_one_row_by_hand(void **state)
{
    static const int needers[] = {1, 2, 5, 7};
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t limits[3];
    virtual_job_t job;
    virtual_job_init_text(&job, "2x2x2");
    for (int i = 0; i < 4; i++)
        virtual_job_add(&job, 0, 3, needers[i]);
    assert_int_equal(tli_route_limits(job.topology, &job.needs, &scratch, limits), TULLE_OK);
    assert_int_equal(limits[0], 1); /* into the other node */
    assert_int_equal(limits[1], 2); /* between the domains of each */
    assert_int_equal(limits[2], 1); /* to rank 1: the others got it by then */
    tli_arena_release(&scratch);
    virtual_job_fini(&job);
}

static void test_limits_failing_allocation_leaks_nothing(void **state)
{
    int64_t live = 0, k = 0;
    tulle_topology_t *topology = NULL;
    virtual_job_t job;
    assert_int_equal(tulle_topology_parse("3,1,4", 0, &topology), TULLE_OK);
    virtual_job_init(&job, topology, VIRTUAL_UNIFORM, 300, 1);
    live = tli_alloc_live();
    for (tulle_status_t st = TULLE_ERR_NOMEM; st != TULLE_OK;) {
        tli_arena_t scratch = TLI_ARENA_INIT;
        int64_t limits[2];
        tli_needs_t needs = copy_of(&job.needs);
        tli_alloc_fail_at(++k);
        st = tli_route_limits(job.topology, &needs, &scratch, limits);
        tli_alloc_fail_at(0);
        free(needs.words);
        assert_true(st == TULLE_OK || st == TULLE_ERR_NOMEM);
        tli_arena_release(&scratch);
        assert_int_equal(tli_alloc_live(), live);
    }
    assert_true(k > 4);
    virtual_job_fini(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_set_is_the_distinct_needs_in_order),
        cmocka_unit_test(test_row_sets_split_by_the_owners_node),
        cmocka_unit_test(test_limits_of_nodes_add_up_to_the_count_over_the_machine),
        cmocka_unit_test(test_limits_of_one_row_by_hand),
        cmocka_unit_test(test_limits_failing_allocation_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
