/* SPDX-License-Identifier: Apache-2.0
 * Discovery in a job whose ranks all use the first GPU of their node. Exit code 77 where there is none. */
#include <stdio.h>

#include "src/device/device.h"
#include "tests/support/world.h"
#include "topology/model.h"

/* Device memory starts CUDA; -1 where it cannot. */
static int start_cuda(void)
{
    void *memory = NULL;
    tulle_status_t st = tulle_alloc(TULLE_SPACE_DEVICE, 1, &memory);
    tulle_free(&memory);
    return st == TULLE_ERR_UNSUPPORTED ? -1 : 0;
}

static void test_identify_names_the_gpu(void **state)
{
    tli_gpu_t gpu;
    tli_device_identify(&gpu);
    spt_assert_all(gpu.pci >= 0 && gpu.capability >= 50);
    spt_assert_all(tli_device_peer_access(gpu.pci) == 1);
    spt_assert_all(tli_device_peer_access(TLI_PCI(0x7f, 0x10, 3)) == -1);
}

static void test_discover_places_every_rank_on_its_gpu(void **state)
{
    tulle_topology_t *topology = NULL;
    tli_gpu_t gpu;
    tulle_link_t link;
    tli_device_identify(&gpu);
    spt_assert_ok_all(tulle_topology_discover(MPI_COMM_WORLD, &topology));
    spt_assert_all(topology->places != NULL);
    spt_assert_all(topology->places[spt_rank()].gpu_pci == gpu.pci);
    spt_assert_all(topology->places[spt_rank()].gpu_domain == 0);
    /* All on one GPU: nothing tells them apart, and memory is as near as it gets. */
    spt_assert_all(tulle_topology_num_levels(topology) == 2);
    spt_assert_ok_all(tulle_topology_get_link(topology, 1, &link));
    spt_assert_all(spt_size() == 1 || link.bytes_per_second > 100e9);
    spt_assert_all(spt_rank() > 0 || tulle_topology_print(topology, stdout) == TULLE_OK);
    tulle_topology_destroy(&topology);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_identify_names_the_gpu),
        spt_test(test_discover_places_every_rank_on_its_gpu),
    };
    if (start_cuda() != 0) {
        printf("skipped: %s\n", tulle_last_error()->text);
        return 77;
    }
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
