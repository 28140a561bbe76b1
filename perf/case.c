/* SPDX-License-Identifier: Apache-2.0
 * Buffers of a case, filled and compared row by row: no expected array is ever held. */
#include "perf/case.h"

#include <limits.h>
#include <string.h>

#include "perf/scalar.h"
#include "src/agree.h"

#define POISON 0xAA /* a number in every type, and one that no value takes throughout a row */

#define MOST_ROUNDED ((int64_t)1 << 15) /* no sum goes beyond, so that f16 holds it */

/* Where the plan wants each needed row; a plan that was loaded may belong to another matrix. */
static tulle_status_t find_positions(perf_case_t *one)
{
    tulle_status_t st = TULLE_OK;
    const perf_halo_t *halo = one->halo;
    int64_t num_owned = tulle_plan_num_owned(one->plan);
    int64_t num_needed = tulle_plan_num_needed(one->plan);
    one->num_ghosts = tulle_plan_num_ghosts(one->plan);
    TLI_REQUIRE(num_owned == halo->num_owned && num_needed == halo->num_needed, TULLE_ERR_MISMATCH,
                "the plan is for another matrix: it owns %lld and needs %lld rows, the matrix %lld and %lld",
                (long long)num_owned, (long long)num_needed, (long long)halo->num_owned, (long long)halo->num_needed);
    TLI_TRY(tli_arena_alloc(&one->arena, num_needed, sizeof(int64_t), &one->plan_position));
    TLI_TRY(tulle_plan_ghost_order(one->plan, one->plan_position));
    for (int64_t i = 0; i < num_needed; i++)
        TLI_REQUIRE(one->plan_position[i] >= 0 && one->plan_position[i] < one->num_ghosts, TULLE_ERR_MISMATCH,
                    "the plan is for another matrix: needed row %lld lies at %lld of %lld", (long long)i,
                    (long long)one->plan_position[i], (long long)one->num_ghosts);
done:
    return st;
}

tulle_status_t perf_case_create_exchange(const perf_case_t *one, const tulle_plan_t *plan, size_t chunk_bytes,
                                         void *ghost, tulle_exchange_t **exchange_out)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_field_t field = {one->owned_rows.home, ghost, one->values.datatype, one->values.width, 0, 0};
    options.op = one->values.op;
    options.transport = one->transport;
    options.chunk_bytes = chunk_bytes;
    options.wire_precision = one->wire_precision;
    return tulle_exchange_create(plan, one->direction, &field, 1, &options, exchange_out);
}

tulle_status_t perf_case_alloc_rows(const perf_case_t *one, int64_t num_rows, perf_rows_t *rows_out)
{
    return perf_rows_alloc(one->memory, (size_t)num_rows * one->row_bytes, rows_out);
}

static tulle_status_t alloc_owned(perf_case_t *one)
{
    tulle_status_t st = perf_case_alloc_rows(one, one->halo->num_owned, &one->owned_rows);
    one->owned = one->owned_rows.image;
    return st;
}

tulle_status_t perf_case_copy(const perf_case_t *one, perf_memory_t memory, perf_case_t *copy_out)
{
    *copy_out = *one;
    copy_out->memory = memory;
    copy_out->wire_precision = TULLE_WIRE_PRECISION_NONE;
    return alloc_owned(copy_out);
}

void perf_case_end_copy(perf_case_t *copy)
{
    perf_rows_free(&copy->owned_rows);
}

static tulle_status_t alloc_rows(const perf_case_options_t *options, perf_case_t *one)
{
    tulle_status_t st = TULLE_OK;
    size_t scalar_bytes = tulle_datatype_size(options->datatype);
    TLI_REQUIRE((size_t)options->width <= INT_MAX / scalar_bytes, TULLE_ERR_OVERFLOW,
                "rows of %lld %s are larger than 2 GiB", (long long)options->width,
                tulle_datatype_name(options->datatype));
    one->row_bytes = (size_t)options->width * scalar_bytes;
    TLI_TRY(perf_values_init(options->direction, options->datatype, options->op, options->width, one->halo->num_ranks,
                             &one->arena, &one->values));
    if (options->wire_precision != TULLE_WIRE_PRECISION_NONE)
        perf_values_keep_within(&one->values, MOST_ROUNDED);
    TLI_TRY(alloc_owned(one));
    TLI_TRY(tli_arena_alloc_raw(&one->arena, 1, one->row_bytes, &one->expected));
    TLI_TRY(tli_arena_alloc_raw(&one->arena, options->width, sizeof(double), &one->magnitude));
done:
    return st;
}

