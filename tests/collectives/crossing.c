/* SPDX-License-Identifier: Apache-2.0
 * Exchanges whose rows cross in less than f32, judged in double. */
#include "crossing.h"

#include <math.h>
#include <string.h>

#include "collectives/exchange.h"
#include "src/comm.h"
#include "topology/model.h"

static void mark_repeated_rows(crossing_t *c)
{
    unsigned char *is_seen = spt_alloc(tulle_plan_num_ghosts(c->plan), 1);
    c->position = spt_alloc(c->pattern->num_needed, sizeof *c->position);
    c->skip = spt_alloc(c->pattern->num_needed, 1);
    spt_assert_ok_all(tulle_plan_ghost_order(c->plan, c->position));
    for (int64_t i = 0; i < c->pattern->num_needed; i++) {
        c->skip[i] = c->position[i] < 0 || is_seen[c->position[i]];
        if (c->position[i] >= 0)
            is_seen[c->position[i]] = 1;
    }
}

static int64_t field_bytes(const crossing_t *c, int64_t num_rows)
{
    return num_rows * (c->width + 2) * (int64_t)sizeof(float);
}

/* The second field is narrower, and has gaps. */
static void make_field(crossing_t *c, int f)
{
    int64_t owned_bytes = field_bytes(c, c->pattern->num_owned);
    int64_t ghost_bytes = field_bytes(c, tulle_plan_num_ghosts(c->plan));
    tulle_field_t *field = &c->fields[f], *bound = &c->bound[f];
    *field = (tulle_field_t){NULL, NULL, TULLE_F32, c->width - f, c->width + f, c->width + 2 * f};
    field->owned = spt_alloc_rows(owned_bytes, 1);
    field->ghost = spt_alloc_rows(ghost_bytes, 1);
    *bound = *field;
    if (c->memory != NULL) {
        bound->owned = c->memory->alloc(owned_bytes);
        bound->ghost = c->memory->alloc(ghost_bytes);
    }
}

crossing_t crossing_make(const crossing_memory_t *memory, const tulle_plan_t *plan, const spt_pattern_t *pattern,
                         tulle_direction_t direction, tulle_wire_precision_t precision, int wire_levels, tulle_op_t op,
                         int64_t width)
{
    crossing_t c = {memory, plan, pattern, precision, wire_levels, op, width, .num_fields = width == 5 ? 2 : 1};
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    options.op = op;
    options.wire_precision = precision;
    options.wire_levels = wire_levels;
    mark_repeated_rows(&c);
    for (int f = 0; f < c.num_fields; f++)
        make_field(&c, f);
    spt_assert_ok_all(tulle_exchange_create(plan, direction, c.bound, c.num_fields, &options, &c.exchange));
    return c;
}

void crossing_free(crossing_t *c)
{
    tulle_exchange_destroy(&c->exchange);
    for (int f = 0; f < c->num_fields && c->memory != NULL; f++) {
        c->memory->free(c->bound[f].owned);
        c->memory->free(c->bound[f].ghost);
    }
}

static void copy_rows(const crossing_t *c, const tulle_field_t *target, const tulle_field_t *source)
{
    for (int f = 0; f < c->num_fields && c->memory != NULL; f++) {
        c->memory->copy(target[f].owned, source[f].owned, field_bytes(c, c->pattern->num_owned));
        c->memory->copy(target[f].ghost, source[f].ghost, field_bytes(c, tulle_plan_num_ghosts(c->plan)));
    }
}

void crossing_run(const crossing_t *c)
{
    copy_rows(c, c->bound, c->fields);
    spt_run(c->exchange);
    copy_rows(c, c->fields, c->bound);
}

float *crossing_owned_row(const tulle_field_t *field, int64_t row)
{
    return (float *)field->owned + row * field->owned_stride;
}

float *crossing_ghost_row(const tulle_field_t *field, int64_t row)
{
    return (float *)field->ghost + row * field->ghost_stride;
}

/* --- gather ------------------------------------------------------------------------------------------------------- */

/* Rows of a rank arrive rounded when a chosen level is between it and this one, and it is crossed in messages: whatever
 * the way, a row never leaves the group that both are in. */
static int is_rounded_from(const crossing_t *c, int rank)
{
    const tulle_comm_t *comm = c->plan->comm;
    int level = tli_topology_crossing(comm->topology, comm->rank, rank);
    int is_in_messages = level == 0 || comm->num_shared == 1 || c->memory != NULL;
    return rank != comm->rank && level < (c->wire_levels > 0 ? c->wire_levels : 1) && is_in_messages;
}

