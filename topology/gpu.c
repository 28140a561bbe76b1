/* SPDX-License-Identifier: Apache-2.0
 * GPU domains of one node. A domain is a clique, not what is connected somehow: in a DGX-1 every GPU reaches every
 * other over NVLink and a third GPU, but only the quads are linked all to all, and only there is any hop one link. */
#include "topology/gpu.h"

#include <math.h>
#include <string.h>

#include "src/fault.h"

/* Public figures of NVIDIA for one direction, latest first. */
typedef struct gpu_generation {
    int capability;                 /* from this one on */
    double nvlink_bytes_per_second; /* of one NVLink */
    double nvlink_latency_ns;
    double copy_bytes_per_second; /* inside the GPU: half its memory bandwidth, as a copy reads and writes */
} gpu_generation_t;

static const gpu_generation_t generations[] = {
    {100, 50e9, 1500, 4000e9},    /* NVLink 5, B200: 8 TB/s */
    {90, 25e9, 1500, 1675e9},     /* NVLink 4, H100: 3.35 TB/s */
    {86, 14.0625e9, 1800, 384e9}, /* NVLink 3 of workstations, A6000: 768 GB/s */
    {80, 25e9, 1800, 777e9},      /* NVLink 3, A100: 1.555 TB/s */
    {70, 25e9, 2000, 450e9},      /* NVLink 2, V100: 900 GB/s */
    {0, 20e9, 2000, 366e9},       /* NVLink 1, P100: 732 GB/s */
};

static const double pcie_lane_bytes_per_second[] = {0, 0.25e9, 0.5e9, 0.985e9, 1.969e9, 3.938e9, 7.563e9};

#define LATEST_PCIE    ((int)(sizeof pcie_lane_bytes_per_second / sizeof *pcie_lane_bytes_per_second) - 1)
#define DEFAULT_PCIE   3
#define DEFAULT_LANES  16
#define STAGING_NS     10000.0 /* two copies by the host and their synchronisation */
#define STAGING_PASSES 2       /* over PCIe: down and up */
#define SWITCH_NS      2500.0
#define HOST_BRIDGE_NS 3000.0
#define SOCKETS_NS     4000.0
#define SOCKETS_LIMIT  20e9 /* [bytes/s] what a link between processors leaves to one pair of GPUs */
#define NO_PAIR        ((tulle_link_t){.latency_ns = 0})

static int least(int a, int b)
{
    return a < b ? a : b;
}

tli_gpu_link_t tli_gpu_link_combine(const tli_gpu_link_t *a, const tli_gpu_link_t *b)
{
    tli_gpu_link_t link = {
        .distance = a->distance > b->distance ? a->distance : b->distance,
        .num_nvlinks = least(a->num_nvlinks, b->num_nvlinks),
        .capability = least(a->capability, b->capability),
        .pcie_generation = least(a->pcie_generation, b->pcie_generation),
        .pcie_lanes = least(a->pcie_lanes, b->pcie_lanes),
        .peer_access = least(a->peer_access, b->peer_access),
    };
    if (a->peer_access < 0 || b->peer_access < 0) /* what one side does not know, the other may */
        link.peer_access = a->peer_access > b->peer_access ? a->peer_access : b->peer_access;
    if (link.distance == TLI_GPU_NVLINK && link.peer_access == 0) /* switched off: staged by the host */
        link.distance = TLI_GPU_HOST_BRIDGE;
    return link;
}

static tulle_link_t nvlink_cost(const gpu_generation_t *generation, int num_nvlinks)
{
    return (tulle_link_t){.latency_ns = generation->nvlink_latency_ns,
                          .bytes_per_second = generation->nvlink_bytes_per_second * fmax(1, num_nvlinks)};
}

static tulle_link_t pcie_cost(const tli_gpu_link_t *link)
{
    int generation = link->pcie_generation > 0 ? least(link->pcie_generation, LATEST_PCIE) : DEFAULT_PCIE;
    int lanes = link->pcie_lanes > 0 ? link->pcie_lanes : DEFAULT_LANES;
    tulle_link_t cost = {.latency_ns = SWITCH_NS, .bytes_per_second = pcie_lane_bytes_per_second[generation] * lanes};
    if (link->distance == TLI_GPU_HOST_BRIDGE)
        cost.latency_ns = HOST_BRIDGE_NS;
    if (link->distance >= TLI_GPU_SOCKETS) {
        cost.latency_ns = SOCKETS_NS;
        cost.bytes_per_second = fmin(cost.bytes_per_second, SOCKETS_LIMIT);
    }
    if (link->peer_access == 0) {
        cost.latency_ns += STAGING_NS;
        cost.bytes_per_second /= STAGING_PASSES;
    }
    return cost;
}

