/* SPDX-License-Identifier: Apache-2.0
 * What tulle_perf dnn says: a table for people, JSON for machines. */
#include <inttypes.h>

#include "perf/dnn.h"
#include "src/fault.h"

int perf_dnn_result_is_right(const perf_dnn_result_t *result)
{
    return result->verdict.wrong == 0 && result->verdict.differing == 0 && result->sum.reported == result->sum.limit;
}

static void print_header(const perf_dnn_report_t *report, FILE *out)
{
    const perf_network_t *network = report->network;
    fprintf(out, "# tulle_perf dnn %s, activations in %s memory\n", tulle_datatype_name(report->options->datatype),
            perf_memory_name(report->options->memory));
    fprintf(out, "# %d ranks, topology %s%s\n", report->num_ranks, report->topology,
            report->is_emulated ? ", emulated: nodes share a machine, so times are not those of a network" : "");
    fprintf(out,
            "# network %s: %" PRId64 " neurons, %" PRId64 " layers, %" PRId64 " nonzeros, bias %g; %" PRId64
            " inputs\n",
            network->name, network->neurons, network->num_layers, report->nonzeros, network->bias, report->batch);
    fprintf(out, "# serial run, in f64: %.0f us\n", report->serial_us);
}

static void print_result(const perf_dnn_report_t *report, const perf_dnn_result_t *result, FILE *out)
{
    double layers = (double)report->network->num_layers;
    const perf_dnn_verdict_t *verdict = &result->verdict;
    fprintf(out, "  %10s %11.1f %11.1f %11.1f %11.0f %11.1f %11.1f %11.1f %10.3g %6" PRId64 " %9.1e %8" PRId64 "\n",
            perf_dnn_layout_name(result->layout), (double)result->sum.direct / layers,
            (double)result->sum.limit / layers, (double)result->sum.crossing / layers, result->setup_us, result->us.min,
            result->us.median, result->us.p99, result->edges_per_second, verdict->wrong, verdict->largest_error,
            verdict->found);
    if (verdict->differing > 0)
        fprintf(out, "# %" PRId64 " inputs are in another category than in the serial run\n", verdict->differing);
    if (result->sum.reported != result->sum.limit)
        fprintf(out, "# the library reports %" PRId64 " rows between nodes in all layers, counted were %" PRId64 "\n",
                result->sum.reported, result->sum.limit);
}

void perf_dnn_report_print(const perf_dnn_report_t *report, FILE *out)
{
    int is_right = 1;
    print_header(report, out);
    fprintf(out,
            "#\n# Rows between nodes, mean of the layers: if each rank pair moved what it needs, each row once per "
            "node, and with the\n# cover that is in use. Times of all layers, slowest rank.\n");
    fprintf(out, "# %10s %11s %11s %11s %11s %11s %11s %11s %10s %6s %9s %8s\n", "layout", "direct", "limit",
            "crossing", "setup(us)", "min(us)", "median(us)", "p99(us)", "edges/s", "#wrong", "max error", "category");
    for (int i = 0; i < report->num_results; i++) {
        print_result(report, &report->results[i], out);
        is_right &= perf_dnn_result_is_right(&report->results[i]);
    }
    fprintf(out, "# Outputs, categories and volumes : %s\n", is_right ? "OK" : "FAILED");
    fflush(out);
}

#ifdef TULLE_HAVE_JANSSON

#include <jansson.h>

/* Each function returns a new reference, or NULL when out of memory; json_pack() takes them over, NULL included. */

static json_t *pack_result(const perf_dnn_result_t *result)
{
    json_t *rows = json_pack("{s:I, s:I, s:I}", "direct", (json_int_t)result->sum.direct, "limit",
                             (json_int_t)result->sum.limit, "cover", (json_int_t)result->sum.crossing);
    return json_pack("{s:s, s:o, s:f, s:f, s:f, s:f, s:f, s:I, s:f, s:I, s:I}", "layout",
                     perf_dnn_layout_name(result->layout), "inter_node_rows", rows, "setup_us", result->setup_us,
                     "min_us", result->us.min, "median_us", result->us.median, "p99_us", result->us.p99, "edges_per_s",
                     result->edges_per_second, "wrong", (json_int_t)result->verdict.wrong, "largest_error",
                     result->verdict.largest_error, "categories", (json_int_t)result->verdict.found,
                     "differing_categories", (json_int_t)result->verdict.differing);
}

static json_t *pack_report(const perf_dnn_report_t *report)
{
    const perf_network_t *network = report->network;
    json_t *results = json_array();
    for (int i = 0; i < report->num_results; i++)
        json_array_append_new(results, pack_result(&report->results[i]));
    json_t *source =
        json_pack("{s:s, s:I, s:I, s:I, s:f}", "name", network->name, "neurons", (json_int_t)network->neurons, "layers",
                  (json_int_t)network->num_layers, "nnz", (json_int_t)report->nonzeros, "bias", network->bias);
    return json_pack(
        "{s:s, s:i, s:s, s:b, s:o, s:I, s:s, s:s, s:s, s:I, s:f, s:o}", "op", "dnn", "ranks", report->num_ranks,
        "topology", report->topology, "emulated", report->is_emulated, "network", source, "batch",
        (json_int_t)report->batch, "dtype", tulle_datatype_name(report->options->datatype), "memory",
        perf_memory_name(report->options->memory), "cover", tulle_cover_name(report->options->cover), "iterations",
        (json_int_t)report->options->iterations, "serial_us", report->serial_us, "results", results);
}

tulle_status_t perf_dnn_report_write_json(const perf_dnn_report_t *report, const char *path)
{
    tulle_status_t st = TULLE_OK;
    json_t *all = pack_report(report);
    TLI_REQUIRE(all != NULL, TULLE_ERR_NOMEM, "the results cannot be put into JSON: no memory");
    TLI_REQUIRE(json_dump_file(all, path, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) == 0,
                TULLE_ERR_FILE, "'%.120s' cannot be written; name a file in a folder that exists, with --json", path);
done:
    json_decref(all);
    return st;
}

#else

tulle_status_t perf_dnn_report_write_json(const perf_dnn_report_t *report, const char *path)
{
    (void)report;
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE, "'%.120s' cannot be written: built without Jansson", path);
}

#endif
