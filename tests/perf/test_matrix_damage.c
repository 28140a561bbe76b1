/* SPDX-License-Identifier: Apache-2.0
 * Files that must be refused: missing, foreign, malformed, cut short, with bits flipped. A status on every rank, words
 * that name the fault, nothing printed, the caller's struct untouched; leaks are for the sanitizer build to see. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/arena.h"
#include "tests/perf/world.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#define HAS_ADDRESS_SANITIZER __has_feature(address_sanitizer)
#else
#define HAS_ADDRESS_SANITIZER 0
#endif

#define PATTERN "%%MatrixMarket matrix coordinate pattern general\n"
#define REAL    "%%MatrixMarket matrix coordinate real general\n"
#define COMPLEX "%%MatrixMarket matrix coordinate complex hermitian\n"
#define FILE_   TULLE_ERR_FILE
#define OVER    TULLE_ERR_OVERFLOW

typedef struct bad_text {
    const char *text;
    const char *words; /* part of the detail */
    tulle_status_t status;
} bad_text_t;

static const bad_text_t bad_texts[] = {
    {"", "is empty", FILE_},
    {"\n", "no MatrixMarket file", FILE_},
    {"hello", "no MatrixMarket file", FILE_},
    {"3 3 1\n1 1\n", "no MatrixMarket file", FILE_},
    {"%%MatrixMarke", "no MatrixMarket file", FILE_},
    {"%%matrixmarket matrix coordinate pattern general\n1 1 0\n", "no MatrixMarket file", FILE_},
    {"\n" PATTERN "1 1 0\n", "no MatrixMarket file", FILE_},
    {"%%MatrixMarket", "ends inside its header", FILE_},
    {"%%MatrixMarket\n1 1 0\n", "bad header", FILE_},
    {"%%MatrixMarket matrix coordinate pattern\n1 1 0\n", "bad header", FILE_},
    {"%%MatrixMarket vector coordinate pattern general\n1 1 0\n", "bad header", FILE_},
    {"%%MatrixMarket matrix triples pattern general\n1 1 0\n", "unknown header", FILE_},
    {"%%MatrixMarket matrix coordinate quaternion general\n1 1 0\n", "quaternion", FILE_},
    {"%%MatrixMarket matrix coordinate real symmetrical\n1 1 0\n", "symmetrical", FILE_},
    {"%%MatrixMarket matrix array real general\n1 1\n5\n", "dense array", TULLE_ERR_UNSUPPORTED},
    {PATTERN, "ends inside its header", FILE_},
    {PATTERN "% only comments\n\n", "ends inside its header", FILE_},
    {PATTERN "2 2\n1 1\n", "rows, columns and entries", FILE_},
    {PATTERN "2 2 1 0\n1 1\n", "rows, columns and entries", FILE_},
    {PATTERN "two 2 1\n1 1\n", "rows, columns and entries", FILE_},
    {PATTERN "-2 2 1\n1 1\n", "size of -2", FILE_},
    {PATTERN "2 2 -1\n", "size of -1", FILE_},
    {PATTERN "2 2.5 1\n1 1\n", "size of 2.5", FILE_},
    {PATTERN "2 nan 1\n1 1\n", "size of nan", FILE_},
    {PATTERN "2 2 1e300\n1 1\n", "size of 1e+300", OVER},
    {PATTERN "9007199254740992 2 1\n1 1\n", "size of 9", OVER},
    {"%%MatrixMarket matrix coordinate real symmetric\n2 3 1\n1 1 1\n", "2 rows and 3 columns", FILE_},
    {PATTERN "2 3 1\n0 1\n", "index of 0", FILE_},
    {PATTERN "2 3 2\n1 1\n1 0\n", "index of 0", FILE_},
    {PATTERN "2 3 1\n3 1\n", "entry (3, 1) outside its 2 rows and 3 columns", FILE_},
    {PATTERN "2 3 2\n1 1\n1 4\n", "entry (1, 4) outside its 2 rows and 3 columns", FILE_},
    {PATTERN "2 3 1\n4 1\n", "beyond the matrix", FILE_},
    {PATTERN "2 3 1\n1 5\n", "beyond the matrix", FILE_},
    {PATTERN "2 3 1\n1 4294967297\n", "beyond the matrix", FILE_},
    {PATTERN "2 3 1\n1 1e300\n", "bad entry", FILE_},
    {PATTERN "2 3 1\n1 -1\n", "bad entry", FILE_},
    {PATTERN "2 3 1\nnan 1\n", "bad entry", FILE_},
    {PATTERN "0 0 1\n1 1\n", "entry (1, 1) outside its 0 rows", FILE_},
    {PATTERN "2 3 2\n1 1\n", "ends before the last of its 2 entries", FILE_},
    {PATTERN "2 3 1\n", "ends before the last of its 1 entries", FILE_},
    {PATTERN "2 3 1\n1 1\n2 2\n", "more than the 1 entries", FILE_},
    {PATTERN "2 3 0\n% c\n\n2 2\n", "more than the 0 entries", FILE_},
    {PATTERN "2 3 1\n1 1\n!end\n", "more than the 1 entries", FILE_},
    {PATTERN "2 3 1\n1\n", "bad entry", FILE_},
    {PATTERN "2 3 2\n1 1\nx y\n", "bad entry", FILE_},
    {PATTERN "2 3 1\n1 1 5\n", "bad entry", FILE_},
    {REAL "2 3 1\n1 1\n", "bad entry", FILE_},
    {REAL "2 3 2\n1 1 1\n1 1 1 1\n", "bad entry", FILE_},
    {COMPLEX "2 2 1\n1 1 1\n", "bad entry", FILE_},
};

