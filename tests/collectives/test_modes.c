/* SPDX-License-Identifier: Apache-2.0
 * What AUTO chooses on virtual machines, judged by what the chosen plans really move: every node's share is counted
 * from the messages and priced by the cost model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "delivery.h"
#include "topology/cost.h"
#include "virtual_world.h"

/* --- the price of a plan, from its messages ---------------------------------------------------------------------- */

/* Rows of a message that their sender does not own: it waited for them. */
static int waits(const virtual_message_t *message)
{
    int is_waiting = 0;
    for (int64_t i = 0; i < message->num_rows; i++)
        is_waiting |= message->rows[2 * i] != message->sender;
    return is_waiting;
}

static void add_message(const virtual_world_t *world, const virtual_message_t *message, int64_t row_bytes,
                        tli_load_t *load, int64_t *of_rank)
{
    int level = virtual_crossing(world->job->topology, message->sender, message->receiver);
    load->messages[level]++;
    load->bytes[level] += message->num_rows * row_bytes;
    if (level == 0) {
        of_rank[message->receiver] += message->num_rows * row_bytes;
        if (of_rank[message->receiver] > load->busiest_bytes)
            load->busiest_bytes = of_rank[message->receiver];
    }
}

static int has_row(const virtual_message_t *message, const int64_t *row)
{
    int64_t i = 0;
    while (i < message->num_rows && (message->rows[2 * i] != row[0] || message->rows[2 * i + 1] != row[1]))
        i++;
    return i < message->num_rows;
}

/* Whether a row of this message came to its sender from another node by a rank that does not own it. */
static int passes_on_collected(const virtual_world_t *world, const virtual_message_t *message)
{
    for (int64_t m = 0; m < world->num_messages; m++) {
        const virtual_message_t *other = &world->messages[m];
        if (other->receiver != message->sender ||
            virtual_crossing(world->job->topology, other->sender, other->receiver))
            continue;
        for (int64_t i = 0; i < message->num_rows; i++)
            if (message->rows[2 * i] != other->sender && has_row(other, &message->rows[2 * i]))
                return 1;
    }
    return 0;
}

/* Dearest node. Hops inside count once per level; collecting counts, too, and both where a row is collected and passed
 * on. */
static double price(const virtual_world_t *world, int64_t row_bytes)
{
    const tulle_topology_t *topology = world->job->topology;
    int num_levels = tulle_topology_num_levels(topology), hops[TULLE_TOPOLOGY_MAX_LEVELS] = {0};
    tli_load_t *loads = virtual_alloc(world->num_nodes, sizeof *loads);
    int64_t *of_rank = virtual_alloc(tulle_topology_num_ranks(topology), sizeof *of_rank);
    double dearest = 0;
    int is_passed_on_again = 0;
    for (int64_t m = 0; m < world->num_messages; m++) {
        const virtual_message_t *message = &world->messages[m];
        int level = virtual_crossing(topology, message->sender, message->receiver);
        add_message(world, message, row_bytes, &loads[tulle_topology_group(topology, 0, (int)message->receiver)],
                    of_rank);
        hops[level] |= waits(message);
        is_passed_on_again = is_passed_on_again || passes_on_collected(world, message);
    }
    hops[num_levels - 1] = is_passed_on_again ? hops[num_levels - 1] + hops[0] : hops[num_levels - 1] | hops[0];
    hops[0] = 1;
    for (int node = 0; node < world->num_nodes; node++) {
        int num_ranks = topology->levels[0].member_ptr[node + 1] - topology->levels[0].member_ptr[node];
        memcpy(loads[node].hops, hops, sizeof hops);
        dearest = fmax(dearest, tli_cost_load_ns(topology, num_ranks, &loads[node]));
    }
    free(of_rank);
    free(loads);
    return dearest;
}

static double price_of(const virtual_job_t *job, tulle_strategy_t strategy, int64_t row_bytes)
{
    virtual_world_t world;
    assert_int_equal(virtual_world_route(job, strategy, row_bytes, 1, &world), TULLE_OK);
    double ns = price(&world, row_bytes);
    virtual_world_release(&world);
    return ns;
}

/* --- AUTO against all the others --------------------------------------------------------------------------------- */

typedef struct tally {
    int num, num_near;
} tally_t;

static void compare(const virtual_job_t *job, int64_t row_bytes, tally_t *tally)
{
    double chosen = price_of(job, TULLE_STRATEGY_AUTO, row_bytes), least = HUGE_VAL;
    for (int s = TULLE_STRATEGY_DIRECT; s <= TULLE_STRATEGY_STRIPED; s++)
        least = fmin(least, price_of(job, (tulle_strategy_t)s, row_bytes));
    tally->num++;
    tally->num_near += chosen <= 1.05 * least;
    /* It sees one node at a time, and estimates what is passed on inside. */
    if (chosen > 1.5 * least)
        fail_msg("%s, rows of %d bytes: auto %g ns, best %g ns", job->name, (int)row_bytes, chosen, least);
}

