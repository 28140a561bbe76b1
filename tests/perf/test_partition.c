/* SPDX-License-Identifier: Apache-2.0
 * Partitions against tables: the graph of a matrix, what crosses, sizes that fit, and orders that are permutations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "perf/input_whole.h"
#include "perf/partition.h"
#include "perf/partition_input.h"
#include "tests/perf/world.h"

#define MAX_SIDE 40

/* A small matrix as a table and as CSR. */
typedef struct sample {
    int rows, cols;
    unsigned char place[MAX_SIDE][MAX_SIDE];
    int64_t row_ptr[MAX_SIDE + 1];
    int64_t col_idx[MAX_SIDE * MAX_SIDE];
    perf_matrix_t matrix;
} sample_t;

static uint64_t state = 1;

static int below(int n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int)((state >> 33) % (uint64_t)n);
}

static void compress(sample_t *sample)
{
    int64_t nnz = 0;
    for (int i = 0; i < sample->rows; i++) {
        for (int j = 0; j < sample->cols; j++)
            if (sample->place[i][j])
                sample->col_idx[nnz++] = j;
        sample->row_ptr[i + 1] = nnz;
    }
    sample->matrix = (perf_matrix_t){sample->rows, sample->cols, nnz, sample->row_ptr, sample->col_idx, NULL};
}

static void make_random(sample_t *sample, int is_square)
{
    memset(sample, 0, sizeof *sample);
    sample->rows = 1 + below(MAX_SIDE);
    sample->cols = is_square ? sample->rows : 1 + below(MAX_SIDE);
    int entries = below(3 * sample->rows);
    for (int e = 0; e < entries; e++)
        sample->place[below(sample->rows)][below(sample->cols)] = 1;
    compress(sample);
}

/* Whether vertex v asks for vertex u: v is a row with an entry in column u. */
static int asks(const sample_t *sample, const perf_graph_t *graph, int64_t v, int64_t u)
{
    int64_t first_col = graph->num_classes == 2 ? sample->rows : 0;
    return v != u && v < sample->rows && u >= first_col && sample->place[v][u - first_col];
}

static void test_graph_has_an_edge_for_every_entry(void **state_)
{
    for (int trial = 0; trial < 200; trial++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        sample_t sample;
        perf_graph_t graph;
        make_random(&sample, trial % 2);
        assert_int_equal(perf_graph_create(&sample.matrix, &arena, &graph), TULLE_OK);
        assert_int_equal(graph.num_vertices, graph.num_classes == 2 ? sample.rows + sample.cols : sample.rows);
        for (int64_t v = 0; v < graph.num_vertices; v++) {
            int64_t k = graph.adj_ptr[v];
            for (int64_t u = 0; u < graph.num_vertices; u++) {
                if (!asks(&sample, &graph, u, v) && !asks(&sample, &graph, v, u))
                    continue;
                assert_true(k < graph.adj_ptr[v + 1]);
                assert_int_equal(graph.adj[k], u);
                assert_int_equal(graph.is_asked[k++], asks(&sample, &graph, u, v));
            }
            assert_int_equal(k, graph.adj_ptr[v + 1]);
        }
        tli_arena_release(&arena);
    }
}

/* Pairs of a vertex and a part that asks for it and is not its own, one pair at a time. */
static int64_t count_volume(const sample_t *sample, const perf_graph_t *graph, const int *part, int num_parts)
{
    int64_t volume = 0;
    for (int64_t v = 0; v < graph->num_vertices; v++)
        for (int p = 0; p < num_parts; p++) {
            int is_asked = 0;
            for (int64_t u = 0; u < graph->num_vertices; u++)
                is_asked |= part[u] == p && asks(sample, graph, u, v);
            volume += is_asked && part[v] != p;
        }
    return volume;
}

static void test_graph_volume_counts_each_asking_part_once(void **state_)
{
    for (int trial = 0; trial < 200; trial++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        sample_t sample;
        perf_graph_t graph;
        int part[2 * MAX_SIDE];
        int64_t scratch[5];
        int num_parts = 1 + below(5);
        make_random(&sample, trial % 2);
        assert_int_equal(perf_graph_create(&sample.matrix, &arena, &graph), TULLE_OK);
        for (int64_t v = 0; v < graph.num_vertices; v++)
            part[v] = below(num_parts);
        assert_int_equal(perf_graph_volume(&graph, part, num_parts, scratch),
                         count_volume(&sample, &graph, part, num_parts));
        tli_arena_release(&arena);
    }
}

