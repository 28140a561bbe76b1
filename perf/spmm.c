/* SPDX-License-Identifier: Apache-2.0
 * read -> communicator -> matrix distributed -> volumes -> products -> report. Each step ends with the same status on
 * every rank, so the first failure ends all of them alike. */
#include "perf/spmm.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <tulle/mpi.h>
#include <tulle/tulle.h>

#include "collectives/spmm.h"
#include "perf/bandwidth.h"
#include "perf/report.h"
#include "perf/spmm_report.h"
#include "src/agree.h"
#include "topology/model.h"

typedef struct tool {
    perf_spmm_options_t options;
    MPI_Comm comm;
    int rank;
    perf_watch_t *watch; /* on rank 0 */
    perf_input_t input;
    perf_halo_t halo;
    perf_spmm_case_t one;
    tulle_topology_t *topology; /* as declared; NULL = to be discovered */
    tulle_comm_t *tulle;
    tulle_spmm_t *spmm;
    perf_spmm_report_t report;
} tool_t;

static tulle_status_t read_topology(tool_t *tool)
{
    const char *text = tool->options.topology;
    size_t length = text != NULL ? strlen(text) : 0;
    if (text == NULL)
        return TULLE_OK;
    if (length > 5 && strcmp(text + length - 5, ".topo") == 0)
        return tulle_topology_load(text, tool->report.num_ranks, &tool->topology);
    return tulle_topology_parse(text, tool->report.num_ranks, &tool->topology);
}

static tulle_status_t read_input(tool_t *tool)
{
    const perf_spmm_options_t *options = &tool->options;
    perf_watch_begin(tool->watch, "reading the matrix");
    if (options->source == PERF_SOURCE_MATRIX)
        return perf_input_read_matrix(tool->comm, options->matrix, NULL, NULL, &tool->input);
    return perf_input_make_random(tool->comm, options->random_rows, options->random_nnz_per_row, options->random_seed,
                                  &tool->input);
}

static tulle_status_t open_comm(tool_t *tool)
{
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    options.topology = tool->topology;
    options.timeout_ms = tool->options.timeout_ms;
    return tulle_comm_create(tool->comm, &options, &tool->tulle);
}

static tulle_status_t probe_links(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    tulle_topology_t *measured = NULL;
    perf_watch_begin(tool->watch, "measuring links");
    TLI_TRY(tulle_comm_probe(tool->tulle, NULL, &measured));
    tulle_comm_destroy(&tool->tulle);
    tulle_topology_destroy(&tool->topology);
    tool->topology = measured;
    TLI_TRY(open_comm(tool));
done:
    return st;
}

/* --- the matrix, distributed ------------------------------------------------------------------------------------- */

static tulle_status_t create(tool_t *tool, tulle_cover_t cover, tulle_spmm_t **spmm_out, double *us_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_spmm_options_t options = TULLE_SPMM_OPTIONS_INIT;
    const perf_input_t *input = &tool->input;
    tulle_layout_t rows = TULLE_LAYOUT_BLOCK(input->num_rows), columns = TULLE_LAYOUT_BLOCK(input->num_cols);
    tulle_csr_t csr = {input->row_ptr, input->col_idx, tool->one.values, TULLE_I64, tool->options.datatype};
    options.cover = cover;
    options.strategy = tool->options.strategy;
    options.width = tool->options.width;
    options.num_threads = tool->options.num_threads;
    options.is_trusted = tool->options.is_trusted;
    TLI_MPI(MPI_Barrier(tool->comm));
    double began = MPI_Wtime();
    TLI_TRY(tulle_spmm_create(tool->tulle, &rows, &columns, &csr, &options, spmm_out));
    *us_out = 1e6 * (MPI_Wtime() - began);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, us_out, 1, MPI_DOUBLE, MPI_MAX, tool->comm));
done:
    return st;
}

/* Each twice, in turns, and the shorter time: the first has pages to touch. */
static tulle_status_t create_both(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    perf_spmm_report_t *report = &tool->report;
    perf_watch_begin(tool->watch, "distributing the matrix");
    for (int round = 0; round < 2; round++) {
        tulle_spmm_t *dedup = NULL;
        double dedup_us = 0, create_us = 0;
        TLI_TRY(create(tool, TULLE_COVER_COLUMNS, &dedup, &dedup_us));
        tulle_spmm_destroy(&dedup);
        tulle_spmm_destroy(&tool->spmm);
        TLI_TRY(create(tool, tool->options.cover, &tool->spmm, &create_us));
        report->dedup_us = round == 0 ? dedup_us : fmin(dedup_us, report->dedup_us);
        report->create_us = round == 0 ? create_us : fmin(create_us, report->create_us);
    }
done:
    return st;
}

