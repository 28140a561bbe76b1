/* SPDX-License-Identifier: Apache-2.0
 * Needed ids are the distinct columns outside the own block; one MPI_Alltoallv tells every owner who needs what. */
#include "perf/halo.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "src/agree.h"

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int64_t sort_distinct(int64_t *ids, int64_t n)
{
    int64_t kept = 0;
    qsort(ids, (size_t)n, sizeof *ids, compare_ids);
    for (int64_t i = 0; i < n; i++)
        if (kept == 0 || ids[i] != ids[kept - 1])
            ids[kept++] = ids[i];
    return kept;
}

static tulle_status_t find_needed(const perf_input_t *input, perf_halo_t *halo)
{
    tulle_status_t st = TULLE_OK;
    int64_t end_owned = halo->first_owned + halo->num_owned;
    int64_t num_entries = input->row_ptr[input->num_rows];
    int64_t num_foreign = 0;
    for (int64_t i = 0; i < num_entries; i++)
        num_foreign += input->col_idx[i] < halo->first_owned || input->col_idx[i] >= end_owned;
    TLI_TRY(tli_arena_alloc_raw(&halo->arena, num_foreign, sizeof(int64_t), &halo->needed_ids));
    num_foreign = 0;
    for (int64_t i = 0; i < num_entries; i++)
        if (input->col_idx[i] < halo->first_owned || input->col_idx[i] >= end_owned)
            halo->needed_ids[num_foreign++] = input->col_idx[i];
    halo->num_needed = sort_distinct(halo->needed_ids, num_foreign);
    TLI_REQUIRE(halo->num_needed <= INT_MAX, TULLE_ERR_OVERFLOW,
                "rank %d needs %lld rows, more than MPI can count; use more ranks", halo->rank,
                (long long)halo->num_needed);
    for (int64_t i = 0; i < halo->num_needed; i++)
        halo->needed_count[perf_block_owner(halo->num_rows, halo->num_ranks, halo->needed_ids[i])]++;
done:
    return st;
}

static tulle_status_t alloc_counts(perf_halo_t *halo)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc(&halo->arena, halo->num_ranks, sizeof(int), &halo->needed_count));
    TLI_TRY(tli_arena_alloc(&halo->arena, halo->num_ranks + 1, sizeof(int), &halo->needed_start));
    TLI_TRY(tli_arena_alloc(&halo->arena, halo->num_ranks, sizeof(int), &halo->wanted_count));
    TLI_TRY(tli_arena_alloc(&halo->arena, halo->num_ranks + 1, sizeof(int), &halo->wanted_start));
done:
    return st;
}

/* Prefix sums of what every rank needs and gives; the sum of the second may be too large although each count fits. */
static tulle_status_t place_counts(perf_halo_t *halo)
{
    tulle_status_t st = TULLE_OK;
    for (int r = 0; r < halo->num_ranks; r++)
        halo->num_wanted += halo->wanted_count[r];
    TLI_REQUIRE(halo->num_wanted <= INT_MAX, TULLE_ERR_OVERFLOW,
                "others need %lld rows of rank %d, more than MPI can count; use more ranks",
                (long long)halo->num_wanted, halo->rank);
    for (int r = 0; r < halo->num_ranks; r++) {
        halo->needed_start[r + 1] = halo->needed_start[r] + halo->needed_count[r];
        halo->wanted_start[r + 1] = halo->wanted_start[r] + halo->wanted_count[r];
    }
    TLI_TRY(tli_arena_alloc_raw(&halo->arena, halo->num_wanted, sizeof(int64_t), &halo->wanted_rows));
    TLI_TRY(tli_arena_alloc(&halo->arena, halo->num_owned + 1, sizeof(int64_t), &halo->contributor_ptr));
    TLI_TRY(tli_arena_alloc_raw(&halo->arena, halo->num_wanted, sizeof(int), &halo->contributors));
done:
    return st;
}

/* Turn wanted rows by rank into ranks by wanted row: a counting sort, stable, so ranks ascend. */
static void list_contributors(perf_halo_t *halo)
{
    int64_t *ptr = halo->contributor_ptr;
    for (int64_t i = 0; i < halo->num_wanted; i++)
        ptr[halo->wanted_rows[i] + 1]++;
    for (int64_t row = 0; row < halo->num_owned; row++)
        ptr[row + 1] += ptr[row];
    for (int r = 0; r < halo->num_ranks; r++)
        for (int i = halo->wanted_start[r]; i < halo->wanted_start[r + 1]; i++)
            halo->contributors[ptr[halo->wanted_rows[i]]++] = r;
    memmove(ptr + 1, ptr, (size_t)halo->num_owned * sizeof *ptr); /* each had moved to the start of the next */
    ptr[0] = 0;
}

tulle_status_t perf_halo_create(MPI_Comm comm, const perf_input_t *input, perf_halo_t *halo_out)
{
    tulle_status_t st = TULLE_OK;
    perf_halo_t halo = {.comm = comm, .arena = TLI_ARENA_INIT};
    TLI_MPI(MPI_Comm_rank(comm, &halo.rank));
    TLI_MPI(MPI_Comm_size(comm, &halo.num_ranks));
    halo.num_rows = input->cols;
    perf_block(input->cols, halo.num_ranks, halo.rank, &halo.first_owned, &halo.num_owned);
    st = alloc_counts(&halo);
    if (st == TULLE_OK)
        st = find_needed(input, &halo);
    TLI_TRY(tli_agree(comm, st));
    TLI_MPI(MPI_Alltoall(halo.needed_count, 1, MPI_INT, halo.wanted_count, 1, MPI_INT, comm));
    TLI_TRY(tli_agree(comm, place_counts(&halo)));
    TLI_MPI(MPI_Alltoallv(halo.needed_ids, halo.needed_count, halo.needed_start, MPI_INT64_T, halo.wanted_rows,
                          halo.wanted_count, halo.wanted_start, MPI_INT64_T, comm));
    for (int64_t i = 0; i < halo.num_wanted; i++)
        halo.wanted_rows[i] -= halo.first_owned;
    list_contributors(&halo);
    *halo_out = halo;
    halo.arena = (tli_arena_t)TLI_ARENA_INIT;
done:
    tli_arena_release(&halo.arena);
    return st;
}

void perf_halo_release(perf_halo_t *halo)
{
    if (halo == NULL)
        return;
    tli_arena_release(&halo->arena);
    memset(halo, 0, sizeof *halo);
}
