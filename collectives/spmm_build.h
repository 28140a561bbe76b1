/* SPDX-License-Identifier: Apache-2.0
 * A distributed sparse matrix while it is made: spmm.c finds columns and plans, spmm_cover.c decides what crosses
 * between nodes, spmm_move.c hands nonzeros over. */
#ifndef TLI_SPMM_BUILD_H
#define TLI_SPMM_BUILD_H

#include "collectives/spmm.h"

typedef struct tli_spmm_builder {
    tulle_spmm_t *spmm;
    const tulle_layout_t *rows, *columns;
    const tulle_csr_t *matrix;
    tli_arena_t arena;        /* scratch */
    tli_runs_t own;           /* columns of this rank */
    int64_t *place;           /* [nonzeros] own column, or -1 - its place among the foreign ones */
    int64_t *foreign_ids;     /* [num_foreign] distinct foreign columns, ascending */
    int64_t num_foreign;      /* those not gathered included */
    tulle_pattern_t *pattern; /* of the foreign columns; of those to be gathered, once they are decided */
    int64_t *owner_rank;      /* [num_foreign] of all foreign columns, where some are not gathered */
    int64_t *owner_row;       /* [num_foreign] */
    int64_t *kept;            /* [num_foreign] place among those that are gathered, -1: its nonzeros move */
    tli_triples_t moved;      /* nonzeros of others, between their rows (as ghost rows) and own columns */
} tli_spmm_builder_t;

/**
 * Decide per pair of nodes which rows of B cross and which partial rows of C, and keep in the pattern only what is to
 * be gathered. Fills kept; options.cover becomes what is in use.
 * @collective all ranks
 */
tulle_status_t tli_spmm_cover(tli_spmm_builder_t *b);

/**
 * Hand the nonzeros of columns that are not gathered to the owners of these, and plan how their partial rows travel.
 * Fills moved and spmm's scatter plan and moved values, or leaves them empty where no rank has such nonzeros.
 * @collective all ranks
 */
tulle_status_t tli_spmm_move(tli_spmm_builder_t *b);

/** A plan as the options of the matrix say, for rows of a type, ghost rows in plan order. @collective */
tulle_status_t tli_spmm_make_plan(const tulle_spmm_t *spmm, const tulle_pattern_t *pattern, tulle_datatype_t type,
                                  tulle_plan_t **plan_out);

#endif
