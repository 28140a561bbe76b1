/* SPDX-License-Identifier: Apache-2.0
 * The topology of a running job: ranks that share memory are a node. Plain collectives only, no MPI 3 beyond
 * MPI_Comm_split_type, so that the same code runs under every MPI and inside SimGrid. */
#include <tulle/mpi.h>

#include "src/agree.h"
#include "topology/discover.h"
#include "topology/model.h"

/* The same answer on every rank, so it needs no agreement; an intercommunicator could not give one. */
static tulle_status_t check_communicator(MPI_Comm mpi_comm)
{
    tulle_status_t st = TULLE_OK;
    int is_inter = 0;
    TLI_REQUIRE(mpi_comm != MPI_COMM_NULL, TULLE_ERR_ARG, "the communicator is MPI_COMM_NULL");
    TLI_MPI(MPI_Comm_test_inter(mpi_comm, &is_inter));
    TLI_REQUIRE(!is_inter, TULLE_ERR_ARG, "the communicator is an intercommunicator; merge it first");
done:
    return st;
}

/* Room for the node and the domain of every rank. */
static tulle_status_t alloc_findings(tulle_topology_t *const *topology_out, int num_ranks, tli_arena_t *scratch,
                                     int **node_domain_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(topology_out != NULL, TULLE_ERR_ARG, "the output pointer is NULL");
    TLI_TRY(tli_arena_alloc_raw(scratch, 2 * (int64_t)num_ranks, sizeof(int), node_domain_out));
done:
    return st;
}

/* A number for this rank's node: the lowest rank in it. */
static tulle_status_t find_node(MPI_Comm mpi_comm, int *node_out)
{
    tulle_status_t st = TULLE_OK;
    MPI_Comm node_comm = MPI_COMM_NULL;
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(mpi_comm, &rank));
    TLI_MPI(MPI_Comm_split_type(mpi_comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node_comm));
    TLI_MPI(MPI_Allreduce(&rank, node_out, 1, MPI_INT, MPI_MIN, node_comm));
done:
    if (node_comm != MPI_COMM_NULL)
        MPI_Comm_free(&node_comm);
    return st;
}

tulle_status_t tulle_topology_discover(MPI_Comm mpi_comm, tulle_topology_t **topology_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tulle_topology_t *topology = NULL;
    int num_ranks = 0;
    int node = -1;
    int domain = -1;
    int *node_domain = NULL;
    TLI_TRY(check_communicator(mpi_comm));
    TLI_MPI(MPI_Comm_size(mpi_comm, &num_ranks));
    TLI_TRY(tli_agree(mpi_comm, alloc_findings(topology_out, num_ranks, &scratch, &node_domain)));
    TLI_TRY(find_node(mpi_comm, &node));
    domain = tli_discover_domain();
    TLI_MPI(MPI_Allgather(&node, 1, MPI_INT, node_domain, 1, MPI_INT, mpi_comm));
    TLI_MPI(MPI_Allgather(&domain, 1, MPI_INT, node_domain + num_ranks, 1, MPI_INT, mpi_comm));
    TLI_TRY(tli_agree(mpi_comm, tli_topology_from_discovery(num_ranks, node_domain, &topology)));
    *topology_out = topology;
    topology = NULL;
done:
    tulle_topology_destroy(&topology);
    tli_arena_release(&scratch);
    return st;
}
