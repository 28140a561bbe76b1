/* SPDX-License-Identifier: Apache-2.0
 * Which kind of cover a job uses: what each kind would make every node and rank move, and what the cost model makes of
 * it. Sums of pairs are all that is needed, so ranks count their pairs and add them up. */
#include "collectives/cover.h"

#include <math.h>

#include "src/fault.h"
#include "topology/cost.h"
#include "topology/model.h"

/* Words of each node; then, for each rank, rows that it sends and receives whatever the plans do. */
enum { ROWS_IN, ROWS_OUT, MESSAGES_IN, MESSAGES_OUT, NODE_WORDS };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t size_of(const tulle_topology_t *topology, int node)
{
    return topology->levels[0].member_ptr[node + 1] - topology->levels[0].member_ptr[node];
}

int64_t tli_cover_flow_words(const tulle_topology_t *topology)
{
    return (int64_t)NODE_WORDS * topology->levels[0].num_groups + 2 * (int64_t)topology->num_ranks;
}

void tli_cover_flow_add(const tulle_topology_t *topology, int from, int to, const tli_block_cover_t *cover,
                        int64_t row_weight, int64_t *flow)
{
    int64_t *source = flow + (int64_t)NODE_WORDS * from, *target = flow + (int64_t)NODE_WORDS * to;
    int64_t rows = row_weight * cover->num_rows + cover->num_cols;
    int64_t messages = least(cover->num_cols, size_of(topology, from)) + least(cover->num_rows, size_of(topology, to));
    source[ROWS_OUT] += rows;
    source[MESSAGES_OUT] += messages;
    target[ROWS_IN] += rows;
    target[MESSAGES_IN] += messages;
}

void tli_cover_flow_add_rank(const tulle_topology_t *topology, int rank, int is_sender, int64_t rows, int64_t *flow)
{
    flow[(int64_t)NODE_WORDS * topology->levels[0].num_groups + 2 * (int64_t)rank + (is_sender ? 1 : 0)] += rows;
}

static double node_ns(const tulle_topology_t *topology, int node, int is_out, int64_t row_bytes, const int64_t *flow)
{
    const tli_level_t *nodes = &topology->levels[0];
    const int64_t *words = flow + (int64_t)NODE_WORDS * node;
    const int64_t *of_ranks = flow + (int64_t)NODE_WORDS * nodes->num_groups;
    tli_load_t load = {.hops = {1}};
    int64_t busiest = 0;
    load.messages[0] = words[is_out ? MESSAGES_OUT : MESSAGES_IN];
    load.bytes[0] = words[is_out ? ROWS_OUT : ROWS_IN] * row_bytes;
    for (int i = nodes->member_ptr[node]; i < nodes->member_ptr[node + 1]; i++) {
        int64_t rows = of_ranks[2 * (int64_t)nodes->members[i] + is_out];
        busiest = rows > busiest ? rows : busiest;
    }
    load.busiest_bytes = busiest * row_bytes;
    return tli_cost_load_ns(topology, (int)size_of(topology, node), &load);
}

double tli_cover_flow_ns(const tulle_topology_t *topology, int64_t row_bytes, const int64_t *flow)
{
    double ns = 0;
    for (int node = 0; node < topology->levels[0].num_groups; node++)
        for (int is_out = 0; is_out <= 1; is_out++)
            ns = fmax(ns, node_ns(topology, node, is_out, row_bytes, flow));
    return ns;
}

int tli_cover_can_balance(const tulle_topology_t *topology)
{
    return topology->levels[0].link.num_links != 1;
}
