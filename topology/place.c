/* SPDX-License-Identifier: Apache-2.0
 * From places to a topology: which groups become a level, and what is known of the links. All ranks hold the same
 * places and come to the same answer. */
#include "topology/place.h"

#include <math.h>
#include <string.h>

#include "src/fault.h"
#include "topology/gpu.h"
#include "topology/model.h"

tli_place_t tli_place_unknown(void)
{
    tli_place_t place;
    memset(&place, 0, sizeof place); /* padding too: places are sent as bytes */
    place.node = place.bound_domain = place.gpu_domain = place.gpu_numa = -1;
    place.gpu_reach = TLI_GPU_UNKNOWN;
    place.gpu_pci = -1;
    return place;
}

tulle_status_t tli_topology_set_places(tulle_topology_t *topology, const tli_place_t *places)
{
    tulle_status_t st = TULLE_OK;
    size_t bytes = (size_t)topology->num_ranks * sizeof *places;
    if (places != NULL) {
        TLI_TRY(tli_alloc_raw(bytes, &topology->places));
        memcpy(topology->places, places, bytes);
    }
done:
    return st;
}

static int has_gpu(int num_ranks, const tli_place_t *places)
{
    int found = 0;
    for (int rank = 0; rank < num_ranks && !found; rank++)
        found = places[rank].gpu_pci >= 0;
    return found;
}

/* Whether a domain is known of every rank: by its GPU, or by its binding. */
static int has_domains(int num_ranks, const tli_place_t *places, int by_gpu)
{
    int known = 1;
    for (int rank = 0; rank < num_ranks && known; rank++)
        known = (by_gpu ? places[rank].gpu_domain : places[rank].bound_domain) >= 0;
    return known;
}

/* One name for what all nodes have in common. */
static const char *level_name(int num_ranks, const tli_place_t *places)
{
    int reach = places[0].gpu_reach;
    for (int rank = 1; rank < num_ranks; rank++)
        if (places[rank].gpu_reach != reach)
            return "domain";
    return reach == TLI_GPU_NVLINK ? "nvlink" : reach == TLI_GPU_SAME ? "gpu" : "socket";
}

static tulle_status_t build(int num_ranks, const tli_place_t *places, int num_levels, int by_gpu,
                            tulle_topology_t **topology_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    const char *names[] = {"node", by_gpu ? level_name(num_ranks, places) : "domain"};
    int *group_of = NULL;
    TLI_TRY(tli_arena_alloc_raw(&scratch, 2 * (int64_t)num_ranks, sizeof(int), &group_of));
    for (int rank = 0; rank < num_ranks; rank++) {
        group_of[rank] = places[rank].node;
        group_of[num_ranks + rank] = by_gpu ? places[rank].gpu_domain : places[rank].bound_domain;
    }
    TLI_TRY(tli_topology_from_groups(num_ranks, num_levels, group_of, names, topology_out));
done:
    tli_arena_release(&scratch);
    return st;
}

/* Whether the groups inside nodes tell ranks apart. */
static int is_level_useful(const tulle_topology_t *topology, int by_gpu)
{
    const tli_level_t *nodes = &topology->levels[0];
    const tli_level_t *domains = &topology->levels[1];
    return domains->num_groups > nodes->num_groups && (!by_gpu || domains->num_groups < topology->num_ranks);
}

/* The slowest of one kind of link in any node; bytes_per_second 0 if none has such a link. */
static tulle_link_t slowest_link(int num_ranks, const tli_place_t *places, int is_across)
{
    tulle_link_t slowest = {.latency_ns = 0};
    for (int rank = 0; rank < num_ranks; rank++) {
        const tulle_link_t *link = is_across ? &places[rank].across : &places[rank].inside;
        if (link->bytes_per_second > 0 && slowest.bytes_per_second == 0)
            slowest = *link;
        else if (link->bytes_per_second > 0)
            slowest = (tulle_link_t){.latency_ns = fmax(slowest.latency_ns, link->latency_ns),
                                     .bytes_per_second = fmin(slowest.bytes_per_second, link->bytes_per_second)};
    }
    return slowest;
}

/* NICs that the ranks of one node use if each takes the nearest; 0 if one of them is not known to do RDMA. */
static int count_nics(const tli_level_t *nodes, int node, const tli_place_t *places)
{
    int count = 0;
    for (int i = nodes->member_ptr[node]; i < nodes->member_ptr[node + 1]; i++) {
        const tli_place_t *place = &places[nodes->members[i]];
        int is_new = 1;
        if (!place->has_rdma)
            return 0;
        for (int j = nodes->member_ptr[node]; j < i && is_new; j++)
            is_new = strcmp(places[nodes->members[j]].nic, place->nic) != 0;
        count += is_new;
    }
    return count;
}

/* The fewest of any node, as every rank plans with one figure. */
static void set_num_nics(tulle_topology_t *topology, const tli_place_t *places)
{
    tli_level_t *nodes = &topology->levels[0];
    int fewest = count_nics(nodes, 0, places);
    for (int node = 1; node < nodes->num_groups && fewest > 0; node++) {
        int count = count_nics(nodes, node, places);
        fewest = count < fewest ? count : fewest;
    }
    if (fewest > 0)
        nodes->link.num_links = fewest;
}

/* Farther is never faster: a planner would otherwise leave a domain in order to stay inside it. */
static void set_links(tulle_topology_t *topology, const tli_place_t *places)
{
    int last = topology->num_levels - 1;
    tulle_link_t inside = slowest_link(topology->num_ranks, places, 0);
    tulle_link_t across = slowest_link(topology->num_ranks, places, 1);
    if (last == 1 && across.bytes_per_second > 0)
        inside = across; /* every domain is a single rank */
    if (inside.bytes_per_second > 0)
        topology->levels[last].link = inside;
    if (last > 1 && across.bytes_per_second > 0) {
        across.latency_ns = fmax(across.latency_ns, inside.latency_ns);
        across.bytes_per_second = fmin(across.bytes_per_second, inside.bytes_per_second);
        topology->levels[1].link = across;
    }
    set_num_nics(topology, places);
}

tulle_status_t tli_topology_from_places(int num_ranks, const tli_place_t *places, tulle_topology_t **topology_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_topology_t *topology = NULL;
    int by_gpu = has_domains(num_ranks, places, 1);
    int num_levels = by_gpu || has_domains(num_ranks, places, 0) ? 2 : 1;
    TLI_TRY(build(num_ranks, places, num_levels, by_gpu, &topology));
    if (num_levels == 2 && !is_level_useful(topology, by_gpu)) {
        tulle_topology_destroy(&topology);
        TLI_TRY(build(num_ranks, places, 1, by_gpu, &topology));
    }
    if (by_gpu)
        set_links(topology, places);
    TLI_TRY(tli_topology_set_places(topology, has_gpu(num_ranks, places) ? places : NULL));
    *topology_out = topology;
    topology = NULL;
done:
    tulle_topology_destroy(&topology);
    return st;
}
