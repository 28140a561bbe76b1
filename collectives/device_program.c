/* SPDX-License-Identifier: Apache-2.0
 * Steps become a program: per stage the flags, per batch of it one kernel for all copies, one for each reduction.
 * Nothing is launched here, and nothing asked of CUDA but memory. */
#include <string.h>

#include "collectives/device.h"
#include "src/device/device.h"
#include "src/fault.h"

#define LIST_ALIGNMENT 64

/* Where things are in the image. Lists of operation o begin at lists[o], in the order of the struct's members. */
typedef struct image {
    int64_t areas, entry_area, entry_row, area_precision; /* [bytes] offsets */
    int64_t *lists;                                       /* [num_operations] */
    int64_t bytes;
} image_t;

static int64_t num_operations(const tli_steps_t *steps)
{
    int64_t n = 0;
    for (int64_t t = 0; t < steps->num_tasks; t++)
        n += steps->tasks[t].num_operations;
    return n;
}

static int64_t take(int64_t *bytes, int64_t count, size_t size)
{
    int64_t at = *bytes;
    *bytes += (count * (int64_t)size + LIST_ALIGNMENT - 1) / LIST_ALIGNMENT * LIST_ALIGNMENT;
    return at;
}

static int64_t list_words(const tli_operation_t *o)
{
    return (o->target_index != NULL ? o->num_rows : 0) + (o->source_index != NULL ? o->num_rows : 0) +
           (o->entry_ptr != NULL ? o->num_rows + 1 : 0);
}

/* All reductions of an exchange index one list of entries. */
static int64_t num_entries(const tli_steps_t *steps, int64_t n, const tli_operation_t **any_out)
{
    int64_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        const tli_operation_t *o = &steps->operations[i];
        if (o->entry_ptr != NULL) {
            TLI_ASSERT(*any_out == NULL || (*any_out)->entry_row == o->entry_row);
            most = o->entry_ptr[o->num_rows] > most ? o->entry_ptr[o->num_rows] : most;
            *any_out = o;
        }
    }
    return most;
}

static tulle_status_t measure_image(const tulle_exchange_t *x, tli_program_t *program, image_t *image)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_t *steps = &x->steps;
    const tli_operation_t *any = NULL;
    int64_t n = num_operations(steps), entries = num_entries(steps, n, &any);
    TLI_TRY(tli_arena_alloc(&program->arena, n, sizeof *image->lists, &image->lists));
    take(&image->bytes, n * x->num_fields, sizeof(tli_push_segment_t));
    image->areas = take(&image->bytes, x->num_fields * steps->num_areas, sizeof(tli_rows_t));
    program->bound_bytes = image->bytes;
    image->entry_area = take(&image->bytes, entries, sizeof(int64_t));
    image->entry_row = take(&image->bytes, entries, sizeof(int64_t));
    image->area_precision = take(&image->bytes, steps->num_areas, 1);
    for (int64_t i = 0; i < n; i++)
        image->lists[i] = take(&image->bytes, list_words(&steps->operations[i]), sizeof(int64_t));
    program->image_bytes = image->bytes;
done:
    return st;
}

/* Copies a list to the image, and names it by where the device will have it. */
static const int64_t *put_list(tli_program_t *program, int64_t *at, const int64_t *list, int64_t n)
{
    const int64_t *there = (const int64_t *)(program->device_image + *at);
    if (list == NULL)
        return NULL;
    if (n > 0)
        memcpy(program->image + *at, list, (size_t)n * sizeof *list);
    *at += n * (int64_t)sizeof *list;
    return there;
}

/* The operations as kernels read them: the same, with lists on the device. */
static void put_operations(const tulle_exchange_t *x, const image_t *image, tli_program_t *program)
{
    const tli_steps_t *steps = &x->steps;
    const tli_operation_t *any = NULL;
    int64_t n = num_operations(steps), entries = num_entries(steps, n, &any);
    int64_t area_at = image->entry_area, row_at = image->entry_row;
    const int64_t *entry_area = put_list(program, &area_at, any != NULL ? any->entry_area : NULL, entries);
    const int64_t *entry_row = put_list(program, &row_at, any != NULL ? any->entry_row : NULL, entries);
    for (int64_t i = 0; i < n; i++) {
        tli_operation_t *o = &program->operations[i];
        int64_t at = image->lists[i];
        *o = steps->operations[i];
        o->target_index = put_list(program, &at, o->target_index, o->num_rows);
        o->source_index = put_list(program, &at, o->source_index, o->num_rows);
        o->entry_ptr = put_list(program, &at, o->entry_ptr, o->num_rows + 1);
        o->entry_area = o->entry_ptr != NULL ? entry_area : NULL;
        o->entry_row = o->entry_ptr != NULL ? entry_row : NULL;
    }
    for (int64_t a = 0; a < steps->num_areas; a++)
        program->image[image->area_precision + a] = (unsigned char)steps->areas[a].precision;
    program->area_precision = program->device_image + image->area_precision;
    program->areas = (const tli_rows_t *)(program->device_image + image->areas);
    program->areas_image = (tli_rows_t *)(program->image + image->areas);
}

