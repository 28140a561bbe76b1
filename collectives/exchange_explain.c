/* SPDX-License-Identifier: Apache-2.0
 * How an exchange moves its rows: counted, and in words. */
#include <string.h>

#include "collectives/device.h"
#include "src/agree.h"
#include "src/options.h"
#include "src/transport/carrier_choice.h"

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

static void count(const tulle_exchange_t *x, tulle_exchange_stats_t *stats)
{
    int64_t row_bytes = 0;
    for (int f = 0; f < x->num_fields; f++)
        row_bytes += tli_field_row_bytes(&x->fields[f]);
    for (int64_t w = 0; w < x->steps.num_receives; w++) {
        const tli_end_t *end = &x->steps.receive_ends[w];
        tulle_transport_stats_t *transport = &stats->transports[transport_of(x, end)];
        transport->messages += !tli_is_carried(end);
        transport->rows += end->num_rows;
        transport->bytes += end->num_rows * row_bytes;
    }
    if (x->device != NULL && x->device->carrier != NULL)
        stats->transports[x->device->carrier->id].messages += x->device->parcels.num_receives;
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
        return "messages of MPI";
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

static tulle_status_t print(const tulle_exchange_t *x, const tulle_exchange_stats_t *stats, FILE *out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(out != NULL, TULLE_ERR_ARG, "out is NULL on rank 0");
    fprintf(out, "exchange: %s of %d field%s by %s", x->direction == TULLE_GATHER ? "gather" : "scatter", x->num_fields,
            x->num_fields == 1 ? "" : "s", stats->on_device ? "GPUs" : "the host");
    if (stats->on_device)
        fprintf(out, " in %d stages", (int)stats->num_stages);
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