/* Where stdout and stderr of this process go while a read is watched. */
typedef struct capture {
    int saved[2];
    FILE *file;
} capture_t;

static void capture_begin(capture_t *capture)
{
    capture->file = tmpfile();
    assert_non_null(capture->file);
    for (int fd = 1; fd <= 2; fd++) {
        fflush(fd == 1 ? stdout : stderr);
        capture->saved[fd - 1] = dup(fd);
        dup2(fileno(capture->file), fd);
    }
}

/* Returns the number of bytes that were printed. */
static long capture_end(capture_t *capture)
{
    long printed = 0;
    for (int fd = 1; fd <= 2; fd++) {
        fflush(fd == 1 ? stdout : stderr);
        dup2(capture->saved[fd - 1], fd);
        close(capture->saved[fd - 1]);
    }
    printed = (long)lseek(fileno(capture->file), 0, SEEK_END);
    fclose(capture->file);
    return printed;
}

static tulle_status_t read_quietly(const char *path, perf_input_t *input)
{
    capture_t capture;
    capture_begin(&capture);
    tulle_status_t st = perf_input_read_matrix(MPI_COMM_WORLD, path, NULL, NULL, input);
    assert_int_equal(capture_end(&capture), 0);
    return st;
}

static void assert_refused(const char *path, tulle_status_t status, const char *words)
{
    perf_input_t input;
    perf_input_t untouched;
    int64_t live = tli_alloc_live();
    memset(&input, 0x5a, sizeof input);
    untouched = input;
    tulle_status_t st = read_quietly(path, &input);
    if (st == TULLE_OK || (words != NULL && strstr(tulle_last_error()->text, words) == NULL))
        print_error("expected '%s', found '%s'\n", words != NULL ? words : "a failure", tulle_last_error()->text);
    assert_failed_on_rank_0(status, st);
    assert_true(words == NULL || strstr(tulle_last_error()->text, words) != NULL);
    assert_memory_equal(&input, &untouched, sizeof input);
    assert_int_equal(tli_alloc_live(), live);
}

static void test_read_malformed_text_is_refused_with_the_reason(void **state)
{
    for (size_t k = 0; k < sizeof bad_texts / sizeof bad_texts[0]; k++)
        assert_refused(world_write("bad.mtx", bad_texts[k].text, strlen(bad_texts[k].text)), bad_texts[k].status,
                       bad_texts[k].words);
}