static void init_links(tulle_topology_t *topology, double bytes_per_second, int num_links)
{
    tulle_link_t network = {30000, bytes_per_second, num_links, 9000, 0, 0}, inside = {3000, 5e9, 0, 100, 0, 0};
    assert_int_equal(tulle_topology_set_link(topology, 0, &network), TULLE_OK);
    for (int level = 1; level < tulle_topology_num_levels(topology); level++)
        assert_int_equal(tulle_topology_set_link(topology, level, &inside), TULLE_OK);
}

static void test_auto_costs_about_what_the_best_strategy_does(void **state)
{
    static const char *const texts[] = {"4x4", "2x8", "8x8", "6x2x3"};
    static const virtual_kind_t kinds[] = {VIRTUAL_UNIFORM, VIRTUAL_POWER_LAW, VIRTUAL_LOCAL, VIRTUAL_SHARED};
    static const int64_t row_bytes[] = {4, 256, 4096};
    tally_t tally = {0, 0};
    for (int i = 0; i < 4 * 4 * 3 * 2; i++) {
        virtual_job_t job;
        tulle_topology_t *topology = NULL;
        assert_int_equal(tulle_topology_parse(texts[i % 4], 0, &topology), TULLE_OK);
        init_links(topology, i / 48 ? 25e6 : 12e9, i / 48 ? 1 : 2);
        virtual_job_init(&job, topology, kinds[i / 4 % 4], 200, (uint64_t)i);
        compare(&job, row_bytes[i / 16 % 3], &tally);
        virtual_job_fini(&job);
    }
    if (tally.num_near * 10 < tally.num * 9)
        fail_msg("only %d of %d within 5 %% of the best strategy", tally.num_near, tally.num);
}

/* --- what a pair alone cannot see -------------------------------------------------------------------------------- */

static int num_pairs_in_mode(const virtual_world_t *world, int node, tli_pair_mode_t mode)
{
    int num = 0;
    for (int pair = 0; pair < world->routes[node].num_pairs; pair++)
        num += world->routes[node].mode[pair] == mode;
    return num;
}

/* One owner of every other node has a row for each rank of node 0: four messages from there, which side by side cost no
 * more than one. From one node they go directly; from many they would queue up at the ranks of node 0. */
static void check_same_need_of_nodes(int num_nodes, tli_pair_mode_t mode)
{
    virtual_job_t job;
    virtual_world_t world;
    virtual_job_init_text(&job, "16x4");
    init_links(job.topology, 12e9, 1);
    for (int node = 1; node <= num_nodes; node++)
        for (int rank = 0; rank < 4; rank++)
            virtual_job_add(&job, 4 * node, rank, rank);
    assert_int_equal(virtual_world_route(&job, TULLE_STRATEGY_AUTO, 8, 1, &world), TULLE_OK);
    delivery_check(&world);
    virtual_require(&world, (num_pairs_in_mode(&world, 0, mode) == 0) == (num_nodes > 1));
    virtual_world_release(&world);
    virtual_job_fini(&job);
}

static void test_auto_messages_of_all_pairs_share_the_ranks(void **state)
{
    check_same_need_of_nodes(1, TLI_PAIR_DIRECT);
    check_same_need_of_nodes(15, TLI_PAIR_DIRECT);
}

/* --- the plan as a whole ----------------------------------------------------------------------------------------- */

static double dearest(const virtual_world_t *world, int choice)
{
    double ns = 0;
    for (int node = 0; node < world->num_nodes; node++)
        ns = fmax(ns, world->routes[node].price_ns[choice]);
    return ns;
}

static int num_modes(const virtual_world_t *world)
{
    int num = 0, is_used[TLI_NUM_PAIR_MODES] = {0};
    for (int node = 0; node < world->num_nodes; node++)
        for (int pair = 0; pair < world->routes[node].num_pairs; pair++)
            is_used[world->routes[node].mode[pair]] = 1;
    for (int mode = 0; mode < TLI_NUM_PAIR_MODES; mode++)
        num += is_used[mode];
    return num;
}

/* Nodes that choose each for itself may be dearer together than one way for all: then that is taken, by all of them;
 * and what saves little of a latency between nodes is not worth a detour. The first price is that of going directly,
 * the last that of ways of their own for pairs. */
static void check_whole(const virtual_job_t *job)
{
    virtual_world_t world = virtual_world_routed(job, TULLE_STRATEGY_AUTO);
    double alike = HUGE_VAL, direct = dearest(&world, 0), own = dearest(&world, TLI_NUM_PRICES - 1);
    for (int choice = 0; choice < TLI_NUM_PRICES - 1; choice++)
        alike = fmin(alike, dearest(&world, choice));
    if (own > 0.91 * alike)
        virtual_require(&world, num_modes(&world) <= 1);
    if (own > 0.91 * alike && direct - alike < 0.19 * job->topology->levels[0].link.latency_ns) {
        for (int node = 0; node < world.num_nodes; node++)
            virtual_require(&world, num_pairs_in_mode(&world, node, TLI_PAIR_DIRECT) == world.routes[node].num_pairs);
    }
    virtual_world_release(&world);
}

