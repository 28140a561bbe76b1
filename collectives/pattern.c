/* SPDX-License-Identifier: Apache-2.0
 * Patterns from ids, CSR and forests: copy, check, sort out duplicates, find owners. Grids are in grid.c. */
#include "collectives/pattern.h"

#include <string.h>

#include "collectives/directory.h"
#include "src/agree.h"
#include "src/sort.h"
#include "src/sparse_exchange.h"

static tulle_status_t pattern_alloc(tulle_comm_t *comm, int64_t num_needed, tulle_pattern_t **pattern_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_pattern_t *pattern = NULL;
    TLI_TRY(tli_alloc(sizeof *pattern, &pattern));
    pattern->comm = tli_comm_retain(comm);
    pattern->num_needed = num_needed;
    TLI_TRY(tli_arena_alloc_raw(&pattern->arena, num_needed, sizeof(int64_t), &pattern->owner_rank));
    TLI_TRY(tli_arena_alloc_raw(&pattern->arena, num_needed, sizeof(int64_t), &pattern->owner_row));
    *pattern_out = pattern;
    pattern = NULL;
done:
    tulle_pattern_destroy(&pattern);
    return st;
}

tulle_status_t tli_distinct_ids(tli_arena_t *arena, const int64_t *ids, int64_t n, int64_t *place,
                                int64_t **distinct_out, int64_t *num_distinct_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t *records = NULL, *scratch = NULL, *distinct = NULL;
    int64_t num_distinct = 0;
    TLI_TRY(tli_arena_alloc_raw(arena, n, 2 * sizeof *records, &records));
    TLI_TRY(tli_arena_alloc_raw(arena, n, 2 * sizeof *records, &scratch));
    TLI_TRY(tli_arena_alloc_raw(arena, n, sizeof *distinct, &distinct));
    for (int64_t i = 0; i < n; i++) {
        TLI_REQUIRE(ids[i] >= 0 && ids[i] < TLI_MAX_ID, TULLE_ERR_ARG,
                    "needed id %lld at position %lld is out of range: ids are in [0, 2^62)", (long long)ids[i],
                    (long long)i);
        records[2 * i] = ids[i];
        records[2 * i + 1] = i;
    }
    tli_sort(records, scratch, n, 2, 0);
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || records[2 * i] != records[2 * i - 2])
            distinct[num_distinct++] = records[2 * i];
        if (place != NULL)
            place[records[2 * i + 1]] = num_distinct - 1;
    }
    *distinct_out = distinct;
    *num_distinct_out = num_distinct;
done:
    return st;
}

int64_t tli_drop_own_ids(int64_t *ids, int64_t n, const tli_runs_t *own)
{
    int64_t kept = 0, run = 0;
    for (int64_t i = 0; i < n; i++) {
        while (run < own->num && own->words[3 * run] + own->words[3 * run + 1] <= ids[i])
            run++;
        if (run == own->num || ids[i] < own->words[3 * run])
            ids[kept++] = ids[i];
    }
    return kept;
}

typedef struct builder {
    tulle_pattern_t *pattern;
    tli_arena_t arena; /* scratch */
    int64_t *place;    /* [num_needed] of each needed id among the distinct ones */
    int64_t *distinct;
    int64_t num_distinct;
    int64_t *owners; /* [num_distinct * 2] */
} builder_t;

static tulle_status_t prepare_ids(builder_t *b, tulle_comm_t *comm, const int64_t *ids, int64_t n)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(n >= 0, TULLE_ERR_ARG, "num_needed is %lld, must not be negative", (long long)n);
    TLI_REQUIRE(n == 0 || ids != NULL, TULLE_ERR_ARG, "needed_ids is NULL but num_needed is %lld", (long long)n);
    TLI_TRY(pattern_alloc(comm, n, &b->pattern));
    TLI_TRY(tli_arena_alloc_raw(&b->pattern->arena, n, sizeof *ids, &b->pattern->needed_ids));
    if (n > 0)
        memcpy(b->pattern->needed_ids, ids, (size_t)n * sizeof *ids);
    TLI_TRY(tli_arena_alloc_raw(&b->arena, n, sizeof *b->place, &b->place));
    TLI_TRY(tli_distinct_ids(&b->arena, ids, n, b->place, &b->distinct, &b->num_distinct));
    TLI_TRY(tli_arena_alloc_raw(&b->arena, b->num_distinct, 2 * sizeof *b->owners, &b->owners));
done:
    return st;
}

static void store_owners(builder_t *b)
{
    for (int64_t i = 0; i < b->pattern->num_needed; i++) {
        b->pattern->owner_rank[i] = b->owners[2 * b->place[i]];
        b->pattern->owner_row[i] = b->owners[2 * b->place[i] + 1];
    }
}

