/* SPDX-License-Identifier: Apache-2.0
 * One argp parser. Words become values here; nothing is opened or computed. */
#include "perf/options.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "perf/methods.h"
#include "perf/partition.h"
#include "perf/reduce.h"
#include "perf/words.h"
#include "src/fault.h"

#define MOST_CELLS ((int64_t)1 << 40)

enum option_key {
    KEY_MATRIX = 256,
    KEY_GRID,
    KEY_STENCIL,
    KEY_PERIODIC,
    KEY_RANDOM,
    KEY_TOMOGRAPHY,
    KEY_NEIGHBORS,
    KEY_PARTITION,
    KEY_OP,
    KEY_REDUCE,
    KEY_WIDTH,
    KEY_DTYPE,
    KEY_GHOST_ORDER,
    KEY_TOPOLOGY,
    KEY_PROBE,
    KEY_STRATEGY,
    KEY_MEASURE,
    KEY_NO_SHARED_MEMORY,
    KEY_MEMORY,
    KEY_TRANSPORT,
    KEY_WIRE_PRECISION,
    KEY_TIMEOUT_MS,
    KEY_SAVE_PLAN,
    KEY_LOAD_PLAN,
    KEY_METHODS,
    KEY_PEERS,
    KEY_ITERATIONS,
    KEY_WARMUP,
    KEY_SECONDS,
    KEY_SETUP,
    KEY_NAIVE_LIMIT_MB,
    KEY_EXPLAIN,
    KEY_JSON,
    KEY_HELP,
    KEY_VERSION
};

