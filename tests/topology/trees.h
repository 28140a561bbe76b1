/* SPDX-License-Identifier: Apache-2.0
 * Random topologies for property tests. Every generator is a function of the seed alone: a failure names it. */
#ifndef TEST_TOPOLOGY_TREES_H
#define TEST_TOPOLOGY_TREES_H

#include <stddef.h>
#include <stdint.h>

#include "topology/model.h"

/** A number from 0 to bound - 1 (splitmix64). */
int trees_random(uint64_t *state, int bound);

/** Random text of the grammar, with random parentheses, repeats and suffix. */
void trees_random_text(uint64_t *state, char *text, size_t size);

/** Random nested groups, [num_levels][num_ranks], with numbers that repeat under different parents and may be negative.
 */
void trees_random_groups(uint64_t *state, int num_ranks, int num_levels, int *group_of);

/** Random topology of at most 64 ranks, ranks anywhere, random links and names. */
tulle_topology_t *trees_random_topology(uint64_t *state);

/** A copy of a topology without its placement: ranks renumbered so that the text form has no ":custom". */
tulle_topology_t *trees_without_placement(const tulle_topology_t *topology);

#endif
