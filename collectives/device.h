/* SPDX-License-Identifier: Apache-2.0
 * Exchanges on GPUs. What the host's executor decides at every arrival is laid out here once, as a program for a
 * stream:
 *
 *     stage 0: flags, kernels    what waits for no message
 *     stage 1: flags, kernels    what waits for messages of stage 0
 *     ...
 *     end:     flags
 *
 * Rows for other machines are packed by the same kernels and go in parcels, which a carrier takes across. A stage first
 * runs what needs no parcel, then part after part of what does: each waits for its own parcels, runs its kernels and
 * tells those inside who have all of this stage by then. So rows move on inside the machine while others are on the
 * wire.
 *
 * Flags between kernels say "your rows are there" to receivers and wait for the same from senders. Senders also wait,
 * before they first store to a peer, for its word that it has started: then its slots are free. Each wait sets its flag
 * back, so that every round, and every replay of a captured one, finds all flags as the first did.
 *
 * No rank waits in a circle: what is waited for in a stage was written in an earlier one, or before all. */
#ifndef TLI_DEVICE_EXCHANGE_H
#define TLI_DEVICE_EXCHANGE_H

#include "collectives/exchange.h"
#include "src/device/pack_device.h"
#include "src/device/stream.h"
#include "src/device/wire_device.h"
#include "src/transport/carrier.h"
#include "src/transport/gpu_memory.h"

/** A kernel: rows copied for several tasks, fields and peers at a time, or one reduction, or one operation that rounds
 * or widens. */
typedef struct tli_launch {
    int is_reduction, is_wire;
    tli_wire_args_t wire;
    tli_push_args_t push;
    tli_reduce_args_t reduction;
    int64_t areas_alignment;
} tli_launch_t;

/** Tasks that can run at the same time. */
typedef struct tli_batch {
    int64_t first_task, num_tasks;
    int64_t first_launch, num_launches;
    int64_t first_tell, num_tells; /* flags behind the launches; those of the last batch are the next stage's first */
} tli_batch_t;

/** What needs no parcel that its stage begins with; then a batch for each part. */
#define TLI_MOST_BATCHES (1 + TLI_MOST_PARTS)

typedef struct tli_stage {
    int64_t first_flag, num_flags; /* before the launches */
    int64_t num_tells;             /* the first of them: that the stage before is done, and so before parcels leave */
    int num_parts;                 /* [count] where there is a carrier >= 1, if only of nothing */
    tli_batch_t batches[TLI_MOST_BATCHES]; /* [1 + num_parts] */
} tli_stage_t;

/** Region of a message's slots and flags, at both of its ends. */
static inline tli_region_t tli_region_of(const tli_end_t *end)
{
    return end->way == TLI_WAY_STORED ? TLI_REGION_DEVICE : TLI_REGION_PINNED;
}

/** Whether a message goes to another machine, in a parcel. */
static inline int tli_is_carried(const tli_end_t *end)
{
    return end->way == TLI_WAY_CARRIED;
}

/** When tasks run and messages arrive, and the flags that say so. Addresses are in this process. */
typedef struct tli_wiring {
    int64_t num_stages;
    int64_t *stage_of_task; /* [num_tasks] */
    int64_t *arrival;       /* [num_receives] stage that begins with it */
    int64_t *departure;     /* [num_sends] stage that ends with it */
    /* Not of what is carried: */
    uint32_t **arrived;      /* [num_receives] flag here that says that the rows are there; wires may share one */
    uint32_t **tell_ready;   /* [num_receives] flag at the sender that says that this rank has started; likewise */
    uint32_t **tell_arrived; /* [num_sends] flag at the receiver */
    uint32_t **ready;        /* [num_sends] flag here */
} tli_wiring_t;

/** The program of one rank. Lists that kernels read are in an image: written on the host, copied to the device. */
typedef struct tli_program {
    int64_t num_stages;  /* [count] the end not counted */
    tli_stage_t *stages; /* [num_stages + 1] */
    int64_t num_flags;
    tli_flag_step_t *flags;
    int64_t num_launches;
    tli_launch_t *launches;
    int64_t *tasks;              /* [num_tasks] by stage */
    tli_operation_t *operations; /* as those of the steps, with lists on the device */
    unsigned char *image;        /* pinned host memory: segments, areas of every field, then lists */
    unsigned char *device_image;
    tli_rows_t *areas_image;             /* [num_fields][num_areas] in the image */
    const tli_rows_t *areas;             /* the same on the device */
    const unsigned char *area_precision; /* [num_areas] on the device */
    int64_t image_bytes;
    int64_t bound_bytes; /* of the front: what changes with the caller's buffers */
    tli_arena_t arena;
} tli_program_t;

/** The time limit of a round. */
typedef struct tli_watch {
    int is_on; /* a round was started, outside of a capture */
    int gave_up;
    int tag;          /* of the word to partners that this rank has given up */
    double since;     /* [s] when the caller's stream was seen to be there; 0: not yet */
    uint32_t *values; /* [num_flags of the program] as read */
} tli_watch_t;

/** Device side of an exchange. */
typedef struct tli_device_exchange {
    int device;
    tli_gpu_peers_t peers;
    tli_gpu_memory_t memory;
    tli_wiring_t wiring;
    tli_parcels_t parcels;
    int *part_of_receive;         /* [num_receives] of what is carried: its parcel's */
    const tli_carrier_t *carrier; /* NULL: no rank has parcels */
    void *channel;                /* the carrier's */
    int64_t most_bytes;           /* of parcels of one rank, where they decided on the carrier; else 0 */
    int is_through;               /* the host has nothing more to do in this round */
    tli_program_t program;
    void *stream;      /* ours: the program runs on it */
    void *began;       /* event on the caller's stream at start */
    void *done;        /* event on ours at the end of a round */
    void *uploaded;    /* event: the image may be written again */
    void *stream_used; /* the caller's, of the round */
    int must_upload;   /* the buffers changed */
    tli_watch_t watch;
} tli_device_exchange_t;

