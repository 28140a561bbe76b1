/* SPDX-License-Identifier: Apache-2.0
 * The cost model: what a message, or one node's share of an exchange, costs on a topology. Pure arithmetic on the links
 * of the topology: no clock, no state, the same result on every rank. */
#ifndef TLI_TOPOLOGY_COST_H
#define TLI_TOPOLOGY_COST_H

#include <stdint.h>

#include <tulle/topology.h>

/**
 * Time of one message on an idle machine: latency + bytes / bandwidth of one link (Hockney's model).
 * @param[in] topology borrowed
 * @param[in] level    level it crosses, as tli_topology_crossing() says; num_levels = stays on its rank, costs nothing
 * @param[in] bytes    [bytes] >= 0
 * @return [ns]
 */
double tli_cost_message_ns(const tulle_topology_t *topology, int level, int64_t bytes);

/**
 * Time for all that one node sends to (or receives from) other nodes in one exchange: the max-rate model. Two things
 * bound it: every rank starts its messages one after the other, and the bytes leave through the NICs, of which m
 * messages can use at most m.
 *
 *     T = latency * max(1, messages / ranks of a node) + bytes / (bandwidth * min(NICs, messages))
 *
 * Ragged nodes count as the mean node; num_links = 0 means a NIC for every rank.
 * @param[in] topology     borrowed
 * @param[in] num_messages [count] >= 0; 0 costs nothing
 * @param[in] bytes        [bytes] >= 0, of all these messages
 * @return [ns]
 * @see Gropp, Olson, Samfass, EuroMPI 2016, doi:10.1145/2966884.2966919
 */
double tli_cost_node_ns(const tulle_topology_t *topology, int64_t num_messages, int64_t bytes);

#endif
