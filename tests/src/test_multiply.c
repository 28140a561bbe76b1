/* SPDX-License-Identifier: Apache-2.0
 * Products of a sparse block and rows against sums in double, whose terms are integers: exact in any order. */
#include <stdlib.h>

#include "src/device/multiply.h"
#include "tests/support/world.h"

enum { NUM_ROWS = 23, NUM_COLS = 17, MOST_NONZEROS = 30, UNTOUCHED = 77 };

static spt_random_t stream = {11};

static int draw(int below)
{
    return (int)spt_below(&stream, below);
}

typedef struct case_ {
    int64_t row_ptr[NUM_ROWS + 1];
    int32_t row[NUM_ROWS], col[NUM_ROWS * MOST_NONZEROS];
    double value[NUM_ROWS * MOST_NONZEROS];
    int is_f64;
    int64_t width, b_stride, c_stride, shift; /* [scalars] by which C misses a line */
} case_t;

/* Rows of no nonzero up to many, in no order. */
static case_t make_case(int is_f64, int64_t width, int is_aligned)
{
    case_t c = {.is_f64 = is_f64, .width = width, .shift = is_aligned ? 0 : 1};
    c.b_stride = width + draw(4);
    c.c_stride = is_aligned ? (width + 15) / 16 * 16 : width + draw(4);
    for (int i = 0; i < NUM_ROWS; i++) {
        c.row[i] = (i * 7) % NUM_ROWS;
        c.row_ptr[i + 1] = c.row_ptr[i] + draw(i % 4 == 0 ? MOST_NONZEROS : 5);
    }
    for (int64_t e = 0; e < c.row_ptr[NUM_ROWS]; e++) {
        c.col[e] = draw(NUM_COLS);
        c.value[e] = draw(7) - 3;
    }
    return c;
}

static void *new_scalars(const case_t *c, int64_t n)
{
    size_t bytes = ((size_t)n * (c->is_f64 ? sizeof(double) : sizeof(float)) + 63) / 64 * 64;
    void *memory = aligned_alloc(64, bytes);
    assert_non_null(memory);
    return memory;
}

static void set(const case_t *c, void *scalars, int64_t at, double value)
{
    if (c->is_f64)
        ((double *)scalars)[at] = value;
    else
        ((float *)scalars)[at] = (float)value;
}

static double get(const case_t *c, const void *scalars, int64_t at)
{
    return c->is_f64 ? ((const double *)scalars)[at] : (double)((const float *)scalars)[at];
}

static double b_of(int64_t row, int64_t k)
{
    return (double)((row * 5 + k * 3) % 13 - 6);
}

static double expected(const case_t *c, int64_t i, int64_t k, double alpha, double beta)
{
    double sum = 0;
    for (int64_t e = c->row_ptr[i]; e < c->row_ptr[i + 1]; e++)
        sum += c->value[e] * b_of(c->col[e], k);
    return alpha * sum + (beta == 0 ? 0 : beta * UNTOUCHED);
}

static void check_rows(const case_t *c, const void *result, double alpha, double beta)
{
    for (int64_t i = 0; i < NUM_ROWS; i++)
        for (int64_t k = 0; k < c->c_stride; k++) {
            double is = get(c, result, c->shift + c->row[i] * c->c_stride + k);
            double must = k < c->width ? expected(c, i, k, alpha, beta) : UNTOUCHED;
            assert_true(is == must);
        }
}

