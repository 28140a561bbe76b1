/* SPDX-License-Identifier: Apache-2.0
 * Messages to whoever concerns it: random graphs, messages to oneself, nothing at all, failures known to all. */
#include <string.h>

#include "src/agree.h"
#include "src/sparse_exchange.h"
#include "tests/support/world.h"

/* Words of the message from one rank to another: everybody can tell. None for many pairs. */
static int64_t message_words(uint64_t round, int from, int to, int density)
{
    spt_random_t random = spt_random_shared(round * 10007 + (uint64_t)from * 101 + (uint64_t)to);
    return spt_below(&random, 100) < density ? spt_below(&random, 40) : -1;
}

static int64_t word_of(uint64_t round, int from, int to, int64_t i)
{
    return (int64_t)round * 1000000007 + ((int64_t)from << 40) + ((int64_t)to << 20) + i;
}

/* -1 words: not a peer. 0 words: a peer with an empty message. */
static tli_packets_t draw_packets(uint64_t round, int density)
{
    tli_packets_t out = {0, spt_alloc(spt_size(), sizeof(int)), spt_alloc(spt_size() + 1, sizeof(int64_t)), NULL};
    out.words = spt_alloc(40 * spt_size(), sizeof(int64_t));
    for (int to = 0; to < spt_size(); to++) {
        int64_t num_words = message_words(round, spt_rank(), to, density);
        if (num_words >= 0) {
            int64_t at = out.ptr[out.num_peers];
            for (int64_t i = 0; i < num_words; i++)
                out.words[at + i] = word_of(round, spt_rank(), to, i);
            out.peer[out.num_peers++] = to;
            out.ptr[out.num_peers] = at + num_words;
        }
    }
    return out;
}

/* From every rank that sent me something, ascending, and nothing else. */
static int is_expected(const tli_packets_t *in, uint64_t round, int density)
{
    int at = 0, is_right = in->ptr[0] == 0;
    for (int from = 0; from < spt_size(); from++) {
        int64_t num_words = message_words(round, from, spt_rank(), density);
        if (num_words <= 0)
            continue;
        is_right = is_right && at < in->num_peers && in->peer[at] == from && in->ptr[at + 1] - in->ptr[at] == num_words;
        for (int64_t i = 0; i < num_words && is_right; i++)
            is_right = in->words[in->ptr[at] + i] == word_of(round, from, spt_rank(), i);
        at++;
    }
    return is_right && at == in->num_peers;
}

static void run_round(tulle_comm_t *comm, uint64_t round, int density)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    tli_packets_t out = draw_packets(round, density), in = {0};
    spt_assert_ok_all(tli_sparse_exchange(comm, TULLE_OK, &out, &arena, &in));
    spt_assert_all(is_expected(&in, round, density));
    tli_arena_release(&arena);
}

static void test_sparse_exchange_random_graphs_arrive_sorted(void **state)
{
    static const int densities[] = {0, 10, 50, 100};
    tulle_comm_t *comm = spt_comm(NULL, 0);
    for (uint64_t round = 0; round < 40; round++)
        run_round(comm, round, densities[round % 4]);
    tulle_comm_destroy(&comm);
}

/* No assertion in between, which would synchronise: ranks run ahead into the next round. */
static void test_sparse_exchange_rounds_back_to_back_stay_apart(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    int is_right = 1;
    for (uint64_t round = 100; round < 200; round++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        tli_packets_t out = draw_packets(round, 60), in = {0};
        is_right = is_right && tli_sparse_exchange(comm, TULLE_OK, &out, &arena, &in) == TULLE_OK &&
                   is_expected(&in, round, 60);
        tli_arena_release(&arena);
    }
    spt_assert_all(is_right);
    tulle_comm_destroy(&comm);
}

