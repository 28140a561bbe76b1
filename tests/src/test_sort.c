/* SPDX-License-Identifier: Apache-2.0
 * The radix sort against qsort: every record size and key, few and many records, keys of all magnitudes. */
#include <stdlib.h>
#include <string.h>

#include "src/sort.h"
#include "tests/support/world.h"

/* A record and where it was: equal keys keep that order. */
typedef struct placed {
    int64_t key;
    int64_t position;
} placed_t;

static int compare_placed(const void *a, const void *b)
{
    const placed_t *x = a, *y = b;
    int by_key = (x->key > y->key) - (x->key < y->key);
    return by_key != 0 ? by_key : (x->position > y->position) - (x->position < y->position);
}

static int64_t *new_words(int64_t n)
{
    int64_t *words = calloc((size_t)n + 1, sizeof *words);
    assert_non_null(words);
    return words;
}

static void check_against_qsort(const int64_t *records, int64_t n, int words, int key)
{
    int64_t *sorted = new_words(n * words), *scratch = new_words(n * words);
    placed_t *expected = calloc((size_t)n + 1, sizeof *expected);
    assert_non_null(expected);
    memcpy(sorted, records, (size_t)(n * words) * sizeof *sorted);
    for (int64_t i = 0; i < n; i++)
        expected[i] = (placed_t){records[i * words + key], i};
    qsort(expected, (size_t)n, sizeof *expected, compare_placed);
    tli_sort(sorted, scratch, n, words, key);
    for (int64_t i = 0; i < n; i++)
        if (memcmp(sorted + i * words, records + expected[i].position * words, (size_t)words * sizeof *sorted) != 0)
            fail_msg("record %d of %d is another: %d words, key %d", (int)i, (int)n, words, key);
    free(expected);
    free(scratch);
    free(sorted);
}

/* All words random, so that a key that is compared by mistake shows; keys base + [0, range). */
static void check_random(spt_random_t *random, int64_t n, int words, int key, int64_t base, int64_t range)
{
    int64_t *records = new_words(n * words);
    for (int64_t i = 0; i < n * words; i++)
        records[i] = i % words == key ? base + spt_below(random, range) : (int64_t)(spt_next(random) >> 1);
    check_against_qsort(records, n, words, key);
    free(records);
}

typedef struct magnitude {
    int64_t base, range;
} magnitude_t;

static const magnitude_t magnitudes[] = {
    {0, 1},                   /* all equal */
    {0, 3},                   /* many duplicates */
    {0, 1 << 11},             /* one digit */
    {0, (1 << 11) + 1},       /* and a little more */
    {0, (int64_t)1 << 22},    /* two digits */
    {(int64_t)1 << 40, 5000}, /* large ids that are close together */
    {(1 << 22) - 2, 4},       /* across a digit boundary: high digits differ, few low ones do */
    {((int64_t)1 << 44) - 1, (int64_t)1 << 44},
    {0, INT64_MAX},
    {INT64_MAX - 7, 8},
};
#define NUM_MAGNITUDES (sizeof magnitudes / sizeof *magnitudes)

static void for_all_shapes(int64_t n, uint64_t seed)
{
    spt_random_t random = {seed};
    for (int words = 1; words <= TLI_SORT_MOST_WORDS; words++)
        for (int key = 0; key < words; key++)
            for (size_t m = 0; m < NUM_MAGNITUDES; m++)
                check_random(&random, n, words, key, magnitudes[m].base, magnitudes[m].range);
}

static void test_sort_few_records_match_qsort(void **state)
{
    for (int64_t n = 0; n <= 100; n++)
        for_all_shapes(n, 1 + (uint64_t)n);
}