static const struct argp_option option_table[] = {
    {NULL, 0, NULL, 0, "Input, one of:", 1},
    {"matrix", KEY_MATRIX, "FILE", 0, "MatrixMarket file, plain or compressed", 1},
    {"grid", KEY_GRID, "NXxNY[xNZ]", 0, "matrix of a stencil on a grid", 1},
    {"stencil", KEY_STENCIL, "POINTS", 0, "of --grid: 5 or 9 in two dimensions, 7 or 27 in three (default 5, 7)", 1},
    {"periodic", KEY_PERIODIC, "AXES", 0, "of --grid: axes that wrap around, such as xyz (default none)", 1},
    {"random", KEY_RANDOM, "ROWS,NNZ,SEED", 0, "square random matrix with NNZ entries per row", 1},
    {"tomography", KEY_TOMOGRAPHY, "N,ANGLES", 0,
     "parallel-beam scan of NxN pixels: scatter reduces partial sinograms, gather hands them out", 1},
    {"neighbors", KEY_NEIGHBORS, "N", 0,
     "one row per rank, needed by the N ranks before it (at most all others); 0 needs nothing: what ranks cost", 1},
    {"partition", KEY_PARTITION, "HOW", 0,
     "who gets which rows: block (default), metis, or a file with the rank of each row", 1},
    {NULL, 0, NULL, 0, "Exchange:", 2},
    {"op", KEY_OP, "WHICH", 0, "gather, scatter or both (default both)", 2},
    {"reduce", KEY_REDUCE, "OP", 0, "of scatter: sum, min, max, prod or replace (default sum)", 2},
    {"width", KEY_WIDTH, "N", 0, "scalars per row (default 64)", 2},
    {"dtype", KEY_DTYPE, "TYPE", 0, "f64 f32 f16 bf16 i8 i32 i64 u8 c64 c128 or byte (default f32)", 2},
    {"ghost-order", KEY_GHOST_ORDER, "ORDER", 0, "of ghost rows: caller (ascending ids) or plan (default caller)", 2},
    {NULL, 0, NULL, 0, "Machine and plan:", 3},
    {"topology", KEY_TOPOLOGY, "TEXT", 0, "such as 2x4, 2x2x2 or 3,1,4, or a FILE.topo (default: discovered)", 3},
    {"probe", KEY_PROBE, "FILE.topo", OPTION_ARG_OPTIONAL,
     "measure the links first, print them, plan with them; needs no input; --probe=FILE.topo keeps them", 3},
    {"strategy", KEY_STRATEGY, "NAME", 0, "auto, direct, rail, balanced, aggregated or striped (default auto)", 3},
    {"measure", KEY_MEASURE, NULL, 0, "time the best strategies and keep the fastest", 3},
    {"no-shared-memory", KEY_NO_SHARED_MEMORY, NULL, 0, "use MPI messages inside a node too", 3},
    {"memory", KEY_MEMORY, "KIND", 0,
     "of rows: host (default), pinned, device, managed, or plain: not from tulle_alloc, so that ranks cannot read them "
     "in "
     "place",
     3},
    {"transport", KEY_TRANSPORT, "NAME", 0,
     "the only one to use: auto (default), shared_memory, mpi, ucx; of GPUs cuda_ipc, cuda_staged; of GPUs between "
     "nodes mpi_staged, mpi_device, ucx_staged, ucx_device or nccl",
     3},
    {"wire-precision", KEY_WIRE_PRECISION, "NAME", 0,
     "in which rows of f32 cross between nodes, for tulle: none (default), bf16, f16 or fp8", 3},
    {"timeout-ms", KEY_TIMEOUT_MS, "N", 0, "longest wait for another rank (default: for ever)", 3},
    {"save-plan", KEY_SAVE_PLAN, "FILE", 0, "write the plan", 3},
    {"load-plan", KEY_LOAD_PLAN, "FILE", 0, "use a plan that was written for the same input and topology", 3},
    {NULL, 0, NULL, 0, "Measurement:", 4},
    {"peers", KEY_PEERS, "LIST", 0,
     "what to run beside tulle: all, none, or some of naive,alltoallv,neighbor_alltoallv,neighbor_alltoallv_init,"
     "petsc_basic,petsc_neighbor,hypre (default all that this build has); also tulle_direct and so on, plans of one "
     "strategy, or strategies for all of these, and tulle_whole, without chunks",
     4},
    {"methods", KEY_METHODS, "LIST", 0, "the same, with tulle one of the names: none measures nothing", 4},
    {"iterations", KEY_ITERATIONS, "N", 0, "timed exchanges per method (default 20)", 4},
    {"warmup", KEY_WARMUP, "N", 0, "exchanges before (default 3)", 4},
    {"seconds", KEY_SECONDS, "N", 0, "of one direction, for all iterations of all methods; 5 are always run", 4},
    {"setup", KEY_SETUP, "N", 0,
     "make pattern, plans and exchange N times, in turns with what peers set up, and print the times", 4},
    {"naive-limit-mb", KEY_NAIVE_LIMIT_MB, "N", 0, "skip naive when it needs more MiB per rank (default 1024)", 4},
    {NULL, 0, NULL, 0, "Output:", 5},
    {"explain", KEY_EXPLAIN, NULL, 0, "print what the plan does and why", 5},
    {"json", KEY_JSON, "FILE", 0, "write the results", 5},
    {"help", KEY_HELP, NULL, 0, "print this and stop", 6},
    {"version", KEY_VERSION, NULL, 0, "print the version and stop", 6},
    {0}};

#define PERF_WORD(name, value, text)             {text, value},
#define PERF_SIZED_WORD(name, value, size, text) {text, value},
static const perf_word_t ops[] = {TULLE_OP_MAP(PERF_WORD)};
static const perf_word_t datatypes[] = {TULLE_DATATYPE_MAP(PERF_SIZED_WORD)};
static const perf_word_t strategies[] = {TULLE_STRATEGY_MAP(PERF_WORD)};
static const perf_word_t methods[] = {PERF_METHOD_MAP(PERF_WORD)};
static const perf_word_t memories[] = {PERF_MEMORY_MAP(PERF_WORD)};
static const perf_word_t transports[] = {TULLE_TRANSPORT_MAP(PERF_WORD)};
static const perf_word_t precisions[] = {TULLE_WIRE_PRECISION_MAP(PERF_WORD)};
static const perf_word_t directions[] = {{"gather", 1}, {"scatter", 2}, {"both", 3}};
static const perf_word_t ghost_orders[] = {{"caller", TULLE_GHOST_ORDER_CALLER}, {"plan", TULLE_GHOST_ORDER_PLAN}};

