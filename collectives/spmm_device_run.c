/* SPDX-License-Identifier: Apache-2.0
 * What products and inner products of rows in device memory need of one width, and what they put on the stream. */
#include "collectives/spmm_device.h"

#include "src/device/device.h"
#include "src/device/pack_device.h"
#include "src/fault.h"

/* --- bindings ----------------------------------------------------------------------------------------------------- */

static tulle_status_t alloc_rows(int64_t num_rows, int64_t width, tulle_datatype_t type, void **out)
{
    tulle_status_t st = TULLE_OK;
    size_t bytes = (size_t)num_rows * (size_t)width * tulle_datatype_size(type);
    if (num_rows > 0)
        TLI_TRY(tli_device_alloc(TULLE_SPACE_DEVICE, bytes, out));
done:
    return st;
}

/* As host bindings have them, but for sums: of every row of C where there are any. */
static tulle_status_t alloc_buffers(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, int64_t width,
                                    tli_spmm_device_rows_t *rows)
{
    tulle_status_t st = TULLE_OK;
    tulle_datatype_t sum_type = tli_sum_type(spmm->type);
    int has_sums = sum_type != spmm->type;
    TLI_TRY(alloc_rows(tulle_plan_num_ghosts(way->gather), width, spmm->type, &rows->ghosts));
    TLI_TRY(alloc_rows(tulle_plan_num_ghosts(way->scatter), width, sum_type, &rows->partials));
    TLI_TRY(alloc_rows(way->scatter != NULL ? way->num_c : 0, width, sum_type, &rows->landed));
    TLI_TRY(alloc_rows(has_sums ? way->num_c : 0, width, sum_type, &rows->sums));
    TLI_TRY(alloc_rows(1, width, sum_type, &rows->zeros));
    TLI_TRY(tli_device_alloc(TULLE_SPACE_DEVICE, sizeof *rows->areas, (void **)&rows->areas));
done:
    return st;
}

/* Lists that kernels read, and the row of zeros that sums begin with. */
static tulle_status_t write_lists(const tulle_spmm_t *spmm, int64_t width, const tli_spmm_device_rows_t *rows)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t row_bytes = width * (int64_t)tulle_datatype_size(tli_sum_type(spmm->type));
    tli_rows_t area = {rows->landed, row_bytes};
    unsigned char *zeros = NULL;
    void *stream = spmm->device->stream;
    TLI_TRY(tli_arena_alloc(&scratch, row_bytes, 1, &zeros));
    TLI_TRY(tli_device_copy(rows->areas, &area, sizeof area, stream));
    TLI_TRY(tli_device_copy(rows->zeros, zeros, (size_t)row_bytes, stream));
    TLI_TRY(tli_device_synchronize(stream));
done:
    tli_arena_release(&scratch);
    return st;
}

/* Where the library multiplies. It is opened with rows that are there; each product names its own. */
static tulle_status_t open_library(const tulle_spmm_t *spmm, const tli_device_block_t *block, int64_t width,
                                   const tli_spmm_device_rows_t *rows, tli_cusparse_t **library_out)
{
    tulle_status_t st = TULLE_OK;
    tli_product_args_t like = {.block = block->sparse,
                               .datatype = spmm->type,
                               .width = width,
                               .b = rows->zeros,
                               .b_stride = width,
                               .c = rows->zeros,
                               .c_stride = width,
                               .alpha = 1};
    int is_wanted = spmm->options.library != TULLE_SPMM_LIBRARY_OWN && tli_cusparse_is_there();
    if (is_wanted && like.block.row_ptr_32 != NULL && like.block.num_nonzeros > 0)
        TLI_TRY(tli_cusparse_open(&like, library_out));
done:
    return st;
}

static tulle_status_t make_rows(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, int64_t width,
                                tli_spmm_device_rows_t *rows)
{
    tulle_status_t st = TULLE_OK;
    const tli_device_way_t *there = tli_device_way_of(spmm, way);
    TLI_TRY(alloc_buffers(spmm, way, width, rows));
    TLI_TRY(write_lists(spmm, width, rows));
    TLI_TRY(open_library(spmm, &there->own, width, rows, &rows->own));
    TLI_TRY(open_library(spmm, &there->partial, width, rows, &rows->partial));
done:
    return st;
}

