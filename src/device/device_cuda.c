/* SPDX-License-Identifier: Apache-2.0
 * The CUDA runtime behind device.h. Nothing here runs before somebody asks for device memory: the runtime loads the
 * driver at its first call, so a program on plain host memory never pays for it. */
#include "src/device/device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include <cuda_runtime_api.h>

#include "src/fault.h"

static int means_no_device(cudaError_t code)
{
    switch (code) {
    case cudaErrorInitializationError:
    case cudaErrorInsufficientDriver: /* also: no driver at all */
    case cudaErrorCallRequiresNewerDriver:
    case cudaErrorStubLibrary:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoDevice:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
        return 1;
    default:
        return 0;
    }
}

tulle_status_t tli_device_fail(int code, const char *where, const char *what)
{
    cudaError_t error = (cudaError_t)code;
    (void)cudaGetLastError(); /* told here; not once more by a later call */
    if (means_no_device(error))
        return tli_fail(TULLE_ERR_UNSUPPORTED, code, where, "%s: no CUDA device: %s", what, cudaGetErrorString(error));
    return tli_fail(error == cudaErrorMemoryAllocation ? TULLE_ERR_NOMEM : TULLE_ERR_TRANSPORT, code, where,
                    "%s: CUDA: %s", what, cudaGetErrorString(error));
}

#define TRY_CUDA(call, what)                                                                                           \
    do {                                                                                                               \
        cudaError_t answer = (call);                                                                                   \
        if (answer != cudaSuccess) {                                                                                   \
            st = tli_device_fail((int)answer, TLI_WHERE, (what));                                                      \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

tulle_status_t tli_device_alloc(tulle_space_t space, size_t bytes, void **memory_out)
{
    tulle_status_t st = TULLE_OK;
    void *memory = NULL;
    if (space == TULLE_SPACE_PINNED)
        TRY_CUDA(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable | cudaHostAllocMapped), "pinned memory");
    else if (space == TULLE_SPACE_DEVICE)
        TRY_CUDA(cudaMalloc(&memory, bytes), "device memory");
    else
        TRY_CUDA(cudaMallocManaged(&memory, bytes, cudaMemAttachGlobal), "managed memory");
    *memory_out = memory;
done:
    return st;
}

void tli_device_free(tulle_space_t space, void *memory)
{
    cudaError_t code = space == TULLE_SPACE_PINNED ? cudaFreeHost(memory) : cudaFree(memory);
    if (code != cudaSuccess)
        tli_device_fail((int)code, TLI_WHERE, "free");
}

/* No pointer of CUDA's exists before its driver is in this process. */
static int has_driver(void)
{
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (driver != NULL)
        dlclose(driver);
    return driver != NULL;
}

tulle_status_t tli_device_space_of(const void *pointer, tulle_space_t *space_out)
{
    tulle_status_t st = TULLE_OK;
    struct cudaPointerAttributes attributes = {.type = cudaMemoryTypeUnregistered};
    cudaError_t code = has_driver() ? cudaPointerGetAttributes(&attributes, pointer) : cudaSuccess;
    if (means_no_device(code))
        (void)cudaGetLastError();
    else
        TRY_CUDA(code, "memory space of a pointer");
    switch (attributes.type) {
    case cudaMemoryTypeHost:
        *space_out = TULLE_SPACE_PINNED;
        break;
    case cudaMemoryTypeDevice:
        *space_out = TULLE_SPACE_DEVICE;
        break;
    case cudaMemoryTypeManaged:
        *space_out = TULLE_SPACE_MANAGED;
        break;
    default:
        *space_out = TULLE_SPACE_HOST;
        break;
    }
done:
    return st;
}

tulle_status_t tli_device_copy(void *target, const void *source, size_t bytes, void *stream)
{
    tulle_status_t st = TULLE_OK;
    TRY_CUDA(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDefault, stream), "copy");
done:
    return st;
}

tulle_status_t tli_device_synchronize(void *stream)
{
    tulle_status_t st = TULLE_OK;
    TRY_CUDA(cudaStreamSynchronize(stream), "stream");
done:
    return st;
}

void tli_device_identify(tli_gpu_t *gpu_out)
{
    int ordinal = 0;
    struct cudaDeviceProp properties;
    memset(gpu_out, 0, sizeof *gpu_out);
    gpu_out->pci = -1;
    if (has_driver() && cudaGetDevice(&ordinal) == cudaSuccess &&
        cudaGetDeviceProperties(&properties, ordinal) == cudaSuccess) {
        gpu_out->pci = TLI_PCI(properties.pciDomainID, properties.pciBusID, properties.pciDeviceID);
        memcpy(gpu_out->uuid, &properties.uuid, sizeof gpu_out->uuid);
        gpu_out->capability = 10 * properties.major + properties.minor;
    }
    (void)cudaGetLastError(); /* no device is no fault */
}

int tli_device_peer_access(int64_t pci)
{
    char name[32];
    int mine = 0;
    int peer = 0;
    int has_access = -1;
    snprintf(name, sizeof name, "%04x:%02x:%02x.0", TLI_PCI_DOMAIN(pci), TLI_PCI_BUS(pci), TLI_PCI_DEVICE(pci));
    if (!has_driver() || cudaGetDevice(&mine) != cudaSuccess || cudaDeviceGetByPCIBusId(&peer, name) != cudaSuccess ||
        (mine != peer &&
         cudaDeviceGetP2PAttribute(&has_access, cudaDevP2PAttrAccessSupported, mine, peer) != cudaSuccess))
        has_access = -1;
    else if (mine == peer)
        has_access = 1;
    (void)cudaGetLastError(); /* a GPU that this process does not see is no fault */
    return has_access;
}
