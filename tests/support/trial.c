/* SPDX-License-Identifier: Apache-2.0
 * Exchanges against the naive one. */
#include "tests/support/trial.h"

#include <string.h>

#define POISON 0xa5

static void mark_repeated_rows(spt_trial_t *t)
{
    unsigned char *is_seen = spt_alloc(t->num_ghosts, 1);
    t->skip = spt_alloc(t->pattern->num_needed, 1);
    for (int64_t i = 0; i < t->pattern->num_needed; i++) {
        t->skip[i] = t->position[i] < 0 || is_seen[t->position[i]];
        if (t->position[i] >= 0)
            is_seen[t->position[i]] = 1;
    }
}

spt_trial_t spt_trial(const tulle_plan_t *plan, const spt_pattern_t *pattern, tulle_direction_t direction,
                      tulle_op_t op)
{
    spt_trial_t t = {.pattern = pattern, .direction = direction, .op = op};
    int64_t *position = spt_alloc(pattern->num_needed, sizeof *position);
    int is_in_range = 1;
    t.num_ghosts = tulle_plan_num_ghosts(plan);
    spt_assert_all(tulle_plan_num_owned(plan) == pattern->num_owned);
    spt_assert_all(tulle_plan_num_needed(plan) == pattern->num_needed);
    spt_assert_ok_all(tulle_plan_ghost_order(plan, position));
    for (int64_t i = 0; i < pattern->num_needed; i++)
        is_in_range = is_in_range && position[i] < t.num_ghosts && -1 - position[i] < pattern->num_owned;
    spt_assert_all(is_in_range);
    t.position = position;
    mark_repeated_rows(&t);
    return t;
}

void spt_trial_add(spt_trial_t *t, tulle_datatype_t datatype, int64_t width, int64_t gap)
{
    tulle_field_t *field = &t->fields[t->num_fields++];
    size_t scalar = spt_scalar_bytes(datatype);
    *field = (tulle_field_t){NULL, NULL, datatype, width, width + gap, gap > 0 ? width + gap + 1 : 0};
    void *(*alloc)(int64_t, size_t) = t->has_rows_to_lend ? spt_alloc_rows : spt_alloc;
    field->owned = alloc(t->pattern->num_owned * field->owned_stride, scalar);
    field->ghost = alloc(t->num_ghosts * (width + gap + 1), scalar);
}

void spt_trial_add_random(spt_trial_t *t, spt_random_t *random)
{
    int64_t num_fields = 1 + spt_below(random, SPT_MAX_FIELDS);
    while (t->num_fields < num_fields) {
        tulle_datatype_t datatype = spt_datatypes[spt_below(random, SPT_NUM_DATATYPES)];
        int64_t width = spt_below(random, 12) == 0 ? 131 : 1 + spt_below(random, 9);
        int64_t gap = spt_below(random, 3) == 0 ? 1 + spt_below(random, 3) : 0;
        if (t->direction == TULLE_GATHER || spt_knows(datatype, t->op))
            spt_trial_add(t, datatype, width, gap);
    }
}

tulle_exchange_t *spt_trial_bind(const spt_trial_t *t, const tulle_plan_t *plan)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_t *exchange = NULL;
    options.op = t->op;
    options.wire_precision = t->wire_precision;
    options.chunk_bytes = t->chunk_bytes;
    spt_assert_ok_all(tulle_exchange_create(plan, t->direction, t->fields, t->num_fields, &options, &exchange));
    return exchange;
}

static size_t row_bytes_of(const tulle_field_t *field)
{
    return (size_t)field->width * spt_scalar_bytes(field->datatype);
}

static size_t stride_bytes(const tulle_field_t *field, int64_t stride)
{
    return (size_t)(stride > 0 ? stride : field->width) * spt_scalar_bytes(field->datatype);
}

static unsigned char *owned_row(const tulle_field_t *field, int64_t row)
{
    return (unsigned char *)field->owned + (size_t)row * stride_bytes(field, field->owned_stride);
}

static unsigned char *ghost_row(const tulle_field_t *field, int64_t row)
{
    return (unsigned char *)field->ghost + (size_t)row * stride_bytes(field, field->ghost_stride);
}

