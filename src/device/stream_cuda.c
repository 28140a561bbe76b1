/* SPDX-License-Identifier: Apache-2.0
 * Streams, events and flags of CUDA. Flags are the driver's stream memory operations, looked up at run time, so that
 * nothing links libcuda. */
#include "src/device/stream.h"

#include <stdatomic.h>

#include <cuda.h>
#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>

#include "src/device/cuda_call.h"
#include "src/fault.h"

/* The driver takes fewer than 256 operations at a time. A wait is two. */
#define MAX_OPERATIONS 64

tulle_status_t tli_stream_create(void **stream_out)
{
    tulle_status_t st = TULLE_OK;
    cudaStream_t stream = NULL;
    int least = 0, greatest = 0;
    TLI_CUDA(cudaDeviceGetStreamPriorityRange(&least, &greatest), "priorities of streams");
    TLI_CUDA(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest), "stream");
    *stream_out = stream;
done:
    return st;
}

void tli_stream_destroy(void *stream)
{
    cudaError_t code = stream != NULL ? cudaStreamDestroy(stream) : cudaSuccess;
    if (code != cudaSuccess)
        tli_device_fail((int)code, TLI_WHERE, "stream");
}

tulle_status_t tli_event_create(void **event_out)
{
    tulle_status_t st = TULLE_OK;
    cudaEvent_t event = NULL;
    TLI_CUDA(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
    *event_out = event;
done:
    return st;
}

void tli_event_destroy(void *event)
{
    cudaError_t code = event != NULL ? cudaEventDestroy(event) : cudaSuccess;
    if (code != cudaSuccess)
        tli_device_fail((int)code, TLI_WHERE, "event");
}

tulle_status_t tli_event_record(void *event, void *stream)
{
    tulle_status_t st = TULLE_OK;
    TLI_CUDA(cudaEventRecord(event, stream), "event");
done:
    return st;
}

tulle_status_t tli_event_order(void *event, void *stream)
{
    tulle_status_t st = TULLE_OK;
    TLI_CUDA(cudaStreamWaitEvent(stream, event, 0), "event");
done:
    return st;
}

tulle_status_t tli_event_test(void *event)
{
    tulle_status_t st = TULLE_OK;
    cudaError_t code = cudaEventQuery(event);
    if (code == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* no error, but kept as one */
        return TULLE_IN_PROGRESS;
    }
    TLI_CUDA(code, "event");
done:
    return st;
}

tulle_status_t tli_stream_is_capturing(void *stream, int *is_capturing_out)
{
    tulle_status_t st = TULLE_OK;
    enum cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    TLI_CUDA(cudaStreamIsCapturing(stream, &status), "whether a stream is captured");
    *is_capturing_out = status == cudaStreamCaptureStatusActive;
done:
    return st;
}

/* --- flags ------------------------------------------------------------------------------------------------------- */

typedef CUresult (*batch_t)(CUstream, unsigned int, CUstreamBatchMemOpParams *, unsigned int);

/* Once per process: hot calls find it here. Threads that race store the same address. */
static _Atomic(batch_t) batch_of_driver;

static tulle_status_t find_batch(batch_t *batch_out)
{
    tulle_status_t st = TULLE_OK;
    batch_t batch = atomic_load_explicit(&batch_of_driver, memory_order_relaxed);
    void *entry = NULL;
    if (batch == NULL) {
        TLI_TRY(tli_cuda_driver_entry("cuStreamBatchMemOp", &entry));
        batch = (batch_t)entry;
        atomic_store_explicit(&batch_of_driver, batch, memory_order_relaxed);
    }
    *batch_out = batch;
done:
    return st;
}

static CUstreamBatchMemOpParams write_operation(const tli_flag_step_t *step, uint32_t value)
{
    CUstreamBatchMemOpParams operation = {.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32};
    operation.writeValue.address = (CUdeviceptr)(uintptr_t)step->flag;
    operation.writeValue.value = value;
    operation.writeValue.flags = CU_STREAM_WRITE_VALUE_DEFAULT; /* after all earlier writes, to any memory */
    return operation;
}

/* Devices that cannot flush what the network wrote need not, or their MPI does it. */
static unsigned int flush_flag(void)
{
    int device = 0, can_flush = 0;
    if (cudaGetDevice(&device) == cudaSuccess)
        (void)cudaDeviceGetAttribute(&can_flush, cudaDevAttrCanFlushRemoteWrites, device);
    return can_flush ? CU_STREAM_WAIT_VALUE_FLUSH : 0;
}

static CUstreamBatchMemOpParams wait_operation(const tli_flag_step_t *step)
{
    CUstreamBatchMemOpParams operation = {.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32};
    operation.waitValue.address = (CUdeviceptr)(uintptr_t)step->flag;
    operation.waitValue.value = 1;
    operation.waitValue.flags = CU_STREAM_WAIT_VALUE_EQ | (step->is_remote ? flush_flag() : 0);
    return operation;
}

static tulle_status_t put_batch(batch_t batch, void *stream, CUstreamBatchMemOpParams *operations, unsigned int n)
{
    CUresult code = n > 0 ? batch((CUstream)stream, n, operations, 0) : CUDA_SUCCESS;
    if (code == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED || code == CUDA_ERROR_NOT_SUPPORTED)
        return tli_fail(TULLE_ERR_UNSUPPORTED, (long)code, TLI_WHERE,
                        "this driver or device cannot wait for flags on a stream%s",
                        code == CUDA_ERROR_NOT_SUPPORTED ? "" : " that is captured into a graph");
    if (code != CUDA_SUCCESS)
        return tli_fail(TULLE_ERR_TRANSPORT, (long)code, TLI_WHERE, "flags on a stream: CUDA driver error %d",
                        (int)code);
    return TULLE_OK;
}

tulle_status_t tli_stream_flags(void *stream, const tli_flag_step_t *steps, int64_t num_steps)
{
    tulle_status_t st = TULLE_OK;
    batch_t batch = NULL;
    CUstreamBatchMemOpParams operations[MAX_OPERATIONS + 1];
    unsigned int n = 0;
    TLI_TRY(find_batch(&batch));
    for (int64_t i = 0; i < num_steps; i++) {
        if (steps[i].is_wait)
            operations[n++] = wait_operation(&steps[i]);
        operations[n++] = write_operation(&steps[i], steps[i].is_wait ? 0 : 1);
        if (n >= MAX_OPERATIONS) {
            TLI_TRY(put_batch(batch, stream, operations, n));
            n = 0;
        }
    }
    TLI_TRY(put_batch(batch, stream, operations, n));
done:
    return st;
}

/* --- names for tools --------------------------------------------------------------------------------------------- */

void tli_range_push(const char *name)
{
    nvtxRangePushA(name);
}

void tli_range_pop(void)
{
    nvtxRangePop();
}
