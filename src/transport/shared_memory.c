/* SPDX-License-Identifier: Apache-2.0
 * Between ranks that share memory: the sender packs rows once into its segment and rings the receiver; the receiver
 * reads them there. A segment holds a bell per receiving wire, an acknowledgement per peer, then the rows.
 *
 * Rounds are counted, never reset: a bell that shows round r says that the rows of round r are complete, an
 * acknowledgement of round r that the peer has read everything of it. Each lies in a cache line of its own, written by
 * one rank and read by one. */
#include <stdatomic.h>
#include <string.h>

#include "src/agree.h"
#include "src/transport/transport.h"

#define LINE 64

typedef struct bell {
    _Alignas(LINE) _Atomic int64_t round;
    int64_t offset; /* [bytes] of the area in the sender's segment; written at bind */
    int64_t rows;
} bell_t;

typedef struct acknowledgement {
    _Alignas(LINE) _Atomic int64_t round;
} acknowledgement_t;

/* One rank that I read from or that reads from me. */
typedef struct partner {
    int shared_rank;
    unsigned char *segment;
    int num_receives; /* my wires from it */
    int num_unread;   /* of them, in this round */
    int num_sends;    /* my wires to it */
} partner_t;

typedef struct channel {
    tulle_comm_t *comm;
    MPI_Win window;
    unsigned char *segment;
    size_t rows_offset; /* [bytes] where rows begin in my segment */
    int64_t round;
    int num_partners;
    partner_t *partners;     /* [num_partners] ascending shared rank */
    int *partner_of_receive; /* [wires] -1: not ours */
    bell_t **bell_of_send;   /* [wires] in the receiver's segment; NULL: not ours */
    int num_waiting;         /* receiving wires not yet arrived */
    int num_receives;        /* receiving wires of ours */
    int *waiting;            /* [num_receives] */
    tli_arena_t arena;
} channel_t;

/* Every segment begins with the size of its front, so that peers find bells without being told. */
typedef struct front {
    _Alignas(LINE) int64_t num_bells;
} front_t;

static size_t front_bytes(int num_bells, int num_ranks)
{
    return sizeof(front_t) + (size_t)num_bells * sizeof(bell_t) + (size_t)num_ranks * sizeof(acknowledgement_t);
}

static bell_t *bells_of(unsigned char *segment)
{
    return (bell_t *)(segment + sizeof(front_t));
}

static acknowledgement_t *acknowledgements_of(unsigned char *segment)
{
    return (acknowledgement_t *)(bells_of(segment) + ((front_t *)segment)->num_bells);
}

static int shm_reaches(const tulle_comm_t *comm, int peer)
{
    return comm->num_shared > 1 && tli_comm_shared_rank(comm, peer) >= 0;
}

static void shm_close(void *opaque)
{
    channel_t *channel = opaque;
    if (channel != NULL) {
        if (channel->window != MPI_WIN_NULL) {
            MPI_Win_unlock_all(channel->window);
            MPI_Win_free(&channel->window);
        }
        tli_arena_release(&channel->arena);
        tli_free(channel);
    }
}

/* The same place for every rank that maps the segment: maps differ by whole pages. */
static unsigned char *first_line(unsigned char *segment)
{
    return segment + (LINE - (uintptr_t)segment % LINE) % LINE;
}

static tulle_status_t allocate_segment(channel_t *channel, size_t bytes, int num_bells)
{
    tulle_status_t st = TULLE_OK;
    MPI_Info info = MPI_INFO_NULL;
    /* MPI aligns a segment to 8 bytes only: there is room to begin at a cache line. */
    MPI_Aint size = (MPI_Aint)((bytes + 2 * LINE - 1) / LINE * LINE);
    TLI_MPI(MPI_Info_create(&info));
    TLI_MPI(MPI_Info_set(info, "alloc_shared_noncontig", "true"));
    TLI_MPI(MPI_Win_allocate_shared(size, 1, info, channel->comm->shared, &channel->segment, &channel->window));
    channel->segment = first_line(channel->segment);
    TLI_MPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, channel->window));
    memset(channel->segment, 0, channel->rows_offset);
    ((front_t *)channel->segment)->num_bells = num_bells;
done:
    if (info != MPI_INFO_NULL)
        MPI_Info_free(&info);
    return st;
}

