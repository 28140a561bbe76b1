/* SPDX-License-Identifier: Apache-2.0
 * Misuse of sparse times dense, on one rank and on all: a status everywhere, words with the offending values, nothing
 * hangs, and the communicator works afterwards. And allocations that fail, each in turn. */
#include <string.h>

#include "tests/collectives/misuse.h"
#include "tests/collectives/spmm_case.h"
#include "tests/support/failing.h"

#define WIDTH 3

/* Arguments of a matrix that is right: every rank has ROWS rows with two nonzeros each, next to the diagonal. */
typedef struct arguments {
    tulle_layout_t rows, columns;
    int64_t row_ptr[ROWS + 1];
    int64_t col_idx[2 * ROWS];
    double values[2 * ROWS];
    tulle_csr_t csr;
    tulle_spmm_options_t options;
} arguments_t;

static void make_arguments(arguments_t *a)
{
    int64_t last = (int64_t)ROWS * spt_size() - 2;
    a->rows = a->columns = (tulle_layout_t)TULLE_LAYOUT_BLOCK(ROWS);
    a->row_ptr[0] = 0;
    for (int64_t i = 0; i < ROWS; i++) {
        int64_t row = (int64_t)ROWS * spt_rank() + i;
        a->row_ptr[i + 1] = 2 * i + 2;
        a->col_idx[2 * i] = row < last ? row : last;
        a->col_idx[2 * i + 1] = a->col_idx[2 * i] + 1;
        a->values[2 * i] = a->values[2 * i + 1] = 1;
    }
    a->csr = (tulle_csr_t){a->row_ptr, a->col_idx, a->values, TULLE_I64, TULLE_F64};
    a->options = (tulle_spmm_options_t)TULLE_SPMM_OPTIONS_INIT;
}

/* --- creation ---------------------------------------------------------------------------------------------------- */

static const bad_t bad_matrix[] = {
    {TULLE_ERR_ARG, "row_ptr is NULL"},
    {TULLE_ERR_ARG, "row_ptr[0] is 1"},
    {TULLE_ERR_ARG, "row_ptr decreases from 6 to 4 at row 3"},
    {TULLE_ERR_ARG, "there are 20 nonzeros"},
    {TULLE_ERR_ARG, "nonzero 5 of row 2 is in column 0"},
    {TULLE_ERR_ARG, "is in column -7"},
    {TULLE_ERR_UNSUPPORTED, "columns are of type f32"},
    {TULLE_ERR_UNSUPPORTED, "values are of type i8"},
    {TULLE_ERR_ARG, "row layout is NULL or has a negative size"},
    {TULLE_ERR_ARG, "column layout is NULL"},
    {TULLE_ERR_ARG, "options.cover is 7"},
    {TULLE_ERR_ARG, "options.width is -1"},
    {TULLE_ERR_ARG, "options.num_bindings is 65"},
    {TULLE_ERR_ARG, "struct_size is 0"},
    {TULLE_ERR_ARG, "spmm_out is NULL"},
    {TULLE_ERR_OVERFLOW, "4294967296 rows"},
};

static void spoil(arguments_t *a, int kind)
{
    a->csr.row_ptr = kind == 0 ? NULL : a->row_ptr;
    a->row_ptr[0] = kind == 1;
    a->row_ptr[4] = kind == 2 ? 4 : a->row_ptr[4];
    a->csr.values = kind == 3 ? NULL : a->values;
    a->col_idx[5] = kind == 4 ? 0 : a->col_idx[5];
    a->col_idx[0] = kind == 5 ? -7 : a->col_idx[0];
    a->csr.index_type = kind == 6 ? TULLE_F32 : TULLE_I64;
    a->csr.value_type = kind == 7 ? TULLE_I8 : TULLE_F64;
    a->rows.num_rows = kind == 8 ? -1 : kind == 15 ? INT64_C(1) << 32 : ROWS;
    a->options.cover = kind == 10 ? (tulle_cover_t)7 : TULLE_COVER_LEAST;
    a->options.width = kind == 11 ? -1 : 0;
    a->options.num_bindings = kind == 12 ? 65 : 0;
    a->options.struct_size = kind == 13 ? 0 : a->options.struct_size;
}

