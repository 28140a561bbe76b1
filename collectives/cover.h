/* SPDX-License-Identifier: Apache-2.0
 * Covers: which rows of B and which partial rows of C cross from one node to another. Pure functions of the block of
 * nonzeros between the two; the smallest ones in the order of rows and columns, so alike on every machine. */
#ifndef TLI_COVER_H
#define TLI_COVER_H

#include <stdint.h>

#include <tulle/status.h>

#include "src/arena.h"

/** The block between the rows of one node and the columns of another, as a bipartite graph: the rows of each column. */
typedef struct tli_block_graph {
    int32_t num_rows, num_cols;
    int64_t *col_ptr; /* [num_cols + 1] */
    int32_t *row;     /* [col_ptr[num_cols]] */
} tli_block_graph_t;

/** Every nonzero is in a covered row or in a covered column. */
typedef struct tli_block_cover {
    int32_t num_rows, num_cols; /* that are covered */
    unsigned char *has_row;     /* [num_rows of the block] */
    unsigned char *has_col;     /* [num_cols of the block] */
} tli_block_cover_t;

/**
 * A minimum vertex cover: as few rows and columns together as can be. Of several the one with most columns, for a row
 * of B needs no nonzero to be moved.
 * @cost O(nonzeros sqrt(rows + columns)) time
 * @see Hopcroft, Karp, SIAM J. Comput. 2 (1973), doi:10.1137/0202019 (the matching); Koenig, Mat. Lapok 38 (1931)
 */
tulle_status_t tli_cover_least(const tli_block_graph_t *graph, tli_arena_t *arena, tli_block_cover_t *cover_out);

#endif
