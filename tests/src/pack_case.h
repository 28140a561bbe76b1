/* SPDX-License-Identifier: Apache-2.0
 * Copies and reductions with all that their arguments point to, in one block of memory that can be at home elsewhere:
 * the same case built for the host and for a GPU differs in addresses only. */
#ifndef TEST_SRC_PACK_CASE_H
#define TEST_SRC_PACK_CASE_H

#include "src/device/pack_device.h"
#include "tests/support/world.h"

#define PACK_CASE_BYTES ((size_t)2 << 20) /* of the block */
#define PACK_CASE_PEERS 5

typedef struct pack_case {
    uint64_t seed;
    tulle_datatype_t datatype;
    tulle_op_t op;
    int64_t width, gap;           /* [scalars] */
    int64_t num_rows;             /* of the launch; twice as many are in each buffer */
    int64_t misalignment;         /* [bytes] of every buffer */
    int is_indexed, keeps_target; /* is_indexed: bit 0 targets, bit 1 sources */
} pack_case_t;

/** One such block: written at image, at home at base; both 256-byte aligned. */
typedef struct pack_block {
    unsigned char *image, *base;
    size_t used_bytes;
} pack_block_t;

/** Rows that a case writes, in the image. */
typedef struct pack_written {
    unsigned char *begin;
    size_t bytes;
} pack_written_t;

/** @param[out] args point into the home of the block @return all target rows and the gaps between them */
pack_written_t pack_case_copy(const pack_case_t *c, pack_block_t *block, tli_copy_args_t *args);
/** @param[out] alignment of the areas, as tli_reduce_rows_launch() wants it */
pack_written_t pack_case_reduce(const pack_case_t *c, pack_block_t *block, tli_reduce_args_t *args,
                                int64_t *alignment_out);
/** Copies to PACK_CASE_PEERS peers, of different widths and numbers of rows, one of none. @param[out] segments in the
 * image; args point to them at home @param[out] written [PACK_CASE_PEERS] */
void pack_case_push(const pack_case_t *c, pack_block_t *block, tli_push_segment_t **segments, tli_push_args_t *args,
                    pack_written_t *written);

/** Datatypes and ops that exist. */
extern const tulle_datatype_t pack_datatypes[11];
extern const tulle_op_t pack_ops[5];

#endif
