/* SPDX-License-Identifier: Apache-2.0
 * Plans as handles: create, share, ask, free. What is decided is in routes.c, how ranks talk about it in negotiate.c.
 */
#include "collectives/plan.h"

#include <stddef.h>

#include "collectives/measure.h"
#include "collectives/negotiate.h"
#include "collectives/plan_cache.h"
#include "src/agree.h"
#include "src/device/wire_rows.h"
#include "src/options.h"

#define DEFAULT_ROW_BYTES 256

const char *tulle_strategy_name(tulle_strategy_t strategy)
{
    switch (strategy) {
#define NAME_CASE(name, value, text)                                                                                   \
    case TULLE_STRATEGY_##name:                                                                                        \
        return text;
        TULLE_STRATEGY_MAP(NAME_CASE)
#undef NAME_CASE
    }
    return "unknown";
}

static tulle_status_t check_wire(const tulle_comm_t *comm, tulle_plan_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_wire_options_check(comm, options->wire_precision, options->wire_levels));
    TLI_REQUIRE(options->wire_precision == TULLE_WIRE_PRECISION_NONE || options->row_bytes % 4 == 0, TULLE_ERR_ARG,
                "row_bytes is %lld: wire precision %s is for rows of f32", (long long)options->row_bytes,
                tulle_wire_precision_name(options->wire_precision));
    options->wire_levels = options->wire_levels == 0 ? 1 : options->wire_levels;
done:
    return st;
}

static tulle_status_t read_options(const tulle_comm_t *comm, const tulle_plan_options_t *given,
                                   tulle_plan_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_options_take(given, options, sizeof *options, offsetof(tulle_plan_options_t, measure),
                             "TULLE_PLAN_OPTIONS_INIT"));
    TLI_REQUIRE(options->strategy >= TULLE_STRATEGY_AUTO && options->strategy <= TULLE_STRATEGY_STRIPED, TULLE_ERR_ARG,
                "strategy %d is none of auto direct rail balanced aggregated striped", (int)options->strategy);
    TLI_REQUIRE(options->ghost_order == TULLE_GHOST_ORDER_CALLER || options->ghost_order == TULLE_GHOST_ORDER_PLAN,
                TULLE_ERR_ARG, "ghost order %d is neither caller (0) nor plan (1)", (int)options->ghost_order);
    TLI_REQUIRE(options->row_bytes >= 0 && options->row_bytes < ((int64_t)1 << 40), TULLE_ERR_ARG,
                "row_bytes is %lld: give the bytes of one row, 0 for the default", (long long)options->row_bytes);
    TLI_REQUIRE(options->measure == 0 || options->strategy == TULLE_STRATEGY_AUTO, TULLE_ERR_ARG,
                "measure chooses the strategy itself: leave strategy %d at auto (0)", (int)options->strategy);
    options->measure = options->measure != 0;
    if (options->row_bytes == 0)
        options->row_bytes = DEFAULT_ROW_BYTES;
    TLI_TRY(check_wire(comm, options));
done:
    return st;
}

static tulle_status_t check_arguments(const tulle_comm_t *comm, const tulle_pattern_t *pattern, tulle_plan_t **plan_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(pattern != NULL, TULLE_ERR_ARG, "the pattern is NULL: was it created, or already destroyed?");
    TLI_REQUIRE(plan_out != NULL, TULLE_ERR_ARG, "plan_out is NULL");
    TLI_REQUIRE(pattern->comm == comm, TULLE_ERR_ARG, "the pattern was made on another communicator");
done:
    return st;
}

/* A row of several fields of fp8 has a scale each: too little to matter to a plan. */
static tli_row_size_t row_size(const tulle_plan_options_t *options)
{
    int64_t width = options->row_bytes / (int64_t)sizeof(float);
    int has_wire_bytes = options->wire_precision != TULLE_WIRE_PRECISION_NONE;
    return (tli_row_size_t){options->row_bytes,
                            has_wire_bytes ? tli_wire_row_bytes(options->wire_precision, width) : options->row_bytes,
                            options->wire_levels};
}

static tulle_status_t plan_alloc(tulle_comm_t *comm, const tulle_pattern_t *pattern,
                                 const tulle_plan_options_t *options, tulle_plan_t **plan_out)
{
    tulle_plan_t *plan = NULL;
    tulle_status_t st = tli_alloc(sizeof *plan, &plan);
    if (st == TULLE_OK) {
        plan->comm = tli_comm_retain(comm);
        plan->references = 1;
        plan->strategy = options->strategy;
        plan->ghost_order = options->ghost_order;
        plan->row = row_size(options);
        plan->num_owned = pattern->num_owned;
        plan->num_needed = pattern->num_needed;
        *plan_out = plan;
    }
    return st;
}

