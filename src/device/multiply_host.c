/* SPDX-License-Identifier: Apache-2.0
 * Sparse block times dense rows, in host memory: by the longest vectors that the processor has, by threads where the
 * caller says so. Every row is computed by one thread in the order of its nonzeros, whatever their number. */
#include <stddef.h>

#include "src/device/half.h"
#include "src/device/multiply_kernel.h"
#include "src/fault.h"
#include "src/sort.h"

#ifdef _OPENMP
#include <omp.h>
#endif

/* [bytes] Where processors have some 32 MB of level 3, which others use, too, and B and the nonzeros are as large: the
 * system's word for its size is not to be relied on in virtual machines (320 MB, of which there are 32). */
#define FAR_BYTES         (INT64_C(8) << 20)
#define FAR_BYTES_OF_CORE (INT64_C(2) << 20)

/* --- blocks ------------------------------------------------------------------------------------------------------- */

tulle_status_t tli_sparse_list_fresh(tli_arena_t *arena, tli_sparse_t *block)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    unsigned char *is_used = NULL;
    int64_t n = 0, num_nonzeros = block->num_rows > 0 ? block->row_ptr[block->num_rows] : 0;
    TLI_TRY(tli_arena_alloc(&scratch, block->num_cols, 1, &is_used));
    TLI_TRY(tli_arena_alloc(arena, block->num_rows + 1, sizeof *block->fresh_ptr, &block->fresh_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, num_nonzeros < block->num_cols ? num_nonzeros : block->num_cols,
                                sizeof *block->fresh, &block->fresh));
    for (int64_t i = 0; i < block->num_rows; i++) {
        for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++) {
            if (!is_used[block->col[e]])
                block->fresh[n++] = block->col[e];
            is_used[block->col[e]] = 1;
        }
        block->fresh_ptr[i + 1] = n;
    }
done:
    tli_arena_release(&scratch);
    return st;
}

/* --- by column: what fills no vector ----------------------------------------------------------------------------- */

static void f32_columns(const tli_multiply_args_t *args, int64_t first, int64_t last, int64_t column)
{
    const tli_sparse_t *block = args->block;
    const float *values = block->values, *b = args->b;
    for (int64_t i = first; i < last; i++) {
        float *c = (float *)args->c + tli_multiply_row(args, i) * args->c_stride;
        for (int64_t k = column; k < args->width; k++) {
            float sum = 0;
            for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++)
                sum += values[e] * b[block->col[e] * args->b_stride + k];
            c[k] = (float)args->alpha * sum + (args->beta == 0 ? 0 : (float)args->beta * c[k]);
        }
    }
}

static void f64_columns(const tli_multiply_args_t *args, int64_t first, int64_t last, int64_t column)
{
    const tli_sparse_t *block = args->block;
    const double *values = block->values, *b = args->b;
    for (int64_t i = first; i < last; i++) {
        double *c = (double *)args->c + tli_multiply_row(args, i) * args->c_stride;
        for (int64_t k = column; k < args->width; k++) {
            double sum = 0;
            for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++)
                sum += values[e] * b[block->col[e] * args->b_stride + k];
            c[k] = args->alpha * sum + (args->beta == 0 ? 0 : args->beta * c[k]);
        }
    }
}

/* --- by vectors, from short to long ------------------------------------------------------------------------------ */

typedef float f32x4_t __attribute__((vector_size(16)));

/* What passes the caches need not be read into them before. */
static inline __attribute__((always_inline)) void stream_16(void *to, f32x4_t vector)
{
#ifdef __x86_64__
    _mm_stream_ps(to, vector);
#else
    *(f32x4_t *)to = vector;
#endif
}

/* Others may read C once the rows are done. */
static void end_streams(void)
{
#ifdef __x86_64__
    _mm_sfence();
#endif
}

#define SCALAR       float
#define VECTOR_BYTES 16
#define NAME(x)      f32_##x
#define TARGET
#define STREAM(to, vector) stream_16(to, (f32x4_t)(vector))
#define NARROWER           f32_columns
#include "src/device/multiply_rows.h"
#define SCALAR       double
#define VECTOR_BYTES 16
#define NAME(x)      f64_##x
#define TARGET
#define STREAM(to, vector) stream_16(to, (f32x4_t)(vector))
#define NARROWER           f64_columns
#include "src/device/multiply_rows.h"

#ifdef __x86_64__
#define SCALAR             float
#define VECTOR_BYTES       32
#define NAME(x)            f32_avx2_##x
#define TARGET             TLI_AVX2
#define STREAM(to, vector) _mm256_stream_ps(to, (__m256)(vector))
#define NARROWER           f32_rows
#include "src/device/multiply_rows.h"
#define SCALAR             double
#define VECTOR_BYTES       32
#define NAME(x)            f64_avx2_##x
#define TARGET             TLI_AVX2
#define STREAM(to, vector) _mm256_stream_pd(to, (__m256d)(vector))
#define NARROWER           f64_rows
#include "src/device/multiply_rows.h"
#define SCALAR             float
#define VECTOR_BYTES       64
#define NAME(x)            f32_avx512_##x
#define TARGET             TLI_AVX512
#define STREAM(to, vector) _mm512_stream_ps(to, (__m512)(vector))
#define NARROWER           f32_avx2_rows
#include "src/device/multiply_rows.h"
#define SCALAR             double
#define VECTOR_BYTES       64
#define NAME(x)            f64_avx512_##x
#define TARGET             TLI_AVX512
#define STREAM(to, vector) _mm512_stream_pd(to, (__m512d)(vector))
#define NARROWER           f64_avx2_rows
#include "src/device/multiply_rows.h"

