/* SPDX-License-Identifier: Apache-2.0
 * Messages in chunks: the same rows as whole ones and the same bits, whatever the size of chunks, the plan and the
 * machine; and as many chunks as can be counted from the plan by hand. */
#include <stdlib.h>
#include <string.h>

#include "collectives/exchange.h"
#include "tests/support/trial.h"

/* --- where messages are cut -------------------------------------------------------------------------------------- */

static void test_blocks_cover_all_rows_without_gaps(void **state)
{
    static const int64_t chunk_rows[] = {1, 3, 1000};
    for (size_t i = 0; i < sizeof chunk_rows / sizeof *chunk_rows; i++) {
        int64_t c = chunk_rows[i];
        assert_int_equal(tli_block_first(0, c), 0);
        for (int64_t block = 0; block < 2000; block++) {
            int64_t first = tli_block_first(block, c), next = tli_block_first(block + 1, c);
            assert_true(next > first && (next - first) % c == 0);
            assert_int_equal(tli_block_of(first, c), block);
            assert_int_equal(tli_block_of(next - 1, c), block);
        }
    }
}

static void test_short_messages_have_blocks_of_one_size_and_the_longest_has_few(void **state)
{
    for (int64_t block = 0; block < 64; block++)
        assert_int_equal(tli_block_first(block, 7), 7 * block);
    assert_in_range(tli_block_of((int64_t)1 << 55, 1), 64, 4096);
}

static void test_chunks_are_worth_their_latency(void **state)
{
    tulle_topology_t *topology = NULL, *one_node = NULL;
    assert_int_equal(tulle_topology_parse("2x2", 4, &topology), TULLE_OK);
    assert_int_equal(tulle_topology_parse("1x4", 4, &one_node), TULLE_OK);
    tulle_link_t link = {.latency_ns = 10000, .bytes_per_second = 25e9};
    assert_int_equal(tulle_topology_set_link(topology, 0, &link), TULLE_OK);
    assert_int_equal(tli_chunk_rows(topology, TULLE_CHUNK_AUTOMATIC, 1000), 2000); /* 8 times 250 KB */
    link.bytes_per_second = 1e6;
    assert_int_equal(tulle_topology_set_link(topology, 0, &link), TULLE_OK);
    assert_int_equal(tli_chunk_rows(topology, TULLE_CHUNK_AUTOMATIC, 64), 1024); /* 64 KiB at least */
    assert_int_equal(tli_chunk_rows(topology, TULLE_CHUNK_AUTOMATIC, (int64_t)1 << 30), 1);
    assert_int_equal(tli_chunk_rows(topology, 500, 100), 5);
    assert_int_equal(tli_chunk_rows(topology, 1, 100), 1);
    assert_int_equal(tli_chunk_rows(topology, TULLE_CHUNK_NEVER, 100), 0);
    assert_int_equal(tli_chunk_rows(topology, TULLE_CHUNK_AUTOMATIC - 1, 1), 0); /* beyond all rows there are */
    assert_int_equal(tli_chunk_rows(one_node, TULLE_CHUNK_AUTOMATIC, 1000), 0);
    assert_int_equal(tli_chunk_rows(one_node, 4000, 1000), 4);
    tulle_topology_destroy(&topology);
    tulle_topology_destroy(&one_node);
}

/* --- the same rows ----------------------------------------------------------------------------------------------- */

static void check_trial(const tulle_plan_t *plan, const spt_pattern_t *pattern, tulle_direction_t direction,
                        size_t chunk_bytes, uint64_t stream)
{
    spt_random_t shared = spt_random_shared(stream), mine = spt_random_mine(stream);
    tulle_op_t op = (tulle_op_t)(TULLE_OP_SUM + spt_below(&shared, 5));
    spt_trial_t trial = spt_trial(plan, pattern, direction, op);
    trial.chunk_bytes = chunk_bytes;
    trial.has_rows_to_lend = stream % 3 == 0;
    spt_trial_add_random(&trial, &shared);
    tulle_exchange_t *exchange = spt_trial_bind(&trial, plan);
    spt_trial_repeat(&trial, exchange, &mine, 2);
    tulle_exchange_destroy(&exchange);
}

