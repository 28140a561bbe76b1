/* SPDX-License-Identifier: Apache-2.0
 * One argp parser. Words become values here; nothing is opened or computed. */
#include "perf/spmm_options.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "perf/partition.h"
#include "perf/spmm_methods.h"
#include "perf/words.h"
#include "src/fault.h"

enum option_key {
    KEY_MATRIX = 256,
    KEY_RANDOM,
    KEY_PARTITION,
    KEY_TRANSPOSE,
    KEY_WIDTH,
    KEY_DTYPE,
    KEY_COVER,
    KEY_STRATEGY,
    KEY_THREADS,
    KEY_TRUSTED,
    KEY_TOPOLOGY,
    KEY_PROBE,
    KEY_TIMEOUT_MS,
    KEY_PEERS,
    KEY_ITERATIONS,
    KEY_WARMUP,
    KEY_EXPLAIN,
    KEY_JSON,
    KEY_HELP
};

static const struct argp_option option_table[] = {
    {NULL, 0, NULL, 0, "Sparse matrix, one of:", 1},
    {"matrix", KEY_MATRIX, "FILE", 0, "MatrixMarket file, plain or compressed; values are the tool's own", 1},
    {"random", KEY_RANDOM, "ROWS,NNZ,SEED", 0, "square random matrix with NNZ entries per row", 1},
    {"partition", KEY_PARTITION, "HOW", 0,
     "who gets which rows: block (default), metis, or a file with the rank of each row", 1},
    {NULL, 0, NULL, 0, "Product:", 2},
    {"transpose", KEY_TRANSPOSE, NULL, 0, "C = A^T B instead of C = A B", 2},
    {"width", KEY_WIDTH, "K", 0, "columns of B and C (default 64)", 2},
    {"dtype", KEY_DTYPE, "TYPE", 0, "f64, f32, f16 or bf16 (default f64)", 2},
    {"cover", KEY_COVER, "NAME", 0, "auto, columns, least or balanced (default auto)", 2},
    {"threads", KEY_THREADS, "N", 0, "of one rank (default: the processors shared among the ranks)", 2},
    {"trusted", KEY_TRUSTED, NULL, 0, "ranks do not compare arguments in each product", 2},
    {NULL, 0, NULL, 0, "Machine and plan:", 3},
    {"topology", KEY_TOPOLOGY, "TEXT", 0, "such as 2x4, 2x2x2 or 3,1,4, or a FILE.topo (default: discovered)", 3},
    {"probe", KEY_PROBE, NULL, 0, "measure the links first, and plan with them", 3},
    {"strategy", KEY_STRATEGY, "NAME", 0, "auto, direct, rail, balanced, aggregated or striped (default auto)", 3},
    {"timeout-ms", KEY_TIMEOUT_MS, "N", 0, "longest wait for another rank (default: for ever)", 3},
    {NULL, 0, NULL, 0, "Measurement:", 4},
    {"peers", KEY_PEERS, "LIST", 0, "what to run beside tulle: all, none, or some of petsc,allgather (default all)", 4},
    {"iterations", KEY_ITERATIONS, "N", 0, "timed products per method (default 20)", 4},
    {"warmup", KEY_WARMUP, "N", 0, "products before (default 3)", 4},
    {NULL, 0, NULL, 0, "Output:", 5},
    {"explain", KEY_EXPLAIN, NULL, 0, "print what the plans do and why", 5},
    {"json", KEY_JSON, "FILE", 0, "write the results", 5},
    {"help", KEY_HELP, NULL, 0, "print this and stop", 6},
    {0}};

static tulle_status_t parse_random(const char *text, perf_spmm_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    int length = 0;
    int num = sscanf(text, "%" SCNd64 ",%" SCNd64 ",%" SCNu64 "%n", &options->random_rows, &options->random_nnz_per_row,
                     &options->random_seed, &length);
    TLI_REQUIRE(num == 3 && text[length] == '\0' && options->random_rows >= 0 && options->random_nnz_per_row >= 0,
                TULLE_ERR_ARG, "--random is '%.60s'; give rows, entries per row and a seed, such as 1000,16,1", text);
    options->source = PERF_SOURCE_RANDOM;
done:
    return st;
}

static tulle_status_t parse_strategy(const char *text, tulle_strategy_t *strategy_out)
{
    tulle_status_t st = TULLE_OK;
    int strategy = TULLE_STRATEGY_AUTO;
    while (strategy <= TULLE_STRATEGY_STRIPED && strcmp(text, tulle_strategy_name((tulle_strategy_t)strategy)) != 0)
        strategy++;
    TLI_REQUIRE(strategy <= TULLE_STRATEGY_STRIPED, TULLE_ERR_ARG,
                "--strategy is '%.60s'; give auto, direct, rail, balanced, aggregated or striped", text);
    *strategy_out = (tulle_strategy_t)strategy;
done:
    return st;
}

static tulle_status_t parse_datatype(const char *text, tulle_datatype_t *datatype_out)
{
    tulle_status_t st = TULLE_OK;
    static const tulle_datatype_t offered[] = {TULLE_F64, TULLE_F32, TULLE_F16, TULLE_BF16};
    size_t i = 0;
    while (i < sizeof offered / sizeof *offered && strcmp(text, tulle_datatype_name(offered[i])) != 0)
        i++;
    TLI_REQUIRE(i < sizeof offered / sizeof *offered, TULLE_ERR_ARG, "--dtype is '%.60s'; give f64, f32, f16 or bf16",
                text);
    *datatype_out = offered[i];
done:
    return st;
}

