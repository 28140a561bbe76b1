/* SPDX-License-Identifier: Apache-2.0
 * Running an exchange: arrivals run the tasks that waited for them alone. Nothing here allocates, locks or logs.
 *
 * Others may wait for rows that this rank passes on in an exchange that it is not waiting for itself. So test and wait
 * advance every exchange in flight, and ranks may wait for several in different orders. */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "collectives/device.h"
#include "src/fault.h"
#include "topology/model.h"

/* Polls without an arrival before the processor is offered to others; and between looks at the clock. */
#define POLLS_BEFORE_YIELD 16
#define POLLS_BEFORE_CLOCK 256

static void run_copy(const tulle_exchange_t *x, const tli_operation_t *operation, const tulle_field_t *f,
                     const tli_rows_t *areas)
{
    tli_copy_args_t copy = {tli_rows_from(&areas[operation->target], operation->target_first),
                            tli_rows_from(&areas[operation->source], operation->source_first),
                            operation->target_index,
                            operation->source_index,
                            operation->num_rows,
                            f->width * (int64_t)tulle_datatype_size(f->datatype)};
    if (operation->combines)
        tli_combine_rows(&copy, f->datatype, x->op, f->width);
    else
        tli_copy_rows(&copy);
}

static void run_operation(const tulle_exchange_t *x, const tli_operation_t *operation, int field)
{
    const tli_rows_t *areas = x->areas + field * x->steps.num_areas;
    const tulle_field_t *f = &x->fields[field];
    tli_reduce_args_t reduce = {areas[operation->target],
                                operation->target_index,
                                operation->num_rows,
                                operation->keeps_target,
                                operation->entry_ptr,
                                operation->entry_area,
                                operation->entry_row,
                                areas,
                                f->datatype,
                                x->op,
                                f->width};
    if (x->area_precision != NULL)
        tli_wire_precision_run(x, operation, field);
    else if (operation->entry_ptr == NULL)
        run_copy(x, operation, f, areas);
    else
        tli_reduce_rows(&reduce);
}

static tulle_status_t run_task(tulle_exchange_t *x, int64_t index)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_t *steps = &x->steps;
    const tli_task_t *task = &steps->tasks[index];
    for (int64_t i = 0; i < task->num_operations; i++)
        for (int field = 0; field < x->num_fields; field++)
            run_operation(x, &steps->operations[task->first_operation + i], field);
    for (int64_t i = 0; i < task->num_sends; i++) {
        int64_t wire = steps->sends[task->first_send + i];
        int transport = steps->send_ends[wire].transport;
        TLI_TRY(tli_transports[transport]->send(x->channels[transport], (int)wire));
    }
    for (int64_t i = 0; i < task->num_releases; i++) {
        int64_t wire = steps->releases[task->first_release + i];
        int transport = steps->receive_ends[wire].transport;
        tli_transports[transport]->release(x->channels[transport], (int)wire);
    }
    x->num_unfinished--;
done:
    return st;
}

/* Opens the round once nobody reads the last one's staging areas any more. */
static tulle_status_t try_begin(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    for (int t = 0; t < tli_num_transports; t++)
        TLI_TRY(tli_transports[t]->ready(x->channels[t]));
    for (int t = 0; t < tli_num_transports; t++)
        TLI_TRY(tli_transports[t]->begin(x->channels[t]));
    x->phase = TLI_PHASE_RUNNING;
    for (int64_t task = 0; task < x->steps.num_tasks; task++)
        if (x->steps.tasks[task].num_inputs == 0)
            TLI_TRY(run_task(x, task));
done:
    return st;
}

static void handle_arrival(tulle_exchange_t *x, int wire)
{
    const tli_steps_t *steps = &x->steps;
    x->num_unarrived--;
    x->has_arrived[wire] = 1;
    for (int64_t i = steps->waiter_ptr[wire]; i < steps->waiter_ptr[wire + 1]; i++)
        if (--x->missing[steps->waiters[i]] == 0)
            tli_ready_add(&x->ready, steps->waiters[i]);
}

/* In the order of the steps, whichever message of this poll came first: those of a node are there all at once. */
static tulle_status_t run_ready(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    while (x->ready.num > 0)
        TLI_TRY(run_task(x, tli_ready_take(&x->ready)));
done:
    return st;
}

