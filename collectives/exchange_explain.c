/* SPDX-License-Identifier: Apache-2.0
 * How an exchange moves its rows: counted, and in words. */
#include <string.h>

#include "collectives/device.h"
#include "src/agree.h"
#include "src/options.h"
#include "src/transport/carrier_choice.h"
#include "topology/probe.h"

static tulle_transport_t transport_of(const tulle_exchange_t *x, const tli_end_t *end)
{
    switch (end->way) {
    case TLI_WAY_STORED:
        return TULLE_TRANSPORT_CUDA_IPC;
    case TLI_WAY_STAGED:
        return TULLE_TRANSPORT_CUDA_STAGED;
    case TLI_WAY_CARRIED:
        return x->device->carrier->id;
    case TLI_WAY_SENT:
    case TLI_WAY_READ:
        break;
    }
    return tli_transports[end->transport]->id;
}

static int receives_in_place(const tulle_exchange_t *x)
{
    int is_in_place = 0;
    for (int64_t w = 0; w < x->steps.num_receives; w++)
        is_in_place |= x->steps.receive_ends[w].area == TLI_AREA_GHOST;
    return is_in_place;
}

/* The first chunk of each message of the plan stands for it. */
static int is_first_chunk(const tulle_exchange_t *x, int64_t wire, int64_t *message)
{
    const int64_t *chunk_ptr = tli_exchange_chunk_ptr(x);
    if (chunk_ptr == NULL)
        return 1;
    int begins = chunk_ptr[*message] == wire;
    *message += begins;
    return begins;
}

static void count(const tulle_exchange_t *x, tulle_exchange_stats_t *stats)
{
    int64_t message = 0;
    for (int64_t w = 0; w < x->steps.num_receives; w++) {
        const tli_end_t *end = &x->steps.receive_ends[w];
        tulle_transport_stats_t *transport = &stats->transports[transport_of(x, end)];
        transport->messages += is_first_chunk(x, w, &message) && !tli_is_carried(end);
        transport->rows += end->num_rows;
        transport->bytes += end->num_rows * tli_travelling_row_bytes(x, end->precision);
        stats->num_chunks += !tli_is_carried(end);
    }
    if (x->device != NULL && x->device->carrier != NULL) {
        stats->transports[x->device->carrier->id].messages += x->device->parcels.num_receives;
        stats->num_chunks += x->device->parcels.num_receives;
    }
    stats->on_device = x->device != NULL;
    stats->num_stages = x->device != NULL ? (int32_t)x->device->program.num_stages : 0;
    stats->in_place = receives_in_place(x);
}

tulle_status_t tulle_exchange_get_stats(const tulle_exchange_t *x, tulle_exchange_stats_t *stats)
{
    tulle_status_t st = TULLE_OK;
    tulle_exchange_stats_t found = {.struct_size = sizeof found};
    TLI_REQUIRE(x != NULL, TULLE_ERR_ARG, "the exchange is NULL: was it created, or already destroyed?");
    MPI_Comm mpi = x->plan->comm->mpi;
    st = tli_options_check_results(stats, sizeof found, offsetof(tulle_exchange_stats_t, transports));
    TLI_TRY(tli_agree(mpi, st));
    count(x, &found);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, found.transports, 3 * TULLE_NUM_TRANSPORTS, MPI_INT64_T, MPI_SUM, mpi));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &found.in_place, 1, MPI_INT32_T, MPI_SUM, mpi));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &found.num_chunks, 1, MPI_INT64_T, MPI_SUM, mpi));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &found.num_stages, 1, MPI_INT32_T, MPI_MAX, mpi));
    tli_options_give(&found, sizeof found, stats);
done:
    return st;
}

/* --- in words ---------------------------------------------------------------------------------------------------- */

static const char *describe(const tulle_exchange_t *x, tulle_transport_t transport)
{
    switch (transport) {
    case TULLE_TRANSPORT_SHARED_MEMORY:
        return "read out of the sender's shared memory";
    case TULLE_TRANSPORT_MPI:
        return x->transport == transport ? "messages of MPI, as the exchange asks" : "messages of MPI";
    case TULLE_TRANSPORT_UCX:
        return x->transport == transport ? "messages of UCX, as the exchange asks" : "messages of UCX";
    case TULLE_TRANSPORT_CUDA_IPC:
        return "stored by the sender's GPU into the memory of the receiver's";
    case TULLE_TRANSPORT_CUDA_STAGED:
        return x->transport == TULLE_TRANSPORT_CUDA_STAGED
                   ? "stored into pinned host memory, as asked"
                   : "stored into pinned host memory: these GPUs do not reach each other";
    case TULLE_TRANSPORT_MPI_STAGED:
        return "between nodes: messages of MPI out of pinned host memory";
    case TULLE_TRANSPORT_MPI_DEVICE:
        return "between nodes: messages of MPI out of device memory";
    case TULLE_TRANSPORT_UCX_STAGED:
        return "between nodes: messages of UCX out of pinned host memory";
    case TULLE_TRANSPORT_UCX_DEVICE:
        return "between nodes: messages of UCX out of device memory";
    case TULLE_TRANSPORT_NCCL:
        return "between nodes: messages of NCCL";
    case TULLE_TRANSPORT_AUTO:
        break;
    }
    return "";
}

