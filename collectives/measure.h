/* SPDX-License-Identifier: Apache-2.0
 * A plan chosen by the clock instead of the model alone. */
#ifndef TLI_MEASURE_H
#define TLI_MEASURE_H

#include <tulle/plan.h>

/**
 * Make a plan by every strategy, time those that the model finds promising, keep the fastest.
 * @collective all ranks of @p comm, with the same checked options
 * @retval as tulle_plan_create() and tulle_exchange_create(); on all ranks
 */
tulle_status_t tli_plan_measure(tulle_comm_t *comm, const tulle_pattern_t *pattern, const tulle_plan_options_t *options,
                                tulle_plan_t **plan_out);

#endif
