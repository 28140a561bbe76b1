/* SPDX-License-Identifier: Apache-2.0
 * Ports: where rails end, and that balanced ports are as even as they can be. */
#include <stdlib.h>
#include <string.h>

#include "delivery.h"
#include "virtual_world.h"

/* --- rails ------------------------------------------------------------------------------------------------------- */

/* Ranks of a node, or those of them below `rank`, by counting. */
static int count_in_node(const tulle_topology_t *topology, int node, int below)
{
    int count = 0;
    for (int rank = 0; rank < below; rank++)
        count += tulle_topology_group(topology, 0, rank) == node;
    return count;
}

/* Without levels inside a node, the port has the owner's index there, counted around in a smaller node. */
static void check_flat_rails(const virtual_job_t *job)
{
    const tulle_topology_t *topology = job->topology;
    if (tulle_topology_num_levels(topology) != 2)
        return;
    virtual_world_t world = virtual_world_routed(job, TULLE_STRATEGY_RAIL);
    for (int64_t m = 0; m < world.num_messages; m++) {
        int sender = (int)world.messages[m].sender, receiver = (int)world.messages[m].receiver;
        int from = tulle_topology_group(topology, 0, sender), to = tulle_topology_group(topology, 0, receiver);
        int size = count_in_node(topology, to, tulle_topology_num_ranks(topology));
        int rail = count_in_node(topology, from, sender) % size;
        virtual_require(&world, from == to || count_in_node(topology, to, receiver) == rail);
    }
    virtual_world_release(&world);
}

static void test_rail_port_has_the_index_of_the_owner(void **state)
{
    virtual_for_all_jobs(check_flat_rails);
}

static int64_t port_of_only_row(const virtual_job_t *job, tulle_strategy_t strategy)
{
    int64_t port = -1;
    virtual_world_t world = virtual_world_routed(job, strategy);
    delivery_check(&world);
    for (int64_t m = 0; m < world.num_messages; m++)
        if (virtual_is_between_nodes(&world, &world.messages[m]))
            port = world.messages[m].receiver;
    virtual_world_release(&world);
    return port;
}