static tulle_status_t parse_source(perf_source_t source, perf_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(options->source == PERF_SOURCE_NONE, TULLE_ERR_ARG,
                "more than one input is given; keep one of --matrix, --grid, --random, --tomography and --neighbors");
    options->source = source;
done:
    return st;
}

static tulle_status_t parse_grid(const char *text, perf_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    int length = 0;
    int64_t *dims = options->dims;
    TLI_TRY(parse_source(PERF_SOURCE_GRID, options));
    errno = 0;
    options->num_dims =
        sscanf(text, "%" SCNd64 "x%" SCNd64 "%nx%" SCNd64 "%n", &dims[0], &dims[1], &length, &dims[2], &length);
    if (options->num_dims == 2)
        dims[2] = 1;
    TLI_REQUIRE(options->num_dims >= 2 && text[length] == '\0' && dims[0] >= 1 && dims[1] >= 1 && dims[2] >= 1,
                TULLE_ERR_ARG, "--grid is '%.60s'; give two or three positive numbers, such as 128x128x128", text);
    TLI_REQUIRE(dims[0] <= MOST_CELLS && dims[1] <= MOST_CELLS / dims[0] && dims[2] <= MOST_CELLS / dims[0] / dims[1],
                TULLE_ERR_ARG, "--grid is '%.60s'; give at most 2^40 cells", text);
done:
    return st;
}

static tulle_status_t parse_periodic(const char *text, perf_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    for (const char *axis = text; *axis != '\0'; axis++) {
        TLI_REQUIRE(*axis >= 'x' && *axis <= 'z', TULLE_ERR_ARG,
                    "--periodic is '%.60s'; give axes out of x, y and z, such as xy", text);
        options->periodic[*axis - 'x'] = 1;
    }
done:
    return st;
}

static tulle_status_t parse_random(const char *text, perf_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    int length = 0;
    TLI_TRY(parse_source(PERF_SOURCE_RANDOM, options));
    int num = sscanf(text, "%" SCNd64 ",%" SCNd64 ",%" SCNu64 "%n", &options->random_rows, &options->random_nnz_per_row,
                     &options->random_seed, &length);
    TLI_REQUIRE(num == 3 && text[length] == '\0', TULLE_ERR_ARG,
                "--random is '%.60s'; give rows, entries per row and seed, such as 100000,16,1", text);
    TLI_REQUIRE(options->random_rows >= 0 && options->random_rows <= MOST_CELLS && options->random_nnz_per_row >= 0 &&
                    options->random_nnz_per_row <= MOST_CELLS,
                TULLE_ERR_ARG, "--random is '%.60s'; give rows and entries per row from 0 to 2^40", text);
done:
    return st;
}

static tulle_status_t parse_tomography(const char *text, perf_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    int length = 0;
    perf_scan_t *scan = &options->scan;
    TLI_TRY(parse_source(PERF_SOURCE_TOMOGRAPHY, options));
    int num = sscanf(text, "%" SCNd64 ",%" SCNd64 "%n", &scan->side, &scan->num_angles, &length);
    TLI_REQUIRE(num == 2 && text[length] == '\0', TULLE_ERR_ARG,
                "--tomography is '%.60s'; give pixels a side and angles, such as 256,180", text);
    TLI_REQUIRE(
        scan->side >= 1 && scan->side <= PERF_SCAN_MOST && scan->num_angles >= 1 && scan->num_angles <= PERF_SCAN_MOST,
        TULLE_ERR_ARG, "--tomography is '%.60s'; give pixels a side and angles from 1 to %d", text, PERF_SCAN_MOST);
done:
    return st;
}

/* A name that is known, but not in this build, is told from one that is not known. */
static tulle_status_t parse_method(const char *option, const char *name, unsigned *methods_out)
{
    tulle_status_t st = TULLE_OK;
    int bit = 0;
    if (strcmp(name, "strategies") == 0) {
        *methods_out |= PERF_METHODS_OF_STRATEGIES;
        goto done;
    }
    TLI_TRY(perf_parse_word(option, name, methods, PERF_COUNT_OF(methods), &bit));
    for (int i = 0; i < PERF_NUM_METHODS; i++)
        TLI_REQUIRE(perf_methods[i]->bit != (unsigned)bit || perf_methods[i]->lacks == NULL, TULLE_ERR_UNSUPPORTED,
                    "--%s names %s, which is not in this build: it needs %s", option, name, perf_methods[i]->lacks);
    *methods_out |= (unsigned)bit;
done:
    return st;
}

