/* SPDX-License-Identifier: Apache-2.0
 * Measuring carriers, and what follows from it. */
#include "src/transport/carrier_choice.h"

#include <sched.h>
#include <stdio.h>

#include "src/agree.h"
#include "src/device/stream.h"

#define NUM_ROUNDS 5 /* measured, after one that is not */

/* --- pure --------------------------------------------------------------------------------------------------------- */

double tli_carrier_estimate_ns(const tli_carrier_figure_t *figure, int64_t bytes)
{
    double per_byte = (figure->large_ns - figure->small_ns) / (double)(TLI_PROBE_LARGE_BYTES - TLI_PROBE_SMALL_BYTES);
    double ns = figure->small_ns + per_byte * (double)(bytes - TLI_PROBE_SMALL_BYTES);
    return bytes > TLI_PROBE_SMALL_BYTES && per_byte > 0 ? ns : figure->small_ns;
}

int tli_carrier_fastest(const tli_carrier_figures_t *figures, int num_carriers, int64_t bytes)
{
    int best = -1;
    for (int c = 0; c < num_carriers; c++) {
        const tli_carrier_figure_t *figure = &figures->of[c];
        if (figure->works &&
            (best < 0 || tli_carrier_estimate_ns(figure, bytes) < tli_carrier_estimate_ns(&figures->of[best], bytes)))
            best = c;
    }
    return best;
}

/* Ranks in the order of their nodes, by a counting sort. @return size of the largest node */
static int order_by_node(const int *node, int num_ranks, int *order)
{
    int n = 0, largest = 0;
    for (int k = 0; n < num_ranks; k++) {
        int before = n;
        for (int r = 0; r < num_ranks; r++)
            if (node[r] == k)
                order[n++] = r;
        largest = n - before > largest ? n - before : largest;
    }
    return largest;
}

/* As far along that order as the largest node is, another node begins. */
void tli_carrier_partners(const int *node, int num_ranks, int rank, int *scratch, int *to_out, int *from_out)
{
    int step = order_by_node(node, num_ranks, scratch), at = 0;
    while (scratch[at] != rank)
        at++;
    int to = scratch[(at + step) % num_ranks], from = scratch[(at + num_ranks - step) % num_ranks];
    *to_out = node[to] != node[rank] ? to : -1;
    *from_out = node[from] != node[rank] ? from : -1;
}

/* --- measured ----------------------------------------------------------------------------------------------------- */

typedef struct probe {
    tulle_comm_t *comm;
    const tli_carrier_t *carrier;
    int to, from; /* -1: none */
    void *stream, *done;
    tli_parcel_t send, receive;
    tli_parcels_t parcels;
    void *channel;
} probe_t;

static tulle_status_t run_round(probe_t *p)
{
    tulle_status_t st = TULLE_OK, advanced = TULLE_IN_PROGRESS;
    const tli_carrier_t *carrier = p->carrier;
    double began = MPI_Wtime();
    int num_moved = 0;
    TLI_TRY(carrier->begin(p->channel, p->stream));
    TLI_TRY(carrier->depart(p->channel, 0, p->stream));
    TLI_TRY(carrier->arrive(p->channel, 0, 0, p->stream));
    TLI_TRY(carrier->end(p->channel, p->stream));
    TLI_TRY(tli_event_record(p->done, p->stream));
    do {
        sched_yield();
        if (advanced == TULLE_IN_PROGRESS)
            advanced = carrier->advance(p->channel, &num_moved);
        st = advanced == TULLE_OK ? tli_event_test(p->done) : advanced;
        TLI_REQUIRE(st != TULLE_IN_PROGRESS || p->comm->timeout_ms == 0 ||
                        (MPI_Wtime() - began) * 1e3 < (double)p->comm->timeout_ms,
                    TULLE_ERR_TIMEOUT, "transport %s did not move what it was measured with",
                    tulle_transport_name(carrier->id));
    } while (st == TULLE_IN_PROGRESS);
done:
    return st;
}

