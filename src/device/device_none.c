/* SPDX-License-Identifier: Apache-2.0
 * A build without CUDA: all memory is plain host memory, and nothing can be launched. */
#include "src/device/device.h"

#include <string.h>

#include "src/device/pack_device.h"
#include "src/fault.h"

static tulle_status_t fail_unsupported(const char *where)
{
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, where, "Tulle was built without CUDA (TULLE_ENABLE_CUDA)");
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
