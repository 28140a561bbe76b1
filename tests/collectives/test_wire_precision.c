/* SPDX-License-Identifier: Apache-2.0
 * Exchanges whose rows cross in less than f32: on every topology, what is told of them, what is refused. */
#include <string.h>

#include "crossing.h"

static void test_rows_arrive_rounded_once_on_every_topology(void **state)
{
    for (int i = 0; spt_topology(i) != NULL; i++)
        for (uint64_t stream = 20; stream < 23; stream++)
            crossing_check_plans(NULL, spt_topology(i), 0, stream + 3 * (uint64_t)i);
}

static void test_rows_arrive_rounded_once_in_messages_on_all_levels(void **state)
{
    for (int i = 0; spt_topology(i) != NULL; i++)
        crossing_check_plans(NULL, spt_topology(i), 1, 30 + (uint64_t)i);
}

/* --- what is told ------------------------------------------------------------------------------------------------- */

static int64_t count_bytes(const tulle_plan_t *plan, const spt_pattern_t *pattern, tulle_wire_precision_t precision,
                           int wire_levels)
{
    tulle_exchange_stats_t stats = {.struct_size = sizeof stats};
    crossing_t c = crossing_make(NULL, plan, pattern, TULLE_GATHER, precision, wire_levels, TULLE_OP_SUM, 64);
    int64_t bytes = 0;
    spt_assert_ok_all(tulle_exchange_get_stats(c.exchange, &stats));
    for (int t = 0; t < TULLE_NUM_TRANSPORTS; t++)
        bytes += stats.transports[t].bytes;
    crossing_free(&c);
    return bytes;
}

/* As the plan counts its rows; those that are read in shared memory are whole. */
static int64_t expected_bytes(const tulle_plan_t *plan, tulle_wire_precision_t precision, int wire_levels)
{
    tulle_plan_stats_t stats = {.struct_size = sizeof stats};
    int64_t bytes = 0, rounded = precision == TULLE_WIRE_PRECISION_FP8 ? 65 : 128;
    spt_assert_ok_all(tulle_plan_get_stats(plan, &stats));
    for (int level = 0; level < stats.num_levels; level++)
        bytes += stats.levels[level].plan_rows * (level < wire_levels ? rounded : 256);
    return bytes;
}

static void test_stats_count_bytes_as_they_travel(void **state)
{
    spt_pattern_t pattern = spt_pattern_random(2);
    for (int i = 0; spt_topology(i) != NULL; i++) {
        for (int disable = 0; disable < 2; disable++) {
            tulle_comm_t *comm = spt_comm(spt_topology(i), disable);
            tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_RAIL, TULLE_GHOST_ORDER_CALLER);
            int levels = disable ? tulle_topology_num_levels(tulle_comm_topology(comm)) : 1;
            for (int p = 0; p < SPT_NUM_PRECISIONS; p++)
                spt_assert_all(count_bytes(plan, &pattern, spt_precisions[p], levels) ==
                               expected_bytes(plan, spt_precisions[p], levels));
            spt_assert_all(count_bytes(plan, &pattern, TULLE_WIRE_PRECISION_NONE, 0) ==
                           expected_bytes(plan, TULLE_WIRE_PRECISION_NONE, 0));
            tulle_plan_destroy(&plan);
            tulle_comm_destroy(&comm);
        }
    }
}

static void test_explain_names_the_precision(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(1), 0);
    spt_pattern_t pattern = spt_pattern_random(2);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_CALLER);
    crossing_t c = crossing_make(NULL, plan, &pattern, TULLE_GATHER, TULLE_WIRE_PRECISION_BF16, 0, TULLE_OP_SUM, 64);
    char text[2000] = "";
    FILE *out = fmemopen(text, sizeof text, "w");
    spt_assert_ok_all(tulle_exchange_explain(c.exchange, out));
    fclose(out);
    spt_assert_all(spt_rank() > 0 || strstr(text, "messages across level node carry bf16") != NULL);
    crossing_free(&c);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

/* --- bits --------------------------------------------------------------------------------------------------------- */

static void test_scatter_gives_the_same_bits_in_every_run(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(2), 0);
    spt_pattern_t pattern = spt_pattern_random(5);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_BALANCED, TULLE_GHOST_ORDER_CALLER);
    for (int p = 0; p < SPT_NUM_PRECISIONS; p++) {
        crossing_t c = crossing_make(NULL, plan, &pattern, TULLE_SCATTER, spt_precisions[p], 0, TULLE_OP_SUM, 33);
        spt_random_t random = spt_random_mine(6);
        size_t bytes = (size_t)(pattern.num_owned * c.fields[0].owned_stride) * sizeof(float);
        float *first = spt_alloc((int64_t)bytes, 1);
        for (int64_t row = 0; row < tulle_plan_num_ghosts(plan); row++)
            spt_wire_fill(&random, 0, crossing_ghost_row(&c.fields[0], row), c.fields[0].width);
        for (int round = 0; round < 5; round++) {
            memset(c.fields[0].owned, 0, bytes);
            crossing_run(&c);
            if (round == 0)
                memcpy(first, c.fields[0].owned, bytes);
            spt_assert_all(memcmp(first, c.fields[0].owned, bytes) == 0);
        }
        crossing_free(&c);
    }
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

/* --- one call ----------------------------------------------------------------------------------------------------- */

static float *all_rows(tulle_field_t *field, int64_t num_rows, int is_ghost)
{
    float *rows = spt_alloc(num_rows * field->width + 1, sizeof *rows);
    for (int64_t row = 0; row < num_rows; row++)
        memcpy(rows + row * field->width, is_ghost ? crossing_ghost_row(field, row) : crossing_owned_row(field, row),
               (size_t)field->width * sizeof *rows);
    return rows;
}

