/* SPDX-License-Identifier: Apache-2.0
 * Says what takes so long: a line on standard error once a step has lasted for a second. */
#ifndef PERF_WATCH_H
#define PERF_WATCH_H

#include <stdio.h>

/** Opaque. Every function takes NULL and then does nothing: only rank 0 has a watch. */
typedef struct perf_watch perf_watch_t;

/** @param[in] out borrowed @return NULL when no thread could be started: progress is no reason to fail */
perf_watch_t *perf_watch_create(FILE *out);

/** Begin a step, and end the one before. @param[in] format of its name */
void perf_watch_begin(perf_watch_t *watch, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** How much of the step is done. @param[in] fraction 0 to 1 */
void perf_watch_advance(perf_watch_t *watch, double fraction);

/** End the step, if any: what it printed on a terminal is wiped out. */
void perf_watch_end(perf_watch_t *watch);

/** End the step and stop. @param[in,out] watch set to NULL */
void perf_watch_destroy(perf_watch_t **watch);

#endif
