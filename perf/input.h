/* SPDX-License-Identifier: Apache-2.0
 * The matrices that drive an exchange: read from a MatrixMarket file, the matrix of a grid stencil, random, or that of
 * a tomographic scan. Each rank holds its own rows; values are never kept, only which entries exist. */
#ifndef PERF_INPUT_H
#define PERF_INPUT_H

#include <stdint.h>

#include <mpi.h>

#include <tulle/status.h>

#include "src/arena.h"

/**
 * A distributed matrix: this rank's rows in CSR. Rows and columns lie in contiguous blocks over the ranks, one more on
 * each of the first (n mod ranks): see perf_block(). Zero-initialised is empty and may be released.
 *
 * An entry is a place named by the file, also when its value is zero. Symmetric, skew-symmetric and hermitian storage
 * is expanded; a place named several times counts once.
 */
typedef struct perf_input {
    char name[64];     /**< file name without folder, .mtx and compression suffix; "grid-64x64-5", "random-1000x16",
                        "tomography-256x180", "neighbors-3" */
    int64_t rows;      /**< [rows] of the whole matrix */
    int64_t cols;      /**< [columns] of the whole matrix */
    int64_t nnz;       /**< [entries] of the whole matrix, expanded and merged */
    int64_t first_row; /**< first row of this rank; rows when it has none and none follow */
    int64_t num_rows;  /**< [rows] of this rank */
    int64_t first_col; /**< first column of this rank */
    int64_t num_cols;  /**< [columns] of this rank */
    int64_t *row_ptr;  /**< [num_rows + 1] owned; starts at 0 */
    int64_t *col_idx;  /**< [row_ptr[num_rows]] owned; global, 0-based, ascending and distinct in each row */
    tli_arena_t arena; /**< holds both arrays */
} perf_input_t;

/**
 * Progress of a long read, on rank 0 only, some ten times per phase at the most.
 * @param[in] state    as given
 * @param[in] what     phase: "reading" or "sending"; static storage
 * @param[in] fraction 0 to 1 of the phase
 */
typedef void (*perf_progress_t)(void *state, const char *what, double fraction);

/**
 * Read a MatrixMarket file of coordinates, as it is or compressed (gzip, xz, bzip2, zstd, lz4; known by content, not by
 * name). Rank 0 reads and holds the whole matrix for a while; every other rank receives its rows, in bounded messages.
 * @collective all ranks of @p comm; blocks
 * @param[in]  comm      borrowed
 * @param[in]  path      borrowed; a regular file, readable on rank 0; the other ranks ignore it
 * @param[in]  progress  called on rank 0; NULL = none
 * @param[in]  state     borrowed for the call, handed to @p progress
 * @param[out] input_out caller storage, released or never used; perf_input_release() frees it; untouched on failure
 * @retval TULLE_ERR_FILE missing, no regular file, truncated, damaged or foreign; an index out of range; fewer or more
 *         entries than announced: the detail names the file and the fault
 * @retval TULLE_ERR_UNSUPPORTED dense (array) storage
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_OVERFLOW a size from 2^53; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank
 * failed
 * @threads one thread per comm at a time
 * @cost rank 0: O(entries + rows) time, at the peak some 32 bytes per stored entry and 24 per row and column; the
 * others: O(entries of the rank)
 */
tulle_status_t perf_input_read_matrix(MPI_Comm comm, const char *path, perf_progress_t progress, void *state,
                                      perf_input_t *input_out);

/**
 * Matrix of a stencil on a structured grid: row = cell, entries = the cell itself and its neighbours. Cell (x, y, z)
 * has the row x + dims[0] * (y + dims[1] * z). On a periodic axis of 1 or 2 cells neighbours coincide and count once.
 * @collective all ranks of @p comm, with equal arguments; blocks
 * @param[in]  comm      borrowed
 * @param[in]  dims      [cells] per axis, >= 1; dims[2] is ignored in two dimensions
 * @param[in]  num_dims  2 or 3
 * @param[in]  stencil   [points] 5 or 9 in two dimensions, 7 or 27 in three
 * @param[in]  periodic  [bool] the axis wraps around; NULL = none does
 * @param[out] input_out caller storage; released or never used; perf_input_release() frees it; untouched on failure
 * @retval TULLE_ERR_ARG an unknown stencil, an axis below 1; TULLE_ERR_OVERFLOW more than 2^62 / 27 cells
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; all ranks fail when one does
 * @threads one thread per comm at a time   @cost O(stencil * rows of the rank)
 */
tulle_status_t perf_input_make_grid(MPI_Comm comm, const int64_t dims[3], int num_dims, int stencil,
                                    const int periodic[3], perf_input_t *input_out);

