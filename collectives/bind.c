/* SPDX-License-Identifier: Apache-2.0
 * Binding: a plan, buffers and fields become an exchange. Everything that will ever be allocated is allocated here. */
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "collectives/device.h"
#include "src/agree.h"
#include "src/options.h"
#include "topology/model.h"

/* Between domains shorter rows are packed: where they are scattered, a reader would fetch several times what it needs.
 * Inside of one, what it fetches comes from a cache that it shares. */
#define LEAST_LENT_BYTES 16

static tulle_status_t copy_fields(tulle_exchange_t *x, const tulle_field_t *fields, int num_fields)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(x->direction == TULLE_GATHER || x->direction == TULLE_SCATTER, TULLE_ERR_ARG,
                "direction %d is neither gather (0) nor scatter (1)", (int)x->direction);
    TLI_REQUIRE(x->op >= TULLE_OP_SUM && x->op <= TULLE_OP_REPLACE, TULLE_ERR_ARG, "reduction %d is unknown",
                (int)x->op);
    TLI_REQUIRE(fields != NULL && num_fields >= 1, TULLE_ERR_ARG,
                "fields is NULL or num_fields is %d: give at least one", num_fields);
    TLI_TRY(tli_arena_alloc(&x->arena, num_fields, sizeof *fields, &x->fields));
    memcpy(x->fields, fields, (size_t)num_fields * sizeof *fields);
    x->num_fields = num_fields;
    for (int f = 0; f < num_fields && !x->is_cached; f++)
        TLI_TRY(tli_field_check(x->plan, x->direction, x->op, f, &x->fields[f]));
    TLI_TRY(tli_wire_precision_check(x));
done:
    return st;
}

/* --- channels ---------------------------------------------------------------------------------------------------- */

typedef struct ends {
    tli_wires_t wires;
    tli_wire_t *sends, *receives;
    unsigned char *send_transport, *receive_transport;
    tli_delivery_t *deliveries;
} ends_t;

static tulle_status_t alloc_ends(tulle_exchange_t *x, tli_arena_t *scratch, ends_t *ends)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_t *steps = &x->steps;
    TLI_REQUIRE(steps->num_sends < INT_MAX && steps->num_receives < INT_MAX, TULLE_ERR_OVERFLOW, "too many messages");
    TLI_TRY(tli_arena_alloc(scratch, steps->num_sends, sizeof *ends->sends, &ends->sends));
    TLI_TRY(tli_arena_alloc(scratch, steps->num_receives, sizeof *ends->receives, &ends->receives));
    TLI_TRY(tli_arena_alloc(scratch, steps->num_sends, 1, &ends->send_transport));
    TLI_TRY(tli_arena_alloc(scratch, steps->num_receives, 1, &ends->receive_transport));
    TLI_TRY(tli_arena_alloc(scratch, steps->num_receives, sizeof *ends->deliveries, &ends->deliveries));
    TLI_TRY(tli_arena_alloc(&x->arena, steps->num_tasks, sizeof *x->missing, &x->missing));
    TLI_TRY(tli_arena_alloc_raw(&x->arena, steps->num_tasks, sizeof *x->ready.tasks, &x->ready.tasks));
    TLI_TRY(tli_arena_alloc(&x->arena, steps->num_receives, sizeof *x->arrived, &x->arrived));
    TLI_TRY(tli_arena_alloc(&x->arena, steps->num_receives, 1, &x->has_arrived));
    TLI_TRY(tli_arena_alloc(&x->arena, x->num_fields * steps->num_areas, sizeof *x->areas, &x->areas));
    for (int64_t r = 0; r < steps->num_releases; r++)
        ends->receives[steps->releases[r]].num_releases++;
    for (int64_t w = 0; w < steps->num_sends; w++) {
        ends->sends[w].peer = (int)steps->send_ends[w].peer;
        ends->send_transport[w] = (unsigned char)steps->send_ends[w].transport;
    }
    for (int64_t w = 0; w < steps->num_receives; w++) {
        ends->receives[w].peer = (int)steps->receive_ends[w].peer;
        ends->receive_transport[w] = (unsigned char)steps->receive_ends[w].transport;
    }
    ends->wires = (tli_wires_t){x->plan->comm,         0,
                                (int)steps->num_sends, (int)steps->num_receives,
                                ends->sends,           ends->receives,
                                ends->send_transport,  ends->receive_transport};
