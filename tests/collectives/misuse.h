/* SPDX-License-Identifier: Apache-2.0
 * Misuse with one culprit or many, and what every rank must be told. */
#ifndef TESTS_COLLECTIVES_MISUSE_H
#define TESTS_COLLECTIVES_MISUSE_H

#include "tests/support/trial.h"

#define ALL         (-1) /* culprit: every rank */
#define ROWS        10   /* owned by each rank */
#define COUNT(list) ((int)(sizeof(list) / sizeof(list)[0]))

/* What the failing rank is told. */
typedef struct bad {
    tulle_status_t status;
    const char *words;
} bad_t;

/* For all tests of a program; made by misuse_setup(). */
extern tulle_comm_t *comm;

int misuse_setup(void **state);
int misuse_teardown(void **state);

/** All ranks, then the first, then the last. @return spt_size() after that */
int next_culprit(int culprit);
int is_culprit(int culprit);
/** The culprit got this, the others its number and its words, and the communicator still works. */
void expect(tulle_status_t st, bad_t bad, int culprit);
/** The same for a fault that another rank than the culprit finds. */
void expect_words(tulle_status_t st, const char *words);

#endif
