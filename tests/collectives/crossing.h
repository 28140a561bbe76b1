/* SPDX-License-Identifier: Apache-2.0
 * One exchange whose rows cross rounded, on the host or on GPUs: what arrives by definition, what sums are off by. */
#ifndef TESTS_COLLECTIVES_CROSSING_H
#define TESTS_COLLECTIVES_CROSSING_H

#include "tests/support/trial.h"
#include "tests/support/wire_reference.h"

/** Where the rows are that are exchanged, if not where they are filled and checked. */
typedef struct crossing_memory {
    void *(*alloc)(int64_t bytes);
    void (*free)(void *memory);
    void (*copy)(void *target, const void *source, int64_t bytes); /* done when it returns */
} crossing_memory_t;

typedef struct crossing {
    const crossing_memory_t *memory; /* NULL: host rows from tulle_alloc() */
    const tulle_plan_t *plan;
    const spt_pattern_t *pattern;
    tulle_wire_precision_t precision;
    int wire_levels;
    tulle_op_t op;
    int64_t width;
    int64_t *position;   /* [num_needed] */
    unsigned char *skip; /* [num_needed] as in spt_trial_t */
    int num_fields;
    tulle_field_t fields[2]; /* filled and checked here */
    tulle_field_t bound[2];  /* exchanged */
    tulle_exchange_t *exchange;
} crossing_t;

/** Collective, as all of these. One field, or two where the width is 5. */
crossing_t crossing_make(const crossing_memory_t *memory, const tulle_plan_t *plan, const spt_pattern_t *pattern,
                         tulle_direction_t direction, tulle_wire_precision_t precision, int wire_levels, tulle_op_t op,
                         int64_t width);
void crossing_run(const crossing_t *crossing);
void crossing_free(crossing_t *crossing);

float *crossing_owned_row(const tulle_field_t *field, int64_t row);
float *crossing_ghost_row(const tulle_field_t *field, int64_t row);

/** Gathers and scatters of every strategy and ghost order on a topology, precisions, widths and levels in turn. */
void crossing_check_plans(const crossing_memory_t *memory, const char *topology, int disable_shared_memory,
                          uint64_t stream);

#endif
