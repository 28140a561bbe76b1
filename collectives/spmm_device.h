/* SPDX-License-Identifier: Apache-2.0
 * Products of rows in device memory: the blocks of a matrix there, and what a product puts on the caller's stream.
 * Plans, exchanges and bindings are those of products on the host. */
#ifndef TLI_SPMM_DEVICE_H
#define TLI_SPMM_DEVICE_H

#include "collectives/spmm.h"
#include "src/device/product_library.h"

/** Whether rows of B and C are on the GPU. */
static inline int tli_spmm_is_on_device(const tulle_spmm_t *spmm)
{
    return spmm->options.space == TULLE_SPACE_DEVICE;
}

/** What is asked of options is there: a build with CUDA, cuSPARSE where it is named. Local. */
tulle_status_t tli_spmm_device_check_options(const tulle_spmm_options_t *options);

/** Rows of a caller that the GPU of the matrix reaches. @param[in] name for the error text */
tulle_status_t tli_spmm_device_check_rows(const tulle_spmm_t *spmm, const char *name, const void *rows);

/** Blocks of a way into device memory, once it is ready on the host. Local. */
tulle_status_t tli_spmm_device_prepare(tulle_spmm_t *spmm, const tli_spmm_way_t *way);
/** Values of all blocks that are there, after they were replaced on the host. The host waits. */
tulle_status_t tli_spmm_device_fill(tulle_spmm_t *spmm);
/** NULL-safe in its device side. Nothing of the matrix is on a stream any more. */
void tli_spmm_device_release(tulle_spmm_t *spmm);

/** Buffers of a binding in device memory, and the library's part of it. Local. */
tulle_status_t tli_spmm_device_bind(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, tli_spmm_binding_t *binding);
/** NULL-safe in its device side. */
void tli_spmm_device_unbind(tli_spmm_binding_t *binding);

/** Put a product on a stream. @param[in] product checked */
tulle_status_t tli_spmm_device_run(tulle_spmm_t *spmm, const tli_spmm_way_t *way, const tulle_product_t *product,
                                   tli_spmm_binding_t *binding, void *stream);

#endif
