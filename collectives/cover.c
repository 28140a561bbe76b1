/* SPDX-License-Identifier: Apache-2.0
 * Minimum vertex covers of bipartite graphs: a maximum matching by augmenting along all shortest paths at once
 * (Hopcroft and Karp), then the cover that it proves to be smallest (Koenig). Paths begin at columns without a mate. */
#include "collectives/cover.h"

#include <string.h>

#include "src/fault.h"

#define NONE (-1)

typedef struct matching {
    const tli_block_graph_t *graph;
    int32_t *mate_of_col, *mate_of_row;
    int32_t *layer; /* [num_cols] of the search; NONE: not reached, or led nowhere */
    int32_t *queue; /* [num_cols] columns; in the second half of a phase the path */
    int64_t *next;  /* [num_cols] nonzero at which the search goes on */
} matching_t;

static void fill(int32_t *values, int32_t n, int32_t value)
{
    for (int32_t i = 0; i < n; i++)
        values[i] = value;
}

static tulle_status_t alloc_matching(const tli_block_graph_t *graph, tli_arena_t *arena, matching_t *m)
{
    tulle_status_t st = TULLE_OK;
    m->graph = graph;
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_cols, sizeof(int32_t), &m->mate_of_col));
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_rows, sizeof(int32_t), &m->mate_of_row));
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_cols, sizeof(int32_t), &m->layer));
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_cols, sizeof(int32_t), &m->queue));
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_cols, sizeof(int64_t), &m->next));
    fill(m->mate_of_col, graph->num_cols, NONE);
    fill(m->mate_of_row, graph->num_rows, NONE);
done:
    return st;
}

/* Most columns find a mate right away. */
static void match_greedily(matching_t *m)
{
    const tli_block_graph_t *g = m->graph;
    for (int32_t col = 0; col < g->num_cols; col++) {
        for (int64_t e = g->col_ptr[col]; e < g->col_ptr[col + 1] && m->mate_of_col[col] == NONE; e++) {
            if (m->mate_of_row[g->row[e]] == NONE) {
                m->mate_of_row[g->row[e]] = col;
                m->mate_of_col[col] = g->row[e];
            }
        }
    }
}

/* Columns by their distance from a column without a mate, as far as the nearest row without one. Returns whether there
 * is such a row. */
static int find_layers(matching_t *m)
{
    const tli_block_graph_t *g = m->graph;
    int32_t num_queued = 0, last_layer = INT32_MAX;
    for (int32_t col = 0; col < g->num_cols; col++) {
        m->layer[col] = m->mate_of_col[col] == NONE ? 0 : NONE;
        if (m->mate_of_col[col] == NONE)
            m->queue[num_queued++] = col;
    }
    for (int32_t i = 0; i < num_queued && m->layer[m->queue[i]] <= last_layer; i++) {
        int32_t col = m->queue[i];
        for (int64_t e = g->col_ptr[col]; e < g->col_ptr[col + 1]; e++) {
            int32_t mate = m->mate_of_row[g->row[e]];
            if (mate == NONE) {
                last_layer = m->layer[col];
            } else if (m->layer[mate] == NONE) {
                m->layer[mate] = m->layer[col] + 1;
                m->queue[num_queued++] = mate;
            }
        }
    }
    return last_layer < INT32_MAX;
}

/* Every column of the path takes the row that it was left by; its old one goes to the column before. */
static void augment(matching_t *m, int32_t length)
{
    for (int32_t i = 0; i < length; i++) {
        int32_t col = m->queue[i], row = m->graph->row[m->next[col] - 1];
        m->mate_of_col[col] = row;
        m->mate_of_row[row] = col;
    }
}

/* A shortest path from a column without a mate that crosses none of those found before. */
static void find_path(matching_t *m, int32_t first)
{
    const tli_block_graph_t *g = m->graph;
    int32_t length = 1;
    m->queue[0] = first;
    while (length > 0) {
        int32_t col = m->queue[length - 1];
        if (m->next[col] == g->col_ptr[col + 1]) {
            m->layer[col] = NONE;
            length--;
            continue;
        }
        int32_t mate = m->mate_of_row[g->row[m->next[col]++]];
        if (mate == NONE) {
            augment(m, length);
            return;
        }
        if (m->layer[mate] == m->layer[col] + 1)
            m->queue[length++] = mate;
    }
}

static void match_all(matching_t *m)
{
    const tli_block_graph_t *g = m->graph;
    match_greedily(m);
    while (find_layers(m)) {
        memcpy(m->next, g->col_ptr, (size_t)g->num_cols * sizeof *m->next);
        for (int32_t col = 0; col < g->num_cols; col++)
            if (m->mate_of_col[col] == NONE)
                find_path(m, col);
    }
}

/* After the last search: a column that it reached can do without being covered if all its rows are, which it reached
 * too; every other column has a mate, and is covered. */
static void cover_by_matching(const matching_t *m, tli_block_cover_t *cover)
{
    const tli_block_graph_t *g = m->graph;
    for (int32_t col = 0; col < g->num_cols; col++) {
        cover->has_col[col] = m->layer[col] == NONE;
        cover->num_cols += cover->has_col[col];
        for (int64_t e = g->col_ptr[col]; m->layer[col] != NONE && e < g->col_ptr[col + 1]; e++)
            cover->has_row[g->row[e]] = 1;
    }
    for (int32_t row = 0; row < g->num_rows; row++)
        cover->num_rows += cover->has_row[row];
}

tulle_status_t tli_cover_least(const tli_block_graph_t *graph, tli_arena_t *arena, tli_block_cover_t *cover_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_block_cover_t cover = {0, 0, NULL, NULL};
    matching_t matching;
    TLI_TRY(tli_arena_alloc(arena, graph->num_rows, 1, &cover.has_row));
    TLI_TRY(tli_arena_alloc(arena, graph->num_cols, 1, &cover.has_col));
    TLI_TRY(alloc_matching(graph, &scratch, &matching));
    match_all(&matching);
    cover_by_matching(&matching, &cover);
    *cover_out = cover;
done:
    tli_arena_release(&scratch);
    return st;
}