static void test_spmm_bad_matrix_fails_all(void **state)
{
    for (int kind = 0; kind < COUNT(bad_matrix); kind++) {
        for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
            arguments_t a;
            tulle_spmm_t *spmm = NULL;
            int k = is_culprit(culprit) ? kind : -1;
            make_arguments(&a);
            spoil(&a, k);
            expect(tulle_spmm_create(comm, &a.rows, k == 9 ? NULL : &a.columns, &a.csr, &a.options,
                                     k == 14 ? NULL : &spmm),
                   bad_matrix[kind], culprit);
        }
        spt_teardown(NULL);
    }
}

static void test_spmm_column_that_nobody_owns_is_named(void **state)
{
    arguments_t a;
    tulle_spmm_t *spmm = NULL;
    make_arguments(&a);
    a.col_idx[2 * ROWS - 1] = 123456;
    expect_words(tulle_spmm_create(comm, &a.rows, &a.columns, &a.csr, NULL, &spmm), "123456");
}

static void test_spmm_ranks_disagree_is_mismatch(void **state)
{
    for (int kind = 0; kind < 3 && spt_size() > 1; kind++) {
        arguments_t a;
        tulle_spmm_t *spmm = NULL;
        make_arguments(&a);
        if (spt_rank() == 0) {
            a.csr.value_type = kind == 0 ? TULLE_F32 : TULLE_F64;
            a.options.cover = kind == 1 ? TULLE_COVER_COLUMNS : TULLE_COVER_AUTO;
            a.options.width = kind == 2 ? 8 : 0;
        }
        expect(tulle_spmm_create(comm, &a.rows, &a.columns, &a.csr, &a.options, &spmm),
               (bad_t){TULLE_ERR_MISMATCH, "value type or options"}, ALL);
    }
}

/* --- products ---------------------------------------------------------------------------------------------------- */

static const bad_t bad_product[] = {
    {TULLE_ERR_ARG, "product is NULL"},
    {TULLE_ERR_ARG, "width is 0"},
    {TULLE_ERR_ARG, "B is NULL"},
    {TULLE_ERR_ARG, "C is NULL"},
    {TULLE_ERR_ARG, "B has a stride of 2"},
    {TULLE_ERR_ARG, "C has a stride of -1"},
    {TULLE_ERR_ARG, "overlap"},
    {TULLE_ERR_UNSUPPORTED, "a stream was given"},
    {TULLE_ERR_OVERFLOW, "exceed 2^62"},
    {TULLE_ERR_ARG, "not aligned"},
};

static tulle_status_t run_badly(tulle_spmm_t *spmm, int is_transposed, double *b, double *c, int kind)
{
    tulle_product_t p = TULLE_PRODUCT(WIDTH, b, c);
    int word = 0;
    p.width = kind == 1 ? 0 : WIDTH;
    p.b = kind == 2 ? NULL : kind == 9 ? (void *)((char *)b + 1) : b;
    p.c = kind == 3 ? NULL : kind == 6 ? b + WIDTH : c;
    p.b_stride = kind == 4 ? 2 : kind == 8 ? INT64_MAX / 4 : 0;
    p.c_stride = kind == 5 ? -1 : 0;
    return (is_transposed ? tulle_spmm_run_transpose : tulle_spmm_run)(spmm, kind == 0 ? NULL : &p,
                                                                       kind == 7 ? &word : NULL);
}

static void check_bad_products(tulle_comm_t *on)
{
    static double b[(ROWS + 1) * WIDTH], c[ROWS * WIDTH];
    arguments_t a;
    tulle_spmm_t *spmm = NULL;
    make_arguments(&a);
    spt_assert_ok_all(tulle_spmm_create(on, &a.rows, &a.columns, &a.csr, NULL, &spmm));
    for (int kind = 0; kind < COUNT(bad_product); kind++) {
        for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
            int k = is_culprit(culprit) ? kind : -1;
            expect(run_badly(spmm, kind % 2, b, c, k), bad_product[kind], culprit);
            spt_assert_ok_all(run_badly(spmm, kind % 2, b, c, -1));
        }
        spt_teardown(NULL);
    }
    tulle_spmm_destroy(&spmm);
}

static void test_spmm_bad_product_fails_all_and_leaves_the_matrix_usable(void **state)
{
    check_bad_products(comm);
}

