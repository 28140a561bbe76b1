/* SPDX-License-Identifier: Apache-2.0
 * Messages of the plan that go to the same rank of another machine after the same stage are one parcel: their rows, one
 * message after the other, laid out alike at both ends. */
#include "collectives/device.h"
#include "src/agree.h"
#include "src/transport/carrier_choice.h"

#define MESSAGE_ALIGNMENT 256
#define LEAST_PART_BYTES  ((int64_t)256 << 10) /* a guess: to be worth a launch and a wait */

/* Where the rows of a wire are: in which parcel, and from which byte on. */
typedef struct slot {
    int parcel;
    int64_t offset;
} slot_t;

/* --- parcels of this rank: pure ----------------------------------------------------------------------------------- */

static int find_parcel(const tli_parcel_t *parcels, int n, int peer, int stage)
{
    int p = n - 1; /* wires of a peer follow each other, and so do its parcels */
    while (p >= 0 && parcels[p].peer == peer && parcels[p].stage != stage)
        p--;
    return p >= 0 && parcels[p].peer == peer ? p : -1;
}

static int add_parcel(tli_parcel_t *parcels, int n, int peer, int stage)
{
    int is_first = n == 0 || parcels[n - 1].peer != peer;
    parcels[n] = (tli_parcel_t){.peer = peer, .stage = stage, .tag = is_first ? 0 : parcels[n - 1].tag + 1};
    return n;
}

/* What arrives with stage s left after stage s - 1: delay is 1 at receiving ends. @return number of parcels */
static int fill_parcels(const tulle_exchange_t *x, const tli_end_t *ends, int64_t num_ends, const int64_t *stages,
                        int delay, tli_parcel_t *parcels, slot_t *slots)
{
    int n = 0;
    for (int64_t w = 0; w < num_ends; w++) {
        int stage = (int)stages[w] - delay;
        if (!tli_is_carried(&ends[w]))
            continue;
        int p = find_parcel(parcels, n, (int)ends[w].peer, stage);
        if (p < 0)
            p = add_parcel(parcels, n++, (int)ends[w].peer, stage);
        int64_t offset = (parcels[p].bytes + MESSAGE_ALIGNMENT - 1) / MESSAGE_ALIGNMENT * MESSAGE_ALIGNMENT;
        slots[w] = (slot_t){p, offset};
        parcels[p].bytes = offset + tli_area_bytes(x, ends[w].area, ends[w].num_rows);
    }
    return n;
}

static void place_areas(tulle_exchange_t *x, const tli_end_t *ends, int64_t num_ends, const tli_parcel_t *parcels,
                        const slot_t *slots)
{
    for (int64_t w = 0; w < num_ends; w++)
        if (tli_is_carried(&ends[w]))
            tli_area_place(x, ends[w].area, parcels[slots[w].parcel].address + slots[w].offset, ends[w].num_rows);
}

void tli_parcels_divide(tli_parcel_t *receives, int num_receives, int stage, int64_t least_bytes)
{
    int64_t left = 0;  /* [bytes] in no part yet */
    int64_t bytes = 0; /* in this part */
    int part = 0;
    for (int p = 0; p < num_receives; p++)
        left += receives[p].stage == stage ? receives[p].bytes : 0;
    if (least_bytes < (left + TLI_MOST_PARTS - 1) / TLI_MOST_PARTS)
        least_bytes = (left + TLI_MOST_PARTS - 1) / TLI_MOST_PARTS;
    for (int p = 0; p < num_receives; p++) {
        if (receives[p].stage != stage)
            continue;
        if (bytes >= least_bytes && left >= least_bytes) {
            part++;
            bytes = 0;
        }
        receives[p].part = part;
        bytes += receives[p].bytes;
        left -= receives[p].bytes;
    }
}

/* --- bind --------------------------------------------------------------------------------------------------------- */

static tulle_status_t make_parcels(tulle_exchange_t *x, const tli_wiring_t *wiring, tli_arena_t *scratch,
                                   slot_t **sent_out, slot_t **received_out)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_t *steps = &x->steps;
    tli_parcels_t *parcels = &x->device->parcels;
    TLI_TRY(tli_arena_alloc(&x->arena, steps->num_sends, sizeof *parcels->sends, &parcels->sends));
    TLI_TRY(tli_arena_alloc(&x->arena, steps->num_receives, sizeof *parcels->receives, &parcels->receives));
    TLI_TRY(tli_arena_alloc(&x->arena, steps->num_receives, sizeof(int), &x->device->part_of_receive));
    TLI_TRY(tli_arena_alloc(scratch, steps->num_sends, sizeof **sent_out, sent_out));
    TLI_TRY(tli_arena_alloc(scratch, steps->num_receives, sizeof **received_out, received_out));
    parcels->num_stages = (int)wiring->num_stages;
    parcels->num_sends =
        fill_parcels(x, steps->send_ends, steps->num_sends, wiring->departure, 0, parcels->sends, *sent_out);
    parcels->num_receives =
        fill_parcels(x, steps->receive_ends, steps->num_receives, wiring->arrival, 1, parcels->receives, *received_out);
