/* SPDX-License-Identifier: Apache-2.0
 * Kernels, and nothing else: what a thread does is in *_kernel.h, how many there are in *_shape.c. */
extern "C" {
#include "src/device/activate.h"
#include "src/device/device.h"
#include "src/device/pack_device.h"
#include "src/device/product_device.h"
#include "src/device/wire_device.h"
#include "src/fault.h"
}

#include "src/device/activate_kernel.h"
#include "src/device/pack_kernel.h"
#include "src/device/product_kernel.h"
#include "src/device/wire_kernel.h"

static __device__ int64_t this_thread()
{
    return (int64_t)blockIdx.x * TLI_BLOCK_THREADS + threadIdx.x;
}

static __device__ int64_t all_threads()
{
    return (int64_t)gridDim.x * TLI_BLOCK_THREADS;
}

static __global__ void __launch_bounds__(TLI_BLOCK_THREADS) copy_rows(tli_copy_args_t args, tli_shape_t shape)
{
    tli_copy_thread(&args, &shape, this_thread(), all_threads());
}

static __global__ void __launch_bounds__(TLI_BLOCK_THREADS, 3) push_rows(tli_push_args_t args)
{
    tli_push_thread(&args, this_thread(), all_threads());
}

template <tulle_datatype_t datatype, int size, tulle_op_t op>
static __global__ void __launch_bounds__(TLI_BLOCK_THREADS) reduce_rows(tli_reduce_args_t args, tli_shape_t shape)
{
    tli_reduce_thread(&args, &shape, datatype, size, op, this_thread(), all_threads());
}

static __global__ void __launch_bounds__(TLI_BLOCK_THREADS) wire_rows(tli_wire_args_t args, int lane_bits)
{
    tli_wire_thread(&args, lane_bits, this_thread(), all_threads());
}

/* The answer of the launch itself: cudaGetLastError() could report what somebody else did before. */
static tulle_status_t launch(const void *kernel, int64_t num_blocks, void **arguments, void *stream, const char *what)
{
    cudaError_t code = cudaSuccess;
    if (num_blocks > 0)
        code = cudaLaunchKernel(kernel, dim3((unsigned)num_blocks), dim3(TLI_BLOCK_THREADS), arguments, 0,
                                (cudaStream_t)stream);
    return code == cudaSuccess ? TULLE_OK : tli_device_fail((int)code, TLI_WHERE, what);
}

extern "C" tulle_status_t tli_copy_rows_launch(const tli_copy_args_t *args, void *stream)
{
    tli_copy_args_t rows = *args;
    tli_shape_t shape = tli_copy_shape(args);
    void *arguments[] = {&rows, &shape};
    return launch((const void *)copy_rows, tli_copy_blocks(&shape, rows.num_rows), arguments, stream, "copy of rows");
}

extern "C" tulle_status_t tli_push_rows_launch(const tli_push_args_t *args, void *stream)
{
    tli_push_args_t push = *args;
    void *arguments[] = {&push};
    return launch((const void *)push_rows, push.num_blocks, arguments, stream, "push of rows");
}

extern "C" tulle_status_t tli_wire_rows_launch(const tli_wire_args_t *args, void *stream)
{
    tli_wire_args_t rows = *args;
    int lane_bits = tli_wire_lane_bits(args);
    void *arguments[] = {&rows, &lane_bits};
    return launch((const void *)wire_rows, tli_wire_blocks(args), arguments, stream, "rounding of rows");
}

/* --- reductions: a kernel for every datatype and op -------------------------------------------------------------- */

template <tulle_datatype_t datatype, int size> static const void *ordered_kernel(tulle_op_t op)
{
    if (op == TULLE_OP_MIN)
        return (const void *)reduce_rows<datatype, size, TULLE_OP_MIN>;
    return (const void *)reduce_rows<datatype, size, TULLE_OP_MAX>;
}

template <tulle_datatype_t datatype, int size> static const void *arithmetic_kernel(tulle_op_t op)
{
    if (op == TULLE_OP_SUM)
        return (const void *)reduce_rows<datatype, size, TULLE_OP_SUM>;
    return (const void *)reduce_rows<datatype, size, TULLE_OP_PROD>;
}

template <tulle_datatype_t datatype, int size> static const void *real_kernel(tulle_op_t op)
{
    if (op == TULLE_OP_MIN || op == TULLE_OP_MAX)
        return ordered_kernel<datatype, size>(op);
    return arithmetic_kernel<datatype, size>(op);
}

