/* SPDX-License-Identifier: Apache-2.0
 * The ways of computing a product that are compared, and the two halves of Tulle's: one const struct of functions each,
 * listed by hand in spmm_methods.c. */
#ifndef PERF_SPMM_METHODS_H
#define PERF_SPMM_METHODS_H

#include <stddef.h>

#include "perf/spmm_case.h"

/** tulle: the product. exchange: only its exchanges. multiply: only its local multiplication, with rows that came
 * before. petsc: MatMatMult or MatTransposeMatMult with a result to be reused. allgather: all of B to every rank, then
 * its rows of A times that, by the library's kernel. */
#define PERF_SPMM_METHOD_MAP(X)                                                                                        \
    X(TULLE, 1, "tulle")                                                                                               \
    X(EXCHANGE, 2, "exchange")                                                                                         \
    X(MULTIPLY, 4, "multiply")                                                                                         \
    X(PETSC, 8, "petsc")                                                                                               \
    X(ALLGATHER, 16, "allgather")

/** Sets of methods are ors of these. */
typedef enum perf_spmm_method_bit {
#define PERF_SPMM_METHOD_ENUM(name, bit, text) PERF_SPMM_##name = bit,
    PERF_SPMM_METHOD_MAP(PERF_SPMM_METHOD_ENUM)
#undef PERF_SPMM_METHOD_ENUM
} perf_spmm_method_bit_t;

#define PERF_SPMM_NUM_METHODS 5

/** What methods are made from. */
typedef struct perf_spmm_problem {
    const perf_spmm_case_t *one; /* borrowed */
    tulle_spmm_t *spmm;          /* borrowed */
} perf_spmm_problem_t;

/** One method. All functions are collective. */
typedef struct perf_spmm_method {
    const char *name;
    perf_spmm_method_bit_t bit;
    const char *lacks;            /* what this build is without; NULL = it can be used */
    int has_result;               /* [bool] its C is to be checked */
    int is_local;                 /* [bool] ranks wait for nobody: see perf_spmm_measure() */
    tulle_status_t (*open)(void); /* once, untimed; NULL = none */
    void (*close)(void);          /* legal without open, and twice; NULL = none */
    /** Why it is not run with this problem, alike on all ranks; NULL = it is. */
    const char *(*refuses)(const perf_spmm_problem_t *problem);
    tulle_status_t (*setup)(const perf_spmm_problem_t *problem, void **state_out);
    tulle_status_t (*run)(void *state); /* timed */
    /** This rank's C after a run; it is poisoned before. Strides in scalars. */
    void *(*result)(void *state, int64_t *row_stride, int64_t *col_stride);
    void (*teardown)(void *state); /* NULL-safe */
} perf_spmm_method_t;

extern const perf_spmm_method_t perf_spmm_petsc;

/** The methods, in the order in which they are reported. */
extern const perf_spmm_method_t *const perf_spmm_methods[PERF_SPMM_NUM_METHODS];

/** Methods that this build has, as an or of bits. */
unsigned perf_spmm_methods_built(void);

/** Method of a name that is not zero-terminated; NULL if there is none. */
const perf_spmm_method_t *perf_spmm_find_method(const char *name, size_t length);

#endif
