/* SPDX-License-Identifier: Apache-2.0
 * Covers of one block: they cover, and no smaller ones exist, by trying all sets of rows where that is possible, and by
 * the plainest matching algorithm otherwise. */
#include "collectives/cover.h"

#include <string.h>

#include "tests/support/world.h"

/* A random block; some columns and rows without nonzeros, as well as hubs. */
static tli_block_graph_t random_block(spt_random_t *random, int32_t num_rows, int32_t num_cols, int64_t per_mille)
{
    tli_block_graph_t g = {num_rows, num_cols, spt_alloc(num_cols + 1, sizeof(int64_t)), NULL};
    int64_t n = 0;
    g.row = spt_alloc((int64_t)num_rows * num_cols, sizeof *g.row);
    for (int32_t col = 0; col < num_cols; col++) {
        int64_t here = spt_below(random, 20) == 0 ? 900 : per_mille;
        for (int32_t row = 0; row < num_rows; row++)
            if (spt_below(random, 1000) < (row % 17 == 3 ? 700 : here))
                g.row[n++] = row;
        g.col_ptr[col + 1] = n;
    }
    return g;
}

/* Fewest rows and columns: for every set of rows, all columns with a nonzero outside it. */
static int least_by_trying(const tli_block_graph_t *g)
{
    int least = g->num_rows;
    for (uint32_t set = 0; set < UINT32_C(1) << g->num_rows; set++) {
        int size = __builtin_popcount(set);
        for (int32_t col = 0; col < g->num_cols; col++) {
            int is_needed = 0;
            for (int64_t e = g->col_ptr[col]; e < g->col_ptr[col + 1]; e++)
                is_needed = is_needed || (set >> g->row[e] & 1) == 0;
            size += is_needed;
        }
        least = size < least ? size : least;
    }
    return least;
}

/* Gives a column a row, moving those who have one. */
static int find_mate(const tli_block_graph_t *g, int32_t col, unsigned char *is_tried, int32_t *mate)
{
    for (int64_t e = g->col_ptr[col]; e < g->col_ptr[col + 1]; e++) {
        int32_t row = g->row[e];
        if (is_tried[row])
            continue;
        is_tried[row] = 1;
        if (mate[row] < 0 || find_mate(g, mate[row], is_tried, mate)) {
            mate[row] = col;
            return 1;
        }
    }
    return 0;
}

static int largest_matching(const tli_block_graph_t *g)
{
    int32_t *mate = spt_alloc(g->num_rows, sizeof *mate);
    unsigned char *is_tried = spt_alloc(g->num_rows, 1);
    int size = 0;
    memset(mate, 0xff, (size_t)g->num_rows * sizeof *mate);
    for (int32_t col = 0; col < g->num_cols; col++) {
        memset(is_tried, 0, (size_t)g->num_rows);
        size += find_mate(g, col, is_tried, mate);
    }
    return size;
}

static void assert_covers(const tli_block_graph_t *g, const tli_block_cover_t *cover)
{
    int32_t num_rows = 0, num_cols = 0;
    for (int32_t row = 0; row < g->num_rows; row++)
        num_rows += cover->has_row[row];
    for (int32_t col = 0; col < g->num_cols; col++) {
        num_cols += cover->has_col[col];
        for (int64_t e = g->col_ptr[col]; e < g->col_ptr[col + 1]; e++)
            assert_true(cover->has_col[col] || cover->has_row[g->row[e]]);
    }
    assert_int_equal(num_rows, cover->num_rows);
    assert_int_equal(num_cols, cover->num_cols);
}

