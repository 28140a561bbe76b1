/* SPDX-License-Identifier: Apache-2.0
 * From needs to the plan's messages in a running job: the routing of each node on its first rank, then every receiver
 * tells its senders what it expects. */
#ifndef TLI_NEGOTIATE_H
#define TLI_NEGOTIATE_H

#include "collectives/pattern.h"
#include "collectives/plan.h"

/**
 * Fill the messages of a plan whose options are set.
 * @collective all ranks of the plan's communicator, whatever their status; they have still to agree on the outcome
 * @param[in]     local   status so far; @p plan may be NULL on a rank that failed
 * @param[in,out] plan    arrays are allocated in its arena
 */
tulle_status_t tli_negotiate(tulle_comm_t *comm, tulle_status_t local, tulle_strategy_t strategy,
                             const tulle_pattern_t *pattern, tulle_plan_t *plan);

#endif
