/* SPDX-License-Identifier: Apache-2.0
 * A stack of layers: checked, agreed on, a product planned for each. */
#include "collectives/layer.h"

#include <stdio.h>
#include <string.h>

#include <tulle/memory.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "collectives/pattern.h"
#include "collectives/spmm_device.h"
#include "src/agree.h"
#include "src/options.h"

const char *tulle_activation_name(tulle_activation_t activation)
{
#define ACTIVATION_NAME(name, value, text)                                                                             \
    case value:                                                                                                        \
        return text;
    switch ((int)activation) {
        TULLE_ACTIVATION_MAP(ACTIVATION_NAME)
    }
#undef ACTIVATION_NAME
    return "unknown";
}

/* --- creation ---------------------------------------------------------------------------------------------------- */

static tulle_status_t check_layer(const tulle_layer_t *layer, tulle_datatype_t type, int index)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(layer->activation >= TULLE_ACTIVATION_NONE && layer->activation <= TULLE_ACTIVATION_CLAMP,
                TULLE_ERR_ARG, "layer %d: activation is %d, none of TULLE_ACTIVATION_MAP", index,
                (int)layer->activation);
    TLI_REQUIRE(layer->activation != TULLE_ACTIVATION_CLAMP || layer->limit > 0, TULLE_ERR_ARG,
                "layer %d: limit is %g, must be positive", index, layer->limit);
    TLI_REQUIRE(!layer->has_sparse_bias || layer->activation != TULLE_ACTIVATION_NONE, TULLE_ERR_ARG,
                "layer %d: a sparse bias goes with relu or clamp only", index);
    TLI_REQUIRE(layer->weights.value_type == type, TULLE_ERR_MISMATCH,
                "layer %d: weights are %s, those of layer 0 %s; all layers must have one type", index,
                tulle_datatype_name(layer->weights.value_type), tulle_datatype_name(type));
    TLI_REQUIRE(layer->outputs.num_rows >= 0, TULLE_ERR_ARG, "layer %d: %lld outputs", index,
                (long long)layer->outputs.num_rows);
done:
    return st;
}

static tulle_status_t check_layers(const tulle_layout_t *inputs, const tulle_layer_t *layers, int num_layers,
                                   tulle_layers_t **layers_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(inputs != NULL && layers != NULL && layers_out != NULL, TULLE_ERR_ARG,
                "inputs, layers or layers_out is NULL");
    TLI_REQUIRE(num_layers >= 1, TULLE_ERR_ARG, "num_layers is %d, must be at least 1", num_layers);
    for (int l = 0; l < num_layers; l++)
        TLI_TRY(check_layer(&layers[l], layers[0].weights.value_type, l));
done:
    return st;
}

/* What must be equal on all ranks and no product compares, in one word. */
static int64_t fingerprint(const tulle_layer_t *layers, int num_layers, int is_training)
{
    XXH64_hash_t hash = (XXH64_hash_t)is_training;
    for (int l = 0; l < num_layers; l++) {
        double limit = layers[l].activation == TULLE_ACTIVATION_CLAMP ? layers[l].limit : 0;
        int64_t kind[2] = {(int)layers[l].activation, layers[l].has_sparse_bias != 0};
        hash = XXH3_64bits_withSeed(kind, sizeof kind, hash);
        hash = XXH3_64bits_withSeed(&limit, sizeof limit, hash);
    }
    return (int64_t)(hash >> 1);
}

/* Counts first: who has fewer layers than others has no more to compare. */
static tulle_status_t agree(tulle_comm_t *comm, tulle_status_t local, const tulle_layer_t *layers, int num_layers,
                            int is_training)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_agree_on(comm->mpi, local, num_layers, "the number of layers"));
    TLI_TRY(tli_agree_equal(comm->mpi, fingerprint(layers, num_layers, is_training),
                            "training, activations, limits or sparse biases (fingerprints differ)"));
done:
    return st;
}

static tulle_status_t alloc_layers(tulle_comm_t *comm, const tulle_layout_t *inputs, const tulle_layer_t *given,
                                   int num_layers, tulle_layers_t **layers_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_layers_t *layers = NULL;
    TLI_TRY(tli_alloc(sizeof *layers, layers_out));
    layers = *layers_out;
    layers->comm = tli_comm_retain(comm);
    layers->num_inputs = inputs->num_rows;
    layers->type = given[0].weights.value_type;
    layers->num_layers = num_layers;
    TLI_TRY(tli_arena_alloc(&layers->arena, num_layers, sizeof *layers->layers, &layers->layers));
    TLI_TRY(tli_arena_alloc(&layers->arena, num_layers + 1, sizeof *layers->rows, &layers->rows));
    for (int l = 0; l < num_layers; l++) {
        layers->layers[l].activate = (tli_activate_args_t){.datatype = given[l].weights.value_type,
                                                           .activation = given[l].activation,
                                                           .limit = given[l].limit,
                                                           .has_sparse_bias = given[l].has_sparse_bias != 0,
                                                           .num_rows = given[l].outputs.num_rows};
        if (given[l].outputs.num_rows > layers->most_outputs)
            layers->most_outputs = given[l].outputs.num_rows;
    }
done:
    return st;
}

/* The words of a product, and which layer it is of. */
static tulle_status_t name_layer(tulle_status_t failed, int index)
{
    tulle_error_t error = *tulle_last_error();
    char text[sizeof error.text];
    snprintf(text, sizeof text, "layer %d: %.200s", index, error.text);
    memcpy(error.text, text, sizeof text);
    tli_fault_set(&error);
    return failed;
}