done:
    return st;
}

static void fill_wire(const tulle_exchange_t *x, const tli_end_t *end, tli_wire_t *wire)
{
    const tli_rows_t *rows = &x->areas[end->area];
    int is_user = x->steps.areas[end->area].kind == TLI_AREA_USER;
    wire->peer = (int)end->peer;
    wire->tag = x->first_tag + end->tag;
    wire->address = rows->base != NULL ? rows->base + end->first_row * rows->stride_bytes : NULL;
    wire->bytes = is_user ? end->num_rows * rows->stride_bytes : tli_area_bytes(x, end->area, end->num_rows);
    wire->rows = x->steps.areas[end->area].rows;
    wire->stride_bytes = is_user ? rows->stride_bytes : 0;
}

static int is_one_domain(const tulle_comm_t *comm)
{
    int is_one = 1, innermost = tulle_topology_num_levels(comm->topology) - 1;
    for (int r = 0; r < comm->num_shared && is_one; r++)
        is_one = tli_topology_crossing(comm->topology, comm->rank, comm->shared_ranks[r]) >= innermost;
    return is_one;
}

/* The rows that this exchange reads of its caller, if peers had better read them where they lie. Cached and moving
 * exchanges do not know where that will be. */
static tli_loan_t offer_loan(const tulle_exchange_t *x)
{
    const tulle_field_t *field = x->fields;
    int is_gather = x->direction == TULLE_GATHER;
    int64_t num_rows = is_gather ? x->plan->num_owned : tulle_plan_num_ghosts(x->plan);
    int64_t stride = is_gather ? field->owned_stride : field->ghost_stride;
    tli_loan_t loan = {NULL, 0};
    int may_lend = !x->is_cached && !(is_gather && x->owned_moves) && x->num_fields == 1;
    int is_worth_it = tli_field_row_bytes(field) >= LEAST_LENT_BYTES || is_one_domain(x->plan->comm);
    if (may_lend && num_rows > 0 && is_worth_it) {
        loan.rows = is_gather ? field->owned : field->ghost;
        loan.bytes = ((num_rows - 1) * stride + field->width) * (int64_t)tulle_datatype_size(field->datatype);
    }
    return loan;
}

static tulle_status_t open_channels(tulle_exchange_t *x, tulle_comm_t *comm, tulle_status_t local)
{
    tulle_status_t st = local;
    tli_loan_t loan = {NULL, 0};
    void *none = NULL;
    if (st == TULLE_OK)
        loan = offer_loan(x);
    for (int t = 0; t < tli_num_transports; t++)
        st = tli_transports[t]->open(comm, st, &loan, x != NULL ? &x->channels[t] : &none);
    return st;
}

/* Staging that peers read comes from the transport that lets them; if none does, it is ours alone. */
static tulle_status_t reserve_staging(tulle_exchange_t *x, ends_t *ends)
{
    tulle_status_t st = TULLE_OK;
    unsigned char *private_rows = NULL, *shared_rows = NULL;
    int64_t shared_bytes = tli_staging_bytes(x, TLI_AREA_SHARED);
    TLI_TRY(tli_arena_alloc_raw(&x->arena, tli_staging_bytes(x, TLI_AREA_PRIVATE), 1, &private_rows));
    for (ends->wires.transport = 0; ends->wires.transport < tli_num_transports; ends->wires.transport++)
        TLI_TRY(tli_transports[ends->wires.transport]->reserve(x->channels[ends->wires.transport], &ends->wires,
                                                               (size_t)shared_bytes, &shared_rows));
    if (shared_rows == NULL)
        TLI_TRY(tli_arena_alloc_raw(&x->arena, shared_bytes, 1, &shared_rows));
    tli_staging_place(x, TLI_AREA_SHARED, shared_rows);
    tli_staging_place(x, TLI_AREA_PRIVATE, private_rows);
done:
    return st;
}

