/* SPDX-License-Identifier: Apache-2.0
 * Between ranks that share memory: the sender packs rows once into its block, or leaves them where the caller has them,
 * and rings the receiver, who reads them there. A block holds what its receivers must know of each sending wire, a bell
 * per receiving wire, an acknowledgement per peer, which wires are the first of each peer, then the rows.
 *
 * Rounds are counted, never reset: a bell that shows round r says that the rows of round r are complete, an
 * acknowledgement of round r that the peer has read everything of it. Each lies in a cache line of its own, written by
 * one rank and read by one. */
#include <stdatomic.h>
#include <string.h>

#include "src/agree.h"
#include "src/lendable.h"
#include "src/transport/transport.h"

#define LINE 64

typedef struct counter {
    _Alignas(LINE) _Atomic int64_t round;
} counter_t;

/* Where the rows of a sending wire lie, for its receiver to look up when the wires are bound. */
typedef struct place {
    int64_t offset; /* [bytes] in the sender's block, or in the segment that it lends */
    int64_t rows, stride_bytes;
    int64_t is_lent;
} place_t;

/* Where a rank's wires to and from a peer begin: both ends have them in the same order. */
typedef struct firsts {
    int64_t send, receive;
} firsts_t;

/* What ranks tell each other: where their block is and how it is laid out. */
typedef struct card {
    tli_block_name_t block;
    int64_t num_sends, num_receives;
} card_t;

/* One rank that I read from or that reads from me. */
typedef struct partner {
    int shared_rank;
    unsigned char *block;
    unsigned char *lent; /* its caller's segment, where I read it */
    int num_reads;       /* releases of my wires from it, in a round */
    int num_unread;      /* of them, to come in this round */
    int num_sends;       /* my wires to it */
    int num_lent;        /* of them, those that it reads in my caller's rows */
    counter_t *mine;     /* its acknowledgement, in my block */
    counter_t *its;      /* my acknowledgement, in its block */
} partner_t;

typedef struct channel {
    tulle_comm_t *comm;
    tli_block_t block;
    tli_segment_t loan;        /* segment of my caller's rows */
    tli_segment_name_t *loans; /* [num_shared] that peers lend; no bytes: none */
    card_t *cards;             /* [num_shared] */
    int64_t round;
    int num_partners;
    partner_t *partners;      /* [num_partners] ascending shared rank */
    int *partner_of_shared;   /* [num_shared] -1: none */
    int *partner_of_receive;  /* [wires] -1: not ours */
    counter_t **bell_of_send; /* [wires] in the receiver's block; NULL: not ours */
    counter_t *bells;         /* [wires] in my block */
    int num_waiting;          /* receiving wires not yet arrived */
    int num_receives;         /* receiving wires of ours */
    int *waiting;             /* [num_receives] */
    tli_arena_t arena;
} channel_t;

_Static_assert(sizeof(card_t) <= TLI_MOST_TOLD * sizeof(int64_t), "a card can be told");

/* --- layout of a block ------------------------------------------------------------------------------------------- */

