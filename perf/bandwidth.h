/* SPDX-License-Identifier: Apache-2.0
 * How fast all ranks together read memory and caches: what a local multiplication can be held against. */
#ifndef PERF_BANDWIDTH_H
#define PERF_BANDWIDTH_H

#include <mpi.h>
#include <stdint.h>

#include <tulle/status.h>

/**
 * Read an array over and over on every rank at once.
 * @collective all ranks of @p comm
 * @param[in]  bytes          of this rank's array; small ones are rounded up to 16 KiB
 * @param[out] gb_per_s_out   of this rank: bytes that it read by the time that took
 * @retval TULLE_ERR_NOMEM, TULLE_ERR_TRANSPORT; on all ranks
 */
tulle_status_t perf_bandwidth_measure(MPI_Comm comm, int64_t bytes, int num_threads, double *gb_per_s_out);

/** Likewise of its rows, in random order, found by their numbers. @param[in] row_bytes [bytes] even */
tulle_status_t perf_bandwidth_measure_rows(MPI_Comm comm, int64_t bytes, int64_t row_bytes, int num_threads,
                                           double *gb_per_s_out);

#endif
