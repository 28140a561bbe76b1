/* SPDX-License-Identifier: Apache-2.0
 * Segments and rows in them, as other processes see them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <tulle/memory.h>

#include "src/arena.h"
#include "src/fault.h"
#include "src/lendable.h"

#define LARGE ((size_t)1 << 20)

/* What another process finds at an offset, 0 if it cannot map the segment. It writes its own number there. */
static int look_from_elsewhere(const tli_segment_name_t *name, size_t offset)
{
    int seen = 0;
    pid_t child = fork();
    if (child == 0) {
        unsigned char *base = NULL;
        if (tli_segment_map(name, &base) == TULLE_OK) {
            seen = base[offset];
            base[offset] = 99;
        }
        tli_segment_unmap(name, base);
        _exit(seen);
    }
    assert_int_equal(waitpid(child, &seen, 0), child);
    return WEXITSTATUS(seen);
}

static void test_segment_is_one_memory_in_two_processes(void **state)
{
    size_t sizes[] = {1, 4088, 4089, LARGE};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tli_segment_t segment = {0};
        assert_int_equal(tli_segment_create(sizes[i], &segment), TULLE_OK);
        memset(segment.base, 7, sizes[i]);
        assert_int_equal(look_from_elsewhere(&segment.name, sizes[i] - 1), 7);
        assert_int_equal(segment.base[sizes[i] - 1], 99);
        tli_segment_destroy(&segment);
        assert_null(segment.base);
        tli_segment_destroy(&segment);
    }
}

static void test_segment_map_refuses_what_was_not_meant(void **state)
{
    tli_segment_t segment = {0}, other = {0};
    unsigned char *base = NULL;
    (void)state;
    assert_int_equal(tli_segment_create(LARGE, &segment), TULLE_OK);
    assert_int_equal(tli_segment_create(LARGE, &other), TULLE_OK);
    tli_segment_name_t wrong_file = segment.name, wrong_size = segment.name, nobody = segment.name;
    wrong_file.file = other.name.file;
    wrong_size.bytes /= 2;
    nobody.process = INT32_MAX;
    assert_int_equal(tli_segment_map(&wrong_file, &base), TULLE_ERR_TRANSPORT);
    assert_int_equal(tli_segment_map(&wrong_size, &base), TULLE_ERR_TRANSPORT);
    assert_int_equal(tli_segment_map(&nobody, &base), TULLE_ERR_TRANSPORT);
    tli_segment_destroy(&other);
    assert_int_equal(tli_segment_map(&wrong_file, &base), TULLE_ERR_TRANSPORT);
    assert_null(base);
    tli_segment_destroy(&segment);
}

static void test_segment_create_beyond_the_address_space_fails(void **state)
{
    tli_segment_t segment = {0};
    (void)state;
    assert_int_equal(tli_segment_create((size_t)1 << 60, &segment), TULLE_ERR_NOMEM);
    assert_null(segment.base);
}

static void test_alloc_large_host_memory_can_be_lent_whole_or_in_part(void **state)
{
    int64_t live = tli_alloc_live();
    unsigned char *rows = NULL;
    tli_segment_t segment = {0};
    (void)state;
    assert_int_equal(tulle_alloc(TULLE_SPACE_HOST, LARGE, (void **)&rows), TULLE_OK);
    memset(rows, 5, LARGE);
    assert_true(tli_lendable_find(rows, LARGE, &segment));
    assert_true(tli_lendable_find(rows + 100, LARGE - 100, &segment));
    assert_int_equal(look_from_elsewhere(&segment.name, (size_t)(rows + LARGE - 1 - segment.base)), 5);
    assert_int_equal(rows[LARGE - 1], 99);
    assert_false(tli_lendable_find(rows + 100, 2 * LARGE, &segment));
    assert_false(tli_lendable_find(rows - 1, 10, &segment));
    const unsigned char *gone = rows;
    tulle_free((void **)&rows);
    assert_null(rows);
    assert_false(tli_lendable_find(gone, 1, &segment));
    assert_int_equal(tli_alloc_live(), live);
}

static void test_alloc_small_and_foreign_memory_cannot_be_lent(void **state)
{
    tli_segment_t segment = {0};
    void *small = NULL;
    int foreign = 0;
    (void)state;
    assert_int_equal(tulle_alloc(TULLE_SPACE_HOST, 100, &small), TULLE_OK);
    assert_false(tli_lendable_find(small, 100, &segment));
    assert_false(tli_lendable_find(&foreign, sizeof foreign, &segment));
    tulle_free(&small);
}

/* More arrays than segments may be open: the rest is plain memory, and all can be freed in any order. */
static void test_alloc_of_many_arrays_runs_out_of_segments_not_of_memory(void **state)
{
    enum { NUM = 400 };
    void *rows[NUM] = {NULL};
    int num_lendable = 0;
    int64_t live = tli_alloc_live();
    tli_segment_t segment = {0};
    (void)state;
    for (int i = 0; i < NUM; i++) {
        assert_int_equal(tulle_alloc(TULLE_SPACE_HOST, LARGE, &rows[i]), TULLE_OK);
        *(int *)rows[i] = i;
        num_lendable += tli_lendable_find(rows[i], LARGE, &segment);
    }
    assert_true(num_lendable > 0 && num_lendable < NUM);
    for (int i = 0; i < NUM; i++) {
        int at = i * 7 % NUM;
        assert_int_equal(*(int *)rows[at], at);
        tulle_free(&rows[at]);
    }
    assert_int_equal(tli_alloc_live(), live);
}

static void test_alloc_large_without_memory_leaves_nothing(void **state)
{
    void *rows = NULL;
    int64_t live = tli_alloc_live();
    (void)state;
    tli_alloc_fail_at(1);
    assert_int_equal(tulle_alloc(TULLE_SPACE_HOST, LARGE, &rows), TULLE_ERR_NOMEM);
    tli_alloc_fail_at(0);
    assert_null(rows);
    assert_int_equal(tli_alloc_live(), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segment_is_one_memory_in_two_processes),
        cmocka_unit_test(test_segment_map_refuses_what_was_not_meant),
        cmocka_unit_test(test_segment_create_beyond_the_address_space_fails),
        cmocka_unit_test(test_alloc_large_host_memory_can_be_lent_whole_or_in_part),
        cmocka_unit_test(test_alloc_small_and_foreign_memory_cannot_be_lent),
        cmocka_unit_test(test_alloc_of_many_arrays_runs_out_of_segments_not_of_memory),
        cmocka_unit_test(test_alloc_large_without_memory_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