/* --- volumes ----------------------------------------------------------------------------------------------------- */

/* What a plan moves between nodes: of all, and into and out of each node. */
static tulle_status_t add_plan(tool_t *tool, const tulle_plan_t *plan, int64_t *into, int64_t *out_of)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_stats_t stats = {.struct_size = sizeof stats};
    if (plan == NULL)
        goto done;
    const tli_level_t *nodes = &plan->comm->topology->levels[0];
    int my_node = nodes->group_of[tool->rank];
    TLI_TRY(tulle_plan_get_stats(plan, &stats));
    for (int64_t m = 0; m < plan->num_in; m++)
        if (nodes->group_of[plan->in_peer[m]] != my_node)
            into[my_node] += plan->in_ptr[m + 1] - plan->in_ptr[m];
    for (int64_t m = 0; m < plan->num_out; m++)
        if (nodes->group_of[plan->out_peer[m]] != my_node)
            out_of[my_node] += plan->out_ptr[m + 1] - plan->out_ptr[m];
    if (nodes->num_groups > 1) {
        tool->report.plan_rows += stats.levels[0].plan_rows;
        tool->report.plan_messages += stats.levels[0].plan_messages;
    }
done:
    return st;
}

/* Gathered rows come into a node as scattered ones leave it. */
static tulle_status_t count_busiest(tool_t *tool, const tulle_topology_t *topology)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int num_nodes = topology->levels[0].num_groups;
    int64_t *flows = NULL;
    TLI_TRY(tli_agree(tool->comm, tli_arena_alloc(&scratch, num_nodes, 2 * sizeof *flows, &flows)));
    TLI_TRY(add_plan(tool, tulle_spmm_plan(tool->spmm, TULLE_GATHER), flows, flows + num_nodes));
    TLI_TRY(add_plan(tool, tulle_spmm_plan(tool->spmm, TULLE_SCATTER), flows + num_nodes, flows));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, flows, 2 * num_nodes, MPI_INT64_T, MPI_SUM, tool->comm));
    for (int i = 0; i < 2 * num_nodes; i++)
        if (flows[i] > tool->report.busiest_rows)
            tool->report.busiest_rows = flows[i];
done:
    tli_arena_release(&scratch);
    return st;
}

static double link_us(const perf_spmm_report_t *report, const tulle_topology_t *topology)
{
    const tulle_link_t *link = &topology->levels[0].link;
    double rate = link->group_bytes_per_second > 0
                      ? link->group_bytes_per_second
                      : link->bytes_per_second * (link->num_links > 0 ? link->num_links : 1);
    return topology->levels[0].num_groups > 1 ? 1e6 * (double)(report->busiest_rows * report->row_bytes) / rate : 0;
}

/* Volumes counted without the library say what cannot be. */
static void check_volumes(perf_spmm_report_t *report)
{
    const tulle_spmm_stats_t *stats = &report->stats;
    if (stats->columns_rows != report->volume.limit_rows && report->volume.limit_rows >= 0)
        snprintf(report->fault, sizeof report->fault, "rows of B are %lld by the library and %lld by the tool",
                 (long long)stats->columns_rows, (long long)report->volume.limit_rows);
    else if (stats->cover_rows > stats->columns_rows)
        snprintf(report->fault, sizeof report->fault, "the cover has %lld rows, more than the %lld of B alone",
                 (long long)stats->cover_rows, (long long)stats->columns_rows);
}

static tulle_status_t count_volumes(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    perf_spmm_report_t *report = &tool->report;
    const tulle_topology_t *topology = tulle_comm_topology(tool->tulle);
    report->stats.struct_size = sizeof report->stats;
    perf_watch_begin(tool->watch, "counting volumes");
    TLI_TRY(tulle_spmm_get_stats(tool->spmm, &report->stats));
    TLI_TRY(perf_halo_create(tool->comm, &tool->input, &tool->halo));
    TLI_TRY(perf_volume_count(&tool->halo, topology->levels[0].group_of, &report->volume));
    TLI_TRY(count_busiest(tool, topology));
    report->link_us = link_us(report, topology);
    report->topology = tulle_topology_text(topology);
    report->is_emulated = tulle_comm_is_emulated(tool->tulle);
    check_volumes(report);
done:
    return st;
}

/* --- the model of the multiplication ----------------------------------------------------------------------------- */

/* Rates of arrays that fit into the core's cache, and of some that fit into none; and how much of the shared cache is
 * there for a rank, which may be far less than the processor has: the largest array that is read nearer to the first
 * rate than to the second. */
