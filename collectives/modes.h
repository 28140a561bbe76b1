/* SPDX-License-Identifier: Apache-2.0
 * Modes: how the rows of each source node come to a node. Pure, like the routes that they are part of. */
#ifndef TLI_MODES_H
#define TLI_MODES_H

#include "collectives/routes.h"

/**
 * With AUTO, price every choice by the cost model, for the whole node: its links and ranks are shared by all that it
 * receives. Else nothing.
 * @param[in,out] route outside, port (balanced with AUTO) and the pairs are there; price_ns, way and rail_port are
 * filled
 * @cost O(needs + pairs), and O(pairs^2) at worst
 */
tulle_status_t tli_modes_price(tli_node_route_t *route);

/**
 * Choose the mode of every source node: the strategy's, or with AUTO what takes the dearest node least.
 * @param[in,out] route      mode is filled, and port where rails were chosen
 * @param[in]     dearest_ns with AUTO: of every price, the largest of all nodes
 */
void tli_modes_settle(tli_node_route_t *route, const double dearest_ns[TLI_NUM_PRICES]);

/** Whether some pair's rows may be collected, so that nodes ask each other for transit; the same on all ranks. */
int tli_modes_collect(const tulle_topology_t *topology, tulle_strategy_t strategy,
                      const double dearest_ns[TLI_NUM_PRICES]);

#endif
