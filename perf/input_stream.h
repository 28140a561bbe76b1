/* SPDX-License-Identifier: Apache-2.0
 * Text of a file that may be compressed, as a FILE. gzip is read by zlib, because libarchive 3.6 does not verify gzip's
 * checksum; everything else (xz, bzip2, zstd, lz4, plain) by libarchive, which ends the process when one of its own
 * small allocations fails: good enough for a benchmark, not for src/. */
#ifndef PERF_INPUT_STREAM_H
#define PERF_INPUT_STREAM_H

#include <stdio.h>

#include "perf/input.h"

/** An open file. Opaque. */
typedef struct perf_stream perf_stream_t;

/**
 * Open a file; the compression is known by content.
 * @param[in]  path       borrowed for the call
 * @param[in]  progress   called while reading; NULL = none
 * @param[in]  state      handed to @p progress
 * @param[out] stream_out owned by the caller, free with perf_stream_close(); untouched on failure
 * @retval TULLE_ERR_FILE missing, no regular file, or damaged from the first bytes on; TULLE_ERR_NOMEM
 */
tulle_status_t perf_stream_open(const char *path, perf_progress_t progress, void *state, perf_stream_t **stream_out);

/** The decompressed text. @return borrowed; never NULL; only for reading onwards */
FILE *perf_stream_file(perf_stream_t *stream);

/** The path for messages, its beginning cut where it is long. @return borrowed */
const char *perf_stream_name(const perf_stream_t *stream);

/** How reading went so far, as the last error again: a FILE only says that it failed. @retval TULLE_ERR_FILE truncated
 * or damaged */
tulle_status_t perf_stream_check(const perf_stream_t *stream);

/** Close and set *stream to NULL. @param[in,out] stream NULL and pointer to NULL are fine */
void perf_stream_close(perf_stream_t **stream);

#endif