static size_t whole_lines(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

static size_t places_bytes(int64_t num_sends)
{
    return whole_lines((size_t)num_sends * sizeof(place_t));
}

static size_t front_bytes(const card_t *card, int num_ranks)
{
    return places_bytes(card->num_sends) + ((size_t)card->num_receives + (size_t)num_ranks) * sizeof(counter_t) +
           whole_lines((size_t)num_ranks * sizeof(firsts_t));
}

static place_t *places_of(unsigned char *block)
{
    return (place_t *)block;
}

static counter_t *bells_of(unsigned char *block, const card_t *card)
{
    return (counter_t *)(block + places_bytes(card->num_sends));
}

static counter_t *acknowledgements_of(unsigned char *block, const card_t *card)
{
    return bells_of(block, card) + card->num_receives;
}

static firsts_t *firsts_of(unsigned char *block, const card_t *card, int num_ranks)
{
    return (firsts_t *)(acknowledgements_of(block, card) + num_ranks);
}

/* --- binding ----------------------------------------------------------------------------------------------------- */

static int shm_reaches(const tulle_comm_t *comm, int peer)
{
    return comm->num_shared > 1 && tli_comm_shared_rank(comm, peer) >= 0;
}

static int my_shared_rank(const channel_t *channel)
{
    return tli_comm_shared_rank(channel->comm, channel->comm->rank);
}

static void shm_close(void *opaque)
{
    channel_t *channel = opaque;
    if (channel != NULL) {
        for (int p = 0; p < channel->num_partners; p++)
            tli_segment_unmap(&channel->loans[channel->partners[p].shared_rank], channel->partners[p].lent);
        tli_pool_give(&channel->block);
        tli_arena_release(&channel->arena);
        tli_free(channel);
    }
}

static tulle_status_t make_channel(tulle_comm_t *comm, const tli_loan_t *loan, channel_t **channel_out)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = NULL;
    TLI_TRY(tli_alloc(sizeof *channel, &channel));
    channel->comm = comm;
    TLI_TRY(tli_arena_alloc(&channel->arena, comm->num_shared, sizeof *channel->loans, &channel->loans));
    TLI_TRY(tli_arena_alloc(&channel->arena, comm->num_shared, sizeof *channel->cards, &channel->cards));
    if (loan->rows != NULL)
        tli_lendable_find(loan->rows, (size_t)loan->bytes, &channel->loan);
    *channel_out = channel;
    channel = NULL;
done:
    shm_close(channel);
    return st;
}

static tulle_status_t shm_open(tulle_comm_t *comm, tulle_status_t local, const tli_loan_t *loan, void **channel_out)
{
    tulle_status_t st = local;
    channel_t *channel = NULL;
    tli_segment_name_t none = {0};
    if (st == TULLE_OK)
        st = make_channel(comm, loan, &channel);
    const tli_segment_name_t *mine = channel != NULL ? &channel->loan.name : &none;
    if (comm->num_shared > 1) {
        tulle_status_t told = tli_comm_tell(comm, (const int64_t *)mine, sizeof *mine / sizeof(int64_t));
        st = st == TULLE_OK ? told : st;
    }
    if (st == TULLE_OK && comm->num_shared > 1)
        memcpy(channel->loans, comm->heard, (size_t)comm->num_shared * sizeof *mine);
    if (st == TULLE_OK) {
        *channel_out = channel;
        channel = NULL;
    }
    shm_close(channel);
    return st;
}

static int shm_lends(const void *opaque, int peer)
{
    const channel_t *channel = opaque;
    int shared_rank = tli_comm_shared_rank(channel->comm, peer);
    return shared_rank >= 0 && channel->loans[shared_rank].bytes > 0;
}

static int is_ours(const tli_wires_t *wires, const unsigned char *transports, int wire)
{
    return transports[wire] == wires->transport;
}

/* Counted first, so that partners ascend. */
static void list_partners(channel_t *channel, const tli_wires_t *wires)
{
    const tulle_comm_t *comm = channel->comm;
    int *partner_of = channel->partner_of_shared;
    for (int w = 0; w < wires->num_sends; w++)
        if (is_ours(wires, wires->send_transport, w))
            partner_of[tli_comm_shared_rank(comm, wires->sends[w].peer)]++;
    for (int w = 0; w < wires->num_receives; w++)
        if (is_ours(wires, wires->receive_transport, w))
            partner_of[tli_comm_shared_rank(comm, wires->receives[w].peer)]++;
    for (int r = 0; r < comm->num_shared; r++) {
        if (partner_of[r] > 0)
            channel->partners[channel->num_partners].shared_rank = r;
        partner_of[r] = partner_of[r] > 0 ? channel->num_partners++ : -1;
    }
}

static void count_receives(channel_t *channel, const tli_wires_t *wires)
{
    for (int w = 0; w < wires->num_receives; w++) {
        channel->partner_of_receive[w] = -1;
        if (is_ours(wires, wires->receive_transport, w)) {
            int p = channel->partner_of_shared[tli_comm_shared_rank(channel->comm, wires->receives[w].peer)];
            channel->partner_of_receive[w] = p;
            channel->partners[p].num_reads += wires->receives[w].num_releases;
            channel->num_receives++;
        }
    }
}

