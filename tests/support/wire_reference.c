/* SPDX-License-Identifier: Apache-2.0
 * Precisions of the wire, by definition. */
#include "tests/support/wire_reference.h"

#include <float.h>
#include <math.h>
#include <string.h>

const tulle_wire_precision_t spt_precisions[SPT_NUM_PRECISIONS] = {TULLE_WIRE_PRECISION_BF16, TULLE_WIRE_PRECISION_F16,
                                                                   TULLE_WIRE_PRECISION_FP8};

/* To a number of fraction bits, in steps of 2^least_place at least; ties to even. */
static double round_to(double value, int fraction_bits, int least_place)
{
    int exponent = 0;
    frexp(value, &exponent); /* magnitude < 2^exponent */
    int place = exponent - 1 - fraction_bits;
    if (value == 0 || place < least_place)
        place = least_place;
    double units = ldexp(fabs(value), -place), below = floor(units), rest = units - below;
    below += rest > 0.5 || (rest == 0.5 && fmod(below, 2.0) != 0);
    return copysign(ldexp(below, place), value);
}

static double largest_finite(const float *values, int64_t width)
{
    double largest = 0;
    for (int64_t i = 0; i < width; i++)
        if (isfinite(values[i]) && fabs((double)values[i]) > largest)
            largest = fabs((double)values[i]);
    return largest;
}

/* Exponent of the least scale in which 448, the largest e4m3, reaches so far. */
static int scale_of(double largest)
{
    int exponent = -126;
    while (largest > ldexp(448, exponent))
        exponent++;
    return exponent;
}

/* Unlike others it never leaves the range of f32. */
static double round_to_fp8(double value, int scale)
{
    double rounded = round_to(value, 3, scale - 9);
    return fabs(rounded) > (double)FLT_MAX ? copysign(ldexp(240, scale), value) : rounded;
}

static double round_one(tulle_wire_precision_t precision, double value, int scale)
{
    double rounded = value;
    if (isnan(value) || (isinf(value) && precision != TULLE_WIRE_PRECISION_FP8))
        return value;
    if (precision == TULLE_WIRE_PRECISION_FP8)
        return isinf(value) ? (double)NAN : round_to_fp8(value, scale);
    rounded = precision == TULLE_WIRE_PRECISION_F16 ? round_to(value, 10, -24) : round_to(value, 7, -133);
    if (fabs(rounded) > (precision == TULLE_WIRE_PRECISION_F16 ? 65504.0 : (double)FLT_MAX))
        rounded = copysign((double)INFINITY, value);
    return rounded;
}

void spt_wire_round(tulle_wire_precision_t precision, const float *values, int64_t width, double *rounded)
{
    int scale = scale_of(largest_finite(values, width));
    for (int64_t i = 0; i < width; i++)
        rounded[i] = round_one(precision, (double)values[i], scale);
}

int spt_wire_is(double expected, float got)
{
    int is_same = isnan(expected) ? isnan(got) : expected == (double)got;
    return is_same && (isnan(expected) || (signbit(expected) != 0) == (signbit(got) != 0));
}

double spt_wire_bound(tulle_wire_precision_t precision, double magnitude, double largest)
{
    if (precision == TULLE_WIRE_PRECISION_BF16)
        return fmax(ldexp(magnitude, -8), ldexp(1, -134));
    if (precision == TULLE_WIRE_PRECISION_F16)
        return fmax(ldexp(magnitude, -11), ldexp(1, -25));
    return fmax(fmax(ldexp(magnitude, -4), ldexp(largest, -17)), ldexp(1, -136));
}

void spt_wire_fill(spt_random_t *random, int special, float *values, int64_t width)
{
    static const float rare[] = {0,        -0.0f,    INFINITY, -INFINITY, NAN,      FLT_MAX,  -FLT_MAX,  FLT_TRUE_MIN,
                                 -FLT_MIN, 65504.0f, 65520.0f, 65519.0f,  0x1p-24f, 0x1p-25f, 0x1p-133f, 0x1p-134f};
    int exponent = special ? (int)spt_below(random, 250) - 126 : (int)spt_below(random, 20) - 10;
    for (int64_t i = 0; i < width; i++) {
        double unit = (double)(spt_below(random, 1 << 25) - (1 << 24)) * 0x1p-24;
        values[i] = (float)ldexp(unit, exponent - (int)spt_below(random, 12));
        if (special && spt_below(random, 16) == 0)
            values[i] = rare[spt_below(random, sizeof rare / sizeof *rare)];
        if (special && spt_below(random, 16) == 0) { /* any bits at all */
            uint32_t bits = (uint32_t)spt_next(random);
            memcpy(&values[i], &bits, sizeof bits);
        }
    }
}
