/* SPDX-License-Identifier: Apache-2.0
 * What follows from figures of carriers, and who is measured with whom. */
#include "src/transport/carrier_choice.h"
#include "tests/support/world.h"

#define NUM_RANKS 9

static tli_carrier_figures_t figures_of(double quick_ns, double quick_large_ns, double wide_ns, double wide_large_ns)
{
    tli_carrier_figures_t figures = {0};
    figures.of[0] = (tli_carrier_figure_t){.works = 1, .small_ns = quick_ns, .large_ns = quick_large_ns};
    figures.of[1] = (tli_carrier_figure_t){.works = 1, .small_ns = wide_ns, .large_ns = wide_large_ns};
    return figures;
}

static void test_carrier_estimate_goes_through_both_figures(void **state)
{
    tli_carrier_figure_t figure = {.works = 1, .small_ns = 1000, .large_ns = 9000};
    assert_true(tli_carrier_estimate_ns(&figure, TLI_PROBE_SMALL_BYTES) == 1000);
    assert_true(tli_carrier_estimate_ns(&figure, TLI_PROBE_LARGE_BYTES) == 9000);
    assert_true(tli_carrier_estimate_ns(&figure, 2 * TLI_PROBE_LARGE_BYTES) > 16000);
    assert_true(tli_carrier_estimate_ns(&figure, 1) == 1000);
}

/* Noise that makes the large parcel the faster one must not promise to move more in less than no time. */
static void test_carrier_estimate_of_noise_is_not_below_the_small_parcel(void **state)
{
    tli_carrier_figure_t figure = {.works = 1, .small_ns = 5000, .large_ns = 4000};
    assert_true(tli_carrier_estimate_ns(&figure, (int64_t)1 << 40) == 5000);
}

static void test_carrier_fastest_depends_on_bytes(void **state)
{
    tli_carrier_figures_t figures = figures_of(1000, 2e6, 20000, 1e5);
    assert_int_equal(tli_carrier_fastest(&figures, 2, 100), 0);
    assert_int_equal(tli_carrier_fastest(&figures, 2, (int64_t)64 << 20), 1);
    figures.of[1].works = 0;
    assert_int_equal(tli_carrier_fastest(&figures, 2, (int64_t)64 << 20), 0);
    figures.of[0].works = 0;
    assert_int_equal(tli_carrier_fastest(&figures, 2, 100), -1);
}

static void test_carrier_fastest_of_equals_is_the_first(void **state)
{
    tli_carrier_figures_t figures = figures_of(1000, 2000, 1000, 2000);
    assert_int_equal(tli_carrier_fastest(&figures, 2, 100), 0);
}

/* Whom a rank sends to receives from it, and is on another node; most ranks have such partners. */
static void check_partners(const int *node, int num_ranks, int least_pairs)
{
    int scratch[NUM_RANKS], to[NUM_RANKS], from[NUM_RANKS], num_pairs = 0;
    for (int r = 0; r < num_ranks; r++)
        tli_carrier_partners(node, num_ranks, r, scratch, &to[r], &from[r]);
    for (int r = 0; r < num_ranks; r++) {
        assert_true(to[r] < 0 || (node[to[r]] != node[r] && from[to[r]] == r));
        assert_true(from[r] < 0 || to[from[r]] == r);
        num_pairs += to[r] >= 0;
    }
    assert_true(num_pairs >= least_pairs);
}

static void test_carrier_partners_are_on_other_nodes(void **state)
{
    static const int even[] = {0, 0, 0, 1, 1, 1, 2, 2, 2}, cyclic[] = {0, 1, 2, 0, 1, 2, 0, 1, 2};
    static const int ragged[] = {0, 0, 0, 1, 2, 2, 2, 3}, uneven[] = {0, 0, 0, 1}, one[] = {0, 0, 0};
    check_partners(even, 9, 9);
    check_partners(cyclic, 9, 9);
    check_partners(ragged, 8, 8);
    check_partners(uneven, 4, 2);
    check_partners(one, 3, 0);
    check_partners(one, 1, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_carrier_estimate_goes_through_both_figures),
        cmocka_unit_test(test_carrier_estimate_of_noise_is_not_below_the_small_parcel),
        cmocka_unit_test(test_carrier_fastest_depends_on_bytes),
        cmocka_unit_test(test_carrier_fastest_of_equals_is_the_first),
        cmocka_unit_test(test_carrier_partners_are_on_other_nodes),
    };
    return cmocka_run_group_tests_name("src.carrier_choice", tests, NULL, NULL);
}
