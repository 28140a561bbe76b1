/* SPDX-License-Identifier: Apache-2.0
 * Binding: a plan, buffers and fields become an exchange. Everything that will ever be allocated is allocated here. */
#include <limits.h>
#include <stddef.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "collectives/device.h"
#include "src/agree.h"
#include "src/options.h"

#define FIELD_ALIGNMENT 64
#define MAX_BYTES       ((int64_t)1 << 62)
/* Shorter rows are packed: where they are scattered, a reader would fetch several times what it needs. */
#define LEAST_LENT_BYTES 16

/* --- checks ------------------------------------------------------------------------------------------------------ */

static tulle_status_t check_buffer(const void *buffer, int64_t rows, int64_t stride, int64_t scalar_bytes, int index,
                                   const char *name)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(buffer != NULL || rows == 0, TULLE_ERR_ARG, "field %d: %s is NULL but has %lld rows", index, name,
                (long long)rows);
    TLI_REQUIRE(stride < MAX_BYTES / scalar_bytes / (rows + 1), TULLE_ERR_OVERFLOW,
                "field %d: %lld %s rows of stride %lld exceed 2^62 bytes", index, (long long)rows, name,
                (long long)stride);
    TLI_REQUIRE((uintptr_t)buffer % (uintptr_t)(scalar_bytes == 16 ? 8 : scalar_bytes) == 0, TULLE_ERR_ARG,
                "field %d: %s at %p is not aligned to its scalars", index, name, buffer);
done:
    return st;
}

static tulle_status_t check_overlap(const tulle_plan_t *plan, const tulle_field_t *field, int64_t scalar_bytes,
                                    int index)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_ghosts = tulle_plan_num_ghosts(plan);
    uintptr_t owned = (uintptr_t)field->owned, ghost = (uintptr_t)field->ghost;
    uintptr_t owned_bytes =
        plan->num_owned > 0 ? (uintptr_t)(((plan->num_owned - 1) * field->owned_stride + field->width) * scalar_bytes)
                            : 0;
    uintptr_t ghost_bytes =
        num_ghosts > 0 ? (uintptr_t)(((num_ghosts - 1) * field->ghost_stride + field->width) * scalar_bytes) : 0;
    int overlaps = owned_bytes > 0 && ghost_bytes > 0 && owned < ghost + ghost_bytes && ghost < owned + owned_bytes;
    TLI_REQUIRE(!overlaps, TULLE_ERR_ARG, "field %d: owned rows at %p and ghost rows at %p overlap", index,
                field->owned, field->ghost);
done:
    return st;
}

tulle_status_t tli_field_check(const tulle_plan_t *plan, tulle_direction_t direction, tulle_op_t op, int index,
                               tulle_field_t *field)
{
    tulle_status_t st = TULLE_OK;
    int64_t scalar_bytes = (int64_t)tulle_datatype_size(field->datatype);
    TLI_REQUIRE(scalar_bytes > 0, TULLE_ERR_ARG, "field %d: datatype %d is unknown", index, (int)field->datatype);
    TLI_REQUIRE(field->width >= 1 && field->width < MAX_BYTES / scalar_bytes, TULLE_ERR_ARG,
                "field %d: width is %lld, must be at least 1", index, (long long)field->width);
    if (field->owned_stride == 0)
        field->owned_stride = field->width;
    if (field->ghost_stride == 0)
        field->ghost_stride = field->width;
    TLI_REQUIRE(field->owned_stride >= field->width && field->ghost_stride >= field->width, TULLE_ERR_ARG,
                "field %d: strides %lld (owned) and %lld (ghost) must not be below the width %lld", index,
                (long long)field->owned_stride, (long long)field->ghost_stride, (long long)field->width);
    TLI_REQUIRE(direction == TULLE_GATHER || tli_has_reduction(field->datatype, op), TULLE_ERR_UNSUPPORTED,
                "field %d: %s does not know the reduction %s", index, tulle_datatype_name(field->datatype),
                tulle_op_name(op));
    TLI_TRY(check_buffer(field->owned, plan->num_owned, field->owned_stride, scalar_bytes, index, "owned"));
    TLI_TRY(check_buffer(field->ghost, tulle_plan_num_ghosts(plan), field->ghost_stride, scalar_bytes, index, "ghost"));
    TLI_TRY(check_overlap(plan, field, scalar_bytes, index));
done:
    return st;
}

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
done:
    return st;
}

