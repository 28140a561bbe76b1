/* SPDX-License-Identifier: Apache-2.0
 * Order on a GPU, without the host waiting for anything: streams, events between them, flags in memory that a stream
 * writes or waits for. stream_cuda.c answers, or device_none.c in a build without CUDA. A stream is a cudaStream_t, an
 * event a cudaEvent_t; NULL is the default stream. */
#ifndef TLI_STREAM_H
#define TLI_STREAM_H

#include <stdint.h>

#include <tulle/status.h>

/** A stream of the calling thread's current device that nothing waits for implicitly, of the highest priority: what
 * others wait for comes first. */
tulle_status_t tli_stream_create(void **stream_out);
/** NULL-safe, as tli_event_destroy(). What is on the stream still runs. */
void tli_stream_destroy(void *stream);
tulle_status_t tli_event_create(void **event_out);
void tli_event_destroy(void *event);

/** Mark the end of what is on the stream now. */
tulle_status_t tli_event_record(void *event, void *stream);
/** What comes on the stream later runs after the mark. */
tulle_status_t tli_event_order(void *event, void *stream);
/** @retval TULLE_OK the mark was reached; TULLE_IN_PROGRESS not yet */
tulle_status_t tli_event_test(void *event);

/** Whether work given to the stream is recorded into a graph instead of run. */
tulle_status_t tli_stream_is_capturing(void *stream, int *is_capturing_out);

/** Room of a flag, so that two never share what memory and links move at once. */
#define TLI_FLAG_BYTES 128

/** What a stream does with a flag: set it to 1, after all that is on the stream before; or wait until it is 1 and set
 * it back to 0. So a flag is ready for the next round without anybody counting rounds, and a graph that is replayed
 * finds it as it was. */
typedef struct tli_flag_step {
    uint32_t *flag; /* device memory, of this process or imported, or memory registered for the device */
    int is_wait;
    int is_remote; /* the wait is for what a network card wrote to device memory: also that is seen afterwards */
} tli_flag_step_t;

/** Put the steps on the stream, in order; a few calls of the driver for all of them. */
tulle_status_t tli_stream_flags(void *stream, const tli_flag_step_t *steps, int64_t num_steps);

/** Name what the thread does until the matching pop, for NVTX tools. */
void tli_range_push(const char *name);
void tli_range_pop(void);

#endif
