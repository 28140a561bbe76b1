/* SPDX-License-Identifier: Apache-2.0
 * Misses of a cache of rows against the definition: as many others were used since as the cache holds. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count_misses_equals_the_definition),
        cmocka_unit_test(test_count_misses_of_nothing_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
