/* SPDX-License-Identifier: Apache-2.0
 * Ranks of a node that use GPUs, on a machine that is made up twice: two_sockets.xml for hwloc and fake_nvml.c for
 * NVML. The first argument says whether that library is in the path. Rank i uses GPU i mod 4. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/world.h"
#include "topology/discover.h"
#include "topology/model.h"

#ifdef TULLE_HAVE_HWLOC
#define HAS_HWLOC 1
#else
#define HAS_HWLOC 0
#endif

enum { NUM_GPUS = 4, A100 = 80 };

static const unsigned buses[NUM_GPUS] = {0x1b, 0x3d, 0x9b, 0xbd};
static const char *const nics[NUM_GPUS] = {"mlx5_0", "mlx5_1", "mlx5_3", "mlx5_3"};
static int has_nvml;

static tli_gpu_t gpu_of(int rank)
{
    tli_gpu_t gpu;
    memset(&gpu, 0, sizeof gpu);
    gpu.pci = TLI_PCI(0, buses[rank % NUM_GPUS], 0);
    gpu.uuid[0] = (unsigned char)(1 + rank % NUM_GPUS);
    gpu.capability = A100;
    return gpu;
}

static void begin(int with_machine)
{
    unsetenv("HWLOC_XMLFILE");
    if (with_machine)
        spt_assert_all(setenv("HWLOC_XMLFILE", MACHINE_XML, 1) == 0);
}

/* The places of all ranks, as discovery in a job collects them. */
static tli_place_t *discover(const tli_gpu_t *mine)
{
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_node_gpus_t room;
    tli_place_t place = tli_place_unknown();
    tli_place_t *places = spt_alloc(spt_size(), sizeof *places);
    place.node = 0;
    spt_assert_ok_all(tli_node_gpus_alloc(&scratch, spt_size(), &room));
    spt_assert_ok_all(tli_discover_gpu(MPI_COMM_WORLD, mine, &room, &place));
    MPI_Allgather(&place, (int)sizeof place, MPI_BYTE, places, (int)sizeof place, MPI_BYTE, MPI_COMM_WORLD);
    tli_arena_release(&scratch);
    unsetenv("HWLOC_XMLFILE");
    return places;
}

static tulle_topology_t *build(const tli_place_t *places)
{
    tulle_topology_t *topology = NULL;
    spt_assert_ok_all(tli_topology_from_places(spt_size(), places, &topology));
    return topology;
}

static void check_link(const tulle_topology_t *topology, int level, double bytes_per_second)
{
    tulle_link_t link;
    spt_assert_ok_all(tulle_topology_get_link(topology, level, &link));
    spt_assert_all(link.bytes_per_second == bytes_per_second);
}

static void test_gpu_places_are_those_of_the_machine(void **state)
{
    tli_gpu_t mine = gpu_of(spt_rank());
    begin(1);
    tli_place_t *places = discover(&mine);
    for (int rank = 0; rank < spt_size(); rank++) {
        int gpu = rank % NUM_GPUS;
        spt_assert_all(places[rank].gpu_pci == gpu_of(rank).pci);
        spt_assert_all(places[rank].gpu_numa == (HAS_HWLOC ? gpu / 2 : -1));
        spt_assert_all(strcmp(places[rank].nic, HAS_HWLOC ? nics[gpu] : "") == 0);
        spt_assert_all(places[rank].has_rdma == HAS_HWLOC);
    }
}

/* By NVML two pairs with NVLink, 2 and 3 links of 25 GB/s; without it hwloc's two sockets, or ranks that share a GPU.
 */
static void test_gpu_pairs_are_domains(void **state)
{
    tli_gpu_t mine = gpu_of(spt_rank());
    int is_shared = spt_size() > NUM_GPUS;
    begin(1);
    tli_place_t *places = discover(&mine);
    if (!has_nvml && !HAS_HWLOC) {
        spt_assert_all(places[0].gpu_domain == (spt_size() == 1 ? 0 : -1));
        return;
    }
    tulle_topology_t *topology = build(places);
    if (spt_size() > 2) {
        const char *name = has_nvml ? "nvlink" : is_shared ? "gpu" : "socket";
        int shift = !has_nvml && is_shared ? 0 : 1; /* GPUs per domain: one or two */
        spt_assert_all(strcmp(tulle_topology_level_name(topology, 1), name) == 0);
        for (int rank = 0; rank < spt_size(); rank++)
            spt_assert_all(tulle_topology_group(topology, 1, rank) == rank % NUM_GPUS >> shift);
    } else {
        spt_assert_all(tulle_topology_num_levels(topology) == 2);
    }
    if (spt_size() > 1 && has_nvml)
        check_link(topology, tulle_topology_num_levels(topology) - 1, 2 * 25e9);
    if (spt_size() > 2 && has_nvml)
        check_link(topology, 1, 20e9);
    tulle_topology_destroy(&topology);
}

