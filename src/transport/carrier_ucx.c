/* SPDX-License-Identifier: Apache-2.0
 * Parcels in messages of UCX, from pinned memory, or from the device's where UCX was built for that. */
#include "src/agree.h"
#include "src/device/device.h"
#include "src/transport/carrier_host.h"
#include "src/transport/ucx_message.h"

struct messages;

/* Whose a message is. */
typedef struct owner {
    struct messages *messages;
    tli_lane_t *lane;
} owner_t;

typedef struct messages {
    tli_host_channel_t *channel;
    tli_ucx_t *ucx;
    owner_t owners[TLI_NUM_LANES];
    tli_ucx_message_t *of_lane[TLI_NUM_LANES]; /* [pieces] */
    int num_sending;
    int num_peers;
    tli_ucx_peer_t **peers; /* [num_peers] */
    int *tags;              /* [num_peers] */
    MPI_Request *requests;  /* [2 * num_peers] */
    tli_ucx_flush_t flush;
    ucs_status_t failure; /* of a message, UCS_OK: none */
    int failed_rank;
} messages_t;

static tli_ucx_message_t *message_of(const tli_host_channel_t *channel, const tli_lane_t *lane, int piece)
{
    return &((const messages_t *)channel->messages)->of_lane[lane - channel->lanes][piece];
}

/* --- messages that are over --------------------------------------------------------------------------------------- */

static void note_failure(messages_t *messages, const tli_ucx_message_t *message, ucs_status_t status)
{
    if (messages->failure == UCS_OK && status != UCS_ERR_CANCELED) {
        messages->failure = status;
        messages->failed_rank = message->peer->rank;
    }
}

static void end_send(tli_ucx_message_t *message, ucs_status_t status)
{
    messages_t *messages = ((owner_t *)message->owner)->messages;
    messages->num_sending--;
    if (status != UCS_OK)
        note_failure(messages, message, status);
}

static void end_receive(tli_ucx_message_t *message, ucs_status_t status)
{
    owner_t *owner = message->owner;
    if (status == UCS_OK)
        tli_host_arrived(owner->lane, message->index);
    else
        note_failure(owner->messages, message, status);
}

/* --- bind --------------------------------------------------------------------------------------------------------- */

static int is_listed(const messages_t *messages, const tli_ucx_peer_t *peer)
{
    int p = 0;
    while (p < messages->num_peers && messages->peers[p] != peer)
        p++;
    return p < messages->num_peers;
}

/* A pair meets under the first tag: nothing else between them uses it before the exchange is bound. */
static tulle_status_t list_peers(messages_t *messages, const tli_lane_t *lane)
{
    tulle_status_t st = TULLE_OK;
    for (int i = 0; i < lane->num; i++) {
        tli_ucx_peer_t *peer = NULL;
        TLI_TRY(tli_ucx_peer_of(messages->ucx, lane->pieces[i].peer, &peer));
        message_of(messages->channel, lane, i)->peer = peer;
        if (!is_listed(messages, peer)) {
            messages->tags[messages->num_peers] = messages->channel->first_tag;
            messages->peers[messages->num_peers++] = peer;
        }
    }
done:
    return st;
}

static tulle_status_t alloc_lists(tli_host_channel_t *channel, messages_t *messages, int64_t num_pieces)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t *arena = &channel->arena;
    TLI_TRY(tli_arena_alloc(arena, num_pieces, sizeof *messages->peers, &messages->peers));
    TLI_TRY(tli_arena_alloc(arena, num_pieces, sizeof *messages->tags, &messages->tags));
    TLI_TRY(tli_arena_alloc(arena, 2 * num_pieces, sizeof *messages->requests, &messages->requests));
    for (int l = 0; l < TLI_NUM_LANES; l++) {
        TLI_TRY(tli_arena_alloc(arena, channel->lanes[l].num, sizeof(tli_ucx_message_t), &messages->of_lane[l]));
        messages->owners[l] = (owner_t){messages, &channel->lanes[l]};
    }
    for (int l = 0; l < TLI_NUM_LANES; l++)
        TLI_TRY(list_peers(messages, &channel->lanes[l]));
