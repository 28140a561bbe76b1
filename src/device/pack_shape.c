/* SPDX-License-Identifier: Apache-2.0
 * How the work of a kernel is cut over threads: a function of the arguments alone. */
#include "src/device/pack_device.h"
#include "src/device/wire_device.h"

#define UNIT_BYTES 16 /* widest access of a GPU thread */
/* Small work gets a thread for everything; from here on, threads take TLI_DEPTH rows each instead of growing in number:
 * 1024 blocks are more than any GPU of today runs at a time. */
#define FEW_BLOCKS 1024
#define MAX_BLOCKS 65536

static int64_t divide_up(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

static int64_t lowest_bit(uint64_t bits)
{
    bits |= UNIT_BYTES;
    return (int64_t)(bits & (~bits + 1));
}

static uint64_t bits_of(const tli_rows_t *rows)
{
    return (uint64_t)(uintptr_t)rows->base | (uint64_t)rows->stride_bytes;
}

static tli_shape_t cut(int64_t unit_bytes, int64_t num_items, int64_t items_per_lane)
{
    tli_shape_t shape = {.unit_bytes = (int32_t)unit_bytes, .num_items = num_items, .num_pieces = 1};
    while (shape.lane_bits < TLI_WARP_BITS && ((int64_t)1 << shape.lane_bits) < num_items)
        shape.lane_bits++;
    if (num_items > TLI_WARP_THREADS)
        shape.num_pieces = divide_up(num_items, items_per_lane * TLI_WARP_THREADS);
    return shape;
}

tli_shape_t tli_copy_shape(const tli_copy_args_t *args)
{
    int64_t unit = lowest_bit(bits_of(&args->target) | bits_of(&args->source) | (uint64_t)args->row_bytes);
    tli_shape_t shape = cut(unit, args->row_bytes / unit, TLI_DEPTH);
    /* Wide rows that begin anywhere in a line: what a row's first access leaves out takes room at its end. */
    if (shape.num_items > TLI_WARP_THREADS && bits_of(&args->source) % TLI_LINE_BYTES != 0) {
        shape.line_bytes = TLI_LINE_BYTES;
        shape.num_pieces = divide_up(shape.num_items + TLI_LINE_BYTES / unit - 1, TLI_DEPTH * TLI_WARP_THREADS);
    }
    return shape;
}

int64_t tli_areas_alignment(const tli_rows_t *areas, int64_t num_areas)
{
    uint64_t bits = 0;
    for (int64_t i = 0; i < num_areas; i++)
        bits |= bits_of(&areas[i]);
    return lowest_bit(bits);
}

tli_shape_t tli_reduce_shape(const tli_reduce_args_t *args, int64_t areas_alignment)
{
    int64_t size = (int64_t)tulle_datatype_size(args->datatype);
    int64_t row_bytes = args->width * size;
    int64_t unit = lowest_bit(bits_of(&args->target) | (uint64_t)areas_alignment | (uint64_t)row_bytes);
    int64_t item_bytes = unit == UNIT_BYTES ? UNIT_BYTES : size;
    return cut(unit < item_bytes ? unit : item_bytes, row_bytes / item_bytes, 1);
}

static int64_t blocks_of(const tli_shape_t *shape, int64_t num_rows, int64_t rows_per_thread)
{
    int64_t blocks = divide_up((num_rows * shape->num_pieces) << shape->lane_bits, TLI_BLOCK_THREADS);
    if (blocks > FEW_BLOCKS) {
        blocks = divide_up(blocks, rows_per_thread);
        blocks = blocks < FEW_BLOCKS ? FEW_BLOCKS : blocks > MAX_BLOCKS ? MAX_BLOCKS : blocks;
    }
    return shape->num_items == 0 ? 0 : blocks;
}

int64_t tli_copy_blocks(const tli_shape_t *shape, int64_t num_rows)
{
    return blocks_of(shape, num_rows, shape->num_items > TLI_WARP_THREADS ? 1 : TLI_DEPTH);
}

int64_t tli_reduce_blocks(const tli_shape_t *shape, int64_t num_rows)
{
    return blocks_of(shape, num_rows, 1);
}

tli_push_args_t tli_push_prepare(tli_push_segment_t *segments, int64_t num_segments)
{
    tli_push_args_t args = {NULL, num_segments, 0};
    int64_t most = 0; /* warps of the largest segment: every segment gets as many */
    for (int64_t s = 0; s < num_segments; s++) {
        segments[s].shape = tli_copy_shape(&segments[s].rows);
        int64_t num_pieces = segments[s].rows.num_rows * segments[s].shape.num_pieces;
        int64_t warps = divide_up(num_pieces << segments[s].shape.lane_bits, TLI_WARP_THREADS);
        int64_t limit =
            tli_copy_blocks(&segments[s].shape, segments[s].rows.num_rows) * (TLI_BLOCK_THREADS / TLI_WARP_THREADS);
        warps = warps < limit ? warps : limit;
        most = warps > most ? warps : most;
    }
    args.num_blocks = divide_up(num_segments * most, TLI_BLOCK_THREADS / TLI_WARP_THREADS);
    if (args.num_blocks > MAX_BLOCKS)
        args.num_blocks = MAX_BLOCKS;
    return args;
}

int tli_wire_lane_bits(const tli_wire_args_t *args)
{
    int64_t width = args->is_reduction ? args->reduction.rows.width : args->copy.width;
    return cut(1, width, 1).lane_bits;
}

int64_t tli_wire_blocks(const tli_wire_args_t *args)
{
    int64_t num_rows = args->is_reduction ? args->reduction.rows.num_rows : args->copy.rows.num_rows;
    int64_t num_blocks = divide_up(num_rows << tli_wire_lane_bits(args), TLI_BLOCK_THREADS);
    return num_blocks < MAX_BLOCKS ? num_blocks : MAX_BLOCKS;
}
