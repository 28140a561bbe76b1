/* SPDX-License-Identifier: Apache-2.0
 * Tasks that can run, in the order of their steps: a heap of their numbers. */
#ifndef TLI_READY_H
#define TLI_READY_H

#include <stdint.h>

typedef struct tli_ready {
    int64_t *tasks; /* [num] no task before the one that it hangs from: 0 from none, i from (i - 1) / 2 */
    int64_t num;
} tli_ready_t;

/** @param[in,out] ready with room for one more */
void tli_ready_add(tli_ready_t *ready, int64_t task);

/** Take out the first. @param[in,out] ready not empty */
int64_t tli_ready_take(tli_ready_t *ready);

#endif
