/* SPDX-License-Identifier: Apache-2.0
 * Stable radix sort of fixed-size records of 64-bit words: the inspector's workhorse. */
#ifndef TLI_SORT_H
#define TLI_SORT_H

#include <stddef.h>
#include <stdint.h>

#define TLI_SORT_MOST_WORDS 4

/**
 * Sort records by one word; sort by the least significant key first to sort by several.
 * @param[in,out] records [n * words] keys must be >= 0
 * @param[in,out] scratch [n * words]
 * @param[in]     words   words of a record, 1 to 4
 * @param[in]     key     word to sort by
 * @cost O(n) per 11 bits in which keys differ; no allocation
 */
void tli_sort(int64_t *records, int64_t *scratch, int64_t n, int words, int key);

/**
 * Sort records by their first words: by the first, equal ones by the second, and so on. Stable. Records that are in
 * order already are only read; those whose words fit into 63 bits together are sorted as one word each.
 * @param[in,out] records  [n * words] all words must be >= 0
 * @param[in,out] scratch  [n * words]
 * @param[in]     words    words of a record, 1 to 4
 * @param[in]     num_keys words to sort by, 1 to words
 * @cost O(n) per 11 bits of the keys; no allocation
 */
void tli_sort_by(int64_t *records, int64_t *scratch, int64_t n, int words, int num_keys);

/** Records in order, where sorting left them: as they were, or each packed into one word. */
typedef struct tli_sorted {
    int words;
    const int64_t *records;        /* [n * words] unless packed */
    const int64_t *packed;         /* [n] NULL unless packed; word 0 in the highest of its bits */
    int bits[TLI_SORT_MOST_WORDS]; /* [words] when packed */
} tli_sorted_t;

/** tli_sort_by() for who reads the records once: without unpacking them. The result lies in @p records or @p scratch.
 */
tli_sorted_t tli_sort_where(int64_t *records, int64_t *scratch, int64_t n, int words, int num_keys);

/** Record i of three words. */
static inline void tli_sorted_get3(const tli_sorted_t *sorted, int64_t i, int64_t record[3])
{
    if (sorted->packed != NULL) {
        uint64_t all = (uint64_t)sorted->packed[i];
        record[2] = (int64_t)(all & ((UINT64_C(1) << sorted->bits[2]) - 1));
        record[1] = (int64_t)(all >> sorted->bits[2] & ((UINT64_C(1) << sorted->bits[1]) - 1));
        record[0] = (int64_t)(all >> sorted->bits[2] >> sorted->bits[1]);
    } else {
        for (int w = 0; w < 3; w++)
            record[w] = sorted->records[3 * i + w];
    }
}

/** First position in ascending values[n] whose value is >= wanted; n if none. */
int64_t tli_lower_bound(const int64_t *values, int64_t n, int64_t wanted);

#endif
