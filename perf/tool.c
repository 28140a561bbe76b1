/* SPDX-License-Identifier: Apache-2.0
 * read -> communicator -> pattern -> plan -> volumes -> exchanges -> report. Each step ends with the same status on
 * every rank, so the first failure ends all of them alike. */
#include "perf/tool.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <tulle/mpi.h>

#include "perf/case.h"
#include "perf/halo.h"
#include "perf/report.h"
#include "perf/watch.h"
#include "src/agree.h"
#include "src/device/wire_rows.h"

typedef struct tool {
    const perf_options_t *options;
    MPI_Comm comm;
    int rank;
    int num_ranks;
    perf_watch_t *watch;    /* on rank 0 */
    const char *read_phase; /* what perf_input_read_matrix() last reported */
    perf_input_t input;
    perf_halo_t halo;
    tulle_topology_t *topology; /* as declared; NULL = to be discovered */
    tulle_comm_t *tulle;
    tulle_plan_t *plan;
    perf_report_t report;
} tool_t;

void perf_tool_print_error(int rank)
{
    const tulle_error_t *error = tulle_last_error();
    if (rank == 0)
        fprintf(stderr, "tulle_perf: %s\n", error->text);
}

static double slowest_us(const tool_t *tool, double seconds)
{
    double all = seconds;
    MPI_Allreduce(&seconds, &all, 1, MPI_DOUBLE, MPI_MAX, tool->comm);
    return 1e6 * all;
}

static int has_suffix(const char *text, const char *suffix)
{
    size_t length = strlen(text);
    return length >= strlen(suffix) && strcmp(text + length - strlen(suffix), suffix) == 0;
}

static tulle_status_t check_json(const char *path)
{
    tulle_status_t st = TULLE_OK;
    int is_new = access(path, F_OK) != 0;
    TLI_REQUIRE(perf_report_has_json(), TULLE_ERR_UNSUPPORTED, "--json needs a build with Jansson (libjansson-dev)");
    FILE *file = fopen(path, "a");
    TLI_REQUIRE(file != NULL, TULLE_ERR_FILE,
                "--json is '%.120s', which cannot be written; name a file in a folder that exists", path);
    fclose(file);
    if (is_new)
        remove(path);
done:
    return st;
}

/* What only running ranks can say about the command line: the topology must fit them, and the JSON file must be
 * writable before hours are spent on what goes into it. */
static tulle_status_t check_surroundings(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    const perf_options_t *options = tool->options;
    const char *topology = options->topology;
    if (topology != NULL && has_suffix(topology, ".topo"))
        TLI_TRY(tulle_topology_load(topology, tool->num_ranks, &tool->topology));
    else if (topology != NULL)
        TLI_TRY(tulle_topology_parse(topology, tool->num_ranks, &tool->topology));
    if (tool->rank == 0 && options->json != NULL)
        TLI_TRY(check_json(options->json));
done:
    return st;
}

static void show_reading(void *state, const char *phase, double fraction)
{
    tool_t *tool = state;
    if (phase != tool->read_phase)
        perf_watch_begin(tool->watch, "%s %s", phase, tool->options->matrix);
    tool->read_phase = phase;
    perf_watch_advance(tool->watch, fraction);
}

static tulle_status_t read_input(tool_t *tool)
{
    const perf_options_t *options = tool->options;
    if (options->source == PERF_SOURCE_MATRIX)
        return perf_input_read_matrix(tool->comm, options->matrix, show_reading, tool, &tool->input);
    perf_watch_begin(tool->watch, "making the matrix");
    if (options->source == PERF_SOURCE_GRID)
        return perf_input_make_grid(tool->comm, options->dims, options->num_dims, options->stencil, options->periodic,
                                    &tool->input);
    if (options->source == PERF_SOURCE_TOMOGRAPHY)
        return perf_input_make_tomography(tool->comm, options->scan.side, options->scan.num_angles, &tool->input);
    if (options->source == PERF_SOURCE_NEIGHBORS)
        return perf_input_make_neighbors(tool->comm, options->num_neighbors, &tool->input);
    return perf_input_make_random(tool->comm, options->random_rows, options->random_nnz_per_row, options->random_seed,
                                  &tool->input);
}

static tulle_status_t open_comm(tool_t *tool)
{
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    options.topology = tool->topology;
    options.timeout_ms = tool->options->timeout_ms;
    options.disable_shared_memory = tool->options->disable_shared_memory;
    return tulle_comm_create(tool->comm, &options, &tool->tulle);
}

