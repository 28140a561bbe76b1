/* SPDX-License-Identifier: Apache-2.0
 * What one thread does for rows of f32 that are rounded or widened, as pack_kernel.h has it for all others: in C too,
 * and alike on GPU and host. The threads of a row tell each other nothing: where a row has a scale, each finds it. */
#ifndef TLI_WIRE_KERNEL_H
#define TLI_WIRE_KERNEL_H

#include "src/device/fp8.h"
#include "src/device/pack_kernel.h"
#include "src/device/wire_device.h"

/** Scalar k of a row. */
TLI_INLINE float tli_wire_load(tulle_wire_precision_t precision, const unsigned char *row, int64_t k)
{
    switch (precision) {
    case TULLE_WIRE_PRECISION_BF16:
        return tli_f32_from_bf16(((const tli_u16_t *)row)[k]);
    case TULLE_WIRE_PRECISION_F16:
        return tli_f32_from_f16(((const tli_u16_t *)row)[k]);
    case TULLE_WIRE_PRECISION_FP8:
        return tli_f32_from_fp8(row[1 + k], tli_fp8_unit(row[0]));
    default:
        return tli_f32_from_bits(((const tli_u32_t *)row)[k]);
    }
}

/** @param[in] scale of fp8 */
TLI_INLINE void tli_wire_store(tulle_wire_precision_t precision, unsigned char *row, int64_t k, float value,
                               uint8_t scale)
{
    switch (precision) {
    case TULLE_WIRE_PRECISION_BF16:
        ((tli_u16_t *)row)[k] = tli_bf16_from_f32(value);
        break;
    case TULLE_WIRE_PRECISION_F16:
        ((tli_u16_t *)row)[k] = tli_f16_from_f32(value);
        break;
    case TULLE_WIRE_PRECISION_FP8:
        row[1 + k] = tli_fp8_from_f32(value, tli_fp8_inverse(scale), tli_fp8_limit(scale));
        break;
    default:
        ((tli_u32_t *)row)[k] = tli_bits_from_f32(value);
        break;
    }
}

/** The expressions of pack_host.c. */
TLI_INLINE float tli_combine_f32(tulle_op_t op, float a, float b)
{
    switch (op) {
    case TULLE_OP_SUM:
        return a + b;
    case TULLE_OP_PROD:
        return a * b;
    case TULLE_OP_MIN:
        return b < a ? b : a;
    case TULLE_OP_MAX:
        return b > a ? b : a;
    default:
        return b;
    }
}

TLI_INLINE float tli_wire_entry(const tli_wire_reduce_args_t *a, int64_t e, int64_t k)
{
    const tli_rows_t *area = &a->rows.areas[a->rows.entry_area[e]];
    return tli_wire_load((tulle_wire_precision_t)a->area_precision[a->rows.entry_area[e]],
                         area->base + a->rows.entry_row[e] * area->stride_bytes, k);
}

/** Scalar k of target row t, which has an entry. */
TLI_INLINE float tli_wire_total(const tli_wire_reduce_args_t *a, int64_t t, const unsigned char *row, int64_t k)
{
    int64_t e = a->rows.entry_ptr[t], end = a->rows.entry_ptr[t + 1];
    if (a->rows.op == TULLE_OP_REPLACE)
        return tli_wire_entry(a, end - 1, k);
    float total = a->rows.keeps_target ? tli_wire_load(TULLE_WIRE_PRECISION_NONE, row, k) : tli_wire_entry(a, e++, k);
    for (; e < end; e++)
        total = tli_combine_f32(a->rows.op, total, tli_wire_entry(a, e, k));
    return total;
}

/** @param[in] row target, which is not rounded where its old value counts */
TLI_INLINE float tli_wire_value(const tli_wire_args_t *a, int64_t t, const unsigned char *row, int64_t k)
{
    const tli_copy_args_t *copy = &a->copy.rows;
    if (a->is_reduction)
        return tli_wire_total(&a->reduction, t, row, k);
    return tli_wire_load(a->copy.source, copy->source.base + tli_at(copy->source_index, t) * copy->source.stride_bytes,
                         k);
}

TLI_INLINE uint8_t tli_wire_scale(const tli_wire_args_t *a, int64_t t, const unsigned char *row, int64_t width)
{
    uint32_t largest = 0;
    for (int64_t k = 0; k < width; k++) {
        uint32_t magnitude = tli_bits_from_f32(tli_wire_value(a, t, row, k)) & 0x7fffffffu;
        largest = magnitude < 0x7f800000u && magnitude > largest ? magnitude : largest;
    }
    return tli_fp8_scale(largest);
}

/** A thread of tli_wire_rows_launch(): every so-manieth scalar of a row, 2^lane_bits threads to a row. */
TLI_INLINE void tli_wire_thread(const tli_wire_args_t *a, int lane_bits, int64_t thread, int64_t num_threads)
{
    const tli_reduce_args_t *reduction = &a->reduction.rows;
    const tli_rows_t *target = a->is_reduction ? &reduction->target : &a->copy.rows.target;
    const int64_t *index = a->is_reduction ? reduction->target_index : a->copy.rows.target_index;
    tulle_wire_precision_t precision = a->is_reduction ? a->reduction.target : a->copy.target;
    int64_t num_rows = a->is_reduction ? reduction->num_rows : a->copy.rows.num_rows;
    int64_t width = a->is_reduction ? reduction->width : a->copy.width;
    int64_t lane = thread & (((int64_t)1 << lane_bits) - 1);
    for (int64_t t = thread >> lane_bits; t < num_rows; t += num_threads >> lane_bits) {
        unsigned char *row = target->base + tli_at(index, t) * target->stride_bytes;
        uint8_t scale = 0;
        if (a->is_reduction && reduction->entry_ptr[t] == reduction->entry_ptr[t + 1])
            continue;
        if (precision == TULLE_WIRE_PRECISION_FP8)
            scale = tli_wire_scale(a, t, row, width);
        if (precision == TULLE_WIRE_PRECISION_FP8 && lane == 0)
            row[0] = scale;
        for (int64_t k = lane; k < width; k += (int64_t)1 << lane_bits)
            tli_wire_store(precision, row, k, tli_wire_value(a, t, row, k), scale);
    }
}

#endif
