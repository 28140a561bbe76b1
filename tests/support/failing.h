/* SPDX-License-Identifier: Apache-2.0
 * The k-th allocation fails, for every k, on one rank and on all. */
#ifndef SPT_FAILING_H
#define SPT_FAILING_H

#include "tests/support/world.h"

/** Make something and destroy it. Collective. */
typedef tulle_status_t (*spt_job_t)(const void *world);

/** Every rank gets a status, nothing hangs and nothing is lost. Collective. */
void spt_assert_survives_failing_allocations(spt_job_t job, const void *world);

#endif
