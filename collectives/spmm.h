/* SPDX-License-Identifier: Apache-2.0
 * Inside of a distributed sparse matrix. Its nonzeros are in three blocks: own rows and own columns; own rows and
 * columns that are gathered; rows of others, whose partial sums are scattered, and own columns. A^T has the same three,
 * transposed, with the last two in each other's place: so both products are one engine, a *way*, with other blocks. */
#ifndef TLI_SPMM_H
#define TLI_SPMM_H

#include <tulle/spmm.h>

#include "collectives/exchange.h"
#include "collectives/pattern.h"
#include "src/device/multiply.h"

/** Rows that arrived with some messages, and what is multiplied with them. */
typedef struct tli_spmm_part {
    tli_sparse_t block;
    int64_t num_messages;
    int64_t *messages; /* [num_messages] of the gather plan: once they and those of the parts before are here */
} tli_spmm_part_t;

/** All that one direction of multiplication needs. */
typedef struct tli_spmm_way {
    int is_ready;
    tulle_plan_t *gather, *scatter; /* borrowed from the matrix; NULL: nothing is gathered or scattered, on any rank */
    tli_sparse_t partial;           /* rows of others times own rows of B */
    tli_sparse_t own;
    int num_parts;
    tli_spmm_part_t *parts; /* [num_parts] own rows times gathered rows of B */
    int64_t num_b, num_c;   /* [rows] of this rank */
    int64_t num_landings;
    int64_t *landings; /* [num_landings] rows of C for which partial rows come, ascending */
    /* Of f16 and bf16, so that every row of C is rounded once: rows that more than own columns add to are kept as sums.
     */
    int64_t num_whole; /* listed rows of own that nothing else adds to; they come first */
    int64_t num_sums;
    int32_t *sum_rows;     /* [num_sums] rows of C, ascending */
    int64_t *landing_sums; /* [num_landings] the sums that landings are */
} tli_spmm_way_t;

/** Exchanges of one way, bound to one width. The rows they end in are theirs; those they begin with come and go. */
typedef struct tli_spmm_binding {
    const tli_spmm_way_t *way;
    int64_t width;
    int64_t last_use;
    tulle_exchange_t *gather, *scatter;  /* NULL where the way has no such plan */
    int holds_b;                         /* ghosts are those of the last product: alike on all ranks */
    void *ghosts;                        /* gathered rows of B */
    void *partials;                      /* partial rows of C, to be scattered; of the type of sums */
    void *landed;                        /* sums of partial rows of others, at the places of the rows of C */
    void *sums;                          /* [num_sums] rows of C that are not yet rounded */
    struct tli_spmm_device_rows *device; /* NULL: rows are in host memory */
    tli_arena_t arena;
    struct tli_spmm_binding *next;
} tli_spmm_binding_t;

/** Nonzeros that this rank holds for others: where they come from. */
typedef struct tli_spmm_moved {
    int64_t num;
    int32_t *rank;  /* [num] whose they are */
    int64_t *entry; /* [num] position there */
    void *values;   /* [num] */
    void *sampled;  /* [num] inner products for others, in the space of rows; made when first asked for */
} tli_spmm_moved_t;

struct tulle_spmm {
    tulle_comm_t *comm; /* one reference */
    tulle_spmm_options_t options;
    tulle_datatype_t type;
    int64_t num_rows, num_cols, num_nonzeros; /* of this rank, as the caller gave them */
    void *values;                             /* [num_nonzeros] */
    tulle_plan_t *gather;                     /* rows of B by columns */
    tulle_plan_t *scatter;                    /* partial rows of C by rows; NULL: no rank has any */
    tli_sparse_t own, ghost, foreign;         /* foreign: rows of others */
    tli_spmm_moved_t moved;
    tulle_plan_t *values_plan; /* of moved values; made when first asked for */
    int has_room;              /* for inner products, where they need any: alike on all ranks */
    tli_spmm_way_t forward, transposed;
    tli_spmm_binding_t *bindings;                        /* newest first */
    int64_t num_uses;                                    /* of bindings */
    int64_t columns_rows, gathered_rows, scattered_rows; /* crossing into this node, on its first rank */
    int64_t far_bytes; /* of a rank's C, from which on it is written past the caches, and B asked for early */
    double setup_ns, cover_ns;
    struct tli_spmm_device *device; /* NULL: rows are in host memory, or no way is ready there */
    tli_arena_t arena;
};

/** Whether a rank's C is so large that it is written past the caches. @param[in] width [scalars] */
static inline int tli_spmm_is_far(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, int64_t width)
{
    return way->num_c * width * (int64_t)tulle_datatype_size(spmm->type) >= spmm->far_bytes;
}

/* --- blocks: spmm_blocks.c --------------------------------------------------------------------------------------- */

