/* SPDX-License-Identifier: Apache-2.0
 * Parcels that the host hands over, in pieces that are a message each. The stream and the host speak by flags in pinned
 * memory: the stream says that a piece is packed, and the host sends it; the host says that one has come, and the
 * stream goes on. What carries the messages, MPI or UCX, is a tli_messages_t.
 *
 * Staged, messages are in pinned memory alone. Small parcels are packed there by kernels and read there. Large ones are
 * packed in device memory and copied in pieces, each sent while the next is copied, on streams of their own: one for
 * what leaves, one for what comes, so that both directions of the bus are busy and the program's stream waits for
 * neither.
 *
 * Where messages may be in device memory, kernels pack into what is sent, and nothing is copied. */
#ifndef TLI_CARRIER_HOST_H
#define TLI_CARRIER_HOST_H

#include "src/device/stream.h"
#include "src/transport/carrier.h"

/** One message. Those of one parcel have its peer and tag, and are sent and received in their order. */
typedef struct tli_piece {
    int parcel, peer, tag;
    int part;              /* of the stage that begins with it */
    int64_t offset, bytes; /* of the parcel */
    unsigned char *memory; /* what is sent, or received into */
    void *came;            /* event: all copied pieces of the part are there; NULL: this is not the last of them */
} tli_piece_t;

/** Pieces in the order in which the stream hands them over, or waits for them: by stage. */
typedef struct tli_lane {
    int is_send, is_copied;
    int num;
    tli_piece_t *pieces;
    tli_flag_step_t *flags;  /* [num] */
    unsigned char *has_come; /* [num] in this round */
    int *first;              /* [num_stages + 1] */
    int num_done;            /* in this round: sends that were started, receives that have come */
} tli_lane_t;

enum {
    TLI_LANE_SENDS,
    TLI_LANE_SENDS_COPIED,
    TLI_LANE_RECEIVES,
    TLI_LANE_RECEIVES_COPIED,
    TLI_NUM_LANES,
};

struct tli_messages;

typedef struct tli_host_channel {
    tulle_comm_t *comm;
    const tli_parcels_t *parcels;
    const struct tli_messages *kind;
    void *messages; /* of that kind */
    int is_staged;
    int first_tag;
    int64_t piece_bytes;
    tli_lane_t lanes[TLI_NUM_LANES];
    tli_flag_step_t open;         /* the stream's word that parcels may come */
    int is_open;                  /* receives of this round are started */
    int is_broken;                /* given up */
    unsigned char *pinned;        /* flags, then pieces */
    unsigned char *device;        /* parcels that are copied, or that are sent from there */
    void *outbound, *inbound;     /* streams of copies */
    void *forked, *packed, *left; /* events: copies may begin; a stage's parcels are packed; all were copied */
    tli_arena_t arena;
} tli_host_channel_t;

/** What carries the pieces of a channel. Nothing of a round allocates, locks or waits. */
typedef struct tli_messages {
    /** All that may fail on this rank alone. Local. */
    tulle_status_t (*make)(tli_host_channel_t *channel);
    /** Meet the peers. Collective, and all ranks got here. NULL: nothing to do. */
    tulle_status_t (*connect)(tli_host_channel_t *channel);
    tulle_status_t (*receive)(tli_host_channel_t *channel, tli_lane_t *lane, int piece);
    tulle_status_t (*send)(tli_host_channel_t *channel, tli_lane_t *lane, int piece);
    /** Take what has come: tli_host_arrived() of each. */
    tulle_status_t (*poll)(tli_host_channel_t *channel);
    /** Whether what was sent is out of our hands. @param[in] is_last nothing more is sent or comes in this round */
    tulle_status_t (*settle)(tli_host_channel_t *channel, int is_last, int *is_settled_out);
    int (*is_under_way)(const tli_host_channel_t *channel, const tli_lane_t *lane, int piece);
    /** Receives that are under way are over, as far as they can be. */
    void (*cancel)(tli_host_channel_t *channel);
    /** NULL-safe in messages. @return whether something is under way still, and memory must stay */
    int (*free)(tli_host_channel_t *channel);
} tli_messages_t;

/** A message of a receiving lane has come. */
void tli_host_arrived(tli_lane_t *lane, int piece);

/** As those of a carrier, all but bind. @param[in] is_staged messages are in pinned memory alone */
tulle_status_t tli_host_bind(const tli_messages_t *kind, tulle_comm_t *comm, tulle_status_t local, int is_staged,
                             int first_tag, tli_parcels_t *parcels, void **channel_out);
tulle_status_t tli_host_begin(void *channel, void *stream);
tulle_status_t tli_host_depart(void *channel, int stage, void *stream);
tulle_status_t tli_host_arrive(void *channel, int stage, int part, void *stream);
tulle_status_t tli_host_end(void *channel, void *stream);
tulle_status_t tli_host_advance(void *channel, int *num_moved);
int tli_host_awaits(const void *channel);
void tli_host_give_up(void *channel);
void tli_host_unbind(void *channel);

/** Such a carrier, of which only these three differ. */
#define TLI_HOST_CARRIER(transport, is_there_function, bind_function)                                                  \
    {                                                                                                                  \
        .id = (transport), .is_host_driven = 1, .is_there = (is_there_function), .bind = (bind_function),              \
        .begin = tli_host_begin, .depart = tli_host_depart, .arrive = tli_host_arrive, .end = tli_host_end,            \
        .advance = tli_host_advance, .awaits = tli_host_awaits, .give_up = tli_host_give_up, .unbind = tli_host_unbind \
    }

#endif
