/* SPDX-License-Identifier: Apache-2.0
 * The worker of a communicator and its connections. Addresses travel over MPI, between neighbours only. */
#include "src/transport/ucx_worker.h"

#include <sched.h>

#include "src/agree.h"

/* Tag of the last word between two ranks: exchanges begin at higher ones, and sparse exchanges are over. */
#define FAREWELL_TAG 0

tulle_status_t tli_fail_ucx(ucs_status_t status, const char *where, const char *what)
{
    return tli_fail(TULLE_ERR_TRANSPORT, status, where, "%s: %s (UCX)", what, ucs_status_string(status));
}

tulle_status_t tli_fail_ucx_peer(const tulle_comm_t *comm, int rank, ucs_status_t status, const char *where)
{
    return tli_fail(TULLE_ERR_TRANSPORT, status, where, "rank %d lost rank %d (level %s, transport ucx): %s",
                    comm->rank, rank, tli_comm_level_name(comm, rank), ucs_status_string(status));
}

#define TLI_UCX(call, what)                                                                                            \
    do {                                                                                                               \
        ucs_status_t ucx_status_ = (call);                                                                             \
        if (ucx_status_ != UCS_OK) {                                                                                   \
            st = tli_fail_ucx(ucx_status_, TLI_WHERE, (what));                                                         \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

/* --- taking down ------------------------------------------------------------------------------------------------- */

typedef struct limit {
    double since;  /* [s] */
    int64_t in_ms; /* 0: none */
} limit_t;

static int is_over(const limit_t *limit)
{
    return limit->in_ms > 0 && (MPI_Wtime() - limit->since) * 1e3 > (double)limit->in_ms;
}

static void progress(const tli_ucx_t *ucx)
{
    if (ucp_worker_progress(ucx->worker) == 0)
        sched_yield();
}

static void await(const tli_ucx_t *ucx, void *request, const limit_t *limit)
{
    if (UCS_PTR_IS_PTR(request)) {
        while (ucp_request_check_status(request) == UCS_INPROGRESS && !is_over(limit))
            progress(ucx);
        ucp_request_free(request);
    }
}

/* What was handed to UCX may still be on its way out. */
static void flush(const tli_ucx_t *ucx, const limit_t *limit)
{
    const ucp_request_param_t param = {0};
    await(ucx, ucp_worker_flush_nbx(ucx->worker, &param), limit);
}

static void begin_farewell(const tulle_comm_t *comm, tli_ucx_peer_t *peer)
{
    peer->farewell[0] = peer->farewell[1] = MPI_REQUEST_NULL;
    if (peer->has_met) {
        MPI_Irecv(NULL, 0, MPI_BYTE, peer->rank, FAREWELL_TAG, comm->mpi, &peer->farewell[0]);
        MPI_Isend(NULL, 0, MPI_BYTE, peer->rank, FAREWELL_TAG, comm->mpi, &peer->farewell[1]);
    }
}

static void end_farewell(const tli_ucx_t *ucx, tli_ucx_peer_t *peer, const limit_t *limit)
{
    int is_done = 0;
    while (MPI_Testall(2, peer->farewell, &is_done, MPI_STATUSES_IGNORE) == MPI_SUCCESS && !is_done &&
           peer->failure == UCS_OK && !is_over(limit))
        progress(ucx);
    if (peer->farewell[0] != MPI_REQUEST_NULL)
        MPI_Cancel(&peer->farewell[0]);
    for (int i = 0; i < 2; i++)
        if (peer->farewell[i] != MPI_REQUEST_NULL)
            MPI_Request_free(&peer->farewell[i]);
}

static void close_endpoints(const tli_ucx_t *ucx)
{
    const ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS, .flags = UCP_EP_CLOSE_FLAG_FORCE};
    const limit_t limit = {MPI_Wtime(), TLI_LINGER_MS};
    for (const tli_ucx_peer_t *peer = ucx->peers; peer != NULL; peer = peer->next)
        if (peer->endpoint != NULL)
            await(ucx, ucp_ep_close_nbx(peer->endpoint, &param), &limit);
}

static void release(tli_ucx_t *ucx)
{
    if (ucx->address != NULL)
        ucp_worker_release_address(ucx->worker, ucx->address);
    if (ucx->worker != NULL)
        ucp_worker_destroy(ucx->worker);
    for (tli_ucx_memory_t *memory = ucx->kept; memory != NULL; memory = memory->next)
        ucp_mem_unmap(ucx->context, memory->handle);
    if (ucx->context != NULL)
        ucp_cleanup(ucx->context);
    tli_arena_release(&ucx->arena);
    tli_free(ucx);
}

/* Neither of two ranks tears down what the other may still read from. A rank that is gone has no last word: it is
 * waited for as long as the communicator waits for anybody, or no longer than briefly where that was in vain before. */
static void close_worker(tulle_comm_t *comm)
{
    tli_ucx_t *ucx = comm->ucx;
    const limit_t limit = {MPI_Wtime(), comm->num_faults > 0 ? TLI_LINGER_MS : comm->timeout_ms};
    flush(ucx, &limit);
    for (tli_ucx_peer_t *peer = ucx->peers; peer != NULL; peer = peer->next)
        begin_farewell(comm, peer);
    for (tli_ucx_peer_t *peer = ucx->peers; peer != NULL; peer = peer->next)
        end_farewell(ucx, peer, &limit);
    close_endpoints(ucx);
    release(ucx);
    comm->ucx = NULL;
}

static void progress_worker(const tulle_comm_t *comm)
{
    ucp_worker_progress(comm->ucx->worker);
}

/* --- making ------------------------------------------------------------------------------------------------------ */

tulle_status_t tli_ucx_make_context(int num_ranks, ucp_context_h *context_out)
{
    tulle_status_t st = TULLE_OK;
    const ucp_params_t params = {.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_ESTIMATED_NUM_EPS,
                                 .features = UCP_FEATURE_TAG,
                                 .estimated_num_eps = (size_t)num_ranks};
    ucp_config_t *config = NULL;
    TLI_UCX(ucp_config_read(NULL, NULL, &config), "reading the configuration");
    TLI_UCX(ucp_init(&params, config, context_out), "making a context");
done:
    if (config != NULL)
        ucp_config_release(config);
    return st;
}

static tulle_status_t make_worker(int num_ranks, tli_ucx_t *ucx)
{
    tulle_status_t st = TULLE_OK;
    const ucp_worker_params_t worker_params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                               .thread_mode = UCS_THREAD_MODE_SERIALIZED};
    ucp_context_attr_t attributes = {.field_mask = UCP_ATTR_FIELD_REQUEST_SIZE};
    TLI_TRY(tli_ucx_make_context(num_ranks, &ucx->context));
    TLI_UCX(ucp_context_query(ucx->context, &attributes), "asking for the size of requests");
    ucx->request_bytes = attributes.request_size;
    TLI_UCX(ucp_worker_create(ucx->context, &worker_params, &ucx->worker), "making a worker");
    TLI_UCX(ucp_worker_get_address(ucx->worker, &ucx->address, &ucx->address_bytes), "asking for an address");
    TLI_REQUIRE(
        ucx->address_bytes <= TLI_UCX_ADDRESS_BYTES, TULLE_ERR_TRANSPORT,
        "the address of a UCX worker has %zu bytes, more than %d: fewer devices (UCX_NET_DEVICES) make it shorter",
        ucx->address_bytes, TLI_UCX_ADDRESS_BYTES);
done:
    return st;
}

