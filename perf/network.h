/* SPDX-License-Identifier: Apache-2.0
 * Sparse deep neural networks of the Graph Challenge: read from its files, or made as it makes them.
 *
 * All layers have the same number of neurons, 1024 to 65536, in classes j mod c of 16 neurons, c = neurons / 16. A
 * block of log2(c) layers has the strides 1, 2, 4, ..., c / 2 and one numbering p of the neurons: in the first block
 * p(i) = i mod c, in later ones the place of i in a random order, mod c. Neuron i feeds the outputs j of the classes
 * p(i) and p(i) - stride. So every neuron has 32 inputs and feeds 32 outputs; all weights are 1/16.
 * @see Kepner, Robinett, RadiX-Net, IPDPSW 2019, arXiv:1905.00416; Kepner et al., Sparse deep neural network graph
 * challenge, HPEC 2019, arXiv:1909.05631 */
#ifndef PERF_NETWORK_H
#define PERF_NETWORK_H

#include <stdint.h>

#include <mpi.h>

#include <tulle/status.h>

#include "src/arena.h"

#define PERF_NETWORK_CLASS_SIZE 16
#define PERF_NETWORK_FAN        32 /* inputs of a neuron */
#define PERF_NETWORK_WEIGHT     0.0625
#define PERF_NETWORK_LIMIT      32.0 /* of activations */

/** A network that this rank knows as a whole; what lies between its layers is for others. Zeroed may be released. */
typedef struct perf_network {
    char name[64];
    int64_t neurons;
    int64_t num_classes;
    int64_t num_layers;
    double bias;
    int64_t *members;  /* made: [blocks * neurons] by block and class: ascending neurons with that p */
    int64_t **row_ptr; /* read: [num_layers][neurons + 1], by output */
    int64_t **col_idx; /* read: [num_layers][...] inputs, ascending */
    tli_arena_t arena;
} perf_network_t;

/** Inputs of a batch: the entries of each neuron, all of value 1. */
typedef struct perf_images {
    int64_t num;      /* [inputs] */
    int64_t *row_ptr; /* [neurons + 1] */
    int64_t *col_idx; /* [row_ptr[neurons]] inputs that have an entry at the neuron, ascending */
    tli_arena_t arena;
} perf_images_t;

/** The challenge's bias of all neurons: -0.3 for 1024, and lower for more, down to -0.45. */
double perf_network_bias(int64_t neurons);

/** Layers of a block: log2 of the number of classes. */
int perf_network_block_length(int64_t neurons);

/**
 * Make a network; not collective, the same arguments give the same network everywhere.
 * @param[in]  neurons     1024, 4096, 16384 or 65536
 * @param[in]  num_layers  >= 1
 * @param[in]  seed        of the random orders
 * @param[out] network_out release with perf_network_release(); untouched on failure
 * @retval TULLE_ERR_ARG other numbers; TULLE_ERR_NOMEM
 */
tulle_status_t perf_network_make(int64_t neurons, int64_t num_layers, uint64_t seed, perf_network_t *network_out);

/**
 * Inputs of one neuron of a layer when a class has these members: those of the neuron's own class, and of the one a
 * stride further.
 * @param[in]  members [neurons] by class, ascending in each
 * @param[out] inputs  [PERF_NETWORK_FAN] ascending
 */
void perf_network_connect(int64_t neurons, const int64_t *members, int64_t stride, int64_t output, int64_t *inputs);

/**
 * Read layers and inputs of a folder in MatrixMarket form: n<neurons>-l<layer>.mtx, from 1 on as many as there are, and
 * sparse-images-<neurons>.mtx; names may go on behind that. Weights are taken to be 1/16, entries of inputs 1.
 * @collective all ranks of @p comm; rank 0 reads
 * @param[out] network_out, images_out untouched on failure
 * @retval TULLE_ERR_FILE missing or damaged, other sizes than layer 1; TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT;
 *         TULLE_ERR_REMOTE
 */
tulle_status_t perf_network_read(MPI_Comm comm, const char *folder, perf_network_t *network_out,
                                 perf_images_t *images_out);

/** Inputs of a neuron, ascending. @param[out] inputs [neurons] room for them @return how many */
int64_t perf_network_inputs(const perf_network_t *network, int64_t layer, int64_t output, int64_t *inputs);

/** Make a batch: inputs have entries at 1/16 to 8/16 of the neurons, in turn, at random. So some die out in a network
 * and others fill it. @retval TULLE_ERR_NOMEM */
tulle_status_t perf_images_make(int64_t neurons, int64_t num, uint64_t seed, perf_images_t *images_out);

/**
 * Serial inference in double precision: Y = clamp(W Y + bias, 0, 32), the bias where W Y is not 0.
 * @param[out] y [neurons * num] the first num inputs of the images
 * @retval TULLE_ERR_NOMEM
 */
tulle_status_t perf_network_infer(const perf_network_t *network, const perf_images_t *images, int64_t num, double *y);

/** Free what they hold and zero them. @param[in,out] network NULL and zeroed are fine */
void perf_network_release(perf_network_t *network);
/** The same. @param[in,out] images NULL and zeroed are fine */
void perf_images_release(perf_images_t *images);

#endif
