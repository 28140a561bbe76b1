/* SPDX-License-Identifier: Apache-2.0
 * The command line: what it means, and what is refused with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "perf/methods.h"
#include "perf/options.h"

#define MAX_WORDS 32

/* Parse a line of words without quotes. */
static tulle_status_t parse(const char *line, perf_options_t *options)
{
    static char words[512]; /* options point into it */
    char name[] = "tulle_perf";
    char *argv[MAX_WORDS + 1] = {name};
    int argc = 1;
    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok(words, " "); word != NULL && argc < MAX_WORDS; word = strtok(NULL, " "))
        argv[argc++] = word;
    return perf_options_parse(argc, argv, options);
}

static perf_options_t parse_good(const char *line)
{
    perf_options_t options;
    if (parse(line, &options) != TULLE_OK)
        fail_msg("%s: %s", line, tulle_last_error()->text);
    return options;
}

static void test_options_defaults(void **state)
{
    perf_options_t options = parse_good("--matrix A.mtx");
    assert_int_equal(options.source, PERF_SOURCE_MATRIX);
    assert_string_equal(options.matrix, "A.mtx");
    assert_true(options.do_gather && options.do_scatter);
    assert_int_equal(options.reduce, TULLE_OP_SUM);
    assert_int_equal(options.width, 64);
    assert_int_equal(options.datatype, TULLE_F32);
    assert_null(options.topology);
    assert_int_equal(options.strategy, TULLE_STRATEGY_AUTO);
    assert_int_equal(options.ghost_order, TULLE_GHOST_ORDER_CALLER);
    assert_int_equal(options.methods, perf_methods_built());
    assert_true(options.iterations > 0 && options.warmup >= 0);
    assert_int_equal(options.naive_limit_mb, 1024);
    assert_null(options.json);
}

static void test_options_all_given(void **state)
{
    perf_options_t options = parse_good("--matrix=A.mtx --op gather --reduce max --width 3 --dtype bf16 --topology 2x4 "
                                        "--strategy rail --iterations 5 --warmup 0 --ghost-order plan");
    assert_true(options.do_gather && !options.do_scatter);
    assert_int_equal(options.reduce, TULLE_OP_MAX);
    assert_int_equal(options.width, 3);
    assert_int_equal(options.datatype, TULLE_BF16);
    assert_string_equal(options.topology, "2x4");
    assert_int_equal(options.strategy, TULLE_STRATEGY_RAIL);
    assert_int_equal(options.iterations, 5);
    assert_int_equal(options.warmup, 0);
    assert_int_equal(options.ghost_order, TULLE_GHOST_ORDER_PLAN);
}

static void test_options_more_given(void **state)
{
    perf_options_t options = parse_good("--random 10,2,77 --op scatter --explain --json a.json --save-plan p "
                                        "--no-shared-memory --memory plain --transport mpi --wire-precision f16 "
                                        "--timeout-ms 9 --naive-limit-mb 0 --methods none");
    assert_int_equal(options.source, PERF_SOURCE_RANDOM);
    assert_int_equal(options.random_rows, 10);
    assert_int_equal(options.random_nnz_per_row, 2);
    assert_int_equal(options.random_seed, 77);
    assert_true(!options.do_gather && options.do_scatter);
    assert_true(options.is_explaining && options.disable_shared_memory && options.memory == PERF_MEMORY_PLAIN &&
                options.transport == TULLE_TRANSPORT_MPI && options.wire_precision == TULLE_WIRE_PRECISION_F16);
    assert_string_equal(options.json, "a.json");
    assert_string_equal(options.save_plan, "p");
    assert_int_equal(options.timeout_ms, 9);
    assert_int_equal(options.naive_limit_mb, 0);
    assert_int_equal(options.methods, 0);
}

static void test_options_of_measuring(void **state)
{
    perf_options_t options = parse_good("--probe");
    assert_int_equal(options.source, PERF_SOURCE_NONE);
    assert_true(options.is_probing && !options.is_measuring);
    assert_null(options.probe);
    options = parse_good("--probe=x.topo --grid 4x4 --measure");
    assert_string_equal(options.probe, "x.topo");
    assert_true(options.is_probing && options.is_measuring);
    assert_int_equal(options.source, PERF_SOURCE_GRID);
}

static void test_options_methods(void **state)
{
    assert_int_equal(parse_good("--grid 4x4 --methods all").methods, perf_methods_built());
    assert_int_equal(parse_good("--grid 4x4 --methods tulle").methods, PERF_METHOD_TULLE);
    assert_int_equal(parse_good("--grid 4x4 --methods neighbor_alltoallv,naive").methods,
                     PERF_METHOD_NAIVE | PERF_METHOD_NEIGHBOR);
}

