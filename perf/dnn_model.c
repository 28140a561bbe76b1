/* SPDX-License-Identifier: Apache-2.0
 * Every rank knows the network, makes its own rows of it and counts what they need. */
#include "perf/dnn_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <tulle/memory.h>

#include "perf/input.h"
#include "src/agree.h"

int64_t perf_dnn_place(const perf_network_t *network, perf_dnn_layout_t layout, int64_t neuron)
{
    int64_t c = network->num_classes;
    int64_t size = network->neurons / c;
    if (layout == PERF_DNN_CONTIGUOUS || neuron >= c * size) /* neurons of files need not divide into classes */
        return neuron;
    return neuron % c * size + neuron / c;
}

int64_t perf_dnn_neuron(const perf_network_t *network, perf_dnn_layout_t layout, int64_t place)
{
    int64_t c = network->num_classes;
    int64_t size = network->neurons / c;
    if (layout == PERF_DNN_CONTIGUOUS || place >= c * size)
        return place;
    return place % size * c + place / size;
}

static int compare_places(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Places of the inputs of a place, ascending. */
static int64_t list_inputs(const perf_dnn_model_t *model, int64_t layer, int64_t place, int64_t *inputs)
{
    int64_t output = perf_dnn_neuron(model->network, model->layout, place);
    int64_t num = perf_network_inputs(model->network, layer, output, inputs);
    for (int64_t k = 0; k < num; k++)
        inputs[k] = perf_dnn_place(model->network, model->layout, inputs[k]);
    if (model->layout != PERF_DNN_CONTIGUOUS)
        qsort(inputs, (size_t)num, sizeof *inputs, compare_places);
    return num;
}

static void put(void *values, tulle_datatype_t datatype, int64_t i, double value)
{
    if (datatype == TULLE_F32)
        ((float *)values)[i] = (float)value;
    else
        ((double *)values)[i] = value;
}

static double get(const void *values, tulle_datatype_t datatype, int64_t i)
{
    return datatype == TULLE_F32 ? (double)((const float *)values)[i] : ((const double *)values)[i];
}

/* --- layers ------------------------------------------------------------------------------------------------------ */

static int64_t count_entries(const perf_dnn_model_t *model, int64_t layer, int64_t *inputs)
{
    int64_t num = 0;
    for (int64_t i = 0; i < model->num; i++)
        num += list_inputs(model, layer, model->first + i, inputs);
    return num;
}

static tulle_status_t describe_layer(const perf_dnn_model_t *model, int64_t layer, tli_arena_t *arena,
                                     tulle_layer_t *out)
{
    tulle_status_t st = TULLE_OK;
    size_t bytes = tulle_datatype_size(model->datatype);
    int64_t *inputs = NULL, *row_ptr = NULL, *col_idx = NULL;
    void *values = NULL, *bias = NULL;
    TLI_TRY(tli_arena_alloc_raw(arena, model->network->neurons, sizeof *inputs, &inputs));
    int64_t num = count_entries(model, layer, inputs);
    TLI_TRY(tli_arena_alloc(arena, model->num + 1, sizeof *row_ptr, &row_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, num, sizeof *col_idx, &col_idx));
    TLI_TRY(tli_arena_alloc_raw(arena, num, bytes, &values));
    TLI_TRY(tli_arena_alloc_raw(arena, model->num, bytes, &bias));
    for (int64_t e = 0; e < num; e++)
        put(values, model->datatype, e, PERF_NETWORK_WEIGHT);
    for (int64_t i = 0; i < model->num; i++) {
        put(bias, model->datatype, i, model->network->bias);
        row_ptr[i + 1] = row_ptr[i] + list_inputs(model, layer, model->first + i, inputs);
        memcpy(col_idx + row_ptr[i], inputs, (size_t)(row_ptr[i + 1] - row_ptr[i]) * sizeof *inputs);
    }
    *out = (tulle_layer_t){TULLE_LAYOUT_BLOCK(model->num),
                           {row_ptr, col_idx, values, TULLE_I64, model->datatype},
                           bias,
                           TULLE_ACTIVATION_CLAMP,
                           PERF_NETWORK_LIMIT,
                           1};
done:
    return st;
}

static tulle_status_t create_layers(perf_dnn_model_t *model, tulle_comm_t *tulle, const perf_dnn_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t num_layers = model->network->num_layers;
    tulle_layout_t inputs = TULLE_LAYOUT_BLOCK(model->num);
    tulle_layer_t *layers = NULL;
    tulle_spmm_options_t product = TULLE_SPMM_OPTIONS_INIT;
    tulle_layers_options_t layers_options = TULLE_LAYERS_OPTIONS_INIT;
    product.cover = options->cover;
    product.width = model->batch;
    product.is_trusted = 1;
    product.space = options->memory == PERF_MEMORY_DEVICE ? TULLE_SPACE_DEVICE : TULLE_SPACE_HOST;
    layers_options.product = &product;
    st = tli_arena_alloc(&scratch, num_layers, sizeof *layers, &layers);
    for (int64_t l = 0; l < num_layers && st == TULLE_OK; l++)
        st = describe_layer(model, l, &scratch, &layers[l]);
    TLI_TRY(tli_agree(model->comm, st));
    double began = MPI_Wtime();
    TLI_TRY(tulle_layers_create(tulle, &inputs, layers, (int)num_layers, &layers_options, &model->layers));
    model->setup_us = 1e6 * (MPI_Wtime() - began);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &model->setup_us, 1, MPI_DOUBLE, MPI_MAX, model->comm));
