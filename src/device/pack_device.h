/* SPDX-License-Identifier: Apache-2.0
 * What pack.h does, as kernels on a CUDA stream: pack.cu, or device_none.c in a build without CUDA. All rows and lists
 * lie in memory that the GPU reaches; the argument structs themselves are read before a launch returns.
 *
 * How the work is cut is decided here, on the host, by pure functions: pack_shape.c. */
#ifndef TLI_PACK_DEVICE_H
#define TLI_PACK_DEVICE_H

#include "src/device/pack.h"

#define TLI_BLOCK_THREADS 256
#define TLI_WARP_THREADS  32
#define TLI_WARP_BITS     5
#define TLI_DEPTH         4 /* [units] that a thread of a copy reads before it writes the first */
#define TLI_LINE_BYTES    128

/** How rows are cut. 2^lane_bits neighbouring threads share a row: as many as it has items, or a warp; a wider row is
 * cut into pieces, each for a warp. */
typedef struct tli_shape {
    int32_t unit_bytes; /* one access: 16, 8, 4, 2 or 1 */
    int32_t line_bytes; /* copies of wide rows: each access of a warp but a row's first begins at a multiple of this in
                         * the source, so that none asks twice for a line of memory, across PCIe least of all; 0: any */
    int32_t lane_bits;  /* 0 to TLI_WARP_BITS */
    int64_t num_items;  /* per row; copies: units; reductions: what one thread combines, 16 bytes or a scalar */
    int64_t num_pieces; /* per row; of TLI_WARP_THREADS items, in copies TLI_DEPTH times as many */
} tli_shape_t;

tli_shape_t tli_copy_shape(const tli_copy_args_t *args);
/** @param[in] areas_alignment [bytes] power of two, from tli_areas_alignment() */
tli_shape_t tli_reduce_shape(const tli_reduce_args_t *args, int64_t areas_alignment);
/** Largest power of two, 16 at most, that divides every base and stride. @param[in] areas in host memory */
int64_t tli_areas_alignment(const tli_rows_t *areas, int64_t num_areas);

/** Blocks of TLI_BLOCK_THREADS; 0 when there is nothing to do. Any number of whole warps is correct. */
int64_t tli_copy_blocks(const tli_shape_t *shape, int64_t num_rows);
int64_t tli_reduce_blocks(const tli_shape_t *shape, int64_t num_rows);

/** One peer's part of a push: gathered here, stored there. */
typedef struct tli_push_segment {
    tli_copy_args_t rows;
    tli_shape_t shape;
} tli_push_segment_t;

/** Several copies in one launch, to different peers. Warps take the segments in turn, so that all links are busy from
 * the beginning. */
typedef struct tli_push_args {
    const tli_push_segment_t *segments; /* [num_segments] in device memory */
    int64_t num_segments;
    int64_t num_blocks;
} tli_push_args_t;

/** Fill in the shapes of @p segments, which are in host memory and not yet uploaded.
 * @return arguments without the address of the uploaded segments */
tli_push_args_t tli_push_prepare(tli_push_segment_t *segments, int64_t num_segments);

/** All three return when the kernel is on the stream; nothing is launched for nothing to do. @param[in] stream
 * cudaStream_t */
tulle_status_t tli_copy_rows_launch(const tli_copy_args_t *args, void *stream);
tulle_status_t tli_push_rows_launch(const tli_push_args_t *args, void *stream);
/** Bitwise what tli_reduce_rows() gives, but for the payload of NaN. */
tulle_status_t tli_reduce_rows_launch(const tli_reduce_args_t *args, int64_t areas_alignment, void *stream);

#endif
