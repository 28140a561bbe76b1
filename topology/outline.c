/* SPDX-License-Identifier: Apache-2.0
 * Outlines: from a topology, to a topology, and the two regular placements. All linear in ranks x levels. */
#include "topology/outline.h"

#include <string.h>

#include "src/fault.h"
#include "topology/model.h"

tulle_status_t tli_outline_alloc(tli_arena_t *arena, int num_slots, int num_levels, tli_outline_t *outline_out)
{
    tulle_status_t st = TULLE_OK;
    tli_outline_t outline = {0};
    outline.num_slots = 0;
    outline.num_levels = num_levels;
    TLI_TRY(tli_arena_alloc_raw(arena, num_slots, sizeof(int), &outline.rank_of_slot));
    for (int l = 0; l < num_levels; l++)
        TLI_TRY(tli_arena_alloc_raw(arena, (int64_t)num_slots + 1, sizeof(int), &outline.child_ptr[l]));
    *outline_out = outline;
done:
    return st;
}

/* Where the children of the next group of this level will start. */
static int next_child(const tli_outline_t *outline, int level)
{
    return level == outline->num_levels - 1 ? outline->num_slots : outline->num_groups[level + 1];
}

void tli_outline_open(tli_outline_t *outline, int level)
{
    outline->child_ptr[level][outline->num_groups[level]++] = next_child(outline, level);
}

void tli_outline_close(tli_outline_t *outline)
{
    for (int l = 0; l < outline->num_levels; l++)
        outline->child_ptr[l][outline->num_groups[l]] = next_child(outline, l);
}

int tli_outline_first_slot(const tli_outline_t *outline, int level, int group)
{
    int first = group;
    for (int l = level; l < outline->num_levels; l++)
        first = outline->child_ptr[l][first];
    return first;
}

/* Deal ranks to the nodes in turn. Full nodes leave the round, so that the work is one step per rank. */
static tulle_status_t deal_cyclic(const tli_outline_t *outline, int *rank_of_slot)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int *next = NULL;
    int *end = NULL;
    int num_open = outline->num_groups[0];
    int rank = 0;
    TLI_TRY(tli_arena_alloc_raw(&scratch, num_open, sizeof(int), &next));
    TLI_TRY(tli_arena_alloc_raw(&scratch, num_open, sizeof(int), &end));
    for (int node = 0; node < num_open; node++) {
        next[node] = tli_outline_first_slot(outline, 0, node);
        end[node] = tli_outline_first_slot(outline, 0, node + 1);
    }
    while (num_open > 0) {
        int num_kept = 0;
        for (int i = 0; i < num_open; i++) {
            rank_of_slot[next[i]] = rank++;
            next[num_kept] = next[i] + 1;
            end[num_kept] = end[i];
            num_kept += next[num_kept] < end[num_kept];
        }
        num_open = num_kept;
    }
done:
    tli_arena_release(&scratch);
    return st;
}

tulle_status_t tli_outline_place(tli_outline_t *outline, tli_placement_t placement)
{
    tulle_status_t st = TULLE_OK;
    TLI_ASSERT(placement != TLI_PLACEMENT_CUSTOM);
    if (placement == TLI_PLACEMENT_CYCLIC) {
        TLI_TRY(deal_cyclic(outline, outline->rank_of_slot));
    } else {
        for (int slot = 0; slot < outline->num_slots; slot++)
            outline->rank_of_slot[slot] = slot;
    }
done:
    return st;
}

tulle_status_t tli_outline_placement(const tli_outline_t *outline, tli_placement_t *placement_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    size_t bytes = (size_t)outline->num_slots * sizeof(int);
    int *dealt = NULL;
    int slot = 0;
    tli_placement_t placement = TLI_PLACEMENT_BLOCK;
    while (slot < outline->num_slots && outline->rank_of_slot[slot] == slot)
        slot++;
    if (slot < outline->num_slots) {
        TLI_TRY(tli_arena_alloc_raw(&scratch, outline->num_slots, sizeof(int), &dealt));
        TLI_TRY(deal_cyclic(outline, dealt));
        placement = memcmp(dealt, outline->rank_of_slot, bytes) == 0 ? TLI_PLACEMENT_CYCLIC : TLI_PLACEMENT_CUSTOM;
    }
    *placement_out = placement;
done:
    tli_arena_release(&scratch);
    return st;
}

/* Sort the ranks by group at every level: stable counting sorts, innermost first. member_ptr is where groups start. */
static tulle_status_t sort_ranks(const tulle_topology_t *topology, int *rank_of_slot)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    size_t bytes = (size_t)topology->num_ranks * sizeof(int);
    int innermost = topology->num_levels - 2;
    int *sorted = NULL;
    int *cursor = NULL;
    TLI_TRY(tli_arena_alloc_raw(&scratch, topology->num_ranks, sizeof(int), &sorted));
    TLI_TRY(tli_arena_alloc_raw(&scratch, topology->num_ranks, sizeof(int), &cursor));
    memcpy(rank_of_slot, topology->levels[innermost].members, bytes);
    for (int l = innermost - 1; l >= 0; l--) {
        const tli_level_t *level = &topology->levels[l];
        memcpy(cursor, level->member_ptr, (size_t)level->num_groups * sizeof(int));
        for (int i = 0; i < topology->num_ranks; i++)
            sorted[cursor[level->group_of[rank_of_slot[i]]]++] = rank_of_slot[i];
        memcpy(rank_of_slot, sorted, bytes);
    }
done:
    tli_arena_release(&scratch);
    return st;
}

tulle_status_t tli_outline_of(const tulle_topology_t *topology, tli_arena_t *arena, tli_outline_t *outline_out)
{
    tulle_status_t st = TULLE_OK;
    tli_outline_t outline;
    int last[TULLE_TOPOLOGY_MAX_LEVELS];
    memset(last, -1, sizeof last);
    TLI_TRY(tli_outline_alloc(arena, topology->num_ranks, topology->num_levels - 1, &outline));
    TLI_TRY(sort_ranks(topology, outline.rank_of_slot));
    while (outline.num_slots < topology->num_ranks) {
        int rank = outline.rank_of_slot[outline.num_slots];
        /* Groups nest: where an outer group ends, all inner ones end too. */
        for (int l = 0; l < outline.num_levels; l++) {
            int group = topology->levels[l].group_of[rank];
            if (group != last[l])
                tli_outline_open(&outline, l);
            last[l] = group;
        }
        outline.num_slots++;
    }
    tli_outline_close(&outline);
    *outline_out = outline;
done:
    return st;
}

tulle_status_t tli_outline_build(const tli_outline_t *outline, tulle_topology_t **topology_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int *group_of = NULL;
    TLI_TRY(tli_arena_alloc_raw(&scratch, (int64_t)outline->num_levels * outline->num_slots, sizeof(int), &group_of));
    for (int l = 0; l < outline->num_levels; l++) {
        int *level_groups = group_of + (size_t)l * (size_t)outline->num_slots;
        int slot = 0;
        for (int group = 0; group < outline->num_groups[l]; group++)
            for (int end = tli_outline_first_slot(outline, l, group + 1); slot < end; slot++)
                level_groups[outline->rank_of_slot[slot]] = group;
    }
    TLI_TRY(tli_topology_from_groups(outline->num_slots, outline->num_levels, group_of, NULL, topology_out));
done:
    tli_arena_release(&scratch);
    return st;
}
