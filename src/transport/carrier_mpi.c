/* SPDX-License-Identifier: Apache-2.0
 * Parcels as persistent messages of MPI. The stream and the host speak by flags in pinned memory: the stream says that
 * a piece is packed, and the host sends it; the host says that one has come, and the stream goes on.
 *
 * Staged, MPI sees pinned memory alone. Small parcels are packed there by kernels and read there. Large ones are packed
 * in device memory and copied in pieces, each sent while the next is copied, on streams of their own: one for what
 * leaves, one for what comes, so that both directions of the bus are busy and the program's stream waits for neither.
 *
 * Where MPI takes device memory, kernels pack into what it sends, and nothing is copied. */
#include <stdatomic.h>
#include <string.h>

#include "src/agree.h"
#include "src/device/device.h"
#include "src/device/stream.h"
#include "src/transport/carrier.h"

#define DIRECT_BYTES       ((int64_t)256 << 10) /* staged parcels up to here are not copied */
#define LEAST_PIECE_BYTES  ((int64_t)1 << 20)
#define MOST_MESSAGE_BYTES ((int64_t)1 << 30) /* MPI counts in ints */
#define ALIGNMENT          256

/* A stream takes about a thousand entries before it makes the giver wait; and it waits itself for a host that would
 * then not come. So a rank's pieces are few, however long. */
#define MOST_PIECES 64

/* A message of MPI, and the flag that says when. */
typedef struct piece {
    int parcel;
    int64_t offset, bytes; /* of the parcel */
    unsigned char *memory; /* what MPI sends from or receives into */
} piece_t;

/* Pieces in the order in which the stream hands them over, or waits for them: by stage. */
typedef struct lane {
    int is_send, is_copied;
    int num;
    piece_t *pieces;
    tli_flag_step_t *flags; /* [num] */
    MPI_Request *requests;  /* [num] */
    int *first;             /* [num_stages + 1] */
    int *finished;          /* [num] room for MPI_Testsome */
    int num_done;           /* in this round: sends that were started, receives that have come */
} lane_t;

enum { SENDS, SENDS_COPIED, RECEIVES, RECEIVES_COPIED, NUM_LANES };

typedef struct channel {
    tulle_comm_t *comm;
    const tli_parcels_t *parcels;
    int is_staged;
    int64_t piece_bytes;
    lane_t lanes[NUM_LANES];
    tli_flag_step_t open;         /* the stream's word that parcels may come */
    int is_open;                  /* receives of this round are started */
    int is_broken;                /* given up */
    unsigned char *pinned;        /* flags, then pieces */
    unsigned char *device;        /* parcels that are copied, or that MPI reads itself */
    void *outbound, *inbound;     /* streams of copies */
    void *forked, *packed, *left; /* events: copies may begin; a stage's parcels are packed; all were copied */
    void **came;                  /* [num_stages] events: that stage's were copied */
    tli_arena_t arena;
} channel_t;

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
            lane->pieces[lane->num++] = (piece_t){p, index * bytes, left < bytes ? left : bytes, NULL};
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
    TLI_TRY(tli_arena_alloc(&channel->arena, n, sizeof *lane->requests, &lane->requests));
    TLI_TRY(tli_arena_alloc(&channel->arena, n, sizeof *lane->finished, &lane->finished));
    TLI_TRY(tli_arena_alloc(&channel->arena, num_stages + 1, sizeof *lane->first, &lane->first));
    for (int stage = 0; stage < num_stages; stage++) {
        for (int64_t index = 0; add_pieces(channel, stage, index, lane); index++)
            ;
        lane->first[stage + 1] = lane->num;
    }
    for (int i = 0; i < lane->num; i++)
        lane->requests[i] = MPI_REQUEST_NULL;
