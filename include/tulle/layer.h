/* SPDX-License-Identifier: Apache-2.0
 * Sparse layers of a model whose weights are too many for one rank: Y = activation(W X + bias), W sparse and split over
 * ranks by output rows, X and Y activations with one column per input of the batch. Layers are stacked and planned
 * together; inference runs forward, training also backward. Weights are updated by the caller. */
#ifndef TULLE_LAYER_H
#define TULLE_LAYER_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/spmm.h>

TULLE_BEGIN_DECLS

/** What is applied to every scalar of W X + bias: name, frozen value, text. */
#define TULLE_ACTIVATION_MAP(X)                                                                                        \
    X(NONE, 0, "none")                                                                                                 \
    X(RELU, 1, "relu")                                                                                                 \
    X(CLAMP, 2, "clamp")

/** NONE: z. RELU: z where it is positive, else 0. CLAMP: RELU, but no more than the layer's limit. A NaN stays one. */
typedef enum tulle_activation {
#define TULLE_ACTIVATION_ENUM(name, value, text) TULLE_ACTIVATION_##name = value,
    TULLE_ACTIVATION_MAP(TULLE_ACTIVATION_ENUM)
#undef TULLE_ACTIVATION_ENUM
} tulle_activation_t;

/** Text form of an activation, such as "relu"; "unknown" for another value. @param[in] activation any value
 * @return never NULL; static storage @collective no @threads any @cost O(1) */
TULLE_API const char *tulle_activation_name(tulle_activation_t activation);

/** One layer, as the caller describes it. What is zero is off. */
typedef struct tulle_layer {
    tulle_layout_t outputs; /**< rows of W and Y on this rank; they are the inputs of the layer behind */
    tulle_csr_t weights;    /**< this rank's rows of W: an output each; columns are ids of the inputs; all layers have
                                 values of one type, any that products offer. Of f16 and bf16 W X is rounded once, and
                                 again when bias and activation, computed in f32, are applied */
    const void *bias;       /**< [outputs.num_rows] added to every column of Y; of the type of the weights; host
                                 memory; NULL = 0 */
    tulle_activation_t activation; /**< equal on every rank */
    double limit;                  /**< of CLAMP: > 0; equal on every rank; else ignored */
    int32_t has_sparse_bias; /**< [bool] the bias is added only where W X is not zero, as the Graph Challenge has it: an
                                  input without any entry stays without; with RELU or CLAMP; equal on every rank */
} tulle_layer_t;

/** Layers, one behind the other, ready to run. Opaque; holds copies of everything it was made from. */
typedef struct tulle_layers tulle_layers_t;

/** Tunables of tulle_layers_create(). Zero always means "library default". Append fields, never reorder. */
typedef struct tulle_layers_options {
    size_t struct_size;                  /**< [bytes] set by the initializer */
    const tulle_spmm_options_t *product; /**< borrowed for the call; of the product of every layer; NULL = defaults.
                                            With is_trusted ranks compare notes once per call, not for every layer.
                                            Its space is that of all rows: host or device memory */
    int32_t is_training;                 /**< [bool] 1 = forward keeps the outputs of every layer for backward */
} tulle_layers_options_t;

/* clang-format off */
/** Defaults for every field. */
#define TULLE_LAYERS_OPTIONS_INIT {sizeof(tulle_layers_options_t), NULL, 0}
/* clang-format on */

/**
 * Plan a stack of layers.
 * @collective all ranks of @p comm; blocks
 * @param[in]  comm       borrowed; kept alive by the object
 * @param[in]  inputs     borrowed for the call; inputs of the first layer on this rank; may be none
 * @param[in]  layers     [num_layers] borrowed for the call, arrays of the layers too; copied
 * @param[in]  num_layers [count] >= 1, equal on every rank
 * @param[in]  options    borrowed for the call; NULL = defaults; equal on every rank
 * @param[out] layers_out owned by the caller, free with tulle_layers_destroy(); untouched on failure
 * @retval TULLE_ERR_ARG what tulle_spmm_create() refuses in a layer's weights, the layer named; a null pointer, no
 *         layer, an unknown activation, a limit that is not positive, a sparse bias without RELU or CLAMP
 * @retval TULLE_ERR_MISMATCH ranks disagree about what must be equal, or layers about the type of values
 * @retval TULLE_ERR_UNSUPPORTED values of a type that products do not offer; values in device memory; rows in device
 *         memory in a build without CUDA
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_OVERFLOW; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 * @threads one thread per comm at a time   @cost that of tulle_spmm_create() for every layer
 */
TULLE_API tulle_status_t tulle_layers_create(tulle_comm_t *comm, const tulle_layout_t *inputs,
                                             const tulle_layer_t *layers, int num_layers,
                                             const tulle_layers_options_t *options, tulle_layers_t **layers_out);

/**
 * Free layers and set *layers to NULL.
 * @param[in,out] layers NULL and pointer to NULL are fine
 * @collective all ranks, same order; before MPI_Finalize   @threads one thread per comm at a time
 */
TULLE_API void tulle_layers_destroy(tulle_layers_t **layers);

/** Number of layers; 0 for NULL. @param[in] layers borrowed @return count @collective no @threads any @cost O(1) */
TULLE_API int tulle_layers_count(const tulle_layers_t *layers);

