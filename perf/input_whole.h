/* SPDX-License-Identifier: Apache-2.0
 * A whole matrix on rank 0, and the same matrix in blocks of rows on all ranks: from one to the other. */
#ifndef PERF_INPUT_WHOLE_H
#define PERF_INPUT_WHOLE_H

#include "perf/input.h"
#include "perf/matrix_file.h"

/**
 * Send every rank its rows.
 * @collective all ranks of @p comm; blocks
 * @param[in]  name      of the input; of rank 0, the other ranks ignore it
 * @param[in]  matrix    borrowed; of rank 0, zeroed on the others
 * @param[in]  progress  called on rank 0; NULL = none
 * @param[in]  state     handed to @p progress
 * @param[out] input_out released or never used; perf_input_release() frees it; untouched on failure
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 */
tulle_status_t perf_input_distribute(MPI_Comm comm, const char *name, const perf_matrix_t *matrix,
                                     perf_progress_t progress, void *state, perf_input_t *input_out);

/**
 * The inverse.
 * @collective all ranks of @p comm; blocks
 * @param[in]  arena      holds the arrays, on rank 0
 * @param[out] matrix_out not to be released; untouched on failure, and on the other ranks
 * @retval as perf_input_distribute()
 */
tulle_status_t perf_input_collect(MPI_Comm comm, const perf_input_t *input, tli_arena_t *arena,
                                  perf_matrix_t *matrix_out);

#endif
