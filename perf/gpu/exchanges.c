/* SPDX-License-Identifier: Apache-2.0
 * Exchanges: large ones, against the ceiling of a copy; small ones, in microseconds, by themselves and as a graph. All
 * ranks may share one GPU: then it carries the traffic of all of them, and what is shown is kernels and protocol. */
#include <stdio.h>
#include <string.h>

#include "perf/gpu/figures.h"
#include "src/agree.h"
#include "src/arena.h"
#include "src/device/device.h"
#include "tests/support/gpu.h"

#define ROW_WORDS       32 /* [i64] 256 bytes */
#define FEW_ROWS        8
#define SMALL_REPEAT    200
#define SMALL_IN_FLIGHT 20 /* launched before the host waits */

/* Rank r needs the rows of the next rank. */
typedef struct ring {
    perf_gpu_t *gpu;
    int64_t num_owned, num_needed;
    int64_t *needed, *image; /* on the host */
    int64_t *owned, *ghost;  /* on the device */
    tulle_plan_t *plan;
    tulle_exchange_t *exchange;
    tli_arena_t arena;
} ring_t;

static tulle_status_t fill(ring_t *ring)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t i = 0; i < ring->num_owned * ROW_WORDS; i++)
        ring->image[i] = ring->gpu->rank * ring->num_owned * ROW_WORDS + i;
    TLI_TRY(tli_device_copy(ring->owned, ring->image, (size_t)(ring->num_owned * ROW_WORDS * 8), ring->gpu->stream));
    TLI_TRY(tli_device_synchronize(ring->gpu->stream));
done:
    return st;
}

/* Ghost rows ascend in both orders: they come from one rank. */
static tulle_status_t check(ring_t *ring)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_device_copy(ring->image, ring->ghost, (size_t)(ring->num_needed * ROW_WORDS * 8), ring->gpu->stream));
    TLI_TRY(tli_device_synchronize(ring->gpu->stream));
    for (int64_t i = 0; i < ring->num_needed * ROW_WORDS; i++)
        ring->gpu->num_wrong += ring->image[i] != ring->needed[0] * ROW_WORDS + i;
done:
    return st;
}

static tulle_status_t alloc_ring(ring_t *ring)
{
    tulle_status_t st = TULLE_OK;
    size_t bytes = (size_t)(ring->num_owned * ROW_WORDS * 8);
    TLI_TRY(tli_arena_alloc(&ring->arena, ring->num_owned, sizeof *ring->needed, &ring->needed));
    TLI_TRY(tli_arena_alloc(&ring->arena, ring->num_owned * ROW_WORDS, sizeof *ring->image, &ring->image));
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, bytes, (void **)&ring->owned));
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, bytes, (void **)&ring->ghost));
    for (int64_t i = 0; i < ring->num_owned; i++)
        ring->needed[i] = (ring->gpu->rank + 1) % ring->gpu->num_ranks * ring->num_owned + i;
    TLI_TRY(fill(ring));
done:
    return st;
}

static tulle_status_t open_ring(ring_t *ring, tulle_comm_t *comm, tulle_ghost_order_t order,
                                tulle_transport_t transport)
{
    tulle_status_t st = TULLE_OK;
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(ring->num_owned);
    tulle_plan_options_t plan_options = TULLE_PLAN_OPTIONS_INIT;
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_pattern_t *pattern = NULL;
    TLI_TRY(tli_agree(MPI_COMM_WORLD, alloc_ring(ring)));
    plan_options.ghost_order = order;
    plan_options.row_bytes = ROW_WORDS * 8;
    options.transport = transport;
    tulle_field_t field = {ring->owned, ring->ghost, TULLE_I64, ROW_WORDS, 0, 0};
    TLI_TRY(tulle_pattern_create_from_ids(comm, &layout, ring->needed, ring->num_needed, &pattern));
    TLI_TRY(tulle_plan_create(comm, pattern, &plan_options, &ring->plan));
    TLI_TRY(tulle_exchange_create(ring->plan, TULLE_GATHER, &field, 1, &options, &ring->exchange));
done:
    tulle_pattern_destroy(&pattern);
    return st;
}

static void close_ring(ring_t *ring)
{
    tulle_exchange_destroy(&ring->exchange);
    tulle_plan_destroy(&ring->plan);
    tulle_free((void **)&ring->owned);
    tulle_free((void **)&ring->ghost);
    tli_arena_release(&ring->arena);
}

