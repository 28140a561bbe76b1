/* SPDX-License-Identifier: Apache-2.0
 * One exchange on trial: fields with buffers, values, and what the naive exchange makes of them. */
#ifndef SPT_TRIAL_H
#define SPT_TRIAL_H

#include "tests/support/reference.h"

#define SPT_MAX_FIELDS 3

typedef struct spt_trial {
    const spt_pattern_t *pattern;
    const int64_t *position; /* [num_needed] as tulle_plan_ghost_order() */
    unsigned char *skip;     /* [num_needed] needs whose row in the ghost buffer is none or stands for an earlier one */
    int64_t num_ghosts;
    tulle_direction_t direction;
    tulle_op_t op;
    tulle_wire_precision_t wire_precision; /* for running only: values are then off */
    size_t chunk_bytes;
    int has_rows_to_lend; /* buffers of fields added from now on come from tulle_alloc() */
    int num_fields;
    tulle_field_t fields[SPT_MAX_FIELDS];
    unsigned char *needed[SPT_MAX_FIELDS]; /* gather: dense rows expected */
    unsigned char *before[SPT_MAX_FIELDS]; /* scatter: the owned buffer as it was */
    spt_contributions_t given[SPT_MAX_FIELDS];
} spt_trial_t;

/** Collective, as all of these but spt_trial_is_right(). */
spt_trial_t spt_trial(const tulle_plan_t *plan, const spt_pattern_t *pattern, tulle_direction_t direction,
                      tulle_op_t op);
/** @param[in] gap [scalars] between owned rows; between ghost rows one more */
void spt_trial_add(spt_trial_t *trial, tulle_datatype_t datatype, int64_t width, int64_t gap);
/** One to three fields of random types that know the op, widths and gaps. @param[in,out] random shared */
void spt_trial_add_random(spt_trial_t *trial, spt_random_t *random);
/** The exchange of it. */
tulle_exchange_t *spt_trial_bind(const spt_trial_t *trial, const tulle_plan_t *plan);
/** New values, and what is expected of them. @param[in,out] random mine */
void spt_trial_fill(spt_trial_t *trial, spt_random_t *random);
/** After the exchange: whether this rank's buffers are as expected, gaps included. Local. */
int spt_trial_is_right(const spt_trial_t *trial);
/** The same exchange again and again, each time with new values and as expected. @param[in,out] random mine */
void spt_trial_repeat(spt_trial_t *trial, tulle_exchange_t *exchange, spt_random_t *random, int rounds);

/** Start and wait. */
void spt_run(tulle_exchange_t *exchange);
/** A plan moves what it should: a gather and a scatter of random fields, @p rounds times each. */
void spt_assert_plan_works(const tulle_plan_t *plan, const spt_pattern_t *pattern, uint64_t stream, int rounds);
/** A communicator is fit for use: a random pattern, a plan, an exchange. */
void spt_assert_comm_works(tulle_comm_t *comm);

#endif
