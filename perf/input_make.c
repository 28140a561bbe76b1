/* SPDX-License-Identifier: Apache-2.0
 * Matrices made on the spot: grid stencils and random ones. Every rank makes its own rows, without a message. */
#include "perf/input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/random.h"
#include "src/agree.h"
#include "src/fault.h"

#define MAX_STENCIL 27
#define MAX_ENTRIES ((int64_t)1 << 62)

typedef struct stencil_grid {
    int64_t dims[3];
    int is_periodic[3];
    int num_offsets;
    int offsets[MAX_STENCIL][3];
} stencil_grid_t;

/* Sorted insertion; a column that is there already is left alone. Returns the new count. */
static int insert_column(int64_t *columns, int count, int64_t column)
{
    int place = count;
    while (place > 0 && columns[place - 1] > column)
        place--;
    if (place > 0 && columns[place - 1] == column)
        return count;
    memmove(columns + place + 1, columns + place, (size_t)(count - place) * sizeof *columns);
    columns[place] = column;
    return count + 1;
}

static tulle_status_t check_grid(const int64_t *dims, int num_dims, int stencil)
{
    tulle_status_t st = TULLE_OK;
    int64_t room = MAX_ENTRIES / MAX_STENCIL;
    TLI_REQUIRE((num_dims == 2 && (stencil == 5 || stencil == 9)) || (num_dims == 3 && (stencil == 7 || stencil == 27)),
                TULLE_ERR_ARG, "no stencil of %d points in %d dimensions: 5 or 9 in 2, 7 or 27 in 3", stencil,
                num_dims);
    for (int axis = 0; axis < num_dims; axis++) {
        TLI_REQUIRE(dims[axis] >= 1, TULLE_ERR_ARG, "axis %d has %lld cells", axis, (long long)dims[axis]);
        TLI_REQUIRE(dims[axis] <= room, TULLE_ERR_OVERFLOW, "the grid has too many cells");
        room /= dims[axis];
    }
done:
    return st;
}

static void list_offsets(int num_dims, int stencil, stencil_grid_t *grid)
{
    int is_box = stencil == 9 || stencil == 27;
    int depth = num_dims == 3;
    for (int z = -depth; z <= depth; z++)
        for (int y = -1; y <= 1; y++)
            for (int x = -1; x <= 1; x++)
                if (is_box || abs(x) + abs(y) + abs(z) <= 1) {
                    int *offset = grid->offsets[grid->num_offsets++];
                    offset[0] = x;
                    offset[1] = y;
                    offset[2] = z;
                }
}

static tulle_status_t describe_grid(const int64_t *dims, int num_dims, int stencil, const int *periodic,
                                    stencil_grid_t *grid)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(check_grid(dims, num_dims, stencil));
    for (int axis = 0; axis < 3; axis++) {
        grid->dims[axis] = axis < num_dims ? dims[axis] : 1;
        grid->is_periodic[axis] = axis < num_dims && periodic != NULL && periodic[axis];
    }
    list_offsets(num_dims, stencil, grid);
done:
    return st;
}

/* The cell at an offset, or -1 beyond an edge. */
static int64_t neighbour(const stencil_grid_t *grid, int64_t cell, const int *offset)
{
    int64_t id = 0;
    int64_t stride = 1;
    for (int axis = 0; axis < 3; axis++) {
        int64_t extent = grid->dims[axis];
        int64_t place = cell % extent + offset[axis];
        if (place < 0 || place >= extent) {
            if (!grid->is_periodic[axis])
                return -1;
            place = (place + extent) % extent;
        }
        id += stride * place;
        stride *= extent;
        cell /= extent;
    }
    return id;
}

static int fill_grid_row(const stencil_grid_t *grid, int64_t cell, int64_t *columns)
{
    int count = 0;
    for (int k = 0; k < grid->num_offsets; k++) {
        int64_t id = neighbour(grid, cell, grid->offsets[k]);
        if (id >= 0)
            count = insert_column(columns, count, id);
    }
    return count;
}

