/* SPDX-License-Identifier: Apache-2.0
 * Exchanges: large ones, against the ceiling of a copy; small ones, in microseconds, by themselves and as a graph. All
 * ranks may share one GPU: then it carries the traffic of all of them, and what is shown is kernels and protocol. */
#include <stdio.h>

#include "perf/gpu/figures.h"
#include "src/fault.h"

#define FEW_ROWS        8
#define SMALL_REPEAT    200
#define SMALL_IN_FLIGHT 20 /* launched before the host waits */

static tulle_status_t measure_large(perf_gpu_t *gpu, tulle_comm_t *comm, tulle_ghost_order_t order,
                                    tulle_transport_t transport, const char *what)
{
    tulle_status_t st = TULLE_OK;
    perf_ring_t ring = {.gpu = gpu, .step = 1, .num_owned = gpu->bytes / 4 / PERF_RING_ROW_BYTES};
    double seconds = 0, starting = 0;
    char name[80];
    ring.num_needed = ring.num_owned;
    TLI_TRY(perf_ring_open(&ring, comm, order, transport));
    TLI_TRY(perf_ring_time(&ring, NULL, 2, SMALL_IN_FLIGHT, &seconds, &starting)); /* first use maps and warms */
    TLI_TRY(perf_ring_check(&ring));
    TLI_TRY(perf_ring_time(&ring, NULL, gpu->repeat, SMALL_IN_FLIGHT, &seconds, &starting));
    double moved = 2.0 * (double)gpu->num_ranks * (double)(ring.num_needed * PERF_RING_ROW_BYTES);
    snprintf(name, sizeof name, "exchange-%s-%dx%lldMB", what, gpu->num_ranks,
             (long long)(ring.num_needed * PERF_RING_ROW_BYTES >> 20));
    perf_gpu_print(gpu, name, 1e-9 * moved / seconds, "GB/s", gpu->ceiling);
done:
    perf_ring_close(&ring);
    return st;
}

static tulle_status_t measure_small(perf_gpu_t *gpu, tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    perf_ring_t ring = {.gpu = gpu, .step = 1, .num_owned = FEW_ROWS, .num_needed = gpu->rank < 2 ? FEW_ROWS : 0};
    double seconds = 0, starting = 0;
    TLI_TRY(perf_ring_open(&ring, comm, TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_AUTO));
    TLI_TRY(perf_ring_time(&ring, NULL, SMALL_IN_FLIGHT, SMALL_IN_FLIGHT, &seconds, &starting));
    TLI_TRY(perf_ring_check(&ring));
    TLI_TRY(perf_ring_time(&ring, NULL, SMALL_REPEAT, SMALL_IN_FLIGHT, &seconds, &starting));
    perf_gpu_print(gpu, "small", 1e6 * seconds, "us", 0);
    perf_gpu_print(gpu, "small-start-on-host", 1e6 * starting, "us", 0);
    TLI_TRY(perf_ring_time_graph(&ring, SMALL_REPEAT, &seconds));
    perf_gpu_print(gpu, "small-graph", 1e6 * seconds, "us", 0);
done:
    perf_ring_close(&ring);
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