static void fill_gather(spt_trial_t *t, int f, spt_random_t *random)
{
    const tulle_field_t *field = &t->fields[f];
    size_t row_bytes = row_bytes_of(field);
    unsigned char *dense = spt_alloc(t->pattern->num_owned, row_bytes);
    t->needed[f] = spt_alloc(t->pattern->num_needed, row_bytes);
    for (int64_t row = 0; row < t->pattern->num_owned; row++) {
        spt_fill(random, field->datatype, TULLE_OP_REPLACE, owned_row(field, row), field->width);
        memcpy(dense + (size_t)row * row_bytes, owned_row(field, row), row_bytes);
    }
    memset(field->ghost, POISON, (size_t)t->num_ghosts * stride_bytes(field, field->ghost_stride));
    spt_gather(t->pattern, dense, row_bytes, t->needed[f]);
}

static void fill_scatter(spt_trial_t *t, int f, spt_random_t *random)
{
    const tulle_field_t *field = &t->fields[f];
    size_t row_bytes = row_bytes_of(field);
    size_t owned_bytes = (size_t)t->pattern->num_owned * stride_bytes(field, field->owned_stride);
    unsigned char *dense = spt_alloc(t->pattern->num_needed, row_bytes);
    memset(field->owned, POISON, owned_bytes);
    for (int64_t row = 0; row < t->pattern->num_owned; row++)
        spt_fill(random, field->datatype, t->op, owned_row(field, row), field->width);
    for (int64_t row = 0; row < t->num_ghosts; row++)
        spt_fill(random, field->datatype, t->op, ghost_row(field, row), field->width);
    for (int64_t i = 0; i < t->pattern->num_needed; i++)
        if (!t->skip[i])
            memcpy(dense + (size_t)i * row_bytes, ghost_row(field, t->position[i]), row_bytes);
    t->before[f] = spt_alloc((int64_t)owned_bytes, 1);
    memcpy(t->before[f], field->owned, owned_bytes);
    t->given[f] = spt_scatter(t->pattern, t->skip, dense, row_bytes);
}

void spt_trial_fill(spt_trial_t *t, spt_random_t *random)
{
    for (int f = 0; f < t->num_fields; f++) {
        if (t->direction == TULLE_GATHER)
            fill_gather(t, f, random);
        else
            fill_scatter(t, f, random);
    }
}

static int is_poison(const unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != POISON)
            return 0;
    return 1;
}

static int is_gather_right(const spt_trial_t *t, int f)
{
    const tulle_field_t *field = &t->fields[f];
    size_t row_bytes = row_bytes_of(field), gap = stride_bytes(field, field->ghost_stride) - row_bytes;
    int is_right = 1;
    for (int64_t i = 0; i < t->pattern->num_needed && is_right; i++) {
        int64_t at = t->position[i];
        const unsigned char *row = at >= 0 ? ghost_row(field, at) : owned_row(field, -1 - at);
        is_right = memcmp(row, t->needed[f] + (size_t)i * row_bytes, row_bytes) == 0;
        if (!is_right)
            print_error("rank %d, field %d (%s x %lld): needed row %lld is wrong\n", spt_rank(), f,
                        tulle_datatype_name(field->datatype), (long long)field->width, (long long)i);
    }
    for (int64_t row = 0; row < t->num_ghosts && is_right; row++)
        is_right = is_poison(ghost_row(field, row) + row_bytes, gap);
    return is_right;
}

/* Sum, min, max, prod: all contributions to the row, in whatever order. */
static int is_reduced_row_right(const spt_trial_t *t, int f, int64_t row, const unsigned char *before)
{
    const tulle_field_t *field = &t->fields[f];
    const spt_contributions_t *given = &t->given[f];
    size_t scalar = spt_scalar_bytes(field->datatype), row_bytes = row_bytes_of(field);
    for (int64_t k = 0; k < field->width; k++) {
        size_t at = (size_t)k * scalar;
        spt_value_t wanted = spt_load(field->datatype, before + at);
        unsigned char stored[16];
        for (int64_t i = 0; i < given->num; i++)
            if (given->row[i] == row) {
                wanted =
                    spt_combine(t->op, wanted, spt_load(field->datatype, given->rows + (size_t)i * row_bytes + at));
                spt_store(field->datatype, wanted, stored);
                wanted = spt_load(field->datatype, stored);
            }
        spt_value_t got = spt_load(field->datatype, owned_row(field, row) + at);
        if (!(got.re == wanted.re && got.im == wanted.im)) {
            print_error("rank %d, field %d (%s x %lld) row %lld: %s gave %g, expected %g\n", spt_rank(), f,
                        tulle_datatype_name(field->datatype), (long long)field->width, (long long)row,
                        tulle_op_name(t->op), got.re, wanted.re);
            return 0;
        }
    }
    return 1;
}

