/* SPDX-License-Identifier: Apache-2.0
 * Host memory for rows, from tulle_alloc(), that ranks of the same machine can read where it lies. */
#ifndef TLI_LENDABLE_H
#define TLI_LENDABLE_H

#include "src/segment.h"

/** Contents undefined, 64-byte aligned. Small requests, and all when segments cannot be had, are plain memory. */
tulle_status_t tli_lendable_alloc(size_t bytes, void **memory_out);
/** @return 0 when this is no segment of ours: plain memory */
int tli_lendable_free(void *memory);

/** The segment that holds these bytes. @return 0 if none does */
int tli_lendable_find(const void *memory, size_t bytes, tli_segment_t *segment_out);

#endif
