/* SPDX-License-Identifier: Apache-2.0
 * Least-significant-digit radix sort. Digits in which all keys agree are skipped, so small keys cost one or two passes.
 */
#include "src/sort.h"

#include <string.h>

#include "src/fault.h"

#define DIGIT_BITS  11
#define NUM_DIGITS  (1 << DIGIT_BITS)
#define SMALL_COUNT 32

static void insertion_sort(int64_t *records, int64_t n, int words, int key)
{
    int64_t held[TLI_SORT_MOST_WORDS];
    size_t bytes = (size_t)words * sizeof *records;
    for (int64_t i = 1; i < n; i++) {
        int64_t j = i;
        memcpy(held, records + i * words, bytes);
        for (; j > 0 && records[(j - 1) * words + key] > held[key]; j--)
            memcpy(records + j * words, records + (j - 1) * words, bytes);
        memcpy(records + j * words, held, bytes);
    }
}

/* Written out per record size: the copy of a record is the inner loop. */
static void scatter_records(const int64_t *from, int64_t *to, int64_t n, int words, int key, int shift, int64_t *next)
{
#define SCATTER(W)                                                                                                     \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        const int64_t *record = from + i * (W);                                                                        \
        int64_t *target = to + next[((uint64_t)record[key] >> shift) & (NUM_DIGITS - 1)]++ * (W);                      \
        for (int w = 0; w < (W); w++)                                                                                  \
            target[w] = record[w];                                                                                     \
    }
    switch (words) {
    case 1:
        SCATTER(1) break;
    case 2:
        SCATTER(2) break;
    case 3:
        SCATTER(3) break;
    default:
        SCATTER(4) break;
    }
#undef SCATTER
}

static void radix_pass(const int64_t *from, int64_t *to, int64_t n, int words, int key, int shift)
{
    int64_t next[NUM_DIGITS] = {0};
    int64_t sum = 0;
    for (int64_t i = 0; i < n; i++)
        next[((uint64_t)from[i * words + key] >> shift) & (NUM_DIGITS - 1)]++;
    for (int d = 0; d < NUM_DIGITS; d++) {
        int64_t count = next[d];
        next[d] = sum;
        sum += count;
    }
    scatter_records(from, to, n, words, key, shift, next);
}

/* Bits in which some keys differ; 0 also when already in order. */
static uint64_t differing_bits(const int64_t *records, int64_t n, int words, int key)
{
    uint64_t bits = 0;
    int is_sorted = 1;
    for (int64_t i = 1; i < n; i++) {
        bits |= (uint64_t)(records[i * words + key] ^ records[key]);
        is_sorted &= records[(i - 1) * words + key] <= records[i * words + key];
    }
    return is_sorted ? 0 : bits;
}

