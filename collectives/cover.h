/* SPDX-License-Identifier: Apache-2.0
 * Covers: which rows of B and which partial rows of C cross from one node to another. Pure functions of the block of
 * nonzeros between the two; the smallest ones in the order of rows and columns, so alike on every machine. */
#ifndef TLI_COVER_H
#define TLI_COVER_H

#include <stdint.h>

#include <tulle/topology.h>

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

/**
 * A vertex cover of least weight.
 * @param[in] row_weight [num_rows] >= 1, and col_weight [num_cols]
 * @cost one maximum flow: O(nonzeros sqrt(rows + columns)) for equal weights
 * @see Dinic, Soviet Math. Dokl. 11 (1970)
 */
tulle_status_t tli_cover_weighted(const tli_block_graph_t *graph, const int64_t *row_weight, const int64_t *col_weight,
                                  tli_arena_t *arena, tli_block_cover_t *cover_out);

/** Which rank a covered row or column makes move a row: its owner. Numbered from 0, those of both nodes together. */
typedef struct tli_block_owners {
    int32_t num_owners;
    const int32_t *of_row, *of_col;
} tli_block_owners_t;

/** A cover whose busiest owner moves few rows, and no more than in the least cover; the sum may be larger. Of several
 * tried, by rising prices of busy owners, the best. @cost as six weighted covers */
tulle_status_t tli_cover_balanced(const tli_block_graph_t *graph, const tli_block_owners_t *owners, tli_arena_t *arena,
                                  tli_block_cover_t *cover_out);

/* --- the choice of a kind ---------------------------------------------------------------------------------------- */

/** Words of a flow: what nodes and ranks would move with covers of one kind. Flows of several ranks add up. */
int64_t tli_cover_flow_words(const tulle_topology_t *topology);

/** Add the cover of the block between the columns of node `from` and the rows of node `to`.
 * @param[in] row_weight rows of B that a partial row of C counts as */
void tli_cover_flow_add(const tulle_topology_t *topology, int from, int to, const tli_block_cover_t *cover,
                        int64_t row_weight, int64_t *flow);

/** Add rows that this rank sends to, or receives from, other nodes whatever the plans do: rows of B leave from their
 * owner, partial rows of C end at theirs. */
void tli_cover_flow_add_rank(const tulle_topology_t *topology, int rank, int is_sender, int64_t rows, int64_t *flow);

/** [ns] of the busiest node, by the cost model. */
double tli_cover_flow_ns(const tulle_topology_t *topology, int64_t row_bytes, const int64_t *flow);

/** Whether a balanced cover may be faster than the least one: nodes have several links, of which a rank drives one. A
 * node's sum is least with the least cover anyway, for that is least for each of its pairs. */
int tli_cover_can_balance(const tulle_topology_t *topology);

#endif