/* --- order ------------------------------------------------------------------------------------------------------- */

/* First batch of its stage in which a task can run that waits for a wire. */
static int batch_behind(const tulle_exchange_t *x, const tli_wiring_t *wiring, int64_t w, int64_t task)
{
    int is_early = !tli_is_carried(&x->steps.receive_ends[w]) || wiring->arrival[w] < wiring->stage_of_task[task];
    return is_early ? 0 : 1 + x->device->part_of_receive[w];
}

/* Batches in which tasks run and sends are stored. */
static tulle_status_t find_batches(const tulle_exchange_t *x, const tli_wiring_t *wiring, tli_arena_t *arena,
                                   int **of_task_out, int **of_send_out)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_t *steps = &x->steps;
    int *of_task = NULL, *of_send = NULL;
    TLI_TRY(tli_arena_alloc(arena, steps->num_tasks, sizeof *of_task, &of_task));
    TLI_TRY(tli_arena_alloc(arena, steps->num_sends, sizeof *of_send, &of_send));
    for (int64_t w = 0; w < steps->num_receives; w++)
        for (int64_t i = steps->waiter_ptr[w]; i < steps->waiter_ptr[w + 1]; i++) {
            int *batch = &of_task[steps->waiters[i]], behind = batch_behind(x, wiring, w, steps->waiters[i]);
            *batch = behind > *batch ? behind : *batch;
        }
    for (int64_t t = 0; t < steps->num_tasks; t++)
        for (int64_t i = 0; i < steps->tasks[t].num_sends; i++)
            of_send[steps->sends[steps->tasks[t].first_send + i]] = of_task[t];
    *of_task_out = of_task;
    *of_send_out = of_send;
done:
    return st;
}

/* One at least where a carrier may have to wait for what it sends. */
static int count_parts(const tli_device_exchange_t *d, int64_t stage)
{
    int n = d->carrier != NULL && stage > 0;
    for (int p = 0; p < d->parcels.num_receives; p++)
        if (d->parcels.receives[p].stage == stage - 1 && d->parcels.receives[p].part >= n)
            n = d->parcels.receives[p].part + 1;
    return n;
}

/* Tasks by stage and batch, in the order of the steps within one. */
static tulle_status_t order_tasks(const tulle_exchange_t *x, const tli_wiring_t *wiring, const int *batch_of_task,
                                  tli_program_t *program)
{
    tulle_status_t st = TULLE_OK;
    int64_t at = 0;
    TLI_TRY(tli_arena_alloc(&program->arena, x->steps.num_tasks, sizeof *program->tasks, &program->tasks));
    TLI_TRY(tli_arena_alloc(&program->arena, wiring->num_stages + 1, sizeof *program->stages, &program->stages));
    program->num_stages = wiring->num_stages;
    for (int64_t s = 0; s <= wiring->num_stages; s++) {
        tli_stage_t *stage = &program->stages[s];
        stage->num_parts = count_parts(x->device, s);
        for (int b = 0; b <= stage->num_parts; b++) {
            stage->batches[b].first_task = at;
            for (int64_t t = 0; t < x->steps.num_tasks; t++)
                if (wiring->stage_of_task[t] == s && batch_of_task[t] == b)
                    program->tasks[at++] = t;
            stage->batches[b].num_tasks = at - stage->batches[b].first_task;
        }
    }
done:
    return st;
}

/* Whether a wire has a flag, and no earlier one of the same peer the same. Wires of a peer follow each other. */
static int is_new(const tli_end_t *ends, uint32_t *const *flags, int64_t w)
{
    int64_t earlier = w - 1;
    if (tli_is_carried(&ends[w]))
        return 0;
    while (earlier >= 0 && ends[earlier].peer == ends[w].peer && flags[earlier] != flags[w])
        earlier--;
    return earlier < 0 || ends[earlier].peer != ends[w].peer;
}

/* Stage of the first rows for the peer of its first wire. */
static int64_t first_departure(const tli_steps_t *steps, const tli_wiring_t *wiring, int64_t w)
{
    int64_t first = wiring->departure[w];
    for (int64_t next = w + 1; next < steps->num_sends && steps->send_ends[next].peer == steps->send_ends[w].peer;
         next++)
        first = wiring->departure[next] < first ? wiring->departure[next] : first;
    return first;
}