static void test_auto_goes_one_way_unless_ways_of_pairs_gain_on_the_whole(void **state)
{
    virtual_for_all_jobs(check_whole);
}

/* --- striping ---------------------------------------------------------------------------------------------------- */

static void init_hot_owner(virtual_job_t *job, int num_links)
{
    virtual_job_init_text(job, "2x4");
    init_links(job->topology, 1e9, num_links);
    for (int row = 0; row < 400; row++)
        virtual_job_add(job, 1, row, 4 + row % 4);
}

static int64_t most_sent_between_nodes(const virtual_world_t *world)
{
    int64_t sent[8] = {0}, most = 0;
    for (int64_t m = 0; m < world->num_messages; m++) {
        int64_t sender = world->messages[m].sender;
        if (virtual_is_between_nodes(world, &world->messages[m]))
            sent[sender] += world->messages[m].num_rows;
        most = sent[sender] > most ? sent[sender] : most;
    }
    return most;
}

/* Of one row between two nodes of four ranks, collected. The pair's rows leave by local index 0 of node 1, as they go
 * to node 0, and land on local index 1. */
static double collecting_ns(int owner, int needer)
{
    static const int aggregated = 4; /* among the prices */
    virtual_job_t job;
    virtual_world_t world;
    virtual_job_init_text(&job, "2x4");
    init_links(job.topology, 12e9, 1);
    virtual_job_add(&job, 4 + owner, 0, needer);
    assert_int_equal(virtual_world_route(&job, TULLE_STRATEGY_AUTO, 8, 1, &world), TULLE_OK);
    double ns = world.routes[0].price_ns[aggregated];
    virtual_world_release(&world);
    virtual_job_fini(&job);
    return ns;
}

static void test_auto_collecting_costs_the_hops_that_rows_make(void **state)
{
    double hop_ns = 3000, none_ns = collecting_ns(0, 1), tiny_ns = 1e-6;
    assert_true(fabs(collecting_ns(2, 1) - none_ns - hop_ns) < tiny_ns);
    assert_true(fabs(collecting_ns(0, 2) - none_ns - hop_ns) < tiny_ns);
    assert_true(fabs(collecting_ns(3, 0) - none_ns - 2 * hop_ns) < tiny_ns);
}

static void test_auto_one_hot_owner_is_striped_over_several_links(void **state)
{
    for (int num_links = 1; num_links <= 4; num_links += 3) {
        virtual_job_t job;
        virtual_world_t world;
        init_hot_owner(&job, num_links);
        assert_int_equal(virtual_world_route(&job, TULLE_STRATEGY_AUTO, 4096, 1, &world), TULLE_OK);
        delivery_check(&world);
        virtual_require(&world, num_pairs_in_mode(&world, 1, TLI_PAIR_STRIPED) == (num_links > 1));
        virtual_require(&world, most_sent_between_nodes(&world) == (num_links > 1 ? 100 : 400));
        virtual_world_release(&world);
        virtual_job_fini(&job);
    }
}

static void check_striped(const virtual_job_t *job)
{
    int64_t limits[TULLE_TOPOLOGY_MAX_LEVELS], volume[TULLE_TOPOLOGY_MAX_LEVELS];
    virtual_world_t world = virtual_world_routed(job, TULLE_STRATEGY_STRIPED);
    delivery_check(&world);
    virtual_limits(job, limits);
    virtual_world_volume(&world, volume);
    virtual_require(&world, volume[0] == limits[0]);
    for (int64_t m = 0; m < world.num_messages; m++) {
        const virtual_message_t *message = &world.messages[m];
        const tli_level_t *nodes = &job->topology->levels[0];
        int node = nodes->group_of[message->sender];
        int size = nodes->member_ptr[node + 1] - nodes->member_ptr[node];
        virtual_require(&world,
                        !virtual_is_between_nodes(&world, message) ||
                            nodes->local_index[message->sender] == nodes->local_index[message->receiver] % size);
    }
    virtual_world_release(&world);
}

static void test_striped_delivers_over_rails_with_the_least_volume(void **state)
{
    virtual_for_all_jobs(check_striped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto_costs_about_what_the_best_strategy_does),
        cmocka_unit_test(test_auto_messages_of_all_pairs_share_the_ranks),
        cmocka_unit_test(test_auto_goes_one_way_unless_ways_of_pairs_gain_on_the_whole),
        cmocka_unit_test(test_auto_collecting_costs_the_hops_that_rows_make),
        cmocka_unit_test(test_auto_one_hot_owner_is_striped_over_several_links),
        cmocka_unit_test(test_striped_delivers_over_rails_with_the_least_volume),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
