/* SPDX-License-Identifier: Apache-2.0
 * One product: partial rows first, because others wait for them; own columns while rows travel; each part as it lands. */
#include <string.h>

#include "collectives/spmm.h"
#include "src/agree.h"

/* --- bindings ---------------------------------------------------------------------------------------------------- */

static void destroy_binding(tli_spmm_binding_t *binding)
{
    tulle_exchange_destroy(&binding->gather);
    tulle_exchange_destroy(&binding->scatter);
    tli_arena_release(&binding->arena);
    tli_free(binding);
}

void tli_spmm_unbind(tli_spmm_way_t *way)
{
    while (way->bindings != NULL) {
        tli_spmm_binding_t *binding = way->bindings;
        way->bindings = binding->next;
        destroy_binding(binding);
    }
}

static tulle_status_t alloc_buffers(const tli_spmm_way_t *way, size_t scalar_bytes, tli_spmm_binding_t *binding)
{
    tulle_status_t st = TULLE_OK;
    size_t row_bytes = (size_t)binding->width * scalar_bytes;
    TLI_TRY(tli_arena_alloc_raw(&binding->arena, tulle_plan_num_ghosts(way->gather), row_bytes, &binding->ghosts));
    TLI_TRY(tli_arena_alloc_raw(&binding->arena, tulle_plan_num_ghosts(way->scatter), row_bytes, &binding->partials));
    if (way->scatter != NULL)
        TLI_TRY(tli_arena_alloc_raw(&binding->arena, way->num_c, row_bytes, &binding->landed));
done:
    return st;
}

/* All ranks come here, whatever their status. */
static tulle_status_t bind(tulle_spmm_t *spmm, tli_spmm_way_t *way, const tulle_product_t *product,
                           tli_spmm_binding_t **binding_out)
{
    tulle_status_t st = TULLE_OK;
    tli_spmm_binding_t *binding = NULL;
    TLI_TRY(tli_agree(spmm->comm->mpi, tli_alloc(sizeof *binding, &binding)));
    binding->width = product->width;
    TLI_TRY(tli_agree(spmm->comm->mpi, alloc_buffers(way, tulle_datatype_size(spmm->type), binding)));
    tulle_field_t in = {(void *)product->b, binding->ghosts, spmm->type, product->width, product->b_stride, 0};
    tulle_field_t out = {binding->landed, binding->partials, spmm->type, product->width, 0, 0};
    if (way->gather != NULL)
        TLI_TRY(tulle_exchange_create(way->gather, TULLE_GATHER, &in, 1, NULL, &binding->gather));
    if (way->scatter != NULL)
        TLI_TRY(tulle_exchange_create(way->scatter, TULLE_SCATTER, &out, 1, NULL, &binding->scatter));
    *binding_out = binding;
    binding = NULL;
done:
    if (binding != NULL)
        destroy_binding(binding);
    return st;
}

/* --- arguments --------------------------------------------------------------------------------------------------- */

static tulle_status_t check_rows(const char *name, const void *rows, int64_t num_rows, int64_t width, int64_t *stride)
{
    tulle_status_t st = TULLE_OK;
    *stride = *stride == 0 ? width : *stride;
    TLI_REQUIRE(rows != NULL || num_rows == 0, TULLE_ERR_ARG, "%s is NULL but has %lld rows", name,
                (long long)num_rows);
    TLI_REQUIRE(*stride >= width, TULLE_ERR_ARG, "%s has a stride of %lld, below the width %lld", name,
                (long long)*stride, (long long)width);
    TLI_REQUIRE(*stride < TLI_MOST_BYTES / 8 / (num_rows + 1), TULLE_ERR_OVERFLOW,
                "%s: %lld rows of stride %lld exceed 2^62 bytes", name, (long long)num_rows, (long long)*stride);
done:
    return st;
}

static int64_t extent_of(int64_t num_rows, int64_t stride, int64_t width, size_t scalar_bytes)
{
    return num_rows > 0 ? ((num_rows - 1) * stride + width) * (int64_t)scalar_bytes : 0;
}

static tulle_status_t check_product(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, tulle_product_t *p)
{
    tulle_status_t st = TULLE_OK;
    size_t scalar_bytes = tulle_datatype_size(spmm->type);
    TLI_REQUIRE(p->width >= 1 && p->width < TLI_MOST_BYTES / 8, TULLE_ERR_ARG, "width is %lld, must be at least 1",
                (long long)p->width);
    TLI_TRY(check_rows("B", p->b, way->num_b, p->width, &p->b_stride));
    TLI_TRY(check_rows("C", p->c, way->num_c, p->width, &p->c_stride));
    uintptr_t b = (uintptr_t)p->b, c = (uintptr_t)p->c;
    uintptr_t b_bytes = (uintptr_t)extent_of(way->num_b, p->b_stride, p->width, scalar_bytes);
    uintptr_t c_bytes = (uintptr_t)extent_of(way->num_c, p->c_stride, p->width, scalar_bytes);
    TLI_REQUIRE(b_bytes == 0 || c_bytes == 0 || b >= c + c_bytes || c >= b + b_bytes, TULLE_ERR_ARG,
                "B at %p and C at %p overlap", p->b, p->c);
done:
    return st;
}

