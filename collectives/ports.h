/* SPDX-License-Identifier: Apache-2.0
 * Ports: on which rank of a group a row lands that comes from outside the group. */
#ifndef TLI_PORTS_H
#define TLI_PORTS_H

#include "collectives/routes.h"

/** Rows that enter one group. */
typedef struct tli_entry {
    const tulle_topology_t *topology;
    int level; /* of the group; 0 = node */
    int group;
    const tli_row_set_t *rows;
    const int64_t *entering; /* [num_entering] indices into rows, ascending; each is needed in the group */
    int64_t num_entering;
} tli_entry_t;

/**
 * The rank with the owner's local index, or the nearest to that in a subgroup that needs the row.
 * @param[out] port [num_entering] rank
 */
void tli_ports_rail(const tli_entry_t *entry, int *port);

/**
 * Ports such that the busiest receives least, never more than with rails; among those, ranks that need the row first,
 * and rows of one owner together.
 * @param[out] port [num_entering] rank
 */
tulle_status_t tli_ports_balanced(const tli_entry_t *entry, tli_arena_t *scratch, int *port);

/** Whether a row is needed in a group. */
int tli_is_needed_in(const tulle_topology_t *topology, const tli_row_set_t *rows, int64_t row, int level, int group);

#endif
