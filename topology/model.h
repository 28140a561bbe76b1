/* SPDX-License-Identifier: Apache-2.0
 * The topology as plain data. Everything below it (planning, cost) reads these arrays and nothing else. */
#ifndef TLI_TOPOLOGY_MODEL_H
#define TLI_TOPOLOGY_MODEL_H

#include <tulle/topology.h>

#include "src/arena.h"
#include "topology/place.h"

/** One level of groups. Groups are numbered by their lowest rank; members ascend within a group. */
typedef struct tli_level {
    char name[32];
    tulle_link_t link;
    tulle_carrier_t carrier;
    int num_groups;
    int *group_of;    /* [num_ranks] */
    int *member_ptr;  /* [num_groups + 1] */
    int *members;     /* [num_ranks] ranks, by group, ascending */
    int *local_index; /* [num_ranks] position of the rank among the members of its group */
} tli_level_t;

/** The whole tree. levels[0] = nodes, ..., levels[num_levels - 1] = ranks, each its own group. Groups nest. */
struct tulle_topology {
    int num_ranks;
    int num_levels; /* group levels + 1, 2 to TULLE_TOPOLOGY_MAX_LEVELS */
    tli_level_t levels[TULLE_TOPOLOGY_MAX_LEVELS];
    char *text;          /* see tulle_topology_text() */
    tli_place_t *places; /* [num_ranks] where discovered ranks and their GPUs are; NULL = nothing is known of GPUs */
    tli_arena_t arena;
};

/**
 * Build the tree from the group of every rank at every group level.
 * @param[in]  num_ranks        >= 1
 * @param[in]  num_group_levels 1 to TULLE_TOPOLOGY_MAX_LEVELS - 1, outermost first
 * @param[in]  group_of         [num_group_levels][num_ranks] any numbers: equal number and equal parent = same group
 * @param[in]  names            [num_group_levels] or NULL for node, domain, domain2, ...
 * @param[out] topology_out     owned by the caller; default links; untouched on failure
 * @retval TULLE_ERR_ARG a count out of range, or a name that tli_topology_set_name() refuses; TULLE_ERR_NOMEM
 * @cost O(ranks x levels) time, O(ranks) memory per level
 */
tulle_status_t tli_topology_from_groups(int num_ranks, int num_group_levels, const int *group_of,
                                        const char *const *names, tulle_topology_t **topology_out);

/** Name a level: 1 to 31 of [a-z0-9_-]. @retval TULLE_ERR_ARG the name has another form */
tulle_status_t tli_topology_set_name(tulle_topology_t *topology, int level, const char *name);

/** Level at which a hop between two ranks crosses: the outermost level whose groups differ; num_levels if a == b. */
int tli_topology_crossing(const tulle_topology_t *topology, int a, int b);

/** Hash of everything that plans depend on: tree, placement, links. */
uint64_t tli_topology_hash(const tulle_topology_t *topology);

/** Whether both describe the same tree, placement and links. */
int tli_topology_equal(const tulle_topology_t *a, const tulle_topology_t *b);

#endif
