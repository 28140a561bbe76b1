/* SPDX-License-Identifier: Apache-2.0
 * Every method moves the right rows, and a method that does not is found out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <tulle/mpi.h>

#include "perf/case.h"
#include "perf/measure.h"
#include "perf/methods.h"
#include "perf/reduce.h"
#include "tests/perf_tool/harness.h"

/* What a case is made from. */
typedef struct world {
    perf_input_t input;
    perf_halo_t halo;
    tulle_comm_t *comm;
    tulle_plan_t *plan;
} world_t;

static void make_world(int64_t rows, tulle_ghost_order_t order, world_t *world)
{
    tulle_pattern_t *pattern = NULL;
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    options.ghost_order = order;
    memset(world, 0, sizeof *world);
    assert_int_equal(perf_input_make_random(harness_comm, rows, 5, 3, &world->input), TULLE_OK);
    assert_int_equal(perf_halo_create(harness_comm, &world->input, &world->halo), TULLE_OK);
    assert_int_equal(tulle_comm_create(harness_comm, NULL, &world->comm), TULLE_OK);
    tulle_layout_t block = TULLE_LAYOUT_BLOCK(world->input.num_rows);
    assert_int_equal(tulle_pattern_create_from_csr(world->comm, &block, &block, world->input.row_ptr,
                                                   world->input.col_idx, &pattern),
                     TULLE_OK);
    assert_int_equal(tulle_plan_create(world->comm, pattern, &options, &world->plan), TULLE_OK);
    tulle_pattern_destroy(&pattern);
}

static void free_world(world_t *world)
{
    tulle_plan_destroy(&world->plan);
    tulle_comm_destroy(&world->comm);
    perf_halo_release(&world->halo);
    perf_input_release(&world->input);
}

static void check_results(const perf_result_t *results, int num_results, int64_t iterations)
{
    for (int i = 0; i < num_results; i++) {
        const perf_result_t *result = &results[i];
        int is_tulle = strcmp(result->method, "tulle") == 0;
        if (result->skip.reason[0] != '\0') { /* rows of 6 or 1 bytes are no doubles */
            assert_string_equal(result->method, "hypre");
            assert_non_null(strstr(result->skip.reason, "whole number"));
            assert_int_equal(result->iterations, 0);
            continue;
        }
        assert_int_equal(result->wrong, 0);
        assert_int_equal(result->iterations, iterations);
        assert_true(result->min_us <= result->median_us && result->median_us <= result->p99_us);
        assert_int_equal(result->ratio.ratio > 0, !is_tulle);
        assert_true(result->ratio.low <= result->ratio.high);
    }
}

static int count_bits(unsigned set)
{
    int num = 0;
    for (; set != 0; set &= set - 1)
        num++;
    return num;
}

/* Rows in host memory, with nothing out of the ordinary. */
static perf_case_options_t plain_case(tulle_direction_t direction, tulle_datatype_t datatype, tulle_op_t op,
                                      int64_t width)
{
    return (perf_case_options_t){
        direction, datatype, op, width, INT64_MAX, PERF_MEMORY_HOST, TULLE_TRANSPORT_AUTO, TULLE_WIRE_PRECISION_NONE,
        0};
}

static void measure_case(const world_t *world, const perf_case_options_t *options)
{
    perf_case_t one;
    perf_measure_options_t how = {perf_methods_built(), 1, 2, PERF_SLOW_SECONDS, 0, NULL};
    perf_result_t results[PERF_NUM_METHODS];
    int num_results = 0;
    assert_int_equal(perf_case_create(&world->halo, world->plan, options, &one), TULLE_OK);
    assert_int_equal(perf_measure(&one, &how, results, &num_results), TULLE_OK);
    assert_int_equal(num_results, count_bits(how.methods));
    check_results(results, num_results, how.iterations);
    perf_case_release(&one);
}

