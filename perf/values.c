/* SPDX-License-Identifier: Apache-2.0
 * Values are drawn by hashing and reduced as 64-bit integers; only the last step writes the datatype. */
#include "perf/values.h"

#include <string.h>

#include "perf/reduce.h"
#include "perf/scalar.h"
#include "src/fault.h"

#define OWNER (-1) /* in place of a contributing rank */

/* Largest bound whose sums over the owner and every rank stay exact; 2^16 is plenty. */
static int64_t sum_bound(tulle_datatype_t datatype, int num_ranks)
{
    int64_t most = perf_scalar_exact_limit(datatype) / ((int64_t)num_ranks + 1);
    int64_t bound = most > 0;
    while (bound > 0 && 2 * bound <= most && bound < (1 << 16))
        bound *= 2;
    return bound;
}

tulle_status_t perf_values_init(tulle_direction_t direction, tulle_datatype_t datatype, tulle_op_t op, int64_t width,
                                int num_ranks, tli_arena_t *arena, perf_values_t *values_out)
{
    tulle_status_t st = TULLE_OK;
    perf_values_t values = {direction, datatype, op, width, num_ranks, 0, 0, NULL, NULL};
    int is_sum = direction == TULLE_SCATTER && op == TULLE_OP_SUM;
    TLI_REQUIRE(direction == TULLE_GATHER || perf_reduce_knows(datatype, op), TULLE_ERR_UNSUPPORTED,
                "scatter cannot reduce %s with %s", tulle_datatype_name(datatype), tulle_op_name(op));
    values.num_parts = width * perf_scalar_parts(datatype);
    values.bound = is_sum ? sum_bound(datatype, num_ranks) : perf_scalar_exact_limit(datatype);
    TLI_REQUIRE(values.bound > 0, TULLE_ERR_UNSUPPORTED, "sums of %s over %d ranks cannot be checked exactly; use f32",
                tulle_datatype_name(datatype), num_ranks);
    TLI_TRY(tli_arena_alloc(arena, values.num_parts, sizeof(int64_t), &values.drawn));
    TLI_TRY(tli_arena_alloc(arena, values.num_parts, sizeof(int64_t), &values.reduced));
    *values_out = values;
done:
    return st;
}

void perf_values_keep_within(perf_values_t *values, int64_t most)
{
    int64_t num_terms = values->direction == TULLE_SCATTER ? (int64_t)values->num_ranks + 1 : 1;
    while (values->bound > 1 && values->bound > most / num_terms)
        values->bound /= 2;
}

/* splitmix64's finalizer: every bit of the result depends on every bit of x. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t row_hash(int64_t id, int source)
{
    return mix((uint64_t)id * 0x9e3779b97f4a7c15u + mix((uint64_t)(int64_t)source));
}

static uint64_t part_hash(uint64_t row, int64_t k)
{
    return mix(row + (uint64_t)k * 0x9e3779b97f4a7c15u);
}

static void draw_even(const perf_values_t *values, int64_t id, int source, int64_t *parts)
{
    int is_unsigned = perf_scalar_is_unsigned(values->datatype);
    uint64_t mask = (uint64_t)values->bound * (is_unsigned ? 1 : 2) - 1;
    int64_t lowest = is_unsigned ? 0 : -values->bound;
    uint64_t row = row_hash(id, source);
    for (int64_t k = 0; k < values->num_parts; k++)
        parts[k] = (int64_t)(part_hash(row, k) & mask) + lowest;
}

/* Every contribution to a row is the same, because which one stays is the plan's business, and odd where the owner's
 * value is even: a row that was not replaced is seen in every scalar. */
static void draw_replace(const perf_values_t *values, int64_t id, int is_owner, int64_t *parts)
{
    draw_even(values, id, is_owner ? OWNER : 0, parts);
    for (int64_t k = 0; k < values->num_parts; k++)
        parts[k] = is_owner ? parts[k] & ~(int64_t)1 : parts[k] | 1;
}

/* Factors are units (1, -1, and i, -i in a complex type), but for at most five ranks of any row, who double theirs; the
 * owner has 1 to 3. So no product is larger than 3 * 2^5, which every type holds exactly. */
