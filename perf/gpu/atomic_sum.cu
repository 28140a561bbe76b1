/* SPDX-License-Identifier: Apache-2.0
 * What many codes do instead of an ordered reduction. The result depends on who comes first. */
extern "C" {
#include "perf/gpu/figures.h"
#include "src/device/device.h"
#include "src/fault.h"
}

#include <cuda_runtime_api.h>

static __global__ void __launch_bounds__(256)
    atomic_sum(float *target, const float *source, const int64_t *entry_target, const int64_t *entry_row,
               int64_t num_entries, int64_t width)
{
    int64_t num_threads = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < num_entries * width; i += num_threads) {
        int64_t entry = i / width, k = i % width;
        atomicAdd(target + entry_target[entry] * width + k, source[entry_row[entry] * width + k]);
    }
}

extern "C" tulle_status_t perf_gpu_atomic_sum(float *target, const float *source, const int64_t *entry_target,
                                              const int64_t *entry_row, int64_t num_entries, int64_t width,
                                              void *stream)
{
    void *arguments[] = {&target, &source, &entry_target, &entry_row, &num_entries, &width};
    int64_t blocks = (num_entries * width + 255) / 256;
    cudaError_t code = cudaLaunchKernel((const void *)atomic_sum, dim3((unsigned)(blocks < 65536 ? blocks : 65536)),
                                        dim3(256), arguments, 0, (cudaStream_t)stream);
    return code == cudaSuccess ? TULLE_OK : tli_device_fail((int)code, TLI_WHERE, "atomic sum");
}
