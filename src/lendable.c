/* SPDX-License-Identifier: Apache-2.0
 * One segment per allocation, in a list: programs have few arrays of rows. */
#include "src/lendable.h"

#include <pthread.h>

#include "src/arena.h"

#define LEAST_BYTES   ((size_t)1 << 16) /* below, reading in place saves nothing */
#define MOST_SEGMENTS 256               /* each holds a file open, of which a process may have about a thousand */

typedef struct lendable {
    struct lendable *next;
    tli_segment_t segment;
} lendable_t;

/* The one list of the process: a pointer is all that tulle_free() gets. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static lendable_t *lendables = NULL;
static int num_lendables = 0;

static void enlist(lendable_t *lendable)
{
    pthread_mutex_lock(&guard);
    lendable->next = lendables;
    lendables = lendable;
    num_lendables++;
    pthread_mutex_unlock(&guard);
}

static int has_room(void)
{
    pthread_mutex_lock(&guard);
    int room = num_lendables < MOST_SEGMENTS;
    pthread_mutex_unlock(&guard);
    return room;
}

tulle_status_t tli_lendable_alloc(size_t bytes, void **memory_out)
{
    lendable_t *lendable = NULL;
    tulle_status_t st = TULLE_OK;
    if (bytes < LEAST_BYTES || !has_room())
        return tli_alloc_raw(bytes, memory_out);
    st = tli_alloc(sizeof *lendable, &lendable);
    if (st == TULLE_OK && tli_segment_create(bytes, &lendable->segment) != TULLE_OK) {
        tli_free(lendable);
        return tli_alloc_raw(bytes, memory_out);
    }
    if (st == TULLE_OK) {
        *memory_out = lendable->segment.base;
        enlist(lendable);
    }
    return st;
}

int tli_lendable_free(void *memory)
{
    pthread_mutex_lock(&guard);
    lendable_t **link = &lendables, *found = NULL;
    while (*link != NULL && (*link)->segment.base != memory)
        link = &(*link)->next;
    found = *link;
    if (found != NULL) {
        *link = found->next;
        num_lendables--;
    }
    pthread_mutex_unlock(&guard);
    if (found != NULL)
        tli_segment_destroy(&found->segment);
    tli_free(found);
    return found != NULL;
}

int tli_lendable_find(const void *memory, size_t bytes, tli_segment_t *segment_out)
{
    uintptr_t first = (uintptr_t)memory;
    int is_found = 0;
    pthread_mutex_lock(&guard);
    for (const lendable_t *l = lendables; l != NULL && !is_found; l = l->next) {
        uintptr_t base = (uintptr_t)l->segment.base;
        is_found = base <= first && first + bytes <= base + (uintptr_t)l->segment.name.bytes;
        if (is_found)
            *segment_out = l->segment;
    }
    pthread_mutex_unlock(&guard);
    return is_found;
}
