/* SPDX-License-Identifier: Apache-2.0
 * Sparse times dense against a serial product in double precision: random matrices of any layout on all topologies,
 * with every cover, in both directions; inner products at the nonzeros; values replaced. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/collectives/spmm_case.h"

static const tulle_cover_t covers[] = {TULLE_COVER_AUTO, TULLE_COVER_COLUMNS, TULLE_COVER_LEAST, TULLE_COVER_BALANCED};

static tulle_datatype_t value_type_of(int i)
{
    static const tulle_datatype_t types[] = {TULLE_F64, TULLE_F32, TULLE_F16, TULLE_BF16};
    return types[(i + i / 4) % 4];
}

static tulle_datatype_t index_type_of(int i)
{
    return i / 2 % 2 == 0 ? TULLE_I32 : TULLE_I64;
}

static void test_spmm_random_matrices_equal_serial_products(void **state)
{
    spt_random_t random = spt_random_shared(1);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), t % 3 == 2);
        for (int i = 0; i < 8; i++) {
            spmm_case_t c = spmm_case_random(&random, value_type_of(i), index_type_of(i));
            tulle_spmm_options_t options = TULLE_SPMM_OPTIONS_INIT;
            options.cover = covers[i % 4];
            options.strategy = (tulle_strategy_t)spt_below(&random, 6);
            options.num_bindings = (int32_t)spt_below(&random, 3);
            options.is_trusted = i == 7;
            spmm_case_check(comm, &c, &options, &random);
        }
        tulle_comm_destroy(&comm);
    }
}

static void test_spmm_matrix_without_nonzeros_is_zero(void **state)
{
    spt_random_t random = spt_random_shared(2);
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    spmm_case_t none = spmm_case_dense(spt_alloc(12, sizeof(double)), 3, 4, TULLE_F64, TULLE_I32);
    spmm_case_t nothing = spmm_case_dense(spt_alloc(1, sizeof(double)), 0, 0, TULLE_F32, TULLE_I64);
    spmm_case_check(comm, &none, NULL, &random);
    spmm_case_check(comm, &nothing, NULL, &random);
    tulle_comm_destroy(&comm);
}

/* A dense matrix of one row or one column: the cover is one row per pair of nodes. */
static void test_spmm_one_long_row_crosses_as_one_partial_row(void **state)
{
    const int64_t n = 40;
    spt_random_t random = spt_random_shared(3);
    double *ones = spt_alloc(n, sizeof *ones);
    for (int64_t i = 0; i < n; i++)
        ones[i] = 1;
    for (int is_column = 0; is_column <= 1; is_column++) {
        tulle_comm_t *comm = spt_comm("*x1", 0);
        spmm_case_t c = spmm_case_dense(ones, is_column ? n : 1, is_column ? 1 : n, TULLE_F64, TULLE_I64);
        tulle_spmm_stats_t stats = {.struct_size = sizeof stats};
        tulle_spmm_options_t options = TULLE_SPMM_OPTIONS_INIT;
        tulle_spmm_t *spmm = NULL;
        options.cover = TULLE_COVER_LEAST;
        spmm_case_check(comm, &c, &options, &random);
        spt_assert_ok_all(tulle_spmm_create(comm, &c.rows, &c.columns, &c.csr, &options, &spmm));
        spt_assert_ok_all(tulle_spmm_get_stats(spmm, &stats));
        spt_assert_all(stats.num_nonzeros == n && stats.cover_rows == spt_size() - 1);
        spt_assert_all(is_column ? stats.gathered_rows == spt_size() - 1 && stats.moved_nonzeros == 0
                                 : stats.columns_rows == stats.moved_nonzeros);
        tulle_spmm_destroy(&spmm);
        tulle_comm_destroy(&comm);
    }
}

/* Dense matrices on one node, eight columns on each rank: up to two rows a rank get sums from where the columns are,
 * and no row of B; three rows a rank are cheaper with all of them. */
