/* SPDX-License-Identifier: Apache-2.0
 * Calling CUDA: for the *_cuda.c files of this folder only. */
#ifndef TLI_CUDA_CALL_H
#define TLI_CUDA_CALL_H

#include <cuda_runtime_api.h>

#include "src/device/device.h"

/* Call of the runtime that must succeed; expects `st` and `done`. */
#define TLI_CUDA(call, what)                                                                                           \
    do {                                                                                                               \
        cudaError_t answer = (call);                                                                                   \
        if (answer != cudaSuccess) {                                                                                   \
            st = tli_device_fail((int)answer, TLI_WHERE, (what));                                                      \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

/** A function of the driver, which is not linked. */
tulle_status_t tli_cuda_driver_entry(const char *name, void **entry_out);

#endif
