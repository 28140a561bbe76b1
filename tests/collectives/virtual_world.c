/* SPDX-License-Identifier: Apache-2.0
 * The two steps of routing for every node, with the exchange of transit between them done by hand. */
#include "virtual_world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void virtual_fail(const virtual_world_t *world, const char *what, const char *file, int line)
{
    static const char *const names[] = {
#define STRATEGY_NAME(name, value, text) [value] = text,
        TULLE_STRATEGY_MAP(STRATEGY_NAME)
#undef STRATEGY_NAME
    };
    print_error("%s, %s: %s\n", world->job->name, names[world->strategy], what);
    _fail(file, line);
}

static int node_of(const virtual_world_t *world, int64_t rank)
{
    return tulle_topology_group(world->job->topology, 0, (int)rank);
}

/* Records of all, dealt to nodes by the node of the rank in one of their words. */
static tli_needs_t *deal(const virtual_world_t *world, const tli_needs_t *all, int word, uint64_t seed)
{
    tli_needs_t *dealt = virtual_alloc(world->num_nodes, sizeof *dealt);
    for (int64_t i = 0; i < all->num; i++)
        dealt[node_of(world, all->words[3 * i + word])].num++;
    for (int node = 0; node < world->num_nodes; node++) {
        dealt[node].words = virtual_alloc(dealt[node].num, 3 * sizeof(int64_t));
        dealt[node].num = 0;
    }
    for (int64_t i = 0; i < all->num; i++) {
        tli_needs_t *to = &dealt[node_of(world, all->words[3 * i + word])];
        memcpy(to->words + 3 * to->num++, all->words + 3 * i, 3 * sizeof(int64_t));
    }
    for (int node = 0; node < world->num_nodes; node++)
        virtual_shuffle(&dealt[node], seed);
    return dealt;
}

static void free_dealt(const virtual_world_t *world, tli_needs_t *dealt)
{
    for (int node = 0; node < world->num_nodes; node++)
        free(dealt[node].words);
    free(dealt);
}

static tulle_status_t begin_all(virtual_world_t *world, int64_t row_bytes, uint64_t seed)
{
    tulle_status_t st = TULLE_OK;
    tli_needs_t *needs = deal(world, &world->job->needs, 2, seed);
    for (int node = 0; node < world->num_nodes && st == TULLE_OK; node++)
        st = tli_route_begin(world->job->topology, node, world->strategy, (tli_row_size_t){row_bytes, row_bytes, 0},
                             &needs[node], &world->arenas[node], &world->routes[node]);
    free_dealt(world, needs);
    return st;
}

static tulle_status_t settle_all(virtual_world_t *world)
{
    tulle_status_t st = TULLE_OK;
    double dearest_ns[TLI_NUM_PRICES] = {0};
    for (int node = 0; node < world->num_nodes; node++)
        for (int i = 0; i < TLI_NUM_PRICES; i++)
            dearest_ns[i] = fmax(dearest_ns[i], world->routes[node].price_ns[i]);
    for (int node = 0; node < world->num_nodes && st == TULLE_OK; node++)
        st = tli_route_settle(&world->routes[node], dearest_ns);
    return st;
}

static tulle_status_t finish_all(virtual_world_t *world, uint64_t seed)
{
    tulle_status_t st = TULLE_OK;
    tli_needs_t asked = {0, NULL};
    tli_needs_t *transit = NULL;
    for (int node = 0; node < world->num_nodes; node++)
        asked.num += world->routes[node].transit.num;
    asked.words = virtual_alloc(asked.num, 3 * sizeof(int64_t));
    asked.num = 0;
    for (int node = 0; node < world->num_nodes; node++) {
        const tli_needs_t *from = &world->routes[node].transit;
        memcpy(asked.words + 3 * asked.num, from->words, (size_t)from->num * 3 * sizeof(int64_t));
        asked.num += from->num;
    }
    transit = deal(world, &asked, 0, seed);
    for (int node = 0; node < world->num_nodes && st == TULLE_OK; node++)
        st = tli_route_finish(&world->routes[node], &transit[node]);
    free_dealt(world, transit);
    free(asked.words);
    return st;
}

static void list_messages(virtual_world_t *world)
{
    for (int node = 0; node < world->num_nodes; node++)
        world->num_messages += world->routes[node].messages.num;
    world->messages = virtual_alloc(world->num_messages, sizeof *world->messages);
    world->num_messages = 0;
    for (int node = 0; node < world->num_nodes; node++) {
        const tli_route_messages_t *from = &world->routes[node].messages;
        for (int64_t m = 0; m < from->num; m++)
            world->messages[world->num_messages++] = (virtual_message_t){
                from->receiver[m], from->sender[m], from->ptr[m + 1] - from->ptr[m], from->rows + 2 * from->ptr[m]};
    }
}

tulle_status_t virtual_world_route(const virtual_job_t *job, tulle_strategy_t strategy, int64_t row_bytes,
                                   uint64_t seed, virtual_world_t *world)
{
    tulle_status_t st = TULLE_OK;
    *world = (virtual_world_t){.job = job, .strategy = strategy};
    world->num_nodes = tulle_topology_num_groups(job->topology, 0);
    world->arenas = virtual_alloc(world->num_nodes, sizeof *world->arenas);
    world->routes = virtual_alloc(world->num_nodes, sizeof *world->routes);
    st = begin_all(world, row_bytes, seed);
    if (st == TULLE_OK)
        st = settle_all(world);
    if (st == TULLE_OK)
        st = finish_all(world, seed);
    if (st == TULLE_OK)
        list_messages(world);
    return st;
}

virtual_world_t virtual_world_routed(const virtual_job_t *job, tulle_strategy_t strategy)
{
    static const int64_t row_bytes[] = {4, 256, 65536};
    virtual_world_t world;
    tulle_status_t st = virtual_world_route(job, strategy, row_bytes[job->needs.num % 3], 1, &world);
    virtual_require(&world, st == TULLE_OK);
    return world;
}

void virtual_world_release(virtual_world_t *world)
{
    for (int node = 0; node < world->num_nodes; node++)
        tli_arena_release(&world->arenas[node]);
    free(world->arenas);
    free(world->routes);
    free(world->messages);
}

int virtual_is_between_nodes(const virtual_world_t *world, const virtual_message_t *message)
{
    return node_of(world, message->sender) != node_of(world, message->receiver);
}

void virtual_world_volume(const virtual_world_t *world, int64_t *volume)
{
    memset(volume, 0, (size_t)tulle_topology_num_levels(world->job->topology) * sizeof *volume);
    for (int64_t m = 0; m < world->num_messages; m++) {
        const virtual_message_t *message = &world->messages[m];
        volume[virtual_crossing(world->job->topology, message->sender, message->receiver)] += message->num_rows;
    }
}

void virtual_world_ports(const virtual_world_t *world, int64_t *load)
{
    memset(load, 0, (size_t)tulle_topology_num_ranks(world->job->topology) * sizeof *load);
    for (int64_t m = 0; m < world->num_messages; m++)
        if (virtual_is_between_nodes(world, &world->messages[m]))
            load[world->messages[m].receiver] += world->messages[m].num_rows;
}
