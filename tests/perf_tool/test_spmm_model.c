/* SPDX-License-Identifier: Apache-2.0
 * Misses of a cache of rows against the definition: as many others were used since as the cache holds. Every use of a
 * row is counted at one level. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "perf/spmm_model.h"

enum { NUM_ROWS = 20, NUM_USES = 120 };

/* Distinct rows between two uses of one, in the second of two rounds. */
static int64_t count_between(const int32_t *use, int64_t at)
{
    int is_used[NUM_ROWS] = {0};
    int64_t num = 0;
    for (int64_t i = at + NUM_USES - 1; use[i % NUM_USES] != use[at]; i--) {
        num += !is_used[use[i % NUM_USES]];
        is_used[use[i % NUM_USES]] = 1;
    }
    return num;
}

static void test_count_misses_equals_the_definition(void **state)
{
    int32_t use[NUM_USES];
    uint32_t random = 7;
    for (int i = 0; i < NUM_USES; i++) {
        random = random * 1664525u + 1013904223u;
        use[i] = (int32_t)((random >> 16) % (i % 3 == 0 ? 4 : NUM_ROWS));
    }
    for (int64_t capacity = 1; capacity <= NUM_ROWS + 1; capacity++) {
        int64_t expected = 0, misses = -1;
        for (int64_t at = 0; at < NUM_USES; at++)
            expected += count_between(use, at) >= capacity;
        assert_int_equal(perf_count_misses(use, NUM_USES, NUM_ROWS, capacity, &misses), TULLE_OK);
        assert_int_equal(misses, expected);
    }
}

static void test_count_misses_of_nothing_is_none(void **state)
{
    int64_t misses = -1;
    assert_int_equal(perf_count_misses(NULL, 0, 0, 5, &misses), TULLE_OK);
    assert_int_equal(misses, 0);
}

/* Rows of 8 bytes, 12 uses of 6 rows in a circle: one that holds all of them always hits, a smaller one never. */
static void test_traffic_counts_each_row_at_the_nearest_level_that_has_it(void **state)
{
    int64_t row_ptr[] = {0, 12}, none[] = {0};
    int32_t col[12];
    for (int i = 0; i < 12; i++)
        col[i] = i % 6;
    tli_spmm_way_t way = {.own = {.num_rows = 1, .row_ptr = row_ptr, .col = col}, .num_b = 6, .num_c = 1};
    way.partial.row_ptr = none;
    const struct {
        int64_t caches[PERF_FROM_MEMORY];
        int rows_from, once_from;
    } cases[] = {{{40, 40, 40}, PERF_FROM_MEMORY, PERF_FROM_MEMORY},
                 {{40, 40, 48}, PERF_FROM_L3, PERF_FROM_MEMORY},
                 {{40, 48, 1000}, PERF_FROM_L2, PERF_FROM_L3},
                 {{1000, 1000, 1000}, PERF_FROM_L1, PERF_FROM_L1}};
    for (int i = 0; i < 4; i++) {
        perf_caches_t caches = {{cases[i].caches[0], cases[i].caches[1], cases[i].caches[2]}};
        perf_spmm_traffic_t traffic;
        assert_int_equal(perf_spmm_traffic(&way, 4, 8, 0, &caches, &traffic), TULLE_OK);
        for (int level = 0; level < PERF_NUM_LEVELS; level++) {
            int64_t columns = level == PERF_FROM_MEMORY ? 12 * 4 : 0;
            assert_int_equal(traffic.rows[level], level == cases[i].rows_from ? 12 * 8 : 0);
            assert_int_equal(traffic.once[level], level == cases[i].once_from ? 12 * 4 + 2 * 8 + columns : 0);
        }
    }
}

static void test_model_adds_up_caches_and_hides_memory(void **state)
{
    perf_spmm_traffic_t traffic = {.rows = {1000, 2000, 3000, 4000}, .once = {0, 0, 0, 2000}};
    perf_spmm_rates_t rates = {.stream = {10, 10, 10, 1}, .rows = {10, 2, 1, 1}};
    assert_true(perf_spmm_model_us(&traffic, &rates) == 6.0);
    rates.rows[PERF_FROM_L2] = 0.5;
    assert_true(perf_spmm_model_us(&traffic, &rates) == 0.1 + 4.0 + 3.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count_misses_equals_the_definition),
        cmocka_unit_test(test_count_misses_of_nothing_is_none),
        cmocka_unit_test(test_traffic_counts_each_row_at_the_nearest_level_that_has_it),
        cmocka_unit_test(test_model_adds_up_caches_and_hides_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