/* Slowest rank of each round, then the fastest round: others use the machine, too. */
static tulle_status_t time_rounds(probe_t *p, double *ns_out)
{
    tulle_status_t st = TULLE_OK;
    double ns[NUM_ROUNDS + 1] = {0};
    for (int round = 0; round <= NUM_ROUNDS && st == TULLE_OK; round++) {
        TLI_MPI(MPI_Barrier(p->comm->mpi));
        double began = MPI_Wtime();
        st = run_round(p);
        ns[round] = (MPI_Wtime() - began) * 1e9;
        st = tli_agree(p->comm->mpi, st);
    }
    if (st == TULLE_OK)
        TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, ns, NUM_ROUNDS + 1, MPI_DOUBLE, MPI_MAX, p->comm->mpi));
    *ns_out = ns[1];
    for (int round = 2; round <= NUM_ROUNDS; round++)
        *ns_out = ns[round] < *ns_out ? ns[round] : *ns_out;
done:
    return st;
}

static tulle_status_t time_parcels(probe_t *p, int64_t bytes, double *ns_out)
{
    tulle_status_t st = TULLE_OK;
    int first_tag = tli_comm_take_tags(p->comm, 1);
    p->send = (tli_parcel_t){.peer = p->to, .bytes = bytes};
    p->receive = (tli_parcel_t){.peer = p->from, .bytes = bytes};
    p->parcels = (tli_parcels_t){1, p->to >= 0, p->from >= 0, &p->send, &p->receive};
    p->channel = NULL;
    TLI_TRY(p->carrier->bind(p->comm, TULLE_OK, first_tag, &p->parcels, &p->channel));
    st = time_rounds(p, ns_out);
    if (st < 0)
        p->carrier->give_up(p->channel);
    p->carrier->unbind(p->channel);
done:
    return st;
}

/* A carrier that fails is left out, and said to be. */
static tulle_status_t measure_one(probe_t *p, tli_carrier_figure_t *figure)
{
    tulle_status_t st = TULLE_OK;
    figure->works = p->carrier->is_there();
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &figure->works, 1, MPI_INT, MPI_MIN, p->comm->mpi));
    if (!figure->works) {
        snprintf(figure->why_not, sizeof figure->why_not, "not there on every rank");
        goto done;
    }
    tulle_status_t failed = time_parcels(p, TLI_PROBE_SMALL_BYTES, &figure->small_ns);
    if (failed == TULLE_OK)
        failed = time_parcels(p, TLI_PROBE_LARGE_BYTES, &figure->large_ns);
    figure->works = failed == TULLE_OK;
    if (failed != TULLE_OK)
        snprintf(figure->why_not, sizeof figure->why_not, "%.120s", tulle_last_error()->text);
done:
    return st;
}

static tulle_status_t find_partners(probe_t *p)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int *node = NULL, *order = NULL, n = p->comm->size;
    TLI_TRY(tli_arena_alloc(&scratch, n, sizeof *node, &node));
    TLI_TRY(tli_arena_alloc(&scratch, n, sizeof *order, &order));
    for (int r = 0; r < n; r++)
        node[r] = tulle_topology_group(p->comm->topology, 0, r);
    tli_carrier_partners(node, n, p->comm->rank, order, &p->to, &p->from);
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t open_probe(probe_t *p, tli_carrier_figures_t **figures_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_alloc(sizeof **figures_out, figures_out));
    TLI_TRY(find_partners(p));
    TLI_TRY(tli_stream_create(&p->stream));
    TLI_TRY(tli_event_create(&p->done));
done:
    return st;
}

tulle_status_t tli_carrier_measure(tulle_comm_t *comm, const tli_carrier_figures_t **figures_out)
{
    tulle_status_t st = TULLE_OK;
    probe_t p = {.comm = comm};
    tli_carrier_figures_t *figures = NULL;
    if (comm->carrier_figures == NULL) {
        TLI_TRY(tli_agree(comm->mpi, open_probe(&p, &figures)));
        for (int c = 0; c < tli_num_carriers; c++) {
            p.carrier = tli_carriers[c];
            TLI_TRY(measure_one(&p, &figures->of[c]));
        }
        comm->carrier_figures = figures;
        figures = NULL;
    }
    *figures_out = comm->carrier_figures;
done:
    tli_stream_destroy(p.stream);
    tli_event_destroy(p.done);
    tli_free(figures);
    return st;
}
