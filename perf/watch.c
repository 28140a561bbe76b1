/* SPDX-License-Identifier: Apache-2.0
 * A thread that sleeps, and prints when a step has lasted long enough; the steps themselves block in the library or in
 * MPI and cannot. It never calls MPI. */
#include "perf/watch.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define QUIET_SECONDS    1.0  /* steps shorter than this are not mentioned */
#define TERMINAL_SECONDS 0.5  /* between updates of the line on a terminal */
#define FILE_SECONDS     10.0 /* between lines elsewhere */

struct perf_watch {
    FILE *out;
    int is_terminal;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    int is_stopping;
    int has_step;
    int has_printed; /* during this step */
    char step[160];
    double fraction; /* below 0 when unknown */
    struct timespec began;
};

static double seconds_since(const struct timespec *began)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + 1e-9 * (double)(now.tv_nsec - began->tv_nsec);
}

static void print_step(perf_watch_t *watch)
{
    const char *start = watch->is_terminal ? "\r\033[K" : "";
    const char *end = watch->is_terminal ? "" : "\n";
    double seconds = seconds_since(&watch->began);
    if (watch->fraction < 0)
        fprintf(watch->out, "%s# %s: %.0f s%s", start, watch->step, seconds, end);
    else
        fprintf(watch->out, "%s# %s: %.0f %%, %.0f s%s", start, watch->step, 100 * watch->fraction, seconds, end);
    fflush(watch->out);
    watch->has_printed = 1;
}

/* Wait for a change, at most until the step has lasted for `seconds`. */
static int sleep_until(perf_watch_t *watch, double seconds)
{
    struct timespec until = watch->began;
    double whole = (double)(int64_t)seconds;
    until.tv_sec += (time_t)whole;
    until.tv_nsec += (long)(1e9 * (seconds - whole));
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    return pthread_cond_timedwait(&watch->changed, &watch->mutex, &until);
}

static void *watch_steps(void *memory)
{
    perf_watch_t *watch = memory;
    double next = QUIET_SECONDS;
    pthread_mutex_lock(&watch->mutex);
    while (!watch->is_stopping) {
        if (!watch->has_step) {
            pthread_cond_wait(&watch->changed, &watch->mutex);
            next = QUIET_SECONDS;
        } else if (sleep_until(watch, next) == 0) {
            next = QUIET_SECONDS; /* another step */
        } else if (watch->has_step && seconds_since(&watch->began) >= next) {
            print_step(watch);
            next = seconds_since(&watch->began) + (watch->is_terminal ? TERMINAL_SECONDS : FILE_SECONDS);
        }
    }
    pthread_mutex_unlock(&watch->mutex);
    return NULL;
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}

perf_watch_t *perf_watch_create(FILE *out)
{
    perf_watch_t *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return NULL;
    watch->out = out;
    watch->is_terminal = isatty(fileno(out));
    pthread_mutex_init(&watch->mutex, NULL);
    init_condition(&watch->changed);
    if (pthread_create(&watch->thread, NULL, watch_steps, watch) == 0)
        return watch;
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->mutex);
    free(watch);
    return NULL;
}

static void end_step(perf_watch_t *watch)
{
    if (watch->has_printed && watch->is_terminal) {
        fputs("\r\033[K", watch->out);
        fflush(watch->out);
    }
    watch->has_step = 0;
    watch->has_printed = 0;
    pthread_cond_signal(&watch->changed);
}

void perf_watch_begin(perf_watch_t *watch, const char *format, ...)
{
    va_list arguments;
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->mutex);
    end_step(watch);
    va_start(arguments, format);
    vsnprintf(watch->step, sizeof watch->step, format, arguments);
    va_end(arguments);
    watch->has_step = 1;
    watch->fraction = -1;
    clock_gettime(CLOCK_MONOTONIC, &watch->began);
    pthread_mutex_unlock(&watch->mutex);
}

void perf_watch_advance(perf_watch_t *watch, double fraction)
{
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->mutex);
    watch->fraction = fraction;
    pthread_mutex_unlock(&watch->mutex);
}

void perf_watch_end(perf_watch_t *watch)
{
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->mutex);
    end_step(watch);
    pthread_mutex_unlock(&watch->mutex);
}

void perf_watch_destroy(perf_watch_t **watch)
{
    perf_watch_t *gone = watch == NULL ? NULL : *watch;
    if (gone == NULL)
        return;
    pthread_mutex_lock(&gone->mutex);
    end_step(gone);
    gone->is_stopping = 1;
    pthread_mutex_unlock(&gone->mutex);
    pthread_join(gone->thread, NULL);
    pthread_cond_destroy(&gone->changed);
    pthread_mutex_destroy(&gone->mutex);
    free(gone);
    *watch = NULL;
}
