/* SPDX-License-Identifier: Apache-2.0
 * The MPI frame of the tests of this room. */
#ifndef TESTS_PERF_TOOL_HARNESS_H
#define TESTS_PERF_TOOL_HARNESS_H

#include <mpi.h>

/** Initialise MPI; one failing rank of several aborts instead of leaving the others waiting. */
void harness_init(int *argc, char ***argv);

/** Sum failures over ranks and finalise MPI. @return exit status */
int harness_finish(int failures);

/** All ranks; errors are returned. */
extern MPI_Comm harness_comm;
extern int harness_rank;
extern int harness_size;

#endif
