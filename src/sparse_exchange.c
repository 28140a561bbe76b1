/* SPDX-License-Identifier: Apache-2.0
 * Nonblocking consensus (NBX): synchronous sends, probing receives, and a nonblocking reduction that starts on a rank
 * once its sends were received. The reduction also carries each rank's status, so that failure needs no extra round. */
#include "src/sparse_exchange.h"

#include <limits.h>
#include <sched.h>
#include <string.h>

#include "src/agree.h"
#include "src/sort.h"

typedef struct received {
    struct received *next;
    int source;
    int64_t num_words;
    int64_t *words;
} received_t;

typedef struct consensus {
    tulle_comm_t *comm;
    int tag;
    tulle_status_t status;   /* of receiving: a failure here must not stop the protocol */
    int num_sends, num_sent; /* the first num_sent were received */
    MPI_Request *sends;
    received_t *received; /* newest first */
    int num_received;
    tli_arena_t *arena; /* of the result: messages are received there, and one alone stays where it is */
    tli_arena_t scratch;
} consensus_t;

static tulle_status_t keep_message(consensus_t *c, int source, int64_t num_words, int64_t **words_out)
{
    tulle_status_t st = TULLE_OK;
    received_t *message = NULL;
    TLI_TRY(tli_arena_alloc(&c->scratch, 1, sizeof *message, &message));
    TLI_TRY(tli_arena_alloc_raw(c->arena, num_words, sizeof(int64_t), words_out));
    message->source = source;
    message->num_words = num_words;
    message->words = *words_out;
    message->next = c->received;
    c->received = message;
    c->num_received++;
done:
    return st;
}

/* Without memory the message is still matched, with room for nothing, so that its sender is released. */
static void receive_one(consensus_t *c, const MPI_Status *probed)
{
    int64_t *words = NULL;
    int num_words = 0;
    MPI_Get_count(probed, MPI_INT64_T, &num_words);
    if (c->status == TULLE_OK)
        c->status = keep_message(c, probed->MPI_SOURCE, num_words, &words);
    int code = MPI_Recv(words, words != NULL ? num_words : 0, MPI_INT64_T, probed->MPI_SOURCE, c->tag, c->comm->mpi,
                        MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS && c->status == TULLE_OK)
        c->status = tli_fail_mpi(code, TLI_WHERE, "MPI_Recv");
}

static tulle_status_t post_sends(consensus_t *c, const tli_packets_t *out)
{
    tulle_status_t st = TULLE_OK;
    int64_t *mine = NULL;
    TLI_TRY(tli_arena_alloc(&c->scratch, out->num_peers, sizeof *c->sends, &c->sends));
    for (int p = 0; p < out->num_peers; p++)
        TLI_REQUIRE(out->ptr[p + 1] - out->ptr[p] <= INT_MAX, TULLE_ERR_OVERFLOW,
                    "a message of %lld words to rank %d exceeds MPI's limit of %d",
                    (long long)(out->ptr[p + 1] - out->ptr[p]), out->peer[p], INT_MAX);
    for (int p = 0; p < out->num_peers; p++) {
        int64_t num_words = out->ptr[p + 1] - out->ptr[p];
        if (num_words > 0 && out->peer[p] == c->comm->rank) {
            TLI_TRY(keep_message(c, c->comm->rank, num_words, &mine));
            memcpy(mine, out->words + out->ptr[p], (size_t)num_words * sizeof(int64_t));
        }
    }
    for (int p = 0; p < out->num_peers; p++) {
        int64_t num_words = out->ptr[p + 1] - out->ptr[p];
        if (num_words > 0 && out->peer[p] != c->comm->rank) {
            TLI_MPI(MPI_Issend(out->words + out->ptr[p], (int)num_words, MPI_INT64_T, out->peer[p], c->tag,
                               c->comm->mpi, &c->sends[c->num_sends]));
            c->num_sends++;
        }
    }
done:
    return st;
}

/* One after the other: all must have been received in the end, and only the first that was not is asked for. */
static tulle_status_t test_sends(consensus_t *c, int *all_sent_out)
{
    tulle_status_t st = TULLE_OK;
    int is_sent = 1;
    while (is_sent && c->num_sent < c->num_sends) {
        TLI_MPI(MPI_Test(&c->sends[c->num_sent], &is_sent, MPI_STATUS_IGNORE));
        c->num_sent += is_sent;
    }
    *all_sent_out = is_sent;
done:
    return st;
}

/* Until everybody's sends were received. Returns the lowest rank that reported a failure, INT_MAX if none. */
static tulle_status_t reach_consensus(consensus_t *c, int my_vote, int *failing_rank_out)
{
    tulle_status_t st = TULLE_OK;
    MPI_Request reduction = MPI_REQUEST_NULL;
    int is_reducing = 0, is_done = 0;
    *failing_rank_out = INT_MAX;
    while (!is_done) {
        MPI_Status probed;
        int has_message = 0, all_sent = 0;
        TLI_MPI(MPI_Iprobe(MPI_ANY_SOURCE, c->tag, c->comm->mpi, &has_message, &probed));
        if (has_message) {
            receive_one(c, &probed);
        } else if (is_reducing) {
            TLI_MPI(MPI_Test(&reduction, &is_done, MPI_STATUS_IGNORE));
        } else {
            TLI_TRY(test_sends(c, &all_sent));
            if (all_sent)
                TLI_MPI(MPI_Iallreduce(&my_vote, failing_rank_out, 1, MPI_INT, MPI_MIN, c->comm->mpi, &reduction));
            is_reducing = all_sent;
        }
        if (!has_message && !is_done)
            sched_yield();
    }
done:
    return st;
}