done:
    tli_arena_release(&scratch);
    return st;
}

/* --- volumes ----------------------------------------------------------------------------------------------------- */

/* Distinct places on other nodes that some ranks' rows of a layer need. @param[in,out] mark [neurons] below round */
static int64_t count_needed(const perf_dnn_model_t *model, int64_t layer, const int *node_of, int first_rank,
                            int num_ranks, int64_t *mark, int64_t round, int64_t *inputs)
{
    int64_t num = 0;
    int node = node_of[first_rank];
    for (int r = first_rank; r < first_rank + num_ranks; r++) {
        int64_t first, count;
        perf_block(model->network->neurons, model->num_ranks, r, &first, &count);
        for (int64_t place = first; node_of[r] == node && place < first + count; place++) {
            int64_t fan = list_inputs(model, layer, place, inputs);
            for (int64_t k = 0; k < fan; k++) {
                int owner = perf_block_owner(model->network->neurons, model->num_ranks, inputs[k]);
                num += node_of[owner] != node && mark[inputs[k]] != round;
                mark[inputs[k]] = round;
            }
        }
    }
    return num;
}

/* The first rank of a node counts for its node. */
static tulle_status_t count_rows(perf_dnn_model_t *model, const tulle_topology_t *topology)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int *node_of = NULL;
    int64_t *mark = NULL, *inputs = NULL;
    int first = 0;
    TLI_TRY(tli_arena_alloc(&scratch, model->num_ranks, sizeof *node_of, &node_of));
    TLI_TRY(tli_arena_alloc(&scratch, model->network->neurons, sizeof *mark, &mark));
    TLI_TRY(tli_arena_alloc(&scratch, model->network->neurons, sizeof *inputs, &inputs));
    for (int r = 0; r < model->num_ranks; r++)
        node_of[r] = tulle_topology_group(topology, 0, r);
    while (node_of[first] != node_of[model->rank])
        first++;
    for (int64_t l = 0; l < model->network->num_layers; l++) {
        perf_dnn_rows_t *rows = &model->rows[l];
        rows->direct = count_needed(model, l, node_of, model->rank, 1, mark, 2 * l + 1, inputs);
        if (first == model->rank)
            rows->limit = count_needed(model, l, node_of, first, model->num_ranks - first, mark, 2 * l + 2, inputs);
    }
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t ask_library(perf_dnn_model_t *model)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t l = 0; l < model->network->num_layers; l++) {
        tulle_spmm_stats_t stats = {.struct_size = sizeof stats};
        TLI_TRY(tulle_spmm_get_stats(tulle_layers_product(model->layers, (int)l), &stats));
        TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &model->rows[l], 2, MPI_INT64_T, MPI_SUM, model->comm));
        model->rows[l].reported = stats.columns_rows;
        model->rows[l].crossing = stats.cover_rows;
    }
done:
    return st;
}

/* --- model ------------------------------------------------------------------------------------------------------- */

static tulle_status_t alloc_model(perf_dnn_model_t *model, const perf_images_t *images, perf_memory_t memory)
{
    tulle_status_t st = TULLE_OK;
    size_t bytes = (size_t)(model->num * model->batch) * tulle_datatype_size(model->datatype);
    TLI_TRY(tli_arena_alloc(&model->arena, model->network->num_layers, sizeof *model->rows, &model->rows));
    TLI_TRY(perf_rows_alloc(memory, bytes, &model->x));
    TLI_TRY(perf_rows_alloc(memory, bytes, &model->y));
    memset(model->x.image, 0, bytes);
    for (int64_t i = 0; i < model->num; i++) {
        int64_t neuron = perf_dnn_neuron(model->network, model->layout, model->first + i);
        for (int64_t e = images->row_ptr[neuron]; e < images->row_ptr[neuron + 1]; e++)
            if (images->col_idx[e] < model->batch)
                put(model->x.image, model->datatype, i * model->batch + images->col_idx[e], 1);
    }
    TLI_TRY(perf_rows_upload(&model->x));
done:
    return st;
}

tulle_status_t perf_dnn_model_create(MPI_Comm comm, tulle_comm_t *tulle, const perf_network_t *network,
                                     const perf_images_t *images, int64_t batch, perf_dnn_layout_t layout,
                                     const perf_dnn_options_t *options, perf_dnn_model_t *model_out)
{
    tulle_status_t st = TULLE_OK;
    perf_dnn_model_t model = {
        .comm = comm, .network = network, .layout = layout, .datatype = options->datatype, .batch = batch};
    TLI_MPI(MPI_Comm_rank(comm, &model.rank));
    TLI_MPI(MPI_Comm_size(comm, &model.num_ranks));
    perf_block(network->neurons, model.num_ranks, model.rank, &model.first, &model.num);
    TLI_TRY(tli_agree(comm, alloc_model(&model, images, options->memory)));
    TLI_TRY(create_layers(&model, tulle, options));
    TLI_TRY(tli_agree(comm, count_rows(&model, tulle_comm_topology(tulle))));
    TLI_TRY(ask_library(&model));
    *model_out = model;
    memset(&model, 0, sizeof model);
done:
    perf_dnn_model_release(&model);
    return st;
}