static void test_methods_gather_and_scatter_right_rows(void **state)
{
    static const int64_t rows[] = {0, 3, 80};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        world_t world;
        perf_case_options_t gather = plain_case(TULLE_GATHER, TULLE_C128, TULLE_OP_SUM, 2);
        perf_case_options_t sum = {TULLE_SCATTER,
                                   TULLE_F16,
                                   TULLE_OP_SUM,
                                   3,
                                   INT64_MAX,
                                   PERF_MEMORY_PLAIN,
                                   TULLE_TRANSPORT_AUTO,
                                   TULLE_WIRE_PRECISION_NONE,
                                   0};
        perf_case_options_t min = plain_case(TULLE_SCATTER, TULLE_I8, TULLE_OP_MIN, 1);
        perf_case_options_t prod = plain_case(TULLE_SCATTER, TULLE_F64, TULLE_OP_PROD, 5);
        perf_case_options_t wide = plain_case(TULLE_GATHER, TULLE_F32, TULLE_OP_SUM, 6);
        make_world(rows[i], i == 1 ? TULLE_GHOST_ORDER_CALLER : TULLE_GHOST_ORDER_PLAN, &world);
        measure_case(&world, &gather);
        measure_case(&world, &sum);
        measure_case(&world, &min);
        measure_case(&world, &prod);
        measure_case(&world, &wide);
        free_world(&world);
    }
}

static void test_methods_naive_is_skipped_with_a_reason(void **state)
{
    static const struct {
        perf_case_options_t options;
        const char *reason;
    } skipped[] = {{{TULLE_GATHER, TULLE_F32, TULLE_OP_SUM, 4, 15, PERF_MEMORY_HOST, TULLE_TRANSPORT_AUTO,
                     TULLE_WIRE_PRECISION_NONE, 0},
                    "--naive-limit-mb"},
                   {{TULLE_SCATTER, TULLE_F32, TULLE_OP_REPLACE, 4, INT64_MAX, PERF_MEMORY_HOST, TULLE_TRANSPORT_AUTO,
                     TULLE_WIRE_PRECISION_NONE, 0},
                    "replacing"}};
    world_t world;
    make_world(100, TULLE_GHOST_ORDER_CALLER, &world);
    for (size_t i = 0; i < sizeof skipped / sizeof skipped[0]; i++) {
        perf_case_t one;
        perf_skip_t skip;
        assert_int_equal(perf_case_create(&world.halo, world.plan, &skipped[i].options, &one), TULLE_OK);
        assert_int_equal(perf_method_admit(&perf_method_naive, &one, &skip), TULLE_OK);
        assert_non_null(strstr(skip.reason, skipped[i].reason));
        perf_case_release(&one);
    }
    free_world(&world);
}

/* Every method, and every datatype and op that a scatter knows: a peer reduces right or says why it does not. */
static void scatter_once(const world_t *world, const perf_case_options_t *options)
{
    perf_case_t one;
    perf_measure_options_t how = {
        perf_methods_built() & ~(unsigned)PERF_METHOD_NAIVE, 0, 1, PERF_SLOW_SECONDS, 0, NULL};
    perf_result_t results[PERF_NUM_METHODS];
    int num_results = 0;
    assert_int_equal(perf_case_create(&world->halo, world->plan, options, &one), TULLE_OK);
    assert_int_equal(perf_measure(&one, &how, results, &num_results), TULLE_OK);
    for (int i = 0; i < num_results; i++) {
        assert_int_equal(results[i].wrong, 0);
        assert_true(results[i].iterations == 1 || strcmp(results[i].method, "hypre") == 0);
    }
    perf_case_release(&one);
}

static void test_methods_scatter_every_reduction(void **state)
{
    world_t world;
    make_world(40, TULLE_GHOST_ORDER_CALLER, &world);
    for (int datatype = TULLE_F64; datatype <= TULLE_BYTE; datatype++)
        for (int op = TULLE_OP_SUM; op <= TULLE_OP_REPLACE; op++) {
            perf_case_options_t options = plain_case(TULLE_SCATTER, (tulle_datatype_t)datatype, (tulle_op_t)op, 8);
            if (op == TULLE_OP_MIN || op == TULLE_OP_PROD)
                options.width = 1;
            if (perf_reduce_knows(options.datatype, options.op))
                scatter_once(&world, &options);
        }
    free_world(&world);
}

