/* SPDX-License-Identifier: Apache-2.0
 * Kernels of the emulated GPU: all threads of a launch, one after the other, doing what pack_kernel.h says. A few warps
 * are as good as many. */
#include <stdlib.h>
#include <string.h>

#include "src/arena.h"
#include "src/device/activate_kernel.h"
#include "src/device/pack_kernel.h"
#include "src/device/product_kernel.h"
#include "src/device/product_library.h"
#include "src/device/wire_kernel.h"
#include "src/fault.h"
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

/* --- products ---------------------------------------------------------------------------------------------------- */

static void check_product(const tli_product_args_t *product)
{
    const tli_device_sparse_t *block = &product->block;
    check(block->row, "rows of a block");
    check(block->row_ptr, "offsets of a block");
    check(block->num_nonzeros > 0 ? block->col : NULL, "columns of a block");
    check(block->num_nonzeros > 0 ? block->values : NULL, "values of a block");
    check(product->b, "rows of B");
    check(product->c, "rows of C");
}

static void run_product(const void *args)
{
    const tli_product_args_t *product = args;
    check_product(product);
    for (int64_t thread = 0; thread < NUM_THREADS; thread++)
        tli_product_thread(product, product->datatype, tli_product_scalars(product), thread, NUM_THREADS);
}

static void run_round(const void *args)
{
    const tli_round_args_t *rows = args;
    check(rows->sums, "sums");
    check(rows->c, "rows of C");
    check(rows->row, "rows to round to");
    for (int64_t thread = 0; thread < NUM_THREADS; thread++)
        tli_round_thread(rows, rows->datatype, tli_round_scalars(rows), thread, NUM_THREADS);
}

tulle_status_t tli_product_launch(const tli_product_args_t *args, void *stream)
{
    if (args->block.num_rows > 0)
        emulated_gpu_enqueue(stream, run_product, args, sizeof *args);
    return TULLE_OK;
}

tulle_status_t tli_round_rows_launch(const tli_round_args_t *args, void *stream)
{
    if (args->num_rows > 0)
        emulated_gpu_enqueue(stream, run_round, args, sizeof *args);
    return TULLE_OK;
}

/* --- sums over rows: lanes that share a row add up in pairs, as a warp does --------------------------------------- */

static double sum_of_lanes(double *share, int num_lanes)
{
    for (int distance = num_lanes / 2; distance > 0; distance /= 2)
        for (int lane = 0; lane < distance; lane++)
            share[lane] += share[lane + distance];
    return share[0];
}

static void run_sampled(const void *args)
{
    const tli_sampled_args_t *sampled = args;
    double share[TLI_WARP_THREADS];
    int n = tli_sampled_scalars(sampled), num_lanes = 1 << tli_sum_lane_bits(sampled->width, n);
    check(sampled->row, "rows of nonzeros");
    check(sampled->col, "columns of nonzeros");
    check(sampled->entry, "places of nonzeros");
    check(sampled->b, "rows of X");
    check(sampled->c, "rows of Y");
    check(sampled->values_out, "inner products");
    for (int64_t e = 0; e < sampled->num_nonzeros; e++) {
        for (int lane = 0; lane < num_lanes; lane++)
            share[lane] = tli_sampled_lane(sampled, sampled->datatype, n, e, lane, num_lanes);
        tli_sampled_store(sampled, sampled->datatype, e, sum_of_lanes(share, num_lanes));
    }
}

static void run_activation(const void *args)
{
    const tli_activate_args_t *rows = args;
    check(rows->bias, "biases");
    check(rows->y, "rows of Y");
    for (int64_t thread = 0; thread < NUM_THREADS; thread++)
        tli_activate_thread(rows, rows->datatype, tli_activate_scalars(rows), thread, NUM_THREADS);
}