static void test_spmm_few_rows_on_one_node_are_summed_where_their_columns_are(void **state)
{
    static const struct {
        tulle_cover_t cover;
        int64_t rows_of_rank;
        int is_summed;
    } kinds[] = {{TULLE_COVER_COLUMNS, 2, 0}, {TULLE_COVER_AUTO, 2, 1}, {TULLE_COVER_AUTO, 3, 0}};
    const int64_t size = spt_size(), num_cols = 8 * size;
    spt_random_t random = spt_random_shared(8);
    char one_node[32];
    snprintf(one_node, sizeof one_node, "1x%d", spt_size());
    tulle_comm_t *comm = spt_comm(one_node, 0);
    for (int k = 0; k < 3; k++) {
        int64_t num_rows = kinds[k].rows_of_rank * size, elsewhere = num_cols - 8;
        double *ones = spt_alloc(num_rows * num_cols, sizeof *ones);
        for (int64_t i = 0; i < num_rows * num_cols; i++)
            ones[i] = 1;
        spmm_case_t c = spmm_case_dense(ones, num_rows, num_cols, TULLE_F64, TULLE_I64);
        tulle_spmm_stats_t stats = {.struct_size = sizeof stats};
        tulle_spmm_options_t options = TULLE_SPMM_OPTIONS_INIT;
        tulle_spmm_t *spmm = NULL;
        options.cover = kinds[k].cover;
        spmm_case_check(comm, &c, &options, &random);
        spt_assert_ok_all(tulle_spmm_create(comm, &c.rows, &c.columns, &c.csr, &options, &spmm));
        spt_assert_ok_all(tulle_spmm_get_stats(spmm, &stats));
        spt_assert_all(tulle_plan_num_ghosts(tulle_spmm_plan(spmm, TULLE_GATHER)) ==
                       (kinds[k].is_summed ? 0 : elsewhere));
        spt_assert_all(stats.moved_nonzeros == (kinds[k].is_summed ? num_rows * elsewhere : 0));
        spt_assert_all(stats.cover == (kinds[k].is_summed && size > 1 ? TULLE_COVER_LEAST : TULLE_COVER_COLUMNS));
        tulle_spmm_destroy(&spmm);
    }
    tulle_comm_destroy(&comm);
}

/* --- adjoint ----------------------------------------------------------------------------------------------------- */

static void *make_rows(const spmm_case_t *c, const tulle_layout_t *layout, int64_t width, int64_t salt)
{
    void *rows = spt_alloc(layout->num_rows * width, sizeof(double));
    for (int64_t i = 0; i < layout->num_rows; i++)
        for (int64_t k = 0; k < width; k++)
            spmm_case_set(c, rows, i * width + k, spmm_case_b(layout->ids[i] + salt, k));
    return rows;
}

static double inner_product(const spmm_case_t *c, const void *a, const void *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += spmm_case_get(c, a, i) * spmm_case_get(c, b, i);
    MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return sum;
}

/* <Y, A X> = <A^T Y, X>, exact here: all are small integers and sixteenths. */
static void test_spmm_transpose_is_the_adjoint(void **state)
{
    spt_random_t random = spt_random_shared(4);
    const int64_t width = 5;
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        spmm_case_t c = spmm_case_random(&random, TULLE_F64, TULLE_I64);
        tulle_spmm_t *spmm = NULL;
        void *x = make_rows(&c, &c.columns, width, 1), *y = make_rows(&c, &c.rows, width, 2);
        void *ax = make_rows(&c, &c.rows, width, 3), *aty = make_rows(&c, &c.columns, width, 4);
        tulle_product_t forward = TULLE_PRODUCT(width, x, ax), transposed = TULLE_PRODUCT(width, y, aty);
        spt_assert_ok_all(tulle_spmm_create(comm, &c.rows, &c.columns, &c.csr, NULL, &spmm));
        spt_assert_ok_all(tulle_spmm_run_transpose(spmm, &transposed, NULL));
        spt_assert_ok_all(tulle_spmm_run(spmm, &forward, NULL));
        spt_assert_all(inner_product(&c, y, ax, c.rows.num_rows * width) ==
                       inner_product(&c, aty, x, c.columns.num_rows * width));
        tulle_spmm_destroy(&spmm);
        tulle_comm_destroy(&comm);
    }
}

/* --- at the nonzeros --------------------------------------------------------------------------------------------- */

static int64_t column_of(const spmm_case_t *c, int64_t e)
{
    return c->csr.index_type == TULLE_I32 ? ((const int32_t *)c->csr.col_idx)[e] : ((const int64_t *)c->csr.col_idx)[e];
}

static int are_sampled(const spmm_case_t *c, const void *values, double alpha, int64_t width)
{
    for (int64_t r = 0; r < c->rows.num_rows; r++) {
        for (int64_t e = c->csr.row_ptr[r]; e < c->csr.row_ptr[r + 1]; e++) {
            double sum = 0;
            for (int64_t k = 0; k < width; k++)
                sum += spmm_case_b(c->rows.ids[r] + 2, k) * spmm_case_b(column_of(c, e) + 1, k);
            if (spmm_case_get(c, values, e) != spmm_case_rounded(c, alpha * sum))
                return 0;
        }
    }
    return 1;
}