/**
 * The product of a layer, to be explained or counted: tulle_spmm_get_stats(), tulle_spmm_plan().
 * @param[in] layers borrowed
 * @param[in] index  0 to count - 1
 * @return borrowed, valid while the layers live; NULL for NULL and when @p index is out of range
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const tulle_spmm_t *tulle_layers_product(const tulle_layers_t *layers, int index);

/** A batch of inputs and what comes of them. Row i of X begins at x + i * x_stride, row i of Y at y + i * y_stride. */
typedef struct tulle_batch {
    int64_t width;    /**< [scalars] inputs of the batch: columns of X and Y, >= 1; equal on every rank */
    const void *x;    /**< rows of X on this rank, in the layout of the inputs; NULL if there are none */
    int64_t x_stride; /**< [scalars] from row to row, >= width; 0 = width */
    void *y;          /**< rows of Y on this rank, as the last layer's outputs; NULL if there are none; not over X */
    int64_t y_stride; /**< [scalars] from row to row, >= width; 0 = width */
} tulle_batch_t;

/* clang-format off */
/** A batch of @p n inputs in rows of n scalars. */
#define TULLE_BATCH(n, x, y) {(n), (x), 0, (y), 0}
/* clang-format on */

/**
 * Run the layers, the first one first: Y = activation(W ... activation(W X + bias) ... + bias). The result is bitwise
 * the same from run to run. The first run of a width, or of one larger than before, allocates rows between the layers.
 * @collective all ranks of the layers; blocks
 * @param[in,out] layers borrowed; for training, X and Y must stay as they are until tulle_layers_backward()
 * @param[in]     batch  borrowed for the call; its rows are in the space of the products' options
 * @param[in]     stream as in tulle_spmm_run(): NULL where rows are in host memory; else all runs on it, X is borrowed
 * and Y is there when it is through; captured into a graph it can be as products can, once its width has run
 * @retval TULLE_ERR_ARG a null pointer, a width below 1, a stride below the width, X and Y overlap; with device memory,
 *         rows that its GPU does not reach
 * @retval TULLE_ERR_MISMATCH ranks disagree about the width
 * @retval TULLE_ERR_UNSUPPORTED rows in device or managed memory, or a stream, unless the products' space says so
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_OVERFLOW; TULLE_ERR_TRANSPORT; TULLE_ERR_TIMEOUT; TULLE_ERR_REMOTE another rank
 *         failed. Y may then hold a part of the result
 * @threads one thread per comm at a time   @cost that of tulle_spmm_run() for every layer, and one small reduction
 */
TULLE_API tulle_status_t tulle_layers_forward(tulle_layers_t *layers, const tulle_batch_t *batch, void *stream);

/** Gradients of a loss, by Y on the way in, by all else on the way out. What is written is overwritten, not added to.
 */
typedef struct tulle_gradients {
    const void *y;        /**< rows of dloss/dY on this rank; NULL if there are none; only read */
    int64_t y_stride;     /**< [scalars] from row to row, >= width of the batch; 0 = width */
    void *x;              /**< rows of dloss/dX on this rank; NULL if there are none; not over @p y */
    int64_t x_stride;     /**< [scalars] from row to row, >= width of the batch; 0 = width */
    void *const *weights; /**< [layers] of each, [nonzeros of this rank]: dloss/dW in the order of the CSR; NULL where a
                               layer has no nonzeros on this rank; may itself be NULL when weights are left out */
    void *const *bias;    /**< [layers] of each, [outputs of this rank]: dloss/dbias; NULL = not wanted on this rank */
    int32_t leave_out_x;  /**< [bool] dloss/dX is not wanted: saves a product; equal on every rank */
    int32_t leave_out_weights; /**< [bool] dloss/dW is not wanted; equal on every rank */
} tulle_gradients_t;

/**
 * Gradients of a loss that the caller computed from Y of the last tulle_layers_forward(). Where RELU and CLAMP have a
 * kink, the derivative is 0.
 * @collective all ranks of the layers; blocks
 * @param[in,out] layers    borrowed; made for training; X, Y and weights as they were in the last forward
 * @param[in]     gradients borrowed for the call; lists of addresses are in host memory, what they point to in the
 *                          space of the products' options
 * @param[in]     stream    as in tulle_layers_forward(), and the same one, or ordered behind it by an event
 * @retval TULLE_ERR_STATE no forward run came before, or the layers were not made for training
 * @retval TULLE_ERR_ARG a null pointer, a stride below the width, overlapping rows
 * @retval TULLE_ERR_MISMATCH ranks disagree about what is left out
 * @return else as tulle_layers_forward()
 * @threads one thread per comm at a time
 * @cost that of tulle_spmm_run_transpose() for every layer, and inner products of rows that are there: only the first
 * layer gathers, and what is computed for other ranks travels; one small reduction
 */
TULLE_API tulle_status_t tulle_layers_backward(tulle_layers_t *layers, const tulle_gradients_t *gradients,
                                               void *stream);

/**
 * Replace the weights and the bias of a layer; nonzeros stay where they are. With rows in device memory, when nothing
 * of the layers, and nothing that writes the new values, is on a stream any more; these may be in host or device
 * memory.
 * @collective all ranks of the layers; blocks
 * @param[in,out] layers borrowed
 * @param[in]     index  0 to count - 1, equal on every rank
 * @param[in]     values [nonzeros of this rank] copied, in the order of the CSR; NULL if there are none
 * @param[in]     bias   [outputs of this rank] copied; NULL = stays as it is
 * @retval TULLE_ERR_ARG a null pointer, an index out of range; TULLE_ERR_MISMATCH ranks disagree about the index
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 * @threads one thread per comm at a time   @cost that of tulle_spmm_set_values()
 */
TULLE_API tulle_status_t tulle_layers_set_weights(tulle_layers_t *layers, int index, const void *values,
                                                  const void *bias);

TULLE_END_DECLS

#endif
