/* SPDX-License-Identifier: Apache-2.0
 * Running an exchange on GPUs: start puts the whole program on a stream of ours, behind what is on the caller's; wait
 * puts the caller's stream behind the program. The host waits for nothing, and both can be captured into a graph. */
#include "collectives/device.h"
#include "src/device/device.h"
#include "src/fault.h"

static tulle_status_t launch(const tli_launch_t *launch, void *stream)
{
    if (launch->is_wire)
        return tli_wire_rows_launch(&launch->wire, stream);
    return launch->is_reduction ? tli_reduce_rows_launch(&launch->reduction, launch->areas_alignment, stream)
                                : tli_push_rows_launch(&launch->push, stream);
}

static tulle_status_t run_stage(const tli_program_t *program, const tli_stage_t *stage, void *stream)
{
    tulle_status_t st = TULLE_OK;
    tli_range_push("tulle stage");
    if (stage->num_flags > 0)
        TLI_TRY(tli_stream_flags(stream, program->flags + stage->first_flag, stage->num_flags));
    for (int64_t i = 0; i < stage->num_launches; i++)
        TLI_TRY(launch(&program->launches[stage->first_launch + i], stream));
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
    for (int64_t s = 0; s <= d->program.num_stages; s++)
        TLI_TRY(run_stage(&d->program, &d->program.stages[s], d->stream));
    TLI_TRY(tli_event_record(d->done, d->stream));
done:
    return st;
}

tulle_status_t tli_device_start(tulle_exchange_t *x, void *stream)
{
    tulle_status_t st = TULLE_OK;
    int previous = -1;
    tli_range_push(x->direction == TULLE_GATHER ? "tulle gather start" : "tulle scatter start");
    TLI_TRY(tli_device_enter(x->device->device, &previous));
    st = tli_watch_begin(x, stream);
    if (st == TULLE_OK) {
        x->device->stream_used = stream;
        x->phase = TLI_PHASE_RUNNING;
        st = run_program(x, stream);
    }
    tli_device_leave(x->device->device, previous);
done:
    tli_range_pop();
    return st;
}

tulle_status_t tli_device_wait(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    tli_range_push(x->direction == TULLE_GATHER ? "tulle gather wait" : "tulle scatter wait");
    st = tli_event_order(x->device->done, x->device->stream_used);
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
    TLI_TRY(tli_watch_look(x));
    st = tli_event_test(x->device->done);
done:
    return st;
}
