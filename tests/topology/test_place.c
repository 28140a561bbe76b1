/* SPDX-License-Identifier: Apache-2.0
 * From what ranks found out to a tree: nodes, binding, GPU domains, links, NICs, and what is printed of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/device/device.h"
#include "topology/gpu.h"
#include "topology/model.h"

#define RANKS 6

/* Node, then domain of binding, then of GPU of six ranks; how near GPUs of a domain are; the tree. */
typedef struct finding {
    int node[RANKS];
    int bound_domain[RANKS];
    int gpu_domain[RANKS];
    tli_gpu_distance_t reach;
    const char *text;
    const char *level; /* name of the level inside nodes */
} finding_t;

/* clang-format off */
#define NONE {-1, -1, -1, -1, -1, -1}
/* clang-format on */

static const finding_t findings[] = {
    {{0, 0, 0, 0, 0, 0}, NONE, NONE, TLI_GPU_UNKNOWN, "6", "rank"},
    {{0, 0, 0, 3, 3, 3}, NONE, NONE, TLI_GPU_UNKNOWN, "2x3", "rank"},
    {{0, 1, 0, 1, 0, 1}, NONE, NONE, TLI_GPU_UNKNOWN, "2x3:cyclic", "rank"},
    /* The same domain number on different nodes is not the same domain. */
    {{0, 0, 0, 3, 3, 3}, {0, 0, 1, 0, 0, 1}, NONE, TLI_GPU_UNKNOWN, "2x(2,1)", "domain"},
    {{0, 0, 0, 3, 3, 3}, {0, 0, 1, 5, 5, 5}, NONE, TLI_GPU_UNKNOWN, "(2,1),3", "domain"},
    /* One rank bound to nothing: nobody has a domain. */
    {{0, 0, 0, 3, 3, 3}, {0, 0, 1, 0, -1, 1}, NONE, TLI_GPU_UNKNOWN, "2x3", "rank"},
    /* No node has two domains. */
    {{0, 0, 0, 3, 3, 3}, {0, 0, 0, 1, 1, 1}, NONE, TLI_GPU_UNKNOWN, "2x3", "rank"},
    {{0, 0, 0, 0, 0, 0}, {0, 1, 0, 1, 0, 1}, NONE, TLI_GPU_UNKNOWN, "1x2x3:custom", "domain"},
    /* GPUs decide where every rank has one, also that there is no level. */
    {{0, 0, 0, 0, 0, 0}, {0, 1, 0, 1, 0, 1}, {0, 0, 0, 1, 1, 1}, TLI_GPU_NVLINK, "1x2x3", "nvlink"},
    {{0, 0, 0, 3, 3, 3}, {0, 0, 1, 0, 0, 1}, {0, 0, 0, 0, 0, 0}, TLI_GPU_NVLINK, "2x3", "rank"},
    {{0, 0, 0, 3, 3, 3}, NONE, {0, 0, 1, 0, 0, 1}, TLI_GPU_SAME, "2x(2,1)", "gpu"},
    {{0, 0, 0, 3, 3, 3}, NONE, {0, 1, 1, 0, 0, 0}, TLI_GPU_HOST_BRIDGE, "(1,2),3", "socket"},
    /* Every rank alone: the level would be that of the ranks. */
    {{0, 0, 0, 3, 3, 3}, NONE, {0, 1, 2, 0, 1, 2}, TLI_GPU_HOST_BRIDGE, "2x3", "rank"},
    /* One rank without a GPU: binding decides. */
    {{0, 0, 0, 3, 3, 3}, {0, 0, 1, 0, 0, 1}, {0, 1, 1, 0, 1, -1}, TLI_GPU_NVLINK, "2x(2,1)", "domain"},
};

static void make_places(const finding_t *finding, tli_place_t *places)
{
    for (int rank = 0; rank < RANKS; rank++) {
        places[rank] = tli_place_unknown();
        places[rank].node = finding->node[rank];
        places[rank].bound_domain = finding->bound_domain[rank];
        places[rank].gpu_domain = finding->gpu_domain[rank];
        places[rank].gpu_reach = finding->reach;
        if (finding->gpu_domain[rank] >= 0)
            places[rank].gpu_pci = TLI_PCI(0, 0x10 + rank, 0);
    }
}

static void test_places_made_up_machines(void **state)
{
    for (size_t i = 0; i < sizeof findings / sizeof *findings; i++) {
        tulle_topology_t *topology = NULL;
        tli_place_t places[RANKS];
        make_places(&findings[i], places);
        assert_int_equal(tli_topology_from_places(RANKS, places, &topology), TULLE_OK);
        assert_string_equal(tulle_topology_text(topology), findings[i].text);
        assert_string_equal(tulle_topology_level_name(topology, 1), findings[i].level);
        tulle_topology_destroy(&topology);
    }
}

static void check_link(const tulle_topology_t *topology, int level, double latency_ns, double bytes_per_second)
{
    tulle_link_t link;
    assert_int_equal(tulle_topology_get_link(topology, level, &link), TULLE_OK);
    assert_true(link.latency_ns == latency_ns);
    assert_true(link.bytes_per_second == bytes_per_second);
}

/* Two nodes of three GPUs, of which two are linked. */
static const finding_t linked_pairs = {{0, 0, 0, 3, 3, 3}, NONE,      {0, 0, 1, 0, 0, 1},
                                       TLI_GPU_NVLINK,     "2x(2,1)", "nvlink"};