tulle_status_t tli_spmm_device_bind(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, tli_spmm_binding_t *binding)
{
    tulle_status_t st = TULLE_OK;
    int previous = -1;
    TLI_TRY(tli_arena_alloc(&binding->arena, 1, sizeof *binding->device, &binding->device));
    TLI_TRY(tli_device_enter(spmm->device->device, &previous));
    st = make_rows(spmm, way, binding->width, binding->device);
    tli_device_leave(spmm->device->device, previous);
    binding->ghosts = binding->device->ghosts;
    binding->partials = binding->device->partials;
    binding->landed = binding->device->landed;
    binding->sums = binding->device->sums;
done:
    return st;
}

static void free_rows(void *rows)
{
    if (rows != NULL)
        tli_device_free(TULLE_SPACE_DEVICE, rows);
}

void tli_spmm_device_unbind(tli_spmm_binding_t *binding)
{
    tli_spmm_device_rows_t *rows = binding->device;
    if (rows == NULL)
        return;
    tli_cusparse_close(rows->own);
    tli_cusparse_close(rows->partial);
    free_rows(rows->ghosts);
    free_rows(rows->partials);
    free_rows(rows->landed);
    free_rows(rows->sums);
    free_rows(rows->zeros);
    free_rows(rows->areas);
}

/* --- a product ---------------------------------------------------------------------------------------------------- */

typedef struct run {
    const tulle_spmm_t *spmm;
    const tli_spmm_way_t *way;
    const tli_device_way_t *there;
    const tulle_product_t *product;
    const tli_spmm_binding_t *binding;
    void *stream;
} run_t;

static int has_sums(const run_t *r)
{
    return tli_sum_type(r->spmm->type) != r->spmm->type;
}

static tli_product_args_t product_of(const run_t *r, const tli_device_block_t *block)
{
    const tulle_product_t *p = r->product;
    tli_product_args_t args = {.block = block->sparse,
                               .datatype = r->spmm->type,
                               .width = p->width,
                               .b = p->b,
                               .b_stride = p->b_stride,
                               .c = has_sums(r) ? r->binding->sums : p->c,
                               .c_stride = has_sums(r) ? p->width : p->c_stride,
                               .alpha = p->alpha};
    return args;
}

static tulle_status_t multiply(const run_t *r, tli_cusparse_t *library, const tli_product_args_t *args)
{
    return library != NULL ? tli_cusparse_multiply(library, args, r->stream) : tli_product_launch(args, r->stream);
}

static tulle_status_t multiply_partial(const run_t *r)
{
    tli_product_args_t args = product_of(r, &r->there->partial);
    args.c = r->binding->partials;
    args.c_stride = r->product->width;
    return multiply(r, r->binding->device->partial, &args);
}

static tulle_status_t multiply_own(const run_t *r)
{
    tli_product_args_t args = product_of(r, &r->there->own);
    args.beta = has_sums(r) ? 0 : r->product->beta;
    return multiply(r, r->binding->device->own, &args);
}

static tulle_status_t multiply_arriving(const run_t *r)
{
    tli_product_args_t args = product_of(r, &r->there->arriving);
    args.b = r->binding->ghosts;
    args.b_stride = r->product->width;
    args.beta = 1;
    return tli_product_launch(&args, r->stream);
}

static int64_t sum_row_bytes(const run_t *r, int64_t stride)
{
    return stride * (int64_t)tulle_datatype_size(tli_sum_type(r->spmm->type));
}

static tulle_status_t clear_landings(const run_t *r)
{
    int64_t row_bytes = sum_row_bytes(r, r->product->width);
    tli_copy_args_t clear = {.target = {r->binding->landed, row_bytes},
                             .source = {r->binding->device->zeros, 0},
                             .target_index = r->there->landings,
                             .num_rows = r->way->num_landings,
                             .row_bytes = row_bytes};
    return tli_copy_rows_launch(&clear, r->stream);
}

