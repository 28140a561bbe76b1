/* SPDX-License-Identifier: Apache-2.0
 * Messages to whoever concerns it: every rank sends to some ranks, none knows from whom it will receive. */
#ifndef TLI_SPARSE_EXCHANGE_H
#define TLI_SPARSE_EXCHANGE_H

#include <stdint.h>

#include "src/arena.h"
#include "src/comm.h"

/** One message of 64-bit words per peer; peers distinct and ascending. */
typedef struct tli_packets {
    int num_peers;
    int *peer;      /* [num_peers] */
    int64_t *ptr;   /* [num_peers + 1] offsets into words */
    int64_t *words; /* [ptr[num_peers]] */
} tli_packets_t;

/**
 * Send packets and receive those meant for me. Empty messages are not sent. A message to myself is copied.
 * Takes the place of an agreement: a rank whose work failed passes its status and sends nothing, and all ranks learn
 * it.
 * @param[in]  comm      all ranks of it must call, whatever their status
 * @param[in]  local     status of my work so far
 * @param[in]  out       borrowed; ignored unless @p local is TULLE_OK
 * @param[in]  arena     where the received packets are allocated
 * @param[out] in_out    untouched on failure
 * @retval TULLE_ERR_REMOTE another rank passed a failure; own failures come back as they are. A failure to receive (out
 * of memory) is returned here on this rank only: pass it to the next call
 * @cost memory and messages in proportion to neighbours, plus one nonblocking reduction
 * @see Hoefler, Siebert, Lumsdaine, "Scalable communication protocols for dynamic sparse data exchange", PPoPP 2010
 */
tulle_status_t tli_sparse_exchange(tulle_comm_t *comm, tulle_status_t local, const tli_packets_t *out,
                                   tli_arena_t *arena, tli_packets_t *in_out);

/**
 * Sort records by their first word, a rank, and make one packet per rank of the remaining words, in the order given.
 * @param[in,out] records [n * words] reordered
 */
tulle_status_t tli_packets_from_records(tli_arena_t *arena, int64_t *records, int64_t n, int words,
                                        tli_packets_t *packets_out);

#endif
