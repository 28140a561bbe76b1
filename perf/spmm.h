/* SPDX-License-Identifier: Apache-2.0
 * tulle_perf spmm: a distributed sparse matrix times a dense one, verified, timed and reported. */
#ifndef PERF_SPMM_H
#define PERF_SPMM_H

#include "perf/tool.h"

/**
 * Do what the command line says.
 * @collective all ranks of @p comm, with equal words
 * @param[in] comm returns errors
 * @param[in] argv argv[0] is the command, "spmm"
 * @return equal on every rank
 */
perf_exit_t perf_spmm_run(MPI_Comm comm, int argc, char **argv);

#endif
