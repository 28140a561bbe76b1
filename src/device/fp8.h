/* SPDX-License-Identifier: Apache-2.0
 * e4m3, the fp8 of four exponent and three fraction bits without infinity, as bit patterns, to and from f32: rounded to
 * nearest even, with a scale that is a power of two. A scale is kept as the biased exponent of f32: scaling then never
 * rounds, and rows that were rounded once are not changed by being rounded again. */
#ifndef TLI_FP8_H
#define TLI_FP8_H

#include "src/device/half.h"

#define TLI_FP8_NAN 0x7fu

/** Scale of rows whose largest finite magnitude has these bits: it is then at most 448 scales, and above 224 unless the
 * scale is the least one. */
TLI_INLINE uint8_t tli_fp8_scale(uint32_t largest_bits)
{
    int above = (int)((largest_bits + 0x1fffffu) >> 23); /* its exponent, and one more beyond 1.75 times a power of 2 */
    return (uint8_t)(above > 9 ? above - 8 : 1);
}

TLI_INLINE float tli_fp8_unit(uint8_t scale)
{
    return tli_f32_from_bits((uint32_t)scale << 23);
}

TLI_INLINE float tli_fp8_inverse(uint8_t scale)
{
    return tli_f32_from_bits((254u - scale) << 23);
}

/** Largest pattern's value. With the largest scale, one that f32 still holds when it is multiplied by it. */
TLI_INLINE float tli_fp8_limit(uint8_t scale)
{
    return scale < 247 ? 448.0f : 240.0f;
}

/** @param[in] inverse, limit of the scale */
TLI_INLINE uint8_t tli_fp8_from_f32(float value, float inverse, float limit)
{
    uint32_t bits = tli_bits_from_f32(value), magnitude = bits & 0x7fffffffu;
    float scaled = tli_f32_from_bits(magnitude) * inverse;
    scaled = scaled < limit ? scaled : limit;
    uint32_t rebased = tli_bits_from_f32(scaled) - ((127u - 7u) << 23);
    uint32_t normal = (rebased + 0x7ffffu + ((rebased >> 20) & 1u)) >> 20;
    /* Below 2^-6 in steps of 2^-9: adding 2^14 makes the FPU round to them. */
    uint32_t subnormal = tli_bits_from_f32(scaled + 0x1p14f) - tli_bits_from_f32(0x1p14f);
    uint32_t rounded = scaled >= 0x1p-6f ? normal : subnormal;
    return (uint8_t)((bits >> 24 & 0x80u) | (magnitude < 0x7f800000u ? rounded : TLI_FP8_NAN));
}

/** @param[in] unit of the scale */
TLI_INLINE float tli_f32_from_fp8(uint8_t pattern, float unit)
{
    uint32_t magnitude = pattern & 0x7fu;
    float normal = tli_f32_from_bits((magnitude << 20) + ((127u - 7u) << 23));
    float value = (magnitude >= 8u ? normal : (float)(int32_t)magnitude * 0x1p-9f) * unit;
    uint32_t bits = magnitude == TLI_FP8_NAN ? 0x7fc00000u : tli_bits_from_f32(value);
    return tli_f32_from_bits(bits | (uint32_t)(pattern & 0x80u) << 24);
}

#endif
