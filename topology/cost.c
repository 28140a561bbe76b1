/* SPDX-License-Identifier: Apache-2.0
 * The cost model. Whoever changes a formula changes the plans that AUTO picks: see README.md. */
#include "topology/cost.h"

#include <math.h>

#include "src/fault.h"
#include "topology/model.h"

#define NS_PER_SECOND 1e9

double tli_cost_message_ns(const tulle_topology_t *topology, int level, int64_t bytes)
{
    const tulle_link_t *link = NULL;
    TLI_ASSERT(level >= 0 && level <= topology->num_levels && bytes >= 0);
    if (level == topology->num_levels)
        return 0.0;
    link = &topology->levels[level].link;
    return link->latency_ns + (double)bytes / link->bytes_per_second * NS_PER_SECOND;
}

double tli_cost_node_ns(const tulle_topology_t *topology, int64_t num_messages, int64_t bytes)
{
    const tli_level_t *nodes = &topology->levels[0];
    double ranks_per_node = (double)topology->num_ranks / nodes->num_groups;
    double links = nodes->link.num_links > 0 ? nodes->link.num_links : ranks_per_node;
    double rounds = fmax(1.0, (double)num_messages / ranks_per_node);
    TLI_ASSERT(num_messages >= 0 && bytes >= 0);
    if (num_messages == 0)
        return 0.0;
    return nodes->link.latency_ns * rounds +
           (double)bytes / (nodes->link.bytes_per_second * fmin(links, (double)num_messages)) * NS_PER_SECOND;
}
