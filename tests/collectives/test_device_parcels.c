/* SPDX-License-Identifier: Apache-2.0
 * How the parcels of a stage fall into parts, on plain data. */
#include "collectives/device.h"
#include "tests/support/world.h"

#define LEAST 1000

enum { MOST = 40 };

/* Parcels of the given sizes, all of one stage. @return number of parts */
static int divide(const int64_t *bytes, int n, int64_t least_bytes, tli_parcel_t *parcels)
{
    for (int p = 0; p < n; p++)
        parcels[p] = (tli_parcel_t){.peer = p, .stage = 2, .bytes = bytes[p], .part = -1};
    tli_parcels_divide(parcels, n, 2, least_bytes);
    return n > 0 ? parcels[n - 1].part + 1 : 0;
}

static void assert_parts(const int64_t *bytes, int n, const int *parts)
{
    tli_parcel_t parcels[MOST];
    divide(bytes, n, LEAST, parcels);
    for (int p = 0; p < n; p++)
        assert_int_equal(parcels[p].part, parts[p]);
}

static void test_parts_of_long_parcels_are_one_each(void **state)
{
    assert_parts((int64_t[]){1000}, 1, (int[]){0});
    assert_parts((int64_t[]){1000, 1000}, 2, (int[]){0, 1});
    assert_parts((int64_t[]){5000, 6000, 7000, 8000}, 4, (int[]){0, 0, 1, 2});
    assert_parts((int64_t[]){5000, 5000, 5000, 5000}, 4, (int[]){0, 1, 2, 3});
}

static void test_parts_of_short_parcels_are_joined(void **state)
{
    assert_parts((int64_t[]){10, 20, 30}, 3, (int[]){0, 0, 0});
    assert_parts((int64_t[]){999, 1000}, 2, (int[]){0, 0});
    assert_parts((int64_t[]){1000, 999}, 2, (int[]){0, 0});
    assert_parts((int64_t[]){600, 600, 600, 600}, 4, (int[]){0, 0, 1, 1});
}

static void test_parts_of_what_comes_together_are_one(void **state)
{
    tli_parcel_t parcels[MOST];
    assert_int_equal(divide((int64_t[]){5000, INT64_MAX / 4, 5000}, 3, INT64_MAX, parcels), 1);
}

static void test_parts_of_another_stage_are_left_alone(void **state)
{
    tli_parcel_t parcels[] = {
        {.stage = 0, .bytes = 5000}, {.stage = 1, .bytes = 5000, .part = 7}, {.stage = 0, .bytes = 5000}};
    tli_parcels_divide(parcels, 3, 0, LEAST);
    assert_int_equal(parcels[0].part, 0);
    assert_int_equal(parcels[1].part, 7);
    assert_int_equal(parcels[2].part, 1);
}

static void test_parts_of_any_parcels_are_few_long_and_in_order(void **state)
{
    for (uint64_t seed = 0; seed < 2000; seed++) {
        spt_random_t random = {seed};
        tli_parcel_t parcels[MOST];
        int64_t bytes[MOST], of_part[TLI_MOST_PARTS] = {0}, most = 1 + spt_below(&random, 8 * LEAST);
        int n = 1 + (int)spt_below(&random, MOST);
        for (int p = 0; p < n; p++)
            bytes[p] = 1 + spt_below(&random, most);
        int num_parts = divide(bytes, n, LEAST, parcels);
        assert_in_range(num_parts, 1, TLI_MOST_PARTS);
        assert_int_equal(parcels[0].part, 0);
        for (int p = 0; p < n; p++) {
            assert_in_range(parcels[p].part - (p > 0 ? parcels[p - 1].part : 0), 0, 1);
            of_part[parcels[p].part] += bytes[p];
        }
        for (int part = 0; part < num_parts; part++)
            assert_true(num_parts == 1 || of_part[part] >= LEAST);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_of_long_parcels_are_one_each),
        cmocka_unit_test(test_parts_of_short_parcels_are_joined),
        cmocka_unit_test(test_parts_of_what_comes_together_are_one),
        cmocka_unit_test(test_parts_of_another_stage_are_left_alone),
        cmocka_unit_test(test_parts_of_any_parcels_are_few_long_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
