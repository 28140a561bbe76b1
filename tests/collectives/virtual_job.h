/* SPDX-License-Identifier: Apache-2.0
 * Jobs that nobody runs: a machine from text, and who needs what on it. With what can be said of them by definition. */
#ifndef TEST_COLLECTIVES_VIRTUAL_JOB_H
#define TEST_COLLECTIVES_VIRTUAL_JOB_H

#include "collectives/routes.h"
#include "tests/support/world.h"

/** Who needs what. */
#define VIRTUAL_KIND_MAP(X)                                                                                            \
    X(UNIFORM, "uniform")         /* anybody's rows */                                                                 \
    X(POWER_LAW, "power law")     /* few owners and few of their rows are in great demand */                           \
    X(LOCAL, "local")             /* rows of neighbours */                                                             \
    X(SHARED, "shared")           /* all ranks need the same */                                                        \
    X(ONE_OWNER, "one owner")     /* all needed rows have one owner */                                                 \
    X(ONE_NEEDER, "one needer")   /* one rank needs rows of all */                                                     \
    X(EMPTY_RANKS, "empty ranks") /* some ranks need nothing, some own nothing */                                      \
    X(EMPTY_NODES, "empty nodes") /* likewise nodes */                                                                 \
    X(NOTHING, "nothing")

typedef enum virtual_kind {
#define VIRTUAL_KIND_ENUM(name, text) VIRTUAL_##name,
    VIRTUAL_KIND_MAP(VIRTUAL_KIND_ENUM)
#undef VIRTUAL_KIND_ENUM
        VIRTUAL_NUM_KINDS
} virtual_kind_t;

typedef struct virtual_job {
    tulle_topology_t *topology;
    tli_needs_t needs; /* of all ranks, in no order, some more than once; ids beyond 2^40 among them */
    char name[160];    /* for messages */
} virtual_job_t;

/** @param[in] topology moved @param[in] num_each rows that a rank needs, roughly */
void virtual_job_init(virtual_job_t *job, tulle_topology_t *topology, virtual_kind_t kind, int num_each, uint64_t seed);
void virtual_job_fini(virtual_job_t *job);

/** A job on the machine that the text says, with no needs yet: they are added one by one. */
void virtual_job_init_text(virtual_job_t *job, const char *text);
void virtual_job_add(virtual_job_t *job, int64_t owner, int64_t row, int64_t needer);

/** Kinds of need on many machines: flat, deep, ragged, dealt round-robin, up to 512 ranks, and random trees. */
void virtual_for_all_jobs(void (*check)(const virtual_job_t *job));

/** Put needs into another order. */
void virtual_shuffle(tli_needs_t *needs, uint64_t seed);

/** Order of records (owner, row, rank), for qsort and bsearch. */
int virtual_compare_needs(const void *a, const void *b);

/** Needs without repetition, ascending; free the words. */
tli_needs_t virtual_distinct(const tli_needs_t *needs);

/** Level at which a hop crosses, by definition. */
int virtual_crossing(const tulle_topology_t *topology, int64_t a, int64_t b);

/**
 * Least rows that cross each level, by counting: a row that reaches g groups of a level, its owner's included, has
 * entered g - 1 of them, and those entries crossed this level or one further out.
 * @param[out] limits [num_levels]
 */
void virtual_limits(const virtual_job_t *job, int64_t *limits);

/** Rows that cross between nodes when every rank fetches for itself. */
int64_t virtual_direct_rows(const virtual_job_t *job);

/** calloc that does not fail. */
void *virtual_alloc(int64_t count, size_t size);

#endif
