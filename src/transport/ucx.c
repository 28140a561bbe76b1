/* SPDX-License-Identifier: Apache-2.0
 * Between any two ranks: tagged messages of UCX. A wire has one request, in memory of ours, and its parameters, both
 * made when the wires are bound; a message of any size is one call. What completes says so by a callback, so that a
 * poll looks at nothing that has not happened. */
#include <limits.h>

#include "src/agree.h"
#include "src/transport/transport.h"
#include "src/transport/ucx_worker.h"

/* [bytes] Memory of longer messages is registered when they are bound; shorter ones are copied by UCX. */
#define LEAST_REGISTERED ((int64_t)8192)

struct channel;

/* One end of a message. */
typedef struct end {
    struct channel *channel;
    int wire;
    tli_ucx_peer_t *peer;
    int position; /* of the peer among those of the channel */
    unsigned char *address;
    size_t bytes;
    ucp_tag_t tag;
    ucp_mem_h memory; /* NULL: not registered */
    void *request;    /* UCX writes before it */
    int is_under_way;
    ucp_request_param_t param;
} end_t;

typedef struct channel {
    tulle_comm_t *comm;
    tli_ucx_t *ucx; /* NULL: no wire is ours */
    int num_sends, num_receives;
    end_t *sends, *receives; /* of ours */
    int *end_of_send;        /* [wires] index among sends */
    int num_sending;
    int num_arrived;
    int *arrived;   /* [num_receives] wires, since the last poll */
    void *flush;    /* request */
    int is_flushed; /* what was sent in this round has left */
    int is_flushing;
    ucs_status_t failure; /* of a message, UCS_OK: none */
    int failed_rank;
    int num_peers;
    tli_ucx_peer_t **peers; /* [num_peers] that wires lead to */
    int *tags;              /* [num_peers] */
    MPI_Request *requests;  /* [2 * num_peers] */
    tli_arena_t arena;
} channel_t;

static int ucx_reaches(const tulle_comm_t *comm, int peer)
{
    (void)comm;
    (void)peer;
    return 1;
}

/* --- what UCX calls ---------------------------------------------------------------------------------------------- */

static void note_failure(const end_t *end, ucs_status_t status)
{
    if (end->channel->failure == UCS_OK && status != UCS_ERR_CANCELED) {
        end->channel->failure = status;
        end->channel->failed_rank = end->peer->rank;
    }
}

static void finish_send(end_t *end, ucs_status_t status)
{
    end->is_under_way = 0;
    end->channel->num_sending--;
    if (status != UCS_OK)
        note_failure(end, status);
}

static void finish_receive(end_t *end, ucs_status_t status)
{
    end->is_under_way = 0;
    if (status == UCS_OK)
        end->channel->arrived[end->channel->num_arrived++] = end->wire;
    else
        note_failure(end, status);
}

static void on_sent(void *request, ucs_status_t status, void *opaque)
{
    (void)request;
    finish_send(opaque, status);
}

static void on_received(void *request, ucs_status_t status, const ucp_tag_recv_info_t *info, void *opaque)
{
    (void)request;
    (void)info;
    finish_receive(opaque, status);
}

/* The connection, not a message of it, may be what fails. */
static void on_flushed(void *request, ucs_status_t status, void *opaque)
{
    (void)request;
    (void)status;
    ((channel_t *)opaque)->is_flushing = 0;
    ((channel_t *)opaque)->is_flushed = 1;
}

/* --- binding ----------------------------------------------------------------------------------------------------- */

static void unregister(const channel_t *channel, const end_t *ends, int n)
{
    for (int i = 0; i < n; i++)
        if (ends[i].memory != NULL)
            ucp_mem_unmap(channel->ucx->context, ends[i].memory);
}

static void ucx_close(void *opaque)
{
    channel_t *channel = opaque;
    if (channel != NULL) {
        unregister(channel, channel->sends, channel->num_sends);
        unregister(channel, channel->receives, channel->num_receives);
        tli_arena_release(&channel->arena);
        tli_free(channel);
    }
}

