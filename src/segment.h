/* SPDX-License-Identifier: Apache-2.0
 * Memory that other processes of this machine can map: files without a name, which they find through this process's
 * open files. Nothing is left behind when a process dies. */
#ifndef TLI_SEGMENT_H
#define TLI_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/status.h>

/** How other processes find a segment; all words, so that it can travel. Zeroes name none. */
typedef struct tli_segment_name {
    int64_t process, file; /* its number and its descriptor there */
    int64_t bytes;
    int64_t mark; /* random, and at the end of the segment: what was opened is what was meant */
} tli_segment_name_t;

typedef struct tli_segment {
    tli_segment_name_t name;
    unsigned char *base; /* page-aligned, zeroed when created */
} tli_segment_t;

/** Make a segment of at least @p bytes. @retval TULLE_ERR_NOMEM the system refuses: memory, or open files */
tulle_status_t tli_segment_create(size_t bytes, tli_segment_t *segment_out);
/** Zeroed is fine. Processes that have it mapped keep it. */
void tli_segment_destroy(tli_segment_t *segment);

/** Map a segment of another process, or of this one a second time. @retval TULLE_ERR_TRANSPORT it cannot be reached
 * from here: another process namespace, or not this user's */
tulle_status_t tli_segment_map(const tli_segment_name_t *name, unsigned char **base_out);
/** NULL is fine. */
void tli_segment_unmap(const tli_segment_name_t *name, unsigned char *base);

#endif
