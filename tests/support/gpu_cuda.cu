/* SPDX-License-Identifier: Apache-2.0
 * gpu.h on a real GPU. */
extern "C" {
#include "tests/support/gpu.h"
}

#include <cstdio>
#include <cstdlib>

#include <cuda_runtime_api.h>

#define MUST(call) must((call), #call, __LINE__)

static void must(cudaError_t code, const char *call, int line)
{
    if (code != cudaSuccess) {
        fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, line, call, cudaGetErrorString(code));
        abort();
    }
}

/* One thread that looks at the clock. */
static __global__ void delay(unsigned long long nanoseconds)
{
    unsigned long long began = 0, now = 0;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(began));
    do {
        asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
    } while (now - began < nanoseconds);
}

extern "C" int spt_gpu_is_there(void)
{
    int num_devices = 0;
    cudaError_t code = cudaGetDeviceCount(&num_devices);
    (void)cudaGetLastError();
    return code == cudaSuccess && num_devices > 0;
}

extern "C" void spt_gpu_be_a_host(int rank)
{
    char name[32];
    snprintf(name, sizeof name, "tulle-%d", rank);
    setenv("NCCL_HOSTID", name, 0);
}

extern "C" int spt_gpu_is_real(void)
{
    return 1;
}

extern "C" void spt_gpu_forgive(void)
{
}

extern "C" void spt_gpu_move_to(int gpu, int is_isolated)
{
    (void)gpu, (void)is_isolated;
}

extern "C" void *spt_gpu_stream(void)
{
    cudaStream_t stream = NULL;
    MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
}

extern "C" void spt_gpu_stream_free(void *stream)
{
    MUST(cudaStreamDestroy((cudaStream_t)stream));
}

extern "C" void spt_gpu_delay(void *stream, int64_t microseconds)
{
    unsigned long long nanoseconds = (unsigned long long)microseconds * 1000;
    void *arguments[] = {&nanoseconds};
    MUST(cudaLaunchKernel((const void *)delay, dim3(1), dim3(1), arguments, 0, (cudaStream_t)stream));
}

extern "C" int spt_gpu_is_busy(void *stream)
{
    cudaError_t code = cudaStreamQuery((cudaStream_t)stream);
    if (code != cudaErrorNotReady)
        MUST(code);
    (void)cudaGetLastError();
    return code == cudaErrorNotReady;
}

extern "C" void spt_gpu_copy(void *target, const void *source, int64_t bytes, void *stream)
{
    MUST(cudaMemcpyAsync(target, source, (size_t)bytes, cudaMemcpyDefault, (cudaStream_t)stream));
}

extern "C" void spt_gpu_synchronize(void *stream)
{
    MUST(cudaStreamSynchronize((cudaStream_t)stream));
}

extern "C" void spt_gpu_begin_capture(void *stream)
{
    MUST(cudaStreamBeginCapture((cudaStream_t)stream, cudaStreamCaptureModeThreadLocal));
}

extern "C" void *spt_gpu_end_capture(void *stream)
{
    cudaGraph_t graph = NULL;
    cudaGraphExec_t executable = NULL;
    if (cudaStreamEndCapture((cudaStream_t)stream, &graph) != cudaSuccess) {
        (void)cudaGetLastError();
        return NULL;
    }
    MUST(cudaGraphInstantiateWithFlags(&executable, graph, 0));
    MUST(cudaGraphDestroy(graph));
    return executable;
}

extern "C" void spt_gpu_launch(void *graph, void *stream)
{
    MUST(cudaGraphLaunch((cudaGraphExec_t)graph, (cudaStream_t)stream));
}

extern "C" void spt_gpu_graph_free(void *graph)
{
    MUST(cudaGraphExecDestroy((cudaGraphExec_t)graph));
}
