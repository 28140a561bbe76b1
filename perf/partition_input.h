/* SPDX-License-Identifier: Apache-2.0
 * A distributed matrix in a better order. */
#ifndef PERF_PARTITION_INPUT_H
#define PERF_PARTITION_INPUT_H

#include <stdio.h>

#include <tulle/topology.h>

#include "perf/input.h"
#include "perf/volume.h"

/** What a partition took and found. */
typedef struct perf_partitioned {
    double time_us;       /* [us] on rank 0: partitioning alone */
    int64_t num_moved;    /* [rows] as perf_partition_t has it */
    perf_volume_t before; /* in block order */
} perf_partitioned_t;

/**
 * Partition a matrix over a machine and deal it out anew: rank 0 holds it whole for a while.
 * @collective all ranks of @p comm; blocks
 * @param[in]     how             "metis", or a file as perf_partition_read() takes
 * @param[in]     topology        of as many ranks as @p comm
 * @param[in,out] input           replaced; stays as it is on failure
 * @param[out]    partitioned_out equal on every rank; untouched on failure
 * @retval TULLE_ERR_UNSUPPORTED built without METIS; TULLE_ERR_FILE; TULLE_ERR_OVERFLOW; TULLE_ERR_NOMEM;
 *         TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 */
tulle_status_t perf_partition_input(MPI_Comm comm, const char *how, const tulle_topology_t *topology,
                                    perf_input_t *input, perf_partitioned_t *partitioned_out);

/** Say what a partition did. @param[in] how as above @param[in] after volumes of the partitioned matrix */
void perf_partitioned_print(const perf_partitioned_t *partitioned, const char *how, const perf_volume_t *after,
                            FILE *out);

#endif
