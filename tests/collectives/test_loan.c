/* SPDX-License-Identifier: Apache-2.0
 * Rows from tulle_alloc() that ranks of the same memory read where they lie: the same values as ever, next to ranks
 * that have none to lend, and nobody gets them back before they were read. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "collectives/exchange.h"
#include "tests/support/trial.h"

#define WIDE 3000 /* [scalars] a few rows of them are worth lending */

/* Messages that are sent out of the caller's rows and read by a rank of the node. */
static int64_t count_lent(const tulle_exchange_t *x)
{
    int64_t n = 0;
    for (int64_t w = 0; w < x->steps.num_sends; w++) {
        const tli_end_t *end = &x->steps.send_ends[w];
        n += x->steps.areas[end->area].kind == TLI_AREA_USER && tli_transports[end->transport]->reads_remotely;
    }
    return n;
}

static int64_t sum_over_ranks(int64_t value)
{
    MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    return value;
}

/* @return messages lent, of all ranks */
static int64_t check_trial(const tulle_plan_t *plan, const spt_pattern_t *pattern, tulle_direction_t direction,
                           int64_t width, int64_t gap, int lends)
{
    spt_random_t mine = spt_random_mine(3);
    spt_trial_t trial = spt_trial(plan, pattern, direction, TULLE_OP_SUM);
    trial.has_rows_to_lend = lends;
    spt_trial_add(&trial, TULLE_F32, width, gap);
    tulle_exchange_t *exchange = spt_trial_bind(&trial, plan);
    spt_trial_repeat(&trial, exchange, &mine, 4);
    int64_t num_lent = sum_over_ranks(count_lent(exchange));
    tulle_exchange_destroy(&exchange);
    return num_lent;
}

static void test_lent_rows_have_the_same_values_in_every_plan(void **state)
{
    int64_t num_lent[2] = {0, 0};
    for (int i = 0; spt_topology(i) != NULL; i += 2) {
        tulle_comm_t *comm = spt_comm(spt_topology(i), 0);
        for (int kind = 0; kind < 10; kind += 3) {
            spt_pattern_t pattern = spt_pattern_random((uint64_t)(10 * i + kind));
            tulle_plan_t *plan =
                spt_plan_make(comm, &pattern, (tulle_strategy_t)(kind / 2), (tulle_ghost_order_t)(kind % 2));
            for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++)
                num_lent[direction] += check_trial(plan, &pattern, (tulle_direction_t)direction, WIDE, kind % 2 * 5, 1);
            tulle_plan_destroy(&plan);
        }
        tulle_comm_destroy(&comm);
    }
    spt_assert_all(spt_size() == 1 || (num_lent[TULLE_GATHER] > 0 && num_lent[TULLE_SCATTER] > 0));
}

static void test_ranks_without_rows_to_lend_are_packed_for(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    for (uint64_t stream = 0; stream < 6; stream++) {
        spt_pattern_t pattern = spt_pattern_random(stream);
        tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_CALLER);
        for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++)
            check_trial(plan, &pattern, (tulle_direction_t)direction, WIDE, 0, spt_rank() % 2);
        tulle_plan_destroy(&plan);
    }
    tulle_comm_destroy(&comm);
}

static void test_small_arrays_and_private_memory_are_not_lent(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    tulle_comm_t *apart = spt_comm(spt_topology(0), 1);
    spt_pattern_t pattern = spt_pattern_random(2);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_CALLER);
    tulle_plan_t *plan_apart = spt_plan_make(apart, &pattern, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_CALLER);
    spt_assert_all(check_trial(plan, &pattern, TULLE_GATHER, 1, 0, 1) == 0);
    spt_assert_all(check_trial(plan, &pattern, TULLE_GATHER, WIDE, 0, 0) == 0);
    check_trial(plan_apart, &pattern, TULLE_GATHER, WIDE, 0, 1);
    tulle_plan_destroy(&plan_apart);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&apart);
    tulle_comm_destroy(&comm);
}

