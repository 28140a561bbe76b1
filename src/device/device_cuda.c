/* SPDX-License-Identifier: Apache-2.0
 * The CUDA runtime behind device.h. Nothing here runs before somebody asks for device memory: the runtime loads the
 * driver at its first call, so a program on plain host memory never pays for it. */
#define _GNU_SOURCE /* dl_iterate_phdr */
#include "src/device/device.h"

#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <cuda_runtime_api.h>

#include "src/device/cuda_call.h"
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

int tli_device_is_built(void)
{
    return 1;
}

tulle_status_t tli_device_alloc(tulle_space_t space, size_t bytes, void **memory_out)
{
    tulle_status_t st = TULLE_OK;
    void *memory = NULL;
    if (space == TULLE_SPACE_PINNED)
        TLI_CUDA(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable | cudaHostAllocMapped), "pinned memory");
    else if (space == TULLE_SPACE_DEVICE)
        TLI_CUDA(cudaMalloc(&memory, bytes), "device memory");
    else
        TLI_CUDA(cudaMallocManaged(&memory, bytes, cudaMemAttachGlobal), "managed memory");
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

/* dl_iterate_phdr: every entry tells it, so the first is enough. */
static int read_num_loads(struct dl_phdr_info *info, size_t bytes, void *num_loads)
{
    (void)bytes;
    *(unsigned long long *)num_loads = info->dlpi_adds;
    return 1;
}

/* No pointer of CUDA's exists before its driver is in this process. Whether it is takes a look at all directories of
 * libraries when it is not, 70 us, so nobody looks again until something was loaded. */
static int has_driver(void)
{
    static _Atomic unsigned long long num_loads_without; /* 0: not yet looked */
    unsigned long long num_loads = 0;
    dl_iterate_phdr(read_num_loads, &num_loads);
    if (num_loads > 0 && num_loads == atomic_load(&num_loads_without))
        return 0;
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (driver != NULL)
        dlclose(driver);
    else
        atomic_store(&num_loads_without, num_loads);
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
        TLI_CUDA(code, "memory space of a pointer");
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
    TLI_CUDA(cudaMemcpyAsync(target, source, bytes, cudaMemcpyDefault, stream), "copy");
done:
    return st;
}

tulle_status_t tli_device_synchronize(void *stream)
{
    tulle_status_t st = TULLE_OK;
    TLI_CUDA(cudaStreamSynchronize(stream), "stream");
done:
    return st;
}

tulle_status_t tli_cuda_driver_entry(const char *name, void **entry_out)
{
    tulle_status_t st = TULLE_OK;
    void *entry = NULL;
    enum cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSuccess;
#if CUDART_VERSION >= 12050
    TLI_CUDA(cudaGetDriverEntryPointByVersion(name, &entry, 12000, cudaEnableDefault, &found), name);
#elif CUDART_VERSION >= 12000
    TLI_CUDA(cudaGetDriverEntryPoint(name, &entry, cudaEnableDefault, &found), name);
#else
    TLI_CUDA(cudaGetDriverEntryPoint(name, &entry, cudaEnableDefault), name);
#endif
    TLI_REQUIRE(entry != NULL && found == cudaDriverEntryPointSuccess, TULLE_ERR_UNSUPPORTED,
                "the CUDA driver has no %s: it is older than CUDA %d.%d", name, CUDART_VERSION / 1000,
                CUDART_VERSION / 10 % 100);
    *entry_out = entry;
done:
    return st;
}

/* --- devices ----------------------------------------------------------------------------------------------------- */

tulle_status_t tli_device_current(int *device_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_CUDA(cudaGetDevice(device_out), "current device");
done:
    return st;
}

tulle_status_t tli_device_of(const void *pointer, int *device_out)
{
    tulle_status_t st = TULLE_OK;
    struct cudaPointerAttributes attributes = {.type = cudaMemoryTypeUnregistered};
    TLI_CUDA(cudaPointerGetAttributes(&attributes, pointer), "device of a pointer");
    *device_out = attributes.device;
done:
    return st;
}

tulle_status_t tli_device_enter(int device, int *previous_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_CUDA(cudaGetDevice(previous_out), "current device");
    if (*previous_out != device)
        TLI_CUDA(cudaSetDevice(device), "device");
done:
    return st;
}

void tli_device_leave(int device, int previous)
{
    cudaError_t code = previous != device ? cudaSetDevice(previous) : cudaSuccess;
    if (code != cudaSuccess)
        tli_device_fail((int)code, TLI_WHERE, "device");
}

static cudaError_t describe(int device, tli_gpu_t *gpu)
{
    struct cudaDeviceProp properties;
    cudaError_t code = cudaGetDeviceProperties(&properties, device);
    memset(gpu, 0, sizeof *gpu);
    gpu->pci = -1;
    if (code == cudaSuccess) {
        gpu->pci = TLI_PCI(properties.pciDomainID, properties.pciBusID, properties.pciDeviceID);
        memcpy(gpu->uuid, &properties.uuid, sizeof gpu->uuid);
        gpu->capability = 10 * properties.major + properties.minor;
    }
    return code;
}

void tli_device_identify(tli_gpu_t *gpu_out)
{
    int device = 0;
    memset(gpu_out, 0, sizeof *gpu_out);
    gpu_out->pci = -1;
    if (has_driver() && cudaGetDevice(&device) == cudaSuccess)
        (void)describe(device, gpu_out);
    (void)cudaGetLastError(); /* no device is no fault */
}

static void format_pci(int64_t pci, char name[32])
{
    snprintf(name, 32, "%04x:%02x:%02x.0", TLI_PCI_DOMAIN(pci), TLI_PCI_BUS(pci), TLI_PCI_DEVICE(pci));
}

int tli_device_peer_access(int64_t pci)
{
    char name[32];
    int mine = 0;
    int peer = 0;
    int has_access = -1;
    format_pci(pci, name);
    if (!has_driver() || cudaGetDevice(&mine) != cudaSuccess || cudaDeviceGetByPCIBusId(&peer, name) != cudaSuccess ||
        (mine != peer &&
         cudaDeviceGetP2PAttribute(&has_access, cudaDevP2PAttrAccessSupported, mine, peer) != cudaSuccess))
        has_access = -1;
    else if (mine == peer)
        has_access = 1;
    (void)cudaGetLastError(); /* a GPU that this process does not see is no fault */
    return has_access;
}

tulle_status_t tli_device_gpu(int device, tli_gpu_t *gpu_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_CUDA(describe(device, gpu_out), "properties of a device");
done:
    return st;
}

tulle_status_t tli_device_reaches(int device, const tli_gpu_t *gpu, int *reaches_out)
{
    tulle_status_t st = TULLE_OK;
    tli_gpu_t mine;
    char name[32];
    int peer = -1;
    *reaches_out = 0;
    TLI_TRY(tli_device_gpu(device, &mine));
    format_pci(gpu->pci, name);
    if (mine.pci == gpu->pci) /* parts of a divided GPU do not reach each other */
        *reaches_out = memcmp(mine.uuid, gpu->uuid, sizeof mine.uuid) == 0;
    else if (cudaDeviceGetByPCIBusId(&peer, name) == cudaSuccess)
        TLI_CUDA(cudaDeviceCanAccessPeer(reaches_out, device, peer), "access to a peer");
    else
        (void)cudaGetLastError(); /* hidden from this process: out of reach */
done:
    return st;
}
