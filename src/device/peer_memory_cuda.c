/* SPDX-License-Identifier: Apache-2.0
 * CUDA IPC, and host memory registered for the GPU. */
#include "src/device/peer_memory.h"

#include <string.h>

#include <cuda.h>

#include "src/device/cuda_call.h"
#include "src/fault.h"

_Static_assert(sizeof(cudaIpcMemHandle_t) == TLI_IPC_BYTES, "a handle holds CUDA's");

typedef CUresult (*address_range_t)(CUdeviceptr *, size_t *, CUdeviceptr);

/* The handle is that of the allocation; the runtime does not tell where it begins. */
static tulle_status_t find_base(const void *memory, void **base_out)
{
    tulle_status_t st = TULLE_OK;
    void *entry = NULL;
    CUdeviceptr base = 0;
    size_t bytes = 0;
    TLI_TRY(tli_cuda_driver_entry("cuMemGetAddressRange", &entry));
    CUresult code = ((address_range_t)entry)(&base, &bytes, (CUdeviceptr)(uintptr_t)memory);
    if (code != CUDA_SUCCESS)
        st = tli_fail(TULLE_ERR_TRANSPORT, (long)code, TLI_WHERE, "allocation of %p: CUDA driver error %d", memory,
                      (int)code);
    *base_out = (void *)(uintptr_t)base;
done:
    return st;
}

tulle_status_t tli_ipc_export(const void *memory, unsigned char ipc[TLI_IPC_BYTES], int64_t *offset_out)
{
    tulle_status_t st = TULLE_OK;
    void *base = NULL;
    cudaIpcMemHandle_t handle;
    TLI_TRY(find_base(memory, &base));
    cudaError_t code = cudaIpcGetMemHandle(&handle, base);
    if (code == cudaErrorInvalidValue || code == cudaErrorNotSupported) {
        (void)cudaGetLastError();
        TLI_FAIL(TULLE_ERR_UNSUPPORTED, "memory at %p cannot be shared with other processes: it is not of cudaMalloc()",
                 memory);
    }
    TLI_CUDA(code, "handle of device memory");
    memcpy(ipc, &handle, sizeof handle);
    *offset_out = (const char *)memory - (const char *)base;
done:
    return st;
}

tulle_status_t tli_ipc_open(const unsigned char ipc[TLI_IPC_BYTES], void **base_out)
{
    tulle_status_t st = TULLE_OK;
    cudaIpcMemHandle_t handle;
    memcpy(&handle, ipc, sizeof handle);
    TLI_CUDA(cudaIpcOpenMemHandle(base_out, handle, cudaIpcMemLazyEnablePeerAccess), "memory of another process");
done:
    return st;
}

void tli_ipc_close(void *base)
{
    cudaError_t code = cudaIpcCloseMemHandle(base);
    if (code != cudaSuccess)
        tli_device_fail((int)code, TLI_WHERE, "memory of another process");
}

tulle_status_t tli_host_register(void *memory, size_t bytes)
{
    tulle_status_t st = TULLE_OK;
    void *address = NULL;
    TLI_CUDA(cudaHostRegister(memory, bytes, cudaHostRegisterPortable | cudaHostRegisterMapped), "host memory");
    TLI_CUDA(cudaHostGetDevicePointer(&address, memory, 0), "host memory");
    if (address != memory) {
        tli_host_unregister(memory);
        TLI_FAIL(TULLE_ERR_UNSUPPORTED, "this device reaches host memory at other addresses than the host");
    }
done:
    return st;
}

void tli_host_unregister(void *memory)
{
    cudaError_t code = cudaHostUnregister(memory);
    if (code != cudaSuccess)
        tli_device_fail((int)code, TLI_WHERE, "host memory");
}
