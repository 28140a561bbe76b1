/* SPDX-License-Identifier: Apache-2.0
 * A ring of ranks, each with as many rows as it needs of another, or of each of several. */
#include "perf/gpu/figures.h"
#include "src/agree.h"
#include "src/device/device.h"
#include "tests/support/gpu.h"

#define ROW_WORDS        (PERF_RING_ROW_BYTES / 8) /* [i64] */
#define GRAPHS_IN_FLIGHT 20

static tulle_status_t fill(perf_ring_t *ring)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t i = 0; i < ring->num_owned * ROW_WORDS; i++)
        ring->image[i] = ring->gpu->rank * ring->num_owned * ROW_WORDS + i;
    TLI_TRY(
        tli_device_copy(ring->owned, ring->image, (size_t)(ring->num_owned * PERF_RING_ROW_BYTES), ring->gpu->stream));
    TLI_TRY(tli_device_synchronize(ring->gpu->stream));
done:
    return st;
}

tulle_status_t perf_ring_check(perf_ring_t *ring)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(
        tli_device_copy(ring->image, ring->ghost, (size_t)(ring->num_needed * PERF_RING_ROW_BYTES), ring->gpu->stream));
    TLI_TRY(tli_device_synchronize(ring->gpu->stream));
    TLI_TRY(tulle_plan_ghost_order(ring->plan, ring->position));
    for (int64_t i = 0; i < ring->num_needed * ROW_WORDS; i++)
        ring->gpu->num_wrong += ring->image[ring->position[i / ROW_WORDS] * ROW_WORDS + i % ROW_WORDS] !=
                                ring->needed[i / ROW_WORDS] * ROW_WORDS + i % ROW_WORDS;
done:
    return st;
}

static tulle_status_t alloc_ring(perf_ring_t *ring)
{
    tulle_status_t st = TULLE_OK;
    int64_t n = ring->num_owned > ring->num_needed ? ring->num_owned : ring->num_needed;
    TLI_TRY(tli_arena_alloc(&ring->arena, n, sizeof *ring->needed, &ring->needed));
    TLI_TRY(tli_arena_alloc(&ring->arena, n, sizeof *ring->position, &ring->position));
    TLI_TRY(tli_arena_alloc(&ring->arena, n * ROW_WORDS, sizeof *ring->image, &ring->image));
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)(ring->num_owned * PERF_RING_ROW_BYTES), (void **)&ring->owned));
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)(n * PERF_RING_ROW_BYTES), (void **)&ring->ghost));
    for (int64_t i = 0; i < n; i++) {
        int64_t owner = (ring->gpu->rank + ring->step * (1 + i / ring->num_owned)) % ring->gpu->num_ranks;
        ring->needed[i] = owner * ring->num_owned + i % ring->num_owned;
    }
    TLI_TRY(fill(ring));
done:
    return st;
}

tulle_status_t perf_ring_open(perf_ring_t *ring, tulle_comm_t *comm, tulle_ghost_order_t order,
                              tulle_transport_t transport)
{
    tulle_status_t st = TULLE_OK;
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(ring->num_owned);
    tulle_plan_options_t plan_options = TULLE_PLAN_OPTIONS_INIT;
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_pattern_t *pattern = NULL;
    TLI_TRY(tli_agree(MPI_COMM_WORLD, alloc_ring(ring)));
    plan_options.ghost_order = order;
    plan_options.strategy = ring->strategy;
    plan_options.row_bytes = PERF_RING_ROW_BYTES;
    options.transport = transport;
    tulle_field_t field = {ring->owned, ring->ghost, TULLE_I64, ROW_WORDS, 0, 0};
    TLI_TRY(tulle_pattern_create_from_ids(comm, &layout, ring->needed, ring->num_needed, &pattern));
    TLI_TRY(tulle_plan_create(comm, pattern, &plan_options, &ring->plan));
    TLI_TRY(tulle_exchange_create(ring->plan, TULLE_GATHER, &field, 1, &options, &ring->exchange));
done:
    tulle_pattern_destroy(&pattern);
    return st;
}

void perf_ring_close(perf_ring_t *ring)
{
    tulle_exchange_destroy(&ring->exchange);
    tulle_plan_destroy(&ring->plan);
    tulle_free((void **)&ring->owned);
    tulle_free((void **)&ring->ghost);
    tli_arena_release(&ring->arena);
}

tulle_status_t perf_ring_time(const perf_ring_t *ring, void *graph, int64_t repeat, int64_t in_flight,
                              double *seconds_out, double *start_seconds_out)
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
        if (i % in_flight == in_flight - 1)
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

tulle_status_t perf_ring_time_graph(perf_ring_t *ring, int64_t repeat, double *seconds_out)
{
    tulle_status_t st = TULLE_OK;
    double starting = 0;
    spt_gpu_begin_capture(ring->gpu->stream);
    st = tulle_exchange_start(ring->exchange, ring->gpu->stream);
    if (st == TULLE_OK)
        st = tulle_exchange_wait(ring->exchange);
    void *graph = spt_gpu_end_capture(ring->gpu->stream);
    TLI_TRY(tli_agree(MPI_COMM_WORLD, st));
    TLI_TRY(perf_ring_time(ring, graph, GRAPHS_IN_FLIGHT, GRAPHS_IN_FLIGHT, seconds_out, &starting));
    TLI_TRY(perf_ring_check(ring));
    TLI_TRY(perf_ring_time(ring, graph, repeat, GRAPHS_IN_FLIGHT, seconds_out, &starting));
done:
    if (graph != NULL)
        spt_gpu_graph_free(graph);
    return st;
}