/* Vertices of each class in a part must be what a block holds. */
static void assert_fits(const perf_graph_t *graph, const int *part, int num_parts)
{
    for (int c = 0; c < graph->num_classes; c++)
        for (int p = 0; p < num_parts; p++) {
            int64_t first, count;
            perf_block(graph->class_ptr[c + 1] - graph->class_ptr[c], num_parts, p, &first, &count);
            for (int64_t v = graph->class_ptr[c]; v < graph->class_ptr[c + 1]; v++)
                count -= part[v] == p;
            assert_int_equal(count, 0);
        }
}

static void test_partition_place_fills_every_block_and_moves_no_more_than_it_must(void **state_)
{
    for (int trial = 0; trial < 200; trial++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        sample_t sample;
        perf_graph_t graph;
        perf_partition_t placed;
        int part[2 * MAX_SIDE], given[2 * MAX_SIDE];
        int num_ranks = 1 + below(6);
        int64_t changed = 0;
        int64_t excess = 0;
        make_random(&sample, trial % 2);
        assert_int_equal(perf_graph_create(&sample.matrix, &arena, &graph), TULLE_OK);
        for (int64_t v = 0; v < graph.num_vertices; v++)
            given[v] = part[v] = below(num_ranks);
        assert_int_equal(perf_partition_place(&graph, num_ranks, part, &arena, &placed), TULLE_OK);
        assert_fits(&graph, part, num_ranks);
        for (int64_t v = 0; v < graph.num_vertices; v++)
            changed += part[v] != given[v];
        for (int c = 0; c < graph.num_classes; c++)
            for (int p = 0; p < num_ranks; p++) {
                int64_t first, count;
                perf_block(graph.class_ptr[c + 1] - graph.class_ptr[c], num_ranks, p, &first, &count);
                for (int64_t v = graph.class_ptr[c]; v < graph.class_ptr[c + 1]; v++)
                    count -= given[v] == p;
                excess += count < 0 ? -count : 0;
            }
        assert_int_equal(changed, excess);
        assert_int_equal(placed.num_moved, excess);
        tli_arena_release(&arena);
    }
}

/* New ids are a permutation, and the block of a new id is the part that was asked for. */
static void test_partition_place_is_a_permutation_into_the_parts(void **state_)
{
    for (int trial = 0; trial < 100; trial++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        sample_t sample;
        perf_graph_t graph;
        perf_partition_t placed;
        perf_matrix_t permuted;
        int part[2 * MAX_SIDE];
        int num_ranks = 1 + below(6);
        make_random(&sample, trial % 2);
        assert_int_equal(perf_graph_create(&sample.matrix, &arena, &graph), TULLE_OK);
        for (int64_t v = 0; v < graph.num_vertices; v++)
            part[v] = below(num_ranks);
        assert_int_equal(perf_partition_place(&graph, num_ranks, part, &arena, &placed), TULLE_OK);
        for (int i = 0; i < sample.rows; i++)
            assert_int_equal(perf_block_owner(sample.rows, num_ranks, placed.new_row[i]), part[i]);
        int64_t first_col = graph.num_classes == 2 ? sample.rows : 0;
        for (int j = 0; j < sample.cols; j++)
            assert_int_equal(perf_block_owner(sample.cols, num_ranks, placed.new_col[j]), part[first_col + j]);
        assert_int_equal(perf_matrix_permute(&sample.matrix, &placed, &arena, &permuted), TULLE_OK);
        assert_int_equal(permuted.nnz, sample.matrix.nnz);
        for (int i = 0; i < sample.rows; i++) {
            int64_t k = permuted.row_ptr[placed.new_row[i]];
            int64_t end = permuted.row_ptr[placed.new_row[i] + 1];
            assert_int_equal(end - k, sample.row_ptr[i + 1] - sample.row_ptr[i]);
            for (; k < end; k++) {
                int is_there = 0;
                for (int j = 0; j < sample.cols; j++)
                    is_there |= sample.place[i][j] && placed.new_col[j] == permuted.col_idx[k];
                assert_true(is_there);
                assert_true(k + 1 == end || permuted.col_idx[k] < permuted.col_idx[k + 1]);
            }
        }
        tli_arena_release(&arena);
    }
}