/* CHOLMOD asks for room for all announced entries. The sanitizer reports such a request instead of refusing it. */
static void test_read_more_entries_than_memory_is_refused(void **state)
{
    static const char text[] = PATTERN "2 2 4000000000000000\n1 1\n";
    if (HAS_ADDRESS_SANITIZER)
        skip();
    assert_refused(world_write("huge.mtx", text, sizeof text - 1), TULLE_ERR_NOMEM, "out of memory");
}

static void test_read_malformed_packed_text_is_refused(void **state)
{
    for (int packing = 1; packing < NUM_PACKINGS; packing++) {
        assert_refused(world_write_packed("bad", (packing_t)packing, "hello", 5), FILE_, "no MatrixMarket file");
        assert_refused(world_write_packed("bad", (packing_t)packing, PATTERN "2 2 2\n1 1\n", sizeof PATTERN + 9), FILE_,
                       "ends before");
    }
}

static void test_read_what_is_no_file_is_refused(void **state)
{
    assert_refused("", FILE_, "No such file");
    assert_refused(world_path("missing.mtx"), FILE_, "No such file");
    assert_refused(world_path(""), FILE_, "is a directory");
    if (world_rank() == 0)
        assert_int_equal(mkfifo(world_path("fifo"), 0600), 0);
    assert_refused(world_path("fifo"), FILE_, "no regular file");
}

static void test_read_names_the_file_in_the_detail(void **state)
{
    assert_refused(world_path("missing.mtx"), FILE_, "missing.mtx");
    assert_refused(world_write("short.mtx", PATTERN "2 2 1\n", sizeof PATTERN + 5), FILE_, "short.mtx");
    assert_refused(
        world_path("a-name-of-a-file-in-a-long-path-that-the-detail-cannot-hold-from-its-beginning-to-its-end-so-"
                   "that-the-beginning-must-go/missing.mtx"),
        FILE_, "must-go/missing.mtx': No such file");
}

static const char small_text[] =
    "%%MatrixMarket matrix coordinate real symmetric\n% why\n3 3 4\n1 1 0.5\n2 1 -1\n3 2 4\n3 3 1\n";

static table_t small_table(void)
{
    table_t table = {.rows = 3, .cols = 3, .place = {{1, 1, 0}, {1, 0, 1}, {0, 1, 1}}};
    return table;
}

/* The last value and line feed may go without harm, nothing else. */
static void test_read_cut_text_is_refused(void **state)
{
    for (size_t length = 0; length + 2 < sizeof small_text - 1; length++)
        assert_refused(world_write("cut.mtx", small_text, length), FILE_, NULL);
}

static void test_read_cut_packed_file_is_refused(void **state)
{
    for (int packing = 1; packing < NUM_PACKINGS; packing++) {
        char bytes[1024];
        world_write_packed("whole", (packing_t)packing, small_text, sizeof small_text - 1);
        int64_t length = (int64_t)world_read("whole", bytes, sizeof bytes);
        MPI_Bcast(&length, 1, MPI_INT64_T, 0, MPI_COMM_WORLD);
        for (int64_t cut = 0; cut < length; cut++)
            assert_refused(world_write("cut", bytes, (size_t)cut), FILE_, NULL);
    }
}

/* A flip in a field that says nothing about the content (gzip's time and system) is harmless; otherwise the checksums
 * must find it. zstd is left out: its checksum is optional, and libarchive writes none. */
