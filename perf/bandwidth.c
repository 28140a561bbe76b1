/* SPDX-License-Identifier: Apache-2.0
 * Streams: sums in eight of the longest vectors that the processor has, of one array or of four at a time, whichever is
 * faster, so that nothing reads faster than this. Rows: likewise of four rows at a time, found by their numbers in
 * random order, fetched ahead or not. */
#include "perf/bandwidth.h"

#include <math.h>
#include <stddef.h>

#include "perf/random.h"
#include "src/agree.h"
#include "src/arena.h"
#include "src/device/multiply_kernel.h"

#define LEAST_BYTES    (INT64_C(16) << 10)
#define LEAST_SECONDS  0.05
#define WORDS_PER_LOOK (INT64_C(1) << 20) /* at the clock */
#define ALIGNMENT      64
#define ROWS_AHEAD     INT64_C(16)

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

static tulle_status_t alloc_words(tli_arena_t *arena, int64_t n, uint64_t **words_out)
{
    tulle_status_t st = TULLE_OK;
    unsigned char *memory = NULL;
    TLI_TRY(tli_arena_alloc_raw(arena, n + ALIGNMENT, sizeof(uint64_t), &memory));
    *words_out = (uint64_t *)(memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT));
    for (int64_t i = 0; i < n; i++)
        (*words_out)[i] = (uint64_t)i;
done:
    return st;
}

static int64_t words_of(int64_t bytes)
{
    return (bytes < LEAST_BYTES ? LEAST_BYTES : bytes) / (int64_t)sizeof(uint64_t);
}

tulle_status_t perf_bandwidth_measure(MPI_Comm comm, int64_t bytes, int num_threads, double *gb_per_s_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    uint64_t *words = NULL;
    int64_t n = words_of(bytes);
    double gb_per_s = 0;
    TLI_TRY(tli_agree(comm, alloc_words(&scratch, n, &words)));
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

/* --- rows -------------------------------------------------------------------------------------------------------- */

/* What one thread reads. */
typedef struct rows {
    const unsigned char *at;
    int64_t row_bytes;
    const int32_t *order; /* [num + ROWS_AHEAD + 4] */
    int64_t num;          /* a multiple of 4 */
    int is_fetched;       /* ahead */
} rows_t;

typedef uint64_t (*row_reader_t)(const rows_t *rows);

static inline __attribute__((always_inline)) void fetch_ahead(const rows_t *rows, int64_t i)
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
    static target uint64_t read_rows_##bytes(const rows_t *rows)                                                       \
    {                                                                                                                  \
        const int64_t num_pieces = rows->row_bytes / (bytes);                                                          \
        piece_##bytes##_t sum[4] = {{0}};                                                                              \
        for (int64_t i = 0; i < rows->num; i += 4) {                                                                   \
            const piece_##bytes##_t *row[4] = {FIND_ROW(bytes, 0), FIND_ROW(bytes, 1), FIND_ROW(bytes, 2),             \
                                               FIND_ROW(bytes, 3)};                                                    \
            if (rows->is_fetched)                                                                                      \
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
static row_reader_t choose_row_reader(int64_t row_bytes)
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

/* [bytes/ns] of all threads, each with rows of its own. */
static double measure_rows(const rows_t *rows, int num_threads)
{
    row_reader_t read = choose_row_reader(rows->row_bytes);
    volatile uint64_t kept = 0;
    double began = MPI_Wtime(), seconds = 0;
    int64_t times = 8 * WORDS_PER_LOOK / (rows->num * rows->row_bytes) + 1, num_rounds = 0;
    for (; seconds < LEAST_SECONDS; seconds = MPI_Wtime() - began) {
        uint64_t sum = 0;
#ifdef _OPENMP
#pragma omp parallel for num_threads(num_threads) reduction(+ : sum) schedule(static)
#endif
        for (int i = 0; i < num_threads; i++)
            for (int64_t time = 0; time < times; time++)
                sum += read(&rows[i]);
        kept = kept + sum;
        num_rounds += times;
    }
    return (double)(num_rounds * num_threads * rows->num * rows->row_bytes) / seconds / 1e9;
}

static tulle_status_t lay_out_rows(tli_arena_t *arena, int64_t bytes, int64_t row_bytes, int num_threads, rows_t *rows)
{
    tulle_status_t st = TULLE_OK;
    uint64_t *words = NULL, random = 1;
    int32_t *order = NULL;
    int64_t share = words_of(bytes) * (int64_t)sizeof *words / num_threads / ALIGNMENT * ALIGNMENT;
    int64_t num = share / row_bytes > 4 ? share / row_bytes / 4 * 4 : 4;
    TLI_TRY(alloc_words(arena, (share + 4 * row_bytes) * num_threads / (int64_t)sizeof *words, &words));
    TLI_TRY(tli_arena_alloc_raw(arena, num + ROWS_AHEAD + 4, sizeof *order, &order));
    for (int64_t i = 0; i < num + ROWS_AHEAD + 4; i++)
        order[i] = (int32_t)perf_random_below(&random, num);
    for (int i = 0; i < num_threads; i++)
        rows[i] = (rows_t){(const unsigned char *)words + share * i, row_bytes, order, num, 0};
done:
    return st;
}

tulle_status_t perf_bandwidth_measure_rows(MPI_Comm comm, int64_t bytes, int64_t row_bytes, int num_threads,
                                           double *gb_per_s_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    rows_t *rows = NULL;
    double gb_per_s = 0;
    st = tli_arena_alloc(&scratch, num_threads, sizeof *rows, &rows);
    if (st == TULLE_OK)
        st = lay_out_rows(&scratch, bytes, row_bytes, num_threads, rows);
    TLI_TRY(tli_agree(comm, st));
    for (int is_fetched = 0; is_fetched <= 1; is_fetched++) {
        for (int i = 0; i < num_threads; i++)
            rows[i].is_fetched = is_fetched;
        TLI_MPI(MPI_Barrier(comm));
        gb_per_s = fmax(gb_per_s, measure_rows(rows, num_threads));
    }
    *gb_per_s_out = gb_per_s;
    TLI_MPI(MPI_Barrier(comm));
done:
    tli_arena_release(&scratch);
    return st;
}
