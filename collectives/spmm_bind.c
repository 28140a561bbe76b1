/* SPDX-License-Identifier: Apache-2.0
 * What a product needs besides its operands: checked arguments, and exchanges of its width. These end in rows of their
 * own, and begin in rows that may lie elsewhere in every run, so that nothing is bound again when buffers change. */
#include <stdint.h>

#include <tulle/memory.h>

#include "collectives/spmm_device.h"
#include "src/agree.h"

/* --- arguments --------------------------------------------------------------------------------------------------- */

tulle_status_t tli_product_check_rows(const char *name, const void *rows, int64_t num_rows, tulle_datatype_t type,
                                      int64_t width, int64_t *stride)
{
    tulle_status_t st = TULLE_OK;
    *stride = *stride == 0 ? width : *stride;
    TLI_REQUIRE(rows != NULL || num_rows == 0, TULLE_ERR_ARG, "%s is NULL but has %lld rows", name,
                (long long)num_rows);
    TLI_REQUIRE(*stride >= width, TULLE_ERR_ARG, "%s has a stride of %lld, below the width %lld", name,
                (long long)*stride, (long long)width);
    TLI_REQUIRE(*stride < TLI_MOST_BYTES / (int64_t)sizeof(double) / (num_rows + 1), TULLE_ERR_OVERFLOW,
                "%s: %lld rows of stride %lld exceed 2^62 bytes", name, (long long)num_rows, (long long)*stride);
    TLI_REQUIRE(num_rows == 0 || (uintptr_t)rows % tulle_datatype_size(type) == 0, TULLE_ERR_ARG,
                "%s at %p is not aligned to its scalars", name, rows);
done:
    return st;
}

static tulle_status_t check_host(const char *name, const void *rows)
{
    tulle_status_t st = TULLE_OK;
    tulle_space_t space = TULLE_SPACE_HOST;
    TLI_TRY(tulle_space_of(rows, &space));
    TLI_REQUIRE(space == TULLE_SPACE_HOST || space == TULLE_SPACE_PINNED, TULLE_ERR_UNSUPPORTED,
                "%s is in %s memory: products, and layers, are computed in host memory unless options.space says "
                "otherwise",
                name, tulle_space_name(space));
done:
    return st;
}

tulle_status_t tli_spmm_check_space(const tulle_spmm_t *spmm, const char *name, const void *rows, int64_t num_rows)
{
    if (num_rows == 0)
        return TULLE_OK;
    return tli_spmm_is_on_device(spmm) ? tli_spmm_device_check_rows(spmm, name, rows) : check_host(name, rows);
}

tulle_status_t tli_spmm_check_stream(const tulle_spmm_t *spmm, const void *stream)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(stream == NULL || tli_spmm_is_on_device(spmm), TULLE_ERR_UNSUPPORTED,
                "a stream was given, but rows are in host memory");
done:
    return st;
}

static uintptr_t extent_of(int64_t num_rows, int64_t stride, int64_t width, size_t scalar_bytes)
{
    return num_rows > 0 ? (uintptr_t)((num_rows - 1) * stride + width) * scalar_bytes : 0;
}

static tulle_status_t check_operands(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, tulle_product_t *p)
{
    tulle_status_t st = TULLE_OK;
    size_t scalar_bytes = tulle_datatype_size(spmm->type);
    TLI_REQUIRE(p->width >= 1 && p->width < TLI_MOST_BYTES / (int64_t)sizeof(double), TULLE_ERR_ARG,
                "width is %lld, must be at least 1", (long long)p->width);
    TLI_TRY(tli_product_check_rows("B", p->b, way->num_b, spmm->type, p->width, &p->b_stride));
    TLI_TRY(tli_product_check_rows("C", p->c, way->num_c, spmm->type, p->width, &p->c_stride));
    TLI_TRY(tli_spmm_check_space(spmm, "B", p->b, way->num_b));
    TLI_TRY(tli_spmm_check_space(spmm, "C", p->c, way->num_c));
    uintptr_t b = (uintptr_t)p->b, b_bytes = extent_of(way->num_b, p->b_stride, p->width, scalar_bytes);
    uintptr_t c = (uintptr_t)p->c, c_bytes = extent_of(way->num_c, p->c_stride, p->width, scalar_bytes);
    TLI_REQUIRE(b_bytes == 0 || c_bytes == 0 || b >= c + c_bytes || c >= b + b_bytes, TULLE_ERR_ARG,
                "B at %p and C at %p overlap", p->b, p->c);
done:
    return st;
}

tulle_status_t tli_spmm_check(tulle_spmm_t *spmm, tli_spmm_way_t *way, const tulle_product_t *product, void *stream,
                              tulle_product_t *checked)
{
    tulle_status_t st = TULLE_OK;
    checked->width = 0;
    TLI_REQUIRE(product != NULL, TULLE_ERR_ARG, "the product is NULL");
    TLI_TRY(tli_spmm_check_stream(spmm, stream));
    *checked = *product;
    if (!way->is_ready)
        TLI_TRY(tli_spmm_prepare(spmm, way));
    TLI_TRY(check_operands(spmm, way, checked));
done:
    checked->width = st == TULLE_OK ? checked->width : 0;
    return st;
}

