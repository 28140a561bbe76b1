/* SPDX-License-Identifier: Apache-2.0
 * Streams: sums in eight of the longest vectors that the processor has, of one array or of four at a time, whichever is
 * faster, so that nothing reads faster than this. Rows: likewise of four rows at a time, found by their numbers in
 * random order, fetched ahead or not. */
#include "perf/bandwidth.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "perf/random.h"
#include "src/agree.h"
#include "src/arena.h"
#include "src/device/multiply_kernel.h"

#define LEAST_BYTES    (INT64_C(16) << 10)
#define LEAST_SECONDS  0.05
#define BYTES_PER_LOOK (INT64_C(8) << 20) /* at the clock */
#define SHARE_UNIT     INT64_C(512)       /* [bytes] eight of the longest vectors */
#define ALIGNMENT      64
#define ROWS_AHEAD     INT64_C(16)

/* What one thread reads. */
typedef struct share {
    const unsigned char *at;
    int64_t num_bytes;
    int64_t row_bytes;
    const int32_t *order; /* [num_rows + ROWS_AHEAD + 4]; NULL: a stream */
    int64_t num_rows;     /* a multiple of 4 */
} share_t;

/* One of two ways: a stream is one array, or four at a time, which keep more lines on the way from far, while a single
 * one is prefetched better; rows are fetched ahead, or not. Who knows. */
typedef uint64_t (*reader_t)(const share_t *share, int way);

#define ADD(j)                                                                                                         \
    sum[2 * (j)] += at[(j)*stride];                                                                                    \
    sum[2 * (j) + 1] += at[(j)*stride + 1];

/* One stream, or four: each of them is read by two vectors at a time, all into sums of their own. */
#define DEFINE_STREAM_READER(bytes, target)                                                                            \
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
    static target uint64_t read_stream_##bytes(const share_t *share, int way)                                          \
    {                                                                                                                  \
        const vector_##bytes##_t *at = (const vector_##bytes##_t *)share->at;                                          \
        int64_t num = share->num_bytes / (bytes) / 8;                                                                  \
        return way == 0 ? add_up_##bytes(at, 2, 8 * num, 8) : add_up_##bytes(at, 2 * num, 2 * num, 2);                 \
    }

DEFINE_STREAM_READER(16, )
#ifdef __x86_64__
DEFINE_STREAM_READER(32, TLI_AVX2)
DEFINE_STREAM_READER(64, TLI_AVX512)
#endif

static reader_t choose_stream_reader(void)
{
#ifdef __x86_64__
    if (tli_vector_bytes() == 64)
        return read_stream_64;
    if (tli_vector_bytes() == 32)
        return read_stream_32;
#endif
    return read_stream_16;
}

/* --- rows -------------------------------------------------------------------------------------------------------- */

static inline __attribute__((always_inline)) void fetch_ahead(const share_t *rows, int64_t i)
{
    for (int64_t j = i + ROWS_AHEAD; j < i + ROWS_AHEAD + 4; j++)
        for (int64_t at = 0; at < rows->row_bytes; at += (int64_t)TLI_LINE_BYTES)
            __builtin_prefetch(rows->at + rows->order[j] * rows->row_bytes + at);
}

#define ADD_ROWS(at)                                                                                                   \
    sum[0] += row[0][at];                                                                                              \
    sum[1] += row[1][at];                                                                                              \
    sum[2] += row[2][at];                                                                                              \
    sum[3] += row[3][at];

#define FIND_ROW(bytes, j) (const piece_##bytes##_t *)(rows->at + rows->order[i + (j)] * rows->row_bytes)

#define DEFINE_ROW_READER(bytes, word, target)                                                                         \
    typedef word piece_##bytes##_t __attribute__((vector_size(bytes), may_alias));                                     \
    static target uint64_t read_rows_##bytes(const share_t *rows, int way)                                             \
    {                                                                                                                  \
        const int64_t num_pieces = rows->row_bytes / (bytes);                                                          \
        piece_##bytes##_t sum[4] = {{0}};                                                                              \
        for (int64_t i = 0; i < rows->num_rows; i += 4) {                                                              \
            const piece_##bytes##_t *row[4] = {FIND_ROW(bytes, 0), FIND_ROW(bytes, 1), FIND_ROW(bytes, 2),             \
                                               FIND_ROW(bytes, 3)};                                                    \
            if (way == 1)                                                                                              \
                fetch_ahead(rows, i);                                                                                  \
            for (int64_t at = 0; at < num_pieces; at++) {                                                              \
                ADD_ROWS(at)                                                                                           \
            }                                                                                                          \
        }                                                                                                              \
        sum[0] += sum[1] + sum[2] + sum[3];                                                                            \
        return sum[0][0];                                                                                              \
    }

DEFINE_ROW_READER(2, uint16_t, )
DEFINE_ROW_READER(4, uint32_t, )
DEFINE_ROW_READER(8, uint32_t, )
DEFINE_ROW_READER(16, uint32_t, )
#ifdef __x86_64__
DEFINE_ROW_READER(32, uint32_t, TLI_AVX2)
DEFINE_ROW_READER(64, uint32_t, TLI_AVX512)
#endif

