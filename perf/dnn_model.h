/* SPDX-License-Identifier: Apache-2.0
 * A network in one layout: its neurons dealt to ranks, its layers planned, its rows counted without the library. */
#ifndef PERF_DNN_MODEL_H
#define PERF_DNN_MODEL_H

#include <tulle/layer.h>
#include <tulle/mpi.h>

#include "perf/dnn_options.h"
#include "perf/network.h"

/** Rows between nodes in one layer, or summed over layers. */
typedef struct perf_dnn_rows {
    int64_t direct;   /* each rank gets what it needs */
    int64_t limit;    /* each row enters each node once */
    int64_t reported; /* what the library says of the same */
    int64_t crossing; /* what crosses with the library's cover */
} perf_dnn_rows_t;

/** Neurons have places; each rank has a block of these, as perf_block() cuts it. Zeroed may be released. */
typedef struct perf_dnn_model {
    MPI_Comm comm; /* borrowed */
    int rank, num_ranks;
    const perf_network_t *network; /* borrowed */
    perf_dnn_layout_t layout;
    tulle_datatype_t datatype;
    int64_t batch;
    int64_t first, num; /* places of this rank */
    tulle_layers_t *layers;
    double setup_us;       /* [us] tulle_layers_create(), slowest rank */
    perf_dnn_rows_t *rows; /* [layers of the network] of all ranks */
    perf_rows_t x, y;      /* [num * batch] */
    tli_arena_t arena;
} perf_dnn_model_t;

/** Place of a neuron. */
int64_t perf_dnn_place(const perf_network_t *network, perf_dnn_layout_t layout, int64_t neuron);
/** Neuron of a place. */
int64_t perf_dnn_neuron(const perf_network_t *network, perf_dnn_layout_t layout, int64_t place);

/**
 * @collective all ranks of @p comm
 * @param[in]  tulle     borrowed, of the same ranks
 * @param[in]  batch     inputs, the first of the images
 * @param[out] model_out release with perf_dnn_model_release(); untouched on failure
 * @retval what the library reported; TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; on all ranks
 */
tulle_status_t perf_dnn_model_create(MPI_Comm comm, tulle_comm_t *tulle, const perf_network_t *network,
                                     const perf_images_t *images, int64_t batch, perf_dnn_layout_t layout,
                                     const perf_dnn_options_t *options, perf_dnn_model_t *model_out);

/** What the outputs are, against a serial run. */
typedef struct perf_dnn_verdict {
    int64_t wrong;        /* [scalars] further from it than the datatype allows */
    int64_t found;        /* [inputs] with an output that is not zero: the challenge's categories */
    int64_t differing;    /* [inputs] of which one run says so and the other does not */
    double largest_error; /* of all scalars */
} perf_dnn_verdict_t;

/**
 * Compare outputs.
 * @collective all ranks of the model
 * @param[in]  expected    [neurons * batch] by neuron, on rank 0
 * @param[out] verdict_out equal on every rank
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; on all ranks
 */
tulle_status_t perf_dnn_model_check(const perf_dnn_model_t *model, const double *expected,
                                    perf_dnn_verdict_t *verdict_out);

/** Collective. @param[in,out] model NULL and zeroed are fine */
void perf_dnn_model_release(perf_dnn_model_t *model);

#endif
