/* SPDX-License-Identifier: Apache-2.0
 * Files that must be read: every field, storage and compression, odd but legal text, sizes from nothing upwards. The
 * expected matrix is a table filled while the text is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/arena.h"
#include "tests/perf/world.h"

static const char *const fields[] = {"pattern", "real", "integer", "complex"};
static const char *const values[][3] = {
    {"", "", ""}, {" 1.5", " 0", " -2e300"}, {" 7", " 0", " -1"}, {" 1.5 0", " 0 0.0", " 1e-300 -4"}};
static const char *const storages[] = {"general", "symmetric", "skew-symmetric", "hermitian"};

typedef struct text {
    char bytes[1 << 16];
    size_t length;
} text_t;

static void append(text_t *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append(text_t *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    text->length += (size_t)vsnprintf(text->bytes + text->length, sizeof text->bytes - text->length, format, arguments);
    va_end(arguments);
    assert_true(text->length < sizeof text->bytes);
}

static void read_ok(const char *path, perf_input_t *input)
{
    tulle_status_t st = perf_input_read_matrix(MPI_COMM_WORLD, path, NULL, NULL, input);
    if (st != TULLE_OK)
        print_error("%s\n", tulle_last_error()->text);
    assert_int_equal(st, TULLE_OK);
}

static void assert_reads_as(const char *name, packing_t packing, const text_t *text, const table_t *table)
{
    perf_input_t input = {0};
    read_ok(world_write_packed(name, packing, text->bytes, text->length), &input);
    assert_is_table(&input, table);
    perf_input_release(&input);
}

/* The same on every rank: no rand(), which MPI may use. */
static int draw(unsigned *state, int bound)
{
    *state = *state * 1103515245u + 12345u;
    return (int)((*state >> 16) % (unsigned)bound);
}

/* Entries in random order, some twice, some zero, most columns empty; half of the symmetric kinds' entries upper. */
static void make_case(int field, int storage, unsigned seed, text_t *text, table_t *table)
{
    int num_entries = 5 + draw(&seed, 60);
    memset(table, 0, sizeof *table);
    text->length = 0;
    table->rows = 1 + draw(&seed, 40);
    table->cols = storage == 0 ? 1 + draw(&seed, 40) : table->rows;
    append(text, "%%%%MatrixMarket matrix coordinate %s %s\n%% a comment\n%d %d %d\n", fields[field], storages[storage],
           table->rows, table->cols, num_entries);
    for (int k = 0; k < num_entries; k++) {
        int row = draw(&seed, table->rows);
        int col = draw(&seed, table->cols);
        table->place[row][col] = 1;
        if (storage != 0)
            table->place[col][row] = 1;
        append(text, "%d %d%s\n", row + 1, col + 1, values[field][draw(&seed, 3)]);
    }
}

static void test_read_every_field_storage_and_packing_gives_the_places(void **state)
{
    static text_t text;
    static table_t table;
    for (int field = 0; field < 4; field++)
        for (int storage = 0; storage < 4; storage++)
            for (int packing = 0; packing < NUM_PACKINGS; packing++) {
                make_case(field, storage, (unsigned)(100 * field + 10 * storage + packing), &text, &table);
                assert_reads_as("case", (packing_t)packing, &text, &table);
            }
}

static void test_read_packed_twice_gives_the_places(void **state)
{
    static text_t text;
    static text_t packed;
    static table_t table;
    make_case(1, 0, 77, &text, &table);
    world_write_packed("once", PACKING_BZIP2, text.bytes, text.length);
    packed.length = world_read("once", packed.bytes, sizeof packed.bytes);
    assert_reads_as("twice", PACKING_XZ, &packed, &table);
}

static void read_text(const char *text, perf_input_t *input)
{
    read_ok(world_write("text.mtx", text, strlen(text)), input);
}