static tulle_status_t plan_layers(const tulle_layout_t *inputs, const tulle_layer_t *given,
                                  const tulle_spmm_options_t *options, tulle_layers_t *layers)
{
    tulle_status_t st = TULLE_OK;
    for (int l = 0; l < layers->num_layers; l++) {
        const tulle_layout_t *columns = l == 0 ? inputs : &given[l - 1].outputs;
        tulle_status_t made = tulle_spmm_create(layers->comm, &given[l].outputs, columns, &given[l].weights, options,
                                                &layers->layers[l].product);
        if (made != TULLE_OK)
            TLI_TRY(name_layer(made, l));
        layers->layers[l].num_nonzeros = given[l].weights.row_ptr[given[l].outputs.num_rows];
    }
    layers->space = layers->layers[0].product->options.space;
done:
    return st;
}

/* --- biases ------------------------------------------------------------------------------------------------------ */

static size_t bias_bytes(const tulle_layers_t *layers, const tli_layer_t *layer)
{
    return (size_t)layer->activate.num_rows * tulle_datatype_size(layers->type);
}

static tulle_status_t copy_bias(const tulle_layers_t *layers, const void *bias, const tli_layer_t *layer)
{
    return tli_spmm_copy(layer->product, layer->bias, bias, bias_bytes(layers, layer));
}

static tulle_status_t make_bias(const tulle_layers_t *layers, const void *given, tli_layer_t *layer)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    void *zeros = NULL;
    TLI_TRY(tulle_alloc(layers->space, bias_bytes(layers, layer), &layer->bias));
    layer->activate.bias = layer->bias;
    if (given == NULL)
        TLI_TRY(tli_arena_alloc(&scratch, (int64_t)bias_bytes(layers, layer), 1, &zeros));
    TLI_TRY(copy_bias(layers, given != NULL ? given : zeros, layer));
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t make_biases(const tulle_layer_t *given, tulle_layers_t *layers)
{
    tulle_status_t st = TULLE_OK;
    int previous = -1;
    TLI_TRY(tli_spmm_enter(layers->layers[0].product, &previous));
    for (int l = 0; st == TULLE_OK && l < layers->num_layers; l++)
        st = make_bias(layers, given[l].bias, &layers->layers[l]);
    tli_spmm_leave(layers->layers[0].product, previous);
done:
    return st;
}

tulle_status_t tulle_layers_create(tulle_comm_t *comm, const tulle_layout_t *inputs, const tulle_layer_t *given,
                                   int num_layers, const tulle_layers_options_t *options_given,
                                   tulle_layers_t **layers_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_layers_t *layers = NULL;
    tulle_layers_options_t options = TULLE_LAYERS_OPTIONS_INIT;
    TLI_TRY(tli_check_comm(comm));
    st = tli_options_take(options_given, &options, sizeof options, sizeof options, "TULLE_LAYERS_OPTIONS_INIT");
    if (st == TULLE_OK)
        st = check_layers(inputs, given, num_layers, layers_out);
    if (st == TULLE_OK)
        st = alloc_layers(comm, inputs, given, num_layers, &layers);
    TLI_TRY(agree(comm, st, given, num_layers, options.is_training != 0));
    layers->is_training = options.is_training != 0;
    TLI_TRY(plan_layers(inputs, given, options.product, layers));
    TLI_TRY(tli_agree(comm->mpi, make_biases(given, layers)));
    *layers_out = layers;
    layers = NULL;
done:
    tulle_layers_destroy(&layers);
    return st;
}

void tulle_layers_destroy(tulle_layers_t **layers)
{
    tulle_layers_t *s = layers != NULL ? *layers : NULL;
    if (s == NULL)
        return;
    for (int l = 0; s->layers != NULL && l < s->num_layers; l++) {
        tulle_spmm_destroy(&s->layers[l].product);
        tulle_free(&s->layers[l].bias);
    }
    for (int i = 0; i < s->num_rows; i++)
        tulle_free(&s->rows[i]);
    tulle_comm_destroy(&s->comm);
    tli_arena_release(&s->arena);
    tli_free(s);
    *layers = NULL;
}

/* --- use --------------------------------------------------------------------------------------------------------- */

int tulle_layers_count(const tulle_layers_t *layers)
{
    return layers != NULL ? layers->num_layers : 0;
}

const tulle_spmm_t *tulle_layers_product(const tulle_layers_t *layers, int index)
{
    return index >= 0 && index < tulle_layers_count(layers) ? layers->layers[index].product : NULL;
}

static tulle_status_t check_weights(const tulle_layers_t *layers, int index, const void *values)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(index >= 0 && index < layers->num_layers, TULLE_ERR_ARG, "index is %d, must be in [0, %d)", index,
                layers->num_layers);
    TLI_REQUIRE(values != NULL || layers->layers[index].num_nonzeros == 0, TULLE_ERR_ARG,
                "values is NULL, but layer %d has %lld nonzeros", index, (long long)layers->layers[index].num_nonzeros);
done:
    return st;
}

tulle_status_t tulle_layers_set_weights(tulle_layers_t *layers, int index, const void *values, const void *bias)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(layers != NULL, TULLE_ERR_ARG, "the layers are NULL: were they created, or already destroyed?");
    tli_fault_set_rank(layers->comm->rank);
    TLI_TRY(tli_comm_agree_on(layers->comm, check_weights(layers, index, values), index, "the index"));
    TLI_TRY(tulle_spmm_set_values(layers->layers[index].product, values));
    if (bias != NULL)
        TLI_TRY(copy_bias(layers, bias, &layers->layers[index]));
done:
    return st;
}
