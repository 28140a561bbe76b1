/* SPDX-License-Identifier: Apache-2.0
 * The shortest text form of a topology. Three rules make it shortest: equal neighbours become "2x..."; a group with one
 * child is written as its ranks, since parsing pads it back; and if that left no branch as deep as the tree, the first
 * deepest branch is written out. tests/topology/test_text.c checks it against every short text. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/fault.h"
#include "topology/model.h"
#include "topology/outline.h"

/* Writes, or only counts where there is no memory yet. */
typedef struct writer {
    const tli_outline_t *outline;
    int forced_slot; /* first slot of the branch that is written in full; -1 = none */
    char *memory;
    size_t capacity;
    size_t length;
} writer_t;

static void write_list(writer_t *writer, int level, int first, int end);

__attribute__((format(printf, 2, 3))) static void put(writer_t *writer, const char *format, ...)
{
    va_list arguments;
    char *at = writer->memory == NULL ? NULL : writer->memory + writer->length;
    va_start(arguments, format);
    writer->length += (size_t)vsnprintf(at, at == NULL ? 0 : writer->capacity - writer->length, format, arguments);
    va_end(arguments);
}

/* Whether two groups of a level are the same tree: level by level, the same numbers of children. */
static int same_tree(const tli_outline_t *outline, int level, int a, int b)
{
    int num_groups = 1;
    int is_same = 1;
    for (int l = level; l < outline->num_levels && is_same; l++) {
        const int *ptr = outline->child_ptr[l];
        for (int i = 1; i <= num_groups && is_same; i++)
            is_same = ptr[a + i] - ptr[a] == ptr[b + i] - ptr[b];
        num_groups = ptr[a + num_groups] - ptr[a];
        a = ptr[a];
        b = ptr[b];
    }
    return is_same;
}

static int run_length(const tli_outline_t *outline, int level, int first, int end)
{
    int next = first + 1;
    while (next < end && same_tree(outline, level, first, next))
        next++;
    return next - first;
}

/* Whether only children lead from a group down to a single innermost group. */
static int is_chain(const tli_outline_t *outline, int level, int group)
{
    int l = level;
    while (l < outline->num_levels - 1 && outline->child_ptr[l][group + 1] - outline->child_ptr[l][group] == 1)
        group = outline->child_ptr[l++][group];
    return l == outline->num_levels - 1;
}

/* Ranks of a group that is written as their number; 0 when it must be written as a list. */
static int plain_ranks(const writer_t *writer, int level, int group)
{
    const tli_outline_t *outline = writer->outline;
    int first = tli_outline_first_slot(outline, level, group);
    int end = tli_outline_first_slot(outline, level, group + 1);
    int is_innermost = level == outline->num_levels - 1;
    int is_plain = is_innermost || (is_chain(outline, level, group) && first != writer->forced_slot);
    return is_plain ? end - first : 0;
}

/* What one of several equal groups is made of. */
static void write_body(writer_t *writer, int level, int group)
{
    const int *ptr = writer->outline->child_ptr[level];
    int num_ranks = plain_ranks(writer, level, group);
    if (num_ranks > 0) {
        put(writer, "%d", num_ranks);
    } else if (run_length(writer->outline, level + 1, ptr[group], ptr[group + 1]) == ptr[group + 1] - ptr[group]) {
        put(writer, "%dx", ptr[group + 1] - ptr[group]);
        write_body(writer, level + 1, ptr[group]);
    } else {
        put(writer, "(");
        write_list(writer, level + 1, ptr[group], ptr[group + 1]);
        put(writer, ")");
    }
}

/* A group unlike its neighbours. "1x2x4" and "(2x4)" are equally short: the first where it stands alone. */
static void write_single(writer_t *writer, int level, int group, int is_alone)
{
    const int *ptr = writer->outline->child_ptr[level];
    int num_children = ptr[group + 1] - ptr[group];
    int num_ranks = plain_ranks(writer, level, group);
    if (num_ranks > 0) {
        put(writer, "%d", num_ranks);
    } else if (is_alone && num_children > 1 &&
               run_length(writer->outline, level + 1, ptr[group], ptr[group + 1]) == num_children) {
        put(writer, "1x");
        write_body(writer, level, group);
    } else {
        put(writer, "(");
        write_list(writer, level + 1, ptr[group], ptr[group + 1]);
        put(writer, ")");
    }
}

static void write_list(writer_t *writer, int level, int first, int end)
{
    int run = 0;
    for (int group = first; group < end; group += run) {
        run = run_length(writer->outline, level, group, end);
        put(writer, "%s", group > first ? "," : "");
        if (run == 1) {
            write_single(writer, level, group, end - first == 1);
        } else {
            put(writer, "%dx", run);
            write_body(writer, level, group);
        }
    }
}

/* Outermost level at which the branch of an innermost group is a chain: how deep its text would parse. */
static int natural_level(const tli_outline_t *outline, const int *path)
{
    int level = outline->num_levels - 1;
    while (level > 0 &&
           outline->child_ptr[level - 1][path[level - 1] + 1] - outline->child_ptr[level - 1][path[level - 1]] == 1)
        level--;
    return level;
}

/* First slot of the first deepest branch if no branch parses to the full depth by itself; else -1. */
static int find_forced_slot(const tli_outline_t *outline)
{
    int innermost = outline->num_levels - 1;
    int path[TULLE_TOPOLOGY_MAX_LEVELS] = {0};
    int deepest = -1;
    int slot = -1;
    for (int group = 0; group < outline->num_groups[innermost] && deepest < innermost; group++) {
        path[innermost] = group;
        for (int l = innermost - 1; l >= 0; l--)
            path[l] += outline->child_ptr[l][path[l] + 1] <= path[l + 1];
        if (natural_level(outline, path) > deepest) {
            deepest = natural_level(outline, path);
            slot = outline->child_ptr[innermost][group];
        }
    }
    return deepest < innermost ? slot : -1;
}

static const char *suffix(tli_placement_t placement)
{
    static const char *const suffixes[] = {"", ":cyclic", ":custom"};
    return suffixes[placement];
}

tulle_status_t tli_topology_format(const tulle_topology_t *topology, tli_arena_t *arena, char **text_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_outline_t outline;
    tli_placement_t placement = TLI_PLACEMENT_BLOCK;
    writer_t writer = {&outline, -1, NULL, 0, 0};
    TLI_TRY(tli_outline_of(topology, &scratch, &outline));
    TLI_TRY(tli_outline_placement(&outline, &placement));
    writer.forced_slot = find_forced_slot(&outline);
    write_list(&writer, 0, 0, outline.num_groups[0]);
    put(&writer, "%s", suffix(placement));
    writer.capacity = writer.length + 1;
    TLI_TRY(tli_arena_alloc_raw(arena, (int64_t)writer.capacity, 1, &writer.memory));
    writer.length = 0;
    write_list(&writer, 0, 0, outline.num_groups[0]);
    put(&writer, "%s", suffix(placement));
    *text_out = writer.memory;
done:
    tli_arena_release(&scratch);
    return st;
}
