/* SPDX-License-Identifier: Apache-2.0
 * One argp parser. Words become values here; nothing is opened or computed. */
#include "perf/dnn_options.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "perf/words.h"
#include "src/fault.h"

#define MOST_LAYERS 4096
#define MOST_BATCH  1048576

enum option_key {
    KEY_LAYERS = 256,
    KEY_NEURONS,
    KEY_BATCH,
    KEY_SEED,
    KEY_LAYOUT,
    KEY_TOPOLOGY,
    KEY_DTYPE,
    KEY_MEMORY,
    KEY_COVER,
    KEY_ITERATIONS,
    KEY_WARMUP,
    KEY_TIMEOUT_MS,
    KEY_NO_SHARED_MEMORY,
    KEY_JSON,
    KEY_HELP
};

static const struct argp_option option_table[] = {
    {"layers", KEY_LAYERS, "N|FOLDER", 0,
     "number of layers to make (default one block and a half), or a folder of n<neurons>-l<layer>.mtx and "
     "sparse-images-<neurons>.mtx",
     1},
    {"neurons", KEY_NEURONS, "N", 0, "of layers that are made: 1024 (default), 4096, 16384 or 65536", 1},
    {"batch", KEY_BATCH, "N", 0, "inputs (default all of the folder, or 64)", 1},
    {"seed", KEY_SEED, "N", 0, "of what is made (default 1)", 1},
    {"layout", KEY_LAYOUT, "NAME", 0, "which rank has which neurons: contiguous, by_class or both (default both)", 2},
    {"topology", KEY_TOPOLOGY, "TEXT", 0, "such as 2x4, 2x2x2 or 3,1,4 (default: discovered)", 2},
    {"dtype", KEY_DTYPE, "TYPE", 0, "f32 (default) or f64", 2},
    {"memory", KEY_MEMORY, "KIND", 0, "of activations: host (default) or device, one GPU for each rank or shared", 2},
    {"cover", KEY_COVER, "NAME", 0, "what crosses between nodes: auto (default), columns, least or balanced", 2},
    {"no-shared-memory", KEY_NO_SHARED_MEMORY, NULL, 0, "use MPI messages inside a node too", 2},
    {"timeout-ms", KEY_TIMEOUT_MS, "N", 0, "longest wait for another rank (default: for ever)", 2},
    {"iterations", KEY_ITERATIONS, "N", 0, "timed runs per layout (default 10)", 3},
    {"warmup", KEY_WARMUP, "N", 0, "runs before (default 2)", 3},
    {"json", KEY_JSON, "FILE", 0, "write the results", 4},
    {"help", KEY_HELP, NULL, 0, "print this and stop", 5},
    {0}};

#define PERF_WORD(name, value, text) {text, value},
static const perf_word_t covers[] = {TULLE_COVER_MAP(PERF_WORD)};
static const perf_word_t layouts[] = {PERF_DNN_LAYOUT_MAP(PERF_WORD){"both", PERF_DNN_CONTIGUOUS | PERF_DNN_BY_CLASS}};
static const perf_word_t datatypes[] = {{"f32", TULLE_F32}, {"f64", TULLE_F64}};
static const perf_word_t memories[] = {{"host", PERF_MEMORY_HOST}, {"device", PERF_MEMORY_DEVICE}};
static const perf_word_t sizes[] = {{"1024", 1024}, {"4096", 4096}, {"16384", 16384}, {"65536", 65536}};

const char *perf_dnn_layout_name(perf_dnn_layout_t layout)
{
    for (size_t i = 0; i < PERF_COUNT_OF(layouts); i++)
        if (layouts[i].value == (int)layout)
            return layouts[i].text;
    return "unknown";
}

static tulle_status_t parse_layers(const char *text, perf_dnn_options_t *options)
{
    if (isdigit((unsigned char)text[0]) || text[0] == '-')
        return perf_parse_int("layers", text, 1, MOST_LAYERS, &options->num_layers);
    options->folder = text;
    return TULLE_OK;
}

