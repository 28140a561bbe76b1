/* SPDX-License-Identifier: Apache-2.0
 * A sparse matrix that every rank knows as a whole, dealt to the ranks in uneven shares, and its products computed
 * serially in double precision. */
#ifndef TESTS_COLLECTIVES_SPMM_CASE_H
#define TESTS_COLLECTIVES_SPMM_CASE_H

#include "tests/support/world.h"

typedef struct spmm_case {
    int64_t num_rows, num_cols;
    double *a;           /* [num_rows * num_cols] dense; of few bits, so that f32 holds them */
    tulle_layout_t rows; /* of this rank; lists of ids */
    tulle_layout_t columns;
    tulle_csr_t csr; /* of this rank */
} spmm_case_t;

/** Random size, density, uneven shares (some ranks have nothing), order of rows. @param[in,out] random shared */
spmm_case_t spmm_case_random(spt_random_t *random, tulle_datatype_t value_type, tulle_datatype_t index_type);

/** From a dense matrix on every rank, in blocks of equal size. @param[in] a kept */
spmm_case_t spmm_case_dense(double *a, int64_t num_rows, int64_t num_cols, tulle_datatype_t value_type,
                            tulle_datatype_t index_type);

/** Nonzeros of this rank. */
int64_t spmm_case_num_nonzeros(const spmm_case_t *c);

/** A scalar of a buffer of the case's value type; and to set one. */
double spmm_case_get(const spmm_case_t *c, const void *buffer, int64_t at);
void spmm_case_set(const spmm_case_t *c, void *buffer, int64_t at, double value);

/** What a value becomes in the case's value type. */
double spmm_case_rounded(const spmm_case_t *c, double value);

/** Element of the dense operand with global row `row`. Small integers. */
double spmm_case_b(int64_t row, int64_t k);

/** What a product is expected to hold in one row: alpha (A B)[row][k] + beta old. */
double spmm_case_expected(const spmm_case_t *c, int is_transposed, int64_t row, int64_t k);

/** Runs a product of rows in host memory in its own way. */
typedef tulle_status_t (*spmm_case_run_t)(tulle_spmm_t *spmm, const tulle_product_t *product, int64_t b_bytes,
                                          int64_t c_bytes, int is_transposed);

/** spmm_case_check() with products that are run otherwise. */
void spmm_case_check_by(spmm_case_run_t run, tulle_comm_t *comm, const spmm_case_t *c,
                        const tulle_spmm_options_t *options, spt_random_t *random);

/**
 * Create with these options, run forward and transposed, thrice, with random strides and factors, and compare.
 * Collective.
 */
void spmm_case_check(tulle_comm_t *comm, const spmm_case_t *c, const tulle_spmm_options_t *options,
                     spt_random_t *random);

#endif