/* --- bindings ---------------------------------------------------------------------------------------------------- */

static void destroy_binding(tli_spmm_binding_t *binding)
{
    tulle_exchange_destroy(&binding->gather);
    tulle_exchange_destroy(&binding->scatter);
    tli_spmm_device_unbind(binding);
    tli_arena_release(&binding->arena);
    tli_free(binding);
}

void tli_spmm_unbind(tulle_spmm_t *spmm)
{
    while (spmm->bindings != NULL) {
        tli_spmm_binding_t *binding = spmm->bindings;
        spmm->bindings = binding->next;
        destroy_binding(binding);
    }
}

static tulle_status_t alloc_buffers(const tli_spmm_way_t *way, tulle_datatype_t type, tli_spmm_binding_t *binding)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(binding->width < TLI_MOST_BYTES / (int64_t)sizeof(double), TULLE_ERR_OVERFLOW, "width is %lld",
                (long long)binding->width);
    size_t row_bytes = (size_t)binding->width * tulle_datatype_size(type);
    size_t sum_bytes = (size_t)binding->width * tulle_datatype_size(tli_sum_type(type));
    TLI_TRY(tli_arena_alloc_raw(&binding->arena, tulle_plan_num_ghosts(way->gather), row_bytes, &binding->ghosts));
    TLI_TRY(tli_arena_alloc_raw(&binding->arena, tulle_plan_num_ghosts(way->scatter), sum_bytes, &binding->partials));
    TLI_TRY(tli_arena_alloc_raw(&binding->arena, way->num_sums, sum_bytes, &binding->sums));
    if (way->scatter != NULL)
        TLI_TRY(tli_arena_alloc_raw(&binding->arena, way->num_c, sum_bytes, &binding->landed));
done:
    return st;
}

static tulle_status_t make_binding(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, int64_t width,
                                   tli_spmm_binding_t **binding_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_alloc(sizeof **binding_out, binding_out));
    (*binding_out)->way = way;
    (*binding_out)->width = width;
    if (tli_spmm_is_on_device(spmm))
        TLI_TRY(tli_spmm_device_bind(spmm, way, *binding_out));
    else
        TLI_TRY(alloc_buffers(way, spmm->type, *binding_out));
done:
    return st;
}

static tulle_status_t create_exchanges(const tulle_spmm_t *spmm, const void *b, int64_t b_stride,
                                       tli_spmm_binding_t *binding)
{
    tulle_status_t st = TULLE_OK;
    tulle_field_t in = {(void *)b, binding->ghosts, spmm->type, binding->width, b_stride, 0};
    tulle_field_t out = {binding->landed, binding->partials, tli_sum_type(spmm->type), binding->width, 0, 0};
    if (binding->way->gather != NULL)
        TLI_TRY(tli_exchange_create_moving(binding->way->gather, TULLE_GATHER, &in, &binding->gather));
    if (binding->way->scatter != NULL)
        TLI_TRY(tulle_exchange_create(binding->way->scatter, TULLE_SCATTER, &out, 1, NULL, &binding->scatter));
done:
    return st;
}

/* Alike on all ranks: they run the same products in the same order. Inner products use two at the same time. */
static void drop_oldest(tulle_spmm_t *spmm)
{
    tli_spmm_binding_t **oldest = &spmm->bindings;
    int num_bindings = 0, most = spmm->options.num_bindings > 2 ? spmm->options.num_bindings : 2;
    for (tli_spmm_binding_t **at = &spmm->bindings; *at != NULL; at = &(*at)->next) {
        oldest = (*at)->last_use < (*oldest)->last_use ? at : oldest;
        num_bindings++;
    }
    if (num_bindings >= most) {
        tli_spmm_binding_t *binding = *oldest;
        *oldest = binding->next;
        destroy_binding(binding);
    }
}

static tli_spmm_binding_t *find_binding(tulle_spmm_t *spmm, const tli_spmm_way_t *way, int64_t width)
{
    tli_spmm_binding_t *binding = spmm->bindings;
    while (binding != NULL && (binding->way != way || binding->width != width))
        binding = binding->next;
    if (binding != NULL)
        binding->last_use = ++spmm->num_uses;
    return binding;
}

tulle_status_t tli_spmm_bind(tulle_spmm_t *spmm, const tli_spmm_way_t *way, const tulle_product_t *product,
                             tli_spmm_binding_t **binding_out)
{
    tulle_status_t st = TULLE_OK;
    tli_spmm_binding_t *binding = find_binding(spmm, way, product->width), *fresh = NULL;
    if (binding == NULL) {
        drop_oldest(spmm);
        TLI_TRY(tli_agree(spmm->comm->mpi, make_binding(spmm, way, product->width, &fresh)));
        TLI_TRY(create_exchanges(spmm, product->b, product->b_stride, fresh));
        binding = fresh;
        binding->next = spmm->bindings;
        binding->last_use = ++spmm->num_uses;
        spmm->bindings = binding;
        fresh = NULL;
    }
    *binding_out = binding;
done:
    if (fresh != NULL)
        destroy_binding(fresh);
    return st;
}
