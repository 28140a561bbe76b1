/* SPDX-License-Identifier: Apache-2.0
 * The model sorts out, the clock decides: medians of a few gathers at the real row size, of the slowest rank,
 * so that every rank keeps the same plan. */
#include "collectives/measure.h"

#include "collectives/plan.h"
#include "src/agree.h"
#include "topology/stopwatch.h"

/* [ms] Rounds end after this; slow networks take three rounds however long. */
#define TIME_MS 300

/* A strategy that the model finds slower than the best by more than this is not tried: the model errs by less. */
#define MOST_TIMES_SLOWER 2.0

#define STRATEGY_ENTRY(name, value, text) TULLE_STRATEGY_##name,
static const tulle_strategy_t strategies[] = {TULLE_STRATEGY_MAP(STRATEGY_ENTRY)};
#undef STRATEGY_ENTRY
#define NUM_STRATEGIES (int)(sizeof strategies / sizeof *strategies)

typedef struct contest {
    tulle_comm_t *comm;
    tulle_plan_t *plans[NUM_STRATEGIES];
    double predicted_ns[NUM_STRATEGIES];
    tli_lap_t laps[NUM_STRATEGIES];
    void *owned, *ghost; /* zeros; the candidates take turns with them */
    tli_arena_t arena;
} contest_t;

static tulle_status_t make_plans(contest_t *c, const tulle_pattern_t *pattern, const tulle_plan_options_t *given)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_options_t options = *given;
    options.measure = 0;
    for (int i = 0; i < NUM_STRATEGIES; i++) {
        tulle_plan_stats_t stats = {.struct_size = sizeof stats};
        options.strategy = strategies[i];
        TLI_TRY(tulle_plan_create(c->comm, pattern, &options, &c->plans[i]));
        TLI_TRY(tulle_plan_get_stats(c->plans[i], &stats));
        c->predicted_ns[i] = stats.predicted_plan_ns;
    }
done:
    return st;
}

/* Whatever the model says, going directly, balanced and its own choice are tried. */
static int is_promising(const contest_t *c, int candidate)
{
    double least_ns = c->predicted_ns[0];
    for (int i = 1; i < NUM_STRATEGIES; i++)
        least_ns = c->predicted_ns[i] < least_ns ? c->predicted_ns[i] : least_ns;
    return strategies[candidate] == TULLE_STRATEGY_AUTO || strategies[candidate] == TULLE_STRATEGY_DIRECT ||
           strategies[candidate] == TULLE_STRATEGY_BALANCED ||
           c->predicted_ns[candidate] <= MOST_TIMES_SLOWER * least_ns;
}

static tulle_status_t make_exchanges(contest_t *c, const tulle_plan_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *any = c->plans[0];
    int64_t row_bytes = options->row_bytes;
    tulle_exchange_options_t wire = TULLE_EXCHANGE_OPTIONS_INIT;
    wire.wire_precision = options->wire_precision;
    wire.wire_levels = options->wire_levels;
    st = tli_arena_alloc(&c->arena, tulle_plan_num_owned(any), (size_t)row_bytes, &c->owned);
    if (st == TULLE_OK)
        st = tli_arena_alloc(&c->arena, tulle_plan_num_ghosts(any), (size_t)row_bytes, &c->ghost);
    TLI_TRY(tli_agree(c->comm->mpi, st));
    tulle_field_t field = {c->owned, c->ghost, TULLE_BYTE, row_bytes, 0, 0};
    if (wire.wire_precision != TULLE_WIRE_PRECISION_NONE) {
        field.datatype = TULLE_F32;
        field.width = row_bytes / (int64_t)sizeof(float);
    }
    for (int i = 0; i < NUM_STRATEGIES; i++)
        if (is_promising(c, i))
            TLI_TRY(tulle_exchange_create(c->plans[i], TULLE_GATHER, &field, 1, &wire, &c->laps[i].exchange));
done:
    return st;
}

static int fastest(const contest_t *c)
{
    int best = 0;
    for (int i = 1; i < NUM_STRATEGIES; i++)
        if (c->laps[i].exchange != NULL && c->laps[i].median_ns < c->laps[best].median_ns)
            best = i;
    return best;
}

static void release(contest_t *c)
{
    for (int i = 0; i < NUM_STRATEGIES; i++) {
        tulle_exchange_destroy(&c->laps[i].exchange);
        tulle_plan_destroy(&c->plans[i]);
    }
    tli_arena_release(&c->arena);
    tli_free(c);
}

tulle_status_t tli_plan_measure(tulle_comm_t *comm, const tulle_pattern_t *pattern, const tulle_plan_options_t *options,
                                tulle_plan_t **plan_out)
{
    tulle_status_t st = TULLE_OK;
    contest_t *c = NULL;
    TLI_TRY(tli_agree(comm->mpi, tli_alloc(sizeof *c, &c)));
    c->comm = comm;
    TLI_TRY(make_plans(c, pattern, options));
    TLI_TRY(make_exchanges(c, options));
    TLI_TRY(tli_time_exchanges(comm->mpi, TIME_MS, NUM_STRATEGIES, c->laps));
    int best = fastest(c);
    *plan_out = c->plans[best];
    c->plans[best] = NULL;
done:
    if (c != NULL)
        release(c);
    return st;
}
