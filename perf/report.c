/* SPDX-License-Identifier: Apache-2.0
 * The tables. Lines that are not results begin with '#'. */
#include "perf/report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <mpi.h>
#include <tulle/tulle.h>

#include "perf/statistics.h"

const perf_result_t *perf_report_find(const perf_report_t *report, const char *method, tulle_direction_t direction)
{
    for (int i = 0; i < report->num_results; i++) {
        const perf_result_t *result = &report->results[i];
        if (strcmp(result->method, method) == 0 && result->direction == direction && result->skip.reason[0] == '\0')
            return result;
    }
    return NULL;
}

int64_t perf_report_break_even(const perf_report_t *report)
{
    for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++) {
        const perf_result_t *tulle = perf_report_find(report, "tulle", (tulle_direction_t)direction);
        const perf_result_t *peer = perf_report_find(report, "alltoallv", (tulle_direction_t)direction);
        if (tulle != NULL && peer != NULL)
            return perf_break_even(report->setup_us, peer->median_us, tulle->median_us);
    }
    return -1;
}

int64_t perf_report_count_wrong(const perf_report_t *report)
{
    int64_t wrong = 0;
    for (int i = 0; i < report->num_results; i++)
        wrong += report->results[i].wrong;
    return wrong;
}

/* First line of what the MPI library calls itself, without what follows a comma. */
static void print_versions(FILE *out)
{
    char mpi[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(mpi, &length);
    mpi[strcspn(mpi, ",\n")] = '\0';
    for (char *tab = strchr(mpi, '\t'); tab != NULL; tab = strchr(tab, '\t'))
        *tab = ' ';
    fprintf(out, "# tulle_perf %s with %s\n", tulle_version(), mpi);
}

static void print_header(const perf_report_t *report, FILE *out)
{
    const perf_options_t *options = report->options;
    const perf_input_t *input = report->input;
    print_versions(out);
    fprintf(out, "# %d ranks, topology %s%s\n", report->num_ranks, report->topology,
            report->is_emulated ? ", emulated: nodes share a machine, so times are not those of a network" : "");
    fprintf(out, "# input %s: %" PRId64 " rows, %" PRId64 " columns, %" PRId64 " entries\n", input->name, input->rows,
            input->cols, input->nnz);
    if (options->partition != NULL)
        perf_partitioned_print(&report->partitioned, options->partition, &report->volume, out);
    fprintf(out, "# row: %" PRId64 " %s = %" PRId64 " bytes; strategy %s; ghost order %s\n", options->width,
            tulle_datatype_name(options->datatype), report->row_bytes, tulle_strategy_name(report->stats.strategy),
            options->load_plan != NULL                       ? "as loaded"
            : options->ghost_order == TULLE_GHOST_ORDER_PLAN ? "plan"
                                                             : "caller");
    fprintf(out, "# rows in %s memory, transport %s%s%s%s\n", perf_memory_name(options->memory),
            tulle_transport_name(options->transport),
            options->wire_precision == TULLE_WIRE_PRECISION_NONE ? "" : ", with tulle between nodes in ",
            options->wire_precision == TULLE_WIRE_PRECISION_NONE ? ""
                                                                 : tulle_wire_precision_name(options->wire_precision),
            options->memory == PERF_MEMORY_DEVICE ? "; for other methods they are copied to host memory and back, timed"
                                                  : "");
    fprintf(out,
            "# pattern inspected in %.0f us; plan %s in %.0f us; ordered node pairs: %d direct, %d routed, "
            "%d aggregated, %d striped\n",
            report->pattern_us, options->load_plan != NULL ? "loaded" : "made", report->setup_us,
            report->stats.direct_pairs, report->stats.routed_pairs, report->stats.aggregated_pairs,
            report->stats.striped_pairs);
}

/* Percent of `before` that `after` saves. */
static void print_saving(int64_t before, int64_t after, FILE *out)
{
    if (before > 0)
        fprintf(out, " %8.1f %%", 100.0 * (1.0 - (double)after / (double)before));
    else
        fprintf(out, " %10s", "-");
}

static void print_volumes(const perf_report_t *report, FILE *out)
{
    fprintf(out,
            "#\n# What crosses each level in one exchange. Limit: each row enters each group that needs it once.\n");
    fprintf(out, "# %8s %12s %12s %12s %12s %10s %10s %14s %9s %9s %9s\n", "", "rows", "rows", "rows", "rows", "saved",
            "saved", "bytes", "messages", "messages", "messages");
    fprintf(out, "# %8s %12s %12s %12s %12s %10s %10s %14s %9s %9s %9s\n", "level", "naive", "direct", "plan", "limit",
            "on naive", "on direct", "plan", "naive", "direct", "plan");
    for (int i = 0; i < report->stats.num_levels; i++) {
        const tulle_level_stats_t *level = &report->stats.levels[i];
        fprintf(out, "# %8s %12" PRId64 " %12" PRId64 " %12" PRId64 " %12" PRId64, level->name, level->naive_rows,
                level->direct_rows, level->plan_rows, level->limit_rows);
        print_saving(level->naive_rows, level->plan_rows, out);
        print_saving(level->direct_rows, level->plan_rows, out);
        fprintf(out, " %14" PRId64 " %9" PRId64 " %9" PRId64 " %9" PRId64 "\n", perf_report_level_bytes(report, i),
                level->naive_messages, level->direct_messages, level->plan_messages);
    }
    if (report->volume_fault[0] == '\0')
        fprintf(out, "# Volumes between nodes, counted again without the library : OK\n");
    else
        fprintf(out, "# Volumes between nodes, counted again without the library : FAILED, %s\n", report->volume_fault);
}

void perf_report_print_plan(const perf_report_t *report, FILE *out)
{
    print_header(report, out);
    print_volumes(report, out);
    fflush(out);
}

static void print_result(const perf_report_t *report, const perf_result_t *result, FILE *out)
{
    int is_gather = result->direction == TULLE_GATHER;
    const char *op = is_gather ? "gather" : "scatter";
    int64_t bytes = report->num_needed * report->row_bytes;
    if (result->skip.reason[0] != '\0') {
        fprintf(out, "# %23s %8s skipped: %s\n", result->method, op, result->skip.reason);
        return;
    }
    fprintf(out, "  %23s %8s %8s %11" PRId64 " %13" PRId64 " %6" PRId64 " %11.1f %11.1f %11.1f %12.3f %9" PRId64,
            result->method, op, is_gather ? "none" : tulle_op_name(report->options->reduce), report->num_needed, bytes,
            result->iterations, result->min_us, result->median_us, result->p99_us,
            result->median_us > 0 ? (double)bytes / result->median_us / 1e3 : 0.0, result->wrong);
    if (result->ratio.ratio > 0)
        fprintf(out, " %7.2f %6.2f - %.2f\n", result->ratio.ratio, result->ratio.low, result->ratio.high);
    else
        fprintf(out, " %7s\n", "-");
    if (result->note.reason[0] != '\0')
        fprintf(out, "# %23s %8s %s\n", result->method, op, result->note.reason);
}

int64_t perf_report_level_bytes(const perf_report_t *report, int level)
{
    int64_t row_bytes = level == 0 ? report->wire_row_bytes : report->row_bytes;
    return report->stats.levels[level].plan_rows * row_bytes;
}

double perf_report_prediction_error(const perf_result_t *result)
{
    int is_predicted = strcmp(result->method, "naive") != 0 && result->predicted_us > 0 && result->median_us > 0;
    return is_predicted ? 100.0 * (result->predicted_us / result->median_us - 1.0) : NAN;
}

static void print_predictions(const perf_report_t *report, FILE *out)
{
    for (int i = 0; i < report->num_results; i++) {
        const perf_result_t *result = &report->results[i];
        double error = perf_report_prediction_error(result);
        if (!isnan(error))
            fprintf(out, "# Predicted for %s of %s : %.1f us, measured %.1f us: %+.1f %%\n",
                    result->direction == TULLE_GATHER ? "gather" : "scatter", result->method, result->predicted_us,
                    result->median_us, error);
    }
}

static void print_rounding(const perf_report_t *report, FILE *out)
{
    tulle_wire_precision_t precision = report->options->wire_precision;
    for (int i = 0; i < report->num_results && precision != TULLE_WIRE_PRECISION_NONE; i++)
        if (strcmp(report->results[i].method, "tulle") == 0)
            fprintf(out, "# Largest error of %s by %s between nodes : %.3f of its bound\n",
                    report->results[i].direction == TULLE_GATHER ? "gather" : "scatter",
                    tulle_wire_precision_name(precision), report->results[i].rounding);
}

static void print_break_even(const perf_report_t *report, FILE *out)
{
    int64_t break_even = perf_report_break_even(report);
    if (break_even >= 0)
        fprintf(out, "# The plan pays for itself after %" PRId64 " exchanges, against alltoallv\n", break_even);
    else if (report->num_results > 0)
        fprintf(out, "# The plan does not pay for itself here: no faster than alltoallv, or not both were measured\n");
}

static void print_setups(const perf_report_t *report, FILE *out)
{
    if (report->num_setups > 0) {
        fprintf(
            out,
            "#\n# What is made before exchanges: times of the slowest rank. Ratio of medians, by that of the direct "
            "plan.\n");
        fprintf(out, "# %23s %11s %11s %11s %7s %14s\n", "made", "min(us)", "median(us)", "p99(us)", "ratio",
                "between");
    }
    for (int i = 0; i < report->num_setups; i++) {
        const perf_setup_result_t *setup = &report->setups[i];
        fprintf(out, "  %23s %11.1f %11.1f %11.1f", setup->name, 1e6 * setup->seconds.min, 1e6 * setup->seconds.median,
                1e6 * setup->seconds.p99);
        if (setup->ratio.ratio > 0)
            fprintf(out, " %7.2f %6.2f - %.2f\n", setup->ratio.ratio, setup->ratio.low, setup->ratio.high);
        else
            fprintf(out, " %7s\n", "-");
    }
}

void perf_report_print_results(const perf_report_t *report, FILE *out)
{
    int64_t wrong = perf_report_count_wrong(report);
    print_setups(report, out);
    if (report->num_results > 0) {
        fprintf(
            out,
            "#\n# Times of the slowest rank, packing and unpacking included; algbw by the median. Ratio of medians, "
            "method by tulle,\n# and its 95 %% confidence interval.\n");
        fprintf(out, "# %23s %8s %8s %11s %13s %6s %11s %11s %11s %12s %9s %7s %14s\n", "method", "op", "redop", "rows",
                "bytes", "iters", "min(us)", "median(us)", "p99(us)", "algbw(GB/s)", "#wrong", "ratio", "between");
    }
    for (int i = 0; i < report->num_results; i++)
        print_result(report, &report->results[i], out);
    print_predictions(report, out);
    print_rounding(report, out);
    print_break_even(report, out);
    fprintf(out, "# Out of bounds values : %" PRId64 " %s\n", wrong, wrong == 0 ? "OK" : "FAILED");
    fflush(out);
}
