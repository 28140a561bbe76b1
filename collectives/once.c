/* SPDX-License-Identifier: Apache-2.0
 * Gather and scatter in one call. The binding is made at the first call of a kind and kept in the plan; buffers may
 * differ from call to call and from rank to rank, because cached bindings stage all rows. */
#include "collectives/device.h"
#include "src/agree.h"
#include "src/device/device.h"

/* Called when the plan goes; collective. */
static void destroy_cached(tulle_exchange_t **first)
{
    while (*first != NULL) {
        tulle_exchange_t *x = *first;
        *first = x->next;
        tulle_exchange_destroy(&x);
    }
}

/* @param[in] wanted its options and direction, as they would be bound */
static int is_alike(const tulle_exchange_t *x, const tulle_exchange_t *wanted, const tulle_field_t *field)
{
    return x->direction == wanted->direction && x->fields[0].datatype == field->datatype &&
           x->fields[0].width == field->width && x->op == wanted->op && x->transport == wanted->transport &&
           x->wire_precision == wanted->wire_precision && x->wire_levels == wanted->wire_levels &&
           x->chunk_bytes == wanted->chunk_bytes && (x->device != NULL) == tli_is_device_exchange(wanted->spaces);
}

static tulle_exchange_t *find_cached(const tulle_plan_t *plan, const tulle_exchange_t *wanted,
                                     const tulle_field_t *field)
{
    tulle_exchange_t *x = plan->cached;
    while (x != NULL && !is_alike(x, wanted, field))
        x = x->next;
    return x;
}

/* Wraps for absurd widths, alike on all ranks. Of chunks there is but a mark: ranks that disagree are found out when
 * they bind, and those that bind nothing by the mark, but for one in 4096. */
static int64_t kind_of_call(const tulle_exchange_t *wanted, const tulle_field_t *field)
{
    uint64_t chunks = ((uint64_t)wanted->chunk_bytes * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
    uint64_t options = chunks << 10 | (uint64_t)wanted->transport << 6 | (uint64_t)wanted->wire_levels << 2 |
                       (uint64_t)wanted->wire_precision;
    return (int64_t)((uint64_t)field->width << 30 | options << 8 | (uint64_t)field->datatype << 4 |
                     (uint64_t)wanted->op << 1 | (uint64_t)wanted->direction) &
           INT64_MAX;
}

/* A call is more than what a graph can hold: it talks to other ranks. */
static tulle_status_t check_stream(void *stream)
{
    tulle_status_t st = TULLE_OK;
    int is_capturing = 0;
    if (stream != NULL && tli_device_is_built())
        TLI_TRY(tli_stream_is_capturing(stream, &is_capturing));
    TLI_REQUIRE(!is_capturing, TULLE_ERR_UNSUPPORTED,
                "a one-shot call cannot be captured into a graph: create an exchange, and capture its start and wait");
done:
    return st;
}

/* Buffers may change from call to call: those on GPUs are looked at in each. */
static tulle_status_t check_buffers(const tulle_plan_t *plan, const tulle_field_t *field, int spaces)
{
    int device = -1;
    if (!tli_is_device_exchange(spaces))
        return TULLE_OK;
    return tli_agree(plan->comm->mpi, tli_device_check_fields(plan, field, 1, &device));
}

/* With what is kept of this kind of call, or made now. */
static tulle_status_t move_rows(tulle_plan_t *plan, const tulle_exchange_t *wanted, const tulle_field_t *field,
                                const tulle_exchange_options_t *options, void *stream)
{
    tulle_status_t st = TULLE_OK;
    tulle_exchange_t *x = find_cached(plan, wanted, field);
    if (x == NULL) {
        TLI_TRY(tli_exchange_create_cached(plan, wanted->direction, field, options, &x));
        x->next = plan->cached;
        plan->cached = x;
        plan->destroy_cached = destroy_cached;
    }
    x->timeout_ms = wanted->timeout_ms;
    tli_exchange_set_buffers(x, field->owned, field->ghost);
    TLI_TRY(tulle_exchange_start(x, stream));
    TLI_TRY(tulle_exchange_wait(x));
done:
    return st;
}

static tulle_status_t check_call(const tulle_plan_t *plan, const tulle_exchange_options_t *options,
                                 tulle_exchange_t *wanted, tulle_field_t *field)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_exchange_take_options(options, plan, wanted));
    TLI_TRY(tli_field_check(plan, wanted->direction, wanted->op, 0, field));
    TLI_TRY(tli_spaces_of(plan, field, 1, &wanted->spaces));
