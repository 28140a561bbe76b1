/* SPDX-License-Identifier: Apache-2.0
 * Topology files: what is saved loads back equal; what is malformed is refused with file and line; the machines that
 * come with the library load. */
#include <dirent.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <tulle/topology.h>

#include "topology/model.h"
#include "trees.h"

static char directory[64];
static char path[128];

static int setup(void **state)
{
    strcpy(directory, "/tmp/tulle-test-XXXXXX");
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/machine.topo", directory);
    return 0;
}

static int count_files(void)
{
    DIR *entries = opendir(directory);
    int count = 0;
    for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
        count += entry->d_name[0] != '.';
    closedir(entries);
    return count;
}

static int teardown(void **state)
{
    remove(path);
    return rmdir(directory);
}

static void write_text(const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static tulle_topology_t *load(int num_ranks)
{
    tulle_topology_t *topology = NULL;
    if (tulle_topology_load(path, num_ranks, &topology) != TULLE_OK)
        fail_msg("%s", tulle_last_error()->text);
    return topology;
}

static void check_round_trip(const tulle_topology_t *topology)
{
    tulle_topology_t *again = NULL;
    assert_int_equal(tulle_topology_save(topology, path), TULLE_OK);
    again = load(tulle_topology_num_ranks(topology));
    assert_true(tli_topology_equal(topology, again));
    assert_string_equal(tulle_topology_text(topology), tulle_topology_text(again));
    for (int l = 0; l < tulle_topology_num_levels(topology); l++)
        assert_string_equal(tulle_topology_level_name(topology, l), tulle_topology_level_name(again, l));
    tulle_topology_destroy(&again);
}

static void test_save_random_placement_loads_back_equal(void **state)
{
    for (uint64_t seed = 1; seed <= 500; seed++) {
        uint64_t random = seed;
        tulle_topology_t *topology = trees_random_topology(&random);
        check_round_trip(topology);
        tulle_topology_destroy(&topology);
    }
    assert_int_equal(count_files(), 1);
}

static void test_save_regular_placement_loads_back_equal(void **state)
{
    static const char *const texts[] = {"1", "2x4", "4,4,2:cyclic", "(3,1),(2x2)", "2x(2,1):cyclic", "1x1x1x1x1x1x2"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tulle_topology_t *topology = NULL;
        assert_int_equal(tulle_topology_parse(texts[i], 0, &topology), TULLE_OK);
        check_round_trip(topology);
        tulle_topology_destroy(&topology);
    }
}

/* A locale whose decimal point is a comma must not reach the file. Skipped where no such locale is installed. */
static void test_save_in_comma_locale_loads_back_equal(void **state)
{
    uint64_t random = 7;
    tulle_topology_t *topology = NULL;
    if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL && setlocale(LC_ALL, "fr_FR.UTF-8") == NULL)
        skip();
    topology = trees_random_topology(&random);
    check_round_trip(topology);
    assert_string_equal(localeconv()->decimal_point, ",");
    setlocale(LC_ALL, "C");
    check_round_trip(topology);
    tulle_topology_destroy(&topology);
}

static void test_load_every_feature_of_the_format(void **state)
{
    tulle_topology_t *topology = NULL;
    tulle_link_t link;
    write_text("# a comment before the first line\n\n"
               "tulle-topology 1  # trailing\r\n"
               "\tshape  (2,1),3 \r\n"
               "level island num_links=4 bytes_per_second=1.5e9 latency_ns=0\n"
               "ranks 5 4\n"
               "ranks\n"
               "ranks 0 1 3 2\n"
               "level domain overhead_ns=250 group_bytes_per_second=3e9 group_overhead_ns=70\n"
               "level gpu latency_ns=12.5"); /* no line end */
    topology = load(6);
    assert_string_equal(tulle_topology_text(topology), "(1,2),3:custom");
    assert_int_equal(tulle_topology_group(topology, 0, 5), tulle_topology_group(topology, 0, 0));
    assert_int_equal(tulle_topology_group(topology, 1, 5), tulle_topology_group(topology, 1, 4));
    assert_int_equal(tulle_topology_group(topology, 0, 2), tulle_topology_group(topology, 0, 3));
    assert_string_equal(tulle_topology_level_name(topology, 0), "island");
    assert_string_equal(tulle_topology_level_name(topology, 2), "gpu");
    assert_int_equal(tulle_topology_get_link(topology, 0, &link), TULLE_OK);
    assert_true(link.latency_ns == 0 && link.bytes_per_second == 1.5e9 && link.num_links == 4);
    assert_true(link.overhead_ns == 0 && link.group_bytes_per_second == 0 && link.group_overhead_ns == 0);
    assert_int_equal(tulle_topology_get_link(topology, 1, &link), TULLE_OK);
    assert_true(link.overhead_ns == 250 && link.group_bytes_per_second == 3e9 && link.group_overhead_ns == 70);
    assert_int_equal(tulle_topology_get_link(topology, 2, &link), TULLE_OK);
    assert_true(link.latency_ns == 12.5 && link.bytes_per_second > 0 && link.num_links == 0);
    tulle_topology_destroy(&topology);
}

