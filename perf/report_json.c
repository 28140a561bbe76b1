/* SPDX-License-Identifier: Apache-2.0
 * The same figures for machines. Members are only ever added: scripts and plots read these files. */
#include "perf/report.h"

#include "src/fault.h"

#ifdef TULLE_HAVE_JANSSON

#include <math.h>

#include <jansson.h>

int perf_report_has_json(void)
{
    return 1;
}

/* Each function returns a new reference, or NULL when out of memory; json_pack() takes them over, NULL included. */

static json_t *pack_levels(const perf_report_t *report)
{
    json_t *levels = json_array();
    for (int i = 0; i < report->stats.num_levels; i++) {
        const tulle_level_stats_t *level = &report->stats.levels[i];
        json_t *one =
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", level->name, "rows",
                      (json_int_t)level->plan_rows, "bytes", (json_int_t)perf_report_level_bytes(report, i), "messages",
                      (json_int_t)level->plan_messages, "naive_rows", (json_int_t)level->naive_rows, "direct_rows",
                      (json_int_t)level->direct_rows, "limit_rows", (json_int_t)level->limit_rows, "naive_messages",
                      (json_int_t)level->naive_messages, "direct_messages", (json_int_t)level->direct_messages,
                      "busiest_rows", (json_int_t)level->busiest_rows);
        json_array_append_new(levels, one);
    }
    return levels;
}

static json_t *pack_volume(const perf_report_t *report)
{
    const tulle_level_stats_t *node = &report->stats.levels[0];
    json_t *rows = json_pack("{s:I, s:I, s:I, s:I}", "naive", (json_int_t)node->naive_rows, "direct",
                             (json_int_t)node->direct_rows, "plan", (json_int_t)node->plan_rows, "limit",
                             (json_int_t)node->limit_rows);
    json_t *messages = json_pack("{s:I, s:I, s:I}", "naive", (json_int_t)node->naive_messages, "direct",
                                 (json_int_t)node->direct_messages, "plan", (json_int_t)node->plan_messages);
    return json_pack("{s:o, s:o, s:I, s:o, s:s}", "inter_node_rows", rows, "inter_node_messages", messages,
                     "limit_busiest_rows", (json_int_t)report->volume.busiest_rows, "levels", pack_levels(report),
                     "check", report->volume_fault[0] == '\0' ? "ok" : report->volume_fault);
}

static json_t *pack_plan(const perf_report_t *report)
{
    const tulle_plan_stats_t *stats = &report->stats;
    json_t *pairs =
        json_pack("{s:i, s:i, s:i, s:i}", "direct", (int)stats->direct_pairs, "routed", (int)stats->routed_pairs,
                  "aggregated", (int)stats->aggregated_pairs, "striped", (int)stats->striped_pairs);
    json_t *predicted = json_pack("{s:f, s:f, s:f}", "naive", stats->predicted_naive_ns / 1e3, "direct",
                                  stats->predicted_direct_ns / 1e3, "plan", stats->predicted_plan_ns / 1e3);
    return json_pack("{s:s, s:f, s:I, s:f, s:b, s:I, s:o, s:o, s:f, s:I}", "strategy",
                     tulle_strategy_name(stats->strategy), "setup_us", report->setup_us, "break_even_exchanges",
                     (json_int_t)perf_report_break_even(report), "pattern_us", report->pattern_us, "loaded",
                     report->options->load_plan != NULL, "staging_rows", (json_int_t)stats->staging_rows, "node_pairs",
                     pairs, "predicted_us", predicted, "predicted_break_even_exchanges", stats->break_even_exchanges,
                     "memory_bytes", (json_int_t)stats->memory_bytes);
}

static void add_real(json_t *object, const char *name, double value)
{
    if (value > 0)
        json_object_set_new(object, name, json_real(value));
}

static void add_text(json_t *object, const char *name, const char *text)
{
    if (text[0] != '\0')
        json_object_set_new(object, name, json_string(text));
}