done:
    return st;
}

static tulle_status_t fill_lane(messages_t *messages, int l, ucs_memory_type_t memory_type)
{
    tulle_status_t st = TULLE_OK;
    const tli_host_channel_t *channel = messages->channel;
    const tli_lane_t *lane = &channel->lanes[l];
    for (int i = 0; i < lane->num; i++) {
        const tli_piece_t *piece = &lane->pieces[i];
        tli_ucx_message_t *message = &messages->of_lane[l][i];
        int sender = lane->is_send ? channel->comm->rank : piece->peer;
        message->ucx = messages->ucx;
        message->owner = &messages->owners[l];
        message->index = i;
        message->end = lane->is_send ? end_send : end_receive;
        TLI_TRY(tli_ucx_message_fill(piece->memory, piece->bytes, memory_type, sender, piece->tag, message));
    }
done:
    return st;
}

static tulle_status_t give_requests(messages_t *messages, int64_t num_pieces)
{
    tulle_status_t st = TULLE_OK;
    tli_host_channel_t *channel = messages->channel;
    unsigned char *request = NULL;
    size_t stride = 0;
    TLI_TRY(tli_ucx_alloc_requests(messages->ucx, num_pieces + 2, &channel->arena, &request, &stride));
    for (int l = 0; l < TLI_NUM_LANES; l++)
        for (int i = 0; i < channel->lanes[l].num; i++)
            messages->of_lane[l][i].request = request += stride;
    messages->flush = (tli_ucx_flush_t){.ucx = messages->ucx, .request = request + stride};
done:
    return st;
}

static tulle_status_t ucx_make(tli_host_channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    messages_t *messages = NULL;
    ucs_memory_type_t memory_type = UCS_MEMORY_TYPE_HOST;
    int64_t num_pieces = 0;
    for (int l = 0; l < TLI_NUM_LANES; l++)
        num_pieces += channel->lanes[l].num;
    if (num_pieces == 0)
        goto done;
    TLI_TRY(tli_arena_alloc(&channel->arena, 1, sizeof *messages, &messages));
    messages->channel = channel;
    TLI_TRY(tli_ucx_of(channel->comm, &messages->ucx));
    channel->messages = messages;
    TLI_TRY(alloc_lists(channel, messages, num_pieces));
    TLI_TRY(give_requests(messages, num_pieces));
    if (!channel->is_staged)
        memory_type = tli_ucx_device_memory(messages->ucx->context);
    for (int l = 0; l < TLI_NUM_LANES; l++)
        TLI_TRY(fill_lane(messages, l, memory_type));
done:
    return st;
}

static tulle_status_t ucx_connect(tli_host_channel_t *channel)
{
    messages_t *messages = channel->messages;
    if (messages == NULL)
        return TULLE_OK;
    return tli_ucx_connect(channel->comm, messages->num_peers, messages->peers, messages->tags, messages->requests);
}

/* --- a round ------------------------------------------------------------------------------------------------------ */

static tulle_status_t ucx_receive(tli_host_channel_t *channel, tli_lane_t *lane, int piece)
{
    tli_ucx_message_receive(message_of(channel, lane, piece));
    return TULLE_OK;
}

static tulle_status_t ucx_send(tli_host_channel_t *channel, tli_lane_t *lane, int piece)
{
    ((messages_t *)channel->messages)->num_sending++;
    tli_ucx_message_send(message_of(channel, lane, piece));
    return TULLE_OK;
}

/* What has come says so itself. */
static tulle_status_t ucx_poll(tli_host_channel_t *channel)
{
    const messages_t *messages = channel->messages;
    if (messages != NULL)
        ucp_worker_progress(messages->ucx->worker);
    return TULLE_OK;
}

