/* SPDX-License-Identifier: Apache-2.0
 * The GPUs of one node as plain data: how near each two are, which of them form a domain, and what crossing costs.
 * Pure: the answers of NVML, CUDA and hwloc come in, any machine can be written down and tested. */
#ifndef TLI_TOPOLOGY_GPU_H
#define TLI_TOPOLOGY_GPU_H

#include <stdint.h>

#include <tulle/topology.h>

/** Most GPUs of a node that are looked at: twice what nodes hold. With more, nothing is known of any. */
#define TLI_NODE_GPUS 32

/** What lies between two GPUs, nearest first. */
typedef enum tli_gpu_distance {
    TLI_GPU_SAME,        /**< nothing: one GPU */
    TLI_GPU_NVLINK,      /**< NVLink, straight or through a switch */
    TLI_GPU_PCIE_SWITCH, /**< PCIe switches only */
    TLI_GPU_HOST_BRIDGE, /**< the processor that both hang on */
    TLI_GPU_SOCKETS,     /**< the link between processors */
    TLI_GPU_UNKNOWN
} tli_gpu_distance_t;

/** Between two GPUs, as one of them sees it. */
typedef struct tli_gpu_link {
    int32_t distance;        /* tli_gpu_distance_t */
    int32_t num_nvlinks;     /* [count] that lead to the other; 0 without NVLink */
    int32_t capability;      /* of the GPU: tells the generation of its NVLink */
    int32_t pcie_generation; /* 1 to 6; 0 = not known */
    int32_t pcie_lanes;      /* 0 = not known */
    int32_t peer_access;     /* bool; -1 = not known */
} tli_gpu_link_t;

/** The node cut into domains. */
typedef struct tli_gpu_domains {
    int num_domains;              /* 0 = how near the GPUs are is not known */
    int domain_of[TLI_NODE_GPUS]; /* numbered by their first GPU */
    tli_gpu_distance_t reach;     /* all GPUs of a domain are this near to each other */
    tulle_link_t inside;          /* slowest pair of ranks of one domain; bytes_per_second 0 = there is no pair */
    tulle_link_t across;          /* slowest pair of ranks of two domains */
} tli_gpu_domains_t;

/** The farther and slower of what the two GPUs of a pair say. */
tli_gpu_link_t tli_gpu_link_combine(const tli_gpu_link_t *a, const tli_gpu_link_t *b);

/** Cost of a message over a link: the vendor's figure for one direction; latencies are orders of magnitude. */
tulle_link_t tli_gpu_link_cost(const tli_gpu_link_t *link);

/**
 * Cut a node into domains in which all GPUs are linked by NVLink with each other: the largest first, of equal ones that
 * with the lowest GPUs. In a node without NVLink a domain is one GPU if any serves several ranks, else a socket.
 * @param[in]  num_gpus    1 to TLI_NODE_GPUS
 * @param[in]  links       [num_gpus][num_gpus] symmetric; the diagonal is SAME
 * @param[in]  num_ranks   [num_gpus] >= 1: how many ranks use each
 * @param[out] domains_out num_domains = 0 if any distance is unknown
 */
void tli_gpu_find_domains(int num_gpus, const tli_gpu_link_t *links, const int *num_ranks,
                          tli_gpu_domains_t *domains_out);

#endif
