/* SPDX-License-Identifier: Apache-2.0
 * NVLink and PCIe between GPUs, by NVML. The library belongs to the driver and is opened when it is there; its header
 * is not needed to build: of its interface, which NVIDIA keeps stable by versioned names, this declares what is used.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "topology/discover.h"

/* Links are asked for by number; those a GPU does not have are answered with an error. */
#define MAX_NVLINKS 36

enum { SUCCESS = 0 };                  /* nvmlReturn_t */
enum { P2P_READ = 0, P2P_NVLINK = 2 }; /* nvmlGpuP2PCapsIndex_t */
enum { P2P_OK = 0 };                   /* nvmlGpuP2PStatus_t */
enum {
    ANCESTOR_SWITCHES = 20,
    ANCESTOR_NODE = 40
}; /* nvmlGpuTopologyLevel_t: 0 to 20 boards and switches, 30 host
    * bridge, 40 NUMA domain, 50 system */

typedef struct nvmlDevice_st *device_t;

typedef struct pci_info { /* nvmlPciInfo_t */
    char legacy_bus_id[16];
    unsigned domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
} pci_info_t;

/* Every function returns nvmlReturn_t; enums and unsigned int are passed alike. */
#define FUNCTIONS(X)                                                                                                   \
    X(init, nvmlInit_v2, (void))                                                                                       \
    X(shutdown, nvmlShutdown, (void))                                                                                  \
    X(find, nvmlDeviceGetHandleByPciBusId_v2, (const char *, device_t *))                                              \
    X(ancestor, nvmlDeviceGetTopologyCommonAncestor, (device_t, device_t, unsigned *))                                 \
    X(p2p, nvmlDeviceGetP2PStatus, (device_t, device_t, unsigned, unsigned *))                                         \
    X(link_state, nvmlDeviceGetNvLinkState, (device_t, unsigned, unsigned *))                                          \
    X(link_remote, nvmlDeviceGetNvLinkRemotePciInfo_v2, (device_t, unsigned, pci_info_t *))                            \
    X(pcie_generation, nvmlDeviceGetMaxPcieLinkGeneration, (device_t, unsigned *))                                     \
    X(pcie_lanes, nvmlDeviceGetMaxPcieLinkWidth, (device_t, unsigned *))

typedef struct nvml {
    void *library;
#define DECLARE(name, symbol, parameters) int(*name) parameters;
    FUNCTIONS(DECLARE)
#undef DECLARE
} nvml_t;

static void close_nvml(nvml_t *nvml)
{
    if (nvml->library != NULL)
        dlclose(nvml->library);
    nvml->library = NULL;
}

static int open_nvml(nvml_t *nvml)
{
    int is_whole = 1;
    memset(nvml, 0, sizeof *nvml);
    nvml->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (nvml->library == NULL)
        return 0;
/* As POSIX wants it: ISO C has no conversion from an object pointer to a function pointer. */
#define RESOLVE(name, symbol, parameters)                                                                              \
    *(void **)&nvml->name = dlsym(nvml->library, #symbol);                                                             \
    is_whole &= nvml->name != NULL;
    FUNCTIONS(RESOLVE)
#undef RESOLVE
    if (!is_whole || nvml->init() != SUCCESS)
        close_nvml(nvml);
    return nvml->library != NULL;
}

static device_t find_device(const nvml_t *nvml, int64_t pci)
{
    char bus_id[32];
    device_t device = NULL;
    snprintf(bus_id, sizeof bus_id, "%08x:%02x:%02x.0", TLI_PCI_DOMAIN(pci), TLI_PCI_BUS(pci), TLI_PCI_DEVICE(pci));
    return nvml->find(bus_id, &device) == SUCCESS ? device : NULL;
}

/* Working NVLinks of a GPU: of all, those that end at the other, and where there is a switch in between, all. */
static int count_nvlinks(const nvml_t *nvml, device_t device, int64_t other)
{
    int num_links = 0;
    int num_straight = 0;
    for (unsigned link = 0; link < MAX_NVLINKS; link++) {
        unsigned is_active = 0;
        pci_info_t remote;
        if (nvml->link_state(device, link, &is_active) != SUCCESS || !is_active)
            continue;
        num_links++;
        if (nvml->link_remote(device, link, &remote) == SUCCESS)
            num_straight += TLI_PCI(remote.domain, remote.bus, remote.device) == other;
    }
    return num_straight > 0 ? num_straight : num_links;
}

static int has_p2p(const nvml_t *nvml, device_t a, device_t b, unsigned kind)
{
    unsigned status = P2P_OK + 1;
    return nvml->p2p(a, b, kind, &status) == SUCCESS && status == P2P_OK;
}

static int pcie_distance(const nvml_t *nvml, device_t a, device_t b, int otherwise)
{
    unsigned ancestor = 0;
    if (nvml->ancestor(a, b, &ancestor) != SUCCESS)
        return otherwise;
    if (ancestor <= ANCESTOR_SWITCHES)
        return TLI_GPU_PCIE_SWITCH;
    return ancestor <= ANCESTOR_NODE ? TLI_GPU_HOST_BRIDGE : TLI_GPU_SOCKETS;
}

static void look_at(const nvml_t *nvml, device_t mine, int64_t pci, tli_gpu_link_t *link)
{
    unsigned generation = 0;
    unsigned lanes = 0;
    device_t other = find_device(nvml, pci);
    if (other == NULL)
        return;
    if (nvml->pcie_generation(mine, &generation) == SUCCESS && nvml->pcie_lanes(mine, &lanes) == SUCCESS) {
        link->pcie_generation = (int32_t)generation;
        link->pcie_lanes = (int32_t)lanes;
    }
    if (link->peer_access < 0) /* the CUDA runtime knows better, where it sees both */
        link->peer_access = has_p2p(nvml, mine, other, P2P_READ);
    link->distance = pcie_distance(nvml, mine, other, link->distance);
    if (has_p2p(nvml, mine, other, P2P_NVLINK)) {
        link->distance = TLI_GPU_NVLINK;
        link->num_nvlinks = count_nvlinks(nvml, mine, pci);
    }
}

void tli_discover_nvlinks(const int64_t *gpus, int num_gpus, int mine, tli_gpu_link_t *links_inout)
{
    nvml_t nvml;
    device_t device = NULL;
    if (num_gpus < 2 || !open_nvml(&nvml)) /* to start it takes long where no daemon keeps it */
        return;
    device = find_device(&nvml, gpus[mine]);
    for (int other = 0; other < num_gpus && device != NULL; other++)
        if (gpus[other] != gpus[mine])
            look_at(&nvml, device, gpus[other], &links_inout[other]);
    nvml.shutdown();
    close_nvml(&nvml);
}