static void test_spmm_sampled_is_the_inner_product_at_each_nonzero(void **state)
{
    spt_random_t random = spt_random_shared(5);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        for (int i = 0; i < 4; i++) {
            const int64_t width = 1 + spt_below(&random, 20);
            spmm_case_t c = spmm_case_random(&random, value_type_of(i), index_type_of(i));
            tulle_spmm_options_t options = TULLE_SPMM_OPTIONS_INIT;
            tulle_spmm_t *spmm = NULL;
            void *values = spt_alloc(spmm_case_num_nonzeros(&c), sizeof(double));
            tulle_product_t product = {width, 0.5, make_rows(&c, &c.columns, width, 1), 0, 7, NULL, 0};
            product.c = make_rows(&c, &c.rows, width, 2);
            options.cover = covers[i % 4];
            spt_assert_ok_all(tulle_spmm_create(comm, &c.rows, &c.columns, &c.csr, &options, &spmm));
            for (int round = 0; round < 2; round++) {
                memset(values, 0xff, (size_t)spmm_case_num_nonzeros(&c) * sizeof(double));
                spt_assert_ok_all(tulle_spmm_run_sampled(spmm, &product, values, NULL));
                spt_assert_all(are_sampled(&c, values, 0.5, width));
            }
            tulle_spmm_destroy(&spmm);
        }
        tulle_comm_destroy(&comm);
    }
}

/* With every value doubled, the product doubles; in both directions, for each may have blocks of its own. */
static void check_doubled(tulle_spmm_t *spmm, const spmm_case_t *c, int is_transposed, const void *values)
{
    const int64_t width = 3;
    const tulle_layout_t *to = is_transposed ? &c->columns : &c->rows;
    void *b = make_rows(c, is_transposed ? &c->rows : &c->columns, width, 0);
    void *once = make_rows(c, to, width, 0), *twice = make_rows(c, to, width, 0);
    tulle_product_t product = TULLE_PRODUCT(width, b, once);
    tulle_status_t (*run)(tulle_spmm_t *, const tulle_product_t *, void *) =
        is_transposed ? tulle_spmm_run_transpose : tulle_spmm_run;
    int is_double = 1;
    spt_assert_ok_all(run(spmm, &product, NULL));
    spt_assert_ok_all(tulle_spmm_set_values(spmm, values));
    product.c = twice;
    spt_assert_ok_all(run(spmm, &product, NULL));
    for (int64_t i = 0; i < to->num_rows * width; i++)
        is_double = is_double && spmm_case_get(c, twice, i) == 2 * spmm_case_get(c, once, i);
    spt_assert_all(is_double);
    spt_assert_ok_all(tulle_spmm_set_values(spmm, c->csr.values));
}

static void test_spmm_set_values_are_used_in_both_directions(void **state)
{
    spt_random_t random = spt_random_shared(6);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        spmm_case_t c = spmm_case_random(&random, value_type_of(t), TULLE_I64);
        tulle_spmm_t *spmm = NULL;
        void *values = spt_alloc(spmm_case_num_nonzeros(&c), sizeof(double));
        for (int64_t e = 0; e < spmm_case_num_nonzeros(&c); e++)
            spmm_case_set(&c, values, e, 2 * spmm_case_get(&c, c.csr.values, e));
        spt_assert_ok_all(tulle_spmm_create(comm, &c.rows, &c.columns, &c.csr, NULL, &spmm));
        for (int round = 0; round < 4; round++)
            check_doubled(spmm, &c, round % 2, values);
        tulle_spmm_destroy(&spmm);
        tulle_comm_destroy(&comm);
    }
}

/* Runs of more widths than bindings are kept for, over and over. */
static void test_spmm_many_widths_share_few_bindings(void **state)
{
    spt_random_t random = spt_random_shared(7);
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    spmm_case_t c = spmm_case_random(&random, TULLE_F64, TULLE_I32);
    tulle_spmm_options_t options = TULLE_SPMM_OPTIONS_INIT;
    options.num_bindings = 1;
    spmm_case_check(comm, &c, &options, &random);
    options.num_bindings = 64;
    spmm_case_check(comm, &c, &options, &random);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_spmm_random_matrices_equal_serial_products),
        spt_test(test_spmm_matrix_without_nonzeros_is_zero),
        spt_test(test_spmm_one_long_row_crosses_as_one_partial_row),
        spt_test(test_spmm_few_rows_on_one_node_are_summed_where_their_columns_are),
        spt_test(test_spmm_transpose_is_the_adjoint),
        spt_test(test_spmm_sampled_is_the_inner_product_at_each_nonzero),
        spt_test(test_spmm_set_values_are_used_in_both_directions),
        spt_test(test_spmm_many_widths_share_few_bindings),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
