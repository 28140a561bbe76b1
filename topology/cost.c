/* SPDX-License-Identifier: Apache-2.0
 * The cost model. Whoever changes a formula changes the plans that AUTO picks: see README.md. */
#include "topology/cost.h"

#include <math.h>

#include "src/fault.h"
#include "topology/model.h"

#define NS_PER_SECOND 1e9

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

/* For a partner that is busy with another: with one alone nobody is in the way. */
static double waiting_ns(const tulle_link_t *link, const tli_load_t *load)
{
    double mean_bytes = (double)load->bytes[0] / (double)load->messages[0];
    return load->num_partners > 1 ? mean_bytes / link->bytes_per_second * NS_PER_SECOND / 2 : 0.0;
}

static double level_ns(const tulle_topology_t *topology, int level, int num_ranks, const tli_load_t *load)
{
    const tulle_link_t *link = &topology->levels[level].link;
    double messages = (double)load->messages[level], bytes = (double)load->bytes[level];
    double overhead_ns = link->overhead_ns > 0 ? link->overhead_ns : link->latency_ns;
    double further = fmax(0.0, messages / num_ranks - 1.0);
    double seconds = bytes / rate_of_level(topology, level, num_ranks, load->messages[level]);
    if (level == 0)
        seconds = fmax(seconds, (double)load->busiest_bytes / link->bytes_per_second);
    double starting_ns = overhead_ns * further, moving_ns = seconds * NS_PER_SECOND;
    return link->latency_ns * load->hops[level] + fmax(starting_ns, moving_ns) + fmin(starting_ns, moving_ns) / 2.0 +
           (level == 0 ? waiting_ns(link, load) : 0.0);
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
