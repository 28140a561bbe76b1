/* SPDX-License-Identifier: Apache-2.0
 * Products of a sparse matrix and rows on the GPU: by cuSPARSE and by kernels of our own, each beside the ceiling that
 * a copy of as many bytes as the product must at least read and write sets. Rows of B are then read once; they are read
 * again where a cache does not hold them, so the ceiling is never reached by random columns. */
#include <stdio.h>
#include <string.h>

#include "perf/gpu/figures.h"
#include "src/agree.h"
#include "src/device/device.h"
#include "src/device/product_library.h"
#include "src/fault.h"

#define NONZEROS_PER_ROW 16
#define WIDTH            64 /* [f32] */

/* A banded matrix of ones, so that every row of C is the sum of neighbouring rows of B. */
typedef struct bench {
    perf_gpu_t *gpu;
    tulle_comm_t *comm;
    int64_t num_rows; /* of this rank */
    int64_t *row_ptr, *col;
    float *ones, *image; /* on the host */
    float *b, *c;        /* on the device */
    tulle_spmm_t *spmm;
    tli_arena_t arena;
} bench_t;

static tulle_status_t make_matrix(bench_t *p)
{
    tulle_status_t st = TULLE_OK;
    int64_t n = p->num_rows, all = n * p->gpu->num_ranks, first = n * p->gpu->rank, at = 0;
    TLI_TRY(tli_arena_alloc_raw(&p->arena, n + 1, sizeof *p->row_ptr, &p->row_ptr));
    TLI_TRY(tli_arena_alloc_raw(&p->arena, n * NONZEROS_PER_ROW, sizeof *p->col, &p->col));
    TLI_TRY(tli_arena_alloc_raw(&p->arena, n * NONZEROS_PER_ROW, sizeof *p->ones, &p->ones));
    TLI_TRY(tli_arena_alloc_raw(&p->arena, n * WIDTH, sizeof *p->image, &p->image));
    for (int64_t i = 0; i < n; i++) {
        int64_t from = first + i < all - NONZEROS_PER_ROW ? first + i : all - NONZEROS_PER_ROW;
        p->row_ptr[i] = at;
        for (int64_t k = 0; k < NONZEROS_PER_ROW; k++, at++) {
            p->col[at] = from + k;
            p->ones[at] = 1;
        }
        for (int64_t k = 0; k < WIDTH; k++)
            p->image[i * WIDTH + k] = (float)((first + i) % 8 + k % 3);
    }
    p->row_ptr[n] = at;
done:
    return st;
}

static tulle_status_t open_product(bench_t *p, tulle_spmm_library_t library)
{
    tulle_status_t st = TULLE_OK;
    tulle_layout_t rows = TULLE_LAYOUT_BLOCK(p->num_rows);
    tulle_csr_t csr = {p->row_ptr, p->col, p->ones, TULLE_I64, TULLE_F32};
    tulle_spmm_options_t options = TULLE_SPMM_OPTIONS_INIT;
    options.space = TULLE_SPACE_DEVICE;
    options.library = library;
    TLI_TRY(tulle_spmm_create(p->comm, &rows, &rows, &csr, &options, &p->spmm));
done:
    return st;
}

static tulle_status_t repeat(const bench_t *p, int64_t num, double *seconds_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_product_t product = TULLE_PRODUCT(WIDTH, p->b, p->c);
    TLI_MPI(MPI_Barrier(MPI_COMM_WORLD));
    double began = MPI_Wtime();
    for (int64_t i = 0; i < num; i++)
        TLI_TRY(tulle_spmm_run(p->spmm, &product, p->gpu->stream));
    TLI_TRY(tli_device_synchronize(p->gpu->stream));
    *seconds_out = (MPI_Wtime() - began) / (double)num;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, seconds_out, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD));
done:
    return st;
}

/* Sums of 16 rows in a row: of i % 8, twice 28, whatever the first; of k % 3, sixteen times. */
static tulle_status_t check(const bench_t *p)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_device_copy(p->image, p->c, (size_t)(p->num_rows * WIDTH) * sizeof *p->c, p->gpu->stream));
    TLI_TRY(tli_device_synchronize(p->gpu->stream));
    for (int64_t i = 0; i < p->num_rows * WIDTH; i++)
        p->gpu->num_wrong += p->image[i] != (float)(2 * 28 + NONZEROS_PER_ROW * (i % WIDTH % 3));
done:
    return st;
}

static tulle_status_t measure(bench_t *p, tulle_spmm_library_t library, const char *what)
{
    tulle_status_t st = TULLE_OK;
    double seconds = 0, bytes = (double)p->num_rows * (2.0 * WIDTH * sizeof(float) + NONZEROS_PER_ROW * 8.0 + 8.0);
    char name[64];
    TLI_TRY(open_product(p, library));
    TLI_TRY(repeat(p, 2, &seconds)); /* binds and warms */
    TLI_TRY(check(p));
    TLI_TRY(repeat(p, p->gpu->repeat, &seconds));
    snprintf(name, sizeof name, "product-%s-%dx%lldk", what, p->gpu->num_ranks, (long long)(p->num_rows >> 10));
    perf_gpu_print(p->gpu, name, 1e-9 * bytes * p->gpu->num_ranks / seconds, "GB/s", p->gpu->ceiling);
done:
    tulle_spmm_destroy(&p->spmm);
    return st;
}

tulle_status_t perf_gpu_measure_products(perf_gpu_t *gpu, tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    bench_t p = {.gpu = gpu, .comm = comm, .num_rows = gpu->bytes / 4 / (WIDTH * (int64_t)sizeof(float))};
    size_t bytes = (size_t)(p.num_rows * WIDTH) * sizeof(float);
    TLI_TRY(make_matrix(&p));
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, bytes, (void **)&p.b));
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, bytes, (void **)&p.c));
    TLI_TRY(tli_device_copy(p.b, p.image, bytes, gpu->stream));
    TLI_TRY(tli_device_synchronize(gpu->stream));
    TLI_TRY(measure(&p, TULLE_SPMM_LIBRARY_OWN, "own"));
    if (tli_cusparse_is_there())
        TLI_TRY(measure(&p, TULLE_SPMM_LIBRARY_CUSPARSE, "cusparse"));
done:
    tulle_free((void **)&p.b);
    tulle_free((void **)&p.c);
    tli_arena_release(&p.arena);
    return st;
}
