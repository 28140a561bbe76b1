/* SPDX-License-Identifier: Apache-2.0
 * Pieces of parcels: where they are, when streams copy them, and when the host sends and receives them. */
#include "src/transport/carrier_host.h"

#include <stdatomic.h>
#include <string.h>

#include "src/agree.h"
#include "src/device/device.h"

#define DIRECT_BYTES       ((int64_t)256 << 10) /* staged parcels up to here are not copied */
#define LEAST_PIECE_BYTES  ((int64_t)1 << 20)
#define MOST_MESSAGE_BYTES ((int64_t)1 << 30) /* MPI counts in ints */
#define ALIGNMENT          256

/* A stream takes about a thousand entries before it makes the giver wait; and it waits itself for a host that would
 * then not come. So a rank's pieces are few, however long. */
#define MOST_PIECES 64

typedef tli_host_channel_t channel_t;
typedef tli_lane_t lane_t;
typedef tli_piece_t piece_t;

enum {
    SENDS = TLI_LANE_SENDS,
    SENDS_COPIED = TLI_LANE_SENDS_COPIED,
    RECEIVES = TLI_LANE_RECEIVES,
    RECEIVES_COPIED = TLI_LANE_RECEIVES_COPIED,
};

/* --- pieces: pure ------------------------------------------------------------------------------------------------- */

