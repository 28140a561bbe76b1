/* SPDX-License-Identifier: Apache-2.0
 * Memory for rows in every space. */
#include <tulle/memory.h>

#include <stdint.h>

#include "src/arena.h"
#include "src/device/device.h"
#include "src/fault.h"
#include "src/lendable.h"

static int is_space(tulle_space_t space)
{
    return space >= TULLE_SPACE_HOST && space <= TULLE_SPACE_MANAGED;
}

tulle_status_t tulle_alloc(tulle_space_t space, size_t bytes, void **memory_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(memory_out != NULL, TULLE_ERR_ARG, "memory_out is NULL");
    TLI_REQUIRE(is_space(space), TULLE_ERR_ARG, "memory space %d is none of host pinned device managed", (int)space);
    TLI_REQUIRE(bytes <= PTRDIFF_MAX / 2, TULLE_ERR_OVERFLOW, "%zu bytes do not fit the address space", bytes);
    if (bytes == 0)
        bytes = 1;
    if (space == TULLE_SPACE_HOST)
        TLI_TRY(tli_lendable_alloc(bytes, memory_out));
    else
        TLI_TRY(tli_device_alloc(space, bytes, memory_out));
done:
    return st;
}

void tulle_free(void **memory)
{
    tulle_space_t space = TULLE_SPACE_HOST;
    if (memory == NULL || *memory == NULL)
        return;
    if (tli_lendable_free(*memory)) {
        *memory = NULL;
        return;
    }
    if (tli_device_space_of(*memory, &space) != TULLE_OK)
        space = TULLE_SPACE_DEVICE; /* CUDA is broken: it refuses what is not its own, free() does not */
    if (space == TULLE_SPACE_HOST)
        tli_free(*memory);
    else
        tli_device_free(space, *memory);
    *memory = NULL;
}

tulle_status_t tulle_space_of(const void *pointer, tulle_space_t *space_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(space_out != NULL, TULLE_ERR_ARG, "space_out is NULL");
    TLI_TRY(tli_device_space_of(pointer, space_out));
done:
    return st;
}

const char *tulle_space_name(tulle_space_t space)
{
    switch (space) {
#define NAME_CASE(name, value, text)                                                                                   \
    case TULLE_SPACE_##name:                                                                                           \
        return text;
        TULLE_SPACE_MAP(NAME_CASE)
#undef NAME_CASE
    }
    return "unknown";
}
