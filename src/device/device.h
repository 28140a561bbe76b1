/* SPDX-License-Identifier: Apache-2.0
 * What the library asks of the CUDA runtime, in plain C. device_cuda.c answers, or device_none.c in a build without
 * CUDA, where everything but "this is plain host memory" is TULLE_ERR_UNSUPPORTED. */
#ifndef TLI_DEVICE_H
#define TLI_DEVICE_H

#include <stddef.h>

#include <tulle/memory.h>

/** As tulle_alloc(), for spaces other than host and at least one byte. */
tulle_status_t tli_device_alloc(tulle_space_t space, size_t bytes, void **memory_out);
/** @p space is what tli_device_space_of() says of it. */
void tli_device_free(tulle_space_t space, void *memory);
tulle_status_t tli_device_space_of(const void *pointer, tulle_space_t *space_out);

/** Copy between any two spaces, after what is on the stream already. @param[in] stream cudaStream_t */
tulle_status_t tli_device_copy(void *target, const void *source, size_t bytes, void *stream);
/** Wait for the stream: for setting up and for tests, never in an exchange. */
tulle_status_t tli_device_synchronize(void *stream);

/** Record that the runtime answered @p code, a cudaError_t; the status that says so. Not in device_none.c. */
tulle_status_t tli_device_fail(int code, const char *where, const char *what);

#endif
