/* SPDX-License-Identifier: Apache-2.0
 * Sparse times dense against a serial product in double precision: random matrices, every cover, both directions. */
#include <math.h>
#include <string.h>

#include "tests/support/world.h"

/* A matrix that every rank knows as a whole, and this rank's part of it. */
typedef struct whole {
    int64_t num_rows, num_cols;
    int64_t row_first, num_my_rows, col_first, num_my_cols;
    double *a;          /* [num_rows * num_cols] dense */
    int64_t *row_ptr;   /* [num_my_rows + 1] */
    int32_t *col_idx;
    double *values;
} whole_t;

static int64_t split(int64_t total, int rank)
{
    return total * rank / spt_size();
}

static whole_t make_whole(spt_random_t *random, int64_t num_rows, int64_t num_cols, int64_t per_mille)
{
    whole_t w = {.num_rows = num_rows, .num_cols = num_cols};
    int64_t n = 0;
    w.row_first = split(num_rows, spt_rank());
    w.num_my_rows = split(num_rows, spt_rank() + 1) - w.row_first;
    w.col_first = split(num_cols, spt_rank());
    w.num_my_cols = split(num_cols, spt_rank() + 1) - w.col_first;
    w.a = spt_alloc(num_rows * num_cols, sizeof *w.a);
    for (int64_t i = 0; i < num_rows * num_cols; i++)
        if (spt_below(random, 1000) < per_mille)
            w.a[i] = (double)(spt_below(random, 200) - 100) / 16;
    w.row_ptr = spt_alloc(w.num_my_rows + 1, sizeof *w.row_ptr);
    w.col_idx = spt_alloc(w.num_my_rows * num_cols, sizeof *w.col_idx);
    w.values = spt_alloc(w.num_my_rows * num_cols, sizeof *w.values);
    for (int64_t r = 0; r < w.num_my_rows; r++) {
        for (int64_t c = 0; c < num_cols; c++) {
            double value = w.a[(w.row_first + r) * num_cols + c];
            if (value != 0) {
                w.col_idx[n] = (int32_t)c;
                w.values[n++] = value;
            }
        }
        w.row_ptr[r + 1] = n;
    }
    return w;
}

static double b_value(int64_t row, int64_t k)
{
    return (double)((row * 7 + k * 3) % 23) - 11;
}

static int is_right(const whole_t *w, int is_transposed, const double *c, int64_t width)
{
    int64_t n = is_transposed ? w->num_my_cols : w->num_my_rows, first = is_transposed ? w->col_first : w->row_first;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < width; k++) {
            double sum = 0;
            int64_t inner = is_transposed ? w->num_rows : w->num_cols;
            for (int64_t j = 0; j < inner; j++)
                sum += (is_transposed ? w->a[j * w->num_cols + first + i] : w->a[(first + i) * w->num_cols + j]) *
                       b_value(j, k);
            if (fabs(sum - c[i * width + k]) > 1e-9)
                return 0;
        }
    return 1;
}

static void check_product(tulle_comm_t *comm, const whole_t *w, const tulle_spmm_options_t *options, int64_t width)
{
    tulle_spmm_t *spmm = NULL;
    tulle_layout_t rows = TULLE_LAYOUT_BLOCK(w->num_my_rows), columns = TULLE_LAYOUT_BLOCK(w->num_my_cols);
    tulle_csr_t csr = {w->row_ptr, w->col_idx, w->values, TULLE_I32, TULLE_F64};
    spt_assert_ok_all(tulle_spmm_create(comm, &rows, &columns, &csr, options, &spmm));
    for (int is_transposed = 0; is_transposed <= 1; is_transposed++) {
        int64_t num_b = is_transposed ? w->num_my_rows : w->num_my_cols;
        int64_t num_c = is_transposed ? w->num_my_cols : w->num_my_rows;
        double *b = spt_alloc(num_b * width, sizeof *b), *c = spt_alloc(num_c * width, sizeof *c);
        tulle_product_t product = TULLE_PRODUCT(width, b, c);
        for (int64_t i = 0; i < num_b; i++)
            for (int64_t k = 0; k < width; k++)
                b[i * width + k] = b_value((is_transposed ? w->row_first : w->col_first) + i, k);
        spt_assert_ok_all(is_transposed ? tulle_spmm_run_transpose(spmm, &product, NULL)
                                        : tulle_spmm_run(spmm, &product, NULL));
        spt_assert_all(is_right(w, is_transposed, c, width));
    }
    tulle_spmm_destroy(&spmm);
}

static void test_spmm_random_matrix_equals_serial_product(void **state)
{
    spt_random_t random = spt_random_shared(1);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        whole_t w = make_whole(&random, 20 + spt_below(&random, 20), 20 + spt_below(&random, 20), 100);
        check_product(comm, &w, NULL, 1 + spt_below(&random, 20));
        tulle_comm_destroy(&comm);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_spmm_random_matrix_equals_serial_product),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
