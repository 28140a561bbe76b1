/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/collectives/spmm_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/src/half_reference.h"

/* Products of small integers and sixteenths: exact in f64, and in f32 within this of a sum of 60 terms below 100. In
 * f16 and bf16 they are what the exact sum rounds to, to the bit: it is rounded once, wherever its parts come from. */
#define TOLERANCE_F64 1e-10
#define TOLERANCE_F32 2e-3

/* --- making ------------------------------------------------------------------------------------------------------ */

static void shuffle(spt_random_t *random, int64_t *ids, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t k = spt_below(random, i + 1), id = ids[i];
        ids[i] = ids[k];
        ids[k] = id;
    }
}

/* Every id to some rank; one rank in four gets none where there are several. */
static tulle_layout_t deal(spt_random_t *random, int64_t num_ids, int is_shuffled)
{
    int64_t *ids = spt_alloc(num_ids, sizeof *ids), *mine = spt_alloc(num_ids, sizeof *mine), n = 0;
    int *weight = spt_alloc(spt_size(), sizeof *weight);
    int64_t total = 0, first = 0;
    for (int64_t i = 0; i < num_ids; i++)
        ids[i] = i;
    if (is_shuffled)
        shuffle(random, ids, num_ids);
    for (int r = 0; r < spt_size(); r++)
        total += weight[r] = spt_below(random, 4) == 0 && r > 0 ? 0 : 1 + (int)spt_below(random, 5);
    for (int r = 0, before = 0; r < spt_size(); r++) {
        before += weight[r];
        int64_t last = num_ids * before / total;
        for (int64_t i = first; r == spt_rank() && i < last; i++)
            mine[n++] = ids[i];
        first = last;
    }
    return (tulle_layout_t){n, 0, mine};
}

static void add_nonzero(spmm_case_t *c, void *col_idx, void *values, int64_t n, int64_t col, double value)
{
    if (c->csr.index_type == TULLE_I32)
        ((int32_t *)col_idx)[n] = (int32_t)col;
    else
        ((int64_t *)col_idx)[n] = col;
    spmm_case_set(c, values, n, value);
}

static void make_csr(spmm_case_t *c)
{
    int64_t n = 0, most = c->rows.num_rows * c->num_cols, *row_ptr = spt_alloc(c->rows.num_rows + 1, sizeof *row_ptr);
    void *col_idx = spt_alloc(most, sizeof(int64_t)), *values = spt_alloc(most, sizeof(double));
    for (int64_t r = 0; r < c->rows.num_rows; r++) {
        const double *row = c->a + c->rows.ids[r] * c->num_cols;
        for (int64_t col = 0; col < c->num_cols; col++)
            if (row[col] != 0)
                add_nonzero(c, col_idx, values, n++, col, row[col]);
        row_ptr[r + 1] = n;
    }
    c->csr.row_ptr = row_ptr;
    c->csr.col_idx = col_idx;
    c->csr.values = values;
}

spmm_case_t spmm_case_random(spt_random_t *random, tulle_datatype_t value_type, tulle_datatype_t index_type)
{
    spmm_case_t c = {.num_rows = 1 + spt_below(random, 60), .num_cols = 1 + spt_below(random, 60)};
    int64_t per_mille = 20 + spt_below(random, 300);
    c.csr.value_type = value_type;
    c.csr.index_type = index_type;
    c.a = spt_alloc(c.num_rows * c.num_cols, sizeof *c.a);
    for (int64_t i = 0; i < c.num_rows * c.num_cols; i++)
        if (spt_below(random, 1000) < per_mille)
            c.a[i] = (double)(spt_below(random, 63) - 31) / 16;
    c.rows = deal(random, c.num_rows, spt_below(random, 2) == 0);
    c.columns = deal(random, c.num_cols, spt_below(random, 2) == 0);
    make_csr(&c);
    return c;
}

static tulle_layout_t equal_share(int64_t num_ids)
{
    int64_t first = num_ids * spt_rank() / spt_size(), n = num_ids * (spt_rank() + 1) / spt_size() - first;
    int64_t *ids = spt_alloc(n, sizeof *ids);
    for (int64_t i = 0; i < n; i++)
        ids[i] = first + i;
    return (tulle_layout_t){n, 0, ids};
}

