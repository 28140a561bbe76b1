/* SPDX-License-Identifier: Apache-2.0
 * Arena memory: alignment, zeroing, no overlap, sizes that overflow, injected failures, and that nothing stays behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/arena.h"

#define NUM_BLOCKS 600

static int is_aligned(const void *memory)
{
    return (uintptr_t)memory % 64 == 0;
}

static int is_filled_with(const unsigned char *memory, size_t size, unsigned char value)
{
    size_t i = 0;
    while (i < size && memory[i] == value)
        i++;
    return i == size;
}

/* Small sizes, and now and then one larger than a shared block. */
static size_t size_of_block(int i)
{
    return i % 97 == 96 ? 20000 + (size_t)i : (size_t)i % 300;
}

static void test_arena_blocks_are_aligned_and_do_not_overlap(void **state)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    unsigned char *blocks[NUM_BLOCKS];
    for (int i = 0; i < NUM_BLOCKS; i++) {
        assert_int_equal(tli_arena_alloc_raw(&arena, 1, size_of_block(i), &blocks[i]), TULLE_OK);
        assert_true(is_aligned(blocks[i]));
        memset(blocks[i], i % 251, size_of_block(i));
    }
    for (int i = 0; i < NUM_BLOCKS; i++)
        assert_true(is_filled_with(blocks[i], size_of_block(i), (unsigned char)(i % 251)));
    tli_arena_release(&arena);
}

/* Memory that was used and given back comes again: dirty, unless it is cleared. */
static void test_arena_alloc_is_zeroed_after_reuse(void **state)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100; i++) {
            unsigned char *memory = NULL;
            size_t size = size_of_block(i);
            assert_int_equal(tli_arena_alloc(&arena, (int64_t)size, 1, &memory), TULLE_OK);
            assert_true(is_aligned(memory) && is_filled_with(memory, size, 0));
            memset(memory, 0xff, size);
        }
        tli_arena_release(&arena);
    }
}

static void test_arena_no_elements_is_not_null(void **state)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    void *memory[4] = {NULL};
    assert_int_equal(tli_arena_alloc(&arena, 0, 8, &memory[0]), TULLE_OK);
    assert_int_equal(tli_arena_alloc_raw(&arena, 0, 8, &memory[1]), TULLE_OK);
    assert_int_equal(tli_arena_alloc(&arena, 5, 0, &memory[2]), TULLE_OK);
    assert_int_equal(tli_arena_alloc(&arena, INT64_MAX, 0, &memory[3]), TULLE_OK);
    for (int i = 0; i < 4; i++) {
        assert_true(memory[i] != NULL && is_aligned(memory[i]));
        for (int j = 0; j < i; j++)
            assert_ptr_not_equal(memory[i], memory[j]);
    }
    tli_arena_release(&arena);
}

static void test_arena_impossible_sizes_overflow(void **state)
{
    static const struct {
        int64_t count;
        size_t size;
    } impossible[] = {
        {-1, 8},
        {INT64_MIN, 1},
        {-1, 0},
        {INT64_MAX, 1},
        {INT64_MAX, 8},
        {2, SIZE_MAX},
        {1, SIZE_MAX},
        {1, INT64_MAX},
        {(int64_t)1 << 61, 8},
        {(int64_t)1 << 32, (size_t)1 << 32},
        {3, SIZE_MAX / 2},
        {((int64_t)1 << 62) + 1, 4},
    };
    tli_arena_t arena = TLI_ARENA_INIT;
    int64_t count = tli_alloc_count();
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        char *const untouched = (char *)&arena;
        char *memory = untouched;
        assert_int_equal(tli_arena_alloc(&arena, impossible[i].count, impossible[i].size, &memory), TULLE_ERR_OVERFLOW);
        assert_int_equal(tli_arena_alloc_raw(&arena, impossible[i].count, impossible[i].size, &memory),
                         TULLE_ERR_OVERFLOW);
        assert_ptr_equal(memory, untouched);
        assert_int_equal(tulle_last_error()->status, TULLE_ERR_OVERFLOW);
    }
    assert_null(arena.blocks);
    assert_int_equal(tli_alloc_count(), count);
}

