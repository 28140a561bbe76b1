/* SPDX-License-Identifier: Apache-2.0
 * No atomics to compare with: on the emulated GPU. */
#include "perf/gpu/figures.h"
#include "src/fault.h"

tulle_status_t perf_gpu_atomic_sum(float *target, const float *source, const int64_t *entry_target,
                                   const int64_t *entry_row, int64_t num_entries, int64_t width, void *stream)
{
    (void)target, (void)source, (void)entry_target, (void)entry_row, (void)num_entries, (void)width, (void)stream;
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE, "no atomics on this device");
}
