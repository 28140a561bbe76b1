/* SPDX-License-Identifier: Apache-2.0
 * A build without CUDA: all memory is plain host memory, and nothing can be launched. */
#include "src/device/device.h"

#include <string.h>

#include "src/device/activate.h"
#include "src/device/pack_device.h"
#include "src/device/peer_memory.h"
#include "src/device/product_device.h"
#include "src/device/stream.h"
#include "src/device/wire_device.h"
#include "src/fault.h"

static tulle_status_t fail_unsupported(const char *where)
{
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, where, "Tulle was built without CUDA (TULLE_ENABLE_CUDA)");
}

int tli_device_is_built(void)
{
    return 0;
}

tulle_status_t tli_device_alloc(tulle_space_t space, size_t bytes, void **memory_out)
{
    (void)space, (void)bytes, (void)memory_out;
    return fail_unsupported(TLI_WHERE);
}

void tli_device_free(tulle_space_t space, void *memory)
{
    (void)space, (void)memory;
}

tulle_status_t tli_device_space_of(const void *pointer, tulle_space_t *space_out)
{
    (void)pointer;
    *space_out = TULLE_SPACE_HOST;
    return TULLE_OK;
}

tulle_status_t tli_device_copy(void *target, const void *source, size_t bytes, void *stream)
{
    (void)target, (void)source, (void)bytes, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_device_synchronize(void *stream)
{
    (void)stream;
    return fail_unsupported(TLI_WHERE);
}

void tli_device_identify(tli_gpu_t *gpu_out)
{
    memset(gpu_out, 0, sizeof *gpu_out);
    gpu_out->pci = -1;
}

int tli_device_peer_access(int64_t pci)
{
    (void)pci;
    return -1;
}

tulle_status_t tli_activate_launch(const tli_activate_args_t *args, void *stream)
{
    (void)args, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_activate_back_launch(const tli_activate_back_args_t *args, void *stream)
{
    (void)args, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_sampled_launch(const tli_sampled_args_t *args, void *stream)
{
    (void)args, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_product_launch(const tli_product_args_t *args, void *stream)
{
    (void)args, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_round_rows_launch(const tli_round_args_t *args, void *stream)
{
    (void)args, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_copy_rows_launch(const tli_copy_args_t *args, void *stream)
{
    (void)args, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_push_rows_launch(const tli_push_args_t *args, void *stream)
{
    (void)args, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_reduce_rows_launch(const tli_reduce_args_t *args, int64_t areas_alignment, void *stream)
{
    (void)args, (void)areas_alignment, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_wire_rows_launch(const tli_wire_args_t *args, void *stream)
{
    (void)args, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_device_current(int *device_out)
{
    (void)device_out;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_device_of(const void *pointer, int *device_out)
{
    (void)pointer, (void)device_out;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_device_enter(int device, int *previous_out)
{
    (void)device, (void)previous_out;
    return fail_unsupported(TLI_WHERE);
}

void tli_device_leave(int device, int previous)
{
    (void)device, (void)previous;
}

tulle_status_t tli_device_gpu(int device, tli_gpu_t *gpu_out)
{
    (void)device, (void)gpu_out;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_device_reaches(int device, const tli_gpu_t *gpu, int *reaches_out)
{
    (void)device, (void)gpu, (void)reaches_out;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_stream_create(void **stream_out)
{
    (void)stream_out;
    return fail_unsupported(TLI_WHERE);
}

void tli_stream_destroy(void *stream)
{
    (void)stream;
}

tulle_status_t tli_event_create(void **event_out)
{
    (void)event_out;
    return fail_unsupported(TLI_WHERE);
}

void tli_event_destroy(void *event)
{
    (void)event;
}

tulle_status_t tli_event_record(void *event, void *stream)
{
    (void)event, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_event_order(void *event, void *stream)
{
    (void)event, (void)stream;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_event_test(void *event)
{
    (void)event;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_stream_is_capturing(void *stream, int *is_capturing_out)
{
    (void)stream, (void)is_capturing_out;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_stream_flags(void *stream, const tli_flag_step_t *steps, int64_t num_steps)
{
    (void)stream, (void)steps, (void)num_steps;
    return fail_unsupported(TLI_WHERE);
}

void tli_range_push(const char *name)
{
    (void)name;
}

void tli_range_pop(void)
{
}

tulle_status_t tli_ipc_export(const void *memory, unsigned char ipc[TLI_IPC_BYTES], int64_t *offset_out)
{
    (void)memory, (void)ipc, (void)offset_out;
    return fail_unsupported(TLI_WHERE);
}

tulle_status_t tli_ipc_open(const unsigned char ipc[TLI_IPC_BYTES], void **base_out)
{
    (void)ipc, (void)base_out;
    return fail_unsupported(TLI_WHERE);
}

void tli_ipc_close(void *base)
{
    (void)base;
}

tulle_status_t tli_host_register(void *memory, size_t bytes)
{
    (void)memory, (void)bytes;
    return fail_unsupported(TLI_WHERE);
}

void tli_host_unregister(void *memory)
{
    (void)memory;
}
