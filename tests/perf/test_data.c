/* SPDX-License-Identifier: Apache-2.0
 * Real matrices: test_data shipped <source folder> reads what perf/data holds; test_data manifest <source folder> reads
 * every matrix of a collection outside the repository, in TULLE_DATA_DIR or ../shared/data beside the source folder,
 * and compares it with the collection's MANIFEST.tsv; exit code 77 when there is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/perf/world.h"

#define MAX_COLUMNS 32

/* What is known of a matrix. Counts are summed or maximised over ranks. */
typedef struct facts {
    int64_t rows, cols, nnz, max_row, empty_rows;
} facts_t;

static char source_folder[512] = "";
static char data_folder[600] = "";

static facts_t measure(const perf_input_t *input)
{
    facts_t facts = {input->rows, input->cols, input->nnz, 0, 0};
    for (int64_t row = 0; row < input->num_rows; row++) {
        int64_t count = input->row_ptr[row + 1] - input->row_ptr[row];
        facts.max_row = count > facts.max_row ? count : facts.max_row;
        facts.empty_rows += count == 0;
    }
    MPI_Allreduce(MPI_IN_PLACE, &facts.max_row, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
    MPI_Allreduce(MPI_IN_PLACE, &facts.empty_rows, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    return facts;
}

static void assert_matrix(const char *path, const facts_t *expected)
{
    perf_input_t input = {0};
    tulle_status_t st = perf_input_read_matrix(MPI_COMM_WORLD, path, NULL, NULL, &input);
    if (st != TULLE_OK)
        print_error("%s: %s\n", path, tulle_last_error()->text);
    assert_int_equal(st, TULLE_OK);
    assert_is_well_formed(&input);
    facts_t facts = measure(&input);
    if (memcmp(&facts, expected, sizeof facts) != 0)
        print_error("%s: %lld x %lld, %lld entries, longest row %lld, %lld empty rows\n", path, (long long)facts.rows,
                    (long long)facts.cols, (long long)facts.nnz, (long long)facts.max_row, (long long)facts.empty_rows);
    assert_memory_equal(&facts, expected, sizeof facts);
    perf_input_release(&input);
}

static void test_shipped_matrices_are_what_their_table_says(void **state)
{
    static const struct {
        const char *name;
        facts_t facts;
    } shipped[] = {
        {"debian-4elt", {7434, 7434, 86062, 17, 0}},
        {"copter2", {55476, 55476, 704476, 44, 0}},
        {"add32", {4960, 4960, 23884, 32, 0}},
        {"debian-depends", {63436, 63436, 247686, 332, 9161}},
    };
    for (size_t k = 0; k < sizeof shipped / sizeof shipped[0]; k++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/perf/data/%s.mtx.xz", source_folder, shipped[k].name);
        assert_matrix(path, &shipped[k].facts);
    }
}

/* Cut a line at its tabs, in place. Returns the number of fields. */
static int split(char *line, char **fields)
{
    int count = 0;
    line[strcspn(line, "\r\n")] = '\0';
    for (char *field = line; field != NULL && count < MAX_COLUMNS; count++) {
        char *tab = strchr(field, '\t');
        fields[count] = field;
        if (tab != NULL)
            *tab++ = '\0';
        field = tab;
    }
    return count;
}

static int find_column(char **titles, int num_columns, const char *title)
{
    for (int column = 0; column < num_columns; column++)
        if (strcmp(titles[column], title) == 0)
            return column;
    fail_msg("MANIFEST.tsv has no column %s", title);
    return -1;
}

/* The manifest names files without their compression. */
static void find_file(const char *name, char *path, size_t size)
{
    static const char *const suffixes[] = {"", ".xz", ".gz"};
    for (size_t k = 0; k < sizeof suffixes / sizeof suffixes[0]; k++) {
        snprintf(path, size, "%s/%s%s", data_folder, name, suffixes[k]);
        if (access(path, R_OK) == 0)
            return;
    }
}

static void assert_manifest_row(char **titles, char **fields, int num_columns)
{
    static const char *const names[] = {"rows", "cols", "nnz_expanded", "max_row_nnz", "empty_rows"};
    int64_t numbers[5] = {0};
    char path[1024];
    for (int k = 0; k < 5; k++)
        numbers[k] = strtoll(fields[find_column(titles, num_columns, names[k])], NULL, 10);
    find_file(fields[find_column(titles, num_columns, "file")], path, sizeof path);
    facts_t expected = {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]};
    assert_matrix(path, &expected);
}

static void test_manifest_matrices_are_what_it_says(void **state)
{
    char first[4096];
    char line[4096];
    char *titles[MAX_COLUMNS] = {NULL};
    char *fields[MAX_COLUMNS] = {NULL};
    int num_matrices = 0;
    char path[1024];
    snprintf(path, sizeof path, "%s/MANIFEST.tsv", data_folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(first, sizeof first, file));
    int num_columns = split(first, titles);
    while (fgets(line, sizeof line, file) != NULL) {
        assert_int_equal(split(line, fields), num_columns);
        assert_manifest_row(titles, fields, num_columns);
        num_matrices++;
    }
    fclose(file);
    assert_true(num_matrices > 0);
    if (world_rank() == 0)
        print_message("%d matrices\n", num_matrices);
}

static int find_data_folder(void)
{
    char manifest[1024];
    const char *folder = getenv("TULLE_DATA_DIR");
    if (folder != NULL)
        snprintf(data_folder, sizeof data_folder, "%s", folder);
    else
        snprintf(data_folder, sizeof data_folder, "%s/../shared/data", source_folder);
    snprintf(manifest, sizeof manifest, "%s/MANIFEST.tsv", data_folder);
    return access(manifest, R_OK) == 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest shipped[] = {cmocka_unit_test(test_shipped_matrices_are_what_their_table_says)};
    const struct CMUnitTest manifest[] = {cmocka_unit_test(test_manifest_matrices_are_what_it_says)};
    int failures = 0;
    world_init(&argc, &argv);
    snprintf(source_folder, sizeof source_folder, "%s", argc > 2 ? argv[2] : ".");
    if (argc < 2 || strcmp(argv[1], "manifest") != 0)
        failures = cmocka_run_group_tests(shipped, NULL, NULL);
    else if (find_data_folder())
        failures = cmocka_run_group_tests(manifest, NULL, NULL);
    else
        return world_skip("no MANIFEST.tsv: set TULLE_DATA_DIR");
    return world_finish(failures);
}
