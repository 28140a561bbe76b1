/* SPDX-License-Identifier: Apache-2.0
 * f16 (IEEE 754 binary16) and bf16 as bit patterns, to and from f32, rounding to nearest even. On the GPU f16 is
 * converted by the instructions made for it; they differ from this code in the bits of NaN only. Everything is
 * computed, then chosen by comparing integers: so compilers make vectors of loops over it. */
#ifndef TLI_HALF_H
#define TLI_HALF_H

#include <stdint.h>
#include <string.h>

#include "src/device/inline.h"

TLI_INLINE float tli_f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

TLI_INLINE uint32_t tli_bits_from_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A choice without a branch: gcc makes no vectors of loops in which it sees one around floating point. */
TLI_INLINE uint32_t tli_choose(int condition, uint32_t yes, uint32_t no)
{
    uint32_t mask = 0u - (uint32_t)condition;
    return (yes & mask) | (no & ~mask);
}

TLI_INLINE float tli_f32_from_bf16(uint16_t half)
{
    return tli_f32_from_bits((uint32_t)half << 16);
}

TLI_INLINE uint16_t tli_bf16_from_f32(float value)
{
    uint32_t bits = tli_bits_from_f32(value);
    int is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
    return (uint16_t)((is_nan ? bits | 0x400000u : rounded) >> 16);
}

TLI_INLINE float tli_f32_from_f16(uint16_t half)
{
#ifdef __CUDA_ARCH__
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
    return value;
#else
    int32_t magnitude = half & 0x7fff;
    uint32_t fraction = (uint32_t)magnitude << 13;
    uint32_t infinite = 0x7f800000u | fraction; /* or NaN */
    uint32_t normal = fraction + ((127u - 15u) << 23);
    uint32_t subnormal = tli_bits_from_f32((float)magnitude * 0x1p-24f);
    uint32_t bits = tli_choose(magnitude >= 0x400, normal, subnormal);
    bits = tli_choose(magnitude >= 0x7c00, infinite, bits);
    bits |= (uint32_t)(half & 0x8000u) << 16;
    return tli_f32_from_bits(bits);
#endif
}

TLI_INLINE uint16_t tli_f16_from_f32(float value)
{
#ifdef __CUDA_ARCH__
    uint16_t nearest;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(nearest) : "f"(value));
    return nearest;
#else
    uint32_t bits = tli_bits_from_f32(value);
    int32_t magnitude = (int32_t)(bits & 0x7fffffffu);
    uint32_t rebased = (uint32_t)magnitude - ((127u - 15u) << 23);
    uint32_t normal = (rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13;
    /* Adding 0.5 makes the FPU round to a multiple of 2^-24. */
    uint32_t subnormal = tli_bits_from_f32(tli_f32_from_bits((uint32_t)magnitude) + 0.5f) - tli_bits_from_f32(0.5f);
    uint32_t half = tli_choose(magnitude >= 0x38800000, normal, subnormal);
    half = tli_choose(magnitude >= 0x477ff000, 0x7c00u, half); /* 65520 and more round to infinity */
    half = tli_choose(magnitude > 0x7f800000, 0x7e00u, half);  /* NaN */
    return (uint16_t)(((bits >> 16) & 0x8000u) | half);
#endif
}

/** Either of the two. */
TLI_INLINE float tli_f32_from_half(int is_bf16, uint16_t half)
{
    return is_bf16 ? tli_f32_from_bf16(half) : tli_f32_from_f16(half);
}

TLI_INLINE uint16_t tli_half_from_f32(int is_bf16, float value)
{
    return is_bf16 ? tli_bf16_from_f32(value) : tli_f16_from_f32(value);
}

#endif
