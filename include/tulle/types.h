/* SPDX-License-Identifier: Apache-2.0
 * Scalars that rows are made of, and the reductions that scatter offers. */
#ifndef TULLE_TYPES_H
#define TULLE_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/status.h>

TULLE_BEGIN_DECLS

/** Every datatype: name, frozen value, size in bytes, text. f16 and bf16 are reduced in f32 and rounded once. */
#define TULLE_DATATYPE_MAP(X)                                                                                          \
    X(F64, 1, 8, "f64")                                                                                                \
    X(F32, 2, 4, "f32")                                                                                                \
    X(F16, 3, 2, "f16")                                                                                                \
    X(BF16, 4, 2, "bf16")                                                                                              \
    X(I8, 5, 1, "i8")                                                                                                  \
    X(I32, 6, 4, "i32")                                                                                                \
    X(I64, 7, 8, "i64")                                                                                                \
    X(U8, 8, 1, "u8")                                                                                                  \
    X(C64, 9, 8, "c64")                                                                                                \
    X(C128, 10, 16, "c128")                                                                                            \
    X(BYTE, 11, 1, "byte")

/** Scalar type of a field. c64 and c128 are pairs (real, imaginary) of f32 and f64; byte can only be moved. */
typedef enum tulle_datatype {
#define TULLE_DATATYPE_ENUM(name, value, size, text) TULLE_##name = value,
    TULLE_DATATYPE_MAP(TULLE_DATATYPE_ENUM)
#undef TULLE_DATATYPE_ENUM
} tulle_datatype_t;

/** Every reduction: name, frozen value, text. */
#define TULLE_OP_MAP(X)                                                                                                \
    X(SUM, 1, "sum")                                                                                                   \
    X(MIN, 2, "min")                                                                                                   \
    X(MAX, 3, "max")                                                                                                   \
    X(PROD, 4, "prod")                                                                                                 \
    X(REPLACE, 5, "replace")

/** How scatter combines an owned row with what arrives for it. Complex types know sum, prod and replace only. Integers
 * wrap; min and max of a NaN and a number are either. */
typedef enum tulle_op {
#define TULLE_OP_ENUM(name, value, text) TULLE_OP_##name = value,
    TULLE_OP_MAP(TULLE_OP_ENUM)
#undef TULLE_OP_ENUM
} tulle_op_t;

/** Every transport: name, frozen value, text. */
#define TULLE_TRANSPORT_MAP(X)                                                                                         \
    X(AUTO, 0, "auto")                                                                                                 \
    X(SHARED_MEMORY, 1, "shared_memory")                                                                               \
    X(MPI, 2, "mpi")                                                                                                   \
    X(CUDA_IPC, 3, "cuda_ipc")                                                                                         \
    X(CUDA_STAGED, 4, "cuda_staged")                                                                                   \
    X(UCX, 5, "ucx")                                                                                                   \
    X(MPI_STAGED, 6, "mpi_staged")                                                                                     \
    X(MPI_DEVICE, 7, "mpi_device")                                                                                     \
    X(NCCL, 8, "nccl")                                                                                                 \
    X(UCX_STAGED, 9, "ucx_staged")                                                                                     \
    X(UCX_DEVICE, 10, "ucx_device")

/** How rows get from rank to rank: each pair the best way it has; read out of the sender's shared memory; in messages
 * of MPI; stored by the sender's GPU into the memory of the receiver's; or into host memory that both GPUs reach; in
 * messages of UCX. From GPU to GPU between nodes, in one message per peer and stage: of MPI, from pinned host memory;
 * of an MPI that takes device memory; of NCCL; of UCX, from pinned host memory; of a UCX that takes device memory. */
typedef enum tulle_transport {
#define TULLE_TRANSPORT_ENUM(name, value, text) TULLE_TRANSPORT_##name = value,
    TULLE_TRANSPORT_MAP(TULLE_TRANSPORT_ENUM)
#undef TULLE_TRANSPORT_ENUM
} tulle_transport_t;

/** Number of transports, AUTO counted. */
#define TULLE_NUM_TRANSPORTS 11