static tulle_status_t poll_transports(tulle_exchange_t *x, int *num_arrived_out)
{
    tulle_status_t st = TULLE_OK;
    *num_arrived_out = 0;
    for (int t = 0; t < tli_num_transports; t++) {
        int num_arrived = 0;
        TLI_TRY(tli_transports[t]->poll(x->channels[t], x->arrived, &num_arrived));
        for (int i = 0; i < num_arrived; i++)
            handle_arrival(x, x->arrived[i]);
        *num_arrived_out += num_arrived;
    }
    TLI_TRY(run_ready(x));
done:
    return st;
}

static tulle_status_t drain(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    for (int t = 0; t < tli_num_transports && st == TULLE_OK; t++)
        st = tli_transports[t]->drain(x->channels[t]);
    return st;
}

static void fail(tulle_exchange_t *x)
{
    x->phase = TLI_PHASE_FAILED;
    x->plan->comm->num_faults++;
    x->failure = *tulle_last_error();
}

static tulle_status_t advance_one(tulle_exchange_t *x, int *num_arrived_out)
{
    tulle_status_t st = TULLE_OK;
    *num_arrived_out = 0;
    if (x->phase == TLI_PHASE_PENDING)
        TLI_TRY(try_begin(x));
    TLI_TRY(poll_transports(x, num_arrived_out));
    st = x->num_unarrived > 0 || x->num_unfinished > 0 ? TULLE_IN_PROGRESS : drain(x);
done:
    return st;
}

/* One pass over all that is outstanding on the communicator. Returns the number of arrivals. */
static int advance_all(const tulle_exchange_t *x)
{
    int num_arrived = 0;
    for (tulle_exchange_t *y = x->plan->comm->in_flight; y != NULL; y = y->after) {
        int arrived_here = 0;
        tulle_status_t st = TULLE_IN_PROGRESS;
        if (y->phase == TLI_PHASE_PENDING || y->phase == TLI_PHASE_RUNNING)
            st = y->device != NULL ? tli_device_advance(y, &arrived_here) : advance_one(y, &arrived_here);
        num_arrived += arrived_here;
        if (st == TULLE_OK)
            y->phase = TLI_PHASE_COMPLETE;
        else if (st < 0)
            fail(y);
    }
    return num_arrived;
}

static void take_off(tulle_exchange_t *x)
{
    tulle_comm_t *comm = x->plan->comm;
    x->before = NULL;
    x->after = comm->in_flight;
    if (x->after != NULL)
        x->after->before = x;
    comm->in_flight = x;
}

void tli_exchange_land(tulle_exchange_t *x)
{
    tulle_comm_t *comm = x->plan->comm;
    if (comm->in_flight == x)
        comm->in_flight = x->after;
    if (x->before != NULL)
        x->before->after = x->after;
    if (x->after != NULL)
        x->after->before = x->before;
    x->before = x->after = NULL;
}

static tulle_status_t check_started(const tulle_exchange_t *x, const char *call)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(x != NULL, TULLE_ERR_ARG, "the exchange is NULL: was it created, or already destroyed?");
    TLI_REQUIRE(x->phase != TLI_PHASE_IDLE, TULLE_ERR_STATE, "%s without start: call tulle_exchange_start() first",
                call);
done:
    return st;
}

/* What test and wait return, and what becomes of the exchange. */
static tulle_status_t conclude(tulle_exchange_t *x)
{
    if (x->phase == TLI_PHASE_PENDING || x->phase == TLI_PHASE_RUNNING)
        return TULLE_IN_PROGRESS;
    tli_exchange_land(x);
    if (x->phase == TLI_PHASE_FAILED) {
        tli_fault_set(&x->failure);
        return x->failure.status;
    }
    x->phase = TLI_PHASE_IDLE;
    return TULLE_OK;
}

static tulle_status_t start_on_host(tulle_exchange_t *x)
{
    for (int64_t task = 0; task < x->steps.num_tasks; task++)
        x->missing[task] = x->steps.tasks[task].num_inputs;
    if (x->steps.num_receives > 0)
        memset(x->has_arrived, 0, (size_t)x->steps.num_receives);
    x->num_unfinished = x->steps.num_tasks;
    x->num_unarrived = x->steps.num_receives;
    x->phase = TLI_PHASE_PENDING;
    take_off(x);
    tulle_status_t st = try_begin(x);
    return st == TULLE_IN_PROGRESS ? TULLE_OK : st;
}

