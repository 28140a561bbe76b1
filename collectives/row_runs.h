/* SPDX-License-Identifier: Apache-2.0
 * Rows in the messages of planning: number of rows, then runs of one owner: owner, rows. Planned rows ascend by owner,
 * and two numbers of a list share a word where all of it fit into 32 bits, so that a row takes half a word as a rule.
 */
#ifndef TLI_ROW_RUNS_H
#define TLI_ROW_RUNS_H

#include <stdint.h>

/**
 * A list of numbers: how many and how wide, then the numbers.
 * @param[in]  numbers [num * stride] every stride-th counts; >= 0
 * @param[out] words   room for 1 + num
 * @return [words] written
 */
int64_t tli_numbers_put(const int64_t *numbers, int64_t stride, int64_t num, int64_t *words);

/** How many numbers are in the list that begins at @p words. */
static inline int64_t tli_numbers_count(const int64_t *words)
{
    return words[0] >> 1;
}

/** @return [words] that the list takes which begins at @p words */
int64_t tli_numbers_words(const int64_t *words);

/**
 * @param[out] numbers [tli_numbers_count() * stride] every stride-th is written
 * @return [words] read
 */
int64_t tli_numbers_get(const int64_t *words, int64_t stride, int64_t *numbers);

/** [words] that rows take at most. */
static inline int64_t tli_row_runs_most(int64_t num_rows)
{
    return 1 + 3 * num_rows;
}

/**
 * @param[in]  owner, row [num_rows * stride] every stride-th counts
 * @param[out] words      room for tli_row_runs_most()
 * @return [words] written
 */
int64_t tli_row_runs_put(const int64_t *owner, const int64_t *row, int64_t stride, int64_t num_rows, int64_t *words);

/** @return [words] that the rows take which begin at @p words */
int64_t tli_row_runs_words(const int64_t *words);

/**
 * @param[out] owner, row [words[0] * stride] every stride-th is written
 * @return [words] read
 */
int64_t tli_row_runs_get(const int64_t *words, int64_t stride, int64_t *owner, int64_t *row);

static inline int tli_row_is_before(int64_t owner, int64_t row, int64_t wanted_owner, int64_t wanted_row)
{
    return owner < wanted_owner || (owner == wanted_owner && row < wanted_row);
}

/** tli_row_seek() once the first steps have not found it. */
int64_t tli_row_seek_far(const int64_t *owner, const int64_t *row, int64_t low, int64_t high, int64_t wanted_owner,
                         int64_t wanted_row);

/**
 * First place in [low, high) that is not before (wanted_owner, wanted_row), `high` if none. Rows ascend by (owner,
 * row). Who looks for one row after the other finds it near `low`: these steps are inlined.
 * @cost O(log distance)
 */
static inline int64_t tli_row_seek(const int64_t *owner, const int64_t *row, int64_t low, int64_t high,
                                   int64_t wanted_owner, int64_t wanted_row)
{
    const int64_t near = high - low < 4 ? high : low + 4;
    while (low < near && tli_row_is_before(owner[low], row[low], wanted_owner, wanted_row))
        low++;
    return low < near || low == high ? low : tli_row_seek_far(owner, row, low, high, wanted_owner, wanted_row);
}

#endif
