/* SPDX-License-Identifier: Apache-2.0
 * The graph of a matrix, what a partition of it costs, and partitions made to fit. */
#include <string.h>

#include "perf/partition.h"
#include "src/fault.h"
#include "src/sort.h"

/* An edge as two records, one for each end: vertex, neighbour, whether the neighbour asks for the vertex. */
enum { EDGE_VERTEX, EDGE_NEIGHBOUR, EDGE_ASKED, EDGE_WORDS };

static void put_edge(int64_t *record, int64_t vertex, int64_t neighbour, int64_t is_asked)
{
    record[EDGE_VERTEX] = vertex;
    record[EDGE_NEIGHBOUR] = neighbour;
    record[EDGE_ASKED] = is_asked;
}

/* The entry (i, j): row i asks for column j. Returns the records written. */
static int64_t list_edges(const perf_matrix_t *matrix, int64_t first_col, int64_t *records)
{
    int64_t num = 0;
    for (int64_t row = 0; row < matrix->rows; row++)
        for (int64_t k = matrix->row_ptr[row]; k < matrix->row_ptr[row + 1]; k++) {
            int64_t col = first_col + matrix->col_idx[k];
            if (col == row)
                continue;
            put_edge(records + EDGE_WORDS * num++, col, row, 1);
            put_edge(records + EDGE_WORDS * num++, row, col, 0);
        }
    return num;
}

/* Sorted records to adjacency; an edge that is there in both directions is one that is asked for. */
static void compress(const int64_t *records, int64_t num, perf_graph_t *graph)
{
    int64_t kept = 0;
    int64_t last = -1;
    for (int64_t i = 0; i < num; i++) {
        const int64_t *record = records + EDGE_WORDS * i;
        if (kept > 0 && record[EDGE_VERTEX] == last && record[EDGE_NEIGHBOUR] == graph->adj[kept - 1]) {
            graph->is_asked[kept - 1] |= record[EDGE_ASKED] != 0;
            continue;
        }
        last = record[EDGE_VERTEX];
        graph->adj[kept] = record[EDGE_NEIGHBOUR];
        graph->is_asked[kept++] = record[EDGE_ASKED] != 0;
        graph->adj_ptr[last + 1] = kept;
    }
    for (int64_t v = 0; v < graph->num_vertices; v++) /* vertices without edges */
        if (graph->adj_ptr[v + 1] < graph->adj_ptr[v])
            graph->adj_ptr[v + 1] = graph->adj_ptr[v];
}

tulle_status_t perf_graph_create(const perf_matrix_t *matrix, tli_arena_t *arena, perf_graph_t *graph_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int is_square = matrix->rows == matrix->cols;
    perf_graph_t graph = {.num_vertices = matrix->rows, .num_classes = 1, .class_ptr = {0, matrix->rows}};
    int64_t *records = NULL;
    int64_t *other = NULL;
    if (!is_square)
        graph.num_vertices = graph.class_ptr[++graph.num_classes] = matrix->rows + matrix->cols;
    TLI_TRY(tli_arena_alloc_raw(&scratch, 2 * matrix->nnz, EDGE_WORDS * sizeof *records, &records));
    TLI_TRY(tli_arena_alloc_raw(&scratch, 2 * matrix->nnz, EDGE_WORDS * sizeof *records, &other));
    int64_t num = list_edges(matrix, is_square ? 0 : matrix->rows, records);
    tli_sort(records, other, num, EDGE_WORDS, EDGE_NEIGHBOUR);
    tli_sort(records, other, num, EDGE_WORDS, EDGE_VERTEX);
    TLI_TRY(tli_arena_alloc(arena, graph.num_vertices + 1, sizeof(int64_t), &graph.adj_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, num, sizeof(int64_t), &graph.adj));
    TLI_TRY(tli_arena_alloc_raw(arena, num, 1, &graph.is_asked));
    compress(records, num, &graph);
    *graph_out = graph;
done:
    tli_arena_release(&scratch);
    return st;
}

int64_t perf_graph_volume(const perf_graph_t *graph, const int *part, int num_parts, int64_t *scratch)
{
    int64_t volume = 0;
    for (int p = 0; p < num_parts; p++)
        scratch[p] = -1; /* the vertex that part p was last seen to ask for */
    for (int64_t v = 0; v < graph->num_vertices; v++) {
        scratch[part[v]] = v;
        for (int64_t k = graph->adj_ptr[v]; k < graph->adj_ptr[v + 1]; k++)
            if (graph->is_asked[k] && scratch[part[graph->adj[k]]] != v) {
                scratch[part[graph->adj[k]]] = v;
                volume++;
            }
    }
    return volume;
}