/* A method that was skipped has 0 iterations and times, and says why. */
static json_t *pack_result(const perf_report_t *report, const perf_result_t *result)
{
    double bytes = (double)report->num_needed * (double)report->row_bytes;
    json_t *one = json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:I, s:f, s:f}", "method", result->method, "op",
                            result->direction == TULLE_GATHER ? "gather" : "scatter", "iterations",
                            (json_int_t)result->iterations, "min_us", result->min_us, "median_us", result->median_us,
                            "p99_us", result->p99_us, "wrong", (json_int_t)result->wrong, "setup_us", result->setup_us,
                            "algbw_gb_per_s", result->median_us > 0 ? bytes / result->median_us / 1e3 : 0.0);
    double error = perf_report_prediction_error(result);
    if (!isnan(error))
        json_object_set_new(one, "prediction_error_percent", json_real(error));
    add_real(one, "ratio", result->ratio.ratio);
    add_real(one, "ratio_low", result->ratio.low);
    add_real(one, "ratio_high", result->ratio.high);
    add_real(one, "predicted_us", result->predicted_us);
    add_real(one, "error_of_bound", result->rounding);
    if (result->direction == TULLE_SCATTER)
        add_text(one, "reduce", tulle_op_name(report->options->reduce));
    add_text(one, "skipped", result->skip.reason);
    add_text(one, "note", result->note.reason);
    return one;
}

static json_t *pack_results(const perf_report_t *report)
{
    json_t *results = json_array();
    for (int i = 0; i < report->num_results; i++)
        json_array_append_new(results, pack_result(report, &report->results[i]));
    return results;
}

static json_t *pack_setups(const perf_report_t *report)
{
    json_t *setups = json_array();
    for (int i = 0; i < report->num_setups; i++) {
        const perf_setup_result_t *setup = &report->setups[i];
        json_t *one = json_pack("{s:s, s:f, s:f, s:f}", "made", setup->name, "min_us", 1e6 * setup->seconds.min,
                                "median_us", 1e6 * setup->seconds.median, "p99_us", 1e6 * setup->seconds.p99);
        add_real(one, "ratio", setup->ratio.ratio);
        add_real(one, "ratio_low", setup->ratio.low);
        add_real(one, "ratio_high", setup->ratio.high);
        json_array_append_new(setups, one);
    }
    return setups;
}

void perf_report_add_partition(json_t *object, const char *how, const perf_partitioned_t *partitioned)
{
    if (how == NULL)
        return;
    json_t *before = json_pack("{s:I, s:I}", "direct", (json_int_t)partitioned->before.direct_rows, "limit",
                               (json_int_t)partitioned->before.limit_rows);
    json_object_set_new(object, "partition",
                        json_pack("{s:s, s:f, s:I, s:o}", "how", how, "time_us", partitioned->time_us, "moved_rows",
                                  (json_int_t)partitioned->num_moved, "inter_node_rows_before", before));
}

static json_t *pack_report(const perf_report_t *report)
{
    const perf_options_t *options = report->options;
    const perf_input_t *input = report->input;
    json_t *source = json_pack("{s:s, s:I, s:I, s:I}", "name", input->name, "rows", (json_int_t)input->rows, "cols",
                               (json_int_t)input->cols, "nnz", (json_int_t)input->nnz);
    perf_report_add_partition(source, options->partition, &report->partitioned);
    return json_pack("{s:i, s:s, s:b, s:o, s:I, s:s, s:I, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "ranks",
                     report->num_ranks, "topology", report->topology, "emulated", report->is_emulated, "input", source,
                     "width", (json_int_t)options->width, "dtype", tulle_datatype_name(options->datatype), "row_bytes",
                     (json_int_t)report->row_bytes, "memory", perf_memory_name(options->memory), "transport",
                     tulle_transport_name(options->transport), "wire_precision",
                     tulle_wire_precision_name(options->wire_precision), "needed_rows", (json_int_t)report->num_needed,
                     "volume", pack_volume(report), "plan", pack_plan(report), "setups", pack_setups(report), "results",
                     pack_results(report));
}

tulle_status_t perf_report_write_json(const perf_report_t *report, const char *path)
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

int perf_report_has_json(void)
{
    return 0;
}

tulle_status_t perf_report_write_json(const perf_report_t *report, const char *path)
{
    (void)report;
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE, "'%.120s' cannot be written: built without Jansson", path);
}

#endif
