/* SPDX-License-Identifier: Apache-2.0
 * The oracle: in every datatype its result is that of reducing real scalars, whatever the order and grouping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "perf/reduce.h"
#include "perf/scalar.h"
#include "perf/values.h"

#define WIDTH     5
#define MAX_RANKS 64
#define ROW_BYTES (WIDTH * 16)

static const tulle_datatype_t datatypes[] = {TULLE_F64, TULLE_F32, TULLE_F16, TULLE_BF16, TULLE_I8,  TULLE_I32,
                                             TULLE_I64, TULLE_U8,  TULLE_C64, TULLE_C128, TULLE_BYTE};
#define NUM_DATATYPES (sizeof datatypes / sizeof datatypes[0])

typedef struct rows {
    _Alignas(16) char owned[ROW_BYTES];
    _Alignas(16) char expected[ROW_BYTES];
    _Alignas(16) char ghost[MAX_RANKS][ROW_BYTES];
} rows_t;

static uint64_t next_draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Reduce the contributions pairwise in a drawn order until one is left, as a hierarchy of partial sums would. */
static void reduce_as_tree(const perf_values_t *values, rows_t *rows, int num, uint64_t *draws)
{
    while (num > 1) {
        int a = (int)(next_draw(draws) % (uint64_t)num);
        int b = (int)(next_draw(draws) % (uint64_t)(num - 1));
        b += b >= a;
        perf_reduce(values->datatype, values->op, rows->ghost[a], rows->ghost[b], WIDTH);
        num--;
        memmove(rows->ghost[a], rows->ghost[num], ROW_BYTES);
    }
    if (num > 0)
        perf_reduce(values->datatype, values->op, rows->ghost[0], rows->owned, WIDTH);
}

static void check_row(const perf_values_t *values, int64_t id, int num_ranks, uint64_t *draws)
{
    rows_t rows = {{0}, {0}, {{0}}};
    int ranks[MAX_RANKS];
    int num = 0;
    for (int r = 0; r < num_ranks; r++)
        if (id % 3 == 0 || next_draw(draws) % 2 == 0)
            ranks[num++] = r;
    perf_values_owned(values, id, rows.owned);
    for (int i = 0; i < num; i++)
        perf_values_ghost(values, id, ranks[i], rows.ghost[i]);
    perf_values_reduced(values, id, ranks, num, rows.expected);
    reduce_as_tree(values, &rows, num, draws);
    assert_int_equal(perf_scalar_count_wrong(values->datatype, rows.owned, rows.expected, WIDTH), 0);
}

static void test_reduced_is_what_any_order_gives(void **state)
{
    static const int sizes[] = {1, 2, 7, 16, 41, MAX_RANKS};
    uint64_t draws = 1;
    for (size_t t = 0; t < NUM_DATATYPES; t++)
        for (int op = TULLE_OP_SUM; op <= TULLE_OP_REPLACE; op++)
            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
                tli_arena_t arena = TLI_ARENA_INIT;
                perf_values_t values;
                if (!perf_reduce_knows(datatypes[t], (tulle_op_t)op))
                    continue;
                assert_int_equal(
                    perf_values_init(TULLE_SCATTER, datatypes[t], (tulle_op_t)op, WIDTH, sizes[s], &arena, &values),
                    TULLE_OK);
                for (int64_t id = 0; id < 60; id++)
                    check_row(&values, id + ((int64_t)1 << 41), sizes[s], &draws);
                tli_arena_release(&arena);
            }
}

static void test_reduced_without_ranks_is_owned(void **state)
{
    for (int op = TULLE_OP_SUM; op <= TULLE_OP_REPLACE; op++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        perf_values_t values;
        _Alignas(16) char owned[ROW_BYTES];
        _Alignas(16) char reduced[ROW_BYTES];
        assert_int_equal(perf_values_init(TULLE_SCATTER, TULLE_F32, (tulle_op_t)op, WIDTH, 8, &arena, &values),
                         TULLE_OK);
        perf_values_owned(&values, 12, owned);
        perf_values_reduced(&values, 12, NULL, 0, reduced);
        assert_int_equal(perf_scalar_count_wrong(TULLE_F32, owned, reduced, WIDTH), 0);
        tli_arena_release(&arena);
    }
}

static void test_replace_contributions_are_equal_and_new_in_every_scalar(void **state)
{
    for (size_t t = 0; t < NUM_DATATYPES; t++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        perf_values_t values;
        _Alignas(16) char owned[ROW_BYTES];
        _Alignas(16) char first[ROW_BYTES];
        _Alignas(16) char second[ROW_BYTES];
        assert_int_equal(perf_values_init(TULLE_SCATTER, datatypes[t], TULLE_OP_REPLACE, WIDTH, 8, &arena, &values),
                         TULLE_OK);
        for (int64_t id = 0; id < 200; id++) {
            perf_values_owned(&values, id, owned);
            perf_values_ghost(&values, id, 0, first);
            perf_values_ghost(&values, id, 7, second);
            assert_int_equal(perf_scalar_count_wrong(datatypes[t], first, second, WIDTH), 0);
            assert_int_equal(perf_scalar_count_wrong(datatypes[t], owned, first, WIDTH), WIDTH);
        }
        tli_arena_release(&arena);
    }
}

static void test_gather_rows_differ(void **state)
{
    for (size_t t = 0; t < NUM_DATATYPES; t++) {
        tli_arena_t arena = TLI_ARENA_INIT;
        perf_values_t values;
        _Alignas(16) char one[ROW_BYTES];
        _Alignas(16) char other[ROW_BYTES];
        assert_int_equal(perf_values_init(TULLE_GATHER, datatypes[t], TULLE_OP_SUM, WIDTH, 8, &arena, &values),
                         TULLE_OK);
        for (int64_t id = 0; id < 200; id++) {
            perf_values_owned(&values, id, one);
            perf_values_owned(&values, id + 1, other);
            assert_true(perf_scalar_count_wrong(datatypes[t], one, other, WIDTH) > 0);
        }
        tli_arena_release(&arena);
    }
}

static void test_init_refuses_what_cannot_be_checked(void **state)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    perf_values_t values;
    assert_int_equal(perf_values_init(TULLE_SCATTER, TULLE_BYTE, TULLE_OP_SUM, 1, 2, &arena, &values),
                     TULLE_ERR_UNSUPPORTED);
    assert_int_equal(perf_values_init(TULLE_SCATTER, TULLE_BF16, TULLE_OP_SUM, 1, 255, &arena, &values), TULLE_OK);
    assert_int_equal(perf_values_init(TULLE_SCATTER, TULLE_BF16, TULLE_OP_SUM, 1, 256, &arena, &values),
                     TULLE_ERR_UNSUPPORTED);
    assert_int_equal(perf_values_init(TULLE_SCATTER, TULLE_BF16, TULLE_OP_MAX, 1, 256, &arena, &values), TULLE_OK);
    tli_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reduced_is_what_any_order_gives),
        cmocka_unit_test(test_reduced_without_ranks_is_owned),
        cmocka_unit_test(test_replace_contributions_are_equal_and_new_in_every_scalar),
        cmocka_unit_test(test_gather_rows_differ),
        cmocka_unit_test(test_init_refuses_what_cannot_be_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
