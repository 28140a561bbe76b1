/* SPDX-License-Identifier: Apache-2.0
 * What the wire may make of rows of f32, by the definition of each precision: arithmetic in double, no bit tricks. */
#ifndef SPT_WIRE_REFERENCE_H
#define SPT_WIRE_REFERENCE_H

#include <tulle/exchange.h>

#include "tests/support/world.h"

#define SPT_NUM_PRECISIONS 3

/** All but NONE. */
extern const tulle_wire_precision_t spt_precisions[SPT_NUM_PRECISIONS];

/** A row as it arrives. @param[out] rounded [width] NaN for every NaN */
void spt_wire_round(tulle_wire_precision_t precision, const float *values, int64_t width, double *rounded);
/** Whether that is what came, to the sign of zero; any NaN for NaN. */
int spt_wire_is(double expected, float got);
/** Most that the contract lets a finite value be off, in a row whose largest magnitude is given. */
double spt_wire_bound(tulle_wire_precision_t precision, double magnitude, double largest);

/** Scalars of a row: magnitudes near each other; [special] with some that are tiny, huge, zero, infinite or NaN. */
void spt_wire_fill(spt_random_t *random, int special, float *values, int64_t width);

#endif
