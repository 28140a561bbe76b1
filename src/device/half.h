/* SPDX-License-Identifier: Apache-2.0
 * f16 (IEEE 754 binary16) and bf16 as bit patterns, to and from f32, rounding to nearest even. On the GPU f16 is
 * converted by the instructions made for it; they differ from this code in the bits of NaN only. */
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
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t magnitude = half & 0x7fffu;
    uint32_t bits;
    if (magnitude >= 0x7c00u) /* infinity, NaN */
        bits = sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13);
    else if (magnitude >= 0x400u) /* normal: the exponent bias grows by 127 - 15 */
        bits = sign | ((magnitude << 13) + ((127u - 15u) << 23));
    else /* subnormal: in units of 2^-24 */
        bits = sign | tli_bits_from_f32((float)magnitude * 0x1p-24f);
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
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    uint32_t half;
    if (magnitude > 0x7f800000u) { /* NaN */
        half = 0x7e00u;
    } else if (magnitude >= 0x477ff000u) { /* 65520 and more round to infinity */
        half = 0x7c00u;
    } else if (magnitude >= 0x38800000u) { /* normal */
        uint32_t rebased = magnitude - ((127u - 15u) << 23);
        half = (rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13;
    } else { /* subnormal or zero: adding 0.5 makes the FPU round to a multiple of 2^-24 */
        half = tli_bits_from_f32(tli_f32_from_bits(magnitude) + 0.5f) - tli_bits_from_f32(0.5f);
    }
    return (uint16_t)(sign | half);
#endif
}

#endif
