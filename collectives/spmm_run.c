/* SPDX-License-Identifier: Apache-2.0
 * One product: partial rows first, because others wait for them; own columns while rows travel; gathered rows part
 * after part, in a fixed order, each as soon as it is here. */
#include <string.h>

#include "collectives/spmm_device.h"
#include "src/agree.h"
#include "src/sort.h"

/* Products of scalars between two looks at what arrived: some 50 microseconds. */
#define WORK_BETWEEN_POLLS 400000

typedef struct run {
    tulle_spmm_t *spmm;
    const tli_spmm_way_t *way;
    tli_spmm_binding_t *binding;    /* NULL: not yet */
    const tulle_product_t *product; /* checked */
} run_t;

static void make_progress(const run_t *r)
{
    const tulle_exchange_t *x = r->binding->gather != NULL ? r->binding->gather : r->binding->scatter;
    if (x != NULL)
        tli_exchange_advance(x);
}

/* Rows from a first one on that are a good piece of work. */
static int64_t end_of_piece(const run_t *r, const tli_sparse_t *block, int64_t first, int64_t end)
{
    int64_t most = block->row_ptr[first] + WORK_BETWEEN_POLLS / r->product->width;
    int64_t num_rows = tli_lower_bound(block->row_ptr + first + 1, end - first, most + 1);
    return first + (num_rows > 1 ? num_rows : 1);
}

/* Rows `first` to `end` - 1 of a block. MPI is called between pieces only: it offers the processor to all other ranks
 * that share it, and what comes after a block sends or waits anyway. */
static void multiply(const run_t *r, tli_multiply_args_t *args, int64_t first, int64_t end)
{
    for (int64_t row = first; row < end; row = args->last) {
        args->first = row;
        args->last = end_of_piece(r, args->block, row, end);
        tli_multiply(args);
        if (args->last < end)
            make_progress(r);
    }
}

static int is_b_far(const run_t *r, const tli_sparse_t *block)
{
    return tli_sparse_is_b_far(block, r->spmm->type, r->product->width, r->spmm->far_bytes);
}

static void multiply_partial(const run_t *r)
{
    const tulle_product_t *p = r->product;
    tli_multiply_args_t args = {.block = &r->way->partial,
                                .datatype = r->spmm->type,
                                .width = p->width,
                                .b = p->b,
                                .b_stride = p->b_stride,
                                .c = r->binding->partials,
                                .c_is_sum = 1,
                                .c_stride = p->width,
                                .alpha = p->alpha,
                                .is_b_far = is_b_far(r, &r->way->partial),
                                .num_threads = r->spmm->options.num_threads};
    multiply(r, &args, 0, args.block->num_rows);
}

/* What is added to later. */
static int has_sums(const run_t *r)
{
    return tli_sum_type(r->spmm->type) != r->spmm->type;
}

static void use_sums(const run_t *r, tli_multiply_args_t *args)
{
    args->c_is_sum = 1;
    args->c = r->binding->sums;
    args->c_stride = r->product->width;
}

static void multiply_own(const run_t *r)
{
    const tulle_product_t *p = r->product;
    tli_multiply_args_t args = {.block = &r->way->own,
                                .datatype = r->spmm->type,
                                .width = p->width,
                                .b = p->b,
                                .b_stride = p->b_stride,
                                .c = p->c,
                                .c_stride = p->c_stride,
                                .alpha = p->alpha,
                                .beta = p->beta,
                                .is_b_far = is_b_far(r, &r->way->own),
                                .is_far = tli_spmm_is_far(r->spmm, r->way, p->width),
                                .num_threads = r->spmm->options.num_threads};
    int64_t num_whole = has_sums(r) ? r->way->num_whole : args.block->num_rows;
    multiply(r, &args, 0, num_whole);
    if (num_whole < args.block->num_rows) {
        use_sums(r, &args);
        args.beta = 0;
        multiply(r, &args, num_whole, args.block->num_rows);
    }
}

static tulle_status_t multiply_parts(const run_t *r)
{
    tulle_status_t st = TULLE_OK;
    const tulle_product_t *p = r->product;
    tli_multiply_args_t args = {.datatype = r->spmm->type,
                                .width = p->width,
                                .b = r->binding->ghosts,
                                .b_stride = p->width,
                                .c = p->c,
                                .c_stride = p->c_stride,
                                .alpha = p->alpha,
                                .beta = 1,
                                .num_threads = r->spmm->options.num_threads};
    if (has_sums(r))
        use_sums(r, &args);
    for (int i = 0; i < r->way->num_parts; i++) {
        const tli_spmm_part_t *part = &r->way->parts[i];
        if (r->binding->gather != NULL)
            TLI_TRY(tli_exchange_wait_for(r->binding->gather, part->messages, part->num_messages));
        args.block = &part->block;
        args.is_b_far = is_b_far(r, args.block);
        multiply(r, &args, 0, args.block->num_rows);
    }
done:
    return st;
}

static void clear_landings(const run_t *r)
{
    size_t row_bytes = (size_t)r->product->width * tulle_datatype_size(tli_sum_type(r->spmm->type));
    for (int64_t i = 0; i < r->way->num_landings; i++)
        memset((char *)r->binding->landed + (size_t)r->way->landings[i] * row_bytes, 0, row_bytes);
}