/* Which of its properties ranks disagree about. */
static tulle_status_t compare_fields(const tulle_exchange_t *x, MPI_Comm comm)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_agree_equal(comm, x->num_fields, "the number of fields"));
    TLI_TRY(tli_agree_equal(comm, (int)x->direction, "the direction (0 gather, 1 scatter)"));
    TLI_TRY(tli_agree_equal(comm, (int)x->op, "the reduction (TULLE_OP_MAP)"));
    TLI_TRY(tli_agree_equal(comm, (int)x->transport, "the transport (TULLE_TRANSPORT_MAP)"));
    for (int f = 0; f < x->num_fields; f++) {
        char what[64];
        snprintf(what, sizeof what, "the width of field %d", f);
        TLI_TRY(tli_agree_equal(comm, x->fields[f].width, what));
        snprintf(what, sizeof what, "the datatype of field %d", f);
        TLI_TRY(tli_agree_equal(comm, (int)x->fields[f].datatype, what));
    }
done:
    return st;
}

static int64_t fingerprint(const tulle_exchange_t *x)
{
    int64_t kind[4] = {x->num_fields, (int)x->op, (int)x->direction, (int)x->transport};
    XXH64_hash_t hash = XXH3_64bits(kind, sizeof kind);
    for (int f = 0; f < x->num_fields; f++) {
        int64_t field[2] = {x->fields[f].width, (int)x->fields[f].datatype};
        hash = XXH3_64bits_withSeed(field, sizeof field, hash);
    }
    return (int64_t)(hash >> 1);
}

/* One reduction, unless ranks disagree and want to know about what. */
tulle_status_t tli_exchange_agree(const tulle_exchange_t *x, MPI_Comm comm, tulle_status_t local, int64_t *num_tags)
{
    *num_tags = local == TULLE_OK && x->steps.num_tags > 0 ? x->steps.num_tags : 1;
    tulle_status_t st = tli_agree_on_most(comm, local, local == TULLE_OK ? fingerprint(x) : 0,
                                          "the exchange (fingerprints differ)", num_tags);
    if (st == TULLE_ERR_MISMATCH && local == TULLE_OK)
        st = compare_fields(x, comm);
    return st;
}

/* --- memory ------------------------------------------------------------------------------------------------------ */

int64_t tli_field_row_bytes(const tulle_field_t *field)
{
    return field->width * (int64_t)tulle_datatype_size(field->datatype);
}

static int64_t round_up(int64_t bytes)
{
    return (bytes + FIELD_ALIGNMENT - 1) / FIELD_ALIGNMENT * FIELD_ALIGNMENT;
}

/* Nothing follows the last field, so that a message of a single one is as long as its rows. */
int64_t tli_area_bytes(const tulle_exchange_t *x, int64_t rows)
{
    int64_t bytes = 0;
    for (int f = 0; f < x->num_fields; f++)
        bytes = round_up(bytes) + rows * tli_field_row_bytes(&x->fields[f]);
    return bytes;
}

void tli_area_place(tulle_exchange_t *x, int64_t area, unsigned char *base, int64_t rows)
{
    for (int f = 0; f < x->num_fields; f++) {
        int64_t bytes = tli_field_row_bytes(&x->fields[f]);
        x->areas[f * x->steps.num_areas + area] = (tli_rows_t){base, bytes};
        base += round_up(rows * bytes);
    }
}

void tli_areas_place_user(tulle_exchange_t *x)
{
    for (int f = 0; f < x->num_fields; f++) {
        const tulle_field_t *field = &x->fields[f];
        int64_t scalar_bytes = (int64_t)tulle_datatype_size(field->datatype);
        tli_rows_t *areas = x->areas + f * x->steps.num_areas;
        areas[TLI_AREA_OWNED] = (tli_rows_t){field->owned, field->owned_stride * scalar_bytes};
        areas[TLI_AREA_GHOST] = (tli_rows_t){field->ghost, field->ghost_stride * scalar_bytes};
    }
}

static int64_t total_bytes(const tulle_exchange_t *x, tli_area_kind_t kind)
{
    int64_t bytes = 0;
    for (int64_t a = TLI_FIRST_STAGING; a < x->steps.num_areas; a++)
        if (x->steps.areas[a].kind == kind)
            bytes += round_up(tli_area_bytes(x, x->steps.areas[a].rows));
    return bytes;
}