static void test_places_links_are_the_slowest_of_any_node(void **state)
{
    tulle_topology_t *topology = NULL;
    tli_place_t places[RANKS];
    make_places(&linked_pairs, places);
    for (int rank = 0; rank < RANKS; rank++) {
        places[rank].inside = (tulle_link_t){.latency_ns = 1500, .bytes_per_second = rank < 3 ? 300e9 : 200e9};
        places[rank].across = (tulle_link_t){.latency_ns = rank < 3 ? 3000 : 4000, .bytes_per_second = 30e9};
    }
    assert_int_equal(tli_topology_from_places(RANKS, places, &topology), TULLE_OK);
    check_link(topology, 0, 2000, 12.5e9);
    check_link(topology, 1, 4000, 30e9);
    check_link(topology, 2, 1500, 200e9);
    tulle_topology_destroy(&topology);
    /* A path between domains is never faster than one inside. */
    places[0].across = (tulle_link_t){.latency_ns = 100, .bytes_per_second = 900e9};
    for (int rank = 1; rank < RANKS; rank++)
        places[rank].across = places[0].across;
    assert_int_equal(tli_topology_from_places(RANKS, places, &topology), TULLE_OK);
    check_link(topology, 1, 1500, 200e9);
    tulle_topology_destroy(&topology);
}

static void test_places_single_ranks_have_the_link_across(void **state)
{
    tulle_topology_t *topology = NULL;
    finding_t singles = linked_pairs;
    tli_place_t places[RANKS];
    for (int rank = 0; rank < RANKS; rank++)
        singles.gpu_domain[rank] = rank;
    make_places(&singles, places);
    places[2].across = (tulle_link_t){.latency_ns = 4000, .bytes_per_second = 16e9};
    assert_int_equal(tli_topology_from_places(RANKS, places, &topology), TULLE_OK);
    assert_int_equal(tulle_topology_num_levels(topology), 2);
    check_link(topology, 1, 4000, 16e9);
    tulle_topology_destroy(&topology);
}

static int num_nics(const tli_place_t *places)
{
    tulle_topology_t *topology = NULL;
    tulle_link_t link;
    assert_int_equal(tli_topology_from_places(RANKS, places, &topology), TULLE_OK);
    assert_int_equal(tulle_topology_get_link(topology, 0, &link), TULLE_OK);
    tulle_topology_destroy(&topology);
    return link.num_links;
}

static void test_places_nics_of_the_poorest_node_are_counted(void **state)
{
    tli_place_t places[RANKS];
    make_places(&linked_pairs, places);
    for (int rank = 0; rank < RANKS; rank++) {
        snprintf(places[rank].nic, sizeof places[rank].nic, "mlx5_%d", rank % 3);
        places[rank].has_rdma = 1;
    }
    assert_int_equal(num_nics(places), 3);
    memcpy(places[4].nic, places[3].nic, sizeof places[3].nic);
    assert_int_equal(num_nics(places), 2);
    /* One rank whose NIC is not known: what its node has is not known, and the default stays. */
    places[5].has_rdma = 0;
    assert_int_equal(num_nics(places), 1);
}

static char *print(const tulle_topology_t *topology)
{
    char *printed = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&printed, &length);
    assert_non_null(out);
    assert_int_equal(tulle_topology_print(topology, out), TULLE_OK);
    fclose(out);
    return printed;
}

static void test_places_are_printed_and_copied(void **state)
{
    tulle_topology_t *topology = NULL;
    tulle_topology_t *copy = NULL;
    tli_place_t places[RANKS];
    char *printed = NULL;
    char *printed_copy = NULL;
    make_places(&linked_pairs, places);
    snprintf(places[0].nic, sizeof places[0].nic, "mlx5_0");
    places[0].gpu_numa = places[1].gpu_numa = 1;
    places[2].gpu_pci = places[3].gpu_pci = -1;
    places[2].gpu_domain = -1;
    assert_int_equal(tli_topology_from_places(RANKS, places, &topology), TULLE_OK);
    assert_int_equal(tulle_topology_dup(topology, &copy), TULLE_OK);
    printed = print(topology);
    printed_copy = print(copy);
    assert_non_null(strstr(printed, "node 0: 0-2\n"
                                    "  rank 0: GPU 0000:10:00.0, NUMA 1, NIC mlx5_0\n"
                                    "  rank 1: GPU 0000:11:00.0, NUMA 1\n"
                                    "node 1: 3-5\n"
                                    "  rank 4: GPU 0000:14:00.0\n"
                                    "  rank 5: GPU 0000:15:00.0\n"));
    assert_string_equal(printed, printed_copy);
    free(printed);
    free(printed_copy);
    tulle_topology_destroy(&topology);
    tulle_topology_destroy(&copy);
}

static void test_places_failing_allocation_leaks_nothing(void **state)
{
    int64_t live = tli_alloc_live();
    int64_t k = 0;
    tulle_status_t st = TULLE_ERR_NOMEM;
    while (st != TULLE_OK) {
        tulle_topology_t *topology = NULL;
        tulle_topology_t *copy = NULL;
        tli_place_t places[RANKS];
        make_places(&linked_pairs, places);
        tli_alloc_fail_at(++k);
        st = tli_topology_from_places(RANKS, places, &topology);
        if (st == TULLE_OK)
            st = tulle_topology_dup(topology, &copy);
        tli_alloc_fail_at(0);
        assert_true(st == TULLE_OK || (st == TULLE_ERR_NOMEM && copy == NULL));
        tulle_topology_destroy(&copy);
        tulle_topology_destroy(&topology);
        assert_int_equal(tli_alloc_live(), live);
    }
    assert_true(k > 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_made_up_machines),
        cmocka_unit_test(test_places_links_are_the_slowest_of_any_node),
        cmocka_unit_test(test_places_single_ranks_have_the_link_across),
        cmocka_unit_test(test_places_nics_of_the_poorest_node_are_counted),
        cmocka_unit_test(test_places_are_printed_and_copied),
        cmocka_unit_test(test_places_failing_allocation_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