void perf_dnn_model_release(perf_dnn_model_t *model)
{
    if (model == NULL)
        return;
    tulle_layers_destroy(&model->layers);
    perf_rows_free(&model->x);
    perf_rows_free(&model->y);
    tli_arena_release(&model->arena);
    memset(model, 0, sizeof *model);
}

/* --- check ------------------------------------------------------------------------------------------------------- */

/* Expected rows of a rank, in its order. */
static void pick_rows(const perf_dnn_model_t *model, int rank, const double *expected, double *rows)
{
    int64_t first, count;
    perf_block(model->network->neurons, model->num_ranks, rank, &first, &count);
    for (int64_t i = 0; i < count; i++)
        memcpy(rows + i * model->batch,
               expected + perf_dnn_neuron(model->network, model->layout, first + i) * model->batch,
               (size_t)model->batch * sizeof *rows);
}

/* A row is one element, so that counts fit. */
static tulle_status_t share_expected(const perf_dnn_model_t *model, const double *expected, double *mine,
                                     double *scratch)
{
    tulle_status_t st = TULLE_OK;
    MPI_Datatype row = MPI_DATATYPE_NULL;
    TLI_MPI(MPI_Type_contiguous((int)model->batch, MPI_DOUBLE, &row));
    TLI_MPI(MPI_Type_commit(&row));
    if (model->rank != 0)
        TLI_MPI(MPI_Recv(mine, (int)model->num, row, 0, 0, model->comm, MPI_STATUS_IGNORE));
    for (int r = 1; r < model->num_ranks && model->rank == 0; r++) {
        int64_t first, count;
        perf_block(model->network->neurons, model->num_ranks, r, &first, &count);
        pick_rows(model, r, expected, scratch);
        TLI_MPI(MPI_Send(scratch, (int)count, row, r, 0, model->comm));
    }
    if (model->rank == 0)
        pick_rows(model, 0, expected, mine);
done:
    if (row != MPI_DATATYPE_NULL)
        MPI_Type_free(&row);
    return st;
}

/* Sums of 32 terms, layer by layer, in another order: rounding errors of a relative size that grows with the layers.
 * @param[out] is_found [2 * batch] inputs with an output that is not zero, found and expected */
static void compare(const perf_dnn_model_t *model, const double *expected, char *is_found, perf_dnn_verdict_t *verdict)
{
    double epsilon = model->datatype == TULLE_F32 ? 1.2e-7 : 2.3e-16;
    double tolerance = 32 * epsilon * (double)model->network->num_layers;
    for (int64_t i = 0; i < model->num; i++)
        for (int64_t k = 0; k < model->batch; k++) {
            double wanted = expected[i * model->batch + k];
            double found = get(model->y.image, model->datatype, i * model->batch + k);
            double error = fabs(found - wanted);
            verdict->wrong += !(error <= tolerance * (1 + wanted));
            verdict->largest_error = fmax(verdict->largest_error, error);
            is_found[k] |= found != 0;
            is_found[model->batch + k] |= wanted != 0;
        }
}

tulle_status_t perf_dnn_model_check(const perf_dnn_model_t *model, const double *expected,
                                    perf_dnn_verdict_t *verdict_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    perf_dnn_verdict_t verdict = {0, 0, 0, 0};
    double *mine = NULL, *other = NULL;
    char *is_found = NULL;
    int64_t most = (model->num + 1) * model->batch;
    st = tli_arena_alloc_raw(&scratch, most, sizeof *mine, &mine);
    if (st == TULLE_OK)
        st = tli_arena_alloc_raw(&scratch, most, sizeof *other, &other);
    if (st == TULLE_OK)
        st = tli_arena_alloc(&scratch, 2 * model->batch, 1, &is_found);
    if (st == TULLE_OK)
        st = perf_rows_download(&model->y);
    TLI_TRY(tli_agree(model->comm, st));
    TLI_TRY(share_expected(model, expected, mine, other));
    compare(model, mine, is_found, &verdict);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, is_found, (int)(2 * model->batch), MPI_CHAR, MPI_MAX, model->comm));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &verdict.wrong, 1, MPI_INT64_T, MPI_SUM, model->comm));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &verdict.largest_error, 1, MPI_DOUBLE, MPI_MAX, model->comm));
    for (int64_t k = 0; k < model->batch; k++) {
        verdict.found += is_found[k];
        verdict.differing += is_found[k] != is_found[model->batch + k];
    }
    *verdict_out = verdict;
done:
    tli_arena_release(&scratch);
    return st;
}
