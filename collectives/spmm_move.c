/* SPDX-License-Identifier: Apache-2.0
 * Nonzeros of partial rows go to the ranks that own their columns, once: their rows become ghost rows there, which a
 * plan scatters. */
#include <string.h>

#include "collectives/plan.h"
#include "collectives/spmm_build.h"
#include "src/agree.h"
#include "src/sparse_exchange.h"

/* What is sent for each nonzero, and to whom: both places, each below 2^31, in one word. */
enum { RANK, PLACES, ENTRY, VALUE, NUM_WORDS };
enum { SENT_PLACES, SENT_ENTRY, SENT_VALUE, NUM_SENT };

static int64_t row_of(int64_t places)
{
    return places >> 32;
}

static int64_t column_of(int64_t places)
{
    return places & INT64_C(0xffffffff);
}

static int is_moving(const tli_spmm_builder_t *b, int64_t e)
{
    return b->place[e] < 0 && b->kept[-1 - b->place[e]] < 0;
}

static tulle_status_t pack_moving(const tli_spmm_builder_t *b, tli_arena_t *arena, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    const tulle_spmm_t *spmm = b->spmm;
    size_t bytes = tulle_datatype_size(spmm->type);
    int64_t *records = NULL, n = 0;
    for (int64_t e = 0; e < spmm->num_nonzeros; e++)
        n += is_moving(b, e);
    TLI_TRY(tli_arena_alloc(arena, n, NUM_WORDS * sizeof *records, &records));
    n = 0;
    for (int64_t row = 0; row < spmm->num_rows; row++) {
        for (int64_t e = b->matrix->row_ptr[row]; e < b->matrix->row_ptr[row + 1]; e++) {
            if (is_moving(b, e)) {
                int64_t *record = records + NUM_WORDS * n++;
                record[RANK] = b->owner_rank[-1 - b->place[e]];
                record[PLACES] = row << 32 | b->owner_row[-1 - b->place[e]];
                record[ENTRY] = e;
                memcpy(&record[VALUE], (const char *)spmm->values + (size_t)e * bytes, bytes);
            }
        }
    }
    TLI_TRY(tli_packets_from_records(arena, records, n, NUM_WORDS, packets));
done:
    return st;
}

static tulle_status_t alloc_moved(tli_spmm_builder_t *b, int64_t n)
{
    tulle_status_t st = TULLE_OK;
    tli_spmm_moved_t *moved = &b->spmm->moved;
    size_t bytes = tulle_datatype_size(b->spmm->type);
    moved->num = n;
    TLI_TRY(tli_arena_alloc_raw(&b->spmm->arena, n, sizeof *moved->rank, &moved->rank));
    TLI_TRY(tli_arena_alloc_raw(&b->spmm->arena, n, sizeof *moved->entry, &moved->entry));
    TLI_TRY(tli_arena_alloc_raw(&b->spmm->arena, n, bytes, &moved->values));
    TLI_TRY(tli_triples_alloc(&b->arena, n, &b->moved));
done:
    return st;
}

/* Rows that nonzeros are in: whose, and which there. */
typedef struct foreign_rows {
    int64_t num;
    int32_t *rank;
    int64_t *row;
} foreign_rows_t;

/* Nonzeros come row by row from each rank. Triples have the rows as they are listed, for now. */
static tulle_status_t unpack_moved(tli_spmm_builder_t *b, const tli_packets_t *packets, foreign_rows_t *rows)
{
    tulle_status_t st = TULLE_OK;
    tli_spmm_moved_t *moved = &b->spmm->moved;
    size_t bytes = tulle_datatype_size(b->spmm->type);
    int64_t n = packets->num_peers > 0 ? packets->ptr[packets->num_peers] / NUM_SENT : 0;
    TLI_TRY(alloc_moved(b, n));
    TLI_TRY(tli_arena_alloc_raw(&b->arena, n, sizeof *rows->rank, &rows->rank));
    TLI_TRY(tli_arena_alloc_raw(&b->arena, n, sizeof *rows->row, &rows->row));
    for (int p = 0; p < packets->num_peers; p++) {
        for (int64_t at = packets->ptr[p]; at < packets->ptr[p + 1]; at += NUM_SENT) {
            const int64_t *sent = packets->words + at;
            int64_t m = b->moved.num;
            if (at == packets->ptr[p] || row_of(sent[SENT_PLACES]) != rows->row[rows->num - 1]) {
                rows->rank[rows->num] = packets->peer[p];
                rows->row[rows->num++] = row_of(sent[SENT_PLACES]);
            }
            tli_triples_add(&b->moved, rows->num - 1, column_of(sent[SENT_PLACES]), m);
            moved->rank[m] = packets->peer[p];
            moved->entry[m] = sent[SENT_ENTRY];
            memcpy((char *)moved->values + (size_t)m * bytes, &sent[SENT_VALUE], bytes);
        }
    }
done:
    return st;
}

static tulle_status_t plan_scatter(tli_spmm_builder_t *b, const foreign_rows_t *rows)
{
    tulle_status_t st = TULLE_OK;
    tulle_spmm_t *spmm = b->spmm;
    tulle_pattern_t *pattern = NULL;
    TLI_TRY(tulle_pattern_create_from_forest(spmm->comm, spmm->num_rows, rows->num, rows->rank, rows->row, &pattern));
    TLI_TRY(tli_spmm_make_plan(spmm, pattern, tli_sum_type(spmm->type), &spmm->scatter));
done:
    tulle_pattern_destroy(&pattern);
    return st;
}

/* From listed rows to ghost rows. */
static tulle_status_t place_rows(tli_spmm_builder_t *b, const foreign_rows_t *rows)
{
    tulle_status_t st = TULLE_OK;
    int64_t *position = NULL;
    TLI_TRY(tli_arena_alloc_raw(&b->arena, rows->num, sizeof *position, &position));
    TLI_TRY(tulle_plan_ghost_order(b->spmm->scatter, position));
    for (int64_t m = 0; m < b->moved.num; m++)
        b->moved.row[m] = (int32_t)position[b->moved.row[m]];
done:
    return st;
}

tulle_status_t tli_spmm_move(tli_spmm_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    tulle_comm_t *comm = b->spmm->comm;
    tli_packets_t out = {0}, in = {0};
    foreign_rows_t rows = {0, NULL, NULL};
    int64_t most = 0;
    if (b->spmm->options.cover == TULLE_COVER_COLUMNS)
        goto done;
    st = tli_sparse_exchange(comm, pack_moving(b, &b->arena, &out), &out, &b->arena, &in);
    if (st == TULLE_OK)
        st = unpack_moved(b, &in, &rows);
    if (st == TULLE_OK)
        most = rows.num;
    TLI_TRY(tli_agree_on_most(comm->mpi, st, 0, "whether rows move", &most));
    if (most > 0) {
        TLI_TRY(plan_scatter(b, &rows));
        TLI_TRY(tli_agree(comm->mpi, place_rows(b, &rows)));
    }
done:
    return st;
}
