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

static tulle_exchange_t *find_cached(const tulle_plan_t *plan, tulle_direction_t direction, const tulle_field_t *field,
                                     tulle_op_t op, int is_on_device)
{
    tulle_exchange_t *x = plan->cached;
    while (x != NULL && (x->direction != direction || x->fields[0].datatype != field->datatype ||
                         x->fields[0].width != field->width || x->op != op || (x->device != NULL) != is_on_device))
        x = x->next;
    return x;
}

/* Wraps for absurd widths, alike on all ranks. */
static int64_t kind_of_call(tulle_direction_t direction, const tulle_field_t *field, tulle_op_t op)
{
    return (int64_t)((uint64_t)field->width << 8 | (uint64_t)field->datatype << 4 | (uint64_t)op << 1 |
                     (uint64_t)direction) &
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

static tulle_status_t run_once(tulle_plan_t *plan, tulle_direction_t direction, tulle_field_t *field, tulle_op_t op,
                               void *stream)
{
    tulle_status_t st = TULLE_OK;
    tulle_exchange_t *x = NULL;
    int spaces = 0;
    TLI_REQUIRE(plan != NULL, TULLE_ERR_ARG, "the plan is NULL: was it created, or already destroyed?");
    tli_fault_set_rank(plan->comm->rank);
    st = tli_field_check(plan, direction, op, 0, field);
    if (st == TULLE_OK)
        st = tli_spaces_of(plan, field, 1, &spaces);
    if (st == TULLE_OK)
        st = check_stream(stream);
    /* Ranks must not part ways here, one binding anew while another uses what it has. */
    TLI_TRY(tli_comm_agree_on(plan->comm, st, kind_of_call(direction, field, op),
                              "the call (256 * width + 16 * datatype + 2 * op + direction)"));
    TLI_TRY(tli_spaces_join(plan->comm, &spaces));
    TLI_TRY(check_buffers(plan, field, spaces));
    x = find_cached(plan, direction, field, op, tli_is_device_exchange(spaces));
    if (x == NULL) {
        TLI_TRY(tli_exchange_create_cached(plan, direction, field, op, &x));
        x->next = plan->cached;
        plan->cached = x;
        plan->destroy_cached = destroy_cached;
    }
    tli_exchange_set_buffers(x, field->owned, field->ghost);
    TLI_TRY(tulle_exchange_start(x, stream));
    TLI_TRY(tulle_exchange_wait(x));
done:
    return st;
}

tulle_status_t tulle_gather(tulle_plan_t *plan, const void *owned, void *ghost, tulle_datatype_t datatype,
                            int64_t width, void *stream)
{
    /* A gather only reads owned rows. */
    tulle_field_t field = {(void *)owned, ghost, datatype, width, 0, 0};
    return run_once(plan, TULLE_GATHER, &field, TULLE_OP_SUM, stream);
}

tulle_status_t tulle_scatter(tulle_plan_t *plan, const void *ghost, void *owned, tulle_datatype_t datatype,
                             int64_t width, tulle_op_t op, void *stream)
{
    /* A scatter only reads ghost rows. */
    tulle_field_t field = {owned, (void *)ghost, datatype, width, 0, 0};
    return run_once(plan, TULLE_SCATTER, &field, op, stream);
}
