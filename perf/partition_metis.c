/* SPDX-License-Identifier: Apache-2.0
 * METIS, level by level: a set of vertices is dealt out over the subgroups of a group of ranks, then each share over
 * the subgroups of its own. */
#include "perf/partition.h"

#include "src/fault.h"

#ifdef TULLE_HAVE_METIS

#include <limits.h>
#include <string.h>

#include <metis.h>

#define SMALLEST_SHARE 4 /* [vertices] per part; where there are fewer, block order is as good */

int perf_partition_has_metis(void)
{
    return 1;
}

/* What is dealt out of the whole, and to whom: some vertices and a range of ranks, listed. */
typedef struct share {
    const perf_graph_t *whole;
    const tulle_topology_t *topology;
    int num_all_ranks;
    int64_t *local;    /* [vertices of the whole] position in the share that has the vertex */
    int *rank_of;      /* [vertices of the whole] the result */
    int level;         /* of the topology */
    int num_ranks;     /* of the share */
    const int *ranks;  /* [num_ranks] ascending */
    int64_t num;       /* vertices of the share */
    int64_t *vertices; /* [num] ascending */
} share_t;

/* The part of each rank: ranks of one group are one part. */
static int number_parts(const share_t *share, int *part_of_rank)
{
    int num_parts = 0;
    for (int i = 0; i < share->num_ranks; i++) {
        part_of_rank[i] = num_parts;
        for (int j = 0; j < i; j++)
            if (tulle_topology_group(share->topology, share->level, share->ranks[j]) ==
                tulle_topology_group(share->topology, share->level, share->ranks[i]))
                part_of_rank[i] = part_of_rank[j];
        num_parts += part_of_rank[i] == num_parts;
    }
    return num_parts;
}

/* Vertices of each class that the blocks of each part hold. */
static void find_room(const share_t *share, const int *part_of_rank, int64_t *room)
{
    const perf_graph_t *whole = share->whole;
    for (int i = 0; i < share->num_ranks; i++)
        for (int c = 0; c < whole->num_classes; c++) {
            int64_t first, count;
            perf_block(whole->class_ptr[c + 1] - whole->class_ptr[c], share->num_all_ranks, share->ranks[i], &first,
                       &count);
            room[part_of_rank[i] * whole->num_classes + c] += count;
        }
}

/* The edges among the vertices of a share. */
static tulle_status_t induce(const share_t *share, tli_arena_t *arena, perf_graph_t *graph)
{
    tulle_status_t st = TULLE_OK;
    const perf_graph_t *whole = share->whole;
    int64_t num_edges = 0;
    graph->num_vertices = share->num;
    graph->num_classes = whole->num_classes;
    for (int64_t i = 0; i < share->num; i++) {
        int64_t v = share->vertices[i];
        share->local[v] = i;
        num_edges += whole->adj_ptr[v + 1] - whole->adj_ptr[v];
        for (int c = 0; c < whole->num_classes; c++)
            graph->class_ptr[c + 1] += v < whole->class_ptr[c + 1];
    }
    TLI_TRY(tli_arena_alloc(arena, share->num + 1, sizeof(int64_t), &graph->adj_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, num_edges, sizeof(int64_t), &graph->adj));
    TLI_TRY(tli_arena_alloc_raw(arena, num_edges, 1, &graph->is_asked));
    num_edges = 0;
    for (int64_t i = 0; i < share->num; i++) {
        int64_t v = share->vertices[i];
        for (int64_t k = whole->adj_ptr[v]; k < whole->adj_ptr[v + 1]; k++) {
            int64_t position = share->local[whole->adj[k]];
            if (position < share->num && share->vertices[position] == whole->adj[k]) {
                graph->is_asked[num_edges] = whole->is_asked[k];
                graph->adj[num_edges++] = position;
            }
        }
        graph->adj_ptr[i + 1] = num_edges;
    }
done:
    return st;
}

/* A graph in METIS's integers. */
typedef struct metis_graph {
    idx_t num_vertices, num_classes;
    idx_t *adj_ptr, *adj, *weights;
    real_t *targets; /* [parts * classes] shares of each class */
    idx_t *part;
} metis_graph_t;