static void test_options_peers_run_beside_tulle(void **state)
{
    assert_int_equal(parse_good("--grid 4x4 --peers all").methods, perf_methods_built());
    assert_int_equal(parse_good("--grid 4x4 --peers none").methods, PERF_METHOD_TULLE);
    assert_int_equal(parse_good("--grid 4x4 --peers alltoallv").methods, PERF_METHOD_TULLE | PERF_METHOD_ALLTOALLV);
}

/* Whichever of them this build has: the others are refused with what they need. */
static void test_options_peers_known_but_not_built_says_what_it_needs(void **state)
{
    for (int i = 0; i < PERF_NUM_METHODS; i++) {
        char line[128];
        perf_options_t options;
        const perf_method_t *method = perf_methods[i];
        snprintf(line, sizeof line, "--grid 4x4 --peers %s", method->name);
        if (method->lacks == NULL) {
            assert_true((parse_good(line).methods & (unsigned)method->bit) != 0);
            continue;
        }
        assert_int_equal(parse(line, &options), TULLE_ERR_UNSUPPORTED);
        assert_non_null(strstr(tulle_last_error()->text, "not in this build"));
        assert_non_null(strstr(tulle_last_error()->text, method->lacks));
    }
}

static void test_options_grid(void **state)
{
    perf_options_t flat = parse_good("--grid 12x34 --periodic y");
    perf_options_t deep = parse_good("--grid 1x2x3 --stencil 27 --periodic zx");
    assert_int_equal(flat.source, PERF_SOURCE_GRID);
    assert_int_equal(flat.num_dims, 2);
    assert_int_equal(flat.dims[0], 12);
    assert_int_equal(flat.dims[1], 34);
    assert_int_equal(flat.stencil, 5);
    assert_true(!flat.periodic[0] && flat.periodic[1] && !flat.periodic[2]);
    assert_int_equal(deep.num_dims, 3);
    assert_int_equal(deep.dims[2], 3);
    assert_int_equal(deep.stencil, 27);
    assert_true(deep.periodic[0] && !deep.periodic[1] && deep.periodic[2]);
    assert_int_equal(parse_good("--grid 4x4x4").stencil, 7);
}

static void test_options_tomography(void **state)
{
    perf_options_t options = parse_good("--tomography 256,180");
    assert_int_equal(options.source, PERF_SOURCE_TOMOGRAPHY);
    assert_int_equal(options.scan.side, 256);
    assert_int_equal(options.scan.num_angles, 180);
}