tulle_status_t tli_ucx_of(tulle_comm_t *comm, tli_ucx_t **ucx_out)
{
    tulle_status_t st = TULLE_OK;
    tli_ucx_t *ucx = NULL;
    if (comm->ucx == NULL) {
        TLI_TRY(tli_alloc(sizeof *ucx, &ucx));
        TLI_TRY(make_worker(comm->size, ucx));
        comm->ucx = ucx;
        comm->close_ucx = close_worker;
        comm->progress_ucx = progress_worker;
        ucx = NULL;
    }
    *ucx_out = comm->ucx;
done:
    if (ucx != NULL)
        release(ucx);
    return st;
}

/* A rank has few peers: no search is worth more than a list. */
tulle_status_t tli_ucx_peer_of(tli_ucx_t *ucx, int rank, tli_ucx_peer_t **peer_out)
{
    tulle_status_t st = TULLE_OK;
    tli_ucx_peer_t *peer = ucx->peers;
    while (peer != NULL && peer->rank != rank)
        peer = peer->next;
    if (peer == NULL) {
        TLI_TRY(tli_arena_alloc(&ucx->arena, 1, sizeof *peer, &peer));
        peer->rank = rank;
        peer->next = ucx->peers;
        ucx->peers = peer;
    }
    *peer_out = peer;
done:
    return st;
}

