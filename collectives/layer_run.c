/* SPDX-License-Identifier: Apache-2.0
 * Forward: a product and an activation for each layer. Backward, the last layer first: the activation's mask, inner
 * products at the nonzeros for the weights, the transposed product for what lies before. */
#include <stdint.h>

#include <tulle/memory.h>

#include "collectives/exchange.h"
#include "collectives/layer.h"
#include "collectives/spmm_device.h"
#include "src/agree.h"

/* --- arguments --------------------------------------------------------------------------------------------------- */

static tulle_status_t check_apart(const tulle_layers_t *s, const char *names, const void *x, int64_t x_stride,
                                  const void *y, int64_t y_stride, int64_t width)
{
    tulle_status_t st = TULLE_OK;
    uintptr_t bytes = tulle_datatype_size(s->type);
    int64_t num_y = s->layers[s->num_layers - 1].activate.num_rows;
    if (s->num_inputs == 0 || num_y == 0)
        goto done;
    uintptr_t x_end = (uintptr_t)x + (uintptr_t)((s->num_inputs - 1) * x_stride + width) * bytes;
    uintptr_t y_end = (uintptr_t)y + (uintptr_t)((num_y - 1) * y_stride + width) * bytes;
    TLI_REQUIRE((uintptr_t)x >= y_end || (uintptr_t)y >= x_end, TULLE_ERR_ARG, "%s at %p and %p overlap", names, x, y);
done:
    return st;
}

/* Of the caller. */
static tulle_status_t check_rows(const tulle_layers_t *s, const char *name, const void *rows, int64_t num_rows,
                                 int64_t width, int64_t *stride)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_product_check_rows(name, rows, num_rows, s->type, width, stride));
    TLI_TRY(tli_spmm_check_space(s->layers[0].product, name, rows, num_rows));
done:
    return st;
}

static tulle_status_t check_batch(const tulle_layers_t *s, const tulle_batch_t *given, const void *stream,
                                  tulle_batch_t *batch)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(given != NULL, TULLE_ERR_ARG, "the batch is NULL");
    *batch = *given;
    TLI_REQUIRE(batch->width >= 1, TULLE_ERR_ARG, "width is %lld, must be at least 1", (long long)batch->width);
    TLI_TRY(tli_spmm_check_stream(s->layers[0].product, stream));
    TLI_TRY(check_rows(s, "x", batch->x, s->num_inputs, batch->width, &batch->x_stride));
    TLI_TRY(
        check_rows(s, "y", batch->y, s->layers[s->num_layers - 1].activate.num_rows, batch->width, &batch->y_stride));
    TLI_TRY(check_apart(s, "x and y", batch->x, batch->x_stride, batch->y, batch->y_stride, batch->width));
done:
    return st;
}

static tulle_status_t check_layers(const tulle_layers_t *s)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(s != NULL, TULLE_ERR_ARG, "the layers are NULL: were they created, or already destroyed?");
    tli_fault_set_rank(s->comm->rank);
done:
    return st;
}

/* --- rows between the layers ------------------------------------------------------------------------------------- */

static tulle_status_t alloc_rows(tulle_layers_t *s, int64_t num_rows, int64_t width)
{
    tulle_status_t st = TULLE_OK;
    int64_t scalar_bytes = (int64_t)tulle_datatype_size(s->type);
    TLI_REQUIRE(width < TLI_MOST_BYTES / scalar_bytes / (num_rows + 1), TULLE_ERR_OVERFLOW,
                "%lld rows of width %lld exceed 2^62 bytes", (long long)num_rows, (long long)width);
    TLI_TRY(tulle_alloc(s->space, (size_t)(num_rows * width * scalar_bytes), &s->rows[s->num_rows]));
    s->num_rows++;
done:
    return st;
}

/* Training: outputs of every layer but the last, then two for gradients. Inference: two for outputs, in turns. */
static tulle_status_t make_room(tulle_layers_t *s, int64_t width)
{
    tulle_status_t st = TULLE_OK;
    if (width <= s->room)
        goto done;
    s->room = 0;
    while (s->num_rows > 0)
        tulle_free(&s->rows[--s->num_rows]);
    for (int l = 0; s->is_training && l < s->num_layers - 1; l++)
        TLI_TRY(alloc_rows(s, s->layers[l].activate.num_rows, width));
    for (int i = 0; i < 2 && (s->is_training || i < s->num_layers - 1); i++)
        TLI_TRY(alloc_rows(s, s->most_outputs, width));
    s->room = width;
done:
    return st;
}

