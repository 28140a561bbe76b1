/* SPDX-License-Identifier: Apache-2.0
 * The cost model: by hand on small machines, and its monotony on random ones. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "topology/cost.h"
#include "trees.h"

/* cmocka compares floats only. */
static void assert_near(double actual, double expected)
{
    if (fabs(actual - expected) > 1e-9 * (1 + fabs(expected)))
        fail_msg("%.17g is not %.17g", actual, expected);
}

/* 2 nodes of 2 domains of 2 ranks; between nodes 1000 ns and num_links NICs of 1 byte per ns. */
static tulle_topology_t *small_machine(int num_links)
{
    static const tulle_link_t domain = {100.0, 2e9, 0, 0, 0, 0};
    static const tulle_link_t rank = {10.0, 4e9, 0, 0, 0, 0};
    tulle_link_t node = {1000.0, 1e9, num_links, 0, 0, 0};
    tulle_topology_t *topology = NULL;
    assert_int_equal(tulle_topology_parse("2x2x2", 0, &topology), TULLE_OK);
    assert_int_equal(tulle_topology_set_link(topology, 0, &node), TULLE_OK);
    assert_int_equal(tulle_topology_set_link(topology, 1, &domain), TULLE_OK);
    assert_int_equal(tulle_topology_set_link(topology, 2, &rank), TULLE_OK);
    return topology;
}

/* Messages of one level that wait for no others. */
static double level_ns(const tulle_topology_t *topology, int level, int64_t messages, int64_t bytes)
{
    tli_load_t load = {.messages = {0}};
    load.messages[level] = messages;
    load.bytes[level] = bytes;
    load.hops[level] = 1;
    return tli_cost_load_ns(topology, 4, &load);
}

static void test_load_each_level_has_its_cost(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    assert_near(level_ns(topology, 0, 1, 0), 1000);
    assert_near(level_ns(topology, 0, 1, 500), 1500 + 250);
    assert_near(level_ns(topology, 1, 1, 500), 350);
    assert_near(level_ns(topology, 2, 1, 500), 135);
    assert_near(level_ns(topology, 0, 0, 0), 0);
    tulle_topology_destroy(&topology);
}

static void test_load_one_nic_is_shared(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    assert_near(level_ns(topology, 0, 1, 8000), 1000 + 8000 + 4000);
    /* Four ranks start one message each at the same time; the bytes still pass one NIC. */
    assert_near(level_ns(topology, 0, 4, 8000), 1000 + 8000 + 1000);
    assert_near(level_ns(topology, 0, 8, 8000), 1000 + 0.15 * 1000 + 8000 + 500);
    tulle_topology_destroy(&topology);
}

static void test_load_several_nics_need_several_messages(void **state)
{
    tulle_topology_t *two = small_machine(2);
    tulle_topology_t *one_per_rank = small_machine(0);
    assert_near(level_ns(two, 0, 1, 8000), 1000 + 8000 + 4000);
    assert_near(level_ns(two, 0, 2, 8000), 1000 + 4000 + 2000);
    assert_near(level_ns(two, 0, 4, 8000), 1000 + 4000 + 1000);
    assert_near(level_ns(one_per_rank, 0, 4, 8000), 1000 + 2000 + 1000);
    tulle_topology_destroy(&two);
    tulle_topology_destroy(&one_per_rank);
}

static void test_load_inside_a_node_groups_work_side_by_side(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    /* Two domains, each with a link per rank. */
    assert_near(level_ns(topology, 1, 4, 8000), 100 + 1000);
    assert_near(level_ns(topology, 2, 8, 8000), 10 + 0.15 * 10 + 500);
    tulle_topology_destroy(&topology);
}

static void test_load_overhead_and_group_rate_replace_what_follows_from_latency_and_links(void **state)
{
    tulle_topology_t *topology = small_machine(4);
    tulle_link_t node = {1000.0, 1e9, 4, 200.0, 2e9, 0};
    assert_int_equal(tulle_topology_set_link(topology, 0, &node), TULLE_OK);
    assert_near(level_ns(topology, 0, 16, 8000), 1000 + 0.15 * 3 * 200 + 4000 + 250);
    assert_near(level_ns(topology, 0, 1, 8000), 1000 + 8000 + 4000);
    tulle_topology_destroy(&topology);
}

static void test_load_one_rank_drives_one_link(void **state)
{
    tulle_topology_t *topology = small_machine(4);
    tli_load_t load = {.messages = {4}, .bytes = {8000}, .hops = {1}, .busiest_bytes = 5000};
    assert_near(tli_cost_load_ns(topology, 4, &load), 1000 + 5000 + 1000);
    load.busiest_bytes = 2000;
    assert_near(tli_cost_load_ns(topology, 4, &load), 1000 + 2000 + 1000);
    tulle_topology_destroy(&topology);
}