static tulle_status_t parse_methods(const char *option, const char *text, unsigned *methods_out)
{
    tulle_status_t st = TULLE_OK;
    char name[32];
    int length = 0;
    *methods_out = strcmp(text, "all") == 0 ? perf_methods_built() : 0;
    if (strcmp(text, "all") == 0 || strcmp(text, "none") == 0)
        goto done;
    for (const char *rest = text; rest != NULL; rest = *rest == ',' ? rest + 1 : NULL) {
        TLI_REQUIRE(sscanf(rest, "%31[^,]%n", name, &length) == 1, TULLE_ERR_ARG,
                    "--%s is '%.60s'; give all, none, or names with commas between them", option, text);
        TLI_TRY(parse_method(option, name, methods_out));
        rest += length;
    }
done:
    return st;
}

static tulle_status_t parse_peers(const char *text, unsigned *methods_out)
{
    tulle_status_t st = parse_methods("peers", text, methods_out);
    *methods_out |= PERF_METHOD_TULLE;
    return st;
}

static tulle_status_t parse_direction(const char *text, perf_options_t *options)
{
    int bits = 0;
    tulle_status_t st = perf_parse_word("op", text, directions, PERF_COUNT_OF(directions), &bits);
    options->do_gather = (bits & 1) != 0;
    options->do_scatter = (bits & 2) != 0;
    return st;
}

/* Options whose value is a word or a number. */
static tulle_status_t parse_value(int key, const char *text, perf_options_t *options)
{
    int value = 0;
    int64_t number = 0;
    tulle_status_t st = TULLE_OK;
    switch (key) {
    case KEY_STENCIL:
        st = perf_parse_int("stencil", text, 5, 27, &number);
        options->stencil = (int)number;
        return st;
    case KEY_REDUCE:
        st = perf_parse_word("reduce", text, ops, PERF_COUNT_OF(ops), &value);
        options->reduce = (tulle_op_t)value;
        return st;
    case KEY_DTYPE:
        st = perf_parse_word("dtype", text, datatypes, PERF_COUNT_OF(datatypes), &value);
        options->datatype = (tulle_datatype_t)value;
        return st;
    case KEY_GHOST_ORDER:
        st = perf_parse_word("ghost-order", text, ghost_orders, PERF_COUNT_OF(ghost_orders), &value);
        options->ghost_order = (tulle_ghost_order_t)value;
        return st;
    case KEY_MEMORY:
        st = perf_parse_word("memory", text, memories, PERF_COUNT_OF(memories), &value);
        options->memory = (perf_memory_t)value;
        return st;
    case KEY_TRANSPORT:
        st = perf_parse_word("transport", text, transports, PERF_COUNT_OF(transports), &value);
        options->transport = (tulle_transport_t)value;
        return st;
    case KEY_WIRE_PRECISION:
        st = perf_parse_word("wire-precision", text, precisions, PERF_COUNT_OF(precisions), &value);
        options->wire_precision = (tulle_wire_precision_t)value;
        return st;
    case KEY_STRATEGY:
        st = perf_parse_word("strategy", text, strategies, PERF_COUNT_OF(strategies), &value);
        options->strategy = (tulle_strategy_t)value;
        return st;
    case KEY_WIDTH:
        return perf_parse_int("width", text, 1, 1 << 30, &options->width);
    case KEY_ITERATIONS:
        return perf_parse_int("iterations", text, 1, 1000000, &options->iterations);
    case KEY_WARMUP:
        return perf_parse_int("warmup", text, 0, 1000000, &options->warmup);
    case KEY_SECONDS:
        return perf_parse_int("seconds", text, 1, 1000000, &options->seconds);
    case KEY_SETUP:
        return perf_parse_int("setup", text, 1, 100000, &options->setup_repeats);
    case KEY_TIMEOUT_MS:
        return perf_parse_int("timeout-ms", text, 1, INT64_MAX / 1000000, &options->timeout_ms);
    case KEY_NAIVE_LIMIT_MB:
        return perf_parse_int("naive-limit-mb", text, 0, (int64_t)1 << 40, &options->naive_limit_mb);
    }
    return TULLE_OK;
}