/* Larger than what MPI sends eagerly, everybody to the last rank. */
static void test_sparse_exchange_large_messages_arrive(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    tli_arena_t arena = TLI_ARENA_INIT;
    int64_t n = 100000, ptr[2] = {0, n}, *words = spt_alloc(n, sizeof *words);
    int peer = spt_size() - 1, is_right = 1;
    tli_packets_t out = {1, &peer, ptr, words}, in = {0};
    for (int64_t i = 0; i < n; i++)
        words[i] = word_of(0, spt_rank(), peer, i);
    spt_assert_ok_all(tli_sparse_exchange(comm, TULLE_OK, &out, &arena, &in));
    spt_assert_all(in.num_peers == (spt_rank() == peer ? spt_size() : 0));
    for (int64_t i = 0; i < n * in.num_peers; i++)
        is_right = is_right && in.words[i] == word_of(0, (int)(i / n), peer, i % n);
    spt_assert_all(is_right);
    tli_arena_release(&arena);
    tulle_comm_destroy(&comm);
}

static void test_sparse_exchange_one_rank_failed_all_know(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    for (int culprit = 0; culprit < spt_size(); culprit++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        tli_packets_t out = draw_packets((uint64_t)culprit, 70), in = {-7, NULL, NULL, NULL};
        tulle_status_t mine = TULLE_OK;
        if (spt_rank() == culprit)
            mine = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "id %d", 4711);
        spt_assert_blames(tli_sparse_exchange(comm, mine, mine == TULLE_OK ? &out : NULL, &arena, &in), TULLE_ERR_ARG,
                          culprit, "id 4711");
        spt_assert_all(in.num_peers == -7);
        tli_arena_release(&arena);
        run_round(comm, 300 + (uint64_t)culprit, 50);
    }
    tulle_comm_destroy(&comm);
}

/* Out of memory while receiving: the senders are released, the next call tells everybody. */
static void test_sparse_exchange_no_memory_to_receive_hangs_nobody(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    for (int64_t k = 1; k < 12; k++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        tli_packets_t out = draw_packets((uint64_t)k, 100), in = {0}, none = {0, NULL, (int64_t[]){0}, NULL};
        int64_t live = tli_alloc_live();
        tli_alloc_fail_at(spt_rank() == spt_size() - 1 ? k : 0);
        tulle_status_t st = tli_sparse_exchange(comm, TULLE_OK, &out, &arena, &in);
        tli_alloc_fail_at(0);
        int has_failed = st != TULLE_OK, any = 0;
        MPI_Allreduce(&has_failed, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
        st = tli_sparse_exchange(comm, st, &none, &arena, &in);
        spt_assert_all((st != TULLE_OK) == any);
        tli_arena_release(&arena);
        spt_assert_all(tli_alloc_live() == live);
        run_round(comm, 400 + (uint64_t)k, 50);
    }
    tulle_comm_destroy(&comm);
}

static void test_packets_from_records_are_sorted_and_stable(void **state)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    int64_t records[] = {5, 50, 0, 1, 10, 1, 5, 51, 2, 0, 7, 3, 5, 49, 4};
    tli_packets_t packets = {0};
    static const int64_t words[] = {7, 3, 10, 1, 50, 0, 51, 2, 49, 4}, ptr[] = {0, 2, 4, 10};
    static const int peers[] = {0, 1, 5};
    assert_int_equal(tli_packets_from_records(&arena, records, 5, 3, &packets), TULLE_OK);
    assert_int_equal(packets.num_peers, 3);
    assert_memory_equal(packets.peer, peers, sizeof peers);
    assert_memory_equal(packets.ptr, ptr, sizeof ptr);
    assert_memory_equal(packets.words, words, sizeof words);
    assert_int_equal(tli_packets_from_records(&arena, records, 0, 3, &packets), TULLE_OK);
    assert_int_equal(packets.num_peers, 0);
    assert_int_equal(packets.ptr[0], 0);
    tli_arena_release(&arena);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_sparse_exchange_random_graphs_arrive_sorted),
        spt_test(test_sparse_exchange_rounds_back_to_back_stay_apart),
        spt_test(test_sparse_exchange_large_messages_arrive),
        spt_test(test_sparse_exchange_one_rank_failed_all_know),
        spt_test(test_sparse_exchange_no_memory_to_receive_hangs_nobody),
        spt_test(test_packets_from_records_are_sorted_and_stable),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