/* --- running ----------------------------------------------------------------------------------------------------- */

typedef struct run {
    const tulle_spmm_t *spmm;
    const tli_spmm_way_t *way;
    const tulle_product_t *product;
    const tli_spmm_binding_t *binding;
} run_t;

static void multiply(const run_t *r, const tli_sparse_t *block, const void *b, int64_t b_stride, void *c,
                     int64_t c_stride, double beta)
{
    tli_multiply_args_t args = {block, 0,        block->num_rows, r->spmm->type,     r->product->width,
                                b,     b_stride, c,               c_stride,          r->product->alpha,
                                beta};
    tli_multiply(&args);
}

static void clear_landings(const run_t *r)
{
    size_t row_bytes = (size_t)r->product->width * tulle_datatype_size(r->spmm->type);
    for (int64_t i = 0; i < r->way->num_landings; i++)
        memset((char *)r->binding->landed + (size_t)r->way->landings[i] * row_bytes, 0, row_bytes);
}

static void add_landings(const run_t *r)
{
    int64_t bytes = (int64_t)tulle_datatype_size(r->spmm->type);
    const tulle_product_t *p = r->product;
    tli_copy_args_t add = {{p->c, p->c_stride * bytes},
                           {r->binding->landed, p->width * bytes},
                           r->way->landings,
                           r->way->landings,
                           r->way->num_landings,
                           p->width * bytes};
    tli_combine_rows(&add, r->spmm->type, TULLE_OP_SUM, p->width);
}

static tulle_status_t execute(const run_t *r)
{
    tulle_status_t st = TULLE_OK;
    const tulle_product_t *p = r->product;
    const tli_spmm_binding_t *binding = r->binding;
    if (binding->gather != NULL)
        TLI_TRY(tulle_exchange_start(binding->gather, NULL));
    if (binding->scatter != NULL) {
        clear_landings(r);
        multiply(r, &r->way->partial, p->b, p->b_stride, binding->partials, p->width, 0);
        TLI_TRY(tulle_exchange_start(binding->scatter, NULL));
    }
    multiply(r, &r->way->own, p->b, p->b_stride, p->c, p->c_stride, p->beta);
    if (binding->gather != NULL)
        TLI_TRY(tulle_exchange_wait(binding->gather));
    for (int part = 0; part < r->way->num_parts; part++)
        multiply(r, &r->way->parts[part].block, binding->ghosts, p->width, p->c, p->c_stride, 1);
    if (binding->scatter != NULL) {
        TLI_TRY(tulle_exchange_wait(binding->scatter));
        add_landings(r);
    }
done:
    return st;
}

static tulle_status_t run(tulle_spmm_t *spmm, tli_spmm_way_t *way, const tulle_product_t *product, void *stream)
{
    tulle_status_t st = TULLE_OK;
    tulle_product_t p;
    tli_spmm_binding_t *binding = NULL;
    if (product == NULL)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "the product is NULL");
    else if (stream != NULL)
        st = tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE, "a stream was given, but rows are in host memory");
    if (st == TULLE_OK) {
        p = *product;
        st = check_product(spmm, way, &p);
    }
    if (st == TULLE_OK && !way->is_ready)
        st = tli_spmm_prepare(spmm, way);
    TLI_TRY(tli_agree_on(spmm->comm->mpi, st, st == TULLE_OK ? p.width : 0, "the width"));
    TLI_TRY(bind(spmm, way, &p, &binding));
    run_t r = {spmm, way, &p, binding};
    TLI_TRY(execute(&r));
done:
    if (binding != NULL)
        destroy_binding(binding);
    return st;
}

static tulle_status_t check_spmm(const tulle_spmm_t *spmm)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(spmm != NULL, TULLE_ERR_ARG, "the matrix is NULL: was it created, or already destroyed?");
    tli_fault_set_rank(spmm->comm->rank);
done:
    return st;
}

tulle_status_t tulle_spmm_run(tulle_spmm_t *spmm, const tulle_product_t *product, void *stream)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(check_spmm(spmm));
    TLI_TRY(run(spmm, &spmm->forward, product, stream));
done:
    return st;
}

tulle_status_t tulle_spmm_run_transpose(tulle_spmm_t *spmm, const tulle_product_t *product, void *stream)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(check_spmm(spmm));
    TLI_TRY(run(spmm, &spmm->transposed, product, stream));
done:
    return st;
}
