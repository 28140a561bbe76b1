/* SPDX-License-Identifier: Apache-2.0
 * The values of a distributed sparse matrix: replaced, and inner products at its nonzeros. Those of moved nonzeros
 * travel by a plan of their own, one scalar each: there by gather, back by scatter. */
#include <string.h>

#include "collectives/plan.h"
#include "collectives/spmm_device.h"
#include "src/agree.h"

/* Made when first asked for: products do without. @collective */
static tulle_status_t plan_values(tulle_spmm_t *spmm)
{
    tulle_status_t st = TULLE_OK;
    tulle_pattern_t *pattern = NULL;
    const tli_spmm_moved_t *moved = &spmm->moved;
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    options.row_bytes = (int64_t)tulle_datatype_size(spmm->type);
    if (spmm->scatter == NULL || spmm->values_plan != NULL)
        goto done;
    TLI_TRY(tulle_pattern_create_from_forest(spmm->comm, spmm->num_nonzeros, moved->num, moved->rank, moved->entry,
                                             &pattern));
    TLI_TRY(tli_agree(spmm->comm->mpi,
                      tli_arena_alloc_raw(&spmm->arena, moved->num, (size_t)options.row_bytes, &spmm->moved.sampled)));
    TLI_TRY(tulle_plan_create(spmm->comm, pattern, &options, &spmm->values_plan));
done:
    tulle_pattern_destroy(&pattern);
    return st;
}

static tulle_status_t check_values(const tulle_spmm_t *spmm, const void *values)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(values != NULL || spmm->num_nonzeros == 0, TULLE_ERR_ARG, "values are NULL but there are %lld nonzeros",
                (long long)spmm->num_nonzeros);
done:
    return st;
}

tulle_status_t tulle_spmm_set_values(tulle_spmm_t *spmm, const void *values)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_check_spmm(spmm));
    TLI_TRY(tli_comm_agree_on(spmm->comm, check_values(spmm, values), 0, "nothing"));
    TLI_TRY(plan_values(spmm));
    if (spmm->num_nonzeros > 0)
        memcpy(spmm->values, values, (size_t)spmm->num_nonzeros * tulle_datatype_size(spmm->type));
    if (spmm->values_plan != NULL)
        TLI_TRY(tulle_gather(spmm->values_plan, spmm->values, spmm->moved.values, spmm->type, 1, NULL));
    tli_spmm_fill(spmm);
    TLI_TRY(tli_spmm_device_fill(spmm));
done:
    return st;
}

/* --- inner products ---------------------------------------------------------------------------------------------- */

/* X as B in a product, Y as B in a transposed one: both gathered, with what each needs for it. */
typedef struct sampling {
    tulle_spmm_t *spmm;
    tulle_product_t x, y;            /* checked; only width, b, b_stride and alpha count */
    tli_spmm_binding_t *of_x, *of_y; /* of_y is NULL where nothing moved */
    int x_is_gathered, y_is_gathered;
} sampling_t;

static void sample(const sampling_t *s, const tli_sparse_t *block, const void *x, int64_t x_stride, const void *y,
                   int64_t y_stride, void *values_out)
{
    tli_multiply_args_t args = {.block = block,
                                .last = block->num_rows,
                                .datatype = s->spmm->type,
                                .width = s->x.width,
                                .b = x,
                                .b_stride = x_stride,
                                .c = (void *)y, /* is only read */
                                .c_stride = y_stride,
                                .alpha = s->x.alpha};
    tli_multiply_sampled(&args, values_out);
}

/* Unless its ghosts are there. */
static int must_gather(const tli_spmm_binding_t *binding, int is_gathered)
{
    return binding != NULL && binding->gather != NULL && !(is_gathered && binding->holds_b);
}

static tulle_status_t start_gather(tli_spmm_binding_t *binding, const tulle_product_t *product)
{
    binding->holds_b = 0;
    tli_exchange_move_owned(binding->gather, (void *)product->b, product->b_stride);
    return tulle_exchange_start(binding->gather, NULL);
}

