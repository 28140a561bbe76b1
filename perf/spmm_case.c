/* SPDX-License-Identifier: Apache-2.0
 * B[j][k] = u(j) + w(j) v(k), with pseudo-random u, w and v. So a row of C = A B is U(i) + W(i) v(k), where U and W are
 * products of A with vectors: the oracle costs no more than a product of width 2, and shares no code with the library.
 */
#include "perf/spmm_case.h"

#include <string.h>

#include "src/agree.h"
#include "src/device/half.h"

/* |A| <= 3 and |B| <= 24: sums of so many entries stay below 2^24. */
#define MOST_EXACT_F32 ((int64_t)(1 << 24) / 72)

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* An integer in [-half, half). */
static double draw(uint64_t seed, int64_t at, int64_t half)
{
    return (double)((int64_t)(mix(seed * 0x9e3779b97f4a7c15u + (uint64_t)at) % (uint64_t)(2 * half)) - half);
}

static double u_of(int64_t row)
{
    return draw(1, row, 8);
}

static double w_of(int64_t row)
{
    return draw(2, row, 4);
}

static double v_of(int64_t k)
{
    return draw(3, k, 4);
}

/* 1, 2 or 3, of either sign. */
static double a_of(int64_t row, int64_t col)
{
    uint64_t bits = mix((uint64_t)row * 0x9e3779b97f4a7c15u + (uint64_t)col);
    return (double)(1 + (int64_t)(bits % 3)) * (bits >> 32 & 1 ? 1 : -1);
}

double perf_spmm_case_b(int64_t row, int64_t k)
{
    return u_of(row) + w_of(row) * v_of(k);
}

static void store(tulle_datatype_t datatype, void *scalars, int64_t at, double value)
{
    if (datatype == TULLE_F64)
        ((double *)scalars)[at] = value;
    else if (datatype == TULLE_F32)
        ((float *)scalars)[at] = (float)value;
    else
        ((uint16_t *)scalars)[at] = tli_half_from_f32(datatype == TULLE_BF16, (float)value);
}

static double load(tulle_datatype_t datatype, const void *scalars, int64_t at)
{
    if (datatype == TULLE_F64)
        return ((const double *)scalars)[at];
    if (datatype == TULLE_F32)
        return (double)((const float *)scalars)[at];
    return (double)tli_f32_from_half(datatype == TULLE_BF16, ((const uint16_t *)scalars)[at]);
}

/* What a scalar must be: sums are exact, and rounded once. */
static double rounded(tulle_datatype_t datatype, double value)
{
    double scalar = 0;
    store(datatype, &scalar, 0, value);
    return load(datatype, &scalar, 0);
}

static void fill(perf_spmm_case_t *one)
{
    const perf_input_t *input = one->input;
    for (int64_t row = 0; row < input->num_rows; row++)
        for (int64_t e = input->row_ptr[row]; e < input->row_ptr[row + 1]; e++)
            store(one->datatype, one->values, e, a_of(input->first_row + row, input->col_idx[e]));
    for (int64_t row = 0; row < one->num_b; row++)
        for (int64_t k = 0; k < one->width; k++)
            store(one->datatype, one->b, row * one->width + k, perf_spmm_case_b(one->first_b + row, k));
}

static void sum_rows(perf_spmm_case_t *one)
{
    const perf_input_t *input = one->input;
    for (int64_t row = 0; row < input->num_rows; row++) {
        for (int64_t e = input->row_ptr[row]; e < input->row_ptr[row + 1]; e++) {
            double a = a_of(input->first_row + row, input->col_idx[e]);
            one->sum_u[row] += a * u_of(input->col_idx[e]);
            one->sum_w[row] += a * w_of(input->col_idx[e]);
        }
    }
}

