/* SPDX-License-Identifier: Apache-2.0
 * Choosing ports, from the outside in: a subgroup that needs the row at every level, then a rank of the innermost one.
 * So a row never enters a subgroup that has no use for it, and the volume limit holds at each level. */
#include "collectives/ports.h"

#include <string.h>

#include "src/fault.h"

static const tli_level_t *level_of(const tli_entry_t *entry, int level)
{
    return &entry->topology->levels[level];
}

static int group_size(const tli_level_t *level, int group)
{
    return level->member_ptr[group + 1] - level->member_ptr[group];
}

static int is_innermost(const tli_entry_t *entry)
{
    return entry->level == entry->topology->num_levels - 2;
}

int tli_is_needed_in(const tulle_topology_t *topology, const tli_row_set_t *rows, int64_t row, int level, int group)
{
    const int *group_of = topology->levels[level].group_of;
    int is_needed = 0;
    for (int64_t i = rows->needer_ptr[row]; i < rows->needer_ptr[row + 1] && !is_needed; i++)
        is_needed = group_of[rows->needer[i]] == group;
    return is_needed;
}

/* --- rails ------------------------------------------------------------------------------------------------------- */

/* Subgroup that needs the row, counting from `start` through the subgroups of the group and around. */
static int needing_subgroup(const tli_entry_t *entry, int64_t row, int level, int group, int start_rank_index)
{
    const tli_level_t *outer = level_of(entry, level), *inner = level_of(entry, level + 1);
    int size = group_size(outer, group);
    const int *members = outer->members + outer->member_ptr[group];
    for (int i = 0; i < size; i++) {
        int subgroup = inner->group_of[members[(start_rank_index + i) % size]];
        if (tli_is_needed_in(entry->topology, entry->rows, row, level + 1, subgroup))
            return subgroup;
    }
    return -1;
}

static int rail_port(const tli_entry_t *entry, int64_t row)
{
    int innermost = entry->topology->num_levels - 2;
    int rail = level_of(entry, 0)->local_index[entry->rows->owner[row]];
    int group = entry->group;
    int index = rail % group_size(level_of(entry, entry->level), group);
    for (int level = entry->level; level < innermost; level++) {
        const tli_level_t *outer = level_of(entry, level), *inner = level_of(entry, level + 1);
        int natural = outer->members[outer->member_ptr[group] + index];
        group = needing_subgroup(entry, row, level, group, index);
        index = inner->group_of[natural] == group ? inner->local_index[natural] : rail % group_size(inner, group);
    }
    const tli_level_t *last = level_of(entry, innermost);
    return last->members[last->member_ptr[group] + index];
}

void tli_ports_rail(const tli_entry_t *entry, int *port)
{
    /* Without groups inside, all rows of an owner have one rail. */
    int has_one_rail = is_innermost(entry);
    const int64_t *owner = entry->rows->owner, *entering = entry->entering;
    for (int64_t i = 0; i < entry->num_entering; i++) {
        int has_rail = has_one_rail && i > 0 && owner[entering[i]] == owner[entering[i - 1]];
        port[i] = has_rail ? port[i - 1] : rail_port(entry, entering[i]);
    }
}

/* --- balanced, inside an innermost group ------------------------------------------------------------------------- */

/* Ranks of an innermost group filling up to an equal share. */
typedef struct fill {
    const tli_level_t *level;
    const int *members;
    int num_members;
    int64_t share;       /* [rows] no rank takes more */
    int64_t *load;       /* [num_members] rows so far */
    unsigned char *seen; /* [owners * num_members] the owner already sends to this rank */
    int *owner_of;       /* [num_entering] ordinal of the row's owner */
} fill_t;

static int is_better(const fill_t *fill, const unsigned char *seen, int candidate, int best)
{
    if (fill->load[candidate] >= fill->share)
        return 0;
    if (best < 0 || seen[candidate] != seen[best])
        return best < 0 || seen[candidate];
    return fill->load[candidate] < fill->load[best];
}

static void take(fill_t *fill, unsigned char *seen, int member, int *port)
{
    fill->load[member]++;
    seen[member] = 1;
    *port = fill->members[member];
}