/* By the bits of one word from `shift` on. Returns where the sorted records are: there or in scratch. */
static int64_t *radix_sort(int64_t *records, int64_t *scratch, int64_t n, int words, int key, int shift)
{
    int64_t *from = records, *to = scratch;
    uint64_t bits = differing_bits(records, n, words, key);
    for (; shift < 64 && (bits >> shift) != 0; shift += DIGIT_BITS) {
        if (((bits >> shift) & (NUM_DIGITS - 1)) == 0)
            continue;
        radix_pass(from, to, n, words, key, shift);
        int64_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

void tli_sort(int64_t *records, int64_t *scratch, int64_t n, int words, int key)
{
    TLI_ASSERT(words >= 1 && words <= TLI_SORT_MOST_WORDS && key < words);
    const int64_t *sorted = records;
    if (n <= SMALL_COUNT)
        insertion_sort(records, n, words, key);
    else
        sorted = radix_sort(records, scratch, n, words, key, 0);
    if (sorted != records)
        memcpy(records, sorted, (size_t)(n * words) * sizeof *records);
}

static int is_sorted_by(const int64_t *records, int64_t n, int words, int num_keys)
{
    int order = 0; /* of two neighbours: -1, 0, 1 */
    for (int64_t i = 1; i < n && order <= 0; i++) {
        const int64_t *before = records + (i - 1) * words, *after = records + i * words;
        order = 0;
        for (int key = 0; key < num_keys && order == 0; key++)
            order = (before[key] > after[key]) - (before[key] < after[key]);
    }
    return order <= 0;
}

static int bits_of(uint64_t value)
{
    int bits = 0;
    for (; value != 0; value >>= 1)
        bits++;
    return bits;
}

/* [bits] of each word over all records. Returns their sum. */
static int measure_words(const int64_t *records, int64_t n, int words, int *bits)
{
    int sum = 0;
    uint64_t any[TLI_SORT_MOST_WORDS] = {0};
    for (int64_t i = 0; i < n; i++)
        for (int w = 0; w < words; w++)
            any[w] |= (uint64_t)records[i * words + w];
    for (int w = 0; w < words; w++)
        sum += bits[w] = bits_of(any[w]);
    return sum;
}

/* Compiled once for each record size, as in scatter_records(): `words` must be a constant where these are called. */
static inline void pack_words(const int64_t *records, int64_t n, int words, const int *bits, int64_t *packed)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t all = 0;
        for (int w = 0; w < words; w++)
            all = all << bits[w] | (uint64_t)records[i * words + w];
        packed[i] = (int64_t)all;
    }
}

static inline void unpack_words(const int64_t *packed, int64_t n, int words, const int *bits, int64_t *records)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t all = (uint64_t)packed[i];
        for (int w = words - 1; w >= 0; w--) {
            records[i * words + w] = (int64_t)(all & ((UINT64_C(1) << bits[w]) - 1));
            all >>= bits[w];
        }
    }
}

/* As one word per record; the records' memory is scratch then. Returns where they are: there or in scratch. */
static const int64_t *sort_packed(int64_t *records, int64_t *scratch, int64_t n, int words, const int *bits,
                                  int num_keys)
{
    int payload_bits = 0;
    for (int w = num_keys; w < words; w++)
        payload_bits += bits[w];
    if (words == 2)
        pack_words(records, n, 2, bits, scratch);
    else if (words == 3)
        pack_words(records, n, 3, bits, scratch);
    else
        pack_words(records, n, 4, bits, scratch);
    return radix_sort(scratch, records, n, 1, 0, payload_bits);
}

static void unpack_sorted(const int64_t *packed, int64_t *records, int64_t *scratch, int64_t n, int words,
                          const int *bits)
{
    if (packed == records)
        memcpy(scratch, records, (size_t)n * sizeof *records);
    if (words == 2)
        unpack_words(scratch, n, 2, bits, records);
    else if (words == 3)
        unpack_words(scratch, n, 3, bits, records);
    else
        unpack_words(scratch, n, 4, bits, records);
}

tli_sorted_t tli_sort_where(int64_t *records, int64_t *scratch, int64_t n, int words, int num_keys)
{
    tli_sorted_t sorted = {.words = words, .records = records};
    TLI_ASSERT(words >= 1 && words <= TLI_SORT_MOST_WORDS && num_keys >= 1 && num_keys <= words);
    if (is_sorted_by(records, n, words, num_keys))
        return sorted;
    if (n > SMALL_COUNT && words > 1 && measure_words(records, n, words, sorted.bits) <= 63) {
        sorted.packed = sort_packed(records, scratch, n, words, sorted.bits, num_keys);
        return sorted;
    }
    for (int key = num_keys - 1; key >= 0; key--)
        tli_sort(records, scratch, n, words, key);
    return sorted;
}

void tli_sort_by(int64_t *records, int64_t *scratch, int64_t n, int words, int num_keys)
{
    tli_sorted_t sorted = tli_sort_where(records, scratch, n, words, num_keys);
    if (sorted.packed != NULL)
        unpack_sorted(sorted.packed, records, scratch, n, words, sorted.bits);
}

int64_t tli_lower_bound(const int64_t *values, int64_t n, int64_t wanted)
{
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (values[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
