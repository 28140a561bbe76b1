/* SPDX-License-Identifier: Apache-2.0
 * Reductions by definition, one scalar at a time, and random scalars to reduce. */
#ifndef TEST_SRC_PACK_ORACLE_H
#define TEST_SRC_PACK_ORACLE_H

#include "src/device/pack.h"
#include "tests/support/world.h"

/** Exact for every datatype as long as values come from pack_oracle_random(). Arguments as in tli_reduce_rows(). */
void pack_oracle_reduce(const tli_reduce_args_t *args);

/** A finite scalar of any datatype. Complex ones are small whole numbers: their products are exact, so that it does not
 * matter whether the compiler fuses multiplications and additions. */
void pack_oracle_random(spt_random_t *random, tulle_datatype_t datatype, void *scalar);

#endif
