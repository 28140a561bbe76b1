/* SPDX-License-Identifier: Apache-2.0
 * Between machines rows of GPUs go in parcels: all that one rank has for another after a stage of its program. A
 * carrier takes parcels across. Kernels pack them into its memory and read them out of it; what it does besides is put
 * on streams, or left to the host, which then advances it from test and wait. */
#ifndef TLI_CARRIER_H
#define TLI_CARRIER_H

#include <tulle/exchange.h>

#include "src/comm.h"

/** Parts of a stage: each costs a launch and a wait. */
#define TLI_MOST_PARTS 4

/** One end of a parcel. Both ends list those of a peer in the same order. */
typedef struct tli_parcel {
    int peer;
    int tag;                /* place among the parcels of this peer */
    int stage;              /* that it leaves after; its receiver's next one begins with it */
    int part;               /* at its receiver: place among the parts of that stage, each waited for by itself */
    int64_t bytes;          /* >= 1 */
    unsigned char *address; /* the carrier's memory, from binding on */
} tli_parcel_t;

/** Those of one rank in one exchange. */
typedef struct tli_parcels {
    int num_stages; /* [count] that parcels leave after */
    int num_sends, num_receives;
    tli_parcel_t *sends, *receives;
} tli_parcels_t;

typedef struct tli_carrier {
    tulle_transport_t id;
    int is_host_driven;   /* the host hands messages over: it must advance them, and nothing can be captured */
    int arrives_together; /* parcels of a stage come as one, and so are one part */
    /** Whether it works in this process. Local; ranks agree on what they find. */
    int (*is_there)(void);
    /** Memory for parcels, and what carries them. Collective, also for ranks that failed before; the current device is
     * that of the rows. Addresses of parcels are filled in. @return what all ranks agreed on */
    tulle_status_t (*bind)(tulle_comm_t *comm, tulle_status_t local, int first_tag, tli_parcels_t *parcels,
                           void **channel_out);
    /* A round, on the stream of the program: no allocation or lock of ours, and nobody waits. */
    tulle_status_t (*begin)(void *channel, void *stream);
    tulle_status_t (*depart)(void *channel, int stage, void *stream); /* parcels of the stage are packed */
    /* What follows finds those of peers that are in the part. Parts of a stage in their order, the first of each. */
    tulle_status_t (*arrive)(void *channel, int stage, int part, void *stream);
    tulle_status_t (*end)(void *channel, void *stream); /* what follows may pack again */
    /** What the host has to do. @retval TULLE_OK nothing more in this round; TULLE_IN_PROGRESS; an error of the carrier
     * @param[out] num_moved messages handed over or taken */
    tulle_status_t (*advance)(void *channel, int *num_moved);
    int (*awaits)(const void *channel); /* peer of a parcel that has not come, or was not taken; -1 */
    void (*give_up)(void *channel);     /* streams wait for nothing more; the channel can only be unbound */
    void (*unbind)(void *channel);      /* NULL-safe; local; nothing of the streams is left */
} tli_carrier_t;

/** Carriers in order of preference. */
extern const tli_carrier_t *const tli_carriers[];
extern const int tli_num_carriers;

/** Carrier of a transport; NULL: it is none of a carrier. */
const tli_carrier_t *tli_carrier_of(tulle_transport_t transport);

extern const tli_carrier_t tli_carrier_nccl;
extern const tli_carrier_t tli_carrier_mpi_device;
extern const tli_carrier_t tli_carrier_mpi_staged;
extern const tli_carrier_t tli_carrier_ucx_device; /* with TULLE_HAVE_UCX */
extern const tli_carrier_t tli_carrier_ucx_staged; /* with TULLE_HAVE_UCX */

/** Whether MPI takes addresses of device memory: it says so at run time. */
int tli_mpi_takes_device_memory(void);

#endif
