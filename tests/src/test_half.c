/* SPDX-License-Identifier: Apache-2.0
 * f16 and bf16: all patterns, and rounding to nearest even of floats of all magnitudes. */
#include <float.h>
#include <math.h>

#include "half_reference.h"
#include "src/device/half.h"
#include "tests/support/world.h"

/* One format: the library's functions and the definition. */
typedef struct codec {
    const char *name;
    const half_format_t *format;
    float (*widen)(uint16_t half);
    uint16_t (*narrow)(float value);
    uint16_t infinity;
} codec_t;

static const codec_t codecs[] = {
    {"f16", &half_f16, tli_f32_from_f16, tli_f16_from_f32, 0x7c00},
    {"bf16", &half_bf16, tli_f32_from_bf16, tli_bf16_from_f32, 0x7f80},
};
#define NUM_CODECS 2

static int is_nan(const codec_t *codec, uint16_t half)
{
    return (half & 0x7fff) > codec->infinity;
}

static void check_narrow(const codec_t *codec, uint32_t bits)
{
    float value = tli_f32_from_bits(bits);
    uint16_t half = codec->narrow(value);
    if (isnan(value)) {
        if (!is_nan(codec, half) || (half >> 15) != (bits >> 31))
            fail_msg("%s of NaN %08x is %04x", codec->name, bits, half);
    } else if (half != half_reference_nearest(*codec->format, (double)value)) {
        fail_msg("%s of %a is %04x, not %04x", codec->name, (double)value, half,
                 half_reference_nearest(*codec->format, (double)value));
    }
}

static void check_around(const codec_t *codec, uint32_t bits)
{
    for (uint32_t at = bits - 2; at != bits + 3; at++) {
        check_narrow(codec, at);
        check_narrow(codec, at ^ 0x80000000u);
    }
}

static void test_widen_all_patterns_match_definition(void **state)
{
    for (int c = 0; c < NUM_CODECS; c++) {
        for (uint32_t half = 0; half < 0x10000; half++) {
            float value = codecs[c].widen((uint16_t)half);
            double expected = half_reference_value(*codecs[c].format, (uint16_t)half);
            int is_same = isnan(expected) ? isnan(value) : (double)value == expected;
            if (!is_same || (tli_bits_from_f32(value) >> 31) != half >> 15)
                fail_msg("%s %04x is %a, not %a", codecs[c].name, half, (double)value, expected);
        }
    }
}

static void test_narrow_all_patterns_round_trip(void **state)
{
    for (int c = 0; c < NUM_CODECS; c++) {
        for (uint32_t half = 0; half < 0x10000; half++) {
            uint16_t back = codecs[c].narrow(codecs[c].widen((uint16_t)half));
            int is_same = is_nan(&codecs[c], (uint16_t)half) ? is_nan(&codecs[c], back) && (back >> 15) == half >> 15
                                                             : back == half;
            if (!is_same)
                fail_msg("%s %04x comes back as %04x", codecs[c].name, half, back);
        }
    }
}

/* Halfway between neighbours, and the floats beside it; the last one lies between the largest number and infinity. */
static void test_narrow_ties_round_to_even(void **state)
{
    for (int c = 0; c < NUM_CODECS; c++) {
        for (uint32_t half = 0; half < codecs[c].infinity; half++) {
            float below = codecs[c].widen((uint16_t)half), above = codecs[c].widen((uint16_t)(half + 1));
            double middle = half + 1u < codecs[c].infinity
                                ? ((double)below + (double)above) / 2
                                : (double)below + ((double)below - (double)codecs[c].widen((uint16_t)(half - 1))) / 2;
            assert_true((double)(float)middle == middle);
            assert_int_equal(codecs[c].narrow((float)middle), half + (half & 1u));
            check_around(&codecs[c], tli_bits_from_f32((float)middle));
            check_around(&codecs[c], tli_bits_from_f32(below));
        }
    }
}

static void test_narrow_floats_of_all_magnitudes_match_definition(void **state)
{
    spt_random_t random = {3};
    for (int c = 0; c < NUM_CODECS; c++) {
        for (uint64_t bits = 0; bits <= UINT32_MAX; bits += 4099)
            check_narrow(&codecs[c], (uint32_t)bits);
        for (int i = 0; i < 500000; i++)
            check_narrow(&codecs[c], (uint32_t)spt_next(&random));
    }
}

static void test_narrow_edges(void **state)
{
    static const float edges[] = {0.0f,     FLT_TRUE_MIN, FLT_MIN,  FLT_MAX,  INFINITY,  65504.0f,  65519.99f,
                                  65520.0f, 0x1p-24f,     0x1p-25f, 0x1p-14f, 0x1p-133f, 0x1p-134f, 1.0f};
    for (int c = 0; c < NUM_CODECS; c++)
        for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
            check_around(&codecs[c], tli_bits_from_f32(edges[i]));
    assert_int_equal(tli_f16_from_f32(65504.0f), 0x7bff);
    assert_int_equal(tli_f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(tli_f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(tli_f16_from_f32(-INFINITY), 0xfc00);
    assert_int_equal(tli_f16_from_f32(0x1p-25f), 0x0000); /* a tie: to even */
    assert_int_equal(tli_f16_from_f32(0x1.8p-25f), 0x0001);
    assert_int_equal(tli_f16_from_f32(-0.0f), 0x8000);
    assert_int_equal(tli_bf16_from_f32(FLT_MAX), 0x7f80);
    assert_int_equal(tli_bf16_from_f32(-INFINITY), 0xff80);
    assert_int_equal(tli_bf16_from_f32(1.00390625f), 0x3f80); /* a tie: to even */
}

/* A NaN whose payload is in the low bits only must not become infinity, nor one of all ones wrap around to zero. */
static void test_narrow_every_nan_stays_nan(void **state)
{
    static const uint32_t nans[] = {0x7f800001, 0x7f80ffff, 0x7fffffff, 0x7fc00000, 0x7fffe000, 0x7f801fff, 0x7fff8000};
    for (int c = 0; c < NUM_CODECS; c++) {
        for (size_t i = 0; i < sizeof nans / sizeof *nans; i++) {
            check_narrow(&codecs[c], nans[i]);
            check_narrow(&codecs[c], nans[i] | 0x80000000u);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_widen_all_patterns_match_definition),
        cmocka_unit_test(test_narrow_all_patterns_round_trip),
        cmocka_unit_test(test_narrow_ties_round_to_even),
        cmocka_unit_test(test_narrow_floats_of_all_magnitudes_match_definition),
        cmocka_unit_test(test_narrow_edges),
        cmocka_unit_test(test_narrow_every_nan_stays_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