tulle_status_t perf_case_create(const perf_halo_t *halo, const tulle_plan_t *plan, const perf_case_options_t *options,
                                perf_case_t *case_out)
{
    tulle_status_t st = TULLE_OK;
    perf_case_t one = {.direction = options->direction,
                       .halo = halo,
                       .plan = plan,
                       .row_type = MPI_DATATYPE_NULL,
                       .naive_limit_bytes = options->naive_limit_bytes,
                       .memory = options->memory,
                       .transport = options->transport,
                       .wire_precision = options->wire_precision,
                       .is_explaining = options->is_explaining,
                       .arena = TLI_ARENA_INIT};
    TLI_TRY(perf_load_count(halo, &one.load));
    st = alloc_rows(options, &one);
    if (st == TULLE_OK)
        st = find_positions(&one);
    TLI_TRY(tli_agree(halo->comm, st));
    TLI_MPI(MPI_Type_contiguous((int)one.row_bytes, MPI_BYTE, &one.row_type));
    TLI_MPI(MPI_Type_commit(&one.row_type));
    *case_out = one;
    memset(&one, 0, sizeof one);
done:
    perf_case_release(&one);
    return st;
}

void perf_case_release(perf_case_t *one)
{
    if (one == NULL)
        return;
    if (one->row_bytes > 0 && one->row_type != MPI_DATATYPE_NULL)
        MPI_Type_free(&one->row_type);
    perf_rows_free(&one->owned_rows);
    tli_arena_release(&one->arena);
    memset(one, 0, sizeof *one);
}

static char *row_of(const perf_case_t *one, const void *rows, int64_t row)
{
    return (char *)rows + (size_t)row * one->row_bytes;
}

void perf_case_prepare(const perf_case_t *one, void *ghost, const int64_t *position)
{
    const perf_halo_t *halo = one->halo;
    for (int64_t row = 0; row < halo->num_owned; row++)
        perf_values_owned(&one->values, halo->first_owned + row, row_of(one, one->owned, row));
    memset(ghost, POISON, (size_t)one->num_ghosts * one->row_bytes);
    if (one->direction == TULLE_GATHER)
        return;
    for (int64_t i = 0; i < halo->num_needed; i++)
        perf_values_ghost(&one->values, halo->needed_ids[i], halo->rank,
                          row_of(one, ghost, position == NULL ? i : position[i]));
}

void perf_case_reset(const perf_case_t *one)
{
    const perf_halo_t *halo = one->halo;
    for (int64_t row = 0; row < halo->num_owned; row++)
        if (halo->contributor_ptr[row] < halo->contributor_ptr[row + 1])
            perf_values_owned(&one->values, halo->first_owned + row, row_of(one, one->owned, row));
}

static int64_t count_row(const perf_case_t *one, const void *row)
{
    return perf_scalar_count_wrong(one->values.datatype, one->expected, row, one->values.width);
}

int64_t perf_case_count_wrong_ghosts(const perf_case_t *one, const void *ghost, const int64_t *position)
{
    const perf_halo_t *halo = one->halo;
    int64_t num_wrong = 0;
    for (int64_t i = 0; i < halo->num_needed; i++) {
        if (one->direction == TULLE_GATHER)
            perf_values_owned(&one->values, halo->needed_ids[i], one->expected);
        else
            perf_values_ghost(&one->values, halo->needed_ids[i], halo->rank, one->expected);
        num_wrong += count_row(one, row_of(one, ghost, position == NULL ? i : position[i]));
    }
    return num_wrong;
}

int64_t perf_case_count_wrong_owned(const perf_case_t *one)
{
    const perf_halo_t *halo = one->halo;
    int64_t num_wrong = 0;
    for (int64_t row = 0; row < halo->num_owned; row++) {
        int64_t first = halo->contributor_ptr[row];
        int64_t num = one->direction == TULLE_GATHER ? 0 : halo->contributor_ptr[row + 1] - first;
        perf_values_reduced(&one->values, halo->first_owned + row, halo->contributors + first, num, one->expected);
        num_wrong += count_row(one, row_of(one, one->owned, row));
    }
    return num_wrong;
}

int64_t perf_case_count_wrong(const perf_case_t *one, const void *ghost, const int64_t *position)
{
    return perf_case_count_wrong_ghosts(one, ghost, position) + perf_case_count_wrong_owned(one);
}
