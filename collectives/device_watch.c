/* SPDX-License-Identifier: Apache-2.0
 * The time limit of exchanges on GPUs. Streams wait for flags, and no stream has a clock; so the host looks, whenever
 * it comes by: in test, at the next start, when the exchange is destroyed. When the time is over it sets the flags that
 * never came, so that the streams run out, and tells the partners, who would find wrong rows. Nothing of the exchange
 * is taken down then: who is late may still store into its memory. */
#include <sched.h>
#include <time.h>

#include "collectives/device.h"
#include "src/device/device.h"
#include "src/fault.h"

/* Setting flags lets a stream go on to the next ones that never come: at most so often, with a pause. */
#define MOST_RELEASES 2000
#define PROBES        4

static int is_watched(const tulle_exchange_t *x)
{
    return x->timeout_ms > 0 && x->device->watch.is_on;
}

/* The time runs from when the caller's stream got to the exchange. */
static int is_overdue(tulle_exchange_t *x)
{
    tli_watch_t *watch = &x->device->watch;
    if (watch->since == 0 && tli_event_test(x->device->began) == TULLE_OK)
        watch->since = MPI_Wtime();
    return watch->since > 0 && (MPI_Wtime() - watch->since) * 1e3 > (double)x->timeout_ms;
}

/* --- flags ------------------------------------------------------------------------------------------------------- */

/* Flags that this rank waits for, read on a stream that nothing else is on. */
static tulle_status_t read_flags(const tli_program_t *program, uint32_t *values, void *stream)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t i = 0; i < program->num_flags; i++)
        if (program->flags[i].is_wait)
            TLI_TRY(tli_device_copy(&values[i], program->flags[i].flag, sizeof *values, stream));
    TLI_TRY(tli_device_synchronize(stream));
done:
    return st;
}

/* Set those that are not, or take back those that are. */
static tulle_status_t move_flags(const tli_program_t *program, uint32_t from, const uint32_t *values, void *stream)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t i = 0; i < program->num_flags; i++) {
        const tli_flag_step_t step = {program->flags[i].flag, from == 1, 0};
        if (program->flags[i].is_wait && values[i] == from)
            TLI_TRY(tli_stream_flags(stream, &step, 1));
    }
    TLI_TRY(tli_device_synchronize(stream));
done:
    return st;
}

/* Peer whose flag it is, which this rank waits for. */
static int peer_of_flag(const tulle_exchange_t *x, const uint32_t *flag)
{
    const tli_wiring_t *wiring = &x->device->wiring;
    for (int64_t w = 0; w < x->steps.num_receives; w++)
        if (wiring->arrived[w] == flag)
            return (int)x->steps.receive_ends[w].peer;
    for (int64_t w = 0; w < x->steps.num_sends; w++)
        if (wiring->ready[w] == flag)
            return (int)x->steps.send_ends[w].peer;
    return -1;
}

/* A flag that is not set has not come yet, or came and was taken back. Of those that this rank waits for one after the
 * other the last one not set has not come, however far the stream is. */
static int find_missing(const tulle_exchange_t *x, const uint32_t *values)
{
    const tli_program_t *program = &x->device->program;
    for (int64_t i = program->num_flags - 1; i >= 0; i--)
        if (program->flags[i].is_wait && values[i] == 0)
            return peer_of_flag(x, program->flags[i].flag);
    return -1;
}

/* What the host moves is known to be missing. NCCL tells nothing: it is blamed where no flag is missing. */
static tulle_status_t describe(const tulle_exchange_t *x, const uint32_t *values)
{
    const tulle_comm_t *comm = x->plan->comm;
    const tli_carrier_t *carrier = x->device->carrier;
    int peer = find_missing(x, values), awaited = carrier != NULL ? carrier->awaits(x->device->channel) : -1;
    if (awaited >= 0 && (carrier->is_host_driven || peer < 0))
        return tli_fail(TULLE_ERR_TIMEOUT, 0, TLI_WHERE, "rank %d waited %lld ms for rank %d (level %s, transport %s)",
                        comm->rank, (long long)x->timeout_ms, awaited, tli_comm_level_name(comm, awaited),
                        tulle_transport_name(carrier->id));
    if (peer < 0)
        return tli_fail(TULLE_ERR_TIMEOUT, 0, TLI_WHERE, "rank %d waited %lld ms for its GPU", comm->rank,
                        (long long)x->timeout_ms);
    return tli_fail(TULLE_ERR_TIMEOUT, 0, TLI_WHERE, "rank %d waited %lld ms for rank %d (level %s) on its GPU",
                    comm->rank, (long long)x->timeout_ms, peer, tli_comm_level_name(comm, peer));
}

/* --- giving up --------------------------------------------------------------------------------------------------- */

/* Set what never comes until the program has run to its end. */
static tulle_status_t run_out(const tli_device_exchange_t *d, uint32_t *values, void *stream)
{
    tulle_status_t st = TULLE_OK;
    const struct timespec pause = {0, 1000000};
    for (int i = 0; i < MOST_RELEASES && tli_event_test(d->done) == TULLE_IN_PROGRESS; i++) {
        TLI_TRY(read_flags(&d->program, values, stream));
        TLI_TRY(move_flags(&d->program, 0, values, stream));
        nanosleep(&pause, NULL);
    }
    TLI_TRY(read_flags(&d->program, values, stream));
    TLI_TRY(move_flags(&d->program, 1, values, stream));
done:
    return st;
}

