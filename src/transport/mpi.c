/* SPDX-License-Identifier: Apache-2.0
 * Between any two ranks: persistent point-to-point messages, made once and started in every round. */
#include <limits.h>

#include "src/agree.h"
#include "src/transport/transport.h"

/* Large messages go in pieces, started together, so that they may be longer than MPI's int counts. */
#define PIECE_BYTES ((int64_t)1 << 20)
#define MOST_PIECES 1024

/* Requests of one kind. Those of wire w are first[w] to first[w + 1]; none where the wire is of another transport. */
typedef struct requests {
    int num;
    MPI_Request *all; /* [num] */
    int *first;       /* [wires + 1] */
} requests_t;

typedef struct channel {
    tulle_comm_t *comm;
    requests_t sends, receives;
    int *wire_of_receive; /* [receives.num] */
    int *peer_of_send;    /* [sends.num] */
    int *num_missing;     /* [receiving wires] pieces that have not come in this round */
    int *finished;        /* [receives.num] room for MPI_Testsome */
    int num_outstanding;  /* receives not yet completed in this round */
    tli_arena_t arena;
} channel_t;

static int mpi_reaches(const tulle_comm_t *comm, int peer)
{
    (void)comm;
    (void)peer;
    return 1;
}

static void free_requests(requests_t *requests)
{
    for (int i = 0; i < requests->num; i++)
        if (requests->all[i] != MPI_REQUEST_NULL)
            MPI_Request_free(&requests->all[i]);
}

static void mpi_close(void *opaque)
{
    channel_t *channel = opaque;
    if (channel != NULL) {
        free_requests(&channel->sends);
        free_requests(&channel->receives);
        tli_arena_release(&channel->arena);
        tli_free(channel);
    }
}

static tulle_status_t mpi_open(tulle_comm_t *comm, tulle_status_t local, const tli_loan_t *loan, void **channel_out)
{
    tulle_status_t st = local;
    channel_t *channel = NULL;
    (void)loan;
    if (st == TULLE_OK)
        st = tli_alloc(sizeof *channel, &channel);
    if (st == TULLE_OK) {
        channel->comm = comm;
        *channel_out = channel;
    }
    return st;
}

static int mpi_lends(const void *opaque, int peer)
{
    (void)opaque;
    (void)peer;
    return 0;
}

/* Alike at both ends, which know the same size. */
static int64_t piece_bytes(int64_t bytes)
{
    int64_t piece = (bytes + MOST_PIECES - 1) / MOST_PIECES;
    return piece < PIECE_BYTES ? PIECE_BYTES : piece;
}

static tulle_status_t alloc_requests(channel_t *channel, const tli_wire_t *wires, const unsigned char *transport,
                                     int num_wires, int mine, requests_t *requests)
{
    tulle_status_t st = TULLE_OK;
    int64_t num = 0;
    TLI_TRY(tli_arena_alloc(&channel->arena, num_wires + 1, sizeof(int), &requests->first));
    for (int w = 0; w < num_wires; w++) {
        int64_t piece = piece_bytes(wires[w].bytes);
        if (transport[w] == mine)
            num += (wires[w].bytes + piece - 1) / piece;
        TLI_REQUIRE(piece <= INT_MAX && num < INT_MAX, TULLE_ERR_OVERFLOW,
                    "messages are too large: one of %lld bytes to or from rank %d", (long long)wires[w].bytes,
                    wires[w].peer);
        requests->first[w + 1] = (int)num;
    }
    TLI_TRY(tli_arena_alloc_raw(&channel->arena, num, sizeof *requests->all, &requests->all));
done:
    return st;
}

/* Pieces of a message share its tag: MPI keeps their order. */
static tulle_status_t make_pieces(const channel_t *channel, const tli_wire_t *wire, int is_send, requests_t *requests)
{
    tulle_status_t st = TULLE_OK;
    int64_t piece = piece_bytes(wire->bytes);
    for (int64_t at = 0; at < wire->bytes; at += piece) {
        int count = (int)(wire->bytes - at < piece ? wire->bytes - at : piece);
        MPI_Request *request = &requests->all[requests->num];
        if (is_send)
            TLI_MPI(
                MPI_Send_init(wire->address + at, count, MPI_BYTE, wire->peer, wire->tag, channel->comm->mpi, request));
        else
            TLI_MPI(
                MPI_Recv_init(wire->address + at, count, MPI_BYTE, wire->peer, wire->tag, channel->comm->mpi, request));
        requests->num++;
    }
done:
    return st;
}

static tulle_status_t make_requests(channel_t *channel, const tli_wires_t *wires)
{
    tulle_status_t st = TULLE_OK;
    requests_t *receives = &channel->receives;
    TLI_TRY(alloc_requests(channel, wires->receives, wires->receive_transport, wires->num_receives, wires->transport,
                           receives));
    TLI_TRY(alloc_requests(channel, wires->sends, wires->send_transport, wires->num_sends, wires->transport,
                           &channel->sends));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_receives, sizeof(int), &channel->num_missing));
    TLI_TRY(
        tli_arena_alloc(&channel->arena, receives->first[wires->num_receives], sizeof(int), &channel->wire_of_receive));
    TLI_TRY(tli_arena_alloc(&channel->arena, receives->first[wires->num_receives], sizeof(int), &channel->finished));
    for (int w = 0; w < wires->num_receives; w++) {
        for (int i = receives->first[w]; i < receives->first[w + 1]; i++)
            channel->wire_of_receive[i] = w;
        if (wires->receive_transport[w] == wires->transport)
            TLI_TRY(make_pieces(channel, &wires->receives[w], 0, receives));
    }
    TLI_TRY(
        tli_arena_alloc(&channel->arena, channel->sends.first[wires->num_sends], sizeof(int), &channel->peer_of_send));
    for (int w = 0; w < wires->num_sends; w++) {
        for (int i = channel->sends.first[w]; i < channel->sends.first[w + 1]; i++)
            channel->peer_of_send[i] = wires->sends[w].peer;
        if (wires->send_transport[w] == wires->transport)
            TLI_TRY(make_pieces(channel, &wires->sends[w], 1, &channel->sends));
    }
