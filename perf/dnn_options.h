/* SPDX-License-Identifier: Apache-2.0
 * The command line of tulle_perf dnn. */
#ifndef PERF_DNN_OPTIONS_H
#define PERF_DNN_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#include <tulle/spmm.h>

#include "perf/rows.h"

/** Which rank has which neurons: name, bit, text. */
#define PERF_DNN_LAYOUT_MAP(X)                                                                                         \
    X(CONTIGUOUS, 1, "contiguous")                                                                                     \
    X(BY_CLASS, 2, "by_class")

/** In the order of their numbers; or class by class, j mod (neurons / 16). */
typedef enum perf_dnn_layout {
#define PERF_DNN_LAYOUT_ENUM(name, value, text) PERF_DNN_##name = value,
    PERF_DNN_LAYOUT_MAP(PERF_DNN_LAYOUT_ENUM)
#undef PERF_DNN_LAYOUT_ENUM
} perf_dnn_layout_t;

#define PERF_DNN_NUM_LAYOUTS 2

/** What the command line asks for. Strings are borrowed from argv; NULL = not given. */
typedef struct perf_dnn_options {
    int wants_help;     /* [bool] nothing else is checked then */
    const char *folder; /* of layers and inputs; NULL = made */
    int64_t num_layers; /* made; 0 = one block and a half */
    int64_t neurons;    /* made */
    int64_t batch;      /* [inputs] 0 = all of the folder, or 64 */
    uint64_t seed;
    unsigned layouts; /* or of perf_dnn_layout_t */
    const char *topology;
    tulle_datatype_t datatype; /* f32 or f64 */
    perf_memory_t memory;      /* host or device */
    tulle_cover_t cover;
    int64_t iterations;
    int64_t warmup;
    int64_t timeout_ms; /* [ms] 0 = the library's default */
    int disable_shared_memory;
    const char *json;
} perf_dnn_options_t;

/**
 * Read the command line, "dnn" as its argv[0]. Prints nothing and does not exit, so that every rank can do it and
 * agree.
 * @param[in,out] argv    options are moved before other arguments
 * @param[out] options_out untouched on failure
 * @retval TULLE_ERR_ARG tulle_last_error() names the option, its value and what to give instead
 */
tulle_status_t perf_dnn_options_parse(int argc, char **argv, perf_dnn_options_t *options_out);

/** Print what --help prints. */
void perf_dnn_options_print_help(FILE *out);

/** Text form of a layout. */
const char *perf_dnn_layout_name(perf_dnn_layout_t layout);

#endif
