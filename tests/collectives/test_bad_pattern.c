/* SPDX-License-Identifier: Apache-2.0
 * Misuse of pattern creation, on one rank and on all: every rank gets a status, the failing one words with the
 * offending values, the others its number; nothing hangs, and the communicator works afterwards. */
#include <stdio.h>

#include "src/comm.h"
#include "tests/collectives/misuse.h"

#define NEEDS 4
#define TOP   ((int64_t)1 << 62)

/* --- patterns from ids ------------------------------------------------------------------------------------------- */

typedef struct ids_call {
    tulle_layout_t owned;
    const tulle_layout_t *layout;
    int64_t list[ROWS];
    int64_t needed[NEEDS];
    const int64_t *needed_ids;
    int64_t num_needed;
    int has_no_out;
} ids_call_t;

static void init_ids(ids_call_t *c)
{
    *c = (ids_call_t){.owned = TULLE_LAYOUT_BLOCK(ROWS), .num_needed = NEEDS};
    for (int i = 0; i < ROWS; i++)
        c->list[i] = ROWS * spt_rank() + i;
    for (int i = 0; i < NEEDS; i++)
        c->needed[i] = (ROWS * (spt_rank() + 1) + 3 * i) % (ROWS * spt_size());
    c->layout = &c->owned;
    c->needed_ids = c->needed;
}

static tulle_status_t call_ids(const ids_call_t *c)
{
    tulle_pattern_t *pattern = NULL;
    tulle_status_t st =
        tulle_pattern_create_from_ids(comm, c->layout, c->needed_ids, c->num_needed, c->has_no_out ? NULL : &pattern);
    spt_assert_all((pattern != NULL) == (st == TULLE_OK));
    tulle_pattern_destroy(&pattern);
    return st;
}

static const bad_t bad_ids[] = {
    {TULLE_ERR_ARG, "layout of the owned rows is NULL"},
    {TULLE_ERR_ARG, "owned rows is -1"},
    {TULLE_ERR_ARG, "starts at -2"},
    {TULLE_ERR_OVERFLOW, "2^62"},
    {TULLE_ERR_OVERFLOW, "2^62"},
    {TULLE_ERR_ARG, "num_needed is -4"},
    {TULLE_ERR_ARG, "needed_ids is NULL"},
    {TULLE_ERR_ARG, "pattern_out is NULL"},
    {TULLE_ERR_ARG, "needed id -1 at position 2"},
    {TULLE_ERR_ARG, "needed id 4611686018427387904"},
    {TULLE_ERR_ARG, "needed id 1000000"},
    {TULLE_ERR_OVERFLOW, "address space"},
    {TULLE_ERR_ARG, "is listed twice"},
    {TULLE_ERR_ARG, "entry 1 of the owned rows has id -7"},
    {TULLE_ERR_ARG, "has id 4611686018427387904"},
};

static void spoil_ids(ids_call_t *c, int kind)
{
    if (kind >= 12)
        c->owned = (tulle_layout_t)TULLE_LAYOUT_LIST(ROWS, c->list);
    switch (kind) {
    case 0:
        c->layout = NULL;
        break;
    case 1:
        c->owned.num_rows = -1;
        break;
    case 2:
        c->owned.first = -2;
        break;
    case 3:
        c->owned.num_rows = TOP;
        break;
    case 4:
        c->owned.first = TOP - ROWS + 1;
        break;
    case 5:
        c->num_needed = -4;
        break;
    case 6:
        c->needed_ids = NULL;
        break;
    case 7:
        c->has_no_out = 1;
        break;
    case 8:
        c->needed[2] = -1;
        break;
    case 9:
        c->needed[1] = TOP;
        break;
    case 10:
        c->needed[0] = 1000000;
        break;
    case 11:
        c->num_needed = INT64_MAX / 2;
        break;
    case 12:
        c->list[5] = c->list[2];
        break;
    case 13:
        c->list[1] = -7;
        break;
    case 14:
        c->list[9] = TOP;
        break;
    default:
        break;
    }
}

static void test_ids_bad_argument_fails_all(void **state)
{
    for (int kind = 0; kind < COUNT(bad_ids); kind++) {
        for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
            ids_call_t call;
            init_ids(&call);
            if (is_culprit(culprit))
                spoil_ids(&call, kind);
            expect(call_ids(&call), bad_ids[kind], culprit);
        }
        spt_teardown(NULL);
    }
}