done:
    return st;
}

static tulle_status_t mpi_reserve(void *opaque, const tli_wires_t *wires, size_t shared_bytes,
                                  unsigned char **shared_out)
{
    (void)opaque;
    (void)wires;
    (void)shared_bytes;
    (void)shared_out;
    return TULLE_OK;
}

static tulle_status_t mpi_bind(void *opaque, const tli_wires_t *wires, tli_delivery_t *deliveries)
{
    channel_t *channel = opaque;
    for (int w = 0; w < wires->num_receives; w++)
        if (wires->receive_transport[w] == wires->transport)
            deliveries[w] = (tli_delivery_t){wires->receives[w].address, wires->receives[w].rows, 0};
    return make_requests(channel, wires);
}

static tulle_status_t mpi_ready(void *opaque)
{
    (void)opaque;
    return TULLE_OK;
}

static tulle_status_t mpi_begin(void *opaque)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    requests_t *receives = &channel->receives;
    channel->num_outstanding = receives->num;
    for (int i = 0; i < receives->num; i++) {
        int w = channel->wire_of_receive[i];
        channel->num_missing[w] = receives->first[w + 1] - receives->first[w];
    }
    for (int i = 0; i < receives->num; i++)
        TLI_MPI(MPI_Start(&receives->all[i]));
done:
    return st;
}

static tulle_status_t mpi_send(void *opaque, int wire)
{
    tulle_status_t st = TULLE_OK;
    requests_t *sends = &((channel_t *)opaque)->sends;
    for (int i = sends->first[wire]; i < sends->first[wire + 1]; i++)
        TLI_MPI(MPI_Start(&sends->all[i]));
done:
    return st;
}

/* A large message leaves only while MPI is called at both ends: a rank that still waits for others in shared memory
 * must call it for its sends when no receive makes it do so. */
static tulle_status_t mpi_poll(void *opaque, int *arrived, int *num_arrived)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    int num_finished = 0, are_sent = 0;
    *num_arrived = 0;
    if (channel->num_outstanding > 0)
        TLI_MPI(MPI_Testsome(channel->receives.num, channel->receives.all, &num_finished, channel->finished,
                             MPI_STATUSES_IGNORE));
    else if (channel->sends.num > 0)
        TLI_MPI(MPI_Testall(channel->sends.num, channel->sends.all, &are_sent, MPI_STATUSES_IGNORE));
    num_finished = num_finished == MPI_UNDEFINED ? 0 : num_finished;
    for (int i = 0; i < num_finished; i++) {
        int w = channel->wire_of_receive[channel->finished[i]];
        if (--channel->num_missing[w] == 0)
            arrived[(*num_arrived)++] = w;
    }
    channel->num_outstanding -= num_finished;
done:
    return st;
}

static void mpi_release(void *opaque, int wire)
{
    (void)opaque;
    (void)wire;
}

static tulle_status_t mpi_drain(void *opaque)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    int are_sent = 1;
    if (channel->sends.num > 0)
        TLI_MPI(MPI_Testall(channel->sends.num, channel->sends.all, &are_sent, MPI_STATUSES_IGNORE));
    st = are_sent ? TULLE_OK : TULLE_IN_PROGRESS;
done:
    return st;
}

static int is_over(const MPI_Request *request)
{
    int is_done = 0;
    return MPI_Request_get_status(*request, &is_done, MPI_STATUS_IGNORE) == MPI_SUCCESS && is_done;
}

static int mpi_laggard(const void *opaque)
{
    const channel_t *channel = opaque;
    for (int i = 0; i < channel->sends.num; i++)
        if (!is_over(&channel->sends.all[i]))
            return channel->peer_of_send[i];
    return -1;
}

/* A receive that has begun cannot be cancelled, and waiting for the rest of it may be for ever; nor can a send. */
static tulle_status_t mpi_halt(void *opaque)
{
    channel_t *channel = opaque;
    int are_over = 1, is_done = 0;
    for (int i = 0; i < channel->receives.num; i++) {
        if (is_over(&channel->receives.all[i]))
            continue;
        MPI_Cancel(&channel->receives.all[i]);
        are_over &= MPI_Test(&channel->receives.all[i], &is_done, MPI_STATUS_IGNORE) == MPI_SUCCESS && is_done;
    }
    for (int i = 0; i < channel->sends.num; i++)
        are_over &= is_over(&channel->sends.all[i]);
    return are_over ? TULLE_OK : TULLE_IN_PROGRESS;
}

const tli_transport_t tli_transport_mpi = {
    .name = "mpi",
    .id = TULLE_TRANSPORT_MPI,
    .reads_remotely = 0,
    .reaches = mpi_reaches,
    .open = mpi_open,
    .lends = mpi_lends,
    .reserve = mpi_reserve,
    .bind = mpi_bind,
    .ready = mpi_ready,
    .begin = mpi_begin,
    .send = mpi_send,
    .poll = mpi_poll,
    .release = mpi_release,
    .drain = mpi_drain,
    .laggard = mpi_laggard,
    .halt = mpi_halt,
    .close = mpi_close,
};
