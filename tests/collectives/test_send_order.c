/* SPDX-License-Identifier: Apache-2.0
 * In which order messages leave: tasks that can run, against a list that is searched; chunks for many peers, by what
 * each has got at any moment. */
#include <math.h>

#include "collectives/ready.h"
#include "collectives/steps_build.h"
#include "tests/support/world.h"

#define MOST_TASKS 200
#define MOST_ENDS  400

/* --- tasks that can run ------------------------------------------------------------------------------------------ */

static int64_t take_least(int64_t *tasks, int64_t *num)
{
    int64_t at = 0;
    for (int64_t i = 1; i < *num; i++)
        at = tasks[i] < tasks[at] ? i : at;
    int64_t least = tasks[at];
    tasks[at] = tasks[--*num];
    return least;
}

static void test_tasks_are_taken_in_order_however_they_came(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        spt_random_t random = {seed};
        int64_t room[MOST_TASKS], list[MOST_TASKS], num = 0;
        tli_ready_t ready = {room, 0};
        for (int64_t i = 0; i < MOST_TASKS; i++) {
            int64_t task = i * 7919 % MOST_TASKS;
            tli_ready_add(&ready, task);
            list[num++] = task;
            while (num > 0 && spt_below(&random, 3) == 0)
                assert_int_equal(tli_ready_take(&ready), take_least(list, &num));
        }
        while (num > 0)
            assert_int_equal(tli_ready_take(&ready), take_least(list, &num));
        assert_int_equal(ready.num, 0);
    }
}

/* --- chunks for many peers --------------------------------------------------------------------------------------- */

typedef struct sending {
    tulle_comm_t comm;
    tulle_plan_t plan;
    tli_end_t ends[MOST_ENDS];
    tli_steps_builder_t builder;
    int64_t *order;
} sending_t;

/* Peers ascending, as plans have them. */
static void order_sends(sending_t *s, int rank, int num_ranks, int64_t num)
{
    s->comm.rank = rank;
    s->comm.size = num_ranks;
    s->plan.comm = &s->comm;
    s->builder.plan = &s->plan;
    s->builder.steps.send_ends = s->ends;
    s->builder.steps.num_sends = num;
    assert_int_equal(tli_order_sends(&s->builder, &s->order), TULLE_OK);
}

/* One to eight chunks for each peer, of one size but the last. */
static int64_t draw_ends(sending_t *s, spt_random_t *random, int rank, int num_ranks, int64_t *rows_of)
{
    int64_t num = 0;
    for (int peer = 0; peer < num_ranks; peer++) {
        int64_t num_chunks = peer == rank ? 0 : spt_below(random, 9), size = 1 + spt_below(random, 1000);
        rows_of[peer] = 0;
        for (int64_t i = 0; i < num_chunks; i++) {
            int64_t rows = i == num_chunks - 1 ? 1 + spt_below(random, size) : size;
            s->ends[num++] = (tli_end_t){.peer = peer, .num_rows = rows};
            rows_of[peer] += rows;
        }
    }
    return num;
}

static void test_every_message_is_sent_once_and_all_peers_get_the_same_share_of_theirs(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        spt_random_t random = {seed};
        sending_t s = {.order = NULL};
        int num_ranks = 2 + (int)spt_below(&random, 40), rank = (int)spt_below(&random, num_ranks);
        int64_t rows_of[64], sent[64] = {0}, num = draw_ends(&s, &random, rank, num_ranks, rows_of);
        int was_sent[MOST_ENDS] = {0};
        double most = 0;
        order_sends(&s, rank, num_ranks, num);
        for (int64_t i = 0; i < num; i++) {
            int64_t m = s.order[i], peer = s.ends[m].peer;
            assert_false(was_sent[m]++);
            assert_true(m == 0 || s.ends[m - 1].peer != peer || was_sent[m - 1]);
            /* Half of what goes now, and it is nobody's turn that is ahead of the others by more than a 64th. */
            double share = ((double)sent[peer] + (double)s.ends[m].num_rows / 2) / (double)rows_of[peer];
            assert_true(share > most - 1.0 / 64);
            most = fmax(most, share);
            sent[peer] += s.ends[m].num_rows;
        }
        tli_arena_release(&s.builder.scratch);
    }
}

static void test_whole_messages_begin_with_the_next_rank(void **state)
{
    (void)state;
    sending_t s = {.order = NULL};
    for (int peer = 0; peer < 8; peer++)
        s.ends[peer] = (tli_end_t){.peer = peer, .num_rows = 100 - peer * peer};
    order_sends(&s, 5, 9, 8);
    static const int64_t expected[] = {5, 6, 7, 0, 1, 2, 3, 4};
    for (int i = 0; i < 8; i++)
        assert_int_equal(s.order[i], expected[i]);
    tli_arena_release(&s.builder.scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tasks_are_taken_in_order_however_they_came),
        cmocka_unit_test(test_every_message_is_sent_once_and_all_peers_get_the_same_share_of_theirs),
        cmocka_unit_test(test_whole_messages_begin_with_the_next_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