/* Four rings whose vertices take turns: block order cuts every edge, the best order none. */
static void test_partition_by_metis_finds_components(void **state_)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    sample_t sample = {.rows = 40, .cols = 40};
    tulle_topology_t *topology = NULL;
    perf_partition_t partition;
    if (!perf_partition_has_metis())
        skip();
    for (int i = 0; i < 40; i++)
        sample.place[i][(i + 4) % 40] = sample.place[(i + 4) % 40][i] = 1;
    compress(&sample);
    assert_int_equal(tulle_topology_parse("2x2", 4, &topology), TULLE_OK);
    assert_int_equal(perf_partition_by_metis(&sample.matrix, topology, &arena, &partition), TULLE_OK);
    for (int i = 0; i < 40; i++)
        assert_int_equal(perf_block_owner(40, 4, partition.new_row[i]),
                         perf_block_owner(40, 4, partition.new_row[i % 4]));
    tulle_topology_destroy(&topology);
    tli_arena_release(&arena);
}

/* Rows and columns of a rectangular matrix of diagonal blocks, shuffled: none must cross. */
static void test_partition_by_metis_of_a_rectangular_matrix_brings_rows_to_their_columns(void **state_)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    sample_t sample = {.rows = 24, .cols = 40};
    tulle_topology_t *topology = NULL;
    perf_partition_t partition;
    if (!perf_partition_has_metis())
        skip();
    for (int i = 0; i < 24; i++)
        for (int j = 0; j < 40; j++)
            sample.place[i][j] = i % 2 == j % 2;
    compress(&sample);
    assert_int_equal(tulle_topology_parse("2x1", 2, &topology), TULLE_OK);
    assert_int_equal(perf_partition_by_metis(&sample.matrix, topology, &arena, &partition), TULLE_OK);
    for (int i = 0; i < 24; i++)
        for (int j = 0; j < 40; j++)
            if (sample.place[i][j])
                assert_int_equal(perf_block_owner(24, 2, partition.new_row[i]),
                                 perf_block_owner(40, 2, partition.new_col[j]));
    tulle_topology_destroy(&topology);
    tli_arena_release(&arena);
}

/* Between nodes never more rows than in block order, whatever the matrix and the machine. */
static void test_partition_by_metis_is_never_worse_than_block_order(void **state_)
{
    static const char *const texts[] = {"2x2", "3,1,2", "2x2x2", "4x1:cyclic", "1x3"};
    if (!perf_partition_has_metis())
        skip();
    for (int trial = 0; trial < 100; trial++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        sample_t sample;
        perf_graph_t graph;
        tulle_topology_t *topology = NULL;
        perf_partition_t partition;
        int before[2 * MAX_SIDE], after[2 * MAX_SIDE];
        int64_t scratch[8];
        make_random(&sample, trial % 2);
        assert_int_equal(perf_graph_create(&sample.matrix, &arena, &graph), TULLE_OK);
        assert_int_equal(tulle_topology_parse(texts[trial % 5], 0, &topology), TULLE_OK);
        int num_ranks = tulle_topology_num_ranks(topology);
        assert_int_equal(perf_partition_by_metis(&sample.matrix, topology, &arena, &partition), TULLE_OK);
        for (int64_t v = 0; v < graph.num_vertices; v++) {
            int is_row = v < graph.class_ptr[1];
            int64_t num = is_row ? sample.rows : sample.cols;
            int64_t old = is_row ? v : v - sample.rows;
            int64_t new = is_row ? partition.new_row[old] : partition.new_col[old];
            before[v] = tulle_topology_group(topology, 0, perf_block_owner(num, num_ranks, old));
            after[v] = tulle_topology_group(topology, 0, perf_block_owner(num, num_ranks, new));
        }
        assert_true(perf_graph_volume(&graph, after, num_ranks, scratch) <=
                    perf_graph_volume(&graph, before, num_ranks, scratch));
        tulle_topology_destroy(&topology);
        tli_arena_release(&arena);
    }
}

static void test_partition_read_refuses_what_is_no_partition(void **state_)
{
    static const char *const texts[] = {"0 1 0", "0 1 0 1 0", "0 1 0 2", "0 1 0 -1", "0 1 x 1", ""};
    tli_arena_t arena = TLI_ARENA_INIT;
    sample_t sample = {.rows = 4, .cols = 4};
    perf_partition_t partition;
    if (world_rank() != 0)
        skip();
    compress(&sample);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const char *path = world_write("parts", texts[i], strlen(texts[i]));
        assert_int_equal(perf_partition_read(&sample.matrix, path, 2, &arena, &partition), TULLE_ERR_FILE);
    }
    assert_int_equal(perf_partition_read(&sample.matrix, world_path("none"), 2, &arena, &partition), TULLE_ERR_FILE);
    assert_int_equal(perf_partition_read(&sample.matrix, world_write("parts", "1 0\n1\n0\n", 8), 2, &arena, &partition),
                     TULLE_OK);
    static const int64_t expected[] = {2, 0, 3, 1};
    assert_memory_equal(partition.new_row, expected, sizeof expected);
    tli_arena_release(&arena);
}

