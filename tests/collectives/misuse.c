/* SPDX-License-Identifier: Apache-2.0
 * Expectations after misuse. */
#include "tests/collectives/misuse.h"

#include <string.h>

tulle_comm_t *comm = NULL;

int next_culprit(int culprit)
{
    int last = spt_size() - 1;
    return culprit == ALL ? 0 : culprit < last ? last : spt_size();
}

int is_culprit(int culprit)
{
    return culprit == ALL || culprit == spt_rank();
}

void expect(tulle_status_t st, bad_t bad, int culprit)
{
    if (culprit == ALL)
        spt_assert_fails_alike(st, bad.status, bad.words);
    else
        spt_assert_blames(st, bad.status, culprit, bad.words);
    spt_assert_comm_works(comm);
}

void expect_words(tulle_status_t st, const char *words)
{
    spt_assert_fails_all(st);
    spt_assert_all(strstr(tulle_last_error()->text, words) != NULL);
    spt_assert_comm_works(comm);
}

int misuse_setup(void **state)
{
    comm = spt_comm(NULL, 0);
    return 0;
}

int misuse_teardown(void **state)
{
    tulle_comm_destroy(&comm);
    return 0;
}