static tulle_status_t measure_streams(tool_t *tool, perf_caches_t *caches, double *from)
{
    tulle_status_t st = TULLE_OK;
    int num_threads = tool->spmm->options.num_threads;
    int64_t core = caches->of_level[PERF_FROM_L2], shared = caches->of_level[PERF_FROM_L3], found = core;
    double rate = 0;
    for (int level = PERF_FROM_L1; level <= PERF_FROM_L2; level++)
        TLI_TRY(
            perf_bandwidth_measure(tool->comm, caches->of_level[level] / 2 * num_threads, num_threads, &from[level]));
    TLI_TRY(perf_bandwidth_measure(tool->comm, 4 * shared, num_threads, &from[PERF_FROM_MEMORY]));
    from[PERF_FROM_L3] = from[PERF_FROM_MEMORY];
    for (int64_t bytes = 2 * core; bytes <= shared; bytes *= 2) {
        TLI_TRY(perf_bandwidth_measure(tool->comm, bytes, num_threads, &rate));
        if (rate * rate > from[PERF_FROM_L2] * from[PERF_FROM_MEMORY]) {
            found = bytes;
            from[PERF_FROM_L3] = fmax(rate, from[PERF_FROM_L3]);
        }
    }
    caches->of_level[PERF_FROM_L3] = found;
done:
    return st;
}

/* Of rows in caches, in any order; those in memory may be asked for early, and come as fast as a stream. */
static tulle_status_t measure_rows(tool_t *tool, const perf_caches_t *caches, perf_spmm_rates_t *rates)
{
    tulle_status_t st = TULLE_OK;
    int num_threads = tool->spmm->options.num_threads;
    for (int level = PERF_FROM_L1; level <= PERF_FROM_L3; level++) {
        int64_t bytes = caches->of_level[level] / 2 * (level == PERF_FROM_L3 ? 1 : num_threads);
        TLI_TRY(
            perf_bandwidth_measure_rows(tool->comm, bytes, tool->report.row_bytes, num_threads, &rates->rows[level]));
    }
    rates->rows[PERF_FROM_MEMORY] = rates->stream[PERF_FROM_MEMORY];
done:
    return st;
}

/* On the slowest rank. */
static tulle_status_t model_multiply(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    perf_spmm_report_t *report = &tool->report;
    const tulle_spmm_t *spmm = tool->spmm;
    const tli_spmm_way_t *way = tool->options.is_transposed ? &spmm->transposed : &spmm->forward;
    perf_caches_t caches = perf_caches_find(report->num_ranks);
    perf_spmm_traffic_t traffic = {{0}, {0}};
    perf_spmm_rates_t rates;
    int64_t bytes[PERF_NUM_LEVELS], sum_bytes = (int64_t)tulle_datatype_size(tli_sum_type(spmm->type));
    int is_streamed = sum_bytes == (int64_t)tulle_datatype_size(spmm->type) && report->row_bytes % 64 == 0 &&
                      tli_spmm_is_far(spmm, way, report->row_bytes / (int64_t)tulle_datatype_size(spmm->type));
    perf_watch_begin(tool->watch, "measuring bandwidths");
    TLI_TRY(measure_streams(tool, &caches, rates.stream));
    TLI_TRY(measure_rows(tool, &caches, &rates));
    TLI_TRY(
        tli_agree(tool->comm, perf_spmm_traffic(way, sum_bytes, report->row_bytes, is_streamed, &caches, &traffic)));
    for (int level = 0; level < PERF_NUM_LEVELS; level++)
        bytes[level] = traffic.rows[level] + traffic.once[level];
    report->model_us = perf_spmm_model_us(&traffic, &rates);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &report->model_us, 1, MPI_DOUBLE, MPI_MAX, tool->comm));
    TLI_MPI(MPI_Allreduce(rates.rows, report->level_gb_per_s, PERF_NUM_LEVELS, MPI_DOUBLE, MPI_SUM, tool->comm));
    TLI_MPI(MPI_Allreduce(bytes, report->level_bytes, PERF_NUM_LEVELS, MPI_INT64_T, MPI_SUM, tool->comm));
done:
    return st;
}

/* --- steps ------------------------------------------------------------------------------------------------------- */

static tulle_status_t open_methods(const tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    for (int i = 0; i < PERF_SPMM_NUM_METHODS && st == TULLE_OK; i++)
        if ((tool->options.methods & (unsigned)perf_spmm_methods[i]->bit) != 0 && perf_spmm_methods[i]->open != NULL)
            st = tli_agree(tool->comm, perf_spmm_methods[i]->open());
    return st;
}

static void close_methods(const tool_t *tool)
{
    for (int i = PERF_SPMM_NUM_METHODS - 1; i >= 0; i--)
        if ((tool->options.methods & (unsigned)perf_spmm_methods[i]->bit) != 0 && perf_spmm_methods[i]->close != NULL)
            perf_spmm_methods[i]->close();
}

