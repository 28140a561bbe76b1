/* SPDX-License-Identifier: Apache-2.0
 * The values of a distributed sparse matrix: replaced, and inner products at its nonzeros. Those of moved nonzeros
 * travel by a plan of their own, one scalar each: there by gather, back by scatter. */
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
    st = tli_spmm_copy(spmm, spmm->values, values, (size_t)spmm->num_nonzeros * tulle_datatype_size(spmm->type));
    TLI_TRY(tli_spmm_is_on_device(spmm) ? tli_agree(spmm->comm->mpi, st) : st);
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
    void *values_out;
    void *stream;
} sampling_t;

/* Between these rows. */
static tli_multiply_args_t args_of(const sampling_t *s, const void *x, int64_t x_stride, const void *y,
                                   int64_t y_stride)
{
    return (tli_multiply_args_t){.datatype = s->spmm->type,
                                 .width = s->x.width,
                                 .b = x,
                                 .b_stride = x_stride,
                                 .c = (void *)y, /* is only read */
                                 .c_stride = y_stride,
                                 .alpha = s->x.alpha};
}

static void sample_on_host(const tli_sparse_t *block, tli_multiply_args_t args, void *values_out)
{
    args.block = block;
    args.last = block->num_rows;
    tli_multiply_sampled(&args, values_out);
}

static tulle_status_t sample_own(const sampling_t *s)
{
    tli_multiply_args_t args = args_of(s, s->x.b, s->x.b_stride, s->y.b, s->y.b_stride);
    if (tli_spmm_is_on_device(s->spmm))
        return tli_spmm_device_sample(&s->spmm->device->forward.own, &args, s->values_out, s->stream);
    sample_on_host(&s->spmm->forward.own, args, s->values_out);
    return TULLE_OK;
}

static tulle_status_t sample_arriving(const sampling_t *s)
{
    const tli_spmm_way_t *way = &s->spmm->forward;
    tli_multiply_args_t args = args_of(s, s->of_x->ghosts, s->x.width, s->y.b, s->y.b_stride);
    if (tli_spmm_is_on_device(s->spmm))
        return tli_spmm_device_sample(&s->spmm->device->forward.arriving, &args, s->values_out, s->stream);
    for (int part = 0; part < way->num_parts; part++)
        sample_on_host(&way->parts[part].block, args, s->values_out);
    return TULLE_OK;
}

/* For others. */
static tulle_status_t sample_partial(const sampling_t *s)
{
    tli_multiply_args_t args = args_of(s, s->x.b, s->x.b_stride, s->of_y->ghosts, s->x.width);
    if (tli_spmm_is_on_device(s->spmm))
        return tli_spmm_device_sample(&s->spmm->device->forward.partial, &args, s->spmm->moved.sampled, s->stream);
    sample_on_host(&s->spmm->forward.partial, args, s->spmm->moved.sampled);
    return TULLE_OK;
}

/* Unless its ghosts are there. */
static int must_gather(const tli_spmm_binding_t *binding, int is_gathered)
{
    return binding != NULL && binding->gather != NULL && !(is_gathered && binding->holds_b);
}

static tulle_status_t start_gather(tli_spmm_binding_t *binding, const tulle_product_t *product, void *stream)
{
    binding->holds_b = 0;
    tli_exchange_move_owned(binding->gather, (void *)product->b, product->b_stride);
    return tulle_exchange_start(binding->gather, stream);
}

static tulle_status_t start_gathers(const sampling_t *s, int *gathers_x, int *gathers_y)
{
    tulle_status_t st = TULLE_OK;
    *gathers_x = must_gather(s->of_x, s->x_is_gathered);
    *gathers_y = must_gather(s->of_y, s->y_is_gathered);
    if (*gathers_x)
        TLI_TRY(start_gather(s->of_x, &s->x, s->stream));
    if (*gathers_y)
        TLI_TRY(start_gather(s->of_y, &s->y, s->stream));
done:
    return st;
}

static tulle_status_t execute(const sampling_t *s)
{
    tulle_status_t st = TULLE_OK;
    const tulle_spmm_t *spmm = s->spmm;
    int gathers_x = 0, gathers_y = 0;
    TLI_TRY(start_gathers(s, &gathers_x, &gathers_y));
    TLI_TRY(sample_own(s));
    if (gathers_x)
        TLI_TRY(tulle_exchange_wait(s->of_x->gather));
    TLI_TRY(sample_arriving(s));
    if (s->of_y != NULL) {
        if (gathers_y)
            TLI_TRY(tulle_exchange_wait(s->of_y->gather));
        TLI_TRY(sample_partial(s));
        TLI_TRY(tli_scatter_agreed(spmm->values_plan, spmm->moved.sampled, s->values_out, spmm->type, 1,
                                   TULLE_OP_REPLACE, spmm->options.space, s->stream));
    }
done:
    return st;
}

