/* SPDX-License-Identifier: Apache-2.0
 * Inside of a pattern: for every needed row its owner and the row's place there. */
#ifndef TLI_PATTERN_H
#define TLI_PATTERN_H

#include <tulle/pattern.h>

#include "collectives/directory.h"
#include "src/arena.h"
#include "src/comm.h"

struct tulle_pattern {
    tulle_comm_t *comm; /* one reference */
    int64_t num_owned;
    int64_t num_needed;
    int64_t *owner_rank; /* [num_needed] */
    int64_t *owner_row;  /* [num_needed] 0-based in the owner's rows */
    int64_t *needed_ids; /* [num_needed] NULL for a forest */
    tli_arena_t arena;
};

/** NULL check that every entry point begins with; names the communicator in error texts. */
tulle_status_t tli_check_comm(const tulle_comm_t *comm);

/**
 * Distinct ids in ascending order.
 * @param[out] place [n] of each id among the distinct ones; NULL if not wanted
 * @retval TULLE_ERR_ARG an id is out of [0, 2^62)
 */
tulle_status_t tli_distinct_ids(tli_arena_t *arena, const int64_t *ids, int64_t n, int64_t *place,
                                int64_t **distinct_out, int64_t *num_distinct_out);

/** Leave out of ascending distinct ids those in my own runs. Returns how many are left. */
int64_t tli_drop_own_ids(int64_t *ids, int64_t n, const tli_runs_t *own);

/** The common end of ids, CSR and grid: all ranks come here, whatever their status. */
tulle_status_t tli_pattern_from_runs(tulle_comm_t *comm, tulle_status_t local, const tli_runs_t *runs,
                                     int64_t num_owned, const int64_t *ids, int64_t n, tulle_pattern_t **pattern_out);

/** Check that no matrix row is on two ranks. A plain block layout cannot overlap; anything else is checked against the
 * other ranks. @collective all ranks come here, whatever their status */
tulle_status_t tli_pattern_check_rows(tulle_comm_t *comm, tulle_status_t local, const tulle_layout_t *rows,
                                      tli_arena_t *arena);

#endif
