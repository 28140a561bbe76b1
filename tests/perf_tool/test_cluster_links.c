/* SPDX-License-Identifier: Apache-2.0
 * The emulated network's arithmetic, against times worked out by hand, and the order of what is under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "perf/cluster_links.h"

static void test_link_carries_one_frame_after_the_other(void **state)
{
    perf_link_t link = {2, 0};
    perf_passage_t first = {100, 100};
    perf_passage_t second = {150, 150};
    perf_passage_t late = {1000, 1000};
    perf_link_cross(&link, 100, &first);
    perf_link_cross(&link, 50, &second);
    perf_link_cross(&link, 10, &late);
    assert_int_equal(first.last_ns, 300);
    assert_int_equal(second.first_ns, 300);
    assert_int_equal(second.last_ns, 400);
    assert_int_equal(late.last_ns, 1020); /* an idle link saves nothing up */
}

static void test_link_of_no_cost_takes_no_time(void **state)
{
    perf_link_t link = {0, 0};
    perf_passage_t passage = {5, 5};
    perf_link_cross(&link, 1 << 20, &passage);
    assert_int_equal(passage.last_ns, 5);
}

/* Cut-through: the frame pays for the slowest link only, whichever of them that is. */
static void test_link_several_cost_as_much_as_the_slowest(void **state)
{
    for (int slowest = 0; slowest < 4; slowest++) {
        perf_passage_t passage = {0, 0};
        for (int i = 0; i < 4; i++) {
            perf_link_t link = {i == slowest ? 10 : 1, 0};
            perf_link_cross(&link, 100, &passage);
        }
        assert_int_equal(passage.last_ns, 1000);
    }
}

/* Two senders to one receiver share its link; two receivers of one sender share the sender's. */
static void test_link_is_shared_by_all_that_use_it(void **state)
{
    perf_link_t out[2] = {{1, 0}, {1, 0}};
    perf_link_t in = {1, 0};
    int64_t last = 0;
    for (int i = 0; i < 10; i++) {
        perf_passage_t passage = {0, 0};
        perf_link_cross(&out[i % 2], 100, &passage);
        perf_link_cross(&in, 100, &passage);
        last = passage.last_ns;
    }
    assert_int_equal(last, 1000);
}

/* However large the frames and whatever else passes, what takes the same links stays in order. */
static void test_link_keeps_the_order_of_frames(void **state)
{
    perf_link_t out = {3, 0};
    perf_link_t uplink = {5, 0};
    perf_link_t in = {1, 0};
    int64_t before = 0;
    srand(1);
    for (int i = 0; i < 1000; i++) {
        int64_t now = (int64_t)50 * i;
        perf_passage_t passage = {now, now};
        perf_passage_t other = {now, now};
        perf_link_cross(&out, rand() % 100, &passage);
        perf_link_cross(&uplink, rand() % 100, &other);
        perf_link_cross(&uplink, rand() % 100, &passage);
        perf_link_cross(&in, rand() % 100, &passage);
        assert_true(passage.last_ns >= before);
        before = passage.last_ns;
    }
}

static void test_link_bytes_count_what_surrounds_each_frame(void **state)
{
    assert_int_equal(perf_link_bytes(1514, 1), 1538); /* the largest frame of Ethernet */
    assert_int_equal(perf_link_bytes(3028, 2), 2 * 1538);
}

static perf_frame_t *make_frame(int64_t due_ns, int port)
{
    perf_frame_t *frame = malloc(sizeof *frame);
    assert_non_null(frame);
    *frame = (perf_frame_t){.due_ns = due_ns, .port = port};
    return frame;
}

/* By time, and frames that are due together as they came. */
static void test_transit_gives_the_earliest_first(void **state)
{
    perf_transit_t transit = {NULL, 0, 0, 0};
    assert_null(perf_transit_first(&transit));
    srand(2);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(perf_transit_put(&transit, make_frame(rand() % 50, i)), 0);
    int64_t due = -1;
    int port = -1;
    for (int i = 0; i < 1000; i++) {
        const perf_frame_t *first = perf_transit_first(&transit);
        perf_frame_t *frame = perf_transit_take(&transit);
        assert_ptr_equal(frame, first);
        assert_true(frame->due_ns > due || (frame->due_ns == due && frame->port > port));
        due = frame->due_ns;
        port = frame->port;
        free(frame);
    }
    assert_null(perf_transit_first(&transit));
    perf_transit_release(&transit);
}

static void test_transit_release_frees_what_is_under_way(void **state)
{
    perf_transit_t transit = {NULL, 0, 0, 0};
    for (int i = 0; i < 100; i++)
        assert_int_equal(perf_transit_put(&transit, make_frame(i, 0)), 0);
    perf_transit_release(&transit);
    assert_null(perf_transit_first(&transit));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link_carries_one_frame_after_the_other),
        cmocka_unit_test(test_link_of_no_cost_takes_no_time),
        cmocka_unit_test(test_link_several_cost_as_much_as_the_slowest),
        cmocka_unit_test(test_link_is_shared_by_all_that_use_it),
        cmocka_unit_test(test_link_keeps_the_order_of_frames),
        cmocka_unit_test(test_link_bytes_count_what_surrounds_each_frame),
        cmocka_unit_test(test_transit_gives_the_earliest_first),
        cmocka_unit_test(test_transit_release_frees_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