tulle_link_t tli_gpu_link_cost(const tli_gpu_link_t *link)
{
    const gpu_generation_t *generation = generations;
    while (generation->capability > link->capability && generation->capability > 0)
        generation++;
    if (link->distance == TLI_GPU_SAME)
        return (tulle_link_t){.latency_ns = generation->nvlink_latency_ns,
                              .bytes_per_second = generation->copy_bytes_per_second};
    return link->distance == TLI_GPU_NVLINK ? nvlink_cost(generation, link->num_nvlinks) : pcie_cost(link);
}

/* Grow a clique by each candidate in turn, all of which are near to all of it; keep the largest, of equal ones the
 * first. Exponential in theory; what machines are made of is found on the first descent and the rest is cut off. */
static void grow_clique(const uint32_t *near_to, uint32_t clique, uint32_t candidates, uint32_t *largest)
{
    if (__builtin_popcount(clique) > __builtin_popcount(*largest))
        *largest = clique;
    while (__builtin_popcount(clique) + __builtin_popcount(candidates) > __builtin_popcount(*largest)) {
        int next = __builtin_ctz(candidates);
        candidates &= candidates - 1;
        grow_clique(near_to, clique | UINT32_C(1) << next, candidates & near_to[next], largest);
    }
}

/* Domains get their numbers in the order in which the cut finds them; renumber by first GPU. */
static void number_by_first(int num_gpus, int num_domains, int *domain_of)
{
    int number_of[TLI_NODE_GPUS];
    int next = 0;
    for (int domain = 0; domain < num_domains; domain++)
        number_of[domain] = -1;
    for (int gpu = 0; gpu < num_gpus; gpu++) {
        int found = domain_of[gpu];
        if (number_of[found] < 0)
            number_of[found] = next++;
        domain_of[gpu] = number_of[found];
    }
}

static void cut(int num_gpus, const tli_gpu_link_t *links, tli_gpu_distance_t reach, tli_gpu_domains_t *domains)
{
    uint32_t near_to[TLI_NODE_GPUS] = {0};
    uint32_t left = 0;
    for (int a = 0; a < num_gpus; a++) {
        left |= UINT32_C(1) << a;
        for (int b = 0; b < num_gpus; b++)
            if (a != b && links[a * num_gpus + b].distance <= (int)reach)
                near_to[a] |= UINT32_C(1) << b;
    }
    domains->reach = reach;
    domains->num_domains = 0;
    while (left != 0) {
        uint32_t largest = 0;
        grow_clique(near_to, 0, left, &largest);
        left &= ~largest;
        for (int gpu = 0; gpu < num_gpus; gpu++)
            if (largest >> gpu & 1)
                domains->domain_of[gpu] = domains->num_domains;
        domains->num_domains++;
    }
    number_by_first(num_gpus, domains->num_domains, domains->domain_of);
}

static void slow_down(tulle_link_t *slowest, const tulle_link_t *link)
{
    if (slowest->bytes_per_second == 0) {
        *slowest = *link;
    } else {
        slowest->latency_ns = fmax(slowest->latency_ns, link->latency_ns);
        slowest->bytes_per_second = fmin(slowest->bytes_per_second, link->bytes_per_second);
    }
}

static void find_costs(int num_gpus, const tli_gpu_link_t *links, const int *num_ranks, tli_gpu_domains_t *domains)
{
    domains->inside = domains->across = NO_PAIR;
    for (int a = 0; a < num_gpus; a++)
        for (int b = a; b < num_gpus; b++) {
            int is_inside = domains->domain_of[a] == domains->domain_of[b];
            tulle_link_t cost = tli_gpu_link_cost(&links[a * num_gpus + b]);
            if (a != b || num_ranks[a] > 1)
                slow_down(is_inside ? &domains->inside : &domains->across, &cost);
        }
}

static int is_known(int num_gpus, const tli_gpu_link_t *links)
{
    int known = 1;
    for (int i = 0; i < num_gpus * num_gpus; i++)
        known &= links[i].distance < TLI_GPU_UNKNOWN;
    return known;
}

static int is_shared(int num_gpus, const int *num_ranks)
{
    int shared = 0;
    for (int gpu = 0; gpu < num_gpus; gpu++)
        shared |= num_ranks[gpu] > 1;
    return shared;
}

void tli_gpu_find_domains(int num_gpus, const tli_gpu_link_t *links, const int *num_ranks,
                          tli_gpu_domains_t *domains_out)
{
    TLI_ASSERT(num_gpus >= 1 && num_gpus <= TLI_NODE_GPUS);
    memset(domains_out, 0, sizeof *domains_out);
    if (!is_known(num_gpus, links))
        return;
    cut(num_gpus, links, TLI_GPU_NVLINK, domains_out);
    if (domains_out->num_domains == num_gpus)
        cut(num_gpus, links, is_shared(num_gpus, num_ranks) ? TLI_GPU_SAME : TLI_GPU_HOST_BRIDGE, domains_out);
    find_costs(num_gpus, links, num_ranks, domains_out);
}