static tulle_status_t parse_word(int key, const char *text, perf_dnn_options_t *options)
{
    int value = 0;
    tulle_status_t st = TULLE_OK;
    switch (key) {
    case KEY_NEURONS:
        st = perf_parse_word("neurons", text, sizes, PERF_COUNT_OF(sizes), &value);
        options->neurons = value;
        return st;
    case KEY_LAYOUT:
        st = perf_parse_word("layout", text, layouts, PERF_COUNT_OF(layouts), &value);
        options->layouts = (unsigned)value;
        return st;
    case KEY_DTYPE:
        st = perf_parse_word("dtype", text, datatypes, PERF_COUNT_OF(datatypes), &value);
        options->datatype = (tulle_datatype_t)value;
        return st;
    case KEY_MEMORY:
        st = perf_parse_word("memory", text, memories, PERF_COUNT_OF(memories), &value);
        options->memory = (perf_memory_t)value;
        return st;
    default:
        st = perf_parse_word("cover", text, covers, PERF_COUNT_OF(covers), &value);
        options->cover = (tulle_cover_t)value;
        return st;
    }
}

static tulle_status_t parse_option(int key, char *text, perf_dnn_options_t *options)
{
    int64_t number = 0;
    tulle_status_t st = TULLE_OK;
    switch (key) {
    case KEY_LAYERS:
        return parse_layers(text, options);
    case KEY_BATCH:
        return perf_parse_int("batch", text, 1, MOST_BATCH, &options->batch);
    case KEY_SEED:
        st = perf_parse_int("seed", text, 0, INT64_MAX, &number);
        options->seed = (uint64_t)number;
        return st;
    case KEY_TOPOLOGY:
        options->topology = text;
        return TULLE_OK;
    case KEY_ITERATIONS:
        return perf_parse_int("iterations", text, 1, INT32_MAX, &options->iterations);
    case KEY_WARMUP:
        return perf_parse_int("warmup", text, 0, INT32_MAX, &options->warmup);
    case KEY_TIMEOUT_MS:
        return perf_parse_int("timeout-ms", text, 0, INT64_MAX, &options->timeout_ms);
    case KEY_NO_SHARED_MEMORY:
        options->disable_shared_memory = 1;
        return TULLE_OK;
    case KEY_JSON:
        options->json = text;
        return TULLE_OK;
    case KEY_HELP:
        options->wants_help = 1;
        return TULLE_OK;
    default:
        return parse_word(key, text, options);
    }
}

typedef struct parse_state {
    perf_dnn_options_t options;
    tulle_status_t status;
} parse_state_t;

static error_t parse_argument(int key, char *text, struct argp_state *argp_state)
{
    parse_state_t *state = argp_state->input;
    if (key < KEY_LAYERS || key > KEY_HELP)
        return perf_parse_rest(key, text, argp_state, "dnn --help", 0, &state->status);
    state->status = parse_option(key, text, &state->options);
    return state->status == TULLE_OK ? 0 : EINVAL;
}

static const struct argp parser = {option_table,
                                   parse_argument,
                                   NULL,
                                   "Runs a sparse deep neural network of the Graph Challenge, its neurons split over "
                                   "ranks, and checks what comes out against a serial run.",
                                   NULL,
                                   NULL,
                                   NULL};

tulle_status_t perf_dnn_options_parse(int argc, char **argv, perf_dnn_options_t *options_out)
{
    tulle_status_t st = TULLE_OK;
    parse_state_t state = {{.neurons = 1024,
                            .seed = 1,
                            .layouts = PERF_DNN_CONTIGUOUS | PERF_DNN_BY_CLASS,
                            .datatype = TULLE_F32,
                            .iterations = 10,
                            .warmup = 2},
                           TULLE_OK};
    error_t failed = argp_parse(&parser, argc, argv, ARGP_SILENT, NULL, &state);
    TLI_TRY(state.status);
    TLI_REQUIRE(failed == 0, TULLE_ERR_NOMEM, "the command line cannot be read: %s", strerror(failed));
    *options_out = state.options;
done:
    return st;
}

void perf_dnn_options_print_help(FILE *out)
{
    char name[] = "tulle_perf dnn";
    argp_help(&parser, out, ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC, name);
}
