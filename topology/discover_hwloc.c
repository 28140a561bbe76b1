/* SPDX-License-Identifier: Apache-2.0
 * The domain of this process and the surroundings of its GPU by hwloc. Nothing here is worth failing a job for: what
 * cannot be known is -1. */
#include "topology/discover.h"

#ifndef TULLE_HAVE_HWLOC

int tli_discover_domain(void)
{
    return -1;
}

void tli_discover_pci(const int64_t *gpus, int num_gpus, int mine, tli_place_t *place_inout,
                      tli_gpu_link_t *links_inout)
{
    (void)gpus, (void)num_gpus, (void)mine, (void)place_inout, (void)links_inout;
}

#else

#include <hwloc.h>
#include <stdio.h>
#include <string.h>

/* The whole machine, also what a cgroup hides: processes of one node must use the same kinds and numbers. Groups stay,
 * for without them a NUMA domain smaller than its package would take the processors of the package. */
static int load_machine(enum hwloc_type_filter_e devices, hwloc_topology_t *machine_out)
{
    hwloc_topology_t machine = NULL;
    if (hwloc_topology_init(&machine) != 0)
        return -1;
    if (hwloc_topology_set_all_types_filter(machine, HWLOC_TYPE_FILTER_KEEP_NONE) != 0 ||
        hwloc_topology_set_type_filter(machine, HWLOC_OBJ_PACKAGE, HWLOC_TYPE_FILTER_KEEP_ALL) != 0 ||
        hwloc_topology_set_type_filter(machine, HWLOC_OBJ_GROUP, HWLOC_TYPE_FILTER_KEEP_STRUCTURE) != 0 ||
        hwloc_topology_set_io_types_filter(machine, devices) != 0 ||
        hwloc_topology_set_flags(machine, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0 ||
        hwloc_topology_load(machine) != 0) {
        hwloc_topology_destroy(machine);
        return -1;
    }
    *machine_out = machine;
    return 0;
}

/* NUMA domains that have processors; memory alone binds nobody. */
static int count_domains(hwloc_topology_t machine)
{
    int count = 0;
    hwloc_obj_t object = NULL;
    while ((object = hwloc_get_next_obj_by_type(machine, HWLOC_OBJ_NUMANODE, object)) != NULL)
        count += !hwloc_bitmap_iszero(object->cpuset);
    return count;
}

/* Smallest object of a kind that holds all of a set; the first of several as small. */
static int find_domain(hwloc_topology_t machine, hwloc_obj_type_t kind, hwloc_const_cpuset_t bound)
{
    hwloc_obj_t best = NULL;
    hwloc_obj_t object = NULL;
    while ((object = hwloc_get_next_obj_by_type(machine, kind, object)) != NULL) {
        int is_bound = hwloc_bitmap_isincluded(bound, object->cpuset);
        if (is_bound && (best == NULL || hwloc_bitmap_weight(object->cpuset) < hwloc_bitmap_weight(best->cpuset)))
            best = object;
    }
    return best == NULL ? -1 : (int)best->logical_index;
}

int tli_discover_domain(void)
{
    int domain = -1;
    hwloc_topology_t machine = NULL;
    hwloc_bitmap_t bound = hwloc_bitmap_alloc();
    /* The binding of all threads together: one thread pinned to a core does not bind its process. */
    if (bound != NULL && load_machine(HWLOC_TYPE_FILTER_KEEP_NONE, &machine) == 0 &&
        hwloc_get_cpubind(machine, bound, HWLOC_CPUBIND_PROCESS) == 0 && !hwloc_bitmap_iszero(bound))
        domain = find_domain(machine, count_domains(machine) > 1 ? HWLOC_OBJ_NUMANODE : HWLOC_OBJ_PACKAGE, bound);
    if (machine != NULL)
        hwloc_topology_destroy(machine);
    hwloc_bitmap_free(bound);
    return domain;
}

static hwloc_obj_t find_pci(hwloc_topology_t machine, int64_t pci)
{
    return hwloc_get_pcidev_by_busid(machine, TLI_PCI_DOMAIN(pci), TLI_PCI_BUS(pci), TLI_PCI_DEVICE(pci), 0);
}

static int is_inside(hwloc_obj_t object, hwloc_obj_t ancestor)
{
    while (object != NULL && object != ancestor)
        object = object->parent;
    return object != NULL;
}

static hwloc_obj_t common_ancestor(hwloc_obj_t a, hwloc_obj_t b)
{
    while (!is_inside(b, a))
        a = a->parent;
    return a;
}

/* Everything under one root port is behind a switch: a port leads to one place. */
static tli_gpu_distance_t pci_distance(hwloc_topology_t machine, hwloc_obj_t a, hwloc_obj_t b)
{
    hwloc_obj_t common = common_ancestor(a, b);
    if (common->type == HWLOC_OBJ_BRIDGE && common->attr->bridge.upstream_type == HWLOC_OBJ_BRIDGE_PCI)
        return TLI_GPU_PCIE_SWITCH;
    if (common->type == HWLOC_OBJ_MACHINE && hwloc_get_nbobjs_by_type(machine, HWLOC_OBJ_PACKAGE) > 1)
        return TLI_GPU_SOCKETS;
    return TLI_GPU_HOST_BRIDGE;
}

/* The NUMA domain of a device; -1 where it is as near to several. */
static int find_numa(hwloc_topology_t machine, hwloc_obj_t device)
{
    hwloc_obj_t at = hwloc_get_non_io_ancestor_obj(machine, device);
    int is_one = at != NULL && hwloc_bitmap_weight(at->nodeset) == 1;
    return is_one ? hwloc_bitmap_first(at->nodeset) : -1;
}

/* Software networks hang on no device; an InfiniBand port that is not active (4) leads nowhere. */
static int is_usable_nic(hwloc_obj_t object, hwloc_obj_osdev_type_t kind)
{
    const char *state = hwloc_obj_get_info_by_name(object, "Port1State");
    return object->attr->osdev.type == kind && object->parent->type == HWLOC_OBJ_PCI_DEVICE &&
           (state == NULL || strcmp(state, "4") == 0);
}

/* NICs of a kind below an ancestor of the GPU; the last one looked at is number `wanted`. */
static int count_nics(hwloc_topology_t machine, hwloc_obj_t ancestor, hwloc_obj_osdev_type_t kind, int wanted,
                      hwloc_obj_t *nic_out)
{
    int count = 0;
    hwloc_obj_t object = NULL;
    while ((object = hwloc_get_next_osdev(machine, object)) != NULL)
        if (is_usable_nic(object, kind) && is_inside(object, ancestor) && count++ == wanted)
            *nic_out = object;
    return count;
}

/* GPUs of one maker below an ancestor that come before this one. */
static int count_gpus_before(hwloc_topology_t machine, hwloc_obj_t ancestor, hwloc_obj_t gpu)
{
    enum { DISPLAY_CLASS = 0x03 };
    int count = 0;
    hwloc_obj_t object = NULL;
    while ((object = hwloc_get_next_pcidev(machine, object)) != NULL && object != gpu)
        count += object->attr->pcidev.class_id >> 8 == DISPLAY_CLASS &&
                 object->attr->pcidev.vendor_id == gpu->attr->pcidev.vendor_id && is_inside(object, ancestor);
    return count;
}

/* Up from the GPU to the first ancestor with NICs below; if with several, GPUs beside each other share them out. */
static hwloc_obj_t nearest_nic(hwloc_topology_t machine, hwloc_obj_t gpu, hwloc_obj_osdev_type_t kind)
{
    hwloc_obj_t nic = NULL;
    for (hwloc_obj_t ancestor = gpu->parent; ancestor != NULL && nic == NULL; ancestor = ancestor->parent) {
        int count = count_nics(machine, ancestor, kind, 0, &nic);
        if (count > 1)
            count_nics(machine, ancestor, kind, count_gpus_before(machine, ancestor, gpu) % count, &nic);
    }
    return nic;
}

static void find_nic(hwloc_topology_t machine, hwloc_obj_t gpu, tli_place_t *place)
{
    hwloc_obj_t nic = nearest_nic(machine, gpu, HWLOC_OBJ_OSDEV_OPENFABRICS);
    place->has_rdma = nic != NULL;
    if (nic == NULL)
        nic = nearest_nic(machine, gpu, HWLOC_OBJ_OSDEV_NETWORK);
    if (nic != NULL)
        snprintf(place->nic, sizeof place->nic, "%s", nic->name);
}

void tli_discover_pci(const int64_t *gpus, int num_gpus, int mine, tli_place_t *place_inout,
                      tli_gpu_link_t *links_inout)
{
    hwloc_topology_t machine = NULL;
    hwloc_obj_t gpu = NULL;
    if (load_machine(HWLOC_TYPE_FILTER_KEEP_IMPORTANT, &machine) != 0)
        return;
    gpu = find_pci(machine, gpus[mine]);
    if (gpu != NULL) {
        place_inout->gpu_numa = find_numa(machine, gpu);
        find_nic(machine, gpu, place_inout);
    }
    for (int i = 0; i < num_gpus && gpu != NULL; i++) {
        hwloc_obj_t other = find_pci(machine, gpus[i]);
        if (other != NULL && other != gpu)
            links_inout[i].distance = pci_distance(machine, gpu, other);
    }
    hwloc_topology_destroy(machine);
}

#endif