/* --- connecting -------------------------------------------------------------------------------------------------- */

static void lose_peer(void *opaque, ucp_ep_h endpoint, ucs_status_t status)
{
    (void)endpoint;
    ((tli_ucx_peer_t *)opaque)->failure = status;
}

static tulle_status_t connect_peer(const tulle_comm_t *comm, tli_ucx_peer_t *peer)
{
    tulle_status_t st = TULLE_OK;
    const ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS |
                                                  UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER,
                                    .address = (const ucp_address_t *)peer->address,
                                    .err_mode = UCP_ERR_HANDLING_MODE_PEER,
                                    .err_handler = {lose_peer, peer}};
    ucs_status_t status = peer->failure;
    if (status == UCS_OK && peer->endpoint == NULL)
        status = ucp_ep_create(comm->ucx->worker, &params, &peer->endpoint);
    if (status != UCS_OK)
        st = tli_fail_ucx_peer(comm, peer->rank, status, TLI_WHERE);
    return st;
}

/* What pairs tell each other while they connect, by MPI; UCX goes on meanwhile. */
static tulle_status_t finish_talk(const tli_ucx_t *ucx, int num_requests, MPI_Request *requests)
{
    tulle_status_t st = TULLE_OK;
    int is_done = 0;
    while (!is_done) {
        progress(ucx);
        TLI_MPI(MPI_Testall(num_requests, requests, &is_done, MPI_STATUSES_IGNORE));
    }
done:
    return st;
}

static tulle_status_t swap_addresses(tulle_comm_t *comm, int num, tli_ucx_peer_t *const *peers, const int *tags,
                                     MPI_Request *requests)
{
    tulle_status_t st = TULLE_OK;
    const tli_ucx_t *ucx = comm->ucx;
    int n = 0;
    for (int i = 0; i < num; i++) {
        if (peers[i]->has_met)
            continue;
        TLI_MPI(MPI_Irecv(peers[i]->address, TLI_UCX_ADDRESS_BYTES, MPI_BYTE, peers[i]->rank, tags[i], comm->mpi,
                          &requests[n++]));
        TLI_MPI(MPI_Isend(ucx->address, (int)ucx->address_bytes, MPI_BYTE, peers[i]->rank, tags[i], comm->mpi,
                          &requests[n++]));
    }
    TLI_TRY(finish_talk(ucx, n, requests));
done:
    return st;
}

/* Whether each of a new pair is ready. */
static tulle_status_t swap_words(tulle_comm_t *comm, int num, tli_ucx_peer_t *const *peers, const int *tags,
                                 MPI_Request *requests)
{
    tulle_status_t st = TULLE_OK;
    int n = 0;
    for (int i = 0; i < num; i++) {
        if (peers[i]->has_met)
            continue;
        TLI_MPI(MPI_Irecv(&peers[i]->its_word, 1, MPI_INT, peers[i]->rank, tags[i], comm->mpi, &requests[n++]));
        TLI_MPI(MPI_Isend(&peers[i]->is_ready, 1, MPI_INT, peers[i]->rank, tags[i], comm->mpi, &requests[n++]));
    }
    TLI_TRY(finish_talk(comm->ucx, n, requests));
done:
    return st;
}

