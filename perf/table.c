/* SPDX-License-Identifier: Apache-2.0
 * tulle_perf_table FILE...: one line for each JSON file of tulle_perf, to compare inputs and machines. Exit status 1
 * when a file cannot be read or has wrong values. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static double median_of(json_t *report, const char *method, const char *op)
{
    size_t index;
    json_t *result;
    json_array_foreach(json_object_get(report, "results"), index, result)
    {
        const char *its_method = json_string_value(json_object_get(result, "method"));
        const char *its_op = json_string_value(json_object_get(result, "op"));
        if (its_method != NULL && its_op != NULL && strcmp(its_method, method) == 0 && strcmp(its_op, op) == 0)
            return json_number_value(json_object_get(result, "median_us"));
    }
    return 0;
}

static json_int_t wrong_of(json_t *report)
{
    size_t index;
    json_t *result;
    json_int_t wrong = 0;
    json_array_foreach(json_object_get(report, "results"), index, result)
    {
        wrong += json_integer_value(json_object_get(result, "wrong"));
    }
    return wrong;
}

static void print_percent(json_int_t before, json_int_t after)
{
    if (before > 0)
        printf(" %6.1f%%", 100.0 * (1.0 - (double)after / (double)before));
    else
        printf(" %7s", "-");
}

static void print_ratio(double slower, double faster)
{
    if (slower > 0 && faster > 0)
        printf(" %9.2f", slower / faster);
    else
        printf(" %9s", "-");
}

static void print_times(json_t *report, const char *op)
{
    double tulle = median_of(report, "tulle", op);
    printf("  %10.0f", tulle);
    print_ratio(median_of(report, "naive", op), tulle);
    print_ratio(median_of(report, "alltoallv", op), tulle);
}

static void print_heading(void)
{
    printf("%-18s %-9s %39s  %15s  %30s  %30s\n", "", "", "rows that cross nodes in one exchange", "saved on",
           "gather: us, and speedup over", "scatter: us, and speedup over");
    printf("%-18s %-9s %9s %9s %9s %9s %7s %7s  %10s %9s %9s  %10s %9s %9s\n", "input", "topology", "naive", "direct",
           "plan", "limit", "naive", "direct", "tulle", "naive", "alltoallv", "tulle", "naive", "alltoallv");
}

static void print_report(json_t *report)
{
    json_t *rows = json_object_get(json_object_get(report, "volume"), "inter_node_rows");
    json_int_t naive = json_integer_value(json_object_get(rows, "naive"));
    json_int_t direct = json_integer_value(json_object_get(rows, "direct"));
    json_int_t plan = json_integer_value(json_object_get(rows, "plan"));
    json_int_t limit = json_integer_value(json_object_get(rows, "limit"));
    const char *name = json_string_value(json_object_get(json_object_get(report, "input"), "name"));
    const char *topology = json_string_value(json_object_get(report, "topology"));
    printf("%-18s %-9s %9lld %9lld %9lld %9lld", name == NULL ? "?" : name, topology == NULL ? "?" : topology,
           (long long)naive, (long long)direct, (long long)plan, (long long)limit);
    print_percent(naive, plan);
    print_percent(direct, plan);
    print_times(report, "gather");
    print_times(report, "scatter");
    printf("\n");
}

int main(int argc, char **argv)
{
    json_int_t wrong = 0;
    int num_unread = 0;
    int is_emulated = 0;
    print_heading();
    for (int i = 1; i < argc; i++) {
        json_error_t error;
        json_t *report = json_load_file(argv[i], 0, &error);
        if (report == NULL) {
            fprintf(stderr, "tulle_perf_table: %s, line %d: %s\n", argv[i], error.line, error.text);
            num_unread++;
            continue;
        }
        print_report(report);
        wrong += wrong_of(report);
        is_emulated = is_emulated || json_is_true(json_object_get(report, "emulated"));
        json_decref(report);
    }
    printf("\nTimes are medians of the slowest rank, packing and unpacking included. Wrong values: %lld.\n",
           (long long)wrong);
    if (is_emulated)
        printf("The nodes are emulated: they share one machine, so rows that cross them cost no network, and the times "
               "say nothing\nabout a cluster. The numbers of rows are those of a real one.\n");
    return wrong > 0 || num_unread > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
