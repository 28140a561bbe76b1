/* SPDX-License-Identifier: Apache-2.0
 * The command line of tulle_perf. */
#ifndef PERF_OPTIONS_H
#define PERF_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#include <tulle/exchange.h>
#include <tulle/plan.h>
#include <tulle/types.h>

#include "perf/rows.h"
#include "perf/tomography.h"

/** Where the matrix comes from. */
typedef enum perf_source {
    PERF_SOURCE_NONE = 0,
    PERF_SOURCE_MATRIX = 1,
    PERF_SOURCE_GRID = 2,
    PERF_SOURCE_RANDOM = 3,
    PERF_SOURCE_TOMOGRAPHY = 4,
    PERF_SOURCE_NEIGHBORS = 5
} perf_source_t;

/** What the command line asks for. Strings are borrowed from argv; NULL = not given. */
typedef struct perf_options {
    int wants_help;    /* [bool] nothing else is checked then */
    int wants_version; /* [bool] likewise */
    perf_source_t source;
    const char *matrix;
    int64_t dims[3];
    int num_dims;
    int stencil; /* [points] */
    int periodic[3];
    int64_t random_rows;
    int64_t random_nnz_per_row;
    uint64_t random_seed;
    perf_scan_t scan;
    int64_t num_neighbors;
    int do_gather;         /* [bool] */
    int do_scatter;        /* [bool] */
    const char *partition; /* "metis" or a file; NULL = block order */
    tulle_op_t reduce;
    int64_t width; /* [scalars] */
    tulle_datatype_t datatype;
    const char *topology; /* text, or a file that ends in .topo */
    int is_probing;
    const char *probe; /* file for the measured topology */
    tulle_strategy_t strategy;
    int is_measuring;
    tulle_ghost_order_t ghost_order;
    unsigned methods; /* or of perf_method_bit_t */
    int64_t iterations;
    int64_t warmup;
    int64_t seconds;        /* [s] for the iterations of one direction; 0 = no limit */
    int64_t setup_repeats;  /* 0 = setup is not measured */
    int64_t naive_limit_mb; /* [MiB] per rank */
    int64_t timeout_ms;     /* [ms] 0 = the library's default */
    int disable_shared_memory;
    perf_memory_t memory;
    tulle_transport_t transport;
    tulle_wire_precision_t wire_precision; /* between nodes */
    int is_explaining;
    const char *json;
    const char *save_plan;
    const char *load_plan;
} perf_options_t;

/**
 * Read the command line. Prints nothing and does not exit, so that every rank can do it and agree.
 * @param[in,out] argv    options are moved before other arguments
 * @param[out] options_out untouched on failure
 * @retval TULLE_ERR_ARG tulle_last_error() names the option, its value and what to give instead
 */
tulle_status_t perf_options_parse(int argc, char **argv, perf_options_t *options_out);

/** Print what --help prints. */
void perf_options_print_help(FILE *out);

#endif