static void test_read_odd_but_legal_text_gives_the_places(void **state)
{
    static const char *const texts[] = {
        "%%MatrixMarket matrix coordinate pattern general\n2 3 2\n1 1\n2 3\n",
        "%%MatrixMarket matrix coordinate pattern general\n2 3 2\n1 1\n2 3",
        "%%MatrixMarket matrix coordinate pattern general\r\n%\r\n2 3 2\r\n1 1\r\n2 3\r\n",
        "%%MatrixMarket\tMATRIX  Coordinate\tPattern GENERAL  \n\n%c\n  \n 2\t3  2 \n\n  1\t1\n%b\n\n2 3 \n\n%a\n \n",
        "%%MatrixMarket matrix coordinate integer general\n2 3 3\n2 3 0\n1 1 5\n2 3 -0\n",
        "%%MatrixMarket matrix coordinate real general\n2 3 2\n1 1 inf\n2 3 nan\n",
    };
    static table_t table = {.rows = 2, .cols = 3};
    table.place[0][0] = table.place[1][2] = 1;
    for (size_t k = 0; k < sizeof texts / sizeof texts[0]; k++) {
        perf_input_t input = {0};
        read_text(texts[k], &input);
        assert_is_table(&input, &table);
        perf_input_release(&input);
    }
}

static void test_read_long_comments_in_the_header_are_skipped(void **state)
{
    static text_t text;
    static table_t table = {.rows = 1, .cols = 1, .place = {{1}}};
    text.length = 0;
    append(&text, "%%%%MatrixMarket matrix coordinate pattern general\n");
    for (int k = 0; k < 20; k++)
        append(&text, "%%%*d\n", 3000, k);
    append(&text, "1 1 1\n1 1\n");
    assert_reads_as("comments", PACKING_NONE, &text, &table);
}

static void test_read_without_entries_gives_empty_rows(void **state)
{
    static const int sizes[][2] = {{0, 0}, {0, 5}, {5, 0}, {5, 5}, {1, 9}, {9, 1}};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        perf_input_t input = {0};
        static text_t text;
        static table_t table;
        table.rows = sizes[k][0];
        table.cols = sizes[k][1];
        text.length = 0;
        append(&text, "%%%%MatrixMarket matrix coordinate real %s\n%d %d 0\n", k == 3 ? "symmetric" : "general",
               table.rows, table.cols);
        read_text(text.bytes, &input);
        assert_is_table(&input, &table);
        assert_non_null(input.row_ptr);
        assert_non_null(input.col_idx);
        perf_input_release(&input);
    }
}

static void test_read_both_halves_of_a_symmetric_matrix_count_once(void **state)
{
    perf_input_t input = {0};
    static table_t table = {.rows = 3, .cols = 3, .place = {{0, 1, 0}, {1, 0, 0}, {0, 0, 1}}};
    read_text("%%MatrixMarket matrix coordinate real symmetric\n3 3 3\n1 2 4\n2 1 4\n3 3 0\n", &input);
    assert_is_table(&input, &table);
    perf_input_release(&input);
}

/* Above one message (2^20 entries) to a rank: all entries in the last row. */
static void test_read_a_row_beyond_one_message_arrives_whole(void **state)
{
    enum { COLUMNS = 1200000 };
    perf_input_t input = {0};
    size_t length = 0;
    char *text = malloc((size_t)COLUMNS * 12 + 100);
    assert_non_null(text);
    length += (size_t)sprintf(text, "%%%%MatrixMarket matrix coordinate pattern general\n9 %d %d\n", COLUMNS, COLUMNS);
    for (int k = COLUMNS; k >= 1; k--)
        length += (size_t)sprintf(text + length, "9 %d\n", k);
    read_ok(world_write("wide.mtx", text, length), &input);
    free(text);
    assert_is_well_formed(&input);
    assert_int_equal(input.nnz, COLUMNS);
    assert_int_equal(input.row_ptr[input.num_rows],
                     input.num_rows > 0 && input.first_row + input.num_rows == 9 ? COLUMNS : 0);
    perf_input_release(&input);
}

