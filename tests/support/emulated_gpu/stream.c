/* SPDX-License-Identifier: Apache-2.0
 * Streams of the emulated GPU: a thread each, that runs what it is given in order and never makes the giver wait. One
 * that waits yields and does not sleep: with short sleeps beside ranks that yield, Linux 6.18 left whole nodes of an
 * emulated cluster without a processor for 0.2 to 0.4 s at a time. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/arena.h"
#include "src/device/device.h"
#include "src/device/stream.h"
#include "src/fault.h"
#include "tests/support/emulated_gpu/emulated_gpu.h"
#include "tests/support/gpu.h"

#define MAX_STREAMS 256

typedef struct item {
    struct item *next;
    emulated_work_t work;
    _Alignas(16) unsigned char args[];
} item_t;

typedef struct list {
    item_t *first, *last;
} list_t;

typedef struct stream {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    list_t queue;
    int is_running;   /* an item is being run */
    int is_closing;   /* run what there is, then end */
    int is_capturing; /* part of the capture */
    int is_unjoined;  /* has captured something that no other stream waits for */
} stream_t;

typedef struct event {
    int64_t num_recorded;
    _Atomic int64_t reached;
    stream_t *captured_on; /* recorded in a capture, not on the device */
} event_t;

typedef struct graph {
    list_t items;
} graph_t;

static stream_t *default_stream;
static struct {
    stream_t *origin; /* NULL: nothing is captured */
    graph_t *graph;
    stream_t *streams[MAX_STREAMS];
    int num_streams;
    int has_failed;
} capture;

static void append(list_t *list, item_t *item)
{
    item->next = NULL;
    if (list->last != NULL)
        list->last->next = item;
    else
        list->first = item;
    list->last = item;
}

static item_t *make_item(emulated_work_t work, const void *args, size_t bytes)
{
    item_t *item = aligned_alloc(16, (sizeof *item + bytes + 15) / 16 * 16);
    if (item == NULL)
        emulated_gpu_die("out of memory");
    item->work = work;
    if (bytes > 0)
        memcpy(item->args, args, bytes);
    return item;
}

/* --- the thread of a stream -------------------------------------------------------------------------------------- */

static item_t *take_next(stream_t *s)
{
    pthread_mutex_lock(&s->lock);
    s->is_running = 0;
    pthread_cond_broadcast(&s->changed);
    while (s->queue.first == NULL && !s->is_closing)
        pthread_cond_wait(&s->changed, &s->lock);
    item_t *item = s->queue.first;
    if (item != NULL) {
        s->queue.first = item->next;
        if (item->next == NULL)
            s->queue.last = NULL;
        s->is_running = 1;
    }
    pthread_mutex_unlock(&s->lock);
    return item;
}

static void *run_stream(void *stream)
{
    item_t *item = NULL;
    while ((item = take_next(stream)) != NULL) {
        item->work(item->args);
        free(item);
    }
    return NULL;
}

static stream_t *open_stream(void)
{
    stream_t *s = calloc(1, sizeof *s);
    if (s == NULL || pthread_mutex_init(&s->lock, NULL) != 0 || pthread_cond_init(&s->changed, NULL) != 0 ||
        pthread_create(&s->thread, NULL, run_stream, s) != 0)
        emulated_gpu_die("no thread for a stream");
    return s;
}

static stream_t *stream_of(void *stream)
{
    if (stream == NULL && default_stream == NULL)
        default_stream = open_stream();
    return stream != NULL ? stream : default_stream;
}

