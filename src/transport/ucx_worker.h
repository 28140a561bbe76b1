/* SPDX-License-Identifier: Apache-2.0
 * What all exchanges of a communicator that use UCX share: one worker, and an endpoint for every rank they exchange
 * messages with. Made when first needed, taken down with the communicator. */
#ifndef TLI_UCX_WORKER_H
#define TLI_UCX_WORKER_H

#include <ucp/api/ucp.h>

#include "src/comm.h"

/** [bytes] Room for the address of a worker. */
#define TLI_UCX_ADDRESS_BYTES 2048

/** One rank that messages go to or come from. */
typedef struct tli_ucx_peer {
    struct tli_ucx_peer *next;
    int rank;
    int has_met;          /* both ends have each other's address */
    ucp_ep_h endpoint;    /* NULL: not connected */
    ucs_status_t failure; /* UCS_OK, or why the connection is lost for good */
    int is_ready;         /* to UCX: it can be greeted, on both sides */
    int its_word;         /* over MPI, whether that is so there */
    void *greeting[2];    /* its first message of UCX and ours */
    unsigned char greeted[2];
    MPI_Request farewell[2]; /* its last word and ours */
    unsigned char address[TLI_UCX_ADDRESS_BYTES];
} tli_ucx_peer_t;

/** Memory that UCX knows. */
typedef struct tli_ucx_memory {
    struct tli_ucx_memory *next; /* of those that are kept */
    ucp_mem_h handle;            /* NULL: not registered */
} tli_ucx_memory_t;

typedef struct tli_ucx {
    ucp_context_h context;
    ucp_worker_h worker;
    ucp_address_t *address;
    size_t address_bytes;
    size_t request_bytes; /* that UCX wants before the address of a request that we allocate */
    tli_ucx_peer_t *peers;
    tli_ucx_memory_t *kept; /* of messages under way that nobody waits for: registered as long as the worker lives */
    tli_arena_t arena;
} tli_ucx_t;

/** Record a failure of UCX with UCX's own words. */
tulle_status_t tli_fail_ucx(ucs_status_t status, const char *where, const char *what);

/** Record that messages to or from a rank cannot pass any more: names it and its level. */
tulle_status_t tli_fail_ucx_peer(const tulle_comm_t *comm, int rank, ucs_status_t status, const char *where);

/** Local. @param[out] context_out the caller's, for ucp_cleanup() */
tulle_status_t tli_ucx_make_context(int num_ranks, ucp_context_h *context_out);

/** What memory of the GPU is to UCX; UCS_MEMORY_TYPE_UNKNOWN: it was not built for that. */
ucs_memory_type_t tli_ucx_device_memory(ucp_context_h context);

/** The worker of a communicator, made now if there is none. Local. @param[out] ucx_out borrowed */
tulle_status_t tli_ucx_of(tulle_comm_t *comm, tli_ucx_t **ucx_out);

/** A peer, listed now if it is not. Local. @param[out] peer_out borrowed, lives as long as the worker */
tulle_status_t tli_ucx_peer_of(tli_ucx_t *ucx, int rank, tli_ucx_peer_t **peer_out);

/** Tag of a message. @param[in] tag tells apart those between the same two ranks */
static inline ucp_tag_t tli_ucx_tag(int sender, int tag)
{
    return (ucp_tag_t)sender << 32 | (ucp_tag_t)tag; /* receives of all senders match in one list */
}

/**
 * Connect to peers that are not connected yet: whoever returns needs none of them to call UCX before both send.
 * @param[in] tags     [num] message tag that the pair has for itself now
 * @param[in] requests [2 * num] room
 * @collective both ranks of every pair
 */
tulle_status_t tli_ucx_connect(tulle_comm_t *comm, int num, tli_ucx_peer_t *const *peers, const int *tags,
                               MPI_Request *requests);

#endif
