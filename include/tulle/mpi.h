/* SPDX-License-Identifier: Apache-2.0
 * Where Tulle meets MPI. The only core header that includes <mpi.h>. */
#ifndef TULLE_MPI_H
#define TULLE_MPI_H

#include <mpi.h>

#include <tulle/comm.h>

TULLE_BEGIN_DECLS

/**
 * Make a communicator: duplicate the MPI communicator, find or check the topology, open the transports.
 * @collective all ranks of @p mpi_comm; blocks
 * @param[in]  mpi_comm an intracommunicator; duplicated, so that Tulle's messages never meet the caller's
 * @param[in]  options  borrowed for the call; NULL = defaults; the topology must be the same on every rank
 * @param[out] comm_out owned by the caller, free with tulle_comm_destroy(); untouched on failure
 * @retval TULLE_ERR_ARG MPI_COMM_NULL, an intercommunicator, or a topology that does not fit the number of ranks
 * @retval TULLE_ERR_MISMATCH ranks gave different topologies
 * @retval TULLE_ERR_NOMEM, TULLE_ERR_TRANSPORT, TULLE_ERR_REMOTE another rank failed (so all ranks fail)
 * @threads one thread at a time   @cost O(ranks) memory for the tree, O(log ranks) messages
 */
TULLE_API tulle_status_t tulle_comm_create(MPI_Comm mpi_comm, const tulle_comm_options_t *options,
                                           tulle_comm_t **comm_out);

/**
 * Find the topology of a running job. Nodes are found by MPI_COMM_TYPE_SHARED. Inside a node, if every rank of the
 * job uses a GPU: GPUs that are all linked with each other by NVLink (level "nvlink"); in nodes without NVLink the
 * ranks on one GPU ("gpu"), or the GPUs of one socket ("socket"); links then have vendor figures. Otherwise the
 * NUMA domains that ranks are bound to ("domain"), when hwloc was found at build time and every rank is bound
 * inside one. A rank uses a GPU when it has called CUDA before: its current device, so choose that first. What a
 * missing library (NVML, hwloc) or device could tell stays unknown and is no error.
 * @collective all ranks of @p mpi_comm; blocks
 * @param[in]  mpi_comm     borrowed for the call
 * @param[out] topology_out owned by the caller, equal on every rank; untouched on failure
 * @retval TULLE_ERR_ARG MPI_COMM_NULL or NULL pointer; TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE
 * @threads one thread at a time   @cost O(ranks) memory, an allgather of some 100 bytes per rank
 */
TULLE_API tulle_status_t tulle_topology_discover(MPI_Comm mpi_comm, tulle_topology_t **topology_out);

TULLE_END_DECLS

#endif
