/* SPDX-License-Identifier: Apache-2.0
 * The table for people: one line per level, then the ranks of each node, with brackets around inner groups, and
 * where a discovered job uses GPUs, the GPU of every rank and the NIC nearest to it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/device/device.h"
#include "src/fault.h"
#include "topology/model.h"
#include "topology/outline.h"

/* Text of a small number or range. */
typedef struct cell {
    char text[32];
} cell_t;

static cell_t range_cell(int first, int last)
{
    cell_t cell;
    if (first == last)
        snprintf(cell.text, sizeof cell.text, "%d", first);
    else
        snprintf(cell.text, sizeof cell.text, "%d-%d", first, last);
    return cell;
}

static cell_t links_cell(int num_links)
{
    cell_t cell = {"one per rank"};
    if (num_links > 0)
        snprintf(cell.text, sizeof cell.text, "%d", num_links);
    return cell;
}

static void print_level(const tli_level_t *level, FILE *out)
{
    int least = level->member_ptr[1];
    int most = least;
    for (int group = 1; group < level->num_groups; group++) {
        int size = level->member_ptr[group + 1] - level->member_ptr[group];
        least = size < least ? size : least;
        most = size > most ? size : most;
    }
    fprintf(out, "%-16s %9d %14s %9.4g ns %11.4g GB/s   %s", level->name, level->num_groups,
            range_cell(least, most).text, level->link.latency_ns, level->link.bytes_per_second / 1e9,
            links_cell(level->link.num_links).text);
    if (level->link.group_bytes_per_second > 0)
        fprintf(out, ", %.4g GB/s together", level->link.group_bytes_per_second / 1e9);
    if (level->link.group_overhead_ns > 0)
        fprintf(out, ", %.4g ns per further rank", level->link.group_overhead_ns);
    if (level->link.overhead_ns > 0)
        fprintf(out, ", %.4g ns per further message", level->link.overhead_ns);
    if (level->carrier.transport != TULLE_TRANSPORT_AUTO)
        fprintf(out, ", messages of %s", tulle_transport_name(level->carrier.transport));
    fprintf(out, "\n");
}

/* Ranks of the slots of one innermost group, consecutive ones as a range. */
static void print_ranks(const tli_outline_t *outline, int group, FILE *out)
{
    const int *ptr = outline->child_ptr[outline->num_levels - 1];
    const int *ranks = outline->rank_of_slot;
    int last = 0;
    for (int slot = ptr[group]; slot < ptr[group + 1]; slot = last + 1) {
        for (last = slot; last + 1 < ptr[group + 1] && ranks[last + 1] == ranks[last] + 1;)
            last++;
        fprintf(out, "%s%s", slot > ptr[group] ? " " : "", range_cell(ranks[slot], ranks[last]).text);
    }
}

static void print_group(const tli_outline_t *outline, int level, int group, FILE *out)
{
    const int *ptr = outline->child_ptr[level];
    if (level == outline->num_levels - 1) {
        print_ranks(outline, group, out);
        return;
    }
    for (int child = ptr[group]; child < ptr[group + 1]; child++) {
        fprintf(out, "%s[", child > ptr[group] ? " " : "");
        print_group(outline, level + 1, child, out);
        fprintf(out, "]");
    }
}

/* "  rank 3: GPU 0000:1b:00.0, NUMA 0, NIC mlx5_0"; nothing for a rank without a GPU. */
static void print_place(int rank, const tli_place_t *place, FILE *out)
{
    if (place->gpu_pci < 0)
        return;
    fprintf(out, "  rank %d: GPU %04x:%02x:%02x.0", rank, TLI_PCI_DOMAIN(place->gpu_pci), TLI_PCI_BUS(place->gpu_pci),
            TLI_PCI_DEVICE(place->gpu_pci));
    if (place->gpu_numa >= 0)
        fprintf(out, ", NUMA %d", (int)place->gpu_numa);
    if (place->nic[0] != '\0')
        fprintf(out, ", NIC %s", place->nic);
    fprintf(out, "\n");
}

static void print_places(const tulle_topology_t *topology, int node, FILE *out)
{
    const tli_level_t *nodes = &topology->levels[0];
    for (int i = nodes->member_ptr[node]; i < nodes->member_ptr[node + 1] && topology->places != NULL; i++)
        print_place(nodes->members[i], &topology->places[nodes->members[i]], out);
}

tulle_status_t tulle_topology_print(const tulle_topology_t *topology, FILE *out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_outline_t outline;
    TLI_REQUIRE(topology != NULL && out != NULL, TULLE_ERR_ARG, "the topology or the stream is NULL");
    TLI_TRY(tli_outline_of(topology, &scratch, &outline));
    fprintf(out, "topology %s\n", topology->text);
    fprintf(out, "%-16s %9s %14s %12s %16s   %s\n", "level", "groups", "ranks in each", "latency", "bandwidth",
            "links out of each");
    for (int l = 0; l < topology->num_levels; l++)
        print_level(&topology->levels[l], out);
    for (int node = 0; node < outline.num_groups[0]; node++) {
        fprintf(out, "%s %d: ", topology->levels[0].name, node);
        print_group(&outline, 0, node, out);
        fprintf(out, "\n");
        print_places(topology, node, out);
    }
    TLI_REQUIRE(fflush(out) == 0 && !ferror(out), TULLE_ERR_FILE, "cannot write the topology: %s", strerror(errno));
done:
    tli_arena_release(&scratch);
    return st;
}
