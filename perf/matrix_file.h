/* SPDX-License-Identifier: Apache-2.0
 * One MatrixMarket file, read whole by one rank into CSR: which entries exist, no values. CHOLMOD parses the entries,
 * mirrors symmetric storage, merges and sorts. */
#ifndef PERF_MATRIX_FILE_H
#define PERF_MATRIX_FILE_H

#include "perf/input.h"

/** A whole matrix. Zero-initialised is empty and may be released. */
typedef struct perf_matrix {
    int64_t rows;           /**< [rows] */
    int64_t cols;           /**< [columns] */
    int64_t nnz;            /**< [entries] expanded and merged */
    const int64_t *row_ptr; /**< [rows + 1] */
    const int64_t *col_idx; /**< [nnz] 0-based, ascending and distinct in each row */
    void *store;            /**< owns the arrays */
} perf_matrix_t;

/**
 * Read a file: header "%%MatrixMarket matrix coordinate", field pattern, real, integer or complex, storage general,
 * symmetric, skew-symmetric or hermitian. In the symmetric kinds either half may be stored, or both.
 * @collective no
 * @param[in]  path       as perf_input_read_matrix()
 * @param[in]  progress   called while reading; NULL = none
 * @param[in]  state      handed to @p progress
 * @param[out] matrix_out caller storage, free with perf_matrix_release(); untouched on failure
 * @retval as perf_input_read_matrix()
 * @threads any; one file per thread   @cost as perf_input_read_matrix() on rank 0
 */
tulle_status_t perf_matrix_read(const char *path, perf_progress_t progress, void *state, perf_matrix_t *matrix_out);

/** Free the arrays and zero the struct. @param[in,out] matrix NULL and zeroed are fine */
void perf_matrix_release(perf_matrix_t *matrix);

#endif
