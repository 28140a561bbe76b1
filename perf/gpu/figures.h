/* SPDX-License-Identifier: Apache-2.0
 * Figures of a GPU: kernels and exchanges, each beside the ceiling that the same run measured. Every line reads
 *     figure: NAME VALUE UNIT [of CEILING UNIT]
 * Times are the host's, around many repetitions that end with one synchronisation. */
#ifndef PERF_GPU_FIGURES_H
#define PERF_GPU_FIGURES_H

#include <stdint.h>

#include <tulle/tulle.h>

#include "src/arena.h"

typedef struct perf_gpu {
    int rank, num_ranks;
    int64_t bytes;  /* of rows that a kernel moves, and of what a rank exchanges is a quarter of it */
    int64_t repeat; /* [count] */
    void *stream;
    double ceiling; /* [GB/s] of a copy on the device, read and write counted */
    int64_t num_wrong;
} perf_gpu_t;

/** Print on rank 0. @param[in] ceiling 0: none */
void perf_gpu_print(const perf_gpu_t *gpu, const char *name, double value, const char *unit, double ceiling);

/** Copies, gathers, places and reductions of this rank's GPU. */
tulle_status_t perf_gpu_measure_kernels(perf_gpu_t *gpu);
/** A bound exchange in a ring of ranks, every row 256 bytes. A rank needs those of the rank step along, then, while
 * more are needed than that one has, of the rank step further on. */
typedef struct perf_ring {
    perf_gpu_t *gpu;
    int step;
    tulle_strategy_t strategy;
    int64_t num_owned, num_needed;
    int64_t *needed, *position, *image; /* on the host */
    int64_t *owned, *ghost;             /* on the device */
    tulle_plan_t *plan;
    tulle_exchange_t *exchange;
    tli_arena_t arena;
} perf_ring_t;

#define PERF_RING_ROW_BYTES 256

/** @param[in,out] ring gpu, step and numbers of rows set, all else zero; closed also after a failure. @collective */
tulle_status_t perf_ring_open(perf_ring_t *ring, tulle_comm_t *comm, tulle_ghost_order_t order,
                              tulle_transport_t transport);
void perf_ring_close(perf_ring_t *ring);
/** Count wrong values of the last exchange. */
tulle_status_t perf_ring_check(perf_ring_t *ring);
/** Slowest rank, per repetition; and what of that the host spends in start. A graph is launched where there is one.
 * @param[in] in_flight repetitions before the host waits for the device */
tulle_status_t perf_ring_time(const perf_ring_t *ring, void *graph, int64_t repeat, int64_t in_flight,
                              double *seconds_out, double *start_seconds_out);
/** Capture the exchange, time and check its replays. @collective */
tulle_status_t perf_ring_time_graph(perf_ring_t *ring, int64_t repeat, double *seconds_out);

/** Exchanges between all ranks, and small ones between two. @collective all ranks */
tulle_status_t perf_gpu_measure_exchanges(perf_gpu_t *gpu, tulle_comm_t *comm);

/** Exchanges between declared nodes, by every transport that leads from node to node: large ones beside the slower of
 * what such a message crosses, the bus and the wire, each alone; small ones beside the slower of a message of MPI and
 * an exchange inside nodes; rows that are passed on to all ranks beside their crossing alone. @collective all ranks */
tulle_status_t perf_gpu_measure_between_nodes(perf_gpu_t *gpu, const char *topology);

/** Products of rows on the GPU, by each library that is there. @collective all ranks */
tulle_status_t perf_gpu_measure_products(perf_gpu_t *gpu, tulle_comm_t *comm);

/** A sum of rows with atomics, to compare the ordered one with: target row t += row entry_row[e] for its entries e;
 * f32.
 * @retval TULLE_ERR_UNSUPPORTED not here */
tulle_status_t perf_gpu_atomic_sum(float *target, const float *source, const int64_t *entry_target,
                                   const int64_t *entry_row, int64_t num_entries, int64_t width, void *stream);

#endif