/* Why the carrier is the one it is, and what was measured. */
static void print_choice(const tulle_exchange_t *x, FILE *out)
{
    const tli_carrier_figures_t *figures = x->plan->comm->carrier_figures;
    if (x->device == NULL || x->device->carrier == NULL)
        return;
    const char *name = tulle_transport_name(x->device->carrier->id);
    if (x->device->most_bytes == 0) {
        fprintf(out, "\n  between nodes: %s, as asked\n", name);
        return;
    }
    fprintf(out,
            "\n  between nodes: %s, the fastest for %.3f MB of the busiest rank, by parcels measured between nodes:\n",
            name, (double)x->device->most_bytes / 1e6);
    for (int c = 0; c < tli_num_carriers; c++) {
        const tli_carrier_figure_t *figure = &figures->of[c];
        if (figure->works)
            fprintf(out, "  %-14s %10.1f us for 4 KiB, %.1f us for 4 MiB, so %.1f us here\n",
                    tulle_transport_name(tli_carriers[c]->id), figure->small_ns / 1e3, figure->large_ns / 1e3,
                    tli_carrier_estimate_ns(figure, x->device->most_bytes) / 1e3);
        else
            fprintf(out, "  %-14s %s\n", tulle_transport_name(tli_carriers[c]->id), figure->why_not);
    }
}

/* Of a carrier: who chose it, and by which figures. */
static void print_carrier(const tulle_exchange_t *x, int level, FILE *out)
{
    const tulle_comm_t *comm = x->plan->comm;
    const tulle_carrier_t *found = &comm->topology->levels[level].carrier;
    fprintf(out, "  level %s: messages of %s, ", comm->topology->levels[level].name,
            tulle_transport_name(comm->carriers[level]));
    if (comm->is_carrier_asked)
        fprintf(out, "as the communicator's options or TULLE_TRANSPORT ask");
    else if (found->transport == TULLE_TRANSPORT_AUTO)
        fprintf(out, "as always where no probe has compared them");
    else if (found->transport != comm->carriers[level])
        fprintf(out, "though the topology says %s, which this build lacks", tulle_transport_name(found->transport));
    else
        fprintf(out, "as the topology says");
    if (found->mpi_small_ns > 0 && found->ucx_small_ns > 0)
        fprintf(
            out, "; measured per exchange: small messages %.1f us by mpi, %.1f us by ucx; large ones %.1f and %.1f us",
            found->mpi_small_ns / 1e3, found->ucx_small_ns / 1e3, found->mpi_large_ns / 1e3, found->ucx_large_ns / 1e3);
    fprintf(out, "\n");
}

/* Levels that rows cross in messages; inside a node they do so only where no memory is shared. */
static void print_carriers(const tulle_exchange_t *x, const tulle_exchange_stats_t *stats, FILE *out)
{
    const tulle_topology_t *topology = x->plan->comm->topology;
    int has_messages =
        stats->transports[TULLE_TRANSPORT_MPI].messages + stats->transports[TULLE_TRANSPORT_UCX].messages > 0;
    int shares_nothing = stats->transports[TULLE_TRANSPORT_SHARED_MEMORY].messages == 0;
    for (int level = 0; has_messages && level < (shares_nothing ? topology->num_levels : 1); level++)
        if (x->transport == TULLE_TRANSPORT_AUTO && tli_probe_num_partners(topology, level, 1) > 0)
            print_carrier(x, level, out);
}

static tulle_status_t print(const tulle_exchange_t *x, const tulle_exchange_stats_t *stats, FILE *out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(out != NULL, TULLE_ERR_ARG, "out is NULL on rank 0");
    fprintf(out, "exchange: %s of %d field%s by %s", x->direction == TULLE_GATHER ? "gather" : "scatter", x->num_fields,
            x->num_fields == 1 ? "" : "s", stats->on_device ? "GPUs" : "the host");
    if (stats->on_device)
        fprintf(out, " in %d stages", (int)stats->num_stages);
    if (x->wire_precision != TULLE_WIRE_PRECISION_NONE)
        fprintf(out, "; messages across level %s%s carry %s",
                tulle_topology_level_name(x->plan->comm->topology, x->wire_levels - 1),
                x->wire_levels > 1 ? " and above" : "", tulle_wire_precision_name(x->wire_precision));
    if (x->chunk_rows > 0)
        fprintf(out, "; messages longer than %lld rows travel in chunks, %lld in all", (long long)x->chunk_rows,
                (long long)stats->num_chunks);
    fprintf(out, "; %d of %d ranks receive in place\n\n  %-14s %10s %12s %12s\n", (int)stats->in_place,
            x->plan->comm->size, "transport", "messages", "rows", "MB");
    for (int t = 0; t < TULLE_NUM_TRANSPORTS; t++) {
        const tulle_transport_stats_t *transport = &stats->transports[t];
        if (transport->messages > 0)
            fprintf(out, "  %-14s %10lld %12lld %12.3f  %s\n", tulle_transport_name((tulle_transport_t)t),
                    (long long)transport->messages, (long long)transport->rows, (double)transport->bytes / 1e6,
                    describe(x, (tulle_transport_t)t));
    }
    print_choice(x, out);
    print_carriers(x, stats, out);
    TLI_REQUIRE(fflush(out) == 0 && !ferror(out), TULLE_ERR_FILE, "the stream refused the table");
done:
    return st;
}

tulle_status_t tulle_exchange_explain(const tulle_exchange_t *x, FILE *out)
{
    tulle_status_t st = TULLE_OK;
    tulle_exchange_stats_t stats = {.struct_size = sizeof stats};
    TLI_TRY(tulle_exchange_get_stats(x, &stats));
    if (x->plan->comm->rank == 0)
        st = print(x, &stats, out);
    st = tli_agree(x->plan->comm->mpi, st);
done:
    return st;
}