static void test_read_name_has_no_folder_and_no_suffix(void **state)
{
    static const char text[] = "%%MatrixMarket matrix coordinate pattern general\n1 1 0\n";
    static const char *const names[][2] = {
        {"a.mtx", "a"},
        {"a.mtx.gz", "a"},
        {"b.c.mtx.xz", "b.c"},
        {"b.mtx.bz2", "b"},
        {"b.mtx.zst", "b"},
        {"b.mtx.lz4", "b"},
        {"plain", "plain"},
        {".mtx", ".mtx"},
        {"x.txt", "x.txt"},
        {"a-name-that-is-longer-than-what-the-struct-has-room-for-so-that-it-must-be-cut.mtx",
         "a-name-that-is-longer-than-what-the-struct-has-room-for-so-that"}};
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
        perf_input_t input = {0};
        read_ok(world_write(names[k][0], text, sizeof text - 1), &input);
        assert_string_equal(input.name, names[k][1]);
        perf_input_release(&input);
    }
}

typedef struct progress_log {
    int num_calls;
    double last;
    char what[16];
} progress_log_t;

static void log_progress(void *state, const char *what, double fraction)
{
    progress_log_t *log = state;
    if (strcmp(log->what, what) != 0)
        log->last = 0;
    assert_true(fraction >= log->last && fraction <= 1.0);
    log->last = fraction;
    snprintf(log->what, sizeof log->what, "%s", what);
    log->num_calls++;
}

static void test_read_reports_progress_on_rank_0_only(void **state)
{
    perf_input_t input = {0};
    progress_log_t log = {0, 0, ""};
    const char *path = world_path("wide.mtx"); /* written above */
    assert_int_equal(perf_input_read_matrix(MPI_COMM_WORLD, path, log_progress, &log, &input), TULLE_OK);
    assert_true(world_rank() == 0 ? log.num_calls >= 5 && log.num_calls <= 22 : log.num_calls == 0);
    perf_input_release(&input);
}

static void test_release_is_safe_on_nothing(void **state)
{
    perf_input_t input = {0};
    perf_input_release(NULL);
    perf_input_release(&input);
}

static void test_read_fails_cleanly_when_any_allocation_fails(void **state)
{
    static text_t text;
    static table_t table;
    tulle_status_t st = TULLE_ERR_NOMEM;
    int64_t k = 0;
    if (world_size() > 1)
        skip();
    make_case(3, 1, 5, &text, &table);
    const char *path = world_write_packed("alloc", PACKING_XZ, text.bytes, text.length);
    int64_t live = tli_alloc_live();
    for (k = 1; st != TULLE_OK; k++) {
        perf_input_t input = {0};
        tli_alloc_fail_at(k);
        st = perf_input_read_matrix(MPI_COMM_WORLD, path, NULL, NULL, &input);
        tli_alloc_fail_at(0);
        assert_true(st == TULLE_OK || st == TULLE_ERR_NOMEM);
        assert_true(st == TULLE_OK || input.row_ptr == NULL); /* untouched on failure */
        perf_input_release(&input);
        assert_int_equal(tli_alloc_live(), live);
    }
    assert_true(k > 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_every_field_storage_and_packing_gives_the_places),
        cmocka_unit_test(test_read_packed_twice_gives_the_places),
        cmocka_unit_test(test_read_odd_but_legal_text_gives_the_places),
        cmocka_unit_test(test_read_long_comments_in_the_header_are_skipped),
        cmocka_unit_test(test_read_without_entries_gives_empty_rows),
        cmocka_unit_test(test_read_both_halves_of_a_symmetric_matrix_count_once),
        cmocka_unit_test(test_read_a_row_beyond_one_message_arrives_whole),
        cmocka_unit_test(test_read_name_has_no_folder_and_no_suffix),
        cmocka_unit_test(test_read_reports_progress_on_rank_0_only),
        cmocka_unit_test(test_release_is_safe_on_nothing),
        cmocka_unit_test(test_read_fails_cleanly_when_any_allocation_fails),
    };
    world_init(&argc, &argv);
    return world_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