static void test_load_star_fits_the_job(void **state)
{
    tulle_topology_t *topology = NULL;
    write_text("tulle-topology 1\nshape *x2:cyclic\n");
    topology = load(6);
    assert_string_equal(tulle_topology_text(topology), "3x2:cyclic");
    tulle_topology_destroy(&topology);
    assert_int_equal(tulle_topology_load(path, 7, &topology), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_load(path, 0, &topology), TULLE_ERR_ARG);
}

/* A refused file and words that its error must contain. HEAD is the first line, so that contents start in line 2. */
#define HEAD "tulle-topology 1\n"
typedef struct refusal {
    const char *text;
    const char *words[3];
} refusal_t;

static const refusal_t refusals[] = {
    {"", {"machine.topo:1:", "without a shape"}},
    {"# nothing\n", {":2:", "without a shape"}},
    {"shape 2x3\n", {":1:", "not a topology file", "shape"}},
    {"tulle-topology\nshape 2x3\n", {":1:", "version \"\""}},
    {"tulle-topology 2\nshape 2x3\n", {":1:", "version \"2\"", "reads version 1"}},
    {"tulle-topology 1 1\nshape 2x3\n", {":1:", "version \"1 1\""}},
    {HEAD "level node\n", {":2:", "before the shape"}},
    {HEAD "ranks 0 1\n", {":2:", "before the shape"}},
    {HEAD "shape\n", {":2:", "text is empty"}},
    {HEAD "\nshape 2y3\n", {":3:", "\"2y3\"", "column 2"}},
    {HEAD "shape 2x3 2\n", {":2:", "column 4", "spaces"}},
    {HEAD "shape 2x4\n", {":2:", "8 ranks", "the job has 6"}},
    {HEAD "shape 2x3\nshape 2x3\n", {":3:", "second shape"}},
    {HEAD "shape 2x3\nshapes 2x3\n", {":3:", "unknown word \"shapes\""}},
    {HEAD "shape 2x3\nranks 0 1 2\n", {"3 ranks", "shape has 6"}},
    {HEAD "shape 2x3\nranks 0 1 2 3 4 6\n", {":3:", "\"6\"", "from 0 to 5"}},
    {HEAD "shape 2x3\nranks -1\n", {":3:", "\"-1\""}},
    {HEAD "shape 2x3\nranks 1x\n", {":3:", "\"1x\""}},
    {HEAD "shape 2x3\nranks 99999999999999999999\n", {":3:", "from 0 to 5"}},
    {HEAD "shape 2x3\nranks 0 1 2\nranks 4 1\n", {":4:", "rank 1 again", "line 3"}},
    {HEAD "shape 2x3\nranks 0 1 2 3 4 5 0\n", {":3:", "rank 0 again"}},
    {HEAD "shape 2x3:cyclic\nranks 0 1 2 3 4 5\n", {":3:", "placement suffix"}},
    {HEAD "shape 2x3\nlevel node\n", {"1 levels", "shape has 2"}},
    {HEAD "shape 2x3\nlevel a\nlevel b\nlevel c\n", {":5:", "one level too many", "has 2"}},
    {HEAD "shape 2x3\nlevel\nlevel rank\n", {":3:", "without a name"}},
    {HEAD "shape 2x3\nlevel Node\nlevel rank\n", {":3:", "\"Node\""}},
    {HEAD "shape 2x3\nlevel a-name-that-is-far-too-long-for-one\nlevel rank\n", {":3:", "1 to 31"}},
    {HEAD "shape 2x3\nlevel node latency_ns\nlevel rank\n", {":3:", "no value"}},
    {HEAD "shape 2x3\nlevel node latency_ns= 5\nlevel rank\n", {":3:", "no value"}},
    {HEAD "shape 2x3\nlevel node latency_ns=5us\nlevel rank\n", {":3:", "\"5us\" is not a number"}},
    {HEAD "shape 2x3\nlevel node latency_ns=1,5\nlevel rank\n", {":3:", "\"1,5\" is not a number"}},
    {HEAD "shape 2x3\nlevel node\nlevel rank latency_ns=-1\n", {":4:", "at least 0"}},
    {HEAD "shape 2x3\nlevel node\nlevel rank latency_ns=nan\n", {":4:", "finite"}},
    {HEAD "shape 2x3\nlevel node\nlevel rank bytes_per_second=0\n", {":4:", "above 0"}},
    {HEAD "shape 2x3\nlevel node\nlevel rank bytes_per_second=1e999\n", {":4:", "finite"}},
    {HEAD "shape 2x3\nlevel node num_links=-1\nlevel rank\n", {":3:", "\"-1\""}},
    {HEAD "shape 2x3\nlevel node num_links=99999999999\nlevel rank\n", {":3:", "number of links"}},
    {HEAD "shape 2x3\nlevel node num_links=1.5\nlevel rank\n", {":3:", "\"1.5\" is not a number"}},
    {HEAD "shape 2x3\nlevel node overhead_ns=-1\nlevel rank\n", {":3:", "overhead", "at least 0"}},
    {HEAD "shape 2x3\nlevel node group_bytes_per_second=nan\nlevel rank\n", {":3:", "group bandwidth", "finite"}},
    {HEAD "shape 2x3\nlevel node group_overhead_ns=inf\nlevel rank\n", {":3:", "group overhead", "finite"}},
    {HEAD "shape 2x3\nlevel node width=1\nlevel rank\n", {":3:", "unknown key \"width\""}},
    {HEAD "shape 2x3\nlevel node carrier=pigeon\nlevel rank\n", {":3:", "\"pigeon\" is no transport"}},
    {HEAD "shape 2x3\nlevel node carrier=cuda_ipc\nlevel rank\n", {":3:", "must be auto, mpi or ucx"}},
    {HEAD "shape 2x3\nlevel node ucx_small_ns=fast\nlevel rank\n", {":3:", "not a number"}},
};

