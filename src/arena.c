/* SPDX-License-Identifier: Apache-2.0
 * Arena memory: small requests share blocks, large ones have their own. Under AddressSanitizer every request has its
 * own block, so that an overrun is seen. */
#include "src/arena.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "src/fault.h"

#if defined(__SANITIZE_ADDRESS__)
#define SHARED_BLOCK_BYTES ((size_t)0)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHARED_BLOCK_BYTES ((size_t)0)
#endif
#endif
#ifndef SHARED_BLOCK_BYTES
#define SHARED_BLOCK_BYTES ((size_t)16384)
#endif

#define ALIGNMENT ((size_t)64)

struct tli_arena_block {
    tli_arena_block_t *next;
    size_t capacity; /* [bytes] of payload */
    size_t used;     /* [bytes] */
    _Alignas(64) unsigned char payload[];
};

static _Atomic int64_t allocation_count = 0;
static _Atomic int64_t live_count = 0;
static _Atomic int64_t fail_countdown = 0;
static _Atomic(tli_arena_block_t *) kept_blocks = NULL;

void tli_alloc_fail_at(int64_t k)
{
    atomic_store(&fail_countdown, k);
}

int64_t tli_alloc_count(void)
{
    return atomic_load(&allocation_count);
}

int64_t tli_alloc_live(void)
{
    return atomic_load(&live_count);
}

static int injected_failure(void)
{
    return atomic_load(&fail_countdown) > 0 && atomic_fetch_sub(&fail_countdown, 1) == 1;
}

static void *system_alloc(size_t bytes)
{
    void *memory = NULL;
    atomic_fetch_add(&allocation_count, 1);
    if (!injected_failure())
        memory = aligned_alloc(ALIGNMENT, bytes);
    if (memory != NULL)
        atomic_fetch_add(&live_count, 1);
    return memory;
}

void tli_free(void *memory)
{
    if (memory != NULL)
        atomic_fetch_sub(&live_count, 1);
    free(memory);
}

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

tulle_status_t tli_alloc_raw(size_t size, void *memory_out)
{
    tulle_status_t st = TULLE_OK;
    void *memory = system_alloc(round_up(size));
    TLI_REQUIRE(memory != NULL, TULLE_ERR_NOMEM, "cannot allocate %zu bytes of host memory", size);
    *(void **)memory_out = memory;
done:
    return st;
}

tulle_status_t tli_alloc(size_t size, void *memory_out)
{
    tulle_status_t st = tli_alloc_raw(size, memory_out);
    if (st == TULLE_OK)
        memset(*(void **)memory_out, 0, size);
    return st;
}

static tulle_status_t add_block(tli_arena_t *arena, size_t capacity)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_block_t *block = system_alloc(sizeof *block + capacity);
    TLI_REQUIRE(block != NULL, TULLE_ERR_NOMEM, "cannot allocate %zu bytes of host memory", capacity);
    block->capacity = capacity;
    block->used = 0;
    block->next = arena->blocks;
    arena->blocks = block;
done:
    return st;
}

tulle_status_t tli_arena_alloc_raw(tli_arena_t *arena, int64_t count, size_t size, void *memory_out)
{
    tulle_status_t st = TULLE_OK;
    size_t bytes = 0;
    TLI_ASSERT(!arena->is_sealed);
    TLI_REQUIRE(count >= 0 && (size == 0 || (uint64_t)count <= (uint64_t)(INT64_MAX / 2) / size), TULLE_ERR_OVERFLOW,
                "%lld elements of %zu bytes do not fit the address space", (long long)count, size);
    bytes = round_up((size_t)count * size + 1);
    if (arena->blocks == NULL || arena->blocks->capacity - arena->blocks->used < bytes)
        TLI_TRY(add_block(arena, bytes > SHARED_BLOCK_BYTES ? bytes : SHARED_BLOCK_BYTES));
    *(void **)memory_out = arena->blocks->payload + arena->blocks->used;
    arena->blocks->used += bytes;
done:
    return st;
}

tulle_status_t tli_arena_alloc(tli_arena_t *arena, int64_t count, size_t size, void *memory_out)
{
    tulle_status_t st = tli_arena_alloc_raw(arena, count, size, memory_out);
    if (st == TULLE_OK)
        memset(*(void **)memory_out, 0, (size_t)count * size);
    return st;
}

void tli_arena_seal(tli_arena_t *arena)
{
    arena->is_sealed = 1;
}

int64_t tli_arena_bytes(const tli_arena_t *arena)
{
    int64_t bytes = 0;
    for (const tli_arena_block_t *block = arena->blocks; block != NULL; block = block->next)
        bytes += (int64_t)block->used;
    return bytes;
}

void tli_arena_release(tli_arena_t *arena)
{
    while (arena->blocks != NULL) {
        tli_arena_block_t *block = arena->blocks;
        arena->blocks = block->next;
        tli_free(block);
    }
    arena->is_sealed = 0;
}

void tli_arena_keep(tli_arena_t *arena)
{
    while (arena->blocks != NULL) {
        tli_arena_block_t *block = arena->blocks;
        arena->blocks = block->next;
        block->next = atomic_load(&kept_blocks);
        while (!atomic_compare_exchange_weak(&kept_blocks, &block->next, block))
            continue;
    }
    arena->is_sealed = 0;
}