static void test_ids_owned_by_two_ranks_is_named(void **state)
{
    for (int culprit = 1; culprit < spt_size(); culprit++) {
        ids_call_t call;
        char words[80];
        init_ids(&call);
        /* A row of the rank before. */
        call.owned = (tulle_layout_t)TULLE_LAYOUT_LIST(ROWS, call.list);
        call.list[4] -= is_culprit(culprit) ? ROWS : 0;
        snprintf(words, sizeof words, "id %d is owned twice, by ranks %d and %d", ROWS * culprit - ROWS + 4,
                 culprit - 1, culprit);
        expect_words(call_ids(&call), words);
        /* Blocks that overlap by one. */
        call.owned = (tulle_layout_t){ROWS, ROWS * spt_rank() - is_culprit(culprit), NULL};
        snprintf(words, sizeof words, "id %d is owned twice", ROWS * culprit - 1);
        expect_words(call_ids(&call), words);
    }
}

static void test_ids_row_that_nobody_owns_is_named(void **state)
{
    for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
        ids_call_t call;
        init_ids(&call);
        /* Two blocks per rank's worth of ids, only the first is owned. */
        call.owned.first = 2 * ROWS * spt_rank();
        for (int i = 0; i < NEEDS; i++)
            call.needed[i] = i;
        if (is_culprit(culprit))
            call.needed[3] = spt_size() > 1 ? ROWS + 5 : ROWS + 1;
        /* A single rank has no gap between blocks, only an end. */
        expect(call_ids(&call), (bad_t){TULLE_ERR_ARG, spt_size() > 1 ? "needed id 15 is owned by no" : "needed id 11"},
               culprit);
    }
}

static void test_ids_blocks_too_long_together_fail_all(void **state)
{
    ids_call_t call;
    init_ids(&call);
    call.owned.num_rows = TOP - 1;
    call.num_needed = 0;
    if (spt_size() > 1)
        expect_words(call_ids(&call), "2^62");
    else
        spt_assert_ok_all(call_ids(&call));
}

/* --- patterns from CSR ------------------------------------------------------------------------------------------- */

typedef struct csr_call {
    tulle_layout_t owned_rows, owned_columns;
    const tulle_layout_t *rows, *columns;
    int64_t ptr[4], idx[6], list[3];
    const int64_t *row_ptr, *col_idx;
    int has_no_out;
} csr_call_t;

static void init_csr(csr_call_t *c)
{
    int64_t r = spt_rank(), n = ROWS * spt_size();
    *c = (csr_call_t){TULLE_LAYOUT_BLOCK(3),
                      TULLE_LAYOUT_BLOCK(ROWS),
                      NULL,
                      NULL,
                      {0, 2, 2, 6},
                      {n - 1, 0, (ROWS * r + 12) % n, 5, 5, n / 2},
                      {3 * r, 3 * r + 1, 3 * r + 2},
                      NULL,
                      NULL,
                      0};
    c->rows = &c->owned_rows;
    c->columns = &c->owned_columns;
    c->row_ptr = c->ptr;
    c->col_idx = c->idx;
}

static tulle_status_t call_csr(const csr_call_t *c)
{
    tulle_pattern_t *pattern = NULL;
    tulle_status_t st = tulle_pattern_create_from_csr(comm, c->rows, c->columns, c->row_ptr, c->col_idx,
                                                      c->has_no_out ? NULL : &pattern);
    tulle_pattern_destroy(&pattern);
    return st;
}

static const bad_t bad_csr[] = {
    {TULLE_ERR_ARG, "row layout is NULL"},
    {TULLE_ERR_ARG, "layout of the matrix columns is NULL"},
    {TULLE_ERR_ARG, "row_ptr is NULL"},
    {TULLE_ERR_ARG, "col_idx is NULL but there are 6"},
    {TULLE_ERR_ARG, "pattern_out is NULL"},
    {TULLE_ERR_ARG, "row_ptr[0] is 1"},
    {TULLE_ERR_ARG, "row_ptr decreases from 2 to -9 at row 1"},
    {TULLE_ERR_ARG, "row layout is NULL or has a negative size"},
    {TULLE_ERR_ARG, "id -3"},
    {TULLE_ERR_ARG, "id 777777"},
    {TULLE_ERR_ARG, "matrix columns is -1"},
    {TULLE_ERR_ARG, "listed twice among this rank's matrix rows"},
    {TULLE_ERR_OVERFLOW, "address space"},
};

static void spoil_csr(csr_call_t *c, int kind)
{
    switch (kind) {
    case 0:
        c->rows = NULL;
        break;
    case 1:
        c->columns = NULL;
        break;
    case 2:
        c->row_ptr = NULL;
        break;
    case 3:
        c->col_idx = NULL;
        break;
    case 4:
        c->has_no_out = 1;
        break;
    case 5:
        c->ptr[0] = 1;
        break;
    case 6:
        c->ptr[2] = -9;
        break;
    case 7:
        c->owned_rows.num_rows = -3;
        break;
    case 8:
        c->idx[2] = -3;
        break;
    case 9:
        c->idx[5] = 777777;
        break;
    case 10:
        c->owned_columns.num_rows = -1;
        break;
    case 11:
        c->list[2] = c->list[0];
        c->owned_rows.ids = c->list;
        break;
    case 12:
        c->ptr[3] = INT64_MAX / 2;
        break;
    default:
        break;
    }
}