/* Exchanges that others began meanwhile are messages of MPI here. */
static void test_spmm_bad_product_between_nodes_fails_all_too(void **state)
{
    tulle_comm_t *apart = spt_comm("*x1", 1);
    check_bad_products(apart);
    tulle_comm_destroy(&apart);
}

/* C stays as it was, and later products are right. */
static void test_spmm_bad_product_after_good_ones_leaves_c_alone(void **state)
{
    static double b[ROWS * WIDTH], c[ROWS * WIDTH], expected[ROWS * WIDTH], old[ROWS * WIDTH];
    arguments_t a;
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *on = spt_comm(spt_topology(t), 0);
        tulle_spmm_t *spmm = NULL;
        make_arguments(&a);
        for (int i = 0; i < ROWS * WIDTH; i++) {
            b[i] = spt_rank() * ROWS * WIDTH + i;
            old[i] = -1 - i;
        }
        spt_assert_ok_all(tulle_spmm_create(on, &a.rows, &a.columns, &a.csr, NULL, &spmm));
        spt_assert_ok_all(run_badly(spmm, 0, b, expected, -1));
        for (int kind = 0; kind < 6; kind++) {
            int culprit = kind % spt_size();
            memcpy(c, old, sizeof c);
            expect(run_badly(spmm, 0, b, c, is_culprit(culprit) ? kind : -1), bad_product[kind], culprit);
            spt_assert_all(memcmp(c, old, sizeof c) == 0);
            spt_assert_ok_all(run_badly(spmm, 0, b, c, -1));
            spt_assert_all(memcmp(c, expected, sizeof c) == 0);
        }
        tulle_spmm_destroy(&spmm);
        tulle_comm_destroy(&on);
        spt_teardown(NULL);
    }
}

static tulle_status_t run_wide(tulle_spmm_t *spmm, int64_t width, const double *b, double *c)
{
    tulle_product_t p = TULLE_PRODUCT(width, b, c);
    return tulle_spmm_run(spmm, &p, NULL);
}

/* Of one row of ones: sums are the numbers of nonzeros, 2. */
static void test_spmm_width_changes_after_a_habit_is_right(void **state)
{
    static const int64_t widths[] = {3, 3, 5, 3, 3, 3, 5, 5, 5, 3, 5, 1, 1, 5};
    static double b[ROWS * 5], c[ROWS * 5];
    arguments_t a;
    tulle_spmm_t *spmm = NULL;
    make_arguments(&a);
    for (int i = 0; i < ROWS * 5; i++)
        b[i] = 1;
    spt_assert_ok_all(tulle_spmm_create(comm, &a.rows, &a.columns, &a.csr, NULL, &spmm));
    for (int run = 0; run < COUNT(widths); run++) {
        int is_right = 1;
        memset(c, 0, sizeof c);
        if (spt_size() > 1 && run % 4 == 3)
            expect(run_wide(spmm, spt_rank() == 0 ? 4 : widths[run], b, c), (bad_t){TULLE_ERR_MISMATCH, "the width"},
                   ALL);
        spt_assert_ok_all(run_wide(spmm, widths[run], b, c));
        for (int64_t i = 0; i < ROWS * 5; i++)
            is_right = is_right && c[i] == (i < ROWS * widths[run] ? 2 : 0);
        spt_assert_all(is_right);
    }
    tulle_spmm_destroy(&spmm);
}

static void test_spmm_ranks_with_other_widths_is_mismatch(void **state)
{
    static double b[ROWS * 8], c[ROWS * 8];
    arguments_t a;
    tulle_spmm_t *spmm = NULL;
    tulle_product_t p = TULLE_PRODUCT(spt_rank() == 0 ? 4 : 5, b, c);
    make_arguments(&a);
    spt_assert_ok_all(tulle_spmm_create(comm, &a.rows, &a.columns, &a.csr, NULL, &spmm));
    if (spt_size() > 1)
        expect(tulle_spmm_run(spmm, &p, NULL), (bad_t){TULLE_ERR_MISMATCH, "the width"}, ALL);
    tulle_spmm_destroy(&spmm);
}

