/* SPDX-License-Identifier: Apache-2.0
 * The GPUs of a node in a running job. Every rank looks from its own GPU at those of its neighbours, which it may not
 * see itself (CUDA_VISIBLE_DEVICES): addresses on the PCI bus are what they all have in common. */
#include <string.h>

#include "src/agree.h"
#include "topology/discover.h"

/* The different GPUs of a node, in the order of their first rank. */
typedef struct gpu_list {
    int num_gpus;
    int64_t pci[TLI_NODE_GPUS];
    int first_rank[TLI_NODE_GPUS]; /* of the node */
    int num_ranks[TLI_NODE_GPUS];
} gpu_list_t;

tulle_status_t tli_node_gpus_alloc(tli_arena_t *arena, int num_ranks, tli_node_gpus_t *room_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc(arena, num_ranks, sizeof *room_out->gpus, &room_out->gpus));
    TLI_TRY(tli_arena_alloc(arena, (int64_t)num_ranks * TLI_NODE_GPUS, sizeof *room_out->rows, &room_out->rows));
done:
    return st;
}

static int find_gpu(const gpu_list_t *list, const tli_gpu_t *gpus, const tli_gpu_t *wanted)
{
    int found = 0;
    while (found < list->num_gpus && memcmp(&gpus[list->first_rank[found]], wanted, sizeof *wanted) != 0)
        found++;
    return found;
}

/* More GPUs than are looked at: none is. */
static void list_gpus(int num_ranks, const tli_gpu_t *gpus, gpu_list_t *list)
{
    memset(list, 0, sizeof *list);
    for (int rank = 0; rank < num_ranks; rank++) {
        int at = find_gpu(list, gpus, &gpus[rank]);
        if (gpus[rank].pci < 0)
            continue;
        if (at == TLI_NODE_GPUS) {
            list->num_gpus = 0;
            return;
        }
        if (at == list->num_gpus) {
            list->pci[at] = gpus[rank].pci;
            list->first_rank[at] = rank;
            list->num_gpus++;
        }
        list->num_ranks[at]++;
    }
}

/* What I see from my GPU. Parts of one divided GPU have one address: near, but without access to each other. */
static void look_around(const gpu_list_t *list, const tli_gpu_t *gpu, int mine, tli_place_t *place,
                        tli_gpu_link_t *links)
{
    for (int other = 0; other < list->num_gpus; other++) {
        int is_part = list->pci[other] == gpu->pci;
        links[other] = (tli_gpu_link_t){.distance = is_part ? TLI_GPU_PCIE_SWITCH : TLI_GPU_UNKNOWN,
                                        .capability = gpu->capability,
                                        .peer_access = is_part ? 0 : tli_device_peer_access(list->pci[other])};
    }
    tli_discover_pci(list->pci, list->num_gpus, mine, place, links);
    tli_discover_nvlinks(list->pci, list->num_gpus, mine, links);
    links[mine].distance = TLI_GPU_SAME;
    links[mine].peer_access = 1;
}

/* One rank of each GPU speaks for it. */
static void combine_rows(const gpu_list_t *list, const tli_gpu_link_t *rows, tli_gpu_link_t *links)
{
    for (int a = 0; a < list->num_gpus; a++)
        for (int b = 0; b < list->num_gpus; b++)
            links[a * list->num_gpus + b] = tli_gpu_link_combine(&rows[list->first_rank[a] * TLI_NODE_GPUS + b],
                                                                 &rows[list->first_rank[b] * TLI_NODE_GPUS + a]);
}

static void take_domain(const tli_gpu_domains_t *domains, int mine, tli_place_t *place)
{
    if (domains->num_domains > 0) {
        place->gpu_domain = domains->domain_of[mine];
        place->gpu_reach = domains->reach;
        place->inside = domains->inside;
        place->across = domains->across;
    }
}

tulle_status_t tli_discover_gpu(MPI_Comm node_comm, const tli_gpu_t *mine, const tli_node_gpus_t *room,
                                tli_place_t *place_inout)
{
    tulle_status_t st = TULLE_OK;
    int num_ranks = 0;
    int my_index = 0;
    gpu_list_t list;
    tli_gpu_link_t row[TLI_NODE_GPUS];
    tli_gpu_link_t links[TLI_NODE_GPUS * TLI_NODE_GPUS];
    tli_gpu_domains_t domains;
    memset(row, 0, sizeof row);
    TLI_MPI(MPI_Comm_size(node_comm, &num_ranks));
    TLI_MPI(MPI_Allgather(mine, (int)sizeof *mine, MPI_BYTE, room->gpus, (int)sizeof *mine, MPI_BYTE, node_comm));
    list_gpus(num_ranks, room->gpus, &list);
    if (list.num_gpus == 0)
        goto done;
    my_index = find_gpu(&list, room->gpus, mine);
    if (mine->pci >= 0) {
        place_inout->gpu_pci = mine->pci;
        look_around(&list, mine, my_index, place_inout, row);
    }
    TLI_MPI(MPI_Allgather(row, (int)sizeof row, MPI_BYTE, room->rows, (int)sizeof row, MPI_BYTE, node_comm));
    combine_rows(&list, room->rows, links);
    tli_gpu_find_domains(list.num_gpus, links, list.num_ranks, &domains);
    if (mine->pci >= 0)
        take_domain(&domains, my_index, place_inout);
done:
    return st;
}