/* Measure the links, show and keep them, and go on with a communicator that knows them. */
static tulle_status_t probe_links(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    tulle_topology_t *measured = NULL;
    const char *path = tool->options->probe;
    perf_watch_begin(tool->watch, "measuring links");
    TLI_TRY(tulle_comm_probe(tool->tulle, NULL, &measured));
    perf_watch_end(tool->watch);
    if (tool->rank == 0)
        st = tulle_topology_print(measured, stdout);
    if (tool->rank == 0 && path != NULL && st == TULLE_OK)
        st = tulle_topology_save(measured, path);
    TLI_TRY(tli_agree(tool->comm, st));
    tulle_comm_destroy(&tool->tulle);
    tulle_topology_destroy(&tool->topology);
    tool->topology = measured;
    measured = NULL;
    TLI_TRY(open_comm(tool));
done:
    tulle_topology_destroy(&measured);
    return st;
}

static tulle_status_t make_pattern(tool_t *tool, tulle_pattern_t **pattern_out)
{
    tulle_status_t st = TULLE_OK;
    const perf_input_t *input = &tool->input;
    tulle_layout_t rows = TULLE_LAYOUT_BLOCK(input->num_rows);
    tulle_layout_t columns = TULLE_LAYOUT_BLOCK(input->num_cols);
    perf_watch_begin(tool->watch, "inspecting the pattern");
    TLI_MPI(MPI_Barrier(tool->comm));
    double began = MPI_Wtime();
    TLI_TRY(tulle_pattern_create_from_csr(tool->tulle, &rows, &columns, input->row_ptr, input->col_idx, pattern_out));
    tool->report.pattern_us = slowest_us(tool, MPI_Wtime() - began);
done:
    return st;
}

static tulle_status_t make_plan(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    const perf_options_t *options = tool->options;
    tulle_plan_options_t plan_options = TULLE_PLAN_OPTIONS_INIT;
    tulle_pattern_t *pattern = NULL;
    plan_options.strategy = options->strategy;
    plan_options.ghost_order = options->ghost_order;
    plan_options.row_bytes = tool->report.row_bytes;
    plan_options.measure = options->is_measuring;
    if (options->load_plan == NULL)
        TLI_TRY(make_pattern(tool, &pattern));
    perf_watch_begin(tool->watch, "planning");
    TLI_MPI(MPI_Barrier(tool->comm));
    double began = MPI_Wtime();
    if (options->load_plan == NULL)
        TLI_TRY(tulle_plan_create(tool->tulle, pattern, &plan_options, &tool->plan));
    else
        TLI_TRY(tulle_plan_load(tool->tulle, options->load_plan, &tool->plan));
    tool->report.setup_us = slowest_us(tool, MPI_Wtime() - began);
    if (options->save_plan != NULL)
        TLI_TRY(tulle_plan_save(tool->plan, options->save_plan));
done:
    tulle_pattern_destroy(&pattern);
    return st;
}

/* The library's volumes, and the tool's own to compare them with. A difference is reported, not a reason to stop. */
static tulle_status_t count_volumes(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    perf_report_t *report = &tool->report;
    const tulle_topology_t *topology = tulle_comm_topology(tool->tulle);
    tli_arena_t arena = TLI_ARENA_INIT;
    int *node_of = NULL;
    perf_watch_begin(tool->watch, "counting volumes");
    report->stats.struct_size = sizeof report->stats;
    TLI_TRY(tulle_plan_get_stats(tool->plan, &report->stats));
    TLI_TRY(tli_agree(tool->comm, tli_arena_alloc(&arena, tool->num_ranks, sizeof(int), &node_of)));
    for (int r = 0; r < tool->num_ranks; r++)
        node_of[r] = tulle_topology_group(topology, 0, r);
    TLI_TRY(perf_volume_count(&tool->halo, node_of, &report->volume));
    if (perf_volume_check(&report->volume, &report->stats) != TULLE_OK)
        snprintf(report->volume_fault, sizeof report->volume_fault, "%s", tulle_last_error()->text);
    TLI_MPI(MPI_Allreduce(&tool->halo.num_needed, &report->num_needed, 1, MPI_INT64_T, MPI_SUM, tool->comm));
    report->topology = tulle_topology_text(topology);
    report->is_emulated = tulle_comm_is_emulated(tool->tulle);
done:
    tli_arena_release(&arena);
    return st;
}

static tulle_status_t show_plan(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    perf_watch_end(tool->watch);
    if (tool->rank == 0)
        perf_report_print_plan(&tool->report, stdout);
    if (tool->options->is_explaining)
        TLI_TRY(tulle_plan_explain(tool->plan, TULLE_EXPLAIN_TABLE, stdout));
done:
    return st;
}

static perf_case_options_t case_of(const perf_options_t *options, tulle_direction_t direction)
{
    return (perf_case_options_t){direction,
                                 options->datatype,
                                 options->reduce,
                                 options->width,
                                 options->naive_limit_mb << 20,
                                 options->memory,
                                 options->transport,
                                 options->wire_precision,
                                 options->is_explaining};
}

