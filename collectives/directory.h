/* SPDX-License-Identifier: Apache-2.0
 * Who owns which global id: a directory spread over all ranks by blocks of the id range, filled and asked through
 * sparse exchanges. No rank holds more than its share, its own rows and its own questions. */
#ifndef TLI_DIRECTORY_H
#define TLI_DIRECTORY_H

#include <tulle/pattern.h>

#include "src/comm.h"

/** Rows as runs: ids first..first+count-1 are local rows row..row+count-1. Three words each, ascending by first. */
typedef struct tli_runs {
    int64_t num;
    int64_t *words; /* [num * 3] first, count, row */
} tli_runs_t;

/** Largest global id that a layout may name, plus one. */
#define TLI_MAX_ID ((int64_t)1 << 62)

/**
 * Turn a layout into runs; resolves TULLE_LAYOUT_FOLLOW.
 * @param[in] comm   all ranks must call, whatever their status
 * @param[in] local  status so far
 * @param[in] what   the layout in error texts, such as "owned rows"
 * @retval TULLE_ERR_ARG a null pointer, a negative count or id, an id listed twice
 */
tulle_status_t tli_layout_to_runs(tulle_comm_t *comm, tulle_status_t local, const tulle_layout_t *layout,
                                  const char *what, tli_arena_t *arena, tli_runs_t *runs_out);

/**
 * Check that no id is owned twice and find the owners of the ids asked for.
 * @param[in]  comm   all ranks must call, whatever their status
 * @param[in]  local  status so far
 * @param[in]  runs   my rows
 * @param[in]  ids    [num_ids] distinct, ascending
 * @param[out] owners [num_ids * 2] owner's rank, row there
 * @param[in]  what   the rows in error texts
 * @retval TULLE_ERR_ARG an id owned twice (both ranks named) or by nobody
 * @cost O(runs + ids) and messages to the directory ranks that hold them
 */
tulle_status_t tli_directory_find(tulle_comm_t *comm, tulle_status_t local, const tli_runs_t *runs, const int64_t *ids,
                                  int64_t num_ids, const char *what, int64_t *owners);

#endif