static tulle_status_t start_gathers(const sampling_t *s, int *gathers_x, int *gathers_y)
{
    tulle_status_t st = TULLE_OK;
    *gathers_x = must_gather(s->of_x, s->x_is_gathered);
    *gathers_y = must_gather(s->of_y, s->y_is_gathered);
    if (*gathers_x)
        TLI_TRY(start_gather(s->of_x, &s->x));
    if (*gathers_y)
        TLI_TRY(start_gather(s->of_y, &s->y));
done:
    return st;
}

static tulle_status_t execute(const sampling_t *s, void *values_out)
{
    tulle_status_t st = TULLE_OK;
    const tli_spmm_way_t *way = &s->spmm->forward;
    int64_t width = s->x.width;
    int gathers_x = 0, gathers_y = 0;
    void *moved = s->spmm->moved.sampled;
    TLI_TRY(start_gathers(s, &gathers_x, &gathers_y));
    sample(s, &way->own, s->x.b, s->x.b_stride, s->y.b, s->y.b_stride, values_out);
    if (gathers_x)
        TLI_TRY(tulle_exchange_wait(s->of_x->gather));
    for (int part = 0; part < way->num_parts; part++)
        sample(s, &way->parts[part].block, s->of_x->ghosts, width, s->y.b, s->y.b_stride, values_out);
    if (s->of_y != NULL) {
        if (gathers_y)
            TLI_TRY(tulle_exchange_wait(s->of_y->gather));
        sample(s, &way->partial, s->x.b, s->x.b_stride, s->of_y->ghosts, width, moved);
        TLI_TRY(tli_scatter_agreed(s->spmm->values_plan, moved, values_out, s->spmm->type, 1, TULLE_OP_REPLACE));
    }
done:
    return st;
}

/* Whether all is made that is made the first time, on all ranks alike. */
static int is_ready(const tulle_spmm_t *spmm)
{
    return spmm->forward.is_ready &&
           (spmm->scatter == NULL || (spmm->transposed.is_ready && spmm->values_plan != NULL));
}

static tulle_status_t run_sampled(sampling_t *s, const tulle_product_t *product, int has_agreed, void *values_out)
{
    tulle_spmm_t *spmm = s->spmm;
    tulle_status_t st = tli_spmm_check(spmm, &spmm->forward, product, NULL, &s->x);
    s->y = (tulle_product_t){.width = s->x.width, .b = s->x.c, .b_stride = s->x.c_stride};
    if (st == TULLE_OK)
        st = check_values(spmm, values_out);
    if (st == TULLE_OK && spmm->scatter != NULL && !spmm->transposed.is_ready)
        st = tli_spmm_prepare(spmm, &spmm->transposed);
    TLI_TRY(has_agreed ? st : tli_comm_agree_on(spmm->comm, st, s->x.width, "the width"));
    TLI_TRY(plan_values(spmm));
    TLI_TRY(tli_spmm_bind(spmm, &spmm->forward, &s->x, &s->of_x));
    if (spmm->scatter != NULL)
        TLI_TRY(tli_spmm_bind(spmm, &spmm->transposed, &s->y, &s->of_y));
    TLI_TRY(execute(s, values_out));
done:
    return st;
}

tulle_status_t tli_spmm_run_sampled_agreed(tulle_spmm_t *spmm, const tulle_product_t *product, int x_is_gathered,
                                           int y_is_gathered, void *values_out)
{
    sampling_t s = {.spmm = spmm, .x_is_gathered = x_is_gathered, .y_is_gathered = y_is_gathered};
    return run_sampled(&s, product, is_ready(spmm), values_out);
}

tulle_status_t tulle_spmm_run_sampled(tulle_spmm_t *spmm, const tulle_product_t *product, void *values_out)
{
    tulle_status_t st = TULLE_OK;
    sampling_t s = {.spmm = spmm};
    TLI_TRY(tli_check_spmm(spmm));
    TLI_REQUIRE(!tli_spmm_is_on_device(spmm), TULLE_ERR_UNSUPPORTED,
                "inner products at the nonzeros are computed in host memory");
    TLI_TRY(run_sampled(&s, product, 0, values_out));
done:
    return st;
}
