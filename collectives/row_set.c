/* SPDX-License-Identifier: Apache-2.0
 * Needs merged into distinct rows, and the least volume that those allow. */
#include "collectives/ports.h"
#include "src/fault.h"
#include "src/sort.h"

static tulle_status_t set_alloc(int64_t num_needs, tli_arena_t *arena, tli_row_set_t *set)
{
    tulle_status_t st = TULLE_OK;
    set->num_rows = 0;
    TLI_TRY(tli_arena_alloc_raw(arena, num_needs, sizeof *set->owner, &set->owner));
    TLI_TRY(tli_arena_alloc_raw(arena, num_needs, sizeof *set->row, &set->row));
    TLI_TRY(tli_arena_alloc_raw(arena, num_needs + 1, sizeof *set->needer_ptr, &set->needer_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, num_needs, sizeof *set->needer, &set->needer));
    set->needer_ptr[0] = 0;
done:
    return st;
}

/* Needs come ascending by (owner, row, needer), repeated ones side by side. */
static inline void add_need(tli_row_set_t *set, const int64_t need[3])
{
    int64_t last = set->num_rows - 1, num_needers = set->needer_ptr[set->num_rows];
    int is_new_row = last < 0 || need[0] != set->owner[last] || need[1] != set->row[last];
    if (is_new_row) {
        set->owner[++last] = need[0];
        set->row[last] = need[1];
        set->num_rows++;
    }
    if (is_new_row || need[2] != set->needer[num_needers - 1])
        set->needer[num_needers++] = need[2];
    set->needer_ptr[last + 1] = num_needers;
}

tulle_status_t tli_row_set_split(const tli_needs_t *needs, const int *group_of, int group, tli_arena_t *arena,
                                 tli_row_set_t *inside, tli_row_set_t *outside)
{
    tulle_status_t st = TULLE_OK;
    int64_t *scratch = NULL, num_inside = 0;
    for (int64_t i = 0; i < needs->num; i++)
        num_inside += group_of == NULL || group_of[needs->words[3 * i]] == group;
    TLI_TRY(set_alloc(num_inside, arena, inside));
    if (outside != NULL)
        TLI_TRY(set_alloc(needs->num - num_inside, arena, outside));
    TLI_TRY(tli_arena_alloc_raw(arena, needs->num, 3 * sizeof *scratch, &scratch));
    tli_sorted_t sorted = tli_sort_where(needs->words, scratch, needs->num, 3, 3);
    for (int64_t i = 0; i < needs->num; i++) {
        int64_t need[3];
        tli_sorted_get3(&sorted, i, need);
        add_need(group_of == NULL || group_of[need[0]] == group ? inside : outside, need);
    }
done:
    return st;
}

tulle_status_t tli_row_set_build(const tli_needs_t *needs, tli_arena_t *arena, tli_row_set_t *set_out)
{
    return tli_row_set_split(needs, NULL, 0, arena, set_out, NULL);
}

/* Adds the crossings of one row at one level: each group that needs it is entered once, except the owner's own, and
 * except one per parent group that the row entered from outside: it landed in that one. */
static void add_row_limits(const tulle_topology_t *topology, const tli_row_set_t *set, int64_t row, int level,
                           int64_t *stamp, int64_t *parent_stamp, int64_t mark, int64_t *limits)
{
    const int *group_of = topology->levels[level].group_of;
    const int *parent_of = level > 0 ? topology->levels[level - 1].group_of : NULL;
    int64_t owner = set->owner[row];
    for (int64_t i = set->needer_ptr[row]; i < set->needer_ptr[row + 1]; i++) {
        int64_t rank = set->needer[i];
        int is_new = group_of[rank] != group_of[owner] && stamp[group_of[rank]] != mark;
        if (!is_new)
            continue;
        stamp[group_of[rank]] = mark;
        int came_from_outside = parent_of != NULL && parent_of[rank] != parent_of[owner];
        int is_landing = came_from_outside && parent_stamp[parent_of[rank]] != mark;
        if (is_landing)
            parent_stamp[parent_of[rank]] = mark;
        limits[level] += !is_landing;
    }
}

tulle_status_t tli_route_limits(const tulle_topology_t *topology, const tli_needs_t *needs, tli_arena_t *scratch,
                                int64_t *limits)
{
    tulle_status_t st = TULLE_OK;
    tli_row_set_t set;
    int64_t *stamp = NULL, *parent_stamp = NULL;
    TLI_TRY(tli_row_set_build(needs, scratch, &set));
    for (int level = 0; level < topology->num_levels; level++) {
        limits[level] = 0;
        TLI_TRY(tli_arena_alloc(scratch, topology->num_ranks, sizeof *stamp, &stamp));
        TLI_TRY(tli_arena_alloc(scratch, topology->num_ranks, sizeof *parent_stamp, &parent_stamp));
        for (int64_t row = 0; row < set.num_rows; row++)
            add_row_limits(topology, &set, row, level, stamp, parent_stamp, row + 1, limits);
    }
done:
    return st;
}