static void test_csr_bad_argument_fails_all(void **state)
{
    for (int kind = 0; kind < COUNT(bad_csr); kind++) {
        for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
            csr_call_t call;
            init_csr(&call);
            if (is_culprit(culprit))
                spoil_csr(&call, kind);
            expect(call_csr(&call), bad_csr[kind], culprit);
        }
        spt_teardown(NULL);
    }
}

static void test_csr_row_on_two_ranks_is_named(void **state)
{
    csr_call_t call;
    if (spt_size() == 1)
        skip();
    init_csr(&call);
    call.owned_rows.ids = call.list;
    call.list[1] = spt_rank() == 1 ? 2 : call.list[1];
    expect_words(call_csr(&call), "id 2 is owned twice, by ranks 0 and 1 (matrix rows)");
}

/* --- patterns from forests --------------------------------------------------------------------------------------- */

typedef struct forest_call {
    int64_t num_owned, num_needed;
    int32_t rank[NEEDS];
    int64_t row[NEEDS];
    const int32_t *owner_rank;
    const int64_t *owner_row;
    int has_no_out;
} forest_call_t;

static void init_forest(forest_call_t *c)
{
    *c = (forest_call_t){ROWS, NEEDS, {0}, {0, 3, 9, 9}, NULL, NULL, 0};
    for (int i = 0; i < NEEDS; i++)
        c->rank[i] = (spt_rank() + i) % spt_size();
    c->owner_rank = c->rank;
    c->owner_row = c->row;
}

static tulle_status_t call_forest(const forest_call_t *c)
{
    tulle_pattern_t *pattern = NULL;
    tulle_status_t st = tulle_pattern_create_from_forest(comm, c->num_owned, c->num_needed, c->owner_rank, c->owner_row,
                                                         c->has_no_out ? NULL : &pattern);
    tulle_pattern_destroy(&pattern);
    return st;
}

static const bad_t bad_forest[] = {
    {TULLE_ERR_ARG, "num_owned is -1"},        {TULLE_ERR_ARG, "num_needed is -2"},
    {TULLE_ERR_ARG, "NULL but num_needed is"}, {TULLE_ERR_ARG, "NULL but num_needed is"},
    {TULLE_ERR_ARG, "needed row 1"},           {TULLE_ERR_ARG, "of rank -1"},
    {TULLE_ERR_ARG, "is row -6 of"},           {TULLE_ERR_ARG, "pattern_out is NULL"},
    {TULLE_ERR_OVERFLOW, "address space"},
};

static void spoil_forest(forest_call_t *c, int kind)
{
    switch (kind) {
    case 0:
        c->num_owned = -1;
        break;
    case 1:
        c->num_needed = -2;
        break;
    case 2:
        c->owner_rank = NULL;
        break;
    case 3:
        c->owner_row = NULL;
        break;
    case 4:
        c->rank[1] = spt_size();
        break;
    case 5:
        c->rank[2] = -1;
        break;
    case 6:
        c->row[3] = -6;
        break;
    case 7:
        c->has_no_out = 1;
        break;
    case 8:
        c->num_needed = INT64_MAX / 2;
        break;
    default:
        break;
    }
}

static void test_forest_bad_argument_fails_all(void **state)
{
    for (int kind = 0; kind < COUNT(bad_forest); kind++) {
        for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
            forest_call_t call;
            init_forest(&call);
            if (is_culprit(culprit))
                spoil_forest(&call, kind);
            expect(call_forest(&call), bad_forest[kind], culprit);
        }
        spt_teardown(NULL);
    }
}

static void test_forest_row_beyond_its_owner_is_named(void **state)
{
    for (int culprit = 0; culprit < spt_size(); culprit++) {
        forest_call_t call;
        char words[80];
        init_forest(&call);
        call.row[1] = is_culprit(culprit) ? ROWS : 3;
        snprintf(words, sizeof words, "rank %d needs row %d of a rank that owns %d", culprit, ROWS, ROWS);
        expect_words(call_forest(&call), words);
    }
}

/* --- grids ------------------------------------------------------------------------------------------------------- */

/* Slabs of two layers. */
static tulle_grid_t good_grid(void)
{
    return (tulle_grid_t){3, 7, {4, 5, 2 * spt_size()}, {0, 0, 2 * spt_rank()}, {4, 5, 2 * spt_rank() + 2}, {0, 1, 1}};
}

