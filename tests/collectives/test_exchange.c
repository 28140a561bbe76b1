/* SPDX-License-Identifier: Apache-2.0
 * Exchanges against the naive one: random patterns on every topology, by every strategy, in both directions; several at
 * once; many times over; after everything else was destroyed. */
#include <stdlib.h>
#include <string.h>

#include "src/comm.h"
#include "tests/support/trial.h"

/* --- values ------------------------------------------------------------------------------------------------------ */

static void check_every_plan(tulle_comm_t *comm, uint64_t stream)
{
    spt_pattern_t pattern = spt_pattern_random(stream);
    for (int strategy = TULLE_STRATEGY_AUTO; strategy <= TULLE_STRATEGY_STRIPED; strategy++) {
        for (int order = TULLE_GHOST_ORDER_CALLER; order <= TULLE_GHOST_ORDER_PLAN; order++) {
            tulle_plan_t *plan = spt_plan_make(comm, &pattern, (tulle_strategy_t)strategy, (tulle_ghost_order_t)order);
            spt_assert_plan_works(plan, &pattern, stream * 16 + (uint64_t)(strategy * 2 + order), 2);
            tulle_plan_destroy(&plan);
        }
    }
    spt_teardown(NULL);
}

static void test_exchange_random_patterns_match_naive_exchange(void **state)
{
    const char *topology = NULL;
    uint64_t num_patterns = spt_size() > 4 ? 1 : 3;
    for (int i = 0; (topology = spt_topology(i)) != NULL; i += spt_size() > 8 ? 3 : 1) {
        tulle_comm_t *comm = spt_comm(topology, 0);
        for (uint64_t k = 0; k < num_patterns; k++)
            check_every_plan(comm, (uint64_t)i * 100 + k);
        tulle_comm_destroy(&comm);
    }
}

/* A topology for tests of something else: two levels of groups where there are ranks enough. */
static const char *some_topology(void)
{
    static const char *const texts[] = {"1x1", "2x1", "2,1", "2x2", "2,3", "(2,1),(1,2)", "(2,1),(1,3)", "2x2x2"};
    return spt_size() <= 8 ? texts[spt_size() - 1] : "2x2x4";
}

static void check_type(const tulle_plan_t *plan, const spt_pattern_t *pattern, tulle_datatype_t datatype,
                       tulle_direction_t direction, tulle_op_t op, spt_random_t *mine)
{
    spt_trial_t trial = spt_trial(plan, pattern, direction, op);
    spt_trial_add(&trial, datatype, 3, 0);
    spt_trial_add(&trial, datatype, 1, 2);
    tulle_exchange_t *exchange = spt_trial_bind(&trial, plan);
    spt_trial_fill(&trial, mine);
    spt_run(exchange);
    spt_assert_all(spt_trial_is_right(&trial));
    tulle_exchange_destroy(&exchange);
}

static void test_exchange_every_type_and_op_matches_naive_exchange(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_random_t mine = spt_random_mine(7);
    spt_pattern_t pattern = spt_pattern_random(7);
    for (int i = 0; i < SPT_NUM_DATATYPES; i++) {
        tulle_plan_t *plan = spt_plan_make(comm, &pattern, (tulle_strategy_t)(i % 6), (tulle_ghost_order_t)(i / 6 % 2));
        check_type(plan, &pattern, spt_datatypes[i], TULLE_GATHER, TULLE_OP_SUM, &mine);
        for (int op = TULLE_OP_SUM; op <= TULLE_OP_REPLACE; op++)
            if (spt_knows(spt_datatypes[i], (tulle_op_t)op))
                check_type(plan, &pattern, spt_datatypes[i], TULLE_SCATTER, (tulle_op_t)op, &mine);
        tulle_plan_destroy(&plan);
    }
    tulle_comm_destroy(&comm);
}