static tulle_status_t parse_peers(const char *text, unsigned *methods_out)
{
    tulle_status_t st = TULLE_OK;
    const unsigned own = PERF_SPMM_TULLE | PERF_SPMM_EXCHANGE | PERF_SPMM_MULTIPLY;
    unsigned methods = own;
    if (strcmp(text, "all") == 0)
        methods = perf_spmm_methods_built();
    for (const char *name = text; methods == own && strcmp(text, "none") != 0 && name != NULL;) {
        size_t length = strcspn(name, ",");
        const perf_spmm_method_t *method = perf_spmm_find_method(name, length);
        TLI_REQUIRE(method != NULL && ((unsigned)method->bit & own) == 0, TULLE_ERR_ARG,
                    "--peers is '%.60s'; give all, none, or some of petsc,allgather", text);
        TLI_REQUIRE(method->lacks == NULL, TULLE_ERR_ARG, "--peers names %s, but this build lacks %s", method->name,
                    method->lacks);
        *methods_out |= (unsigned)method->bit;
        name = name[length] == ',' ? name + length + 1 : NULL;
    }
    *methods_out = methods == own ? *methods_out | own : methods;
done:
    return st;
}

static tulle_status_t parse_number(int key, const char *text, perf_spmm_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    int64_t value = 0;
    if (key == KEY_WIDTH)
        return perf_parse_int("width", text, 1, INT64_C(1) << 24, &options->width);
    if (key == KEY_ITERATIONS)
        return perf_parse_int("iterations", text, 1, 1000000, &options->iterations);
    if (key == KEY_WARMUP)
        return perf_parse_int("warmup", text, 0, 1000000, &options->warmup);
    if (key == KEY_TIMEOUT_MS)
        return perf_parse_int("timeout-ms", text, 1, INT64_MAX / 2, &options->timeout_ms);
    TLI_TRY(perf_parse_int("threads", text, 1, 1024, &value));
    options->num_threads = (int)value;
done:
    return st;
}

static tulle_status_t parse_option(int key, char *text, perf_spmm_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    switch (key) {
    case KEY_MATRIX:
        options->source = PERF_SOURCE_MATRIX;
        options->matrix = text;
        break;
    case KEY_RANDOM:
        return parse_random(text, options);
    case KEY_PARTITION:
        options->partition = strcmp(text, "block") == 0 ? NULL : text;
        break;
    case KEY_TRANSPOSE:
        options->is_transposed = 1;
        break;
    case KEY_DTYPE:
        return parse_datatype(text, &options->datatype);
    case KEY_COVER:
        return tulle_cover_parse(text, &options->cover);
    case KEY_STRATEGY:
        return parse_strategy(text, &options->strategy);
    case KEY_TOPOLOGY:
        options->topology = text;
        break;
    case KEY_PROBE:
        options->is_probing = 1;
        break;
    case KEY_PEERS:
        options->methods = 0;
        return parse_peers(text, &options->methods);
    case KEY_TRUSTED:
        options->is_trusted = 1;
        break;
    case KEY_EXPLAIN:
        options->is_explaining = 1;
        break;
    case KEY_JSON:
        options->json = text;
        break;
    case KEY_HELP:
        options->wants_help = 1;
        break;
    default:
        return parse_number(key, text, options);
    }
    return st;
}

typedef struct parse_state {
    perf_spmm_options_t options;
    tulle_status_t status;
} parse_state_t;

static error_t parse_argument(int key, char *text, struct argp_state *argp_state)
{
    parse_state_t *state = argp_state->input;
    if (key < KEY_MATRIX || key > KEY_HELP)
        return perf_parse_rest(key, text, argp_state, "spmm --help", 1, &state->status);
    state->status = parse_option(key, text, &state->options);
    return state->status == TULLE_OK ? 0 : EINVAL;
}

static const struct argp parser = {option_table,
                                   parse_argument,
                                   NULL,
                                   "Multiplies a distributed sparse matrix with a dense one and prints what crosses "
                                   "between nodes, and times against PETSc and an allgather. Every value is checked.",
                                   NULL,
                                   NULL,
                                   NULL};

tulle_status_t perf_spmm_options_parse(int argc, char **argv, perf_spmm_options_t *options_out)
{
    tulle_status_t st = TULLE_OK;
    parse_state_t state = {
        {.width = 64, .datatype = TULLE_F64, .methods = perf_spmm_methods_built(), .iterations = 20, .warmup = 3},
        TULLE_OK};
    error_t failed = argp_parse(&parser, argc, argv, ARGP_SILENT, NULL, &state);
    TLI_TRY(state.status);
    TLI_REQUIRE(failed == 0, TULLE_ERR_NOMEM, "the command line cannot be read: %s", strerror(failed));
    TLI_REQUIRE(state.options.source != PERF_SOURCE_NONE || state.options.wants_help, TULLE_ERR_ARG,
                "no matrix is given; name one with --matrix FILE or --random ROWS,NNZ,SEED");
    TLI_REQUIRE(state.options.partition == NULL || strcmp(state.options.partition, "metis") != 0 ||
                    perf_partition_has_metis(),
                TULLE_ERR_UNSUPPORTED, "--partition metis needs a build with METIS (libmetis-dev)");
    *options_out = state.options;
done:
    return st;
}

void perf_spmm_options_print_help(FILE *out)
{
    char name[] = "tulle_perf spmm";
    argp_help(&parser, out, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
}
