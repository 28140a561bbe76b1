/* SPDX-License-Identifier: Apache-2.0
 * Parcels by NCCL: those that leave after a stage and those that come with the next are one group, on a stream of its
 * own, so that what needs no parcel runs beside. Nothing is left to the host, and all of it can be captured.
 *
 * One communicator of NCCL serves all exchanges of a communicator of ours; it is made with the first. */
#include <sched.h>

#include "src/agree.h"
#include "src/device/device.h"
#include "src/device/stream.h"
#include "src/options.h"
#include "src/transport/carrier.h"
#include "src/transport/nccl.h"

#define ALIGNMENT 256

typedef struct channel {
    tulle_comm_t *comm;
    const tli_parcels_t *parcels;
    tli_nccl_message_t *messages; /* by stage */
    int *first;                   /* [num_stages + 1] */
    unsigned char *memory;        /* of all parcels, on the device */
    void *registration;
    void *stream;
    void *packed; /* event: what leaves is packed */
    void **came;  /* [num_stages] events: the group is done */
    tli_arena_t arena;
} channel_t;

/* --- bind --------------------------------------------------------------------------------------------------------- */

static int64_t place_parcels(tli_parcel_t *parcels, int n, unsigned char *base, int64_t at)
{
    for (int p = 0; p < n; p++) {
        parcels[p].address = base != NULL ? base + at : NULL;
        at += (parcels[p].bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return at;
}

static int add_messages(const tli_parcel_t *parcels, int num_parcels, int is_send, int stage,
                        tli_nccl_message_t *messages, int n)
{
    for (int p = 0; p < num_parcels; p++)
        if (parcels[p].stage == stage)
            messages[n++] = (tli_nccl_message_t){parcels[p].address, parcels[p].bytes, parcels[p].peer, is_send};
    return n;
}

static tulle_status_t list_messages(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    const tli_parcels_t *parcels = channel->parcels;
    int n = 0;
    TLI_TRY(tli_arena_alloc(&channel->arena, parcels->num_sends + parcels->num_receives, sizeof *channel->messages,
                            &channel->messages));
    TLI_TRY(tli_arena_alloc(&channel->arena, parcels->num_stages + 1, sizeof *channel->first, &channel->first));
    for (int stage = 0; stage < parcels->num_stages; stage++) {
        n = add_messages(parcels->sends, parcels->num_sends, 1, stage, channel->messages, n);
        n = add_messages(parcels->receives, parcels->num_receives, 0, stage, channel->messages, n);
        channel->first[stage + 1] = n;
    }
done:
    return st;
}

static tulle_status_t make_channel(channel_t *channel, tli_parcels_t *parcels)
{
    tulle_status_t st = TULLE_OK;
    int64_t bytes = place_parcels(parcels->sends, parcels->num_sends, NULL, 0);
    bytes = place_parcels(parcels->receives, parcels->num_receives, NULL, bytes);
    channel->parcels = parcels;
    TLI_TRY(tli_device_alloc(TULLE_SPACE_DEVICE, (size_t)bytes + 1, (void **)&channel->memory));
    bytes = place_parcels(parcels->sends, parcels->num_sends, channel->memory, 0);
    bytes = place_parcels(parcels->receives, parcels->num_receives, channel->memory, bytes);
    TLI_TRY(list_messages(channel));
    TLI_TRY(tli_stream_create(&channel->stream));
    TLI_TRY(tli_event_create(&channel->packed));
    TLI_TRY(tli_arena_alloc(&channel->arena, parcels->num_stages, sizeof *channel->came, &channel->came));
    for (int stage = 0; stage < parcels->num_stages; stage++)
        TLI_TRY(tli_event_create(&channel->came[stage]));
    if (bytes > 0)
        TLI_TRY(tli_nccl_register(channel->comm->nccl, channel->memory, bytes, &channel->registration));
done:
    return st;
}

/* The parcels of a stage, both ways. */
static tulle_status_t put_group(channel_t *channel, int stage)
{
    int is_mine = stage < channel->parcels->num_stages;
    int first = is_mine ? channel->first[stage] : 0, n = is_mine ? channel->first[stage + 1] - first : 0;
    return n > 0 ? tli_nccl_move(channel->comm->nccl, channel->messages + first, n, channel->stream) : TULLE_OK;
}

/* Ask NCCL together until it is through on all ranks, fails on one, or takes too long: a rank that is alone with a
 * fault does not leave the others waiting. */
static tulle_status_t wait_together(tulle_comm_t *comm, tulle_status_t local, void *event)
{
    tulle_status_t st = local == TULLE_OK ? TULLE_IN_PROGRESS : local;
    double began = MPI_Wtime();
    enum { UNDER_WAY, FAILED, NUM_STATES };
    int states[NUM_STATES] = {1, 0};
    while (states[UNDER_WAY] && !states[FAILED]) {
        if (st == TULLE_IN_PROGRESS)
            st = tli_nccl_test(comm->nccl);
        if (st == TULLE_OK && event != NULL)
            st = tli_event_test(event);
        if (st == TULLE_IN_PROGRESS && comm->timeout_ms > 0 && (MPI_Wtime() - began) * 1e3 > (double)comm->timeout_ms)
            st = tli_fail(TULLE_ERR_TIMEOUT, 0, TLI_WHERE, "NCCL did not connect all ranks within %lld ms",
                          (long long)comm->timeout_ms);
        states[UNDER_WAY] = st == TULLE_IN_PROGRESS;
        states[FAILED] = st < 0;
        if (MPI_Allreduce(MPI_IN_PLACE, states, NUM_STATES, MPI_INT, MPI_MAX, comm->mpi) != MPI_SUCCESS)
            states[FAILED] = 1;
        sched_yield();
    }
    if (states[FAILED] && comm->nccl != NULL)
        tli_nccl_abort(comm->nccl);
    return tli_agree(comm->mpi, st == TULLE_IN_PROGRESS ? TULLE_OK : st);
}

/* Messages that are routed over rails already need no detour over another GPU, which would also undo registration. */
static tulle_status_t open_nccl(tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    unsigned char id[TLI_NCCL_ID_BYTES] = {0};
    if (comm->nccl != NULL)
        return tli_agree(comm->mpi, tli_nccl_test(comm->nccl));
    tli_options_disable_pxn();
    if (comm->rank == 0)
        st = tli_nccl_make_id(id);
    TLI_TRY(tli_agree(comm->mpi, st));
    TLI_MPI(MPI_Bcast(id, sizeof id, MPI_BYTE, 0, comm->mpi));
    st = tli_nccl_open(comm->size, comm->rank, id, &comm->nccl);
    st = wait_together(comm, st, NULL);
    if (st != TULLE_OK) {
        tli_nccl_close(comm->nccl);
        comm->nccl = NULL;
    }
done:
    return st;
}

/* Connections are made here, by moving each parcel once, whatever is in it, so that no start waits for them. */
static tulle_status_t connect_peers(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    tulle_comm_t *comm = channel->comm;
    int num_stages = channel->parcels->num_stages;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &num_stages, 1, MPI_INT, MPI_MAX, comm->mpi));
    for (int stage = 0; stage < num_stages; stage++) {
        st = put_group(channel, stage);
        TLI_TRY(wait_together(comm, st, NULL));
    }
    st = tli_event_record(channel->packed, channel->stream);
    TLI_TRY(wait_together(comm, st, channel->packed));
done:
    return st;
}