static void test_sort_many_records_match_qsort(void **state)
{
    static const int64_t counts[] = {257, 1000, 4099, 20000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for_all_shapes(counts[i], 1000 + i);
}

static void test_sort_ordered_and_reversed_match_qsort(void **state)
{
    for (int64_t n = 1; n <= 3000; n = n * 3 + 1) {
        int64_t *records = new_words(2 * n);
        for (int direction = 0; direction < 2; direction++) {
            for (int64_t i = 0; i < n; i++) {
                records[2 * i] = ((int64_t)1 << 41) + (direction ? n - i : i) / 2;
                records[2 * i + 1] = i;
            }
            check_against_qsort(records, n, 2, 0);
        }
        free(records);
    }
}

/* One bit decides: no digit may be taken for one in which all keys agree. */
static void test_sort_keys_that_differ_in_one_bit_match_qsort(void **state)
{
    enum { N = 100 };
    spt_random_t random = {5};
    int64_t records[2 * N];
    for (int bit = 0; bit < 63; bit++) {
        int64_t common = (int64_t)(spt_next(&random) >> 1) & ~((int64_t)1 << bit);
        for (int64_t i = 0; i < N; i++) {
            records[2 * i] = common | spt_below(&random, 2) << bit;
            records[2 * i + 1] = i;
        }
        check_against_qsort(records, N, 2, 0);
    }
}

static int compare_triples(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    int order = 0;
    for (int w = 0; w < 3 && order == 0; w++)
        order = (x[w] > y[w]) - (x[w] < y[w]);
    return order;
}

static void test_sort_least_key_first_is_lexicographic(void **state)
{
    enum { N = 5000 };
    spt_random_t random = {7};
    int64_t *records = new_words(3 * N), *expected = new_words(3 * N), *scratch = new_words(3 * N);
    for (int64_t i = 0; i < 3 * N; i++)
        records[i] = ((int64_t)1 << 40) * (i % 3 == 1) + spt_below(&random, 20);
    memcpy(expected, records, 3 * N * sizeof *records);
    qsort(expected, N, 3 * sizeof *expected, compare_triples);
    for (int key = 2; key >= 0; key--)
        tli_sort(records, scratch, N, 3, key);
    assert_memory_equal(records, expected, 3 * N * sizeof *records);
    free(scratch);
    free(expected);
    free(records);
}

/* For compare_records(): qsort() hands nothing through. */
static int compared_words;

static int compare_records(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    int order = 0;
    for (int w = 0; w < compared_words && order == 0; w++)
        order = (x[w] > y[w]) - (x[w] < y[w]);
    return order;
}

/* Without unpacking: destroys the records. */
static void check_sort_where(int64_t *records, int64_t *scratch, int64_t n, int num_keys, const int64_t *expected)
{
    tli_sorted_t sorted = tli_sort_where(records, scratch, n, 3, num_keys);
    for (int64_t i = 0; i < n; i++) {
        int64_t record[3];
        tli_sorted_get3(&sorted, i, record);
        assert_memory_equal(record, expected + 3 * i, sizeof record);
    }
}

/* The word after the keys, or the whole record, tells equal keys apart: a stable sort keeps its order. */
static void check_sort_by(spt_random_t *random, int64_t n, int words, int num_keys, int64_t range)
{
    int64_t *records = new_words(n * words), *expected = new_words(n * words), *scratch = new_words(n * words);
    int64_t *given = new_words(n * words);
    for (int64_t i = 0; i < n * words; i++) {
        int is_key = i % words < num_keys;
        records[i] = is_key ? spt_below(random, i % words == 0 ? 3 : range) : i / words;
    }
    memcpy(expected, records, (size_t)(n * words) * sizeof *records);
    memcpy(given, records, (size_t)(n * words) * sizeof *records);
    compared_words = words;
    qsort(expected, (size_t)n, (size_t)words * sizeof *expected, compare_records);
    for (int pass = 0; pass < 2; pass++) { /* the second finds them in order */
        tli_sort_by(records, scratch, n, words, num_keys);
        assert_memory_equal(records, expected, (size_t)(n * words) * sizeof *records);
    }
    if (words == 3) {
        check_sort_where(given, scratch, n, num_keys, expected);
        check_sort_where(records, scratch, n, num_keys, expected);
    }
    free(given);
    free(scratch);
    free(expected);
    free(records);
}

static void test_sort_by_several_words_matches_qsort(void **state)
{
    static const int64_t counts[] = {1, 2, 31, 33, 500, 5000};
    static const int64_t ranges[] = {1, 5, 1 << 12, (int64_t)1 << 30, INT64_MAX}; /* packed, and too long for that */
    spt_random_t random = {13};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (int words = 1; words <= TLI_SORT_MOST_WORDS; words++)
            for (int num_keys = 1; num_keys <= words; num_keys++)
                for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
                    check_sort_by(&random, counts[c], words, num_keys, ranges[r]);
}

static void test_sort_nothing_touches_nothing(void **state)
{
    for (int words = 1; words <= TLI_SORT_MOST_WORDS; words++)
        tli_sort(NULL, NULL, 0, words, 0);
    tli_sort_by(NULL, NULL, 0, 2, 2);
}

static void test_lower_bound_matches_linear_search(void **state)
{
    spt_random_t random = {11};
    int64_t values[40];
    for (int64_t n = 0; n <= 40; n++) {
        int64_t value = (int64_t)1 << 40;
        for (int64_t i = 0; i < n; i++)
            values[i] = value += spt_below(&random, 3);
        for (int64_t wanted = ((int64_t)1 << 40) - 2; wanted <= value + 2; wanted++) {
            int64_t expected = 0;
            while (expected < n && values[expected] < wanted)
                expected++;
            assert_int_equal(tli_lower_bound(values, n, wanted), expected);
        }
        assert_int_equal(tli_lower_bound(values, n, INT64_MIN), 0);
        assert_int_equal(tli_lower_bound(values, n, INT64_MAX), n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sort_few_records_match_qsort),
        cmocka_unit_test(test_sort_many_records_match_qsort),
        cmocka_unit_test(test_sort_ordered_and_reversed_match_qsort),
        cmocka_unit_test(test_sort_keys_that_differ_in_one_bit_match_qsort),
        cmocka_unit_test(test_sort_least_key_first_is_lexicographic),
        cmocka_unit_test(test_sort_by_several_words_matches_qsort),
        cmocka_unit_test(test_sort_nothing_touches_nothing),
        cmocka_unit_test(test_lower_bound_matches_linear_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