static void check_plans(const char *topology, int disable_shared_memory, uint64_t seed)
{
    static const size_t sizes[] = {1, 40, 300};
    tulle_comm_t *comm = spt_comm(topology, disable_shared_memory);
    for (int kind = 0; kind < 6; kind++) {
        spt_pattern_t pattern = spt_pattern_random(seed + (uint64_t)kind);
        tulle_plan_t *plan = spt_plan_make(comm, &pattern, (tulle_strategy_t)kind, (tulle_ghost_order_t)(kind % 2));
        for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++)
            check_trial(plan, &pattern, (tulle_direction_t)direction, sizes[(kind + direction) % 3],
                        seed + (uint64_t)kind);
        tulle_plan_destroy(&plan);
    }
    tulle_comm_destroy(&comm);
}

static void test_chunks_bring_the_same_rows_in_every_plan(void **state)
{
    for (int i = 0; spt_topology(i) != NULL; i++) {
        check_plans(spt_topology(i), 0, 100 * (uint64_t)i);
        spt_teardown(NULL);
    }
    check_plans(spt_topology(0), 1, 5000);
}

/* Sums whose bits depend on their order. */
static void fill_with_fractions(float *rows, int64_t n, spt_random_t *random)
{
    for (int64_t i = 0; i < n; i++)
        rows[i] = 1.0F / (float)(1 + spt_below(random, 1000));
}

static void scatter(const tulle_plan_t *plan, float *owned, float *ghost, size_t chunk_bytes)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_field_t field = {owned, ghost, TULLE_F32, 3, 0, 0};
    tulle_exchange_t *exchange = NULL;
    options.chunk_bytes = chunk_bytes;
    spt_assert_ok_all(tulle_exchange_create(plan, TULLE_SCATTER, &field, 1, &options, &exchange));
    spt_run(exchange);
    tulle_exchange_destroy(&exchange);
}

static void test_scattered_sums_have_the_bits_of_whole_messages(void **state)
{
    for (int i = 0; spt_topology(i) != NULL; i++) {
        tulle_comm_t *comm = spt_comm(spt_topology(i), 0);
        spt_pattern_t pattern = spt_pattern_random((uint64_t)i);
        spt_random_t mine = spt_random_mine((uint64_t)i);
        tulle_plan_t *plan = spt_plan_make(comm, &pattern, (tulle_strategy_t)(i % 6), TULLE_GHOST_ORDER_PLAN);
        int64_t num_owned = 3 * pattern.num_owned, num_ghosts = 3 * tulle_plan_num_ghosts(plan);
        float *owned = spt_alloc(num_owned, sizeof *owned), *ghost = spt_alloc(num_ghosts, sizeof *ghost);
        float *start = spt_alloc(num_owned, sizeof *start), *whole = spt_alloc(num_owned, sizeof *whole);
        fill_with_fractions(start, num_owned, &mine);
        fill_with_fractions(ghost, num_ghosts, &mine);
        memcpy(whole, start, (size_t)num_owned * sizeof *whole);
        scatter(plan, whole, ghost, TULLE_CHUNK_NEVER);
        for (size_t chunk_bytes = 12; chunk_bytes < 100; chunk_bytes *= 2) {
            memcpy(owned, start, (size_t)num_owned * sizeof *owned);
            scatter(plan, owned, ghost, chunk_bytes);
            spt_assert_all(memcmp(owned, whole, (size_t)num_owned * sizeof *owned) == 0);
        }
        tulle_plan_destroy(&plan);
        tulle_comm_destroy(&comm);
    }
}

/* --- counted ----------------------------------------------------------------------------------------------------- */

static tulle_exchange_stats_t stats_of(const tulle_plan_t *plan, tulle_direction_t direction, size_t chunk_bytes)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_stats_t stats = {.struct_size = sizeof stats};
    void *owned = spt_alloc(tulle_plan_num_owned(plan), 8), *ghost = spt_alloc(tulle_plan_num_ghosts(plan), 8);
    tulle_field_t field = {owned, ghost, TULLE_F64, 1, 0, 0};
    tulle_exchange_t *exchange = NULL;
    options.chunk_bytes = chunk_bytes;
    spt_assert_ok_all(tulle_exchange_create(plan, direction, &field, 1, &options, &exchange));
    spt_assert_ok_all(tulle_exchange_get_stats(exchange, &stats));
    tulle_exchange_destroy(&exchange);
    return stats;
}

