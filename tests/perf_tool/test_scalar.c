/* SPDX-License-Identifier: Apache-2.0
 * Scalars: conversions against a definition written another way, comparison, and reduction against integers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "perf/reduce.h"
#include "perf/scalar.h"

static const tulle_datatype_t datatypes[] = {TULLE_F64, TULLE_F32, TULLE_F16, TULLE_BF16, TULLE_I8,  TULLE_I32,
                                             TULLE_I64, TULLE_U8,  TULLE_C64, TULLE_C128, TULLE_BYTE};
#define NUM_DATATYPES (sizeof datatypes / sizeof datatypes[0])

/* Value of a finite number of 16 bits, by the textbook. */
static double textbook_value(uint16_t bits, int fraction_bits, int bias)
{
    int exponent = (bits & 0x7fff) >> fraction_bits;
    double fraction = (double)(bits & ((1 << fraction_bits) - 1)) / (double)(1 << fraction_bits);
    double magnitude = exponent == 0 ? ldexp(fraction, 1 - bias) : ldexp(1 + fraction, exponent - bias);
    return bits & 0x8000 ? -magnitude : magnitude;
}

static void test_f16_every_number_converts_both_ways(void **state)
{
    for (int bits = 0; bits < 0x10000; bits++) {
        if ((bits & 0x7c00) == 0x7c00)
            continue;
        float value = perf_f16_to_float((uint16_t)bits);
        assert_true((double)value == textbook_value((uint16_t)bits, 10, 15));
        assert_int_equal(perf_f16_from_float(value), bits);
    }
}

static void test_bf16_every_number_converts_both_ways(void **state)
{
    for (int bits = 0; bits < 0x10000; bits++) {
        if ((bits & 0x7f80) == 0x7f80)
            continue;
        float value = perf_bf16_to_float((uint16_t)bits);
        assert_true((double)value == textbook_value((uint16_t)bits, 7, 127));
        assert_int_equal(perf_bf16_from_float(value), bits);
    }
}

/* The middle between neighbours goes to the even one, what is next to the middle to its own side. */
static void test_f16_rounds_to_nearest_even(void **state)
{
    for (int bits = 0; bits < 0x7bff; bits++) {
        float low = perf_f16_to_float((uint16_t)bits);
        float high = perf_f16_to_float((uint16_t)(bits + 1));
        float middle = low + (high - low) / 2;
        assert_int_equal(perf_f16_from_float(middle), bits + (bits & 1));
        assert_int_equal(perf_f16_from_float(nextafterf(middle, low)), bits);
        assert_int_equal(perf_f16_from_float(nextafterf(middle, high)), bits + 1);
    }
}

static void test_half_types_keep_infinity_and_nan(void **state)
{
    assert_int_equal(perf_f16_from_float(INFINITY), 0x7c00);
    assert_int_equal(perf_f16_from_float(-INFINITY), 0xfc00);
    assert_int_equal(perf_f16_from_float(65519.0f), 0x7bff);
    assert_int_equal(perf_f16_from_float(65520.0f), 0x7c00);
    assert_int_equal(perf_bf16_from_float(INFINITY), 0x7f80);
    assert_true(isnan(perf_f16_to_float(perf_f16_from_float(NAN))));
    assert_true(isnan(perf_bf16_to_float(perf_bf16_from_float(-NAN))));
    assert_true(isinf(perf_f16_to_float(0x7c00)));
}

static void test_exact_limit_is_exact(void **state)
{
    for (size_t t = 0; t < NUM_DATATYPES; t++) {
        int64_t limit = perf_scalar_exact_limit(datatypes[t]);
        int64_t values[4] = {limit - 1, limit - 2, perf_scalar_is_unsigned(datatypes[t]) ? 0 : -limit, 1};
        _Alignas(16) char stored[64];
        _Alignas(16) char other[64];
        perf_scalar_store(datatypes[t], values, 4, stored);
        /* All different, although neighbours: nothing was rounded together. */
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < i; j++) {
                int64_t pairs[4] = {values[i], values[i], values[j], values[j]};
                perf_scalar_store(datatypes[t], pairs, 4, other);
                size_t half = tulle_datatype_size(datatypes[t]) * 2 / (size_t)perf_scalar_parts(datatypes[t]);
                assert_true(memcmp(other, other + half, half) != 0);
            }
    }
}

