/* SPDX-License-Identifier: Apache-2.0
 * The cost model. Whoever changes a formula changes the plans that AUTO picks: see README.md. */
#include "topology/cost.h"

#include <math.h>

#include "src/fault.h"
#include "topology/model.h"

#define NS_PER_SECOND 1e9

/* [bytes] What networks cut long messages into; the stages between two ranks work on several pieces at once. */
#define PIECE_BYTES 65536.0

/* Part of the shorter of starting messages and moving bytes that the longer one does not hide. */
#define NOT_HIDDEN 0.15

/* Groups of a level in one node: its ranks at the last level, those of the mean node above. */
static double groups_per_node(const tulle_topology_t *topology, int level, int num_ranks)
{
    if (level == topology->num_levels - 1)
        return num_ranks;
    return (double)topology->levels[level].num_groups / topology->levels[0].num_groups;
}

/* [bytes/s] out of all groups of a level in a node. */
static double rate_of_level(const tulle_topology_t *topology, int level, int num_ranks, int64_t num_messages)
{
    const tulle_link_t *link = &topology->levels[level].link;
    double groups = groups_per_node(topology, level, num_ranks);
    double links = link->num_links > 0 ? link->num_links * groups : num_ranks;
    double rate = link->bytes_per_second * fmin(links, (double)num_messages);
    return link->group_bytes_per_second > 0 ? fmin(rate, link->group_bytes_per_second * groups) : rate;
}

/* A message begins to leave when it is whole, and is passed on when it is whole again: with short ones, or the pieces
 * of a long one, that falls into the time of others, but for half of the last. */
static double last_piece_ns(const tulle_link_t *link, const tli_load_t *load)
{
    double mean_bytes = (double)load->bytes[0] / (double)load->messages[0];
    return fmin(mean_bytes, PIECE_BYTES) / 2 / link->bytes_per_second * NS_PER_SECOND;
}

/* Whether rows from other nodes go on inside. */
static int is_passed_on(const tulle_topology_t *topology, const tli_load_t *load)
{
    int num_hops = 0;
    for (int level = 1; level < topology->num_levels; level++)
        num_hops += load->hops[level];
    return num_hops > 0;
}

/* The first message of each rank takes its turn with those of the others of its group; then each rank goes on alone.
 * Ranks that have got a message from another node take turns once more where they pass its rows on. */
static double starting_ns(const tulle_topology_t *topology, int level, int num_ranks, const tli_load_t *load)
{
    double messages = (double)load->messages[level];
    const tulle_link_t *link = &topology->levels[level].link;
    double overhead_ns = link->overhead_ns > 0 ? link->overhead_ns : link->latency_ns;
    double first = fmin(messages, num_ranks) / groups_per_node(topology, level, num_ranks); /* of one group */
    double turns = (level == 0 && is_passed_on(topology, load) ? 2.0 : 1.0) * fmax(0.0, first - 1.0);
    return link->group_overhead_ns * turns + overhead_ns * fmax(0.0, messages / num_ranks - 1.0);
}

static double level_ns(const tulle_topology_t *topology, int level, int num_ranks, const tli_load_t *load)
{
    const tulle_link_t *link = &topology->levels[level].link;
    double bytes = (double)load->bytes[level];
    double seconds = bytes / rate_of_level(topology, level, num_ranks, load->messages[level]);
    if (level == 0)
        seconds = fmax(seconds, (double)load->busiest_bytes / link->bytes_per_second);
    double starting = starting_ns(topology, level, num_ranks, load), moving = seconds * NS_PER_SECOND;
    return link->latency_ns * load->hops[level] + fmax(starting, moving) + NOT_HIDDEN * fmin(starting, moving) +
           (level == 0 ? last_piece_ns(link, load) : 0.0);
}

double tli_cost_load_ns(const tulle_topology_t *topology, int num_ranks, const tli_load_t *load)
{
    double ns = 0.0;
    TLI_ASSERT(num_ranks > 0);
    for (int level = 0; level < topology->num_levels; level++)
        if (load->messages[level] > 0)
            ns += level_ns(topology, level, num_ranks, load);
    return ns;
}
