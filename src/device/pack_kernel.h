/* SPDX-License-Identifier: Apache-2.0
 * What one thread of each kernel does, given its number and how many there are: a whole number of warps. Compiles as C
 * too, so that tests run every thread of a launch on the host. unit, datatype and op are constants where a kernel calls
 * these, and the switches over them vanish. */
#ifndef TLI_PACK_KERNEL_H
#define TLI_PACK_KERNEL_H

#include "src/device/half.h"
#include "src/device/inline.h"
#include "src/device/pack_device.h"

/* Rows hold any type: accesses that may alias. */
typedef uint16_t __attribute__((may_alias)) tli_u16_t;
typedef uint32_t __attribute__((may_alias)) tli_u32_t;
typedef uint64_t __attribute__((may_alias)) tli_u64_t;
typedef struct __attribute__((may_alias, aligned(16))) tli_u128 {
    uint64_t words[2];
} tli_u128_t;

/** Up to 16 bytes of a row; halves are widened in place, to twice as many. */
typedef union tli_item {
    tli_u128_t u128;
    uint64_t u64[2];
    uint32_t u32[4];
    uint16_t u16[8];
    uint8_t u8[16];
    int64_t i64[2];
    int32_t i32[4];
    int8_t i8[16];
    double f64[2];
    float f32[8];
} tli_item_t;

TLI_INLINE int64_t tli_at(const int64_t *index, int64_t i)
{
    return index != NULL ? index[i] : i;
}

/** Row of a task, and which piece of it; the short division where it is enough. */
TLI_INLINE int64_t tli_row_of_task(int64_t task, int64_t num_pieces, int64_t *piece_out)
{
    int64_t row = task;
    if (num_pieces > 1)
        row = ((uint64_t)task | (uint64_t)num_pieces) >> 32 == 0 ? (int64_t)((uint32_t)task / (uint32_t)num_pieces)
                                                                 : task / num_pieces;
    *piece_out = task - row * num_pieces;
    return row;
}

/** @p bytes is a multiple of @p unit, and @p from of unit. */
TLI_INLINE tli_item_t tli_load(const unsigned char *from, int bytes, int unit)
{
    tli_item_t item = {{{0, 0}}};
    switch (unit) {
    case 16:
        item.u128 = *(const tli_u128_t *)from;
        break;
    case 8:
        for (int i = 0; i < bytes / 8; i++)
            item.u64[i] = ((const tli_u64_t *)from)[i];
        break;
    case 4:
        for (int i = 0; i < bytes / 4; i++)
            item.u32[i] = ((const tli_u32_t *)from)[i];
        break;
    case 2:
        for (int i = 0; i < bytes / 2; i++)
            item.u16[i] = ((const tli_u16_t *)from)[i];
        break;
    default:
        for (int i = 0; i < bytes; i++)
            item.u8[i] = from[i];
        break;
    }
    return item;
}

TLI_INLINE void tli_store(unsigned char *to, const tli_item_t *item, int bytes, int unit)
{
    switch (unit) {
    case 16:
        *(tli_u128_t *)to = item->u128;
        break;
    case 8:
        for (int i = 0; i < bytes / 8; i++)
            ((tli_u64_t *)to)[i] = item->u64[i];
        break;
    case 4:
        for (int i = 0; i < bytes / 4; i++)
            ((tli_u32_t *)to)[i] = item->u32[i];
        break;
    case 2:
        for (int i = 0; i < bytes / 2; i++)
            ((tli_u16_t *)to)[i] = item->u16[i];
        break;
    default:
        for (int i = 0; i < bytes; i++)
            to[i] = item->u8[i];
        break;
    }
}

/* --- copies ------------------------------------------------------------------------------------------------------ */

/** Rows of at most a warp's units: a thread takes the same unit of TLI_DEPTH rows at a time. */
TLI_INLINE void tli_copy_narrow(const tli_copy_args_t *a, const tli_shape_t *shape, int64_t thread, int64_t num_threads,
                                int unit)
{
    int64_t first = thread >> shape->lane_bits, step = num_threads >> shape->lane_bits;
    int64_t item = thread & (((int64_t)1 << shape->lane_bits) - 1);
    if (item >= shape->num_items)
        return;
    for (; first < a->num_rows; first += TLI_DEPTH * step) {
        tli_item_t held[TLI_DEPTH] = {{{{0, 0}}}};
        for (int i = 0; i < TLI_DEPTH; i++) {
            int64_t row = first + i * step;
            if (row < a->num_rows)
                held[i] = tli_load(a->source.base + tli_at(a->source_index, row) * a->source.stride_bytes + item * unit,
                                   unit, unit);
        }
        for (int i = 0; i < TLI_DEPTH; i++) {
            int64_t row = first + i * step;
            if (row < a->num_rows)
                tli_store(a->target.base + tli_at(a->target_index, row) * a->target.stride_bytes + item * unit,
                          &held[i], unit, unit);
        }
    }
}

TLI_INLINE int tli_is_within(int64_t item, int64_t num_items)
{
    return (uint64_t)item < (uint64_t)num_items; /* below 0 is beyond */
}

