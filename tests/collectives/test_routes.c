/* SPDX-License-Identifier: Apache-2.0
 * Routes of whole virtual machines: delivery, volume, determinism, and what happens when memory runs out. */
#include <stdlib.h>
#include <string.h>

#include "delivery.h"
#include "virtual_world.h"

static const tulle_strategy_t strategies[] = {
#define STRATEGY_ENTRY(name, value, text) TULLE_STRATEGY_##name,
    TULLE_STRATEGY_MAP(STRATEGY_ENTRY)
#undef STRATEGY_ENTRY
};
#define NUM_STRATEGIES (int)(sizeof strategies / sizeof *strategies)

/* --- delivery and volume ----------------------------------------------------------------------------------------- */

static void check_once_per_node_volume(const virtual_job_t *job, tulle_strategy_t strategy, const int64_t *limits)
{
    int64_t volume[TULLE_TOPOLOGY_MAX_LEVELS];
    int last = tulle_topology_num_levels(job->topology) - 1;
    virtual_world_t world = virtual_world_routed(job, strategy);
    int64_t num_staged = delivery_check(&world);
    virtual_world_volume(&world, volume);
    for (int level = 0; level < last; level++)
        virtual_require(&world, volume[level] == limits[level]);
    /* A port without a need of its own costs a hop inside its group, and nothing else does. */
    virtual_require(&world, volume[last] == limits[last] + num_staged);
    for (int64_t m = 0; m < world.num_messages; m++)
        for (int64_t i = 0; i < world.messages[m].num_rows && virtual_is_between_nodes(&world, &world.messages[m]); i++)
            virtual_require(&world, world.messages[m].rows[2 * i] == world.messages[m].sender);
    virtual_world_release(&world);
}

static void check_rail_and_balanced_volume(const virtual_job_t *job)
{
    int64_t limits[TULLE_TOPOLOGY_MAX_LEVELS];
    virtual_limits(job, limits);
    check_once_per_node_volume(job, TULLE_STRATEGY_RAIL, limits);
    check_once_per_node_volume(job, TULLE_STRATEGY_BALANCED, limits);
}

static void test_rail_and_balanced_deliver_with_the_least_volume_of_every_level(void **state)
{
    virtual_for_all_jobs(check_rail_and_balanced_volume);
}

static void check_direct_and_auto_volume(const virtual_job_t *job)
{
    int64_t limits[TULLE_TOPOLOGY_MAX_LEVELS], volume[TULLE_TOPOLOGY_MAX_LEVELS];
    int64_t direct_rows = virtual_direct_rows(job);
    virtual_limits(job, limits);
    virtual_world_t direct = virtual_world_routed(job, TULLE_STRATEGY_DIRECT);
    delivery_check(&direct);
    virtual_world_volume(&direct, volume);
    virtual_require(&direct, volume[0] == direct_rows);
    virtual_world_release(&direct);
    virtual_world_t chosen = virtual_world_routed(job, TULLE_STRATEGY_AUTO);
    delivery_check(&chosen);
    virtual_world_volume(&chosen, volume);
    virtual_require(&chosen, volume[0] >= limits[0] && volume[0] <= direct_rows);
    virtual_world_release(&chosen);
}

static void test_direct_and_auto_deliver_within_their_volumes(void **state)
{
    virtual_for_all_jobs(check_direct_and_auto_volume);
}

static void check_aggregated_volume(const virtual_job_t *job)
{
    int64_t limits[TULLE_TOPOLOGY_MAX_LEVELS], volume[TULLE_TOPOLOGY_MAX_LEVELS];
    int num_nodes = tulle_topology_num_groups(job->topology, 0);
    unsigned char *seen = virtual_alloc((int64_t)num_nodes * num_nodes, 1);
    virtual_world_t world = virtual_world_routed(job, TULLE_STRATEGY_AGGREGATED);
    delivery_check(&world);
    virtual_limits(job, limits);
    virtual_world_volume(&world, volume);
    virtual_require(&world, volume[0] == limits[0]);
    for (int level = 1; level < tulle_topology_num_levels(job->topology); level++)
        virtual_require(&world, volume[level] >= limits[level]);
    for (int64_t m = 0; m < world.num_messages; m++) {
        int from = tulle_topology_group(job->topology, 0, (int)world.messages[m].sender);
        int to = tulle_topology_group(job->topology, 0, (int)world.messages[m].receiver);
        virtual_require(&world, from == to || !seen[from * num_nodes + to]);
        seen[from * num_nodes + to] = 1;
    }
    virtual_world_release(&world);
    free(seen);
}

