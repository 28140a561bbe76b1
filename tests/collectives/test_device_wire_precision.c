/* SPDX-License-Identifier: Apache-2.0
 * Rows on GPUs that cross in less than f32. Runs on an emulated GPU, and on a real one where there is one. */
#include <string.h>

#include "crossing.h"
#include "tests/support/gpu_main.h"

static void *alloc_rows(int64_t bytes)
{
    void *memory = NULL;
    assert_int_equal(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)bytes, &memory), TULLE_OK);
    return memory;
}

static void free_rows(void *memory)
{
    tulle_free(&memory);
}

static void copy_rows(void *target, const void *source, int64_t bytes)
{
    spt_gpu_copy(target, source, bytes, NULL);
    spt_gpu_synchronize(NULL);
}

static const crossing_memory_t device = {alloc_rows, free_rows, copy_rows};

static void test_device_rows_arrive_rounded_once_on_every_topology(void **state)
{
    for (int i = 0; spt_topology(i) != NULL; i += spt_size() > 4 ? 3 : 1)
        crossing_check_plans(&device, spt_topology(i), 0, 20 + (uint64_t)i);
}

static void test_device_stats_count_bytes_as_they_travel(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(1), 0);
    spt_pattern_t pattern = spt_pattern_random(2);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_DIRECT, TULLE_GHOST_ORDER_PLAN);
    int num_levels = tulle_topology_num_levels(tulle_comm_topology(comm));
    for (int p = 0; p < SPT_NUM_PRECISIONS; p++) {
        tulle_exchange_stats_t stats = {.struct_size = sizeof stats};
        crossing_t c =
            crossing_make(&device, plan, &pattern, TULLE_GATHER, spt_precisions[p], num_levels, TULLE_OP_SUM, 64);
        int64_t row_bytes = spt_precisions[p] == TULLE_WIRE_PRECISION_FP8 ? 65 : 128;
        spt_assert_ok_all(tulle_exchange_get_stats(c.exchange, &stats));
        for (int t = 0; t < TULLE_NUM_TRANSPORTS; t++)
            spt_assert_all(stats.transports[t].bytes == stats.transports[t].rows * row_bytes);
        spt_assert_all((stats.on_device || spt_size() == 1) && stats.in_place == 0);
        crossing_free(&c);
    }
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_device_rows_arrive_rounded_once_on_every_topology),
        spt_test(test_device_stats_count_bytes_as_they_travel),
    };
    return spt_gpu_main(argc, argv, "collectives.device_wire_precision", tests, NULL);
}