static void test_cover_least_is_as_small_as_any(void **state)
{
    spt_random_t random = spt_random_shared(1);
    for (int i = 0; i < 300; i++) {
        int32_t num_rows = (int32_t)spt_below(&random, 11), num_cols = (int32_t)spt_below(&random, 14);
        tli_block_graph_t g = random_block(&random, num_rows, num_cols, spt_below(&random, 500));
        tli_arena_t arena = TLI_ARENA_INIT;
        tli_block_cover_t cover;
        assert_int_equal(tli_cover_least(&g, &arena, &cover), TULLE_OK);
        assert_covers(&g, &cover);
        assert_int_equal(cover.num_rows + cover.num_cols, least_by_trying(&g));
        tli_arena_release(&arena);
    }
}

static void test_cover_least_is_as_large_as_the_largest_matching(void **state)
{
    spt_random_t random = spt_random_shared(2);
    for (int i = 0; i < 40; i++) {
        int32_t num_rows = 1 + (int32_t)spt_below(&random, 300), num_cols = 1 + (int32_t)spt_below(&random, 300);
        tli_block_graph_t g = random_block(&random, num_rows, num_cols, spt_below(&random, 20));
        tli_arena_t arena = TLI_ARENA_INIT;
        tli_block_cover_t cover;
        assert_int_equal(tli_cover_least(&g, &arena, &cover), TULLE_OK);
        assert_covers(&g, &cover);
        assert_int_equal(cover.num_rows + cover.num_cols, largest_matching(&g));
        tli_arena_release(&arena);
    }
}

/* Rows of B need no nonzero to be moved: where either will do, they are taken. */
static void test_cover_least_prefers_columns(void **state)
{
    int64_t col_ptr[] = {0, 1, 2, 3};
    int32_t rows[] = {2, 0, 1};
    tli_block_graph_t diagonal = {3, 3, col_ptr, rows};
    tli_arena_t arena = TLI_ARENA_INIT;
    tli_block_cover_t cover;
    assert_int_equal(tli_cover_least(&diagonal, &arena, &cover), TULLE_OK);
    assert_int_equal(cover.num_cols, 3);
    assert_int_equal(cover.num_rows, 0);
    tli_arena_release(&arena);
}

/* --- by weight --------------------------------------------------------------------------------------------------- */

static int64_t weight_of(const tli_block_graph_t *g, const tli_block_cover_t *cover, const int64_t *row_weight,
                         const int64_t *col_weight)
{
    int64_t sum = 0;
    for (int32_t row = 0; row < g->num_rows; row++)
        sum += cover->has_row[row] ? row_weight[row] : 0;
    for (int32_t col = 0; col < g->num_cols; col++)
        sum += cover->has_col[col] ? col_weight[col] : 0;
    return sum;
}

static int64_t least_weight_by_trying(const tli_block_graph_t *g, const int64_t *row_weight, const int64_t *col_weight)
{
    int64_t least = INT64_MAX;
    for (uint32_t set = 0; set < UINT32_C(1) << g->num_rows; set++) {
        int64_t sum = 0;
        for (int32_t row = 0; row < g->num_rows; row++)
            sum += set >> row & 1 ? row_weight[row] : 0;
        for (int32_t col = 0; col < g->num_cols; col++) {
            int is_needed = 0;
            for (int64_t e = g->col_ptr[col]; e < g->col_ptr[col + 1]; e++)
                is_needed = is_needed || (set >> g->row[e] & 1) == 0;
            sum += is_needed ? col_weight[col] : 0;
        }
        least = sum < least ? sum : least;
    }
    return least;
}

static void test_cover_weighted_is_as_light_as_any(void **state)
{
    spt_random_t random = spt_random_shared(3);
    for (int i = 0; i < 300; i++) {
        int32_t num_rows = (int32_t)spt_below(&random, 11), num_cols = (int32_t)spt_below(&random, 14);
        tli_block_graph_t g = random_block(&random, num_rows, num_cols, spt_below(&random, 500));
        int64_t row_weight[11], col_weight[14];
        tli_arena_t arena = TLI_ARENA_INIT;
        tli_block_cover_t cover;
        for (int32_t row = 0; row < num_rows; row++)
            row_weight[row] = 1 + spt_below(&random, 20);
        for (int32_t col = 0; col < num_cols; col++)
            col_weight[col] = 1 + spt_below(&random, 20);
        assert_int_equal(tli_cover_weighted(&g, row_weight, col_weight, &arena, &cover), TULLE_OK);
        assert_covers(&g, &cover);
        assert_int_equal(weight_of(&g, &cover, row_weight, col_weight),
                         least_weight_by_trying(&g, row_weight, col_weight));
        tli_arena_release(&arena);
    }
}

