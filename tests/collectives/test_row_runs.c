/* SPDX-License-Identifier: Apache-2.0
 * Rows as words and back; rows found by steps, against looking at each of them. */
#include <string.h>

#include "collectives/row_runs.h"
#include "tests/support/world.h"

#define MOST 300

/* Ascending rows of few or many owners, with gaps; owners and rows may be large. */
static int64_t draw_rows(spt_random_t *random, int64_t num_owners, int64_t *owner, int64_t *row)
{
    int64_t num = spt_below(random, MOST + 1), at_owner = 0, at_row = -1;
    for (int64_t i = 0; i < num; i++) {
        if (spt_below(random, num) < num_owners) {
            at_owner += 1 + spt_below(random, 3);
            at_row = spt_below(random, 2) * ((int64_t)1 << 40);
        }
        owner[i] = at_owner;
        row[i] = at_row += 1 + spt_below(random, 4);
    }
    return num;
}

static void test_rows_come_back_from_their_runs(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        spt_random_t random = {seed};
        int64_t owner[MOST], row[MOST], pairs[2 * MOST] = {0}, words[3 * MOST + 2];
        int64_t num = draw_rows(&random, (int64_t)(seed % 7) * 20, owner, row);
        words[tli_row_runs_most(num)] = -7; /* what lies behind stays */
        int64_t num_words = tli_row_runs_put(owner, row, 1, num, words);
        assert_true(num_words <= tli_row_runs_most(num));
        assert_int_equal(words[tli_row_runs_most(num)], -7);
        assert_int_equal(words[0], num);
        assert_int_equal(tli_row_runs_words(words), num_words);
        assert_int_equal(tli_row_runs_get(words, 2, pairs, pairs + 1), num_words);
        for (int64_t i = 0; i < num; i++)
            assert_true(pairs[2 * i] == owner[i] && pairs[2 * i + 1] == row[i]);
        assert_int_equal(tli_row_runs_put(pairs, pairs + 1, 2, num, words), num_words);
    }
}

static void test_a_row_takes_half_a_word_where_owners_have_many(void **state)
{
    (void)state;
    int64_t owner[MOST] = {0}, row[MOST], words[3 * MOST + 1];
    for (int64_t i = 0; i < MOST; i++)
        row[i] = 2 * i;
    assert_int_equal(tli_row_runs_put(owner, row, 1, MOST, words), MOST / 2 + 3);
    row[MOST - 1] = (int64_t)UINT32_MAX + 1;
    assert_int_equal(tli_row_runs_put(owner, row, 1, MOST, words), MOST + 3);
}

/* Lengths and strides odd and even; the largest number on either side of 32 bits. */
static void test_numbers_come_back_from_their_list(void **state)
{
    static const int64_t largest[] = {0, 1, INT32_MAX, UINT32_MAX, (int64_t)UINT32_MAX + 1, INT64_MAX};
    (void)state;
    for (size_t l = 0; l < sizeof largest / sizeof *largest; l++) {
        for (int64_t num = 0; num < 40; num++) {
            spt_random_t random = {(uint64_t)num};
            int64_t stride = 1 + num % 3, numbers[3 * 40], found[3 * 40] = {0}, words[42];
            for (int64_t i = 0; i < num; i++)
                numbers[i * stride] = i == num / 2 ? largest[l] : spt_below(&random, 1000) % (largest[l] / 2 + 1);
            words[1 + num] = -7; /* what lies behind stays */
            int64_t num_words = tli_numbers_put(numbers, stride, num, words);
            assert_int_equal(num_words, 1 + (num == 0 || largest[l] <= UINT32_MAX ? (num + 1) / 2 : num));
            assert_int_equal(words[1 + num], -7);
            assert_int_equal(tli_numbers_count(words), num);
            assert_int_equal(tli_numbers_words(words), num_words);
            assert_int_equal(tli_numbers_get(words, stride, found), num_words);
            for (int64_t i = 0; i < num; i++)
                assert_true(found[i * stride] == numbers[i * stride]);
        }
    }
}

static int64_t seek_plainly(const int64_t *owner, const int64_t *row, int64_t low, int64_t high, int64_t wanted_owner,
                            int64_t wanted_row)
{
    while (low < high && (owner[low] < wanted_owner || (owner[low] == wanted_owner && row[low] < wanted_row)))
        low++;
    return low;
}

static void test_seek_finds_the_first_row_that_is_not_before(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        spt_random_t random = {seed};
        int64_t owner[MOST], row[MOST];
        int64_t num = draw_rows(&random, (int64_t)(seed % 7) * 20, owner, row);
        for (int64_t trial = 0; trial < 100; trial++) {
            int64_t low = spt_below(&random, num + 1), high = low + spt_below(&random, num - low + 1);
            int64_t near = num > 0 ? spt_below(&random, num) : -1;
            int64_t wanted_owner = near < 0 ? 0 : owner[near], wanted_row = near < 0 ? 0 : row[near];
            wanted_row += spt_below(&random, 3) - 1;
            assert_int_equal(tli_row_seek(owner, row, low, high, wanted_owner, wanted_row),
                             seek_plainly(owner, row, low, high, wanted_owner, wanted_row));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_come_back_from_their_runs),
        cmocka_unit_test(test_a_row_takes_half_a_word_where_owners_have_many),
        cmocka_unit_test(test_numbers_come_back_from_their_list),
        cmocka_unit_test(test_seek_finds_the_first_row_that_is_not_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