static void test_rail_port_moves_to_a_domain_that_needs_the_row(void **state)
{
    static const struct {
        const char *text;
        int64_t owner, needers[2], port;
    } cases[] = {
        /* node 1 is ranks 6-8 and 9-11 */
        {"2x2x3", 1, {6, 6}, 7},  /* rank 7 has the owner's index, and its domain needs the row */
        {"2x2x3", 1, {9, 9}, 10}, /* it does not: index 1 counted in the other domain */
        {"2x2x3", 4, {11, 11}, 10},
        {"2x2x3", 4, {6, 6}, 7},
        {"2x2x3", 5, {8, 8}, 8},
        /* node 1 is ranks 4 and 5-7: rank 5 has the owner's index, whichever rank of its domain needs the row */
        {"2x(1,3)", 1, {5, 5}, 5},
        {"2x(1,3)", 1, {4, 7}, 5},
        {"2x(1,3)", 1, {4, 4}, 4},
        /* node 1 is ranks 6-7, 8-9 and 10-11: from the owner's index to the next domain, not to the first */
        {"2x3x2", 2, {6, 11}, 10},
        {"2x3x2", 4, {6, 8}, 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        virtual_job_t job;
        virtual_job_init_text(&job, cases[i].text);
        for (int n = 0; n < 2; n++)
            virtual_job_add(&job, cases[i].owner, 5, cases[i].needers[n]);
        assert_int_equal(port_of_only_row(&job, TULLE_STRATEGY_RAIL), cases[i].port);
        assert_int_equal(port_of_only_row(&job, TULLE_STRATEGY_BALANCED), cases[i].needers[0]);
        virtual_job_fini(&job);
    }
}

/* --- balanced ---------------------------------------------------------------------------------------------------- */

/* Busiest port of every node, and all that it receives. @param[out] busiest, total [num_nodes] zeroed */
static void measure_ports(const virtual_job_t *job, tulle_strategy_t strategy, int64_t *busiest, int64_t *total)
{
    int num_ranks = tulle_topology_num_ranks(job->topology);
    int64_t *load = virtual_alloc(num_ranks, sizeof *load);
    virtual_world_t world = virtual_world_routed(job, strategy);
    virtual_world_ports(&world, load);
    for (int rank = 0; rank < num_ranks; rank++) {
        int node = tulle_topology_group(job->topology, 0, rank);
        busiest[node] = load[rank] > busiest[node] ? load[rank] : busiest[node];
        total[node] += load[rank];
    }
    virtual_world_release(&world);
    free(load);
}

static void check_busiest_port(const virtual_job_t *job)
{
    const tulle_topology_t *topology = job->topology;
    int num_nodes = tulle_topology_num_groups(topology, 0);
    int64_t *sums = virtual_alloc(4 * num_nodes, sizeof *sums);
    int64_t *balanced = sums, *rail = sums + num_nodes, *total = sums + 2 * num_nodes, *same = sums + 3 * num_nodes;
    measure_ports(job, TULLE_STRATEGY_BALANCED, balanced, total);
    measure_ports(job, TULLE_STRATEGY_RAIL, rail, same);
    for (int node = 0; node < num_nodes; node++) {
        int64_t size = count_in_node(topology, node, tulle_topology_num_ranks(topology));
        int is_flat = tulle_topology_num_levels(topology) == 2;
        if (total[node] != same[node] || balanced[node] > rail[node] ||
            (is_flat && balanced[node] > (total[node] + size - 1) / size))
            fail_msg("%s: node %d receives %d rows, %d on its busiest port, with rails %d", job->name, node,
                     (int)total[node], (int)balanced[node], (int)rail[node]);
    }
    free(sums);
}

static void test_balanced_busiest_port_is_never_above_rail_and_even_without_domains(void **state)
{
    virtual_for_all_jobs(check_busiest_port);
}

static void test_balanced_rows_land_where_they_are_needed(void **state)
{
    virtual_job_t job;
    virtual_job_init_text(&job, "2x4");
    for (int row = 0; row < 20; row++)
        virtual_job_add(&job, row % 3, row, 4 + row % 4);
    virtual_world_t world = virtual_world_routed(&job, TULLE_STRATEGY_BALANCED);
    assert_int_equal(delivery_check(&world), 0);
    virtual_world_release(&world);
    virtual_job_fini(&job);
}

/* Row 0 could go to either rank of node 1, row 1 has use for one only: it must not find that one taken. */
static void test_balanced_rows_without_a_choice_choose_first(void **state)
{
    static const char *const texts[] = {"2x2", "2x2x1"};
    for (int t = 0; t < 2; t++) {
        virtual_job_t job;
        virtual_job_init_text(&job, texts[t]);
        virtual_job_add(&job, 0, 0, 2);
        virtual_job_add(&job, 0, 0, 3);
        virtual_job_add(&job, 0, 1, 2);
        virtual_world_t world = virtual_world_routed(&job, TULLE_STRATEGY_BALANCED);
        int64_t load[4];
        assert_int_equal(delivery_check(&world), 0);
        virtual_world_ports(&world, load);
        assert_int_equal(load[2], 1);
        assert_int_equal(load[3], 1);
        virtual_world_release(&world);
        virtual_job_fini(&job);
    }
}

/* 2 owners of 4 rows each that all 4 ranks need: 2 rows on each port, from one owner. */
static void test_balanced_rows_of_one_owner_stay_together(void **state)
{
    int num_between = 0;
    virtual_job_t job;
    virtual_job_init_text(&job, "2x4");
    for (int row = 0; row < 8; row++)
        for (int rank = 4; rank < 8; rank++)
            virtual_job_add(&job, row / 4, row, rank);
    virtual_world_t world = virtual_world_routed(&job, TULLE_STRATEGY_BALANCED);
    delivery_check(&world);
    for (int64_t m = 0; m < world.num_messages; m++) {
        int is_between = virtual_is_between_nodes(&world, &world.messages[m]);
        virtual_require(&world, !is_between || world.messages[m].num_rows == 2);
        num_between += is_between;
    }
    assert_int_equal(num_between, 4);
    virtual_world_release(&world);
    virtual_job_fini(&job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rail_port_has_the_index_of_the_owner),
        cmocka_unit_test(test_rail_port_moves_to_a_domain_that_needs_the_row),
        cmocka_unit_test(test_balanced_busiest_port_is_never_above_rail_and_even_without_domains),
        cmocka_unit_test(test_balanced_rows_land_where_they_are_needed),
        cmocka_unit_test(test_balanced_rows_without_a_choice_choose_first),
        cmocka_unit_test(test_balanced_rows_of_one_owner_stay_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
