/* SPDX-License-Identifier: Apache-2.0
 * The definition of IEEE 754 binary formats, written out. */
#include "half_reference.h"

#include <math.h>

const half_format_t half_f16 = {5, 10}, half_bf16 = {8, 7};

static int least_exponent(half_format_t format)
{
    return 2 - (1 << (format.exponent_bits - 1));
}

/* Exponent of the last place of subnormal numbers. */
static int least_place(half_format_t format)
{
    return least_exponent(format) - format.mantissa_bits;
}

double half_reference_value(half_format_t format, uint16_t half)
{
    int sign = half >> 15;
    int exponent = (half >> format.mantissa_bits) & ((1 << format.exponent_bits) - 1);
    int mantissa = half & ((1 << format.mantissa_bits) - 1);
    double magnitude = 0;
    if (exponent == (1 << format.exponent_bits) - 1)
        magnitude = mantissa == 0 ? (double)INFINITY : (double)NAN;
    else if (exponent == 0)
        magnitude = ldexp(mantissa, least_place(format));
    else
        magnitude = ldexp(mantissa + (1 << format.mantissa_bits), exponent - 1 + least_place(format));
    return sign ? -magnitude : magnitude;
}

/* To the nearest whole number, ties to even, whatever the rounding mode. */
static double round_to_even(double value)
{
    double below = floor(value), rest = value - below;
    int is_up = rest > 0.5 || (rest == 0.5 && fmod(below, 2.0) != 0);
    return below + is_up;
}

uint16_t half_reference_nearest(half_format_t format, double value)
{
    uint16_t sign = signbit(value) ? 0x8000u : 0;
    uint16_t infinity = (uint16_t)(((1 << format.exponent_bits) - 1) << format.mantissa_bits);
    double magnitude = fabs(value);
    int exponent = 0;
    if (isinf(magnitude))
        return sign | infinity;
    frexp(magnitude, &exponent); /* magnitude < 2^exponent */
    int place = exponent - 1 - format.mantissa_bits;
    if (magnitude == 0 || place < least_place(format))
        place = least_place(format);
    double units = round_to_even(ldexp(magnitude, -place));
    double pattern = ldexp(place - least_place(format), format.mantissa_bits) + units;
    return sign | (pattern < infinity ? (uint16_t)pattern : infinity);
}