static void place_remote_areas(tulle_exchange_t *x, const ends_t *ends)
{
    for (int64_t a = TLI_FIRST_STAGING; a < x->steps.num_areas; a++) {
        if (x->steps.areas[a].kind != TLI_AREA_REMOTE)
            continue;
        const tli_delivery_t *delivery = &ends->deliveries[x->steps.areas[a].wire];
        if (delivery->stride_bytes > 0) /* a caller's rows: one field */
            x->areas[a] = (tli_rows_t){delivery->address, delivery->stride_bytes};
        else
            tli_area_place(x, a, delivery->address, delivery->rows);
    }
}

static tulle_status_t bind_channels(tulle_exchange_t *x, ends_t *ends)
{
    tulle_status_t st = TULLE_OK;
    tli_wires_t *wires = &ends->wires;
    for (int64_t w = 0; w < x->steps.num_sends; w++)
        fill_wire(x, &x->steps.send_ends[w], &ends->sends[w]);
    for (int64_t w = 0; w < x->steps.num_receives; w++)
        fill_wire(x, &x->steps.receive_ends[w], &ends->receives[w]);
    for (wires->transport = 0; wires->transport < tli_num_transports; wires->transport++) {
        void *channel = x->channels[wires->transport];
        tulle_status_t bound = tli_transports[wires->transport]->bind(channel, wires, ends->deliveries);
        st = st == TULLE_OK ? bound : st;
    }
    if (st == TULLE_OK)
        place_remote_areas(x, ends);
    return st;
}

/* --- create ------------------------------------------------------------------------------------------------------ */

/* Messages of a gather whose sender owns their rows and lends them. */
static tulle_status_t list_lent(const tulle_exchange_t *x, const tulle_plan_t *plan, tli_arena_t *scratch,
                                const unsigned char **is_lent_out)
{
    tulle_status_t st = TULLE_OK;
    unsigned char *is_lent = NULL;
    TLI_TRY(tli_arena_alloc(scratch, plan->num_in, 1, &is_lent));
    for (int64_t k = 0; k < plan->num_in; k++) {
        int peer = (int)plan->in_peer[k], t = tli_transport_for(plan->comm, x->transport, peer);
        is_lent[k] = plan->in_read[k] == TLI_READ_PUBLISHED && t < tli_num_transports &&
                     tli_transports[t]->lends(x->channels[t], peer);
    }
    *is_lent_out = is_lent;
done:
    return st;
}

static int lends_itself(const tulle_exchange_t *x)
{
    int lends = 0;
    for (int t = 0; t < tli_num_transports; t++)
        lends |= tli_transports[t]->lends(x->channels[t], x->plan->comm->rank);
    return lends;
}

/* Halves are combined in f32 and rounded once: all contributions to a row in one go. */
static int has_halves(const tulle_exchange_t *x)
{
    int has = 0;
    for (int f = 0; f < x->num_fields; f++)
        has |= x->fields[f].datatype == TULLE_F16 || x->fields[f].datatype == TULLE_BF16;
    return has;
}

/* The plan itself, or its messages cut into chunks. */
static tulle_status_t cut(tulle_exchange_t *x, const tulle_plan_t **plan_out)
{
    tulle_status_t st = TULLE_OK;
    *plan_out = x->plan;
    x->chunk_rows =
        tli_chunk_rows(x->plan->comm->topology, x->chunk_bytes, tli_travelling_row_bytes(x, x->wire_precision));
    if (x->chunk_rows > 0) {
        TLI_TRY(tli_chunks_cut(x->plan, x->chunk_rows, &x->arena, &x->chunks));
        *plan_out = &x->chunks.plan;
    }
done:
    return st;
}

