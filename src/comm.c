/* SPDX-License-Identifier: Apache-2.0
 * Making a communicator: duplicate, find or check the topology, group the ranks that share memory. */
#include "src/comm.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "src/agree.h"
#include "src/options.h"
#include "src/transport/nccl.h"
#include "src/transport/transport.h"

/* Tags 0 and 1 belong to sparse exchanges, one to meetings; bound exchanges use the rest in turn. */
#define FIRST_EXCHANGE_TAG (TLI_MEETING_TAG + 1)

static tulle_status_t check_mpi_comm(MPI_Comm mpi_comm)
{
    tulle_status_t st = TULLE_OK;
    int is_inter = 0;
    TLI_REQUIRE(mpi_comm != MPI_COMM_NULL, TULLE_ERR_ARG, "the MPI communicator is MPI_COMM_NULL");
    TLI_MPI(MPI_Comm_test_inter(mpi_comm, &is_inter));
    TLI_REQUIRE(!is_inter, TULLE_ERR_ARG,
                "the MPI communicator is an intercommunicator; Tulle needs an intracommunicator");
done:
    return st;
}

static tulle_status_t duplicate(MPI_Comm mpi_comm, tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    int *max_tag = NULL;
    int found = 0;
    TLI_MPI(MPI_Comm_dup(mpi_comm, &comm->mpi));
    TLI_MPI(MPI_Comm_set_errhandler(comm->mpi, MPI_ERRORS_RETURN));
    TLI_MPI(MPI_Comm_rank(comm->mpi, &comm->rank));
    TLI_MPI(MPI_Comm_size(comm->mpi, &comm->size));
    TLI_MPI(MPI_Comm_get_attr(comm->mpi, MPI_TAG_UB, &max_tag, &found));
    comm->max_tag = found ? *max_tag : 32767;
    comm->next_tag = FIRST_EXCHANGE_TAG;
done:
    return st;
}

/* The option, else the environment: AUTO where neither says anything. A transport of GPUs in the environment is none of
 * the host's business. */
static tulle_status_t read_transport(tulle_transport_t *transport)
{
    tulle_status_t st = TULLE_OK;
    const char *text = tli_options_transport();
    const char *source = *transport != TULLE_TRANSPORT_AUTO ? "options.transport" : "TULLE_TRANSPORT";
    if (*transport == TULLE_TRANSPORT_AUTO && text != NULL) {
        TLI_TRY(tulle_transport_parse(text, transport));
        if (tli_transport_is_for_gpus(*transport))
            *transport = TULLE_TRANSPORT_AUTO;
    }
    TLI_REQUIRE(*transport == TULLE_TRANSPORT_AUTO || *transport == TULLE_TRANSPORT_MPI ||
                    *transport == TULLE_TRANSPORT_UCX,
                TULLE_ERR_ARG, "%s is %s, must be auto, mpi or ucx", source, tulle_transport_name(*transport));
    TLI_REQUIRE(tli_transport_is_built(*transport), TULLE_ERR_UNSUPPORTED,
                "%s is %s, which this build of Tulle does not have", source, tulle_transport_name(*transport));
done:
    return st;
}

static tulle_status_t read_options(const tulle_comm_options_t *given, tulle_comm_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    int64_t environment_timeout_ms = 0;
    *options = (tulle_comm_options_t)TULLE_COMM_OPTIONS_INIT;
    TLI_TRY(tli_options_take(given, options, sizeof *options, offsetof(tulle_comm_options_t, num_kept_plans),
                             "TULLE_COMM_OPTIONS_INIT"));
    TLI_REQUIRE(options->num_kept_plans >= 0 && options->num_kept_plans <= TLI_MOST_KEPT_PLANS, TULLE_ERR_ARG,
                "options.num_kept_plans is %lld, must be from 0 to %d", (long long)options->num_kept_plans,
                TLI_MOST_KEPT_PLANS);
    TLI_REQUIRE(options->timeout_ms >= 0, TULLE_ERR_ARG, "options.timeout_ms is %lld, must not be negative",
                (long long)options->timeout_ms);
    TLI_TRY(tli_options_timeout_ms(&environment_timeout_ms));
    if (options->timeout_ms == 0)
        options->timeout_ms = environment_timeout_ms;
    TLI_TRY(read_transport(&options->transport));
    if (options->topology_text == NULL)
        options->topology_text = tli_options_topology();
done:
    return st;
}

