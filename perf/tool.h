/* SPDX-License-Identifier: Apache-2.0
 * The main job: from a matrix to verified, timed and reported exchanges. */
#ifndef PERF_TOOL_H
#define PERF_TOOL_H

#include <mpi.h>

#include "perf/options.h"

/** Exit statuses of tulle_perf. */
typedef enum perf_exit {
    PERF_EXIT_OK = 0,
    PERF_EXIT_FAILED = 1, /* something failed, or a value or a volume is wrong */
    PERF_EXIT_USAGE = 2   /* the command line asks for something that cannot be */
} perf_exit_t;

/**
 * Do what the options say; rank 0 prints results on standard output and failures on standard error.
 * @collective all ranks of @p comm, with equal options
 * @param[in] comm returns errors
 * @return equal on every rank
 */
perf_exit_t perf_tool_run(MPI_Comm comm, const perf_options_t *options);

/** Rank 0: print this thread's last error. @param[in] rank of this process */
void perf_tool_print_error(int rank);

#endif