tulle_status_t tli_pattern_from_runs(tulle_comm_t *comm, tulle_status_t local, const tli_runs_t *runs,
                                     int64_t num_owned, const int64_t *ids, int64_t n, tulle_pattern_t **pattern_out)
{
    builder_t b = {0};
    tulle_status_t st = local;
    if (st == TULLE_OK && pattern_out == NULL)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "pattern_out is NULL");
    if (st == TULLE_OK)
        st = prepare_ids(&b, comm, ids, n);
    st = tli_directory_find(comm, st, runs, b.distinct, b.num_distinct, "owned rows", b.owners);
    st = tli_agree(comm->mpi, st);
    if (st == TULLE_OK) {
        store_owners(&b);
        b.pattern->num_owned = num_owned;
        tli_arena_seal(&b.pattern->arena);
        *pattern_out = b.pattern;
        b.pattern = NULL;
    }
    tulle_pattern_destroy(&b.pattern);
    tli_arena_release(&b.arena);
    return st;
}

tulle_status_t tli_check_comm(const tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(comm != NULL, TULLE_ERR_ARG, "the communicator is NULL: was it created, or already destroyed?");
    tli_fault_set_rank(comm->rank);
done:
    return st;
}

tulle_status_t tulle_pattern_create_from_ids(tulle_comm_t *comm, const tulle_layout_t *owned, const int64_t *needed_ids,
                                             int64_t num_needed, tulle_pattern_t **pattern_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_runs_t runs = {0, NULL};
    TLI_TRY(tli_check_comm(comm));
    st = tli_layout_to_runs(comm, TULLE_OK, owned, "owned rows", &scratch, &runs);
    st = tli_pattern_from_runs(comm, st, &runs, st == TULLE_OK ? owned->num_rows : 0, needed_ids, num_needed,
                               pattern_out);
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t check_csr(const tulle_layout_t *rows, const int64_t *row_ptr, const int64_t *col_idx)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(rows != NULL && rows->num_rows >= 0, TULLE_ERR_ARG, "the row layout is NULL or has a negative size");
    TLI_REQUIRE(row_ptr != NULL, TULLE_ERR_ARG, "row_ptr is NULL");
    TLI_REQUIRE(row_ptr[0] == 0, TULLE_ERR_ARG, "row_ptr[0] is %lld, must be 0", (long long)row_ptr[0]);
    for (int64_t r = 0; r < rows->num_rows; r++)
        TLI_REQUIRE(row_ptr[r + 1] >= row_ptr[r], TULLE_ERR_ARG, "row_ptr decreases from %lld to %lld at row %lld",
                    (long long)row_ptr[r], (long long)row_ptr[r + 1], (long long)r);
    TLI_REQUIRE(row_ptr[rows->num_rows] == 0 || col_idx != NULL, TULLE_ERR_ARG,
                "col_idx is NULL but there are %lld "
                "entries",
                (long long)row_ptr[rows->num_rows]);
done:
    return st;
}

tulle_status_t tli_pattern_check_rows(tulle_comm_t *comm, tulle_status_t local, const tulle_layout_t *rows,
                                      tli_arena_t *arena)
{
    tli_runs_t runs = {0, NULL};
    tulle_status_t st = local;
    int needs_check = st == TULLE_OK && (rows->ids != NULL || rows->first != TULLE_LAYOUT_FOLLOW);
    int code = MPI_Allreduce(MPI_IN_PLACE, &needs_check, 1, MPI_INT, MPI_MAX, comm->mpi);
    if (st == TULLE_OK && code != MPI_SUCCESS)
        st = tli_fail_mpi(code, TLI_WHERE, "MPI_Allreduce");
    if (needs_check) {
        st = tli_layout_to_runs(comm, st, rows, "matrix rows", arena, &runs);
        st = tli_directory_find(comm, st, &runs, NULL, 0, "matrix rows", NULL);
    }
    return st;
}