static tulle_status_t shm_reserve(void *opaque, const tli_wires_t *wires, size_t shared_bytes,
                                  unsigned char **shared_out)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    int num_shared = channel->comm->num_shared;
    card_t card = {.num_sends = wires->num_sends, .num_receives = wires->num_receives};
    size_t front = front_bytes(&card, num_shared);
    if (num_shared == 1)
        goto done;
    TLI_TRY(tli_arena_alloc(&channel->arena, num_shared, sizeof *channel->partners, &channel->partners));
    TLI_TRY(tli_arena_alloc(&channel->arena, num_shared, sizeof(int), &channel->partner_of_shared));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_receives, sizeof(int), &channel->partner_of_receive));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_receives, sizeof(int), &channel->waiting));
    TLI_TRY(tli_arena_alloc(&channel->arena, wires->num_sends, sizeof(counter_t *), &channel->bell_of_send));
    TLI_TRY(tli_pool_take(&channel->comm->pool, front + shared_bytes, &channel->block));
    channel->bells = bells_of(channel->block.address, &card);
    *shared_out = channel->block.address + front;
done:
    return st;
}

static void fill_firsts(const channel_t *channel, const tli_wires_t *wires, firsts_t *firsts)
{
    for (int w = wires->num_sends - 1; w >= 0; w--)
        if (is_ours(wires, wires->send_transport, w))
            firsts[tli_comm_shared_rank(channel->comm, wires->sends[w].peer)].send = w;
    for (int w = wires->num_receives - 1; w >= 0; w--)
        if (is_ours(wires, wires->receive_transport, w))
            firsts[tli_comm_shared_rank(channel->comm, wires->receives[w].peer)].receive = w;
}

/* Each of my wires' rows, for its receiver. All ranks have let go of what the block was before. */
static void fill_front(channel_t *channel, const tli_wires_t *wires, const card_t *card)
{
    unsigned char *block = channel->block.address;
    memset(block, 0, front_bytes(card, channel->comm->num_shared));
    for (int w = 0; w < wires->num_sends; w++) {
        const tli_wire_t *wire = &wires->sends[w];
        if (!is_ours(wires, wires->send_transport, w))
            continue;
        partner_t *partner =
            &channel->partners[channel->partner_of_shared[tli_comm_shared_rank(channel->comm, wire->peer)]];
        int is_lent = wire->stride_bytes > 0;
        places_of(block)[w] =
            (place_t){wire->address - (is_lent ? channel->loan.base : block), wire->rows, wire->stride_bytes, is_lent};
        partner->num_sends++;
        partner->num_lent += is_lent;
    }
    fill_firsts(channel, wires, firsts_of(block, card, channel->comm->num_shared));
}

static tulle_status_t view_partners(channel_t *channel)
{
    tulle_status_t st = TULLE_OK;
    int me = my_shared_rank(channel);
    for (int p = 0; p < channel->num_partners; p++) {
        partner_t *partner = &channel->partners[p];
        const card_t *card = &channel->cards[partner->shared_rank];
        TLI_TRY(tli_pool_view(&channel->comm->pool, &card->block, &partner->block));
        partner->its = &acknowledgements_of(partner->block, card)[me];
        partner->mine = &acknowledgements_of(channel->block.address, &channel->cards[me])[partner->shared_rank];
    }
done:
    return st;
}

static const firsts_t *firsts_between(const channel_t *channel, unsigned char *block, int owner, int peer)
{
    return &firsts_of(block, &channel->cards[owner], channel->comm->num_shared)[peer];
}

static void find_bells(channel_t *channel, const tli_wires_t *wires)
{
    int me = my_shared_rank(channel);
    for (int w = 0; w < wires->num_sends; w++) {
        if (is_ours(wires, wires->send_transport, w)) {
            int shared_rank = tli_comm_shared_rank(channel->comm, wires->sends[w].peer);
            unsigned char *block = channel->partners[channel->partner_of_shared[shared_rank]].block;
            const firsts_t *mine = firsts_between(channel, channel->block.address, me, shared_rank);
            const firsts_t *its = firsts_between(channel, block, shared_rank, me);
            channel->bell_of_send[w] = &bells_of(block, &channel->cards[shared_rank])[its->receive + w - mine->send];
        }
    }
}

