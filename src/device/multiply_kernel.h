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

/** Of f16 or bf16. */
tli_multiply_rows_t tli_multiply_half_rows(tulle_datatype_t datatype);

#endif