done:
    return st;
}

static tulle_status_t run_once(tulle_plan_t *plan, tulle_direction_t direction, tulle_field_t *field,
                               const tulle_exchange_options_t *options, void *stream)
{
    tulle_status_t st = TULLE_OK;
    tulle_exchange_t wanted = {.direction = direction};
    TLI_REQUIRE(plan != NULL, TULLE_ERR_ARG, "the plan is NULL: was it created, or already destroyed?");
    tli_fault_set_rank(plan->comm->rank);
    st = check_call(plan, options, &wanted, field);
    if (st == TULLE_OK)
        st = check_stream(stream);
    /* Ranks must not part ways here, one binding anew while another uses what it has. */
    TLI_TRY(tli_comm_agree_on(plan->comm, st, kind_of_call(&wanted, field),
                              "the call (2^30 * width + 256 * options + 16 * datatype + 2 * op + direction)"));
    TLI_TRY(tli_spaces_join(plan->comm, &wanted.spaces));
    TLI_TRY(check_buffers(plan, field, wanted.spaces));
    TLI_TRY(move_rows(plan, &wanted, field, options, stream));
done:
    return st;
}

tulle_status_t tli_scatter_agreed(tulle_plan_t *plan, const void *ghost, void *owned, tulle_datatype_t datatype,
                                  int64_t width, tulle_op_t op, tulle_space_t space, void *stream)
{
    tulle_status_t st = TULLE_OK;
    tulle_field_t field = {owned, (void *)ghost, datatype, width, 0, 0};
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_t wanted = {.direction = TULLE_SCATTER};
    options.op = op;
    TLI_TRY(check_call(plan, &options, &wanted, &field));
    wanted.spaces |= 1 << space; /* a rank may have no rows */
    TLI_TRY(move_rows(plan, &wanted, &field, &options, stream));
done:
    return st;
}

tulle_status_t tulle_gather_with(tulle_plan_t *plan, const void *owned, void *ghost, tulle_datatype_t datatype,
                                 int64_t width, const tulle_exchange_options_t *options, void *stream)
{
    /* A gather only reads owned rows. */
    tulle_field_t field = {(void *)owned, ghost, datatype, width, 0, 0};
    return run_once(plan, TULLE_GATHER, &field, options, stream);
}

tulle_status_t tulle_scatter_with(tulle_plan_t *plan, const void *ghost, void *owned, tulle_datatype_t datatype,
                                  int64_t width, const tulle_exchange_options_t *options, void *stream)
{
    /* A scatter only reads ghost rows. */
    tulle_field_t field = {owned, (void *)ghost, datatype, width, 0, 0};
    return run_once(plan, TULLE_SCATTER, &field, options, stream);
}

tulle_status_t tulle_gather(tulle_plan_t *plan, const void *owned, void *ghost, tulle_datatype_t datatype,
                            int64_t width, void *stream)
{
    return tulle_gather_with(plan, owned, ghost, datatype, width, NULL, stream);
}

tulle_status_t tulle_scatter(tulle_plan_t *plan, const void *ghost, void *owned, tulle_datatype_t datatype,
                             int64_t width, tulle_op_t op, void *stream)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    options.op = op;
    return tulle_scatter_with(plan, ghost, owned, datatype, width, &options, stream);
}