/* "grid-64x64x8-27xy": periodic along x and y. */
static void name_grid(const stencil_grid_t *grid, int num_dims, char *name, size_t size)
{
    char depth[24] = "";
    char axes[4] = "";
    if (num_dims == 3)
        snprintf(depth, sizeof depth, "x%lld", (long long)grid->dims[2]);
    for (int axis = 0; axis < 3; axis++)
        if (grid->is_periodic[axis])
            axes[strlen(axes)] = "xyz"[axis];
    snprintf(name, size, "grid-%lldx%lld%s-%d%s", (long long)grid->dims[0], (long long)grid->dims[1], depth,
             grid->num_offsets, axes);
}

static tulle_status_t fill_grid(MPI_Comm comm, const stencil_grid_t *grid, perf_input_t *input)
{
    tulle_status_t st = TULLE_OK;
    int64_t cells = grid->dims[0] * grid->dims[1] * grid->dims[2];
    TLI_TRY(perf_input_init(comm, cells, cells, input));
    /* Room for full rows: those at an edge are few. */
    TLI_TRY(tli_arena_alloc_raw(&input->arena, input->num_rows * grid->num_offsets, sizeof(int64_t), &input->col_idx));
    for (int64_t row = 0; row < input->num_rows; row++) {
        int64_t start = input->row_ptr[row];
        input->row_ptr[row + 1] = start + fill_grid_row(grid, input->first_row + row, input->col_idx + start);
    }
done:
    return st;
}

tulle_status_t perf_input_finish(MPI_Comm comm, tulle_status_t local, perf_input_t *input, perf_input_t *input_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_agree(comm, local));
    TLI_MPI(MPI_Allreduce(&input->row_ptr[input->num_rows], &input->nnz, 1, MPI_INT64_T, MPI_SUM, comm));
    tli_arena_seal(&input->arena);
    *input_out = *input;
    memset(input, 0, sizeof *input);
done:
    perf_input_release(input);
    return st;
}

tulle_status_t perf_input_make_grid(MPI_Comm comm, const int64_t dims[3], int num_dims, int stencil,
                                    const int periodic[3], perf_input_t *input_out)
{
    stencil_grid_t grid = {0};
    perf_input_t input = {0};
    tulle_status_t st = describe_grid(dims, num_dims, stencil, periodic, &grid);
    if (st == TULLE_OK)
        st = fill_grid(comm, &grid, &input);
    name_grid(&grid, num_dims, input.name, sizeof input.name);
    return perf_input_finish(comm, st, &input, input_out);
}

/* Distinct columns of a row, in a table of open addressing with at least half of its places free. */
typedef struct column_set {
    int64_t *places;
    int64_t num_places; /* a power of two */
} column_set_t;

/* Returns 0 when the column is in the set already. */
static int add_column(const column_set_t *set, int64_t column)
{
    uint64_t seed = (uint64_t)column;
    uint64_t place = perf_random_next(&seed) & (uint64_t)(set->num_places - 1);
    while (set->places[place] >= 0 && set->places[place] != column)
        place = (place + 1) & (uint64_t)(set->num_places - 1);
    if (set->places[place] == column)
        return 0;
    set->places[place] = column;
    return 1;
}

static int compare_columns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* @see Bentley, Floyd, Communications of the ACM 30(9), 1987, doi:10.1145/30401.315746 (sampling without repetition) */
static void fill_random_row(uint64_t seed, int64_t row, int64_t cols, int64_t count, const column_set_t *set,
                            int64_t *columns)
{
    /* Hashed twice: neither rows next to each other nor seeds next to each other share a stretch of the sequence. */
    uint64_t state = perf_random_next(&seed) ^ (uint64_t)row;
    state = perf_random_next(&state);
    memset(set->places, -1, (size_t)set->num_places * sizeof *set->places);
    for (int64_t k = 0; k < count; k++) {
        int64_t last = cols - count + k;
        int64_t column = perf_random_below(&state, last + 1);
        if (!add_column(set, column)) {
            column = last;
            add_column(set, last);
        }
        columns[k] = column;
    }
    qsort(columns, (size_t)count, sizeof *columns, compare_columns);
}

