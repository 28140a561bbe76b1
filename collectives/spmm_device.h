/* SPDX-License-Identifier: Apache-2.0
 * Products of rows in device memory: the blocks of a matrix there, and what a product puts on the caller's stream.
 * Plans, exchanges and bindings are those of products on the host. */
#ifndef TLI_SPMM_DEVICE_H
#define TLI_SPMM_DEVICE_H

#include "collectives/spmm.h"
#include "src/device/pack.h"
#include "src/device/product_library.h"

#define TLI_MOST_DEVICE_BUFFERS 48 /* of a matrix, both ways */

/** A block on the device, and where its values come from. */
typedef struct tli_device_block {
    tli_device_sparse_t sparse;
    int64_t *entry; /* [num_nonzeros] in host memory: place in the list of values */
    /* For inner products, on the device; NULL: not asked for yet. */
    const int32_t *nonzero_row;   /* [num_nonzeros] */
    const int64_t *nonzero_entry; /* [num_nonzeros] as entry */
} tli_device_block_t;

/** What one way has on the device. */
typedef struct tli_device_way {
    int is_ready;
    tli_device_block_t own, partial, arriving;
    int64_t *landings;               /* [num_landings] */
    int64_t *entry_ptr, *entry_area; /* [num_landings + 1], [num_landings]: each landing has one entry, in area 0 */
} tli_device_way_t;

/** Device side of a matrix. */
typedef struct tli_spmm_device {
    int device;
    void *stream; /* of uploads */
    tli_device_way_t forward, transposed;
    void *buffers[TLI_MOST_DEVICE_BUFFERS];
    int num_buffers;
} tli_spmm_device_t;

/** Device side of a binding. */
typedef struct tli_spmm_device_rows {
    void *ghosts, *partials, *landed, *sums, *zeros;
    tli_rows_t *areas; /* on the device: landed alone */
    tli_cusparse_t *own, *partial;
} tli_spmm_device_rows_t;

static inline const tli_device_way_t *tli_device_way_of(const tulle_spmm_t *spmm, const tli_spmm_way_t *way)
{
    return way == &spmm->transposed ? &spmm->device->transposed : &spmm->device->forward;
}

/** Whether rows of B and C are on the GPU. */
static inline int tli_spmm_is_on_device(const tulle_spmm_t *spmm)
{
    return spmm->options.space == TULLE_SPACE_DEVICE;
}

/** What is asked of options is there: a build with CUDA, cuSPARSE where it is named. Local. */
tulle_status_t tli_spmm_device_check_options(const tulle_spmm_options_t *options);

/** Make the GPU of the matrix the current one until it is left; nothing where rows are in host memory. */
tulle_status_t tli_spmm_enter(const tulle_spmm_t *spmm, int *previous_out);
void tli_spmm_leave(const tulle_spmm_t *spmm, int previous);

/** Copy between memories that the GPU of the matrix reaches, or in host memory. The host waits. */
tulle_status_t tli_spmm_copy(const tulle_spmm_t *spmm, void *target, const void *source, size_t bytes);

/** Rows of a caller that the GPU of the matrix reaches. @param[in] name for the error text */
tulle_status_t tli_spmm_device_check_rows(const tulle_spmm_t *spmm, const char *name, const void *rows);

/** Blocks of a way into device memory, once it is ready on the host. Local. */
tulle_status_t tli_spmm_device_prepare(tulle_spmm_t *spmm, const tli_spmm_way_t *way);
/** Values of all blocks that are there, after they were replaced on the host. The host waits. */
tulle_status_t tli_spmm_device_fill(tulle_spmm_t *spmm);
/** What inner products need besides. Local. */
tulle_status_t tli_spmm_device_prepare_sampling(tulle_spmm_t *spmm);
/** NULL-safe in its device side. Nothing of the matrix is on a stream any more. */
void tli_spmm_device_release(tulle_spmm_t *spmm);

/** Buffers of a binding in device memory, and the library's part of it. Local. */
tulle_status_t tli_spmm_device_bind(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, tli_spmm_binding_t *binding);
/** NULL-safe in its device side. */
void tli_spmm_device_unbind(tli_spmm_binding_t *binding);

/** Put a product on a stream. @param[in] product checked */
tulle_status_t tli_spmm_device_run(tulle_spmm_t *spmm, const tli_spmm_way_t *way, const tulle_product_t *product,
                                   tli_spmm_binding_t *binding, void *stream);

/** Put inner products at the nonzeros of one block of the forward way on a stream.
 * @param[in] args with B and C; its block is not looked at */
tulle_status_t tli_spmm_device_sample(const tli_device_block_t *block, const tli_multiply_args_t *args,
                                      void *values_out, void *stream);

#endif
