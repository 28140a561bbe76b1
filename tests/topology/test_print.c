/* SPDX-License-Identifier: Apache-2.0
 * The table for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tulle/topology.h>

#include "topology/model.h"

static tulle_topology_t *parse(const char *text)
{
    tulle_topology_t *topology = NULL;
    assert_int_equal(tulle_topology_parse(text, 0, &topology), TULLE_OK);
    return topology;
}

static void check_printed(const char *text, const char *expected)
{
    tulle_topology_t *topology = parse(text);
    char *printed = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&printed, &length);
    assert_non_null(out);
    assert_int_equal(tulle_topology_print(topology, out), TULLE_OK);
    fclose(out);
    assert_string_equal(printed, expected);
    free(printed);
    tulle_topology_destroy(&topology);
}

static void test_print_shows_levels_and_nodes(void **state)
{
    check_printed("(2,1),2:cyclic",
                  "topology (2,1),2:cyclic\n"
                  "level               groups  ranks in each      latency        bandwidth   links out of each\n"
                  "node                     2            2-3      2000 ns        12.5 GB/s   1\n"
                  "domain                   3            1-2       700 ns           8 GB/s   one per rank\n"
                  "rank                     5              1       400 ns          10 GB/s   one per rank\n"
                  "node 0: [0 2] [4]\n"
                  "node 1: [1 3]\n");
    check_printed("2x8,3",
                  "topology 2x8,3\n"
                  "level               groups  ranks in each      latency        bandwidth   links out of each\n"
                  "node                     3            3-8      2000 ns        12.5 GB/s   1\n"
                  "rank                    19              1       400 ns          10 GB/s   one per rank\n"
                  "node 0: 0-7\n"
                  "node 1: 8-15\n"
                  "node 2: 16-18\n");
}

static void test_print_refusing_stream_is_a_file_error(void **state)
{
    tulle_topology_t *topology = parse("2x2");
    FILE *full = fopen("/dev/full", "w");
    if (full != NULL) {
        assert_int_equal(tulle_topology_print(topology, full), TULLE_ERR_FILE);
        fclose(full);
    }
    assert_int_equal(tulle_topology_print(NULL, stdout), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_print(topology, NULL), TULLE_ERR_ARG);
    tulle_topology_destroy(&topology);
}

static void test_print_failing_allocation_leaks_nothing(void **state)
{
    tulle_topology_t *topology = parse("2x2");
    FILE *out = fopen("/dev/null", "w");
    int64_t live = tli_alloc_live();
    int64_t k = 0;
    tulle_status_t st = TULLE_ERR_NOMEM;
    assert_non_null(out);
    while (st != TULLE_OK) {
        tli_alloc_fail_at(++k);
        st = tulle_topology_print(topology, out);
        tli_alloc_fail_at(0);
        assert_true(st == TULLE_OK || st == TULLE_ERR_NOMEM);
        assert_int_equal(tli_alloc_live(), live);
    }
    assert_true(k > 1);
    fclose(out);
    tulle_topology_destroy(&topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print_shows_levels_and_nodes),
        cmocka_unit_test(test_print_refusing_stream_is_a_file_error),
        cmocka_unit_test(test_print_failing_allocation_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