static tulle_status_t start_on_device(tulle_exchange_t *x, void *stream)
{
    tulle_status_t st = tli_device_start(x, stream);
    if (st == TULLE_OK && tli_device_is_host_driven(x))
        take_off(x);
    return st;
}

tulle_status_t tulle_exchange_start(tulle_exchange_t *x, void *stream)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(x != NULL, TULLE_ERR_ARG, "the exchange is NULL: was it created, or already destroyed?");
    TLI_REQUIRE(x->phase != TLI_PHASE_FAILED, x->failure.status,
                "start on an exchange that failed, it can only be destroyed: %.150s", x->failure.text);
    TLI_REQUIRE(x->phase == TLI_PHASE_IDLE, TULLE_ERR_STATE, "started twice: call tulle_exchange_wait() in between");
    TLI_REQUIRE(stream == NULL || x->device != NULL || x->spaces == 0, TULLE_ERR_UNSUPPORTED,
                "a stream was given, but the rows are in host memory");
    tli_comm_note_round(x->plan->comm, x->first_tag);
    st = x->device != NULL ? start_on_device(x, stream) : start_on_host(x);
    if (st < 0 && x->phase != TLI_PHASE_IDLE)
        fail(x);
done:
    return st;
}

/* Asking at the wrong time does the exchange no harm. */
static tulle_status_t test_on_device(tulle_exchange_t *x)
{
    advance_all(x);
    tulle_status_t st = x->phase == TLI_PHASE_RUNNING ? tli_device_test(x) : TULLE_OK;
    if (st == TULLE_ERR_UNSUPPORTED)
        return st;
    if (st < 0)
        fail(x);
    else if (st == TULLE_OK && x->phase == TLI_PHASE_RUNNING)
        x->phase = TLI_PHASE_COMPLETE;
    return conclude(x);
}

tulle_status_t tulle_exchange_test(tulle_exchange_t *x)
{
    tulle_status_t st = check_started(x, "test");
    if (st == TULLE_OK && x->device != NULL) {
        st = test_on_device(x);
    } else if (st == TULLE_OK) {
        advance_all(x);
        st = conclude(x);
    }
    return st;
}

/* The first message that has not come; num_receives: all have, or the round has not even begun. */
static int64_t first_missing(const tulle_exchange_t *x)
{
    const tli_steps_t *steps = &x->steps;
    int64_t wire = 0;
    while (wire < steps->num_receives && (x->has_arrived[wire] || x->phase != TLI_PHASE_RUNNING))
        wire++;
    return wire;
}

/* Transport over which a rank has not taken what it was sent; num_transports: none. */
static int find_laggard(const tulle_exchange_t *x, int *rank_out)
{
    int t = 0;
    for (*rank_out = -1; t < tli_num_transports; t++)
        if ((*rank_out = tli_transports[t]->laggard(x->channels[t])) >= 0)
            break;
    return t;
}

/* Who is waited for. */
static tulle_status_t describe_wait(const tulle_exchange_t *x)
{
    const tli_steps_t *steps = &x->steps;
    const tulle_comm_t *comm = x->plan->comm;
    int64_t wire = first_missing(x);
    int laggard = -1, t = find_laggard(x, &laggard);
    if (wire < steps->num_receives) {
        const tli_end_t *end = &steps->receive_ends[wire];
        return tli_fail(TULLE_ERR_TIMEOUT, 0, TLI_WHERE,
                        "rank %d waited %lld ms for rank %d (level %s, transport %s, %lld rows); %lld of %lld messages "
                        "came",
                        comm->rank, (long long)x->timeout_ms, (int)end->peer, tli_comm_level_name(comm, (int)end->peer),
                        tli_transports[end->transport]->name, (long long)end->num_rows,
                        (long long)(steps->num_receives - x->num_unarrived), (long long)steps->num_receives);
    }
    if (laggard >= 0)
        return tli_fail(TULLE_ERR_TIMEOUT, 0, TLI_WHERE,
                        "rank %d waited %lld ms for rank %d (level %s, transport %s) to take what it was sent",
                        comm->rank, (long long)x->timeout_ms, laggard, tli_comm_level_name(comm, laggard),
                        tli_transports[t]->name);
    return tli_fail(TULLE_ERR_TIMEOUT, 0, TLI_WHERE, "rank %d waited %lld ms for its own messages to leave", comm->rank,
                    (long long)x->timeout_ms);
}

