/* SPDX-License-Identifier: Apache-2.0
 * Binding an exchange whose rows are on GPUs. Collective throughout: every rank comes by every agreement. */
#include <sched.h>

#include "collectives/device.h"
#include "src/agree.h"
#include "src/device/device.h"
#include "src/options.h"
#include "src/transport/transport.h"

#define SLOT_ALIGNMENT 256

/* Peers store into the caller's ghost rows where these can be shared with other processes. */
static int can_store_in_place(const tulle_exchange_t *x)
{
    tulle_space_t space = TULLE_SPACE_HOST;
    tli_memory_handle_t handle;
    return tli_can_use_ghosts_in_place(x) && x->direction == TULLE_GATHER && tulle_plan_num_ghosts(x->plan) > 0 &&
           tli_device_space_of(x->fields[0].ghost, &space) == TULLE_OK && space == TULLE_SPACE_DEVICE &&
           tli_memory_export(x->fields[0].ghost, &handle) == TULLE_OK;
}

/* --- slots ------------------------------------------------------------------------------------------------------- */

static int64_t whole_slots(int64_t bytes)
{
    return (bytes + SLOT_ALIGNMENT - 1) / SLOT_ALIGNMENT * SLOT_ALIGNMENT;
}

/* Slots of arriving rows follow the flags of the region that they are in. */
static void place_slots(const tulle_exchange_t *x, int64_t bytes[TLI_NUM_REGIONS], int64_t *offset_of_area)
{
    for (int region = 0; region < TLI_NUM_REGIONS; region++)
        bytes[region] = whole_slots(bytes[region]);
    for (int64_t w = 0; w < x->steps.num_receives; w++) {
        const tli_end_t *end = &x->steps.receive_ends[w];
        tli_region_t region = tli_region_of(end);
        if (x->steps.areas[end->area].kind != TLI_AREA_SHARED || tli_is_carried(end))
            continue;
        offset_of_area[end->area] = bytes[region];
        bytes[region] += whole_slots(tli_area_bytes(x, end->area, end->num_rows));
    }
}

static void place_own_areas(tulle_exchange_t *x, const int64_t *offset_of_area)
{
    for (int64_t w = 0; w < x->steps.num_receives; w++) {
        const tli_end_t *end = &x->steps.receive_ends[w];
        unsigned char *base = tli_gpu_memory_address(&x->device->memory, x->plan->comm->rank, tli_region_of(end));
        if (x->steps.areas[end->area].kind == TLI_AREA_SHARED && !tli_is_carried(end))
            tli_area_place(x, end->area, base + offset_of_area[end->area], end->num_rows);
    }
}

static tulle_status_t list_partners(const tulle_exchange_t *x, tli_arena_t *scratch, unsigned char **is_partner_out)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_t *steps = &x->steps;
    unsigned char *is_partner = NULL;
    TLI_TRY(tli_arena_alloc(scratch, x->device->peers.num_ranks, 1, &is_partner));
    for (int64_t w = 0; w < steps->num_sends; w++)
        if (!tli_is_carried(&steps->send_ends[w]))
            is_partner[tli_gpu_peers_position(&x->device->peers, (int)steps->send_ends[w].peer)] = 1;
    for (int64_t w = 0; w < steps->num_receives; w++)
        if (!tli_is_carried(&steps->receive_ends[w]))
            is_partner[tli_gpu_peers_position(&x->device->peers, (int)steps->receive_ends[w].peer)] = 1;
    *is_partner_out = is_partner;
done:
    return st;
}

/* --- bind -------------------------------------------------------------------------------------------------------- */

static tulle_status_t lay_out_steps(tulle_exchange_t *x, int in_place)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_options_t options = {.in_place = in_place,
                                   .names_runs = 1,
                                   .transport = x->transport,
                                   .wire_precision = x->wire_precision,
                                   .wire_levels = x->wire_levels,
                                   .gpus = &x->device->peers};
    TLI_TRY(tli_steps_build(x->plan, x->direction, &options, &x->arena, &x->steps));
    TLI_TRY(tli_check_staging(x));
    TLI_TRY(tli_arena_alloc(&x->arena, x->num_fields * x->steps.num_areas, sizeof *x->areas, &x->areas));
    tli_areas_place_user(x);
done:
    return st;
}

static tulle_status_t open_memory(tulle_exchange_t *x, int in_place, tli_arena_t *scratch, int64_t **offset_of_area)
{
    tulle_status_t st = TULLE_OK;
    tli_gpu_memory_wish_t wish = {.rows = in_place ? x->fields[0].ghost : NULL};
    unsigned char *is_partner = NULL;
    tli_wiring_count_flags(x, &x->device->wiring, wish.zero_bytes);
    for (int region = 0; region < TLI_NUM_REGIONS; region++)
        wish.bytes[region] = wish.zero_bytes[region];
    st = tli_arena_alloc(scratch, x->steps.num_areas, sizeof **offset_of_area, offset_of_area);
    if (st == TULLE_OK)
        st = list_partners(x, scratch, &is_partner);
    if (st == TULLE_OK)
        place_slots(x, wish.bytes, *offset_of_area);
    wish.is_partner = is_partner;
    TLI_TRY(tli_gpu_memory_open(x->plan->comm, st, &x->device->peers, &wish, &x->device->memory));
    place_own_areas(x, *offset_of_area);
done:
    return st;
}

