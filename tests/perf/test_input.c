/* SPDX-License-Identifier: Apache-2.0
 * Blocks, grid stencils against a search over all pairs of cells, and random matrices against one rank's own copy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/arena.h"
#include "tests/perf/world.h"

static void assert_blocks_tile(int64_t n, int num_ranks)
{
    int64_t next = 0;
    for (int rank = 0; rank < num_ranks; rank++) {
        int64_t first = -1;
        int64_t count = -1;
        perf_block(n, num_ranks, rank, &first, &count);
        assert_int_equal(first, next);
        assert_int_equal(count, n / num_ranks + (rank < n % num_ranks ? 1 : 0));
        if (count > 0) {
            assert_int_equal(perf_block_owner(n, num_ranks, first), rank);
            assert_int_equal(perf_block_owner(n, num_ranks, first + count - 1), rank);
        }
        next = first + count;
    }
    assert_int_equal(next, n);
}

static void test_block_tiles_all_ids_and_owner_is_its_inverse(void **state)
{
    static const int64_t large[] = {1000003, INT32_MAX, (int64_t)1 << 40, (int64_t)1 << 62, INT64_MAX};
    for (int num_ranks = 1; num_ranks <= 17; num_ranks++) {
        for (int64_t n = 0; n <= 60; n++)
            assert_blocks_tile(n, num_ranks);
        for (size_t k = 0; k < sizeof large / sizeof large[0]; k++)
            assert_blocks_tile(large[k], num_ranks);
    }
}

static void test_block_owner_of_every_id_holds_it(void **state)
{
    for (int num_ranks = 1; num_ranks <= 9; num_ranks++)
        for (int64_t n = 1; n <= 30; n++)
            for (int64_t id = 0; id < n; id++) {
                int64_t first = 0;
                int64_t count = 0;
                perf_block(n, num_ranks, perf_block_owner(n, num_ranks, id), &first, &count);
                assert_true(id >= first && id < first + count);
            }
}

/* Whether a step of -1, 0 or 1 leads from a to b. */
static int is_step(int64_t a, int64_t b, int64_t extent, int is_periodic)
{
    int found = 0;
    for (int step = -1; step <= 1; step++)
        found |= a + step == b || (is_periodic && (a + step + extent) % extent == b);
    return found;
}

/* Star: all axes but one must stay. Box: every axis may move by one. */
static int are_neighbours(const int *a, const int *b, const int64_t *dims, const int *periodic, int is_box)
{
    int num_moving = 0;
    for (int axis = 0; axis < 3; axis++) {
        if (!is_step(a[axis], b[axis], dims[axis], periodic[axis]))
            return 0;
        num_moving += a[axis] != b[axis];
    }
    return is_box || num_moving <= 1;
}

static void fill_table(const int64_t *dims, const int *periodic, int is_box, table_t *table)
{
    int num_cells = (int)(dims[0] * dims[1] * dims[2]);
    memset(table, 0, sizeof *table);
    assert_true(num_cells <= TABLE_MAX);
    table->rows = table->cols = num_cells;
    for (int i = 0; i < num_cells; i++)
        for (int j = 0; j < num_cells; j++) {
            int nx = (int)dims[0];
            int ny = (int)dims[1];
            int a[3] = {i % nx, i / nx % ny, i / nx / ny};
            int b[3] = {j % nx, j / nx % ny, j / nx / ny};
            table->place[i][j] = (unsigned char)are_neighbours(a, b, dims, periodic, is_box);
        }
}

static void assert_grid(const int64_t *dims, int num_dims, int stencil, const int *periodic)
{
    static table_t table;
    perf_input_t input = {0};
    assert_int_equal(perf_input_make_grid(MPI_COMM_WORLD, dims, num_dims, stencil, periodic, &input), TULLE_OK);
    fill_table(dims, periodic, stencil == 9 || stencil == 27, &table);
    assert_is_table(&input, &table);
    perf_input_release(&input);
}

static void test_grid_2d_is_the_stencil_by_search(void **state)
{
    static const int64_t extents[][2] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {3, 1},
                                         {3, 3}, {1, 7}, {2, 5}, {8, 8}, {7, 4}};
    for (size_t k = 0; k < sizeof extents / sizeof extents[0]; k++)
        for (int axes = 0; axes < 4; axes++) {
            const int64_t dims[3] = {extents[k][0], extents[k][1], 1};
            const int periodic[3] = {axes & 1, axes >> 1 & 1, 0};
            assert_grid(dims, 2, 5, periodic);
            assert_grid(dims, 2, 9, periodic);
        }
}