static void test_aggregated_delivers_by_one_message_per_node_pair(void **state)
{
    virtual_for_all_jobs(check_aggregated_volume);
}

static void check_large_job(virtual_kind_t kind)
{
    static const tulle_strategy_t routed[] = {TULLE_STRATEGY_RAIL, TULLE_STRATEGY_BALANCED, TULLE_STRATEGY_AGGREGATED,
                                              TULLE_STRATEGY_AUTO};
    int64_t limits[TULLE_TOPOLOGY_MAX_LEVELS], volume[TULLE_TOPOLOGY_MAX_LEVELS];
    tulle_topology_t *topology = NULL;
    virtual_job_t job;
    assert_int_equal(tulle_topology_parse("256x8", 0, &topology), TULLE_OK);
    virtual_job_init(&job, topology, kind, 20, 1);
    virtual_limits(&job, limits);
    for (int s = 0; s < 4; s++) {
        virtual_world_t world = virtual_world_routed(&job, routed[s]);
        delivery_check(&world);
        virtual_world_volume(&world, volume);
        virtual_require(&world, routed[s] == TULLE_STRATEGY_AUTO || volume[0] == limits[0]);
        virtual_world_release(&world);
    }
    virtual_job_fini(&job);
}

static void test_routes_of_2048_ranks_deliver(void **state)
{
    check_large_job(VIRTUAL_UNIFORM);
    check_large_job(VIRTUAL_POWER_LAW);
}

/* --- determinism ------------------------------------------------------------------------------------------------- */

static int messages_equal(const virtual_world_t *a, const virtual_world_t *b)
{
    int is_equal = a->num_messages == b->num_messages;
    for (int64_t m = 0; m < a->num_messages && is_equal; m++) {
        const virtual_message_t *x = &a->messages[m], *y = &b->messages[m];
        is_equal = x->receiver == y->receiver && x->sender == y->sender && x->num_rows == y->num_rows &&
                   memcmp(x->rows, y->rows, (size_t)x->num_rows * 2 * sizeof *x->rows) == 0;
    }
    return is_equal;
}

static void check_determinism(const virtual_job_t *job)
{
    virtual_job_t repeated = *job;
    if (tulle_topology_num_ranks(job->topology) > 64)
        return; /* takes long under sanitizers, and shows nothing new */
    size_t bytes = (size_t)job->needs.num * 3 * sizeof(int64_t);
    repeated.needs = (tli_needs_t){2 * job->needs.num, virtual_alloc(2 * job->needs.num, 3 * sizeof(int64_t))};
    if (bytes > 0) {
        memcpy(repeated.needs.words, job->needs.words, bytes);
        memcpy(repeated.needs.words + 3 * job->needs.num, job->needs.words, bytes);
    }
    for (int s = 0; s < NUM_STRATEGIES; s++) {
        virtual_world_t a, b;
        assert_int_equal(virtual_world_route(job, strategies[s], 256, 1, &a), TULLE_OK);
        assert_int_equal(virtual_world_route(&repeated, strategies[s], 256, 99, &b), TULLE_OK);
        virtual_require(&a, messages_equal(&a, &b));
        virtual_world_release(&b);
        virtual_world_release(&a);
    }
    free(repeated.needs.words);
}

static void test_routes_same_messages_from_shuffled_and_repeated_needs(void **state)
{
    virtual_for_all_jobs(check_determinism);
}

/* --- what AUTO chooses ------------------------------------------------------------------------------------------- */

/* A slow network with one link per node, a fast inside. */
static void init_slow_network(virtual_job_t *job, const char *text, double latency_ns)
{
    tulle_link_t network = {latency_ns, 1e9, 1, 0, 0, 0}, inside = {100, 100e9, 0, 0, 0, 0};
    virtual_job_init_text(job, text);
    assert_int_equal(tulle_topology_set_link(job->topology, 0, &network), TULLE_OK);
    assert_int_equal(tulle_topology_set_link(job->topology, 1, &inside), TULLE_OK);
}

static void check_chosen_mode(const virtual_job_t *job, int64_t row_bytes, tli_pair_mode_t expected)
{
    virtual_world_t world;
    assert_int_equal(virtual_world_route(job, TULLE_STRATEGY_AUTO, row_bytes, 1, &world), TULLE_OK);
    delivery_check(&world);
    virtual_require(&world, world.routes[1].num_pairs == 1 && world.routes[1].mode[0] == expected);
    virtual_world_release(&world);
}

