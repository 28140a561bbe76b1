/* SPDX-License-Identifier: Apache-2.0
 * Scalars from integers, and their comparison. */
#include "perf/scalar.h"

#include <string.h>

int perf_scalar_parts(tulle_datatype_t datatype)
{
    return datatype == TULLE_C64 || datatype == TULLE_C128 ? 2 : 1;
}

int perf_scalar_is_unsigned(tulle_datatype_t datatype)
{
    return datatype == TULLE_U8 || datatype == TULLE_BYTE;
}

int64_t perf_scalar_exact_limit(tulle_datatype_t datatype)
{
    switch (datatype) {
    case TULLE_F64:
    case TULLE_C128:
        return (int64_t)1 << 53;
    case TULLE_F32:
    case TULLE_C64:
        return (int64_t)1 << 24;
    case TULLE_F16:
        return (int64_t)1 << 11;
    case TULLE_BF16:
    case TULLE_U8:
    case TULLE_BYTE:
        return (int64_t)1 << 8;
    case TULLE_I8:
        return (int64_t)1 << 7;
    case TULLE_I32:
        return (int64_t)1 << 31;
    case TULLE_I64:
        return (int64_t)1 << 62;
    }
    return 1;
}

static uint32_t bits_of_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t perf_bf16_from_float(float value)
{
    uint32_t bits = bits_of_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u); /* stays a NaN: rounding could carry into the sign */
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float perf_bf16_to_float(uint16_t bits)
{
    return float_of_bits((uint32_t)bits << 16);
}

/* Magnitudes below 2^-14: steps of 2^-24. Adding 0.5 moves the step to the last bit of an f32, which rounds to even. */
static uint32_t f16_subnormal(uint32_t magnitude)
{
    float shifted = float_of_bits(magnitude) + 0.5f;
    return bits_of_float(shifted) - bits_of_float(0.5f);
}

uint16_t perf_f16_from_float(float value)
{
    uint32_t bits = bits_of_float(value);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u)
        return (uint16_t)(sign | f16_subnormal(magnitude));
    magnitude += 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((magnitude - 0x38000000u) >> 13));
}

float perf_f16_to_float(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    uint32_t magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u)
        return float_of_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    if (magnitude < 0x400u)
        return float_of_bits(sign | bits_of_float((float)magnitude * 0x1p-24f));
    return float_of_bits(sign | ((magnitude << 13) + 0x38000000u));
}

static void store_floats(tulle_datatype_t datatype, const int64_t *values, int64_t n, void *out)
{
    switch (datatype) {
    case TULLE_F64:
    case TULLE_C128:
        for (int64_t i = 0; i < n; i++)
            ((double *)out)[i] = (double)values[i];
        break;
    case TULLE_F32:
    case TULLE_C64:
        for (int64_t i = 0; i < n; i++)
            ((float *)out)[i] = (float)values[i];
        break;
    case TULLE_F16:
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)out)[i] = perf_f16_from_float((float)values[i]);
        break;
    default:
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)out)[i] = perf_bf16_from_float((float)values[i]);
        break;
    }
}

void perf_scalar_store(tulle_datatype_t datatype, const int64_t *values, int64_t num_parts, void *scalars)
{
    switch (datatype) {
    case TULLE_I8:
    case TULLE_U8:
    case TULLE_BYTE:
        for (int64_t i = 0; i < num_parts; i++)
            ((uint8_t *)scalars)[i] = (uint8_t)values[i];
        break;
    case TULLE_I32:
        for (int64_t i = 0; i < num_parts; i++)
            ((uint32_t *)scalars)[i] = (uint32_t)values[i];
        break;
    case TULLE_I64:
        memcpy(scalars, values, (size_t)num_parts * sizeof *values);
        break;
    default:
        store_floats(datatype, values, num_parts, scalars);
        break;
    }
}

/* Whether two parts are equal as numbers; their bytes are known to differ. */
static int is_equal_part(tulle_datatype_t datatype, const void *a, const void *b)
{
    switch (datatype) {
    case TULLE_F64:
    case TULLE_C128:
        return *(const double *)a == *(const double *)b;
    case TULLE_F32:
    case TULLE_C64:
        return *(const float *)a == *(const float *)b;
    case TULLE_F16:
        return perf_f16_to_float(*(const uint16_t *)a) == perf_f16_to_float(*(const uint16_t *)b);
    case TULLE_BF16:
        return perf_bf16_to_float(*(const uint16_t *)a) == perf_bf16_to_float(*(const uint16_t *)b);
    default:
        return 0;
    }
}

static int is_equal_scalar(tulle_datatype_t datatype, const char *a, const char *b, size_t part_bytes, int parts)
{
    for (int i = 0; i < parts; i++, a += part_bytes, b += part_bytes)
        if (memcmp(a, b, part_bytes) != 0 && !is_equal_part(datatype, a, b))
            return 0;
    return 1;
}

int64_t perf_scalar_count_wrong(tulle_datatype_t datatype, const void *a, const void *b, int64_t num_scalars)
{
    size_t size = tulle_datatype_size(datatype);
    int parts = perf_scalar_parts(datatype);
    int64_t num_wrong = 0;
    /* Nearly always nothing is wrong, and equal bytes of exact integers are equal numbers. */
    if (memcmp(a, b, (size_t)num_scalars * size) == 0)
        return 0;
    for (int64_t i = 0; i < num_scalars; i++) {
        const char *x = (const char *)a + (size_t)i * size;
        const char *y = (const char *)b + (size_t)i * size;
        num_wrong += !is_equal_scalar(datatype, x, y, size / (size_t)parts, parts);
    }
    return num_wrong;
}