static void tell_partners(const tulle_exchange_t *x)
{
    const tli_steps_t *steps = &x->steps;
    MPI_Request request = MPI_REQUEST_NULL;
    for (int64_t w = 0; w < steps->num_sends + steps->num_receives; w++) {
        const tli_end_t *end = w < steps->num_sends ? &steps->send_ends[w] : &steps->receive_ends[w - steps->num_sends];
        if (MPI_Isend(NULL, 0, MPI_BYTE, (int)end->peer, x->device->watch.tag, x->plan->comm->mpi, &request) ==
            MPI_SUCCESS)
            MPI_Request_free(&request);
    }
}

/* What was found out stays the last error, whatever goes wrong now. */
static void give_up(tulle_exchange_t *x, uint32_t *values, void *stream)
{
    const tulle_error_t reason = *tulle_last_error();
    x->device->watch.gave_up = 1;
    x->plan->comm->num_faults++;
    tell_partners(x);
    if (x->device->carrier != NULL)
        x->device->carrier->give_up(x->device->channel);
    (void)run_out(x->device, values, stream);
    tli_fault_set(&reason);
}

static tulle_status_t time_out(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    uint32_t *values = x->device->watch.values;
    void *stream = NULL;
    TLI_TRY(tli_stream_create(&stream));
    TLI_TRY(read_flags(&x->device->program, values, stream));
    st = describe(x, values);
    give_up(x, values, stream);
done:
    tli_stream_destroy(stream);
    return st;
}

/* MPI takes in what has come while it is asked: the first answer may be out of date. */
static int find_word(const tulle_exchange_t *x, int *rank_out)
{
    MPI_Status found;
    int has_word = 0;
    for (int i = 0; i < PROBES && !has_word; i++)
        if (MPI_Iprobe(MPI_ANY_SOURCE, x->device->watch.tag, x->plan->comm->mpi, &has_word, &found) != MPI_SUCCESS)
            return 0;
    *rank_out = has_word ? found.MPI_SOURCE : -1;
    return has_word;
}

/* A partner that gave up has left rows behind that are none. */
static tulle_status_t hear_partners(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    void *stream = NULL;
    int rank = -1;
    if (!find_word(x, &rank))
        return TULLE_OK;
    TLI_TRY(tli_stream_create(&stream));
    st = tli_fail(TULLE_ERR_REMOTE, 0, TLI_WHERE, "rank %d (level %s) has given up this exchange on its GPU", rank,
                  tli_comm_level_name(x->plan->comm, rank));
    give_up(x, x->device->watch.values, stream);
done:
    tli_stream_destroy(stream);
    return st;
}

/* --- when the host comes by -------------------------------------------------------------------------------------- */

tulle_status_t tli_watch_prepare(tulle_exchange_t *x, int tag)
{
    tli_watch_t *watch = &x->device->watch;
    watch->tag = tag;
    return tli_arena_alloc(&x->arena, x->device->program.num_flags, sizeof *watch->values, &watch->values);
}

tulle_status_t tli_watch_begin(tulle_exchange_t *x, void *stream)
{
    tulle_status_t st = TULLE_OK;
    int is_capturing = 0;
    if (x->timeout_ms == 0)
        return TULLE_OK;
    TLI_TRY(tli_stream_is_capturing(stream, &is_capturing));
    TLI_TRY(tli_watch_look(x));
    x->device->watch.is_on = !is_capturing;
    x->device->watch.since = 0;
done:
    return st == TULLE_IN_PROGRESS ? TULLE_OK : st;
}

/* The stream, or what is the host's to move: a peer may be late to take what it was sent. */
static int is_under_way(const tulle_exchange_t *x)
{
    return !x->device->is_through || tli_event_test(x->device->done) == TULLE_IN_PROGRESS;
}

tulle_status_t tli_watch_look(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    if (x->timeout_ms > 0)
        TLI_TRY(hear_partners(x));
    if (is_watched(x) && is_under_way(x))
        st = is_overdue(x) ? time_out(x) : TULLE_IN_PROGRESS;
done:
    return st;
}

void tli_watch_give_up(tulle_exchange_t *x)
{
    void *stream = NULL;
    if (!x->device->watch.gave_up && tli_stream_create(&stream) == TULLE_OK)
        give_up(x, x->device->watch.values, stream);
    tli_stream_destroy(stream);
}

/* What was started and never waited for: its parcels are still the host's to move. */
static tulle_status_t move_parcels(tulle_exchange_t *x)
{
    int num_moved = 0;
    tulle_status_t st = tli_device_advance(x, &num_moved);
    return st == TULLE_IN_PROGRESS ? tli_device_ask(x) : st;
}

void tli_watch_finish(tulle_exchange_t *x)
{
    tulle_status_t st = x->device->watch.gave_up ? TULLE_ERR_TIMEOUT : TULLE_IN_PROGRESS;
    while (x->phase == TLI_PHASE_RUNNING && tli_device_is_host_driven(x) && st == TULLE_IN_PROGRESS) {
        st = move_parcels(x);
        sched_yield();
    }
    while (is_watched(x) && st == TULLE_IN_PROGRESS) {
        st = tli_watch_look(x);
        sched_yield();
    }
    tli_device_synchronize(x->device->stream);
}
