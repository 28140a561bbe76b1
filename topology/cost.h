/* SPDX-License-Identifier: Apache-2.0
 * The cost model: what one node's share of an exchange costs on a topology. Pure arithmetic on the links of the
 * topology: no clock, no state, the same result on every rank. */
#ifndef TLI_TOPOLOGY_COST_H
#define TLI_TOPOLOGY_COST_H

#include <stdint.h>

#include <tulle/topology.h>

/** What the ranks of one node receive, or send, in one exchange; by the level that it crosses. */
typedef struct tli_load {
    int64_t messages[TULLE_TOPOLOGY_MAX_LEVELS]; /* [count] of all ranks of the node */
    int64_t bytes[TULLE_TOPOLOGY_MAX_LEVELS];    /* [bytes] of these messages */
    int hops[TULLE_TOPOLOGY_MAX_LEVELS]; /* [count] one after the other on the longest way of a row; 0 where messages do
                                            not wait for others */
    int64_t busiest_bytes;               /* [bytes] between nodes, of one rank */
} tli_load_t;

/**
 * Time for a node's share of one exchange: the max-rate model, over all levels. The first messages of the ranks of a
 * group take turns, between nodes twice where rows are passed on inside, then each rank starts its further ones by
 * itself; meanwhile bytes leave a group by its links, of which m messages use at most m, and no faster than the group
 * can inject. Of these two most of the shorter hides
 * behind the longer. A hop that waits for another pays its latency on top. Between nodes one rank drives one link, and
 * half of the last message, or of its last piece, is waited for with nothing to hide behind.
 *
 *     T = sum over levels: latency * hops + max(s, b) + 0.15 min(s, b) + p,
 *         s = turns * group overhead * (ranks of a group that send - 1) + overhead * (messages / ranks - 1),
 *         turns = 2 between nodes if any inner level has hops, else 1, b = bytes / rate,
 *         rate = min(group rate, links * bandwidth, messages * bandwidth), the first two of all groups in the node,
 *         p = min(bytes / messages, 64 KiB) / 2 / bandwidth, between nodes only
 *
 * @param[in] topology  borrowed
 * @param[in] num_ranks [count] of the node
 * @param[in] load      borrowed; one without messages costs nothing
 * @return [ns]
 * @see Gropp, Olson, Samfass, EuroMPI 2016, doi:10.1145/2966884.2966919
 */
double tli_cost_load_ns(const tulle_topology_t *topology, int num_ranks, const tli_load_t *load);

#endif
