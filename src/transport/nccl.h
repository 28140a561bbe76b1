/* SPDX-License-Identifier: Apache-2.0
 * What the library asks of NCCL, in plain C. nccl.c answers, which loads the library at its first use, or nccl_none.c
 * in a build without. Calls do not wait for other ranks, unless they say so: what is under way, tli_nccl_test() tells.
 */
#ifndef TLI_NCCL_H
#define TLI_NCCL_H

#include <stdint.h>

#include <tulle/status.h>

#define TLI_NCCL_ID_BYTES 128

/** A communicator of NCCL, of the current device. */
typedef struct tli_nccl tli_nccl_t;

/** One end of a message between two different ranks. */
typedef struct tli_nccl_message {
    unsigned char *address; /* device memory */
    int64_t bytes;          /* >= 1, equal at both ends */
    int peer;
    int is_send;
} tli_nccl_message_t;

/** Whether this build knows NCCL and the library is on this machine. */
int tli_nccl_is_there(void);

/** On one rank; all get it from there. */
tulle_status_t tli_nccl_make_id(unsigned char id[TLI_NCCL_ID_BYTES]);
/** Begin to make a communicator; it is one once tli_nccl_test() says so. */
tulle_status_t tli_nccl_open(int num_ranks, int rank, const unsigned char id[TLI_NCCL_ID_BYTES], tli_nccl_t **nccl_out);
/** @retval TULLE_OK all that was asked for is on its stream; TULLE_IN_PROGRESS; an error of this or another rank */
tulle_status_t tli_nccl_test(tli_nccl_t *nccl);
/** Wait until that is so: as long as a launch, unless connections are yet to be made. */
tulle_status_t tli_nccl_settle(tli_nccl_t *nccl);
/** Put the messages on a stream, all of them under way at once; at most one each way per peer. Calls of one
 * communicator come in the same order on all ranks. Can be captured into a graph. */
tulle_status_t tli_nccl_move(tli_nccl_t *nccl, const tli_nccl_message_t *messages, int num_messages, void *stream);
/** Let the network card know memory that will be used often. @param[out] handle_out NULL where that gains nothing */
tulle_status_t tli_nccl_register(tli_nccl_t *nccl, void *memory, int64_t bytes, void **handle_out);
/** NULL-safe in its handle. */
void tli_nccl_deregister(tli_nccl_t *nccl, void *handle);
/** Give up what is under way: streams run out. It can only be closed. */
void tli_nccl_abort(tli_nccl_t *nccl);
/** NULL-safe. Collective unless it was aborted. */
void tli_nccl_close(tli_nccl_t *nccl);

#endif