static tulle_status_t make_declared_topology(tulle_comm_t *comm, const tulle_comm_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    if (options->topology != NULL) {
        int num_ranks = tulle_topology_num_ranks(options->topology);
        TLI_REQUIRE(num_ranks == comm->size, TULLE_ERR_ARG, "topology \"%s\" describes %d ranks but the job has %d",
                    tulle_topology_text(options->topology), num_ranks, comm->size);
        TLI_TRY(tulle_topology_dup(options->topology, &comm->topology));
    } else if (options->topology_text != NULL) {
        TLI_TRY(tulle_topology_parse(options->topology_text, comm->size, &comm->topology));
    }
done:
    return st;
}

static int64_t topology_fingerprint(const tulle_topology_t *topology)
{
    XXH64_hash_t hash = 0;
    int num_levels = tulle_topology_num_levels(topology);
    for (int level = 0; level < num_levels; level++) {
        tulle_link_t link = {0, 0, 0, 0, 0, 0};
        tulle_topology_get_link(topology, level, &link);
        double values[6] = {link.latency_ns,  link.bytes_per_second,       (double)link.num_links,
                            link.overhead_ns, link.group_bytes_per_second, link.group_overhead_ns};
        hash = XXH3_64bits_withSeed(values, sizeof values, hash);
        for (int rank = 0; rank < tulle_topology_num_ranks(topology); rank++) {
            int group = tulle_topology_group(topology, level, rank);
            hash = XXH3_64bits_withSeed(&group, sizeof group, hash);
        }
    }
    return (int64_t)(hash >> 1);
}

/* Whether to discover is itself agreed: a rank that declares nothing must not wait for ranks that do. */
static tulle_status_t find_topology(tulle_comm_t *comm, const tulle_comm_options_t *options)
{
    tulle_status_t st = tli_agree(comm->mpi, make_declared_topology(comm, options));
    if (st == TULLE_OK)
        st = tli_agree_equal(comm->mpi, comm->topology != NULL, "whether a topology is declared (1) or discovered (0)");
    if (st == TULLE_OK && comm->topology == NULL)
        st = tulle_topology_discover(comm->mpi, &comm->topology);
    if (st == TULLE_OK)
        st = tli_agree_equal(comm->mpi, topology_fingerprint(comm->topology), "the topology (fingerprints differ)");
    return st;
}

/* What was asked for, else what the topology says where this build has it, else MPI: alike on all ranks. */
static tulle_status_t choose_carriers(tulle_comm_t *comm, tulle_transport_t asked)
{
    tulle_status_t st = TULLE_OK;
    int64_t all = comm->is_carrier_asked = asked != TULLE_TRANSPORT_AUTO;
    for (int level = 0; level < TULLE_TOPOLOGY_MAX_LEVELS; level++) {
        tulle_carrier_t carrier = {.transport = asked};
        if (asked == TULLE_TRANSPORT_AUTO && level < tulle_topology_num_levels(comm->topology))
            TLI_TRY(tulle_topology_get_carrier(comm->topology, level, &carrier));
        if (carrier.transport == TULLE_TRANSPORT_AUTO || !tli_transport_is_built(carrier.transport))
            carrier.transport = TULLE_TRANSPORT_MPI;
        comm->carriers[level] = carrier.transport;
        all = all * TULLE_NUM_TRANSPORTS + (int)carrier.transport;
    }
done:
    return tli_agree_on(comm->mpi, st, all, "what carries messages (options.transport, TULLE_TRANSPORT, topology)");
}

