/* SPDX-License-Identifier: Apache-2.0
 * Random topologies for property tests. */
#include "trees.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "topology/outline.h"

#define MAX_RANKS 64

typedef struct text_buffer {
    char *text;
    size_t size;
    size_t length;
} text_buffer_t;

int trees_random(uint64_t *state, int bound)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (int)((z ^ (z >> 31)) % (uint64_t)bound);
}

static void append(text_buffer_t *buffer, const char *piece)
{
    size_t length = strlen(piece);
    assert_true(buffer->length + length < buffer->size);
    memcpy(buffer->text + buffer->length, piece, length + 1);
    buffer->length += length;
}

static void append_count(uint64_t *state, text_buffer_t *buffer)
{
    char digits[16];
    snprintf(digits, sizeof digits, "%d", 1 + trees_random(state, 3));
    append(buffer, digits);
}

static void append_list(uint64_t *state, text_buffer_t *buffer, int depth);

static void append_body(uint64_t *state, text_buffer_t *buffer, int depth)
{
    int choice = depth == 0 ? 0 : trees_random(state, 3);
    if (choice == 2) {
        append(buffer, "(");
        append_list(state, buffer, depth - 1);
        append(buffer, ")");
        return;
    }
    append_count(state, buffer);
    if (choice == 1) {
        append(buffer, "x");
        append_body(state, buffer, depth - 1);
    }
}

static void append_list(uint64_t *state, text_buffer_t *buffer, int depth)
{
    int num_items = 1 + trees_random(state, 3);
    for (int i = 0; i < num_items; i++) {
        int choice = trees_random(state, 3);
        append(buffer, i > 0 ? "," : "");
        if (choice == 2 && depth > 0) {
            append(buffer, "(");
            append_list(state, buffer, depth - 1);
            append(buffer, ")");
            continue;
        }
        append_count(state, buffer);
        if (choice == 1) {
            append(buffer, "x");
            append_body(state, buffer, depth);
        }
    }
}

void trees_random_text(uint64_t *state, char *text, size_t size)
{
    static const char *const suffixes[] = {"", ":block", ":cyclic"};
    text_buffer_t buffer = {NULL, size, 0};
    buffer.text = text;
    append_list(state, &buffer, trees_random(state, 4));
    append(&buffer, suffixes[trees_random(state, 3)]);
}

void trees_random_groups(uint64_t *state, int num_ranks, int num_levels, int *group_of)
{
    int spread = 1 + trees_random(state, 4);
    for (int i = 0; i < num_ranks * num_levels; i++)
        group_of[i] = trees_random(state, spread) * 1000003 - 1;
}

tulle_topology_t *trees_random_topology(uint64_t *state)
{
    tulle_topology_t *topology = NULL;
    int num_ranks = 1 + trees_random(state, MAX_RANKS);
    int num_levels = 1 + trees_random(state, 4);
    int group_of[4 * MAX_RANKS];
    trees_random_groups(state, num_ranks, num_levels, group_of);
    assert_int_equal(tli_topology_from_groups(num_ranks, num_levels, group_of, NULL, &topology), TULLE_OK);
    for (int l = 0; l <= num_levels; l++) {
        /* Quotients: doubles that need all their digits. */
        tulle_link_t link = {trees_random(state, 100000) / 7.0,
                             (1 + trees_random(state, 1 << 30)) / 3e-3,
                             trees_random(state, 9),
                             trees_random(state, 3) * 1000 / 7.0,
                             trees_random(state, 3) * 1e9 / 3e-3,
                             trees_random(state, 3) * 1000 / 7.0};
        char name[32];
        snprintf(name, sizeof name, "%c-%d_", 'a' + trees_random(state, 26), trees_random(state, 1000));
        assert_int_equal(tulle_topology_set_link(topology, l, &link), TULLE_OK);
        assert_int_equal(tli_topology_set_name(topology, l, name), TULLE_OK);
    }
    return topology;
}

tulle_topology_t *trees_without_placement(const tulle_topology_t *topology)
{
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_outline_t outline;
    tulle_topology_t *block = NULL;
    assert_int_equal(tli_outline_of(topology, &scratch, &outline), TULLE_OK);
    assert_int_equal(tli_outline_place(&outline, TLI_PLACEMENT_BLOCK), TULLE_OK);
    assert_int_equal(tli_outline_build(&outline, &block), TULLE_OK);
    tli_arena_release(&scratch);
    return block;
}
