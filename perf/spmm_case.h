/* SPDX-License-Identifier: Apache-2.0
 * One product that every method computes: the matrix with values, the operand, and what the result must be. All values
 * are small integers, so that every sum is exact in any order, and one wrong scalar is seen;
 * f16 and bf16 must be the exact sums, rounded once. */
#ifndef PERF_SPMM_CASE_H
#define PERF_SPMM_CASE_H

#include <stdint.h>

#include <tulle/spmm.h>

#include "perf/input.h"
#include "src/arena.h"

/** Borrowed by whatever is made from it. Zero-initialised may be released. */
typedef struct perf_spmm_case {
    MPI_Comm comm;
    int rank, num_ranks;
    const perf_input_t *input; /* borrowed */
    int is_transposed;
    tulle_datatype_t datatype;
    size_t scalar_bytes;
    int64_t width;
    void *values;             /* [entries of this rank] */
    int64_t num_b, num_c;     /* [rows] of this rank */
    int64_t first_b, first_c; /* global */
    void *b;                  /* [num_b * width] row-major */
    double *sum_u, *sum_w;    /* [num_c] what the oracle makes each row of C of */
    tli_arena_t arena;
} perf_spmm_case_t;

/**
 * @collective all ranks of @p comm
 * @param[in]  input    borrowed for the life of the case
 * @param[out] case_out caller storage, release with perf_spmm_case_release(); untouched on failure
 * @retval TULLE_ERR_OVERFLOW a row or column of so many entries that f32 would not be exact; TULLE_ERR_NOMEM
 */
tulle_status_t perf_spmm_case_create(MPI_Comm comm, const perf_input_t *input, int is_transposed,
                                     tulle_datatype_t datatype, int64_t width, perf_spmm_case_t *case_out);

/** @param[in,out] one zeroed is fine */
void perf_spmm_case_release(perf_spmm_case_t *one);

/** Value of B at a global row. */
double perf_spmm_case_b(int64_t row, int64_t k);

/** Scalars of this rank's rows of C that are wrong. @param[in] row_stride, col_stride [scalars] */
int64_t perf_spmm_case_count_wrong(const perf_spmm_case_t *one, const void *c, int64_t row_stride, int64_t col_stride);

#endif
