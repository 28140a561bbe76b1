/* SPDX-License-Identifier: Apache-2.0
 * Scalars of every datatype, written from integers, compared with integers and reduced. Independent of the library:
 * this is what its results are judged by. */
#ifndef PERF_SCALAR_H
#define PERF_SCALAR_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/types.h>

/** Parts of one scalar: 2 (real, imaginary) for c64 and c128, else 1. Arrays below hold parts one after the other. */
int perf_scalar_parts(tulle_datatype_t datatype);

/** Whether the type holds no negative value: u8 and byte. */
int perf_scalar_is_unsigned(tulle_datatype_t datatype);

/** Every integer from -limit to limit - 1 (0 to limit - 1 when unsigned) is held exactly; a power of two. */
int64_t perf_scalar_exact_limit(tulle_datatype_t datatype);

/**
 * Write integers as scalars; those that do not fit an integer type wrap around.
 * @param[in]  values [num_parts] exact in the type unless it is an integer type
 * @param[out] scalars [num_parts] parts of the type, any alignment of the element
 */
void perf_scalar_store(tulle_datatype_t datatype, const int64_t *values, int64_t num_parts, void *scalars);

/**
 * Number of scalars that differ in value; -0 equals +0, nothing equals a NaN.
 * @param[in] a, b [num_scalars] scalars of the type
 */
int64_t perf_scalar_count_wrong(tulle_datatype_t datatype, const void *a, const void *b, int64_t num_scalars);

/** Half precision in 16 bits, rounded to nearest even. */
uint16_t perf_f16_from_float(float value);
float perf_f16_to_float(uint16_t bits);
/** The upper half of an f32, rounded to nearest even. */
uint16_t perf_bf16_from_float(float value);
float perf_bf16_to_float(uint16_t bits);

#endif