static void nccl_unbind(void *opaque)
{
    channel_t *channel = opaque;
    if (channel == NULL)
        return;
    tli_nccl_deregister(channel->comm->nccl, channel->registration);
    tli_stream_destroy(channel->stream);
    tli_event_destroy(channel->packed);
    for (int stage = 0; channel->came != NULL && stage < channel->parcels->num_stages; stage++)
        tli_event_destroy(channel->came[stage]);
    if (channel->memory != NULL)
        tli_device_free(TULLE_SPACE_DEVICE, channel->memory);
    tli_arena_release(&channel->arena);
    tli_free(channel);
}

static tulle_status_t nccl_bind(tulle_comm_t *comm, tulle_status_t local, int first_tag, tli_parcels_t *parcels,
                                void **channel_out)
{
    channel_t *channel = NULL;
    tulle_status_t st = local;
    (void)first_tag;
    if (st == TULLE_OK)
        st = tli_alloc(sizeof *channel, &channel);
    if (st == TULLE_OK)
        channel->comm = comm;
    TLI_TRY(tli_agree(comm->mpi, st));
    TLI_TRY(open_nccl(comm));
    TLI_TRY(tli_agree(comm->mpi, make_channel(channel, parcels)));
    TLI_TRY(connect_peers(channel));
    *channel_out = channel;
    channel = NULL;
done:
    nccl_unbind(channel);
    return st;
}

/* --- a round ------------------------------------------------------------------------------------------------------ */

static tulle_status_t nccl_begin(void *opaque, void *stream)
{
    (void)opaque, (void)stream;
    return TULLE_OK;
}

/* What comes is waited for with what leaves: NCCL needs both in one group where ranks send to each other. */
static tulle_status_t nccl_depart(void *opaque, int stage, void *stream)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    if (channel->first[stage + 1] == channel->first[stage])
        return TULLE_OK;
    TLI_TRY(tli_event_record(channel->packed, stream));
    TLI_TRY(tli_event_order(channel->packed, channel->stream));
    TLI_TRY(put_group(channel, stage));
    TLI_TRY(tli_nccl_settle(channel->comm->nccl));
    TLI_TRY(tli_event_record(channel->came[stage], channel->stream));
done:
    return st;
}

/* Also behind what was only sent: its parcels are packed again by what follows. */
static tulle_status_t nccl_arrive(void *opaque, int stage, int part, void *stream)
{
    channel_t *channel = opaque;
    (void)part;
    int is_empty = channel->first[stage + 1] == channel->first[stage];
    return is_empty ? TULLE_OK : tli_event_order(channel->came[stage], stream);
}

static tulle_status_t nccl_end(void *opaque, void *stream)
{
    (void)opaque, (void)stream;
    return TULLE_OK;
}

/* Faults of the network and of peers are found here, some time after they happen. */
static tulle_status_t nccl_advance(void *opaque, int *num_moved)
{
    (void)num_moved;
    return tli_nccl_test(((channel_t *)opaque)->comm->nccl);
}

/* NCCL does not say for whom it waits: the first it may be. */
static int nccl_awaits(const void *opaque)
{
    const tli_parcels_t *parcels = ((const channel_t *)opaque)->parcels;
    return parcels->num_receives > 0 ? parcels->receives[0].peer : -1;
}

static void nccl_give_up(void *opaque)
{
    tli_nccl_abort(((channel_t *)opaque)->comm->nccl);
}

const tli_carrier_t tli_carrier_nccl = {
    .id = TULLE_TRANSPORT_NCCL,
    .is_host_driven = 0,
    .arrives_together = 1,
    .is_there = tli_nccl_is_there,
    .bind = nccl_bind,
    .begin = nccl_begin,
    .depart = nccl_depart,
    .arrive = nccl_arrive,
    .end = nccl_end,
    .advance = nccl_advance,
    .awaits = nccl_awaits,
    .give_up = nccl_give_up,
    .unbind = nccl_unbind,
};