static void run_activation_back(const void *args)
{
    const tli_activate_back_args_t *rows = args;
    const tli_activate_args_t *forward = &rows->forward;
    double share[TLI_WARP_THREADS];
    int n = tli_activate_back_scalars(rows), num_lanes = 1 << tli_sum_lane_bits(forward->width, n);
    check(forward->y, "rows of Y");
    check(rows->dy, "gradients of Y");
    check(rows->dz, "gradients of a product");
    check(rows->dbias, "gradients of biases");
    for (int64_t row = 0; row < forward->num_rows; row++) {
        for (int lane = 0; lane < num_lanes; lane++)
            share[lane] = tli_activate_back_lane(rows, forward->datatype, n, row, lane, num_lanes);
        if (rows->dbias != NULL)
            tli_store_sum(forward->datatype, rows->dbias, row, sum_of_lanes(share, num_lanes));
    }
}

tulle_status_t tli_sampled_launch(const tli_sampled_args_t *args, void *stream)
{
    if (args->num_nonzeros > 0)
        emulated_gpu_enqueue(stream, run_sampled, args, sizeof *args);
    return TULLE_OK;
}

tulle_status_t tli_activate_launch(const tli_activate_args_t *args, void *stream)
{
    if (args->num_rows > 0)
        emulated_gpu_enqueue(stream, run_activation, args, sizeof *args);
    return TULLE_OK;
}

tulle_status_t tli_activate_back_launch(const tli_activate_back_args_t *args, void *stream)
{
    if (args->forward.num_rows > 0)
        emulated_gpu_enqueue(stream, run_activation_back, args, sizeof *args);
    return TULLE_OK;
}

/* cuSPARSE, as far as it can be told apart: it sums a row up from its end, and refuses what the real one would. */

struct tli_cusparse {
    tli_product_args_t like;
};

static void run_library(const void *args)
{
    tli_product_args_t one = *(const tli_product_args_t *)args;
    int64_t row_ptr[2] = {0};
    const int32_t *ptr = one.block.row_ptr_32;
    check_product(&one);
    check(ptr, "short offsets of a block");
    double alpha = one.alpha, beta = one.beta;
    size_t scalar_bytes = tulle_datatype_size(tli_sum_type(one.datatype));
    unsigned char *c = one.c;
    one.block.num_rows = 1;
    one.block.row_ptr = row_ptr;
    for (int64_t i = 0; i < ((const tli_product_args_t *)args)->block.num_rows; i++) {
        one.c = c + (size_t)(i * one.c_stride) * scalar_bytes;
        one.alpha = 0;
        one.beta = beta;
        for (int64_t e = ptr[i + 1]; e >= ptr[i]; e--) {
            row_ptr[0] = e;
            row_ptr[1] = e < ptr[i + 1] ? e + 1 : e; /* first no nonzero: only what was there */
            tli_product_thread(&one, one.datatype, 1, 0, 1);
            one.alpha = alpha;
            one.beta = 1;
        }
    }
}

int tli_cusparse_is_there(void)
{
    return getenv("EMULATED_GPU_WITHOUT_CUSPARSE") == NULL;
}

tulle_status_t tli_cusparse_open(const tli_product_args_t *like, tli_cusparse_t **product_out)
{
    const tli_device_sparse_t *block = &like->block;
    tulle_status_t st = tli_alloc(sizeof **product_out, product_out);
    if (block->row_ptr_32 == NULL || block->row != NULL || block->num_nonzeros == 0)
        emulated_gpu_die("cuSPARSE was given a block that it does not take");
    if (st == TULLE_OK)
        (*product_out)->like = *like;
    return st;
}

tulle_status_t tli_cusparse_multiply(tli_cusparse_t *product, const tli_product_args_t *args, void *stream)
{
    const tli_product_args_t *like = &product->like;
    if (like->block.col != args->block.col || like->width != args->width || like->datatype != args->datatype)
        emulated_gpu_die("cuSPARSE was given another block or width than it was opened for");
    emulated_gpu_enqueue(stream, run_library, args, sizeof *args);
    return TULLE_OK;
}

void tli_cusparse_close(tli_cusparse_t *product)
{
    tli_free(product);
}
