/* SPDX-License-Identifier: Apache-2.0
 * The pattern: which rows every rank owns and which it needs. What must move, with no decision in it. */
#ifndef TULLE_PATTERN_H
#define TULLE_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/comm.h>

TULLE_BEGIN_DECLS

/** Owned and needed rows of every rank. Opaque; holds copies of everything it was made from. */
typedef struct tulle_pattern tulle_pattern_t;

/** Rows that this rank owns: a contiguous block of global ids, or any list of them. A rank may own nothing. */
typedef struct tulle_layout {
    int64_t num_rows;   /**< [count] owned rows, >= 0 */
    int64_t first;      /**< first global id of the block; TULLE_LAYOUT_FOLLOW = after the rank before; else ignored */
    const int64_t *ids; /**< [num_rows] global ids in local order; NULL = a contiguous block */
} tulle_layout_t;

/** The block starts where the block of the rank before ends; on every rank or on none. */
#define TULLE_LAYOUT_FOLLOW ((int64_t)-1)
/* clang-format off */
/** A contiguous block of @p n rows after those of the rank before. */
#define TULLE_LAYOUT_BLOCK(n) {(n), TULLE_LAYOUT_FOLLOW, NULL}
/** The @p n rows whose global ids are listed. */
#define TULLE_LAYOUT_LIST(n, list) {(n), 0, (list)}
/* clang-format on */

/**
 * Pattern from global ids. Ghost row i will hold the row with id needed_ids[i].
 * @collective all ranks of @p comm; blocks
 * @param[in]  comm        borrowed; kept alive by the pattern
 * @param[in]  owned       borrowed for the call; ids are in [0, 2^62); no id may be owned twice
 * @param[in]  needed_ids  [num_needed] borrowed for the call; any order, duplicates and own ids allowed
 * @param[in]  num_needed  [count] >= 0
 * @param[out] pattern_out owned by the caller, free with tulle_pattern_destroy(); untouched on failure
 * @retval TULLE_ERR_ARG a null pointer, a negative count, an id owned twice, an id that nobody owns
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_OVERFLOW; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 * @threads one thread per comm at a time
 * @cost O(owned runs + needed) memory and time, messages to neighbours in a block-distributed directory of ids
 * @see Hoefler, Siebert, Lumsdaine, PPoPP 2010, doi:10.1145/1693453.1693476 (nonblocking consensus)
 */
TULLE_API tulle_status_t tulle_pattern_create_from_ids(tulle_comm_t *comm, const tulle_layout_t *owned,
                                                       const int64_t *needed_ids, int64_t num_needed,
                                                       tulle_pattern_t **pattern_out);

/**
 * Pattern of a sparse matrix times a dense one: this rank holds some rows of the matrix and needs the rows of the dense
 * operand that its column indices name. Needed are the distinct columns that this rank does not own, in ascending
 * order: see tulle_pattern_needed_ids().
 * @collective all ranks of @p comm; blocks
 * @param[in]  comm        borrowed; kept alive by the pattern
 * @param[in]  rows        borrowed; matrix rows on this rank; no row may be on two ranks
 * @param[in]  columns     borrowed; who owns which column (rows of the dense operand); need not resemble the row layout
 * @param[in]  row_ptr     [rows->num_rows + 1] borrowed; 64-bit, starts at 0, never decreases
 * @param[in]  col_idx     [row_ptr[rows->num_rows]] borrowed; global column ids, any order, duplicates allowed
 * @param[out] pattern_out owned by the caller, free with tulle_pattern_destroy(); untouched on failure
 * @retval TULLE_ERR_ARG a null pointer, a row_ptr that is no CSR, a column that nobody owns or two ranks own
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_OVERFLOW; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 * @threads one thread per comm at a time   @cost O(nonzeros) time and memory
 */
TULLE_API tulle_status_t tulle_pattern_create_from_csr(tulle_comm_t *comm, const tulle_layout_t *rows,
                                                       const tulle_layout_t *columns, const int64_t *row_ptr,
                                                       const int64_t *col_idx, tulle_pattern_t **pattern_out);