static void test_read_flipped_bits_never_give_another_matrix(void **state)
{
    static const packing_t packings[] = {PACKING_GZIP, PACKING_XZ, PACKING_BZIP2};
    table_t table = small_table();
    int refused = 0;
    for (int p = 0; p < 3; p++) {
        char bytes[1024];
        world_write_packed("whole", packings[p], small_text, sizeof small_text - 1);
        int64_t length = (int64_t)world_read("whole", bytes, sizeof bytes);
        MPI_Bcast(&length, 1, MPI_INT64_T, 0, MPI_COMM_WORLD);
        for (int64_t bit = 0; bit < 8 * length; bit += 5) {
            perf_input_t input = {0};
            bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
            tulle_status_t st = read_quietly(world_write("flipped", bytes, (size_t)length), &input);
            bytes[bit / 8] = (char)(bytes[bit / 8] ^ (1 << bit % 8));
            if (st == TULLE_OK)
                assert_is_table(&input, &table);
            refused += st != TULLE_OK;
            perf_input_release(&input);
        }
    }
    assert_true(refused > 200);
}

/* Damaged content that a checksum covers must be reported as damage, not as what the text then looks like. */
static void test_read_damage_is_reported_as_damage(void **state)
{
    char bytes[1024];
    world_write_packed("whole", PACKING_GZIP, small_text, sizeof small_text - 1);
    size_t length = world_read("whole", bytes, sizeof bytes);
    if (world_rank() == 0)
        bytes[length - 8] ^= 1; /* the checksum itself */
    assert_refused(world_write("damaged", bytes, length), FILE_, "cannot decompress");
}

/* All entries are there when the damage shows: behind them come comments, more than one block of the reader. */
static void test_read_damage_behind_the_last_entry_is_refused(void **state)
{
    static const packing_t packings[] = {PACKING_GZIP, PACKING_XZ, PACKING_BZIP2};
    static char text[200000];
    static char bytes[sizeof text];
    size_t used = sizeof small_text - 1;
    memcpy(text, small_text, used);
    for (size_t line = 0; used + 16 < sizeof text; line++)
        used += (size_t)sprintf(text + used, "%% %zu\n", line);
    for (int p = 0; p < 3; p++) {
        world_write_packed("whole", packings[p], text, used);
        size_t length = world_read("whole", bytes, sizeof bytes);
        if (world_rank() == 0)
            bytes[length - 8] ^= 1; /* gzip's checksum; the other formats check their ends too */
        assert_refused(world_write("damaged", bytes, length), FILE_, "cannot decompress");
    }
}

static unsigned next(unsigned *state)
{
    *state = *state * 1103515245u + 12345u;
    return *state >> 8;
}

/* Whatever the text: no crash, no print, and what is accepted is a matrix. The same texts in every run. */
static void test_read_mutated_text_is_refused_or_well_formed(void **state)
{
    static const char letters[] = "0123456789-+.eE %\n\r\tx\0";
    unsigned seed = 20240601u;
    int accepted = 0;
    for (int round = 0; round < 600; round++) {
        char text[sizeof small_text];
        perf_input_t input = {0};
        memcpy(text, small_text, sizeof text);
        for (unsigned k = 0; k <= next(&seed) % 3; k++)
            text[46 + next(&seed) % (sizeof small_text - 47)] = letters[next(&seed) % (sizeof letters - 1)];
        tulle_status_t st = read_quietly(world_write("mutated.mtx", text, sizeof text - 1), &input);
        if (st == TULLE_OK)
            assert_is_well_formed(&input);
        accepted += st == TULLE_OK;
        perf_input_release(&input);
    }
    assert_in_range(accepted, 50, 550);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_malformed_text_is_refused_with_the_reason),
        cmocka_unit_test(test_read_more_entries_than_memory_is_refused),
        cmocka_unit_test(test_read_malformed_packed_text_is_refused),
        cmocka_unit_test(test_read_what_is_no_file_is_refused),
        cmocka_unit_test(test_read_names_the_file_in_the_detail),
        cmocka_unit_test(test_read_cut_text_is_refused),
        cmocka_unit_test(test_read_cut_packed_file_is_refused),
        cmocka_unit_test(test_read_flipped_bits_never_give_another_matrix),
        cmocka_unit_test(test_read_damage_is_reported_as_damage),
        cmocka_unit_test(test_read_damage_behind_the_last_entry_is_refused),
        cmocka_unit_test(test_read_mutated_text_is_refused_or_well_formed),
    };
    world_init(&argc, &argv);
    return world_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
