/* SPDX-License-Identifier: Apache-2.0
 * Host memory that is released as a whole. A handle has one arena; a function that builds something has another for its
 * scratch. Every allocation of the library goes through here, so that a test can fail the k-th one. */
#ifndef TLI_ARENA_H
#define TLI_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/status.h>

typedef struct tli_arena_block tli_arena_block_t;

/** Zero-initialised is empty and ready. */
typedef struct tli_arena {
    tli_arena_block_t *blocks; /* newest first */
    int is_sealed;             /* no further allocation is expected */
} tli_arena_t;

#define TLI_ARENA_INIT                                                                                                 \
    {                                                                                                                  \
        NULL, 0                                                                                                        \
    }

/** Allocate count * size zeroed bytes, 64-byte aligned; size products are checked; never NULL on success, not even for
 * none. Fails with TULLE_ERR_NOMEM or TULLE_ERR_OVERFLOW. @param[out] memory_out a pointer to the caller's pointer */
tulle_status_t tli_arena_alloc(tli_arena_t *arena, int64_t count, size_t size, void *memory_out);

/** The same, contents undefined: for large arrays that are written in full. */
tulle_status_t tli_arena_alloc_raw(tli_arena_t *arena, int64_t count, size_t size, void *memory_out);

/** No allocation is expected from here on: a later one asserts. */
void tli_arena_seal(tli_arena_t *arena);

/** [bytes] that the arena holds for what was allocated from it. */
int64_t tli_arena_bytes(const tli_arena_t *arena);

/** Release everything; the arena is empty and ready again. */
void tli_arena_release(tli_arena_t *arena);

/** Give the memory up until the process ends: somebody who was given it, such as MPI, may still write to it. The arena
 * is empty and ready again; the memory stays reachable, so that no checker takes it for lost. */
void tli_arena_keep(tli_arena_t *arena);

/** For handles themselves, which hold their arena: one zeroed block; release with tli_free(). */
tulle_status_t tli_alloc(size_t size, void *memory_out);
/** The same, contents undefined: for the caller's rows. */
tulle_status_t tli_alloc_raw(size_t size, void *memory_out);
void tli_free(void *memory);

/** Tests: fail the k-th allocation from now on (1 = the next), once; 0 = never. Only for this process. */
void tli_alloc_fail_at(int64_t k);
/** Tests: allocations made so far by this process. */
int64_t tli_alloc_count(void);
/** Tests: allocations not yet released. */
int64_t tli_alloc_live(void);

#endif