static tulle_status_t ucx_open(tulle_comm_t *comm, tulle_status_t local, const tli_loan_t *loan, void **channel_out)
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

static int ucx_lends(const void *opaque, int peer)
{
    (void)opaque;
    (void)peer;
    return 0;
}

static int count_ours(const tli_wires_t *wires, const unsigned char *transports, int n)
{
    int num = 0;
    for (int w = 0; w < n; w++)
        num += transports[w] == wires->transport;
    return num;
}

static tulle_status_t list_peer(channel_t *channel, int rank, end_t *end)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_ucx_peer_of(channel->ucx, rank, &end->peer));
    while (end->position < channel->num_peers && channel->peers[end->position] != end->peer)
        end->position++;
    if (end->position == channel->num_peers)
        channel->peers[channel->num_peers++] = end->peer;
done:
    return st;
}

static tulle_status_t list_ends(channel_t *channel, const tli_wire_t *wires, const unsigned char *transports, int n,
                                int mine, end_t *ends)
{
    tulle_status_t st = TULLE_OK;
    for (int w = 0, i = 0; w < n; w++) {
        if (transports[w] != mine)
            continue;
        ends[i].channel = channel;
        ends[i].wire = w;
        TLI_TRY(list_peer(channel, wires[w].peer, &ends[i++]));
    }
done:
    return st;
}

/* UCX writes before the address that it is given, as much as it says it needs. */
static tulle_status_t make_requests(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    size_t stride = (channel->ucx->request_bytes + 63) / 64 * 64;
    unsigned char *request = NULL;
    TLI_TRY(
        tli_arena_alloc(&channel->arena, (int64_t)channel->num_sends + channel->num_receives + 1, stride, &request));
    for (int i = 0; i < channel->num_sends; i++)
        channel->sends[i].request = request += stride;
    for (int i = 0; i < channel->num_receives; i++)
        channel->receives[i].request = request += stride;
    channel->flush = request + stride;
done:
    return st;
}

static tulle_status_t ucx_reserve(void *opaque, const tli_wires_t *wires, size_t shared_bytes,
                                  unsigned char **shared_out)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    tli_arena_t *arena = &channel->arena;
    int num_sends = count_ours(wires, wires->send_transport, wires->num_sends);
    int num_receives = count_ours(wires, wires->receive_transport, wires->num_receives), num = num_sends + num_receives;
    (void)shared_bytes;
    (void)shared_out;
    if (num == 0)
        goto done;
    TLI_TRY(tli_ucx_of(channel->comm, &channel->ucx));
    TLI_TRY(tli_arena_alloc(arena, num_sends, sizeof *channel->sends, &channel->sends));
    TLI_TRY(tli_arena_alloc(arena, num_receives, sizeof *channel->receives, &channel->receives));
    TLI_TRY(tli_arena_alloc(arena, wires->num_sends, sizeof(int), &channel->end_of_send));
    TLI_TRY(tli_arena_alloc(arena, num_receives, sizeof(int), &channel->arrived));
    TLI_TRY(tli_arena_alloc(arena, num, sizeof *channel->peers, &channel->peers));
    TLI_TRY(tli_arena_alloc(arena, num, sizeof(int), &channel->tags));
    TLI_TRY(tli_arena_alloc(arena, 2 * (int64_t)num, sizeof(MPI_Request), &channel->requests));
    channel->num_sends = num_sends;
    channel->num_receives = num_receives;
    TLI_TRY(
        list_ends(channel, wires->sends, wires->send_transport, wires->num_sends, wires->transport, channel->sends));
    TLI_TRY(list_ends(channel, wires->receives, wires->receive_transport, wires->num_receives, wires->transport,
                      channel->receives));
    TLI_TRY(make_requests(channel));
done:
    return st;
}

static tulle_status_t register_memory(end_t *end)
{
    tulle_status_t st = TULLE_OK;
    const ucp_mem_map_params_t params = {.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH,
                                         .address = end->address,
                                         .length = end->bytes};
    ucs_status_t status = ucp_mem_map(end->channel->ucx->context, &params, &end->memory);
    if (status != UCS_OK) {
        end->memory = NULL;
        st = tli_fail_ucx(status, TLI_WHERE, "registering memory");
    }
    return st;
}

