/* SPDX-License-Identifier: Apache-2.0
 * Reductions, one loop per type and op so that the compiler vectorizes them: the peers deserve code as fast as ours. */
#include "perf/reduce.h"

#include <math.h>
#include <string.h>

#include "perf/scalar.h"

int perf_reduce_knows(tulle_datatype_t datatype, tulle_op_t op)
{
    if (op == TULLE_OP_REPLACE)
        return 1;
    if (op == TULLE_OP_MIN || op == TULLE_OP_MAX)
        return perf_scalar_parts(datatype) == 1 && datatype != TULLE_BYTE;
    return datatype != TULLE_BYTE;
}

/* Arithmetic happens in `wide`: unsigned for integers, so that they wrap around, and f32 itself for f32. */
#define REDUCE_FUNCTION(name, type, wide)                                                                              \
    static void name(tulle_op_t op, const type *restrict from, type *restrict into, int64_t n)                         \
    {                                                                                                                  \
        switch (op) {                                                                                                  \
        case TULLE_OP_SUM:                                                                                             \
            for (int64_t i = 0; i < n; i++)                                                                            \
                into[i] = (type)((wide)into[i] + (wide)from[i]);                                                       \
            break;                                                                                                     \
        case TULLE_OP_PROD:                                                                                            \
            for (int64_t i = 0; i < n; i++)                                                                            \
                into[i] = (type)((wide)into[i] * (wide)from[i]);                                                       \
            break;                                                                                                     \
        case TULLE_OP_MIN:                                                                                             \
            for (int64_t i = 0; i < n; i++)                                                                            \
                into[i] = from[i] < into[i] ? from[i] : into[i];                                                       \
            break;                                                                                                     \
        case TULLE_OP_MAX:                                                                                             \
            for (int64_t i = 0; i < n; i++)                                                                            \
                into[i] = from[i] > into[i] ? from[i] : into[i];                                                       \
            break;                                                                                                     \
        case TULLE_OP_REPLACE:                                                                                         \
            memcpy(into, from, (size_t)n * sizeof *into);                                                              \
            break;                                                                                                     \
        }                                                                                                              \
    }

REDUCE_FUNCTION(reduce_f64, double, double)
REDUCE_FUNCTION(reduce_f32, float, float)
REDUCE_FUNCTION(reduce_i8, int8_t, uint32_t)
REDUCE_FUNCTION(reduce_u8, uint8_t, uint32_t)
REDUCE_FUNCTION(reduce_i32, int32_t, uint32_t)
REDUCE_FUNCTION(reduce_i64, int64_t, uint64_t)

static void reduce_f16(tulle_op_t op, const uint16_t *from, uint16_t *into, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float value = perf_f16_to_float(into[i]);
        float other = perf_f16_to_float(from[i]);
        reduce_f32(op, &other, &value, 1);
        into[i] = perf_f16_from_float(value);
    }
}

static void reduce_bf16(tulle_op_t op, const uint16_t *from, uint16_t *into, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float value = perf_bf16_to_float(into[i]);
        float other = perf_bf16_to_float(from[i]);
        reduce_f32(op, &other, &value, 1);
        into[i] = perf_bf16_from_float(value);
    }
}

static void multiply_c64(const float *from, float *into, int64_t n)
{
    for (int64_t i = 0; i < 2 * n; i += 2) {
        float real = into[i] * from[i] - into[i + 1] * from[i + 1];
        into[i + 1] = into[i] * from[i + 1] + into[i + 1] * from[i];
        into[i] = real;
    }
}

static void multiply_c128(const double *from, double *into, int64_t n)
{
    for (int64_t i = 0; i < 2 * n; i += 2) {
        double real = into[i] * from[i] - into[i + 1] * from[i + 1];
        into[i + 1] = into[i] * from[i + 1] + into[i + 1] * from[i];
        into[i] = real;
    }
}

void perf_reduce(tulle_datatype_t datatype, tulle_op_t op, const void *from, void *into, int64_t num_scalars)
{
    switch (datatype) {
    case TULLE_F64:
        reduce_f64(op, from, into, num_scalars);
        break;
    case TULLE_F32:
        reduce_f32(op, from, into, num_scalars);
        break;
    case TULLE_F16:
        reduce_f16(op, from, into, num_scalars);
        break;
    case TULLE_BF16:
        reduce_bf16(op, from, into, num_scalars);
        break;
    case TULLE_I8:
        reduce_i8(op, from, into, num_scalars);
        break;
    case TULLE_I32:
        reduce_i32(op, from, into, num_scalars);
        break;
    case TULLE_I64:
        reduce_i64(op, from, into, num_scalars);
        break;
    case TULLE_U8:
    case TULLE_BYTE:
        reduce_u8(op, from, into, num_scalars);
        break;
    case TULLE_C64:
        if (op == TULLE_OP_PROD)
            multiply_c64(from, into, num_scalars);
        else
            reduce_f32(op, from, into, 2 * num_scalars);
        break;
    case TULLE_C128:
        if (op == TULLE_OP_PROD)
            multiply_c128(from, into, num_scalars);
        else
            reduce_f64(op, from, into, 2 * num_scalars);
        break;
    }
}

/* The scalar that loses against every other: +-infinity, or the end of an integer's range. */
static void store_extreme(tulle_datatype_t datatype, int is_min, void *scalar)
{
    float infinity = is_min ? INFINITY : -INFINITY;
    switch (datatype) {
    case TULLE_F64:
        *(double *)scalar = (double)infinity;
        break;
    case TULLE_F32:
        *(float *)scalar = infinity;
        break;
    case TULLE_F16:
        *(uint16_t *)scalar = perf_f16_from_float(infinity);
        break;
    case TULLE_BF16:
        *(uint16_t *)scalar = perf_bf16_from_float(infinity);
        break;
    case TULLE_I8:
        *(int8_t *)scalar = is_min ? INT8_MAX : INT8_MIN;
        break;
    case TULLE_I32:
        *(int32_t *)scalar = is_min ? INT32_MAX : INT32_MIN;
        break;
    case TULLE_I64:
        *(int64_t *)scalar = is_min ? INT64_MAX : INT64_MIN;
        break;
    default:
        *(uint8_t *)scalar = is_min ? UINT8_MAX : 0;
        break;
    }
}

void perf_reduce_fill_identity(tulle_datatype_t datatype, tulle_op_t op, void *scalars, int64_t num_scalars)
{
    static const int64_t one[2] = {1, 0}; /* real, imaginary */
    size_t size = tulle_datatype_size(datatype);
    _Alignas(16) char identity[16] = {0}; /* largest scalar: c128; zero bytes are the zero of every type */
    if (op == TULLE_OP_PROD)
        perf_scalar_store(datatype, one, perf_scalar_parts(datatype), identity);
    if (op == TULLE_OP_MIN || op == TULLE_OP_MAX)
        store_extreme(datatype, op == TULLE_OP_MIN, identity);
    for (int64_t i = 0; i < num_scalars; i++)
        memcpy((char *)scalars + (size_t)i * size, identity, size);
}
