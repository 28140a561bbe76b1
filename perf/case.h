/* SPDX-License-Identifier: Apache-2.0
 * One direction of one exchange, that every method carries out: its buffers, what they start with and what they must
 * end with. */
#ifndef PERF_CASE_H
#define PERF_CASE_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#include <tulle/exchange.h>

#include "perf/halo.h"
#include "perf/load.h"
#include "perf/rows.h"
#include "perf/values.h"

/** Borrowed by whatever is made from it. Zero-initialised may be released. */
typedef struct perf_case {
    tulle_direction_t direction;
    const perf_halo_t *halo;   /* borrowed */
    const tulle_plan_t *plan;  /* borrowed */
    perf_values_t values;      /* datatype, width and op are here */
    size_t row_bytes;          /* [bytes] */
    MPI_Datatype row_type;     /* row_bytes in one piece: MPI's int counts count rows */
    perf_rows_t owned_rows;    /* [num_owned rows] */
    void *owned;               /* their image on the host */
    void *expected;            /* [1 row] scratch */
    double *magnitude;         /* [width] scratch */
    int64_t num_ghosts;        /* [rows] of a ghost buffer */
    int64_t *plan_position;    /* [num_needed] row of needed id i in the order of the plan */
    int64_t naive_limit_bytes; /* [bytes] per rank that naive may use */
    perf_memory_t memory;      /* where rows are; those of Tulle, unless the case is of other methods */
    tulle_transport_t transport;
    tulle_wire_precision_t wire_precision; /* between nodes; others than Tulle have none */
    int is_explaining;                     /* [bool] say how the exchange moves its rows */
    perf_load_t load;                      /* what the busiest machine moves */
    tli_arena_t arena;                     /* holds expected, plan_position and the scratch of values */
} perf_case_t;

/** What a case is made of. */
typedef struct perf_case_options {
    tulle_direction_t direction;
    tulle_datatype_t datatype;
    tulle_op_t op;
    int64_t width;             /* [scalars] */
    int64_t naive_limit_bytes; /* [bytes] */
    perf_memory_t memory;
    tulle_transport_t transport;
    tulle_wire_precision_t wire_precision; /* datatype is f32, then */
    int is_explaining;                     /* [bool] */
} perf_case_options_t;

/**
 * @collective all ranks of the halo's communicator
 * @param[in]  halo, plan borrowed for the life of the case
 * @param[out] case_out caller storage, release with perf_case_release(); untouched on failure
 * @retval TULLE_ERR_MISMATCH the plan was made for another matrix
 * @retval TULLE_ERR_UNSUPPORTED see perf_values_init(); TULLE_ERR_OVERFLOW, TULLE_ERR_NOMEM; on all ranks
 */
tulle_status_t perf_case_create(const perf_halo_t *halo, const tulle_plan_t *plan, const perf_case_options_t *options,
                                perf_case_t *case_out);

/** The same case with owned rows of its own, in other memory, for other methods: their rows cross as they are. Release
 * with perf_case_end_copy(). */
tulle_status_t perf_case_copy(const perf_case_t *one, perf_memory_t memory, perf_case_t *copy_out);
void perf_case_end_copy(perf_case_t *copy);

/** The library's exchange of a case. @param[in] plan of the case, or another of the same needs @param[in] chunk_bytes
 * as in tulle_exchange_options @collective all ranks */
tulle_status_t perf_case_create_exchange(const perf_case_t *one, const tulle_plan_t *plan, size_t chunk_bytes,
                                         void *ghost, tulle_exchange_t **exchange_out);

/** Memory for rows of a case, contents undefined. */
tulle_status_t perf_case_alloc_rows(const perf_case_t *one, int64_t num_rows, perf_rows_t *rows_out);

/** Not collective, before MPI_Finalize. @param[in,out] one NULL and zeroed are fine */
void perf_case_release(perf_case_t *one);

/* A ghost buffer is given with the row of each needed id in it; NULL = needed id i is row i. */

/**
 * Set both buffers to what they must be before an exchange whose result is checked. Gather's ghost rows are poisoned.
 * @param[out] ghost    [num_ghosts rows]
 * @param[in]  position [num_needed] or NULL
 */
void perf_case_prepare(const perf_case_t *one, void *ghost, const int64_t *position);

/** Undo a scatter in the owned rows that it reduced into. */
void perf_case_reset(const perf_case_t *one);

/**
 * Compare both buffers with what they must be after an exchange: the rows that it writes, and those that it must not.
 * @param[in] ghost    [num_ghosts rows]
 * @param[in] position [num_needed] or NULL
 * @return [scalars] wrong on this rank
 */
int64_t perf_case_count_wrong(const perf_case_t *one, const void *ghost, const int64_t *position);
/** The same for one of the buffers. */
int64_t perf_case_count_wrong_ghosts(const perf_case_t *one, const void *ghost, const int64_t *position);
int64_t perf_case_count_wrong_owned(const perf_case_t *one);

#endif
