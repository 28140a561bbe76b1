/* SPDX-License-Identifier: Apache-2.0
 * The Hilbert curve as its contract words it, in every rectangle up to a size and in some large ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "perf/curve.h"

#define MOST_SIDE 40

/* Follows the curve; returns how many of its steps lead over a corner. */
static int walk(int64_t width, int64_t height)
{
    static unsigned char is_visited[MOST_SIDE][MOST_SIDE];
    int64_t before[2] = {0, 0};
    int num_corners = 0;
    memset(is_visited, 0, sizeof is_visited);
    for (int64_t index = 0; index < width * height; index++) {
        int64_t x = -1;
        int64_t y = -1;
        perf_curve_cell(width, height, index, &x, &y);
        assert_true(x >= 0 && x < width && y >= 0 && y < height && !is_visited[y][x]);
        assert_int_equal(perf_curve_index(width, height, x, y), index);
        is_visited[y][x] = 1;
        assert_true(llabs(x - before[0]) <= 1 && llabs(y - before[1]) <= 1);
        num_corners += x != before[0] && y != before[1];
        before[0] = x;
        before[1] = y;
    }
    return num_corners;
}

static void test_curve_visits_every_cell_once_by_neighbours(void **state)
{
    for (int64_t width = 1; width <= MOST_SIDE; width++)
        for (int64_t height = 1; height <= MOST_SIDE; height++) {
            int64_t longer = width > height ? width : height;
            int64_t shorter = width + height - longer;
            int has_corner = shorter > 2 && longer % 2 == 1 && shorter % 2 == 0;
            assert_int_equal(walk(width, height), has_corner);
        }
}

static void test_curve_index_and_cell_are_inverse_in_large_rectangles(void **state)
{
    static const int64_t sizes[][2] = {{1 << 20, 1 << 20}, {1000003, 999}, {7, (int64_t)1 << 50}, {1 << 30, 1}};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        int64_t num_cells = sizes[k][0] * sizes[k][1];
        for (int64_t i = 0; i <= 1000; i++) {
            int64_t index = i < 1000 ? num_cells / 1000 * i : num_cells - 1;
            int64_t x = -1;
            int64_t y = -1;
            perf_curve_cell(sizes[k][0], sizes[k][1], index, &x, &y);
            assert_true(x >= 0 && x < sizes[k][0] && y >= 0 && y < sizes[k][1]);
            assert_int_equal(perf_curve_index(sizes[k][0], sizes[k][1], x, y), index);
        }
    }
}

/* Hilbert's own case: whatever the power of two, an aligned square is one stretch of the curve. */
static void test_curve_fills_aligned_squares_one_after_the_other(void **state)
{
    for (int64_t square = 2; square <= 32; square *= 2)
        for (int64_t start = 0; start < 32 * 32; start += square * square) {
            int64_t x = 0;
            int64_t y = 0;
            int64_t corner[2];
            perf_curve_cell(32, 32, start, &x, &y);
            corner[0] = x / square;
            corner[1] = y / square;
            for (int64_t index = start; index < start + square * square; index++) {
                perf_curve_cell(32, 32, index, &x, &y);
                assert_int_equal(x / square, corner[0]);
                assert_int_equal(y / square, corner[1]);
            }
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_curve_visits_every_cell_once_by_neighbours),
        cmocka_unit_test(test_curve_index_and_cell_are_inverse_in_large_rectangles),
        cmocka_unit_test(test_curve_fills_aligned_squares_one_after_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
