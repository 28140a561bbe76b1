/* SPDX-License-Identifier: Apache-2.0
 * What the library asks of the CUDA runtime, in plain C. device_cuda.c answers, or device_none.c in a build without
 * CUDA, where everything but "this is plain host memory" is TULLE_ERR_UNSUPPORTED. */
#ifndef TLI_DEVICE_H
#define TLI_DEVICE_H

#include <stddef.h>

#include <tulle/memory.h>

/** Whether this build knows other spaces than host. */
int tli_device_is_built(void);

/** As tulle_alloc(), for spaces other than host and at least one byte. */
tulle_status_t tli_device_alloc(tulle_space_t space, size_t bytes, void **memory_out);
/** @p space is what tli_device_space_of() says of it. */
void tli_device_free(tulle_space_t space, void *memory);
tulle_status_t tli_device_space_of(const void *pointer, tulle_space_t *space_out);

/** Copy between any two spaces, after what is on the stream already. @param[in] stream cudaStream_t */
tulle_status_t tli_device_copy(void *target, const void *source, size_t bytes, void *stream);
/** Wait for the stream: for setting up and for tests, never in an exchange. */
tulle_status_t tli_device_synchronize(void *stream);

/* Devices are numbered as this process sees them; other processes may see them under other numbers, or not at all. */
#define TLI_DEVICE_NAME_BYTES 32

/** The calling thread's current device. */
tulle_status_t tli_device_current(int *device_out);
/** Device that memory of space device lies on. */
tulle_status_t tli_device_of(const void *pointer, int *device_out);
/** Make a device the calling thread's current one; left again by tli_device_leave(device, previous). */
tulle_status_t tli_device_enter(int device, int *previous_out);
void tli_device_leave(int device, int previous);
/** Name that means the same device in every process of the machine. */
tulle_status_t tli_device_name(int device, char name[TLI_DEVICE_NAME_BYTES]);
/** Whether kernels on a device can store into memory of the device with this name. */
tulle_status_t tli_device_reaches(int device, const char *name, int *reaches_out);

/** Record that the runtime answered @p code, a cudaError_t; the status that says so. Not in device_none.c. */
tulle_status_t tli_device_fail(int code, const char *where, const char *what);

#endif
