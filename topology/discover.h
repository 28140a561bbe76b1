/* SPDX-License-Identifier: Apache-2.0
 * What a process can find out about its own place in a node. Nothing here is worth failing a job for: what a missing
 * library or device could have told stays unknown. Only tli_discover_gpu() asks the others. */
#ifndef TLI_TOPOLOGY_DISCOVER_H
#define TLI_TOPOLOGY_DISCOVER_H

#include <mpi.h>
#include <stdint.h>

#include "src/arena.h"
#include "src/device/device.h"
#include "topology/gpu.h"
#include "topology/place.h"

/**
 * The domain inside which this process is bound: a NUMA domain, or a package where the machine has no two NUMA domains.
 * @return number of the domain, the same for all processes inside it and different for others of the node; -1 when the
 *         process is not bound inside one, when it cannot be known, or in a build without hwloc
 * @cost one look at the machine: milliseconds
 */
int tli_discover_domain(void);

/**
 * By hwloc: where a GPU hangs, which NIC is nearest, how far the other GPUs are over PCIe. Of several NICs equally
 * near, GPUs beside each other take different ones; those that do RDMA and whose port is up come first.
 * @param[in]     gpus         [num_gpus] PCI addresses, TLI_PCI()
 * @param[in]     mine         index of this process's GPU
 * @param[in,out] place_inout  gpu_numa, nic, has_rdma are set where known
 * @param[in,out] links_inout  [num_gpus] from mine: distance is set where known; entries with my own address are left
 * @cost one look at the machine with its devices: tens of milliseconds
 */
void tli_discover_pci(const int64_t *gpus, int num_gpus, int mine, tli_place_t *place_inout,
                      tli_gpu_link_t *links_inout);

/**
 * By NVML, loaded for the time of this call: what lies between a GPU and others. The rest as for tli_discover_pci().
 * @param[in,out] links_inout [num_gpus] from mine: all but capability is set where known
 */
void tli_discover_nvlinks(const int64_t *gpus, int num_gpus, int mine, tli_gpu_link_t *links_inout);

/** Room in which the ranks of a node tell each other of their GPUs. */
typedef struct tli_node_gpus {
    tli_gpu_t *gpus;      /* [ranks of the node] */
    tli_gpu_link_t *rows; /* [ranks of the node][TLI_NODE_GPUS] */
} tli_node_gpus_t;

/** Allocate for so many ranks. */
tulle_status_t tli_node_gpus_alloc(tli_arena_t *arena, int num_ranks, tli_node_gpus_t *room_out);

/**
 * The place of this rank as far as its GPU decides it, from what all ranks of the node know of theirs.
 * @param[in]     node_comm   the ranks of one node
 * @param[in]     mine        this rank's GPU, or none
 * @param[in]     room        allocated for as many ranks
 * @param[in,out] place_inout all from gpu_domain on; unchanged where there is no GPU
 * @retval TULLE_ERR_TRANSPORT MPI failed
 * @collective all ranks of @p node_comm
 */
tulle_status_t tli_discover_gpu(MPI_Comm node_comm, const tli_gpu_t *mine, const tli_node_gpus_t *room,
                                tli_place_t *place_inout);

#endif
