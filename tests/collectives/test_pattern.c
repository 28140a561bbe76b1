/* SPDX-License-Identifier: Apache-2.0
 * Patterns from ids, CSR, forests and grids: what is needed, and who owns it, against what the test knows. */
#include <string.h>

#include "collectives/pattern.h"
#include "tests/support/reference.h"

#define NUM_TRIALS 12

/* Whether the pattern has these needs and owners. Local. */
static int has_needs(const tulle_pattern_t *pattern, const spt_pattern_t *wanted)
{
    const int64_t *ids = tulle_pattern_needed_ids(pattern);
    int is_right = tulle_pattern_num_owned(pattern) == wanted->num_owned &&
                   tulle_pattern_num_needed(pattern) == wanted->num_needed &&
                   (ids == NULL) == (wanted->num_needed == 0 || wanted->needed_ids == NULL);
    for (int64_t i = 0; i < wanted->num_needed && is_right; i++)
        is_right = pattern->owner_rank[i] == wanted->owner_rank[i] && pattern->owner_row[i] == wanted->owner_row[i] &&
                   (ids == NULL || ids[i] == wanted->needed_ids[i]);
    return is_right;
}

static void check_ids(tulle_comm_t *comm, const tulle_layout_t *layout, const spt_pattern_t *wanted)
{
    tulle_pattern_t *pattern = NULL;
    spt_assert_ok_all(tulle_pattern_create_from_ids(comm, layout, wanted->needed_ids, wanted->num_needed, &pattern));
    spt_assert_all(has_needs(pattern, wanted));
    tulle_pattern_destroy(&pattern);
    assert_null(pattern);
}

/* --- ids --------------------------------------------------------------------------------------------------------- */

static void test_ids_blocks_and_lists_find_owners(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    for (uint64_t stream = 0; stream < NUM_TRIALS; stream++) {
        spt_pattern_t wanted = spt_pattern_random(stream);
        tulle_layout_t block = TULLE_LAYOUT_BLOCK(wanted.num_owned);
        tulle_layout_t list = TULLE_LAYOUT_LIST(wanted.num_owned, wanted.ids);
        check_ids(comm, wanted.is_list ? &list : &block, &wanted);
        check_ids(comm, &list, &wanted);
    }
    tulle_comm_destroy(&comm);
}

/* Blocks far apart, the last rank's first. */
static void check_blocks_from(tulle_comm_t *comm, uint64_t stream, int64_t base, int64_t gap)
{
    spt_pattern_t wanted = spt_pattern_random(stream);
    int64_t *first = spt_alloc(spt_size(), sizeof *first);
    MPI_Allgather(&wanted.first, 1, MPI_INT64_T, first, 1, MPI_INT64_T, MPI_COMM_WORLD);
    for (int rank = 0; rank < spt_size(); rank++)
        first[rank] = base + (spt_size() - 1 - rank) * gap;
    for (int64_t i = 0; i < wanted.num_needed; i++)
        wanted.needed_ids[i] = first[wanted.owner_rank[i]] + wanted.owner_row[i];
    tulle_layout_t layout = {wanted.num_owned, first[spt_rank()], NULL};
    check_ids(comm, &layout, &wanted);
}

static void test_ids_blocks_with_starts_far_up_find_owners(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    const int64_t top = (int64_t)1 << 62;
    for (uint64_t stream = 20; stream < 24; stream++) {
        check_blocks_from(comm, stream, 0, 100);
        check_blocks_from(comm, stream, ((int64_t)1 << 31) - 50, 100);
        check_blocks_from(comm, stream, ((int64_t)1 << 40) + 12345, 100);
        check_blocks_from(comm, stream, 3, (int64_t)1 << 58);
        check_blocks_from(comm, stream, top - 100 * spt_size(), 100);
    }
    tulle_comm_destroy(&comm);
}

static void test_ids_lists_far_up_find_owners(void **state)
{
    static const int64_t bases[] = {((int64_t)1 << 32) - 7, ((int64_t)1 << 41) + 1, ((int64_t)1 << 62) - 1};
    static const int64_t steps[] = {3, 1000003, -((int64_t)1 << 50) - 1};
    tulle_comm_t *comm = spt_comm(NULL, 0);
    for (int k = 0; k < 3; k++) {
        spt_pattern_t wanted = spt_pattern_random(30 + (uint64_t)k);
        for (int64_t i = 0; i < wanted.num_owned; i++)
            wanted.ids[i] = bases[k] + steps[k] * wanted.ids[i];
        for (int64_t i = 0; i < wanted.num_needed; i++)
            wanted.needed_ids[i] = bases[k] + steps[k] * wanted.needed_ids[i];
        tulle_layout_t list = TULLE_LAYOUT_LIST(wanted.num_owned, wanted.ids);
        check_ids(comm, &list, &wanted);
    }
    tulle_comm_destroy(&comm);
}

