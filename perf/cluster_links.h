/* SPDX-License-Identifier: Apache-2.0
 * The network that perf/cluster emulates, as arithmetic: when a frame that enters now has arrived, over links that each
 * carry one frame after the other, and the frames that are under way. No clock, no system call. */
#ifndef PERF_CLUSTER_LINKS_H
#define PERF_CLUSTER_LINKS_H

#include <stddef.h>
#include <stdint.h>

/** One direction of one cable. */
typedef struct perf_link {
    double ns_per_byte; /* 0 = takes no time */
    int64_t free_ns;    /* [ns] when all that was given to it is through */
} perf_link_t;

/** A frame on its way: when its first and its last byte have left the links behind it. */
typedef struct perf_passage {
    int64_t first_ns;
    int64_t last_ns;
} perf_passage_t;

/**
 * Send a frame over one more link. Cut-through: a frame goes on while it arrives, so over several links it is delayed
 * by the slowest only, and still keeps each of them busy. Frames that take the same links keep their order.
 */
void perf_link_cross(perf_link_t *link, int64_t bytes, perf_passage_t *passage);

/** [bytes] on the cable of @p num_frames Ethernet frames that hold @p bytes together, their Ethernet headers included.
 */
int64_t perf_link_bytes(int64_t bytes, int64_t num_frames);

/** A frame that waits for its arrival. */
typedef struct perf_frame {
    int64_t due_ns;
    uint64_t number; /* of frames that are due together the lowest arrives first */
    int port;        /* to which it goes */
    size_t length;   /* [bytes] */
    char bytes[];
} perf_frame_t;

/** Frames under way, earliest first. Zero-initialised is empty. */
typedef struct perf_transit {
    perf_frame_t **heap; /* [num] */
    size_t num, capacity;
    uint64_t num_ever;
} perf_transit_t;

/** Take a frame over and number it. @return 0, or -1 when out of memory: the frame stays the caller's */
int perf_transit_put(perf_transit_t *transit, perf_frame_t *frame);

/** The frame that is due first, or NULL; stays in transit. */
const perf_frame_t *perf_transit_first(const perf_transit_t *transit);

/** Remove that frame; not of none. @return the caller's, from malloc() */
perf_frame_t *perf_transit_take(perf_transit_t *transit);

/** Free all frames and the heap. */
void perf_transit_release(perf_transit_t *transit);

#endif