static tulle_status_t make_program(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    tli_device_exchange_t *d = x->device;
    TLI_TRY(tli_program_build(x, &d->wiring, &d->program));
    TLI_TRY(tli_stream_create(&d->stream));
    TLI_TRY(tli_event_create(&d->began));
    TLI_TRY(tli_event_create(&d->done));
    TLI_TRY(tli_event_create(&d->uploaded));
    TLI_TRY(tli_device_copy(d->program.device_image, d->program.image, (size_t)d->program.image_bytes, d->stream));
    TLI_TRY(tli_device_synchronize(d->stream));
done:
    return st;
}

static tulle_status_t bind_on_device(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    tli_device_exchange_t *d = x->device;
    MPI_Comm mpi = x->plan->comm->mpi;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t *offset_of_area = NULL, num_tags = 1;
    int in_place = can_store_in_place(x), is_staged = x->transport == TULLE_TRANSPORT_CUDA_STAGED;
    int keeps_apart = tli_carrier_of(x->transport) != NULL || tli_options_separates_nodes();
    TLI_TRY(tli_gpu_peers_find(x->plan->comm, TULLE_OK, d->device, is_staged, keeps_apart, &x->arena, &d->peers));
    st = lay_out_steps(x, in_place);
    TLI_TRY(tli_exchange_agree(x, mpi, st, &num_tags));
    x->first_tag = tli_comm_take_tags(x->plan->comm, (int)num_tags + 1); /* the last is the watch's */
    TLI_TRY(tli_wiring_find_stages(x, x->first_tag, &x->arena, &d->wiring));
    TLI_TRY(open_memory(x, in_place, &scratch, &offset_of_area));
    TLI_TRY(tli_wiring_connect(x, x->first_tag, offset_of_area, &d->wiring));
    TLI_TRY(tli_parcels_bind(x, x->first_tag, &d->wiring));
    st = make_program(x);
    if (st == TULLE_OK)
        st = tli_watch_prepare(x, x->first_tag + (int)num_tags);
done:
    tli_arena_release(&scratch);
    return tli_agree(mpi, st);
}

/* The environment decides where the program does not, and names a transport of GPUs. */
static tulle_status_t take_transport(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    tulle_transport_t named = TULLE_TRANSPORT_AUTO;
    if (tli_options_transport() != NULL)
        TLI_TRY(tulle_transport_parse(tli_options_transport(), &named));
    if (x->transport == TULLE_TRANSPORT_AUTO && tli_transport_is_for_gpus(named))
        x->transport = named;
done:
    return st;
}

static tulle_status_t find_device(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc(&x->arena, 1, sizeof *x->device, &x->device));
    x->device->memory.window = MPI_WIN_NULL; /* also where none is ever opened */
    TLI_TRY(tli_device_check_fields(x->plan, x->fields, x->num_fields, &x->device->device));
    TLI_TRY(take_transport(x));
done:
    return st;
}

tulle_status_t tli_device_bind(tulle_exchange_t *x, tulle_comm_t *comm, tulle_status_t local)
{
    tulle_status_t st = local;
    int previous = -1;
    if (st == TULLE_OK)
        st = find_device(x);
    if (st == TULLE_OK)
        st = tli_device_enter(x->device->device, &previous);
    st = tli_agree(comm->mpi, st);
    if (st == TULLE_OK)
        st = bind_on_device(x);
    if (previous >= 0)
        tli_device_leave(x->device->device, previous);
    return st;
}

void tli_device_unbind(tulle_exchange_t *x)
{
    tli_device_exchange_t *d = x->device;
    int previous = -1;
    if (d == NULL || tli_device_enter(d->device, &previous) != TULLE_OK)
        return;
    if (d->stream != NULL)
        tli_watch_finish(x); /* then nothing of this round comes in or goes out any more */
    tli_gpu_memory_close(&d->memory, d->watch.gave_up, x->timeout_ms);
    tli_parcels_unbind(d);
    tli_program_free(&d->program);
    tli_event_destroy(d->began);
    tli_event_destroy(d->done);
    tli_event_destroy(d->uploaded);
    tli_stream_destroy(d->stream);
    tli_device_leave(d->device, previous);
}

void tli_device_rebind(tulle_exchange_t *x)
{
    while (tli_event_test(x->device->uploaded) == TULLE_IN_PROGRESS)
        sched_yield();
    tli_program_bind(x, &x->device->program);
    x->device->must_upload = 1;
}