done:
    return st;
}

static void divide_stages(tulle_exchange_t *x, const tli_carrier_t *carrier, const slot_t *received)
{
    tli_device_exchange_t *d = x->device;
    int64_t least_bytes = carrier->arrives_together ? INT64_MAX : LEAST_PART_BYTES;
    for (int stage = 0; stage < d->parcels.num_stages; stage++)
        tli_parcels_divide(d->parcels.receives, d->parcels.num_receives, stage, least_bytes);
    for (int64_t w = 0; w < x->steps.num_receives; w++)
        if (tli_is_carried(&x->steps.receive_ends[w]))
            d->part_of_receive[w] = d->parcels.receives[received[w].parcel].part;
}

/* Bytes of the busiest rank, in the busier direction. */
static tulle_status_t count_bytes(const tulle_exchange_t *x, int64_t *most_out)
{
    tulle_status_t st = TULLE_OK;
    const tli_parcels_t *parcels = &x->device->parcels;
    int64_t sent = 0, received = 0;
    for (int p = 0; p < parcels->num_sends; p++)
        sent += parcels->sends[p].bytes;
    for (int p = 0; p < parcels->num_receives; p++)
        received += parcels->receives[p].bytes;
    *most_out = sent > received ? sent : received;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, most_out, 1, MPI_INT64_T, MPI_MAX, x->plan->comm->mpi));
done:
    return st;
}

static tulle_status_t check_carrier(const tli_carrier_t *carrier)
{
    if (carrier->is_there())
        return TULLE_OK;
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE,
                    "transport %s is not there: this build, or what it runs on, "
                    "lacks it",
                    tulle_transport_name(carrier->id));
}

/* The one asked for, or the fastest for what this exchange moves. All ranks find the same. */
static tulle_status_t choose_carrier(const tulle_exchange_t *x, const tli_carrier_t **carrier_out)
{
    tulle_status_t st = TULLE_OK;
    const tli_carrier_figures_t *figures = NULL;
    int fastest = -1;
    *carrier_out = tli_carrier_of(x->transport);
    if (*carrier_out == NULL) {
        TLI_TRY(count_bytes(x, &x->device->most_bytes));
        TLI_TRY(tli_carrier_measure(x->plan->comm, &figures));
        fastest = tli_carrier_fastest(figures, tli_num_carriers, x->device->most_bytes);
        TLI_REQUIRE(fastest >= 0, TULLE_ERR_TRANSPORT, "no transport moves rows of GPUs between nodes: %s",
                    figures->of[tli_num_carriers - 1].why_not);
        *carrier_out = tli_carriers[fastest];
    } else {
        TLI_TRY(tli_agree(x->plan->comm->mpi, check_carrier(*carrier_out)));
    }
done:
    return st;
}

/* A carrier is opened by all ranks or by none. */
tulle_status_t tli_parcels_bind(tulle_exchange_t *x, int first_tag, const tli_wiring_t *wiring)
{
    tulle_status_t st = TULLE_OK;
    tli_device_exchange_t *d = x->device;
    tli_arena_t scratch = TLI_ARENA_INIT;
    slot_t *sent = NULL, *received = NULL;
    const tli_carrier_t *carrier = NULL;
    int has_parcels = 0;
    TLI_TRY(tli_agree(x->plan->comm->mpi, make_parcels(x, wiring, &scratch, &sent, &received)));
    has_parcels = d->parcels.num_sends + d->parcels.num_receives > 0;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &has_parcels, 1, MPI_INT, MPI_MAX, x->plan->comm->mpi));
    if (!has_parcels)
        goto done;
    TLI_TRY(choose_carrier(x, &carrier));
    divide_stages(x, carrier, received);
    TLI_TRY(carrier->bind(x->plan->comm, TULLE_OK, first_tag, &d->parcels, &d->channel));
    d->carrier = carrier;
    place_areas(x, x->steps.send_ends, x->steps.num_sends, d->parcels.sends, sent);
    place_areas(x, x->steps.receive_ends, x->steps.num_receives, d->parcels.receives, received);
done:
    tli_arena_release(&scratch);
    return st;
}

void tli_parcels_unbind(tli_device_exchange_t *device)
{
    if (device->carrier != NULL)
        device->carrier->unbind(device->channel);
    device->carrier = NULL;
}
