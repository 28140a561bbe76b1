/* SPDX-License-Identifier: Apache-2.0
 * Blocks of shared memory: apart from each other, whole again when given back, the same for whoever looks at them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/arena.h"
#include "src/pool.h"

#define NUM_BLOCKS 50

typedef struct held {
    tli_block_t block;
    size_t bytes;
    int value;
} held_t;

static int is_filled(const held_t *held)
{
    size_t i = 0;
    while (i < held->bytes && held->block.address[i] == held->value)
        i++;
    return i == held->bytes;
}

/* Overlapping blocks would change each other's contents. */
static void test_pool_blocks_keep_their_contents(void **state)
{
    tli_pool_t pool = {0};
    held_t held[NUM_BLOCKS] = {0};
    int64_t live = tli_alloc_live();
    (void)state;
    srand(1);
    for (int step = 0; step < 3000; step++) {
        held_t *one = &held[rand() % NUM_BLOCKS];
        if (one->block.address != NULL) {
            assert_true(is_filled(one));
            tli_pool_give(&one->block);
        }
        one->bytes = (size_t)(rand() % (step % 100 == 0 ? 3000000 : 9000));
        one->value = step % 251;
        assert_int_equal(tli_pool_take(&pool, one->bytes, &one->block), TULLE_OK);
        assert_int_equal((uintptr_t)one->block.address % 64, 0);
        memset(one->block.address, one->value, one->bytes);
    }
    for (int i = 0; i < NUM_BLOCKS; i++) {
        assert_true(held[i].block.address == NULL || is_filled(&held[i]));
        tli_pool_give(&held[i].block);
    }
    tli_pool_release(&pool);
    assert_int_equal(tli_alloc_live(), live);
}

/* However blocks were given back, the segment is one range again: the next block is where the first one was. */
static void test_pool_is_whole_again_when_all_is_given_back(void **state)
{
    tli_pool_t pool = {0};
    tli_block_t blocks[NUM_BLOCKS];
    tli_block_t first = {0}, again = {0};
    (void)state;
    assert_int_equal(tli_pool_take(&pool, 1000000, &first), TULLE_OK);
    unsigned char *address = first.address;
    tli_pool_give(&first);
    int64_t live = tli_alloc_live();
    for (int i = 0; i < NUM_BLOCKS; i++)
        assert_int_equal(tli_pool_take(&pool, 1000, &blocks[i]), TULLE_OK);
    for (int i = 0; i < NUM_BLOCKS; i++)
        tli_pool_give(&blocks[i * 7 % NUM_BLOCKS]);
    assert_int_equal(tli_alloc_live(), live);
    assert_int_equal(tli_pool_take(&pool, 1000000, &again), TULLE_OK);
    assert_ptr_equal(again.address, address);
    tli_pool_release(&pool);
}

static void test_pool_view_shows_the_block(void **state)
{
    tli_pool_t owner = {0}, reader = {0};
    tli_block_t blocks[3] = {0};
    size_t sizes[3] = {10, 5000000, 100};
    unsigned char *views[3] = {NULL};
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tli_pool_take(&owner, sizes[i], &blocks[i]), TULLE_OK);
        assert_int_equal(tli_pool_view(&reader, &blocks[i].name, &views[i]), TULLE_OK);
        assert_ptr_not_equal(views[i], blocks[i].address);
        memset(blocks[i].address, 3 + i, sizes[i]);
    }
    for (int i = 0; i < 3; i++)
        assert_true(views[i][0] == 3 + i && views[i][sizes[i] - 1] == 3 + i);
    tli_pool_release(&owner);
    assert_int_equal(views[1][0], 4); /* still mapped */
    tli_pool_release(&reader);
}

static void test_pool_failing_allocation_leaves_nothing(void **state)
{
    (void)state;
    for (int64_t k = 1; k <= 4; k++) {
        tli_pool_t pool = {0};
        tli_block_t block = {0};
        int64_t live = tli_alloc_live(), count = tli_alloc_count();
        tli_alloc_fail_at(k);
        tulle_status_t st = tli_pool_take(&pool, 100, &block);
        tli_alloc_fail_at(0);
        assert_int_equal(st, tli_alloc_count() - count >= k ? TULLE_ERR_NOMEM : TULLE_OK);
        assert_true((st == TULLE_OK) == (block.address != NULL));
        tli_pool_give(&block);
        tli_pool_release(&pool);
        assert_int_equal(tli_alloc_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_blocks_keep_their_contents),
        cmocka_unit_test(test_pool_is_whole_again_when_all_is_given_back),
        cmocka_unit_test(test_pool_view_shows_the_block),
        cmocka_unit_test(test_pool_failing_allocation_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
