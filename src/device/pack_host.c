/* SPDX-License-Identifier: Apache-2.0
 * Rows in host memory: copies by index, and reductions in a fixed order. */
#include "src/device/pack.h"

#include <string.h>

#include "src/device/half.h"
#include "src/fault.h"

static inline int64_t at(const int64_t *index, int64_t i)
{
    return index != NULL ? index[i] : i;
}

/* Where the rows of a list begin, in locals: through the arguments a compiler would read all of it again behind each
 * row that is written, as bytes may be anything. */
typedef struct places {
    unsigned char *restrict target;
    const unsigned char *restrict source;
    const int64_t *restrict target_index, *restrict source_index;
    int64_t target_stride, source_stride;
} places_t;

static inline places_t places_of(const tli_copy_args_t *a)
{
    return (places_t){a->target.base,  a->source.base,         a->target_index,
                      a->source_index, a->target.stride_bytes, a->source.stride_bytes};
}

static inline unsigned char *target_of(const places_t *p, int64_t i)
{
    return p->target + at(p->target_index, i) * p->target_stride;
}

static inline const unsigned char *source_of(const places_t *p, int64_t i)
{
    return p->source + at(p->source_index, i) * p->source_stride;
}

#define LINE_BYTES           64   /* of a cache */
#define LEAST_PREFETCH       64   /* [bytes] shorter rows come as fast by themselves */
#define PREFETCH_AHEAD_BYTES 2048 /* of rows, between one that is copied and one that is asked for */

/* Asks for the rows that lie anywhere; those that follow one another the processor foresees. */
static inline void prefetch_row(const places_t *p, int64_t i, size_t row_bytes)
{
    for (size_t offset = 0; offset < row_bytes; offset += LINE_BYTES) {
        if (p->source_index != NULL)
            __builtin_prefetch(source_of(p, i) + offset);
        if (p->target_index != NULL)
            __builtin_prefetch(target_of(p, i) + offset, 1);
    }
}

/* The size is a constant in each call, so that the copy of a row is a few moves. */
static inline __attribute__((always_inline)) void copy_fixed(const tli_copy_args_t *a, size_t row_bytes)
{
    const places_t p = places_of(a);
    const int64_t num_rows = a->num_rows;
    const int64_t ahead = row_bytes < LEAST_PREFETCH ? 0 : (int64_t)(PREFETCH_AHEAD_BYTES / row_bytes);
    for (int64_t i = 0; i < num_rows; i++) {
        if (ahead > 0 && i + ahead < num_rows)
            prefetch_row(&p, i + ahead, row_bytes);
        memcpy(target_of(&p, i), source_of(&p, i), row_bytes);
    }
}

static int is_dense(const tli_copy_args_t *a)
{
    return a->target_index == NULL && a->source_index == NULL && a->target.stride_bytes == a->row_bytes &&
           a->source.stride_bytes == a->row_bytes;
}

void tli_copy_rows(const tli_copy_args_t *a)
{
    if (a->num_rows == 0)
        return;
    if (is_dense(a)) {
        memcpy(a->target.base, a->source.base, (size_t)(a->num_rows * a->row_bytes));
        return;
    }
    switch (a->row_bytes) {
    case 4:
        copy_fixed(a, 4);
        break;
    case 8:
        copy_fixed(a, 8);
        break;
    case 16:
        copy_fixed(a, 16);
        break;
    case 32:
        copy_fixed(a, 32);
        break;
    case 64:
        copy_fixed(a, 64);
        break;
    case 256:
        copy_fixed(a, 256);
        break;
    default:
        copy_fixed(a, (size_t)a->row_bytes);
        break;
    }
}

/* --- scalars: target[i] = op(target[i], source[i]) ---------------------------------------------------------------- */

typedef void (*combine_t)(void *target, const void *source, int64_t n);
/* The same for every row of a list. */
typedef void (*combine_rows_t)(const tli_copy_args_t *args, int64_t width);

#define COMBINE_ROWS(name)                                                                                             \
    static void name##_rows(const tli_copy_args_t *a, int64_t width)                                                   \
    {                                                                                                                  \
        const places_t p = places_of(a);                                                                               \
        const int64_t num_rows = a->num_rows;                                                                          \
        if (width == 1)                                                                                                \
            for (int64_t i = 0; i < num_rows; i++)                                                                     \
                name(target_of(&p, i), source_of(&p, i), 1);                                                           \
        else                                                                                                           \
            for (int64_t i = 0; i < num_rows; i++)                                                                     \
                name(target_of(&p, i), source_of(&p, i), width);                                                       \
    }