/* The longest vectors that rows are made of. */
static reader_t choose_row_reader(int64_t row_bytes)
{
#ifdef __x86_64__
    if (tli_vector_bytes() == 64 && row_bytes % 64 == 0)
        return read_rows_64;
    if (tli_vector_bytes() >= 32 && row_bytes % 32 == 0)
        return read_rows_32;
#endif
    if (row_bytes % 16 == 0)
        return read_rows_16;
    return row_bytes % 8 == 0 ? read_rows_8 : row_bytes % 4 == 0 ? read_rows_4 : read_rows_2;
}

/* --- measuring --------------------------------------------------------------------------------------------------- */

/* [bytes/ns] Each thread reads its share so many times: to wake threads takes longer than to read level 1. */
static double measure(reader_t read, int way, const share_t *shares, int num_threads)
{
    volatile uint64_t kept = 0; /* somebody might look */
    double began = MPI_Wtime(), seconds = 0;
    int64_t bytes = shares[0].num_bytes * num_threads, times = BYTES_PER_LOOK / bytes + 1, num_rounds = 0;
    for (; seconds < LEAST_SECONDS; seconds = MPI_Wtime() - began) {
        uint64_t sum = 0;
#ifdef _OPENMP
#pragma omp parallel for num_threads(num_threads) reduction(+ : sum) schedule(static)
#endif
        for (int i = 0; i < num_threads; i++)
            for (int64_t time = 0; time < times; time++)
                sum += read(&shares[i], way);
        kept = kept + sum;
        num_rounds += times;
    }
    return (double)(num_rounds * bytes) / seconds / 1e9;
}

/* By the faster way. */
static tulle_status_t measure_both(MPI_Comm comm, reader_t read, const share_t *shares, int num_threads,
                                   double *gb_per_s_out)
{
    tulle_status_t st = TULLE_OK;
    double gb_per_s = 0;
    for (int way = 0; way <= 1; way++) {
        TLI_MPI(MPI_Barrier(comm));
        gb_per_s = fmax(gb_per_s, measure(read, way, shares, num_threads));
    }
    *gb_per_s_out = gb_per_s;
    TLI_MPI(MPI_Barrier(comm));
done:
    return st;
}

/* Each thread's is one stream. @param[in] spare_bytes behind the last one's */
static tulle_status_t lay_out_streams(tli_arena_t *arena, int64_t bytes, int64_t spare_bytes, int num_threads,
                                      share_t **shares_out)
{
    tulle_status_t st = TULLE_OK;
    unsigned char *memory = NULL;
    int64_t share = (bytes < LEAST_BYTES ? LEAST_BYTES : bytes) / num_threads / SHARE_UNIT * SHARE_UNIT;
    int64_t all = share * num_threads + spare_bytes;
    TLI_TRY(tli_arena_alloc(arena, num_threads, sizeof **shares_out, shares_out));
    TLI_TRY(tli_arena_alloc_raw(arena, all + ALIGNMENT, 1, &memory));
    memory += ALIGNMENT - (uintptr_t)memory % ALIGNMENT;
    memset(memory, 1, (size_t)all);
    for (int i = 0; i < num_threads; i++)
        (*shares_out)[i] = (share_t){.at = memory + share * i, .num_bytes = share};
done:
    return st;
}

/* Rows in them, at least four. */
static tulle_status_t lay_out_rows(tli_arena_t *arena, int64_t bytes, int64_t row_bytes, int num_threads,
                                   share_t **shares_out)
{
    tulle_status_t st = TULLE_OK;
    uint64_t random = 1;
    int32_t *order = NULL;
    TLI_TRY(lay_out_streams(arena, bytes, 4 * row_bytes, num_threads, shares_out));
    int64_t fitting = (*shares_out)[0].num_bytes / row_bytes / 4 * 4, num = fitting > 4 ? fitting : 4;
    TLI_TRY(tli_arena_alloc_raw(arena, num + ROWS_AHEAD + 4, sizeof *order, &order));
    for (int64_t i = 0; i < num + ROWS_AHEAD + 4; i++)
        order[i] = (int32_t)perf_random_below(&random, num);
    for (int i = 0; i < num_threads; i++)
        (*shares_out)[i] = (share_t){(*shares_out)[i].at, num * row_bytes, row_bytes, order, num};
done:
    return st;
}

tulle_status_t perf_bandwidth_measure(MPI_Comm comm, int64_t bytes, int num_threads, double *gb_per_s_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    share_t *shares = NULL;
    TLI_TRY(tli_agree(comm, lay_out_streams(&scratch, bytes, 0, num_threads, &shares)));
    st = measure_both(comm, choose_stream_reader(), shares, num_threads, gb_per_s_out);
done:
    tli_arena_release(&scratch);
    return st;
}

tulle_status_t perf_bandwidth_measure_rows(MPI_Comm comm, int64_t bytes, int64_t row_bytes, int num_threads,
                                           double *gb_per_s_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    share_t *shares = NULL;
    TLI_TRY(tli_agree(comm, lay_out_rows(&scratch, bytes, row_bytes, num_threads, &shares)));
    st = measure_both(comm, choose_row_reader(row_bytes), shares, num_threads, gb_per_s_out);
done:
    tli_arena_release(&scratch);
    return st;
}