/* Every rank is a node: a message of n rows is n / rows chunks, rounded up. */
static int64_t count_by_hand(const tulle_plan_t *plan, int64_t rows)
{
    int64_t num = 0;
    for (int64_t k = 0; k < plan->num_in; k++)
        num += (plan->in_ptr[k + 1] - plan->in_ptr[k] + rows - 1) / rows;
    MPI_Allreduce(MPI_IN_PLACE, &num, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    return num;
}

static void test_messages_and_chunks_are_counted_apart(void **state)
{
    char topology[32];
    snprintf(topology, sizeof topology, "%dx1", spt_size());
    tulle_comm_t *comm = spt_comm(topology, 0);
    spt_pattern_t pattern = spt_pattern_random(4);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_DIRECT, TULLE_GHOST_ORDER_PLAN);
    for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++) {
        tulle_exchange_stats_t whole = stats_of(plan, (tulle_direction_t)direction, TULLE_CHUNK_NEVER);
        spt_assert_all(whole.num_chunks == whole.transports[TULLE_TRANSPORT_MPI].messages);
        for (int64_t rows = 2; rows < 6; rows++) {
            tulle_exchange_stats_t cut = stats_of(plan, (tulle_direction_t)direction, 8 * (size_t)rows);
            spt_assert_all(memcmp(cut.transports, whole.transports, sizeof cut.transports) == 0);
            spt_assert_all(cut.num_chunks == count_by_hand(plan, rows));
            spt_assert_all(spt_size() == 1 || rows > 2 || cut.num_chunks > whole.num_chunks);
        }
    }
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

/* --- chosen ------------------------------------------------------------------------------------------------------ */

static void test_environment_chooses_unless_options_do(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    spt_pattern_t pattern = spt_pattern_random(4);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_DIRECT, TULLE_GHOST_ORDER_PLAN);
    int64_t tiny = stats_of(plan, TULLE_GATHER, 8).num_chunks;
    setenv("TULLE_CHUNK_BYTES", "8", 1);
    spt_assert_all(stats_of(plan, TULLE_GATHER, 0).num_chunks == tiny);
    spt_assert_all(spt_size() == 1 || stats_of(plan, TULLE_GATHER, TULLE_CHUNK_NEVER).num_chunks < tiny);
    unsetenv("TULLE_CHUNK_BYTES");
    spt_assert_all(stats_of(plan, TULLE_GATHER, 0).num_chunks ==
                   stats_of(plan, TULLE_GATHER, TULLE_CHUNK_NEVER).num_chunks);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

static void test_ranks_that_disagree_about_chunks_are_told(void **state)
{
    if (spt_size() == 1)
        skip();
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    spt_pattern_t pattern = spt_pattern_random(4);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_DIRECT, TULLE_GHOST_ORDER_PLAN);
    void *owned = spt_alloc(pattern.num_owned, 8), *ghost = spt_alloc(tulle_plan_num_ghosts(plan), 8);
    tulle_field_t field = {owned, ghost, TULLE_F64, 1, 0, 0};
    tulle_exchange_t *exchange = NULL;
    options.chunk_bytes = spt_rank() == 0 ? 8 : 16;
    spt_assert_fails_all(tulle_exchange_create(plan, TULLE_GATHER, &field, 1, &options, &exchange));
    spt_assert_all(tulle_last_error()->status == TULLE_ERR_MISMATCH &&
                   strstr(tulle_last_error()->text, "rows of a chunk") != NULL);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_blocks_cover_all_rows_without_gaps),
        spt_test(test_short_messages_have_blocks_of_one_size_and_the_longest_has_few),
        spt_test(test_chunks_are_worth_their_latency),
        spt_test(test_chunks_bring_the_same_rows_in_every_plan),
        spt_test(test_scattered_sums_have_the_bits_of_whole_messages),
        spt_test(test_messages_and_chunks_are_counted_apart),
        spt_test(test_environment_chooses_unless_options_do),
        spt_test(test_ranks_that_disagree_about_chunks_are_told),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
