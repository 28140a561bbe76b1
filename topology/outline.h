/* SPDX-License-Identifier: Apache-2.0
 * The outline of a topology: the tree in leaf order and the rank in every leaf slot. Text form, file and table are
 * written from it; parsing makes one, then the topology is built from it. */
#ifndef TLI_TOPOLOGY_OUTLINE_H
#define TLI_TOPOLOGY_OUTLINE_H

#include <tulle/topology.h>

#include "src/arena.h"

/** Most ranks that a text form may describe: far above any machine, far below what could overflow. */
#define TLI_OUTLINE_MAX_SLOTS (1 << 24)

/** How ranks are laid into leaf slots. */
typedef enum tli_placement {
    TLI_PLACEMENT_BLOCK,  /**< rank = slot */
    TLI_PLACEMENT_CYCLIC, /**< ranks dealt to the nodes in turn, full nodes left out; slots of a node fill in order */
    TLI_PLACEMENT_CUSTOM  /**< any other permutation */
} tli_placement_t;

/** Groups of a level stand one after the other, children of a group together. */
typedef struct tli_outline {
    int num_slots;                             /* ranks */
    int num_levels;                            /* group levels: without the level between ranks */
    int num_groups[TULLE_TOPOLOGY_MAX_LEVELS]; /* per level */
    int *child_ptr[TULLE_TOPOLOGY_MAX_LEVELS]; /* [num_groups + 1] children in the next level; innermost: slots */
    int *rank_of_slot;                         /* [num_slots] */
} tli_outline_t;

/** Allocate the arrays for at most @p num_slots slots; no group yet. */
tulle_status_t tli_outline_alloc(tli_arena_t *arena, int num_slots, int num_levels, tli_outline_t *outline_out);

/**
 * Open the next group of a level. Its children and slots are those added until the next group of this level opens.
 * Open groups from the outside in; close the outline at the end.
 */
void tli_outline_open(tli_outline_t *outline, int level);
void tli_outline_close(tli_outline_t *outline);

/** First slot below a group; with group = num_groups, the end of all slots. */
int tli_outline_first_slot(const tli_outline_t *outline, int level, int group);

/** Fill rank_of_slot. @param[in] placement block or cyclic */
tulle_status_t tli_outline_place(tli_outline_t *outline, tli_placement_t placement);

/** Find out which placement rank_of_slot is; block where several are the same. */
tulle_status_t tli_outline_placement(const tli_outline_t *outline, tli_placement_t *placement_out);

/** Outline of a topology: groups in the order of their numbers, ranks ascending in innermost groups. */
tulle_status_t tli_outline_of(const tulle_topology_t *topology, tli_arena_t *arena, tli_outline_t *outline_out);

/** Topology of an outline with default names and links. @param[in] outline rank_of_slot is a permutation */
tulle_status_t tli_outline_build(const tli_outline_t *outline, tulle_topology_t **topology_out);

/**
 * Read the text form (grammar: README.md).
 * @param[in]  text        zero-terminated
 * @param[in]  num_ranks   as in tulle_topology_parse()
 * @param[in]  arena       holds the outline afterwards
 * @param[out] outline_out placed as the suffix says
 * @param[out] suffix_out  whether the text has a placement suffix; NULL = not asked
 * @retval TULLE_ERR_ARG text and column are named; TULLE_ERR_NOMEM
 */
tulle_status_t tli_outline_parse(const char *text, int num_ranks, tli_arena_t *arena, tli_outline_t *outline_out,
                                 int *suffix_out);

/** Write the shortest text form of a topology. @param[out] text_out allocated from @p arena */
tulle_status_t tli_topology_format(const tulle_topology_t *topology, tli_arena_t *arena, char **text_out);

#endif
