/* SPDX-License-Identifier: Apache-2.0
 * Rows of f32 in the precision in which they travel: rounded while they are packed, widened while they are copied or
 * combined, in host memory. A row of bf16 or f16 is its scalars; one of fp8 its scale, then its scalars. */
#ifndef TLI_WIRE_ROWS_H
#define TLI_WIRE_ROWS_H

#include <tulle/exchange.h>

#include "src/device/pack.h"

/** [bytes] of a row of so many scalars. */
int64_t tli_wire_row_bytes(tulle_wire_precision_t precision, int64_t width);
/** [scalars] of scratch that the functions below need for rows of a width. */
int64_t tli_wire_scratch_elems(int64_t width);

/** Copy or combine rows, each side in its precision; that of both may be NONE. */
typedef struct tli_wire_copy_args {
    tli_copy_args_t rows; /* row_bytes is not looked at */
    tulle_wire_precision_t target, source;
    int64_t width;  /* [scalars] */
    float *scratch; /* [tli_wire_scratch_elems()] */
} tli_wire_copy_args_t;

/** As tli_copy_rows(). Between equal precisions rows are copied as they are. */
void tli_wire_copy_rows(const tli_wire_copy_args_t *args);
/** As tli_combine_rows(). The target's precision is NONE. */
void tli_wire_combine_rows(const tli_wire_copy_args_t *args, tulle_op_t op);

/** Combine the entries of rows, each area in its precision, in f32: only the result is rounded. */
typedef struct tli_wire_reduce_args {
    tli_reduce_args_t rows; /* of f32; keeps_target only where the target's precision is NONE */
    tulle_wire_precision_t target;
    const unsigned char *area_precision; /* by area: tulle_wire_precision_t */
    float *scratch;                      /* [tli_wire_scratch_elems()] */
} tli_wire_reduce_args_t;

/** As tli_reduce_rows(). */
void tli_wire_reduce_rows(const tli_wire_reduce_args_t *args);

#endif