/**
 * Size of one scalar.
 * @param[in] datatype one of TULLE_DATATYPE_MAP
 * @return [bytes] 1 to 16; 0 for a value that is no datatype
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API size_t tulle_datatype_size(tulle_datatype_t datatype);

/**
 * Text form of a datatype, such as "bf16".
 * @param[in] datatype one of TULLE_DATATYPE_MAP
 * @return never NULL; static storage; "unknown" for a value that is no datatype
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const char *tulle_datatype_name(tulle_datatype_t datatype);

/**
 * Datatype of a text form: the inverse of tulle_datatype_name().
 * @param[in]  name         zero-terminated, such as "f32"
 * @param[out] datatype_out untouched on failure
 * @retval TULLE_ERR_ARG no datatype has this name, or a pointer is NULL
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API tulle_status_t tulle_datatype_parse(const char *name, tulle_datatype_t *datatype_out);

/**
 * Text form of a reduction, such as "sum".
 * @param[in] op one of TULLE_OP_MAP
 * @return never NULL; static storage; "unknown" for a value that is no reduction
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const char *tulle_op_name(tulle_op_t op);

/**
 * Text form of a transport, such as "cuda_ipc".
 * @param[in] transport one of TULLE_TRANSPORT_MAP
 * @return never NULL; static storage; "unknown" for a value that is no transport
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const char *tulle_transport_name(tulle_transport_t transport);

/**
 * Transport of a text form: the inverse of tulle_transport_name().
 * @param[in]  name          zero-terminated, such as "mpi"
 * @param[out] transport_out untouched on failure
 * @retval TULLE_ERR_ARG no transport has this name, or a pointer is NULL
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API tulle_status_t tulle_transport_parse(const char *name, tulle_transport_t *transport_out);

/** Every precision that rows of f32 may cross in: name, frozen value, text. */
#define TULLE_WIRE_PRECISION_MAP(X)                                                                                    \
    X(NONE, 0, "none")                                                                                                 \
    X(BF16, 1, "bf16")                                                                                                 \
    X(F16, 2, "f16")                                                                                                   \
    X(FP8, 3, "fp8")

/**
 * How rows of f32 are rounded for the wire between nodes, or on more levels. Always to nearest, ties to even. What a
 * message carries of x is off by at most the bound, where M is the largest finite magnitude in the row:
 *
 * | precision | bytes per row | bound | beyond its range | smallest step |
 * | --- | --- | --- | --- | --- |
 * | NONE | 4 width | 0: rows cross as they are | | |
 * | BF16 | 2 width | max(2^-8 abs(x), 2^-134) | from 2^128 (1 - 2^-9) on: infinity | 2^-133, as f32's range |
 * | F16 | 2 width | max(2^-11 abs(x), 2^-25) | from 65520 on: infinity | 2^-24 below 2^-14 |
 * | FP8 | width + 1 | max(2^-4 abs(x), 2^-17 M, 2^-136) | none: the row's scale follows M | below 2^-16 M, or 2^-135 |
 *
 * FP8 is e4m3 (four bits of exponent, three of fraction) times a scale of the row, a power of two in one byte. NaN
 * stays NaN and zero keeps its sign in each; infinity stays what it is in BF16 and F16 and becomes NaN in FP8, which
 * has none, whereas the finite scalars of that row keep their bound. Values that a precision holds cross unchanged; so
 * rounding again what was rounded changes nothing, and a row that crosses several times is as near as after the first.
 *
 * Gather: a ghost row is the owner's row as it is, or rounded once, if it crossed. Scatter: sums (or min, max, prod)
 * are formed in f32 before and after, and each message rounds the partial sums that it carries; every contribution
 * crosses between nodes once, alone or summed up with others of its node. So a sum is off by at most the bounds of what
 * crossed together, besides the rounding of f32 itself; and in F16 a partial sum from 65520 on is infinity. The same
 * rows give the same bits in every run of a plan.
 */
typedef enum tulle_wire_precision {
#define TULLE_WIRE_PRECISION_ENUM(name, value, text) TULLE_WIRE_PRECISION_##name = value,
    TULLE_WIRE_PRECISION_MAP(TULLE_WIRE_PRECISION_ENUM)
#undef TULLE_WIRE_PRECISION_ENUM
} tulle_wire_precision_t;

/**
 * Text form of a wire precision, such as "bf16".
 * @param[in] precision one of TULLE_WIRE_PRECISION_MAP
 * @return never NULL; static storage; "unknown" for a value that is no precision
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const char *tulle_wire_precision_name(tulle_wire_precision_t precision);

TULLE_END_DECLS

#endif