/* Rank 0 owns nothing, the last owns one block after its list: layouts of both kinds side by side. */
static void test_ids_block_beside_lists_find_owners(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    int64_t mine[3] = {1000 * spt_rank() + 9, 1000 * spt_rank() + 2, 1000 * spt_rank() + 4};
    int64_t needed[2];
    int32_t owner_rank[2] = {(spt_rank() + 1) % spt_size(), spt_size() / 2};
    int64_t owner_row[2];
    tulle_layout_t list = TULLE_LAYOUT_LIST(3, mine), block = {3, 1000 * spt_rank() + 20, NULL};
    static const int64_t offsets[2][3] = {{20, 21, 22}, {9, 2, 4}};
    for (int i = 0; i < 2; i++) {
        owner_row[i] = (spt_rank() + i) % 3;
        needed[i] = 1000 * owner_rank[i] + offsets[owner_rank[i] % 2][owner_row[i]];
    }
    spt_pattern_t wanted = {
        .num_owned = 3, .num_needed = 2, .needed_ids = needed, .owner_rank = owner_rank, .owner_row = owner_row};
    check_ids(comm, spt_rank() % 2 ? &list : &block, &wanted);
    tulle_comm_destroy(&comm);
}

static void test_ids_nobody_owns_anything_is_fine(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    spt_pattern_t wanted = {0};
    tulle_layout_t block = TULLE_LAYOUT_BLOCK(0), list = {0, 0, (const int64_t[]){0}};
    check_ids(comm, &block, &wanted);
    check_ids(comm, &list, &wanted);
    tulle_comm_destroy(&comm);
}

/* --- CSR --------------------------------------------------------------------------------------------------------- */

/* Distinct needs that are not own, ascending: what CSR asks for. */
static spt_pattern_t distinct_remote(const spt_pattern_t *p)
{
    spt_pattern_t d = *p;
    int64_t previous = -1;
    d.num_needed = 0;
    d.needed_ids = spt_alloc(p->num_needed, sizeof *d.needed_ids);
    d.owner_rank = spt_alloc(p->num_needed, sizeof *d.owner_rank);
    d.owner_row = spt_alloc(p->num_needed, sizeof *d.owner_row);
    while (1) {
        int64_t next = -1;
        for (int64_t i = 0; i < p->num_needed; i++)
            if (p->owner_rank[i] != spt_rank() && p->needed_ids[i] > previous &&
                (next < 0 || p->needed_ids[i] < p->needed_ids[next]))
                next = i;
        if (next < 0)
            return d;
        previous = d.needed_ids[d.num_needed] = p->needed_ids[next];
        d.owner_rank[d.num_needed] = p->owner_rank[next];
        d.owner_row[d.num_needed++] = p->owner_row[next];
    }
}

/* The needs cut into rows at random; as many rows as one likes, so the matrix is not square. */
static void check_csr(tulle_comm_t *comm, uint64_t stream)
{
    spt_random_t mine = spt_random_mine(stream);
    spt_pattern_t columns = spt_pattern_random(stream);
    spt_pattern_t wanted = distinct_remote(&columns);
    tulle_layout_t block = TULLE_LAYOUT_BLOCK(columns.num_owned);
    tulle_layout_t list = TULLE_LAYOUT_LIST(columns.num_owned, columns.ids);
    int64_t num_rows = columns.num_needed > 0 ? 1 + spt_below(&mine, 9) : spt_below(&mine, 9);
    int64_t *row_ptr = spt_alloc(num_rows + 1, sizeof *row_ptr);
    int64_t *row_ids = spt_alloc(num_rows, sizeof *row_ids);
    tulle_layout_t rows = TULLE_LAYOUT_BLOCK(num_rows), row_list = TULLE_LAYOUT_LIST(num_rows, row_ids);
    tulle_pattern_t *pattern = NULL;
    for (int64_t r = 0; r < num_rows; r++) {
        int64_t left = columns.num_needed - row_ptr[r];
        row_ptr[r + 1] = r == num_rows - 1 ? columns.num_needed : row_ptr[r] + spt_below(&mine, left + 1);
        row_ids[r] = spt_rank() + spt_size() * (num_rows - r);
    }
    spt_assert_ok_all(tulle_pattern_create_from_csr(
        comm, stream % 2 ? &rows : &row_list, columns.is_list ? &list : &block, row_ptr, columns.needed_ids, &pattern));
    spt_assert_all(has_needs(pattern, &wanted));
    tulle_pattern_destroy(&pattern);
}

static void test_csr_random_matrices_need_distinct_remote_columns(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    for (uint64_t stream = 40; stream < 40 + NUM_TRIALS; stream++)
        check_csr(comm, stream);
    tulle_comm_destroy(&comm);
}