/* In two pieces, as products are run. */
static void check_case(case_t *c, int is_far, int num_threads, double beta)
{
    tli_arena_t arena = TLI_ARENA_INIT;
    const int64_t scalars = c->shift + NUM_ROWS * c->c_stride;
    void *values = new_scalars(c, NUM_ROWS * MOST_NONZEROS), *b = new_scalars(c, NUM_COLS * c->b_stride);
    void *result = new_scalars(c, scalars);
    for (int64_t e = 0; e < c->row_ptr[NUM_ROWS]; e++)
        set(c, values, e, c->value[e]);
    for (int64_t j = 0; j < NUM_COLS * c->b_stride; j++)
        set(c, b, j, j % c->b_stride < c->width ? b_of(j / c->b_stride, j % c->b_stride) : UNTOUCHED);
    for (int64_t at = 0; at < scalars; at++)
        set(c, result, at, UNTOUCHED);
    tli_sparse_t block = {.num_rows = NUM_ROWS,
                          .num_cols = NUM_COLS,
                          .row = c->row,
                          .row_ptr = c->row_ptr,
                          .col = c->col,
                          .values = values};
    tli_multiply_args_t args = {.block = &block,
                                .datatype = c->is_f64 ? TULLE_F64 : TULLE_F32,
                                .width = c->width,
                                .b = b,
                                .b_stride = c->b_stride,
                                .c = (char *)result + c->shift * (c->is_f64 ? 8 : 4),
                                .c_stride = c->c_stride,
                                .alpha = 2,
                                .beta = beta,
                                .is_b_far = is_far,
                                .is_far = is_far,
                                .num_threads = num_threads};
    if (args.is_b_far)
        assert_int_equal(tli_sparse_list_fresh(&arena, &block), TULLE_OK);
    args.last = 1 + draw(NUM_ROWS - 1);
    tli_multiply(&args);
    args.first = args.last;
    args.last = NUM_ROWS;
    tli_multiply(&args);
    check_rows(c, result, args.alpha, beta);
    tli_arena_release(&arena);
    free(values);
    free(b);
    free(result);
}

static void check_widths(int is_far, int is_aligned)
{
    static const int64_t widths[] = {1, 2, 3, 4, 7, 8, 15, 16, 17, 24, 31, 32, 48, 64, 65, 100, 128, 255, 256, 272};
    for (int w = 0; w < (int)(sizeof widths / sizeof *widths); w++)
        for (int way = 0; way < 8; way++) {
            case_t c = make_case(way & 1, widths[w], is_aligned);
            check_case(&c, is_far, way & 2 ? 3 : 1, way & 4 ? 3 : 0);
        }
}

static void test_multiply_equals_serial_sums(void **state)
{
    (void)state;
    check_widths(0, 0);
    check_widths(0, 1);
}

static void test_multiply_of_far_rows_equals_serial_sums_aligned_or_not(void **state)
{
    (void)state;
    check_widths(1, 0);
    check_widths(1, 1);
}

/* Each column that is used is in the list once, with the first row that uses it. */
static void test_multiply_lists_columns_by_their_first_row(void **state)
{
    (void)state;
    case_t c = make_case(0, 8, 1);
    tli_arena_t arena = TLI_ARENA_INIT;
    tli_sparse_t block = {.num_rows = NUM_ROWS, .num_cols = NUM_COLS, .row_ptr = c.row_ptr, .col = c.col};
    int64_t first[NUM_COLS], listed[NUM_COLS];
    for (int64_t j = 0; j < NUM_COLS; j++)
        first[j] = listed[j] = -1;
    for (int64_t i = NUM_ROWS - 1; i >= 0; i--)
        for (int64_t e = c.row_ptr[i]; e < c.row_ptr[i + 1]; e++)
            first[c.col[e]] = i;
    assert_int_equal(tli_sparse_list_fresh(&arena, &block), TULLE_OK);
    assert_int_equal(block.fresh_ptr[0], 0);
    for (int64_t i = 0; i < NUM_ROWS; i++)
        for (int64_t f = block.fresh_ptr[i]; f < block.fresh_ptr[i + 1]; f++) {
            assert_int_equal(listed[block.fresh[f]], -1);
            listed[block.fresh[f]] = i;
        }
    assert_memory_equal(listed, first, sizeof first);
    assert_true(tli_sparse_is_b_far(&block, TULLE_F32, 8, block.fresh_ptr[NUM_ROWS] * 32));
    assert_false(tli_sparse_is_b_far(&block, TULLE_F32, 8, block.fresh_ptr[NUM_ROWS] * 32 + 1));
    tli_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multiply_equals_serial_sums),
        cmocka_unit_test(test_multiply_lists_columns_by_their_first_row),
        cmocka_unit_test(test_multiply_of_far_rows_equals_serial_sums_aligned_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
