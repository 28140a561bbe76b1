/* SPDX-License-Identifier: Apache-2.0
 * Rows as runs of one owner, and where a row is among ascending ones. */
#include "collectives/row_runs.h"

int64_t tli_row_runs_put(const int64_t *owner, const int64_t *row, int64_t stride, int64_t num_rows, int64_t *words)
{
    int64_t at = 0, first = 0;
    words[at++] = num_rows;
    while (first < num_rows) {
        int64_t end = first, *run = words + at;
        for (at += 2; end < num_rows && owner[end * stride] == owner[first * stride]; end++)
            words[at++] = row[end * stride];
        run[0] = owner[first * stride];
        run[1] = end - first;
        first = end;
    }
    return at;
}

int64_t tli_row_runs_words(const int64_t *words)
{
    int64_t at = 1;
    for (int64_t left = words[0]; left > 0;) {
        left -= words[at + 1];
        at += 2 + words[at + 1];
    }
    return at;
}

int64_t tli_row_runs_get(const int64_t *words, int64_t stride, int64_t *owner, int64_t *row)
{
    int64_t at = 1;
    for (int64_t i = 0; i < words[0];) {
        int64_t run_owner = words[at], end = i + words[at + 1];
        for (at += 2; i < end; i++) {
            owner[i * stride] = run_owner;
            row[i * stride] = words[at++];
        }
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
