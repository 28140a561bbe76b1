/* SPDX-License-Identifier: Apache-2.0
 * Integers are combined modulo 2^64 and cut; f32 in double and rounded, which for one operation is the same; f16 and
 * bf16 like f32, and rounded by definition at the very end. */
#include "pack_oracle.h"

#include <math.h>
#include <string.h>

#include "half_reference.h"

/* A scalar in a form wide enough for every datatype. */
typedef struct wide {
    double real, imaginary;
    int64_t whole;
    unsigned char raw;
} wide_t;

static half_format_t half_format(tulle_datatype_t datatype)
{
    return datatype == TULLE_F16 ? half_f16 : half_bf16;
}

#define READ(type, member)                                                                                             \
    do {                                                                                                               \
        type value[2] = {0};                                                                                           \
        memcpy(value, scalar, tulle_datatype_size(datatype));                                                          \
        wide.member = value[0];                                                                                        \
        wide.imaginary = (double)value[1];                                                                             \
    } while (0)

static wide_t read_scalar(tulle_datatype_t datatype, const void *scalar)
{
    wide_t wide = {0};
    uint16_t half = 0;
    switch (datatype) {
    case TULLE_F64:
    case TULLE_C128:
        READ(double, real);
        break;
    case TULLE_F32:
    case TULLE_C64:
        READ(float, real);
        break;
    case TULLE_F16:
    case TULLE_BF16:
        memcpy(&half, scalar, sizeof half);
        wide.real = half_reference_value(half_format(datatype), half);
        break;
    case TULLE_I8:
        READ(int8_t, whole);
        break;
    case TULLE_I32:
        READ(int32_t, whole);
        break;
    case TULLE_I64:
        READ(int64_t, whole);
        break;
    case TULLE_U8:
        READ(uint8_t, whole);
        break;
    case TULLE_BYTE:
        memcpy(&wide.raw, scalar, 1);
        break;
    }
    return wide;
}

#define WRITE(type, member)                                                                                            \
    do {                                                                                                               \
        type value[2] = {(type)wide->member, (type)wide->imaginary};                                                   \
        memcpy(scalar, value, tulle_datatype_size(datatype));                                                          \
    } while (0)

static void write_scalar(tulle_datatype_t datatype, const wide_t *wide, void *scalar)
{
    uint16_t half = 0;
    switch (datatype) {
    case TULLE_F64:
    case TULLE_C128:
        WRITE(double, real);
        break;
    case TULLE_F32:
    case TULLE_C64:
        WRITE(float, real);
        break;
    case TULLE_F16:
    case TULLE_BF16:
        half = half_reference_nearest(half_format(datatype), wide->real);
        memcpy(scalar, &half, sizeof half);
        break;
    case TULLE_I8:
        WRITE(uint8_t, whole);
        break;
    case TULLE_I32:
        WRITE(uint32_t, whole);
        break;
    case TULLE_I64:
        WRITE(uint64_t, whole);
        break;
    case TULLE_U8:
        WRITE(uint8_t, whole);
        break;
    case TULLE_BYTE:
        memcpy(scalar, &wide->raw, 1);
        break;
    }
}

/* The type in which intermediate results are held. */
static double hold(tulle_datatype_t datatype, double value)
{
    int is_double = datatype == TULLE_F64 || datatype == TULLE_C128;
    return is_double ? value : (double)(float)value;
}

/* Whether b takes the place of a: of equal ones the first stays. */
static int comes_first(tulle_op_t op, const wide_t *a, const wide_t *b)
{
    int is_less = b->real < a->real || b->whole < a->whole;
    int is_more = b->real > a->real || b->whole > a->whole;
    return op == TULLE_OP_MIN ? is_less : is_more;
}

static wide_t combine(tulle_datatype_t datatype, tulle_op_t op, const wide_t *a, const wide_t *b)
{
    wide_t result = *a;
    switch (op) {
    case TULLE_OP_SUM:
        result.real = hold(datatype, a->real + b->real);
        result.imaginary = hold(datatype, a->imaginary + b->imaginary);
        result.whole = (int64_t)((uint64_t)a->whole + (uint64_t)b->whole);
        break;
    case TULLE_OP_PROD:
        result.real = hold(datatype, a->real * b->real);
        if (datatype == TULLE_C64 || datatype == TULLE_C128) {
            result.real -= a->imaginary * b->imaginary;
            result.imaginary = a->real * b->imaginary + a->imaginary * b->real;
        }
        result.whole = (int64_t)((uint64_t)a->whole * (uint64_t)b->whole);
        break;
    case TULLE_OP_MIN:
    case TULLE_OP_MAX:
        if (comes_first(op, a, b))
            result = *b;
        break;
    case TULLE_OP_REPLACE:
        result = *b;
        break;
    }
    return result;
}

static void reduce_scalar(const tli_reduce_args_t *a, int64_t t, int64_t column)
{
    int64_t offset = column * (int64_t)tulle_datatype_size(a->datatype);
    int64_t row = a->target_index != NULL ? a->target_index[t] : t;
    unsigned char *target = a->target.base + row * a->target.stride_bytes + offset;
    int has_value = a->keeps_target;
    wide_t total = {0};
    if (has_value)
        total = read_scalar(a->datatype, target);
    for (int64_t e = a->entry_ptr[t]; e < a->entry_ptr[t + 1]; e++) {
        const tli_rows_t *area = &a->areas[a->entry_area[e]];
        wide_t next = read_scalar(a->datatype, area->base + a->entry_row[e] * area->stride_bytes + offset);
        total = has_value ? combine(a->datatype, a->op, &total, &next) : next;
        has_value = 1;
    }
    write_scalar(a->datatype, &total, target);
}

void pack_oracle_reduce(const tli_reduce_args_t *args)
{
    for (int64_t t = 0; t < args->num_rows; t++)
        for (int64_t column = 0; column < args->width; column++)
            reduce_scalar(args, t, column);
}

static double random_real(spt_random_t *random, tulle_datatype_t datatype)
{
    if (datatype == TULLE_C64 || datatype == TULLE_C128)
        return (double)(spt_below(random, 17) - 8);
    double magnitude = ldexp((double)spt_below(random, (int64_t)1 << 53), (int)spt_below(random, 12) - 58);
    return spt_below(random, 20) == 0 ? 0.0 : spt_below(random, 2) == 0 ? magnitude : -magnitude;
}

void pack_oracle_random(spt_random_t *random, tulle_datatype_t datatype, void *scalar)
{
    wide_t wide = {0};
    wide.real = random_real(random, datatype);
    wide.imaginary = random_real(random, datatype);
    wide.whole = (int64_t)spt_next(random);
    wide.raw = (unsigned char)spt_next(random);
    write_scalar(datatype, &wide, scalar);
}
