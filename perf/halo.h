/* SPDX-License-Identifier: Apache-2.0
 * Who needs which rows of whom, found from the matrix without the library: what the peers exchange by, what the oracle
 * knows about contributions, and what volumes are counted from. */
#ifndef PERF_HALO_H
#define PERF_HALO_H

#include <mpi.h>
#include <stdint.h>

#include "perf/input.h"
#include "src/arena.h"

/** Rows move between rank pairs in blocks; ghost row i holds the row needed_ids[i]. Zero-initialised may be released.
 */
typedef struct perf_halo {
    MPI_Comm comm; /* borrowed */
    int rank, num_ranks;
    int64_t num_rows;         /* [rows] of all ranks: columns of the matrix */
    int64_t first_owned;      /* this rank's block */
    int64_t num_owned;        /* [rows] */
    int64_t num_needed;       /* [rows] */
    int64_t *needed_ids;      /* [num_needed] distinct, not owned, ascending: so also by owner */
    int *needed_count;        /* [num_ranks] needed rows by owner */
    int *needed_start;        /* [num_ranks + 1] where they start in needed_ids */
    int64_t num_wanted;       /* [rows] that others need of this rank, counted once per rank */
    int64_t *wanted_rows;     /* [num_wanted] owned rows (0 = first_owned), by needing rank, ascending in each */
    int *wanted_count;        /* [num_ranks] wanted rows by needing rank */
    int *wanted_start;        /* [num_ranks + 1] where they start in wanted_rows */
    int64_t *contributor_ptr; /* [num_owned + 1] */
    int *contributors;        /* [num_wanted] ranks that need each owned row, ascending */
    tli_arena_t arena;        /* holds all of it */
} perf_halo_t;

/**
 * @collective all ranks of @p comm
 * @param[out] halo_out caller storage, release with perf_halo_release(); untouched on failure
 * @retval TULLE_ERR_OVERFLOW a rank needs more than INT_MAX rows; TULLE_ERR_NOMEM, TULLE_ERR_TRANSPORT; on all ranks
 */
tulle_status_t perf_halo_create(MPI_Comm comm, const perf_input_t *input, perf_halo_t *halo_out);

/** Not collective. @param[in,out] halo NULL and zeroed are fine */
void perf_halo_release(perf_halo_t *halo);

#endif
