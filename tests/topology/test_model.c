/* SPDX-License-Identifier: Apache-2.0
 * The tree: groups against a naive reference, queries at and beyond their bounds, copies, hashes, discovery from
 * made-up nodes and domains. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include <tulle/topology.h>

#include "topology/model.h"
#include "trees.h"

#define NUM_RANKS  40
#define NUM_LEVELS 3

static tulle_topology_t *parse(const char *text)
{
    tulle_topology_t *topology = NULL;
    assert_int_equal(tulle_topology_parse(text, 0, &topology), TULLE_OK);
    return topology;
}

/* Whether two ranks share a group at a level, by definition: equal numbers there and at every level above. */
static int together(const int *group_of, int level, int a, int b)
{
    int is_same = 1;
    for (int l = 0; l <= level; l++)
        is_same = is_same && group_of[l * NUM_RANKS + a] == group_of[l * NUM_RANKS + b];
    return is_same;
}

static void check_level(const tulle_topology_t *topology, const int *group_of, int level)
{
    const tli_level_t *groups = &topology->levels[level];
    int num_seen = 0;
    for (int rank = 0; rank < NUM_RANKS; rank++) {
        int group = tulle_topology_group(topology, level, rank);
        int is_lowest = 1;
        int num_before = 0;
        for (int other = 0; other < NUM_RANKS; other++) {
            assert_int_equal(tulle_topology_group(topology, level, other) == group,
                             together(group_of, level, rank, other));
            num_before += other < rank && together(group_of, level, rank, other);
            is_lowest = is_lowest && (other >= rank || !together(group_of, level, rank, other));
        }
        num_seen += is_lowest;
        assert_true(is_lowest ? group == num_seen - 1 : group < num_seen);
        assert_int_equal(groups->local_index[rank], num_before);
        assert_int_equal(groups->members[groups->member_ptr[group] + num_before], rank);
    }
    assert_int_equal(tulle_topology_num_groups(topology, level), num_seen);
    assert_int_equal(groups->member_ptr[num_seen], NUM_RANKS);
}

static void check_crossings(const tulle_topology_t *topology, const int *group_of)
{
    for (int a = 0; a < NUM_RANKS; a++) {
        for (int b = 0; b < NUM_RANKS; b++) {
            int level = 0;
            while (level < NUM_LEVELS && together(group_of, level, a, b))
                level++;
            assert_int_equal(tli_topology_crossing(topology, a, b), a == b ? NUM_LEVELS + 1 : level);
        }
    }
}

static void test_from_groups_random_numbers_match_reference(void **state)
{
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint64_t random = seed;
        int group_of[NUM_LEVELS * NUM_RANKS];
        tulle_topology_t *topology = NULL;
        trees_random_groups(&random, NUM_RANKS, NUM_LEVELS, group_of);
        assert_int_equal(tli_topology_from_groups(NUM_RANKS, NUM_LEVELS, group_of, NULL, &topology), TULLE_OK);
        for (int l = 0; l < NUM_LEVELS; l++)
            check_level(topology, group_of, l);
        check_crossings(topology, group_of);
        tulle_topology_destroy(&topology);
    }
}

static void test_rank_level_every_rank_is_its_own_group(void **state)
{
    tulle_topology_t *topology = parse("2x3:cyclic");
    const tli_level_t *ranks = &topology->levels[1];
    assert_int_equal(ranks->num_groups, 6);
    for (int rank = 0; rank < 6; rank++) {
        assert_int_equal(ranks->group_of[rank], rank);
        assert_int_equal(ranks->members[ranks->member_ptr[rank]], rank);
        assert_int_equal(ranks->member_ptr[rank + 1], rank + 1);
        assert_int_equal(ranks->local_index[rank], 0);
    }
    tulle_topology_destroy(&topology);
}

static void test_from_groups_bad_arguments_are_refused(void **state)
{
    static const int groups[16] = {0};
    static const char *const names[1] = {"Node"};
    static const char *const long_names[1] = {"a-name-of-32-characters---------"};
    static const char *const empty_names[1] = {""};
    tulle_topology_t *topology = NULL;
    assert_int_equal(tli_topology_from_groups(0, 1, groups, NULL, &topology), TULLE_ERR_ARG);
    assert_int_equal(tli_topology_from_groups(2, 0, groups, NULL, &topology), TULLE_ERR_ARG);
    assert_int_equal(tli_topology_from_groups(2, TULLE_TOPOLOGY_MAX_LEVELS, groups, NULL, &topology), TULLE_ERR_ARG);
    assert_int_equal(tli_topology_from_groups(2, 1, groups, names, &topology), TULLE_ERR_ARG);
    assert_int_equal(tli_topology_from_groups(2, 1, groups, long_names, &topology), TULLE_ERR_ARG);
    assert_int_equal(tli_topology_from_groups(2, 1, groups, empty_names, &topology), TULLE_ERR_ARG);
    assert_null(topology);
}

