/* SPDX-License-Identifier: Apache-2.0
 * The table of tulle_perf spmm, and the same figures for machines. */
#include "perf/spmm_report.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include <tulle/tulle.h>

#include "perf/report.h"
#include "src/fault.h"

const perf_spmm_result_t *perf_spmm_report_find(const perf_spmm_report_t *report, perf_spmm_method_bit_t bit)
{
    for (int i = 0; i < report->num_results; i++)
        if (report->results[i].method->bit == bit && report->results[i].refusal == NULL)
            return &report->results[i];
    return NULL;
}

double perf_spmm_report_overlap(const perf_spmm_report_t *report)
{
    const perf_spmm_result_t *total = perf_spmm_report_find(report, PERF_SPMM_TULLE);
    const perf_spmm_result_t *exchange = perf_spmm_report_find(report, PERF_SPMM_EXCHANGE);
    const perf_spmm_result_t *multiply = perf_spmm_report_find(report, PERF_SPMM_MULTIPLY);
    if (total == NULL || exchange == NULL || multiply == NULL)
        return 0;
    double longer = fmax(exchange->median_us, multiply->median_us);
    return longer > 0 ? total->median_us / longer : 0;
}

double perf_spmm_report_percent(const perf_spmm_report_t *report)
{
    const perf_spmm_result_t *multiply = perf_spmm_report_find(report, PERF_SPMM_MULTIPLY);
    return multiply != NULL && multiply->median_us > 0 ? 100 * report->model_us / multiply->median_us : 0;
}

int64_t perf_spmm_report_count_wrong(const perf_spmm_report_t *report)
{
    int64_t wrong = 0;
    for (int i = 0; i < report->num_results; i++)
        wrong += report->results[i].wrong;
    return wrong;
}

/* --- table ------------------------------------------------------------------------------------------------------- */

void perf_spmm_report_print_plan(const perf_spmm_report_t *report, FILE *out)
{
    const perf_spmm_options_t *options = report->options;
    const perf_input_t *input = report->input;
    const tulle_spmm_stats_t *stats = &report->stats;
    fprintf(out, "# tulle_perf %s spmm: C = A%s B\n", tulle_version(), options->is_transposed ? "^T" : "");
    fprintf(out, "# %d ranks, topology %s%s\n", report->num_ranks, report->topology,
            report->is_emulated ? ", emulated: nodes share a machine, so times are not those of a network" : "");
    fprintf(out, "# A %s: %" PRId64 " rows, %" PRId64 " columns, %" PRId64 " entries; B: %" PRId64 " columns of %s\n",
            input->name, input->rows, input->cols, input->nnz, options->width, tulle_datatype_name(options->datatype));
    if (options->partition != NULL)
        perf_partitioned_print(&report->partitioned, options->partition, &report->volume, out);
    fprintf(out,
            "# cover %s: %" PRId64 " nonzeros moved, %" PRId64 " on the busiest rank; created in %.0f us, with rows of "
            "B alone in %.0f us\n",
            tulle_cover_name(stats->cover), stats->moved_nonzeros, stats->busiest_nonzeros, report->create_us,
            report->dedup_us);
    fprintf(out, "#\n# Rows between nodes, of %" PRId64 " bytes\n", report->row_bytes);
    fprintf(out, "# %12s %12s %12s %12s %12s %12s %12s %10s\n", "all to all", "direct", "dedup", "cover", "of B",
            "of C", "planned", "messages");
    fprintf(out,
            "# %12" PRId64 " %12" PRId64 " %12" PRId64 " %12" PRId64 " %12" PRId64 " %12" PRId64 " %12" PRId64
            " %10" PRId64 "\n",
            report->volume.naive_rows, report->volume.direct_rows, report->volume.limit_rows, stats->cover_rows,
            stats->gathered_rows, stats->scattered_rows, report->plan_rows, report->plan_messages);
    if (report->fault[0] != '\0')
        fprintf(out, "# Volumes : FAILED, %s\n", report->fault);
    fflush(out);
}

