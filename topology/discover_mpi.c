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

/* Memory for all that ranks tell each other. */
typedef struct findings {
    tli_place_t *places; /* [num_ranks] */
    tli_node_gpus_t node_gpus;
} findings_t;

static tulle_status_t alloc_findings(tulle_topology_t *const *topology_out, int num_ranks, int num_node_ranks,
                                     tli_arena_t *scratch, findings_t *findings)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(topology_out != NULL, TULLE_ERR_ARG, "the output pointer is NULL");
    TLI_TRY(tli_arena_alloc_raw(scratch, num_ranks, sizeof *findings->places, &findings->places));
    TLI_TRY(tli_node_gpus_alloc(scratch, num_node_ranks, &findings->node_gpus));
done:
    return st;
}

/* The place of this rank; the number of a node is its lowest rank. */
static tulle_status_t find_place(int rank, MPI_Comm node_comm, const tli_node_gpus_t *room, tli_place_t *place)
{
    tulle_status_t st = TULLE_OK;
    tli_gpu_t gpu;
    int node = rank;
    TLI_MPI(MPI_Bcast(&node, 1, MPI_INT, 0, node_comm));
    place->node = node;
    place->bound_domain = tli_discover_domain();
    tli_device_identify(&gpu);
    TLI_TRY(tli_discover_gpu(node_comm, &gpu, room, place));
done:
    return st;
}

tulle_status_t tulle_topology_discover(MPI_Comm mpi_comm, tulle_topology_t **topology_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tulle_topology_t *topology = NULL;
    MPI_Comm node_comm = MPI_COMM_NULL;
    int rank = 0;
    int num_ranks = 0;
    int num_node_ranks = 0;
    tli_place_t place = tli_place_unknown();
    findings_t findings = {NULL, {NULL, NULL}};
    TLI_TRY(check_communicator(mpi_comm));
    TLI_MPI(MPI_Comm_rank(mpi_comm, &rank));
    TLI_MPI(MPI_Comm_size(mpi_comm, &num_ranks));
    TLI_MPI(MPI_Comm_split_type(mpi_comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node_comm));
    TLI_MPI(MPI_Comm_size(node_comm, &num_node_ranks));
    TLI_TRY(tli_agree(mpi_comm, alloc_findings(topology_out, num_ranks, num_node_ranks, &scratch, &findings)));
    TLI_TRY(find_place(rank, node_comm, &findings.node_gpus, &place));
    TLI_MPI(MPI_Allgather(&place, (int)sizeof place, MPI_BYTE, findings.places, (int)sizeof place, MPI_BYTE, mpi_comm));
    TLI_TRY(tli_agree(mpi_comm, tli_topology_from_places(num_ranks, findings.places, &topology)));
    *topology_out = topology;
    topology = NULL;
done:
    if (node_comm != MPI_COMM_NULL)
        MPI_Comm_free(&node_comm);
    tulle_topology_destroy(&topology);
    tli_arena_release(&scratch);
    return st;
}