/* --- forest ------------------------------------------------------------------------------------------------------ */

static void test_forest_random_pairs_are_kept(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    for (uint64_t stream = 60; stream < 60 + NUM_TRIALS; stream++) {
        spt_pattern_t wanted = spt_pattern_random(stream);
        tulle_pattern_t *pattern = NULL;
        spt_assert_ok_all(tulle_pattern_create_from_forest(comm, wanted.num_owned, wanted.num_needed, wanted.owner_rank,
                                                           wanted.owner_row, &pattern));
        wanted.needed_ids = NULL;
        spt_assert_all(has_needs(pattern, &wanted));
        tulle_pattern_destroy(&pattern);
    }
    tulle_comm_destroy(&comm);
}

/* --- grids: every cell and every point of its stencil, one at a time ---------------------------------------------- */

typedef struct boxes {
    int num_dims;
    int64_t dims[3];
    int64_t (*lo)[3], (*hi)[3]; /* [num_ranks] */
} boxes_t;

/* Ranks first..first+n-1 share a box: cut it in two until one rank is left; a cut may leave one side empty. */
static void cut(boxes_t *b, spt_random_t *random, int first, int n, const int64_t *lo, const int64_t *hi)
{
    memcpy(b->lo[first], lo, sizeof b->lo[first]);
    memcpy(b->hi[first], hi, sizeof b->hi[first]);
    if (n > 1) {
        int left = 1 + (int)spt_below(random, n - 1), axis = (int)spt_below(random, b->num_dims);
        int64_t at = lo[axis] + spt_below(random, hi[axis] - lo[axis] + 1), left_hi[3], right_lo[3];
        memcpy(left_hi, hi, sizeof left_hi);
        memcpy(right_lo, lo, sizeof right_lo);
        left_hi[axis] = right_lo[axis] = at;
        cut(b, random, first, left, lo, left_hi);
        cut(b, random, first + left, n - left, right_lo, hi);
    }
}

static boxes_t draw_boxes(spt_random_t *random, int num_dims)
{
    boxes_t b = {num_dims, {1, 1, 1}, spt_alloc(spt_size(), sizeof *b.lo), spt_alloc(spt_size(), sizeof *b.hi)};
    int64_t lo[3] = {0, 0, 0};
    for (int axis = 0; axis < num_dims; axis++)
        b.dims[axis] = 1 + spt_below(random, spt_below(random, 3) == 0 ? 2 : 7);
    cut(&b, random, 0, spt_size(), lo, b.dims);
    return b;
}

/* Rank that owns a cell; -1 if none. @param[out] row there */
static int32_t owner_of(const boxes_t *b, const int64_t *cell, int64_t *row)
{
    for (int32_t rank = 0; rank < spt_size(); rank++) {
        const int64_t *lo = b->lo[rank], *hi = b->hi[rank];
        int is_inside = 1;
        for (int axis = 0; axis < 3; axis++)
            is_inside = is_inside && cell[axis] >= lo[axis] && cell[axis] < hi[axis];
        if (is_inside) {
            *row = cell[0] - lo[0] + (hi[0] - lo[0]) * (cell[1] - lo[1] + (hi[1] - lo[1]) * (cell[2] - lo[2]));
            return rank;
        }
    }
    return -1;
}

static int is_in_stencil(int stencil, const int *offset)
{
    int num_moved = (offset[0] != 0) + (offset[1] != 0) + (offset[2] != 0);
    int is_flat = stencil == 5 || stencil == 9, is_star = stencil == 5 || stencil == 7;
    return num_moved > 0 && !(is_flat && offset[2] != 0) && !(is_star && num_moved > 1);
}

/* Neighbour of a cell; 0 if it is beyond a wall. */
static int move_to(const boxes_t *b, const int32_t *periodic, const int64_t *cell, const int *offset, int64_t *to)
{
    int exists = 1;
    for (int axis = 0; axis < 3; axis++) {
        to[axis] = cell[axis] + offset[axis];
        if (to[axis] < 0 || to[axis] >= b->dims[axis]) {
            exists = exists && axis < b->num_dims && periodic[axis];
            to[axis] = (to[axis] + b->dims[axis]) % b->dims[axis];
        }
    }
    return exists;
}

static void mark_neighbours(const boxes_t *b, const tulle_grid_t *grid, const int64_t *cell, unsigned char *is_needed)
{
    int64_t row = 0, to[3];
    if (owner_of(b, cell, &row) != spt_rank())
        return;
    for (int k = 0; k < 27; k++) {
        int offset[3] = {k % 3 - 1, k / 3 % 3 - 1, k / 9 - 1};
        if (is_in_stencil(grid->stencil, offset) && move_to(b, grid->periodic, cell, offset, to) &&
            owner_of(b, to, &row) != spt_rank())
            is_needed[to[0] + b->dims[0] * (to[1] + b->dims[1] * to[2])] = 1;
    }
}