/* Where nothing is fast enough: naive is predicted instead of run, and others are repeated once. */
static void test_methods_slow_naive_is_predicted(void **state)
{
    perf_case_options_t options = plain_case(TULLE_GATHER, TULLE_F32, TULLE_OP_SUM, 1024);
    perf_measure_options_t how = {PERF_METHOD_NAIVE | PERF_METHOD_ALLTOALLV, 0, 9, 1e-9, 0, NULL};
    perf_result_t results[PERF_NUM_METHODS];
    perf_case_t one;
    world_t world;
    int num_results = 0;
    make_world(2000, TULLE_GHOST_ORDER_CALLER, &world);
    assert_int_equal(perf_case_create(&world.halo, world.plan, &options, &one), TULLE_OK);
    assert_int_equal(perf_measure(&one, &how, results, &num_results), TULLE_OK);
    assert_int_equal(num_results, 2);
    assert_string_equal(results[1].method, "alltoallv");
    if (harness_size > 1) {
        assert_string_equal(results[0].method, "naive");
        assert_non_null(strstr(results[0].skip.reason, "at the rate of alltoallv"));
        assert_true(results[0].predicted_us > 0);
        assert_int_equal(results[0].iterations, 0);
        assert_int_equal(results[1].iterations, 1);
    }
    perf_case_release(&one);
    free_world(&world);
}

static void test_methods_end_when_time_is_up(void **state)
{
    perf_case_options_t options = plain_case(TULLE_SCATTER, TULLE_F32, TULLE_OP_SUM, 3);
    perf_measure_options_t how = {PERF_METHOD_TULLE | PERF_METHOD_ALLTOALLV, 2, 50, PERF_SLOW_SECONDS, 1e-9, NULL};
    perf_result_t results[PERF_NUM_METHODS];
    perf_case_t one;
    world_t world;
    int num_results = 0;
    make_world(100, TULLE_GHOST_ORDER_CALLER, &world);
    assert_int_equal(perf_case_create(&world.halo, world.plan, &options, &one), TULLE_OK);
    assert_int_equal(perf_measure(&one, &how, results, &num_results), TULLE_OK);
    assert_int_equal(num_results, 2);
    for (int i = 0; i < num_results; i++) {
        assert_int_equal(results[i].iterations, PERF_LEAST_ITERATIONS);
        assert_int_equal(results[i].wrong, 0);
        assert_non_null(strstr(results[i].note.reason, "5 of 50 iterations"));
    }
    perf_case_release(&one);
    free_world(&world);
}

static void test_load_counts_rows_of_the_only_machine(void **state)
{
    perf_load_t load;
    world_t world;
    int64_t needed = 0;
    make_world(100, TULLE_GHOST_ORDER_CALLER, &world);
    assert_int_equal(perf_load_count(&world.halo, &load), TULLE_OK);
    MPI_Allreduce(&world.halo.num_needed, &needed, 1, MPI_INT64_T, MPI_SUM, harness_comm);
    assert_int_equal(load.num_local_ranks, harness_size);
    assert_int_equal(load.direct_rows, needed);
    assert_int_equal(load.naive_rows, 100 * (harness_size - 1));
    free_world(&world);
}

static void test_load_prediction_is_in_proportion(void **state)
{
    perf_load_t load = {1, 5000, 1000};
    perf_load_t none = {1, 5000, 0};
    assert_float_equal(perf_load_predict_naive(&load, 2000, 0.5), 2.5, 1e-12);
    assert_float_equal(perf_load_predict_naive(&load, 1000, 0.5), 0, 0); /* less than 1 MiB: no rate */
    assert_float_equal(perf_load_predict_naive(&none, 2000, 0.5), 0, 0);
}

