/* SPDX-License-Identifier: Apache-2.0
 * What the tests under mpirun share: the frame of main, a printed seed, memory that a test frees as a whole, assertions
 * that every rank takes part in, communicators on declared topologies. */
#ifndef SPT_WORLD_H
#define SPT_WORLD_H

#include <mpi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <tulle/mpi.h>
#include <tulle/tulle.h>

/* --- frame ------------------------------------------------------------------------------------------------------- */

/** MPI_Init; a lone failing rank of several aborts instead of leaving its peers waiting; prints the seed. */
void spt_init(int *argc, char ***argv);
/** Sum failures over ranks, MPI_Finalize. @return exit code */
int spt_finish(int failures);
/** For cmocka_unit_test_teardown: free what the test allocated. */
int spt_teardown(void **state);

int spt_rank(void);
int spt_size(void);

#define spt_test(f) cmocka_unit_test_teardown(f, spt_teardown)

/** Zeroed memory that lives until the end of the test; never NULL. */
void *spt_alloc(int64_t count, size_t size);

/** The same from tulle_alloc(), so that other ranks may read it where it lies. */
void *spt_alloc_rows(int64_t count, size_t size);

/* --- random numbers: TULLE_TEST_SEED or 1 ------------------------------------------------------------------------ */

typedef struct spt_random {
    uint64_t state;
} spt_random_t;

/** The same numbers on every rank. */
spt_random_t spt_random_shared(uint64_t stream);
/** Other numbers on every rank. */
spt_random_t spt_random_mine(uint64_t stream);
uint64_t spt_next(spt_random_t *random);
/** In [0, n). */
int64_t spt_below(spt_random_t *random, int64_t n);

/* --- assertions: all ranks must come here ------------------------------------------------------------------------ */

#define spt_assert_all(condition)  spt_check_all((condition), #condition, __FILE__, __LINE__)
#define spt_assert_ok_all(call)    spt_check_ok_all((call), #call, __FILE__, __LINE__)
#define spt_assert_fails_all(call) spt_check_fails_all((call), #call, __FILE__, __LINE__)
/** Rank @p culprit gets @p status and a text with @p words in it; the others TULLE_ERR_REMOTE and a text that names the
 * culprit and has the words too. */
#define spt_assert_blames(call, status, culprit, words)                                                                \
    spt_check_blames((call), (status), (culprit), (words), #call, __FILE__, __LINE__)
/** Every rank gets @p status and a text with @p words in it. */
#define spt_assert_fails_alike(call, status, words)                                                                    \
    spt_check_fails_alike((call), (status), (words), #call, __FILE__, __LINE__)

void spt_check_all(int holds, const char *what, const char *file, int line);
void spt_check_ok_all(tulle_status_t status, const char *what, const char *file, int line);
void spt_check_fails_all(tulle_status_t status, const char *what, const char *file, int line);
void spt_check_blames(tulle_status_t status, tulle_status_t expected, int culprit, const char *words, const char *what,
                      const char *file, int line);
void spt_check_fails_alike(tulle_status_t status, tulle_status_t expected, const char *words, const char *what,
                           const char *file, int line);

/* --- communicators ----------------------------------------------------------------------------------------------- */

/** All ranks on a declared topology (NULL: discovered), with a time limit that turns a hang into a failure. */
tulle_comm_t *spt_comm(const char *topology, int disable_shared_memory);
/** The i-th of a list of topologies of this many ranks: flat, two and three levels, ragged, cyclic; NULL after the
 * last.
 * @return static storage, overwritten by the next call */
const char *spt_topology(int i);

#endif
