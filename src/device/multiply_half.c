/* SPDX-License-Identifier: Apache-2.0
 * Sparse block times dense rows of f16 or bf16: widened as they are read, summed up in f32, rounded once when written.
 */
#include <stddef.h>
#include <string.h>

#include "src/device/half.h"
#include "src/device/multiply_kernel.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

/* --- by column: what fills no vector ----------------------------------------------------------------------------- */

static float sum_of(const tli_multiply_args_t *args, int64_t i, int64_t k, int is_bf16)
{
    const tli_sparse_t *block = args->block;
    const float *values = block->values;
    const uint16_t *b = (const uint16_t *)args->b + k;
    float sum = 0;
    for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++)
        sum += values[e] * tli_f32_from_half(is_bf16, b[block->col[e] * args->b_stride]);
    return (float)args->alpha * sum;
}

static void put(const tli_multiply_args_t *args, int64_t at, float sum)
{
    const int is_bf16 = args->datatype == TULLE_BF16;
    float *whole = (float *)args->c + at;
    uint16_t *half = (uint16_t *)args->c + at;
    if (args->beta != 0)
        sum += (float)args->beta * (args->c_is_sum ? *whole : tli_f32_from_half(is_bf16, *half));
    if (args->c_is_sum)
        *whole = sum;
    else
        *half = tli_half_from_f32(is_bf16, sum);
}

static void half_columns(const tli_multiply_args_t *args, int64_t first, int64_t last, int64_t column)
{
    for (int64_t i = first; i < last; i++)
        for (int64_t k = column; k < args->width; k++)
            put(args, tli_multiply_row(args, i) * args->c_stride + k, sum_of(args, i, k, args->datatype == TULLE_BF16));
}

/* --- conversions of a vector ------------------------------------------------------------------------------------- */

/* As half.h does it, lane by lane, in vectors of any length. */
#define DEFINE_CONVERSIONS(bytes, target)                                                                              \
    typedef float f32_##bytes##_t __attribute__((vector_size(bytes), aligned(4), may_alias));                          \
    typedef uint32_t u32_##bytes##_t __attribute__((vector_size(bytes), aligned(4), may_alias));                       \
    typedef uint16_t u16_##bytes##_t __attribute__((vector_size(bytes / 2), aligned(2), may_alias));                   \
    static inline __attribute__((always_inline)) target f32_##bytes##_t bf16_widen_##bytes(const uint16_t *from)       \
    {                                                                                                                  \
        return (f32_##bytes##_t)(__builtin_convertvector(*(const u16_##bytes##_t *)from, u32_##bytes##_t) << 16);      \
    }                                                                                                                  \
    static inline __attribute__((always_inline)) target void bf16_round_##bytes(f32_##bytes##_t from, uint16_t *to)    \
    {                                                                                                                  \
        u32_##bytes##_t bits = (u32_##bytes##_t)from;                                                                  \
        u32_##bytes##_t is_nan = (u32_##bytes##_t)((bits & 0x7fffffffu) > 0x7f800000u);                                \
        u32_##bytes##_t rounded = bits + 0x7fffu + ((bits >> 16) & 1u);                                                \
        bits = ((bits | 0x400000u) & is_nan) | (rounded & ~is_nan);                                                    \
        *(u16_##bytes##_t *)to = __builtin_convertvector(bits >> 16, u16_##bytes##_t);                                 \
    }

DEFINE_CONVERSIONS(16, )

static inline __attribute__((always_inline)) f32_16_t f16_widen_16(const uint16_t *from)
{
    return (f32_16_t){tli_f32_from_f16(from[0]), tli_f32_from_f16(from[1]), tli_f32_from_f16(from[2]),
                      tli_f32_from_f16(from[3])};
}

static inline __attribute__((always_inline)) void f16_round_16(f32_16_t from, uint16_t *to)
{
    for (int lane = 0; lane < 4; lane++)
        to[lane] = tli_f16_from_f32(from[lane]);
}

#ifdef __x86_64__
DEFINE_CONVERSIONS(32, TLI_AVX2)
DEFINE_CONVERSIONS(64, TLI_AVX512)

static inline __attribute__((always_inline)) TLI_AVX2 f32_32_t f16_widen_32(const uint16_t *from)
{
    return (f32_32_t)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from));
}

static inline __attribute__((always_inline)) TLI_AVX2 void f16_round_32(f32_32_t from, uint16_t *to)
{
    _mm_storeu_si128((__m128i *)to, _mm256_cvtps_ph((__m256)from, _MM_FROUND_TO_NEAREST_INT));
}

