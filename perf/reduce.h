/* SPDX-License-Identifier: Apache-2.0
 * Reductions of the tool itself: what the peers of the library reduce with, and never the library's own code. */
#ifndef PERF_REDUCE_H
#define PERF_REDUCE_H

#include <stdint.h>

#include <tulle/types.h>

/**
 * into = op(into, from), scalar by scalar: how the peers of the library reduce. f16 and bf16 go through f32.
 * @param[in] op known to the type: see perf_reduce_knows()
 */
void perf_reduce(tulle_datatype_t datatype, tulle_op_t op, const void *from, void *into, int64_t num_scalars);

/** Whether scatter knows this reduction for this datatype. */
int perf_reduce_knows(tulle_datatype_t datatype, tulle_op_t op);

/** Fill parts with the value that changes nothing when reduced; not for replace. */
void perf_reduce_fill_identity(tulle_datatype_t datatype, tulle_op_t op, void *scalars, int64_t num_scalars);

#endif