static void place_staging(tulle_exchange_t *x, tli_area_kind_t kind, unsigned char *base)
{
    for (int64_t a = TLI_FIRST_STAGING; a < x->steps.num_areas; a++) {
        if (x->steps.areas[a].kind == kind) {
            tli_area_place(x, a, base, x->steps.areas[a].rows);
            base += round_up(tli_area_bytes(x, x->steps.areas[a].rows));
        }
    }
}

tulle_status_t tli_check_staging(const tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    int64_t rows = 1, bytes = 0;
    for (int64_t a = TLI_FIRST_STAGING; a < x->steps.num_areas; a++)
        rows += x->steps.areas[a].rows + FIELD_ALIGNMENT;
    for (int f = 0; f < x->num_fields; f++) {
        TLI_REQUIRE(tli_field_row_bytes(&x->fields[f]) < MAX_BYTES / rows - bytes, TULLE_ERR_OVERFLOW,
                    "%lld rows in transit of %lld bytes in field %d exceed 2^62 bytes", (long long)rows,
                    (long long)tli_field_row_bytes(&x->fields[f]), f);
        bytes += tli_field_row_bytes(&x->fields[f]);
    }
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
    TLI_TRY(tli_arena_alloc(&x->arena, steps->num_receives, sizeof *x->arrived, &x->arrived));
    TLI_TRY(tli_arena_alloc(&x->arena, steps->num_receives, 1, &x->has_arrived));
    TLI_TRY(tli_arena_alloc(&x->arena, x->num_fields * steps->num_areas, sizeof *x->areas, &x->areas));
    for (int64_t w = 0; w < steps->num_sends; w++)
        ends->send_transport[w] = (unsigned char)steps->send_ends[w].transport;
    for (int64_t w = 0; w < steps->num_receives; w++)
        ends->receive_transport[w] = (unsigned char)steps->receive_ends[w].transport;
    ends->wires = (tli_wires_t){x->plan->comm,         0,
                                (int)steps->num_sends, (int)steps->num_receives,
                                ends->sends,           ends->receives,
                                ends->send_transport,  ends->receive_transport};
done:
    return st;
}

static void fill_wire(const tulle_exchange_t *x, const tli_end_t *end, int first_tag, tli_wire_t *wire)
{
    const tli_rows_t *rows = &x->areas[end->area];
    int is_user = x->steps.areas[end->area].kind == TLI_AREA_USER;
    wire->peer = (int)end->peer;
    wire->peer_wire = (int)end->peer_wire;
    wire->tag = first_tag + end->tag;
    wire->address = rows->base != NULL ? rows->base + end->first_row * rows->stride_bytes : NULL;
    wire->bytes = is_user ? end->num_rows * rows->stride_bytes : tli_area_bytes(x, end->num_rows);
    wire->rows = x->steps.areas[end->area].rows;
    wire->stride_bytes = is_user ? rows->stride_bytes : 0;
}

/* The rows that this exchange reads of its caller, if peers had better read them where they lie. Cached exchanges do
 * not know where that will be. */