static int64_t whole(int64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int is_copied(const channel_t *channel, const tli_parcel_t *parcel)
{
    return channel->is_staged && parcel->bytes > DIRECT_BYTES;
}

static int num_parcels(const channel_t *channel, int is_send)
{
    return is_send ? channel->parcels->num_sends : channel->parcels->num_receives;
}

static tli_parcel_t *parcels_of(const channel_t *channel, int is_send)
{
    return is_send ? channel->parcels->sends : channel->parcels->receives;
}

static int64_t num_pieces(const channel_t *channel, const tli_parcel_t *parcel)
{
    int64_t bytes = is_copied(channel, parcel) ? channel->piece_bytes : MOST_MESSAGE_BYTES;
    return (parcel->bytes + bytes - 1) / bytes;
}

/* All first pieces of a stage, then all second ones: every peer has something early. @return whether there were any */
static int add_pieces(const channel_t *channel, int stage, int64_t index, lane_t *lane)
{
    const tli_parcel_t *parcels = parcels_of(channel, lane->is_send);
    int64_t bytes = lane->is_copied ? channel->piece_bytes : MOST_MESSAGE_BYTES;
    int num_before = lane->num;
    for (int p = 0; p < num_parcels(channel, lane->is_send); p++) {
        int64_t left = parcels[p].bytes - index * bytes;
        if (parcels[p].stage == stage && is_copied(channel, &parcels[p]) == lane->is_copied && left > 0)
            lane->pieces[lane->num++] = (piece_t){.parcel = p,
                                                  .peer = parcels[p].peer,
                                                  .tag = channel->first_tag + parcels[p].tag,
                                                  .part = parcels[p].part,
                                                  .offset = index * bytes,
                                                  .bytes = left < bytes ? left : bytes};
    }
    return lane->num > num_before;
}

static tulle_status_t list_pieces(channel_t *channel, lane_t *lane)
{
    tulle_status_t st = TULLE_OK;
    const tli_parcel_t *parcels = parcels_of(channel, lane->is_send);
    int num_stages = channel->parcels->num_stages;
    int64_t n = 0;
    for (int p = 0; p < num_parcels(channel, lane->is_send); p++)
        n += is_copied(channel, &parcels[p]) == lane->is_copied ? num_pieces(channel, &parcels[p]) : 0;
    TLI_TRY(tli_arena_alloc(&channel->arena, n, sizeof *lane->pieces, &lane->pieces));
    TLI_TRY(tli_arena_alloc(&channel->arena, n, sizeof *lane->flags, &lane->flags));
    TLI_TRY(tli_arena_alloc(&channel->arena, n, 1, &lane->has_come));
    TLI_TRY(tli_arena_alloc(&channel->arena, num_stages + 1, sizeof *lane->first, &lane->first));
    for (int stage = 0; stage < num_stages; stage++) {
        for (int64_t index = 0; add_pieces(channel, stage, index, lane); index++)
            ;
        lane->first[stage + 1] = lane->num;
    }
done:
    return st;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void place_flags(channel_t *channel, int64_t *at)
{
    channel->open = (tli_flag_step_t){(uint32_t *)(channel->pinned + *at), 0, 0};
    *at += TLI_FLAG_BYTES;
    for (int l = 0; l < TLI_NUM_LANES; l++)
        for (int i = 0; i < channel->lanes[l].num; i++, *at += TLI_FLAG_BYTES)
            channel->lanes[l].flags[i] =
                (tli_flag_step_t){(uint32_t *)(channel->pinned + *at), !channel->lanes[l].is_send, !channel->is_staged};
}

/* Where kernels have each parcel; NULL bases only measure. */
static void place_parcels(channel_t *channel, int is_send, int64_t *pinned_bytes, int64_t *device_bytes)
{
    tli_parcel_t *parcels = parcels_of(channel, is_send);
    for (int p = 0; p < num_parcels(channel, is_send); p++) {
        int is_pinned = channel->is_staged && !is_copied(channel, &parcels[p]);
        int64_t *at = is_pinned ? pinned_bytes : device_bytes;
        unsigned char *base = is_pinned ? channel->pinned : channel->device;
        parcels[p].address = base != NULL ? base + *at : NULL;
        *at += whole(parcels[p].bytes);
    }
}

/* Where the message of each piece is: in the parcel itself, unless it is copied. */
static void place_pieces(channel_t *channel, lane_t *lane, int64_t *pinned_bytes)
{
    const tli_parcel_t *parcels = parcels_of(channel, lane->is_send);
    for (int i = 0; i < lane->num; i++) {
        piece_t *piece = &lane->pieces[i];
        unsigned char *base = lane->is_copied ? channel->pinned : parcels[piece->parcel].address;
        int64_t at = lane->is_copied ? *pinned_bytes : piece->offset;
        piece->memory = base != NULL ? base + at : NULL;
        *pinned_bytes += lane->is_copied ? whole(piece->bytes) : 0;
    }
}

static void place_all(channel_t *channel, int64_t *pinned_bytes, int64_t *device_bytes)
{
    int64_t num_flags = 1;
    for (int l = 0; l < TLI_NUM_LANES; l++)
        num_flags += channel->lanes[l].num;
    *pinned_bytes = whole(num_flags * TLI_FLAG_BYTES);
    *device_bytes = 0;
    place_parcels(channel, 1, pinned_bytes, device_bytes);
    place_parcels(channel, 0, pinned_bytes, device_bytes);
    for (int l = 0; l < TLI_NUM_LANES; l++)
        place_pieces(channel, &channel->lanes[l], pinned_bytes);
}

static tulle_status_t alloc_memory(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    int64_t pinned_bytes = 0, device_bytes = 0, at = 0;
    place_all(channel, &pinned_bytes, &device_bytes);
    TLI_TRY(tli_device_alloc(TULLE_SPACE_PINNED, (size_t)pinned_bytes, (void **)&channel->pinned));
    if (device_bytes > 0)
        TLI_TRY(tli_device_alloc(TULLE_SPACE_DEVICE, (size_t)device_bytes, (void **)&channel->device));
    place_all(channel, &pinned_bytes, &device_bytes);
    place_flags(channel, &at);
    memset(channel->pinned, 0, (size_t)at);
done:
    return st;
}

/* --- bind --------------------------------------------------------------------------------------------------------- */

/* Ends of a parcel cut it alike: by the most that any rank sends or receives. */
static tulle_status_t agree_on_pieces(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    int64_t most = 0;
    for (int is_send = 0; is_send < 2; is_send++) {
        int64_t bytes = 0;
        for (int p = 0; p < num_parcels(channel, is_send); p++)
            bytes += parcels_of(channel, is_send)[p].bytes;
        most = bytes > most ? bytes : most;
    }
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, channel->comm->mpi));
    channel->piece_bytes = whole((most + MOST_PIECES - 1) / MOST_PIECES);
    if (channel->piece_bytes < LEAST_PIECE_BYTES)
        channel->piece_bytes = LEAST_PIECE_BYTES;
    if (channel->piece_bytes > MOST_MESSAGE_BYTES)
        channel->piece_bytes = MOST_MESSAGE_BYTES;
done:
    return st;
}

static int has_copies(const channel_t *channel)
{
    return channel->lanes[SENDS_COPIED].num + channel->lanes[RECEIVES_COPIED].num > 0;
}

