/* SPDX-License-Identifier: Apache-2.0
 * A transport carries the messages of an exchange between ranks. A wire is one message of one exchange, at one of its
 * ends; it is bound once and used in every round. The table in table.c lists the transports in order of preference. */
#ifndef TLI_TRANSPORT_H
#define TLI_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/exchange.h>

#include "src/comm.h"

/** One end of a message. */
typedef struct tli_wire {
    int peer;
    int tag;                /* tells apart the messages between the same two ranks */
    int num_releases;       /* of a receiving end that reads remotely, in one round */
    unsigned char *address; /* where the rows lie or will lie; ignored at a receiving end that reads remotely */
    int64_t bytes;
    int64_t rows;         /* of the area that the address is in: where fields begin follows from it */
    int64_t stride_bytes; /* from row to row, where the rows are the caller's; otherwise 0: they are dense */
} tli_wire_t;

/** Where a receiver finds what came over a wire. */
typedef struct tli_delivery {
    unsigned char *address;
    int64_t rows, stride_bytes; /* of the area, as the sender gave them */
} tli_delivery_t;

/** Rows of the caller that peers may read where they lie. */
typedef struct tli_loan {
    const void *rows; /* NULL: none */
    int64_t bytes;
} tli_loan_t;

/** All wires of an exchange, of all transports, ascending by peer, those of one peer in the same order at both ends;
 * each transport looks at those that it is named for. */
typedef struct tli_wires {
    tulle_comm_t *comm;
    int transport; /* index of the transport that is bound */
    int num_sends, num_receives;
    const tli_wire_t *sends, *receives;
    const unsigned char *send_transport, *receive_transport; /* index into the table, by wire */
} tli_wires_t;

typedef struct tli_transport {
    const char *name;
    tulle_transport_t id;
    int reads_remotely; /* the receiver reads out of the sender's shared memory: areas must come from alloc */
    /** Whether messages to a peer can go this way. Pure. */
    int (*reaches)(const tulle_comm_t *comm, int peer);
    /** Make a channel. Collective, also for ranks that failed before, and they alone are refused one. A loan is an
     * offer: whether peers take it, lends() tells. */
    tulle_status_t (*open)(tulle_comm_t *comm, tulle_status_t local, const tli_loan_t *loan, void **channel_out);
    /** Whether a peer's caller's rows can be read here; for this rank itself, whether its own are. Alike on both ends.
     */
    int (*lends)(const void *channel, int peer);
    /** Whatever may fail on this rank alone; and memory for rows that peers can read. Local. Wires know no more than
     * their peers so far. @param[out] shared_out untouched where memory is not shared */
    tulle_status_t (*reserve)(void *channel, const tli_wires_t *wires, size_t shared_bytes, unsigned char **shared_out);
    /** Connect the wires. Collective, and all ranks got here. Where each receiving wire's rows will be found is stored
     * in deliveries. The status is this rank's alone. */
    tulle_status_t (*bind)(void *channel, const tli_wires_t *wires, tli_delivery_t *deliveries);
    /** Hot from here on: no allocation, lock or system call of ours. */
    tulle_status_t (*ready)(void *channel); /* OK: the areas of the last round may be written again; IN_PROGRESS */
    tulle_status_t (*begin)(void *channel); /* a new round: receiving ends are open */
    tulle_status_t (*send)(void *channel, int wire); /* its rows are complete */
    /** Receiving wires whose rows came since the last call. @param[out] arrived room for num_receives */
    tulle_status_t (*poll)(void *channel, int *arrived, int *num_arrived);
    void (*release)(void *channel, int wire); /* one reader has read what came over a receiving wire */
    tulle_status_t (*drain)(void *channel);   /* OK: what was sent may be overwritten by the caller; IN_PROGRESS */
    int (*laggard)(const void *channel); /* a rank that has not taken what it was sent; -1: none. To say who is late */
    /** After a failure: cancel what can be. OK: nothing reads or writes memory of the wires any more; IN_PROGRESS: ask
     * again, or leave that memory alone for ever. Never blocks. */
    tulle_status_t (*halt)(void *channel);
    void (*close)(void *channel); /* NULL-safe; local; nothing under way, and peers are through with the last round */
} tli_transport_t;

/** Number of transports in the table. */
extern const int tli_num_transports;
/** The table, in order of preference. */
extern const tli_transport_t *const tli_transports[];

/** Whether a transport moves rows on GPUs, and not those in host memory. */
int tli_transport_is_for_gpus(tulle_transport_t transport);

/** Whether this build has a transport of the host; of AUTO always. */
int tli_transport_is_built(tulle_transport_t transport);

/** The chosen transport if it reaches the peer; of AUTO: the first that does and reads remotely, else the carrier of
 * messages at the level between. tli_num_transports: none. */
int tli_transport_for(const tulle_comm_t *comm, tulle_transport_t choice, int peer);

extern const tli_transport_t tli_transport_shared_memory;
extern const tli_transport_t tli_transport_mpi;
extern const tli_transport_t tli_transport_ucx; /* with TULLE_HAVE_UCX */

/** Most transports that an exchange keeps channels for. */
#define TLI_MAX_TRANSPORTS 4

#endif
