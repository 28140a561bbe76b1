/* SPDX-License-Identifier: Apache-2.0
 * Between any two ranks: persistent point-to-point messages, made once and started in every round. */
#include <limits.h>

#include "src/agree.h"
#include "src/transport/transport.h"

/* Messages beyond MPI's int counts are sent as blocks of this size. */
#define BLOCK_BYTES ((int64_t)1 << 24)

typedef struct channel {
    tulle_comm_t *comm;
    int num_sends, num_receives;
    MPI_Request *sends, *receives; /* packed: only the wires of this transport */
    int *send_of_wire;             /* [wires] index into sends */
    int *wire_of_receive;          /* [num_receives] */
    int *finished;                 /* [num_receives] room for MPI_Testsome */
    int num_outstanding;           /* receives not yet completed in this round */
    tli_arena_t arena;
} channel_t;

static int mpi_reaches(const tulle_comm_t *comm, int peer)
{
    (void)comm;
    (void)peer;
    return 1;
}

/* After a timeout receives may still be open: what comes late must not be written to memory that is about to go. */
static void cancel_receives(channel_t *channel)
{
    for (int i = 0; channel->num_outstanding > 0 && i < channel->num_receives; i++) {
        int is_done = 0;
        MPI_Request_get_status(channel->receives[i], &is_done, MPI_STATUS_IGNORE);
        if (!is_done) {
            MPI_Cancel(&channel->receives[i]);
            MPI_Wait(&channel->receives[i], MPI_STATUS_IGNORE);
        }
    }
}

static void free_requests(MPI_Request *requests, int n)
{
    for (int i = 0; i < n; i++)
        if (requests[i] != MPI_REQUEST_NULL)
            MPI_Request_free(&requests[i]);
}

static void mpi_close(void *opaque)
{
    channel_t *channel = opaque;
    if (channel != NULL) {
        cancel_receives(channel);
        free_requests(channel->sends, channel->num_sends);
        free_requests(channel->receives, channel->num_receives);
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

/* A type of which one element is the whole message, and the count to use it with. */
static tulle_status_t message_type(int64_t bytes, MPI_Datatype *type_out, int *count_out)
{
    tulle_status_t st = TULLE_OK;
    MPI_Datatype block = MPI_DATATYPE_NULL, blocks = MPI_DATATYPE_NULL;
    *type_out = MPI_BYTE;
    *count_out = (int)bytes;
    if (bytes > INT_MAX) {
        int num_blocks = (int)(bytes / BLOCK_BYTES), rest = (int)(bytes % BLOCK_BYTES);
        TLI_MPI(MPI_Type_contiguous((int)BLOCK_BYTES, MPI_BYTE, &block));
        TLI_MPI(MPI_Type_contiguous(num_blocks, block, &blocks));
        TLI_MPI(MPI_Type_create_struct(2, (int[]){1, rest}, (MPI_Aint[]){0, (MPI_Aint)(num_blocks * BLOCK_BYTES)},
                                       (MPI_Datatype[]){blocks, MPI_BYTE}, type_out));
        TLI_MPI(MPI_Type_commit(type_out));
        *count_out = 1;
    }
done:
    if (block != MPI_DATATYPE_NULL)
        MPI_Type_free(&block);
    if (blocks != MPI_DATATYPE_NULL)
        MPI_Type_free(&blocks);
    return st;
}

static tulle_status_t make_request(const channel_t *channel, const tli_wire_t *wire, int is_send, MPI_Request *request)
{
    tulle_status_t st = TULLE_OK;
    MPI_Datatype type = MPI_BYTE;
    int count = 0;
    TLI_REQUIRE(wire->bytes / BLOCK_BYTES < INT_MAX, TULLE_ERR_OVERFLOW, "a message of %lld bytes to rank %d",
                (long long)wire->bytes, wire->peer);
    TLI_TRY(message_type(wire->bytes, &type, &count));
    if (is_send)
        TLI_MPI(MPI_Send_init(wire->address, count, type, wire->peer, wire->tag, channel->comm->mpi, request));
    else
        TLI_MPI(MPI_Recv_init(wire->address, count, type, wire->peer, wire->tag, channel->comm->mpi, request));
done:
    if (type != MPI_BYTE)
        MPI_Type_free(&type);
    return st;
}

static tulle_status_t mpi_reserve(void *opaque, const tli_wires_t *wires, size_t shared_bytes,
                                  unsigned char **shared_out)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    (void)shared_bytes;
    (void)shared_out;
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_sends, sizeof(MPI_Request), &channel->sends));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_receives, sizeof(MPI_Request), &channel->receives));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_sends, sizeof(int), &channel->send_of_wire));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_receives, sizeof(int), &channel->wire_of_receive));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_receives, sizeof(int), &channel->finished));
done:
    return st;
}

static tulle_status_t make_requests(channel_t *channel, const tli_wires_t *wires)
{
    tulle_status_t st = TULLE_OK;
    for (int w = 0; w < wires->num_receives; w++) {
        if (wires->receive_transport[w] == wires->transport) {
            TLI_TRY(make_request(channel, &wires->receives[w], 0, &channel->receives[channel->num_receives]));
            channel->wire_of_receive[channel->num_receives++] = w;
        }
    }
    for (int w = 0; w < wires->num_sends; w++) {
        if (wires->send_transport[w] == wires->transport) {
            TLI_TRY(make_request(channel, &wires->sends[w], 1, &channel->sends[channel->num_sends]));
            channel->send_of_wire[w] = channel->num_sends++;
        }
    }
done:
    return st;
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
    channel->num_outstanding = channel->num_receives;
    if (channel->num_receives > 0)
        TLI_MPI(MPI_Startall(channel->num_receives, channel->receives));
done:
    return st;
}

static tulle_status_t mpi_send(void *opaque, int wire)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    TLI_MPI(MPI_Start(&channel->sends[channel->send_of_wire[wire]]));
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
        TLI_MPI(MPI_Testsome(channel->num_receives, channel->receives, &num_finished, channel->finished,
                             MPI_STATUSES_IGNORE));
    else if (channel->num_sends > 0)
        TLI_MPI(MPI_Testall(channel->num_sends, channel->sends, &are_sent, MPI_STATUSES_IGNORE));
    for (int i = 0; i < num_finished && num_finished != MPI_UNDEFINED; i++)
        arrived[(*num_arrived)++] = channel->wire_of_receive[channel->finished[i]];
    channel->num_outstanding -= *num_arrived;
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
    if (channel->num_sends > 0)
        TLI_MPI(MPI_Testall(channel->num_sends, channel->sends, &are_sent, MPI_STATUSES_IGNORE));
    st = are_sent ? TULLE_OK : TULLE_IN_PROGRESS;
done:
    return st;
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
    .close = mpi_close,
};
