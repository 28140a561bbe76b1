/* SPDX-License-Identifier: Apache-2.0
 * One status for all ranks, and equal values. */
#include <stdio.h>
#include <string.h>

#include "src/agree.h"
#include "tests/support/world.h"

static void test_agree_all_ok_is_ok(void **state)
{
    spt_assert_ok_all(tli_agree(MPI_COMM_WORLD, TULLE_OK));
}

static void test_agree_one_rank_fails_all_know_its_words(void **state)
{
    for (int culprit = 0; culprit < spt_size(); culprit++) {
        tulle_status_t mine = TULLE_OK;
        if (spt_rank() == culprit)
            mine = tli_fail(TULLE_ERR_FILE, 42, TLI_WHERE, "width is %d", 17);
        spt_assert_blames(tli_agree(MPI_COMM_WORLD, mine), TULLE_ERR_FILE, culprit, "width is 17");
        spt_assert_all(tulle_last_error()->native == 42);
    }
}

static void test_agree_several_fail_each_keeps_its_own(void **state)
{
    tulle_status_t mine = TULLE_OK, got = TULLE_OK;
    if (spt_rank() % 2 == 0)
        mine = tli_fail(spt_rank() == 0 ? TULLE_ERR_NOMEM : TULLE_ERR_ARG, 0, TLI_WHERE, "told by %d", spt_rank());
    got = tli_agree(MPI_COMM_WORLD, mine);
    spt_assert_all(got == (mine != TULLE_OK ? mine : TULLE_ERR_REMOTE));
    spt_assert_all(strstr(tulle_last_error()->text, mine != TULLE_OK ? "told by" : "rank 0: told by 0") != NULL);
}

/* A text that fills its room stays a text. */
static void test_agree_long_words_are_cut(void **state)
{
    char words[400];
    tulle_status_t mine = TULLE_OK;
    memset(words, 'x', sizeof words);
    words[sizeof words - 1] = '\0';
    if (spt_rank() == spt_size() - 1)
        mine = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "%s", words);
    spt_assert_fails_all(tli_agree(MPI_COMM_WORLD, mine));
    spt_assert_all(memchr(tulle_last_error()->text, '\0', sizeof tulle_last_error()->text) != NULL);
}

static void test_agree_equal_same_values_are_ok(void **state)
{
    spt_assert_ok_all(tli_agree_equal(MPI_COMM_WORLD, 0, "zero"));
    spt_assert_ok_all(tli_agree_equal(MPI_COMM_WORLD, INT64_MAX, "much"));
    spt_assert_ok_all(tli_agree_equal(MPI_COMM_WORLD, -INT64_MAX, "little"));
}

static void test_agree_equal_other_value_is_named(void **state)
{
    char words[64];
    if (spt_size() == 1)
        skip();
    for (int other = 0; other < spt_size(); other++) {
        int64_t value = spt_rank() == other ? (int64_t)1 << 50 : -3;
        snprintf(words, sizeof words, "the width: from -3 to %lld", 1LL << 50);
        spt_assert_fails_alike(tli_agree_equal(MPI_COMM_WORLD, value, "the width"), TULLE_ERR_MISMATCH, words);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_agree_all_ok_is_ok),
        spt_test(test_agree_one_rank_fails_all_know_its_words),
        spt_test(test_agree_several_fail_each_keeps_its_own),
        spt_test(test_agree_long_words_are_cut),
        spt_test(test_agree_equal_same_values_are_ok),
        spt_test(test_agree_equal_other_value_is_named),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