static void draw_factors(const perf_values_t *values, int64_t id, int source, int64_t *parts)
{
    static const int units[4][2] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}};
    int step = perf_scalar_parts(values->datatype);
    uint64_t num_units = perf_scalar_is_unsigned(values->datatype) ? 1 : step == 1 ? 2 : 4;
    uint64_t ranks_per_double = values->num_ranks > 40 ? ((uint64_t)values->num_ranks + 4) / 5 : 8;
    uint64_t row = row_hash(id, source);
    uint64_t shared = row_hash(id, 0);
    for (int64_t k = 0; k < values->num_parts; k += step) {
        uint64_t own = part_hash(row, k);
        const int *unit = units[own % num_units];
        int is_double = (part_hash(shared, k) + (uint64_t)source) % ranks_per_double == 0;
        parts[k] = source == OWNER ? 1 + (int64_t)(own % 3) : unit[0] * (1 + is_double);
        if (step == 2)
            parts[k + 1] = source == OWNER ? 0 : unit[1] * (1 + is_double);
    }
}

static void draw(const perf_values_t *values, int64_t id, int source, int64_t *parts)
{
    if (values->direction == TULLE_SCATTER && values->op == TULLE_OP_PROD)
        draw_factors(values, id, source, parts);
    else if (values->direction == TULLE_SCATTER && values->op == TULLE_OP_REPLACE)
        draw_replace(values, id, source == OWNER, parts);
    else
        draw_even(values, id, source, parts);
}

static void multiply_complex(const int64_t *from, int64_t *into, int64_t num_parts)
{
    for (int64_t k = 0; k < num_parts; k += 2) {
        int64_t real = into[k] * from[k] - into[k + 1] * from[k + 1];
        into[k + 1] = into[k] * from[k + 1] + into[k + 1] * from[k];
        into[k] = real;
    }
}

static int64_t combine(tulle_op_t op, int64_t into, int64_t from)
{
    switch (op) {
    case TULLE_OP_SUM:
        return into + from;
    case TULLE_OP_PROD:
        return into * from;
    case TULLE_OP_MIN:
        return from < into ? from : into;
    case TULLE_OP_MAX:
        return from > into ? from : into;
    case TULLE_OP_REPLACE:
        return from;
    }
    return into;
}

void perf_values_owned(const perf_values_t *values, int64_t id, void *row)
{
    draw(values, id, OWNER, values->drawn);
    perf_scalar_store(values->datatype, values->drawn, values->num_parts, row);
}

void perf_values_ghost(const perf_values_t *values, int64_t id, int rank, void *row)
{
    draw(values, id, rank, values->drawn);
    perf_scalar_store(values->datatype, values->drawn, values->num_parts, row);
}

void perf_values_reduced(const perf_values_t *values, int64_t id, const int *ranks, int64_t num_ranks, void *row)
{
    int is_complex_product = values->op == TULLE_OP_PROD && perf_scalar_parts(values->datatype) == 2;
    draw(values, id, OWNER, values->reduced);
    for (int64_t i = 0; i < num_ranks; i++) {
        draw(values, id, ranks[i], values->drawn);
        if (is_complex_product) {
            multiply_complex(values->drawn, values->reduced, values->num_parts);
            continue;
        }
        for (int64_t k = 0; k < values->num_parts; k++)
            values->reduced[k] = combine(values->op, values->reduced[k], values->drawn[k]);
    }
    perf_scalar_store(values->datatype, values->reduced, values->num_parts, row);
}

void perf_values_magnitude(const perf_values_t *values, int64_t id, const int *ranks, int64_t num_ranks, double *row)
{
    for (int64_t k = 0; k < values->num_parts; k++)
        row[k] = 0;
    for (int64_t i = 0; i < num_ranks; i++) {
        draw(values, id, ranks[i], values->drawn);
        for (int64_t k = 0; k < values->num_parts; k++)
            row[k] += (double)(values->drawn[k] < 0 ? -values->drawn[k] : values->drawn[k]);
    }
}
