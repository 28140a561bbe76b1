/* SPDX-License-Identifier: Apache-2.0
 * The library: one persistent exchange, started and waited for. On GPUs the host waits for the device, too. With the
 * plan of the case, whose long messages travel in chunks or whole, or with plans of fixed strategies for the same
 * needs. */
#include "perf/methods.h"

#include "collectives/plan.h"
#include "src/arena.h"
#include "src/device/device.h"
#include "src/fault.h"

typedef struct state {
    tulle_plan_t *plan; /* its own; NULL = that of the case */
    tulle_exchange_t *exchange;
    int on_device;
    double predicted_us; /* one exchange, by the cost model */
} state_t;

static void teardown(void *opaque)
{
    state_t *state = opaque;
    if (state != NULL) {
        tulle_exchange_destroy(&state->exchange);
        tulle_plan_destroy(&state->plan);
        tli_free(state);
    }
}

static tulle_status_t make_plan(const perf_case_t *one, tulle_strategy_t strategy, tulle_plan_t **plan_out)
{
    tulle_status_t st = TULLE_OK;
    const perf_halo_t *halo = one->halo;
    tulle_comm_t *comm = one->plan->comm;
    tulle_layout_t owned = TULLE_LAYOUT_BLOCK(halo->num_owned);
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_pattern_t *pattern = NULL;
    options.strategy = strategy;
    options.row_bytes = (int64_t)one->row_bytes;
    options.wire_precision = one->wire_precision;
    TLI_TRY(tulle_pattern_create_from_ids(comm, &owned, halo->needed_ids, halo->num_needed, &pattern));
    TLI_TRY(tulle_plan_create(comm, pattern, &options, plan_out));
done:
    tulle_pattern_destroy(&pattern);
    return st;
}

static tulle_status_t bind(const perf_case_t *one, const tulle_plan_t *plan, size_t chunk_bytes, void *ghost,
                           state_t *state)
{
    tulle_status_t st = TULLE_OK;
    tulle_exchange_stats_t stats = {.struct_size = sizeof stats};
    tulle_plan_stats_t plan_stats = {.struct_size = sizeof plan_stats};
    TLI_TRY(perf_case_create_exchange(one, plan, chunk_bytes, ghost, &state->exchange));
    TLI_TRY(tulle_exchange_get_stats(state->exchange, &stats));
    TLI_TRY(tulle_plan_get_stats(plan, &plan_stats));
    if (one->is_explaining && state->plan == NULL && chunk_bytes == 0)
        TLI_TRY(tulle_exchange_explain(state->exchange, stdout));
    state->on_device = stats.on_device;
    state->predicted_us = plan_stats.predicted_plan_ns / 1e3;
done:
    return st;
}

/* AUTO: the plan of the case, whatever it is. */
static tulle_status_t setup_strategy(const perf_case_t *one, tulle_strategy_t strategy, size_t chunk_bytes, void *ghost,
                                     void **state_out)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = NULL;
    TLI_TRY(tli_alloc(sizeof *state, &state));
    if (strategy != TULLE_STRATEGY_AUTO)
        TLI_TRY(make_plan(one, strategy, &state->plan));
    TLI_TRY(bind(one, state->plan != NULL ? state->plan : one->plan, chunk_bytes, ghost, state));
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
}

static tulle_status_t setup(const perf_case_t *one, void *ghost, void **state_out)
{
    return setup_strategy(one, TULLE_STRATEGY_AUTO, 0, ghost, state_out);
}

static tulle_status_t setup_whole(const perf_case_t *one, void *ghost, void **state_out)
{
    return setup_strategy(one, TULLE_STRATEGY_AUTO, TULLE_CHUNK_NEVER, ghost, state_out);
}

static double predict(const void *opaque)
{
    const state_t *state = opaque;
    return state->predicted_us;
}

static tulle_status_t run(void *opaque)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = opaque;
    TLI_TRY(tulle_exchange_start(state->exchange, NULL));
    TLI_TRY(tulle_exchange_wait(state->exchange));
    if (state->on_device)
        TLI_TRY(tli_device_synchronize(NULL));
done:
    return st;
}

const perf_method_t perf_method_tulle = {
    .name = "tulle",
    .bit = PERF_METHOD_TULLE,
    .has_plan_order = 1,
    .setup = setup,
    .run = run,
    .predict = predict,
    .teardown = teardown,
};

const perf_method_t perf_method_tulle_whole = {
    .name = "tulle_whole",
    .bit = PERF_METHOD_TULLE_WHOLE,
    .has_plan_order = 1,
    .setup = setup_whole,
    .run = run,
    .predict = predict,
    .teardown = teardown,
};

/* Their ghost rows lie in the order of the needed ids. */
#define FIXED_STRATEGY(STRATEGY, text)                                                                                 \
    static tulle_status_t setup_##text(const perf_case_t *one, void *ghost, void **state_out)                          \
    {                                                                                                                  \
        return setup_strategy(one, TULLE_STRATEGY_##STRATEGY, 0, ghost, state_out);                                    \
    }                                                                                                                  \
    const perf_method_t perf_method_tulle_##text = {                                                                   \
        .name = "tulle_" #text,                                                                                        \
        .bit = PERF_METHOD_TULLE_##STRATEGY,                                                                           \
        .setup = setup_##text,                                                                                         \
        .run = run,                                                                                                    \
        .predict = predict,                                                                                            \
        .teardown = teardown,                                                                                          \
    };

FIXED_STRATEGY(DIRECT, direct)
FIXED_STRATEGY(RAIL, rail)
FIXED_STRATEGY(BALANCED, balanced)
FIXED_STRATEGY(AGGREGATED, aggregated)
FIXED_STRATEGY(STRIPED, striped)
