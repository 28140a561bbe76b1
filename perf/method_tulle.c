/* SPDX-License-Identifier: Apache-2.0
 * The library: one persistent exchange, started and waited for. */
#include "perf/methods.h"

#include "src/fault.h"

static tulle_status_t setup(const perf_case_t *one, void *ghost, void **state_out)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_field_t field = {one->owned, ghost, one->values.datatype, one->values.width, 0, 0};
    tulle_exchange_t *exchange = NULL;
    options.op = one->values.op;
    tulle_status_t st = tulle_exchange_create(one->plan, one->direction, &field, 1, &options, &exchange);
    if (st == TULLE_OK)
        *state_out = exchange;
    return st;
}

static tulle_status_t run(void *state)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tulle_exchange_start(state, NULL));
    TLI_TRY(tulle_exchange_wait(state));
done:
    return st;
}

static void teardown(void *state)
{
    tulle_exchange_t *exchange = state;
    tulle_exchange_destroy(&exchange);
}

const perf_method_t perf_method_tulle = {
    .name = "tulle",
    .bit = PERF_METHOD_TULLE,
    .has_plan_order = 1,
    .setup = setup,
    .run = run,
    .teardown = teardown,
};