static tulle_status_t shm_open(tulle_comm_t *comm, tulle_status_t local, size_t shared_bytes, int num_receives,
                               void **channel_out, unsigned char **shared_out)
{
    tulle_status_t st = local;
    channel_t *channel = NULL;
    if (st == TULLE_OK)
        st = tli_alloc(sizeof *channel, &channel);
    if (channel != NULL)
        channel->window = MPI_WIN_NULL;
    st = tli_agree(comm->mpi, st);
    if (st == TULLE_OK) {
        channel->comm = comm;
        channel->rows_offset = front_bytes(num_receives, comm->num_shared);
        st = comm->num_shared > 1 ? allocate_segment(channel, channel->rows_offset + shared_bytes, num_receives)
                                  : TULLE_OK;
        st = tli_agree(comm->mpi, st);
    }
    if (st == TULLE_OK) {
        *shared_out = channel->segment != NULL ? channel->segment + channel->rows_offset : NULL;
        *channel_out = channel;
        channel = NULL;
    }
    shm_close(channel);
    return st;
}

/* Writes before this call are seen by all ranks of the node after it. */
static tulle_status_t fence(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    TLI_MPI(MPI_Win_sync(channel->window));
    TLI_MPI(MPI_Barrier(channel->comm->shared));
    TLI_MPI(MPI_Win_sync(channel->window));
done:
    return st;
}

static tulle_status_t list_partners(channel_t *channel, const tli_wires_t *wires)
{
    tulle_status_t st = TULLE_OK;
    tulle_comm_t *comm = channel->comm;
    int *partner_of = NULL;
    TLI_TRY(tli_arena_alloc(&channel->arena, comm->num_shared, sizeof *channel->partners, &channel->partners));
    TLI_TRY(tli_arena_alloc(&channel->arena, comm->num_shared, sizeof *partner_of, &partner_of));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_receives, sizeof(int), &channel->partner_of_receive));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_receives, sizeof(int), &channel->waiting));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_sends, sizeof(bell_t *), &channel->bell_of_send));
    for (int w = 0; w < wires->num_sends; w++)
        if (wires->send_transport[w] == wires->transport)
            partner_of[tli_comm_shared_rank(comm, wires->sends[w].peer)]++;
    for (int w = 0; w < wires->num_receives; w++)
        if (wires->receive_transport[w] == wires->transport)
            partner_of[tli_comm_shared_rank(comm, wires->receives[w].peer)]++;
    for (int r = 0; r < comm->num_shared; r++) {
        if (partner_of[r] > 0)
            channel->partners[channel->num_partners].shared_rank = r;
        partner_of[r] = partner_of[r] > 0 ? channel->num_partners++ : -1;
    }
    for (int w = 0; w < wires->num_sends; w++)
        if (wires->send_transport[w] == wires->transport)
            channel->partners[partner_of[tli_comm_shared_rank(comm, wires->sends[w].peer)]].num_sends++;
    for (int w = 0; w < wires->num_receives; w++) {
        int is_ours = wires->receive_transport[w] == wires->transport;
        int p = is_ours ? partner_of[tli_comm_shared_rank(comm, wires->receives[w].peer)] : -1;
        channel->partner_of_receive[w] = p;
        channel->num_receives += is_ours;
        if (is_ours)
            channel->partners[p].num_receives++;
    }
done:
    return st;
}

static tulle_status_t find_segments(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    for (int p = 0; p < channel->num_partners; p++) {
        MPI_Aint size = 0;
        int unit = 0;
        TLI_MPI(MPI_Win_shared_query(channel->window, channel->partners[p].shared_rank, &size, &unit,
                                     &channel->partners[p].segment));
        channel->partners[p].segment = first_line(channel->partners[p].segment);
    }
done:
    return st;
}

static unsigned char *segment_of(const channel_t *channel, int peer)
{
    int shared_rank = tli_comm_shared_rank(channel->comm, peer), p = 0;
    while (channel->partners[p].shared_rank != shared_rank)
        p++;
    return channel->partners[p].segment;
}

/* The sender tells the receiver, in the bell, where the rows will lie. */
static void write_bells(channel_t *channel, const tli_wires_t *wires)
{
    for (int w = 0; w < wires->num_sends; w++) {
        const tli_wire_t *wire = &wires->sends[w];
        if (wires->send_transport[w] != wires->transport)
            continue;
        bell_t *bell = &bells_of(segment_of(channel, wire->peer))[wire->peer_wire];
        bell->offset = wire->address - channel->segment;
        bell->rows = wire->rows;
        channel->bell_of_send[w] = bell;
    }
}

