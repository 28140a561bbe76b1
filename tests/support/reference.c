/* SPDX-License-Identifier: Apache-2.0
 * Scalars, random patterns, and rows moved by one MPI_Alltoallv. */
#include "tests/support/reference.h"

#include <math.h>
#include <string.h>

/* --- scalars ----------------------------------------------------------------------------------------------------- */

const tulle_datatype_t spt_datatypes[SPT_NUM_DATATYPES] = {TULLE_F64, TULLE_F32,  TULLE_F16, TULLE_BF16,
                                                           TULLE_I8,  TULLE_I32,  TULLE_I64, TULLE_U8,
                                                           TULLE_C64, TULLE_C128, TULLE_BYTE};

static int is_complex(tulle_datatype_t datatype)
{
    return datatype == TULLE_C64 || datatype == TULLE_C128;
}

size_t spt_scalar_bytes(tulle_datatype_t datatype)
{
    static const size_t bytes[SPT_NUM_DATATYPES + 1] = {0, 8, 4, 2, 2, 1, 4, 8, 1, 8, 16, 1};
    return bytes[datatype];
}

int spt_knows(tulle_datatype_t datatype, tulle_op_t op)
{
    if (datatype == TULLE_BYTE)
        return op == TULLE_OP_REPLACE;
    return !is_complex(datatype) || op == TULLE_OP_SUM || op == TULLE_OP_PROD || op == TULLE_OP_REPLACE;
}

static uint16_t half_from(double value)
{
    int exponent = 0;
    double fraction = frexp(fabs(value), &exponent);
    uint16_t sign = value < 0 ? 0x8000 : 0;
    if (value == 0)
        return sign;
    if (exponent > 16)
        return sign | 0x7c00;
    return (uint16_t)(sign | ((exponent + 14) << 10) | ((int)(fraction * 2048) & 0x3ff));
}