static void test_options_every_word_is_known(void **state)
{
    char line[128];
#define CHECK_SIZED_WORD(name, value, size, text)                                                                      \
    snprintf(line, sizeof line, "--grid 4x4 --op gather --dtype %s", text);                                            \
    assert_int_equal(parse_good(line).datatype, TULLE_##name);
    TULLE_DATATYPE_MAP(CHECK_SIZED_WORD)
#define CHECK_OP(name, value, text)                                                                                    \
    snprintf(line, sizeof line, "--grid 4x4 --reduce %s", text);                                                       \
    assert_int_equal(parse_good(line).reduce, TULLE_OP_##name);
    TULLE_OP_MAP(CHECK_OP)
#define CHECK_STRATEGY(name, value, text)                                                                              \
    snprintf(line, sizeof line, "--grid 4x4 --strategy %s", text);                                                     \
    assert_int_equal(parse_good(line).strategy, TULLE_STRATEGY_##name);
    TULLE_STRATEGY_MAP(CHECK_STRATEGY)
}

static void test_options_help_needs_nothing_else(void **state)
{
    assert_true(parse_good("--help").wants_help);
    assert_true(parse_good("--version").wants_version);
}

static void test_options_refused(void **state)
{
    /* A line, and what the message must contain. */
    static const char *const refused[][2] = {
        {"", "no input"},
        {"A.mtx", "--matrix A.mtx"},
        {"--matrix A.mtx B.mtx", "'B.mtx'"},
        {"--matrix A.mtx --colour", "'--colour'"},
        {"--matrix A.mtx -x", "'-x'"},
        {"--matrix", "'--matrix'"},
        {"--matrix=", "--matrix is empty"},
        {"--matrix A.mtx --explain=yes", "'--explain=yes'"},
        {"--matrix A.mtx --random 1,2,3", "more than one input"},
        {"--matrix A.mtx --matrix B.mtx", "more than one input"},
        {"--matrix A.mtx --op up", "'up'; give one of: gather, scatter, both"},
        {"--matrix A.mtx --reduce avg", "'avg'; give one of: sum"},
        {"--matrix A.mtx --dtype f31", "'f31'; give one of: f64"},
        {"--matrix A.mtx --strategy best", "'best'; give one of: auto, direct"},
        {"--matrix A.mtx --ghost-order mine", "'mine'; give one of: caller, plan"},
        {"--matrix A.mtx --width 0", "'0'; give a number from 1"},
        {"--matrix A.mtx --width -4", "'-4'; give a number from 1"},
        {"--matrix A.mtx --width 4x", "'4x'; give a number"},
        {"--matrix A.mtx --width 99999999999999999999", "give a number"},
        {"--matrix A.mtx --width 268435456 --dtype c128 --op gather", "2 GiB"},
        {"--matrix A.mtx --iterations 0", "'0'; give a number from 1"},
        {"--matrix A.mtx --warmup -1", "'-1'; give a number from 0"},
        {"--matrix A.mtx --timeout-ms never", "'never'; give a number"},
        {"--matrix A.mtx --naive-limit-mb 1.5", "'1.5'; give a number"},
        {"--matrix A.mtx --methods", "'--methods'"},
        {"--matrix A.mtx --methods tulle,fast", "'fast'; give one of: tulle, naive"},
        {"--matrix A.mtx --methods tulle,", "'tulle,'"},
        {"--matrix A.mtx --peers fast", "--peers is 'fast'; give one of: tulle, naive, alltoallv, neighbor_alltoallv, "
                                        "neighbor_alltoallv_init, petsc_basic, petsc_neighbor, hypre"},
        {"--matrix A.mtx --methods ,tulle", "',tulle'"},
        {"--matrix A.mtx --dtype byte", "byte with sum; give --op gather, or --reduce replace"},
        {"--matrix A.mtx --dtype c64 --reduce min", "c64 with min"},
        {"--matrix A.mtx --stencil 5", "without --grid"},
        {"--matrix A.mtx --periodic x", "without --grid"},
        {"--matrix A.mtx --load-plan p --strategy rail", "leave out --strategy"},
        {"--matrix A.mtx --load-plan p --ghost-order plan", "leave out --strategy"},
        {"--matrix A.mtx --measure --strategy rail", "leave out --strategy"},
        {"--matrix A.mtx --measure --load-plan p", "leave out --strategy and --load-plan"},
        {"--grid 4", "'4'; give two or three"},
        {"--grid 4x4x", "'4x4x'"},
        {"--grid 4x4x4x4", "'4x4x4x4'"},
        {"--grid 4x0", "'4x0'"},
        {"--grid 1048576x1048576x2", "2^40 cells"},
        {"--grid 4x4 --stencil 7", "7 in 2 dimensions; give 5 or 9"},
        {"--grid 4x4x4 --stencil 9", "9 in 3 dimensions; give 7 or 27"},
        {"--grid 4x4 --periodic w", "'w'; give axes"},
        {"--grid 4x4 --periodic z", "two dimensions"},
        {"--random 1,2", "'1,2'; give rows"},
        {"--random 1,2,3,4", "'1,2,3,4'"},
        {"--random -1,2,3", "'-1,2,3'"},
        {"--tomography 256", "'256'; give pixels a side and angles"},
        {"--tomography 256,180,1", "'256,180,1'"},
        {"--tomography 0,180", "'0,180'; give pixels a side and angles from 1 to"},
        {"--tomography 256,1048577", "'256,1048577'"},
        {"--tomography 256,180 --grid 4x4", "more than one input"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        perf_options_t options;
        if (parse(refused[i][0], &options) != TULLE_ERR_ARG)
            fail_msg("not refused: %s", refused[i][0]);
        if (strstr(tulle_last_error()->text, refused[i][1]) == NULL)
            fail_msg("%s: '%s' lacks '%s'", refused[i][0], tulle_last_error()->text, refused[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_defaults),
        cmocka_unit_test(test_options_all_given),
        cmocka_unit_test(test_options_more_given),
        cmocka_unit_test(test_options_of_measuring),
        cmocka_unit_test(test_options_methods),
        cmocka_unit_test(test_options_peers_run_beside_tulle),
        cmocka_unit_test(test_options_peers_known_but_not_built_says_what_it_needs),
        cmocka_unit_test(test_options_grid),
        cmocka_unit_test(test_options_tomography),
        cmocka_unit_test(test_options_every_word_is_known),
        cmocka_unit_test(test_options_help_needs_nothing_else),
        cmocka_unit_test(test_options_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
