/* SPDX-License-Identifier: Apache-2.0
 * Memory for rows: on the host, pinned for the GPU, on the GPU, or managed; and which of these a pointer belongs to. */
#ifndef TULLE_MEMORY_H
#define TULLE_MEMORY_H

#include <stddef.h>

#include <tulle/status.h>

TULLE_BEGIN_DECLS

/** Every memory space: name, frozen value, text. */
#define TULLE_SPACE_MAP(X)                                                                                             \
    X(HOST, 0, "host")                                                                                                 \
    X(PINNED, 1, "pinned")                                                                                             \
    X(DEVICE, 2, "device")                                                                                             \
    X(MANAGED, 3, "managed")

/** Where memory lies: plain host memory; page-locked host memory, which the GPU reads and writes in place; memory of
 * one GPU; memory that the CUDA driver moves between host and GPU. */
typedef enum tulle_space {
#define TULLE_SPACE_ENUM(name, value, text) TULLE_SPACE_##name = value,
    TULLE_SPACE_MAP(TULLE_SPACE_ENUM)
#undef TULLE_SPACE_ENUM
} tulle_space_t;

/**
 * Allocate memory for rows; contents undefined. Host memory from here can be read by other ranks of the machine: an
 * exchange of one field then copies each row once, where rows elsewhere are packed first. Where the topology has
 * several domains in a node, such as sockets, rows below 16 bytes are packed all the same.
 * @param[in]  space      device memory is taken on the calling thread's current CUDA device
 * @param[in]  bytes      0 is fine
 * @param[out] memory_out owned by the caller, free with tulle_free(); 64-byte aligned, other spaces than host 256-byte;
 *                        never NULL on success; untouched on failure
 * @retval TULLE_ERR_ARG         no such space, or memory_out is NULL
 * @retval TULLE_ERR_OVERFLOW    more bytes than an address space has
 * @retval TULLE_ERR_NOMEM       not so much memory there
 * @retval TULLE_ERR_UNSUPPORTED other spaces than host: no CUDA in this build or no device here; the text says which
 * @retval TULLE_ERR_TRANSPORT   the CUDA runtime failed in another way
 * @collective no   @threads any   @cost one call of the system's or CUDA's allocator, which may synchronise the device
 */
TULLE_API tulle_status_t tulle_alloc(tulle_space_t space, size_t bytes, void **memory_out);

/**
 * Free what tulle_alloc() returned and set *memory to NULL. No kernel and no exchange may still use it.
 * @param[in,out] memory NULL and pointer to NULL are fine
 * @collective no   @threads any   @cost as tulle_alloc()
 */
TULLE_API void tulle_free(void **memory);

/**
 * Space that a pointer belongs to, whoever allocated it. Does not start CUDA in a process that does not use it.
 * @param[in]  pointer   borrowed, not read; NULL is plain host memory, and so is everything in a build without CUDA
 * @param[out] space_out untouched on failure
 * @retval TULLE_ERR_ARG       space_out is NULL
 * @retval TULLE_ERR_TRANSPORT the CUDA runtime failed
 * @collective no   @threads any   @cost a query of the CUDA driver, where it is loaded
 */
TULLE_API tulle_status_t tulle_space_of(const void *pointer, tulle_space_t *space_out);

/**
 * Text form of a memory space, such as "pinned".
 * @param[in] space one of TULLE_SPACE_MAP
 * @return never NULL; static storage; "unknown" for a value that is no space
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const char *tulle_space_name(tulle_space_t space);

TULLE_END_DECLS

#endif