static void test_grid_3d_is_the_stencil_by_search(void **state)
{
    static const int64_t extents[][3] = {{1, 1, 1}, {2, 2, 2}, {1, 2, 3}, {3, 1, 2},
                                         {4, 4, 4}, {5, 3, 4}, {2, 1, 7}, {3, 3, 3}};
    for (size_t k = 0; k < sizeof extents / sizeof extents[0]; k++)
        for (int axes = 0; axes < 8; axes++) {
            const int periodic[3] = {axes & 1, axes >> 1 & 1, axes >> 2 & 1};
            assert_grid(extents[k], 3, 7, periodic);
            assert_grid(extents[k], 3, 27, periodic);
        }
}

static void test_grid_ignores_the_third_axis_in_2d_and_takes_no_periodic_axes(void **state)
{
    static const int64_t dims[3] = {6, 5, -7};
    static table_t table;
    perf_input_t input = {0};
    assert_int_equal(perf_input_make_grid(MPI_COMM_WORLD, dims, 2, 5, NULL, &input), TULLE_OK);
    fill_table((const int64_t[3]){6, 5, 1}, (const int[3]){0, 0, 0}, 0, &table);
    assert_is_table(&input, &table);
    assert_string_equal(input.name, "grid-6x5-5");
    perf_input_release(&input);
}

static void test_grid_name_tells_the_periodic_axes(void **state)
{
    perf_input_t input = {0};
    static const int64_t dims[3] = {4, 3, 2};
    static const int periodic[3] = {1, 0, 1};
    assert_int_equal(perf_input_make_grid(MPI_COMM_WORLD, dims, 3, 27, periodic, &input), TULLE_OK);
    assert_string_equal(input.name, "grid-4x3x2-27xz");
    perf_input_release(&input);
}

static void test_grid_bad_arguments_are_refused(void **state)
{
    static const struct {
        int64_t dims[3];
        int num_dims, stencil;
        tulle_status_t status;
    } cases[] = {
        {{4, 4, 4}, 2, 7, TULLE_ERR_ARG},
        {{4, 4, 4}, 3, 5, TULLE_ERR_ARG},
        {{4, 4, 4}, 1, 3, TULLE_ERR_ARG},
        {{4, 4, 4}, 4, 9, TULLE_ERR_ARG},
        {{0, 4, 4}, 2, 5, TULLE_ERR_ARG},
        {{4, 4, -1}, 3, 7, TULLE_ERR_ARG},
        {{INT64_MAX, 1, 1}, 2, 5, TULLE_ERR_OVERFLOW},
        {{(int64_t)1 << 31, (int64_t)1 << 31, 1}, 2, 5, TULLE_ERR_OVERFLOW},
        {{(int64_t)1 << 20, (int64_t)1 << 20, (int64_t)1 << 20}, 3, 7, TULLE_ERR_OVERFLOW},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        perf_input_t input = {0};
        assert_int_equal(
            perf_input_make_grid(MPI_COMM_WORLD, cases[k].dims, cases[k].num_dims, cases[k].stencil, NULL, &input),
            cases[k].status);
        assert_null(input.row_ptr);
    }
}

/* One rank's copy of the whole, made alone, is the reference for every number of ranks. */
static void assert_random_is_independent_of_ranks(int64_t rows, int64_t per_row, uint64_t seed)
{
    perf_input_t whole = {0};
    perf_input_t part = {0};
    assert_int_equal(perf_input_make_random(MPI_COMM_SELF, rows, per_row, seed, &whole), TULLE_OK);
    assert_int_equal(perf_input_make_random(MPI_COMM_WORLD, rows, per_row, seed, &part), TULLE_OK);
    assert_is_well_formed(&part);
    assert_int_equal(part.nnz, rows * (per_row < rows ? per_row : rows));
    assert_int_equal(part.nnz, whole.nnz);
    int64_t offset = whole.row_ptr[part.first_row];
    for (int64_t row = 0; row <= part.num_rows; row++)
        assert_int_equal(part.row_ptr[row] + offset, whole.row_ptr[part.first_row + row]);
    assert_memory_equal(part.col_idx, whole.col_idx + offset, (size_t)part.row_ptr[part.num_rows] * sizeof(int64_t));
    perf_input_release(&whole);
    perf_input_release(&part);
}

static void test_random_is_the_same_on_any_number_of_ranks(void **state)
{
    static const int64_t sizes[][2] = {{0, 0},  {0, 3},   {1, 0},   {1, 1},     {1, 9},     {2, 1},
                                       {50, 7}, {97, 97}, {97, 96}, {64, 1000}, {1000, 16}, {5, 2}};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++)
        for (uint64_t seed = 0; seed < 3; seed++)
            assert_random_is_independent_of_ranks(sizes[k][0], sizes[k][1], seed * UINT64_C(0x8000000000000001));
}