static void test_from_groups_most_levels_have_names_and_links(void **state)
{
    static const int groups[TULLE_TOPOLOGY_MAX_LEVELS - 1] = {0};
    static const char *const expected[TULLE_TOPOLOGY_MAX_LEVELS] = {"node",    "domain",  "domain2", "domain3",
                                                                    "domain4", "domain5", "domain6", "rank"};
    tulle_topology_t *topology = NULL;
    assert_int_equal(tli_topology_from_groups(1, TULLE_TOPOLOGY_MAX_LEVELS - 1, groups, NULL, &topology), TULLE_OK);
    for (int l = 0; l < TULLE_TOPOLOGY_MAX_LEVELS; l++) {
        tulle_link_t link;
        assert_string_equal(tulle_topology_level_name(topology, l), expected[l]);
        assert_int_equal(tulle_topology_get_link(topology, l, &link), TULLE_OK);
        assert_true(link.latency_ns > 0 && link.bytes_per_second > 0);
        assert_int_equal(link.num_links, l == 0 ? 1 : 0);
    }
    tulle_topology_destroy(&topology);
}

static void test_queries_out_of_range_give_nothing(void **state)
{
    tulle_topology_t *topology = parse("2x2");
    tulle_link_t link = {1, 1, 1, 0, 0, 0};
    assert_int_equal(tulle_topology_num_ranks(NULL), 0);
    assert_int_equal(tulle_topology_num_levels(NULL), 0);
    assert_int_equal(tulle_topology_num_groups(NULL, 0), 0);
    assert_int_equal(tulle_topology_group(NULL, 0, 0), -1);
    assert_string_equal(tulle_topology_level_name(NULL, 0), "");
    assert_string_equal(tulle_topology_text(NULL), "");
    for (int level = -1; level <= 2; level += 3) {
        assert_string_equal(tulle_topology_level_name(topology, level), "");
        assert_int_equal(tulle_topology_num_groups(topology, level), 0);
        assert_int_equal(tulle_topology_group(topology, level, 0), -1);
        assert_int_equal(tulle_topology_get_link(topology, level, &link), TULLE_ERR_ARG);
        assert_int_equal(tulle_topology_set_link(topology, level, &link), TULLE_ERR_ARG);
    }
    assert_int_equal(tulle_topology_group(topology, 0, -1), -1);
    assert_int_equal(tulle_topology_group(topology, 0, 4), -1);
    assert_int_equal(tulle_topology_get_link(NULL, 0, &link), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_get_link(topology, 0, NULL), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_set_link(topology, 0, NULL), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_dup(NULL, &topology), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_dup(topology, NULL), TULLE_ERR_ARG);
    tulle_topology_destroy(&topology);
    tulle_topology_destroy(&topology);
    tulle_topology_destroy(NULL);
}

static void test_set_link_impossible_values_are_refused(void **state)
{
    static const tulle_link_t bad[] = {
        {-1, 1, 0, 0, 0, 0},
        {(double)NAN, 1, 0, 0, 0, 0},
        {(double)INFINITY, 1, 0, 0, 0, 0},
        {1, 0, 0, 0, 0, 0},
        {1, -1, 0, 0, 0, 0},
        {1, (double)NAN, 0, 0, 0, 0},
        {1, 1, -1, 0, 0, 0},
        {1, 1, 0, -1, 0, 0},
        {1, (double)INFINITY, 0, 0, 0, 0},
        {1, 1, 0, 0, -1, 0},
        {1, 1, 0, (double)NAN, 0, 0},
        {1, 1, 0, 0, (double)INFINITY, 0},
        {1, 1, 0, INFINITY, 0, 0},
        {1, 1, 0, 0, (double)NAN, 0},
        {1, 1, 0, 0, 0, -1},
        {1, 1, 0, 0, 0, (double)NAN},
        {1, 1, 0, 0, 0, (double)INFINITY},
    };
    static const tulle_link_t least = {0, 1e-300, 0, 0, 0, 0};
    tulle_topology_t *topology = parse("2x2");
    tulle_link_t before;
    tulle_link_t after;
    assert_int_equal(tulle_topology_get_link(topology, 1, &before), TULLE_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tulle_topology_set_link(topology, 1, &bad[i]), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_get_link(topology, 1, &after), TULLE_OK);
    assert_true(before.latency_ns == after.latency_ns && before.bytes_per_second == after.bytes_per_second);
    assert_int_equal(tulle_topology_set_link(topology, 1, &least), TULLE_OK);
    tulle_topology_destroy(&topology);
}

static void test_dup_is_equal_and_independent(void **state)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        uint64_t random = seed;
        tulle_topology_t *topology = trees_random_topology(&random);
        tulle_topology_t *copy = NULL;
        tulle_link_t link = {1, 2, 3, 4, 5, 6};
        assert_int_equal(tulle_topology_dup(topology, &copy), TULLE_OK);
        assert_true(tli_topology_equal(topology, copy));
        assert_true(tli_topology_hash(topology) == tli_topology_hash(copy));
        assert_string_equal(tulle_topology_text(topology), tulle_topology_text(copy));
        for (int l = 0; l < tulle_topology_num_levels(topology); l++)
            assert_string_equal(tulle_topology_level_name(topology, l), tulle_topology_level_name(copy, l));
        assert_int_equal(tulle_topology_set_link(copy, 0, &link), TULLE_OK);
        assert_false(tli_topology_equal(topology, copy));
        tulle_topology_destroy(&topology);
        assert_int_equal(tulle_topology_group(copy, 0, 0), 0);
        tulle_topology_destroy(&copy);
    }
}

