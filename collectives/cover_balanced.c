/* SPDX-License-Identifier: Apache-2.0
 * Covers by weight: a minimum weight vertex cover is a minimum cut, found by augmenting along all shortest paths at
 * once (Dinic). Balance comes from prices: rows and columns of the ranks that move most become dearer, round after
 * round. */
#include <string.h>

#include "collectives/cover.h"
#include "src/fault.h"

#define NONE       (-1)
#define ROUNDS     6
#define BASE_PRICE 64

typedef struct network {
    const tli_block_graph_t *graph;
    int64_t *supply;      /* [num_cols] of its weight, what is not yet sent */
    int64_t *room;        /* [num_rows] of its weight, what is not yet taken */
    int64_t *flow;        /* [nonzeros] */
    int64_t *row_ptr;     /* [num_rows + 1] */
    int64_t *row_nonzero; /* [nonzeros] by row */
    int32_t *col;         /* [nonzeros] column of each */
    int32_t *layer;       /* [num_cols + num_rows] of the search; NONE: not reached, or leads nowhere */
    int32_t *queue;       /* [num_cols + num_rows] */
    int64_t *next;        /* [num_cols + num_rows] where the search goes on */
    int64_t *path;        /* [num_cols + num_rows] nonzeros, forth and back in turns */
} network_t;

static tulle_status_t index_rows(network_t *n, tli_arena_t *arena)
{
    tulle_status_t st = TULLE_OK;
    const tli_block_graph_t *g = n->graph;
    int64_t num_nonzeros = g->col_ptr[g->num_cols];
    TLI_TRY(tli_arena_alloc(arena, g->num_rows + 2, sizeof(int64_t), &n->row_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, num_nonzeros, sizeof(int64_t), &n->row_nonzero));
    TLI_TRY(tli_arena_alloc_raw(arena, num_nonzeros, sizeof(int32_t), &n->col));
    for (int64_t e = 0; e < num_nonzeros; e++)
        n->row_ptr[g->row[e] + 2]++;
    for (int32_t row = 0; row < g->num_rows; row++)
        n->row_ptr[row + 2] += n->row_ptr[row + 1];
    for (int32_t col = 0; col < g->num_cols; col++) {
        for (int64_t e = g->col_ptr[col]; e < g->col_ptr[col + 1]; e++) {
            n->row_nonzero[n->row_ptr[g->row[e] + 1]++] = e;
            n->col[e] = col;
        }
    }
done:
    return st;
}

static tulle_status_t alloc_network(network_t *n, tli_arena_t *arena)
{
    tulle_status_t st = TULLE_OK;
    const tli_block_graph_t *g = n->graph;
    int64_t num_vertices = (int64_t)g->num_cols + g->num_rows;
    TLI_TRY(tli_arena_alloc_raw(arena, g->num_cols, sizeof(int64_t), &n->supply));
    TLI_TRY(tli_arena_alloc_raw(arena, g->num_rows, sizeof(int64_t), &n->room));
    TLI_TRY(tli_arena_alloc_raw(arena, g->col_ptr[g->num_cols], sizeof(int64_t), &n->flow));
    TLI_TRY(tli_arena_alloc_raw(arena, num_vertices, sizeof(int32_t), &n->layer));
    TLI_TRY(tli_arena_alloc_raw(arena, num_vertices, sizeof(int32_t), &n->queue));
    TLI_TRY(tli_arena_alloc_raw(arena, num_vertices, sizeof(int64_t), &n->next));
    TLI_TRY(tli_arena_alloc_raw(arena, num_vertices, sizeof(int64_t), &n->path));
    TLI_TRY(index_rows(n, arena));
done:
    return st;
}

/* --- maximum flow ------------------------------------------------------------------------------------------------ */

static void reach(network_t *n, int64_t vertex, int32_t layer, int64_t *num_queued)
{
    if (n->layer[vertex] == NONE) {
        n->layer[vertex] = layer;
        n->queue[(*num_queued)++] = (int32_t)vertex;
    }
}

static void reach_neighbours(network_t *n, int32_t vertex, int64_t *num_queued)
{
    const tli_block_graph_t *g = n->graph;
    int32_t layer = n->layer[vertex] + 1, row = vertex - g->num_cols;
    if (row < 0)
        for (int64_t e = g->col_ptr[vertex]; e < g->col_ptr[vertex + 1]; e++)
            reach(n, g->num_cols + g->row[e], layer, num_queued);
    for (int64_t i = row < 0 ? 0 : n->row_ptr[row]; row >= 0 && i < n->row_ptr[row + 1]; i++)
        if (n->flow[n->row_nonzero[i]] > 0)
            reach(n, n->col[n->row_nonzero[i]], layer, num_queued);
}