static void place_outputs(tulle_layers_t *s, const tulle_batch_t *batch)
{
    s->x = batch->x;
    s->x_stride = batch->x_stride;
    for (int l = 0; l < s->num_layers; l++) {
        tli_layer_t *layer = &s->layers[l];
        int is_last = l == s->num_layers - 1;
        layer->activate.width = batch->width;
        layer->activate.y = is_last ? batch->y : s->rows[s->is_training ? l : l % 2];
        layer->activate.y_stride = is_last ? batch->y_stride : batch->width;
    }
}

/* --- forward ----------------------------------------------------------------------------------------------------- */

/* Inputs of a layer. */
static const void *inputs_of(const tulle_layers_t *s, int l, int64_t *stride)
{
    *stride = l == 0 ? s->x_stride : s->layers[l - 1].activate.y_stride;
    return l == 0 ? s->x : s->layers[l - 1].activate.y;
}

static tulle_status_t activate(const tulle_layers_t *s, const tli_activate_args_t *args, void *stream)
{
    if (s->space == TULLE_SPACE_DEVICE)
        return tli_activate_launch(args, stream);
    tli_activate(args);
    return TULLE_OK;
}

static tulle_status_t run_forward(const tulle_layers_t *s, int64_t width, void *stream)
{
    tulle_status_t st = TULLE_OK;
    for (int l = 0; l < s->num_layers; l++) {
        const tli_layer_t *layer = &s->layers[l];
        tulle_product_t product = TULLE_PRODUCT(width, NULL, layer->activate.y);
        product.b = inputs_of(s, l, &product.b_stride);
        product.c_stride = layer->activate.y_stride;
        TLI_TRY(tli_spmm_run_agreed(layer->product, 0, &product, stream));
        TLI_TRY(activate(s, &layer->activate, stream));
    }
done:
    return st;
}

/* Of a batch that this rank has checked, or that failed. */
static tulle_status_t agree_and_run_forward(tulle_layers_t *s, tulle_status_t local, const tulle_batch_t *batch,
                                            void *stream)
{
    tulle_status_t st = local;
    if (st == TULLE_OK)
        st = make_room(s, batch->width);
    TLI_TRY(tli_comm_agree_on(s->comm, st, batch->width, "the width"));
    place_outputs(s, batch);
    TLI_TRY(run_forward(s, batch->width, stream));
    s->width = batch->width;
done:
    return st;
}

tulle_status_t tulle_layers_forward(tulle_layers_t *s, const tulle_batch_t *given, void *stream)
{
    tulle_status_t st = TULLE_OK;
    tulle_batch_t batch = {0};
    int previous = -1;
    TLI_TRY(check_layers(s));
    s->width = 0;
    tulle_status_t entered = tli_spmm_enter(s->layers[0].product, &previous);
    st =
        agree_and_run_forward(s, entered == TULLE_OK ? check_batch(s, given, stream, &batch) : entered, &batch, stream);
    if (entered == TULLE_OK)
        tli_spmm_leave(s->layers[0].product, previous);
done:
    return st;
}

/* --- backward ---------------------------------------------------------------------------------------------------- */

static tulle_status_t check_weights(const tulle_layers_t *s, const tulle_gradients_t *g)
{
    tulle_status_t st = TULLE_OK;
    for (int l = 0; l < s->num_layers && !g->leave_out_weights; l++)
        TLI_REQUIRE(s->layers[l].num_nonzeros == 0 || (g->weights != NULL && g->weights[l] != NULL), TULLE_ERR_ARG,
                    "weights[%d] is NULL, but the layer has %lld nonzeros; or set leave_out_weights", l,
                    (long long)s->layers[l].num_nonzeros);
    for (int l = 0; l < s->num_layers && !g->leave_out_weights && g->weights != NULL; l++)
        TLI_TRY(tli_spmm_check_space(s->layers[0].product, "a gradient of weights", g->weights[l],
                                     s->layers[l].num_nonzeros));
done:
    return st;
}

static tulle_status_t check_biases(const tulle_layers_t *s, const tulle_gradients_t *g)
{
    tulle_status_t st = TULLE_OK;
    for (int l = 0; l < s->num_layers && g->bias != NULL; l++)
        if (g->bias[l] != NULL)
            TLI_TRY(tli_spmm_check_space(s->layers[0].product, "a gradient of biases", g->bias[l],
                                         s->layers[l].activate.num_rows));
done:
    return st;
}