/* All that a rank does for itself. */
static tulle_status_t prepare(tulle_exchange_t *x, tli_arena_t *scratch, ends_t *ends)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = NULL;
    tli_steps_options_t options = {.in_place = tli_can_use_ghosts_in_place(x),
                                   .lends = lends_itself(x),
                                   .names_runs = 1,
                                   .by_message = !has_halves(x),
                                   .transport = x->transport,
                                   .wire_precision = x->wire_precision,
                                   .wire_levels = x->wire_levels};
    TLI_TRY(cut(x, &plan));
    options.in_block = x->chunks.in_block;
    if (x->direction == TULLE_GATHER)
        TLI_TRY(list_lent(x, plan, scratch, &options.is_lent));
    TLI_TRY(tli_steps_build(plan, x->direction, &options, &x->arena, &x->steps));
    TLI_TRY(tli_check_staging(x));
    TLI_TRY(alloc_ends(x, scratch, ends));
    TLI_TRY(tli_wire_precision_prepare(x));
    tli_areas_place_user(x);
    TLI_TRY(reserve_staging(x, ends));
done:
    return st;
}

/* All ranks come here, whatever their status. */
static tulle_status_t bind_on_host(tulle_exchange_t *x, tulle_comm_t *comm, tulle_status_t local)
{
    tli_arena_t scratch = TLI_ARENA_INIT;
    ends_t ends = {0};
    int64_t num_tags = 1;
    tulle_status_t st = open_channels(x, comm, local);
    if (st == TULLE_OK)
        st = prepare(x, &scratch, &ends);
    st = tli_exchange_agree(x, comm->mpi, st, &num_tags);
    if (st == TULLE_OK) {
        x->first_tag = tli_comm_take_tags(comm, (int)num_tags);
        st = tli_agree(comm->mpi, bind_channels(x, &ends));
    }
    tli_arena_release(&scratch);
    return st;
}

tulle_status_t tli_exchange_take_options(const tulle_exchange_options_t *given, const tulle_plan_t *plan,
                                         tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    TLI_TRY(tli_options_take(given, &options, sizeof options, offsetof(tulle_exchange_options_t, transport),
                             "TULLE_EXCHANGE_OPTIONS_INIT"));
    TLI_REQUIRE(options.timeout_ms >= 0, TULLE_ERR_ARG, "options.timeout_ms is %lld, must not be negative",
                (long long)options.timeout_ms);
    TLI_REQUIRE(options.transport >= TULLE_TRANSPORT_AUTO && options.transport < TULLE_NUM_TRANSPORTS, TULLE_ERR_ARG,
                "options.transport is %d, none of TULLE_TRANSPORT_MAP", (int)options.transport);
    x->transport = options.transport;
    if (options.chunk_bytes == 0)
        TLI_TRY(tli_options_chunk_bytes(&options.chunk_bytes));
    x->chunk_bytes = options.chunk_bytes;
    x->wire_precision = options.wire_precision;
    x->wire_levels = options.wire_levels == 0 ? 1 : options.wire_levels;
    x->op = options.op == 0 ? TULLE_OP_SUM : options.op;
    x->timeout_ms = options.timeout_ms > 0 ? options.timeout_ms : plan->comm->timeout_ms;
done:
    return st;
}

/* Who has an exchange made, and what it may count on. */
typedef enum kind { PLAIN, MOVING, CACHED } kind_t;

static tulle_status_t alloc_exchange(tulle_plan_t *plan, kind_t kind, tulle_direction_t direction,
                                     const tulle_exchange_options_t *options, tulle_exchange_t **exchange_out)
{
    tulle_exchange_t *x = NULL;
    tulle_status_t st = tli_alloc(sizeof *x, &x);
    if (st == TULLE_OK) {
        x->plan = kind == CACHED ? plan : tli_plan_retain(plan);
        x->is_cached = kind == CACHED;
        x->owned_moves = kind != PLAIN;
        x->direction = direction;
        st = tli_exchange_take_options(options, plan, x);
        *exchange_out = x;
    }
    return st;
}

/* Alike on all ranks. */
static tulle_status_t check_transport(const tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    int is_device = tli_is_device_exchange(x->spaces), is_for_gpus = tli_transport_is_for_gpus(x->transport);
    TLI_REQUIRE(x->transport == TULLE_TRANSPORT_AUTO || x->spaces == 0 || is_device == is_for_gpus, TULLE_ERR_ARG,
                "transport %s does not move rows in %s memory", tulle_transport_name(x->transport),
                is_device ? "device" : "host");
done:
    return st;
}