static tli_loan_t offer_loan(const tulle_exchange_t *x)
{
    const tulle_field_t *field = x->fields;
    int is_gather = x->direction == TULLE_GATHER;
    int64_t num_rows = is_gather ? x->plan->num_owned : tulle_plan_num_ghosts(x->plan);
    int64_t stride = is_gather ? field->owned_stride : field->ghost_stride;
    tli_loan_t loan = {NULL, 0};
    if (!x->is_cached && x->num_fields == 1 && num_rows > 0 && tli_field_row_bytes(field) >= LEAST_LENT_BYTES) {
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
    int64_t shared_bytes = total_bytes(x, TLI_AREA_SHARED);
    TLI_TRY(tli_arena_alloc_raw(&x->arena, total_bytes(x, TLI_AREA_PRIVATE), 1, &private_rows));
    for (ends->wires.transport = 0; ends->wires.transport < tli_num_transports; ends->wires.transport++)
        TLI_TRY(tli_transports[ends->wires.transport]->reserve(x->channels[ends->wires.transport], &ends->wires,
                                                               (size_t)shared_bytes, &shared_rows));
    if (shared_rows == NULL)
        TLI_TRY(tli_arena_alloc_raw(&x->arena, shared_bytes, 1, &shared_rows));
    place_staging(x, TLI_AREA_SHARED, shared_rows);
    place_staging(x, TLI_AREA_PRIVATE, private_rows);
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

static tulle_status_t bind_channels(tulle_exchange_t *x, ends_t *ends, int first_tag)
{
    tulle_status_t st = TULLE_OK;
    tli_wires_t *wires = &ends->wires;
    for (int64_t w = 0; w < x->steps.num_sends; w++)
        fill_wire(x, &x->steps.send_ends[w], first_tag, &ends->sends[w]);
    for (int64_t w = 0; w < x->steps.num_receives; w++)
        fill_wire(x, &x->steps.receive_ends[w], first_tag, &ends->receives[w]);
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

int tli_can_use_ghosts_in_place(const tulle_exchange_t *x)
{
    return !x->is_cached && x->num_fields == 1 && x->fields[0].ghost_stride == x->fields[0].width &&
           x->plan->ghost_order == TULLE_GHOST_ORDER_PLAN;
}

/* Messages of a gather whose sender owns their rows and lends them. */
static tulle_status_t list_lent(const tulle_exchange_t *x, tli_arena_t *scratch, const unsigned char **is_lent_out)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = x->plan;
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

/* All that a rank does for itself. */
static tulle_status_t prepare(tulle_exchange_t *x, tli_arena_t *scratch, ends_t *ends)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_options_t options = {.in_place = tli_can_use_ghosts_in_place(x),
                                   .lends = lends_itself(x),
                                   .names_runs = 1,
                                   .by_message = !has_halves(x),
                                   .transport = x->transport};
    if (x->direction == TULLE_GATHER)
        TLI_TRY(list_lent(x, scratch, &options.is_lent));
    TLI_TRY(tli_steps_build(x->plan, x->direction, &options, &x->arena, &x->steps));
    TLI_TRY(tli_check_staging(x));
    TLI_TRY(alloc_ends(x, scratch, ends));
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
    if (st == TULLE_OK)
        st = tli_agree(comm->mpi, bind_channels(x, &ends, tli_comm_take_tags(comm, (int)num_tags)));
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t read_options(const tulle_exchange_options_t *given, const tulle_plan_t *plan, tulle_exchange_t *x)
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
    x->op = options.op == 0 ? TULLE_OP_SUM : options.op;
    x->timeout_ms = options.timeout_ms > 0 ? options.timeout_ms : plan->comm->timeout_ms;
done:
    return st;
}

static tulle_status_t alloc_exchange(tulle_plan_t *plan, int is_cached, tulle_direction_t direction,
                                     const tulle_exchange_options_t *options, tulle_exchange_t **exchange_out)
{
    tulle_exchange_t *x = NULL;
    tulle_status_t st = tli_alloc(sizeof *x, &x);
    if (st == TULLE_OK) {
        x->plan = is_cached ? plan : tli_plan_retain(plan);
        x->is_cached = is_cached;
        x->direction = direction;
        st = read_options(options, plan, x);
        *exchange_out = x;
    }
    return st;
}

/* Alike on all ranks. */
static tulle_status_t check_transport(const tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    int is_device = tli_is_device_exchange(x->spaces), is_for_gpus = x->transport >= TULLE_TRANSPORT_CUDA_IPC;
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
static tulle_status_t create(tulle_plan_t *plan, int is_cached, tulle_direction_t direction,
                             const tulle_field_t *fields, int num_fields, const tulle_exchange_options_t *options,
                             tulle_exchange_t **exchange_out)
{
    tulle_exchange_t *x = NULL;
    tulle_status_t st = alloc_exchange(plan, is_cached, direction, options, &x);
    if (st == TULLE_OK && exchange_out == NULL)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "exchange_out is NULL");
    if (st == TULLE_OK)
        st = copy_fields(x, fields, num_fields);
    TLI_TRY(bind(x, plan, st));
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
    TLI_TRY(create((tulle_plan_t *)plan, 0, direction, fields, num_fields, options, exchange_out));
done:
    return st;
}

tulle_status_t tli_exchange_create_cached(tulle_plan_t *plan, tulle_direction_t direction, const tulle_field_t *field,
                                          tulle_op_t op, tulle_exchange_t **exchange_out)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    options.op = op;
    return create(plan, 1, direction, field, 1, &options, exchange_out);
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
        for (int t = 0; t < tli_num_transports; t++)
            tli_transports[t]->close(x->channels[t]);
        if (!x->is_cached)
            tulle_plan_destroy(&x->plan);
        tli_arena_release(&x->arena);
        tli_free(x);
    }
    if (exchange != NULL)
        *exchange = NULL;
}
