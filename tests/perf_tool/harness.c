/* SPDX-License-Identifier: Apache-2.0
 * Begin and end of a test program with several ranks. */
#include "tests/perf_tool/harness.h"

#include <stdlib.h>

MPI_Comm harness_comm;
int harness_rank;
int harness_size;

void harness_init(int *argc, char ***argv)
{
    MPI_Init(argc, argv);
    MPI_Comm_dup(MPI_COMM_WORLD, &harness_comm);
    MPI_Comm_set_errhandler(harness_comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(harness_comm, &harness_rank);
    MPI_Comm_size(harness_comm, &harness_size);
    if (harness_size > 1)
        setenv("CMOCKA_TEST_ABORT", "1", 1);
}

int harness_finish(int failures)
{
    int all = failures;
    MPI_Allreduce(&failures, &all, 1, MPI_INT, MPI_SUM, harness_comm);
    MPI_Comm_free(&harness_comm);
    MPI_Finalize();
    return all != 0;
}
