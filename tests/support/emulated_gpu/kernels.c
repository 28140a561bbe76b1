/* SPDX-License-Identifier: Apache-2.0
 * Kernels of the emulated GPU: all threads of a launch, one after the other, doing what pack_kernel.h says. A few warps
 * are as good as many. */
#include <string.h>

#include "src/device/pack_kernel.h"
#include "src/device/wire_kernel.h"
#include "tests/support/emulated_gpu/emulated_gpu.h"

#define NUM_THREADS (3 * TLI_WARP_THREADS)

static void check(const void *address, const char *what)
{
    if (address != NULL && !emulated_gpu_reaches(address))
        emulated_gpu_die("a kernel was given %s at %p, which the device does not reach", what, address);
}

static void check_copy(const tli_copy_args_t *copy)
{
    check(copy->target.base, "target rows");
    check(copy->source.base, "source rows");
    check(copy->target_index, "target indices");
    check(copy->source_index, "source indices");
}

static void run_copy(const void *args)
{
    const tli_copy_args_t *copy = args;
    tli_shape_t shape = tli_copy_shape(copy);
    check_copy(copy);
    for (int64_t thread = 0; thread < NUM_THREADS; thread++)
        tli_copy_thread(copy, &shape, thread, NUM_THREADS);
}

static void run_push(const void *args)
{
    const tli_push_args_t *push = args;
    check(push->segments, "segments");
    for (int64_t s = 0; s < push->num_segments; s++)
        check_copy(&push->segments[s].rows);
    for (int64_t thread = 0; thread < NUM_THREADS; thread++)
        tli_push_thread(push, thread, NUM_THREADS);
}

typedef struct reduction {
    tli_reduce_args_t rows;
    int64_t areas_alignment;
} reduction_t;

static void check_reduction(const tli_reduce_args_t *rows)
{
    check(rows->target.base, "target rows");
    check(rows->target_index, "target indices");
    check(rows->entry_ptr, "entries");
    check(rows->entry_area, "areas of entries");
    check(rows->entry_row, "rows of entries");
    check(rows->areas, "areas");
}

static void run_reduction(const void *args)
{
    const reduction_t *reduction = args;
    const tli_reduce_args_t *rows = &reduction->rows;
    tli_shape_t shape = tli_reduce_shape(rows, reduction->areas_alignment);
    int size = (int)tulle_datatype_size(rows->datatype);
    check_reduction(rows);
    for (int64_t thread = 0; thread < NUM_THREADS; thread++)
        tli_reduce_thread(rows, &shape, rows->datatype, size, rows->op, thread, NUM_THREADS);
}

static void run_wire(const void *args)
{
    const tli_wire_args_t *wire = args;
    check_copy(&wire->copy.rows);
    check_reduction(&wire->reduction.rows);
    check(wire->reduction.area_precision, "precisions of areas");
    for (int64_t thread = 0; thread < NUM_THREADS; thread++)
        tli_wire_thread(wire, tli_wire_lane_bits(wire), thread, NUM_THREADS);
}

tulle_status_t tli_wire_rows_launch(const tli_wire_args_t *args, void *stream)
{
    emulated_gpu_enqueue(stream, run_wire, args, sizeof *args);
    return TULLE_OK;
}

tulle_status_t tli_copy_rows_launch(const tli_copy_args_t *args, void *stream)
{
    emulated_gpu_enqueue(stream, run_copy, args, sizeof *args);
    return TULLE_OK;
}

tulle_status_t tli_push_rows_launch(const tli_push_args_t *args, void *stream)
{
    emulated_gpu_enqueue(stream, run_push, args, sizeof *args);
    return TULLE_OK;
}

tulle_status_t tli_reduce_rows_launch(const tli_reduce_args_t *args, int64_t areas_alignment, void *stream)
{
    reduction_t reduction = {*args, areas_alignment};
    emulated_gpu_enqueue(stream, run_reduction, &reduction, sizeof reduction);
    return TULLE_OK;
}
