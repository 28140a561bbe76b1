/* SPDX-License-Identifier: Apache-2.0
 * The transport between GPUs of one machine: memory of this rank that others store into, and theirs as seen from here.
 * There is nothing else to it: rows are stored by the kernels that gather them, and flags in the same memory, written
 * and awaited by streams, say when. */
#ifndef TLI_GPU_MEMORY_H
#define TLI_GPU_MEMORY_H

#include "src/device/peer_memory.h"
#include "src/transport/gpu_peers.h"

/** What of a rank others store into. */
typedef enum tli_region {
    TLI_REGION_DEVICE, /* device memory of ours, for peers within reach (CUDA IPC) */
    TLI_REGION_PINNED, /* host memory of ours that both GPUs reach, for the others */
    TLI_REGION_ROWS,   /* the caller's ghost rows, in device memory */
    TLI_NUM_REGIONS
} tli_region_t;

/** What to make of this rank. */
typedef struct tli_gpu_memory_wish {
    int64_t bytes[TLI_NUM_REGIONS];      /* of both regions of ours */
    int64_t zero_bytes[TLI_NUM_REGIONS]; /* at the beginning of each, to be zero */
    const void *rows;                    /* NULL: the caller's rows are not stored into */
    const unsigned char *is_partner;     /* [num_ranks of the machine] ranks whose memory is wanted here */
} tli_gpu_memory_wish_t;

typedef struct tli_gpu_memory {
    tulle_comm_t *comm;
    const tli_gpu_peers_t *peers;
    int is_open;  /* on all ranks: they take it down together */
    int *parting; /* [2] faults that this rank, and that any of the machine has seen, as they take it down */
    void *device_memory;
    MPI_Win window; /* of the pinned regions */
    unsigned char *pinned_memory;
    unsigned char **registered; /* [num_ranks] pinned regions that the GPU was told of */
    unsigned char **addresses;  /* [num_ranks * TLI_NUM_REGIONS] NULL: not wanted, or not there */
    tli_mapping_t **mappings;   /* [num_ranks * TLI_NUM_REGIONS] */
    tli_arena_t arena;
} tli_gpu_memory_t;

/** @collective all ranks of the communicator, also those that failed before. @param[out] memory zeroed by the caller */
tulle_status_t tli_gpu_memory_open(tulle_comm_t *comm, tulle_status_t local, const tli_gpu_peers_t *peers,
                                   const tli_gpu_memory_wish_t *wish, tli_gpu_memory_t *memory);

/** Where a region of a partner, or of this rank itself, lies in this process. */
unsigned char *tli_gpu_memory_address(const tli_gpu_memory_t *memory, int rank, tli_region_t region);

/**
 * Take it down; nothing of this rank's may be on its way any more. What others may still store into stays for ever
 * where they cannot be waited for.
 * @param[in] is_alone do not wait for them, as after any fault of the communicator
 * @param[in] limit_ms [ms] wait for no longer; 0 = no limit
 * @collective as opening it was
 */
void tli_gpu_memory_close(tli_gpu_memory_t *memory, int is_alone, int64_t limit_ms);

#endif
