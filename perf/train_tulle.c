/* SPDX-License-Identifier: Apache-2.0
 * The graph split over ranks: what a program that trains with Tulle contains. */
#include <tulle/tulle.h>

#include "perf/train.h"
#include "src/agree.h"

typedef struct split {
    train_engine_t engine; /* first: handed out in its place */
    MPI_Comm comm;         /* borrowed */
    tulle_layers_t *layers[TRAIN_LAYERS];
} split_t;

static tulle_status_t forward(train_engine_t *engine, int layer, int64_t width, const double *x, double *y)
{
    tulle_batch_t batch = TULLE_BATCH(width, x, y);
    return tulle_layers_forward(((split_t *)engine)->layers[layer], &batch, NULL);
}

static tulle_status_t backward(train_engine_t *engine, int layer, const double *dy, double *dx, double *dw)
{
    void *by_weights[1] = {dw};
    tulle_gradients_t gradients = {dy, 0, dx, 0, by_weights, NULL, 0, 0};
    return tulle_layers_backward(((split_t *)engine)->layers[layer], &gradients, NULL);
}

static tulle_status_t set_weights(train_engine_t *engine, int layer, const double *weights)
{
    return tulle_layers_set_weights(((split_t *)engine)->layers[layer], 0, weights, NULL);
}

static tulle_status_t sum(train_engine_t *engine, double *values, int num)
{
    tulle_status_t st = TULLE_OK;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, values, num, MPI_DOUBLE, MPI_SUM, ((split_t *)engine)->comm));
done:
    return st;
}

/* One layer by itself: between the two the rows are multiplied by T1. Weights come later. */
static tulle_status_t create_layer(tulle_comm_t *tulle, const perf_input_t *graph, const double *weights,
                                   tulle_activation_t activation, int64_t width, tulle_layers_t **layers_out)
{
    tulle_layout_t vertices = TULLE_LAYOUT_BLOCK(graph->num_rows);
    tulle_layer_t layer = {
        vertices, {graph->row_ptr, graph->col_idx, weights, TULLE_I64, TULLE_F64}, NULL, activation, 0, 0};
    tulle_spmm_options_t product = TULLE_SPMM_OPTIONS_INIT;
    tulle_layers_options_t options = TULLE_LAYERS_OPTIONS_INIT;
    product.width = width;
    options.product = &product;
    options.is_training = 1;
    return tulle_layers_create(tulle, &vertices, &layer, 1, &options, layers_out);
}

tulle_status_t train_tulle_open(tulle_comm_t *tulle, MPI_Comm comm, const perf_input_t *graph,
                                train_engine_t **engine_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    split_t *split = NULL;
    train_engine_t *engine = NULL;
    double *weights = NULL;
    int64_t num_edges = graph->row_ptr[graph->num_rows];
    st = tli_arena_alloc(&scratch, num_edges, sizeof *weights, &weights);
    if (st == TULLE_OK)
        st = tli_alloc(sizeof *split, &split);
    TLI_TRY(tli_agree(comm, st));
    engine = &split->engine;
    *engine = (train_engine_t){graph->num_rows, num_edges, graph->row_ptr, forward, backward, set_weights, sum};
    split->comm = comm;
    TLI_TRY(create_layer(tulle, graph, weights, TULLE_ACTIVATION_RELU, TRAIN_HIDDEN, &split->layers[0]));
    TLI_TRY(create_layer(tulle, graph, weights, TULLE_ACTIVATION_NONE, TRAIN_CLASSES, &split->layers[1]));
    *engine_out = engine;
    split = NULL;
done:
    if (split != NULL)
        train_tulle_close(&engine);
    tli_arena_release(&scratch);
    return st;
}

void train_tulle_close(train_engine_t **engine)
{
    split_t *split = (split_t *)*engine;
    if (split == NULL)
        return;
    for (int l = 0; l < TRAIN_LAYERS; l++)
        tulle_layers_destroy(&split->layers[l]);
    tli_free(split);
    *engine = NULL;
}