void emulated_gpu_enqueue(void *stream, emulated_work_t work, const void *args, size_t bytes)
{
    stream_t *s = stream_of(stream);
    item_t *item = make_item(work, args, bytes);
    if (s->is_capturing) {
        append(&capture.graph->items, item);
        s->is_unjoined = 1;
        return;
    }
    pthread_mutex_lock(&s->lock);
    append(&s->queue, item);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static int is_busy(stream_t *s)
{
    pthread_mutex_lock(&s->lock);
    int busy = s->is_running || s->queue.first != NULL;
    pthread_mutex_unlock(&s->lock);
    return busy;
}

/* --- stream.h ---------------------------------------------------------------------------------------------------- */

tulle_status_t tli_stream_create(void **stream_out)
{
    *stream_out = open_stream();
    return TULLE_OK;
}

void tli_stream_destroy(void *stream)
{
    stream_t *s = stream;
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->is_closing = 1;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

tulle_status_t tli_event_create(void **event_out)
{
    return tli_alloc(sizeof(event_t), event_out);
}

void tli_event_destroy(void *event)
{
    tli_free(event);
}

typedef struct mark {
    event_t *event;
    int64_t number;
} mark_t;

static void reach(const void *args)
{
    const mark_t *mark = args;
    atomic_store(&mark->event->reached, mark->number);
}

static void await(const void *args)
{
    const mark_t *mark = args;
    while (atomic_load(&mark->event->reached) < mark->number)
        sched_yield();
}

tulle_status_t tli_event_record(void *event, void *stream)
{
    event_t *e = event;
    stream_t *s = stream_of(stream);
    e->captured_on = s->is_capturing ? s : NULL;
    if (!s->is_capturing) {
        mark_t mark = {e, ++e->num_recorded};
        emulated_gpu_enqueue(s, reach, &mark, sizeof mark);
    }
    return TULLE_OK;
}

static void join_capture(event_t *e, stream_t *s)
{
    if (!s->is_capturing) {
        if (is_busy(s))
            emulated_gpu_die("a stream joins a capture while it has work of its own");
        s->is_capturing = 1;
        capture.streams[capture.num_streams++] = s;
    }
    e->captured_on->is_unjoined = 0;
    s->is_unjoined = s != capture.origin;
}

tulle_status_t tli_event_order(void *event, void *stream)
{
    event_t *e = event;
    stream_t *s = stream_of(stream);
    mark_t mark = {e, e->num_recorded};
    if (e->captured_on != NULL && capture.origin == NULL)
        return tli_fail(TULLE_ERR_TRANSPORT, 0, TLI_WHERE, "an event of a capture is used outside of it");
    if (e->captured_on != NULL)
        join_capture(e, s);
    else if (s->is_capturing)
        capture.has_failed = 1; /* a captured stream cannot wait for what is not captured */
    else
        emulated_gpu_enqueue(s, await, &mark, sizeof mark);
    return TULLE_OK;
}

tulle_status_t tli_event_test(void *event)
{
    event_t *e = event;
    if (e->captured_on != NULL)
        return tli_fail(TULLE_ERR_TRANSPORT, 0, TLI_WHERE, "an event of a capture is tested");
    return atomic_load(&e->reached) >= e->num_recorded ? TULLE_OK : TULLE_IN_PROGRESS;
}

tulle_status_t tli_stream_is_capturing(void *stream, int *is_capturing_out)
{
    *is_capturing_out = stream_of(stream)->is_capturing;
    return TULLE_OK;
}

static _Atomic int is_forgiving;

void spt_gpu_forgive(void)
{
    atomic_store(&is_forgiving, 1);
}

static void run_flag(const void *args)
{
    const tli_flag_step_t *step = args;
    _Atomic uint32_t *flag = (_Atomic uint32_t *)step->flag;
    if (!emulated_gpu_reaches(step->flag))
        emulated_gpu_die("a flag is at %p, which the device does not reach", (void *)step->flag);
    if (!step->is_wait && atomic_load(flag) != 0 && !atomic_load(&is_forgiving))
        emulated_gpu_die("a flag is set that was not taken back: a round was lost");
    while (step->is_wait && atomic_load_explicit(flag, memory_order_acquire) != 1)
        sched_yield();
    atomic_store_explicit(flag, step->is_wait ? 0 : 1, memory_order_release);
}

tulle_status_t tli_stream_flags(void *stream, const tli_flag_step_t *steps, int64_t num_steps)
{
    for (int64_t i = 0; i < num_steps; i++)
        emulated_gpu_enqueue(stream, run_flag, &steps[i], sizeof steps[i]);
    return TULLE_OK;
}

void tli_range_push(const char *name)
{
    (void)name;
}

void tli_range_pop(void)
{
}

/* --- device.h ---------------------------------------------------------------------------------------------------- */

typedef struct copy {
    void *target;
    const void *source;
    size_t bytes;
} copy_t;

static void run_copy(const void *args)
{
    const copy_t *copy = args;
    memcpy(copy->target, copy->source, copy->bytes);
}

tulle_status_t tli_device_copy(void *target, const void *source, size_t bytes, void *stream)
{
    copy_t copy = {target, source, bytes};
    if (bytes > 0)
        emulated_gpu_enqueue(stream, run_copy, &copy, sizeof copy);
    return TULLE_OK;
}

tulle_status_t tli_device_synchronize(void *stream)
{
    stream_t *s = stream_of(stream);
    if (s->is_capturing)
        return tli_fail(TULLE_ERR_TRANSPORT, 0, TLI_WHERE, "a stream is waited for while it is captured");
    pthread_mutex_lock(&s->lock);
    while (s->is_running || s->queue.first != NULL)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    return TULLE_OK;
}

/* --- gpu.h ------------------------------------------------------------------------------------------------------- */

int spt_gpu_is_there(void)
{
    return 1;
}

int spt_gpu_is_real(void)
{
    return 0;
}

void *spt_gpu_stream(void)
{
    return open_stream();
}

void spt_gpu_stream_free(void *stream)
{
    tli_stream_destroy(stream);
}

static void run_delay(const void *args)
{
    int64_t microseconds = 0;
    memcpy(&microseconds, args, sizeof microseconds);
    struct timespec time = {microseconds / 1000000, microseconds % 1000000 * 1000};
    nanosleep(&time, NULL);
}

void spt_gpu_delay(void *stream, int64_t microseconds)
{
    emulated_gpu_enqueue(stream, run_delay, &microseconds, sizeof microseconds);
}

int spt_gpu_is_busy(void *stream)
{
    return is_busy(stream_of(stream));
}

void spt_gpu_copy(void *target, const void *source, int64_t bytes, void *stream)
{
    tli_device_copy(target, source, (size_t)bytes, stream);
}

void spt_gpu_synchronize(void *stream)
{
    if (tli_device_synchronize(stream) != TULLE_OK)
        emulated_gpu_die("%s", tulle_last_error()->text);
}

void spt_gpu_begin_capture(void *stream)
{
    stream_t *s = stream;
    if (capture.origin != NULL || s == NULL)
        emulated_gpu_die("one capture at a time, and not of the default stream");
    capture.origin = s;
    capture.graph = calloc(1, sizeof *capture.graph);
    capture.streams[0] = s;
    capture.num_streams = 1;
    capture.has_failed = 0;
    s->is_capturing = 1;
}

void *spt_gpu_end_capture(void *stream)
{
    graph_t *graph = capture.graph;
    int is_whole = capture.origin == stream && !capture.has_failed;
    for (int i = 0; i < capture.num_streams; i++) {
        is_whole = is_whole && (capture.streams[i] == capture.origin || !capture.streams[i]->is_unjoined);
        capture.streams[i]->is_capturing = capture.streams[i]->is_unjoined = 0;
    }
    capture.origin = NULL;
    if (!is_whole) {
        spt_gpu_graph_free(graph);
        graph = NULL;
    }
    return graph;
}

static void run_graph(const void *args)
{
    const graph_t *graph = NULL;
    memcpy(&graph, args, sizeof graph);
    for (const item_t *item = graph->items.first; item != NULL; item = item->next)
        item->work(item->args);
}

void spt_gpu_launch(void *graph, void *stream)
{
    emulated_gpu_enqueue(stream, run_graph, &graph, sizeof graph);
}

void spt_gpu_graph_free(void *graph)
{
    item_t *item = ((graph_t *)graph)->items.first;
    while (item != NULL) {
        item_t *next = item->next;
        free(item);
        item = next;
    }
    free(graph);
}