static void test_load_malformed_file_names_the_line(void **state)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        tulle_topology_t *topology = NULL;
        tulle_status_t st = TULLE_OK;
        write_text(refusals[i].text);
        st = tulle_topology_load(path, 6, &topology);
        if (st != TULLE_ERR_ARG || topology != NULL)
            fail_msg("%s\ngives %s", refusals[i].text, tulle_status_name(st));
        for (int k = 0; k < 3 && refusals[i].words[k] != NULL; k++)
            if (strstr(tulle_last_error()->text, refusals[i].words[k]) == NULL)
                fail_msg("%s\nno \"%s\" in: %s", refusals[i].text, refusals[i].words[k], tulle_last_error()->text);
    }
}

static void test_load_unusable_path_is_a_file_error(void **state)
{
    char missing[160];
    tulle_topology_t *topology = NULL;
    FILE *file = NULL;
    snprintf(missing, sizeof missing, "%s/absent.topo", directory);
    assert_int_equal(tulle_topology_load(missing, 0, &topology), TULLE_ERR_FILE);
    assert_non_null(strstr(tulle_last_error()->text, "absent.topo"));
    assert_int_equal(tulle_topology_load(directory, 0, &topology), TULLE_ERR_FILE);
    file = fopen(path, "wb");
    assert_int_equal(fwrite(HEAD "shape 2x3\0\n", 1, sizeof HEAD + 10, file), sizeof HEAD + 10);
    fclose(file);
    assert_int_equal(tulle_topology_load(path, 0, &topology), TULLE_ERR_ARG);
    assert_non_null(strstr(tulle_last_error()->text, "not a text file"));
    assert_int_equal(tulle_topology_load(NULL, 0, &topology), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_load(path, 0, NULL), TULLE_ERR_ARG);
    assert_null(topology);
}

