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

/** Bits of the largest pattern's value. With the largest scale, of one that f32 still holds when multiplied by it. */
TLI_INLINE int32_t tli_fp8_limit(uint8_t scale)
{
    return (int32_t)tli_bits_from_f32(scale < 247 ? 448.0f : 240.0f);
}

/** @param[in] inverse, limit of the scale */
TLI_INLINE uint8_t tli_fp8_from_f32(float value, float inverse, int32_t limit)
{
    uint32_t bits = tli_bits_from_f32(value);
    int32_t magnitude = (int32_t)(bits & 0x7fffffffu);
    int32_t scaled = (int32_t)tli_bits_from_f32(tli_f32_from_bits((uint32_t)magnitude) * inverse);
    scaled = scaled < limit ? scaled : limit;
    uint32_t rebased = (uint32_t)scaled - ((127u - 7u) << 23);
    uint32_t normal = (rebased + 0x7ffffu + ((rebased >> 20) & 1u)) >> 20;
    /* Below 2^-6 in steps of 2^-9: adding 2^14 makes the FPU round to them. */
    uint32_t subnormal = tli_bits_from_f32(tli_f32_from_bits((uint32_t)scaled) + 0x1p14f) - tli_bits_from_f32(0x1p14f);
    uint32_t pattern = tli_choose(scaled >= 0x3c800000, normal, subnormal); /* 2^-6 */
    pattern = tli_choose(magnitude < 0x7f800000, pattern, TLI_FP8_NAN);
    return (uint8_t)((bits >> 24 & 0x80u) | pattern);
}

/** @param[in] unit of the scale */
TLI_INLINE float tli_f32_from_fp8(uint8_t pattern, float unit)
{
    int32_t magnitude = pattern & 0x7f;
    uint32_t normal = ((uint32_t)magnitude << 20) + ((127u - 7u) << 23);
    uint32_t subnormal = tli_bits_from_f32((float)magnitude * 0x1p-9f);
    uint32_t bits = tli_bits_from_f32(tli_f32_from_bits(tli_choose(magnitude >= 8, normal, subnormal)) * unit);
    bits = tli_choose(magnitude == (int32_t)TLI_FP8_NAN, 0x7fc00000u, bits);
    return tli_f32_from_bits(bits | (uint32_t)(pattern & 0x80u) << 24);
}

#endif
