/* SPDX-License-Identifier: Apache-2.0
 * Plans in files: what was saved comes back the same; files that do not fit, are damaged or are none are refused on
 * every rank; no temporary file stays behind. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/trial.h"

#define MAX_BYTES (1 << 20)

static char folder[64] = "/tmp/tulle-plan-XXXXXX";

/* Path in this run's folder, on rank 0; NULL elsewhere: only rank 0 may look. Static storage. */
static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return spt_rank() == 0 ? path : NULL;
}

static int make_folder(void **state)
{
    return spt_rank() == 0 && mkdtemp(folder) == NULL;
}

static int num_files(void)
{
    int n = 0;
    DIR *dir = spt_rank() == 0 ? opendir(folder) : NULL;
    struct dirent *entry = NULL;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        n += entry->d_name[0] != '.';
    if (dir != NULL)
        closedir(dir);
    return n;
}

static int remove_folder(void **state)
{
    return spt_rank() == 0 && rmdir(folder) != 0;
}

static void remove_file(const char *name)
{
    if (spt_rank() == 0)
        assert_int_equal(remove(path_of(name)), 0);
}

static size_t read_bytes(const char *name, unsigned char *bytes)
{
    size_t n = 0;
    FILE *file = spt_rank() == 0 ? fopen(path_of(name), "rb") : NULL;
    if (file != NULL) {
        n = fread(bytes, 1, MAX_BYTES, file);
        fclose(file);
    }
    return n;
}

static void write_bytes(const char *name, const void *bytes, size_t n)
{
    FILE *file = spt_rank() == 0 ? fopen(path_of(name), "wb") : NULL;
    if (file != NULL) {
        assert_int_equal(fwrite(bytes, 1, n, file), n);
        assert_int_equal(fclose(file), 0);
    }
}

static tulle_status_t load(tulle_comm_t *comm, const char *name)
{
    tulle_plan_t *plan = NULL;
    tulle_status_t st = tulle_plan_load(comm, path_of(name), &plan);
    spt_assert_all((plan != NULL) == (st == TULLE_OK));
    tulle_plan_destroy(&plan);
    return st;
}

/* Topology of the most levels. */
static tulle_comm_t *deep_comm(void)
{
    int last = 0;
    while (spt_topology(last + 1) != NULL)
        last++;
    return spt_comm(spt_topology(last), 0);
}

/* --- there and back ---------------------------------------------------------------------------------------------- */

static void check_same(const tulle_plan_t *a, const tulle_plan_t *b, int64_t num_needed)
{
    tulle_plan_stats_t x = {.struct_size = sizeof x}, y = {.struct_size = sizeof y};
    int64_t *p = spt_alloc(num_needed, sizeof *p), *q = spt_alloc(num_needed, sizeof *q);
    spt_assert_ok_all(tulle_plan_get_stats(a, &x));
    spt_assert_ok_all(tulle_plan_get_stats(b, &y));
    x.setup_ns = y.setup_ns = x.break_even_exchanges = y.break_even_exchanges = 0;
    spt_assert_all(memcmp(&x, &y, sizeof x) == 0);
    spt_assert_ok_all(tulle_plan_ghost_order(a, p));
    spt_assert_ok_all(tulle_plan_ghost_order(b, q));
    spt_assert_all(memcmp(p, q, (size_t)num_needed * sizeof *p) == 0);
    spt_assert_all(tulle_plan_num_ghosts(a) == tulle_plan_num_ghosts(b));
    spt_assert_all(tulle_plan_strategy(a) == tulle_plan_strategy(b));
}

static void test_save_and_load_gives_the_same_plan(void **state)
{
    tulle_comm_t *comm = deep_comm();
    for (int kind = 0; kind < 10; kind++) {
        spt_pattern_t p = spt_pattern_random(300 + (uint64_t)kind);
        tulle_plan_t *plan = spt_plan_make(comm, &p, (tulle_strategy_t)(kind / 2), (tulle_ghost_order_t)(kind % 2));
        tulle_plan_t *back = NULL;
        spt_assert_ok_all(tulle_plan_save(plan, path_of("plan")));
        spt_assert_ok_all(tulle_plan_load(comm, path_of("plan"), &back));
        check_same(plan, back, p.num_needed);
        tulle_plan_destroy(&plan);
        spt_assert_plan_works(back, &p, (uint64_t)kind, 2);
        /* Saved again it is the same file. */
        unsigned char *first = spt_alloc(MAX_BYTES, 1), *second = spt_alloc(MAX_BYTES, 1);
        size_t n = read_bytes("plan", first);
        spt_assert_ok_all(tulle_plan_save(back, path_of("plan")));
        spt_assert_all(read_bytes("plan", second) == n && memcmp(first, second, n) == 0);
        tulle_plan_destroy(&back);
        spt_teardown(NULL);
    }
    assert_int_equal(num_files(), spt_rank() == 0);
    remove_file("plan");
    tulle_comm_destroy(&comm);
}

