/* SPDX-License-Identifier: Apache-2.0
 * From a part for every vertex to a matrix in a new order. */
#include "perf/partition.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/fault.h"
#include "src/sort.h"

/* Vertices of one class, part by part, each in the old order. */
static void place_class(const perf_graph_t *graph, int class, int num_ranks, const int *part, int64_t *next,
                        int64_t *new_id)
{
    int64_t first_vertex = graph->class_ptr[class];
    int64_t num = graph->class_ptr[class + 1] - first_vertex;
    for (int r = 0; r < num_ranks; r++) {
        int64_t count;
        perf_block(num, num_ranks, r, &next[r], &count);
    }
    for (int64_t i = 0; i < num; i++)
        new_id[i] = next[part[first_vertex + i]]++;
}

static void find_room(const perf_graph_t *graph, int num_ranks, int64_t *room)
{
    for (int r = 0; r < num_ranks; r++)
        for (int c = 0; c < graph->num_classes; c++) {
            int64_t first;
            perf_block(graph->class_ptr[c + 1] - graph->class_ptr[c], num_ranks, r, &first,
                       &room[r * graph->num_classes + c]);
        }
}

tulle_status_t perf_partition_place(const perf_graph_t *graph, int num_ranks, int *part, tli_arena_t *arena,
                                    perf_partition_t *partition_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    perf_partition_t partition = {0};
    int64_t *room = NULL;
    TLI_TRY(tli_arena_alloc_raw(&scratch, (int64_t)num_ranks * graph->num_classes, sizeof *room, &room));
    find_room(graph, num_ranks, room);
    TLI_TRY(perf_graph_settle(graph, num_ranks, room, part, &partition.num_moved));
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_vertices, sizeof(int64_t), &partition.new_row));
    partition.new_col = partition.new_row + (graph->num_classes == 2 ? graph->class_ptr[1] : 0);
    for (int c = 0; c < graph->num_classes; c++)
        place_class(graph, c, num_ranks, part, room, partition.new_row + graph->class_ptr[c]);
    *partition_out = partition;
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t read_parts(FILE *file, const char *path, int64_t num_vertices, int num_ranks, int *part)
{
    tulle_status_t st = TULLE_OK;
    char more[2];
    for (int64_t v = 0; v < num_vertices; v++) {
        int64_t number = -1;
        TLI_REQUIRE(fscanf(file, "%18" SCNd64, &number) == 1, TULLE_ERR_FILE,
                    "'%.120s' has %lld numbers; it needs %lld, one for each row", path, (long long)v,
                    (long long)num_vertices);
        TLI_REQUIRE(number >= 0 && number < num_ranks, TULLE_ERR_FILE,
                    "'%.120s' gives row %lld to rank %lld, but there are %d", path, (long long)v, (long long)number,
                    num_ranks);
        part[v] = (int)number;
    }
    TLI_REQUIRE(fscanf(file, "%1s", more) == EOF, TULLE_ERR_FILE, "'%.120s' has more than the %lld numbers it needs",
                path, (long long)num_vertices);
done:
    return st;
}

tulle_status_t perf_partition_read(const perf_matrix_t *matrix, const char *path, int num_ranks, tli_arena_t *arena,
                                   perf_partition_t *partition_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    perf_graph_t graph;
    int *part = NULL;
    FILE *file = fopen(path, "r");
    TLI_REQUIRE(file != NULL, TULLE_ERR_FILE, "the partition '%.120s' cannot be read: %s", path, strerror(errno));
    TLI_TRY(perf_graph_create(matrix, &scratch, &graph));
    TLI_TRY(tli_arena_alloc_raw(&scratch, graph.num_vertices, sizeof *part, &part));
    TLI_TRY(read_parts(file, path, graph.num_vertices, num_ranks, part));
    TLI_TRY(perf_partition_place(&graph, num_ranks, part, arena, partition_out));
done:
    if (file != NULL)
        fclose(file);
    tli_arena_release(&scratch);
    return st;
}

static int compare_columns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

tulle_status_t perf_matrix_permute(const perf_matrix_t *matrix, const perf_partition_t *partition, tli_arena_t *arena,
                                   perf_matrix_t *matrix_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t *row_ptr = NULL;
    int64_t *col_idx = NULL;
    TLI_TRY(tli_arena_alloc(arena, matrix->rows + 1, sizeof *row_ptr, &row_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, matrix->nnz, sizeof *col_idx, &col_idx));
    for (int64_t row = 0; row < matrix->rows; row++)
        row_ptr[partition->new_row[row] + 1] = matrix->row_ptr[row + 1] - matrix->row_ptr[row];
    for (int64_t row = 0; row < matrix->rows; row++)
        row_ptr[row + 1] += row_ptr[row];
    for (int64_t row = 0; row < matrix->rows; row++) {
        int64_t count = matrix->row_ptr[row + 1] - matrix->row_ptr[row];
        int64_t *columns = col_idx + row_ptr[partition->new_row[row]];
        for (int64_t k = 0; k < count; k++)
            columns[k] = partition->new_col[matrix->col_idx[matrix->row_ptr[row] + k]];
        qsort(columns, (size_t)count, sizeof *columns, compare_columns);
    }
    *matrix_out = (perf_matrix_t){matrix->rows, matrix->cols, matrix->nnz, row_ptr, col_idx, NULL};
done:
    return st;
}