done:
    return st;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static void place_flags(channel_t *channel, int64_t *at)
{
    channel->open = (tli_flag_step_t){(uint32_t *)(channel->pinned + *at), 0, 0};
    *at += TLI_FLAG_BYTES;
    for (int l = 0; l < NUM_LANES; l++)
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

/* Where MPI has each piece: in the parcel itself, unless it is copied. */
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
    for (int l = 0; l < NUM_LANES; l++)
        num_flags += channel->lanes[l].num;
    *pinned_bytes = whole(num_flags * TLI_FLAG_BYTES);
    *device_bytes = 0;
    place_parcels(channel, 1, pinned_bytes, device_bytes);
    place_parcels(channel, 0, pinned_bytes, device_bytes);
    for (int l = 0; l < NUM_LANES; l++)
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

/* Messages of one parcel share a tag and are started one by one in their order, which MPI keeps (of MPI_Startall it
 * promises none). Sends are synchronous: MPI may take a
 * small message as sent while it still has it, and bring it on its way in a later call only. But after wait the host
 * may well wait for its stream, and that for peers whose rows follow from this very message. */
static tulle_status_t make_requests(channel_t *channel, int first_tag, lane_t *lane)
{
    tulle_status_t st = TULLE_OK;
    for (int i = 0; i < lane->num; i++) {
        const piece_t *piece = &lane->pieces[i];
        const tli_parcel_t *parcel = &parcels_of(channel, lane->is_send)[piece->parcel];
        if (lane->is_send)
            TLI_MPI(MPI_Ssend_init(piece->memory, (int)piece->bytes, MPI_BYTE, parcel->peer, first_tag + parcel->tag,
                                   channel->comm->mpi, &lane->requests[i]));
        else
            TLI_MPI(MPI_Recv_init(piece->memory, (int)piece->bytes, MPI_BYTE, parcel->peer, first_tag + parcel->tag,
                                  channel->comm->mpi, &lane->requests[i]));
    }
done:
    return st;
}

static int has_copies(const channel_t *channel)
{
    return channel->lanes[SENDS_COPIED].num + channel->lanes[RECEIVES_COPIED].num > 0;
}

static tulle_status_t make_streams(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc(&channel->arena, channel->parcels->num_stages, sizeof *channel->came, &channel->came));
    if (!has_copies(channel))
        goto done;
    TLI_TRY(tli_stream_create(&channel->outbound));
    TLI_TRY(tli_stream_create(&channel->inbound));
    TLI_TRY(tli_event_create(&channel->forked));
    TLI_TRY(tli_event_create(&channel->packed));
    TLI_TRY(tli_event_create(&channel->left));
    for (int stage = 0; stage < channel->parcels->num_stages; stage++)
        TLI_TRY(tli_event_create(&channel->came[stage]));
done:
    return st;
}

static tulle_status_t make_channel(channel_t *channel, int first_tag)
{
    tulle_status_t st = TULLE_OK;
    for (int l = 0; l < NUM_LANES; l++) {
        channel->lanes[l].is_send = l == SENDS || l == SENDS_COPIED;
        channel->lanes[l].is_copied = l == SENDS_COPIED || l == RECEIVES_COPIED;
        TLI_TRY(list_pieces(channel, &channel->lanes[l]));
    }
    TLI_TRY(alloc_memory(channel));
    TLI_TRY(make_streams(channel));
    for (int l = 0; l < NUM_LANES; l++)
        TLI_TRY(make_requests(channel, first_tag, &channel->lanes[l]));
done:
    return st;
}

/* --- unbind ------------------------------------------------------------------------------------------------------- */

static int is_active(MPI_Request request)
{
    int is_done = 1;
    if (request != MPI_REQUEST_NULL)
        MPI_Request_get_status(request, &is_done, MPI_STATUS_IGNORE);
    return !is_done;
}

/* Messages that nobody took stay MPI's: so does the memory they are sent from. */
static int free_requests(lane_t *lane)
{
    int num_active = 0;
    for (int i = 0; i < lane->num && lane->requests != NULL; i++) {
        num_active += is_active(lane->requests[i]);
        if (lane->requests[i] != MPI_REQUEST_NULL)
            MPI_Request_free(&lane->requests[i]);
    }
    return num_active;
}

static void free_streams(channel_t *channel)
{
    tli_stream_destroy(channel->outbound);
    tli_stream_destroy(channel->inbound);
    tli_event_destroy(channel->forked);
    tli_event_destroy(channel->packed);
    tli_event_destroy(channel->left);
    for (int stage = 0; channel->came != NULL && stage < channel->parcels->num_stages; stage++)
        tli_event_destroy(channel->came[stage]);
}