/* Slowest rank, per repetition. A graph is launched where there is one. */
static tulle_status_t time_ring(const ring_t *ring, void *graph, int64_t repeat, double *seconds_out,
                                double *start_seconds_out)
{
    tulle_status_t st = TULLE_OK;
    double starting = 0;
    TLI_MPI(MPI_Barrier(MPI_COMM_WORLD));
    double began = MPI_Wtime();
    for (int64_t i = 0; i < repeat; i++) {
        double before = MPI_Wtime();
        if (graph != NULL)
            spt_gpu_launch(graph, ring->gpu->stream);
        else
            TLI_TRY(tulle_exchange_start(ring->exchange, ring->gpu->stream));
        starting += MPI_Wtime() - before;
        if (graph == NULL)
            TLI_TRY(tulle_exchange_wait(ring->exchange));
        if (i % SMALL_IN_FLIGHT == SMALL_IN_FLIGHT - 1)
            TLI_TRY(tli_device_synchronize(ring->gpu->stream));
    }
    TLI_TRY(tli_device_synchronize(ring->gpu->stream));
    double times[2] = {(MPI_Wtime() - began) / (double)repeat, starting / (double)repeat};
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, times, 2, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD));
    *seconds_out = times[0];
    *start_seconds_out = times[1];
done:
    return st;
}

static tulle_status_t measure_large(perf_gpu_t *gpu, tulle_comm_t *comm, tulle_ghost_order_t order,
                                    tulle_transport_t transport, const char *what)
{
    tulle_status_t st = TULLE_OK;
    ring_t ring = {.gpu = gpu, .num_owned = gpu->bytes / 4 / (ROW_WORDS * 8)};
    double seconds = 0, starting = 0;
    char name[80];
    ring.num_needed = ring.num_owned;
    TLI_TRY(open_ring(&ring, comm, order, transport));
    TLI_TRY(time_ring(&ring, NULL, 2, &seconds, &starting)); /* first use maps and warms */
    TLI_TRY(check(&ring));
    TLI_TRY(time_ring(&ring, NULL, gpu->repeat, &seconds, &starting));
    double moved = 2.0 * (double)gpu->num_ranks * (double)(ring.num_needed * ROW_WORDS * 8);
    snprintf(name, sizeof name, "exchange-%s-%dx%lldMB", what, gpu->num_ranks,
             (long long)(ring.num_needed * ROW_WORDS * 8 >> 20));
    perf_gpu_print(gpu, name, 1e-9 * moved / seconds, "GB/s", gpu->ceiling);
done:
    close_ring(&ring);
    return st;
}

static tulle_status_t measure_graph(ring_t *ring)
{
    tulle_status_t st = TULLE_OK;
    double seconds = 0, starting = 0;
    spt_gpu_begin_capture(ring->gpu->stream);
    st = tulle_exchange_start(ring->exchange, ring->gpu->stream);
    if (st == TULLE_OK)
        st = tulle_exchange_wait(ring->exchange);
    void *graph = spt_gpu_end_capture(ring->gpu->stream);
    TLI_TRY(tli_agree(MPI_COMM_WORLD, st));
    TLI_TRY(time_ring(ring, graph, SMALL_IN_FLIGHT, &seconds, &starting));
    TLI_TRY(check(ring));
    TLI_TRY(time_ring(ring, graph, SMALL_REPEAT, &seconds, &starting));
    perf_gpu_print(ring->gpu, "small-graph", 1e6 * seconds, "us", 0);
done:
    if (graph != NULL)
        spt_gpu_graph_free(graph);
    return st;
}

static tulle_status_t measure_small(perf_gpu_t *gpu, tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    ring_t ring = {.gpu = gpu, .num_owned = FEW_ROWS, .num_needed = gpu->rank < 2 ? FEW_ROWS : 0};
    double seconds = 0, starting = 0;
    TLI_TRY(open_ring(&ring, comm, TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_AUTO));
    TLI_TRY(time_ring(&ring, NULL, SMALL_IN_FLIGHT, &seconds, &starting));
    TLI_TRY(check(&ring));
    TLI_TRY(time_ring(&ring, NULL, SMALL_REPEAT, &seconds, &starting));
    perf_gpu_print(gpu, "small", 1e6 * seconds, "us", 0);
    perf_gpu_print(gpu, "small-start-on-host", 1e6 * starting, "us", 0);
    TLI_TRY(measure_graph(&ring));
done:
    close_ring(&ring);
    return st;
}

tulle_status_t perf_gpu_measure_exchanges(perf_gpu_t *gpu, tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(measure_large(gpu, comm, TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_AUTO, "in-place"));
    TLI_TRY(measure_large(gpu, comm, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO, "placed"));
    TLI_TRY(measure_large(gpu, comm, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_CUDA_STAGED, "staged"));
    TLI_TRY(measure_small(gpu, comm));
done:
    return st;
}