static void add_landings(const run_t *r)
{
    const tulle_product_t *p = r->product;
    tulle_datatype_t type = tli_sum_type(r->spmm->type);
    int64_t scalar_bytes = (int64_t)tulle_datatype_size(type);
    tli_rows_t sums = {r->binding->sums, p->width * scalar_bytes}, c = {p->c, p->c_stride * scalar_bytes};
    tli_copy_args_t add = {has_sums(r) ? sums : c,
                           {r->binding->landed, p->width * scalar_bytes},
                           has_sums(r) ? r->way->landing_sums : r->way->landings,
                           r->way->landings,
                           r->way->num_landings,
                           p->width * scalar_bytes};
    tli_combine_rows(&add, type, TULLE_OP_SUM, p->width);
}

static void round_sums(const run_t *r)
{
    const tulle_product_t *p = r->product;
    tli_round_args_t args = {.datatype = r->spmm->type,
                             .width = p->width,
                             .num_rows = r->way->num_sums,
                             .row = r->way->sum_rows,
                             .sums = r->binding->sums,
                             .c = p->c,
                             .c_stride = p->c_stride,
                             .beta = p->beta};
    if (has_sums(r))
        tli_multiply_round(&args);
}

static tulle_status_t start(const run_t *r)
{
    tulle_status_t st = TULLE_OK;
    tli_spmm_binding_t *binding = r->binding;
    if (binding->gather != NULL) {
        tli_exchange_move_owned(binding->gather, (void *)r->product->b, r->product->b_stride);
        TLI_TRY(tulle_exchange_start(binding->gather, NULL));
    }
    if (binding->scatter != NULL) {
        clear_landings(r);
        multiply_partial(r);
        TLI_TRY(tulle_exchange_start(binding->scatter, NULL));
    }
done:
    return st;
}

static tulle_status_t finish(const run_t *r)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(multiply_parts(r));
    if (r->binding->gather != NULL)
        TLI_TRY(tulle_exchange_wait(r->binding->gather));
    if (r->binding->scatter != NULL) {
        TLI_TRY(tulle_exchange_wait(r->binding->scatter));
        add_landings(r);
    }
    round_sums(r);
done:
    return st;
}

static tulle_status_t run_on_host(const run_t *r)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(start(r));
    multiply_own(r);
    TLI_TRY(finish(r));
done:
    return st;
}

/* Nothing is started before all ranks agree: the agreement would wait in the network behind rows that are on their way,
 * and rows that are to be passed on inside a node would wait for it. */
static tulle_status_t run(tulle_spmm_t *spmm, tli_spmm_way_t *way, const tulle_product_t *product, int has_agreed,
                          void *stream)
{
    tulle_product_t checked;
    run_t r = {spmm, way, NULL, &checked};
    tulle_status_t st = tli_spmm_check(spmm, way, product, stream, &checked);
    TLI_TRY(has_agreed ? st : tli_comm_agree_on(spmm->comm, st, checked.width, "the width"));
    TLI_TRY(tli_spmm_bind(spmm, way, &checked, &r.binding));
    r.binding->holds_b = 0;
    TLI_TRY(tli_spmm_is_on_device(spmm) ? tli_spmm_device_run(spmm, way, &checked, r.binding, stream)
                                        : run_on_host(&r));
    r.binding->holds_b = 1;
done:
    return st;
}

tulle_status_t tli_spmm_run_local(tulle_spmm_t *spmm, int is_transposed, const tulle_product_t *product)
{
    tulle_status_t st = TULLE_OK;
    const tli_spmm_way_t *way = is_transposed ? &spmm->transposed : &spmm->forward;
    tulle_product_t p = *product;
    tli_spmm_binding_t *binding = NULL;
    p.b_stride = p.b_stride == 0 ? p.width : p.b_stride;
    p.c_stride = p.c_stride == 0 ? p.width : p.c_stride;
    TLI_TRY(tli_spmm_bind(spmm, way, &p, &binding));
    tli_spmm_binding_t rows = *binding;
    rows.gather = rows.scatter = NULL;
    run_t r = {spmm, way, &rows, &p};
    clear_landings(&r);
    multiply_partial(&r);
    multiply_own(&r);
    TLI_TRY(multiply_parts(&r));
    add_landings(&r);
    round_sums(&r);
done:
    return st;
}

tulle_status_t tli_spmm_run_agreed(tulle_spmm_t *spmm, int is_transposed, const tulle_product_t *product, void *stream)
{
    tli_spmm_way_t *way = is_transposed ? &spmm->transposed : &spmm->forward;
    return run(spmm, way, product, way->is_ready || spmm->options.is_trusted, stream);
}

tulle_status_t tulle_spmm_run(tulle_spmm_t *spmm, const tulle_product_t *product, void *stream)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_check_spmm(spmm));
    TLI_TRY(run(spmm, &spmm->forward, product, spmm->options.is_trusted, stream));
done:
    return st;
}

tulle_status_t tulle_spmm_run_transpose(tulle_spmm_t *spmm, const tulle_product_t *product, void *stream)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_check_spmm(spmm));
    TLI_TRY(run(spmm, &spmm->transposed, product, spmm->options.is_trusted, stream));
done:
    return st;
}