static void read_bells(channel_t *channel, const tli_wires_t *wires, tli_delivery_t *deliveries)
{
    for (int w = 0; w < wires->num_receives; w++) {
        const bell_t *bell = &bells_of(channel->segment)[w];
        if (wires->receive_transport[w] != wires->transport)
            continue;
        deliveries[w].address = channel->partners[channel->partner_of_receive[w]].segment + bell->offset;
        deliveries[w].rows = bell->rows;
    }
}

static tulle_status_t shm_bind(void *opaque, const tli_wires_t *wires, tli_delivery_t *deliveries)
{
    channel_t *channel = opaque;
    tulle_status_t st = list_partners(channel, wires);
    st = tli_agree(channel->comm->mpi, st);
    if (st != TULLE_OK || channel->comm->num_shared == 1)
        return st;
    TLI_TRY(fence(channel));
    TLI_TRY(find_segments(channel));
    write_bells(channel, wires);
    TLI_TRY(fence(channel));
    read_bells(channel, wires, deliveries);
done:
    return st;
}

static tulle_status_t shm_ready(void *opaque)
{
    const channel_t *channel = opaque;
    int is_ready = 1;
    for (int p = 0; p < channel->num_partners && is_ready; p++) {
        const partner_t *partner = &channel->partners[p];
        acknowledgement_t *acknowledgement = &acknowledgements_of(channel->segment)[partner->shared_rank];
        is_ready = partner->num_sends == 0 ||
                   atomic_load_explicit(&acknowledgement->round, memory_order_acquire) >= channel->round;
    }
    return is_ready ? TULLE_OK : TULLE_IN_PROGRESS;
}

static tulle_status_t shm_begin(void *opaque)
{
    channel_t *channel = opaque;
    channel->round++;
    for (int p = 0; p < channel->num_partners; p++)
        channel->partners[p].num_unread = channel->partners[p].num_receives;
    channel->num_waiting = 0;
    for (int w = 0; channel->num_waiting < channel->num_receives; w++)
        if (channel->partner_of_receive[w] >= 0)
            channel->waiting[channel->num_waiting++] = w;
    return TULLE_OK;
}

static tulle_status_t shm_send(void *opaque, int wire)
{
    channel_t *channel = opaque;
    atomic_store_explicit(&channel->bell_of_send[wire]->round, channel->round, memory_order_release);
    return TULLE_OK;
}

static tulle_status_t shm_poll(void *opaque, int *arrived, int *num_arrived)
{
    channel_t *channel = opaque;
    int still_waiting = 0;
    *num_arrived = 0;
    for (int i = 0; i < channel->num_waiting; i++) {
        int w = channel->waiting[i];
        if (atomic_load_explicit(&bells_of(channel->segment)[w].round, memory_order_acquire) == channel->round)
            arrived[(*num_arrived)++] = w;
        else
            channel->waiting[still_waiting++] = w;
    }
    channel->num_waiting = still_waiting;
    return TULLE_OK;
}

static void shm_release(void *opaque, int wire)
{
    channel_t *channel = opaque;
    partner_t *partner = &channel->partners[channel->partner_of_receive[wire]];
    if (--partner->num_unread == 0) {
        int me = tli_comm_shared_rank(channel->comm, channel->comm->rank);
        atomic_store_explicit(&acknowledgements_of(partner->segment)[me].round, channel->round, memory_order_release);
    }
}

/* Rows were copied into the segment: the caller's are free at once. */
static tulle_status_t shm_drain(void *opaque)
{
    (void)opaque;
    return TULLE_OK;
}

const tli_transport_t tli_transport_shared_memory = {
    .name = "shared memory",
    .id = TULLE_TRANSPORT_SHARED_MEMORY,
    .reads_remotely = 1,
    .reaches = shm_reaches,
    .open = shm_open,
    .bind = shm_bind,
    .ready = shm_ready,
    .begin = shm_begin,
    .send = shm_send,
    .poll = shm_poll,
    .release = shm_release,
    .drain = shm_drain,
    .close = shm_close,
};