static void test_exchange_nothing_owned_or_needed_completes(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_pattern_t nothing = {0};
    for (int strategy = TULLE_STRATEGY_AUTO; strategy <= TULLE_STRATEGY_STRIPED; strategy++) {
        tulle_plan_t *plan = spt_plan_make(comm, &nothing, (tulle_strategy_t)strategy, TULLE_GHOST_ORDER_CALLER);
        tulle_field_t field = {NULL, NULL, TULLE_F32, 4, 0, 0};
        tulle_exchange_t *exchange = NULL;
        spt_assert_ok_all(tulle_exchange_create(plan, TULLE_GATHER, &field, 1, NULL, &exchange));
        spt_run(exchange);
        spt_run(exchange);
        tulle_exchange_destroy(&exchange);
        tulle_plan_destroy(&plan);
    }
    tulle_comm_destroy(&comm);
}

/* --- scatter is the adjoint of gather, and repeatable ------------------------------------------------------------- */

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double *random_integers(spt_random_t *random, int64_t n)
{
    double *values = spt_alloc(n, sizeof *values);
    for (int64_t i = 0; i < n; i++)
        values[i] = (double)(spt_below(random, 201) - 100);
    return values;
}

/* Integers, so that both sides are exact. */
static void check_adjoint(tulle_plan_t *plan, spt_random_t *random)
{
    int64_t width = 3, owned = width * tulle_plan_num_owned(plan), ghosts = width * tulle_plan_num_ghosts(plan);
    double *x = random_integers(random, owned), *y = random_integers(random, ghosts);
    double *gx = spt_alloc(ghosts, sizeof *gx), *sy = spt_alloc(owned, sizeof *sy);
    spt_assert_ok_all(tulle_gather(plan, x, gx, TULLE_F64, width, NULL));
    spt_assert_ok_all(tulle_scatter(plan, y, sy, TULLE_F64, width, TULLE_OP_SUM, NULL));
    double sides[2] = {dot(gx, y, ghosts), dot(x, sy, owned)};
    MPI_Allreduce(MPI_IN_PLACE, sides, 2, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    spt_assert_all(sides[0] == sides[1]);
}

static void test_scatter_sum_is_adjoint_of_gather(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_random_t mine = spt_random_mine(11);
    for (uint64_t stream = 11; stream < 15; stream++) {
        spt_pattern_t pattern = spt_pattern_random(stream);
        for (int kind = 0; kind < 10; kind++) {
            tulle_plan_t *plan =
                spt_plan_make(comm, &pattern, (tulle_strategy_t)(kind / 2), (tulle_ghost_order_t)(kind % 2));
            check_adjoint(plan, &mine);
            tulle_plan_destroy(&plan);
        }
    }
    tulle_comm_destroy(&comm);
}

/* Values whose sum depends on the order. */
static void fill_rough(spt_random_t *random, float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)((double)(spt_below(random, 2000001) - 1000000) * (i % 3 == 0 ? 1e-3 : 3.7e3));
}

static void check_repeatable(tulle_comm_t *comm, const spt_pattern_t *pattern, tulle_strategy_t strategy, tulle_op_t op,
                             spt_random_t *random)
{
    tulle_plan_t *plan = spt_plan_make(comm, pattern, strategy, TULLE_GHOST_ORDER_CALLER);
    int64_t owned = 2 * pattern->num_owned, ghosts = 2 * pattern->num_needed;
    float *start = spt_alloc(owned, 4), *first = spt_alloc(owned, 4), *x = spt_alloc(owned, 4),
          *y = spt_alloc(ghosts, 4);
    tulle_field_t field = {x, y, TULLE_F32, 2, 0, 0};
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_t *exchange = NULL;
    options.op = op;
    fill_rough(random, start, owned);
    fill_rough(random, y, ghosts);
    for (int run = 0; run < 10; run++) {
        if (run == 5) { /* made afresh, of a plan made afresh */
            tulle_exchange_destroy(&exchange);
            tulle_plan_destroy(&plan);
            plan = spt_plan_make(comm, pattern, strategy, TULLE_GHOST_ORDER_CALLER);
        }
        if (exchange == NULL)
            spt_assert_ok_all(tulle_exchange_create(plan, TULLE_SCATTER, &field, 1, &options, &exchange));
        memcpy(x, start, (size_t)owned * 4);
        spt_run(exchange);
        if (run == 0)
            memcpy(first, x, (size_t)owned * 4);
        spt_assert_all(memcmp(first, x, (size_t)owned * 4) == 0);
    }
    tulle_exchange_destroy(&exchange);
    tulle_plan_destroy(&plan);
}