static void test_count_wrong_counts_scalars(void **state)
{
    for (size_t t = 0; t < NUM_DATATYPES; t++) {
        int parts = perf_scalar_parts(datatypes[t]);
        int64_t values[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
        _Alignas(16) char a[192];
        _Alignas(16) char b[192];
        perf_scalar_store(datatypes[t], values, 6 * parts, a);
        values[0] = 100;         /* the first scalar */
        values[parts] = 100;     /* the second, in its first part */
        values[6 * parts - 1]++; /* the last, in its last part */
        perf_scalar_store(datatypes[t], values, 6 * parts, b);
        assert_int_equal(perf_scalar_count_wrong(datatypes[t], a, a, 6), 0);
        assert_int_equal(perf_scalar_count_wrong(datatypes[t], a, b, 6), 3);
    }
}

static void test_count_wrong_zeros_are_equal_and_nan_is_not(void **state)
{
    float zeros[2] = {0.0f, -0.0f};
    float numbers[2] = {1.0f, NAN};
    uint16_t halves[2] = {0x0000, 0x8000};
    assert_int_equal(perf_scalar_count_wrong(TULLE_F32, &zeros[0], &zeros[1], 1), 0);
    assert_int_equal(perf_scalar_count_wrong(TULLE_F16, &halves[0], &halves[1], 1), 0);
    assert_int_equal(perf_scalar_count_wrong(TULLE_BF16, &halves[0], &halves[1], 1), 0);
    assert_int_equal(perf_scalar_count_wrong(TULLE_F32, &numbers[0], &numbers[1], 1), 1);
}

static int64_t reduce_integers(tulle_op_t op, int64_t a, int64_t b)
{
    switch (op) {
    case TULLE_OP_SUM:
        return a + b;
    case TULLE_OP_PROD:
        return a * b;
    case TULLE_OP_MIN:
        return a < b ? a : b;
    case TULLE_OP_MAX:
        return a > b ? a : b;
    default:
        return b;
    }
}

static void check_reduction(tulle_datatype_t datatype, tulle_op_t op)
{
    int64_t into[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    int64_t from[8] = {7, 1, 9, 2, 4, 0, 3, 11};
    int64_t result[8];
    _Alignas(16) char a[64];
    _Alignas(16) char b[64];
    _Alignas(16) char expected[64];
    for (int i = 0; i < 8; i++)
        result[i] = reduce_integers(op, into[i], from[i]);
    perf_scalar_store(datatype, into, 8, a);
    perf_scalar_store(datatype, from, 8, b);
    perf_scalar_store(datatype, result, 8, expected);
    perf_reduce(datatype, op, b, a, 8 / perf_scalar_parts(datatype));
    assert_int_equal(perf_scalar_count_wrong(datatype, a, expected, 8 / perf_scalar_parts(datatype)), 0);
    if (op == TULLE_OP_REPLACE)
        return;
    perf_reduce_fill_identity(datatype, op, b, 8 / perf_scalar_parts(datatype));
    perf_reduce(datatype, op, b, a, 8 / perf_scalar_parts(datatype));
    assert_int_equal(perf_scalar_count_wrong(datatype, a, expected, 8 / perf_scalar_parts(datatype)), 0);
}

static void test_reduce_agrees_with_integers(void **state)
{
    for (size_t t = 0; t < NUM_DATATYPES - 3; t++) /* real ones */
        for (int op = TULLE_OP_SUM; op <= TULLE_OP_REPLACE; op++)
            check_reduction(datatypes[t], (tulle_op_t)op);
    for (size_t t = NUM_DATATYPES - 3; t < NUM_DATATYPES - 1; t++) {
        check_reduction(datatypes[t], TULLE_OP_SUM);
        check_reduction(datatypes[t], TULLE_OP_REPLACE);
    }
    check_reduction(TULLE_BYTE, TULLE_OP_REPLACE);
}

static void test_reduce_complex_product(void **state)
{
    double into[2] = {1, 2};
    double from[2] = {3, 4};
    float into_single[2] = {1, 2};
    float from_single[2] = {3, 4};
    perf_reduce(TULLE_C128, TULLE_OP_PROD, from, into, 1);
    perf_reduce(TULLE_C64, TULLE_OP_PROD, from_single, into_single, 1);
    assert_true(into[0] == -5 && into[1] == 10);
    assert_true(into_single[0] == -5 && into_single[1] == 10);
    perf_reduce_fill_identity(TULLE_C128, TULLE_OP_PROD, from, 1);
    perf_reduce(TULLE_C128, TULLE_OP_PROD, from, into, 1);
    assert_true(into[0] == -5 && into[1] == 10);
}

static void test_reduce_integers_wrap_around(void **state)
{
    int32_t into = INT32_MAX;
    int32_t from = 1;
    int8_t small_into = 100;
    int8_t small_from = 100;
    perf_reduce(TULLE_I32, TULLE_OP_SUM, &from, &into, 1);
    perf_reduce(TULLE_I8, TULLE_OP_SUM, &small_from, &small_into, 1);
    assert_int_equal(into, INT32_MIN);
    assert_int_equal(small_into, -56);
}

static void test_reduce_knows_what_the_contract_says(void **state)
{
    assert_false(perf_reduce_knows(TULLE_BYTE, TULLE_OP_SUM));
    assert_false(perf_reduce_knows(TULLE_BYTE, TULLE_OP_MIN));
    assert_true(perf_reduce_knows(TULLE_BYTE, TULLE_OP_REPLACE));
    assert_false(perf_reduce_knows(TULLE_C64, TULLE_OP_MIN));
    assert_false(perf_reduce_knows(TULLE_C128, TULLE_OP_MAX));
    assert_true(perf_reduce_knows(TULLE_C128, TULLE_OP_PROD));
    assert_true(perf_reduce_knows(TULLE_F16, TULLE_OP_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_f16_every_number_converts_both_ways),
        cmocka_unit_test(test_bf16_every_number_converts_both_ways),
        cmocka_unit_test(test_f16_rounds_to_nearest_even),
        cmocka_unit_test(test_half_types_keep_infinity_and_nan),
        cmocka_unit_test(test_exact_limit_is_exact),
        cmocka_unit_test(test_count_wrong_counts_scalars),
        cmocka_unit_test(test_count_wrong_zeros_are_equal_and_nan_is_not),
        cmocka_unit_test(test_reduce_agrees_with_integers),
        cmocka_unit_test(test_reduce_complex_product),
        cmocka_unit_test(test_reduce_integers_wrap_around),
        cmocka_unit_test(test_reduce_knows_what_the_contract_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