spmm_case_t spmm_case_dense(double *a, int64_t num_rows, int64_t num_cols, tulle_datatype_t value_type,
                            tulle_datatype_t index_type)
{
    spmm_case_t c = {.num_rows = num_rows, .num_cols = num_cols, .a = a};
    c.csr.value_type = value_type;
    c.csr.index_type = index_type;
    c.rows = equal_share(num_rows);
    c.columns = equal_share(num_cols);
    make_csr(&c);
    return c;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

int64_t spmm_case_num_nonzeros(const spmm_case_t *c)
{
    return c->csr.row_ptr[c->rows.num_rows];
}

static uint16_t half_of(half_format_t format, double value)
{
    return isnan(value) ? 0x7fff : half_reference_nearest(format, value);
}

double spmm_case_get(const spmm_case_t *c, const void *buffer, int64_t at)
{
    switch ((int)c->csr.value_type) {
    case TULLE_F16:
        return half_reference_value(half_f16, ((const uint16_t *)buffer)[at]);
    case TULLE_BF16:
        return half_reference_value(half_bf16, ((const uint16_t *)buffer)[at]);
    case TULLE_F32:
        return (double)((const float *)buffer)[at];
    default:
        return ((const double *)buffer)[at];
    }
}

void spmm_case_set(const spmm_case_t *c, void *buffer, int64_t at, double value)
{
    switch ((int)c->csr.value_type) {
    case TULLE_F16:
        ((uint16_t *)buffer)[at] = half_of(half_f16, value);
        break;
    case TULLE_BF16:
        ((uint16_t *)buffer)[at] = half_of(half_bf16, value);
        break;
    case TULLE_F32:
        ((float *)buffer)[at] = (float)value;
        break;
    default:
        ((double *)buffer)[at] = value;
    }
}

double spmm_case_rounded(const spmm_case_t *c, double value)
{
    double scalar = 0;
    spmm_case_set(c, &scalar, 0, value);
    return spmm_case_get(c, &scalar, 0);
}

double spmm_case_b(int64_t row, int64_t k)
{
    return (double)((row * 7 + k * 5 + row * k) % 19) - 9;
}

double spmm_case_expected(const spmm_case_t *c, int is_transposed, int64_t row, int64_t k)
{
    double sum = 0;
    int64_t inner = is_transposed ? c->num_rows : c->num_cols;
    for (int64_t j = 0; j < inner; j++)
        sum += (is_transposed ? c->a[j * c->num_cols + row] : c->a[row * c->num_cols + j]) * spmm_case_b(j, k);
    return sum;
}

/* --- checking ---------------------------------------------------------------------------------------------------- */

/* One product: operands with gaps, filled. */
typedef struct trial {
    const spmm_case_t *c;
    int is_transposed;
    spmm_case_run_t run;
    const tulle_layout_t *b_rows, *c_rows;
    tulle_product_t product;
    void *result; /* product.c */
    int64_t c_scalars;
} trial_t;

static double old_value(int64_t at)
{
    return (double)(at % 7) - 3;
}

static trial_t make_trial(const spmm_case_t *c, int is_transposed, spt_random_t *random)
{
    static const int64_t widths[] = {1, 2, 3, 4, 7, 8, 16, 19, 32, 64, 67};
    static const double factors[] = {0, 1, 1, -2, 0.5};
    trial_t t = {.c = c, .is_transposed = is_transposed};
    t.b_rows = is_transposed ? &c->rows : &c->columns;
    t.c_rows = is_transposed ? &c->columns : &c->rows;
    t.product.width = widths[spt_below(random, 11)];
    t.product.alpha = factors[spt_below(random, 5)];
    t.product.beta = factors[spt_below(random, 5)];
    t.product.b_stride = spt_below(random, 2) == 0 ? 0 : t.product.width + spt_below(random, 5);
    t.product.c_stride = spt_below(random, 2) == 0 ? 0 : t.product.width + spt_below(random, 5);
    return t;
}

static void fill_trial(trial_t *t)
{
    tulle_product_t *p = &t->product;
    int64_t b_stride = p->b_stride > 0 ? p->b_stride : p->width, c_stride = p->c_stride > 0 ? p->c_stride : p->width;
    void *b = spt_alloc(t->b_rows->num_rows * b_stride, sizeof(double));
    t->c_scalars = t->c_rows->num_rows * c_stride;
    t->result = spt_alloc(t->c_scalars, sizeof(double));
    for (int64_t i = 0; i < t->b_rows->num_rows; i++)
        for (int64_t k = 0; k < b_stride; k++)
            spmm_case_set(t->c, b, i * b_stride + k, k < p->width ? spmm_case_b(t->b_rows->ids[i], k) : NAN);
    for (int64_t at = 0; at < t->c_scalars; at++)
        spmm_case_set(t->c, t->result, at, p->beta == 0 && at % c_stride < p->width ? NAN : old_value(at));
    p->b = b;
    p->c = t->result;
}

static int is_right(const trial_t *t)
{
    const tulle_product_t *p = &t->product;
    int64_t c_stride = p->c_stride > 0 ? p->c_stride : p->width;
    tulle_datatype_t type = t->c->csr.value_type;
    double tolerance = type == TULLE_F64 ? TOLERANCE_F64 : type == TULLE_F32 ? TOLERANCE_F32 : 0;
    for (int64_t at = 0; at < t->c_scalars; at++) {
        int64_t row = at / c_stride, k = at % c_stride;
        double expected = old_value(at), value = spmm_case_get(t->c, t->result, at);
        if (k < p->width)
            expected = p->alpha * spmm_case_expected(t->c, t->is_transposed, t->c_rows->ids[row], k) +
                       (p->beta == 0 ? 0 : p->beta * old_value(at));
        if (tolerance == 0)
            expected = spmm_case_rounded(t->c, expected);
        if (!(fabs(value - expected) <= (k < p->width ? tolerance : 0)))
            return 0;
    }
    return 1;
}

static tulle_status_t run_on_host(tulle_spmm_t *spmm, const tulle_product_t *product, int64_t b_bytes, int64_t c_bytes,
                                  int is_transposed)
{
    return is_transposed ? tulle_spmm_run_transpose(spmm, product, NULL) : tulle_spmm_run(spmm, product, NULL);
}

static tulle_status_t run(tulle_spmm_t *spmm, const trial_t *t)
{
    int64_t size = (int64_t)tulle_datatype_size(t->c->csr.value_type);
    int64_t b_stride = t->product.b_stride > 0 ? t->product.b_stride : t->product.width;
    return t->run(spmm, &t->product, t->b_rows->num_rows * b_stride * size, t->c_scalars * size, t->is_transposed);
}

/* Again with other contents of C before: the same bits. */
static void check_reproducible(tulle_spmm_t *spmm, trial_t *t)
{
    size_t bytes = (size_t)t->c_scalars * tulle_datatype_size(t->c->csr.value_type);
    void *before = spt_alloc((int64_t)bytes, 1);
    if (bytes > 0)
        memcpy(before, t->result, bytes);
    fill_trial(t);
    spt_assert_ok_all(run(spmm, t));
    spt_assert_all(bytes == 0 || memcmp(before, t->result, bytes) == 0);
}

void spmm_case_check_by(spmm_case_run_t how, tulle_comm_t *comm, const spmm_case_t *c,
                        const tulle_spmm_options_t *options, spt_random_t *random)
{
    tulle_spmm_t *spmm = NULL;
    spt_assert_ok_all(tulle_spmm_create(comm, &c->rows, &c->columns, &c->csr, options, &spmm));
    for (int round = 0; round < 6; round++) {
        trial_t t = make_trial(c, round % 2, random);
        t.run = how;
        fill_trial(&t);
        spt_assert_ok_all(run(spmm, &t));
        spt_assert_all(is_right(&t));
        check_reproducible(spmm, &t);
    }
    tulle_spmm_destroy(&spmm);
    spt_assert_all(spmm == NULL);
}

void spmm_case_check(tulle_comm_t *comm, const spmm_case_t *c, const tulle_spmm_options_t *options,
                     spt_random_t *random)
{
    spmm_case_check_by(run_on_host, comm, c, options, random);
}