static void test_scatter_rough_values_same_bits_every_time(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_random_t mine = spt_random_mine(21);
    for (int strategy = TULLE_STRATEGY_AUTO; strategy <= TULLE_STRATEGY_STRIPED; strategy++) {
        spt_pattern_t pattern = spt_pattern_random(22 + (uint64_t)strategy);
        check_repeatable(comm, &pattern, (tulle_strategy_t)strategy, TULLE_OP_SUM, &mine);
        check_repeatable(comm, &pattern, (tulle_strategy_t)strategy, TULLE_OP_REPLACE, &mine);
    }
    tulle_comm_destroy(&comm);
}

/* --- several at once --------------------------------------------------------------------------------------------- */

#define NUM_AT_ONCE 6

static void shuffle(spt_random_t *random, int *order, int n)
{
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int other = (int)spt_below(random, i + 1), kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}

/* Started and waited for in an order of this rank's own. Odd ones are polled by test. */
static tulle_status_t run_shuffled(tulle_exchange_t **exchanges, spt_random_t *random)
{
    tulle_status_t st = TULLE_OK;
    int order[NUM_AT_ONCE];
    shuffle(random, order, NUM_AT_ONCE);
    for (int i = 0; i < NUM_AT_ONCE && st == TULLE_OK; i++)
        st = tulle_exchange_start(exchanges[order[i]], NULL);
    shuffle(random, order, NUM_AT_ONCE);
    for (int i = 0; i < NUM_AT_ONCE && st == TULLE_OK; i++) {
        tulle_exchange_t *exchange = exchanges[order[i]];
        if (order[i] % 2 == 0)
            st = tulle_exchange_wait(exchange);
        else
            while ((st = tulle_exchange_test(exchange)) == TULLE_IN_PROGRESS)
                ;
    }
    return st;
}

/* Of one plan or of several, in both directions. */
static void check_at_once(tulle_comm_t *comm, int num_plans)
{
    spt_random_t shared = spt_random_shared(31), mine = spt_random_mine(31);
    spt_pattern_t pattern = spt_pattern_random(31);
    tulle_plan_t *plans[NUM_AT_ONCE] = {NULL};
    tulle_exchange_t *exchanges[NUM_AT_ONCE] = {NULL};
    spt_trial_t trials[NUM_AT_ONCE];
    for (int i = 0; i < num_plans; i++)
        plans[i] = spt_plan_make(comm, &pattern, (tulle_strategy_t)((i + 2) % 6), (tulle_ghost_order_t)(i % 2));
    for (int i = 0; i < NUM_AT_ONCE; i++) {
        const tulle_plan_t *plan = plans[i % num_plans];
        trials[i] = spt_trial(plan, &pattern, i % 3 == 1 ? TULLE_SCATTER : TULLE_GATHER, TULLE_OP_SUM);
        spt_trial_add_random(&trials[i], &shared);
        exchanges[i] = spt_trial_bind(&trials[i], plan);
    }
    for (int round = 0; round < 8; round++) {
        int is_right = 1;
        for (int i = 0; i < NUM_AT_ONCE; i++)
            spt_trial_fill(&trials[i], &mine);
        spt_assert_ok_all(run_shuffled(exchanges, &mine));
        for (int i = 0; i < NUM_AT_ONCE; i++)
            is_right = spt_trial_is_right(&trials[i]) && is_right;
        spt_assert_all(is_right);
    }
    for (int i = 0; i < NUM_AT_ONCE; i++)
        tulle_exchange_destroy(&exchanges[i]);
    for (int i = 0; i < num_plans; i++)
        tulle_plan_destroy(&plans[i]);
}

