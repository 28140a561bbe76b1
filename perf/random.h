/* SPDX-License-Identifier: Apache-2.0
 * Random numbers that are the same on every machine. */
#ifndef PERF_RANDOM_H
#define PERF_RANDOM_H

#include <stdint.h>

/* @see Steele, Lea, Flood, OOPSLA 2014, doi:10.1145/2660193.2660195 (SplitMix64) */
static inline uint64_t perf_random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Even over [0, bound): draws from the incomplete last stretch are thrown away. */
static inline int64_t perf_random_below(uint64_t *state, int64_t bound)
{
    uint64_t b = (uint64_t)bound;
    uint64_t limit = UINT64_MAX - UINT64_MAX % b;
    uint64_t value = perf_random_next(state);
    while (value >= limit)
        value = perf_random_next(state);
    return (int64_t)(value % b);
}

#endif