static tulle_status_t find_rows(channel_t *channel, const tli_wires_t *wires, tli_delivery_t *deliveries)
{
    tulle_status_t st = TULLE_OK;
    int me = my_shared_rank(channel);
    for (int w = 0; w < wires->num_receives; w++) {
        if (channel->partner_of_receive[w] < 0)
            continue;
        partner_t *partner = &channel->partners[channel->partner_of_receive[w]];
        const firsts_t *mine = firsts_between(channel, channel->block.address, me, partner->shared_rank);
        const firsts_t *its = firsts_between(channel, partner->block, partner->shared_rank, me);
        const place_t *place = &places_of(partner->block)[its->send + w - mine->receive];
        if (place->is_lent && partner->lent == NULL)
            TLI_TRY(tli_segment_map(&channel->loans[partner->shared_rank], &partner->lent));
        unsigned char *base = place->is_lent ? partner->lent : partner->block;
        deliveries[w] = (tli_delivery_t){base + place->offset, place->rows, place->stride_bytes};
    }
done:
    return st;
}

static tulle_status_t shm_bind(void *opaque, const tli_wires_t *wires, tli_delivery_t *deliveries)
{
    tulle_status_t st = TULLE_OK;
    channel_t *channel = opaque;
    card_t card = {channel->block.name, wires->num_sends, wires->num_receives};
    if (channel->comm->num_shared == 1)
        goto done;
    list_partners(channel, wires);
    count_receives(channel, wires);
    fill_front(channel, wires, &card);
    TLI_TRY(tli_comm_tell(channel->comm, (const int64_t *)&card, sizeof card / sizeof(int64_t)));
    memcpy(channel->cards, channel->comm->heard, (size_t)channel->comm->num_shared * sizeof card);
    TLI_TRY(view_partners(channel));
    find_bells(channel, wires);
    TLI_TRY(find_rows(channel, wires, deliveries));
done:
    return st;
}

/* --- rounds ------------------------------------------------------------------------------------------------------ */

static int has_read(const channel_t *channel, const partner_t *partner)
{
    return atomic_load_explicit(&partner->mine->round, memory_order_acquire) >= channel->round;
}

static tulle_status_t shm_ready(void *opaque)
{
    const channel_t *channel = opaque;
    int is_ready = 1;
    for (int p = 0; p < channel->num_partners && is_ready; p++)
        is_ready = channel->partners[p].num_sends == 0 || has_read(channel, &channel->partners[p]);
    return is_ready ? TULLE_OK : TULLE_IN_PROGRESS;
}

static tulle_status_t shm_begin(void *opaque)
{
    channel_t *channel = opaque;
    channel->round++;
    for (int p = 0; p < channel->num_partners; p++)
        channel->partners[p].num_unread = channel->partners[p].num_reads;
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
        if (atomic_load_explicit(&channel->bells[w].round, memory_order_acquire) == channel->round)
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
    if (--partner->num_unread == 0)
        atomic_store_explicit(&partner->its->round, channel->round, memory_order_release);
}

/* Rows that were packed are the caller's at once, rows that are lent when they were read. */
static tulle_status_t shm_drain(void *opaque)
{
    const channel_t *channel = opaque;
    int is_read = 1;
    for (int p = 0; p < channel->num_partners && is_read; p++)
        is_read = channel->partners[p].num_lent == 0 || has_read(channel, &channel->partners[p]);
    return is_read ? TULLE_OK : TULLE_IN_PROGRESS;
}

static int shm_laggard(const void *opaque)
{
    const channel_t *channel = opaque;
    for (int p = 0; p < channel->num_partners; p++)
        if (channel->partners[p].num_sends > 0 && !has_read(channel, &channel->partners[p]))
            return channel->comm->shared_ranks[channel->partners[p].shared_rank];
    return -1;
}

/* Only peers read, and in views of their own. */
static tulle_status_t shm_halt(void *opaque)
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
    .lends = shm_lends,
    .reserve = shm_reserve,
    .bind = shm_bind,
    .ready = shm_ready,
    .begin = shm_begin,
    .send = shm_send,
    .poll = shm_poll,
    .release = shm_release,
    .drain = shm_drain,
    .laggard = shm_laggard,
    .halt = shm_halt,
    .close = shm_close,
};