/* Best rank that needs the row and has room; -1 if none. Counts the candidates in the group. */
static int best_needer(const fill_t *fill, const tli_entry_t *entry, int64_t row, const unsigned char *seen,
                       int *num_needers_out)
{
    int best = -1, num_needers = 0;
    for (int64_t i = entry->rows->needer_ptr[row]; i < entry->rows->needer_ptr[row + 1]; i++) {
        int64_t rank = entry->rows->needer[i];
        if (fill->level->group_of[rank] != entry->group)
            continue;
        num_needers++;
        if (is_better(fill, seen, fill->level->local_index[rank], best))
            best = fill->level->local_index[rank];
    }
    *num_needers_out = num_needers;
    return best;
}

static int best_of_all(const fill_t *fill, const unsigned char *seen)
{
    int best = -1;
    for (int member = 0; member < fill->num_members; member++)
        if (is_better(fill, seen, member, best))
            best = member;
    return best;
}

static tulle_status_t fill_alloc(const tli_entry_t *entry, tli_arena_t *scratch, fill_t *fill)
{
    tulle_status_t st = TULLE_OK;
    int num_owners = 0;
    fill->level = level_of(entry, entry->level);
    fill->members = fill->level->members + fill->level->member_ptr[entry->group];
    fill->num_members = group_size(fill->level, entry->group);
    fill->share = (entry->num_entering + fill->num_members - 1) / fill->num_members;
    TLI_TRY(tli_arena_alloc_raw(scratch, entry->num_entering, sizeof *fill->owner_of, &fill->owner_of));
    for (int64_t i = 0; i < entry->num_entering; i++) {
        const int64_t *owner = entry->rows->owner;
        num_owners += i == 0 || owner[entry->entering[i]] != owner[entry->entering[i - 1]];
        fill->owner_of[i] = num_owners - 1;
    }
    TLI_TRY(tli_arena_alloc(scratch, fill->num_members, sizeof *fill->load, &fill->load));
    TLI_TRY(tli_arena_alloc(scratch, num_owners, (size_t)fill->num_members, &fill->seen));
done:
    return st;
}

/* Rows with a single candidate first, then those with a choice, then those whose candidates are all full. */
static tulle_status_t balance_ranks(const tli_entry_t *entry, tli_arena_t *scratch, int *port)
{
    tulle_status_t st = TULLE_OK;
    fill_t fill;
    int64_t *open = NULL, num_open = entry->num_entering; /* rows without a port, ascending */
    TLI_TRY(fill_alloc(entry, scratch, &fill));
    TLI_TRY(tli_arena_alloc_raw(scratch, num_open, sizeof *open, &open));
    for (int64_t i = 0; i < num_open; i++)
        open[i] = i;
    for (int pass = 0; pass < 3; pass++) {
        int64_t still_open = 0;
        for (int64_t k = 0; k < num_open; k++) {
            int64_t i = open[k];
            unsigned char *seen = fill.seen + (int64_t)fill.owner_of[i] * fill.num_members;
            int num_needers = 0;
            int best =
                pass < 2 ? best_needer(&fill, entry, entry->entering[i], seen, &num_needers) : best_of_all(&fill, seen);
            if (best >= 0 && (pass > 0 || num_needers == 1))
                take(&fill, seen, best, &port[i]);
            else
                open[still_open++] = i;
        }
        num_open = still_open;
    }
done:
    return st;
}

/* --- balanced, over subgroups ------------------------------------------------------------------------------------ */

typedef struct share {
    const tli_level_t *inner;
    int64_t *load; /* [inner groups] rows so far; only those of this group are used */
    int *chosen;   /* [num_entering] subgroup */
} share_t;

/* Subgroup that needs the row and has the least load per rank; counts the subgroups that need it. */
static int least_loaded_subgroup(const share_t *share, const tli_entry_t *entry, int64_t row, int *num_choices_out)
{
    const int *outer_group = level_of(entry, entry->level)->group_of;
    int best = -1, num_choices = 0, previous = -1;
    for (int64_t i = entry->rows->needer_ptr[row]; i < entry->rows->needer_ptr[row + 1]; i++) {
        int64_t rank = entry->rows->needer[i];
        int subgroup = share->inner->group_of[rank];
        if (outer_group[rank] != entry->group || subgroup == previous)
            continue;
        previous = subgroup;
        num_choices += subgroup != best;
        if (best < 0 || share->load[subgroup] * group_size(share->inner, best) <
                            share->load[best] * group_size(share->inner, subgroup))
            best = subgroup;
    }
    *num_choices_out = num_choices;
    return best;
}

