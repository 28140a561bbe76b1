/* SPDX-License-Identifier: Apache-2.0
 * Exchanges between declared nodes. All ranks may share one GPU and one machine: then the wire is that machine's memory
 * and NCCL's sockets, and what is shown is whether copies, messages and kernels overlap. */
#include <stdio.h>

#include "perf/gpu/figures.h"
#include "src/agree.h"
#include "src/device/device.h"
#include "src/device/stream.h"
#include "src/transport/carrier_choice.h"

#define FEW_ROWS     8
#define MEGABYTE     ((int64_t)1 << 20)
#define SMALL_REPEAT 100
#define IN_FLIGHT    20

typedef struct between {
    perf_gpu_t *gpu;
    tulle_comm_t *comm;
    const char *topology;
    int step;                                    /* to a rank of the next node */
    int64_t bytes;                               /* of a large message */
    double ceiling;                              /* [GB/s] of it, each way */
    double inside_us;                            /* a small exchange inside nodes */
    const tli_carrier_figures_t *figures;        /* of the carriers alone */
    unsigned char *device_send, *device_receive; /* [bytes] */
    unsigned char *pinned_send, *pinned_receive; /* [bytes] */
    void *other_stream;
} between_t;

static void print(const between_t *b, const char *what, const char *transport, double value, const char *unit,
                  double ceiling)
{
    char name[96];
    snprintf(name, sizeof name, "between-%s-%s%s%s", b->topology, transport, transport[0] != '\0' ? "-" : "", what);
    perf_gpu_print(b->gpu, name, value, unit, ceiling);
}

/* --- what a message crosses, each part alone ---------------------------------------------------------------------- */

static tulle_status_t copy_both_ways(const between_t *b)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_device_copy(b->pinned_send, b->device_send, (size_t)b->bytes, b->gpu->stream));
    TLI_TRY(tli_device_copy(b->device_receive, b->pinned_receive, (size_t)b->bytes, b->other_stream));
    TLI_TRY(tli_device_synchronize(b->gpu->stream));
    TLI_TRY(tli_device_synchronize(b->other_stream));
done:
    return st;
}

static tulle_status_t send_both_ways(const between_t *b)
{
    tulle_status_t st = TULLE_OK;
    int n = b->gpu->num_ranks, to = (b->gpu->rank + n - b->step) % n, from = (b->gpu->rank + b->step) % n;
    TLI_MPI(MPI_Sendrecv(b->pinned_send, (int)b->bytes, MPI_BYTE, to, 0, b->pinned_receive, (int)b->bytes, MPI_BYTE,
                         from, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
done:
    return st;
}

/* [GB/s] each way and rank; slowest rank. */
static tulle_status_t time_part(const between_t *b, tulle_status_t (*part)(const between_t *b), double *rate_out)
{
    tulle_status_t st = TULLE_OK;
    double seconds = 0;
    TLI_TRY(part(b));
    TLI_MPI(MPI_Barrier(MPI_COMM_WORLD));
    double began = MPI_Wtime();
    for (int64_t i = 0; i < b->gpu->repeat; i++)
        TLI_TRY(part(b));
    seconds = (MPI_Wtime() - began) / (double)b->gpu->repeat;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD));
    *rate_out = 1e-9 * (double)b->bytes / seconds;
done:
    return st;
}

static tulle_status_t alloc_parts(between_t *b)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)b->bytes, (void **)&b->device_send));
    TLI_TRY(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)b->bytes, (void **)&b->device_receive));
    TLI_TRY(tulle_alloc(TULLE_SPACE_PINNED, (size_t)b->bytes, (void **)&b->pinned_send));
    TLI_TRY(tulle_alloc(TULLE_SPACE_PINNED, (size_t)b->bytes, (void **)&b->pinned_receive));
    TLI_TRY(tli_stream_create(&b->other_stream));
done:
    return st;
}

static tulle_status_t measure_parts(between_t *b)
{
    tulle_status_t st = TULLE_OK;
    double bus = 0, wire = 0;
    TLI_TRY(tli_agree(MPI_COMM_WORLD, alloc_parts(b)));
    TLI_TRY(time_part(b, copy_both_ways, &bus));
    TLI_TRY(time_part(b, send_both_ways, &wire));
    print(b, "bus-alone", "", bus, "GB/s", 0);
    print(b, "wire-alone", "", wire, "GB/s", 0);
    b->ceiling = bus < wire ? bus : wire;
done:
    tulle_free((void **)&b->device_send);
    tulle_free((void **)&b->device_receive);
    tulle_free((void **)&b->pinned_send);
    tulle_free((void **)&b->pinned_receive);
    tli_stream_destroy(b->other_stream);
    b->other_stream = NULL;
    return st;
}

/* --- exchanges ---------------------------------------------------------------------------------------------------- */

static tulle_status_t time_small(const between_t *b, int step, tulle_transport_t transport, int graph, double *us_out)
{
    tulle_status_t st = TULLE_OK;
    perf_ring_t ring = {.gpu = b->gpu, .step = step, .num_owned = FEW_ROWS, .num_needed = FEW_ROWS};
    double seconds = 0, starting = 0;
    TLI_TRY(perf_ring_open(&ring, b->comm, TULLE_GHOST_ORDER_PLAN, transport));
    TLI_TRY(perf_ring_time(&ring, NULL, IN_FLIGHT, IN_FLIGHT, &seconds, &starting));
    TLI_TRY(perf_ring_check(&ring));
    if (graph)
        TLI_TRY(perf_ring_time_graph(&ring, SMALL_REPEAT, &seconds));
    else
        TLI_TRY(perf_ring_time(&ring, NULL, SMALL_REPEAT, IN_FLIGHT, &seconds, &starting));
    *us_out = 1e6 * seconds;
done:
    perf_ring_close(&ring);
    return st;
}