/* Vertices by their distance from a column with supply, as far as the nearest row with room. Returns whether there is
 * one. */
static int find_layers(network_t *n)
{
    const tli_block_graph_t *g = n->graph;
    int64_t num_queued = 0;
    int32_t last_layer = INT32_MAX;
    memset(n->layer, 0xff, ((size_t)g->num_cols + (size_t)g->num_rows) * sizeof *n->layer);
    for (int32_t col = 0; col < g->num_cols; col++)
        if (n->supply[col] > 0)
            reach(n, col, 0, &num_queued);
    for (int64_t i = 0; i < num_queued && n->layer[n->queue[i]] < last_layer; i++) {
        int32_t vertex = n->queue[i];
        if (vertex >= g->num_cols && n->room[vertex - g->num_cols] > 0)
            last_layer = n->layer[vertex];
        else
            reach_neighbours(n, vertex, &num_queued);
    }
    return last_layer < INT32_MAX;
}

/* Send along the path what its ends and the flows that it takes back allow. */
static void augment(network_t *n, int32_t first, int32_t row, int64_t length)
{
    int64_t amount = n->supply[first] < n->room[row] ? n->supply[first] : n->room[row];
    for (int64_t i = 1; i < length; i += 2)
        amount = n->flow[n->path[i]] < amount ? n->flow[n->path[i]] : amount;
    for (int64_t i = 0; i < length; i++)
        n->flow[n->path[i]] += i % 2 == 0 ? amount : -amount;
    n->supply[first] -= amount;
    n->room[row] -= amount;
}

/* The next vertex from one of a path, one layer on; NONE if there is none left. */
static int64_t step(network_t *n, int64_t vertex, int64_t *nonzero)
{
    const tli_block_graph_t *g = n->graph;
    int64_t row = vertex - g->num_cols, end = row < 0 ? g->col_ptr[vertex + 1] : n->row_ptr[row + 1];
    for (; n->next[vertex] < end; n->next[vertex]++) {
        int64_t e = row < 0 ? n->next[vertex] : n->row_nonzero[n->next[vertex]];
        int64_t to = row < 0 ? g->num_cols + g->row[e] : n->col[e];
        *nonzero = e;
        if (n->layer[to] == n->layer[vertex] + 1 && (row < 0 || n->flow[e] > 0))
            return to;
    }
    return NONE;
}

static int64_t vertex_before(const network_t *n, int64_t length, int32_t first)
{
    if (length == 0)
        return first;
    int64_t e = n->path[length - 1];
    return length % 2 == 0 ? n->col[e] : n->graph->num_cols + n->graph->row[e];
}

/* All that can be sent from a column along shortest paths. */
static void drain_column(network_t *n, int32_t first)
{
    int64_t vertex = first, length = 0, nonzero = 0, num_cols = n->graph->num_cols;
    while (n->supply[first] > 0 && n->layer[first] != NONE) {
        if (vertex >= num_cols && n->room[vertex - num_cols] > 0) {
            augment(n, first, (int32_t)(vertex - num_cols), length);
            vertex = first;
            length = 0;
            continue;
        }
        int64_t to = step(n, vertex, &nonzero);
        if (to != NONE) {
            n->path[length++] = nonzero;
            vertex = to;
        } else {
            n->layer[vertex] = NONE;
            length -= length > 0;
            vertex = vertex_before(n, length, first);
        }
    }
}

static void send_all(network_t *n)
{
    const tli_block_graph_t *g = n->graph;
    memset(n->flow, 0, (size_t)g->col_ptr[g->num_cols] * sizeof *n->flow);
    while (find_layers(n)) {
        memcpy(n->next, g->col_ptr, (size_t)g->num_cols * sizeof *n->next);
        memcpy(n->next + g->num_cols, n->row_ptr, (size_t)g->num_rows * sizeof *n->next);
        for (int32_t col = 0; col < g->num_cols; col++)
            drain_column(n, col);
    }
}

/* --- covers ------------------------------------------------------------------------------------------------------ */

/* The cut: what the last search reached has supply left; rows that it reached are full, and other columns spent. */
static void cover_by_cut(const network_t *n, tli_block_cover_t *cover)
{
    const tli_block_graph_t *g = n->graph;
    cover->num_rows = cover->num_cols = 0;
    for (int32_t col = 0; col < g->num_cols; col++)
        cover->num_cols += cover->has_col[col] = n->layer[col] == NONE;
    for (int32_t row = 0; row < g->num_rows; row++)
        cover->num_rows += cover->has_row[row] = n->layer[g->num_cols + row] != NONE;
}