/** Wider rows: a warp takes a piece of a row at a time, each thread TLI_DEPTH units of it. */
TLI_INLINE void tli_copy_wide(const tli_copy_args_t *a, const tli_shape_t *shape, int64_t thread, int64_t num_threads,
                              int unit)
{
    int64_t num_tasks = a->num_rows * shape->num_pieces;
    for (int64_t task = thread >> TLI_WARP_BITS; task < num_tasks; task += num_threads >> TLI_WARP_BITS) {
        tli_item_t held[TLI_DEPTH] = {{{{0, 0}}}};
        int64_t piece, row = tli_row_of_task(task, shape->num_pieces, &piece);
        const unsigned char *from = a->source.base + tli_at(a->source_index, row) * a->source.stride_bytes;
        int64_t skipped = shape->line_bytes > 0 ? (int64_t)((uintptr_t)from % TLI_LINE_BYTES) / unit : 0;
        int64_t first = piece * TLI_DEPTH * TLI_WARP_THREADS + thread % TLI_WARP_THREADS - skipped;
        unsigned char *to = a->target.base + tli_at(a->target_index, row) * a->target.stride_bytes;
        for (int i = 0; i < TLI_DEPTH; i++)
            if (tli_is_within(first + i * TLI_WARP_THREADS, shape->num_items))
                held[i] = tli_load(from + (first + i * TLI_WARP_THREADS) * unit, unit, unit);
        for (int i = 0; i < TLI_DEPTH; i++)
            if (tli_is_within(first + i * TLI_WARP_THREADS, shape->num_items))
                tli_store(to + (first + i * TLI_WARP_THREADS) * unit, &held[i], unit, unit);
    }
}

TLI_INLINE void tli_copy_units(const tli_copy_args_t *a, const tli_shape_t *shape, int64_t thread, int64_t num_threads,
                               int unit)
{
    if (shape->num_items <= TLI_WARP_THREADS)
        tli_copy_narrow(a, shape, thread, num_threads, unit);
    else
        tli_copy_wide(a, shape, thread, num_threads, unit);
}

/** A thread of tli_copy_rows_launch(). */
TLI_INLINE void tli_copy_thread(const tli_copy_args_t *a, const tli_shape_t *shape, int64_t thread, int64_t num_threads)
{
    switch (shape->unit_bytes) {
    case 16:
        tli_copy_units(a, shape, thread, num_threads, 16);
        break;
    case 8:
        tli_copy_units(a, shape, thread, num_threads, 8);
        break;
    case 4:
        tli_copy_units(a, shape, thread, num_threads, 4);
        break;
    case 2:
        tli_copy_units(a, shape, thread, num_threads, 2);
        break;
    default:
        tli_copy_units(a, shape, thread, num_threads, 1);
        break;
    }
}

/** A thread of tli_push_rows_launch(): its warp works on one segment, or on every so-manieth of more than there are
 * warps. */
TLI_INLINE void tli_push_thread(const tli_push_args_t *a, int64_t thread, int64_t num_threads)
{
    int64_t warp = thread >> TLI_WARP_BITS, num_warps = num_threads >> TLI_WARP_BITS;
    int64_t lane = thread % TLI_WARP_THREADS;
    int64_t step = num_warps < a->num_segments ? num_warps : a->num_segments;
    for (int64_t s = warp % step; s < a->num_segments; s += step) {
        tli_push_segment_t segment = a->segments[s]; /* read once: the stores below might change it */
        int64_t num_sharing = (num_warps - s % step + step - 1) / step;
        tli_copy_thread(&segment.rows, &segment.shape, warp / step * TLI_WARP_THREADS + lane,
                        num_sharing * TLI_WARP_THREADS);
    }
}

/* --- reductions -------------------------------------------------------------------------------------------------- */

TLI_INLINE int tli_is_half(tulle_datatype_t datatype)
{
    return datatype == TULLE_F16 || datatype == TULLE_BF16;
}

TLI_INLINE tli_item_t tli_widen(tulle_datatype_t datatype, const tli_item_t *item, int num_scalars)
{
    tli_item_t wide = *item;
    if (tli_is_half(datatype))
        for (int i = 0; i < num_scalars; i++)
            wide.f32[i] = datatype == TULLE_F16 ? tli_f32_from_f16(item->u16[i]) : tli_f32_from_bf16(item->u16[i]);
    return wide;
}

TLI_INLINE tli_item_t tli_narrow(tulle_datatype_t datatype, const tli_item_t *wide, int num_scalars)
{
    tli_item_t item = *wide;
    if (tli_is_half(datatype))
        for (int i = 0; i < num_scalars; i++)
            item.u16[i] = datatype == TULLE_F16 ? tli_f16_from_f32(wide->f32[i]) : tli_bf16_from_f32(wide->f32[i]);
    return item;
}