static void test_save_unusable_path_leaves_nothing_behind(void **state)
{
    char missing[160];
    tulle_topology_t *topology = NULL;
    assert_int_equal(tulle_topology_parse("2x3", 0, &topology), TULLE_OK);
    remove(path);
    snprintf(missing, sizeof missing, "%s/absent/machine.topo", directory);
    assert_int_equal(tulle_topology_save(topology, missing), TULLE_ERR_FILE);
    snprintf(missing, sizeof missing, "%s/folder", directory);
    assert_int_equal(mkdir(missing, 0700), 0);
    assert_int_equal(tulle_topology_save(topology, missing), TULLE_ERR_FILE);
    assert_int_equal(count_files(), 1);
    assert_int_equal(rmdir(missing), 0);
    assert_int_equal(tulle_topology_save(NULL, path), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_save(topology, NULL), TULLE_ERR_ARG);
    tulle_topology_destroy(&topology);
}

/* A machine, a number of ranks it fits, its text for them. */
typedef struct machine {
    const char *name;
    int num_ranks;
    const char *text;
} machine_t;

static void test_load_machines_of_the_library(void **state)
{
    static const machine_t machines[] = {
        {"dgx-h100", 32, "4x8"},   {"dgx-a100", 8, "8"},          {"summit", 24, "4x2x3"},
        {"frontier", 16, "2x4x2"}, {"perlmutter-gpu", 12, "3x4"}, {"cluster-25gbe", 64, "4x2x8"},
    };
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        char file[512];
        tulle_topology_t *topology = NULL;
        snprintf(file, sizeof file, "%s/%s.topo", MACHINES_DIR, machines[i].name);
        if (tulle_topology_load(file, machines[i].num_ranks, &topology) != TULLE_OK)
            fail_msg("%s", tulle_last_error()->text);
        assert_string_equal(tulle_topology_text(topology), machines[i].text);
        check_round_trip(topology);
        tulle_topology_destroy(&topology);
    }
}

static void test_load_long_lines_of_many_ranks(void **state)
{
    enum { NUM_RANKS = 100000 };
    FILE *file = fopen(path, "w");
    tulle_topology_t *topology = NULL;
    assert_non_null(file);
    fprintf(file, HEAD "shape 10000x10\nranks");
    for (int slot = 0; slot < NUM_RANKS; slot++)
        fprintf(file, " %d", (int)((int64_t)slot * 7919 % NUM_RANKS));
    fprintf(file, "\n");
    fclose(file);
    topology = load(NUM_RANKS);
    assert_int_equal(tulle_topology_num_groups(topology, 0), 10000);
    assert_int_equal(tulle_topology_group(topology, 0, 7919), tulle_topology_group(topology, 0, 0));
    check_round_trip(topology);
    tulle_topology_destroy(&topology);
}

static void test_failing_allocation_leaks_nothing(void **state)
{
    uint64_t random = 3;
    tulle_topology_t *topology = trees_random_topology(&random);
    int64_t live = tli_alloc_live();
    int64_t k = 0;
    tulle_status_t st = TULLE_ERR_NOMEM;
    while (st != TULLE_OK) {
        tulle_topology_t *again = NULL;
        tli_alloc_fail_at(++k);
        st = tulle_topology_save(topology, path);
        if (st == TULLE_OK)
            st = tulle_topology_load(path, 0, &again);
        tli_alloc_fail_at(0);
        assert_true(st == TULLE_OK || (st == TULLE_ERR_NOMEM && again == NULL));
        assert_true(count_files() <= 1);
        tulle_topology_destroy(&again);
        assert_int_equal(tli_alloc_live(), live);
    }
    assert_true(k > 6);
    tulle_topology_destroy(&topology);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_save_random_placement_loads_back_equal),
        cmocka_unit_test(test_save_regular_placement_loads_back_equal),
        cmocka_unit_test(test_save_in_comma_locale_loads_back_equal),
        cmocka_unit_test(test_load_every_feature_of_the_format),
        cmocka_unit_test(test_load_star_fits_the_job),
        cmocka_unit_test(test_load_malformed_file_names_the_line),
        cmocka_unit_test(test_load_unusable_path_is_a_file_error),
        cmocka_unit_test(test_save_unusable_path_leaves_nothing_behind),
        cmocka_unit_test(test_load_machines_of_the_library),
        cmocka_unit_test(test_load_long_lines_of_many_ranks),
        cmocka_unit_test(test_failing_allocation_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