/* What an exchange of the same options brings, to the bit; and a call without options is not affected by it. */
static void test_calls_round_as_exchanges_do(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(1), 0);
    spt_pattern_t pattern = spt_pattern_random(8);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_BALANCED, TULLE_GHOST_ORDER_PLAN);
    int64_t num_owned = pattern.num_owned, num_ghosts = tulle_plan_num_ghosts(plan), width = 33;
    for (int p = 0; p < SPT_NUM_PRECISIONS; p++) {
        tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
        spt_random_t random = spt_random_mine(9);
        crossing_t c = crossing_make(NULL, plan, &pattern, TULLE_GATHER, spt_precisions[p], 0, TULLE_OP_SUM, width);
        for (int64_t row = 0; row < num_owned; row++)
            spt_wire_fill(&random, 0, crossing_owned_row(&c.fields[0], row), width);
        crossing_run(&c);
        float *owned = all_rows(&c.fields[0], num_owned, 0), *expected = all_rows(&c.fields[0], num_ghosts, 1);
        float *ghost = spt_alloc(num_ghosts * width + 1, sizeof *ghost);
        float *whole = spt_alloc(num_ghosts * width + 1, sizeof *whole);
        float *sums = spt_alloc(num_owned * width + 1, sizeof *sums);
        size_t bytes = (size_t)(num_ghosts * width) * sizeof *ghost;
        options.wire_precision = spt_precisions[p];
        spt_assert_ok_all(tulle_gather(plan, owned, whole, TULLE_F32, width, NULL));
        spt_assert_ok_all(tulle_gather_with(plan, owned, ghost, TULLE_F32, width, &options, NULL));
        spt_assert_all(memcmp(ghost, expected, bytes) == 0);
        spt_assert_ok_all(tulle_gather(plan, owned, ghost, TULLE_F32, width, NULL));
        spt_assert_all(memcmp(ghost, whole, bytes) == 0);
        options.op = TULLE_OP_MAX;
        spt_assert_ok_all(tulle_scatter_with(plan, ghost, sums, TULLE_F32, width, &options, NULL));
        options.wire_precision = (tulle_wire_precision_t)7;
        spt_assert_all(tulle_gather_with(plan, owned, ghost, TULLE_F32, width, &options, NULL) == TULLE_ERR_ARG);
        options.wire_precision = TULLE_WIRE_PRECISION_BF16;
        spt_assert_all(tulle_gather_with(plan, owned, ghost, TULLE_I32, width, &options, NULL) ==
                       TULLE_ERR_UNSUPPORTED);
        crossing_free(&c);
    }
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

/* --- refused ------------------------------------------------------------------------------------------------------ */

static void refuse(const tulle_plan_t *plan, tulle_datatype_t datatype, int precision, int wire_levels,
                   tulle_status_t status, const char *words)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_t *exchange = NULL;
    void *owned = spt_alloc(tulle_plan_num_owned(plan), 16), *ghost = spt_alloc(tulle_plan_num_ghosts(plan), 16);
    tulle_field_t field = {owned, ghost, datatype, 1, 0, 0};
    options.wire_precision = (tulle_wire_precision_t)precision;
    options.wire_levels = wire_levels;
    spt_assert_all(tulle_exchange_create(plan, TULLE_GATHER, &field, 1, &options, &exchange) == status);
    spt_assert_all(strstr(tulle_last_error()->text, words) != NULL);
}

static void test_other_datatypes_and_levels_are_refused(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(1), 0);
    spt_pattern_t pattern = spt_pattern_random(2);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_DIRECT, TULLE_GHOST_ORDER_CALLER);
    int num_levels = tulle_topology_num_levels(tulle_comm_topology(comm));
    for (int d = 0; d < SPT_NUM_DATATYPES; d++)
        if (spt_datatypes[d] != TULLE_F32)
            refuse(plan, spt_datatypes[d], TULLE_WIRE_PRECISION_FP8, 0, TULLE_ERR_UNSUPPORTED,
                   tulle_datatype_name(spt_datatypes[d]));
    refuse(plan, TULLE_F32, 4, 0, TULLE_ERR_ARG, "wire_precision is 4");
    refuse(plan, TULLE_F32, -1, 0, TULLE_ERR_ARG, "wire_precision is -1");
    refuse(plan, TULLE_F32, TULLE_WIRE_PRECISION_F16, -1, TULLE_ERR_ARG, "wire_levels is -1");
    refuse(plan, TULLE_F32, TULLE_WIRE_PRECISION_F16, num_levels + 1, TULLE_ERR_ARG, "wire_levels is");
    spt_assert_comm_works(comm);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

static void test_names(void **state)
{
    assert_string_equal(tulle_wire_precision_name(TULLE_WIRE_PRECISION_NONE), "none");
    assert_string_equal(tulle_wire_precision_name(TULLE_WIRE_PRECISION_FP8), "fp8");
    assert_string_equal(tulle_wire_precision_name((tulle_wire_precision_t)9), "unknown");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_rows_arrive_rounded_once_on_every_topology),
        spt_test(test_rows_arrive_rounded_once_in_messages_on_all_levels),
        spt_test(test_stats_count_bytes_as_they_travel),
        spt_test(test_explain_names_the_precision),
        spt_test(test_calls_round_as_exchanges_do),
        spt_test(test_scatter_gives_the_same_bits_in_every_run),
        spt_test(test_other_datatypes_and_levels_are_refused),
        spt_test(test_names),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