/* Among the pieces of a stage, which end there. */
static int is_last_of_part(const lane_t *lane, int i, int end)
{
    int next = i + 1;
    while (next < end && lane->pieces[next].part != lane->pieces[i].part)
        next++;
    return next == end;
}

/* One stream takes pieces in the order in which all parcels come, so a part is copied when the last of its own is. */
static tulle_status_t make_events(const channel_t *channel, lane_t *lane)
{
    tulle_status_t st = TULLE_OK;
    for (int stage = 0; stage < channel->parcels->num_stages; stage++)
        for (int i = lane->first[stage]; i < lane->first[stage + 1]; i++)
            if (is_last_of_part(lane, i, lane->first[stage + 1]))
                TLI_TRY(tli_event_create(&lane->pieces[i].came));
done:
    return st;
}

static tulle_status_t make_streams(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    if (!has_copies(channel))
        goto done;
    TLI_TRY(tli_stream_create(&channel->outbound));
    TLI_TRY(tli_stream_create(&channel->inbound));
    TLI_TRY(tli_event_create(&channel->forked));
    TLI_TRY(tli_event_create(&channel->packed));
    TLI_TRY(tli_event_create(&channel->left));
    TLI_TRY(make_events(channel, &channel->lanes[RECEIVES_COPIED]));
done:
    return st;
}

static tulle_status_t make_channel(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    for (int l = 0; l < TLI_NUM_LANES; l++) {
        channel->lanes[l].is_send = l == SENDS || l == SENDS_COPIED;
        channel->lanes[l].is_copied = l == SENDS_COPIED || l == RECEIVES_COPIED;
        TLI_TRY(list_pieces(channel, &channel->lanes[l]));
    }
    TLI_TRY(alloc_memory(channel));
    TLI_TRY(make_streams(channel));
    TLI_TRY(channel->kind->make(channel));
done:
    return st;
}

/* --- unbind ------------------------------------------------------------------------------------------------------- */

static void free_streams(channel_t *channel)
{
    tli_stream_destroy(channel->outbound);
    tli_stream_destroy(channel->inbound);
    tli_event_destroy(channel->forked);
    tli_event_destroy(channel->packed);
    tli_event_destroy(channel->left);
    for (int i = 0; i < channel->lanes[RECEIVES_COPIED].num; i++)
        tli_event_destroy(channel->lanes[RECEIVES_COPIED].pieces[i].came);
}

/* What is under way still has its memory, for ever. */
void tli_host_unbind(void *opaque)
{
    channel_t *channel = opaque;
    if (channel == NULL)
        return;
    int is_under_way = channel->kind->free(channel);
    free_streams(channel);
    if (channel->pinned != NULL && !is_under_way)
        tli_device_free(TULLE_SPACE_PINNED, channel->pinned);
    if (channel->device != NULL && !is_under_way)
        tli_device_free(TULLE_SPACE_DEVICE, channel->device);
    tli_arena_t arena = channel->arena; /* the channel is in it */
    if (is_under_way)
        tli_arena_keep(&arena);
    tli_arena_release(&arena);
}

static tulle_status_t alloc_channel(const tli_messages_t *kind, channel_t **channel_out)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    channel_t *channel = NULL;
    tulle_status_t st = tli_arena_alloc(&arena, 1, sizeof *channel, &channel);
    if (st == TULLE_OK) {
        channel->arena = arena;
        channel->kind = kind;
        *channel_out = channel;
    }
    return st;
}

tulle_status_t tli_host_bind(const tli_messages_t *kind, tulle_comm_t *comm, tulle_status_t local, int is_staged,
                             int first_tag, tli_parcels_t *parcels, void **channel_out)
{
    channel_t *channel = NULL;
    tulle_status_t st = local;
    if (st == TULLE_OK)
        st = alloc_channel(kind, &channel);
    TLI_TRY(tli_agree(comm->mpi, st));
    channel->comm = comm;
    channel->parcels = parcels;
    channel->is_staged = is_staged;
    channel->first_tag = first_tag;
    TLI_TRY(agree_on_pieces(channel));
    TLI_TRY(tli_agree(comm->mpi, make_channel(channel)));
    if (kind->connect != NULL)
        TLI_TRY(tli_agree(comm->mpi, kind->connect(channel)));
    *channel_out = channel;
    channel = NULL;
done:
    tli_host_unbind(channel);
    return st;
}

