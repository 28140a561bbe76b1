/* SPDX-License-Identifier: Apache-2.0
 * The naive exchange that others are compared with: scalars of every datatype as numbers, random patterns whose owners
 * are known without asking, rows moved by one MPI_Alltoallv. Shares no code with the library. */
#ifndef SPT_REFERENCE_H
#define SPT_REFERENCE_H

#include "tests/support/world.h"

/* --- scalars ----------------------------------------------------------------------------------------------------- */

#define SPT_NUM_DATATYPES 11

typedef struct spt_value {
    double re, im;
} spt_value_t;

/** Every datatype, in the order of their values. */
extern const tulle_datatype_t spt_datatypes[SPT_NUM_DATATYPES];

size_t spt_scalar_bytes(tulle_datatype_t datatype);
/** Whether scatter must know the reduction, as the contract words it. */
int spt_knows(tulle_datatype_t datatype, tulle_op_t op);
spt_value_t spt_load(tulle_datatype_t datatype, const void *at);
void spt_store(tulle_datatype_t datatype, spt_value_t value, void *at);
/** a op b, as numbers; integers wrap when stored. */
spt_value_t spt_combine(tulle_op_t op, spt_value_t a, spt_value_t b);
/** Scalars that an exchange with this op combines without rounding in any order; any bits for replace and byte. */
void spt_fill(spt_random_t *random, tulle_datatype_t datatype, tulle_op_t op, void *scalars, int64_t n);

/* --- patterns ---------------------------------------------------------------------------------------------------- */

typedef struct spt_pattern {
    int64_t num_owned;
    int64_t first; /* of a contiguous block */
    int64_t *ids;  /* [num_owned] */
    int is_list;   /* ids are in no order */
    int64_t num_needed;
    int64_t *needed_ids; /* [num_needed] */
    int32_t *owner_rank; /* [num_needed] */
    int64_t *owner_row;  /* [num_needed] */
} spt_pattern_t;

/** A random pattern: blocks or lists, with empty ranks; needs that are few or many, near or far, with favourites,
 * duplicates and own rows. The same @p stream on every rank; memory lives until the end of the test. */
spt_pattern_t spt_pattern_random(uint64_t stream);
/** The library's pattern of it. */
tulle_pattern_t *spt_pattern_make(tulle_comm_t *comm, const spt_pattern_t *pattern);
/** Its plan. */
tulle_plan_t *spt_plan_make(tulle_comm_t *comm, const spt_pattern_t *pattern, tulle_strategy_t strategy,
                            tulle_ghost_order_t ghost_order);

/* --- the naive exchange; collective ------------------------------------------------------------------------------ */

/** Records that came, ordered by source. */
typedef struct spt_mail {
    int64_t num;
    unsigned char *records;
} spt_mail_t;

/** Send record i to rank to[i]. */
spt_mail_t spt_deliver(int64_t n, const int32_t *to, const void *records, size_t record_bytes);
/** Row of every need. @param[in] owned dense rows @param[out] needed [num_needed] dense rows */
void spt_gather(const spt_pattern_t *pattern, const void *owned, size_t row_bytes, void *needed);

/** Contributions to owned rows. */
typedef struct spt_contributions {
    int64_t num;
    const int64_t *row;        /* [num] owned row */
    const unsigned char *rows; /* [num] dense */
} spt_contributions_t;

/** Give a row to the owner of each need; needs with skip[i] nonzero give none. */
spt_contributions_t spt_scatter(const spt_pattern_t *pattern, const unsigned char *skip, const void *rows,
                                size_t row_bytes);

#endif