/* A vertex that could move: edges that a move would cut, less those it would join, and where to. */
enum { MOVE_LOSS, MOVE_VERTEX, MOVE_PART, MOVE_WORDS };

/* Parts that have more vertices of a class than room, and less. */
typedef struct settling {
    const perf_graph_t *graph;
    int num_parts;
    int class;
    int64_t *excess; /* [num_parts] below 0: room */
    int64_t *edges;  /* [num_parts] zero between calls */
    int64_t *moves;  /* [vertices * MOVE_WORDS] */
    int64_t *other;  /* the same */
} settling_t;

static int64_t total_excess(const settling_t *s)
{
    int64_t total = 0;
    for (int p = 0; p < s->num_parts; p++)
        total += s->excess[p] > 0 ? s->excess[p] : 0;
    return total;
}

/* The part with room that the vertex has most edges to, the first such. */
static int find_part(const settling_t *s)
{
    int best = -1;
    for (int p = 0; p < s->num_parts; p++)
        if (s->excess[p] < 0 && (best < 0 || s->edges[p] > s->edges[best]))
            best = p;
    return best;
}

static void put_move(const settling_t *s, const int *part, int64_t v, int64_t *move)
{
    const perf_graph_t *graph = s->graph;
    int64_t degree = graph->adj_ptr[v + 1] - graph->adj_ptr[v];
    for (int64_t k = graph->adj_ptr[v]; k < graph->adj_ptr[v + 1]; k++)
        s->edges[part[graph->adj[k]]]++;
    int best = find_part(s);
    move[MOVE_LOSS] = s->edges[part[v]] - s->edges[best] + degree; /* not below 0, as keys must be */
    move[MOVE_VERTEX] = v;
    move[MOVE_PART] = best;
    for (int64_t k = graph->adj_ptr[v]; k < graph->adj_ptr[v + 1]; k++)
        s->edges[part[graph->adj[k]]] = 0;
}

/* A move changes what others would lose, so only half of them are made before all are judged again. */
static int64_t settle_half(const settling_t *s, int *part)
{
    int64_t most = (total_excess(s) + 1) / 2;
    int64_t num = 0;
    int64_t moved = 0;
    for (int64_t v = s->graph->class_ptr[s->class]; v < s->graph->class_ptr[s->class + 1]; v++)
        if (s->excess[part[v]] > 0)
            put_move(s, part, v, s->moves + MOVE_WORDS * num++);
    tli_sort(s->moves, s->other, num, MOVE_WORDS, MOVE_LOSS);
    for (int64_t i = 0; i < num && moved < most; i++) {
        const int64_t *move = s->moves + MOVE_WORDS * i;
        int *home = &part[move[MOVE_VERTEX]];
        if (s->excess[*home] <= 0 || s->excess[move[MOVE_PART]] >= 0)
            continue;
        s->excess[*home]--;
        *home = (int)move[MOVE_PART];
        s->excess[*home]++;
        moved++;
    }
    return moved;
}

static void count_excess(const settling_t *s, const int64_t *room, const int *part)
{
    for (int p = 0; p < s->num_parts; p++)
        s->excess[p] = -room[p * s->graph->num_classes + s->class];
    for (int64_t v = s->graph->class_ptr[s->class]; v < s->graph->class_ptr[s->class + 1]; v++)
        s->excess[part[v]]++;
}

tulle_status_t perf_graph_settle(const perf_graph_t *graph, int num_parts, const int64_t *room, int *part,
                                 int64_t *moved_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    settling_t s = {.graph = graph, .num_parts = num_parts};
    int64_t moved = 0;
    TLI_TRY(tli_arena_alloc(&scratch, num_parts, sizeof(int64_t), &s.excess));
    TLI_TRY(tli_arena_alloc(&scratch, num_parts, sizeof(int64_t), &s.edges));
    TLI_TRY(tli_arena_alloc_raw(&scratch, graph->num_vertices, MOVE_WORDS * sizeof(int64_t), &s.moves));
    TLI_TRY(tli_arena_alloc_raw(&scratch, graph->num_vertices, MOVE_WORDS * sizeof(int64_t), &s.other));
    for (s.class = 0; s.class < graph->num_classes; s.class ++) {
        count_excess(&s, room, part);
        while (total_excess(&s) > 0)
            moved += settle_half(&s, part);
    }
    *moved_out = moved;
done:
    tli_arena_release(&scratch);
    return st;
}