/* Every rank adds what its rows give to all columns; it is the oracle, and may be slow. */
static tulle_status_t sum_columns(perf_spmm_case_t *one)
{
    tulle_status_t st = TULLE_OK;
    const perf_input_t *input = one->input;
    tli_arena_t scratch = TLI_ARENA_INIT;
    double *all = NULL;
    int64_t n = input->cols;
    TLI_TRY(tli_agree(one->comm, tli_arena_alloc(&scratch, n, 2 * sizeof *all, &all)));
    for (int64_t row = 0; row < input->num_rows; row++) {
        for (int64_t e = input->row_ptr[row]; e < input->row_ptr[row + 1]; e++) {
            int64_t col = input->col_idx[e];
            double a = a_of(input->first_row + row, col);
            all[col] += a * u_of(input->first_row + row);
            all[n + col] += a * w_of(input->first_row + row);
        }
    }
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, all, (int)(2 * n), MPI_DOUBLE, MPI_SUM, one->comm));
    for (int64_t col = 0; col < input->num_cols; col++) {
        one->sum_u[col] = all[input->first_col + col];
        one->sum_w[col] = all[n + input->first_col + col];
    }
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t check_exact(const perf_spmm_case_t *one)
{
    tulle_status_t st = TULLE_OK;
    const perf_input_t *input = one->input;
    int64_t most = one->is_transposed ? input->rows : 0;
    for (int64_t row = 0; row < input->num_rows; row++)
        if (input->row_ptr[row + 1] - input->row_ptr[row] > most)
            most = input->row_ptr[row + 1] - input->row_ptr[row];
    TLI_REQUIRE(one->datatype == TULLE_F64 || most <= MOST_EXACT_F32, TULLE_ERR_OVERFLOW,
                "sums of %lld entries are not exact in f32, so they cannot be checked; give --dtype f64",
                (long long)most);
done:
    return st;
}

static tulle_status_t alloc(perf_spmm_case_t *one)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(check_exact(one));
    TLI_TRY(
        tli_arena_alloc_raw(&one->arena, one->input->row_ptr[one->input->num_rows], one->scalar_bytes, &one->values));
    TLI_TRY(tli_arena_alloc_raw(&one->arena, one->num_b * one->width, one->scalar_bytes, &one->b));
    TLI_TRY(tli_arena_alloc(&one->arena, one->num_c, sizeof(double), &one->sum_u));
    TLI_TRY(tli_arena_alloc(&one->arena, one->num_c, sizeof(double), &one->sum_w));
done:
    return st;
}

tulle_status_t perf_spmm_case_create(MPI_Comm comm, const perf_input_t *input, int is_transposed,
                                     tulle_datatype_t datatype, int64_t width, perf_spmm_case_t *case_out)
{
    tulle_status_t st = TULLE_OK;
    perf_spmm_case_t one = {.comm = comm,
                            .input = input,
                            .is_transposed = is_transposed,
                            .datatype = datatype,
                            .scalar_bytes = tulle_datatype_size(datatype),
                            .width = width,
                            .num_b = is_transposed ? input->num_rows : input->num_cols,
                            .num_c = is_transposed ? input->num_cols : input->num_rows,
                            .first_b = is_transposed ? input->first_row : input->first_col,
                            .first_c = is_transposed ? input->first_col : input->first_row};
    MPI_Comm_rank(comm, &one.rank);
    MPI_Comm_size(comm, &one.num_ranks);
    TLI_TRY(tli_agree(comm, alloc(&one)));
    fill(&one);
    if (is_transposed)
        TLI_TRY(sum_columns(&one));
    else
        sum_rows(&one);
    *case_out = one;
    one.arena = (tli_arena_t)TLI_ARENA_INIT;
done:
    perf_spmm_case_release(&one);
    return st;
}

void perf_spmm_case_release(perf_spmm_case_t *one)
{
    tli_arena_release(&one->arena);
}

int64_t perf_spmm_case_count_wrong(const perf_spmm_case_t *one, const void *c, int64_t row_stride, int64_t col_stride)
{
    int64_t num_wrong = 0;
    for (int64_t row = 0; row < one->num_c; row++)
        for (int64_t k = 0; k < one->width; k++)
            num_wrong += load(one->datatype, c, row * row_stride + k * col_stride) !=
                         rounded(one->datatype, one->sum_u[row] + one->sum_w[row] * v_of(k));
    return num_wrong;
}
