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
    static const tulle_link_t domain = {100.0, 2e9, 0};
    static const tulle_link_t rank = {10.0, 4e9, 0};
    tulle_link_t node = {1000.0, 1e9, num_links};
    tulle_topology_t *topology = NULL;
    assert_int_equal(tulle_topology_parse("2x2x2", 0, &topology), TULLE_OK);
    assert_int_equal(tulle_topology_set_link(topology, 0, &node), TULLE_OK);
    assert_int_equal(tulle_topology_set_link(topology, 1, &domain), TULLE_OK);
    assert_int_equal(tulle_topology_set_link(topology, 2, &rank), TULLE_OK);
    return topology;
}

static void test_message_each_level_has_its_cost(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    assert_near(tli_cost_message_ns(topology, 0, 0), 1000);
    assert_near(tli_cost_message_ns(topology, 0, 500), 1500);
    assert_near(tli_cost_message_ns(topology, 1, 500), 350);
    assert_near(tli_cost_message_ns(topology, 2, 500), 135);
    assert_near(tli_cost_message_ns(topology, tli_topology_crossing(topology, 3, 3), 500), 0);
    tulle_topology_destroy(&topology);
}

static void test_node_one_nic_is_shared(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    assert_near(tli_cost_node_ns(topology, 0, 0), 0);
    assert_near(tli_cost_node_ns(topology, 1, 8000), 1000 + 8000);
    /* Four ranks start one message each at the same time; the bytes still pass one NIC. */
    assert_near(tli_cost_node_ns(topology, 4, 8000), 1000 + 8000);
    assert_near(tli_cost_node_ns(topology, 8, 8000), 2000 + 8000);
    tulle_topology_destroy(&topology);
}

static void test_node_several_nics_need_several_messages(void **state)
{
    tulle_topology_t *two = small_machine(2);
    tulle_topology_t *one_per_rank = small_machine(0);
    assert_near(tli_cost_node_ns(two, 1, 8000), 1000 + 8000);
    assert_near(tli_cost_node_ns(two, 2, 8000), 1000 + 4000);
    assert_near(tli_cost_node_ns(two, 4, 8000), 1000 + 4000);
    assert_near(tli_cost_node_ns(one_per_rank, 4, 8000), 1000 + 2000);
    tulle_topology_destroy(&two);
    tulle_topology_destroy(&one_per_rank);
}

static void test_node_random_machines_more_bytes_cost_more(void **state)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t random = seed;
        tulle_topology_t *topology = trees_random_topology(&random);
        int64_t messages = 1 + trees_random(&random, 100);
        int64_t bytes = trees_random(&random, 1 << 20);
        double cost = tli_cost_node_ns(topology, messages, bytes);
        assert_true(cost >= 0);
        assert_true(tli_cost_node_ns(topology, messages, bytes + 4096) > cost);
        /* One message alone is a message. */
        assert_near(tli_cost_node_ns(topology, 1, bytes), tli_cost_message_ns(topology, 0, bytes));
        tulle_topology_destroy(&topology);
    }
}

static void test_costs_huge_sizes_stay_finite(void **state)
{
    tulle_topology_t *topology = small_machine(1);
    assert_true(tli_cost_message_ns(topology, 0, INT64_MAX) < 1e20);
    assert_true(tli_cost_node_ns(topology, INT64_MAX, INT64_MAX) < 1e25);
    tulle_topology_destroy(&topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message_each_level_has_its_cost),
        cmocka_unit_test(test_node_one_nic_is_shared),
        cmocka_unit_test(test_node_several_nics_need_several_messages),
        cmocka_unit_test(test_node_random_machines_more_bytes_cost_more),
        cmocka_unit_test(test_costs_huge_sizes_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