static void test_load_half_of_the_last_message_is_waited_for_but_no_more_than_of_a_piece(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    assert_near(level_ns(topology, 0, 2, 8000), 1000 + 8000 + 2000);
    assert_near(level_ns(topology, 0, 1, 65536), 1000 + 65536 + 32768);
    assert_near(level_ns(topology, 0, 1, 1000000), 1000 + 1000000 + 32768);
    assert_near(level_ns(topology, 1, 1, 8000), 100 + 4000); /* inside a node it is read at once */
    tulle_topology_destroy(&topology);
}

static void test_load_further_ranks_of_a_group_cost_its_overhead(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    tulle_link_t node = {1000.0, 1e9, 1, 200.0, 0, 50.0}, domain = {100.0, 2e9, 0, 20.0, 0, 5.0};
    assert_int_equal(tulle_topology_set_link(topology, 0, &node), TULLE_OK);
    assert_int_equal(tulle_topology_set_link(topology, 1, &domain), TULLE_OK);
    assert_near(level_ns(topology, 0, 1, 0), 1000);
    assert_near(level_ns(topology, 0, 2, 0), 1000 + 50);
    assert_near(level_ns(topology, 0, 4, 0), 1000 + 3 * 50);
    assert_near(level_ns(topology, 0, 12, 0), 1000 + 3 * 50 + 2 * 200); /* then all ranks go on alike */
    assert_near(level_ns(topology, 1, 4, 0), 100 + 5);                  /* two domains of two, side by side */
    tulle_topology_destroy(&topology);
}

static void test_load_ranks_that_pass_rows_on_take_turns_once_more(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    tulle_link_t node = {1000.0, 1e9, 1, 200.0, 0, 50.0};
    tli_load_t load = {.messages = {4, 0, 3}, .hops = {1, 0, 0}};
    assert_int_equal(tulle_topology_set_link(topology, 0, &node), TULLE_OK);
    assert_near(tli_cost_load_ns(topology, 4, &load), 1000 + 3 * 50);
    load.hops[2] = 1;
    assert_near(tli_cost_load_ns(topology, 4, &load), 1000 + 2 * 3 * 50 + 10);
    load.hops[2] = 2;
    load.messages[0] = 1; /* by one rank alone */
    assert_near(tli_cost_load_ns(topology, 4, &load), 1000 + 2 * 10);
    tulle_topology_destroy(&topology);
}

static void test_load_starting_messages_hides_mostly_behind_moving_bytes(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    assert_near(level_ns(topology, 0, 400, 100 * 1000), 1000 + 100000 + 0.15 * 99 * 1000 + 125);
    assert_near(level_ns(topology, 0, 400, 0), 1000 + 99 * 1000);
    tulle_topology_destroy(&topology);
}

static void test_load_hops_that_wait_add_their_latency(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    tli_load_t load = {.messages = {1, 0, 1}, .bytes = {500, 0, 400}, .hops = {1, 0, 0}};
    assert_near(tli_cost_load_ns(topology, 4, &load), 1500 + 250 + 100);
    load.hops[2] = 2;
    assert_near(tli_cost_load_ns(topology, 4, &load), 1500 + 250 + 120);
    tulle_topology_destroy(&topology);
}

static void test_load_random_machines_more_costs_more(void **state)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t random = seed;
        tulle_topology_t *topology = trees_random_topology(&random);
        int64_t messages = 1 + trees_random(&random, 100), bytes = trees_random(&random, 1 << 20);
        int level = trees_random(&random, tulle_topology_num_levels(topology));
        double cost = level_ns(topology, level, messages, bytes);
        assert_true(cost >= 0);
        assert_true(level_ns(topology, level, messages, bytes + 4096) > cost);
        /* More messages may use more links, but at the same rate they cost no less. */
        assert_true(level_ns(topology, level, messages + 4000, 0) >= level_ns(topology, level, messages, 0));
        tulle_topology_destroy(&topology);
    }
}

static void test_load_huge_sizes_stay_finite(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    assert_true(level_ns(topology, 0, 1, INT64_MAX) < 1e20);
    assert_true(level_ns(topology, 2, INT64_MAX, INT64_MAX) < 1e25);
    tulle_topology_destroy(&topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_each_level_has_its_cost),
        cmocka_unit_test(test_load_one_nic_is_shared),
        cmocka_unit_test(test_load_several_nics_need_several_messages),
        cmocka_unit_test(test_load_inside_a_node_groups_work_side_by_side),
        cmocka_unit_test(test_load_overhead_and_group_rate_replace_what_follows_from_latency_and_links),
        cmocka_unit_test(test_load_one_rank_drives_one_link),
        cmocka_unit_test(test_load_half_of_the_last_message_is_waited_for_but_no_more_than_of_a_piece),
        cmocka_unit_test(test_load_further_ranks_of_a_group_cost_its_overhead),
        cmocka_unit_test(test_load_ranks_that_pass_rows_on_take_turns_once_more),
        cmocka_unit_test(test_load_starting_messages_hides_mostly_behind_moving_bytes),
        cmocka_unit_test(test_load_hops_that_wait_add_their_latency),
        cmocka_unit_test(test_load_random_machines_more_costs_more),
        cmocka_unit_test(test_load_huge_sizes_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