static tulle_status_t parse_file(const char *option, const char *text, const char **path_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(text[0] != '\0', TULLE_ERR_ARG, "--%s is empty; give the name of a file", option);
    *path_out = text;
done:
    return st;
}

static tulle_status_t parse_option(int key, char *text, perf_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    switch (key) {
    case KEY_MATRIX:
        TLI_TRY(parse_source(PERF_SOURCE_MATRIX, options));
        return parse_file("matrix", text, &options->matrix);
    case KEY_GRID:
        return parse_grid(text, options);
    case KEY_PERIODIC:
        return parse_periodic(text, options);
    case KEY_RANDOM:
        return parse_random(text, options);
    case KEY_TOMOGRAPHY:
        return parse_tomography(text, options);
    case KEY_NEIGHBORS:
        TLI_TRY(parse_source(PERF_SOURCE_NEIGHBORS, options));
        return perf_parse_int("neighbors", text, 0, INT32_MAX, &options->num_neighbors);
    case KEY_PARTITION:
        options->partition = strcmp(text, "block") == 0 ? NULL : text;
        return TULLE_OK;
    case KEY_OP:
        return parse_direction(text, options);
    case KEY_TOPOLOGY:
        options->topology = text;
        return TULLE_OK;
    case KEY_PROBE:
        options->is_probing = 1;
        options->probe = text;
        return TULLE_OK;
    case KEY_MEASURE:
        options->is_measuring = 1;
        return TULLE_OK;
    case KEY_METHODS:
        return parse_methods("methods", text, &options->methods);
    case KEY_PEERS:
        return parse_peers(text, &options->methods);
    case KEY_JSON:
        return parse_file("json", text, &options->json);
    case KEY_SAVE_PLAN:
        return parse_file("save-plan", text, &options->save_plan);
    case KEY_LOAD_PLAN:
        return parse_file("load-plan", text, &options->load_plan);
    case KEY_NO_SHARED_MEMORY:
        options->disable_shared_memory = 1;
        return TULLE_OK;
    case KEY_EXPLAIN:
        options->is_explaining = 1;
        return TULLE_OK;
    case KEY_HELP:
        options->wants_help = 1;
        return TULLE_OK;
    case KEY_VERSION:
        options->wants_version = 1;
        return TULLE_OK;
    default:
        return parse_value(key, text, options);
    }
done:
    return st;
}

typedef struct parse_state {
    perf_options_t options;
    tulle_status_t status;
} parse_state_t;

static error_t parse_argument(int key, char *text, struct argp_state *argp_state)
{
    parse_state_t *state = argp_state->input;
    if (key < KEY_MATRIX || key > KEY_VERSION)
        return perf_parse_rest(key, text, argp_state, "--help", 1, &state->status);
    state->status = parse_option(key, text, &state->options);
    return state->status == TULLE_OK ? 0 : EINVAL;
}

static const struct argp parser = {
    option_table,
    parse_argument,
    NULL,
    "Runs a sparse exchange planned by Tulle and prints what it saves: rows between nodes "
    "against an all-to-all and against direct messages, times against MPI. Every value "
    "is checked.",
    NULL,
    NULL,
    NULL};

