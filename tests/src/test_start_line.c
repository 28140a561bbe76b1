/* SPDX-License-Identifier: Apache-2.0
 * Ranks that come at different times begin together, none before the last. */
#include <time.h>

#include "src/start_line.h"
#include "tests/support/world.h"

static double of_all(double value, MPI_Op op)
{
    MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_DOUBLE, op, MPI_COMM_WORLD);
    return value;
}

/* This rank's arrival, some later than others, and what the line says. */
static double arrive(tli_start_line_t *line, double *began_out)
{
    struct timespec delay = {0, 3000000L * spt_rank()};
    nanosleep(&delay, NULL);
    double arrived = tli_clock();
    spt_assert_ok_all(tli_start_together(line, began_out));
    spt_assert_all(tli_clock() >= *began_out);
    return arrived;
}

static void test_start_line_common_clock_all_begin_at_one_moment(void **state)
{
    tli_start_line_t line;
    spt_assert_ok_all(tli_start_line_create(MPI_COMM_WORLD, &line));
    spt_assert_all(line.has_common_clock);
    for (int i = 0; i < 5; i++) {
        double began = 0;
        double arrived = arrive(&line, &began);
        assert_true(of_all(began, MPI_MIN) == of_all(began, MPI_MAX));
        assert_true(of_all(arrived, MPI_MAX) <= began);
    }
}

static void test_start_line_other_clocks_none_begins_before_the_last_came(void **state)
{
    tli_start_line_t line;
    spt_assert_ok_all(tli_start_line_create(MPI_COMM_WORLD, &line));
    line.has_common_clock = 0;
    for (int i = 0; i < 5; i++) {
        double began = 0;
        double arrived = arrive(&line, &began);
        assert_true(of_all(arrived, MPI_MAX) <= of_all(began, MPI_MIN));
    }
}

/* With no time to tell everybody, somebody hears of the moment when it is over, and asks for more. */
static void test_start_line_too_short_a_lead_grows(void **state)
{
    tli_start_line_t line;
    spt_assert_ok_all(tli_start_line_create(MPI_COMM_WORLD, &line));
    line.lead = 0;
    for (int i = 0; i < 20; i++) {
        double began = 0;
        spt_assert_ok_all(tli_start_together(&line, &began));
    }
    assert_true(of_all(line.lead, MPI_MAX) > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_start_line_common_clock_all_begin_at_one_moment),
        spt_test(test_start_line_other_clocks_none_begins_before_the_last_came),
        spt_test(test_start_line_too_short_a_lead_grows),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