static int is_row_right(const crossing_t *c, const tulle_field_t *field, int64_t need, const float *sent)
{
    int is_rounded = is_rounded_from(c, c->pattern->owner_rank[need]);
    int64_t at = c->position[need];
    const float *got = at >= 0 ? crossing_ghost_row(field, at) : crossing_owned_row(field, -1 - at);
    double expected[128];
    int is_right = 1;
    spt_wire_round(c->precision, sent, field->width, expected);
    for (int64_t k = 0; k < field->width && is_right; k++)
        is_right = spt_wire_is(is_rounded ? expected[k] : (double)sent[k], got[k]);
    if (!is_right)
        print_error("rank %d, %s, needed row %lld of rank %d is wrong\n", spt_rank(),
                    tulle_wire_precision_name(c->precision), (long long)need, c->pattern->owner_rank[need]);
    return is_right;
}

static int is_gather_right(const crossing_t *c, const tulle_field_t *field)
{
    size_t row_bytes = (size_t)field->width * sizeof(float);
    float *dense = spt_alloc(c->pattern->num_owned, row_bytes), *sent = spt_alloc(c->pattern->num_needed, row_bytes);
    int is_right = 1;
    for (int64_t row = 0; row < c->pattern->num_owned; row++)
        memcpy(dense + row * field->width, crossing_owned_row(field, row), row_bytes);
    spt_gather(c->pattern, dense, row_bytes, sent);
    for (int64_t i = 0; i < c->pattern->num_needed && is_right; i++)
        is_right = is_row_right(c, field, i, sent + i * field->width);
    return is_right;
}

static void check_gather(const crossing_memory_t *memory, const tulle_plan_t *plan, const spt_pattern_t *pattern,
                         tulle_wire_precision_t precision, int wire_levels, int64_t width)
{
    spt_random_t random = spt_random_mine(3);
    crossing_t c = crossing_make(memory, plan, pattern, TULLE_GATHER, precision, wire_levels, TULLE_OP_SUM, width);
    for (int round = 0; round < 2; round++) {
        for (int f = 0; f < c.num_fields; f++)
            for (int64_t row = 0; row < pattern->num_owned; row++)
                spt_wire_fill(&random, round, crossing_owned_row(&c.fields[f], row), c.fields[f].width);
        crossing_run(&c);
        for (int f = 0; f < c.num_fields; f++)
            spt_assert_all(is_gather_right(&c, &c.fields[f]));
    }
    crossing_free(&c);
}

/* --- scatter ------------------------------------------------------------------------------------------------------ */

/* Who contributes what, for one field. */
typedef struct given {
    spt_contributions_t rows;
    float *before; /* [num_owned][owned_stride] */
} given_t;

static given_t take_contributions(const crossing_t *c, const tulle_field_t *field)
{
    size_t row_bytes = (size_t)field->width * sizeof(float);
    size_t owned_bytes = (size_t)(c->pattern->num_owned * field->owned_stride) * sizeof(float);
    float *dense = spt_alloc(c->pattern->num_needed, row_bytes);
    given_t given = {.before = spt_alloc((int64_t)owned_bytes, 1)};
    for (int64_t i = 0; i < c->pattern->num_needed; i++)
        if (!c->skip[i])
            memcpy(dense + i * field->width, crossing_ghost_row(field, c->position[i]), row_bytes);
    memcpy(given.before, field->owned, owned_bytes);
    given.rows = spt_scatter(c->pattern, c->skip, dense, row_bytes);
    return given;
}

/* Sum, and sum of the magnitudes that were sent. Returns how many. */
static int64_t add_up(const given_t *given, int64_t row, int64_t width, double *sum, double *magnitude)
{
    int64_t num = 0;
    for (int64_t i = 0; i < given->rows.num; i++) {
        num += given->rows.row[i] == row;
        for (int64_t k = 0; k < width && given->rows.row[i] == row; k++) {
            double value = (double)((const float *)given->rows.rows)[i * width + k];
            sum[k] += value;
            magnitude[k] += fabs(value);
        }
    }
    return num;
}

/* Each rounding is off by the bound of what it rounds, which earlier ones may have made larger: in proportion to what
 * was summed up, or by a step for each of the partial sums. */
static double sum_bound(const crossing_t *c, int num_roundings, int64_t num_given, double magnitude, double largest)
{
    double error = 0, f32 = ldexp(1, -18); /* of a few dozen sums in f32 */
    for (int i = 0; i < num_roundings; i++) {
        error += spt_wire_bound(c->precision, magnitude + error, 0);
        error += (double)num_given * spt_wire_bound(c->precision, 0, largest);
        largest += largest / 16;
    }
    return error + f32 * (magnitude + error);
}

