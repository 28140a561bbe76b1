/* SPDX-License-Identifier: Apache-2.0
 * Kernels on rows in random order, against a plain copy of as many bytes. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/gpu/figures.h"
#include "src/arena.h"
#include "src/device/device.h"
#include "src/device/pack_device.h"
#include "src/fault.h"

#define REDUCED_WIDTH   64 /* [f32] */
#define REDUCED_ENTRIES 4  /* contributions to each row */

/* Lists of a reduction, all on the device. */
typedef struct reduction {
    int64_t num_targets;
    tli_rows_t *areas;
    int64_t *ptr, *area, *row, *target;
} reduction_t;

typedef struct bench {
    perf_gpu_t *gpu;
    unsigned char *source, *target, *check; /* gpu->bytes on the device; on the host */
    int64_t *order;                         /* on the host: a permutation, of as many rows as a kernel moves */
    int64_t *index;                         /* the same on the device */
    reduction_t reduction;
    tli_arena_t arena;
} bench_t;

/* One launch of what is measured. */
typedef tulle_status_t (*launch_t)(const bench_t *b, int64_t row_bytes);

static tulle_status_t time_launches(const bench_t *b, launch_t launch, int64_t row_bytes, double *seconds_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(launch(b, row_bytes));
    TLI_TRY(tli_device_synchronize(b->gpu->stream));
    double began = MPI_Wtime();
    for (int64_t i = 0; i < b->gpu->repeat; i++)
        TLI_TRY(launch(b, row_bytes));
    TLI_TRY(tli_device_synchronize(b->gpu->stream));
    *seconds_out = (MPI_Wtime() - began) / (double)b->gpu->repeat;
done:
    return st;
}

static tulle_status_t copy_all(const bench_t *b, int64_t row_bytes)
{
    (void)row_bytes;
    return tli_device_copy(b->target, b->source, (size_t)b->gpu->bytes, b->gpu->stream);
}

static tulle_status_t gather_rows(const bench_t *b, int64_t row_bytes)
{
    tli_copy_args_t args = {
        {b->target, row_bytes}, {b->source, row_bytes}, NULL, b->index, b->gpu->bytes / row_bytes, row_bytes};
    return tli_copy_rows_launch(&args, b->gpu->stream);
}

static tulle_status_t place_rows(const bench_t *b, int64_t row_bytes)
{
    tli_copy_args_t args = {
        {b->target, row_bytes}, {b->source, row_bytes}, b->index, NULL, b->gpu->bytes / row_bytes, row_bytes};
    return tli_copy_rows_launch(&args, b->gpu->stream);
}

/* The same on every run. */
static void shuffle(int64_t *order, int64_t n)
{
    uint64_t draw = 0x9e3779b97f4a7c15u;
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        draw = draw * 6364136223846793005u + 1442695040888963407u;
        int64_t j = (int64_t)((draw >> 17) % (uint64_t)(i + 1)), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

static tulle_status_t upload_order(bench_t *b, int64_t num_rows)
{
    shuffle(b->order, num_rows);
    return tli_device_copy(b->index, b->order, (size_t)num_rows * sizeof *b->order, b->gpu->stream);
}

/* Word w of row r of the source is its place; rows are whole words. */
static tulle_status_t fill_source(bench_t *b)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t i = 0; i < b->gpu->bytes / 8; i++)
        memcpy(b->check + 8 * i, &i, 8);
    TLI_TRY(tli_device_copy(b->source, b->check, (size_t)b->gpu->bytes, b->gpu->stream));
    TLI_TRY(tli_device_synchronize(b->gpu->stream));
done:
    return st;
}

static tulle_status_t check_rows(bench_t *b, int64_t row_bytes, int is_gather)
{
    tulle_status_t st = TULLE_OK;
    int64_t words = row_bytes / 8;
    TLI_TRY(tli_device_copy(b->check, b->target, (size_t)b->gpu->bytes, b->gpu->stream));
    TLI_TRY(tli_device_synchronize(b->gpu->stream));
    for (int64_t i = 0; i < b->gpu->bytes / row_bytes; i++)
        for (int64_t w = 0; w < words; w++) {
            int64_t from = is_gather ? b->order[i] : i, to = is_gather ? i : b->order[i], found = 0;
            memcpy(&found, b->check + 8 * (to * words + w), 8);
            b->gpu->num_wrong += found != from * words + w;
        }
done:
    return st;
}