static tulle_status_t measure_setup(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    const perf_options_t *options = tool->options;
    perf_case_options_t case_options = case_of(options, options->do_gather ? TULLE_GATHER : TULLE_SCATTER);
    perf_case_t one = {0};
    TLI_TRY(perf_case_create(&tool->halo, tool->plan, &case_options, &one));
    perf_setup_options_t setup = {&tool->input,           &one,       tool->tulle, options->methods,
                                  options->setup_repeats, tool->watch};
    TLI_TRY(perf_setup_measure(&setup, tool->report.setups, &tool->report.num_setups));
done:
    perf_case_release(&one);
    return st;
}

static tulle_status_t measure(tool_t *tool, tulle_direction_t direction)
{
    tulle_status_t st = TULLE_OK;
    const perf_options_t *options = tool->options;
    perf_case_options_t case_options = case_of(options, direction);
    perf_measure_options_t measure_options = {options->methods,  options->warmup,          options->iterations,
                                              PERF_SLOW_SECONDS, (double)options->seconds, tool->watch};
    perf_case_t one = {0};
    int num_results = 0;
    TLI_TRY(perf_case_create(&tool->halo, tool->plan, &case_options, &one));
    TLI_TRY(perf_measure(&one, &measure_options, tool->report.results + tool->report.num_results, &num_results));
    tool->report.num_results += num_results;
done:
    perf_case_release(&one);
    return st;
}

static tulle_status_t show_results(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    if (tool->rank == 0)
        perf_report_print_results(&tool->report, stdout);
    if (tool->rank == 0 && tool->options->json != NULL)
        st = perf_report_write_json(&tool->report, tool->options->json);
    return tli_agree(tool->comm, st);
}

/* After the communicator: what is best depends on the nodes. */
static tulle_status_t partition_input(tool_t *tool)
{
    if (tool->options->partition == NULL)
        return TULLE_OK;
    perf_watch_begin(tool->watch, "partitioning");
    return perf_partition_input(tool->comm, tool->options->partition, tulle_comm_topology(tool->tulle), &tool->input,
                                &tool->report.partitioned);
}

static tulle_status_t run_steps(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    const perf_options_t *options = tool->options;
    if (options->source != PERF_SOURCE_NONE)
        TLI_TRY(read_input(tool));
    TLI_TRY(open_comm(tool));
    if (options->is_probing)
        TLI_TRY(probe_links(tool));
    if (options->source == PERF_SOURCE_NONE)
        goto done;
    TLI_TRY(partition_input(tool));
    TLI_TRY(perf_halo_create(tool->comm, &tool->input, &tool->halo));
    TLI_TRY(make_plan(tool));
    TLI_TRY(count_volumes(tool));
    TLI_TRY(show_plan(tool));
    TLI_TRY(perf_methods_open(options->methods, tool->comm));
    if (options->setup_repeats > 0)
        TLI_TRY(measure_setup(tool));
    if (options->do_gather && options->methods != 0)
        TLI_TRY(measure(tool, TULLE_GATHER));
    if (options->do_scatter && options->methods != 0)
        TLI_TRY(measure(tool, TULLE_SCATTER));
    TLI_TRY(show_results(tool));
done:
    return st;
}

static void release(tool_t *tool)
{
    perf_watch_destroy(&tool->watch);
    perf_methods_close(tool->options->methods);
    tulle_plan_destroy(&tool->plan);
    perf_halo_release(&tool->halo);
    tulle_comm_destroy(&tool->tulle);
    tulle_topology_destroy(&tool->topology);
    perf_input_release(&tool->input);
}

perf_exit_t perf_tool_run(MPI_Comm comm, const perf_options_t *options)
{
    perf_exit_t result = PERF_EXIT_FAILED;
    tool_t tool = {.options = options, .comm = comm};
    MPI_Comm_rank(comm, &tool.rank);
    MPI_Comm_size(comm, &tool.num_ranks);
    tool.report.options = options;
    tool.report.input = &tool.input;
    tool.report.num_ranks = tool.num_ranks;
    tool.report.row_bytes = options->width * (int64_t)tulle_datatype_size(options->datatype);
    tool.report.wire_row_bytes = options->wire_precision == TULLE_WIRE_PRECISION_NONE
                                     ? tool.report.row_bytes
                                     : tli_wire_row_bytes(options->wire_precision, options->width);
    if (tli_agree(comm, check_surroundings(&tool)) != TULLE_OK) {
        perf_tool_print_error(tool.rank);
        release(&tool);
        return PERF_EXIT_USAGE;
    }
    if (tool.rank == 0)
        tool.watch = perf_watch_create(stderr);
    tulle_status_t st = run_steps(&tool);
    perf_watch_end(tool.watch);
    if (st != TULLE_OK)
        perf_tool_print_error(tool.rank);
    else if (perf_report_count_wrong(&tool.report) == 0 && tool.report.volume_fault[0] == '\0')
        result = PERF_EXIT_OK;
    release(&tool);
    return result;
}
