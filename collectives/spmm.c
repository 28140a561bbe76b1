/* SPDX-License-Identifier: Apache-2.0
 * A distributed sparse matrix: checked, its columns found and renumbered, its plans made. */
#include "collectives/spmm_build.h"
#include "collectives/spmm_device.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "src/agree.h"
#include "src/options.h"
#include "topology/model.h"

#define DEFAULT_WIDTH    64
#define DEFAULT_BINDINGS 4
#define MOST_BINDINGS    64

const char *tulle_cover_name(tulle_cover_t cover)
{
#define COVER_NAME(name, value, text)                                                                                  \
    case value:                                                                                                        \
        return text;
    switch ((int)cover) {
        TULLE_COVER_MAP(COVER_NAME)
    }
#undef COVER_NAME
    return "unknown";
}

tulle_status_t tulle_cover_parse(const char *name, tulle_cover_t *cover_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(name != NULL && cover_out != NULL, TULLE_ERR_ARG, "name or cover_out is NULL");
    for (int cover = TULLE_COVER_AUTO; cover <= TULLE_COVER_BALANCED; cover++) {
        if (strcmp(name, tulle_cover_name((tulle_cover_t)cover)) == 0) {
            *cover_out = (tulle_cover_t)cover;
            goto done;
        }
    }
    TLI_FAIL(TULLE_ERR_ARG, "no cover is called \"%.40s\": auto, columns, least, balanced", name);
done:
    return st;
}

/* --- creation ---------------------------------------------------------------------------------------------------- */

static tulle_status_t read_options(const tulle_spmm_options_t *given, tulle_spmm_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    *options = (tulle_spmm_options_t)TULLE_SPMM_OPTIONS_INIT;
    TLI_TRY(tli_options_take(given, options, sizeof *options, offsetof(tulle_spmm_options_t, space),
                             "TULLE_SPMM_OPTIONS_INIT"));
    TLI_REQUIRE(options->cover >= TULLE_COVER_AUTO && options->cover <= TULLE_COVER_BALANCED, TULLE_ERR_ARG,
                "options.cover is %d, none of TULLE_COVER_MAP", (int)options->cover);
    TLI_REQUIRE(options->width >= 0, TULLE_ERR_ARG, "options.width is %lld, must not be negative",
                (long long)options->width);
    TLI_REQUIRE(options->num_threads >= 0, TULLE_ERR_ARG, "options.num_threads is %d, must not be negative",
                (int)options->num_threads);
    TLI_REQUIRE(options->num_bindings >= 0 && options->num_bindings <= MOST_BINDINGS, TULLE_ERR_ARG,
                "options.num_bindings is %d, must be in [0, %d]", (int)options->num_bindings, MOST_BINDINGS);
    TLI_TRY(tli_spmm_device_check_options(options));
    options->width = options->width == 0 ? DEFAULT_WIDTH : options->width;
    options->num_bindings = options->num_bindings == 0 ? DEFAULT_BINDINGS : options->num_bindings;
done:
    return st;
}

static int64_t column_of(const tulle_csr_t *matrix, int64_t e)
{
    return matrix->index_type == TULLE_I32 ? ((const int32_t *)matrix->col_idx)[e]
                                           : ((const int64_t *)matrix->col_idx)[e];
}

static tulle_status_t check_types(const tulle_csr_t *matrix)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(matrix->index_type == TULLE_I32 || matrix->index_type == TULLE_I64, TULLE_ERR_UNSUPPORTED,
                "columns are of type %s: i32 and i64 are offered", tulle_datatype_name(matrix->index_type));
    TLI_REQUIRE(matrix->value_type == TULLE_F64 || matrix->value_type == TULLE_F32 || matrix->value_type == TULLE_F16 ||
                    matrix->value_type == TULLE_BF16,
                TULLE_ERR_UNSUPPORTED, "values are of type %s: f64, f32, f16 and bf16 are offered",
                tulle_datatype_name(matrix->value_type));
done:
    return st;
}