#define COMBINE(name, type, expression)                                                                                \
    static void name(void *target, const void *source, int64_t n)                                                      \
    {                                                                                                                  \
        type *restrict t = target;                                                                                     \
        const type *restrict s = source;                                                                               \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            type a = t[i], b = s[i];                                                                                   \
            t[i] = (type)(expression);                                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    COMBINE_ROWS(name)
/* Integers wrap: combined in an unsigned type that is at least as wide as int. */
#define COMBINE_ALL(suffix, type, wide)                                                                                \
    COMBINE(sum_##suffix, type, (wide)a + (wide)b)                                                                     \
    COMBINE(prod_##suffix, type, (wide)a *(wide)b)                                                                     \
    COMBINE(min_##suffix, type, b < a ? b : a)                                                                         \
    COMBINE(max_##suffix, type, b > a ? b : a)

COMBINE_ALL(f64, double, double)
COMBINE_ALL(f32, float, float)
COMBINE_ALL(i8, int8_t, uint32_t)
COMBINE_ALL(u8, uint8_t, uint32_t)
COMBINE_ALL(i32, int32_t, uint32_t)
COMBINE_ALL(i64, int64_t, uint64_t)

/* Complex as pairs of reals: no dependence on how C spells them. */
#define COMBINE_COMPLEX(suffix, type)                                                                                  \
    static void sum_##suffix(void *target, const void *source, int64_t n)                                              \
    {                                                                                                                  \
        type *restrict t = target;                                                                                     \
        const type *restrict s = source;                                                                               \
        for (int64_t i = 0; i < 2 * n; i++)                                                                            \
            t[i] += s[i];                                                                                              \
    }                                                                                                                  \
    COMBINE_ROWS(sum_##suffix)                                                                                         \
    static void prod_##suffix(void *target, const void *source, int64_t n)                                             \
    {                                                                                                                  \
        type *restrict t = target;                                                                                     \
        const type *restrict s = source;                                                                               \
        for (int64_t i = 0; i < 2 * n; i += 2) {                                                                       \
            type real = t[i] * s[i] - t[i + 1] * s[i + 1];                                                             \
            t[i + 1] = t[i] * s[i + 1] + t[i + 1] * s[i];                                                              \
            t[i] = real;                                                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    COMBINE_ROWS(prod_##suffix)
COMBINE_COMPLEX(c64, float)
COMBINE_COMPLEX(c128, double)

typedef struct combination {
    combine_t scalars;
    combine_rows_t rows;
} combination_t;

#define OP(name)                                                                                                       \
    {                                                                                                                  \
        name, name##_rows                                                                                              \
    }
#define ALL_OPS(suffix)                                                                                                \
    {                                                                                                                  \
        [TULLE_OP_SUM] = OP(sum_##suffix), [TULLE_OP_MIN] = OP(min_##suffix), [TULLE_OP_MAX] = OP(max_##suffix),       \
        [TULLE_OP_PROD] = OP(prod_##suffix)                                                                            \
    }
static const combination_t combinations[TULLE_BYTE + 1][TULLE_OP_REPLACE + 1] = {
    [TULLE_F64] = ALL_OPS(f64),
    [TULLE_F32] = ALL_OPS(f32),
    [TULLE_I8] = ALL_OPS(i8),
    [TULLE_I32] = ALL_OPS(i32),
    [TULLE_I64] = ALL_OPS(i64),
    [TULLE_U8] = ALL_OPS(u8),
    /* Halves are widened to f32 first. */
    [TULLE_F16] = ALL_OPS(f32),
    [TULLE_BF16] = ALL_OPS(f32),
    [TULLE_C64] = {[TULLE_OP_SUM] = OP(sum_c64), [TULLE_OP_PROD] = OP(prod_c64)},
    [TULLE_C128] = {[TULLE_OP_SUM] = OP(sum_c128), [TULLE_OP_PROD] = OP(prod_c128)},
};

int tli_has_reduction(tulle_datatype_t datatype, tulle_op_t op)
{
    int is_known = datatype >= TULLE_F64 && datatype <= TULLE_BYTE && op >= TULLE_OP_SUM && op <= TULLE_OP_REPLACE;
    return is_known && (op == TULLE_OP_REPLACE || combinations[datatype][op].scalars != NULL);
}

/* --- rows -------------------------------------------------------------------------------------------------------- */

void tli_combine_rows(const tli_copy_args_t *args, tulle_datatype_t datatype, tulle_op_t op, int64_t width)
{
    TLI_ASSERT(datatype != TULLE_F16 && datatype != TULLE_BF16);
    if (op == TULLE_OP_REPLACE)
        tli_copy_rows(args);
    else
        combinations[datatype][op].rows(args, width);
}

static unsigned char *target_row(const tli_reduce_args_t *a, int64_t t)
{
    return a->target.base + at(a->target_index, t) * a->target.stride_bytes;
}

static const unsigned char *entry_row(const tli_reduce_args_t *a, int64_t e)
{
    const tli_rows_t *area = &a->areas[a->entry_area[e]];
    return area->base + a->entry_row[e] * area->stride_bytes;
}

static void replace_rows(const tli_reduce_args_t *a)
{
    size_t row_bytes = (size_t)a->width * tulle_datatype_size(a->datatype);
    for (int64_t t = 0; t < a->num_rows; t++)
        if (a->entry_ptr[t + 1] > a->entry_ptr[t])
            memcpy(target_row(a, t), entry_row(a, a->entry_ptr[t + 1] - 1), row_bytes);
}

static void reduce_native(const tli_reduce_args_t *a, combine_t combine)
{
    size_t row_bytes = (size_t)a->width * tulle_datatype_size(a->datatype);
    for (int64_t t = 0; t < a->num_rows; t++) {
        unsigned char *row = target_row(a, t);
        int64_t e = a->entry_ptr[t];
        if (!a->keeps_target)
            memcpy(row, entry_row(a, e++), row_bytes);
        for (; e < a->entry_ptr[t + 1]; e++)
            combine(row, entry_row(a, e), a->width);
    }
}

#define TILE 128 /* [scalars] of a row that are combined in f32 at a time */

static void widen(tulle_datatype_t datatype, const uint16_t *halves, int64_t n, float *values)
{
    if (datatype == TULLE_F16)
        for (int64_t i = 0; i < n; i++)
            values[i] = tli_f32_from_f16(halves[i]);
    else
        for (int64_t i = 0; i < n; i++)
            values[i] = tli_f32_from_bf16(halves[i]);
}

static void narrow(tulle_datatype_t datatype, const float *values, int64_t n, uint16_t *halves)
{
    if (datatype == TULLE_F16)
        for (int64_t i = 0; i < n; i++)
            halves[i] = tli_f16_from_f32(values[i]);
    else
        for (int64_t i = 0; i < n; i++)
            halves[i] = tli_bf16_from_f32(values[i]);
}

static void reduce_half_tile(const tli_reduce_args_t *a, combine_t combine, int64_t t, int64_t first, int64_t n)
{
    float total[TILE], next[TILE];
    uint16_t *target = (uint16_t *)target_row(a, t) + first;
    int64_t e = a->entry_ptr[t];
    const uint16_t *start = a->keeps_target ? target : (const uint16_t *)entry_row(a, e++) + first;
    widen(a->datatype, start, n, total);
    for (; e < a->entry_ptr[t + 1]; e++) {
        widen(a->datatype, (const uint16_t *)entry_row(a, e) + first, n, next);
        combine(total, next, n);
    }
    narrow(a->datatype, total, n, target);
}

static void reduce_half(const tli_reduce_args_t *a, combine_t combine)
{
    for (int64_t t = 0; t < a->num_rows; t++)
        for (int64_t first = 0; first < a->width; first += TILE)
            reduce_half_tile(a, combine, t, first, a->width - first < TILE ? a->width - first : TILE);
}

void tli_reduce_rows(const tli_reduce_args_t *a)
{
    combine_t combine = combinations[a->datatype][a->op].scalars;
    if (a->op == TULLE_OP_REPLACE)
        replace_rows(a);
    else if (a->datatype == TULLE_F16 || a->datatype == TULLE_BF16)
        reduce_half(a, combine);
    else
        reduce_native(a, combine);
}