static void share_out(share_t *share, const tli_entry_t *entry)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < entry->num_entering; i++) {
            int num_choices = 0;
            if (pass == 1 && share->chosen[i] >= 0)
                continue;
            int subgroup = least_loaded_subgroup(share, entry, entry->entering[i], &num_choices);
            share->chosen[i] = pass == 1 || num_choices == 1 ? subgroup : -1;
            if (share->chosen[i] >= 0)
                share->load[subgroup]++;
        }
    }
}

static tulle_status_t balance(const tli_entry_t *entry, tli_arena_t *scratch, int *port);

static tulle_status_t balance_subgroup(const tli_entry_t *entry, const share_t *share, int subgroup,
                                       tli_arena_t *scratch, int *port)
{
    tulle_status_t st = TULLE_OK;
    tli_entry_t inner = *entry;
    int64_t *entering = NULL, *position = NULL;
    int *inner_port = NULL;
    int64_t n = share->load[subgroup];
    TLI_TRY(tli_arena_alloc_raw(scratch, n, sizeof *entering, &entering));
    TLI_TRY(tli_arena_alloc_raw(scratch, n, sizeof *position, &position));
    TLI_TRY(tli_arena_alloc_raw(scratch, n, sizeof *inner_port, &inner_port));
    inner.level++;
    inner.group = subgroup;
    inner.entering = entering;
    inner.num_entering = 0;
    for (int64_t i = 0; i < entry->num_entering; i++) {
        if (share->chosen[i] == subgroup) {
            position[inner.num_entering] = i;
            entering[inner.num_entering++] = entry->entering[i];
        }
    }
    TLI_TRY(balance(&inner, scratch, inner_port));
    for (int64_t i = 0; i < n; i++)
        port[position[i]] = inner_port[i];
done:
    return st;
}

static tulle_status_t balance_subgroups(const tli_entry_t *entry, tli_arena_t *scratch, int *port)
{
    tulle_status_t st = TULLE_OK;
    const tli_level_t *outer = level_of(entry, entry->level);
    share_t share = {level_of(entry, entry->level + 1), NULL, NULL};
    TLI_TRY(tli_arena_alloc(scratch, share.inner->num_groups, sizeof *share.load, &share.load));
    TLI_TRY(tli_arena_alloc_raw(scratch, entry->num_entering, sizeof *share.chosen, &share.chosen));
    share_out(&share, entry);
    for (int m = outer->member_ptr[entry->group]; m < outer->member_ptr[entry->group + 1]; m++) {
        int subgroup = share.inner->group_of[outer->members[m]];
        int is_first = share.inner->local_index[outer->members[m]] == 0;
        if (is_first && share.load[subgroup] > 0)
            TLI_TRY(balance_subgroup(entry, &share, subgroup, scratch, port));
    }
done:
    return st;
}

static tulle_status_t balance(const tli_entry_t *entry, tli_arena_t *scratch, int *port)
{
    return is_innermost(entry) ? balance_ranks(entry, scratch, port) : balance_subgroups(entry, scratch, port);
}

/* [rows] of the busiest port. */
static int64_t largest_load(const tli_entry_t *entry, const int *port, int64_t *load)
{
    const tli_level_t *level = level_of(entry, entry->level);
    int64_t largest = 0;
    memset(load, 0, (size_t)group_size(level, entry->group) * sizeof *load);
    for (int64_t i = 0; i < entry->num_entering; i++) {
        int64_t n = ++load[level->local_index[port[i]]];
        largest = n > largest ? n : largest;
    }
    return largest;
}

/* Sharing out over subgroups is greedy: rails stay the better choice in rare cases. */
static tulle_status_t prefer_rails(const tli_entry_t *entry, tli_arena_t *scratch, int *port)
{
    tulle_status_t st = TULLE_OK;
    int *rail = NULL;
    int64_t *load = NULL;
    int size = group_size(level_of(entry, entry->level), entry->group);
    TLI_TRY(tli_arena_alloc_raw(scratch, entry->num_entering, sizeof *rail, &rail));
    TLI_TRY(tli_arena_alloc(scratch, size, sizeof *load, &load));
    tli_ports_rail(entry, rail);
    if (entry->num_entering > 0 && largest_load(entry, rail, load) < largest_load(entry, port, load))
        memcpy(port, rail, (size_t)entry->num_entering * sizeof *port);
done:
    return st;
}

tulle_status_t tli_ports_balanced(const tli_entry_t *entry, tli_arena_t *scratch, int *port)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(balance(entry, scratch, port));
    if (!is_innermost(entry))
        TLI_TRY(prefer_rails(entry, scratch, port));
done:
    return st;
}