static tli_multiply_rows_t choose_whole_rows(tulle_datatype_t datatype)
{
    switch (tli_vector_bytes()) {
    case 64:
        return datatype == TULLE_F32 ? f32_avx512_rows : f64_avx512_rows;
    case 32:
        return datatype == TULLE_F32 ? f32_avx2_rows : f64_avx2_rows;
    default:
        return datatype == TULLE_F32 ? f32_rows : f64_rows;
    }
}
#else
static tli_multiply_rows_t choose_whole_rows(tulle_datatype_t datatype)
{
    return datatype == TULLE_F32 ? f32_rows : f64_rows;
}
#endif

static tli_multiply_rows_t choose_rows(tulle_datatype_t datatype)
{
    int is_half = datatype == TULLE_F16 || datatype == TULLE_BF16;
    return is_half ? tli_multiply_half_rows(datatype) : choose_whole_rows(datatype);
}

/* --- by threads -------------------------------------------------------------------------------------------------- */

#ifdef _OPENMP
/* Row at which a thread begins: all have about as many nonzeros. */
static int64_t first_of_thread(const tli_multiply_args_t *args, int thread, int num_threads)
{
    const int64_t *row_ptr = args->block->row_ptr;
    int64_t all = row_ptr[args->last] - row_ptr[args->first];
    int64_t wanted = row_ptr[args->first] + all * thread / num_threads;
    return thread < num_threads ? args->first + tli_lower_bound(row_ptr + args->first, args->last - args->first, wanted)
                                : args->last;
}
#endif

static void multiply_alone(const tli_multiply_args_t *args, tli_multiply_rows_t rows, int64_t first, int64_t last)
{
    rows(args, first, last, 0);
    if (args->is_far)
        end_streams();
}

#ifdef _OPENMP
static void multiply_by_threads(const tli_multiply_args_t *args, tli_multiply_rows_t rows)
{
#pragma omp parallel num_threads(args->num_threads)
    {
        int thread = omp_get_thread_num(), num_threads = omp_get_num_threads();
        multiply_alone(args, rows, first_of_thread(args, thread, num_threads),
                       first_of_thread(args, thread + 1, num_threads));
    }
}
#endif

void tli_multiply(const tli_multiply_args_t *args)
{
    tli_multiply_rows_t rows = choose_rows(args->datatype);
#ifdef _OPENMP
    if (args->num_threads > 1) {
        multiply_by_threads(args, rows);
        return;
    }
#endif
    multiply_alone(args, rows, args->first, args->last);
}

int64_t tli_multiply_far_bytes(int num_ranks)
{
    int64_t share = FAR_BYTES / num_ranks;
    return share > FAR_BYTES_OF_CORE ? share : FAR_BYTES_OF_CORE;
}

int tli_multiply_num_threads(int wanted, int num_ranks)
{
#ifdef _OPENMP
    int share = omp_get_num_procs() / num_ranks, most = omp_get_max_threads();
    if (wanted > 0)
        return wanted;
    share = share < most ? share : most;
    return share > 1 ? share : 1;
#else
    (void)wanted, (void)num_ranks;
    return 1;
#endif
}

/* --- inner products ---------------------------------------------------------------------------------------------- */

static double dot_f32(const float *b, const float *c, int64_t width)
{
    double sum = 0;
    for (int64_t k = 0; k < width; k++)
        sum += (double)b[k] * (double)c[k];
    return sum;
}

static double dot_f64(const double *b, const double *c, int64_t width)
{
    double sum = 0;
    for (int64_t k = 0; k < width; k++)
        sum += b[k] * c[k];
    return sum;
}

static double dot_half(const uint16_t *b, const uint16_t *c, int64_t width, int is_bf16)
{
    double sum = 0;
    for (int64_t k = 0; k < width; k++)
        sum += (double)tli_f32_from_half(is_bf16, b[k]) * (double)tli_f32_from_half(is_bf16, c[k]);
    return sum;
}

static void sample(const tli_multiply_args_t *args, int64_t row, int64_t e, void *values_out)
{
    const tli_sparse_t *block = args->block;
    const int is_bf16 = args->datatype == TULLE_BF16;
    int64_t at_b = block->col[e] * args->b_stride, at_c = row * args->c_stride, to = block->entry[e];
    if (args->datatype == TULLE_F64)
        ((double *)values_out)[to] =
            args->alpha * dot_f64((const double *)args->b + at_b, (const double *)args->c + at_c, args->width);
    else if (args->datatype == TULLE_F32)
        ((float *)values_out)[to] =
            (float)(args->alpha * dot_f32((const float *)args->b + at_b, (const float *)args->c + at_c, args->width));
    else
        ((uint16_t *)values_out)[to] = tli_half_from_f32(
            is_bf16, (float)(args->alpha * dot_half((const uint16_t *)args->b + at_b, (const uint16_t *)args->c + at_c,
                                                    args->width, is_bf16)));
}

void tli_multiply_sampled(const tli_multiply_args_t *args, void *values_out)
{
    const tli_sparse_t *block = args->block;
    for (int64_t i = args->first; i < args->last; i++)
        for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++)
            sample(args, tli_multiply_row(args, i), e, values_out);
}