static tulle_status_t check_grid(perf_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    int is_flat = options->num_dims == 2;
    if (options->source != PERF_SOURCE_GRID) {
        TLI_REQUIRE(options->stencil == 0, TULLE_ERR_ARG, "--stencil %d is given without --grid", options->stencil);
        TLI_REQUIRE(options->periodic[0] + options->periodic[1] + options->periodic[2] == 0, TULLE_ERR_ARG,
                    "--periodic is given without --grid");
        goto done;
    }
    if (options->stencil == 0)
        options->stencil = is_flat ? 5 : 7;
    TLI_REQUIRE(is_flat ? options->stencil == 5 || options->stencil == 9
                        : options->stencil == 7 || options->stencil == 27,
                TULLE_ERR_ARG, "--stencil is %d in %d dimensions; give %s", options->stencil, options->num_dims,
                is_flat ? "5 or 9" : "7 or 27");
    TLI_REQUIRE(!is_flat || !options->periodic[2], TULLE_ERR_ARG,
                "--periodic names z, but --grid has two dimensions; give x, y or xy");
done:
    return st;
}

static tulle_status_t check_options(perf_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(options->source != PERF_SOURCE_NONE || options->is_probing, TULLE_ERR_ARG,
                "no input is given; name one with --matrix FILE, --grid NXxNYxNZ, --random ROWS,NNZ,SEED, "
                "--tomography N,ANGLES or --neighbors N");
    TLI_TRY(check_grid(options));
    TLI_REQUIRE(options->partition == NULL || strcmp(options->partition, "metis") != 0 || perf_partition_has_metis(),
                TULLE_ERR_UNSUPPORTED, "--partition metis needs a build with METIS (libmetis-dev)");
    TLI_REQUIRE(!options->do_scatter || perf_reduce_knows(options->datatype, options->reduce), TULLE_ERR_ARG,
                "scatter cannot reduce %s with %s; give --op gather, or --reduce %s",
                tulle_datatype_name(options->datatype), tulle_op_name(options->reduce),
                options->datatype == TULLE_BYTE ? "replace" : "sum, prod or replace");
    TLI_REQUIRE((uint64_t)options->width * tulle_datatype_size(options->datatype) <= INT32_MAX, TULLE_ERR_ARG,
                "--width %" PRId64 " of %s makes rows of 2 GiB or more; give less", options->width,
                tulle_datatype_name(options->datatype));
    TLI_REQUIRE(options->wire_precision == TULLE_WIRE_PRECISION_NONE || options->datatype == TULLE_F32, TULLE_ERR_ARG,
                "--wire-precision %s is for rows of f32, not of %s; leave out --dtype",
                tulle_wire_precision_name(options->wire_precision), tulle_datatype_name(options->datatype));
    TLI_REQUIRE(options->load_plan == NULL ||
                    (options->strategy == TULLE_STRATEGY_AUTO && options->ghost_order == TULLE_GHOST_ORDER_CALLER),
                TULLE_ERR_ARG,
                "--load-plan brings its own strategy and ghost order; leave out --strategy and "
                "--ghost-order");
    TLI_REQUIRE(!options->is_measuring || (options->strategy == TULLE_STRATEGY_AUTO && options->load_plan == NULL),
                TULLE_ERR_ARG, "--measure chooses the strategy; leave out --strategy and --load-plan");
done:
    return st;
}

tulle_status_t perf_options_parse(int argc, char **argv, perf_options_t *options_out)
{
    tulle_status_t st = TULLE_OK;
    parse_state_t state = {{.do_gather = 1,
                            .do_scatter = 1,
                            .reduce = TULLE_OP_SUM,
                            .width = 64,
                            .datatype = TULLE_F32,
                            .strategy = TULLE_STRATEGY_AUTO,
                            .ghost_order = TULLE_GHOST_ORDER_CALLER,
                            .methods = perf_methods_built(),
                            .iterations = 20,
                            .warmup = 3,
                            .naive_limit_mb = 1024},
                           TULLE_OK};
    error_t failed = argp_parse(&parser, argc, argv, ARGP_SILENT, NULL, &state);
    TLI_TRY(state.status);
    TLI_REQUIRE(failed == 0, TULLE_ERR_NOMEM, "the command line cannot be read: %s", strerror(failed));
    if (!state.options.wants_help && !state.options.wants_version)
        TLI_TRY(check_options(&state.options));
    *options_out = state.options;
done:
    return st;
}

void perf_options_print_help(FILE *out)
{
    char name[] = "tulle_perf";
    argp_help(&parser, out, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
}