static void add_flag(tli_program_t *program, uint32_t *flag, int is_wait)
{
    program->flags[program->num_flags++] = (tli_flag_step_t){flag, is_wait, 0};
}

/* Batch behind which all of a stage is stored for the peer of its first wire. */
static int last_batch(const tli_steps_t *steps, const tli_wiring_t *wiring, const int *batch_of_send, int64_t w)
{
    int last = batch_of_send[w];
    for (int64_t next = w + 1; next < steps->num_sends && steps->send_ends[next].peer == steps->send_ends[w].peer;
         next++)
        if (wiring->tell_arrived[next] == wiring->tell_arrived[w] && batch_of_send[next] > last)
            last = batch_of_send[next];
    return last;
}

static void add_tells(const tulle_exchange_t *x, const tli_wiring_t *wiring, const int *batch_of_send, int64_t stage,
                      int batch, tli_program_t *program)
{
    const tli_steps_t *steps = &x->steps;
    for (int64_t w = 0; w < steps->num_sends; w++)
        if (wiring->departure[w] == stage && is_new(steps->send_ends, wiring->tell_arrived, w) &&
            last_batch(steps, wiring, batch_of_send, w) == batch)
            add_flag(program, wiring->tell_arrived[w], 0);
}

/* The word that this rank has started, before anything else; then what the stage before ended with, then what this one
 * begins with, and what its batches end with but for the last. */
static void add_flags(const tulle_exchange_t *x, const tli_wiring_t *wiring, const int *batch_of_send, int64_t stage,
                      tli_program_t *program)
{
    const tli_steps_t *steps = &x->steps;
    tli_stage_t *s = &program->stages[stage];
    s->first_flag = program->num_flags;
    for (int64_t w = 0; w < steps->num_receives; w++)
        if (stage == 0 && is_new(steps->receive_ends, wiring->tell_ready, w))
            add_flag(program, wiring->tell_ready[w], 0);
    if (stage > 0)
        add_tells(x, wiring, batch_of_send, stage - 1, s[-1].num_parts, program);
    s->num_tells = program->num_flags - s->first_flag;
    for (int64_t w = 0; w < steps->num_receives; w++)
        if (wiring->arrival[w] == stage && is_new(steps->receive_ends, wiring->arrived, w))
            add_flag(program, wiring->arrived[w], 1);
    for (int64_t w = 0; w < steps->num_sends; w++)
        if (is_new(steps->send_ends, wiring->ready, w) && first_departure(steps, wiring, w) == stage)
            add_flag(program, wiring->ready[w], 1);
    s->num_flags = program->num_flags - s->first_flag;
    for (int b = 0; b < s->num_parts; b++) {
        s->batches[b].first_tell = program->num_flags;
        add_tells(x, wiring, batch_of_send, stage, b, program);
        s->batches[b].num_tells = program->num_flags - s->batches[b].first_tell;
    }
}

tulle_status_t tli_program_build(const tulle_exchange_t *x, const tli_wiring_t *wiring, tli_program_t *program)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_t *steps = &x->steps;
    int64_t n = num_operations(steps);
    image_t image = {0};
    int *batch_of_task = NULL, *batch_of_send = NULL;
    TLI_TRY(measure_image(x, program, &image));
    TLI_TRY(tli_device_alloc(TULLE_SPACE_PINNED, (size_t)image.bytes + 1, (void **)&program->image));
    TLI_TRY(tli_device_alloc(TULLE_SPACE_DEVICE, (size_t)image.bytes + 1, (void **)&program->device_image));
    TLI_TRY(tli_arena_alloc(&program->arena, n, sizeof *program->operations, &program->operations));
    TLI_TRY(tli_arena_alloc(&program->arena, 2 * (steps->num_sends + steps->num_receives), sizeof *program->flags,
                            &program->flags));
    TLI_TRY(tli_arena_alloc(&program->arena, TLI_MOST_BATCHES * wiring->num_stages + n * x->num_fields,
                            sizeof *program->launches, &program->launches));
    TLI_TRY(find_batches(x, wiring, &program->arena, &batch_of_task, &batch_of_send));
    TLI_TRY(order_tasks(x, wiring, batch_of_task, program));
    put_operations(x, &image, program);
    for (int64_t stage = 0; stage <= program->num_stages; stage++)
        add_flags(x, wiring, batch_of_send, stage, program);
    tli_program_bind(x, program);
done:
    return st;
}