/* The same expressions as in pack_host.c. Nothing may be fused there or here: pack.cu is compiled with --fmad=false. */
#define TLI_COMBINE(member, type, wide)                                                                                \
    for (int i = 0; i < num_scalars; i++) {                                                                            \
        type a = total->member[i], b = next->member[i];                                                                \
        if (op == TULLE_OP_SUM)                                                                                        \
            total->member[i] = (type)((wide)a + (wide)b);                                                              \
        else if (op == TULLE_OP_PROD)                                                                                  \
            total->member[i] = (type)((wide)a * (wide)b);                                                              \
        else if (op == TULLE_OP_MIN)                                                                                   \
            total->member[i] = b < a ? b : a;                                                                          \
        else                                                                                                           \
            total->member[i] = b > a ? b : a;                                                                          \
    }
#define TLI_COMBINE_COMPLEX(member, type)                                                                              \
    for (int i = 0; i < 2 * num_scalars; i += 2) {                                                                     \
        type *t = &total->member[i];                                                                                   \
        const type *s = &next->member[i];                                                                              \
        type real = op == TULLE_OP_SUM ? t[0] + s[0] : t[0] * s[0] - t[1] * s[1];                                      \
        t[1] = op == TULLE_OP_SUM ? t[1] + s[1] : t[0] * s[1] + t[1] * s[0];                                           \
        t[0] = real;                                                                                                   \
    }

/** total = op(total, next) for num_scalars scalars, halves as f32. Not for TULLE_OP_REPLACE. */
TLI_INLINE void tli_combine(tulle_datatype_t datatype, tulle_op_t op, tli_item_t *total, const tli_item_t *next,
                            int num_scalars)
{
    switch (datatype) {
    case TULLE_F64:
        TLI_COMBINE(f64, double, double)
        break;
    case TULLE_F32:
    case TULLE_F16:
    case TULLE_BF16:
        TLI_COMBINE(f32, float, float)
        break;
    case TULLE_I8:
        TLI_COMBINE(i8, int8_t, uint32_t)
        break;
    case TULLE_U8:
        TLI_COMBINE(u8, uint8_t, uint32_t)
        break;
    case TULLE_I32:
        TLI_COMBINE(i32, int32_t, uint32_t)
        break;
    case TULLE_I64:
        TLI_COMBINE(i64, int64_t, uint64_t)
        break;
    case TULLE_C64:
        TLI_COMBINE_COMPLEX(f32, float)
        break;
    case TULLE_C128:
        TLI_COMBINE_COMPLEX(f64, double)
        break;
    case TULLE_BYTE: /* replace only */
        break;
    }
}

/** One item of one target: over its entries in their order, then written once. */
TLI_INLINE void tli_reduce_item(const tli_reduce_args_t *a, tulle_datatype_t datatype, tulle_op_t op, int64_t t,
                                int64_t offset, int bytes, int num_scalars, int unit)
{
    unsigned char *target = a->target.base + tli_at(a->target_index, t) * a->target.stride_bytes + offset;
    int64_t e = a->entry_ptr[t], end = a->entry_ptr[t + 1];
    tli_item_t total;
    if (e == end)
        return;
    if (op == TULLE_OP_REPLACE)
        e = end - 1;
    if (op != TULLE_OP_REPLACE && a->keeps_target) {
        total = tli_load(target, bytes, unit);
    } else {
        const tli_rows_t *area = &a->areas[a->entry_area[e]];
        total = tli_load(area->base + a->entry_row[e] * area->stride_bytes + offset, bytes, unit);
        e++;
    }
    if (op != TULLE_OP_REPLACE) {
        total = tli_widen(datatype, &total, num_scalars);
        for (; e < end; e++) {
            const tli_rows_t *area = &a->areas[a->entry_area[e]];
            tli_item_t next = tli_load(area->base + a->entry_row[e] * area->stride_bytes + offset, bytes, unit);
            next = tli_widen(datatype, &next, num_scalars);
            tli_combine(datatype, op, &total, &next, num_scalars);
        }
        total = tli_narrow(datatype, &total, num_scalars);
    }
    tli_store(target, &total, bytes, unit);
}

/** A thread of tli_reduce_rows_launch(). @param[in] size of the datatype: a constant, which a call would not be */
TLI_INLINE void tli_reduce_thread(const tli_reduce_args_t *a, const tli_shape_t *shape, tulle_datatype_t datatype,
                                  int size, tulle_op_t op, int64_t thread, int64_t num_threads)
{
    int64_t num_tasks = a->num_rows * shape->num_pieces;
    int64_t lane = thread & (((int64_t)1 << shape->lane_bits) - 1);
    for (int64_t task = thread >> shape->lane_bits; task < num_tasks; task += num_threads >> shape->lane_bits) {
        int64_t piece, row = tli_row_of_task(task, shape->num_pieces, &piece);
        int64_t item = piece * TLI_WARP_THREADS + lane;
        if (item >= shape->num_items)
            continue;
        if (shape->unit_bytes == 16)
            tli_reduce_item(a, datatype, op, row, item * 16, 16, 16 / size, 16);
        else if (shape->unit_bytes == size)
            tli_reduce_item(a, datatype, op, row, item * size, size, 1, size);
        else
            tli_reduce_item(a, datatype, op, row, item * size, size, 1, shape->unit_bytes);
    }
}

#endif