static void begin_greeting(const tulle_comm_t *comm, int tag, tli_ucx_peer_t *peer)
{
    const ucp_request_param_t param = {0};
    peer->greeting[0] =
        ucp_tag_recv_nbx(comm->ucx->worker, &peer->greeted[0], 1, tli_ucx_tag(peer->rank, tag), ~(ucp_tag_t)0, &param);
    peer->greeting[1] = ucp_tag_send_nbx(peer->endpoint, &peer->greeted[1], 1, tli_ucx_tag(comm->rank, tag), &param);
    for (int i = 0; i < 2; i++)
        if (UCS_PTR_IS_ERR(peer->greeting[i]))
            peer->failure = UCS_PTR_STATUS(peer->greeting[i]);
}

static int is_under_way(void *request)
{
    return UCS_PTR_IS_PTR(request) && ucp_request_check_status(request) == UCS_INPROGRESS;
}

/* A connection that fails ends what is under way over it, but not what was to come. */
static void end_greeting(const tli_ucx_t *ucx, const limit_t *limit, tli_ucx_peer_t *peer)
{
    for (int i = 0; i < 2; i++)
        while (is_under_way(peer->greeting[i]) && peer->failure == UCS_OK && !is_over(limit))
            progress(ucx);
    for (int i = 0; i < 2; i++) {
        if (is_under_way(peer->greeting[i])) {
            peer->failure = peer->failure == UCS_OK ? UCS_ERR_TIMED_OUT : peer->failure;
            ucp_request_cancel(ucx->worker, peer->greeting[i]);
        }
        if (UCS_PTR_IS_PTR(peer->greeting[i]))
            ucp_request_free(peer->greeting[i]);
    }
}

/* A connection is there when each has got a message of the other. Before, UCX needs both to call it, and a flush of the
 * worker may wait for that: then a rank would be waited for that is not in the exchange, and need not call anything. */
static tulle_status_t greet(const tulle_comm_t *comm, int num, tli_ucx_peer_t *const *peers, const int *tags)
{
    tulle_status_t st = TULLE_OK;
    const limit_t limit = {MPI_Wtime(), comm->timeout_ms};
    for (int i = 0; i < num; i++)
        if (!peers[i]->has_met && peers[i]->is_ready && peers[i]->its_word)
            begin_greeting(comm, tags[i], peers[i]);
    for (int i = 0; i < num; i++)
        if (!peers[i]->has_met && peers[i]->is_ready && peers[i]->its_word)
            end_greeting(comm->ucx, &limit, peers[i]);
    for (int i = 0; i < num; i++)
        if (peers[i]->failure != UCS_OK)
            st = tli_fail_ucx_peer(comm, peers[i]->rank, peers[i]->failure, TLI_WHERE);
    return st;
}

/* Ranks that met stay so on both sides, whatever becomes of the connection. */
tulle_status_t tli_ucx_connect(tulle_comm_t *comm, int num, tli_ucx_peer_t *const *peers, const int *tags,
                               MPI_Request *requests)
{
    tulle_status_t st = TULLE_OK, failed = TULLE_OK;
    if (num == 0) /* perhaps there is no worker */
        goto done;
    TLI_TRY(swap_addresses(comm, num, peers, tags, requests));
    for (int i = 0; i < num; i++) {
        tulle_status_t connected = connect_peer(comm, peers[i]);
        peers[i]->is_ready = connected == TULLE_OK;
        failed = failed == TULLE_OK ? connected : failed;
    }
    TLI_TRY(swap_words(comm, num, peers, tags, requests));
    tulle_status_t greeted = greet(comm, num, peers, tags);
    TLI_TRY(swap_words(comm, num, peers, tags, requests)); /* a peer that is not through yet may need us */
    for (int i = 0; i < num; i++)
        peers[i]->has_met = 1;
    st = failed == TULLE_OK ? greeted : failed;
done:
    return st;
}
