/* SPDX-License-Identifier: Apache-2.0
 * Parcels in persistent messages of MPI, from pinned memory, or from the device's where MPI takes that. */
#include "src/agree.h"
#include "src/device/device.h"
#include "src/transport/carrier_host.h"

typedef struct messages {
    MPI_Request *of_lane[TLI_NUM_LANES]; /* [pieces] */
    int *finished;                       /* [most pieces of a lane] room for MPI_Testsome */
} messages_t;

static MPI_Request *requests_of(const tli_host_channel_t *channel, const tli_lane_t *lane)
{
    return ((const messages_t *)channel->messages)->of_lane[lane - channel->lanes];
}

/* Messages of one parcel share a tag and are started one by one in their order, which MPI keeps (of MPI_Startall it
 * promises none). Sends are synchronous: MPI may take a small message as sent while it still has it, and bring it on
 * its way in a later call only. But after wait the host may well wait for its stream, and that for peers whose rows
 * follow from this very message. */
static tulle_status_t make_request(const tli_host_channel_t *channel, const tli_piece_t *piece, int is_send,
                                   MPI_Request *request)
{
    tulle_status_t st = TULLE_OK;
    MPI_Comm mpi = channel->comm->mpi;
    if (is_send)
        TLI_MPI(MPI_Ssend_init(piece->memory, (int)piece->bytes, MPI_BYTE, piece->peer, piece->tag, mpi, request));
    else
        TLI_MPI(MPI_Recv_init(piece->memory, (int)piece->bytes, MPI_BYTE, piece->peer, piece->tag, mpi, request));
done:
    return st;
}

static tulle_status_t mpi_make(tli_host_channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    messages_t *messages = NULL;
    int most = 0;
    TLI_TRY(tli_arena_alloc(&channel->arena, 1, sizeof *messages, &messages));
    channel->messages = messages;
    for (int l = 0; l < TLI_NUM_LANES; l++) {
        const tli_lane_t *lane = &channel->lanes[l];
        MPI_Request *requests = NULL;
        TLI_TRY(tli_arena_alloc(&channel->arena, lane->num, sizeof *requests, &requests));
        for (int i = 0; i < lane->num; i++)
            requests[i] = MPI_REQUEST_NULL;
        messages->of_lane[l] = requests;
        most = lane->num > most ? lane->num : most;
    }
    TLI_TRY(tli_arena_alloc(&channel->arena, most, sizeof(int), &messages->finished));
    for (int l = 0; l < TLI_NUM_LANES; l++)
        for (int i = 0; i < channel->lanes[l].num; i++)
            TLI_TRY(make_request(channel, &channel->lanes[l].pieces[i], channel->lanes[l].is_send,
                                 &messages->of_lane[l][i]));
done:
    return st;
}

static tulle_status_t mpi_start(tli_host_channel_t *channel, tli_lane_t *lane, int piece)
{
    tulle_status_t st = TULLE_OK;
    TLI_MPI(MPI_Start(&requests_of(channel, lane)[piece]));
done:
    return st;
}

static tulle_status_t poll_lane(tli_host_channel_t *channel, tli_lane_t *lane)
{
    tulle_status_t st = TULLE_OK;
    int n = 0, *finished = ((messages_t *)channel->messages)->finished;
    if (lane->num_done < lane->num)
        TLI_MPI(MPI_Testsome(lane->num, requests_of(channel, lane), &n, finished, MPI_STATUSES_IGNORE));
    n = n == MPI_UNDEFINED ? 0 : n;
    for (int i = 0; i < n; i++)
        tli_host_arrived(lane, finished[i]);
done:
    return st;
}

static tulle_status_t mpi_poll(tli_host_channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    for (int l = TLI_LANE_RECEIVES; l <= TLI_LANE_RECEIVES_COPIED && channel->is_open; l++)
        TLI_TRY(poll_lane(channel, &channel->lanes[l]));
done:
    return st;
}

/* Sends that were not started yet count as complete: MPI has nothing to do for them. */
static tulle_status_t mpi_settle(tli_host_channel_t *channel, int is_last, int *is_settled_out)
{
    tulle_status_t st = TULLE_OK;
    *is_settled_out = is_last;
    for (int l = TLI_LANE_SENDS; l <= TLI_LANE_SENDS_COPIED; l++) {
        tli_lane_t *lane = &channel->lanes[l];
        int are_sent = 1;
        if (lane->num > 0)
            TLI_MPI(MPI_Testall(lane->num, requests_of(channel, lane), &are_sent, MPI_STATUSES_IGNORE));
        *is_settled_out = *is_settled_out && are_sent;
    }
done:
    return st;
}

static int mpi_is_under_way(const tli_host_channel_t *channel, const tli_lane_t *lane, int piece)
{
    MPI_Request request = requests_of(channel, lane)[piece];
    int is_done = 1;
    if (request != MPI_REQUEST_NULL)
        MPI_Request_get_status(request, &is_done, MPI_STATUS_IGNORE);
    return !is_done;
}

static void mpi_cancel(tli_host_channel_t *channel)
{
    for (int l = TLI_LANE_RECEIVES; l <= TLI_LANE_RECEIVES_COPIED; l++) {
        tli_lane_t *lane = &channel->lanes[l];
        for (int i = 0; i < lane->num; i++) {
            MPI_Request *request = &requests_of(channel, lane)[i];
            if (mpi_is_under_way(channel, lane, i)) {
                MPI_Cancel(request);
                MPI_Wait(request, MPI_STATUS_IGNORE);
            }
        }
    }
}

/* Messages that nobody took stay MPI's: so does the memory they are sent from. */
static int mpi_free(tli_host_channel_t *channel)
{
    int num_under_way = 0;
    for (int l = 0; l < TLI_NUM_LANES && channel->messages != NULL; l++) {
        const tli_lane_t *lane = &channel->lanes[l];
        MPI_Request *requests = requests_of(channel, lane);
        for (int i = 0; i < lane->num && requests != NULL; i++) {
            num_under_way += mpi_is_under_way(channel, lane, i);
            if (requests[i] != MPI_REQUEST_NULL)
                MPI_Request_free(&requests[i]);
        }
    }
    return num_under_way > 0;
}

static const tli_messages_t mpi_messages = {
    .make = mpi_make,
    .receive = mpi_start,
    .send = mpi_start,
    .poll = mpi_poll,
    .settle = mpi_settle,
    .is_under_way = mpi_is_under_way,
    .cancel = mpi_cancel,
    .free = mpi_free,
};

static tulle_status_t staged_bind(tulle_comm_t *comm, tulle_status_t local, int first_tag, tli_parcels_t *parcels,
                                  void **channel_out)
{
    return tli_host_bind(&mpi_messages, comm, local, 1, first_tag, parcels, channel_out);
}

static tulle_status_t device_bind(tulle_comm_t *comm, tulle_status_t local, int first_tag, tli_parcels_t *parcels,
                                  void **channel_out)
{
    return tli_host_bind(&mpi_messages, comm, local, 0, first_tag, parcels, channel_out);
}

const tli_carrier_t tli_carrier_mpi_staged =
    TLI_HOST_CARRIER(TULLE_TRANSPORT_MPI_STAGED, tli_device_is_built, staged_bind);

const tli_carrier_t tli_carrier_mpi_device =
    TLI_HOST_CARRIER(TULLE_TRANSPORT_MPI_DEVICE, tli_mpi_takes_device_memory, device_bind);