static tulle_status_t measure_copies(bench_t *b)
{
    tulle_status_t st = TULLE_OK;
    double seconds = 0;
    TLI_TRY(time_launches(b, copy_all, 1, &seconds));
    b->gpu->ceiling = 2e-9 * (double)b->gpu->bytes / seconds;
    perf_gpu_print(b->gpu, "copy", b->gpu->ceiling, "GB/s", 0);
    for (int64_t row_bytes = 16; row_bytes <= 1024; row_bytes *= 2) {
        TLI_TRY(upload_order(b, b->gpu->bytes / row_bytes));
        for (int is_gather = 1; is_gather >= 0; is_gather--) {
            char name[64];
            snprintf(name, sizeof name, "%s-%lldB", is_gather ? "gather" : "place", (long long)row_bytes);
            TLI_TRY(time_launches(b, is_gather ? gather_rows : place_rows, row_bytes, &seconds));
            TLI_TRY(check_rows(b, row_bytes, is_gather));
            perf_gpu_print(b->gpu, name, 2e-9 * (double)b->gpu->bytes / seconds, "GB/s", b->gpu->ceiling);
        }
    }
done:
    return st;
}

/* --- reductions --------------------------------------------------------------------------------------------------- */

static tulle_status_t sum_in_order(const bench_t *b, int64_t row_bytes)
{
    const reduction_t *r = &b->reduction;
    tli_rows_t source = {b->source, row_bytes};
    tli_reduce_args_t args = {
        {b->target, row_bytes}, NULL,         r->num_targets, 1, r->ptr, r->area, r->row, r->areas, TULLE_F32,
        TULLE_OP_SUM,           REDUCED_WIDTH};
    return tli_reduce_rows_launch(&args, tli_areas_alignment(&source, 1), b->gpu->stream);
}

static tulle_status_t sum_atomically(const bench_t *b, int64_t row_bytes)
{
    const reduction_t *r = &b->reduction;
    (void)row_bytes;
    return perf_gpu_atomic_sum((float *)b->target, (const float *)b->source, r->target, r->row,
                               r->num_targets * REDUCED_ENTRIES, REDUCED_WIDTH, b->gpu->stream);
}

static tulle_status_t upload(bench_t *b, const void *from, int64_t bytes, void *to_out)
{
    tulle_status_t st = TULLE_OK;
    void *to = NULL;
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)bytes, &to));
    memcpy(to_out, &to, sizeof to);
    TLI_TRY(tli_device_copy(to, from, (size_t)bytes, b->gpu->stream));
    TLI_TRY(tli_device_synchronize(b->gpu->stream));
done:
    return st;
}

static tulle_status_t make_reduction(bench_t *b, int64_t row_bytes)
{
    tulle_status_t st = TULLE_OK;
    reduction_t *r = &b->reduction;
    int64_t num_rows = b->gpu->bytes / row_bytes, num_entries = num_rows / REDUCED_ENTRIES * REDUCED_ENTRIES;
    int64_t *ptr = NULL, *area = NULL, *target = NULL;
    tli_rows_t source = {b->source, row_bytes};
    r->num_targets = num_entries / REDUCED_ENTRIES;
    TLI_TRY(tli_arena_alloc(&b->arena, r->num_targets + 1, sizeof *ptr, &ptr));
    TLI_TRY(tli_arena_alloc(&b->arena, num_entries, sizeof *area, &area));
    TLI_TRY(tli_arena_alloc(&b->arena, num_entries, sizeof *target, &target));
    for (int64_t t = 0; t <= r->num_targets; t++)
        ptr[t] = t * REDUCED_ENTRIES;
    for (int64_t e = 0; e < num_entries; e++)
        target[e] = e / REDUCED_ENTRIES;
    shuffle(b->order, num_rows);
    TLI_TRY(upload(b, &source, sizeof source, &r->areas));
    TLI_TRY(upload(b, ptr, (r->num_targets + 1) * 8, &r->ptr));
    TLI_TRY(upload(b, area, num_entries * 8, &r->area));
    TLI_TRY(upload(b, b->order, num_entries * 8, &r->row));
    TLI_TRY(upload(b, target, num_entries * 8, &r->target));
done:
    return st;
}

