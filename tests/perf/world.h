/* SPDX-License-Identifier: Apache-2.0
 * What the tests of this room share: the MPI frame, a folder of small files written by rank 0, and a comparison of a
 * distributed matrix with a table of places that was filled without the code under test. */
#ifndef TESTS_PERF_WORLD_H
#define TESTS_PERF_WORLD_H

#include "perf/input.h"

#define TABLE_MAX 64

/* How a file is stored. */
typedef enum packing { PACKING_NONE, PACKING_GZIP, PACKING_XZ, PACKING_BZIP2, PACKING_ZSTD, NUM_PACKINGS } packing_t;

/* A small matrix as a table: place[row][col] is 1 where there is an entry. */
typedef struct table {
    int rows, cols;
    unsigned char place[TABLE_MAX][TABLE_MAX];
} table_t;

extern const char *const packing_suffixes[NUM_PACKINGS];

/** MPI_Init; one failing rank of several aborts instead of leaving the others waiting. */
void world_init(int *argc, char ***argv);
/** Remove the folder, sum failures over ranks, MPI_Finalize. @return exit code */
int world_finish(int failures);
/** The same for a test that cannot run here. @return 77 */
int world_skip(const char *reason);

int world_rank(void);
int world_size(void);
/** This rank's status after a failure of rank 0: the failure itself there, TULLE_ERR_REMOTE on the others. */
void assert_failed_on_rank_0(tulle_status_t expected, tulle_status_t actual);

/** Path of a file of that name in this run's own folder; static storage, overwritten by the next call; on ranks above 0
 * a path that does not exist: only rank 0 may look. */
const char *world_path(const char *name);
/** Write bytes as they are. Rank 0 only, elsewhere no-op. @return world_path(name) */
const char *world_write(const char *name, const void *bytes, size_t num_bytes);
/** Write bytes compressed, by libarchive, which appends no suffix. Rank 0 only. @return world_path(name) */
const char *world_write_packed(const char *name, packing_t packing, const void *bytes, size_t num_bytes);
/** Read a file of the folder. Rank 0 only, elsewhere 0. @return bytes read, at most capacity */
size_t world_read(const char *name, void *bytes, size_t capacity);

/** This rank's part must be what the table says, in contiguous blocks; the sizes too. */
void assert_is_table(const perf_input_t *input, const table_t *table);
/** Offsets start at 0 and do not fall, columns ascend strictly inside the matrix, nnz is the sum. */
void assert_is_well_formed(const perf_input_t *input);

#endif
