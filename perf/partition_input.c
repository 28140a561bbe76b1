/* SPDX-License-Identifier: Apache-2.0
 * Collected on rank 0, partitioned, dealt out again. */
#include "perf/partition_input.h"

#include <inttypes.h>
#include <string.h>

#include "perf/halo.h"
#include "perf/input_whole.h"
#include "perf/partition.h"
#include "src/agree.h"

/* Rows between nodes as the matrix is now. */
static tulle_status_t count_volume(MPI_Comm comm, const tulle_topology_t *topology, const perf_input_t *input,
                                   perf_volume_t *volume_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    perf_halo_t halo = {0};
    int num_ranks = tulle_topology_num_ranks(topology);
    int *node_of = NULL;
    TLI_TRY(tli_agree(comm, tli_arena_alloc_raw(&scratch, num_ranks, sizeof *node_of, &node_of)));
    for (int r = 0; r < num_ranks; r++)
        node_of[r] = tulle_topology_group(topology, 0, r);
    TLI_TRY(perf_halo_create(comm, input, &halo));
    TLI_TRY(perf_volume_count(&halo, node_of, volume_out));
done:
    perf_halo_release(&halo);
    tli_arena_release(&scratch);
    return st;
}

/* Rank 0. */
static tulle_status_t reorder(const char *how, const tulle_topology_t *topology, const perf_matrix_t *matrix,
                              tli_arena_t *arena, perf_partitioned_t *partitioned, perf_matrix_t *reordered)
{
    tulle_status_t st = TULLE_OK;
    perf_partition_t partition;
    double began = MPI_Wtime();
    if (strcmp(how, "metis") == 0)
        TLI_TRY(perf_partition_by_metis(matrix, topology, arena, &partition));
    else
        TLI_TRY(perf_partition_read(matrix, how, tulle_topology_num_ranks(topology), arena, &partition));
    partitioned->time_us = 1e6 * (MPI_Wtime() - began);
    partitioned->num_moved = partition.num_moved;
    TLI_TRY(perf_matrix_permute(matrix, &partition, arena, reordered));
done:
    return st;
}

tulle_status_t perf_partition_input(MPI_Comm comm, const char *how, const tulle_topology_t *topology,
                                    perf_input_t *input, perf_partitioned_t *partitioned_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    perf_matrix_t matrix = {0};
    perf_matrix_t reordered = {0};
    perf_input_t partitioned_input = {0};
    perf_partitioned_t partitioned = {0};
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    TLI_TRY(count_volume(comm, topology, input, &partitioned.before));
    TLI_TRY(perf_input_collect(comm, input, &scratch, &matrix));
    if (rank == 0)
        st = reorder(how, topology, &matrix, &scratch, &partitioned, &reordered);
    TLI_TRY(tli_agree(comm, st));
    TLI_TRY(perf_input_distribute(comm, input->name, &reordered, NULL, NULL, &partitioned_input));
    TLI_MPI(MPI_Bcast(&partitioned, (int)sizeof partitioned, MPI_BYTE, 0, comm));
    perf_input_release(input);
    *input = partitioned_input;
    memset(&partitioned_input, 0, sizeof partitioned_input);
    *partitioned_out = partitioned;
done:
    perf_input_release(&partitioned_input);
    tli_arena_release(&scratch);
    return st;
}

void perf_partitioned_print(const perf_partitioned_t *partitioned, const char *how, const perf_volume_t *after,
                            FILE *out)
{
    fprintf(out,
            "# partition %s in %.0f us; rows between nodes, against block order: direct %" PRId64 " -> %" PRId64
            ", limit %" PRId64 " -> %" PRId64 "\n",
            how, partitioned->time_us, partitioned->before.direct_rows, after->direct_rows,
            partitioned->before.limit_rows, after->limit_rows);
    if (partitioned->num_moved > 0)
        fprintf(out, "# %" PRId64 " rows and columns were given to another rank, to make blocks of equal size\n",
                partitioned->num_moved);
}
