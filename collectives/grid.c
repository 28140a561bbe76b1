/* SPDX-License-Identifier: Apache-2.0
 * Pattern of a structured halo: the shell around a box, wrapped where the grid is periodic. */
#include "collectives/pattern.h"
#include "src/agree.h"

/* A two-dimensional grid is a three-dimensional one of a single layer whose stencil stays in the layer. */
typedef struct box {
    int64_t dims[3], lo[3], hi[3];
    int periodic[3];
    int is_star;  /* 5 and 7 points: along the axes only */
    int depth[3]; /* 1 on the axes of the stencil */
} box_t;

static int is_known_stencil(int num_dims, int stencil)
{
    return num_dims == 2 ? stencil == 5 || stencil == 9 : stencil == 7 || stencil == 27;
}

static tulle_status_t check_axis(const tulle_grid_t *grid, int axis, box_t *box)
{
    tulle_status_t st = TULLE_OK;
    int64_t n = grid->dims[axis], lo = grid->lo[axis], hi = grid->hi[axis];
    TLI_REQUIRE(n >= 1, TULLE_ERR_ARG, "dims[%d] is %lld, must be at least 1", axis, (long long)n);
    TLI_REQUIRE(lo >= 0 && lo <= hi && hi <= n, TULLE_ERR_ARG,
                "the box is [%lld, %lld) on axis %d, the grid is [0, %lld)", (long long)lo, (long long)hi, axis,
                (long long)n);
    box->dims[axis] = n;
    box->lo[axis] = lo;
    box->hi[axis] = hi;
    box->periodic[axis] = grid->periodic[axis] != 0;
    box->depth[axis] = 1;
done:
    return st;
}

static tulle_status_t check_grid(const tulle_grid_t *grid, box_t *box)
{
    tulle_status_t st = TULLE_OK;
    *box = (box_t){{1, 1, 1}, {0, 0, 0}, {1, 1, 1}, {0, 0, 0}, 0, {0, 0, 0}};
    TLI_REQUIRE(grid != NULL, TULLE_ERR_ARG, "the grid is NULL");
    TLI_REQUIRE(grid->num_dims == 2 || grid->num_dims == 3, TULLE_ERR_ARG, "num_dims is %d, must be 2 or 3",
                (int)grid->num_dims);
    TLI_REQUIRE(is_known_stencil(grid->num_dims, grid->stencil), TULLE_ERR_ARG,
                "a stencil of %d points in %d dimensions: give 5 or 9 in two, 7 or 27 in three", (int)grid->stencil,
                (int)grid->num_dims);
    for (int axis = 0; axis < grid->num_dims; axis++)
        TLI_TRY(check_axis(grid, axis, box));
    TLI_REQUIRE(box->dims[1] < TLI_MAX_ID / box->dims[0] && box->dims[2] < TLI_MAX_ID / (box->dims[0] * box->dims[1]),
                TULLE_ERR_OVERFLOW, "%lld x %lld x %lld cells are more than 2^62", (long long)box->dims[0],
                (long long)box->dims[1], (long long)box->dims[2]);
    box->is_star = grid->stencil == 5 || grid->stencil == 7;
done:
    return st;
}

static int64_t num_cells(const box_t *box)
{
    return (box->hi[0] - box->lo[0]) * (box->hi[1] - box->lo[1]) * (box->hi[2] - box->lo[2]);
}

static int64_t cell_id(const box_t *box, int64_t x, int64_t y, int64_t z)
{
    return x + box->dims[0] * (y + box->dims[1] * z);
}

/* One run per line of the box. */
static tulle_status_t list_lines(const box_t *box, tli_arena_t *arena, tli_runs_t *runs)
{
    tulle_status_t st = TULLE_OK;
    int64_t line = box->hi[0] - box->lo[0];
    int64_t num_lines = num_cells(box) > 0 ? num_cells(box) / line : 0;
    TLI_TRY(tli_arena_alloc_raw(arena, num_lines, 3 * sizeof *runs->words, &runs->words));
    for (int64_t z = box->lo[2]; num_lines > 0 && z < box->hi[2]; z++) {
        for (int64_t y = box->lo[1]; y < box->hi[1]; y++) {
            int64_t *run = runs->words + 3 * runs->num;
            run[0] = cell_id(box, box->lo[0], y, z);
            run[1] = line;
            run[2] = line * runs->num++;
        }
    }
done:
    return st;
}

/* Position on an axis after wrapping; -1 beyond a wall. */
static int64_t wrap(const box_t *box, int axis, int64_t position)
{
    int64_t n = box->dims[axis];
    if (position >= 0 && position < n)
        return position;
    return box->periodic[axis] ? (position + n) % n : -1;
}

static int is_outside(const box_t *box, int axis, int64_t position)
{
    return position < box->lo[axis] || position >= box->hi[axis];
}

