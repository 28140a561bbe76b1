/* SPDX-License-Identifier: Apache-2.0
 * Tagged messages of UCX that are sent in every round: each end has its request, in memory of ours, its parameters and
 * its registered memory from the beginning, so that a message of any size is one call. What completes says so by a
 * callback. */
#ifndef TLI_UCX_MESSAGE_H
#define TLI_UCX_MESSAGE_H

#include "src/transport/ucx_worker.h"

/** One end of a message. */
typedef struct tli_ucx_message {
    tli_ucx_t *ucx;
    tli_ucx_peer_t *peer;
    unsigned char *address;
    size_t bytes;
    ucp_tag_t tag;
    tli_ucx_memory_t memory;
    void *request; /* UCX writes before it */
    int is_under_way;
    ucp_request_param_t param;
    /** It is over; it may also have been cancelled. Called while it is started, or from the worker's progress. */
    void (*end)(struct tli_ucx_message *message, ucs_status_t status);
    void *owner; /* of whom it is, and which of theirs */
    int index;
} tli_ucx_message_t;

/** That what was sent has left: UCX may call a message sent that it has only copied. */
typedef struct tli_ucx_flush {
    tli_ucx_t *ucx;
    void *request;
    int is_under_way;
    int has_begun; /* in this round */
} tli_ucx_flush_t;

/** Memory for requests. @param[out] stride_out [bytes] from one to the next; the first is that far into it */
tulle_status_t tli_ucx_alloc_requests(const tli_ucx_t *ucx, int64_t num, tli_arena_t *arena, unsigned char **memory_out,
                                      size_t *stride_out);

/** Where a message is, and what it is: ucx, peer, request, end, owner and index are set. Local.
 * @param[in] sender rank that sends it @param[in] tag tells apart messages between the same two ranks */
tulle_status_t tli_ucx_message_fill(unsigned char *address, int64_t bytes, ucs_memory_type_t memory_type, int sender,
                                    int tag, tli_ucx_message_t *message);
/** Its memory is no longer registered, unless it is under way: then not before the worker is gone, and the message must
 * stay, too. */
void tli_ucx_message_release(tli_ucx_message_t *message);

void tli_ucx_message_send(tli_ucx_message_t *message);
void tli_ucx_message_receive(tli_ucx_message_t *message);
/** A receive, if it is under way and nothing of it has come. Others go on. */
void tli_ucx_message_cancel(tli_ucx_message_t *message);

/** Begin, unless that was done in this round. @return whether all has left, and a next round can begin */
int tli_ucx_flush_is_over(tli_ucx_flush_t *flush);

#endif