/* The rank that sends is in the tag: receives of all ranks match in one list. */
static tulle_status_t fill_end(const tli_wire_t *wire, int sender, end_t *end)
{
    tulle_status_t st = TULLE_OK;
    end->address = wire->address;
    end->bytes = (size_t)wire->bytes;
    end->tag = (ucp_tag_t)sender << 32 | (ucp_tag_t)wire->tag;
    if (wire->bytes >= LEAST_REGISTERED)
        TLI_TRY(register_memory(end));
    end->param = (ucp_request_param_t){.op_attr_mask = UCP_OP_ATTR_FIELD_REQUEST | UCP_OP_ATTR_FIELD_CALLBACK |
                                                       UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMORY_TYPE |
                                                       (end->memory != NULL ? UCP_OP_ATTR_FIELD_MEMH : 0),
                                       .request = end->request,
                                       .user_data = end,
                                       .memory_type = UCS_MEMORY_TYPE_HOST,
                                       .memh = end->memory};
done:
    return st;
}

/* A pair meets under its lowest tag: both ends know it, and nothing else uses it before the exchange is bound. */
static void find_tags(channel_t *channel, const tli_wires_t *wires)
{
    for (int i = 0; i < channel->num_peers; i++)
        channel->tags[i] = INT_MAX;
    for (int i = 0; i < channel->num_sends + channel->num_receives; i++) {
        int is_send = i < channel->num_sends;
        const end_t *end = is_send ? &channel->sends[i] : &channel->receives[i - channel->num_sends];
        int tag = (is_send ? wires->sends : wires->receives)[end->wire].tag, *lowest = &channel->tags[end->position];
        *lowest = tag < *lowest ? tag : *lowest;
    }
}

static tulle_status_t ucx_bind(void *opaque, const tli_wires_t *wires, tli_delivery_t *deliveries)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    find_tags(channel, wires);
    st = tli_ucx_connect(channel->comm, channel->num_peers, channel->peers, channel->tags, channel->requests);
    for (int i = 0; i < channel->num_receives && st == TULLE_OK; i++) {
        end_t *end = &channel->receives[i];
        const tli_wire_t *wire = &wires->receives[end->wire];
        deliveries[end->wire] = (tli_delivery_t){wire->address, wire->rows, 0};
        st = fill_end(wire, wire->peer, end);
        end->param.cb.recv = on_received;
    }
    for (int i = 0; i < channel->num_sends && st == TULLE_OK; i++) {
        end_t *end = &channel->sends[i];
        channel->end_of_send[end->wire] = i;
        st = fill_end(&wires->sends[end->wire], channel->comm->rank, end);
        end->param.cb.send = on_sent;
    }
    return st;
}

/* --- rounds ------------------------------------------------------------------------------------------------------ */

static tulle_status_t ucx_ready(void *opaque)
{
    (void)opaque;
    return TULLE_OK;
}

static tulle_status_t ucx_begin(void *opaque)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    channel->is_flushed = channel->num_sends == 0;
    for (int i = 0; i < channel->num_receives; i++) {
        end_t *end = &channel->receives[i];
        end->is_under_way = 1;
        void *request =
            ucp_tag_recv_nbx(channel->ucx->worker, end->address, end->bytes, end->tag, ~(ucp_tag_t)0, &end->param);
        if (!UCS_PTR_IS_PTR(request))
            finish_receive(end, UCS_PTR_RAW_STATUS(request));
    }
    return st;
}

static tulle_status_t ucx_send(void *opaque, int wire)
{
    channel_t *channel = opaque;
    end_t *end = &channel->sends[channel->end_of_send[wire]];
    end->is_under_way = 1;
    channel->num_sending++;
    void *request = ucp_tag_send_nbx(end->peer->endpoint, end->address, end->bytes, end->tag, &end->param);
    if (!UCS_PTR_IS_PTR(request))
        finish_send(end, UCS_PTR_RAW_STATUS(request));
    return TULLE_OK;
}

