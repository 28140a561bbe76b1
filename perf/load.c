/* SPDX-License-Identifier: Apache-2.0
 * Rows that cross between machines, summed over each machine's ranks: the largest sum is what links must carry. */
#include "perf/load.h"

#include "src/agree.h"

#define LEAST_BYTES 1048576 /* below, latencies and not a rate make the time of an exchange */

/* [rows] by way and direction, of one rank or one machine. */
typedef struct crossing {
    int64_t naive_in, naive_out;
    int64_t direct_in, direct_out;
} crossing_t;

/* Each rank's machine, named by its lowest rank. */
static tulle_status_t find_machines(const perf_halo_t *halo, MPI_Comm local, int *machine_of)
{
    tulle_status_t st = TULLE_OK;
    int lowest = halo->rank;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &lowest, 1, MPI_INT, MPI_MIN, local));
    TLI_MPI(MPI_Allgather(&lowest, 1, MPI_INT, machine_of, 1, MPI_INT, halo->comm));
done:
    return st;
}

/* What this rank exchanges with other machines; with other ranks where there is no other machine. */
static crossing_t count_own(const perf_halo_t *halo, const int *machine_of, int num_local_ranks)
{
    crossing_t own = {0, 0, 0, 0};
    int is_only_machine = num_local_ranks == halo->num_ranks;
    for (int r = 0; r < halo->num_ranks; r++) {
        int64_t first = 0;
        int64_t count = 0;
        if (r == halo->rank || (machine_of[r] == machine_of[halo->rank] && !is_only_machine))
            continue;
        perf_block(halo->num_rows, halo->num_ranks, r, &first, &count);
        own.naive_in += count;
        own.naive_out += halo->num_owned;
        own.direct_in += halo->needed_count[r];
        own.direct_out += halo->wanted_count[r];
    }
    return own;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

tulle_status_t perf_load_count(const perf_halo_t *halo, perf_load_t *load_out)
{
    tulle_status_t st = TULLE_OK;
    MPI_Comm local = MPI_COMM_NULL;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int *machine_of = NULL;
    perf_load_t load = {0, 0, 0};
    TLI_MPI(MPI_Comm_split_type(halo->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &local));
    TLI_MPI(MPI_Comm_size(local, &load.num_local_ranks));
    TLI_TRY(tli_agree(halo->comm, tli_arena_alloc(&scratch, halo->num_ranks, sizeof(int), &machine_of)));
    TLI_TRY(find_machines(halo, local, machine_of));
    crossing_t sum = count_own(halo, machine_of, load.num_local_ranks);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &sum, 4, MPI_INT64_T, MPI_SUM, local));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &sum, 4, MPI_INT64_T, MPI_MAX, halo->comm));
    load.naive_rows = larger(sum.naive_in, sum.naive_out);
    load.direct_rows = larger(sum.direct_in, sum.direct_out);
    *load_out = load;
done:
    if (local != MPI_COMM_NULL)
        MPI_Comm_free(&local);
    tli_arena_release(&scratch);
    return st;
}

double perf_load_predict_naive(const perf_load_t *load, size_t row_bytes, double seconds)
{
    if ((double)load->direct_rows * (double)row_bytes < LEAST_BYTES)
        return 0;
    return seconds * (double)load->naive_rows / (double)load->direct_rows;
}