/**
 * A square matrix with the same number of entries in every row, at columns drawn evenly without repetition. The matrix
 * depends on the arguments only, not on the number of ranks.
 * @collective all ranks of @p comm, with equal arguments; blocks
 * @param[in]  comm        borrowed
 * @param[in]  rows        [rows] and columns, >= 0
 * @param[in]  nnz_per_row [entries] >= 0; capped at the number of columns
 * @param[in]  seed        any value
 * @param[out] input_out   caller storage; released or never used; perf_input_release() frees it; untouched on failure
 * @retval TULLE_ERR_ARG a negative count; TULLE_ERR_OVERFLOW more than 2^62 entries
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; all ranks fail when one does
 * @threads one thread per comm at a time   @cost O(entries of the rank * log(nnz_per_row))
 */
tulle_status_t perf_input_make_random(MPI_Comm comm, int64_t rows, int64_t nnz_per_row, uint64_t seed,
                                      perf_input_t *input_out);

/**
 * The transposed projection matrix of a parallel-beam scan: row = pixel, column = ray, an entry where the ray crosses
 * the pixel over some length (perf/tomography.h has the geometry). Then the ghost rows of a rank are the rays that
 * cross its pixels: scatter reduces partial sinograms onto the owners of rays, gather is the transpose, for back
 * projection. Pixels are numbered along a Hilbert curve through the image, rays along one through the sinogram
 * (detector, angle), so that each rank owns a compact piece of both. The matrix depends on the arguments only, not on
 * the number of ranks.
 * @collective all ranks of @p comm, with equal arguments; blocks
 * @param[in]  comm       borrowed
 * @param[in]  side       [pixels] of the square image, and [detectors]; 1 to 2^20
 * @param[in]  num_angles evenly over half a turn; 1 to 2^20
 * @param[out] input_out  caller storage; released or never used; perf_input_release() frees it; untouched on failure
 * @retval TULLE_ERR_ARG a number below 1; TULLE_ERR_OVERFLOW above 2^20
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; all ranks fail when one does
 * @threads one thread per comm at a time
 * @cost O(entries of the rank * log(side + num_angles)) time; beside the entries, memory for the angles
 */
tulle_status_t perf_input_make_tomography(MPI_Comm comm, int64_t side, int64_t num_angles, perf_input_t *input_out);

/**
 * One row and one column per rank, an entry for each of the next ranks, in a ring: what is measured on it is the cost
 * of ranks and messages, not of rows.
 * @collective all ranks of @p comm, with equal arguments; blocks
 * @param[in]  comm          borrowed
 * @param[in]  num_neighbors [entries] of each row, >= 0; capped at the number of other ranks
 * @param[out] input_out     caller storage; released or never used; perf_input_release() frees it; untouched on failure
 * @retval TULLE_ERR_ARG a negative number; TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; all ranks fail when one does
 * @threads one thread per comm at a time   @cost O(num_neighbors)
 */
tulle_status_t perf_input_make_neighbors(MPI_Comm comm, int64_t num_neighbors, perf_input_t *input_out);

/**
 * What every maker begins with: sizes, this rank's blocks, a zeroed row_ptr. Not collective beyond asking for rank and
 * size; the caller agrees on the status, then allocates col_idx.
 * @param[in]  comm      borrowed
 * @param[in]  rows      [rows] >= 0
 * @param[in]  cols      [columns] >= 0
 * @param[out] input_out caller storage, released or never used; holds what was allocated also on failure
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_OVERFLOW; TULLE_ERR_TRANSPORT
 * @threads one thread per comm at a time   @cost O(rows of the rank)
 */
tulle_status_t perf_input_init(MPI_Comm comm, int64_t rows, int64_t cols, perf_input_t *input_out);

/**
 * What every maker ends with: agree, count all entries, move to the caller.
 * @collective all ranks of @p comm; blocks
 * @param[in]     local     how filling went on this rank
 * @param[in,out] input     its rows are filled, its name is set; moved, or released on failure
 * @param[out]    input_out untouched on failure
 * @retval local, or TULLE_ERR_REMOTE another rank failed; TULLE_ERR_TRANSPORT
 */
tulle_status_t perf_input_finish(MPI_Comm comm, tulle_status_t local, perf_input_t *input, perf_input_t *input_out);

/** Free the arrays and zero the struct. Not collective. @param[in,out] input NULL and zeroed are fine */
void perf_input_release(perf_input_t *input);

/**
 * Block of ids of one rank.
 * @param[in]  n         [ids] >= 0
 * @param[in]  num_ranks >= 1
 * @param[in]  rank      0 to num_ranks - 1
 * @param[out] first_out first id of the block
 * @param[out] count_out [ids] in the block
 */
void perf_block(int64_t n, int num_ranks, int rank, int64_t *first_out, int64_t *count_out);

/** Rank whose block holds an id. @param[in] n [ids] @param[in] num_ranks >= 1 @param[in] id 0 to n - 1 @return rank */
int perf_block_owner(int64_t n, int num_ranks, int64_t id);

#endif