/** Nonzeros in any order, to be made into a block. */
typedef struct tli_triples {
    int64_t num;
    int32_t *row, *col; /* [num] */
    int64_t *entry;     /* [num] */
} tli_triples_t;

/** Room for so many. */
tulle_status_t tli_triples_alloc(tli_arena_t *arena, int64_t most, tli_triples_t *triples_out);

static inline void tli_triples_add(tli_triples_t *triples, int64_t row, int64_t col, int64_t entry)
{
    triples->row[triples->num] = (int32_t)row;
    triples->col[triples->num] = (int32_t)col;
    triples->entry[triples->num++] = entry;
}

/** A block of all rows, empty ones too, from triples, in their order within each row. It has no values. */
tulle_status_t tli_sparse_build(tli_arena_t *arena, int64_t num_rows, int64_t num_cols, const tli_triples_t *triples,
                                tli_sparse_t *block_out);

/** Make a direction ready: its blocks, with values. Local, but all ranks do it at the same time. */
tulle_status_t tli_spmm_prepare(tulle_spmm_t *spmm, tli_spmm_way_t *way);

/** List the rows of a block that have nonzeros, so that the others are not looked at. */
tulle_status_t tli_spmm_drop_empty_rows(tli_arena_t *arena, tli_sparse_t *block);

/** Rows of C by whether they are rounded at once or kept as sums: how own rows are listed. */
typedef struct tli_row_order {
    int32_t *place;   /* [num_c] of each row in that list; NULL: rows are as they are */
    int32_t *row;     /* [num_c] the list: rows that are rounded at once first */
    int32_t *sum_row; /* [num_c] which sum each is, of those that are one */
} tli_row_order_t;

/** Find the rows of C that are kept as sums, once parts and landings are known, and point these at them. */
tulle_status_t tli_spmm_separate_sums(tli_arena_t *arena, tli_spmm_way_t *way, tli_row_order_t *order_out);

/** Take the values of all blocks that are made from the lists that their entries point into. */
void tli_spmm_fill(tulle_spmm_t *spmm);

/* --- running ----------------------------------------------------------------------------------------------------- */

/** Dense rows of a caller on this rank: there, no closer than they are wide, of a size that can be counted, aligned.
 * @param[in] name for the error text @param[in,out] stride 0 becomes the width */
tulle_status_t tli_product_check_rows(const char *name, const void *rows, int64_t num_rows, tulle_datatype_t type,
                                      int64_t width, int64_t *stride);
/** They are where the matrix wants them. @param[in] num_rows 0: they are not looked at */
tulle_status_t tli_spmm_check_space(const tulle_spmm_t *spmm, const char *name, const void *rows, int64_t num_rows);
/** There is a stream only where rows are on the device. */
tulle_status_t tli_spmm_check_stream(const tulle_spmm_t *spmm, const void *stream);

/**
 * Check the arguments of a run on this rank; make its way ready.
 * @param[in]  product as the caller gave it; NULL is an error
 * @param[out] checked a copy with strides resolved; of width 0 on failure
 */
tulle_status_t tli_spmm_check(tulle_spmm_t *spmm, tli_spmm_way_t *way, const tulle_product_t *product, void *stream,
                              tulle_product_t *checked);

/** Exchanges of a way and a width: those kept, or new ones. @param[in] product checked @collective all ranks */
tulle_status_t tli_spmm_bind(tulle_spmm_t *spmm, const tli_spmm_way_t *way, const tulle_product_t *product,
                             tli_spmm_binding_t **binding_out);

/** As tulle_spmm_run() and tulle_spmm_run_transpose(), of arguments that all ranks know to be right: they agree the
 * first time only, on what is made then. @param[in] is_transposed alike on all ranks @collective */
tulle_status_t tli_spmm_run_agreed(tulle_spmm_t *spmm, int is_transposed, const tulle_product_t *product, void *stream);

/** Likewise as tulle_spmm_run_sampled(). What the last products of this width gathered may be used again.
 * @param[in] x_is_gathered the last product was of X, with the matrix as it is
 * @param[in] y_is_gathered the last transposed product was of Y */
tulle_status_t tli_spmm_run_sampled_agreed(tulle_spmm_t *spmm, const tulle_product_t *product, int x_is_gathered,
                                           int y_is_gathered, void *values_out, void *stream);

/** The multiplications of a product alone, with the rows that were gathered before; arguments are not looked at. For
 * measurements. @collective, the first time that a width is used */
tulle_status_t tli_spmm_run_local(tulle_spmm_t *spmm, int is_transposed, const tulle_product_t *product);

/** Free all bindings. @collective */
void tli_spmm_unbind(tulle_spmm_t *spmm);

/** NULL check that every entry point begins with. */
tulle_status_t tli_check_spmm(const tulle_spmm_t *spmm);

#endif
