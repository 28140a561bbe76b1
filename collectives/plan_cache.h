/* SPDX-License-Identifier: Apache-2.0
 * Plans that a communicator keeps, so that a pattern that was planned before, with the same options, costs a hash and a
 * reduction. A kept plan without users holds no reference to its communicator, which frees it in the end. */
#ifndef TLI_PLAN_CACHE_H
#define TLI_PLAN_CACHE_H

#include "collectives/pattern.h"
#include "collectives/plan.h"

/** What one rank knows of a plan before it is made. */
typedef struct tli_plan_key {
    uint64_t words[2];
} tli_plan_key_t;

/** Of this rank's part of the pattern and the options. All ranks' keys together say that a plan is the same. */
tli_plan_key_t tli_plan_key(const tulle_pattern_t *pattern, const tulle_plan_options_t *options);

/** Make the table where plans are kept and there is none yet. Local, before the ranks agree to go on. */
tulle_status_t tli_plan_cache_open(tulle_comm_t *comm);

/** A plan of all ranks' keys, with one more user; NULL if there is none. @collective */
tulle_status_t tli_plan_cache_find(tulle_comm_t *comm, tli_plan_key_t key, tulle_plan_t **plan_out);

/** Keep a new plan, in the place of the one not asked for longest. Does nothing where none are kept. */
void tli_plan_cache_keep(tulle_comm_t *comm, tli_plan_key_t key, tulle_plan_t *plan);

#endif