static tulle_status_t execute_in_space(const sampling_t *s)
{
    tulle_status_t st = TULLE_OK;
    int previous = -1;
    TLI_TRY(tli_spmm_enter(s->spmm, &previous));
    st = execute(s);
    tli_spmm_leave(s->spmm, previous);
done:
    return st;
}

/* On the device inner products need lists of nonzeros, too. Alike on all ranks. */
static int needs_room(const tulle_spmm_t *spmm)
{
    return tli_spmm_is_on_device(spmm) || spmm->scatter != NULL;
}

/* Room for what is computed for others, and those lists. */
static tulle_status_t make_room(tulle_spmm_t *spmm)
{
    tulle_status_t st = TULLE_OK;
    if (tli_spmm_is_on_device(spmm))
        TLI_TRY(tli_spmm_device_prepare_sampling(spmm));
    else
        TLI_TRY(
            tli_arena_alloc_raw(&spmm->arena, spmm->moved.num, tulle_datatype_size(spmm->type), &spmm->moved.sampled));
done:
    return st;
}

/* What the first inner products make. @collective */
static tulle_status_t prepare_sampling(tulle_spmm_t *spmm)
{
    tulle_status_t st = TULLE_OK;
    if (needs_room(spmm) && !spmm->has_room) {
        TLI_TRY(tli_agree(spmm->comm->mpi, make_room(spmm)));
        spmm->has_room = 1;
    }
    TLI_TRY(plan_values(spmm));
done:
    return st;
}

/* Whether all is made that is made the first time, on all ranks alike. */
static int is_ready(const tulle_spmm_t *spmm)
{
    return (spmm->has_room || !needs_room(spmm)) &&
           (spmm->scatter == NULL || (spmm->transposed.is_ready && spmm->values_plan != NULL));
}

static tulle_status_t check_sampling(sampling_t *s, const tulle_product_t *product)
{
    tulle_status_t st = TULLE_OK;
    tulle_spmm_t *spmm = s->spmm;
    TLI_TRY(tli_spmm_check(spmm, &spmm->forward, product, s->stream, &s->x));
    TLI_TRY(check_values(spmm, s->values_out));
    TLI_TRY(tli_spmm_check_space(spmm, "values_out", s->values_out, spmm->num_nonzeros));
    if (spmm->scatter != NULL && !spmm->transposed.is_ready)
        TLI_TRY(tli_spmm_prepare(spmm, &spmm->transposed));
    s->y = (tulle_product_t){.width = s->x.width, .b = s->x.c, .b_stride = s->x.c_stride};
done:
    return st;
}

static tulle_status_t run_sampled(sampling_t *s, const tulle_product_t *product, int has_agreed)
{
    tulle_spmm_t *spmm = s->spmm;
    tulle_status_t st = check_sampling(s, product);
    TLI_TRY(has_agreed ? st : tli_comm_agree_on(spmm->comm, st, s->x.width, "the width"));
    TLI_TRY(prepare_sampling(spmm));
    TLI_TRY(tli_spmm_bind(spmm, &spmm->forward, &s->x, &s->of_x));
    if (spmm->scatter != NULL)
        TLI_TRY(tli_spmm_bind(spmm, &spmm->transposed, &s->y, &s->of_y));
    TLI_TRY(execute_in_space(s));
done:
    return st;
}

tulle_status_t tli_spmm_run_sampled_agreed(tulle_spmm_t *spmm, const tulle_product_t *product, int x_is_gathered,
                                           int y_is_gathered, void *values_out, void *stream)
{
    sampling_t s = {.spmm = spmm,
                    .x_is_gathered = x_is_gathered,
                    .y_is_gathered = y_is_gathered,
                    .values_out = values_out,
                    .stream = stream};
    return run_sampled(&s, product, is_ready(spmm));
}

tulle_status_t tulle_spmm_run_sampled(tulle_spmm_t *spmm, const tulle_product_t *product, void *values_out,
                                      void *stream)
{
    tulle_status_t st = TULLE_OK;
    sampling_t s = {.spmm = spmm, .values_out = values_out, .stream = stream};
    TLI_TRY(tli_check_spmm(spmm));
    TLI_TRY(run_sampled(&s, product, spmm->options.is_trusted));
done:
    return st;
}
