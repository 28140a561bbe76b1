/* SPDX-License-Identifier: Apache-2.0
 * What every rank found out about its place in the machine, and the topology that follows from it. Pure. */
#ifndef TLI_TOPOLOGY_PLACE_H
#define TLI_TOPOLOGY_PLACE_H

#include <stdint.h>

#include <tulle/topology.h>

/** Room for the name of a NIC; longer ones are cut. */
#define TLI_NIC_NAME 20

/** The findings of one rank. Numbers that tell ranks apart: equal = together, -1 = not known. Sent as bytes. */
typedef struct tli_place {
    int32_t node;           /* the same number = the same node */
    int32_t bound_domain;   /* inside the node: where the process is bound, as tli_discover_domain() says */
    int32_t gpu_domain;     /* inside the node: GPUs near each other, as tli_gpu_find_domains() says */
    int32_t gpu_reach;      /* how near: tli_gpu_distance_t */
    int64_t gpu_pci;        /* TLI_PCI() of the GPU; -1 = none */
    int32_t gpu_numa;       /* NUMA domain at which it hangs, numbered as hwloc does */
    char nic[TLI_NIC_NAME]; /* the NIC nearest to it; "" = not known */
    int32_t has_rdma;       /* bool: that NIC does RDMA: InfiniBand, RoCE, Omni-Path */
    int32_t pad;
    tulle_link_t inside; /* cost between ranks of one GPU domain of the node; bytes_per_second 0 = has no such pair */
    tulle_link_t across; /* cost between its GPU domains */
} tli_place_t;

/** A rank of which nothing is known. */
tli_place_t tli_place_unknown(void);

/**
 * Build the tree of a job from what every rank found out about itself. Groups inside a node are GPU domains where every
 * rank has one, else the domains of binding if every rank is bound inside one. They become a level only if they tell
 * ranks apart: some node has at least two, and, for GPUs, some group has two ranks.
 * @param[in]  num_ranks    >= 1
 * @param[in]  places       [num_ranks] copied if any rank has a GPU, for tulle_topology_print()
 * @param[out] topology_out owned by the caller; links as known from GPUs, else defaults; untouched on failure
 * @retval TULLE_ERR_ARG; TULLE_ERR_NOMEM
 */
tulle_status_t tli_topology_from_places(int num_ranks, const tli_place_t *places, tulle_topology_t **topology_out);

/** Keep a copy of the places of all ranks with a topology. @param[in] places NULL = none @retval TULLE_ERR_NOMEM */
tulle_status_t tli_topology_set_places(tulle_topology_t *topology, const tli_place_t *places);

#endif