static void test_exchange_many_in_flight_any_order_completes(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    check_at_once(comm, 1);
    check_at_once(comm, 4);
    tulle_comm_destroy(&comm);
}

/* Rounds without any synchronisation between them: fast ranks run ahead into the next round. */
static void test_exchange_rounds_back_to_back_stay_apart(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_pattern_t pattern = spt_pattern_random(41);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_BALANCED, TULLE_GHOST_ORDER_CALLER);
    int64_t *owned = spt_alloc(pattern.num_owned, 8), *ghost = spt_alloc(pattern.num_needed, 8);
    tulle_field_t field = {owned, ghost, TULLE_I64, 1, 0, 0};
    tulle_exchange_t *exchange = NULL;
    tulle_status_t st = TULLE_OK;
    int is_right = 1;
    spt_assert_ok_all(tulle_exchange_create(plan, TULLE_GATHER, &field, 1, NULL, &exchange));
    for (int64_t round = 0; round < 300 && st == TULLE_OK; round++) {
        for (int64_t i = 0; i < pattern.num_owned; i++)
            owned[i] = pattern.ids[i] * 1000 + round;
        st = tulle_exchange_start(exchange, NULL);
        if (st == TULLE_OK)
            st = tulle_exchange_wait(exchange);
        for (int64_t i = 0; i < pattern.num_needed; i++)
            is_right = is_right && ghost[i] == pattern.needed_ids[i] * 1000 + round;
    }
    spt_assert_ok_all(st);
    spt_assert_all(is_right);
    tulle_exchange_destroy(&exchange);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

/* --- in one call ------------------------------------------------------------------------------------------------- */

static void test_one_shot_changing_buffers_are_followed(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_random_t mine = spt_random_mine(51);
    spt_pattern_t pattern = spt_pattern_random(51);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_RAIL, TULLE_GHOST_ORDER_PLAN);
    for (int call = 0; call < 12; call++) {
        tulle_op_t op = call % 4 < 2 ? TULLE_OP_SUM : TULLE_OP_MAX;
        tulle_datatype_t datatype = call % 3 == 0 ? TULLE_BF16 : TULLE_F64;
        spt_trial_t trial = spt_trial(plan, &pattern, call % 2 ? TULLE_SCATTER : TULLE_GATHER, op);
        spt_trial_add(&trial, datatype, 2, 0);
        spt_trial_fill(&trial, &mine);
        const tulle_field_t *f = &trial.fields[0];
        if (trial.direction == TULLE_GATHER)
            spt_assert_ok_all(tulle_gather(plan, f->owned, f->ghost, datatype, 2, NULL));
        else
            spt_assert_ok_all(tulle_scatter(plan, f->ghost, f->owned, datatype, 2, op, NULL));
        spt_assert_all(spt_trial_is_right(&trial));
    }
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

/* --- progress ---------------------------------------------------------------------------------------------------- */

/* Ranks 0 and 3 wait, in shared memory, for a row that ports 1 and 2 pass on; the ports wait for messages of 3 and 0,
 * too large for MPI to send while nobody there calls it. */
static void test_exchange_large_sends_proceed_while_waiting_in_shared_memory(void **state)
{
    enum { ROW_BYTES = 1 << 23 };
    if (spt_size() != 4)
        skip();
    tulle_comm_t *comm = spt_comm("2x2", 0);
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_pattern_t *pattern = NULL;
    tulle_plan_t *plan = NULL;
    int32_t owner = 3 - spt_rank();
    int64_t row = 0, num_needed = spt_rank() == 0 || spt_rank() == 3;
    unsigned char *owned = spt_alloc(1, ROW_BYTES), *ghost = spt_alloc(1, ROW_BYTES);
    options.strategy = TULLE_STRATEGY_RAIL;
    memset(owned, spt_rank() + 1, ROW_BYTES);
    spt_assert_ok_all(tulle_pattern_create_from_forest(comm, 1, num_needed, &owner, &row, &pattern));
    spt_assert_ok_all(tulle_plan_create(comm, pattern, &options, &plan));
    spt_assert_ok_all(tulle_gather(plan, owned, ghost, TULLE_BYTE, ROW_BYTES, NULL));
    spt_assert_all(num_needed == 0 || (ghost[0] == owner + 1 && memcmp(ghost, ghost + 1, ROW_BYTES - 1) == 0));
    tulle_plan_destroy(&plan);
    tulle_pattern_destroy(&pattern);
    tulle_comm_destroy(&comm);
}