static tulle_status_t check_row(const tulle_csr_t *matrix, int64_t row)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t e = matrix->row_ptr[row]; e < matrix->row_ptr[row + 1]; e++) {
        int64_t column = column_of(matrix, e);
        TLI_REQUIRE(column >= 0 && column < TLI_MAX_ID, TULLE_ERR_ARG,
                    "nonzero %lld of row %lld is in column %lld: columns are in [0, 2^62)", (long long)e,
                    (long long)row, (long long)column);
        TLI_REQUIRE(e == matrix->row_ptr[row] || column > column_of(matrix, e - 1), TULLE_ERR_ARG,
                    "nonzero %lld of row %lld is in column %lld, the one before in %lld: columns must ascend",
                    (long long)e, (long long)row, (long long)column, (long long)column_of(matrix, e - 1));
    }
done:
    return st;
}

static tulle_status_t check_matrix(const tulle_layout_t *rows, const tulle_layout_t *columns, const tulle_csr_t *matrix)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(matrix != NULL && matrix->row_ptr != NULL, TULLE_ERR_ARG, "the matrix or its row_ptr is NULL");
    TLI_REQUIRE(rows != NULL && rows->num_rows >= 0, TULLE_ERR_ARG, "the row layout is NULL or has a negative size");
    TLI_REQUIRE(columns != NULL && columns->num_rows >= 0, TULLE_ERR_ARG,
                "the column layout is NULL or has a negative size");
    TLI_REQUIRE(rows->num_rows < INT32_MAX && columns->num_rows < INT32_MAX, TULLE_ERR_OVERFLOW,
                "%lld rows and %lld columns on one rank: at most 2^31 - 2", (long long)rows->num_rows,
                (long long)columns->num_rows);
    TLI_TRY(check_types(matrix));
    TLI_REQUIRE(matrix->row_ptr[0] == 0, TULLE_ERR_ARG, "row_ptr[0] is %lld, must be 0", (long long)matrix->row_ptr[0]);
    for (int64_t r = 0; r < rows->num_rows; r++)
        TLI_REQUIRE(matrix->row_ptr[r + 1] >= matrix->row_ptr[r], TULLE_ERR_ARG,
                    "row_ptr decreases from %lld to %lld at row %lld", (long long)matrix->row_ptr[r],
                    (long long)matrix->row_ptr[r + 1], (long long)r);
    TLI_REQUIRE(matrix->row_ptr[rows->num_rows] == 0 || (matrix->col_idx != NULL && matrix->values != NULL),
                TULLE_ERR_ARG, "col_idx or values is NULL but there are %lld nonzeros",
                (long long)matrix->row_ptr[rows->num_rows]);
    for (int64_t r = 0; r < rows->num_rows; r++)
        TLI_TRY(check_row(matrix, r));
done:
    return st;
}

/* Row of this rank that a column is, or -1. @param[in,out] run where the last one was found: columns come in runs */
static int64_t own_row(const tli_runs_t *own, int64_t id, int64_t *run)
{
    const int64_t *words = own->words + 3 * *run;
    int64_t low = 0, high = own->num;
    if (own->num == 0 || (words[0] <= id && id < words[0] + words[1]))
        return own->num == 0 ? -1 : words[2] + id - words[0];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (own->words[3 * middle] + own->words[3 * middle + 1] <= id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == own->num || id < own->words[3 * low])
        return -1;
    *run = low;
    return own->words[3 * low + 2] + id - own->words[3 * low];
}

static tulle_status_t find_columns(tli_spmm_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_nonzeros = b->spmm->num_nonzeros, n = 0, run = 0;
    int64_t *ids = NULL, *place = NULL;
    TLI_TRY(tli_arena_alloc_raw(&b->arena, num_nonzeros, sizeof *b->place, &b->place));
    TLI_TRY(tli_arena_alloc_raw(&b->arena, num_nonzeros, sizeof *ids, &ids));
    for (int64_t e = 0; e < num_nonzeros; e++) {
        int64_t column = column_of(b->matrix, e);
        b->place[e] = own_row(&b->own, column, &run);
        if (b->place[e] < 0)
            ids[n++] = column;
    }
    TLI_TRY(tli_arena_alloc_raw(&b->arena, n, sizeof *place, &place));
    TLI_TRY(tli_distinct_ids(&b->arena, ids, n, place, &b->foreign_ids, &b->num_foreign));
    TLI_REQUIRE(b->num_foreign < INT32_MAX, TULLE_ERR_OVERFLOW, "%lld foreign columns on one rank: at most 2^31 - 2",
                (long long)b->num_foreign);
    for (int64_t e = 0, i = 0; e < num_nonzeros; e++)
        if (b->place[e] < 0)
            b->place[e] = -1 - place[i++];
done:
    return st;
}