static int64_t busiest_owner(const tli_block_graph_t *g, const tli_block_owners_t *owners,
                             const tli_block_cover_t *cover)
{
    int64_t *load = spt_alloc(owners->num_owners, sizeof *load), busiest = 0;
    for (int32_t row = 0; row < g->num_rows; row++)
        load[owners->of_row[row]] += cover->has_row[row];
    for (int32_t col = 0; col < g->num_cols; col++)
        load[owners->of_col[col]] += cover->has_col[col];
    for (int32_t owner = 0; owner < owners->num_owners; owner++)
        busiest = load[owner] > busiest ? load[owner] : busiest;
    return busiest;
}

static void test_cover_balanced_has_no_busier_owner_than_the_least(void **state)
{
    spt_random_t random = spt_random_shared(4);
    int num_better = 0;
    for (int i = 0; i < 60; i++) {
        int32_t num_rows = 1 + (int32_t)spt_below(&random, 100), num_cols = 1 + (int32_t)spt_below(&random, 100);
        tli_block_graph_t g = random_block(&random, num_rows, num_cols, spt_below(&random, 60));
        int32_t *of_row = spt_alloc(num_rows, sizeof *of_row), *of_col = spt_alloc(num_cols, sizeof *of_col);
        tli_block_owners_t owners = {8, of_row, of_col};
        tli_arena_t arena = TLI_ARENA_INIT;
        tli_block_cover_t least, balanced;
        for (int32_t row = 0; row < num_rows; row++)
            of_row[row] = 4 + (int32_t)(spt_below(&random, 3) * spt_below(&random, 2));
        for (int32_t col = 0; col < num_cols; col++)
            of_col[col] = (int32_t)(spt_below(&random, 4) * spt_below(&random, 2));
        assert_int_equal(tli_cover_least(&g, &arena, &least), TULLE_OK);
        assert_int_equal(tli_cover_balanced(&g, &owners, &arena, &balanced), TULLE_OK);
        assert_covers(&g, &balanced);
        assert_true(busiest_owner(&g, &owners, &balanced) <= busiest_owner(&g, &owners, &least));
        num_better += busiest_owner(&g, &owners, &balanced) < busiest_owner(&g, &owners, &least);
        tli_arena_release(&arena);
    }
    assert_true(num_better > 10);
}

/* Two columns of one owner, two rows of two: both pairs cover, but one owner would move twice as many rows. */
static void test_cover_balanced_takes_rows_of_idle_owners(void **state)
{
    int64_t col_ptr[] = {0, 1, 2};
    int32_t rows[] = {0, 1}, of_row[] = {1, 2}, of_col[] = {0, 0};
    tli_block_graph_t g = {2, 2, col_ptr, rows};
    tli_block_owners_t owners = {3, of_row, of_col};
    tli_arena_t arena = TLI_ARENA_INIT;
    tli_block_cover_t cover;
    assert_int_equal(tli_cover_balanced(&g, &owners, &arena, &cover), TULLE_OK);
    assert_int_equal(busiest_owner(&g, &owners, &cover), 1);
    tli_arena_release(&arena);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_cover_weighted_is_as_light_as_any),
        spt_test(test_cover_balanced_has_no_busier_owner_than_the_least),
        spt_test(test_cover_balanced_takes_rows_of_idle_owners),
        spt_test(test_cover_least_is_as_small_as_any),
        spt_test(test_cover_least_is_as_large_as_the_largest_matching),
        spt_test(test_cover_least_prefers_columns),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
