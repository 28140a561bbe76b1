/* SPDX-License-Identifier: Apache-2.0
 * Stable radix sort of fixed-size records of 64-bit words: the inspector's workhorse. */
#ifndef TLI_SORT_H
#define TLI_SORT_H

#include <stdint.h>

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

/** First position in ascending values[n] whose value is >= wanted; n if none. */
int64_t tli_lower_bound(const int64_t *values, int64_t n, int64_t wanted);

#endif
