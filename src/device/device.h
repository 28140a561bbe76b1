/* SPDX-License-Identifier: Apache-2.0
 * What the library asks of the CUDA runtime, in plain C. device_cuda.c answers, or device_none.c in a build without
 * CUDA, where everything but "this is plain host memory" is TULLE_ERR_UNSUPPORTED. */
#ifndef TLI_DEVICE_H
#define TLI_DEVICE_H

#include <stddef.h>
#include <stdint.h>

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

/** Address on the PCI bus as one number that no two devices of a node share. */
#define TLI_PCI(domain, bus, device) ((int64_t)(domain) << 16 | (int64_t)(bus) << 8 | (int64_t)(device) << 3)
#define TLI_PCI_DOMAIN(pci)          ((unsigned)((pci) >> 16))
#define TLI_PCI_BUS(pci)             ((unsigned)((pci) >> 8 & 0xff))
#define TLI_PCI_DEVICE(pci)          ((unsigned)((pci) >> 3 & 0x1f))

/** A GPU as other processes can know it. Two parts of a divided GPU differ in uuid alone. */
typedef struct tli_gpu {
    int64_t pci;            /* TLI_PCI(); -1 = no GPU, or not known */
    unsigned char uuid[16]; /* zero where not known */
    int32_t capability;     /* compute capability: 10 * major + minor */
    int32_t pad;            /* zero: the struct is compared and sent as bytes */
} tli_gpu_t;

/** The current GPU of this process: none unless its CUDA driver is loaded already, since a process that has not called
 * CUDA has no rows on a GPU. Never fails: what is not known is -1. */
void tli_device_identify(tli_gpu_t *gpu_out);
/** Whether the current GPU reads and writes the memory of the one at @p pci: 1, 0, or -1 = this process does not see
 * it. */
int tli_device_peer_access(int64_t pci);

/* Devices are numbered as this process sees them; other processes may see them under other numbers, or not at all. */

/** The calling thread's current device. */
tulle_status_t tli_device_current(int *device_out);
/** Device that memory of space device lies on. */
tulle_status_t tli_device_of(const void *pointer, int *device_out);
/** Make a device the calling thread's current one; left again by tli_device_leave(device, previous). */
tulle_status_t tli_device_enter(int device, int *previous_out);
void tli_device_leave(int device, int previous);
/** What other processes know a device by. */
tulle_status_t tli_device_gpu(int device, tli_gpu_t *gpu_out);
/** Whether kernels on a device can store into memory of another GPU, mapped by way of CUDA IPC. */
tulle_status_t tli_device_reaches(int device, const tli_gpu_t *gpu, int *reaches_out);

/** Record that the runtime answered @p code, a cudaError_t; the status that says so. Not in device_none.c. */
tulle_status_t tli_device_fail(int code, const char *where, const char *what);

#endif