tulle_status_t tulle_plan_create(tulle_comm_t *comm, const tulle_pattern_t *pattern, const tulle_plan_options_t *given,
                                 tulle_plan_t **plan_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_plan_t *plan = NULL, *kept = NULL;
    tli_plan_key_t key = {{0, 0}};
    double began = MPI_Wtime();
    int64_t setup_ns = 0;
    TLI_TRY(tli_check_comm(comm));
    st = check_arguments(comm, pattern, plan_out);
    if (st == TULLE_OK)
        st = read_options(comm, given, &options);
    if (st == TULLE_OK && !options.measure)
        st = plan_alloc(comm, pattern, &options, &plan);
    if (st == TULLE_OK)
        st = tli_plan_cache_open(comm);
    TLI_TRY(tli_agree_on(
        comm->mpi, st,
        options.row_bytes * 2048 + options.wire_levels * 128 + (int)options.wire_precision * 32 + options.measure * 16 +
            options.ghost_order * 8 + (int)options.strategy,
        "the plan's options (2048 * row_bytes + 128 * wire_levels + 32 * wire_precision + 16 * measure + 8 * "
        "ghost_order + strategy)"));
    if (comm->most_plans > 0) {
        key = tli_plan_key(pattern, &options);
        TLI_TRY(tli_plan_cache_find(comm, key, &kept));
    }
    if (kept != NULL) {
        *plan_out = kept;
        goto done;
    }
    if (options.measure)
        TLI_TRY(tli_plan_measure(comm, pattern, &options, &plan));
    else
        st = tli_negotiate(comm, TULLE_OK, options.strategy, pattern, plan);
    setup_ns = (int64_t)((MPI_Wtime() - began) * 1e9);
    TLI_TRY(tli_agree_on_most(comm->mpi, st, 0, "nothing", &setup_ns));
    plan->setup_ns = (double)setup_ns;
    tli_plan_cache_keep(comm, key, plan);
    *plan_out = plan;
    plan = NULL;
done:
    tulle_plan_destroy(&plan);
    return st;
}

tulle_plan_t *tli_plan_retain(const tulle_plan_t *plan)
{
    /* The count is the one field of a shared plan that changes. */
    tulle_plan_t *shared = (tulle_plan_t *)plan;
    if (shared->references++ == 0)
        tli_comm_retain(shared->comm);
    return shared;
}

static void free_plan(tulle_plan_t *plan)
{
    if (plan->cached != NULL)
        plan->destroy_cached(&plan->cached);
    tli_arena_release(&plan->arena);
    tli_free(plan);
}

void tli_plan_let_go(tulle_plan_t *plan)
{
    plan->num_kept--;
    if (plan->references == 0 && plan->num_kept == 0)
        free_plan(plan);
}

void tulle_plan_destroy(tulle_plan_t **plan_inout)
{
    tulle_plan_t *plan = plan_inout != NULL ? *plan_inout : NULL;
    if (plan != NULL && --plan->references <= 0) {
        tulle_comm_t *comm = plan->comm;
        if (plan->num_kept == 0)
            free_plan(plan);
        tulle_comm_destroy(&comm); /* with its last reference go the plans that it keeps */
    }
    if (plan_inout != NULL)
        *plan_inout = NULL;
}

tulle_status_t tli_plan_slot_positions(const tulle_plan_t *plan, tli_arena_t *arena, int64_t **position_out,
                                       int64_t *num_needed_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t *position = NULL, num_slots = tli_plan_num_slots(plan), num_needed = 0;
    TLI_TRY(tli_arena_alloc(arena, num_slots, sizeof *position, &position));
    for (int64_t i = 0; i < plan->num_needed; i++)
        if (!TLI_IS_OWNED(plan->need_source[i]))
            position[TLI_SLOT_OF(plan->need_source[i])] = 1;
    for (int64_t slot = 0; slot < num_slots; slot++)
        position[slot] = position[slot] ? num_needed++ : -1;
    *position_out = position;
    if (num_needed_out != NULL)
        *num_needed_out = num_needed;
done:
    return st;
}

tulle_status_t tulle_plan_ghost_order(const tulle_plan_t *plan, int64_t *position)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t *slot_position = NULL;
    TLI_REQUIRE(plan != NULL, TULLE_ERR_ARG, "the plan is NULL: was it created, or already destroyed?");
    TLI_REQUIRE(position != NULL || plan->num_needed == 0, TULLE_ERR_ARG, "position is NULL");
    TLI_TRY(tli_plan_slot_positions(plan, &scratch, &slot_position, NULL));
    for (int64_t i = 0; i < plan->num_needed; i++) {
        int64_t source = plan->need_source[i];
        if (plan->ghost_order == TULLE_GHOST_ORDER_CALLER)
            position[i] = i;
        else
            position[i] = TLI_IS_OWNED(source) ? -1 - source : slot_position[TLI_SLOT_OF(source)];
    }
done:
    tli_arena_release(&scratch);
    return st;
}

int64_t tulle_plan_num_owned(const tulle_plan_t *plan)
{
    return plan != NULL ? plan->num_owned : 0;
}

int64_t tulle_plan_num_needed(const tulle_plan_t *plan)
{
    return plan != NULL ? plan->num_needed : 0;
}

int64_t tulle_plan_num_ghosts(const tulle_plan_t *plan)
{
    if (plan == NULL)
        return 0;
    return plan->ghost_order == TULLE_GHOST_ORDER_PLAN ? plan->num_remote : plan->num_needed;
}

tulle_strategy_t tulle_plan_strategy(const tulle_plan_t *plan)
{
    return plan != NULL ? plan->strategy : TULLE_STRATEGY_AUTO;
}
