/* SPDX-License-Identifier: Apache-2.0
 * 16-bit floating point by definition: arithmetic in double, no bit tricks. */
#ifndef TEST_SRC_HALF_REFERENCE_H
#define TEST_SRC_HALF_REFERENCE_H

#include <stdint.h>

/** A binary format of 1 + exponent_bits + mantissa_bits = 16 bits. */
typedef struct half_format {
    int exponent_bits;
    int mantissa_bits;
} half_format_t;

extern const half_format_t half_f16, half_bf16;

/** Value of a pattern; a NaN for every NaN. */
double half_reference_value(half_format_t format, uint16_t half);

/** Nearest pattern, ties to even; @p value must not be NaN. */
uint16_t half_reference_nearest(half_format_t format, double value);

#endif