static tulle_status_t copy_values(tli_spmm_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    tulle_spmm_t *spmm = b->spmm;
    size_t bytes = tulle_datatype_size(spmm->type);
    TLI_TRY(tli_arena_alloc_raw(&spmm->arena, spmm->num_nonzeros, bytes, &spmm->values));
    if (spmm->num_nonzeros > 0)
        memcpy(spmm->values, b->matrix->values, (size_t)spmm->num_nonzeros * bytes);
done:
    return st;
}

static tulle_status_t alloc_outcome(tli_spmm_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc_raw(&b->arena, b->num_foreign, sizeof *b->kept, &b->kept));
    TLI_TRY(tli_arena_alloc_raw(&b->arena, b->num_foreign, sizeof *b->owner_rank, &b->owner_rank));
    TLI_TRY(tli_arena_alloc_raw(&b->arena, b->num_foreign, sizeof *b->owner_row, &b->owner_row));
done:
    return st;
}

/* Who owns which column. All ranks come here, whatever their status. */
static tulle_status_t find_owners(tli_spmm_builder_t *b, tulle_status_t local)
{
    tulle_comm_t *comm = b->spmm->comm;
    tulle_status_t st = tli_pattern_check_rows(comm, local, b->rows, &b->arena);
    st = tli_layout_to_runs(comm, st, b->columns, "matrix columns", &b->arena, &b->own);
    if (st == TULLE_OK)
        st = find_columns(b);
    if (st == TULLE_OK)
        st = copy_values(b);
    if (st == TULLE_OK)
        st = alloc_outcome(b);
    return tli_pattern_from_runs(comm, st, &b->own, st == TULLE_OK ? b->columns->num_rows : 0, b->foreign_ids,
                                 b->num_foreign, &b->pattern);
}

tulle_status_t tli_spmm_make_plan(const tulle_spmm_t *spmm, const tulle_pattern_t *pattern, tulle_datatype_t type,
                                  tulle_plan_t **plan_out)
{
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    options.strategy = spmm->options.strategy;
    options.ghost_order = TULLE_GHOST_ORDER_PLAN;
    options.row_bytes = spmm->options.width * (int64_t)tulle_datatype_size(type);
    return tulle_plan_create(spmm->comm, pattern, &options, plan_out);
}

static tulle_status_t list_nonzeros(tli_spmm_builder_t *b, tli_triples_t *own, tli_triples_t *ghost)
{
    tulle_status_t st = TULLE_OK;
    const tulle_spmm_t *spmm = b->spmm;
    int64_t *position = NULL;
    TLI_TRY(tli_arena_alloc_raw(&b->arena, tulle_plan_num_needed(spmm->gather), sizeof *position, &position));
    TLI_TRY(tulle_plan_ghost_order(spmm->gather, position));
    TLI_TRY(tli_triples_alloc(&b->arena, spmm->num_nonzeros, own));
    TLI_TRY(tli_triples_alloc(&b->arena, spmm->num_nonzeros, ghost));
    for (int64_t row = 0; row < spmm->num_rows; row++) {
        for (int64_t e = b->matrix->row_ptr[row]; e < b->matrix->row_ptr[row + 1]; e++) {
            if (b->place[e] >= 0)
                tli_triples_add(own, row, b->place[e], e);
            else if (b->kept[-1 - b->place[e]] >= 0)
                tli_triples_add(ghost, row, position[b->kept[-1 - b->place[e]]], e);
        }
    }
done:
    return st;
}

static tulle_status_t make_blocks(tli_spmm_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    tulle_spmm_t *spmm = b->spmm;
    tli_triples_t own, ghost;
    int64_t num_gathered = tulle_plan_num_ghosts(spmm->gather), num_partial = tulle_plan_num_ghosts(spmm->scatter);
    TLI_TRY(list_nonzeros(b, &own, &ghost));
    TLI_TRY(tli_sparse_build(&spmm->arena, spmm->num_rows, spmm->num_cols, &own, &spmm->own));
    TLI_TRY(tli_sparse_build(&spmm->arena, spmm->num_rows, num_gathered, &ghost, &spmm->ghost));
    TLI_TRY(tli_sparse_build(&spmm->arena, num_partial, spmm->num_cols, &b->moved, &spmm->foreign));
    TLI_TRY(tli_spmm_prepare(spmm, &spmm->forward));
done:
    return st;
}

