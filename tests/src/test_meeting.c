/* SPDX-License-Identifier: Apache-2.0
 * Meetings: minima of all ranks, whoever shares memory and whoever is late; who does not come is given up. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/comm.h"
#include "tests/support/trial.h"

static void nap(int64_t microseconds)
{
    const struct timespec time = {microseconds / 1000000, microseconds % 1000000 * 1000};
    nanosleep(&time, NULL);
}

static void fill(spt_random_t *mine, int64_t words[TLI_MEETING_WORDS])
{
    for (int i = 0; i < TLI_MEETING_WORDS; i++)
        words[i] = (int64_t)spt_next(mine);
}

/* Each word has its minimum somewhere else, and every meeting its latecomers. */
static void meet(tulle_comm_t *comm, spt_random_t *mine, int64_t most_lateness, int64_t limit_ms)
{
    int64_t words[TLI_MEETING_WORDS], wanted[TLI_MEETING_WORDS];
    fill(mine, words);
    MPI_Allreduce(words, wanted, TLI_MEETING_WORDS, MPI_INT64_T, MPI_MIN, MPI_COMM_WORLD);
    if (most_lateness > 0 && spt_below(mine, 3) == 0)
        nap(spt_below(mine, most_lateness));
    spt_assert_ok_all(tli_meeting_hold(comm, limit_ms, words));
    spt_assert_all(memcmp(words, wanted, sizeof words) == 0);
}

static void test_meeting_finds_minima_on_every_topology(void **state)
{
    const char *topology = NULL;
    spt_random_t mine = spt_random_mine(1);
    for (int i = 0; (topology = spt_topology(i)) != NULL; i++)
        for (int is_apart = 0; is_apart <= 1; is_apart++) {
            tulle_comm_t *comm = spt_comm(topology, is_apart);
            for (int round = 0; round < 6; round++)
                meet(comm, &mine, 2000, round % 2 == 0 ? 0 : 60000);
            tulle_comm_destroy(&comm);
        }
}

/* Words of the next meeting must not meet those of the last. */
static void test_meeting_follows_meeting_at_once(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    int is_right = 1;
    for (int64_t round = 0; round < 2000 && is_right; round++) {
        int64_t words[TLI_MEETING_WORDS] = {round, -round, round * spt_size() + spt_rank(), 7};
        is_right = tli_meeting_hold(comm, 0, words) == TULLE_OK && words[0] == round && words[1] == -round &&
                   words[2] == round * spt_size() && words[3] == 7;
    }
    spt_assert_all(is_right);
    tulle_comm_destroy(&comm);
}