/* Ranks that share memory and that the topology places on one node. */
static tulle_status_t group_shared(tulle_comm_t *comm, int is_disabled)
{
    tulle_status_t st = TULLE_OK;
    int node = tulle_topology_group(comm->topology, 0, comm->rank);
    int nodes[2] = {node, -node};
    TLI_MPI(MPI_Comm_split_type(comm->mpi, MPI_COMM_TYPE_SHARED, comm->rank, MPI_INFO_NULL, &comm->host));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, nodes, 2, MPI_INT, MPI_MAX, comm->host));
    comm->is_emulated = nodes[0] != -nodes[1];
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &comm->is_emulated, 1, MPI_INT, MPI_MAX, comm->mpi));
    TLI_MPI(MPI_Comm_set_errhandler(comm->host, MPI_ERRORS_RETURN));
    TLI_MPI(MPI_Comm_split(comm->host, is_disabled ? comm->rank : node, comm->rank, &comm->shared));
    TLI_MPI(MPI_Comm_set_errhandler(comm->shared, MPI_ERRORS_RETURN));
    TLI_MPI(MPI_Comm_size(comm->shared, &comm->num_shared));
done:
    return st;
}

static tulle_status_t list_shared(tulle_comm_t *comm)
{
    tulle_status_t st = tli_arena_alloc(&comm->arena, comm->num_shared, sizeof(int), &comm->shared_ranks);
    if (st == TULLE_OK)
        st = tli_arena_alloc(&comm->arena, comm->num_shared, TLI_MOST_TOLD * sizeof(int64_t), &comm->heard);
    st = tli_agree(comm->mpi, st);
    if (st == TULLE_OK)
        TLI_MPI(MPI_Allgather(&comm->rank, 1, MPI_INT, comm->shared_ranks, 1, MPI_INT, comm->shared));
done:
    return st;
}

_Static_assert(sizeof(tli_block_name_t) <= TLI_MOST_TOLD * sizeof(int64_t), "a name can be told");

/* MPI's idea of sharing memory may reach farther than ours: each rank looks at a block of the next one. Ranks that do
 * not see each other's processes fall apart into groups, and some rank is the last of its group. */
static tulle_status_t view_next(tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    tli_block_t block = {0};
    tli_block_name_t next = {0};
    unsigned char *address = NULL;
    int next_rank = (tli_comm_shared_rank(comm, comm->rank) + 1) % comm->num_shared;
    tulle_status_t local = tli_pool_take(&comm->pool, 1, &block);
    TLI_TRY(tli_comm_tell(comm, (const int64_t *)&block.name, sizeof block.name / sizeof(int64_t)));
    next = ((const tli_block_name_t *)comm->heard)[next_rank];
    st = local;
    if (st == TULLE_OK && next.segment.bytes > 0)
        st = tli_pool_view(&comm->pool, &next, &address);
done:
    tli_pool_give(&block);
    return st;
}

/* Where views fail, messages take the place of shared memory. */
static tulle_status_t check_views(tulle_comm_t *comm)
{
    tulle_status_t st = comm->num_shared > 1 ? view_next(comm) : TULLE_OK;
    int is_reached = st != TULLE_ERR_TRANSPORT;
    st = tli_agree(comm->mpi, is_reached ? st : TULLE_OK);
    if (st == TULLE_OK)
        TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &is_reached, 1, MPI_INT, MPI_MIN, comm->shared));
    if (st == TULLE_OK && !is_reached) {
        comm->num_shared = 1;
        comm->shared_ranks[0] = comm->rank;
    }
    if (st == TULLE_OK && comm->num_shared == 1)
        TLI_MPI(MPI_Comm_free(&comm->shared));
done:
    return st;
}

static tulle_status_t alloc_comm(tulle_comm_t **comm_out)
{
    tulle_status_t st = tli_alloc(sizeof **comm_out, comm_out);
    if (st == TULLE_OK) {
        (*comm_out)->references = 1;
        (*comm_out)->mpi = (*comm_out)->host = (*comm_out)->shared = MPI_COMM_NULL;
        st = tli_arena_alloc(&(*comm_out)->arena, 1, sizeof *(*comm_out)->parting, &(*comm_out)->parting);
    }
    if (st == TULLE_OK)
        st = tli_arena_alloc(&(*comm_out)->arena, 1, sizeof *(*comm_out)->meeting, &(*comm_out)->meeting);
    return st;
}

