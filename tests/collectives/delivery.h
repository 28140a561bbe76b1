/* SPDX-License-Identifier: Apache-2.0
 * A routed virtual job, simulated: does everything arrive, and only what is of use? */
#ifndef TEST_COLLECTIVES_DELIVERY_H
#define TEST_COLLECTIVES_DELIVERY_H

#include "virtual_world.h"

/** Check whatever must hold for every strategy; fails the test. @return rows received by ranks that only pass them on
 */
int64_t delivery_check(const virtual_world_t *world);

#endif