static void free_reduction(bench_t *b)
{
    reduction_t *r = &b->reduction;
    void *all[] = {r->areas, r->ptr, r->area, r->row, r->target};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        tulle_free(&all[i]);
    memset(r, 0, sizeof *r);
}

/* Every contribution is 1, every target 0 before: sums are counts, whatever the order. */
static tulle_status_t check_sums(bench_t *b, launch_t sum, int64_t row_bytes)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_scalars = b->reduction.num_targets * REDUCED_WIDTH;
    float *values = (float *)b->check;
    for (int64_t i = 0; i < b->gpu->bytes / 4; i++)
        values[i] = 1;
    TLI_TRY(tli_device_copy(b->source, values, (size_t)b->gpu->bytes, b->gpu->stream));
    TLI_TRY(tli_device_synchronize(b->gpu->stream));
    memset(values, 0, (size_t)b->gpu->bytes);
    TLI_TRY(tli_device_copy(b->target, values, (size_t)b->gpu->bytes, b->gpu->stream));
    TLI_TRY(sum(b, row_bytes));
    TLI_TRY(tli_device_copy(values, b->target, (size_t)b->gpu->bytes, b->gpu->stream));
    TLI_TRY(tli_device_synchronize(b->gpu->stream));
    for (int64_t i = 0; i < num_scalars; i++)
        b->gpu->num_wrong += values[i] != REDUCED_ENTRIES;
done:
    return st;
}

static tulle_status_t measure_sums(bench_t *b)
{
    tulle_status_t st = TULLE_OK;
    int64_t row_bytes = REDUCED_WIDTH * 4;
    double ordered = 0, atomic = 0;
    TLI_TRY(make_reduction(b, row_bytes));
    double moved = (double)(b->reduction.num_targets * (REDUCED_ENTRIES + 2) * row_bytes);
    TLI_TRY(check_sums(b, sum_in_order, row_bytes));
    TLI_TRY(time_launches(b, sum_in_order, row_bytes, &ordered));
    perf_gpu_print(b->gpu, "sum-256B", 1e-9 * moved / ordered, "GB/s", b->gpu->ceiling);
    if (sum_atomically(b, row_bytes) == TULLE_OK) {
        TLI_TRY(check_sums(b, sum_atomically, row_bytes));
        TLI_TRY(time_launches(b, sum_atomically, row_bytes, &atomic));
        perf_gpu_print(b->gpu, "sum-256B-us", 1e6 * ordered, "us", 0);
        perf_gpu_print(b->gpu, "atomic-sum-256B-us", 1e6 * atomic, "us", 0);
    }
done:
    free_reduction(b);
    return st;
}

tulle_status_t perf_gpu_measure_kernels(perf_gpu_t *gpu)
{
    tulle_status_t st = TULLE_OK;
    bench_t b = {.gpu = gpu, .arena = TLI_ARENA_INIT};
    int64_t most_rows = gpu->bytes / 16;
    TLI_TRY(tli_arena_alloc_raw(&b.arena, gpu->bytes, 1, &b.check));
    TLI_TRY(tli_arena_alloc_raw(&b.arena, most_rows, sizeof *b.order, &b.order));
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)gpu->bytes, (void **)&b.source));
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)gpu->bytes, (void **)&b.target));
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)most_rows * sizeof *b.index, (void **)&b.index));
    TLI_TRY(fill_source(&b));
    TLI_TRY(measure_copies(&b));
    TLI_TRY(measure_sums(&b));
done:
    tulle_free((void **)&b.source);
    tulle_free((void **)&b.target);
    tulle_free((void **)&b.index);
    tli_arena_release(&b.arena);
    return st;
}