static int is_sum_right(const crossing_t *c, const tulle_field_t *field, const given_t *given, int64_t row)
{
    double sum[128] = {0}, magnitude[128] = {0}, largest = 0;
    int num_roundings = c->wire_levels < 2 ? 1 : 2 * tulle_topology_num_levels(c->plan->comm->topology);
    const float *before = given->before + row * field->owned_stride, *got = crossing_owned_row(field, row);
    int is_right = 1;
    int64_t num_given = add_up(given, row, field->width, sum, magnitude);
    for (int64_t k = 0; k < field->width; k++)
        largest = fmax(largest, magnitude[k]);
    for (int64_t k = 0; k < field->width && is_right; k++) {
        double error = fabs((double)got[k] - sum[k] - (double)before[k]);
        double own = fabs((double)before[k]) * 0x1p-18;
        is_right = error <= own + sum_bound(c, num_roundings, num_given, magnitude[k], largest);
        if (!is_right)
            print_error("rank %d, %s, row %lld: sum %g of magnitudes %g is off by %g\n", spt_rank(),
                        tulle_wire_precision_name(c->precision), (long long)row, sum[k], magnitude[k], error);
    }
    return is_right;
}

/* Values that every precision holds: then nothing is rounded at all, min and max choose among them. */
static int is_extreme_right(const crossing_t *c, const tulle_field_t *field, const given_t *given, int64_t row)
{
    const float *before = given->before + row * field->owned_stride, *got = crossing_owned_row(field, row);
    int is_right = 1;
    for (int64_t k = 0; k < field->width && is_right; k++) {
        float wanted = before[k];
        for (int64_t i = 0; i < given->rows.num; i++) {
            float value = ((const float *)given->rows.rows)[i * field->width + k];
            int is_better = c->op == TULLE_OP_MIN ? value < wanted : value > wanted;
            wanted = given->rows.row[i] == row && is_better ? value : wanted;
        }
        is_right = got[k] == wanted;
    }
    return is_right;
}

static void fill_row(spt_random_t *random, tulle_op_t op, float *values, int64_t width)
{
    if (op == TULLE_OP_SUM)
        spt_wire_fill(random, 0, values, width);
    for (int64_t k = 0; k < width && op != TULLE_OP_SUM; k++) /* four significant bits */
        values[k] = ldexpf((float)(spt_below(random, 31) - 15), (int)spt_below(random, 6) - 3);
}

static void check_scatter(const crossing_memory_t *memory, const tulle_plan_t *plan, const spt_pattern_t *pattern,
                          tulle_wire_precision_t precision, int wire_levels, tulle_op_t op, int64_t width)
{
    spt_random_t random = spt_random_mine(4);
    crossing_t c = crossing_make(memory, plan, pattern, TULLE_SCATTER, precision, wire_levels, op, width);
    given_t given[2];
    int is_right = 1;
    for (int f = 0; f < c.num_fields; f++) {
        for (int64_t row = 0; row < pattern->num_owned; row++)
            fill_row(&random, op, crossing_owned_row(&c.fields[f], row), c.fields[f].width);
        for (int64_t row = 0; row < tulle_plan_num_ghosts(plan); row++)
            fill_row(&random, op, crossing_ghost_row(&c.fields[f], row), c.fields[f].width);
        given[f] = take_contributions(&c, &c.fields[f]);
    }
    crossing_run(&c);
    for (int f = 0; f < c.num_fields; f++)
        for (int64_t row = 0; row < pattern->num_owned && is_right; row++)
            is_right = op == TULLE_OP_SUM ? is_sum_right(&c, &c.fields[f], &given[f], row)
                                          : is_extreme_right(&c, &c.fields[f], &given[f], row);
    spt_assert_all(is_right);
    crossing_free(&c);
}

/* --- every precision, strategy, topology -------------------------------------------------------------------------- */

static const int64_t widths[] = {1, 5, 64};

void crossing_check_plans(const crossing_memory_t *memory, const char *topology, int disable_shared_memory,
                          uint64_t stream)
{
    tulle_comm_t *comm = spt_comm(topology, disable_shared_memory);
    spt_pattern_t pattern = spt_pattern_random(stream);
    int num_levels = tulle_topology_num_levels(tulle_comm_topology(comm));
    for (int kind = 0; kind < 12; kind++) {
        tulle_plan_t *plan = spt_plan_make(comm, &pattern, (tulle_strategy_t)(kind / 2 % (TULLE_STRATEGY_STRIPED + 1)),
                                           (tulle_ghost_order_t)(kind % 2));
        tulle_wire_precision_t precision = spt_precisions[((uint64_t)kind + stream) % SPT_NUM_PRECISIONS];
        tulle_wire_precision_t other = spt_precisions[((uint64_t)kind + stream + 1) % SPT_NUM_PRECISIONS];
        int64_t width = widths[((uint64_t)kind / 2 + stream) % 3];
        check_gather(memory, plan, &pattern, precision, 0, width);
        check_gather(memory, plan, &pattern, other, 1 + kind % num_levels, width);
        check_scatter(memory, plan, &pattern, other, 1, TULLE_OP_SUM, width);
        check_scatter(memory, plan, &pattern, precision, num_levels, TULLE_OP_SUM, width);
        check_scatter(memory, plan, &pattern, precision, 1 + kind % num_levels, kind % 2 ? TULLE_OP_MIN : TULLE_OP_MAX,
                      width);
        tulle_plan_destroy(&plan);
    }
    tulle_comm_destroy(&comm);
}