tulle_status_t tulle_comm_create(MPI_Comm mpi_comm, const tulle_comm_options_t *given, tulle_comm_t **comm_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_comm_t *comm = NULL;
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    int rank = -1;
    TLI_TRY(check_mpi_comm(mpi_comm));
    MPI_Comm_rank(mpi_comm, &rank);
    tli_fault_set_rank(rank);
    st = alloc_comm(&comm);
    if (st == TULLE_OK && comm_out == NULL)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "comm_out is NULL");
    if (st == TULLE_OK)
        st = read_options(given, &options);
    TLI_TRY(tli_agree(mpi_comm, st));
    comm->timeout_ms = options.timeout_ms;
    comm->most_plans = (int)options.num_kept_plans;
    TLI_TRY(duplicate(mpi_comm, comm));
    TLI_TRY(find_topology(comm, &options));
    TLI_TRY(tli_agree_equal(comm->mpi, options.disable_shared_memory != 0, "options.disable_shared_memory"));
    TLI_TRY(tli_agree_equal(comm->mpi, options.num_kept_plans, "options.num_kept_plans"));
    TLI_TRY(choose_carriers(comm, options.transport));
    TLI_TRY(group_shared(comm, options.disable_shared_memory));
    TLI_TRY(list_shared(comm));
    TLI_TRY(check_views(comm));
    TLI_TRY(tli_meeting_open(comm));
    *comm_out = comm;
    comm = NULL;
done:
    tulle_comm_destroy(&comm);
    return st;
}

/* Freeing is collective to MPI, which may wait for a rank that is gone: after a fault they stay until the process ends.
 * Otherwise a message that nobody received would stay in MPI's queues, to be taken for one of the next communicator:
 * MPI uses numbers of communicators again. */
static void free_communicators(tulle_comm_t *comm)
{
    MPI_Comm *const all[] = {&comm->shared, &comm->host, &comm->mpi};
    for (int i = 0; i < 3 && comm->num_faults == 0; i++)
        if (*all[i] != MPI_COMM_NULL)
            MPI_Comm_free(all[i]);
}

static void let_plans_go(tulle_comm_t *comm)
{
    if (comm->destroy_plans != NULL)
        comm->destroy_plans(comm->plans);
    else
        tli_free(comm->plans);
    comm->destroy_plans = NULL;
    comm->plans = NULL;
}

/* A rank cannot tell whether what it sent was received. All of it was if all ranks started the same rounds and none
 * gave one up. Nothing of this can be where no exchange was ever made, as all ranks know. */
static void part(tulle_comm_t *comm)
{
    int64_t limit_ms = comm->timeout_ms;
    if (comm->num_faults > 0 && (limit_ms == 0 || limit_ms > TLI_LINGER_MS))
        limit_ms = TLI_LINGER_MS;
    if (comm->has_exchanges && !tli_agree_in_parting(comm->mpi, comm->num_faults > 0,
                                                     (int64_t)(comm->rounds & INT64_MAX), limit_ms, comm->parting))
        comm->num_faults++;
}

static void free_comm(tulle_comm_t *comm)
{
    if (comm->nccl != NULL && comm->num_faults > 0)
        tli_nccl_abort(comm->nccl); /* closing waits for all ranks */
    tli_nccl_close(comm->nccl);
    tli_free(comm->carrier_figures);
    if (comm->close_ucx != NULL)
        comm->close_ucx(comm);
    free_communicators(comm);
    tulle_topology_destroy(&comm->topology);
    tli_pool_release(&comm->pool);
    if ((comm->parting != NULL && comm->parting->is_pending) || (comm->meeting != NULL && comm->meeting->is_pending))
        tli_arena_keep(&comm->arena); /* MPI writes to it still */
    tli_arena_release(&comm->arena);
    tli_free(comm);
}

/* Exchanges that went with the last plans may have to stay, and it with them. */
void tulle_comm_destroy(tulle_comm_t **comm_inout)
{
    tulle_comm_t *comm = comm_inout != NULL ? *comm_inout : NULL;
    if (comm != NULL && --comm->references <= comm->num_kept) {
        if (!comm->has_parted) {
            comm->has_parted = 1;
            let_plans_go(comm);
            part(comm);
        }
        if (comm->references <= 0)
            free_comm(comm);
    }
    if (comm_inout != NULL)
        *comm_inout = NULL;
}