/* Replace: one of the contributions whole, or the old row where there is none. */
static int is_replaced_row_right(const spt_trial_t *t, int f, int64_t row, const unsigned char *before)
{
    const tulle_field_t *field = &t->fields[f];
    const spt_contributions_t *given = &t->given[f];
    size_t row_bytes = row_bytes_of(field);
    int num_given = 0, is_one = 0;
    for (int64_t i = 0; i < given->num; i++) {
        num_given += given->row[i] == row;
        is_one |=
            given->row[i] == row && memcmp(owned_row(field, row), given->rows + (size_t)i * row_bytes, row_bytes) == 0;
    }
    return num_given > 0 ? is_one : memcmp(owned_row(field, row), before, row_bytes) == 0;
}

static int is_scatter_right(const spt_trial_t *t, int f)
{
    const tulle_field_t *field = &t->fields[f];
    size_t stride = stride_bytes(field, field->owned_stride), row_bytes = row_bytes_of(field);
    int is_right = 1;
    for (int64_t row = 0; row < t->pattern->num_owned && is_right; row++) {
        const unsigned char *before = t->before[f] + (size_t)row * stride;
        is_right = t->op == TULLE_OP_REPLACE ? is_replaced_row_right(t, f, row, before)
                                             : is_reduced_row_right(t, f, row, before);
        is_right = is_right && is_poison(owned_row(field, row) + row_bytes, stride - row_bytes);
    }
    return is_right;
}

int spt_trial_is_right(const spt_trial_t *t)
{
    int is_right = 1;
    for (int f = 0; f < t->num_fields && is_right; f++)
        is_right = t->direction == TULLE_GATHER ? is_gather_right(t, f) : is_scatter_right(t, f);
    return is_right;
}

void spt_run(tulle_exchange_t *exchange)
{
    tulle_status_t st = tulle_exchange_start(exchange, NULL);
    if (st == TULLE_OK)
        st = tulle_exchange_wait(exchange);
    spt_assert_ok_all(st);
}

void spt_trial_repeat(spt_trial_t *t, tulle_exchange_t *exchange, spt_random_t *random, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        spt_trial_fill(t, random);
        spt_run(exchange);
        spt_assert_all(spt_trial_is_right(t));
    }
}

void spt_assert_plan_works(const tulle_plan_t *plan, const spt_pattern_t *pattern, uint64_t stream, int rounds)
{
    spt_random_t shared = spt_random_shared(stream), mine = spt_random_mine(stream);
    for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++) {
        tulle_op_t op = (tulle_op_t)(TULLE_OP_SUM + spt_below(&shared, 5));
        spt_trial_t trial = spt_trial(plan, pattern, (tulle_direction_t)direction, op);
        spt_trial_add_random(&trial, &shared);
        tulle_exchange_t *exchange = spt_trial_bind(&trial, plan);
        spt_trial_repeat(&trial, exchange, &mine, rounds);
        tulle_exchange_destroy(&exchange);
    }
}

void spt_assert_comm_works(tulle_comm_t *comm)
{
    static uint64_t stream = 1000;
    spt_pattern_t pattern = spt_pattern_random(stream++);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_BALANCED, TULLE_GHOST_ORDER_CALLER);
    int64_t *ghost = spt_alloc(pattern.num_needed, sizeof *ghost);
    spt_assert_ok_all(tulle_gather(plan, pattern.ids, ghost, TULLE_I64, 1, NULL));
    spt_assert_all(pattern.num_needed == 0 ||
                   memcmp(ghost, pattern.needed_ids, (size_t)pattern.num_needed * sizeof *ghost) == 0);
    tulle_plan_destroy(&plan);
}
