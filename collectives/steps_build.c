/* SPDX-License-Identifier: Apache-2.0
 * Steps under construction: adding to lists that were allocated for the most there can be; in which order to send. */
#include "collectives/steps_build.h"

#include "src/fault.h"
#include "src/sort.h"

/* Of the rows for a peer: how closely what all peers are sent keeps pace. */
#define SHARES 64

int64_t tli_add_area(tli_steps_builder_t *b, tli_area_kind_t kind, int64_t rows, int64_t wire)
{
    b->steps.areas[b->steps.num_areas] = (tli_area_t){kind, rows, wire, TULLE_WIRE_PRECISION_NONE};
    return b->steps.num_areas++;
}

int64_t tli_add_wire_area(tli_steps_builder_t *b, tli_area_kind_t kind, const tli_end_t *end, int64_t wire)
{
    int64_t area = tli_add_area(b, kind, end->num_rows, wire);
    b->steps.areas[area].precision = end->precision;
    return area;
}

tli_task_t *tli_add_task(tli_steps_builder_t *b, int64_t num_inputs)
{
    tli_task_t *task = &b->steps.tasks[b->steps.num_tasks++];
    *task = (tli_task_t){num_inputs, b->num_operations, 0, b->num_sends, 0, b->steps.num_releases, 0};
    return task;
}

tli_operation_t *tli_add_operation(tli_steps_builder_t *b, tli_task_t *task, int64_t target, int64_t source,
                                   int64_t num_rows)
{
    tli_operation_t *operation = &b->steps.operations[b->num_operations++];
    *operation = (tli_operation_t){.target = target, .source = source, .num_rows = num_rows};
    task->num_operations++;
    return operation;
}

/* Without runs only what counts from 0 needs no index. */
static void name_rows(const tli_steps_builder_t *b, const int64_t *index, int64_t n, const int64_t **index_out,
                      int64_t *first_out)
{
    int64_t first = index != NULL && n > 0 && b->options.names_runs ? index[0] : 0, i = 0;
    while (index != NULL && i < n && index[i] == first + i)
        i++;
    int is_run = index == NULL || i == n;
    *index_out = is_run ? NULL : index;
    *first_out = is_run ? first : 0;
}

void tli_name_targets(const tli_steps_builder_t *b, tli_operation_t *operation, const int64_t *index)
{
    name_rows(b, index, operation->num_rows, &operation->target_index, &operation->target_first);
}

void tli_name_sources(const tli_steps_builder_t *b, tli_operation_t *operation, const int64_t *index)
{
    name_rows(b, index, operation->num_rows, &operation->source_index, &operation->source_first);
}

void tli_add_send(tli_steps_builder_t *b, tli_task_t *task, int64_t wire)
{
    b->steps.sends[b->num_sends++] = wire;
    task->num_sends++;
}

/* Rows for each peer, all its messages and chunks together; they follow one another. */
static int64_t count_rows_for_peer(const tli_steps_builder_t *b, int64_t first, int64_t *end_out)
{
    const tli_end_t *ends = b->steps.send_ends;
    int64_t num_rows = 0, m = first;
    for (; m < b->steps.num_sends && ends[m].peer == ends[first].peer; m++)
        num_rows += ends[m].num_rows;
    *end_out = m;
    return num_rows;
}

tulle_status_t tli_order_sends(tli_steps_builder_t *b, int64_t **order_out)
{
    tulle_status_t st = TULLE_OK;
    const tulle_comm_t *comm = b->plan->comm;
    const tli_end_t *ends = b->steps.send_ends;
    int64_t *records = NULL, *scratch = NULL, n = b->steps.num_sends;
    TLI_TRY(tli_arena_alloc_raw(&b->scratch, n, 3 * sizeof *records, &records));
    TLI_TRY(tli_arena_alloc_raw(&b->scratch, n, 3 * sizeof *scratch, &scratch));
    TLI_TRY(tli_arena_alloc_raw(&b->scratch, n, sizeof **order_out, order_out));
    for (int64_t first = 0, end = 0; first < n; first = end) {
        double all = (double)count_rows_for_peer(b, first, &end), before = 0; /* no message is empty */
        for (int64_t m = first; m < end; m++) {
            double middle = before + (double)ends[m].num_rows / 2;
            records[3 * m] = (int64_t)(SHARES * middle / all);
            records[3 * m + 1] = (ends[m].peer - comm->rank + comm->size) % comm->size;
            records[3 * m + 2] = m;
            before += (double)ends[m].num_rows;
        }
    }
    tli_sort_by(records, scratch, n, 3, 2);
    for (int64_t i = 0; i < n; i++)
        (*order_out)[i] = records[3 * i + 2];
done:
    return st;
}

void tli_add_release(tli_steps_builder_t *b, tli_task_t *task, int64_t wire)
{
    b->steps.releases[b->steps.num_releases++] = wire;
    task->num_releases++;
}
