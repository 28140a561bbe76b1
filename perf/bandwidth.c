/* SPDX-License-Identifier: Apache-2.0
 * Sums in eight of the longest vectors that the processor has, of one array or of four at a time, whichever is faster:
 * so that nothing reads faster than this. */
#include "perf/bandwidth.h"

#include <math.h>
#include <stddef.h>

#include "src/agree.h"
#include "src/arena.h"
#include "src/device/multiply_kernel.h"

#define LEAST_BYTES    (INT64_C(16) << 10)
#define LEAST_SECONDS  0.05
#define WORDS_PER_LOOK (INT64_C(1) << 20) /* at the clock */
#define ALIGNMENT      64

/* Several arrays at a time keep more lines on the way from far, a single one is prefetched better; who knows. */
typedef uint64_t (*reader_t)(const uint64_t *words, int64_t n);

#define ADD(j)                                                                                                         \
    sum[2 * (j)] += at[(j)*stride];                                                                                    \
    sum[2 * (j) + 1] += at[(j)*stride + 1];

/* One stream, or four: each of them is read by two vectors at a time, all into sums of their own. */
#define DEFINE_READERS(bytes, target)                                                                                  \
    typedef uint64_t vector_##bytes##_t __attribute__((vector_size(bytes), may_alias));                                \
    static inline __attribute__((always_inline))                                                                       \
    target uint64_t add_up_##bytes(const vector_##bytes##_t *at, int64_t stride, int64_t n, int step)                  \
    {                                                                                                                  \
        vector_##bytes##_t sum[8] = {{0}};                                                                             \
        for (const vector_##bytes##_t *end = at + n; at < end; at += step) {                                           \
            ADD(0)                                                                                                     \
            ADD(1)                                                                                                     \
            ADD(2)                                                                                                     \
            ADD(3)                                                                                                     \
        }                                                                                                              \
        for (int j = 1; j < 8; j++)                                                                                    \
            sum[0] += sum[j];                                                                                          \
        return sum[0][0] + sum[0][1];                                                                                  \
    }                                                                                                                  \
    static target uint64_t read_one_##bytes(const uint64_t *words, int64_t n)                                          \
    {                                                                                                                  \
        int64_t num = n * (int64_t)sizeof *words / (bytes) / 8 * 8;                                                    \
        return add_up_##bytes((const vector_##bytes##_t *)words, 2, num, 8);                                           \
    }                                                                                                                  \
    static target uint64_t read_four_##bytes(const uint64_t *words, int64_t n)                                         \
    {                                                                                                                  \
        int64_t num = n * (int64_t)sizeof *words / (bytes) / 8 * 2;                                                    \
        return add_up_##bytes((const vector_##bytes##_t *)words, num, num, 2);                                         \
    }

DEFINE_READERS(16, )
#ifdef __x86_64__
DEFINE_READERS(32, TLI_AVX2)
DEFINE_READERS(64, TLI_AVX512)
#endif

static reader_t choose_reader(int num_streams)
{
#ifdef __x86_64__
    if (tli_vector_bytes() == 64)
        return num_streams == 1 ? read_one_64 : read_four_64;
    if (tli_vector_bytes() == 32)
        return num_streams == 1 ? read_one_32 : read_four_32;
#endif
    return num_streams == 1 ? read_one_16 : read_four_16;
}

/* Each thread has a share of its own, and reads it so many times: to wake threads takes longer than to read level 1. */
static uint64_t read_by_threads(reader_t read, const uint64_t *words, int64_t n, int64_t times, int num_threads)
{
    int64_t share = n / num_threads / ALIGNMENT * ALIGNMENT;
    uint64_t sum = 0;
#ifdef _OPENMP
#pragma omp parallel for num_threads(num_threads) reduction(+ : sum) schedule(static)
#endif
    for (int i = 0; i < num_threads; i++)
        for (int64_t time = 0; time < times; time++)
            sum += read(words + share * i, share);
    return sum;
}

/* [bytes/ns] */
static double measure_reader(reader_t read, const uint64_t *words, int64_t n, int num_threads)
{
    volatile uint64_t kept = 0; /* somebody might look */
    double began = MPI_Wtime(), seconds = 0;
    int64_t times = WORDS_PER_LOOK / n + 1, num_read = 0;
    for (; seconds < LEAST_SECONDS; seconds = MPI_Wtime() - began) {
        kept = kept + read_by_threads(read, words, n, times, num_threads);
        num_read += n * times;
    }
    return (double)num_read * (double)sizeof *words / seconds / 1e9;
}

tulle_status_t perf_bandwidth_measure(MPI_Comm comm, int64_t bytes, int num_threads, double *gb_per_s_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    unsigned char *memory = NULL;
    int64_t n = (bytes < LEAST_BYTES ? LEAST_BYTES : bytes) / (int64_t)sizeof(uint64_t);
    double gb_per_s = 0;
    TLI_TRY(tli_agree(comm, tli_arena_alloc_raw(&scratch, n + ALIGNMENT, sizeof(uint64_t), &memory)));
    uint64_t *words = (uint64_t *)(memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT));
    for (int64_t i = 0; i < n; i++)
        words[i] = (uint64_t)i;
    for (int num_streams = 1; num_streams <= 4; num_streams += 3) {
        TLI_MPI(MPI_Barrier(comm));
        gb_per_s = fmax(gb_per_s, measure_reader(choose_reader(num_streams), words, n, num_threads));
    }
    *gb_per_s_out = gb_per_s;
    TLI_MPI(MPI_Barrier(comm));
done:
    tli_arena_release(&scratch);
    return st;
}