/* Replacing asks for the size only. */
static const void *replace_kernel(tulle_datatype_t datatype)
{
    switch (tulle_datatype_size(datatype)) {
    case 16:
        return (const void *)reduce_rows<TULLE_C128, 16, TULLE_OP_REPLACE>;
    case 8:
        return (const void *)reduce_rows<TULLE_I64, 8, TULLE_OP_REPLACE>;
    case 4:
        return (const void *)reduce_rows<TULLE_I32, 4, TULLE_OP_REPLACE>;
    case 2:
        return (const void *)reduce_rows<TULLE_F16, 2, TULLE_OP_REPLACE>;
    default:
        return (const void *)reduce_rows<TULLE_BYTE, 1, TULLE_OP_REPLACE>;
    }
}

/* The datatype knows the op. */
static const void *reduce_kernel(tulle_datatype_t datatype, tulle_op_t op)
{
    if (op == TULLE_OP_REPLACE)
        return replace_kernel(datatype);
    switch (datatype) {
    case TULLE_F64:
        return real_kernel<TULLE_F64, 8>(op);
    case TULLE_F32:
        return real_kernel<TULLE_F32, 4>(op);
    case TULLE_F16:
        return real_kernel<TULLE_F16, 2>(op);
    case TULLE_BF16:
        return real_kernel<TULLE_BF16, 2>(op);
    case TULLE_I8:
        return real_kernel<TULLE_I8, 1>(op);
    case TULLE_I32:
        return real_kernel<TULLE_I32, 4>(op);
    case TULLE_I64:
        return real_kernel<TULLE_I64, 8>(op);
    case TULLE_U8:
        return real_kernel<TULLE_U8, 1>(op);
    case TULLE_C64:
        return arithmetic_kernel<TULLE_C64, 8>(op);
    case TULLE_C128:
        return arithmetic_kernel<TULLE_C128, 16>(op);
    case TULLE_BYTE:
        break;
    }
    return NULL;
}

extern "C" tulle_status_t tli_reduce_rows_launch(const tli_reduce_args_t *args, int64_t areas_alignment, void *stream)
{
    tli_reduce_args_t rows = *args;
    tli_shape_t shape = tli_reduce_shape(args, areas_alignment);
    void *arguments[] = {&rows, &shape};
    TLI_ASSERT(tli_has_reduction(args->datatype, args->op));
    return launch(reduce_kernel(rows.datatype, rows.op), tli_reduce_blocks(&shape, rows.num_rows), arguments, stream,
                  "reduction of rows");
}

/* --- products: a kernel for every datatype and number of scalars per thread --------------------------------------- */

template <tulle_datatype_t datatype, int n>
static __global__ void __launch_bounds__(TLI_BLOCK_THREADS) multiply_rows(tli_product_args_t args)
{
    tli_product_thread(&args, datatype, n, this_thread(), all_threads());
}

template <tulle_datatype_t datatype, int n>
static __global__ void __launch_bounds__(TLI_BLOCK_THREADS) round_rows(tli_round_args_t args)
{
    tli_round_thread(&args, datatype, n, this_thread(), all_threads());
}

/* The kernel of a datatype that takes 16 bytes or one scalar at a time. */
#define DEFINE_KERNEL_OF(name, kernel)                                                                                 \
    static const void *name(tulle_datatype_t datatype, int n)                                                          \
    {                                                                                                                  \
        switch (datatype) {                                                                                            \
        case TULLE_F64:                                                                                                \
            return n > 1 ? (const void *)kernel<TULLE_F64, 2> : (const void *)kernel<TULLE_F64, 1>;                    \
        case TULLE_F16:                                                                                                \
            return n > 1 ? (const void *)kernel<TULLE_F16, 8> : (const void *)kernel<TULLE_F16, 1>;                    \
        case TULLE_BF16:                                                                                               \
            return n > 1 ? (const void *)kernel<TULLE_BF16, 8> : (const void *)kernel<TULLE_BF16, 1>;                  \
        default:                                                                                                       \
            return n > 1 ? (const void *)kernel<TULLE_F32, 4> : (const void *)kernel<TULLE_F32, 1>;                    \
        }                                                                                                              \
    }

DEFINE_KERNEL_OF(product_kernel, multiply_rows)

static const void *round_kernel(tulle_datatype_t datatype, int n)
{
    if (datatype == TULLE_BF16)
        return n > 1 ? (const void *)round_rows<TULLE_BF16, 8> : (const void *)round_rows<TULLE_BF16, 1>;
    return n > 1 ? (const void *)round_rows<TULLE_F16, 8> : (const void *)round_rows<TULLE_F16, 1>;
}

extern "C" tulle_status_t tli_product_launch(const tli_product_args_t *args, void *stream)
{
    tli_product_args_t product = *args;
    int n = tli_product_scalars(args);
    void *arguments[] = {&product};
    return launch(product_kernel(args->datatype, n), tli_product_blocks(args->block.num_rows, args->width, n),
                  arguments, stream, "product");
}