static void test_auto_wide_rows_that_all_need_are_routed(void **state)
{
    virtual_job_t job;
    init_slow_network(&job, "2x4", 1000);
    for (int rank = 4; rank < 8; rank++)
        for (int row = 0; row < 10; row++)
            virtual_job_add(&job, row % 4, row, rank);
    check_chosen_mode(&job, 65536, TLI_PAIR_ROUTED);
    virtual_job_fini(&job);
}

static void test_auto_rows_that_one_rank_needs_go_directly(void **state)
{
    virtual_job_t job;
    init_slow_network(&job, "2x4", 1000);
    for (int rank = 4; rank < 8; rank++)
        for (int row = 0; row < 10; row++)
            virtual_job_add(&job, rank - 4, row, rank);
    check_chosen_mode(&job, 65536, TLI_PAIR_DIRECT);
    virtual_job_fini(&job);
}

static void test_auto_many_tiny_messages_are_aggregated(void **state)
{
    virtual_job_t job;
    init_slow_network(&job, "2x16", 10000);
    for (int rank = 16; rank < 32; rank++)
        for (int owner = 0; owner < 16; owner++)
            virtual_job_add(&job, owner, rank, rank);
    check_chosen_mode(&job, 4, TLI_PAIR_AGGREGATED);
    virtual_job_fini(&job);
}

/* Partners of a node use different ranks of it, as long as there are enough. */
static void test_aggregation_ranks_are_on_their_nodes_and_spread(void **state)
{
    virtual_job_t job;
    virtual_job_init_text(&job, "4x4,1,3:cyclic");
    int num_nodes = tulle_topology_num_groups(job.topology, 0);
    for (int node = 0; node < num_nodes; node++) {
        uint64_t senders = 0, ports = 0;
        for (int partner = 0; partner < num_nodes; partner++) {
            int sender = tli_aggregation_sender(job.topology, node, partner);
            int port = tli_aggregation_port(job.topology, partner, node);
            int is_new = !(senders >> sender & 1) && !(ports >> port & 1);
            assert_int_equal(tulle_topology_group(job.topology, 0, sender), node);
            assert_int_equal(tulle_topology_group(job.topology, 0, port), node);
            assert_true(is_new || node >= 4 || partner >= 4);
            senders |= UINT64_C(1) << sender;
            ports |= UINT64_C(1) << port;
        }
    }
    virtual_job_fini(&job);
}

/* --- out of memory ----------------------------------------------------------------------------------------------- */

static int64_t fail_every_allocation(const virtual_job_t *job, tulle_strategy_t strategy)
{
    int64_t live = tli_alloc_live(), k = 0;
    for (tulle_status_t st = TULLE_ERR_NOMEM; st != TULLE_OK;) {
        virtual_world_t world;
        tli_alloc_fail_at(++k);
        st = virtual_world_route(job, strategy, 64, 1, &world);
        tli_alloc_fail_at(0);
        virtual_require(&world, st == TULLE_OK || st == TULLE_ERR_NOMEM);
        virtual_world_release(&world);
        assert_int_equal(tli_alloc_live(), live);
    }
    return k - 1;
}

static void test_route_failing_allocation_leaks_nothing(void **state)
{
    static const char *const texts[] = {"2x2x2", "3,1"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        for (int s = 0; s < NUM_STRATEGIES; s++) {
            tulle_topology_t *topology = NULL;
            virtual_job_t job;
            assert_int_equal(tulle_topology_parse(texts[t], 0, &topology), TULLE_OK);
            virtual_job_init(&job, topology, VIRTUAL_UNIFORM, 400, t); /* more than one block of the arena */
            assert_true(fail_every_allocation(&job, strategies[s]) > 3 * tulle_topology_num_groups(job.topology, 0));
            virtual_job_fini(&job);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rail_and_balanced_deliver_with_the_least_volume_of_every_level),
        cmocka_unit_test(test_direct_and_auto_deliver_within_their_volumes),
        cmocka_unit_test(test_aggregated_delivers_by_one_message_per_node_pair),
        cmocka_unit_test(test_routes_of_2048_ranks_deliver),
        cmocka_unit_test(test_routes_same_messages_from_shuffled_and_repeated_needs),
        cmocka_unit_test(test_auto_wide_rows_that_all_need_are_routed),
        cmocka_unit_test(test_auto_rows_that_one_rank_needs_go_directly),
        cmocka_unit_test(test_auto_many_tiny_messages_are_aggregated),
        cmocka_unit_test(test_aggregation_ranks_are_on_their_nodes_and_spread),
        cmocka_unit_test(test_route_failing_allocation_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