/* --- the streams' side -------------------------------------------------------------------------------------------- */

static int num_of_stage(const lane_t *lane, int stage)
{
    return lane->first[stage + 1] - lane->first[stage];
}

static tulle_status_t put_flags(const lane_t *lane, int stage, void *stream)
{
    int n = num_of_stage(lane, stage);
    return n > 0 ? tli_stream_flags(stream, lane->flags + lane->first[stage], n) : TULLE_OK;
}

/* Pieces of a stage to pinned memory and the word that each is there; or the other way round. */
static tulle_status_t put_copies(const channel_t *channel, const lane_t *lane, int stage, void *stream)
{
    tulle_status_t st = TULLE_OK;
    for (int i = lane->first[stage]; i < lane->first[stage + 1]; i++) {
        const piece_t *piece = &lane->pieces[i];
        unsigned char *rows = parcels_of(channel, lane->is_send)[piece->parcel].address + piece->offset;
        if (lane->is_send)
            TLI_TRY(tli_device_copy(piece->memory, rows, (size_t)piece->bytes, stream));
        TLI_TRY(tli_stream_flags(stream, &lane->flags[i], 1));
        if (!lane->is_send)
            TLI_TRY(tli_device_copy(rows, piece->memory, (size_t)piece->bytes, stream));
        if (piece->came != NULL)
            TLI_TRY(tli_event_record(piece->came, stream));
    }
done:
    return st;
}

tulle_status_t tli_host_begin(void *opaque, void *stream)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    int num_receives = channel->lanes[RECEIVES].num + channel->lanes[RECEIVES_COPIED].num;
    for (int l = 0; l < TLI_NUM_LANES; l++) {
        channel->lanes[l].num_done = 0;
        if (channel->lanes[l].num > 0)
            memset(channel->lanes[l].has_come, 0, (size_t)channel->lanes[l].num);
    }
    channel->is_open = num_receives == 0;
    if (num_receives > 0)
        TLI_TRY(tli_stream_flags(stream, &channel->open, 1));
    if (has_copies(channel)) {
        TLI_TRY(tli_event_record(channel->forked, stream));
        TLI_TRY(tli_event_order(channel->forked, channel->outbound));
        TLI_TRY(tli_event_order(channel->forked, channel->inbound));
        for (int stage = 0; stage < channel->parcels->num_stages; stage++)
            TLI_TRY(put_copies(channel, &channel->lanes[RECEIVES_COPIED], stage, channel->inbound));
    }
done:
    return st;
}

tulle_status_t tli_host_depart(void *opaque, int stage, void *stream)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    const lane_t *copied = &channel->lanes[SENDS_COPIED];
    TLI_TRY(put_flags(&channel->lanes[SENDS], stage, stream));
    if (num_of_stage(copied, stage) > 0) {
        TLI_TRY(tli_event_record(channel->packed, stream));
        TLI_TRY(tli_event_order(channel->packed, channel->outbound));
        TLI_TRY(put_copies(channel, copied, stage, channel->outbound));
    }
done:
    return st;
}

/* First piece from i on, and before end, that is in the part, or is not. */
static int find_piece(const lane_t *lane, int i, int end, int part, int is_in)
{
    while (i < end && (lane->pieces[i].part == part) != is_in)
        i++;
    return i;
}

/* Pieces of a part follow each other, but for second ones of very long parcels. */
static tulle_status_t await_part(const lane_t *lane, int stage, int part, void *stream)
{
    tulle_status_t st = TULLE_OK;
    int end = lane->first[stage + 1], next = find_piece(lane, lane->first[stage], end, part, 1);
    while (next < end) {
        int first = next;
        next = find_piece(lane, first, end, part, 0);
        TLI_TRY(tli_stream_flags(stream, lane->flags + first, next - first));
        next = find_piece(lane, next, end, part, 1);
    }
done:
    return st;
}

static tulle_status_t await_copies(const lane_t *lane, int stage, int part, void *stream)
{
    tulle_status_t st = TULLE_OK;
    for (int i = lane->first[stage]; i < lane->first[stage + 1]; i++)
        if (lane->pieces[i].part == part && lane->pieces[i].came != NULL)
            TLI_TRY(tli_event_order(lane->pieces[i].came, stream));
done:
    return st;
}