static void print_result(const perf_spmm_report_t *report, const perf_spmm_result_t *result, FILE *out)
{
    double flops = 2.0 * (double)report->input->nnz * (double)report->options->width;
    if (result->refusal != NULL) {
        fprintf(out, "# %10s skipped: %s\n", result->method->name, result->refusal);
        return;
    }
    fprintf(out, "  %10s %11.1f %11.1f %11.1f %9.2f %9" PRId64, result->method->name, result->min_us, result->median_us,
            result->p99_us, result->median_us > 0 ? flops / result->median_us / 1e3 : 0.0, result->wrong);
    if (result->method->bit != PERF_SPMM_TULLE)
        fprintf(out, " %7.2f %6.2f - %.2f\n", result->ratio.ratio, result->ratio.low, result->ratio.high);
    else
        fprintf(out, " %7s\n", "-");
}

static void print_model(const perf_spmm_report_t *report, FILE *out)
{
    static const char *const names[PERF_NUM_LEVELS] = {"L1", "L2", "L3", "memory"};
    fprintf(out, "# multiply by the model : %.1f us, that is %.0f %% of what was measured;", report->model_us,
            perf_spmm_report_percent(report));
    for (int level = 0; level < PERF_NUM_LEVELS; level++)
        fprintf(out, "%s %.1f MB from %s at %.1f GB/s", level > 0 ? "," : "", (double)report->level_bytes[level] / 1e6,
                names[level], report->level_gb_per_s[level]);
    fprintf(out, "\n");
}

static void print_limits(const perf_spmm_report_t *report, FILE *out)
{
    double overlap = perf_spmm_report_overlap(report);
    if (overlap > 0)
        fprintf(out, "# Total by the longer of exchange and multiply : %.2f\n", overlap);
    if (report->link_us > 0)
        fprintf(out, "# Rows of the busiest node at the rate of its link : %.1f us\n", report->link_us);
    if (perf_spmm_report_percent(report) > 0)
        print_model(report, out);
}

void perf_spmm_report_print_results(const perf_spmm_report_t *report, FILE *out)
{
    int64_t wrong = perf_spmm_report_count_wrong(report);
    fprintf(out,
            "#\n# Times of the slowest rank in %" PRId64
            " products. Ratio of medians, method by tulle, and its 95 %% confidence interval.\n",
            report->options->iterations);
    fprintf(out, "# %10s %11s %11s %11s %9s %9s %7s %14s\n", "method", "min(us)", "median(us)", "p99(us)", "GFlop/s",
            "#wrong", "ratio", "between");
    for (int i = 0; i < report->num_results; i++)
        print_result(report, &report->results[i], out);
    print_limits(report, out);
    fprintf(out, "# Out of bounds values : %" PRId64 " %s\n", wrong, wrong == 0 ? "OK" : "FAILED");
    fflush(out);
}

/* --- JSON -------------------------------------------------------------------------------------------------------- */

#ifdef TULLE_HAVE_JANSSON

#include <jansson.h>

/* Each function returns a new reference, or NULL when out of memory; json_pack() takes them over, NULL included. */

static json_t *pack_volume(const perf_spmm_report_t *report)
{
    const tulle_spmm_stats_t *stats = &report->stats;
    json_t *rows = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "naive", (json_int_t)report->volume.naive_rows,
                             "direct", (json_int_t)report->volume.direct_rows, "plan", (json_int_t)report->plan_rows,
                             "limit", (json_int_t)report->volume.limit_rows, "cover", (json_int_t)stats->cover_rows,
                             "cover_b", (json_int_t)stats->gathered_rows, "cover_c", (json_int_t)stats->scattered_rows);
    return json_pack("{s:o, s:I, s:I, s:s}", "inter_node_rows", rows, "inter_node_messages",
                     (json_int_t)report->plan_messages, "busiest_rows", (json_int_t)report->busiest_rows, "check",
                     report->fault[0] == '\0' ? "ok" : report->fault);
}