/**
 * Pattern from (owner rank, owner row) pairs, as in a PetscSF star forest: ghost row i will hold row owner_row[i] of
 * rank owner_rank[i].
 * @collective all ranks of @p comm; blocks
 * @param[in]  comm        borrowed; kept alive by the pattern
 * @param[in]  num_owned   [count] rows on this rank, >= 0
 * @param[in]  num_needed  [count] >= 0
 * @param[in]  owner_rank  [num_needed] borrowed for the call
 * @param[in]  owner_row   [num_needed] borrowed for the call; 0-based in the owner's rows
 * @param[out] pattern_out owned by the caller, free with tulle_pattern_destroy(); untouched on failure
 * @retval TULLE_ERR_ARG a null pointer, a negative count, a rank or row out of range
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_OVERFLOW; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 * @threads one thread per comm at a time   @cost O(needed), one small message per owner
 */
TULLE_API tulle_status_t tulle_pattern_create_from_forest(tulle_comm_t *comm, int64_t num_owned, int64_t num_needed,
                                                          const int32_t *owner_rank, const int64_t *owner_row,
                                                          tulle_pattern_t **pattern_out);

/** A structured grid, cut into one box per rank. Cell (x, y, z) has the id x + dims[0] * (y + dims[1] * z). */
typedef struct tulle_grid {
    int32_t num_dims;    /**< 2 or 3 */
    int32_t stencil;     /**< points: 5 or 9 in two dimensions, 7 or 27 in three */
    int64_t dims[3];     /**< [cells] per axis, >= 1; dims[2] is ignored in two dimensions */
    int64_t lo[3];       /**< first cell of this rank's box per axis */
    int64_t hi[3];       /**< one past its last cell; hi == lo on any axis is an empty box */
    int32_t periodic[3]; /**< [bool] the axis wraps around */
} tulle_grid_t;

/**
 * Pattern of a halo exchange on a structured grid. Owned rows are the cells of the box, x fastest; needed are the
 * neighbours of the box under the stencil, in ascending id order: see tulle_pattern_needed_ids().
 * @collective all ranks of @p comm; blocks
 * @param[in]  comm        borrowed; kept alive by the pattern
 * @param[in]  grid        borrowed for the call; all but the box equal on every rank; the boxes tile the grid
 * @param[out] pattern_out owned by the caller, free with tulle_pattern_destroy(); untouched on failure
 * @retval TULLE_ERR_ARG a null pointer, an unknown stencil, a box out of range, boxes that overlap or leave a gap
 * @retval TULLE_ERR_MISMATCH ranks disagree about the grid
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_OVERFLOW; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 * @threads one thread per comm at a time   @cost O(box surface + lines of the box)
 */
TULLE_API tulle_status_t tulle_pattern_create_from_grid(tulle_comm_t *comm, const tulle_grid_t *grid,
                                                        tulle_pattern_t **pattern_out);

/**
 * Free a pattern and set *pattern to NULL.
 * @param[in,out] pattern NULL and pointer to NULL are fine
 * @collective all ranks, before MPI_Finalize   @threads one thread per comm at a time
 */
TULLE_API void tulle_pattern_destroy(tulle_pattern_t **pattern);

/** Rows owned by this rank; 0 for NULL. @param[in] pattern borrowed @return count @collective no @threads any
 * @cost O(1) */
TULLE_API int64_t tulle_pattern_num_owned(const tulle_pattern_t *pattern);

/** Rows needed by this rank, as listed (duplicates counted); 0 for NULL. @param[in] pattern borrowed @return count
 * @collective no @threads any @cost O(1) */
TULLE_API int64_t tulle_pattern_num_needed(const tulle_pattern_t *pattern);

/**
 * Global ids of the needed rows, in the order of the ghost rows.
 * @param[in] pattern borrowed
 * @return [num_needed] borrowed, valid while the pattern lives; NULL when nothing is needed, or for a pattern made from
 *         a forest, which has no global ids
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const int64_t *tulle_pattern_needed_ids(const tulle_pattern_t *pattern);

TULLE_END_DECLS

#endif