/* The host or the GPUs move the rows: all ranks find the same. They all come here, whatever their status; x may be NULL
 * on those that failed. */
static tulle_status_t bind(tulle_exchange_t *x, const tulle_plan_t *plan, tulle_status_t local)
{
    tulle_status_t st = local, joined = TULLE_OK;
    int spaces = 0;
    if (st == TULLE_OK)
        st = tli_spaces_of(plan, x->fields, x->num_fields, &spaces);
    joined = tli_spaces_join(plan->comm, &spaces);
    st = st == TULLE_OK ? joined : st;
    if (st == TULLE_OK) {
        x->spaces = spaces;
        st = check_transport(x);
    }
    return tli_is_device_exchange(spaces) ? tli_device_bind(x, plan->comm, st) : bind_on_host(x, plan->comm, st);
}

/* All ranks come here, whatever their status. */
static tulle_status_t create(tulle_plan_t *plan, kind_t kind, tulle_direction_t direction, const tulle_field_t *fields,
                             int num_fields, const tulle_exchange_options_t *options, tulle_exchange_t **exchange_out)
{
    tulle_exchange_t *x = NULL;
    tulle_status_t st = alloc_exchange(plan, kind, direction, options, &x);
    if (st == TULLE_OK && exchange_out == NULL)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "exchange_out is NULL");
    if (st == TULLE_OK)
        st = copy_fields(x, fields, num_fields);
    tulle_status_t met = tli_comm_meet(plan->comm);
    TLI_TRY(met == TULLE_OK ? bind(x, plan, st) : met);
    tli_arena_seal(&x->arena);
    *exchange_out = x;
    x = NULL;
done:
    tulle_exchange_destroy(&x);
    return st;
}

tulle_status_t tulle_exchange_create(const tulle_plan_t *plan, tulle_direction_t direction, const tulle_field_t *fields,
                                     int num_fields, const tulle_exchange_options_t *options,
                                     tulle_exchange_t **exchange_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(plan != NULL, TULLE_ERR_ARG, "the plan is NULL: was it created, or already destroyed?");
    tli_fault_set_rank(plan->comm->rank);
    /* Only the plan's count of users changes. */
    TLI_TRY(create((tulle_plan_t *)plan, PLAIN, direction, fields, num_fields, options, exchange_out));
done:
    return st;
}

tulle_status_t tli_exchange_create_cached(tulle_plan_t *plan, tulle_direction_t direction, const tulle_field_t *field,
                                          const tulle_exchange_options_t *options, tulle_exchange_t **exchange_out)
{
    return create(plan, CACHED, direction, field, 1, options, exchange_out);
}

tulle_status_t tli_exchange_create_moving(tulle_plan_t *plan, tulle_direction_t direction, const tulle_field_t *field,
                                          tulle_exchange_t **exchange_out)
{
    return create(plan, MOVING, direction, field, 1, NULL, exchange_out);
}

void tli_exchange_move_owned(tulle_exchange_t *x, void *owned, int64_t stride)
{
    int has_changed = x->fields[0].owned != owned || x->fields[0].owned_stride != stride;
    TLI_ASSERT(x->owned_moves && x->phase == TLI_PHASE_IDLE);
    x->fields[0].owned = owned;
    x->fields[0].owned_stride = stride;
    tli_areas_place_user(x);
    if (x->device != NULL && has_changed)
        tli_device_rebind(x);
}

void tli_exchange_set_buffers(tulle_exchange_t *x, void *owned, void *ghost)
{
    int has_changed = x->fields[0].owned != owned || x->fields[0].ghost != ghost;
    x->fields[0].owned = owned;
    x->fields[0].ghost = ghost;
    tli_areas_place_user(x);
    if (x->device != NULL && has_changed)
        tli_device_rebind(x);
}

void tulle_exchange_destroy(tulle_exchange_t **exchange)
{
    tulle_exchange_t *x = exchange != NULL ? *exchange : NULL;
    if (x != NULL) {
        tli_exchange_land(x);
        tli_device_unbind(x);
        tli_exchange_sweep(x->plan->comm);
        tli_exchange_release(x);
    }
    if (exchange != NULL)
        *exchange = NULL;
}