static tulle_status_t alloc_spmm(tli_spmm_builder_t *b, tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_alloc(sizeof *b->spmm, &b->spmm));
    b->spmm->comm = tli_comm_retain(comm);
    b->spmm->type = b->matrix->value_type;
    b->spmm->num_rows = b->rows->num_rows;
    b->spmm->num_cols = b->columns->num_rows;
    b->spmm->num_nonzeros = b->matrix->row_ptr[b->rows->num_rows];
    b->spmm->forward.num_b = b->spmm->transposed.num_c = b->spmm->num_cols;
    b->spmm->forward.num_c = b->spmm->transposed.num_b = b->spmm->num_rows;
done:
    return st;
}

/* What must be equal on all ranks, in one word. */
static int64_t kind_of(const tulle_spmm_options_t *o, const tulle_csr_t *matrix)
{
    return (int64_t)((uint64_t)o->width << 24 | (uint64_t)o->library << 22 | (uint64_t)o->space << 20 |
                     (uint64_t)o->num_bindings << 13 | (uint64_t)o->is_trusted << 12 |
                     (uint64_t)matrix->value_type << 8 | (uint64_t)o->strategy << 4 | (uint64_t)o->cover) &
           INT64_MAX;
}

/* All ranks come here, whatever their status. */
static tulle_status_t build(tli_spmm_builder_t *b, tulle_comm_t *comm, tulle_status_t local,
                            const tulle_spmm_options_t *options)
{
    tulle_status_t st = local;
    int num_ranks = 1;
    TLI_TRY(tli_agree_on(comm->mpi, st, st == TULLE_OK ? kind_of(options, b->matrix) : 0,
                         "value type or options (width << 24 | library << 22 | space << 20 | bindings << 13 | trusted "
                         "<< 12 | type << 8 | strategy "
                         "<< 4 | cover)"));
    b->spmm->options = *options;
    MPI_Comm_size(comm->host, &num_ranks);
    b->spmm->options.num_threads = tli_multiply_num_threads(options->num_threads, num_ranks);
    b->spmm->far_bytes = tli_multiply_far_bytes(num_ranks);
    TLI_TRY(find_owners(b, st));
    double began = MPI_Wtime();
    TLI_TRY(tli_spmm_cover(b));
    TLI_TRY(tli_spmm_move(b));
    b->spmm->cover_ns = (MPI_Wtime() - began) * 1e9;
    TLI_TRY(tli_spmm_make_plan(b->spmm, b->pattern, b->spmm->type, &b->spmm->gather));
    TLI_TRY(tli_agree(comm->mpi, make_blocks(b)));
done:
    return st;
}

tulle_status_t tulle_spmm_create(tulle_comm_t *comm, const tulle_layout_t *rows, const tulle_layout_t *columns,
                                 const tulle_csr_t *matrix, const tulle_spmm_options_t *options_given,
                                 tulle_spmm_t **spmm_out)
{
    tulle_status_t st = TULLE_OK;
    tli_spmm_builder_t b = {.rows = rows, .columns = columns, .matrix = matrix};
    tulle_spmm_options_t options;
    double began = MPI_Wtime();
    TLI_TRY(tli_check_comm(comm));
    st = read_options(options_given, &options);
    if (st == TULLE_OK && spmm_out == NULL)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "spmm_out is NULL");
    if (st == TULLE_OK)
        st = check_matrix(rows, columns, matrix);
    if (st == TULLE_OK)
        st = alloc_spmm(&b, comm);
    TLI_TRY(build(&b, comm, st, &options));
    b.spmm->setup_ns = (MPI_Wtime() - began) * 1e9;
    *spmm_out = b.spmm;
    b.spmm = NULL;
done:
    tulle_pattern_destroy(&b.pattern);
    tulle_spmm_destroy(&b.spmm);
    tli_arena_release(&b.arena);
    return st;
}

