/* SPDX-License-Identifier: Apache-2.0
 * Layouts to runs of consecutive ids. */
#include "collectives/directory.h"

#include "src/agree.h"
#include "src/sort.h"

static tulle_status_t check_layout(const tulle_layout_t *layout, const char *what)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(layout != NULL, TULLE_ERR_ARG, "the layout of the %s is NULL", what);
    TLI_REQUIRE(layout->num_rows >= 0, TULLE_ERR_ARG, "the number of %s is %lld, must not be negative", what,
                (long long)layout->num_rows);
    TLI_REQUIRE(layout->ids != NULL || layout->first >= TULLE_LAYOUT_FOLLOW, TULLE_ERR_ARG,
                "the block of %s starts at %lld, must not be negative", what, (long long)layout->first);
    TLI_REQUIRE(layout->num_rows < TLI_MAX_ID, TULLE_ERR_OVERFLOW, "%lld %s are more than 2^62",
                (long long)layout->num_rows, what);
done:
    return st;
}

static tulle_status_t block_to_runs(int64_t first, int64_t count, const char *what, tli_arena_t *arena,
                                    tli_runs_t *runs)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(first <= TLI_MAX_ID - count, TULLE_ERR_OVERFLOW, "%s %lld to %lld exceed the largest id, 2^62 - 1",
                what, (long long)first, (long long)first + (long long)count - 1);
    TLI_TRY(tli_arena_alloc(arena, 3, sizeof *runs->words, &runs->words));
    runs->num = count > 0;
    runs->words[0] = first;
    runs->words[1] = count;
done:
    return st;
}

/* Consecutive ids in consecutive local rows are one run, so that a list of lines or boxes stays small. */
static tulle_status_t list_to_runs(const tulle_layout_t *layout, const char *what, tli_arena_t *arena, tli_runs_t *runs)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t *sorted = NULL, *sort_scratch = NULL;
    int64_t n = layout->num_rows;
    TLI_TRY(tli_arena_alloc_raw(&scratch, n, 2 * sizeof *sorted, &sorted));
    TLI_TRY(tli_arena_alloc_raw(&scratch, n, 2 * sizeof *sorted, &sort_scratch));
    for (int64_t i = 0; i < n; i++) {
        TLI_REQUIRE(layout->ids[i] >= 0 && layout->ids[i] < TLI_MAX_ID, TULLE_ERR_ARG,
                    "entry %lld of the %s has id %lld: ids are in [0, 2^62)", (long long)i, what,
                    (long long)layout->ids[i]);
        sorted[2 * i] = layout->ids[i];
        sorted[2 * i + 1] = i;
    }
    tli_sort(sorted, sort_scratch, n, 2, 0);
    TLI_TRY(tli_arena_alloc_raw(arena, n, 3 * sizeof *runs->words, &runs->words));
    for (int64_t i = 0; i < n; i++) {
        int64_t id = sorted[2 * i], row = sorted[2 * i + 1];
        int64_t *last = runs->words + 3 * (runs->num - 1);
        TLI_REQUIRE(i == 0 || id != sorted[2 * i - 2], TULLE_ERR_ARG,
                    "id %lld is listed twice among this rank's %s, as entries %lld and %lld", (long long)id, what,
                    (long long)sorted[2 * i - 1], (long long)row);
        if (i > 0 && id == last[0] + last[1] && row == last[2] + last[1]) {
            last[1]++;
        } else {
            last = runs->words + 3 * runs->num++;
            last[0] = id;
            last[1] = 1;
            last[2] = row;
        }
    }
done:
    tli_arena_release(&scratch);
    return st;
}

/* Rows in the blocks of the ranks before. Summed in halves of 31 bits: no sum wraps, and one beyond all ids stays
 * there. */
static int count_before(const tulle_comm_t *comm, int64_t following, int64_t *before_out)
{
    const int64_t mask = INT64_C(0x7fffffff);
    int64_t mine[2] = {following & mask, following >> 31}, sums[2] = {0, 0};
    int code = MPI_Exscan(mine, sums, 2, MPI_INT64_T, MPI_SUM, comm->mpi);
    int64_t low = comm->rank > 0 ? sums[0] : 0, high = comm->rank > 0 ? sums[1] + (low >> 31) : 0;
    *before_out = high > mask ? TLI_MAX_ID : (high << 31) + (low & mask);
    return code;
}

tulle_status_t tli_layout_to_runs(tulle_comm_t *comm, tulle_status_t local, const tulle_layout_t *layout,
                                  const char *what, tli_arena_t *arena, tli_runs_t *runs_out)
{
    tulle_status_t st = local == TULLE_OK ? check_layout(layout, what) : local;
    tli_runs_t runs = {0, NULL};
    int is_valid = st == TULLE_OK;
    int is_block = is_valid && (layout->ids == NULL && layout->num_rows >= 0) && layout->first != TULLE_LAYOUT_FOLLOW;
    int64_t following = is_valid && layout->ids == NULL && !is_block ? layout->num_rows : 0;
    int64_t before = 0;
    int code = count_before(comm, following, &before);
    if (st == TULLE_OK && code != MPI_SUCCESS)
        st = tli_fail_mpi(code, TLI_WHERE, "MPI_Exscan");
    if (st == TULLE_OK && layout->ids != NULL)
        st = list_to_runs(layout, what, arena, &runs);
    else if (st == TULLE_OK)
        st = block_to_runs(is_block ? layout->first : before, layout->num_rows, what, arena, &runs);
    if (st == TULLE_OK)
        *runs_out = runs;
    return st;
}
