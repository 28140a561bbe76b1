/* SPDX-License-Identifier: Apache-2.0
 * Which ranks' memory the GPU of this rank can store into, and how. Whoever is on the same machine is in reach,
 * whatever nodes were declared, unless these are to be kept apart. */
#ifndef TLI_GPU_PEERS_H
#define TLI_GPU_PEERS_H

#include "src/comm.h"

typedef enum tli_reach {
    TLI_REACH_NONE,   /* another machine, or as if it were */
    TLI_REACH_PINNED, /* through host memory that both GPUs reach */
    TLI_REACH_DEVICE  /* straight into the memory of its GPU, and it into this one's */
} tli_reach_t;

typedef struct tli_gpu_peers {
    MPI_Comm host;        /* borrowed: ranks of this machine */
    int num_ranks;        /* [count] of it */
    int me;               /* in it */
    int *ranks;           /* [num_ranks] in the exchange's communicator, ascending: position = rank in host */
    unsigned char *reach; /* [num_ranks] tli_reach_t */
} tli_gpu_peers_t;

/**
 * Find out.
 * @param[in] device        that this rank's rows are on
 * @param[in] always_pinned take the way through host memory to all ranks
 * @param[in] keeps_apart   ranks of other nodes are out of reach
 * @param[in] arena         the lists are allocated here
 * @collective all ranks of the communicator, also those that failed before
 */
tulle_status_t tli_gpu_peers_find(tulle_comm_t *comm, tulle_status_t local, int device, int always_pinned,
                                  int keeps_apart, tli_arena_t *arena, tli_gpu_peers_t *peers_out);

/** Position of a rank among those of this machine; -1: on another one. */
int tli_gpu_peers_position(const tli_gpu_peers_t *peers, int rank);
tli_reach_t tli_gpu_peers_reach(const tli_gpu_peers_t *peers, int rank);

#endif
