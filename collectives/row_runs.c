/* SPDX-License-Identifier: Apache-2.0
 * Rows as runs of one owner, and where a row is among ascending ones. */
#include "collectives/row_runs.h"

/* First word of a list: twice its length, plus this where two numbers share a word. */
#define IS_NARROW 1

int64_t tli_numbers_put(const int64_t *numbers, int64_t stride, int64_t num, int64_t *words)
{
    uint64_t bits = 0;
    for (int64_t i = 0; i < num; i++)
        bits |= (uint64_t)numbers[i * stride];
    int is_narrow = bits >> 32 == 0;
    words[0] = 2 * num + (is_narrow ? IS_NARROW : 0);
    for (int64_t i = 0; !is_narrow && i < num; i++)
        words[1 + i] = numbers[i * stride];
    for (int64_t i = 0; is_narrow && i < num / 2; i++)
        words[1 + i] = (int64_t)((uint64_t)numbers[2 * i * stride] | (uint64_t)numbers[(2 * i + 1) * stride] << 32);
    if (is_narrow && num % 2 == 1)
        words[1 + num / 2] = numbers[(num - 1) * stride];
    return tli_numbers_words(words);
}

int64_t tli_numbers_words(const int64_t *words)
{
    int64_t num = tli_numbers_count(words);
    return 1 + ((words[0] & IS_NARROW) != 0 ? (num + 1) / 2 : num);
}

int64_t tli_numbers_get(const int64_t *words, int64_t stride, int64_t *numbers)
{
    int64_t num = tli_numbers_count(words);
    int is_narrow = (words[0] & IS_NARROW) != 0;
    for (int64_t i = 0; !is_narrow && i < num; i++)
        numbers[i * stride] = words[1 + i];
    for (int64_t i = 0; is_narrow && i < num / 2; i++) {
        numbers[2 * i * stride] = words[1 + i] & UINT32_MAX;
        numbers[(2 * i + 1) * stride] = (int64_t)((uint64_t)words[1 + i] >> 32);
    }
    if (is_narrow && num % 2 == 1)
        numbers[(num - 1) * stride] = words[1 + num / 2];
    return tli_numbers_words(words);
}

int64_t tli_row_runs_put(const int64_t *owner, const int64_t *row, int64_t stride, int64_t num_rows, int64_t *words)
{
    int64_t at = 0, first = 0;
    words[at++] = num_rows;
    while (first < num_rows) {
        int64_t end = first + 1;
        while (end < num_rows && owner[end * stride] == owner[first * stride])
            end++;
        words[at++] = owner[first * stride];
        at += tli_numbers_put(row + first * stride, stride, end - first, words + at);
        first = end;
    }
    return at;
}

int64_t tli_row_runs_words(const int64_t *words)
{
    int64_t at = 1;
    for (int64_t left = words[0]; left > 0;) {
        left -= tli_numbers_count(words + at + 1);
        at += 1 + tli_numbers_words(words + at + 1);
    }
    return at;
}

int64_t tli_row_runs_get(const int64_t *words, int64_t stride, int64_t *owner, int64_t *row)
{
    int64_t at = 1;
    for (int64_t i = 0; i < words[0];) {
        int64_t run_owner = words[at++], end = i + tli_numbers_count(words + at);
        at += tli_numbers_get(words + at, stride, row + i * stride);
        for (; i < end; i++)
            owner[i * stride] = run_owner;
    }
    return at;
}

/* In steps that double, then by halves. */
int64_t tli_row_seek_far(const int64_t *owner, const int64_t *row, int64_t low, int64_t high, int64_t wanted_owner,
                         int64_t wanted_row)
{
    int64_t step = 1;
    while (low + step <= high &&
           tli_row_is_before(owner[low + step - 1], row[low + step - 1], wanted_owner, wanted_row)) {
        low += step;
        step *= 2;
    }
    if (low + step <= high)
        high = low + step - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (tli_row_is_before(owner[middle], row[middle], wanted_owner, wanted_row))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