static const bad_t bad_grid[] = {
    {TULLE_ERR_ARG, "grid is NULL"},     {TULLE_ERR_ARG, "num_dims is 4"},
    {TULLE_ERR_ARG, "stencil of 6"},     {TULLE_ERR_ARG, "stencil of 9 points in 3"},
    {TULLE_ERR_ARG, "dims[1] is 0"},     {TULLE_ERR_ARG, "box is [-1, 4) on axis 0"},
    {TULLE_ERR_ARG, "[0, 6) on axis 1"}, {TULLE_ERR_ARG, "[3, 2) on axis 0"},
    {TULLE_ERR_OVERFLOW, "2^62"},        {TULLE_ERR_OVERFLOW, "2^62"},
};

static const tulle_grid_t *spoil_grid(tulle_grid_t *g, int kind)
{
    switch (kind) {
    case 1:
        g->num_dims = 4;
        break;
    case 2:
        g->stencil = 6;
        break;
    case 3:
        g->stencil = 9;
        break;
    case 4:
        g->dims[1] = 0;
        break;
    case 5:
        g->lo[0] = -1;
        break;
    case 6:
        g->hi[1] = 6;
        break;
    case 7:
        g->lo[0] = 3;
        g->hi[0] = 2;
        break;
    case 8:
        g->dims[0] = TOP;
        break;
    case 9:
        g->dims[0] = (int64_t)1 << 31;
        g->dims[1] = (int64_t)1 << 31;
        break;
    default:
        break;
    }
    return kind == 0 ? NULL : g;
}

static void test_grid_bad_argument_fails_all(void **state)
{
    for (int kind = 0; kind < COUNT(bad_grid); kind++) {
        for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
            tulle_grid_t grid = good_grid();
            tulle_pattern_t *pattern = NULL;
            const tulle_grid_t *given = is_culprit(culprit) ? spoil_grid(&grid, kind) : &grid;
            expect(tulle_pattern_create_from_grid(comm, given, &pattern), bad_grid[kind], culprit);
        }
        spt_teardown(NULL);
    }
}

/* A line of cells so long that no list of its neighbours can be made. */
static void test_grid_too_large_for_memory_fails_all(void **state)
{
    tulle_grid_t grid = {3,  7, {(int64_t)1 << 60, 1, 1}, {0, 0, 0}, {spt_rank() == 0 ? (int64_t)1 << 60 : 0, 1, 1},
                         {0}};
    tulle_pattern_t *pattern = NULL;
    expect(tulle_pattern_create_from_grid(comm, &grid, &pattern), (bad_t){TULLE_ERR_OVERFLOW, "more than 2^62"}, 0);
}

static void test_grid_boxes_that_do_not_tile_fail_all(void **state)
{
    tulle_grid_t grid = good_grid();
    tulle_pattern_t *pattern = NULL;
    grid.hi[2] -= spt_rank() == 0;
    expect_words(tulle_pattern_create_from_grid(comm, &grid, &pattern), "they must tile it");
    if (spt_size() > 1) {
        /* As many cells as there should be, but some twice. */
        grid = good_grid();
        if (spt_rank() == 1)
            grid.lo[2] = 1, grid.hi[2] = 3;
        expect_words(tulle_pattern_create_from_grid(comm, &grid, &pattern), "owned twice, by ranks 0 and 1");
    }
}

static void test_grid_ranks_disagree_is_mismatch(void **state)
{
    if (spt_size() == 1)
        skip();
    for (int kind = 0; kind < 3; kind++) {
        tulle_grid_t grid = good_grid();
        tulle_pattern_t *pattern = NULL;
        if (spt_rank() == spt_size() - 1) {
            grid.dims[0] += kind == 0;
            grid.periodic[0] = kind == 1;
            grid.stencil = kind == 2 ? 27 : 7;
        }
        expect(tulle_pattern_create_from_grid(comm, &grid, &pattern), (bad_t){TULLE_ERR_MISMATCH, "of the grid"}, ALL);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_ids_bad_argument_fails_all),           spt_test(test_ids_owned_by_two_ranks_is_named),
        spt_test(test_ids_row_that_nobody_owns_is_named),    spt_test(test_ids_blocks_too_long_together_fail_all),
        spt_test(test_csr_bad_argument_fails_all),           spt_test(test_csr_row_on_two_ranks_is_named),
        spt_test(test_forest_bad_argument_fails_all),        spt_test(test_forest_row_beyond_its_owner_is_named),
        spt_test(test_grid_bad_argument_fails_all),          spt_test(test_grid_too_large_for_memory_fails_all),
        spt_test(test_grid_boxes_that_do_not_tile_fail_all), spt_test(test_grid_ranks_disagree_is_mismatch),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, misuse_setup, misuse_teardown));
}