/* Dealt out by a file that reverses the ranks, twice: entries stay what they are, seen through the new order. */
static void test_partition_input_renumbers_on_all_ranks(void **state_)
{
    int64_t dims[3] = {12, 5, 1};
    perf_input_t input = {0};
    perf_partitioned_t done;
    tulle_topology_t *topology = NULL;
    char text[32];
    char numbers[60 * 16] = "";
    snprintf(text, sizeof text, "%dx1", world_size());
    assert_int_equal(tulle_topology_parse(text, world_size(), &topology), TULLE_OK);
    assert_int_equal(perf_input_make_grid(MPI_COMM_WORLD, dims, 2, 5, NULL, &input), TULLE_OK);
    for (int row = 0; row < 60; row++)
        snprintf(numbers + strlen(numbers), 16, "%d\n", row % world_size());
    const char *path = world_write("parts", numbers, strlen(numbers));
    assert_int_equal(perf_partition_input(MPI_COMM_WORLD, path, topology, &input, &done), TULLE_OK);
    assert_is_well_formed(&input);
    assert_int_equal(input.rows, 60);
    for (int64_t i = 0; i < input.num_rows; i++) {
        int64_t cell = i * world_size() + world_rank(); /* what a rank had of every world_size() rows, in order */
        int64_t degree = 1 + (cell % 12 > 0) + (cell % 12 < 11) + (cell >= 12) + (cell < 48);
        assert_int_equal(input.row_ptr[i + 1] - input.row_ptr[i], degree);
        for (int64_t k = input.row_ptr[i]; k < input.row_ptr[i + 1]; k++) {
            int owner = perf_block_owner(60, world_size(), input.col_idx[k]);
            int64_t first, count;
            perf_block(60, world_size(), owner, &first, &count);
            int64_t other = (input.col_idx[k] - first) * world_size() + owner;
            int64_t apart = other > cell ? other - cell : cell - other;
            assert_true(apart == 0 || apart == 12 || (apart == 1 && other / 12 == cell / 12));
        }
    }
    perf_input_release(&input);
    tulle_topology_destroy(&topology);
}

static void test_partition_input_bad_file_fails_on_every_rank(void **state_)
{
    int64_t dims[3] = {3, 3, 1};
    perf_input_t input = {0};
    perf_partitioned_t done;
    tulle_topology_t *topology = NULL;
    char text[32];
    snprintf(text, sizeof text, "1x%d", world_size());
    assert_int_equal(tulle_topology_parse(text, world_size(), &topology), TULLE_OK);
    assert_int_equal(perf_input_make_grid(MPI_COMM_WORLD, dims, 2, 5, NULL, &input), TULLE_OK);
    assert_failed_on_rank_0(
        TULLE_ERR_FILE, perf_partition_input(MPI_COMM_WORLD, world_write("parts", "0 0", 3), topology, &input, &done));
    assert_is_well_formed(&input);
    perf_input_release(&input);
    tulle_topology_destroy(&topology);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_graph_has_an_edge_for_every_entry),
        cmocka_unit_test(test_graph_volume_counts_each_asking_part_once),
        cmocka_unit_test(test_partition_place_fills_every_block_and_moves_no_more_than_it_must),
        cmocka_unit_test(test_partition_place_is_a_permutation_into_the_parts),
        cmocka_unit_test(test_partition_by_metis_finds_components),
        cmocka_unit_test(test_partition_by_metis_of_a_rectangular_matrix_brings_rows_to_their_columns),
        cmocka_unit_test(test_partition_by_metis_is_never_worse_than_block_order),
        cmocka_unit_test(test_partition_read_refuses_what_is_no_partition),
        cmocka_unit_test(test_partition_input_renumbers_on_all_ranks),
        cmocka_unit_test(test_partition_input_bad_file_fails_on_every_rank),
    };
    world_init(&argc, &argv);
    return world_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