static tulle_status_t translate(const perf_graph_t *graph, int num_parts, const int64_t *room, tli_arena_t *arena,
                                metis_graph_t *out)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_edges = graph->adj_ptr[graph->num_vertices];
    int classes = graph->num_classes;
    TLI_REQUIRE(num_edges <= IDX_MAX && graph->num_vertices <= IDX_MAX / 2, TULLE_ERR_OVERFLOW,
                "METIS counts to %lld; the graph has %lld edge ends and %lld vertices", (long long)IDX_MAX,
                (long long)num_edges, (long long)graph->num_vertices);
    out->num_vertices = (idx_t)graph->num_vertices;
    out->num_classes = classes;
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_vertices + 1, sizeof(idx_t), &out->adj_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, num_edges, sizeof(idx_t), &out->adj));
    TLI_TRY(tli_arena_alloc(arena, graph->num_vertices * classes, sizeof(idx_t), &out->weights));
    TLI_TRY(tli_arena_alloc(arena, graph->num_vertices, sizeof(idx_t), &out->part));
    TLI_TRY(tli_arena_alloc_raw(arena, (int64_t)num_parts * classes, sizeof(real_t), &out->targets));
    for (int64_t v = 0; v <= graph->num_vertices; v++)
        out->adj_ptr[v] = (idx_t)graph->adj_ptr[v];
    for (int64_t k = 0; k < num_edges; k++)
        out->adj[k] = (idx_t)graph->adj[k];
    for (int c = 0; c < classes; c++) {
        int64_t num = graph->class_ptr[c + 1] - graph->class_ptr[c];
        for (int64_t v = graph->class_ptr[c]; v < graph->class_ptr[c + 1]; v++)
            out->weights[v * classes + c] = 1;
        for (int p = 0; p < num_parts; p++)
            out->targets[p * classes + c] = (real_t)room[p * classes + c] / (real_t)num;
    }
done:
    return st;
}

/* METIS's ways: k parts at once for the least volume or the fewest cut edges, or halves of halves. */
enum { WAY_VOLUME, WAY_CUT, WAY_HALVES, NUM_WAYS };

static tulle_status_t run_metis(metis_graph_t *graph, int num_parts, int way)
{
    tulle_status_t st = TULLE_OK;
    idx_t options[METIS_NOPTIONS];
    idx_t parts = num_parts;
    idx_t objective = 0;
    METIS_SetDefaultOptions(options);
    options[METIS_OPTION_SEED] = 1;
    options[METIS_OPTION_OBJTYPE] = way == WAY_VOLUME ? METIS_OBJTYPE_VOL : METIS_OBJTYPE_CUT;
    options[METIS_OPTION_NCUTS] = 4;   /* tries */
    options[METIS_OPTION_UFACTOR] = 1; /* [1/1000] imbalance; the rest is settled afterwards */
    int code = (way == WAY_HALVES ? METIS_PartGraphRecursive : METIS_PartGraphKway)(
        &graph->num_vertices, &graph->num_classes, graph->adj_ptr, graph->adj, graph->weights, NULL, NULL, &parts,
        graph->targets, NULL, options, &objective, graph->part);
    TLI_REQUIRE(code == METIS_OK, code == METIS_ERROR_MEMORY ? TULLE_ERR_NOMEM : TULLE_ERR_UNSUPPORTED,
                "METIS refuses %lld vertices in %d parts (code %d)", (long long)graph->num_vertices, num_parts, code);
done:
    return st;
}

/* Block order: to each part what it has room for, one after the other. */
static void deal_in_order(const perf_graph_t *graph, int num_parts, const int64_t *room, int *part)
{
    for (int c = 0; c < graph->num_classes; c++) {
        int64_t v = graph->class_ptr[c];
        for (int p = 0; p < num_parts; p++)
            for (int64_t i = 0; i < room[p * graph->num_classes + c]; i++)
                part[v++] = p;
    }
}

static int is_too_small(const perf_graph_t *graph, int num_parts, const int64_t *room)
{
    for (int i = 0; i < num_parts * graph->num_classes; i++)
        if (room[i] < SMALLEST_SHARE)
            return 1;
    return num_parts < 2 || graph->adj_ptr[graph->num_vertices] == 0;
}

/* The best of METIS's ways and block order, by what crosses between the parts. */
static tulle_status_t deal(const perf_graph_t *graph, int num_parts, const int64_t *room, tli_arena_t *arena, int *part)
{
    tulle_status_t st = TULLE_OK;
    metis_graph_t translated = {0};
    int64_t *scratch = NULL;
    int *candidate = NULL;
    deal_in_order(graph, num_parts, room, part);
    if (is_too_small(graph, num_parts, room))
        goto done;
    TLI_TRY(tli_arena_alloc_raw(arena, num_parts, sizeof *scratch, &scratch));
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_vertices, sizeof *candidate, &candidate));
    TLI_TRY(translate(graph, num_parts, room, arena, &translated));
    int64_t least = perf_graph_volume(graph, part, num_parts, scratch);
    for (int way = 0; way < NUM_WAYS; way++) {
        int64_t moved;
        TLI_TRY(run_metis(&translated, num_parts, way));
        for (int64_t v = 0; v < graph->num_vertices; v++)
            candidate[v] = (int)translated.part[v];
        TLI_TRY(perf_graph_settle(graph, num_parts, room, candidate, &moved));
        int64_t volume = perf_graph_volume(graph, candidate, num_parts, scratch);
        if (volume >= least)
            continue;
        least = volume;
        memcpy(part, candidate, (size_t)graph->num_vertices * sizeof *part);
    }
