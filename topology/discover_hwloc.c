/* SPDX-License-Identifier: Apache-2.0
 * The domain of this process by hwloc. Nothing here is worth failing a job for: what cannot be known is -1. */
#include "topology/discover.h"

#ifndef TULLE_HAVE_HWLOC

int tli_discover_domain(void)
{
    return -1;
}

#else

#include <hwloc.h>

/* The whole machine, also what a cgroup hides: processes of one node must use the same kinds and numbers. Groups stay,
 * for without them a NUMA domain smaller than its package would take the processors of the package. */
static int load_machine(hwloc_topology_t *machine_out)
{
    hwloc_topology_t machine = NULL;
    if (hwloc_topology_init(&machine) != 0)
        return -1;
    if (hwloc_topology_set_all_types_filter(machine, HWLOC_TYPE_FILTER_KEEP_NONE) != 0 ||
        hwloc_topology_set_type_filter(machine, HWLOC_OBJ_PACKAGE, HWLOC_TYPE_FILTER_KEEP_ALL) != 0 ||
        hwloc_topology_set_type_filter(machine, HWLOC_OBJ_GROUP, HWLOC_TYPE_FILTER_KEEP_STRUCTURE) != 0 ||
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
        int is_inside = hwloc_bitmap_isincluded(bound, object->cpuset);
        if (is_inside && (best == NULL || hwloc_bitmap_weight(object->cpuset) < hwloc_bitmap_weight(best->cpuset)))
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
    if (bound != NULL && load_machine(&machine) == 0 && hwloc_get_cpubind(machine, bound, HWLOC_CPUBIND_PROCESS) == 0 &&
        !hwloc_bitmap_iszero(bound))
        domain = find_domain(machine, count_domains(machine) > 1 ? HWLOC_OBJ_NUMANODE : HWLOC_OBJ_PACKAGE, bound);
    if (machine != NULL)
        hwloc_topology_destroy(machine);
    hwloc_bitmap_free(bound);
    return domain;
}

#endif