tulle_status_t tli_host_arrive(void *opaque, int stage, int part, void *stream)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    TLI_TRY(await_part(&channel->lanes[RECEIVES], stage, part, stream));
    TLI_TRY(await_copies(&channel->lanes[RECEIVES_COPIED], stage, part, stream));
done:
    return st;
}

tulle_status_t tli_host_end(void *opaque, void *stream)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    if (channel->lanes[SENDS_COPIED].num > 0) {
        TLI_TRY(tli_event_record(channel->left, channel->outbound));
        TLI_TRY(tli_event_order(channel->left, stream));
    }
done:
    return st;
}

/* --- the host's side ---------------------------------------------------------------------------------------------- */

/* The stream set it: taken back, as the other side of a flag does. */
static int take(uint32_t *flag)
{
    _Atomic uint32_t *shared = (_Atomic uint32_t *)flag;
    int is_set = atomic_load_explicit(shared, memory_order_acquire) == 1;
    if (is_set)
        atomic_store_explicit(shared, 0, memory_order_relaxed);
    return is_set;
}

static void tell(uint32_t *flag)
{
    atomic_store_explicit((_Atomic uint32_t *)flag, 1, memory_order_release);
}

static tulle_status_t open_receives(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    if (channel->is_open || !take(channel->open.flag))
        return TULLE_OK;
    for (int l = RECEIVES; l <= RECEIVES_COPIED; l++)
        for (int i = 0; i < channel->lanes[l].num; i++)
            TLI_TRY(channel->kind->receive(channel, &channel->lanes[l], i));
    channel->is_open = 1;
done:
    return st;
}

static tulle_status_t send_packed(channel_t *channel, lane_t *lane)
{
    tulle_status_t st = TULLE_OK;
    while (lane->num_done < lane->num && take(lane->flags[lane->num_done].flag)) {
        TLI_TRY(channel->kind->send(channel, lane, lane->num_done));
        lane->num_done++;
    }
done:
    return st;
}

void tli_host_arrived(lane_t *lane, int piece)
{
    tell(lane->flags[piece].flag);
    lane->has_come[piece] = 1;
    lane->num_done++;
}

static int count_done(const channel_t *channel)
{
    int num = 0;
    for (int l = 0; l < TLI_NUM_LANES; l++)
        num += channel->lanes[l].num_done;
    return num;
}

static int count_pieces(const channel_t *channel)
{
    int num = 0;
    for (int l = 0; l < TLI_NUM_LANES; l++)
        num += channel->lanes[l].num;
    return num;
}

tulle_status_t tli_host_advance(void *opaque, int *num_moved)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    int num_before = count_done(channel), is_settled = 0;
    TLI_TRY(open_receives(channel));
    for (int l = SENDS; l <= SENDS_COPIED; l++)
        TLI_TRY(send_packed(channel, &channel->lanes[l]));
    TLI_TRY(channel->kind->poll(channel));
    TLI_TRY(channel->kind->settle(channel, count_done(channel) == count_pieces(channel), &is_settled));
    *num_moved += count_done(channel) - num_before;
    st = is_settled && channel->is_open ? TULLE_OK : TULLE_IN_PROGRESS;
done:
    return st;
}

static int find_under_way(const channel_t *channel, const lane_t *lane)
{
    for (int i = 0; i < lane->num; i++)
        if (channel->kind->is_under_way(channel, lane, i))
            return lane->pieces[i].peer;
    return -1;
}

/* Who did not send comes first: who does not take may only be waiting, too. */
int tli_host_awaits(const void *opaque)
{
    const channel_t *channel = opaque;
    int peer = -1;
    for (int l = TLI_NUM_LANES - 1; l >= 0 && peer < 0; l--)
        peer = find_under_way(channel, &channel->lanes[l]);
    return peer;
}

/* Rows that did not come are taken as they are: nobody looks at them. */
void tli_host_give_up(void *opaque)
{
    channel_t *channel = opaque;
    if (channel->is_broken)
        return;
    channel->kind->cancel(channel);
    for (int l = RECEIVES; l <= RECEIVES_COPIED; l++)
        for (int i = 0; i < channel->lanes[l].num; i++)
            if (!channel->lanes[l].has_come[i])
                tell(channel->lanes[l].flags[i].flag);
    channel->is_broken = 1;
}