done:
    return st;
}

static tulle_status_t deal_share(const share_t *share);

/* One part of a share, as a share of its own, one level further in. */
static tulle_status_t deal_part(const share_t *share, const int *part_of_rank, const int *part, int wanted)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    share_t inner = *share;
    int *ranks = NULL;
    inner.level++;
    inner.num_ranks = 0;
    inner.num = 0;
    TLI_TRY(tli_arena_alloc_raw(&scratch, share->num_ranks, sizeof *ranks, &ranks));
    TLI_TRY(tli_arena_alloc_raw(&scratch, share->num, sizeof *inner.vertices, &inner.vertices));
    for (int i = 0; i < share->num_ranks; i++)
        if (part_of_rank[i] == wanted)
            ranks[inner.num_ranks++] = share->ranks[i];
    for (int64_t i = 0; i < share->num; i++)
        if (part[i] == wanted)
            inner.vertices[inner.num++] = share->vertices[i];
    inner.ranks = ranks;
    TLI_TRY(deal_share(&inner));
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t deal_share(const share_t *share)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    perf_graph_t graph = {0};
    int64_t *room = NULL;
    int *part_of_rank = NULL;
    int *part = NULL;
    int num_parts = 0;
    if (share->num_ranks == 1) {
        for (int64_t i = 0; i < share->num; i++)
            share->rank_of[share->vertices[i]] = share->ranks[0];
        goto done;
    }
    TLI_TRY(tli_arena_alloc_raw(&scratch, share->num_ranks, sizeof *part_of_rank, &part_of_rank));
    TLI_TRY(tli_arena_alloc_raw(&scratch, share->num, sizeof *part, &part));
    num_parts = number_parts(share, part_of_rank);
    TLI_TRY(tli_arena_alloc(&scratch, (int64_t)num_parts * share->whole->num_classes, sizeof *room, &room));
    find_room(share, part_of_rank, room);
    TLI_TRY(induce(share, &scratch, &graph));
    TLI_TRY(deal(&graph, num_parts, room, &scratch, part));
    for (int p = 0; p < num_parts; p++)
        TLI_TRY(deal_part(share, part_of_rank, part, p));
done:
    tli_arena_release(&scratch);
    return st;
}

/* All vertices, all ranks. */
static tulle_status_t deal_all(const perf_graph_t *graph, const tulle_topology_t *topology, tli_arena_t *arena,
                               int *rank_of)
{
    tulle_status_t st = TULLE_OK;
    int num_ranks = tulle_topology_num_ranks(topology);
    share_t all = {.whole = graph,
                   .topology = topology,
                   .num_all_ranks = num_ranks,
                   .rank_of = rank_of,
                   .num_ranks = num_ranks,
                   .num = graph->num_vertices};
    int *ranks = NULL;
    TLI_TRY(tli_arena_alloc(arena, graph->num_vertices, sizeof *all.local, &all.local));
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_vertices, sizeof *all.vertices, &all.vertices));
    TLI_TRY(tli_arena_alloc_raw(arena, num_ranks, sizeof *ranks, &ranks));
    for (int64_t v = 0; v < graph->num_vertices; v++)
        all.vertices[v] = v;
    for (int r = 0; r < num_ranks; r++)
        ranks[r] = r;
    all.ranks = ranks;
    TLI_TRY(deal_share(&all));
done:
    return st;
}

tulle_status_t perf_partition_by_metis(const perf_matrix_t *matrix, const tulle_topology_t *topology,
                                       tli_arena_t *arena, perf_partition_t *partition_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    perf_graph_t graph;
    int *rank_of = NULL;
    TLI_TRY(perf_graph_create(matrix, &scratch, &graph));
    TLI_TRY(tli_arena_alloc_raw(&scratch, graph.num_vertices, sizeof *rank_of, &rank_of));
    TLI_TRY(deal_all(&graph, topology, &scratch, rank_of));
    TLI_TRY(perf_partition_place(&graph, tulle_topology_num_ranks(topology), rank_of, arena, partition_out));
done:
    tli_arena_release(&scratch);
    return st;
}

#else

int perf_partition_has_metis(void)
{
    return 0;
}

tulle_status_t perf_partition_by_metis(const perf_matrix_t *matrix, const tulle_topology_t *topology,
                                       tli_arena_t *arena, perf_partition_t *partition_out)
{
    (void)matrix;
    (void)topology;
    (void)arena;
    (void)partition_out;
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE, "no partition: built without METIS (libmetis-dev)");
}

#endif