/* @return messages lent of a gather of large arrays, of all ranks */
static int64_t count_lent_of_width(const char *topology, int64_t width)
{
    tulle_comm_t *comm = spt_comm(topology, 0);
    spt_pattern_t pattern = spt_pattern_random(3);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_DIRECT, TULLE_GHOST_ORDER_CALLER);
    int64_t num_lent = check_trial(plan, &pattern, TULLE_GATHER, width, WIDE, 1);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
    return num_lent;
}

static void test_short_rows_are_lent_inside_of_a_domain_alone(void **state)
{
    char one_domain[32], two_domains[32];
    snprintf(one_domain, sizeof one_domain, "1x%d", spt_size());
    snprintf(two_domains, sizeof two_domains, "(1,%d)", spt_size() - 1);
    if (spt_size() == 1)
        return;
    spt_assert_all(count_lent_of_width(one_domain, 1) > 0);
    spt_assert_all(count_lent_of_width(one_domain, 4) > 0);
    spt_assert_all(count_lent_of_width(two_domains, 1) == 0);
    spt_assert_all(count_lent_of_width(two_domains, 4) > 0);
}

/* Every rank needs the first row of every rank. */
static tulle_plan_t *plan_of_first_rows(tulle_comm_t *comm, int64_t num_owned)
{
    spt_pattern_t p = {.num_owned = num_owned, .num_needed = spt_size()};
    p.needed_ids = spt_alloc(p.num_needed, 8);
    for (int rank = 0; rank < spt_size(); rank++)
        p.needed_ids[rank] = rank * num_owned;
    return spt_plan_make(comm, &p, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_CALLER);
}

static void fill(float *rows, int64_t n, float value)
{
    for (int64_t i = 0; i < n; i++)
        rows[i] = value;
}

static int has_rows_of(const float *ghost, int round)
{
    int is_right = 1;
    for (int rank = 0; rank < spt_size(); rank++)
        for (int64_t i = 0; i < WIDE; i++)
            is_right = is_right && ghost[rank * WIDE + i] == (float)(100 * round + rank);
    return is_right;
}

/* Ranks come late in turn; owners overwrite their rows as soon as wait returns. */
static void test_lent_rows_are_read_before_wait_returns(void **state)
{
    enum { NUM_OWNED = 10, NUM_ROUNDS = 20 };
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    tulle_plan_t *plan = plan_of_first_rows(comm, NUM_OWNED);
    float *owned = spt_alloc_rows(NUM_OWNED * WIDE, sizeof *owned),
          *ghost = spt_alloc(spt_size() * WIDE, sizeof *ghost);
    tulle_field_t field = {owned, ghost, TULLE_F32, WIDE, 0, 0};
    tulle_exchange_t *exchange = NULL;
    int is_right = 1;
    tulle_status_t st = tulle_exchange_create(plan, TULLE_GATHER, &field, 1, NULL, &exchange);
    spt_assert_ok_all(st);
    spt_assert_all(spt_size() == 1 || sum_over_ranks(count_lent(exchange)) > 0);
    for (int round = 0; round < NUM_ROUNDS && st == TULLE_OK; round++) {
        fill(owned, WIDE, (float)(100 * round + spt_rank()));
        st = tulle_exchange_start(exchange, NULL);
        if (round % spt_size() == spt_rank())
            nanosleep(&(struct timespec){0, 2000000}, NULL);
        if (st == TULLE_OK)
            st = tulle_exchange_wait(exchange);
        fill(owned, WIDE, -1);
        is_right = is_right && has_rows_of(ghost, round);
    }
    spt_assert_ok_all(st);
    spt_assert_all(is_right);
    tulle_exchange_destroy(&exchange);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_lent_rows_have_the_same_values_in_every_plan),
        spt_test(test_ranks_without_rows_to_lend_are_packed_for),
        spt_test(test_small_arrays_and_private_memory_are_not_lent),
        spt_test(test_short_rows_are_lent_inside_of_a_domain_alone),
        spt_test(test_lent_rows_are_read_before_wait_returns),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
