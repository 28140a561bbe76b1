/* SPDX-License-Identifier: Apache-2.0
 * Rows in every kind of memory. Images of device rows are pinned: copies are as fast as they get. */
#include "perf/rows.h"

#include <string.h>

#include <tulle/memory.h>

#include "src/arena.h"
#include "src/device/device.h"
#include "src/fault.h"

const char *perf_memory_name(perf_memory_t memory)
{
#define PERF_MEMORY_NAME(name, value, text) text,
    static const char *const names[] = {PERF_MEMORY_MAP(PERF_MEMORY_NAME)};
#undef PERF_MEMORY_NAME
    return names[memory];
}

tulle_status_t perf_rows_alloc(perf_memory_t memory, size_t bytes, perf_rows_t *rows_out)
{
    static const tulle_space_t spaces[] = {[PERF_MEMORY_HOST] = TULLE_SPACE_HOST,
                                           [PERF_MEMORY_PINNED] = TULLE_SPACE_PINNED,
                                           [PERF_MEMORY_DEVICE] = TULLE_SPACE_DEVICE,
                                           [PERF_MEMORY_MANAGED] = TULLE_SPACE_MANAGED};
    tulle_status_t st = TULLE_OK;
    *rows_out = (perf_rows_t){memory, bytes, NULL, NULL};
    TLI_TRY(memory == PERF_MEMORY_PLAIN ? tli_alloc_raw(bytes, &rows_out->home)
                                        : tulle_alloc(spaces[memory], bytes, &rows_out->home));
    if (memory == PERF_MEMORY_DEVICE)
        TLI_TRY(tulle_alloc(TULLE_SPACE_PINNED, bytes, &rows_out->image));
    else
        rows_out->image = rows_out->home;
done:
    return st;
}

void perf_rows_free(perf_rows_t *rows)
{
    if (rows->image != rows->home)
        tulle_free(&rows->image);
    if (rows->memory == PERF_MEMORY_PLAIN)
        tli_free(rows->home);
    else
        tulle_free(&rows->home);
    memset(rows, 0, sizeof *rows);
}

static tulle_status_t copy(void *target, const void *source, size_t bytes)
{
    tulle_status_t st = TULLE_OK;
    if (target == source || bytes == 0)
        return st;
    TLI_TRY(tli_device_copy(target, source, bytes, NULL));
    TLI_TRY(tli_device_synchronize(NULL));
done:
    return st;
}

tulle_status_t perf_rows_upload(const perf_rows_t *rows)
{
    return copy(rows->home, rows->image, rows->bytes);
}

tulle_status_t perf_rows_download(const perf_rows_t *rows)
{
    return copy(rows->image, rows->home, rows->bytes);
}