static json_t *pack_plan(const perf_spmm_report_t *report)
{
    const tulle_spmm_stats_t *stats = &report->stats;
    return json_pack("{s:s, s:s, s:I, s:I, s:i, s:b, s:f, s:f, s:f}", "cover", tulle_cover_name(stats->cover),
                     "strategy", tulle_strategy_name(report->options->strategy), "moved_nonzeros",
                     (json_int_t)stats->moved_nonzeros, "busiest_nonzeros", (json_int_t)stats->busiest_nonzeros,
                     "parts", (int)stats->num_parts, "trusted", report->options->is_trusted, "setup_us",
                     report->create_us, "dedup_setup_us", report->dedup_us, "cover_us", stats->cover_ns / 1e3);
}

static json_t *pack_result(const perf_spmm_report_t *report, const perf_spmm_result_t *result)
{
    json_t *one = json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:I, s:f}", "method", result->method->name, "op", "spmm",
                            "iterations", (json_int_t)(result->refusal == NULL ? report->options->iterations : 0),
                            "min_us", result->min_us, "median_us", result->median_us, "p99_us", result->p99_us, "wrong",
                            (json_int_t)result->wrong, "setup_us", result->setup_us);
    if (result->refusal != NULL)
        json_object_set_new(one, "skipped", json_string(result->refusal));
    if (result->ratio.ratio > 0 && result->method->bit != PERF_SPMM_TULLE) {
        json_object_set_new(one, "ratio", json_real(result->ratio.ratio));
        json_object_set_new(one, "ratio_low", json_real(result->ratio.low));
        json_object_set_new(one, "ratio_high", json_real(result->ratio.high));
    }
    return one;
}

static json_t *pack_limits(const perf_spmm_report_t *report)
{
    json_t *levels = json_array();
    for (int level = 0; level < PERF_NUM_LEVELS; level++)
        json_array_append_new(levels, json_pack("{s:I, s:f}", "bytes", (json_int_t)report->level_bytes[level],
                                                "gb_per_s", report->level_gb_per_s[level]));
    return json_pack("{s:f, s:f, s:f, s:o, s:f}", "link_us", report->link_us, "multiply_model_us", report->model_us,
                     "multiply_model_percent", perf_spmm_report_percent(report), "levels", levels,
                     "total_by_longer_half", perf_spmm_report_overlap(report));
}

static json_t *pack_report(const perf_spmm_report_t *report)
{
    const perf_spmm_options_t *options = report->options;
    const perf_input_t *input = report->input;
    json_t *results = json_array();
    json_t *source = json_pack("{s:s, s:I, s:I, s:I}", "name", input->name, "rows", (json_int_t)input->rows, "cols",
                               (json_int_t)input->cols, "nnz", (json_int_t)input->nnz);
    perf_report_add_partition(source, options->partition, &report->partitioned);
    for (int i = 0; i < report->num_results; i++)
        json_array_append_new(results, pack_result(report, &report->results[i]));
    return json_pack("{s:s, s:b, s:i, s:s, s:b, s:o, s:I, s:s, s:I, s:o, s:o, s:o, s:o}", "op", "spmm", "transposed",
                     options->is_transposed, "ranks", report->num_ranks, "topology", report->topology, "emulated",
                     report->is_emulated, "input", source, "width", (json_int_t)options->width, "dtype",
                     tulle_datatype_name(options->datatype), "row_bytes", (json_int_t)report->row_bytes, "volume",
                     pack_volume(report), "plan", pack_plan(report), "limits", pack_limits(report), "results", results);
}

tulle_status_t perf_spmm_report_write_json(const perf_spmm_report_t *report, const char *path)
{
    tulle_status_t st = TULLE_OK;
    json_t *all = pack_report(report);
    TLI_REQUIRE(all != NULL, TULLE_ERR_NOMEM,
                "the results cannot be put into JSON: no memory, or a file name that is no UTF-8");
    TLI_REQUIRE(json_dump_file(all, path, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) == 0,
                TULLE_ERR_FILE, "'%.120s' cannot be written; name a file in a folder that exists, with --json", path);
done:
    json_decref(all);
    return st;
}

#else

tulle_status_t perf_spmm_report_write_json(const perf_spmm_report_t *report, const char *path)
{
    (void)report;
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE, "'%.120s' cannot be written: built without Jansson", path);
}

#endif