static void test_random_differs_between_seeds_and_rows(void **state)
{
    perf_input_t a = {0};
    perf_input_t b = {0};
    assert_int_equal(perf_input_make_random(MPI_COMM_SELF, 1000, 8, 1, &a), TULLE_OK);
    assert_int_equal(perf_input_make_random(MPI_COMM_SELF, 1000, 8, 2, &b), TULLE_OK);
    assert_string_equal(a.name, "random-1000x8");
    for (int64_t i = 0; i < 1000; i += 37)
        for (int64_t j = 0; j < 1000; j++) {
            assert_memory_not_equal(a.col_idx + 8 * i, b.col_idx + 8 * j, 8 * sizeof(int64_t));
            if (i != j)
                assert_memory_not_equal(a.col_idx + 8 * i, a.col_idx + 8 * j, 8 * sizeof(int64_t));
        }
    perf_input_release(&a);
    perf_input_release(&b);
}

/* Each of 10000 rows takes a column with probability per_row / 100: deviations of 20 and 40, bounds six times that.
 * Fixed seeds, so it never fails by chance. 80: rows that take most columns, where the sampling must avoid what it has.
 */
static void test_random_columns_are_even(void **state)
{
    static const int64_t per_row[] = {4, 80};
    static const int64_t bound[] = {120, 240};
    for (int k = 0; k < 2; k++) {
        int64_t counts[100] = {0};
        perf_input_t input = {0};
        for (uint64_t seed = 0; seed < 100; seed++) {
            assert_int_equal(perf_input_make_random(MPI_COMM_SELF, 100, per_row[k], seed, &input), TULLE_OK);
            for (int64_t e = 0; e < input.nnz; e++)
                counts[input.col_idx[e]]++;
            perf_input_release(&input);
        }
        for (int col = 0; col < 100; col++)
            assert_in_range(counts[col], 100 * per_row[k] - bound[k], 100 * per_row[k] + bound[k]);
    }
}

static void test_random_bad_arguments_are_refused(void **state)
{
    perf_input_t input = {0};
    assert_int_equal(perf_input_make_random(MPI_COMM_WORLD, -1, 3, 0, &input), TULLE_ERR_ARG);
    assert_int_equal(perf_input_make_random(MPI_COMM_WORLD, 3, -1, 0, &input), TULLE_ERR_ARG);
    assert_int_equal(perf_input_make_random(MPI_COMM_WORLD, INT64_MAX, 2, 0, &input), TULLE_ERR_OVERFLOW);
    assert_int_equal(perf_input_make_random(MPI_COMM_WORLD, INT64_MAX, INT64_MAX, 0, &input), TULLE_ERR_OVERFLOW);
    assert_null(input.row_ptr);
}

static tulle_status_t make(int is_random, perf_input_t *input)
{
    static const int64_t dims[3] = {9, 9, 1};
    return is_random ? perf_input_make_random(MPI_COMM_WORLD, 80, 9, 1, input)
                     : perf_input_make_grid(MPI_COMM_WORLD, dims, 2, 9, NULL, input);
}

/* On the last rank only: the others must fail with it and say whose fault it is. */
static void test_make_fails_on_all_ranks_when_an_allocation_fails_on_one(void **state)
{
    int64_t live = tli_alloc_live();
    for (int is_random = 0; is_random < 2; is_random++) {
        tulle_status_t st = TULLE_ERR_NOMEM;
        int64_t k = 0;
        for (k = 1; st != TULLE_OK; k++) {
            perf_input_t input = {0};
            int is_failing = world_rank() == world_size() - 1;
            tli_alloc_fail_at(is_failing ? k : 0);
            st = make(is_random, &input);
            tli_alloc_fail_at(0);
            assert_true(st == TULLE_OK || st == (is_failing ? TULLE_ERR_NOMEM : TULLE_ERR_REMOTE));
            assert_true((st == TULLE_OK) == (input.row_ptr != NULL));
            perf_input_release(&input);
            assert_int_equal(tli_alloc_live(), live);
        }
        assert_true(k > 2);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_tiles_all_ids_and_owner_is_its_inverse),
        cmocka_unit_test(test_block_owner_of_every_id_holds_it),
        cmocka_unit_test(test_grid_2d_is_the_stencil_by_search),
        cmocka_unit_test(test_grid_3d_is_the_stencil_by_search),
        cmocka_unit_test(test_grid_ignores_the_third_axis_in_2d_and_takes_no_periodic_axes),
        cmocka_unit_test(test_grid_name_tells_the_periodic_axes),
        cmocka_unit_test(test_grid_bad_arguments_are_refused),
        cmocka_unit_test(test_random_is_the_same_on_any_number_of_ranks),
        cmocka_unit_test(test_random_differs_between_seeds_and_rows),
        cmocka_unit_test(test_random_columns_are_even),
        cmocka_unit_test(test_random_bad_arguments_are_refused),
        cmocka_unit_test(test_make_fails_on_all_ranks_when_an_allocation_fails_on_one),
    };
    world_init(&argc, &argv);
    return world_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
