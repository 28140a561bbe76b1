/* SPDX-License-Identifier: Apache-2.0
 * The ways of moving the rows that are compared: one const struct of functions each, listed by hand in methods.c. */
#ifndef PERF_METHODS_H
#define PERF_METHODS_H

#include <stdint.h>

#include "perf/case.h"

/** Every method: name, bit, text. */
#define PERF_METHOD_MAP(X)                                                                                             \
    X(TULLE, 1, "tulle")                                                                                               \
    X(NAIVE, 2, "naive")                                                                                               \
    X(ALLTOALLV, 4, "alltoallv")                                                                                       \
    X(NEIGHBOR, 8, "neighbor_alltoallv")                                                                               \
    X(NEIGHBOR_INIT, 16, "neighbor_alltoallv_init")                                                                    \
    X(PETSC_BASIC, 32, "petsc_basic")                                                                                  \
    X(PETSC_NEIGHBOR, 64, "petsc_neighbor")                                                                            \
    X(HYPRE, 128, "hypre")                                                                                             \
    X(TULLE_DIRECT, 256, "tulle_direct")                                                                               \
    X(TULLE_RAIL, 512, "tulle_rail")                                                                                   \
    X(TULLE_BALANCED, 1024, "tulle_balanced")                                                                          \
    X(TULLE_AGGREGATED, 2048, "tulle_aggregated")                                                                      \
    X(TULLE_STRIPED, 4096, "tulle_striped")                                                                            \
    X(TULLE_WHOLE, 8192, "tulle_whole")

/** Sets of methods are ors of these. */
typedef enum perf_method_bit {
#define PERF_METHOD_ENUM(name, bit, text) PERF_METHOD_##name = bit,
    PERF_METHOD_MAP(PERF_METHOD_ENUM)
#undef PERF_METHOD_ENUM
} perf_method_bit_t;

#define PERF_NUM_METHODS 14

/** The library with plans of fixed strategies: not peers, but what AUTO is held against. */
#define PERF_METHODS_OF_STRATEGIES                                                                                     \
    (PERF_METHOD_TULLE_DIRECT | PERF_METHOD_TULLE_RAIL | PERF_METHOD_TULLE_BALANCED | PERF_METHOD_TULLE_AGGREGATED |   \
     PERF_METHOD_TULLE_STRIPED)

/** The library, whatever the plan. */
#define PERF_METHODS_OF_TULLE (PERF_METHOD_TULLE | PERF_METHODS_OF_STRATEGIES | PERF_METHOD_TULLE_WHOLE)

/** Why a method cannot or should not run; empty = it may. */
typedef struct perf_skip {
    char reason[160];
} perf_skip_t;

/** One method. All functions but admit are collective. */
typedef struct perf_method {
    const char *name;
    perf_method_bit_t bit;
    const char *lacks;            /* what this build is without, and the method for it; NULL = it can be used */
    int has_plan_order;           /* [bool] its ghost rows lie in the order of the plan; else needed id i is row i */
    tulle_status_t (*open)(void); /* once, untimed: start the method's library; several may share it; NULL = none */
    void (*close)(void);          /* legal without open, and twice */
    void (*admit)(const perf_case_t *one, perf_skip_t *skip); /* this rank's opinion; no communication; NULL = always */
    tulle_status_t (*setup)(const perf_case_t *one, void *ghost, void **state_out);
    tulle_status_t (*run)(void *state);   /* timed; packs and unpacks */
    double (*predict)(const void *state); /* [us] one run by the library's cost model; NULL = it has none */
    void (*teardown)(void *state);        /* NULL-safe */
} perf_method_t;

extern const perf_method_t perf_method_tulle;
extern const perf_method_t perf_method_naive;
extern const perf_method_t perf_method_alltoallv;
extern const perf_method_t perf_method_neighbor;
extern const perf_method_t perf_method_neighbor_init;
extern const perf_method_t perf_method_petsc_basic;
extern const perf_method_t perf_method_petsc_neighbor;
extern const perf_method_t perf_method_hypre;
extern const perf_method_t perf_method_tulle_direct;
extern const perf_method_t perf_method_tulle_rail;
extern const perf_method_t perf_method_tulle_balanced;
extern const perf_method_t perf_method_tulle_aggregated;
extern const perf_method_t perf_method_tulle_striped;
extern const perf_method_t perf_method_tulle_whole;

/** The methods, in the order in which they are reported. */
extern const perf_method_t *const perf_methods[PERF_NUM_METHODS];

/** The library and its peers, those that this build has, as an or of bits. */
unsigned perf_methods_built(void);

/** Start the libraries of some methods, before the first is set up. @collective all ranks of MPI_COMM_WORLD */
tulle_status_t perf_methods_open(unsigned methods, MPI_Comm comm);

/** Stop them. @collective all ranks of MPI_COMM_WORLD, before MPI_Finalize */
void perf_methods_close(unsigned methods);

/** Ask every rank whether a method may run; one rank's reason is everybody's. @collective all ranks of the case */
tulle_status_t perf_method_admit(const perf_method_t *method, const perf_case_t *one, perf_skip_t *skip_out);

/* What the peers share: they exchange rows between rank pairs. */

/** Copy rows[index[i]] to message[i]. */
void perf_rows_pack(const perf_case_t *one, const void *rows, const int64_t *index, int64_t n, void *message);

/** rows[index[i]] = op(rows[index[i]], message[i]), in ascending order of i. */
void perf_rows_reduce(const perf_case_t *one, const void *message, const int64_t *index, int64_t n, void *rows);

#endif
