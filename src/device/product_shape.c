/* SPDX-License-Identifier: Apache-2.0
 * How products, and what layers do beside them, are cut over threads: functions of the arguments alone. */
#include "src/device/activate.h"
#include "src/device/pack_device.h"
#include "src/device/product_device.h"

#define UNIT_BYTES 16 /* widest access of a GPU thread */
#define MAX_BLOCKS 65536

/* Whether rows can be read and written in units: each begins at one and is a whole number of them. */
static int is_in_units(const void *base, int64_t stride_bytes, int64_t row_bytes)
{
    return ((uint64_t)(uintptr_t)base | (uint64_t)stride_bytes | (uint64_t)row_bytes) % UNIT_BYTES == 0;
}

static int scalars_per_thread(tulle_datatype_t datatype, const void *rows, int64_t stride, int64_t width)
{
    int64_t size = (int64_t)tulle_datatype_size(datatype);
    return is_in_units(rows, stride * size, width * size) ? (int)(UNIT_BYTES / size) : 1;
}

int tli_product_scalars(const tli_product_args_t *args)
{
    return scalars_per_thread(args->datatype, args->b, args->b_stride, args->width);
}

int tli_round_scalars(const tli_round_args_t *args)
{
    return scalars_per_thread(args->datatype, args->c, args->c_stride, args->width);
}

/* Rows of two arrays that are read, or written, side by side. */
static int scalars_side_by_side(int one, int other)
{
    return one < other ? one : other;
}

int tli_sampled_scalars(const tli_sampled_args_t *args)
{
    return scalars_side_by_side(scalars_per_thread(args->datatype, args->b, args->b_stride, args->width),
                                scalars_per_thread(args->datatype, args->c, args->c_stride, args->width));
}

int tli_activate_scalars(const tli_activate_args_t *args)
{
    return scalars_per_thread(args->datatype, args->y, args->y_stride, args->width);
}

int tli_activate_back_scalars(const tli_activate_back_args_t *args)
{
    const tli_activate_args_t *forward = &args->forward;
    int gradients =
        scalars_side_by_side(scalars_per_thread(forward->datatype, args->dy, args->dy_stride, forward->width),
                             scalars_per_thread(forward->datatype, args->dz, args->dz_stride, forward->width));
    return scalars_side_by_side(tli_activate_scalars(forward), gradients);
}

int tli_sum_lane_bits(int64_t width, int num_scalars)
{
    int bits = 0;
    while (bits < TLI_WARP_BITS && ((int64_t)num_scalars << bits) < width)
        bits++;
    return bits;
}

int64_t tli_product_blocks(int64_t num_rows, int64_t width, int num_scalars)
{
    int64_t per_block = TLI_BLOCK_THREADS * (int64_t)num_scalars;
    double num_blocks = (double)num_rows * (double)width / (double)per_block;
    return num_blocks < MAX_BLOCKS ? (num_rows * width + per_block - 1) / per_block : MAX_BLOCKS;
}
