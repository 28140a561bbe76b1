/* SPDX-License-Identifier: Apache-2.0
 * Modes: how the rows of each source node come to a node. Pure, like the routes that they are part of. */
#ifndef TLI_MODES_H
#define TLI_MODES_H

#include "collectives/routes.h"

/**
 * Choose the mode of every source node: the strategy's, or with AUTO the cheapest by the cost model, of the whole node:
 * its links and ranks are shared by all that it receives.
 * @param[in,out] route outside, port (balanced with AUTO) and the pairs are there; mode is filled, and port where rails
 *                      were chosen
 * @cost O(needs + pairs), with AUTO in addition O(pairs^2) at worst
 */
tulle_status_t tli_choose_modes(tli_node_route_t *route);

#endif