void tli_program_free(tli_program_t *program)
{
    if (program->image != NULL)
        tli_device_free(TULLE_SPACE_PINNED, program->image);
    if (program->device_image != NULL)
        tli_device_free(TULLE_SPACE_DEVICE, program->device_image);
    tli_arena_release(&program->arena);
    *program = (tli_program_t){0};
}

/* --- what depends on the caller's buffers ------------------------------------------------------------------------ */

static tli_push_segment_t copy_segment(const tulle_exchange_t *x, const tli_operation_t *o, int field)
{
    const tli_rows_t *areas = x->areas + field * x->steps.num_areas;
    return (tli_push_segment_t){.rows = {tli_rows_from(&areas[o->target], o->target_first),
                                         tli_rows_from(&areas[o->source], o->source_first), o->target_index,
                                         o->source_index, o->num_rows, tli_area_row_bytes(x, field, o->target)}};
}

static tli_launch_t reduction_launch(const tulle_exchange_t *x, const tli_program_t *program, const tli_operation_t *o,
                                     int field)
{
    const tli_rows_t *areas = x->areas + field * x->steps.num_areas;
    return (tli_launch_t){.is_reduction = 1,
                          .reduction = {.target = areas[o->target],
                                        .target_index = o->target_index,
                                        .num_rows = o->num_rows,
                                        .keeps_target = o->keeps_target,
                                        .entry_ptr = o->entry_ptr,
                                        .entry_area = o->entry_area,
                                        .entry_row = o->entry_row,
                                        .areas = program->areas + field * x->steps.num_areas,
                                        .datatype = x->fields[field].datatype,
                                        .op = x->op,
                                        .width = x->fields[field].width},
                          .areas_alignment = tli_areas_alignment(areas, x->steps.num_areas)};
}

static int is_pushed(const tulle_exchange_t *x, const tli_operation_t *o)
{
    return o->entry_ptr == NULL && o->num_rows > 0 && !tli_converts(x, o);
}

/* All copies of a batch, of every task and field, are one kernel. */
static void add_copies(const tulle_exchange_t *x, const tli_batch_t *batch, int64_t *num_segments,
                       tli_program_t *program)
{
    tli_push_segment_t *segments = (tli_push_segment_t *)program->image;
    int64_t first = *num_segments;
    for (int64_t i = 0; i < batch->num_tasks; i++) {
        const tli_task_t *task = &x->steps.tasks[program->tasks[batch->first_task + i]];
        const tli_operation_t *o = program->operations + task->first_operation;
        for (int64_t k = 0; k < task->num_operations; k++)
            for (int f = 0; f < x->num_fields && is_pushed(x, &o[k]); f++)
                segments[(*num_segments)++] = copy_segment(x, &o[k], f);
    }
    if (*num_segments > first) {
        tli_push_args_t push = tli_push_prepare(segments + first, *num_segments - first);
        push.segments = (const tli_push_segment_t *)program->device_image + first;
        program->launches[program->num_launches++] = (tli_launch_t){.push = push};
    }
}

/* Reductions, and what rounds or widens. */
static void add_others(const tulle_exchange_t *x, const tli_batch_t *batch, tli_program_t *program)
{
    for (int64_t i = 0; i < batch->num_tasks; i++) {
        const tli_task_t *task = &x->steps.tasks[program->tasks[batch->first_task + i]];
        const tli_operation_t *o = program->operations + task->first_operation;
        for (int64_t k = 0; k < task->num_operations; k++)
            for (int f = 0; f < x->num_fields && o[k].num_rows > 0 && !is_pushed(x, &o[k]); f++)
                program->launches[program->num_launches++] = tli_converts(x, &o[k])
                                                                 ? tli_wire_launch(x, program, &o[k], f)
                                                                 : reduction_launch(x, program, &o[k], f);
    }
}

static void add_launches(const tulle_exchange_t *x, tli_batch_t *batch, int64_t *num_segments, tli_program_t *program)
{
    batch->first_launch = program->num_launches;
    add_copies(x, batch, num_segments, program);
    add_others(x, batch, program);
    batch->num_launches = program->num_launches - batch->first_launch;
}

void tli_program_bind(const tulle_exchange_t *x, tli_program_t *program)
{
    int64_t num_segments = 0;
    memcpy(program->areas_image, x->areas, (size_t)(x->num_fields * x->steps.num_areas) * sizeof *x->areas);
    program->num_launches = 0;
    for (int64_t s = 0; s < program->num_stages; s++)
        for (int b = 0; b <= program->stages[s].num_parts; b++)
            add_launches(x, &program->stages[s].batches[b], &num_segments, program);
}
