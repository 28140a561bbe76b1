/* SPDX-License-Identifier: Apache-2.0
 * What wire_rows.h does, as a kernel on a CUDA stream: pack.cu, or device_none.c in a build without CUDA. */
#ifndef TLI_WIRE_DEVICE_H
#define TLI_WIRE_DEVICE_H

#include "src/device/pack_device.h"
#include "src/device/wire_rows.h"

/** One of both. No scratch is needed. */
typedef struct tli_wire_args {
    int is_reduction;
    tli_wire_copy_args_t copy;
    tli_wire_reduce_args_t reduction; /* areas and their precisions in memory that the GPU reaches */
} tli_wire_args_t;

/** Threads to a row, as a power of two: as many as it has scalars, or a warp. Pure, as the number of blocks. */
int tli_wire_lane_bits(const tli_wire_args_t *args);
int64_t tli_wire_blocks(const tli_wire_args_t *args);

/** Not for copies between equal precisions, which are tli_push_rows_launch()'s. Bitwise what tli_wire_copy_rows() or
 * tli_wire_reduce_rows() gives, but for the payload of NaN. @param[in] stream cudaStream_t */
tulle_status_t tli_wire_rows_launch(const tli_wire_args_t *args, void *stream);

#endif