static void test_arena_failed_allocation_leaves_arena_usable(void **state)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    char *const untouched = (char *)&arena;
    char *memory = untouched;
    tli_alloc_fail_at(1);
    assert_int_equal(tli_arena_alloc(&arena, 10, 8, &memory), TULLE_ERR_NOMEM);
    assert_ptr_equal(memory, untouched);
    assert_int_equal(tulle_last_error()->status, TULLE_ERR_NOMEM);
    assert_null(arena.blocks);
    assert_int_equal(tli_arena_alloc(&arena, 10, 8, &memory), TULLE_OK);
    assert_true(is_filled_with((unsigned char *)memory, 80, 0));
    tli_arena_release(&arena);
}

static void test_alloc_fail_at_fails_that_one_once(void **state)
{
    for (int64_t k = 1; k <= 10; k++) {
        int64_t live = tli_alloc_live();
        void *memory[20] = {NULL};
        tli_alloc_fail_at(k);
        for (int64_t i = 1; i <= 20; i++)
            assert_int_equal(tli_alloc(i == 1 ? 1 : 100, &memory[i - 1]), i == k ? TULLE_ERR_NOMEM : TULLE_OK);
        assert_null(memory[k - 1]);
        assert_int_equal(tli_alloc_live(), live + 19);
        for (int i = 0; i < 20; i++)
            tli_free(memory[i]);
        assert_int_equal(tli_alloc_live(), live);
    }
}

static void test_alloc_fail_at_zero_takes_it_back(void **state)
{
    void *memory = NULL;
    tli_alloc_fail_at(1);
    tli_alloc_fail_at(0);
    assert_int_equal(tli_alloc(8, &memory), TULLE_OK);
    tli_free(memory);
}

static void test_alloc_is_zeroed_and_counted(void **state)
{
    int64_t live = tli_alloc_live();
    for (size_t size = 1; size < 300; size++) {
        int64_t count = tli_alloc_count();
        unsigned char *memory = NULL;
        assert_int_equal(tli_alloc(size, &memory), TULLE_OK);
        assert_int_equal(tli_alloc_count(), count + 1);
        assert_int_equal(tli_alloc_live(), live + 1);
        assert_true(is_aligned(memory) && is_filled_with(memory, size, 0));
        memset(memory, 0xff, size);
        tli_free(memory);
    }
    tli_free(NULL);
    assert_int_equal(tli_alloc_live(), live);
}

static void test_arena_release_gives_everything_back(void **state)
{
    int64_t live = tli_alloc_live();
    tli_arena_t arena = TLI_ARENA_INIT;
    tli_arena_release(&arena);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < NUM_BLOCKS; i++) {
            void *memory = NULL;
            assert_int_equal(tli_arena_alloc_raw(&arena, 1, size_of_block(i), &memory), TULLE_OK);
        }
        assert_true(tli_alloc_live() > live);
        tli_arena_seal(&arena);
        tli_arena_release(&arena);
        assert_int_equal(tli_alloc_live(), live);
        assert_false(arena.is_sealed);
    }
}

static void test_arena_kept_memory_outlives_the_arena(void **state)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    int64_t *kept = NULL, live = tli_alloc_live();
    assert_int_equal(tli_arena_alloc(&arena, 3, sizeof *kept, &kept), TULLE_OK);
    tli_arena_keep(&arena);
    assert_null(arena.blocks);
    tli_arena_release(&arena);
    assert_true(tli_alloc_live() > live);
    kept[2] = 7; /* a sanitizer would see that it is gone */
    assert_int_equal(kept[2], 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_kept_memory_outlives_the_arena),
        cmocka_unit_test(test_arena_blocks_are_aligned_and_do_not_overlap),
        cmocka_unit_test(test_arena_alloc_is_zeroed_after_reuse),
        cmocka_unit_test(test_arena_no_elements_is_not_null),
        cmocka_unit_test(test_arena_impossible_sizes_overflow),
        cmocka_unit_test(test_arena_failed_allocation_leaves_arena_usable),
        cmocka_unit_test(test_alloc_fail_at_fails_that_one_once),
        cmocka_unit_test(test_alloc_fail_at_zero_takes_it_back),
        cmocka_unit_test(test_alloc_is_zeroed_and_counted),
        cmocka_unit_test(test_arena_release_gives_everything_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
