/* SPDX-License-Identifier: Apache-2.0
 * Rows of a method in the memory that is measured. They are filled and compared on the host; where the GPU has them,
 * that is an image, copied there and back. */
#ifndef PERF_ROWS_H
#define PERF_ROWS_H

#include <stddef.h>

#include <tulle/status.h>

/** Every kind of memory: name, value, text. */
#define PERF_MEMORY_MAP(X)                                                                                             \
    X(HOST, 0, "host")                                                                                                 \
    X(PLAIN, 1, "plain")                                                                                               \
    X(PINNED, 2, "pinned")                                                                                             \
    X(DEVICE, 3, "device")                                                                                             \
    X(MANAGED, 4, "managed")

/** From tulle_alloc(), but for plain: that is the memory of programs that do not know it. */
typedef enum perf_memory {
#define PERF_MEMORY_ENUM(name, value, text) PERF_MEMORY_##name = value,
    PERF_MEMORY_MAP(PERF_MEMORY_ENUM)
#undef PERF_MEMORY_ENUM
} perf_memory_t;

/** Text form of a kind of memory. */
const char *perf_memory_name(perf_memory_t memory);

/** Zero-initialised may be freed. */
typedef struct perf_rows {
    perf_memory_t memory;
    size_t bytes;
    void *home;  /* what an exchange is given */
    void *image; /* what the host reads and writes; the same, unless the rows are on the device */
} perf_rows_t;

/** @param[out] rows_out contents undefined; free with perf_rows_free(), also after a failure */
tulle_status_t perf_rows_alloc(perf_memory_t memory, size_t bytes, perf_rows_t *rows_out);
void perf_rows_free(perf_rows_t *rows);

/** Copy the image to the device, or back, and wait for it. Nothing to do elsewhere. */
tulle_status_t perf_rows_upload(const perf_rows_t *rows);
tulle_status_t perf_rows_download(const perf_rows_t *rows);

#endif