/* The cells of one line of the shell; inner lines contribute their two ends only. */
static int64_t add_shell_line(const box_t *box, int64_t y, int64_t z, int64_t *ids)
{
    int num_outside = is_outside(box, 1, y) + is_outside(box, 2, z);
    int64_t wrapped_y = wrap(box, 1, y), wrapped_z = wrap(box, 2, z), n = 0;
    if (wrapped_y < 0 || wrapped_z < 0 || (box->is_star && num_outside > 1))
        return 0;
    int64_t overhang = box->is_star && num_outside > 0 ? 0 : 1;
    int64_t last = box->hi[0] - 1 + overhang;
    for (int64_t x = box->lo[0] - overhang; x <= last; x = num_outside == 0 && x < last ? last : x + 1) {
        int64_t wrapped_x = wrap(box, 0, x);
        if (wrapped_x >= 0)
            ids[n++] = cell_id(box, wrapped_x, wrapped_y, wrapped_z);
    }
    return n;
}

static tulle_status_t list_shell(const box_t *box, const tli_runs_t *own, tli_arena_t *arena, int64_t **ghosts_out,
                                 int64_t *num_ghosts_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t extent[3];
    for (int axis = 0; axis < 3; axis++)
        extent[axis] = box->hi[axis] - box->lo[axis] + 2 * box->depth[axis];
    TLI_REQUIRE(extent[1] < TLI_MAX_ID / extent[0] && extent[2] < TLI_MAX_ID / (extent[0] * extent[1]),
                TULLE_ERR_OVERFLOW, "the box and its neighbours are %lld x %lld x %lld cells, more than 2^62",
                (long long)extent[0], (long long)extent[1], (long long)extent[2]);
    /* All lines of the enlarged box that are outside on y or z, and two ends of those that are not. */
    int64_t inner_lines = (extent[1] - 2 * box->depth[1]) * (extent[2] - 2 * box->depth[2]);
    int64_t capacity = extent[0] * (extent[1] * extent[2] - inner_lines) + 2 * inner_lines;
    int64_t *ids = NULL, n = 0;
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof *ids, &ids));
    for (int64_t z = box->lo[2] - box->depth[2]; z < box->hi[2] + box->depth[2]; z++)
        for (int64_t y = box->lo[1] - box->depth[1]; y < box->hi[1] + box->depth[1]; y++)
            n += add_shell_line(box, y, z, ids + n);
    TLI_TRY(tli_distinct_ids(arena, ids, n, NULL, ghosts_out, num_ghosts_out));
    *num_ghosts_out = tli_drop_own_ids(*ghosts_out, *num_ghosts_out, own);
done:
    return st;
}

/* The same grid everywhere, and as many cells in boxes as in the grid: with no overlap that leaves no gap. */
static tulle_status_t check_tiling(tulle_comm_t *comm, tulle_status_t local, const box_t *box)
{
    tulle_status_t st = tli_agree(comm->mpi, local);
    int64_t covered = 0, mine = 0;
    for (int axis = 0; st == TULLE_OK && axis < 3; axis++) {
        st = tli_agree_equal(comm->mpi, box->dims[axis], "the dims of the grid");
        if (st == TULLE_OK)
            st = tli_agree_equal(comm->mpi, box->periodic[axis] + 2 * box->depth[axis] + 4 * box->is_star,
                                 "the stencil or the periodic axes of the grid");
    }
    if (st == TULLE_OK) {
        mine = num_cells(box);
        TLI_MPI(MPI_Allreduce(&mine, &covered, 1, MPI_INT64_T, MPI_SUM, comm->mpi));
        int64_t wanted = box->dims[0] * box->dims[1] * box->dims[2];
        TLI_REQUIRE(covered == wanted, TULLE_ERR_ARG,
                    "the boxes hold %lld cells but the grid has %lld: they must tile it", (long long)covered,
                    (long long)wanted);
    }
done:
    return st;
}

tulle_status_t tulle_pattern_create_from_grid(tulle_comm_t *comm, const tulle_grid_t *grid,
                                              tulle_pattern_t **pattern_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_runs_t own = {0, NULL};
    box_t box;
    int64_t *ghosts = NULL;
    int64_t num_ghosts = 0;
    TLI_TRY(tli_check_comm(comm));
    st = check_grid(grid, &box);
    TLI_TRY(check_tiling(comm, st, &box));
    st = list_lines(&box, &scratch, &own);
    if (st == TULLE_OK && num_cells(&box) > 0)
        st = list_shell(&box, &own, &scratch, &ghosts, &num_ghosts);
    st = tli_pattern_from_runs(comm, st, &own, num_cells(&box), ghosts, num_ghosts, pattern_out);
done:
    tli_arena_release(&scratch);
    return st;
}