extern "C" tulle_status_t tli_round_rows_launch(const tli_round_args_t *args, void *stream)
{
    tli_round_args_t rows = *args;
    int n = tli_round_scalars(args);
    void *arguments[] = {&rows};
    return launch(round_kernel(args->datatype, n), tli_product_blocks(args->num_rows, args->width, n), arguments,
                  stream, "rounding of sums");
}

/* --- sums over rows: lanes of a warp share a row ------------------------------------------------------------------ */

/* Of the 2^lane_bits neighbouring threads that share a row; each gets the same. */
static __device__ double sum_of_lanes(double share, int lane_bits)
{
    unsigned num_lanes = 1u << lane_bits, first = threadIdx.x % TLI_WARP_THREADS & ~(num_lanes - 1);
    unsigned mask = (lane_bits == TLI_WARP_BITS ? ~0u : (1u << num_lanes) - 1) << first;
    for (unsigned distance = num_lanes / 2; distance > 0; distance /= 2)
        share += __shfl_xor_sync(mask, share, distance);
    return share;
}

template <tulle_datatype_t datatype, int n>
static __global__ void __launch_bounds__(TLI_BLOCK_THREADS) sample_nonzeros(tli_sampled_args_t args, int lane_bits)
{
    int64_t num_lanes = (int64_t)1 << lane_bits, lane = this_thread() & (num_lanes - 1);
    for (int64_t e = this_thread() >> lane_bits; e < args.num_nonzeros; e += all_threads() >> lane_bits) {
        double sum = sum_of_lanes(tli_sampled_lane(&args, datatype, n, e, lane, num_lanes), lane_bits);
        if (lane == 0)
            tli_sampled_store(&args, datatype, e, sum);
    }
}

template <tulle_datatype_t datatype, int n>
static __global__ void __launch_bounds__(TLI_BLOCK_THREADS) activate_back(tli_activate_back_args_t args, int lane_bits)
{
    int64_t num_lanes = (int64_t)1 << lane_bits, lane = this_thread() & (num_lanes - 1);
    for (int64_t row = this_thread() >> lane_bits; row < args.forward.num_rows; row += all_threads() >> lane_bits) {
        double sum = sum_of_lanes(tli_activate_back_lane(&args, datatype, n, row, lane, num_lanes), lane_bits);
        if (lane == 0 && args.dbias != NULL)
            tli_store_sum(datatype, args.dbias, row, sum);
    }
}

template <tulle_datatype_t datatype, int n>
static __global__ void __launch_bounds__(TLI_BLOCK_THREADS) activate_rows(tli_activate_args_t args)
{
    tli_activate_thread(&args, datatype, n, this_thread(), all_threads());
}

DEFINE_KERNEL_OF(sampled_kernel, sample_nonzeros)
DEFINE_KERNEL_OF(activate_kernel, activate_rows)
DEFINE_KERNEL_OF(activate_back_kernel, activate_back)

/* Blocks for so many rows, each shared by lanes. */
static int64_t summing_blocks(int64_t num_rows, int lane_bits)
{
    return tli_product_blocks(num_rows, (int64_t)1 << lane_bits, 1);
}

extern "C" tulle_status_t tli_sampled_launch(const tli_sampled_args_t *args, void *stream)
{
    tli_sampled_args_t sampled = *args;
    int n = tli_sampled_scalars(args), lane_bits = tli_sum_lane_bits(args->width, n);
    void *arguments[] = {&sampled, &lane_bits};
    return launch(sampled_kernel(args->datatype, n), summing_blocks(args->num_nonzeros, lane_bits), arguments, stream,
                  "inner products");
}

extern "C" tulle_status_t tli_activate_launch(const tli_activate_args_t *args, void *stream)
{
    tli_activate_args_t rows = *args;
    int n = tli_activate_scalars(args);
    void *arguments[] = {&rows};
    return launch(activate_kernel(args->datatype, n), tli_product_blocks(args->num_rows, args->width, n), arguments,
                  stream, "activation");
}

extern "C" tulle_status_t tli_activate_back_launch(const tli_activate_back_args_t *args, void *stream)
{
    const tli_activate_args_t *forward = &args->forward;
    tli_activate_back_args_t rows = *args;
    int n = tli_activate_back_scalars(args), lane_bits = tli_sum_lane_bits(forward->width, n);
    void *arguments[] = {&rows, &lane_bits};
    return launch(activate_back_kernel(forward->datatype, n), summing_blocks(forward->num_rows, lane_bits), arguments,
                  stream, "gradients of an activation");
}