void tulle_spmm_destroy(tulle_spmm_t **spmm)
{
    tulle_spmm_t *s = spmm != NULL ? *spmm : NULL;
    if (s != NULL) {
        tli_spmm_unbind(s);
        tli_spmm_device_release(s);
        tulle_plan_destroy(&s->gather);
        tulle_plan_destroy(&s->scatter);
        tulle_plan_destroy(&s->values_plan);
        tulle_comm_destroy(&s->comm);
        tli_arena_release(&s->arena);
        tli_free(s);
        *spmm = NULL;
    }
}

const tulle_plan_t *tulle_spmm_plan(const tulle_spmm_t *spmm, tulle_direction_t direction)
{
    if (spmm == NULL)
        return NULL;
    return direction == TULLE_GATHER ? spmm->gather : spmm->scatter;
}

tulle_status_t tli_check_spmm(const tulle_spmm_t *spmm)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(spmm != NULL, TULLE_ERR_ARG, "the matrix is NULL: was it created, or already destroyed?");
    tli_fault_set_rank(spmm->comm->rank);
done:
    return st;
}

/* --- statistics -------------------------------------------------------------------------------------------------- */

/* Without a cover the rows that cross are those that the plan's limit counts. */
static tulle_status_t count_crossing(const tulle_spmm_t *spmm, int64_t *columns_rows, int64_t *gathered_rows)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_stats_t plan = {.struct_size = sizeof plan};
    if (*columns_rows == 0 && spmm->options.cover == TULLE_COVER_COLUMNS &&
        spmm->comm->topology->levels[0].num_groups > 1) {
        TLI_TRY(tulle_plan_get_stats(spmm->gather, &plan));
        *columns_rows = *gathered_rows = plan.levels[0].limit_rows;
    }
done:
    return st;
}

static int64_t num_multiplied(const tulle_spmm_t *spmm)
{
    return spmm->own.row_ptr[spmm->own.num_rows] + spmm->ghost.row_ptr[spmm->ghost.num_rows] + spmm->moved.num;
}

static tulle_status_t count(const tulle_spmm_t *spmm, tulle_spmm_stats_t *stats)
{
    tulle_status_t st = TULLE_OK;
    MPI_Comm mpi = spmm->comm->mpi;
    int64_t sums[7] = {spmm->num_rows,     spmm->num_cols,      spmm->num_nonzeros,  spmm->moved.num,
                       spmm->columns_rows, spmm->gathered_rows, spmm->scattered_rows};
    int64_t most[2] = {num_multiplied(spmm), spmm->forward.num_parts};
    double ns[2] = {spmm->setup_ns, spmm->cover_ns};
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, sums, 7, MPI_INT64_T, MPI_SUM, mpi));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, most, 2, MPI_INT64_T, MPI_MAX, mpi));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, ns, 2, MPI_DOUBLE, MPI_MAX, mpi));
    TLI_TRY(count_crossing(spmm, &sums[4], &sums[5]));
    *stats = (tulle_spmm_stats_t){.struct_size = sizeof *stats,
                                  .cover = spmm->options.cover,
                                  .num_parts = (int32_t)most[1],
                                  .num_rows = sums[0],
                                  .num_columns = sums[1],
                                  .num_nonzeros = sums[2],
                                  .moved_nonzeros = sums[3],
                                  .columns_rows = sums[4],
                                  .cover_rows = sums[5] + sums[6],
                                  .gathered_rows = sums[5],
                                  .scattered_rows = sums[6],
                                  .busiest_nonzeros = most[0],
                                  .setup_ns = ns[0],
                                  .cover_ns = ns[1]};
done:
    return st;
}

tulle_status_t tulle_spmm_get_stats(const tulle_spmm_t *spmm, tulle_spmm_stats_t *stats)
{
    tulle_status_t st = TULLE_OK;
    tulle_spmm_stats_t found = {.struct_size = sizeof found};
    TLI_TRY(tli_check_spmm(spmm));
    st = tli_options_check_results(stats, sizeof found, sizeof found);
    TLI_TRY(tli_agree(spmm->comm->mpi, st));
    TLI_TRY(count(spmm, &found));
    tli_options_give(&found, sizeof found, stats);
done:
    return st;
}
