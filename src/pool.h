/* SPDX-License-Identifier: Apache-2.0
 * Shared memory of a communicator: blocks cut out of a few growing segments of this rank, and the segments of the ranks
 * that share memory with it, mapped once and kept. So exchanges come and go without a call of the system. */
#ifndef TLI_POOL_H
#define TLI_POOL_H

#include "src/segment.h"

/** Zero-initialised is empty and ready. */
typedef struct tli_pool {
    struct tli_pool_segment *segments; /* of this rank, newest first */
    struct tli_pool_view *views;       /* of others, newest first */
} tli_pool_t;

/** A block of this rank, to be found by others. Words only. */
typedef struct tli_block_name {
    tli_segment_name_t segment;
    int64_t offset; /* [bytes] */
} tli_block_name_t;

typedef struct tli_block {
    tli_block_name_t name;
    unsigned char *address; /* 64-byte aligned; contents undefined */
    struct tli_pool_range *range;
} tli_block_t;

/** Take a block of this rank's memory. @retval TULLE_ERR_NOMEM @cost O(blocks) */
tulle_status_t tli_pool_take(tli_pool_t *pool, size_t bytes, tli_block_t *block_out);
/** Give a block back; zeroed is fine. Others must have finished with it. */
void tli_pool_give(tli_block_t *block);

/** Where another rank's block lies here; its segment stays mapped until the pool is released. */
tulle_status_t tli_pool_view(tli_pool_t *pool, const tli_block_name_t *name, unsigned char **address_out);

/** Release everything; the pool is empty and ready again. */
void tli_pool_release(tli_pool_t *pool);

#endif