/* --- collectives/device_space.c ---------------------------------------------------------------------------------- */

/** Which spaces this rank's rows are in: bit set of 1 << tulle_space_t; empty buffers count for nothing. */
tulle_status_t tli_spaces_of(const tulle_plan_t *plan, const tulle_field_t *fields, int num_fields, int *spaces_out);
/** Those of all ranks. @collective, in builds that know more than one space */
tulle_status_t tli_spaces_join(const tulle_comm_t *comm, int *spaces);
/** Whether such an exchange runs on the GPUs. */
int tli_is_device_exchange(int spaces);
/** Rows that the GPU cannot reach are refused; the device that this rank's rows are on is found. */
tulle_status_t tli_device_check_fields(const tulle_plan_t *plan, const tulle_field_t *fields, int num_fields,
                                       int *device_out);

/* --- collectives/device_wiring.c --------------------------------------------------------------------------------- */

/** Stages of tasks and wires, by asking neighbours until nothing changes. @collective */
tulle_status_t tli_wiring_find_stages(const tulle_exchange_t *x, int first_tag, tli_arena_t *arena,
                                      tli_wiring_t *wiring);
/** Bytes of flags at the front of each region of this rank. */
void tli_wiring_count_flags(const tulle_exchange_t *x, const tli_wiring_t *wiring, int64_t bytes_out[TLI_NUM_REGIONS]);
/** Place areas of peers and flags, now that all regions are there. @collective */
tulle_status_t tli_wiring_connect(tulle_exchange_t *x, int first_tag, const int64_t *offset_of_area,
                                  tli_wiring_t *wiring);

/* --- collectives/device_parcels.c -------------------------------------------------------------------------------- */

/**
 * Parcels that a stage begins with fall into parts, in their order: at most TLI_MOST_PARTS, none of less than
 * least_bytes where there is another. Pure.
 * @param[in] stage after which they leave
 */
void tli_parcels_divide(tli_parcel_t *receives, int num_receives, int stage, int64_t least_bytes);
/** Rows for other machines into parcels; the carrier is chosen, bound, and its memory becomes areas. @collective, all
 * ranks got here */
tulle_status_t tli_parcels_bind(tulle_exchange_t *x, int first_tag, const tli_wiring_t *wiring);
/** NULL-safe in its channel. Nothing is on the streams any more. */
void tli_parcels_unbind(tli_device_exchange_t *device);

/* --- collectives/device_program.c -------------------------------------------------------------------------------- */

/** Lay out the program; memory of the image included. */
tulle_status_t tli_program_build(const tulle_exchange_t *x, const tli_wiring_t *wiring, tli_program_t *program);
/** Write what depends on the caller's buffers: segments, areas, launches. */
void tli_program_bind(const tulle_exchange_t *x, tli_program_t *program);
void tli_program_free(tli_program_t *program);

/* --- collectives/device_wire.c ----------------------------------------------------------------------------------- */

/** Whether an operation has areas of different precisions, or combines what may be in any. */
int tli_converts(const tulle_exchange_t *x, const tli_operation_t *operation);
/** Its kernel. @param[in] operation with lists on the device */
tli_launch_t tli_wire_launch(const tulle_exchange_t *x, const tli_program_t *program, const tli_operation_t *operation,
                             int field);

/* --- collectives/device_bind.c, device_execute.c ------------------------------------------------------------------ */

/** x has its fields; it may be NULL on a rank that failed. @collective all ranks, whatever their status */
tulle_status_t tli_device_bind(tulle_exchange_t *x, tulle_comm_t *comm, tulle_status_t local);
/** NULL-safe in x->device. @collective as binding was */
void tli_device_unbind(tulle_exchange_t *x);
/** The caller's buffers are others now: the host waits until the last ones were read. */
void tli_device_rebind(tulle_exchange_t *x);

/* --- collectives/device_watch.c ---------------------------------------------------------------------------------- */

tulle_status_t tli_watch_prepare(tulle_exchange_t *x, int tag);
/** A round is about to be put on a stream. Fails where the last one is overdue, or a partner has given up. */
tulle_status_t tli_watch_begin(tulle_exchange_t *x, void *stream);
/** @retval TULLE_OK nothing to wait for; TULLE_IN_PROGRESS; TULLE_ERR_TIMEOUT, TULLE_ERR_REMOTE given up: the streams
 * have run out */
tulle_status_t tli_watch_look(tulle_exchange_t *x);
/** The carrier has failed: the streams run out, and partners are told. The last error stays. */
void tli_watch_give_up(tulle_exchange_t *x);
/** Wait until the stream has run out, no longer than the time limit. */
void tli_watch_finish(tulle_exchange_t *x);

tulle_status_t tli_device_start(tulle_exchange_t *x, void *stream);
tulle_status_t tli_device_test(tulle_exchange_t *x);
tulle_status_t tli_device_wait(tulle_exchange_t *x);

/** Whether the host must move the parcels of this exchange. */
int tli_device_is_host_driven(const tulle_exchange_t *x);
/** Do so. @return TULLE_IN_PROGRESS, also when there is nothing more to do: the stream has the last word; or an error
 */
tulle_status_t tli_device_advance(tulle_exchange_t *x, int *num_moved_out);
/** Whether host and stream are through with the round: TULLE_OK, TULLE_IN_PROGRESS, or what the watch says. */
tulle_status_t tli_device_ask(tulle_exchange_t *x);

#endif
