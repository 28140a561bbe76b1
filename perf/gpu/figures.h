/* SPDX-License-Identifier: Apache-2.0
 * Figures of a GPU: kernels and exchanges, each beside the ceiling that the same run measured. Every line reads
 *     figure: NAME VALUE UNIT [of CEILING UNIT]
 * Times are the host's, around many repetitions that end with one synchronisation. */
#ifndef PERF_GPU_FIGURES_H
#define PERF_GPU_FIGURES_H

#include <stdint.h>

#include <tulle/tulle.h>

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
/** Exchanges between all ranks, and small ones between two. @collective all ranks */
tulle_status_t perf_gpu_measure_exchanges(perf_gpu_t *gpu, tulle_comm_t *comm);

/** A sum of rows with atomics, to compare the ordered one with: target row t += row entry_row[e] for its entries e;
 * f32.
 * @retval TULLE_ERR_UNSUPPORTED not here */
tulle_status_t perf_gpu_atomic_sum(float *target, const float *source, const int64_t *entry_target,
                                   const int64_t *entry_row, int64_t num_entries, int64_t width, void *stream);

#endif