static void mpi_unbind(void *opaque)
{
    channel_t *channel = opaque;
    int num_active = 0;
    if (channel == NULL)
        return;
    for (int l = 0; l < NUM_LANES; l++)
        num_active += free_requests(&channel->lanes[l]);
    free_streams(channel);
    if (channel->pinned != NULL && num_active == 0)
        tli_device_free(TULLE_SPACE_PINNED, channel->pinned);
    if (channel->device != NULL && num_active == 0)
        tli_device_free(TULLE_SPACE_DEVICE, channel->device);
    tli_arena_release(&channel->arena);
    tli_free(channel);
}

static tulle_status_t mpi_bind(tulle_comm_t *comm, tulle_status_t local, int is_staged, int first_tag,
                               tli_parcels_t *parcels, void **channel_out)
{
    channel_t *channel = NULL;
    tulle_status_t st = local;
    if (st == TULLE_OK)
        st = tli_alloc(sizeof *channel, &channel);
    TLI_TRY(tli_agree(comm->mpi, st));
    channel->comm = comm;
    channel->parcels = parcels;
    channel->is_staged = is_staged;
    TLI_TRY(agree_on_pieces(channel));
    TLI_TRY(tli_agree(comm->mpi, make_channel(channel, first_tag)));
    *channel_out = channel;
    channel = NULL;
done:
    mpi_unbind(channel);
    return st;
}

static tulle_status_t staged_bind(tulle_comm_t *comm, tulle_status_t local, int first_tag, tli_parcels_t *parcels,
                                  void **channel_out)
{
    return mpi_bind(comm, local, 1, first_tag, parcels, channel_out);
}

static tulle_status_t device_bind(tulle_comm_t *comm, tulle_status_t local, int first_tag, tli_parcels_t *parcels,
                                  void **channel_out)
{
    return mpi_bind(comm, local, 0, first_tag, parcels, channel_out);
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
    }
done:
    return st;
}

static tulle_status_t put_arrivals(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    const lane_t *lane = &channel->lanes[RECEIVES_COPIED];
    for (int stage = 0; stage < channel->parcels->num_stages; stage++) {
        TLI_TRY(put_copies(channel, lane, stage, channel->inbound));
        if (num_of_stage(lane, stage) > 0)
            TLI_TRY(tli_event_record(channel->came[stage], channel->inbound));
    }
done:
    return st;
}

static tulle_status_t mpi_begin(void *opaque, void *stream)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    int num_receives = channel->lanes[RECEIVES].num + channel->lanes[RECEIVES_COPIED].num;
    for (int l = 0; l < NUM_LANES; l++)
        channel->lanes[l].num_done = 0;
    channel->is_open = num_receives == 0;
    if (num_receives > 0)
        TLI_TRY(tli_stream_flags(stream, &channel->open, 1));
    if (has_copies(channel)) {
        TLI_TRY(tli_event_record(channel->forked, stream));
        TLI_TRY(tli_event_order(channel->forked, channel->outbound));
        TLI_TRY(tli_event_order(channel->forked, channel->inbound));
        TLI_TRY(put_arrivals(channel));
    }
done:
    return st;
}

static tulle_status_t mpi_depart(void *opaque, int stage, void *stream)
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

static tulle_status_t mpi_arrive(void *opaque, int stage, void *stream)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    TLI_TRY(put_flags(&channel->lanes[RECEIVES], stage, stream));
    if (num_of_stage(&channel->lanes[RECEIVES_COPIED], stage) > 0)
        TLI_TRY(tli_event_order(channel->came[stage], stream));
done:
    return st;
}

static tulle_status_t mpi_end(void *opaque, void *stream)
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
            TLI_MPI(MPI_Start(&channel->lanes[l].requests[i]));
    channel->is_open = 1;
done:
    return st;
}

static tulle_status_t send_packed(lane_t *lane, int *num_moved)
{
    tulle_status_t st = TULLE_OK;
    while (lane->num_done < lane->num && take(lane->flags[lane->num_done].flag)) {
        TLI_MPI(MPI_Start(&lane->requests[lane->num_done]));
        lane->num_done++;
        (*num_moved)++;
    }
done:
    return st;
}

static tulle_status_t take_arrivals(lane_t *lane, int *num_moved)
{
    tulle_status_t st = TULLE_OK;
    int n = 0;
    if (lane->num_done < lane->num)
        TLI_MPI(MPI_Testsome(lane->num, lane->requests, &n, lane->finished, MPI_STATUSES_IGNORE));
    n = n == MPI_UNDEFINED ? 0 : n;
    for (int i = 0; i < n; i++)
        tell(lane->flags[lane->finished[i]].flag);
    lane->num_done += n;
    *num_moved += n;
done:
    return st;
}

