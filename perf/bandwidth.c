/* SPDX-License-Identifier: Apache-2.0
 * Sums in eight accumulators, which compilers turn into vectors: reading is what takes the time. */
#include "perf/bandwidth.h"

#include <stddef.h>

#include "src/agree.h"
#include "src/arena.h"

#define LEAST_BYTES   (INT64_C(16) << 10)
#define LEAST_SECONDS 0.1
#define LANES         64

static uint64_t read_all(const uint64_t *words, int64_t n)
{
    uint64_t sums[LANES] = {0}, sum = 0;
    for (int64_t i = 0; i + LANES <= n; i += LANES)
        for (int lane = 0; lane < LANES; lane++)
            sums[lane] += words[i + lane];
    for (int lane = 0; lane < LANES; lane++)
        sum += sums[lane];
    return sum;
}

/* Each thread has a share of its own. */
static uint64_t read_by_threads(const uint64_t *words, int64_t n, int num_threads)
{
    uint64_t sum = 0;
    (void)num_threads; /* without OpenMP */
#ifdef _OPENMP
#pragma omp parallel for num_threads(num_threads) reduction(+ : sum) schedule(static)
#endif
    for (int i = 0; i < num_threads; i++)
        sum += read_all(words + n / num_threads * i, n / num_threads);
    return sum;
}

tulle_status_t perf_bandwidth_measure(MPI_Comm comm, int64_t bytes, int num_threads, double *gb_per_s_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    uint64_t *words = NULL;
    volatile uint64_t kept = 0; /* somebody might look */
    int64_t n = (bytes < LEAST_BYTES ? LEAST_BYTES : bytes) / (int64_t)sizeof *words, num_read = 0;
    double seconds = 0;
    TLI_TRY(tli_agree(comm, tli_arena_alloc(&scratch, n, sizeof *words, &words)));
    for (int64_t i = 0; i < n; i++)
        words[i] = (uint64_t)i;
    TLI_MPI(MPI_Barrier(comm));
    double began = MPI_Wtime();
    for (; seconds < LEAST_SECONDS; seconds = MPI_Wtime() - began) {
        kept = kept + read_by_threads(words, n, num_threads);
        num_read += n;
    }
    *gb_per_s_out = (double)num_read * (double)sizeof *words / seconds / 1e9;
    TLI_MPI(MPI_Barrier(comm));
done:
    tli_arena_release(&scratch);
    return st;
}
