/* SPDX-License-Identifier: Apache-2.0
 * Each rank says which device it uses, and asks its own whether it reaches that of each other rank. Only ways that are
 * open in both directions count: rows go one way, the word that they may come goes the other. */
#include "src/transport/gpu_peers.h"

#include "src/agree.h"
#include "src/device/device.h"

static tulle_status_t alloc_lists(tulle_comm_t *comm, tli_arena_t *arena, tli_arena_t *scratch, tli_gpu_peers_t *peers,
                                  tli_gpu_t **gpus_out)
{
    tulle_status_t st = TULLE_OK;
    peers->host = comm->host;
    TLI_MPI(MPI_Comm_size(peers->host, &peers->num_ranks));
    TLI_MPI(MPI_Comm_rank(peers->host, &peers->me));
    TLI_TRY(tli_arena_alloc(arena, peers->num_ranks, sizeof(int), &peers->ranks));
    TLI_TRY(tli_arena_alloc(arena, 2 * (int64_t)peers->num_ranks, 1, &peers->reach));
    TLI_TRY(tli_arena_alloc(scratch, peers->num_ranks, sizeof **gpus_out, gpus_out));
done:
    return st;
}

static int is_of_my_node(const tulle_comm_t *comm, int peer)
{
    return tulle_topology_group(comm->topology, 0, peer) == tulle_topology_group(comm->topology, 0, comm->rank);
}

static tulle_status_t ask_device(int device, int always_pinned, const tli_gpu_t *gpus, tli_gpu_peers_t *peers)
{
    tulle_status_t st = TULLE_OK;
    for (int r = 0; r < peers->num_ranks; r++) {
        int reaches = 0;
        if (!always_pinned)
            TLI_TRY(tli_device_reaches(device, &gpus[r], &reaches));
        peers->reach[r] = (unsigned char)(reaches ? TLI_REACH_DEVICE : TLI_REACH_PINNED);
    }
done:
    return st;
}

tulle_status_t tli_gpu_peers_find(tulle_comm_t *comm, tulle_status_t local, int device, int always_pinned,
                                  int keeps_apart, tli_arena_t *arena, tli_gpu_peers_t *peers_out)
{
    tulle_status_t st = local;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_gpu_peers_t peers = {0};
    tli_gpu_t *gpus = NULL, gpu = {.pci = -1};
    if (st == TULLE_OK)
        st = alloc_lists(comm, arena, &scratch, &peers, &gpus);
    if (st == TULLE_OK)
        st = tli_device_gpu(device, &gpu);
    TLI_TRY(tli_agree(comm->mpi, st));
    TLI_MPI(MPI_Allgather(&comm->rank, 1, MPI_INT, peers.ranks, 1, MPI_INT, peers.host));
    TLI_MPI(MPI_Allgather(&gpu, sizeof gpu, MPI_BYTE, gpus, sizeof gpu, MPI_BYTE, peers.host));
    TLI_TRY(tli_agree(comm->mpi, ask_device(device, always_pinned, gpus, &peers)));
    for (int r = 0; r < peers.num_ranks; r++)
        if (keeps_apart && !is_of_my_node(comm, peers.ranks[r]))
            peers.reach[r] = TLI_REACH_NONE;
    unsigned char *theirs = peers.reach + peers.num_ranks;
    TLI_MPI(MPI_Alltoall(peers.reach, 1, MPI_UNSIGNED_CHAR, theirs, 1, MPI_UNSIGNED_CHAR, peers.host));
    for (int r = 0; r < peers.num_ranks; r++)
        peers.reach[r] = theirs[r] < peers.reach[r] ? theirs[r] : peers.reach[r];
    *peers_out = peers;
done:
    tli_arena_release(&scratch);
    return st;
}

int tli_gpu_peers_position(const tli_gpu_peers_t *peers, int rank)
{
    return tli_find_rank(peers->ranks, peers->num_ranks, rank);
}

tli_reach_t tli_gpu_peers_reach(const tli_gpu_peers_t *peers, int rank)
{
    int position = tli_gpu_peers_position(peers, rank);
    return position >= 0 ? (tli_reach_t)peers->reach[position] : TLI_REACH_NONE;
}
