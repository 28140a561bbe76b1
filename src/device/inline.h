/* SPDX-License-Identifier: Apache-2.0
 * Functions that run on the GPU and, for tests, on the host. */
#ifndef TLI_INLINE_H
#define TLI_INLINE_H

#ifdef __CUDACC__
#define TLI_INLINE static __forceinline__ __host__ __device__
#else
#define TLI_INLINE static inline
#endif

#endif