static spt_pattern_t grid_needs(const boxes_t *b, const tulle_grid_t *grid)
{
    int64_t num_cells = b->dims[0] * b->dims[1] * b->dims[2];
    unsigned char *is_needed = spt_alloc(num_cells, 1);
    spt_pattern_t p = {.needed_ids = spt_alloc(num_cells, 8),
                       .owner_rank = spt_alloc(num_cells, 4),
                       .owner_row = spt_alloc(num_cells, 8)};
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t id = 0; id < num_cells; id++) {
            int64_t cell[3] = {id % b->dims[0], id / b->dims[0] % b->dims[1], id / b->dims[0] / b->dims[1]};
            if (pass == 0) {
                mark_neighbours(b, grid, cell, is_needed);
                p.num_owned += owner_of(b, cell, &p.owner_row[0]) == spt_rank();
            } else if (is_needed[id]) {
                p.owner_rank[p.num_needed] = owner_of(b, cell, &p.owner_row[p.num_needed]);
                p.needed_ids[p.num_needed++] = id;
            }
        }
    }
    return p;
}

static void check_grid(tulle_comm_t *comm, spt_random_t *random, int stencil)
{
    boxes_t b = draw_boxes(random, stencil == 5 || stencil == 9 ? 2 : 3);
    /* The third axis of a flat grid is ignored, whatever it says. */
    tulle_grid_t grid = {b.num_dims, stencil, {0, 0, -9}, {0, 0, 5}, {0, 0, 3}, {0, 0, 1}};
    tulle_pattern_t *pattern = NULL;
    for (int axis = 0; axis < b.num_dims; axis++) {
        grid.dims[axis] = b.dims[axis];
        grid.lo[axis] = b.lo[spt_rank()][axis];
        grid.hi[axis] = b.hi[spt_rank()][axis];
        grid.periodic[axis] = (int32_t)spt_below(random, 2);
    }
    spt_pattern_t wanted = grid_needs(&b, &grid);
    spt_assert_ok_all(tulle_pattern_create_from_grid(comm, &grid, &pattern));
    spt_assert_all(has_needs(pattern, &wanted));
    tulle_pattern_destroy(&pattern);
}

static void test_grid_random_boxes_need_their_shell(void **state)
{
    static const int stencils[] = {5, 7, 9, 27};
    tulle_comm_t *comm = spt_comm(NULL, 0);
    spt_random_t random = spt_random_shared(80);
    for (int trial = 0; trial < 15; trial++)
        for (int s = 0; s < 4; s++)
            check_grid(comm, &random, stencils[s]);
    tulle_comm_destroy(&comm);
}

/* --- handles ----------------------------------------------------------------------------------------------------- */

static void test_pattern_null_is_empty(void **state)
{
    tulle_pattern_t *none = NULL;
    assert_int_equal(tulle_pattern_num_owned(NULL), 0);
    assert_int_equal(tulle_pattern_num_needed(NULL), 0);
    assert_null(tulle_pattern_needed_ids(NULL));
    tulle_pattern_destroy(&none);
    tulle_pattern_destroy(NULL);
}

/* The caller's arrays may go; so may the communicator. */
static void test_pattern_keeps_copies(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    spt_pattern_t wanted = spt_pattern_random(90);
    tulle_pattern_t *pattern = NULL;
    int64_t *ids = spt_alloc(wanted.num_needed, sizeof *ids);
    tulle_layout_t list = TULLE_LAYOUT_LIST(wanted.num_owned, wanted.ids);
    memcpy(ids, wanted.needed_ids, (size_t)wanted.num_needed * sizeof *ids);
    spt_assert_ok_all(tulle_pattern_create_from_ids(comm, &list, ids, wanted.num_needed, &pattern));
    memset(ids, 0xff, (size_t)wanted.num_needed * sizeof *ids);
    tulle_comm_destroy(&comm);
    spt_assert_all(has_needs(pattern, &wanted));
    tulle_pattern_destroy(&pattern);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_ids_blocks_and_lists_find_owners),
        spt_test(test_ids_blocks_with_starts_far_up_find_owners),
        spt_test(test_ids_lists_far_up_find_owners),
        spt_test(test_ids_block_beside_lists_find_owners),
        spt_test(test_ids_nobody_owns_anything_is_fine),
        spt_test(test_csr_random_matrices_need_distinct_remote_columns),
        spt_test(test_forest_random_pairs_are_kept),
        spt_test(test_grid_random_boxes_need_their_shell),
        spt_test(test_pattern_null_is_empty),
        spt_test(test_pattern_keeps_copies),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
