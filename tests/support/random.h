/* SPDX-License-Identifier: Apache-2.0
 * Random numbers for property tests: a function of the seed alone, the same on every machine. */
#ifndef SPT_RANDOM_H
#define SPT_RANDOM_H

#include <stdint.h>

/** 64 random bits (splitmix64). Any state is a fine seed. */
static inline uint64_t spt_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/** A number from 0 to bound - 1. */
static inline int64_t spt_random_below(uint64_t *state, int64_t bound)
{
    return (int64_t)(spt_random(state) % (uint64_t)bound);
}

#endif