static double half_to(uint16_t half)
{
    int exponent = (half >> 10) & 0x1f, fraction = half & 0x3ff;
    double magnitude = exponent == 31  ? (double)INFINITY
                       : exponent == 0 ? ldexp(fraction, -24)
                                       : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

static uint16_t brain_from(double value)
{
    float single = (float)value;
    uint32_t bits = 0;
    memcpy(&bits, &single, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static double brain_to(uint16_t brain)
{
    uint32_t bits = (uint32_t)brain << 16;
    float single = 0;
    memcpy(&single, &bits, sizeof single);
    return (double)single;
}

#define LOAD_AS(type)                                                                                                  \
    {                                                                                                                  \
        type parts[2] = {0, 0};                                                                                        \
        memcpy(parts, at, is_complex(datatype) ? 2 * sizeof parts[0] : sizeof parts[0]);                               \
        return (spt_value_t){(double)parts[0], (double)parts[1]};                                                      \
    }

spt_value_t spt_load(tulle_datatype_t datatype, const void *at)
{
    uint16_t bits = 0;
    if (datatype == TULLE_F16 || datatype == TULLE_BF16)
        memcpy(&bits, at, sizeof bits);
    switch (datatype) {
    case TULLE_F64:
    case TULLE_C128:
        LOAD_AS(double)
    case TULLE_F32:
    case TULLE_C64:
        LOAD_AS(float)
    case TULLE_F16:
        return (spt_value_t){half_to(bits), 0};
    case TULLE_BF16:
        return (spt_value_t){brain_to(bits), 0};
    case TULLE_I8:
        LOAD_AS(int8_t)
    case TULLE_I32:
        LOAD_AS(int32_t)
    case TULLE_I64:
        LOAD_AS(int64_t)
    case TULLE_U8:
    case TULLE_BYTE:
        LOAD_AS(uint8_t)
    }
    return (spt_value_t){0, 0};
}

#define STORE_AS(type, through)                                                                                        \
    {                                                                                                                  \
        type parts[2] = {(type)(through)value.re, (type)(through)value.im};                                            \
        memcpy(at, parts, is_complex(datatype) ? 2 * sizeof parts[0] : sizeof parts[0]);                               \
        break;                                                                                                         \
    }

void spt_store(tulle_datatype_t datatype, spt_value_t value, void *at)
{
    uint16_t bits = datatype == TULLE_F16 ? half_from(value.re) : brain_from(value.re);
    switch (datatype) {
    case TULLE_F64:
    case TULLE_C128:
        STORE_AS(double, double)
    case TULLE_F32:
    case TULLE_C64:
        STORE_AS(float, double)
    case TULLE_F16:
    case TULLE_BF16:
        memcpy(at, &bits, sizeof bits);
        break;
    case TULLE_I8:
        STORE_AS(int8_t, int64_t)
    case TULLE_I32:
        STORE_AS(int32_t, int64_t)
    case TULLE_I64:
        STORE_AS(int64_t, int64_t)
    case TULLE_U8:
    case TULLE_BYTE:
        STORE_AS(uint8_t, int64_t)
    }
}

spt_value_t spt_combine(tulle_op_t op, spt_value_t a, spt_value_t b)
{
    switch (op) {
    case TULLE_OP_SUM:
        return (spt_value_t){a.re + b.re, a.im + b.im};
    case TULLE_OP_PROD:
        return (spt_value_t){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
    case TULLE_OP_MIN:
        return b.re < a.re ? b : a;
    case TULLE_OP_MAX:
        return b.re > a.re ? b : a;
    case TULLE_OP_REPLACE:
        break;
    }
    return b;
}

/* Sums stay within the 8 bits of a bf16 because signs alternate; products are powers of two and of i. */
static spt_value_t exact_value(spt_random_t *random, tulle_datatype_t datatype, tulle_op_t op)
{
    int64_t draw = spt_below(random, 32);
    spt_value_t value = {0, 0};
    if (op == TULLE_OP_PROD) {
        value.re = draw == 0 ? 2 : draw < 8 ? -1 : 1;
        if (is_complex(datatype) && draw % 4 == 1)
            value = (spt_value_t){0, 1};
    } else if (op == TULLE_OP_SUM) {
        value = (spt_value_t){(double)(draw % 3 - 1), (double)(draw / 3 % 3 - 1)};
    } else {
        value.re = (double)(spt_below(random, 201) - 100);
    }
    return value;
}

static void fill_bits(spt_random_t *random, unsigned char *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += sizeof(uint64_t)) {
        uint64_t bits = spt_next(random);
        memcpy(at + i, &bits, bytes - i < sizeof bits ? bytes - i : sizeof bits);
    }
}

void spt_fill(spt_random_t *random, tulle_datatype_t datatype, tulle_op_t op, void *scalars, int64_t n)
{
    size_t bytes = spt_scalar_bytes(datatype);
    unsigned char *at = scalars;
    if (op == TULLE_OP_REPLACE || datatype == TULLE_BYTE)
        fill_bits(random, at, (size_t)n * bytes);
    else
        for (int64_t i = 0; i < n; i++)
            spt_store(datatype, exact_value(random, datatype, op), at + (size_t)i * bytes);
}

/* --- patterns ---------------------------------------------------------------------------------------------------- */

/* Who owns what, the same on every rank: place[id] = owner's rank, row there. */
typedef struct ownership {
    int64_t num_ids;
    int64_t *size;    /* [num_ranks] */
    int64_t *id_of;   /* [num_ids] ids by owner, then row */
    int32_t *rank_of; /* [num_ids] by id */
    int64_t *row_of;  /* [num_ids] by id */
} ownership_t;

static ownership_t draw_ownership(spt_random_t *random, int is_list)
{
    int num_ranks = spt_size();
    ownership_t o = {0, spt_alloc(num_ranks, sizeof(int64_t)), NULL, NULL, NULL};
    int64_t most = 1 + spt_below(random, 40), at = 0;
    for (int rank = 0; rank < num_ranks; rank++) {
        o.size[rank] = spt_below(random, 4) == 0 ? 0 : spt_below(random, most + 1);
        o.num_ids += o.size[rank];
    }
    o.id_of = spt_alloc(o.num_ids, sizeof(int64_t));
    o.rank_of = spt_alloc(o.num_ids, sizeof(int32_t));
    o.row_of = spt_alloc(o.num_ids, sizeof(int64_t));
    for (int64_t i = 0; i < o.num_ids; i++)
        o.id_of[i] = i;
    for (int64_t i = o.num_ids - 1; is_list && i > 0; i--) {
        int64_t other = spt_below(random, i + 1), id = o.id_of[i];
        o.id_of[i] = o.id_of[other];
        o.id_of[other] = id;
    }
    for (int32_t rank = 0; rank < num_ranks; rank++) {
        for (int64_t row = 0; row < o.size[rank]; row++, at++) {
            o.rank_of[o.id_of[at]] = rank;
            o.row_of[o.id_of[at]] = row;
        }
    }
    return o;
}

/* Kinds of need: anywhere, near by, a few favourites of everybody, everything. */
static int64_t draw_need(spt_random_t *random, int kind, int64_t num_ids, int64_t first, int64_t i)
{
    switch (kind) {
    case 0:
        return spt_below(random, num_ids);
    case 1:
        return (first + spt_below(random, 11) + 5 * num_ids - 5) % num_ids;
    case 2:
        return spt_below(random, num_ids < 4 ? num_ids : 4);
    default:
        return i % num_ids;
    }
}

spt_pattern_t spt_pattern_random(uint64_t stream)
{
    spt_random_t shared = spt_random_shared(stream), mine = spt_random_mine(stream);
    spt_pattern_t p = {0};
    p.is_list = spt_below(&shared, 3) == 0;
    ownership_t o = draw_ownership(&shared, p.is_list);
    int kind = (int)spt_below(&shared, 4);
    p.num_owned = o.size[spt_rank()];
    for (int rank = 0; rank < spt_rank(); rank++)
        p.first += o.size[rank];
    p.ids = o.id_of + p.first;
    if (o.num_ids > 0 && spt_below(&mine, 5) > 0)
        p.num_needed = kind == 3 ? o.num_ids : spt_below(&mine, 60);
    p.needed_ids = spt_alloc(p.num_needed, sizeof *p.needed_ids);
    p.owner_rank = spt_alloc(p.num_needed, sizeof *p.owner_rank);
    p.owner_row = spt_alloc(p.num_needed, sizeof *p.owner_row);
    for (int64_t i = 0; i < p.num_needed; i++) {
        p.needed_ids[i] = draw_need(&mine, kind, o.num_ids, p.first, i);
        p.owner_rank[i] = o.rank_of[p.needed_ids[i]];
        p.owner_row[i] = o.row_of[p.needed_ids[i]];
    }
    return p;
}

tulle_pattern_t *spt_pattern_make(tulle_comm_t *comm, const spt_pattern_t *p)
{
    tulle_layout_t block = TULLE_LAYOUT_BLOCK(p->num_owned), list = TULLE_LAYOUT_LIST(p->num_owned, p->ids);
    tulle_pattern_t *pattern = NULL;
    spt_assert_ok_all(
        tulle_pattern_create_from_ids(comm, p->is_list ? &list : &block, p->needed_ids, p->num_needed, &pattern));
    return pattern;
}

tulle_plan_t *spt_plan_make(tulle_comm_t *comm, const spt_pattern_t *p, tulle_strategy_t strategy,
                            tulle_ghost_order_t ghost_order)
{
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_pattern_t *pattern = spt_pattern_make(comm, p);
    tulle_plan_t *plan = NULL;
    options.strategy = strategy;
    options.ghost_order = ghost_order;
    spt_assert_ok_all(tulle_plan_create(comm, pattern, &options, &plan));
    tulle_pattern_destroy(&pattern);
    return plan;
}

/* --- the naive exchange ------------------------------------------------------------------------------------------ */

static int *offsets_of(const int *counts, int n, int *total_out)
{
    int *offsets = spt_alloc(n, sizeof *offsets);
    *total_out = 0;
    for (int i = 0; i < n; i++) {
        offsets[i] = *total_out;
        *total_out += counts[i];
    }
    return offsets;
}

spt_mail_t spt_deliver(int64_t n, const int32_t *to, const void *records, size_t record_bytes)
{
    int num_ranks = spt_size(), num_out = 0, num_in = 0;
    int *out = spt_alloc(num_ranks, sizeof *out), *in = spt_alloc(num_ranks, sizeof *in);
    int *at = spt_alloc(num_ranks, sizeof *at);
    unsigned char *sorted = spt_alloc(n, record_bytes);
    for (int64_t i = 0; i < n; i++)
        out[to[i]] += (int)record_bytes;
    MPI_Alltoall(out, 1, MPI_INT, in, 1, MPI_INT, MPI_COMM_WORLD);
    int *out_at = offsets_of(out, num_ranks, &num_out), *in_at = offsets_of(in, num_ranks, &num_in);
    memcpy(at, out_at, (size_t)num_ranks * sizeof *at);
    for (int64_t i = 0; i < n; i++) {
        memcpy(sorted + at[to[i]], (const unsigned char *)records + (size_t)i * record_bytes, record_bytes);
        at[to[i]] += (int)record_bytes;
    }
    spt_mail_t mail = {num_in / (int64_t)record_bytes, spt_alloc(num_in, 1)};
    MPI_Alltoallv(sorted, out, out_at, MPI_BYTE, mail.records, in, in_at, MPI_BYTE, MPI_COMM_WORLD);
    return mail;
}

/* A question: owner's row, rank that asks, its need. */
typedef struct question {
    int64_t row, need;
    int32_t rank;
} question_t;

void spt_gather(const spt_pattern_t *p, const void *owned, size_t row_bytes, void *needed)
{
    question_t *questions = spt_alloc(p->num_needed, sizeof *questions);
    for (int64_t i = 0; i < p->num_needed; i++)
        questions[i] = (question_t){p->owner_row[i], i, spt_rank()};
    spt_mail_t asked = spt_deliver(p->num_needed, p->owner_rank, questions, sizeof *questions);
    size_t answer_bytes = sizeof(int64_t) + row_bytes;
    unsigned char *answers = spt_alloc(asked.num, answer_bytes);
    int32_t *to = spt_alloc(asked.num, sizeof *to);
    for (int64_t i = 0; i < asked.num; i++) {
        question_t question;
        memcpy(&question, asked.records + (size_t)i * sizeof question, sizeof question);
        to[i] = question.rank;
        memcpy(answers + (size_t)i * answer_bytes, &question.need, sizeof(int64_t));
        memcpy(answers + (size_t)i * answer_bytes + sizeof(int64_t),
               (const unsigned char *)owned + (size_t)question.row * row_bytes, row_bytes);
    }
    spt_mail_t answered = spt_deliver(asked.num, to, answers, answer_bytes);
    for (int64_t i = 0; i < answered.num; i++) {
        int64_t need = 0;
        memcpy(&need, answered.records + (size_t)i * answer_bytes, sizeof need);
        memcpy((unsigned char *)needed + (size_t)need * row_bytes,
               answered.records + (size_t)i * answer_bytes + sizeof need, row_bytes);
    }
}

spt_contributions_t spt_scatter(const spt_pattern_t *p, const unsigned char *skip, const void *rows, size_t row_bytes)
{
    size_t record_bytes = sizeof(int64_t) + row_bytes;
    unsigned char *records = spt_alloc(p->num_needed, record_bytes);
    int32_t *to = spt_alloc(p->num_needed, sizeof *to);
    int64_t n = 0;
    for (int64_t i = 0; i < p->num_needed; i++) {
        if (skip != NULL && skip[i])
            continue;
        to[n] = p->owner_rank[i];
        memcpy(records + (size_t)n * record_bytes, &p->owner_row[i], sizeof(int64_t));
        memcpy(records + (size_t)n++ * record_bytes + sizeof(int64_t),
               (const unsigned char *)rows + (size_t)i * row_bytes, row_bytes);
    }
    spt_mail_t mail = spt_deliver(n, to, records, record_bytes);
    int64_t *row = spt_alloc(mail.num, sizeof *row);
    unsigned char *given = spt_alloc(mail.num, row_bytes);
    for (int64_t i = 0; i < mail.num; i++) {
        memcpy(&row[i], mail.records + (size_t)i * record_bytes, sizeof *row);
        memcpy(given + (size_t)i * row_bytes, mail.records + (size_t)i * record_bytes + sizeof *row, row_bytes);
    }
    return (spt_contributions_t){mail.num, row, given};
}