/* A connection that is lost takes what was to come over it along, which nothing else would tell. */
static tulle_status_t check_peers(const messages_t *messages)
{
    const tulle_comm_t *comm = messages->channel->comm;
    for (int i = 0; i < messages->num_peers; i++)
        if (messages->peers[i]->failure != UCS_OK)
            return tli_fail_ucx_peer(comm, messages->peers[i]->rank, messages->peers[i]->failure, TLI_WHERE);
    return TULLE_OK;
}

/* What was sent must be out before the host waits for its stream alone. */
static tulle_status_t ucx_settle(tli_host_channel_t *channel, int is_last, int *is_settled_out)
{
    messages_t *messages = channel->messages;
    *is_settled_out = is_last;
    if (messages == NULL)
        return TULLE_OK;
    if (messages->failure != UCS_OK)
        return tli_fail_ucx_peer(channel->comm, messages->failed_rank, messages->failure, TLI_WHERE);
    *is_settled_out = is_last && messages->num_sending == 0 && tli_ucx_flush_is_over(&messages->flush);
    return *is_settled_out ? TULLE_OK : check_peers(messages);
}

/* --- after a failure, and in the end ------------------------------------------------------------------------------ */

static int ucx_is_under_way(const tli_host_channel_t *channel, const tli_lane_t *lane, int piece)
{
    return message_of(channel, lane, piece)->is_under_way;
}

/* One whose rows are arriving goes on. */
static void ucx_cancel(tli_host_channel_t *channel)
{
    for (int l = TLI_LANE_RECEIVES; l <= TLI_LANE_RECEIVES_COPIED; l++)
        for (int i = 0; i < channel->lanes[l].num; i++)
            tli_ucx_message_cancel(message_of(channel, &channel->lanes[l], i));
    ucx_poll(channel);
}

/* Of a message that is under way UCX has the request, too, and calls us when it is over. */
static int ucx_free(tli_host_channel_t *channel)
{
    messages_t *messages = channel->messages;
    int num_under_way = messages != NULL && messages->flush.is_under_way;
    for (int l = 0; l < TLI_NUM_LANES && messages != NULL; l++) {
        for (int i = 0; i < channel->lanes[l].num && messages->of_lane[l] != NULL; i++) {
            tli_ucx_message_t *message = &messages->of_lane[l][i];
            num_under_way += message->is_under_way;
            tli_ucx_message_release(message);
        }
    }
    return num_under_way > 0;
}

static const tli_messages_t ucx_messages = {
    .make = ucx_make,
    .connect = ucx_connect,
    .receive = ucx_receive,
    .send = ucx_send,
    .poll = ucx_poll,
    .settle = ucx_settle,
    .is_under_way = ucx_is_under_way,
    .cancel = ucx_cancel,
    .free = ucx_free,
};

static tulle_status_t staged_bind(tulle_comm_t *comm, tulle_status_t local, int first_tag, tli_parcels_t *parcels,
                                  void **channel_out)
{
    return tli_host_bind(&ucx_messages, comm, local, 1, first_tag, parcels, channel_out);
}

static tulle_status_t device_bind(tulle_comm_t *comm, tulle_status_t local, int first_tag, tli_parcels_t *parcels,
                                  void **channel_out)
{
    return tli_host_bind(&ucx_messages, comm, local, 0, first_tag, parcels, channel_out);
}

/* What a context of UCX would know. */
static int device_is_there(void)
{
    tulle_status_t st = TULLE_OK;
    ucp_context_h context = NULL;
    int is_there = 0;
    if (tli_device_is_built())
        st = tli_ucx_make_context(1, &context);
    if (st == TULLE_OK && context != NULL)
        is_there = tli_ucx_device_memory(context) != UCS_MEMORY_TYPE_UNKNOWN;
    if (context != NULL)
        ucp_cleanup(context);
    return is_there;
}

const tli_carrier_t tli_carrier_ucx_staged =
    TLI_HOST_CARRIER(TULLE_TRANSPORT_UCX_STAGED, tli_device_is_built, staged_bind);

const tli_carrier_t tli_carrier_ucx_device = TLI_HOST_CARRIER(TULLE_TRANSPORT_UCX_DEVICE, device_is_there, device_bind);
