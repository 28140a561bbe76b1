/* SPDX-License-Identifier: Apache-2.0 */
#include "collectives/ready.h"

void tli_ready_add(tli_ready_t *ready, int64_t task)
{
    int64_t place = ready->num++;
    for (; place > 0 && ready->tasks[(place - 1) / 2] > task; place = (place - 1) / 2)
        ready->tasks[place] = ready->tasks[(place - 1) / 2];
    ready->tasks[place] = task;
}

/* Of the two that hang from a place, if there are two. */
static int64_t earlier_below(const tli_ready_t *ready, int64_t place)
{
    int64_t left = 2 * place + 1, right = left + 1;
    return right < ready->num && ready->tasks[right] < ready->tasks[left] ? right : left;
}

int64_t tli_ready_take(tli_ready_t *ready)
{
    int64_t first = ready->tasks[0], last = ready->tasks[--ready->num], place = 0;
    int64_t below = earlier_below(ready, place);
    while (below < ready->num && ready->tasks[below] < last) {
        ready->tasks[place] = ready->tasks[below];
        place = below;
        below = earlier_below(ready, place);
    }
    ready->tasks[place] = last;
    return first;
}
