/* SPDX-License-Identifier: Apache-2.0
 * The oracle: which values rows start with, and which they must have after an exchange. Every value is a function of
 * the row's global id, the position in the row and, for contributions, the rank; all are integers that stay exact in
 * every datatype and in every order of reduction, so that one wrong scalar is seen. */
#ifndef PERF_VALUES_H
#define PERF_VALUES_H

#include <stdint.h>

#include <tulle/exchange.h>

#include "src/arena.h"

/** What values depend on. */
typedef struct perf_values {
    tulle_direction_t direction;
    tulle_datatype_t datatype;
    tulle_op_t op;     /* of scatter */
    int64_t width;     /* [scalars] per row */
    int num_ranks;     /* contributions to one row are at most as many */
    int64_t num_parts; /* [parts] per row: width, doubled for complex types */
    int64_t bound;     /* drawn integers lie in [-bound, bound), or [0, bound) in an unsigned type */
    int64_t *drawn;    /* [num_parts] scratch */
    int64_t *reduced;  /* [num_parts] scratch */
} perf_values_t;

/**
 * @param[in]  arena      holds the scratch rows; must outlive the values
 * @param[out] values_out caller storage, nothing to release
 * @retval TULLE_ERR_UNSUPPORTED the op is unknown to the datatype, or so many ranks that a sum would not be exact
 * @retval TULLE_ERR_NOMEM
 */
tulle_status_t perf_values_init(tulle_direction_t direction, tulle_datatype_t datatype, tulle_op_t op, int64_t width,
                                int num_ranks, tli_arena_t *arena, perf_values_t *values_out);

/** Draw values so small that none is larger, nor a sum over all ranks and the owner in a scatter. @param[in] most a
 * power of two */
void perf_values_keep_within(perf_values_t *values, int64_t most);

/** Row @p id as its owner holds it before the exchange. @param[out] row [width] scalars */
void perf_values_owned(const perf_values_t *values, int64_t id, void *row);

/** What @p rank contributes to row @p id in a scatter. @param[out] row [width] scalars */
void perf_values_ghost(const perf_values_t *values, int64_t id, int rank, void *row);

/**
 * Row @p id as its owner must hold it after a scatter.
 * @param[in]  ranks     [num_ranks] that contribute; none leaves the row as it was
 * @param[out] row       [width] scalars
 */
void perf_values_reduced(const perf_values_t *values, int64_t id, const int *ranks, int64_t num_ranks, void *row);

/** Sum of the magnitudes that ranks contribute to row @p id. @param[out] row [num_parts] */
void perf_values_magnitude(const perf_values_t *values, int64_t id, const int *ranks, int64_t num_ranks, double *row);

#endif
