/* SPDX-License-Identifier: Apache-2.0
 * Between any two ranks: tagged messages of UCX, one for each wire, made when the wires are bound. What completes says
 * so by a callback, so that a poll looks at nothing that has not happened. */
#include <limits.h>

#include "src/agree.h"
#include "src/transport/transport.h"
#include "src/transport/ucx_message.h"

typedef struct channel {
    tulle_comm_t *comm;
    tli_ucx_t *ucx; /* NULL: no wire is ours */
    int num_sends, num_receives;
    tli_ucx_message_t *sends, *receives; /* of ours; their index is their wire */
    int *message_of_send;                /* [wires] index among sends */
    int num_sending;
    int num_arrived;
    int *arrived; /* [num_receives] wires, since the last poll */
    tli_ucx_flush_t flush;
    int is_flushed;       /* what was sent in this round has left */
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

/* --- messages that are over -------------------------------------------------------------------------------------- */

static void note_failure(const tli_ucx_message_t *message, ucs_status_t status)
{
    channel_t *channel = message->owner;
    if (channel->failure == UCS_OK && status != UCS_ERR_CANCELED) {
        channel->failure = status;
        channel->failed_rank = message->peer->rank;
    }
}

static void end_send(tli_ucx_message_t *message, ucs_status_t status)
{
    ((channel_t *)message->owner)->num_sending--;
    if (status != UCS_OK)
        note_failure(message, status);
}

static void end_receive(tli_ucx_message_t *message, ucs_status_t status)
{
    channel_t *channel = message->owner;
    if (status == UCS_OK)
        channel->arrived[channel->num_arrived++] = message->index;
    else
        note_failure(message, status);
}

/* --- binding ----------------------------------------------------------------------------------------------------- */

static void ucx_close(void *opaque)
{
    channel_t *channel = opaque;
    if (channel != NULL) {
        for (int i = 0; i < channel->num_sends; i++)
            tli_ucx_message_release(&channel->sends[i]);
        for (int i = 0; i < channel->num_receives; i++)
            tli_ucx_message_release(&channel->receives[i]);
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

/* Place of a peer in the list, where it is put if it is not there. */
static int position_of(channel_t *channel, tli_ucx_peer_t *peer)
{
    int position = 0;
    while (position < channel->num_peers && channel->peers[position] != peer)
        position++;
    if (position == channel->num_peers)
        channel->peers[channel->num_peers++] = peer;
    return position;
}

static tulle_status_t list_messages(channel_t *channel, const tli_wire_t *wires, const unsigned char *transports, int n,
                                    int mine, tli_ucx_message_t *messages)
{
    tulle_status_t st = TULLE_OK;
    for (int w = 0, i = 0; w < n; w++) {
        if (transports[w] != mine)
            continue;
        messages[i].ucx = channel->ucx;
        messages[i].owner = channel;
        messages[i].index = w;
        TLI_TRY(tli_ucx_peer_of(channel->ucx, wires[w].peer, &messages[i].peer));
        position_of(channel, messages[i++].peer);
    }
done:
    return st;
}

static tulle_status_t make_requests(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    size_t stride = 0;
    unsigned char *request = NULL;
    int64_t num = (int64_t)channel->num_sends + channel->num_receives + 1;
    TLI_TRY(tli_ucx_alloc_requests(channel->ucx, num + 1, &channel->arena, &request, &stride));
    for (int i = 0; i < channel->num_sends; i++)
        channel->sends[i].request = request += stride;
    for (int i = 0; i < channel->num_receives; i++)
        channel->receives[i].request = request += stride;
    channel->flush = (tli_ucx_flush_t){.ucx = channel->ucx, .request = request + stride};
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
    TLI_TRY(tli_arena_alloc(arena, wires->num_sends, sizeof(int), &channel->message_of_send));
    TLI_TRY(tli_arena_alloc(arena, num_receives, sizeof(int), &channel->arrived));
    TLI_TRY(tli_arena_alloc(arena, num, sizeof *channel->peers, &channel->peers));
    TLI_TRY(tli_arena_alloc(arena, num, sizeof(int), &channel->tags));
    TLI_TRY(tli_arena_alloc(arena, 2 * (int64_t)num, sizeof(MPI_Request), &channel->requests));
    channel->num_sends = num_sends;
    channel->num_receives = num_receives;
    TLI_TRY(list_messages(channel, wires->sends, wires->send_transport, wires->num_sends, wires->transport,
                          channel->sends));
    TLI_TRY(list_messages(channel, wires->receives, wires->receive_transport, wires->num_receives, wires->transport,
                          channel->receives));
    TLI_TRY(make_requests(channel));
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
        const tli_ucx_message_t *message = is_send ? &channel->sends[i] : &channel->receives[i - channel->num_sends];
        int tag = (is_send ? wires->sends : wires->receives)[message->index].tag;
        int *lowest = &channel->tags[position_of(channel, message->peer)];
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
        tli_ucx_message_t *message = &channel->receives[i];
        const tli_wire_t *wire = &wires->receives[message->index];
        deliveries[message->index] = (tli_delivery_t){wire->address, wire->rows, 0};
        message->end = end_receive;
        st = tli_ucx_message_fill(wire->address, wire->bytes, UCS_MEMORY_TYPE_HOST, wire->peer, wire->tag, message);
    }
    for (int i = 0; i < channel->num_sends && st == TULLE_OK; i++) {
        tli_ucx_message_t *message = &channel->sends[i];
        const tli_wire_t *wire = &wires->sends[message->index];
        channel->message_of_send[message->index] = i;
        message->end = end_send;
        st = tli_ucx_message_fill(wire->address, wire->bytes, UCS_MEMORY_TYPE_HOST, channel->comm->rank, wire->tag,
                                  message);
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
    channel_t *channel = opaque;
    channel->is_flushed = channel->num_sends == 0;
    for (int i = 0; i < channel->num_receives; i++)
        tli_ucx_message_receive(&channel->receives[i]);
    return TULLE_OK;
}

static tulle_status_t ucx_send(void *opaque, int wire)
{
    channel_t *channel = opaque;
    channel->num_sending++;
    tli_ucx_message_send(&channel->sends[channel->message_of_send[wire]]);
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

/* A caller who computes next calls UCX no more: what was sent must be out. */
static tulle_status_t ucx_drain(void *opaque)
{
    channel_t *channel = opaque;
    if (channel->num_sends == 0)
        return TULLE_OK;
    if (channel->num_sending == 0 && !channel->is_flushed)
        channel->is_flushed = tli_ucx_flush_is_over(&channel->flush);
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
        tli_ucx_message_cancel(&channel->receives[i]);
    ucp_worker_progress(channel->ucx->worker);
    for (int i = 0; i < channel->num_receives; i++)
        num_under_way += channel->receives[i].is_under_way;
    num_under_way += channel->num_sending + channel->flush.is_under_way;
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