static tulle_status_t check_gradients(const tulle_layers_t *s, const tulle_gradients_t *given, const void *stream,
                                      tulle_gradients_t *g)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(given != NULL, TULLE_ERR_ARG, "the gradients are NULL");
    *g = *given;
    TLI_REQUIRE(s->is_training, TULLE_ERR_STATE, "the layers were not made for training: set is_training");
    TLI_REQUIRE(s->width > 0, TULLE_ERR_STATE, "no successful tulle_layers_forward() came before");
    TLI_TRY(tli_spmm_check_stream(s->layers[0].product, stream));
    TLI_TRY(check_rows(s, "y", g->y, s->layers[s->num_layers - 1].activate.num_rows, s->width, &g->y_stride));
    TLI_TRY(check_weights(s, g));
    TLI_TRY(check_biases(s, g));
    if (g->leave_out_x)
        goto done;
    TLI_TRY(check_rows(s, "x", g->x, s->num_inputs, s->width, &g->x_stride));
    TLI_TRY(check_apart(s, "gradients x and y", g->x, g->x_stride, g->y, g->y_stride, s->width));
done:
    return st;
}

/* Two buffers for gradients with respect to outputs, in turns. */
static void *gradient_rows(const tulle_layers_t *s, int l)
{
    return s->rows[s->num_layers - 1 + l % 2];
}

/* Gradients of one layer's weights and of what lies before it, from those of its product. The product of forward has
 * gathered the layer's inputs, and the transposed one the gradients: for the weights nothing is gathered again. But
 * that of the first layer comes last, as the caller may take the gradient of X where X was. */
static tulle_status_t differentiate(const tulle_layers_t *s, const tulle_gradients_t *g, int l, void *stream)
{
    tulle_status_t st = TULLE_OK;
    const tli_layer_t *layer = &s->layers[l];
    void *dz = gradient_rows(s, l);
    int64_t x_stride = 0;
    const void *x = inputs_of(s, l, &x_stride);
    tulle_product_t sampled = {s->width, 1, x, x_stride, 0, dz, s->width};
    tulle_product_t before = {
        s->width, 1, dz, s->width, 0, l == 0 ? g->x : gradient_rows(s, l - 1), l == 0 ? g->x_stride : s->width};
    if (l > 0)
        TLI_TRY(tli_spmm_run_agreed(layer->product, 1, &before, stream));
    if (!g->leave_out_weights)
        TLI_TRY(tli_spmm_run_sampled_agreed(layer->product, &sampled, 1, l > 0,
                                            g->weights != NULL ? g->weights[l] : NULL, stream));
    if (l == 0 && !g->leave_out_x)
        TLI_TRY(tli_spmm_run_agreed(layer->product, 1, &before, stream));
done:
    return st;
}

static tulle_status_t activate_back(const tulle_layers_t *s, const tulle_gradients_t *g, int l, void *stream)
{
    int is_last = l == s->num_layers - 1;
    tli_activate_back_args_t args = {.forward = s->layers[l].activate,
                                     .dy = is_last ? g->y : gradient_rows(s, l),
                                     .dy_stride = is_last ? g->y_stride : s->width,
                                     .dz = gradient_rows(s, l),
                                     .dz_stride = s->width,
                                     .dbias = g->bias != NULL ? g->bias[l] : NULL};
    if (s->space == TULLE_SPACE_DEVICE)
        return tli_activate_back_launch(&args, stream);
    tli_activate_back(&args);
    return TULLE_OK;
}

/* Gradients that this rank has checked, or that failed. */
static tulle_status_t agree_and_run_backward(const tulle_layers_t *s, tulle_status_t local, const tulle_gradients_t *g,
                                             void *stream)
{
    tulle_status_t st = local;
    TLI_TRY(tli_comm_agree_on(s->comm, st, (g->leave_out_x != 0) | (g->leave_out_weights != 0) << 1,
                              "what is left out (1 x, 2 weights, 3 both)"));
    for (int l = s->num_layers - 1; l >= 0; l--) {
        TLI_TRY(activate_back(s, g, l, stream));
        TLI_TRY(differentiate(s, g, l, stream));
    }
done:
    return st;
}

tulle_status_t tulle_layers_backward(tulle_layers_t *s, const tulle_gradients_t *given, void *stream)
{
    tulle_status_t st = TULLE_OK;
    tulle_gradients_t g = {0};
    int previous = -1;
    TLI_TRY(check_layers(s));
    tulle_status_t entered = tli_spmm_enter(s->layers[0].product, &previous);
    st = agree_and_run_backward(s, entered == TULLE_OK ? check_gradients(s, given, stream, &g) : entered, &g, stream);
    if (entered == TULLE_OK)
        tli_spmm_leave(s->layers[0].product, previous);
done:
    return st;
}