tulle_comm_t *tli_comm_retain(tulle_comm_t *comm)
{
    comm->references++;
    return comm;
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

int tli_find_rank(const int *ranks, int num_ranks, int rank)
{
    const int *found = bsearch(&rank, ranks, (size_t)num_ranks, sizeof rank, compare_ints);
    return found != NULL ? (int)(found - ranks) : -1;
}

int tli_comm_shared_rank(const tulle_comm_t *comm, int peer)
{
    return tli_find_rank(comm->shared_ranks, comm->num_shared, peer);
}

int tli_comm_level(const tulle_comm_t *comm, int peer)
{
    int level = 0;
    while (level < tulle_topology_num_levels(comm->topology) &&
           tulle_topology_group(comm->topology, level, comm->rank) == tulle_topology_group(comm->topology, level, peer))
        level++;
    return level;
}

const char *tli_comm_level_name(const tulle_comm_t *comm, int peer)
{
    return tulle_topology_level_name(comm->topology, tli_comm_level(comm, peer));
}

tulle_status_t tli_comm_tell(tulle_comm_t *comm, const int64_t *words, int num_words)
{
    tulle_status_t st = TULLE_OK;
    TLI_ASSERT(num_words <= TLI_MOST_TOLD);
    atomic_thread_fence(memory_order_seq_cst);
    TLI_MPI(MPI_Allgather(words, num_words, MPI_INT64_T, comm->heard, num_words, MPI_INT64_T, comm->shared));
    atomic_thread_fence(memory_order_seq_cst);
done:
    return st;
}

tulle_status_t tli_comm_let_move(const tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    int is_there = 0;
    if (comm->progress_ucx != NULL)
        comm->progress_ucx(comm);
    TLI_MPI(MPI_Iprobe(comm->rank, TLI_MEETING_TAG, comm->mpi, &is_there, MPI_STATUS_IGNORE));
done:
    return st;
}

tulle_status_t tli_comm_agree_on(tulle_comm_t *comm, tulle_status_t local, int64_t value, const char *what)
{
    int64_t words[TLI_MEETING_WORDS];
    tli_agree_fill(comm->rank, local, value, 0, words);
    tulle_status_t st = tli_meeting_hold(comm, comm->timeout_ms, words);
    comm->num_faults += st == TULLE_ERR_TIMEOUT;
    return st == TULLE_OK ? tli_agree_judge(comm->mpi, local, words, what) : st;
}

tulle_status_t tli_comm_meet(tulle_comm_t *comm)
{
    return comm->timeout_ms > 0 ? tli_comm_agree_on(comm, TULLE_OK, 0, "nothing") : TULLE_OK;
}

int tli_comm_take_tags(tulle_comm_t *comm, int num_tags)
{
    if (comm->next_tag > comm->max_tag - num_tags)
        comm->next_tag = FIRST_EXCHANGE_TAG;
    int first = comm->next_tag;
    comm->next_tag += num_tags;
    comm->has_exchanges = 1;
    return first;
}

/* Any odd number that spreads tags over all bits: rounds left out by several ranks do not make up for each other. */
void tli_comm_note_round(tulle_comm_t *comm, int first_tag)
{
    uint64_t mixed = ((uint64_t)first_tag + 1) * UINT64_C(0x9e3779b97f4a7c15);
    comm->rounds += (mixed ^ mixed >> 29) | 1;
}

int tulle_comm_rank(const tulle_comm_t *comm)
{
    return comm != NULL ? comm->rank : -1;
}

int tulle_comm_size(const tulle_comm_t *comm)
{
    return comm != NULL ? comm->size : 0;
}

const tulle_topology_t *tulle_comm_topology(const tulle_comm_t *comm)
{
    return comm != NULL ? comm->topology : NULL;
}

int tulle_comm_is_emulated(const tulle_comm_t *comm)
{
    return comm != NULL ? comm->is_emulated : 0;
}
