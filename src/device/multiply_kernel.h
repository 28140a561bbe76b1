/* SPDX-License-Identifier: Apache-2.0
 * Between multiply_host.c, which knows threads, and the loops of each datatype. */
#ifndef TLI_MULTIPLY_KERNEL_H
#define TLI_MULTIPLY_KERNEL_H

#include "src/device/multiply.h"

#if defined(__clang__)
#define TLI_UNROLL _Pragma("unroll")
#else
#define TLI_UNROLL _Pragma("GCC unroll 8")
#endif

#ifdef __x86_64__
#include <immintrin.h>

#define TLI_AVX2   __attribute__((target("avx2,fma,f16c")))
#define TLI_AVX512 __attribute__((target("avx512f")))
#endif

/** Listed rows `first` to `last` - 1 of the result, from a column on. */
typedef void (*tli_multiply_rows_t)(const tli_multiply_args_t *args, int64_t first, int64_t last, int64_t column);

/** The longest vectors that the processor has: 16, 32 or 64 bytes. */
static inline int tli_vector_bytes(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) /* f16c came before both; clang cannot ask */
        return __builtin_cpu_supports("avx512f") ? 64 : 32;
#endif
    return 16;
}

#define TLI_LINE_BYTES ((uintptr_t)64)

/** Whether C is written past the caches: whole lines of it, none of which is read. */
static inline int tli_multiply_is_streamed(const tli_multiply_args_t *args)
{
    uintptr_t bytes = tulle_datatype_size(args->datatype);
    uintptr_t any = (uintptr_t)args->c | (uintptr_t)args->c_stride * bytes | (uintptr_t)args->width * bytes;
    return args->is_far && args->beta == 0 && any % TLI_LINE_BYTES == 0;
}

/** How far ahead rows of B, where they are long, and nonzeros are asked for: the README of src tells what it gains. */
#define TLI_ROWS_AHEAD     ((int64_t)8)
#define TLI_NONZEROS_AHEAD ((int64_t)512)

/** Every second line: they come in pairs. */
static inline __attribute__((always_inline)) void tli_fetch_row(const void *row, const uintptr_t bytes)
{
    TLI_UNROLL
    for (uintptr_t at = 0; at < bytes; at += 2 * TLI_LINE_BYTES)
        __builtin_prefetch((const char *)row + at);
}

/** Long rows of B before they are used for the first time, by the row of C so far ahead; not of rows that use so many
 * that they would take each other's place: the README of src tells what it gains. */
#define TLI_FRESH_AHEAD ((int64_t)16)
#define TLI_MOST_FRESH  ((int64_t)32)
#define TLI_FRESH_BYTES ((int64_t)256)

static inline int tli_asks_early(const tli_multiply_args_t *args, int64_t num_columns)
{
    return args->is_b_far && args->block->fresh_ptr != NULL &&
           num_columns * (int64_t)tulle_datatype_size(args->datatype) >= TLI_FRESH_BYTES;
}

/** @param[in] i row of C so far ahead @param[in] bytes of a row of B, from an offset on */
static inline __attribute__((always_inline)) void tli_fetch_fresh(const tli_multiply_args_t *args, int64_t i,
                                                                  int64_t offset, int64_t bytes, int64_t stride)
{
    const tli_sparse_t *block = args->block;
    const char *b = (const char *)args->b + offset;
    if (i >= block->num_rows || block->fresh_ptr[i + 1] - block->fresh_ptr[i] > TLI_MOST_FRESH)
        return;
    for (int64_t f = block->fresh_ptr[i]; f < block->fresh_ptr[i + 1]; f++)
        for (int64_t at = 0; at < bytes; at += (int64_t)TLI_LINE_BYTES)
            __builtin_prefetch(b + block->fresh[f] * stride + at, 0, 2);
}

/** May ask for what is behind the end, which does nothing. */
static inline __attribute__((always_inline)) void tli_fetch_nonzeros(const tli_sparse_t *block, int64_t e, size_t bytes)
{
    const uintptr_t ahead = (uintptr_t)(e + TLI_NONZEROS_AHEAD);
    __builtin_prefetch((const void *)((uintptr_t)block->col + ahead * sizeof *block->col));
    __builtin_prefetch((const void *)((uintptr_t)block->values + ahead * bytes));
}

/** Of f16 or bf16. */
tli_multiply_rows_t tli_multiply_half_rows(tulle_datatype_t datatype);

#endif