static inline __attribute__((always_inline)) TLI_AVX512 f32_64_t f16_widen_64(const uint16_t *from)
{
    return (f32_64_t)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
}

static inline __attribute__((always_inline)) TLI_AVX512 void f16_round_64(f32_64_t from, uint16_t *to)
{
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtps_ph((__m512)from, _MM_FROUND_TO_NEAREST_INT));
}
#endif

/* What is made for each datatype and vector length. */
typedef struct half_loops {
    tli_multiply_rows_t rows;
    void (*round)(const tli_multiply_args_t *args, const float *sums, int64_t at);
} half_loops_t;

/* --- by vectors, from short to long ------------------------------------------------------------------------------ */

#define VECTOR  f32_16_t
#define NAME(x) f16_##x
#define TARGET
#define WIDEN    f16_widen_16
#define ROUND    f16_round_16
#define NARROWER half_columns
#include "src/device/multiply_half_rows.h"
#define VECTOR  f32_16_t
#define NAME(x) bf16_##x
#define TARGET
#define WIDEN    bf16_widen_16
#define ROUND    bf16_round_16
#define NARROWER half_columns
#include "src/device/multiply_half_rows.h"

#ifdef __x86_64__
#define VECTOR   f32_32_t
#define NAME(x)  f16_avx2_##x
#define TARGET   TLI_AVX2
#define WIDEN    f16_widen_32
#define ROUND    f16_round_32
#define NARROWER f16_rows
#include "src/device/multiply_half_rows.h"
#define VECTOR   f32_32_t
#define NAME(x)  bf16_avx2_##x
#define TARGET   TLI_AVX2
#define WIDEN    bf16_widen_32
#define ROUND    bf16_round_32
#define NARROWER bf16_rows
#include "src/device/multiply_half_rows.h"
#define VECTOR   f32_64_t
#define NAME(x)  f16_avx512_##x
#define TARGET   TLI_AVX512
#define WIDEN    f16_widen_64
#define ROUND    f16_round_64
#define NARROWER f16_avx2_rows
#include "src/device/multiply_half_rows.h"
#define VECTOR   f32_64_t
#define NAME(x)  bf16_avx512_##x
#define TARGET   TLI_AVX512
#define WIDEN    bf16_widen_64
#define ROUND    bf16_round_64
#define NARROWER bf16_avx2_rows
#include "src/device/multiply_half_rows.h"

static half_loops_t choose_loops(tulle_datatype_t datatype)
{
    switch (tli_vector_bytes()) {
    case 64:
        return datatype == TULLE_F16 ? f16_avx512_loops : bf16_avx512_loops;
    case 32:
        return datatype == TULLE_F16 ? f16_avx2_loops : bf16_avx2_loops;
    default:
        return datatype == TULLE_F16 ? f16_loops : bf16_loops;
    }
}
#else
static half_loops_t choose_loops(tulle_datatype_t datatype)
{
    return datatype == TULLE_F16 ? f16_loops : bf16_loops;
}
#endif

tli_multiply_rows_t tli_multiply_half_rows(tulle_datatype_t datatype)
{
    return choose_loops(datatype).rows;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

void tli_sparse_fill(tli_sparse_t *block, const void *values, tulle_datatype_t type)
{
    int64_t num_nonzeros = block->row_ptr != NULL ? block->row_ptr[block->num_rows] : 0;
    for (int64_t e = 0; e < num_nonzeros; e++) {
        int64_t from = block->entry != NULL ? block->entry[e] : e;
        if (type == TULLE_F64)
            ((double *)block->values)[e] = ((const double *)values)[from];
        else if (type == TULLE_F32)
            ((float *)block->values)[e] = ((const float *)values)[from];
        else
            ((float *)block->values)[e] = tli_f32_from_half(type == TULLE_BF16, ((const uint16_t *)values)[from]);
    }
}

/* --- rounding ---------------------------------------------------------------------------------------------------- */

void tli_multiply_round(const tli_round_args_t *args)
{
    const half_loops_t loops = choose_loops(args->datatype);
    tli_multiply_args_t row = {.datatype = args->datatype, .width = args->width, .c = args->c, .beta = args->beta};
    for (int64_t i = 0; i < args->num_rows; i++)
        loops.round(&row, (const float *)args->sums + i * args->width, args->row[i] * args->c_stride);
}
