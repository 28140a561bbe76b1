/* SPDX-License-Identifier: Apache-2.0
 * First fit over the ranges of each segment, in order of address; free neighbours are joined. */
#include "src/pool.h"

#include "src/arena.h"
#include "src/fault.h"

#define ALIGNMENT     ((int64_t)64)
#define LEAST_SEGMENT ((size_t)1 << 20)
#define MOST_GROWTH   ((size_t)1 << 26) /* a segment is as large as all before it, up to this, or as a larger request */

typedef struct tli_pool_range {
    struct tli_pool_range *before, *after;
    struct tli_pool_segment *owner;
    int64_t offset, bytes;
    int is_free;
} range_t;

typedef struct tli_pool_segment {
    struct tli_pool_segment *next;
    tli_segment_t segment;
    range_t *first; /* ranges cover the segment, but for its mark */
} pool_segment_t;

typedef struct tli_pool_view {
    struct tli_pool_view *next;
    tli_segment_name_t name;
    unsigned char *base;
} view_t;

static void free_segment(pool_segment_t *held)
{
    if (held == NULL)
        return;
    for (range_t *range = held->first; range != NULL;) {
        range_t *after = range->after;
        tli_free(range);
        range = after;
    }
    tli_segment_destroy(&held->segment);
    tli_free(held);
}

static tulle_status_t add_segment(tli_pool_t *pool, int64_t bytes)
{
    tulle_status_t st = TULLE_OK;
    pool_segment_t *held = NULL;
    size_t size = LEAST_SEGMENT;
    for (const pool_segment_t *s = pool->segments; s != NULL; s = s->next)
        size += (size_t)s->segment.name.bytes;
    size = size > MOST_GROWTH ? MOST_GROWTH : size;
    size = size < (size_t)bytes ? (size_t)bytes : size;
    TLI_TRY(tli_alloc(sizeof *held, &held));
    TLI_TRY(tli_alloc(sizeof *held->first, &held->first));
    TLI_TRY(tli_segment_create(size, &held->segment));
    *held->first = (range_t){NULL, NULL, held, 0, (int64_t)size / ALIGNMENT * ALIGNMENT, 1};
    held->next = pool->segments;
    pool->segments = held;
    held = NULL;
done:
    free_segment(held);
    return st;
}

static range_t *find_range(const tli_pool_t *pool, int64_t bytes)
{
    range_t *found = NULL;
    for (const pool_segment_t *held = pool->segments; held != NULL && found == NULL; held = held->next)
        for (found = held->first; found != NULL && (!found->is_free || found->bytes < bytes);)
            found = found->after;
    return found;
}

/* What a range has beyond the bytes becomes a range of its own. */
static tulle_status_t split(range_t *range, int64_t bytes)
{
    tulle_status_t st = TULLE_OK;
    range_t *rest = NULL;
    if (range->bytes == bytes)
        goto done;
    TLI_TRY(tli_alloc(sizeof *rest, &rest));
    *rest = (range_t){range, range->after, range->owner, range->offset + bytes, range->bytes - bytes, 1};
    if (rest->after != NULL)
        rest->after->before = rest;
    range->after = rest;
    range->bytes = bytes;
done:
    return st;
}

tulle_status_t tli_pool_take(tli_pool_t *pool, size_t bytes, tli_block_t *block_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t needed = ((int64_t)bytes / ALIGNMENT + 1) * ALIGNMENT;
    range_t *range = find_range(pool, needed);
    if (range == NULL) {
        TLI_TRY(add_segment(pool, needed));
        range = pool->segments->first;
    }
    TLI_TRY(split(range, needed));
    range->is_free = 0;
    const tli_segment_t *segment = &range->owner->segment;
    *block_out = (tli_block_t){{segment->name, range->offset}, segment->base + range->offset, range};
done:
    return st;
}

static void join_with_next(range_t *range)
{
    range_t *next = range->after;
    range->bytes += next->bytes;
    range->after = next->after;
    if (next->after != NULL)
        next->after->before = range;
    tli_free(next);
}

void tli_pool_give(tli_block_t *block)
{
    range_t *range = block->range;
    if (range == NULL)
        return;
    range->is_free = 1;
    if (range->after != NULL && range->after->is_free)
        join_with_next(range);
    if (range->before != NULL && range->before->is_free)
        join_with_next(range->before);
    *block = (tli_block_t){{{0, 0, 0, 0}, 0}, NULL, NULL};
}

static tulle_status_t add_view(tli_pool_t *pool, const tli_segment_name_t *name)
{
    tulle_status_t st = TULLE_OK;
    view_t *view = NULL;
    TLI_TRY(tli_alloc(sizeof *view, &view));
    TLI_TRY(tli_segment_map(name, &view->base));
    view->name = *name;
    view->next = pool->views;
    pool->views = view;
    view = NULL;
done:
    tli_free(view);
    return st;
}

static const view_t *find_view(const tli_pool_t *pool, const tli_segment_name_t *name)
{
    const view_t *view = pool->views;
    while (view != NULL && (view->name.process != name->process || view->name.mark != name->mark))
        view = view->next;
    return view;
}

tulle_status_t tli_pool_view(tli_pool_t *pool, const tli_block_name_t *name, unsigned char **address_out)
{
    tulle_status_t st = TULLE_OK;
    if (find_view(pool, &name->segment) == NULL)
        TLI_TRY(add_view(pool, &name->segment));
    *address_out = find_view(pool, &name->segment)->base + name->offset;
done:
    return st;
}

void tli_pool_release(tli_pool_t *pool)
{
    while (pool->views != NULL) {
        view_t *view = pool->views;
        pool->views = view->next;
        tli_segment_unmap(&view->name, view->base);
        tli_free(view);
    }
    while (pool->segments != NULL) {
        pool_segment_t *held = pool->segments;
        pool->segments = held->next;
        free_segment(held);
    }
}