static void check_same(const char *a, const char *b, int is_same)
{
    tulle_topology_t *x = parse(a);
    tulle_topology_t *y = parse(b);
    assert_int_equal(tli_topology_equal(x, y), is_same);
    assert_int_equal(tli_topology_hash(x) == tli_topology_hash(y), is_same);
    tulle_topology_destroy(&x);
    tulle_topology_destroy(&y);
}

static void test_hash_and_equal_see_tree_and_placement(void **state)
{
    check_same("2x4", "4,4", 1);
    check_same("2x4", "2x4:cyclic", 0);
    check_same("2x4", "4x2", 0);
    check_same("2x4", "2x1x4", 0);
    check_same("2x4", "2x2x2", 0);
    check_same("2x4", "2x5", 0);
    check_same("4,(2x2)", "(4),(2,2)", 1);
    check_same("8:cyclic", "8", 1);
}

static void test_hash_and_equal_see_links_and_not_names(void **state)
{
    tulle_topology_t *a = parse("2x4");
    tulle_topology_t *b = parse("2x4");
    tulle_link_t link = {0.0, 1e9, 1, 0, 0, 0};
    assert_int_equal(tli_topology_set_name(b, 0, "island"), TULLE_OK);
    assert_true(tli_topology_equal(a, b) && tli_topology_hash(a) == tli_topology_hash(b));
    assert_int_equal(tulle_topology_set_link(a, 1, &link), TULLE_OK);
    assert_false(tli_topology_equal(a, b) || tli_topology_hash(a) == tli_topology_hash(b));
    link.latency_ns = -0.0;
    assert_int_equal(tulle_topology_set_link(b, 1, &link), TULLE_OK);
    assert_true(tli_topology_equal(a, b) && tli_topology_hash(a) == tli_topology_hash(b));
    link.num_links = 2;
    assert_int_equal(tulle_topology_set_link(b, 1, &link), TULLE_OK);
    assert_false(tli_topology_equal(a, b) || tli_topology_hash(a) == tli_topology_hash(b));
    link = (tulle_link_t){0.0, 1e9, 1, 5.0, 0, 0};
    assert_int_equal(tulle_topology_set_link(b, 1, &link), TULLE_OK);
    assert_false(tli_topology_equal(a, b) || tli_topology_hash(a) == tli_topology_hash(b));
    link = (tulle_link_t){0.0, 1e9, 1, -0.0, 5.0, 0};
    assert_int_equal(tulle_topology_set_link(b, 1, &link), TULLE_OK);
    assert_false(tli_topology_equal(a, b) || tli_topology_hash(a) == tli_topology_hash(b));
    link = (tulle_link_t){0.0, 1e9, 1, 0, 0, 5.0};
    assert_int_equal(tulle_topology_set_link(b, 1, &link), TULLE_OK);
    assert_false(tli_topology_equal(a, b) || tli_topology_hash(a) == tli_topology_hash(b));
    tulle_topology_destroy(&a);
    tulle_topology_destroy(&b);
}

static void test_build_failing_allocation_leaks_nothing(void **state)
{
    static const int group_of[12] = {0, 0, 0, 3, 3, 3, 0, 0, 1, 1, 1, 1};
    int64_t live = tli_alloc_live();
    int64_t k = 0;
    tulle_status_t st = TULLE_ERR_NOMEM;
    while (st != TULLE_OK) {
        tulle_topology_t *topology = NULL;
        tulle_topology_t *copy = NULL;
        tli_alloc_fail_at(++k);
        st = tli_topology_from_groups(6, 2, group_of, NULL, &topology);
        if (st == TULLE_OK)
            st = tulle_topology_dup(topology, &copy);
        tli_alloc_fail_at(0);
        assert_true(st == TULLE_OK || (st == TULLE_ERR_NOMEM && copy == NULL));
        tulle_topology_destroy(&copy);
        tulle_topology_destroy(&topology);
        assert_int_equal(tli_alloc_live(), live);
    }
    assert_true(k > 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_groups_random_numbers_match_reference),
        cmocka_unit_test(test_rank_level_every_rank_is_its_own_group),
        cmocka_unit_test(test_from_groups_bad_arguments_are_refused),
        cmocka_unit_test(test_from_groups_most_levels_have_names_and_links),
        cmocka_unit_test(test_queries_out_of_range_give_nothing),
        cmocka_unit_test(test_set_link_impossible_values_are_refused),
        cmocka_unit_test(test_dup_is_equal_and_independent),
        cmocka_unit_test(test_hash_and_equal_see_tree_and_placement),
        cmocka_unit_test(test_hash_and_equal_see_links_and_not_names),
        cmocka_unit_test(test_build_failing_allocation_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