/* Messages of many megabytes that are no multiple of anything, of one field and of two, and in ghost rows themselves.
 */
static void test_exchange_messages_in_pieces_arrive_whole(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 1);
    spt_random_t mine = spt_random_mine(71);
    spt_pattern_t pattern = spt_pattern_random(71);
    for (int kind = 0; kind < 4; kind++) {
        tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_BALANCED, (tulle_ghost_order_t)(kind / 2));
        spt_trial_t trial = spt_trial(plan, &pattern, kind % 2 ? TULLE_SCATTER : TULLE_GATHER, TULLE_OP_MAX);
        spt_trial_add(&trial, TULLE_I32, 33331, 0);
        if (kind == 0)
            spt_trial_add(&trial, TULLE_U8, 70001, 3);
        tulle_exchange_t *exchange = spt_trial_bind(&trial, plan);
        spt_trial_repeat(&trial, exchange, &mine, 2);
        tulle_exchange_destroy(&exchange);
        tulle_plan_destroy(&plan);
    }
    tulle_comm_destroy(&comm);
}

/* --- lifetimes and tags ------------------------------------------------------------------------------------------ */

static void test_exchange_outlives_plan_pattern_and_comm(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_random_t mine = spt_random_mine(61);
    spt_pattern_t pattern = spt_pattern_random(61);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_AGGREGATED, TULLE_GHOST_ORDER_PLAN);
    spt_trial_t trial = spt_trial(plan, &pattern, TULLE_SCATTER, TULLE_OP_SUM);
    spt_trial_add(&trial, TULLE_F32, 5, 1);
    tulle_exchange_t *exchange = spt_trial_bind(&trial, plan);
    tulle_comm_destroy(&comm);
    tulle_plan_destroy(&plan);
    assert_null(comm);
    assert_null(plan);
    spt_trial_repeat(&trial, exchange, &mine, 3);
    tulle_exchange_destroy(&exchange);
    assert_null(exchange);
}

static void test_exchange_tags_run_out_and_begin_again(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 1);
    spt_pattern_t pattern = spt_pattern_random(71);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_RAIL, TULLE_GHOST_ORDER_CALLER);
    comm->next_tag = comm->max_tag - 5;
    for (uint64_t stream = 71; stream < 76; stream++)
        spt_assert_plan_works(plan, &pattern, stream, 1);
    spt_assert_all(comm->next_tag < 100);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_exchange_random_patterns_match_naive_exchange),
        spt_test(test_exchange_every_type_and_op_matches_naive_exchange),
        spt_test(test_exchange_nothing_owned_or_needed_completes),
        spt_test(test_scatter_sum_is_adjoint_of_gather),
        spt_test(test_scatter_rough_values_same_bits_every_time),
        spt_test(test_exchange_many_in_flight_any_order_completes),
        spt_test(test_exchange_rounds_back_to_back_stay_apart),
        spt_test(test_one_shot_changing_buffers_are_followed),
        spt_test(test_exchange_large_sends_proceed_while_waiting_in_shared_memory),
        spt_test(test_exchange_messages_in_pieces_arrive_whole),
        spt_test(test_exchange_outlives_plan_pattern_and_comm),
        spt_test(test_exchange_tags_run_out_and_begin_again),
    };
    /* Both ends of a large message must take part, as over a network. Other MPI libraries ignore it. */
    setenv("OMPI_MCA_btl_vader_single_copy_mechanism", "none", 0);
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