static tulle_status_t time_out(tulle_exchange_t *x)
{
    describe_wait(x);
    fail(x);
    return conclude(x);
}

const int64_t *tli_exchange_chunk_ptr(const tulle_exchange_t *x)
{
    return x->direction == TULLE_GATHER ? x->chunks.in_chunk_ptr : x->chunks.out_chunk_ptr;
}

static int has_come(const tulle_exchange_t *x, int64_t message)
{
    const int64_t *chunk_ptr = tli_exchange_chunk_ptr(x);
    int64_t wire = chunk_ptr != NULL ? chunk_ptr[message] : message;
    int64_t last = chunk_ptr != NULL ? chunk_ptr[message + 1] : message + 1;
    while (wire < last && x->has_arrived[wire])
        wire++;
    return wire == last;
}

/* Whether all of some messages came; of none at all, whether the exchange is over. */
static tulle_status_t ask_for(tulle_exchange_t *x, const int64_t *messages, int64_t num_messages)
{
    int64_t num_here = 0;
    while (num_here < num_messages && has_come(x, messages[num_here]))
        num_here++;
    return num_messages > 0 && num_here == num_messages ? TULLE_OK : conclude(x);
}

/* Advances all exchanges until this one is over, or all of some of its messages came; where they have, not at all. */
static tulle_status_t wait_on_host(tulle_exchange_t *x, const int64_t *messages, int64_t num_messages)
{
    tulle_status_t st = ask_for(x, messages, num_messages);
    double began = 0; /* [s] */
    int64_t num_idle = 0;
    while (st == TULLE_IN_PROGRESS) {
        num_idle = advance_all(x) > 0 ? 0 : num_idle + 1;
        st = ask_for(x, messages, num_messages);
        if (st == TULLE_IN_PROGRESS && num_idle > POLLS_BEFORE_YIELD)
            sched_yield();
        if (st == TULLE_IN_PROGRESS && x->timeout_ms > 0 && num_idle % POLLS_BEFORE_CLOCK == 1) {
            began = began > 0 ? began : MPI_Wtime();
            if ((MPI_Wtime() - began) * 1e3 > (double)x->timeout_ms)
                st = time_out(x);
        }
    }
    return st;
}

void tli_exchange_advance(const tulle_exchange_t *x)
{
    advance_all(x);
}

tulle_status_t tli_exchange_wait_for(tulle_exchange_t *x, const int64_t *messages, int64_t num_messages)
{
    TLI_ASSERT(x->device == NULL && num_messages > 0);
    return wait_on_host(x, messages, num_messages);
}

/* Where the host moves parcels, it calls MPI until the stream is through, too: a stream may wait for a peer that is
 * held up by a message of this rank, whichever it is, that MPI has not brought on its way. */
static tulle_status_t wait_for_parcels(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_IN_PROGRESS;
    for (int64_t num_idle = 0; st == TULLE_IN_PROGRESS;) {
        num_idle = advance_all(x) > 0 ? 0 : num_idle + 1;
        st = x->phase == TLI_PHASE_RUNNING ? tli_device_ask(x) : TULLE_OK;
        if (st == TULLE_IN_PROGRESS && num_idle > POLLS_BEFORE_YIELD)
            sched_yield();
    }
    return st;
}

/* Then, for the host, it is over: the stream keeps the order. */
static tulle_status_t wait_on_device(tulle_exchange_t *x)
{
    tulle_status_t st = tli_device_is_host_driven(x) ? wait_for_parcels(x) : TULLE_OK;
    if (st == TULLE_OK && x->phase == TLI_PHASE_RUNNING)
        st = tli_device_wait(x);
    if (st < 0)
        fail(x);
    else if (x->phase == TLI_PHASE_RUNNING)
        x->phase = TLI_PHASE_COMPLETE;
    return conclude(x);
}

tulle_status_t tulle_exchange_wait(tulle_exchange_t *x)
{
    tulle_status_t st = check_started(x, "wait");
    if (st == TULLE_OK)
        st = x->device != NULL ? wait_on_device(x) : wait_on_host(x, NULL, 0);
    return st;
}
