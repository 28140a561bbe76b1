/* SPDX-License-Identifier: Apache-2.0
 * The command line of tulle_perf spmm. */
#ifndef PERF_SPMM_OPTIONS_H
#define PERF_SPMM_OPTIONS_H

#include <stdint.h>
#include <stdio.h>

#include <tulle/spmm.h>

#include "perf/options.h"

/** What the command line asks for. Strings are borrowed from argv; NULL = not given. */
typedef struct perf_spmm_options {
    int wants_help; /* [bool] nothing else is checked then */
    perf_source_t source;
    const char *matrix;
    int64_t random_rows;
    int64_t random_nnz_per_row;
    uint64_t random_seed;
    const char *partition; /* "metis" or a file; NULL = block order */
    int is_transposed;     /* [bool] C = A^T B */
    int64_t width;         /* [scalars] */
    tulle_datatype_t datatype;
    tulle_cover_t cover;
    tulle_strategy_t strategy;
    int num_threads;
    int is_trusted;       /* [bool] as in tulle_spmm_options_t */
    const char *topology; /* text, or a file that ends in .topo */
    int is_probing;
    unsigned methods; /* or of perf_spmm_method_bit_t */
    int64_t iterations;
    int64_t warmup;
    int64_t timeout_ms; /* [ms] 0 = the library's default */
    int is_explaining;
    const char *json;
} perf_spmm_options_t;

/** As perf_options_parse(); argv[0] is the command. */
tulle_status_t perf_spmm_options_parse(int argc, char **argv, perf_spmm_options_t *options_out);

/** Print what --help prints. */
void perf_spmm_options_print_help(FILE *out);

#endif
