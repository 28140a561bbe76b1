/* SPDX-License-Identifier: Apache-2.0
 * The library: one persistent exchange, started and waited for. On GPUs the host waits for the device, too. */
#include "perf/methods.h"

#include "src/arena.h"
#include "src/device/device.h"
#include "src/fault.h"

typedef struct state {
    tulle_exchange_t *exchange;
    int on_device;
} state_t;

static void teardown(void *opaque)
{
    state_t *state = opaque;
    if (state != NULL) {
        tulle_exchange_destroy(&state->exchange);
        tli_free(state);
    }
}

static tulle_status_t setup(const perf_case_t *one, void *ghost, void **state_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_stats_t stats = {.struct_size = sizeof stats};
    tulle_field_t field = {one->owned_rows.home, ghost, one->values.datatype, one->values.width, 0, 0};
    state_t *state = NULL;
    options.op = one->values.op;
    options.transport = one->transport;
    options.wire_precision = one->wire_precision;
    TLI_TRY(tli_alloc(sizeof *state, &state));
    TLI_TRY(tulle_exchange_create(one->plan, one->direction, &field, 1, &options, &state->exchange));
    TLI_TRY(tulle_exchange_get_stats(state->exchange, &stats));
    if (one->is_explaining)
        TLI_TRY(tulle_exchange_explain(state->exchange, stdout));
    state->on_device = stats.on_device;
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
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
    .teardown = teardown,
};