/* A connection that is lost takes what was to come over it along, which nothing else would tell. */
static tulle_status_t check_peers(const channel_t *channel)
{
    if (channel->failure != UCS_OK)
        return tli_fail_ucx_peer(channel->comm, channel->failed_rank, channel->failure, TLI_WHERE);
    for (int i = 0; i < channel->num_peers; i++)
        if (channel->peers[i]->failure != UCS_OK)
            return tli_fail_ucx_peer(channel->comm, channel->peers[i]->rank, channel->peers[i]->failure, TLI_WHERE);
    return TULLE_OK;
}

/* What arrived counts even if its sender is gone by now. */
static tulle_status_t ucx_poll(void *opaque, int *arrived, int *num_arrived)
{
    channel_t *channel = opaque;
    *num_arrived = 0;
    if (channel->num_peers == 0)
        return TULLE_OK;
    ucp_worker_progress(channel->ucx->worker);
    for (int i = 0; i < channel->num_arrived; i++)
        arrived[i] = channel->arrived[i];
    *num_arrived = channel->num_arrived;
    channel->num_arrived = 0;
    return *num_arrived > 0 ? TULLE_OK : check_peers(channel);
}

static void ucx_release(void *opaque, int wire)
{
    (void)opaque;
    (void)wire;
}

static void start_flush(channel_t *channel)
{
    const ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_REQUEST | UCP_OP_ATTR_FIELD_CALLBACK |
                                                       UCP_OP_ATTR_FIELD_USER_DATA,
                                       .request = channel->flush,
                                       .cb.send = on_flushed,
                                       .user_data = channel};
    channel->is_flushing = 1;
    if (!UCS_PTR_IS_PTR(ucp_worker_flush_nbx(channel->ucx->worker, &param)))
        on_flushed(NULL, UCS_OK, channel);
}

/* UCX may call a message sent that it has only copied. A caller who computes next calls it no more: it must be out. */
static tulle_status_t ucx_drain(void *opaque)
{
    channel_t *channel = opaque;
    if (channel->num_sends == 0)
        return TULLE_OK;
    if (channel->num_sending == 0 && !channel->is_flushed && !channel->is_flushing)
        start_flush(channel);
    if (channel->num_sending == 0 && channel->is_flushed)
        return check_peers(channel);
    ucp_worker_progress(channel->ucx->worker);
    return TULLE_IN_PROGRESS;
}

static int ucx_laggard(const void *opaque)
{
    const channel_t *channel = opaque;
    for (int i = 0; i < channel->num_sends; i++)
        if (channel->sends[i].is_under_way)
            return channel->sends[i].peer->rank;
    return -1;
}

/* A connection that is lost ends what was under way over it; one that is stuck does not. */
static tulle_status_t ucx_halt(void *opaque)
{
    channel_t *channel = opaque;
    int num_under_way = 0;
    if (channel->num_peers == 0)
        return TULLE_OK;
    for (int i = 0; i < channel->num_receives; i++)
        if (channel->receives[i].is_under_way)
            ucp_request_cancel(channel->ucx->worker, channel->receives[i].request);
    ucp_worker_progress(channel->ucx->worker);
    for (int i = 0; i < channel->num_receives; i++)
        num_under_way += channel->receives[i].is_under_way;
    num_under_way += channel->num_sending + channel->is_flushing;
    return num_under_way == 0 ? TULLE_OK : TULLE_IN_PROGRESS;
}

const tli_transport_t tli_transport_ucx = {
    .name = "ucx",
    .id = TULLE_TRANSPORT_UCX,
    .reads_remotely = 0,
    .reaches = ucx_reaches,
    .open = ucx_open,
    .lends = ucx_lends,
    .reserve = ucx_reserve,
    .bind = ucx_bind,
    .ready = ucx_ready,
    .begin = ucx_begin,
    .send = ucx_send,
    .poll = ucx_poll,
    .release = ucx_release,
    .drain = ucx_drain,
    .laggard = ucx_laggard,
    .halt = ucx_halt,
    .close = ucx_close,
};