static tulle_status_t add_landings(const run_t *r)
{
    tli_product_args_t args = product_of(r, &r->there->own); /* for where C is */
    tli_rows_t landed = {r->binding->landed, sum_row_bytes(r, args.width)};
    tli_reduce_args_t add = {.target = {args.c, sum_row_bytes(r, args.c_stride)},
                             .target_index = r->there->landings,
                             .num_rows = r->way->num_landings,
                             .keeps_target = 1,
                             .entry_ptr = r->there->entry_ptr,
                             .entry_area = r->there->entry_area,
                             .entry_row = r->there->landings,
                             .areas = r->binding->device->areas,
                             .datatype = tli_sum_type(r->spmm->type),
                             .op = TULLE_OP_SUM,
                             .width = args.width};
    return tli_reduce_rows_launch(&add, tli_areas_alignment(&landed, 1), r->stream);
}

static tulle_status_t round_sums(const run_t *r)
{
    const tulle_product_t *p = r->product;
    tli_round_args_t args = {.datatype = r->spmm->type,
                             .width = p->width,
                             .num_rows = r->way->num_c,
                             .sums = r->binding->sums,
                             .c = p->c,
                             .c_stride = p->c_stride,
                             .beta = p->beta};
    return has_sums(r) ? tli_round_rows_launch(&args, r->stream) : TULLE_OK;
}

static tulle_status_t start(const run_t *r)
{
    tulle_status_t st = TULLE_OK;
    const tli_spmm_binding_t *binding = r->binding;
    if (binding->gather != NULL) {
        tli_exchange_move_owned(binding->gather, (void *)r->product->b, r->product->b_stride);
        TLI_TRY(tulle_exchange_start(binding->gather, r->stream));
    }
    if (binding->scatter != NULL) {
        TLI_TRY(clear_landings(r));
        TLI_TRY(multiply_partial(r));
        TLI_TRY(tulle_exchange_start(binding->scatter, r->stream));
    }
done:
    return st;
}

static tulle_status_t finish(const run_t *r)
{
    tulle_status_t st = TULLE_OK;
    if (r->binding->gather != NULL) {
        TLI_TRY(tulle_exchange_wait(r->binding->gather));
        TLI_TRY(multiply_arriving(r));
    }
    if (r->binding->scatter != NULL) {
        TLI_TRY(tulle_exchange_wait(r->binding->scatter));
        TLI_TRY(add_landings(r));
    }
    TLI_TRY(round_sums(r));
done:
    return st;
}

tulle_status_t tli_spmm_device_run(tulle_spmm_t *spmm, const tli_spmm_way_t *way, const tulle_product_t *product,
                                   tli_spmm_binding_t *binding, void *stream)
{
    tulle_status_t st = TULLE_OK;
    run_t r = {spmm, way, tli_device_way_of(spmm, way), product, binding, stream};
    int previous = -1;
    TLI_TRY(tli_device_enter(spmm->device->device, &previous));
    st = start(&r);
    if (st == TULLE_OK)
        st = multiply_own(&r);
    if (st == TULLE_OK)
        st = finish(&r);
    tli_device_leave(spmm->device->device, previous);
done:
    return st;
}

tulle_status_t tli_spmm_device_sample(const tli_device_block_t *block, const tli_multiply_args_t *args,
                                      void *values_out, void *stream)
{
    tli_sampled_args_t sampled = {.num_nonzeros = block->sparse.num_nonzeros,
                                  .row = block->nonzero_row,
                                  .col = block->sparse.col,
                                  .entry = block->nonzero_entry,
                                  .datatype = args->datatype,
                                  .width = args->width,
                                  .b = args->b,
                                  .b_stride = args->b_stride,
                                  .c = args->c,
                                  .c_stride = args->c_stride,
                                  .alpha = args->alpha,
                                  .values_out = values_out};
    return tli_sampled_launch(&sampled, stream);
}