static tulle_status_t measure_large(const between_t *b, tulle_transport_t transport)
{
    tulle_status_t st = TULLE_OK;
    perf_ring_t ring = {.gpu = b->gpu, .step = b->step, .num_owned = b->bytes / PERF_RING_ROW_BYTES};
    double seconds = 0, starting = 0;
    char what[32];
    ring.num_needed = ring.num_owned;
    TLI_TRY(perf_ring_open(&ring, b->comm, TULLE_GHOST_ORDER_PLAN, transport));
    TLI_TRY(perf_ring_time(&ring, NULL, 2, 1, &seconds, &starting));
    TLI_TRY(perf_ring_check(&ring));
    TLI_TRY(perf_ring_time(&ring, NULL, b->gpu->repeat, 1, &seconds, &starting));
    snprintf(what, sizeof what, "%lldMB", (long long)(b->bytes >> 20));
    print(b, what, tulle_transport_name(transport), 1e-9 * (double)b->bytes / seconds, "GB/s", b->ceiling);
    print(b, "start-on-host", tulle_transport_name(transport), 1e6 * starting, "us", 0);
done:
    perf_ring_close(&ring);
    return st;
}

/* Rows of other nodes cross rail by rail, so many of each rank. Everybody needs all rows, or the rail's alone. */
static tulle_status_t time_rails(const between_t *b, int64_t bytes, int is_passed_on, tulle_transport_t transport,
                                 double *us_out)
{
    tulle_status_t st = TULLE_OK;
    perf_ring_t ring = {.gpu = b->gpu,
                        .step = is_passed_on ? 1 : b->step,
                        .num_owned = bytes / PERF_RING_ROW_BYTES,
                        .strategy = TULLE_STRATEGY_RAIL};
    double seconds = 0, starting = 0;
    ring.num_needed = (b->gpu->num_ranks / ring.step - 1) * ring.num_owned;
    TLI_TRY(perf_ring_open(&ring, b->comm, TULLE_GHOST_ORDER_PLAN, transport));
    TLI_TRY(perf_ring_time(&ring, NULL, 2, 1, &seconds, &starting));
    TLI_TRY(perf_ring_check(&ring));
    /* Of so many rows, and for so many transports, that it is done fewer times. */
    TLI_TRY(perf_ring_time(&ring, NULL, 1 + b->gpu->repeat / 4, 1, &seconds, &starting));
    *us_out = 1e6 * seconds;
done:
    perf_ring_close(&ring);
    return st;
}

/* What passing on inside nodes adds to the crossing alone. */
static tulle_status_t measure_passing_on(const between_t *b, int64_t megabytes, tulle_transport_t transport)
{
    tulle_status_t st = TULLE_OK;
    double us = 0, alone = 0;
    char what[32];
    TLI_TRY(time_rails(b, megabytes * MEGABYTE, 0, transport, &alone));
    TLI_TRY(time_rails(b, megabytes * MEGABYTE, 1, transport, &us));
    snprintf(what, sizeof what, "%lldMB-passed-on", (long long)megabytes);
    print(b, what, tulle_transport_name(transport), us, "us", alone);
done:
    return st;
}

/* A small exchange beside its slower part: the carrier's message alone, or an exchange inside nodes. */
static tulle_status_t measure_carrier(const between_t *b, int c)
{
    tulle_status_t st = TULLE_OK;
    tulle_transport_t transport = tli_carriers[c]->id;
    const char *name = tulle_transport_name(transport);
    double us = 0, alone = 1e-3 * b->figures->of[c].small_ns;
    print(b, "4KiB-alone", name, alone, "us", 0);
    print(b, "4MiB-alone", name, 1e-3 * b->figures->of[c].large_ns, "us", 0);
    TLI_TRY(time_small(b, b->step, transport, 0, &us));
    print(b, "small", name, us, "us", alone > b->inside_us ? alone : b->inside_us);
    if (!tli_carriers[c]->is_host_driven) {
        TLI_TRY(time_small(b, b->step, transport, 1, &us));
        print(b, "small-graph", name, us, "us", 0);
    }
    TLI_TRY(measure_large(b, transport));
    TLI_TRY(measure_passing_on(b, 1, transport));
    TLI_TRY(measure_passing_on(b, 4, transport));
done:
    return st;
}

static tulle_status_t measure(between_t *b)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(measure_parts(b));
    TLI_TRY(time_small(b, 1, TULLE_TRANSPORT_CUDA_IPC, 0, &b->inside_us));
    print(b, "small", "inside", b->inside_us, "us", 0);
    TLI_TRY(tli_carrier_measure(b->comm, &b->figures));
    for (int c = 0; c < tli_num_carriers; c++) {
        if (b->figures->of[c].works)
            TLI_TRY(measure_carrier(b, c));
        else if (b->gpu->rank == 0)
            printf("%s: %s\n", tulle_transport_name(tli_carriers[c]->id), b->figures->of[c].why_not);
    }
done:
    return st;
}

tulle_status_t perf_gpu_measure_between_nodes(perf_gpu_t *gpu, const char *topology)
{
    tulle_status_t st = TULLE_OK;
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    between_t b = {.gpu = gpu, .topology = topology, .bytes = gpu->bytes / 4};
    options.topology_text = topology;
    TLI_TRY(tulle_comm_create(MPI_COMM_WORLD, &options, &b.comm));
    b.step = gpu->num_ranks / tulle_topology_num_groups(tulle_comm_topology(b.comm), 0);
    TLI_TRY(measure(&b));
done:
    tulle_comm_destroy(&b.comm);
    return st;
}