/* By source; a source sends at most one message, so insertion by rank through the sort is unique. */
static tulle_status_t collect(const consensus_t *c, tli_packets_t *in_out)
{
    tulle_status_t st = TULLE_OK;
    tli_packets_t in = {c->num_received, NULL, NULL, NULL};
    tli_arena_t scratch = TLI_ARENA_INIT;
    received_t **messages = NULL;
    int64_t *order = NULL, *sort_scratch = NULL;
    int64_t total = 0;
    int i = 0;
    TLI_TRY(tli_arena_alloc(&scratch, in.num_peers, sizeof *messages, &messages));
    TLI_TRY(tli_arena_alloc(&scratch, in.num_peers, 2 * sizeof *order, &order));
    TLI_TRY(tli_arena_alloc(&scratch, in.num_peers, 2 * sizeof *order, &sort_scratch));
    for (received_t *message = c->received; message != NULL; message = message->next, i++) {
        messages[i] = message;
        order[2 * i] = message->source;
        order[2 * i + 1] = i;
        total += message->num_words;
    }
    tli_sort(order, sort_scratch, in.num_peers, 2, 0);
    TLI_TRY(tli_arena_alloc(c->arena, in.num_peers, sizeof *in.peer, &in.peer));
    TLI_TRY(tli_arena_alloc(c->arena, in.num_peers + 1, sizeof *in.ptr, &in.ptr));
    if (in.num_peers == 1)
        in.words = c->received->words;
    else
        TLI_TRY(tli_arena_alloc_raw(c->arena, total, sizeof *in.words, &in.words));
    for (i = 0; i < in.num_peers; i++) {
        const received_t *message = messages[order[2 * i + 1]];
        in.peer[i] = message->source;
        in.ptr[i + 1] = in.ptr[i] + message->num_words;
        if (in.num_peers > 1)
            memcpy(in.words + in.ptr[i], message->words, (size_t)message->num_words * sizeof *in.words);
    }
    *in_out = in;
done:
    tli_arena_release(&scratch);
    return st;
}

/* Everybody knows that somebody failed; that rank's words go to all. */
static tulle_status_t learn_failure(tulle_comm_t *comm, tulle_status_t local)
{
    tulle_status_t agreed = tli_agree(comm->mpi, local);
    return local != TULLE_OK ? local : agreed;
}

tulle_status_t tli_sparse_exchange(tulle_comm_t *comm, tulle_status_t local, const tli_packets_t *out,
                                   tli_arena_t *arena, tli_packets_t *in_out)
{
    consensus_t c = {.comm = comm, .tag = comm->round++ % 2, .arena = arena, .scratch = TLI_ARENA_INIT};
    int failing_rank = INT_MAX;
    if (local == TULLE_OK)
        local = post_sends(&c, out);
    tulle_status_t st = reach_consensus(&c, local == TULLE_OK ? INT_MAX : comm->rank, &failing_rank);
    if (st == TULLE_OK && failing_rank != INT_MAX)
        st = learn_failure(comm, local);
    if (st == TULLE_OK)
        st = c.status;
    if (st == TULLE_OK)
        st = collect(&c, in_out);
    tli_arena_release(&c.scratch);
    return st;
}

tulle_status_t tli_packets_from_records(tli_arena_t *arena, int64_t *records, int64_t n, int words,
                                        tli_packets_t *packets_out)
{
    tulle_status_t st = TULLE_OK;
    tli_packets_t packets = {0, NULL, NULL, NULL};
    int64_t *scratch = NULL;
    int payload = words - 1;
    TLI_TRY(tli_arena_alloc_raw(arena, n, (size_t)words * sizeof *records, &scratch));
    tli_sort(records, scratch, n, words, 0);
    for (int64_t i = 0; i < n; i++)
        packets.num_peers += i == 0 || records[i * words] != records[(i - 1) * words];
    TLI_TRY(tli_arena_alloc(arena, packets.num_peers, sizeof *packets.peer, &packets.peer));
    TLI_TRY(tli_arena_alloc(arena, packets.num_peers + 1, sizeof *packets.ptr, &packets.ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, n, (size_t)payload * sizeof *records, &packets.words));
    int peer = -1;
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || records[i * words] != records[(i - 1) * words])
            packets.peer[++peer] = (int)records[i * words];
        memcpy(packets.words + i * payload, records + i * words + 1, (size_t)payload * sizeof *records);
        packets.ptr[peer + 1] = (i + 1) * payload;
    }
    *packets_out = packets;
done:
    return st;
}
