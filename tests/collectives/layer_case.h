/* SPDX-License-Identifier: Apache-2.0
 * A stack of layers that every rank knows as a whole, dealt to the ranks in uneven shares, computed serially in double
 * precision, and differentiated by differences of its loss. */
#ifndef TESTS_COLLECTIVES_LAYER_CASE_H
#define TESTS_COLLECTIVES_LAYER_CASE_H

#include "tests/support/world.h"

#define LAYER_CASE_MOST_LAYERS 4
#define LAYER_CASE_MOST_UNITS  24
#define LAYER_CASE_MOST_WIDTH  5

/** Units of level 0 are inputs, those of level l + 1 outputs of layer l. */
typedef struct layer_case {
    tulle_datatype_t rounds_to; /* what products and outputs are rounded to; f64: nothing is */
    int num_layers;
    int64_t num_units[LAYER_CASE_MOST_LAYERS + 1];
    int64_t first[LAYER_CASE_MOST_LAYERS + 1]; /* of this rank's units */
    int64_t num_mine[LAYER_CASE_MOST_LAYERS + 1];
    tulle_activation_t activation[LAYER_CASE_MOST_LAYERS];
    double limit[LAYER_CASE_MOST_LAYERS];
    int has_sparse_bias[LAYER_CASE_MOST_LAYERS];
    int is_there[LAYER_CASE_MOST_LAYERS][LAYER_CASE_MOST_UNITS][LAYER_CASE_MOST_UNITS];
    double weight[LAYER_CASE_MOST_LAYERS][LAYER_CASE_MOST_UNITS][LAYER_CASE_MOST_UNITS]; /* by output and input */
    double bias[LAYER_CASE_MOST_LAYERS][LAYER_CASE_MOST_UNITS];
    int64_t width;
    double x[LAYER_CASE_MOST_UNITS][LAYER_CASE_MOST_WIDTH];
    double dy[LAYER_CASE_MOST_UNITS][LAYER_CASE_MOST_WIDTH]; /* the loss is the sum of dy * y */
} layer_case_t;

/** Random sizes and shares, some ranks with nothing. @param[in] kinds of activations to choose from */
layer_case_t *layer_case_make(spt_random_t *random, int num_layers, int kinds);

/** Numbers of few bits, so that all sums are exact in f32 and only what is written is rounded. */
void layer_case_coarsen(layer_case_t *m);

double layer_case_random_value(spt_random_t *random);

/** What a value becomes in a type. */
double layer_case_rounded(tulle_datatype_t type, double value);

/** Values of any type, so that one text checks all; and one of them. */
void *layer_case_values(int64_t num, tulle_datatype_t type);
double layer_case_get(const void *values, tulle_datatype_t type, int64_t i);

/** This rank's share of a layer. */
tulle_layer_t layer_case_describe(const layer_case_t *m, int l, tulle_datatype_t type);

/** All of it, made. Collective. @param[in] product as tulle_layers_options_t has it */
tulle_status_t layer_case_create(const layer_case_t *m, tulle_comm_t *comm, tulle_datatype_t type,
                                 const tulle_spmm_options_t *product, int is_training, tulle_layers_t **layers_out);

/** Other weights and biases in a layer, with nonzeros where they were. */
void layer_case_change_weights(spt_random_t *random, layer_case_t *m, int l);

/** Rows of this rank with a gap behind each, which nobody may touch. @param[in] rows NULL: of nothing yet */
void *layer_case_rows(const double rows[LAYER_CASE_MOST_UNITS][LAYER_CASE_MOST_WIDTH], int64_t first, int64_t num,
                      int64_t width, tulle_datatype_t type);

/** Whether this rank's rows of Y, as layer_case_rows() made them, are those of the serial model. */
int layer_case_output_is_right(const layer_case_t *m, const void *y, tulle_datatype_t type);

/** Gradients of this rank. */
typedef struct layer_case_found {
    void *dx;
    void *weights[LAYER_CASE_MOST_LAYERS];
    void *bias[LAYER_CASE_MOST_LAYERS];
} layer_case_found_t;

layer_case_found_t layer_case_alloc_found(const layer_case_t *m, tulle_datatype_t type);

/** Whether those of a layer's weights and biases, and of the inputs, in f64, are differences of the loss. */
int layer_case_weights_are_right(layer_case_t *m, const layer_case_found_t *found, int l);
int layer_case_inputs_are_right(layer_case_t *m, const layer_case_found_t *found);

#endif