/* Sends that were not started yet count as complete: MPI has nothing to do for them. */
static tulle_status_t test_sends(lane_t *lane, int *are_done)
{
    tulle_status_t st = TULLE_OK;
    int are_sent = 1;
    if (lane->num > 0)
        TLI_MPI(MPI_Testall(lane->num, lane->requests, &are_sent, MPI_STATUSES_IGNORE));
    *are_done = *are_done && are_sent && lane->num_done == lane->num;
done:
    return st;
}

static tulle_status_t mpi_advance(void *opaque, int *num_moved)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    lane_t *lanes = channel->lanes;
    int are_done = 1;
    TLI_TRY(open_receives(channel));
    for (int l = SENDS; l <= SENDS_COPIED; l++)
        TLI_TRY(send_packed(&lanes[l], num_moved));
    for (int l = RECEIVES; l <= RECEIVES_COPIED && channel->is_open; l++) {
        TLI_TRY(take_arrivals(&lanes[l], num_moved));
        are_done = are_done && lanes[l].num_done == lanes[l].num;
    }
    for (int l = SENDS; l <= SENDS_COPIED; l++)
        TLI_TRY(test_sends(&lanes[l], &are_done));
    st = are_done && channel->is_open ? TULLE_OK : TULLE_IN_PROGRESS;
done:
    return st;
}

static int find_active(const channel_t *channel, const lane_t *lane)
{
    for (int i = 0; i < lane->num; i++)
        if (is_active(lane->requests[i]))
            return parcels_of(channel, lane->is_send)[lane->pieces[i].parcel].peer;
    return -1;
}

/* Who did not send comes first: who does not take may only be waiting, too. */
static int mpi_awaits(const void *opaque)
{
    const channel_t *channel = opaque;
    int peer = -1;
    for (int l = NUM_LANES - 1; l >= 0 && peer < 0; l--)
        peer = find_active(channel, &channel->lanes[l]);
    return peer;
}

/* Whether the stream still waits for it, and MPI no more. A receive that completes just now has a source; one that was
 * taken before has none. */
static int end_receive(MPI_Request *request)
{
    MPI_Status status;
    int is_done = 0;
    MPI_Test(request, &is_done, &status);
    if (is_done)
        return status.MPI_SOURCE != MPI_ANY_SOURCE;
    MPI_Cancel(request);
    MPI_Wait(request, MPI_STATUS_IGNORE);
    return 1;
}

/* Rows that did not come are taken as they are: nobody looks at them. */
static void mpi_give_up(void *opaque)
{
    channel_t *channel = opaque;
    for (int l = RECEIVES; l <= RECEIVES_COPIED && !channel->is_broken; l++) {
        for (int i = 0; i < channel->lanes[l].num; i++) {
            int is_missing = !channel->is_open || end_receive(&channel->lanes[l].requests[i]);
            if (is_missing)
                tell(channel->lanes[l].flags[i].flag);
        }
    }
    channel->is_broken = 1;
}

static int staged_is_there(void)
{
    return tli_device_is_built();
}

const tli_carrier_t tli_carrier_mpi_staged = {
    .id = TULLE_TRANSPORT_MPI_STAGED,
    .is_host_driven = 1,
    .is_there = staged_is_there,
    .bind = staged_bind,
    .begin = mpi_begin,
    .depart = mpi_depart,
    .arrive = mpi_arrive,
    .end = mpi_end,
    .advance = mpi_advance,
    .awaits = mpi_awaits,
    .give_up = mpi_give_up,
    .unbind = mpi_unbind,
};

const tli_carrier_t tli_carrier_mpi_device = {
    .id = TULLE_TRANSPORT_MPI_DEVICE,
    .is_host_driven = 1,
    .is_there = tli_mpi_takes_device_memory,
    .bind = device_bind,
    .begin = mpi_begin,
    .depart = mpi_depart,
    .arrive = mpi_arrive,
    .end = mpi_end,
    .advance = mpi_advance,
    .awaits = mpi_awaits,
    .give_up = mpi_give_up,
    .unbind = mpi_unbind,
};