static tulle_status_t alloc_cover(const tli_block_graph_t *g, tli_arena_t *arena, tli_block_cover_t *cover)
{
    tulle_status_t st = TULLE_OK;
    *cover = (tli_block_cover_t){0, 0, NULL, NULL};
    TLI_TRY(tli_arena_alloc(arena, g->num_rows, 1, &cover->has_row));
    TLI_TRY(tli_arena_alloc(arena, g->num_cols, 1, &cover->has_col));
done:
    return st;
}

tulle_status_t tli_cover_weighted(const tli_block_graph_t *graph, const int64_t *row_weight, const int64_t *col_weight,
                                  tli_arena_t *arena, tli_block_cover_t *cover_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    network_t network = {.graph = graph};
    TLI_TRY(alloc_cover(graph, arena, cover_out));
    TLI_TRY(alloc_network(&network, &scratch));
    memcpy(network.supply, col_weight, (size_t)graph->num_cols * sizeof *col_weight);
    memcpy(network.room, row_weight, (size_t)graph->num_rows * sizeof *row_weight);
    send_all(&network);
    cover_by_cut(&network, cover_out);
done:
    tli_arena_release(&scratch);
    return st;
}

/* --- balance ----------------------------------------------------------------------------------------------------- */

typedef struct balance {
    const tli_block_owners_t *owners;
    int64_t *load;  /* [num_owners] */
    int64_t *price; /* [num_owners] */
    int64_t *row_weight, *col_weight;
} balance_t;

/* Rows of the busiest owner. */
static int64_t count_loads(const balance_t *b, const tli_block_graph_t *g, const tli_block_cover_t *cover)
{
    int64_t busiest = 0;
    memset(b->load, 0, (size_t)b->owners->num_owners * sizeof *b->load);
    for (int32_t row = 0; row < g->num_rows; row++)
        b->load[b->owners->of_row[row]] += cover->has_row[row];
    for (int32_t col = 0; col < g->num_cols; col++)
        b->load[b->owners->of_col[col]] += cover->has_col[col];
    for (int32_t owner = 0; owner < b->owners->num_owners; owner++)
        busiest = b->load[owner] > busiest ? b->load[owner] : busiest;
    return busiest;
}

/* The busiest becomes twice as dear, the others less so; none beyond a million times the base. */
static void raise_prices(const balance_t *b, const tli_block_graph_t *g, int64_t busiest)
{
    const int64_t most = (int64_t)BASE_PRICE << 20;
    for (int32_t owner = 0; owner < b->owners->num_owners; owner++) {
        int64_t price = b->price[owner] + b->price[owner] * b->load[owner] / (busiest > 0 ? busiest : 1);
        b->price[owner] = price < most ? price : most;
    }
    for (int32_t row = 0; row < g->num_rows; row++)
        b->row_weight[row] = b->price[b->owners->of_row[row]];
    for (int32_t col = 0; col < g->num_cols; col++)
        b->col_weight[col] = b->price[b->owners->of_col[col]];
}

static tulle_status_t alloc_balance(balance_t *b, const tli_block_graph_t *g, tli_arena_t *arena)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc(arena, b->owners->num_owners, sizeof(int64_t), &b->load));
    TLI_TRY(tli_arena_alloc(arena, b->owners->num_owners, sizeof(int64_t), &b->price));
    TLI_TRY(tli_arena_alloc_raw(arena, g->num_rows, sizeof(int64_t), &b->row_weight));
    TLI_TRY(tli_arena_alloc_raw(arena, g->num_cols, sizeof(int64_t), &b->col_weight));
    for (int32_t owner = 0; owner < b->owners->num_owners; owner++)
        b->price[owner] = BASE_PRICE;
done:
    return st;
}

tulle_status_t tli_cover_balanced(const tli_block_graph_t *graph, const tli_block_owners_t *owners, tli_arena_t *arena,
                                  tli_block_cover_t *cover_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    balance_t b = {.owners = owners};
    tli_block_cover_t best, cover;
    TLI_TRY(alloc_balance(&b, graph, &scratch));
    TLI_TRY(tli_cover_least(graph, arena, &best));
    int64_t least = count_loads(&b, graph, &best), busiest = least;
    for (int round = 0; round < ROUNDS; round++) {
        raise_prices(&b, graph, busiest);
        TLI_TRY(tli_cover_weighted(graph, b.row_weight, b.col_weight, arena, &cover));
        busiest = count_loads(&b, graph, &cover);
        int is_smaller = cover.num_rows + cover.num_cols < best.num_rows + best.num_cols;
        if (busiest < least || (busiest == least && is_smaller)) {
            least = busiest;
            best = cover;
        }
    }
    *cover_out = best;
done:
    tli_arena_release(&scratch);
    return st;
}