/* Everything that an exchange can do wrong to a buffer, one scalar at a time. */
static void test_case_counts_every_wrong_scalar(void **state)
{
    for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++) {
        perf_case_options_t options = plain_case((tulle_direction_t)direction, TULLE_I32, TULLE_OP_SUM, 4);
        perf_case_t one;
        world_t world;
        void *method = NULL;
        int32_t ghost[100 * 4];
        make_world(100, TULLE_GHOST_ORDER_CALLER, &world);
        assert_int_equal(perf_case_create(&world.halo, world.plan, &options, &one), TULLE_OK);
        assert_int_equal(perf_method_alltoallv.setup(&one, ghost, &method), TULLE_OK);
        perf_case_prepare(&one, ghost, NULL);
        if (world.halo.num_needed > 0)
            assert_true(direction == TULLE_SCATTER || perf_case_count_wrong(&one, ghost, NULL) > 0);
        assert_int_equal(perf_method_alltoallv.run(method), TULLE_OK);
        assert_int_equal(perf_case_count_wrong(&one, ghost, NULL), 0);
        for (int64_t i = 0; i < 4 * world.halo.num_needed; i++) {
            ghost[i] ^= 1;
            assert_int_equal(perf_case_count_wrong(&one, ghost, NULL), 1);
            ghost[i] ^= 1;
        }
        for (int64_t i = 0; i < 4 * world.halo.num_owned; i++) {
            ((int32_t *)one.owned)[i] ^= 1;
            assert_int_equal(perf_case_count_wrong(&one, ghost, NULL), 1);
            ((int32_t *)one.owned)[i] ^= 1;
        }
        perf_method_alltoallv.teardown(method);
        perf_case_release(&one);
        free_world(&world);
    }
}

static void test_case_reset_undoes_a_scatter(void **state)
{
    perf_case_options_t options = plain_case(TULLE_SCATTER, TULLE_F64, TULLE_OP_SUM, 4);
    perf_case_t one;
    world_t world;
    void *method = NULL;
    double ghost[100 * 4];
    make_world(100, TULLE_GHOST_ORDER_CALLER, &world);
    assert_int_equal(perf_case_create(&world.halo, world.plan, &options, &one), TULLE_OK);
    assert_int_equal(perf_method_neighbor.setup(&one, ghost, &method), TULLE_OK);
    perf_case_prepare(&one, ghost, NULL);
    for (int i = 0; i < 3; i++) {
        perf_case_reset(&one);
        assert_int_equal(perf_method_neighbor.run(method), TULLE_OK);
        assert_int_equal(perf_case_count_wrong(&one, ghost, NULL), 0);
    }
    perf_method_neighbor.teardown(method);
    perf_case_release(&one);
    free_world(&world);
}

static void test_case_refuses_the_plan_of_another_matrix(void **state)
{
    perf_case_options_t options = plain_case(TULLE_GATHER, TULLE_F32, TULLE_OP_SUM, 4);
    perf_case_t one;
    world_t world;
    world_t other;
    make_world(100, TULLE_GHOST_ORDER_CALLER, &world);
    make_world(90, TULLE_GHOST_ORDER_CALLER, &other);
    tulle_status_t st = perf_case_create(&world.halo, other.plan, &options, &one);
    assert_true(st == TULLE_ERR_MISMATCH || st == TULLE_ERR_REMOTE);
    free_world(&other);
    free_world(&world);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_methods_gather_and_scatter_right_rows),
        cmocka_unit_test(test_methods_naive_is_skipped_with_a_reason),
        cmocka_unit_test(test_methods_scatter_every_reduction),
        cmocka_unit_test(test_methods_slow_naive_is_predicted),
        cmocka_unit_test(test_methods_end_when_time_is_up),
        cmocka_unit_test(test_load_counts_rows_of_the_only_machine),
        cmocka_unit_test(test_load_prediction_is_in_proportion),
        cmocka_unit_test(test_case_counts_every_wrong_scalar),
        cmocka_unit_test(test_case_reset_undoes_a_scatter),
        cmocka_unit_test(test_case_refuses_the_plan_of_another_matrix),
    };
    harness_init(&argc, &argv);
    if (perf_methods_open(perf_methods_built(), harness_comm) != TULLE_OK)
        return 1;
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    perf_methods_close(perf_methods_built());
    return harness_finish(failures);
}
