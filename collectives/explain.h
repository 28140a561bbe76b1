/* SPDX-License-Identifier: Apache-2.0
 * The two forms of explain: pure functions of stats and topology. */
#ifndef TLI_EXPLAIN_H
#define TLI_EXPLAIN_H

#include <stdio.h>

#include <tulle/plan.h>

/** What a row takes where it crosses a level. */
static inline int64_t tli_explained_row_bytes(const tulle_plan_stats_t *stats, int level)
{
    return level < stats->wire_levels ? stats->wire_row_bytes : stats->row_bytes;
}

tulle_status_t tli_explain_table(const tulle_plan_stats_t *stats, const tulle_topology_t *topology, int is_emulated,
                                 FILE *out);
tulle_status_t tli_explain_json(const tulle_plan_stats_t *stats, const tulle_topology_t *topology, int is_emulated,
                                FILE *out);

#endif
