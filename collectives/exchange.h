/* SPDX-License-Identifier: Apache-2.0
 * Inside of an exchange: steps bound to buffers and channels. bind.c makes it, execute.c runs it. */
#ifndef TLI_EXCHANGE_H
#define TLI_EXCHANGE_H

#include <tulle/exchange.h>
#include <tulle/memory.h>

#include "collectives/chunks.h"
#include "collectives/ready.h"
#include "collectives/steps.h"
#include "src/device/pack.h"
#include "src/device/wire_rows.h"
#include "src/transport/transport.h"

/** [bytes] No sum of sizes goes beyond. */
#define TLI_MOST_BYTES ((int64_t)1 << 62)

typedef enum tli_phase {
    TLI_PHASE_IDLE,    /* may be started */
    TLI_PHASE_PENDING, /* started, but peers still read what the last round left in the staging areas */
    TLI_PHASE_RUNNING,
    TLI_PHASE_COMPLETE, /* all done, not yet waited for */
    TLI_PHASE_FAILED    /* can only be destroyed */
} tli_phase_t;

struct tulle_exchange {
    tulle_plan_t *plan; /* one reference, none when the plan caches the exchange */
    int is_cached;
    int owned_moves;                  /* the owned rows may lie elsewhere in every round */
    tulle_comm_t *comm;               /* one reference, when the plan is gone before the exchange: abandon.c */
    tulle_exchange_t *next;           /* in the plan's cache */
    tulle_exchange_t *before, *after; /* among those in flight on the communicator */
    tulle_direction_t direction;
    tulle_op_t op;
    int64_t timeout_ms;
    tulle_transport_t transport;
    tulle_wire_precision_t wire_precision;
    int wire_levels;
    size_t chunk_bytes;  /* as asked for, by the caller or the environment */
    int64_t chunk_rows;  /* 0: messages are whole, and so are steps made of the plan itself */
    tli_chunks_t chunks; /* of which they are made otherwise */
    int num_fields;
    tulle_field_t *fields; /* [num_fields] strides resolved */
    int spaces;            /* of the rows of all ranks, as bits; 0: nobody has any */
    tli_steps_t steps;
    tli_rows_t *areas;             /* [num_fields][num_areas] */
    unsigned char *area_precision; /* [num_areas] tulle_wire_precision_t; NULL: rows cross as they are */
    float *wire_scratch;           /* for the widest field; NULL likewise */
    int first_tag;                 /* of its messages; names it among the communicator's, on all ranks alike */
    void *channels[TLI_MAX_TRANSPORTS];
    tli_phase_t phase;
    tulle_error_t failure;              /* of a failed exchange */
    int64_t *missing;                   /* [num_tasks] arrivals that the task still waits for, in this round */
    tli_ready_t ready;                  /* tasks that wait for nothing any more */
    int64_t num_unfinished;             /* tasks not yet run in this round */
    int64_t num_unarrived;              /* receiving wires */
    unsigned char *has_arrived;         /* [num_receives] in this round, to say who is waited for */
    int *arrived;                       /* [num_receives] room for a poll */
    struct tli_device_exchange *device; /* of rows on GPUs, NULL on the host: device.h */
    tli_arena_t arena;
};

/** As tulle_exchange_create(), for the cache of a plan: buffers come with each use through tli_exchange_set_buffers().
 */
tulle_status_t tli_exchange_create_cached(tulle_plan_t *plan, tulle_direction_t direction, const tulle_field_t *field,
                                          const tulle_exchange_options_t *options, tulle_exchange_t **exchange_out);
/** Read and check options as creation does: what an exchange of them would have. Local. */
tulle_status_t tli_exchange_take_options(const tulle_exchange_options_t *given, const tulle_plan_t *plan,
                                         tulle_exchange_t *x);

/** As tulle_scatter(), in a call of all ranks that know the arguments to be right and the rows of all to be in one
 * space. */
tulle_status_t tli_scatter_agreed(tulle_plan_t *plan, const void *ghost, void *owned, tulle_datatype_t datatype,
                                  int64_t width, tulle_op_t op, tulle_space_t space, void *stream);

/** Point an idle cached exchange at other buffers. Local. */
void tli_exchange_set_buffers(tulle_exchange_t *exchange, void *owned, void *ghost);

