/* SPDX-License-Identifier: Apache-2.0
 * Running an exchange on GPUs: start puts the whole program on a stream of ours, behind what is on the caller's; wait
 * puts the caller's stream behind the program. The host waits for nothing, and both can be captured into a graph,
 * unless parcels are the host's to move: then wait does that. */
#include "collectives/device.h"
#include "src/agree.h"
#include "src/device/device.h"

static tulle_status_t launch(const tli_launch_t *launch, void *stream)
{
    if (launch->is_wire)
        return tli_wire_rows_launch(&launch->wire, stream);
    return launch->is_reduction ? tli_reduce_rows_launch(&launch->reduction, launch->areas_alignment, stream)
                                : tli_push_rows_launch(&launch->push, stream);
}

static tulle_status_t run_batch(const tli_device_exchange_t *d, const tli_batch_t *batch)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t i = 0; i < batch->num_launches; i++)
        TLI_TRY(launch(&d->program.launches[batch->first_launch + i], d->stream));
done:
    return st;
}

static tulle_status_t run_flags(const tli_device_exchange_t *d, int64_t first, int64_t n)
{
    return n > 0 ? tli_stream_flags(d->stream, d->program.flags + first, n) : TULLE_OK;
}

/* Its parcels, what needs them, and before that the words of the batch before, which nothing may hold up. */
static tulle_status_t run_part(const tli_device_exchange_t *d, int64_t index, int part)
{
    tulle_status_t st = TULLE_OK;
    const tli_batch_t *batch = &d->program.stages[index].batches[part];
    TLI_TRY(run_flags(d, batch->first_tell, batch->num_tells));
    TLI_TRY(d->carrier->arrive(d->channel, (int)index - 1, part, d->stream));
    TLI_TRY(run_batch(d, &batch[1]));
done:
    return st;
}

/* Parcels of a stage go out before anything of the next is waited for. */
static tulle_status_t run_stage(const tli_device_exchange_t *d, int64_t index)
{
    tulle_status_t st = TULLE_OK;
    const tli_stage_t *stage = &d->program.stages[index];
    int has_parcels = d->carrier != NULL && index > 0;
    int64_t num_tells = has_parcels ? stage->num_tells : 0;
    tli_range_push("tulle stage");
    TLI_TRY(run_flags(d, stage->first_flag, num_tells));
    if (has_parcels)
        TLI_TRY(d->carrier->depart(d->channel, (int)index - 1, d->stream));
    TLI_TRY(run_flags(d, stage->first_flag + num_tells, stage->num_flags - num_tells));
    TLI_TRY(run_batch(d, &stage->batches[0]));
    for (int part = 0; part < stage->num_parts; part++)
        TLI_TRY(run_part(d, index, part));
done:
    tli_range_pop();
    return st;
}

/* The front of the image, after the buffers changed. It must not change again before it was read. */
static tulle_status_t upload(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    tli_device_exchange_t *d = x->device;
    TLI_TRY(tli_device_copy(d->program.device_image, d->program.image, (size_t)d->program.bound_bytes, d->stream));
    TLI_TRY(tli_event_record(d->uploaded, d->stream));
    d->must_upload = 0;
done:
    return st;
}

static tulle_status_t run_program(tulle_exchange_t *x, void *stream)
{
    tulle_status_t st = TULLE_OK;
    tli_device_exchange_t *d = x->device;
    TLI_TRY(tli_event_record(d->began, stream));
    TLI_TRY(tli_event_order(d->began, d->stream));
    if (d->must_upload)
        TLI_TRY(upload(x));
    if (d->carrier != NULL)
        TLI_TRY(d->carrier->begin(d->channel, d->stream));
    for (int64_t s = 0; s <= d->program.num_stages; s++)
        TLI_TRY(run_stage(d, s));
    if (d->carrier != NULL)
        TLI_TRY(d->carrier->end(d->channel, d->stream));
    TLI_TRY(tli_event_record(d->done, d->stream));
done:
    return st;
}

/* Before anything is done, so that the exchange stays as it was. */
static tulle_status_t check_capture(const tulle_exchange_t *x, void *stream)
{
    tulle_status_t st = TULLE_OK;
    int is_capturing = 0;
    if (tli_device_is_host_driven(x))
        TLI_TRY(tli_stream_is_capturing(stream, &is_capturing));
    TLI_REQUIRE(!is_capturing, TULLE_ERR_UNSUPPORTED,
                "transport %s moves messages between nodes on the host, which a graph does not do: start it outside of "
                "the capture, or use nccl",
                tulle_transport_name(x->device->carrier->id));
done:
    return st;
}

tulle_status_t tli_device_start(tulle_exchange_t *x, void *stream)
{
    tulle_status_t st = TULLE_OK;
    int previous = -1;
    tli_range_push(x->direction == TULLE_GATHER ? "tulle gather start" : "tulle scatter start");
    TLI_TRY(check_capture(x, stream));
    TLI_TRY(tli_device_enter(x->device->device, &previous));
    st = tli_watch_begin(x, stream);
    if (st == TULLE_OK) {
        x->device->stream_used = stream;
        x->device->is_through = !tli_device_is_host_driven(x);
        x->phase = TLI_PHASE_RUNNING;
        st = run_program(x, stream);
    }
    tli_device_leave(x->device->device, previous);
done:
    tli_range_pop();
    return st;
}

/* What went wrong with a carrier that needs no host is seen when the host comes by. */
static tulle_status_t check_carrier(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    int num_moved = 0;
    if (x->device->carrier != NULL && !x->device->carrier->is_host_driven)
        st = x->device->carrier->advance(x->device->channel, &num_moved);
    if (st < 0)
        tli_watch_give_up(x);
    return st < 0 ? st : TULLE_OK;
}

tulle_status_t tli_device_wait(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    tli_range_push(x->direction == TULLE_GATHER ? "tulle gather wait" : "tulle scatter wait");
    TLI_TRY(check_carrier(x));
    st = tli_event_order(x->device->done, x->device->stream_used);
done:
    tli_range_pop();
    return st;
}

tulle_status_t tli_device_test(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    int is_capturing = 0;
    TLI_TRY(tli_stream_is_capturing(x->device->stream_used, &is_capturing));
    TLI_REQUIRE(!is_capturing, TULLE_ERR_UNSUPPORTED,
                "test on a stream that is captured into a graph: nothing runs yet; call tulle_exchange_wait()");
    TLI_TRY(check_carrier(x));
    st = tli_device_ask(x);
done:
    return st;
}

/* --- parcels that the host moves ---------------------------------------------------------------------------------- */

int tli_device_is_host_driven(const tulle_exchange_t *x)
{
    return x->device->carrier != NULL && x->device->carrier->is_host_driven;
}

tulle_status_t tli_device_advance(tulle_exchange_t *x, int *num_moved_out)
{
    tulle_status_t st = TULLE_OK;
    tli_device_exchange_t *d = x->device;
    *num_moved_out = 0;
    if (!d->is_through)
        st = d->carrier->advance(d->channel, num_moved_out);
    d->is_through = d->is_through || st == TULLE_OK;
    if (st >= 0 && *num_moved_out == 0)
        TLI_TRY(tli_comm_let_move(x->plan->comm));
done:
    if (st < 0)
        tli_watch_give_up(x);
    return st == TULLE_OK ? TULLE_IN_PROGRESS : st;
}

tulle_status_t tli_device_ask(tulle_exchange_t *x)
{
    tulle_status_t st = tli_watch_look(x);
    if (st >= 0)
        st = x->device->is_through ? tli_event_test(x->device->done) : TULLE_IN_PROGRESS;
    return st;
}
