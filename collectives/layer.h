/* SPDX-License-Identifier: Apache-2.0
 * Inside of a stack of layers: a product for each, and the rows between them. */
#ifndef TLI_LAYER_H
#define TLI_LAYER_H

#include <tulle/layer.h>

#include "src/arena.h"
#include "src/comm.h"
#include "src/device/activate.h"

/** One layer, planned. */
typedef struct tli_layer {
    tulle_spmm_t *product;
    tli_activate_args_t activate; /* width is that of the batch; y, the outputs, is the caller's in the last layer */
    int64_t num_nonzeros;         /* of this rank */
    void *bias;                   /* [num_outputs] from tulle_alloc() */
} tli_layer_t;

struct tulle_layers {
    tulle_comm_t *comm; /* one reference */
    tulle_datatype_t type;
    tulle_space_t space; /* of all rows and biases */
    int is_training;
    int num_layers;
    tli_layer_t *layers;  /* [num_layers] */
    int64_t num_inputs;   /* [rows] of this rank */
    int64_t most_outputs; /* [rows] of this rank, of the layer with most */
    const void *x;        /* of the last forward, borrowed */
    int64_t x_stride;     /* [scalars] */
    int64_t width;        /* of the last forward that succeeded, for backward; 0 = none */
    int64_t room;         /* [scalars] of the widest batch that there is room for */
    void **rows;          /* [num_rows] what there is room in, from tulle_alloc() */
    int num_rows;         /* training: outputs of all layers but the last, two gradients; else: outputs, twice */
    tli_arena_t arena;
};

#endif
