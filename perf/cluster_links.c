/* SPDX-License-Identifier: Apache-2.0
 * A link is a time until which it is busy; frames under way are a binary heap. */
#include "perf/cluster_links.h"

#include <stdlib.h>

#define ETHERNET_OVERHEAD 24 /* [bytes] preamble, checksum and gap, around what a TAP device shows */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void perf_link_cross(perf_link_t *link, int64_t bytes, perf_passage_t *passage)
{
    passage->first_ns = later(passage->first_ns, link->free_ns);
    link->free_ns = passage->first_ns + (int64_t)((double)bytes * link->ns_per_byte);
    passage->last_ns = later(passage->last_ns, link->free_ns); /* behind a slower link the last byte comes later */
}

int64_t perf_link_bytes(int64_t bytes, int64_t num_frames)
{
    return bytes + num_frames * ETHERNET_OVERHEAD;
}

static int is_before(const perf_frame_t *a, const perf_frame_t *b)
{
    return a->due_ns < b->due_ns || (a->due_ns == b->due_ns && a->number < b->number);
}

int perf_transit_put(perf_transit_t *transit, perf_frame_t *frame)
{
    if (transit->num == transit->capacity) {
        size_t capacity = transit->capacity == 0 ? 64 : 2 * transit->capacity;
        perf_frame_t **heap = realloc(transit->heap, capacity * sizeof(perf_frame_t *));
        if (heap == NULL)
            return -1;
        transit->heap = heap;
        transit->capacity = capacity;
    }
    frame->number = transit->num_ever++;
    size_t place = transit->num++;
    while (place > 0 && is_before(frame, transit->heap[(place - 1) / 2])) {
        transit->heap[place] = transit->heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    transit->heap[place] = frame;
    return 0;
}

const perf_frame_t *perf_transit_first(const perf_transit_t *transit)
{
    return transit->num == 0 ? NULL : transit->heap[0];
}

perf_frame_t *perf_transit_take(perf_transit_t *transit)
{
    perf_frame_t *first = transit->heap[0];
    perf_frame_t *last = transit->heap[--transit->num]; /* finds its place anew, from the top */
    size_t place = 0;
    for (size_t child = 1; child < transit->num; child = 2 * place + 1) {
        if (child + 1 < transit->num && is_before(transit->heap[child + 1], transit->heap[child]))
            child++;
        if (!is_before(transit->heap[child], last))
            break;
        transit->heap[place] = transit->heap[child];
        place = child;
    }
    transit->heap[place] = last;
    return first;
}

void perf_transit_release(perf_transit_t *transit)
{
    for (size_t i = 0; i < transit->num; i++)
        free(transit->heap[i]);
    free(transit->heap);
    *transit = (perf_transit_t){NULL, 0, 0, 0};
}