static void test_gpu_links_of_a_switch_all_count(void **state)
{
    tli_gpu_t mine = gpu_of(2 + spt_rank() % 2);
    begin(1);
    tli_place_t *places = discover(&mine);
    spt_assert_all(!has_nvml || spt_size() == 1 || places[0].inside.bytes_per_second == 3 * 25e9);
}

static void test_gpu_parts_of_one_gpu_are_two(void **state)
{
    tli_gpu_t mine = gpu_of(0);
    mine.uuid[0] = (unsigned char)(1 + spt_rank() % 2);
    begin(1);
    tli_place_t *places = discover(&mine);
    /* Near each other, but reached through the host only. */
    spt_assert_all(places[0].gpu_domain == 0);
    if (spt_size() == 2)
        spt_assert_all(places[1].gpu_domain == 0 && places[0].inside.latency_ns > 10000);
}

static void test_gpu_missing_on_one_rank_is_no_error(void **state)
{
    tli_gpu_t mine = gpu_of(spt_rank());
    if (spt_rank() == spt_size() - 1)
        mine = (tli_gpu_t){.pci = -1};
    begin(1);
    tli_place_t *places = discover(&mine);
    spt_assert_all(places[spt_size() - 1].gpu_pci == -1 && places[spt_size() - 1].gpu_domain == -1);
    spt_assert_all(spt_size() == 1 || places[0].gpu_pci == gpu_of(0).pci);
    tulle_topology_t *topology = build(places);
    spt_assert_all(tulle_topology_num_levels(topology) == 2);
    tulle_topology_destroy(&topology);
}

/* Neither library knows these GPUs: nothing is guessed. */
static void test_gpu_unknown_to_all_libraries_has_no_domain(void **state)
{
    tli_gpu_t mine = gpu_of(spt_rank());
    mine.pci = TLI_PCI(0x7f, 0x10 + spt_rank(), 3);
    begin(1);
    tli_place_t *places = discover(&mine);
    spt_assert_all(places[0].gpu_pci >= 0 && places[0].gpu_numa == -1 && places[0].nic[0] == '\0');
    spt_assert_all(places[0].gpu_domain == (spt_size() == 1 ? 0 : -1));
}

static void test_gpu_nvml_that_does_not_start_is_no_error(void **state)
{
    tli_gpu_t mine = gpu_of(spt_rank());
    spt_assert_all(setenv("FAKE_NVML", "broken", 1) == 0);
    begin(0);
    tli_place_t *places = discover(&mine);
    unsetenv("FAKE_NVML");
    spt_assert_all(places[spt_rank()].gpu_pci == mine.pci);
    spt_assert_all(places[0].gpu_reach != TLI_GPU_NVLINK);
}

/* In another order than that of the bus. */
static void test_gpu_ranks_in_any_order_agree(void **state)
{
    tli_gpu_t mine = gpu_of(spt_rank() * 3);
    begin(1);
    tli_place_t *places = discover(&mine);
    tulle_topology_t *topology = build(places);
    uint64_t hash = tli_topology_hash(topology), least = 0, most = 0;
    MPI_Allreduce(&hash, &least, 1, MPI_UINT64_T, MPI_MIN, MPI_COMM_WORLD);
    MPI_Allreduce(&hash, &most, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
    spt_assert_all(least == most);
    tulle_topology_destroy(&topology);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_gpu_places_are_those_of_the_machine),
        spt_test(test_gpu_pairs_are_domains),
        spt_test(test_gpu_links_of_a_switch_all_count),
        spt_test(test_gpu_parts_of_one_gpu_are_two),
        spt_test(test_gpu_missing_on_one_rank_is_no_error),
        spt_test(test_gpu_unknown_to_all_libraries_has_no_domain),
        spt_test(test_gpu_nvml_that_does_not_start_is_no_error),
        spt_test(test_gpu_ranks_in_any_order_agree),
    };
    spt_init(&argc, &argv);
    has_nvml = argc > 1 && strcmp(argv[1], "nvml") == 0;
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