tulle_status_t tulle_pattern_create_from_csr(tulle_comm_t *comm, const tulle_layout_t *rows,
                                             const tulle_layout_t *columns, const int64_t *row_ptr,
                                             const int64_t *col_idx, tulle_pattern_t **pattern_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_runs_t own = {0, NULL};
    int64_t *ghosts = NULL;
    int64_t num_ghosts = 0;
    TLI_TRY(tli_check_comm(comm));
    st = tli_pattern_check_rows(comm, check_csr(rows, row_ptr, col_idx), rows, &scratch);
    st = tli_layout_to_runs(comm, st, columns, "matrix columns", &scratch, &own);
    if (st == TULLE_OK)
        st = tli_distinct_ids(&scratch, col_idx, row_ptr[rows->num_rows], NULL, &ghosts, &num_ghosts);
    if (st == TULLE_OK)
        num_ghosts = tli_drop_own_ids(ghosts, num_ghosts, &own);
    st = tli_pattern_from_runs(comm, st, &own, st == TULLE_OK ? columns->num_rows : 0, ghosts, num_ghosts, pattern_out);
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t fill_forest(tulle_comm_t *comm, int64_t num_owned, int64_t num_needed, const int32_t *owner_rank,
                                  const int64_t *owner_row, tulle_pattern_t **pattern_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(num_owned >= 0 && num_needed >= 0, TULLE_ERR_ARG,
                "num_owned is %lld, num_needed is %lld: must not be "
                "negative",
                (long long)num_owned, (long long)num_needed);
    TLI_REQUIRE(num_needed == 0 || (owner_rank != NULL && owner_row != NULL), TULLE_ERR_ARG,
                "owner_rank or owner_row is NULL but num_needed is %lld", (long long)num_needed);
    TLI_TRY(pattern_alloc(comm, num_needed, pattern_out));
    (*pattern_out)->num_owned = num_owned;
    for (int64_t i = 0; i < num_needed; i++) {
        TLI_REQUIRE(owner_rank[i] >= 0 && owner_rank[i] < comm->size && owner_row[i] >= 0, TULLE_ERR_ARG,
                    "needed row %lld is row %lld of rank %d: ranks are in [0, %d), rows are not negative", (long long)i,
                    (long long)owner_row[i], (int)owner_rank[i], comm->size);
        (*pattern_out)->owner_rank[i] = owner_rank[i];
        (*pattern_out)->owner_row[i] = owner_row[i];
    }
done:
    return st;
}

/* Tell every owner the largest of its rows that I name: one word per neighbour. */
static tulle_status_t pack_largest_rows(const tulle_pattern_t *pattern, tli_arena_t *arena, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    int64_t *records = NULL, *scratch = NULL;
    int64_t n = pattern->num_needed, num_owners = 0;
    TLI_TRY(tli_arena_alloc_raw(arena, n, 2 * sizeof *records, &records));
    TLI_TRY(tli_arena_alloc_raw(arena, n, 2 * sizeof *records, &scratch));
    for (int64_t i = 0; i < n; i++) {
        records[2 * i] = pattern->owner_rank[i];
        records[2 * i + 1] = pattern->owner_row[i];
    }
    tli_sort(records, scratch, n, 2, 0);
    for (int64_t i = 0; i < n; i++) {
        int64_t *last = records + 2 * (num_owners - 1);
        if (i > 0 && records[2 * i] == last[0]) {
            last[1] = records[2 * i + 1] > last[1] ? records[2 * i + 1] : last[1];
        } else {
            records[2 * num_owners] = records[2 * i];
            records[2 * num_owners++ + 1] = records[2 * i + 1];
        }
    }
    TLI_TRY(tli_packets_from_records(arena, records, num_owners, 2, packets));
done:
    return st;
}

static tulle_status_t check_named_rows(const tli_packets_t *named, int64_t num_owned)
{
    tulle_status_t st = TULLE_OK;
    for (int p = 0; p < named->num_peers; p++)
        TLI_REQUIRE(named->words[p] < num_owned, TULLE_ERR_ARG, "rank %d needs row %lld of a rank that owns %lld rows",
                    named->peer[p], (long long)named->words[p], (long long)num_owned);
done:
    return st;
}

tulle_status_t tulle_pattern_create_from_forest(tulle_comm_t *comm, int64_t num_owned, int64_t num_needed,
                                                const int32_t *owner_rank, const int64_t *owner_row,
                                                tulle_pattern_t **pattern_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_pattern_t *pattern = NULL;
    tli_packets_t naming = {0}, named = {0};
    tli_arena_t scratch = TLI_ARENA_INIT;
    TLI_TRY(tli_check_comm(comm));
    if (pattern_out == NULL)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "pattern_out is NULL");
    if (st == TULLE_OK)
        st = fill_forest(comm, num_owned, num_needed, owner_rank, owner_row, &pattern);
    if (st == TULLE_OK)
        st = pack_largest_rows(pattern, &scratch, &naming);
    st = tli_sparse_exchange(comm, st, &naming, &scratch, &named);
    if (st == TULLE_OK)
        st = check_named_rows(&named, num_owned);
    TLI_TRY(tli_agree(comm->mpi, st));
    tli_arena_seal(&pattern->arena);
    *pattern_out = pattern;
    pattern = NULL;
done:
    tulle_pattern_destroy(&pattern);
    tli_arena_release(&scratch);
    return st;
}

void tulle_pattern_destroy(tulle_pattern_t **pattern)
{
    if (pattern != NULL && *pattern != NULL) {
        tulle_comm_destroy(&(*pattern)->comm);
        tli_arena_release(&(*pattern)->arena);
        tli_free(*pattern);
        *pattern = NULL;
    }
}

int64_t tulle_pattern_num_owned(const tulle_pattern_t *pattern)
{
    return pattern != NULL ? pattern->num_owned : 0;
}

int64_t tulle_pattern_num_needed(const tulle_pattern_t *pattern)
{
    return pattern != NULL ? pattern->num_needed : 0;
}

const int64_t *tulle_pattern_needed_ids(const tulle_pattern_t *pattern)
{
    return pattern != NULL && pattern->num_needed > 0 ? pattern->needed_ids : NULL;
}