static void test_spmm_null_is_refused_everywhere(void **state)
{
    static double b[ROWS * WIDTH], c[ROWS * WIDTH];
    tulle_product_t p = TULLE_PRODUCT(WIDTH, b, c);
    tulle_spmm_stats_t stats = {.struct_size = sizeof stats};
    tulle_spmm_t *spmm = NULL;
    tulle_cover_t cover = TULLE_COVER_AUTO;
    spt_assert_all(tulle_spmm_run(NULL, &p, NULL) == TULLE_ERR_ARG);
    spt_assert_all(tulle_spmm_run_transpose(NULL, &p, NULL) == TULLE_ERR_ARG);
    spt_assert_all(tulle_spmm_run_sampled(NULL, &p, c, NULL) == TULLE_ERR_ARG);
    spt_assert_all(tulle_spmm_set_values(NULL, c) == TULLE_ERR_ARG);
    spt_assert_all(tulle_spmm_get_stats(NULL, &stats) == TULLE_ERR_ARG);
    spt_assert_all(tulle_spmm_plan(NULL, TULLE_GATHER) == NULL);
    spt_assert_all(tulle_cover_parse("most", &cover) == TULLE_ERR_ARG);
    tulle_spmm_destroy(&spmm);
    tulle_spmm_destroy(NULL);
}

/* --- allocations ------------------------------------------------------------------------------------------------- */

typedef struct world {
    tulle_comm_t *comm;
    spmm_case_t c;
    tulle_cover_t cover;
    double *b, *result, *values;
} world_t;

static tulle_status_t use_matrix(const world_t *w, tulle_spmm_t *spmm)
{
    tulle_product_t forward = TULLE_PRODUCT(WIDTH, w->b, w->result), transposed = forward;
    tulle_status_t st = tulle_spmm_run(spmm, &forward, NULL);
    if (st == TULLE_OK)
        st = tulle_spmm_run_transpose(spmm, &transposed, NULL);
    if (st == TULLE_OK)
        st = tulle_spmm_run_sampled(spmm, &forward, w->values, NULL);
    if (st == TULLE_OK)
        st = tulle_spmm_set_values(spmm, w->values);
    return st;
}

static tulle_status_t make_and_use(const void *world)
{
    const world_t *w = world;
    tulle_spmm_options_t options = TULLE_SPMM_OPTIONS_INIT;
    tulle_spmm_t *spmm = NULL;
    options.cover = w->cover;
    tulle_status_t st = tulle_spmm_create(w->comm, &w->c.rows, &w->c.columns, &w->c.csr, &options, &spmm);
    if (st == TULLE_OK)
        st = use_matrix(w, spmm);
    tulle_spmm_destroy(&spmm);
    return st;
}

static void test_spmm_failing_allocation_is_a_status_everywhere(void **state)
{
    spt_random_t random = spt_random_shared(8);
    for (int t = 0; t < 2 && spt_topology(t) != NULL; t++) {
        world_t w = {.comm = spt_comm(spt_topology(t), 0), .c = spmm_case_random(&random, TULLE_F64, TULLE_I32)};
        int64_t most = w.c.num_rows > w.c.num_cols ? w.c.num_rows : w.c.num_cols;
        w.cover = t == 0 ? TULLE_COVER_LEAST : TULLE_COVER_AUTO;
        w.b = spt_alloc(most * WIDTH, sizeof(double));
        w.result = spt_alloc(most * WIDTH, sizeof(double));
        w.values = spt_alloc(spmm_case_num_nonzeros(&w.c), sizeof(double));
        spt_assert_survives_failing_allocations(make_and_use, &w);
        spt_assert_comm_works(w.comm);
        tulle_comm_destroy(&w.comm);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_spmm_bad_matrix_fails_all),
        spt_test(test_spmm_column_that_nobody_owns_is_named),
        spt_test(test_spmm_ranks_disagree_is_mismatch),
        spt_test(test_spmm_bad_product_fails_all_and_leaves_the_matrix_usable),
        spt_test(test_spmm_bad_product_between_nodes_fails_all_too),
        spt_test(test_spmm_bad_product_after_good_ones_leaves_c_alone),
        spt_test(test_spmm_width_changes_after_a_habit_is_right),
        spt_test(test_spmm_ranks_with_other_widths_is_mismatch),
        spt_test(test_spmm_null_is_refused_everywhere),
        spt_test(test_spmm_failing_allocation_is_a_status_everywhere),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, misuse_setup, misuse_teardown));
}
