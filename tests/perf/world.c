/* SPDX-License-Identifier: Apache-2.0
 * Frame, folder and comparison of the tests of this room. */
#include "tests/perf/world.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>
#include <cmocka.h>

#include "src/fault.h"

const char *const packing_suffixes[NUM_PACKINGS] = {"", ".gz", ".xz", ".bz2", ".zst"};

static char folder[512] = "";

int world_rank(void)
{
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

int world_size(void)
{
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return size;
}

void world_init(int *argc, char ***argv)
{
    const char *parent = getenv("TMPDIR");
    MPI_Init(argc, argv);
    tli_fault_set_rank(world_rank());
    if (world_size() > 1)
        setenv("CMOCKA_TEST_ABORT", "1", 1);
    snprintf(folder, sizeof folder, "%s/tulle-perf-XXXXXX", parent != NULL ? parent : "/tmp");
    if (world_rank() == 0 && mkdtemp(folder) == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
}

static void remove_folder(void)
{
    DIR *dir = opendir(folder);
    struct dirent *entry = NULL;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        unlink(world_path(entry->d_name)); /* fails on "." and "..", as it should */
    if (dir != NULL)
        closedir(dir);
    rmdir(folder);
}

int world_finish(int failures)
{
    int total = 0;
    if (world_rank() == 0)
        remove_folder();
    MPI_Allreduce(&failures, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Finalize();
    return total != 0;
}

int world_skip(const char *reason)
{
    if (world_rank() == 0)
        print_message("skipped: %s\n", reason);
    return world_finish(0) == 0 ? 77 : 1;
}

void assert_failed_on_rank_0(tulle_status_t expected, tulle_status_t actual)
{
    assert_string_equal(tulle_status_name(actual), tulle_status_name(world_rank() == 0 ? expected : TULLE_ERR_REMOTE));
}

const char *world_path(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/%s", world_rank() == 0 ? folder : "/nowhere", name);
    return path;
}

const char *world_write(const char *name, const void *bytes, size_t num_bytes)
{
    const char *path = world_path(name);
    if (world_rank() == 0) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, num_bytes, file), num_bytes);
        assert_int_equal(fclose(file), 0);
    }
    return path;
}

static void add_filter(struct archive *archive, packing_t packing)
{
    static int (*const add[NUM_PACKINGS])(struct archive *) = {
        archive_write_add_filter_none,  archive_write_add_filter_gzip, archive_write_add_filter_xz,
        archive_write_add_filter_bzip2, archive_write_add_filter_zstd,
    };
    assert_int_equal(add[packing](archive), ARCHIVE_OK);
}

const char *world_write_packed(const char *name, packing_t packing, const void *bytes, size_t num_bytes)
{
    const char *path = world_path(name);
    if (world_rank() == 0) {
        struct archive *archive = archive_write_new();
        struct archive_entry *entry = archive_entry_new();
        add_filter(archive, packing);
        assert_int_equal(archive_write_set_format_raw(archive), ARCHIVE_OK);
        archive_write_set_bytes_in_last_block(archive, 1);
        assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
        archive_entry_set_filetype(entry, AE_IFREG);
        assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
        assert_int_equal(archive_write_data(archive, bytes, num_bytes), num_bytes);
        archive_entry_free(entry);
        assert_int_equal(archive_write_free(archive), ARCHIVE_OK);
    }
    return path;
}

size_t world_read(const char *name, void *bytes, size_t capacity)
{
    size_t num_bytes = 0;
    if (world_rank() == 0) {
        FILE *file = fopen(world_path(name), "rb");
        assert_non_null(file);
        num_bytes = fread(bytes, 1, capacity, file);
        fclose(file);
    }
    return num_bytes;
}

/* Blocks as the contract words them, one id at a time. */
static void assert_is_block(int64_t n, int64_t first, int64_t count)
{
    int64_t expected_first = 0;
    int64_t expected_count = 0;
    for (int rank = 0; rank <= world_rank(); rank++) {
        expected_first += expected_count;
        expected_count = n / world_size() + (rank < n % world_size() ? 1 : 0);
    }
    assert_int_equal(first, expected_first);
    assert_int_equal(count, expected_count);
}

/* One assertion a row: a million of them would take longer than the read. */
static int is_ascending(const int64_t *columns, int64_t count, int64_t bound)
{
    int64_t previous = -1;
    for (int64_t k = 0; k < count; k++) {
        if (columns[k] <= previous || columns[k] >= bound)
            return 0;
        previous = columns[k];
    }
    return 1;
}

void assert_is_well_formed(const perf_input_t *input)
{
    int64_t sum = 0;
    assert_is_block(input->rows, input->first_row, input->num_rows);
    assert_is_block(input->cols, input->first_col, input->num_cols);
    assert_int_equal(input->row_ptr[0], 0);
    for (int64_t row = 0; row < input->num_rows; row++) {
        int64_t start = input->row_ptr[row];
        int64_t end = input->row_ptr[row + 1];
        assert_true(start <= end && is_ascending(input->col_idx + start, end - start, input->cols));
    }
    MPI_Allreduce(&input->row_ptr[input->num_rows], &sum, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    assert_int_equal(input->nnz, sum);
}

void assert_is_table(const perf_input_t *input, const table_t *table)
{
    int64_t nnz = 0;
    assert_int_equal(input->rows, table->rows);
    assert_int_equal(input->cols, table->cols);
    assert_is_well_formed(input);
    for (int row = 0; row < table->rows; row++)
        for (int col = 0; col < table->cols; col++)
            nnz += table->place[row][col];
    assert_int_equal(input->nnz, nnz);
    for (int64_t row = 0; row < input->num_rows; row++) {
        int64_t k = input->row_ptr[row];
        for (int col = 0; col < table->cols; col++)
            if (table->place[input->first_row + row][col]) {
                assert_true(k < input->row_ptr[row + 1]);
                assert_int_equal(input->col_idx[k++], col);
            }
        assert_int_equal(k, input->row_ptr[row + 1]);
    }
}