static tulle_status_t fill_random(MPI_Comm comm, int64_t rows, int64_t per_row, uint64_t seed, perf_input_t *input)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    column_set_t set = {NULL, 1};
    TLI_REQUIRE(per_row == 0 || rows <= MAX_ENTRIES / per_row, TULLE_ERR_OVERFLOW,
                "%lld rows of %lld entries are too many", (long long)rows, (long long)per_row);
    while (set.num_places < 2 * per_row)
        set.num_places *= 2;
    TLI_TRY(perf_input_init(comm, rows, rows, input));
    TLI_TRY(tli_arena_alloc_raw(&input->arena, input->num_rows * per_row, sizeof(int64_t), &input->col_idx));
    TLI_TRY(tli_arena_alloc_raw(&scratch, set.num_places, sizeof(int64_t), &set.places));
    for (int64_t row = 0; row < input->num_rows; row++) {
        input->row_ptr[row + 1] = (row + 1) * per_row;
        fill_random_row(seed, input->first_row + row, rows, per_row, &set, input->col_idx + row * per_row);
    }
done:
    tli_arena_release(&scratch);
    return st;
}

tulle_status_t perf_input_make_random(MPI_Comm comm, int64_t rows, int64_t nnz_per_row, uint64_t seed,
                                      perf_input_t *input_out)
{
    tulle_status_t st = TULLE_OK;
    perf_input_t input = {0};
    TLI_REQUIRE(rows >= 0 && nnz_per_row >= 0, TULLE_ERR_ARG, "%lld rows of %lld entries", (long long)rows,
                (long long)nnz_per_row);
    nnz_per_row = nnz_per_row < rows ? nnz_per_row : rows;
    TLI_TRY(fill_random(comm, rows, nnz_per_row, seed, &input));
    snprintf(input.name, sizeof input.name, "random-%lldx%lld", (long long)rows, (long long)nnz_per_row);
done:
    return perf_input_finish(comm, st, &input, input_out);
}

/* Row r names the ranks after r, ascending: those that wrapped around come first. */
static tulle_status_t fill_ring(MPI_Comm comm, int64_t num_neighbors, perf_input_t *input)
{
    tulle_status_t st = TULLE_OK;
    int size = 0;
    MPI_Comm_size(comm, &size);
    TLI_TRY(perf_input_init(comm, size, size, input));
    TLI_TRY(tli_arena_alloc_raw(&input->arena, num_neighbors, sizeof(int64_t), &input->col_idx));
    int64_t count = 0, last = input->first_row + num_neighbors;
    for (int64_t column = 0; column <= last - size; column++)
        input->col_idx[count++] = column;
    for (int64_t column = input->first_row + 1; column <= last && column < size; column++)
        input->col_idx[count++] = column;
    input->row_ptr[1] = count;
done:
    return st;
}

tulle_status_t perf_input_make_neighbors(MPI_Comm comm, int64_t num_neighbors, perf_input_t *input_out)
{
    tulle_status_t st = TULLE_OK;
    perf_input_t input = {0};
    int size = 0;
    MPI_Comm_size(comm, &size);
    TLI_REQUIRE(num_neighbors >= 0, TULLE_ERR_ARG, "%lld neighbors", (long long)num_neighbors);
    num_neighbors = num_neighbors < size ? num_neighbors : size - 1;
    TLI_TRY(fill_ring(comm, num_neighbors, &input));
    snprintf(input.name, sizeof input.name, "neighbors-%lld", (long long)num_neighbors);
done:
    return perf_input_finish(comm, st, &input, input_out);
}