/* Every meeting is a barrier: what was noted before is seen by all, long waits included. */
static void test_meeting_ends_when_the_last_has_come(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    for (int late = 0; late < spt_size(); late++) {
        struct timespec time;
        int64_t words[TLI_MEETING_WORDS] = {0};
        MPI_Barrier(MPI_COMM_WORLD);
        if (spt_rank() == late)
            nap(20000);
        clock_gettime(CLOCK_MONOTONIC, &time);
        double came = (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
        tulle_status_t st = tli_meeting_hold(comm, 0, words);
        clock_gettime(CLOCK_MONOTONIC, &time);
        double left = (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
        MPI_Allreduce(MPI_IN_PLACE, &came, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
        spt_assert_all(st == TULLE_OK && left >= came); /* ranks of one machine: one clock */
    }
    tulle_comm_destroy(&comm);
}

/* A message that needs the sender to call MPI arrives while the sender waits in a meeting. */
static void test_meeting_lets_mpi_move(void **state)
{
    int64_t num = (int64_t)1 << 21, words[TLI_MEETING_WORDS] = {0};
    char *rows = spt_alloc(num, 1);
    MPI_Request request = MPI_REQUEST_NULL;
    if (spt_size() == 1)
        skip();
    tulle_comm_t *comm = spt_comm(NULL, 0);
    if (spt_rank() == 1)
        MPI_Isend(rows, (int)num, MPI_BYTE, 0, 5, MPI_COMM_WORLD, &request);
    if (spt_rank() == 0) {
        nap(10000);
        MPI_Recv(rows, (int)num, MPI_BYTE, 1, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    spt_assert_ok_all(tli_meeting_hold(comm, 60000, words));
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    tulle_comm_destroy(&comm);
}

/* Who gave up once does so ever after; the late rank finds all others there. */
static void check_late(const char *topology, int is_apart, int late)
{
    tulle_comm_t *comm = spt_comm(topology, is_apart);
    int64_t words[TLI_MEETING_WORDS] = {0};
    if (spt_rank() == late)
        nap(400000);
    tulle_status_t st = tli_meeting_hold(comm, 50, words);
    int is_expected = spt_rank() == late || st == TULLE_ERR_TIMEOUT;
    if (spt_rank() != late)
        is_expected = is_expected && tli_meeting_hold(comm, 50, words) == TULLE_ERR_TIMEOUT;
    spt_assert_all(is_expected);
    comm->num_faults++; /* as the caller of a meeting notes */
    tulle_comm_destroy(&comm);
}

static void test_meeting_late_rank_is_given_up(void **state)
{
    const char *topology = NULL;
    if (spt_size() == 1)
        skip();
    for (int i = 0; (topology = spt_topology(i)) != NULL && i < 3; i++)
        for (int is_apart = 0; is_apart <= 1; is_apart++)
            for (int late = 0; late < spt_size(); late += spt_size() - 1)
                check_late(topology, is_apart, late);
}

static void test_meeting_names_who_is_late(void **state)
{
    char words_wanted[64];
    int64_t words[TLI_MEETING_WORDS] = {0};
    int late = spt_size() - 1;
    if (spt_size() == 1)
        skip();
    tulle_comm_t *comm = spt_comm(NULL, 0);
    snprintf(words_wanted, sizeof words_wanted, "rank %d does not come", late);
    if (spt_rank() == late)
        nap(400000);
    tulle_status_t st = tli_meeting_hold(comm, 50, words);
    spt_assert_all(spt_rank() == late ||
                   (st == TULLE_ERR_TIMEOUT && strstr(tulle_last_error()->text, words_wanted) != NULL));
    comm->num_faults++;
    tulle_comm_destroy(&comm);
}

/* --- rounds of messages, for any number of nodes ----------------------------------------------------------------- */

/* By symmetry, what one node knows is what lies so far back in the circle. */
static int knows_all(int num_nodes)
{
    unsigned char *knows = spt_alloc(num_nodes, 1), *before = spt_alloc(num_nodes, 1);
    int distance[TLI_MEETING_FAN], num_known = 0;
    knows[0] = 1;
    for (int64_t stride = 1; stride < num_nodes; stride *= 1 + TLI_MEETING_FAN) {
        int num = tli_meeting_round(num_nodes, stride, distance);
        memcpy(before, knows, (size_t)num_nodes);
        for (int i = 0; i < num; i++)
            for (int back = 0; back < num_nodes; back++)
                knows[(back + distance[i]) % num_nodes] |= before[back];
    }
    for (int back = 0; back < num_nodes; back++)
        num_known += knows[back];
    return num_known == num_nodes;
}

static void test_meeting_rounds_reach_every_node(void **state)
{
    for (int num_nodes = 1; num_nodes <= 600; num_nodes++)
        assert_true(knows_all(num_nodes));
}

static void test_meeting_rounds_have_distinct_partners(void **state)
{
    int distance[TLI_MEETING_FAN];
    for (int num_nodes = 1; num_nodes <= 600; num_nodes++) {
        unsigned char *is_met = spt_alloc(num_nodes, 1);
        for (int64_t stride = 1; stride < num_nodes; stride *= 1 + TLI_MEETING_FAN) {
            int num = tli_meeting_round(num_nodes, stride, distance);
            assert_in_range(num, 1, TLI_MEETING_FAN);
            for (int i = 0; i < num; i++) {
                assert_in_range(distance[i], 1, num_nodes - 1);
                assert_int_equal(is_met[distance[i]], 0);
                is_met[distance[i]] = 1;
            }
        }
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_meeting_finds_minima_on_every_topology), spt_test(test_meeting_follows_meeting_at_once),
        spt_test(test_meeting_ends_when_the_last_has_come),    spt_test(test_meeting_lets_mpi_move),
        spt_test(test_meeting_late_rank_is_given_up),          spt_test(test_meeting_names_who_is_late),
        spt_test(test_meeting_rounds_reach_every_node),        spt_test(test_meeting_rounds_have_distinct_partners),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests_name("src.meeting", tests, NULL, NULL));
}