/* --- refused ----------------------------------------------------------------------------------------------------- */

/* A small plan's file in memory of rank 0. */
static size_t small_file(tulle_comm_t *comm, unsigned char *bytes)
{
    spt_pattern_t p = {.num_owned = 2, .first = 2 * spt_rank(), .num_needed = 1};
    p.needed_ids = spt_alloc(1, 8);
    p.needed_ids[0] = 2 * ((spt_rank() + 1) % spt_size());
    tulle_plan_t *plan = spt_plan_make(comm, &p, TULLE_STRATEGY_RAIL, TULLE_GHOST_ORDER_CALLER);
    spt_assert_ok_all(tulle_plan_save(plan, path_of("plan")));
    tulle_plan_destroy(&plan);
    uint64_t n = read_bytes("plan", bytes);
    MPI_Bcast(&n, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    return n;
}

static void check_refused(tulle_comm_t *comm, const unsigned char *bytes, size_t n, tulle_status_t status,
                          const char *words)
{
    write_bytes("plan", bytes, n);
    spt_assert_blames(load(comm, "plan"), status, 0, words);
}

static void test_load_every_truncation_is_refused(void **state)
{
    tulle_comm_t *comm = deep_comm();
    unsigned char *bytes = spt_alloc(MAX_BYTES, 1);
    size_t n = small_file(comm, bytes), step = n > 1600 ? n / 200 / 8 * 8 + 3 : 8;
    for (size_t length = 0; length < n; length += step)
        check_refused(comm, bytes, length, TULLE_ERR_FILE, length < 88 ? "too short" : "truncated");
    check_refused(comm, bytes, n - 1, TULLE_ERR_FILE, "truncated");
    check_refused(comm, bytes, n + 1, TULLE_ERR_FILE, "damaged");
    check_refused(comm, bytes, 2 * n, TULLE_ERR_FILE, "damaged");
    write_bytes("plan", bytes, n);
    spt_assert_ok_all(load(comm, "plan"));
    remove_file("plan");
    spt_assert_comm_works(comm);
    tulle_comm_destroy(&comm);
}

static void test_load_flipped_bits_are_refused(void **state)
{
    tulle_comm_t *comm = deep_comm();
    unsigned char *bytes = spt_alloc(MAX_BYTES, 1);
    size_t n = small_file(comm, bytes), step = 1 + n / 300;
    for (size_t at = 0; at < n; at += at < 80 ? 1 : step) {
        bytes[at] ^= (unsigned char)(1 << (at % 8));
        write_bytes("plan", bytes, n);
        spt_assert_fails_all(load(comm, "plan"));
        bytes[at] ^= (unsigned char)(1 << (at % 8));
    }
    remove_file("plan");
    spt_assert_comm_works(comm);
    tulle_comm_destroy(&comm);
}

/* Words of the header: magic, version, byte order, ranks. */
static void check_header_word(tulle_comm_t *comm, const unsigned char *good, size_t n, int word, int64_t value,
                              tulle_status_t status, const char *words)
{
    unsigned char *bytes = spt_alloc((int64_t)n, 1);
    memcpy(bytes, good, n);
    memcpy(bytes + 8 * word, &value, sizeof value);
    check_refused(comm, bytes, n, status, words);
}

static void test_load_file_made_elsewhere_is_refused(void **state)
{
    tulle_comm_t *comm = deep_comm();
    unsigned char *bytes = spt_alloc(MAX_BYTES, 1);
    size_t n = small_file(comm, bytes);
    char words[64];
    snprintf(words, sizeof words, "made for %d ranks but the job has %d", spt_size() + 1, spt_size());
    check_header_word(comm, bytes, n, 3, spt_size() + 1, TULLE_ERR_MISMATCH, words);
    check_header_word(comm, bytes, n, 0, 0x7f454c46, TULLE_ERR_FILE, "no plan file");
    check_header_word(comm, bytes, n, 1, 99, TULLE_ERR_FILE, "has version 99");
    check_header_word(comm, bytes, n, 2, INT64_C(0x0807060504030201), TULLE_ERR_FILE, "another byte order");
    check_header_word(comm, bytes, n, 10, INT64_MAX, TULLE_ERR_FILE, "truncated");
    check_header_word(comm, bytes, n, 10, INT64_MIN, TULLE_ERR_FILE, "damaged");
    check_header_word(comm, bytes, n, 10, 0, TULLE_ERR_FILE, "damaged");
    remove_file("plan");
    tulle_comm_destroy(&comm);
}

static void test_load_plan_of_another_topology_is_refused(void **state)
{
    tulle_comm_t *comm = deep_comm(), *other = spt_comm(spt_topology(0), 0);
    unsigned char *bytes = spt_alloc(MAX_BYTES, 1);
    if (spt_size() > 1) {
        small_file(comm, bytes);
        spt_assert_blames(load(other, "plan"), TULLE_ERR_MISMATCH, 0, "another topology");
        spt_assert_ok_all(load(comm, "plan"));
        remove_file("plan");
    }
    tulle_comm_destroy(&other);
    tulle_comm_destroy(&comm);
}

static void test_load_what_is_no_plan_is_refused(void **state)
{
    static const char matrix[] = "%%MatrixMarket matrix coordinate real general\n3 3 1\n1 1 1.0\n"
                                 "%%MatrixMarket matrix coordinate real general\n3 3 1\n1 1 1.0\n";
    tulle_comm_t *comm = deep_comm();
    tulle_plan_t *plan = NULL;
    spt_assert_blames(load(comm, "missing"), TULLE_ERR_FILE, 0, "/missing");
    spt_assert_blames(load(comm, "."), TULLE_ERR_FILE, 0, "/.");
    write_bytes("plan", matrix, sizeof matrix);
    spt_assert_blames(load(comm, "plan"), TULLE_ERR_FILE, 0, "no plan file");
    spt_assert_blames(tulle_plan_load(comm, NULL, &plan), TULLE_ERR_ARG, 0, "path is NULL");
    small_file(comm, spt_alloc(MAX_BYTES, 1));
    for (int culprit = 0; culprit < spt_size(); culprit++)
        spt_assert_blames(tulle_plan_load(comm, path_of("plan"), spt_rank() == culprit ? NULL : &plan), TULLE_ERR_ARG,
                          culprit, "plan_out is NULL");
    remove_file("plan");
    spt_assert_comm_works(comm);
    tulle_comm_destroy(&comm);
}

static void test_save_where_it_cannot_leaves_nothing(void **state)
{
    tulle_comm_t *comm = deep_comm();
    spt_pattern_t p = spt_pattern_random(2);
    tulle_plan_t *plan = spt_plan_make(comm, &p, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_CALLER);
    spt_assert_blames(tulle_plan_save(plan, NULL), TULLE_ERR_ARG, 0, "path is NULL");
    spt_assert_blames(tulle_plan_save(plan, path_of("no/such/folder")), TULLE_ERR_FILE, 0, "no/such/folder");
    if (spt_rank() == 0)
        assert_int_equal(mkdir(path_of("taken"), 0700), 0);
    spt_assert_blames(tulle_plan_save(plan, path_of("taken")), TULLE_ERR_FILE, 0, "taken");
    if (spt_rank() == 0)
        assert_int_equal(rmdir(path_of("taken")), 0);
    assert_int_equal(num_files(), 0);
    spt_assert_plan_works(plan, &p, 1, 1);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_save_and_load_gives_the_same_plan),
        spt_test(test_load_every_truncation_is_refused),
        spt_test(test_load_flipped_bits_are_refused),
        spt_test(test_load_file_made_elsewhere_is_refused),
        spt_test(test_load_plan_of_another_topology_is_refused),
        spt_test(test_load_what_is_no_plan_is_refused),
        spt_test(test_save_where_it_cannot_leaves_nothing),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, make_folder, remove_folder));
}