static tulle_status_t show_plan(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    perf_watch_end(tool->watch);
    if (tool->rank == 0)
        perf_spmm_report_print_plan(&tool->report, stdout);
    if (tool->options.is_explaining)
        TLI_TRY(tulle_plan_explain(tool->spmm->gather, TULLE_EXPLAIN_TABLE, stdout));
    if (tool->options.is_explaining && tool->spmm->scatter != NULL)
        TLI_TRY(tulle_plan_explain(tool->spmm->scatter, TULLE_EXPLAIN_TABLE, stdout));
done:
    return st;
}

static tulle_status_t measure(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    perf_spmm_problem_t problem = {&tool->one, tool->spmm};
    perf_spmm_measure_options_t options = {tool->options.methods, tool->options.warmup, tool->options.iterations,
                                           tool->watch};
    TLI_TRY(open_methods(tool));
    TLI_TRY(perf_spmm_measure(&problem, &options, tool->report.results, &tool->report.num_results));
    TLI_TRY(model_multiply(tool));
    perf_watch_end(tool->watch);
    if (tool->rank == 0)
        perf_spmm_report_print_results(&tool->report, stdout);
    if (tool->rank == 0 && tool->options.json != NULL)
        st = perf_spmm_report_write_json(&tool->report, tool->options.json);
    st = tli_agree(tool->comm, st);
done:
    return st;
}

/* After the communicator: what is best depends on the nodes. */
static tulle_status_t partition_input(tool_t *tool)
{
    if (tool->options.partition == NULL)
        return TULLE_OK;
    perf_watch_begin(tool->watch, "partitioning");
    return perf_partition_input(tool->comm, tool->options.partition, tulle_comm_topology(tool->tulle), &tool->input,
                                &tool->report.partitioned);
}

static tulle_status_t run_steps(tool_t *tool)
{
    tulle_status_t st = TULLE_OK;
    const perf_spmm_options_t *options = &tool->options;
    TLI_TRY(read_input(tool));
    TLI_TRY(open_comm(tool));
    if (options->is_probing)
        TLI_TRY(probe_links(tool));
    TLI_TRY(partition_input(tool));
    TLI_TRY(perf_spmm_case_create(tool->comm, &tool->input, options->is_transposed, options->datatype, options->width,
                                  &tool->one));
    TLI_TRY(create_both(tool));
    TLI_TRY(count_volumes(tool));
    TLI_TRY(show_plan(tool));
    TLI_TRY(measure(tool));
done:
    return st;
}

static void release(tool_t *tool)
{
    perf_watch_destroy(&tool->watch);
    close_methods(tool);
    tulle_spmm_destroy(&tool->spmm);
    tulle_comm_destroy(&tool->tulle);
    tulle_topology_destroy(&tool->topology);
    perf_spmm_case_release(&tool->one);
    perf_halo_release(&tool->halo);
    perf_input_release(&tool->input);
}

static tulle_status_t prepare(tool_t *tool, int argc, char **argv)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(perf_spmm_options_parse(argc, argv, &tool->options));
    TLI_REQUIRE(tool->options.json == NULL || perf_report_has_json(), TULLE_ERR_UNSUPPORTED,
                "--json needs a build with Jansson (libjansson-dev)");
    TLI_TRY(read_topology(tool));
done:
    return tli_agree(tool->comm, st);
}

perf_exit_t perf_spmm_run(MPI_Comm comm, int argc, char **argv)
{
    tool_t tool = {.comm = comm};
    MPI_Comm_rank(comm, &tool.rank);
    MPI_Comm_size(comm, &tool.report.num_ranks);
    perf_exit_t result = PERF_EXIT_USAGE;
    tulle_status_t st = prepare(&tool, argc, argv);
    if (st == TULLE_OK && tool.options.wants_help) {
        if (tool.rank == 0)
            perf_spmm_options_print_help(stdout);
        result = PERF_EXIT_OK;
    } else if (st == TULLE_OK) {
        tool.report.options = &tool.options;
        tool.report.input = &tool.input;
        tool.report.row_bytes = tool.options.width * (int64_t)tulle_datatype_size(tool.options.datatype);
        tool.watch = tool.rank == 0 ? perf_watch_create(stderr) : NULL;
        st = run_steps(&tool);
        perf_watch_end(tool.watch);
        int is_right =
            st == TULLE_OK && perf_spmm_report_count_wrong(&tool.report) == 0 && tool.report.fault[0] == '\0';
        result = is_right ? PERF_EXIT_OK : PERF_EXIT_FAILED;
    }
    if (st != TULLE_OK)
        perf_tool_print_error(tool.rank);
    release(&tool);
    return result;
}