/** As tulle_exchange_create() of one field, but for owned rows that may lie elsewhere in every round. */
tulle_status_t tli_exchange_create_moving(tulle_plan_t *plan, tulle_direction_t direction, const tulle_field_t *field,
                                          tulle_exchange_t **exchange_out);

/** Where the owned rows of an idle moving exchange lie from now on. Local. @param[in] stride [scalars] */
void tli_exchange_move_owned(tulle_exchange_t *exchange, void *owned, int64_t stride);

/** [messages + 1] receiving wires of each message of the plan; NULL: messages are whole, one wire each. */
const int64_t *tli_exchange_chunk_ptr(const tulle_exchange_t *exchange);

/** Make progress, of all exchanges in flight. */
void tli_exchange_advance(const tulle_exchange_t *exchange);

/** Wait until some messages of a started gather, as the plan numbers them, have brought their ghost rows. The exchange
 * is still to be waited for. On the host only. @return as tulle_exchange_wait() */
tulle_status_t tli_exchange_wait_for(tulle_exchange_t *exchange, const int64_t *messages, int64_t num_messages);

/** Take an exchange out of those in flight, if it is among them. */
void tli_exchange_land(tulle_exchange_t *exchange);

/** Free an exchange; one whose messages are under way is kept until they have gone. */
void tli_exchange_release(tulle_exchange_t *exchange);
/** Free those that were kept, of a communicator, where it can be done by now. */
void tli_exchange_sweep(const tulle_comm_t *comm);

/** Check one field of a plan. @param[in,out] field strides of 0 are resolved */
tulle_status_t tli_field_check(const tulle_plan_t *plan, tulle_direction_t direction, tulle_op_t op, int index,
                               tulle_field_t *field);

/**
 * Agree on success so far, on what is exchanged, and on the most tags that any rank needs.
 * @param[in]  x        NULL is fine on a rank that failed
 * @param[out] num_tags those of its steps, if they are made; 1 at least
 * @collective all ranks of the communicator, whatever their status
 */
tulle_status_t tli_exchange_agree(const tulle_exchange_t *x, MPI_Comm comm, tulle_status_t local, int64_t *num_tags);

/* --- areas ------------------------------------------------------------------------------------------------------- */

/** [bytes] of one row of a field. */
int64_t tli_field_row_bytes(const tulle_field_t *field);
/** [bytes] of one row of all fields as it travels. */
int64_t tli_travelling_row_bytes(const tulle_exchange_t *x, tulle_wire_precision_t precision);
/** [bytes] of one row of a field in an area, which may hold rounded ones. */
int64_t tli_area_row_bytes(const tulle_exchange_t *x, int field, int64_t area);
/** [bytes] of so many rows of all fields in an area: one field after the other, each dense and aligned. */
int64_t tli_area_bytes(const tulle_exchange_t *x, int64_t area, int64_t rows);
/** Lay out an area of so many rows from a base on. */
void tli_area_place(tulle_exchange_t *x, int64_t area, unsigned char *base, int64_t rows);
void tli_areas_place_user(tulle_exchange_t *x);
/** [bytes] of all staging areas of a kind; and their places, one after the other from a base on. */
int64_t tli_staging_bytes(const tulle_exchange_t *x, tli_area_kind_t kind);
void tli_staging_place(tulle_exchange_t *x, tli_area_kind_t kind, unsigned char *base);
/** Staging areas must fit the address space: rows of all messages times bytes of all fields. */
tulle_status_t tli_check_staging(const tulle_exchange_t *x);
/** Ghost rows can be sent and received directly when they are dense and a message holds nothing else. */
int tli_can_use_ghosts_in_place(const tulle_exchange_t *x);

/* --- collectives/wire_precision.c -------------------------------------------------------------------------------- */

/** Check what the caller chose. @param[in,out] x levels of 0 are resolved */
tulle_status_t tli_wire_precision_check(tulle_exchange_t *x);
/** Memory for running, once steps are made. */
tulle_status_t tli_wire_precision_prepare(tulle_exchange_t *x);
/** Run an operation of an exchange whose rows cross rounded: each area is in its own precision. */
void tli_wire_precision_run(const tulle_exchange_t *x, const tli_operation_t *operation, int field);

#endif
