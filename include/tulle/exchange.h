/* SPDX-License-Identifier: Apache-2.0
 * The exchange: a plan bound to buffers. Start, test, wait, start again: a persistent request. */
#ifndef TULLE_EXCHANGE_H
#define TULLE_EXCHANGE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <tulle/plan.h>
#include <tulle/types.h>

TULLE_BEGIN_DECLS

/** A bound, persistent exchange. Opaque. */
typedef struct tulle_exchange tulle_exchange_t;

/** Direction of an exchange. */
typedef enum tulle_direction {
    TULLE_GATHER = 0, /**< owners -> ghosts */
    TULLE_SCATTER = 1 /**< ghosts -> owners with a reduction: gather's exact adjoint when the op is sum */
} tulle_direction_t;

/** One array distributed by rows. Several fields of different types and widths travel in the same messages. */
typedef struct tulle_field {
    void *owned;               /**< [num_owned rows] read by gather, read and written by scatter */
    void *ghost;               /**< [num_ghosts rows] written by gather, read by scatter; must not overlap owned */
    tulle_datatype_t datatype; /**< equal on every rank */
    int64_t width;             /**< [scalars] per row, >= 1; equal on every rank */
    int64_t owned_stride;      /**< [scalars] from row to row, >= width; 0 = width */
    int64_t ghost_stride;      /**< [scalars] from row to row, >= width; 0 = width */
} tulle_field_t;

/** For tulle_exchange_options_t::chunk_bytes: whole messages, whatever the environment says. */
#define TULLE_CHUNK_NEVER SIZE_MAX
/** For tulle_exchange_options_t::chunk_bytes: chunks that take 8 times the latency between nodes by the topology's
 * links, 64 KiB at least, and whole messages where there is one node. */
#define TULLE_CHUNK_AUTOMATIC (SIZE_MAX - 1)

/** Tunables of tulle_exchange_create(). Zero always means "library default". Append fields, never reorder. */
typedef struct tulle_exchange_options {
    size_t struct_size; /**< [bytes] set by the initializer */
    tulle_op_t op;      /**< reduction of scatter, equal on every rank; default sum; ignored by gather */
    int64_t timeout_ms; /**< [ms] longest wait; 0 = the communicator's; on GPUs as tulle_exchange_test() says */
    tulle_transport_t transport; /**< the only one to use, equal on every rank; default AUTO: shared memory where there
                                      is, and what the communicator chose (tulle_comm_options.transport) elsewhere */
    tulle_wire_precision_t wire_precision; /**< of rows that cross the levels below in messages; all fields must be f32;
                                                equal on every rank; default NONE */
    int32_t wire_levels; /**< [count] outermost levels that it is for: 1 between nodes, 2 also between the outermost
                              domains in a node, ...; equal on every rank; 0 = 1. What is read out of shared memory
                              is never rounded */
    size_t chunk_bytes;  /**< [bytes] longer messages travel in chunks of about so much, so that rows are packed, passed
                              on and read inside a node while others are on the wire; the same on every rank; results
                              are bitwise the same. TULLE_CHUNK_AUTOMATIC; TULLE_CHUNK_NEVER; 0 = as TULLE_CHUNK_BYTES
                              says: bytes, 0 for never, "auto" or unset for TULLE_CHUNK_AUTOMATIC. Not on GPUs */
} tulle_exchange_options_t;

/* clang-format off */
/** Defaults for every field. */
#define TULLE_EXCHANGE_OPTIONS_INIT                                                                                    \
    {sizeof(tulle_exchange_options_t), TULLE_OP_SUM, 0, TULLE_TRANSPORT_AUTO, TULLE_WIRE_PRECISION_NONE, 0, 0}
/* clang-format on */

/**
 * Bind a plan to buffers. Everything that the exchange will ever allocate is allocated here.
 *
 * When a buffer of any rank is in device or managed memory, the GPUs move the rows: all buffers must then be in device,
 * managed or pinned memory, those of one rank on one device. Otherwise the host does. Rows in pinned memory are read
 * and written by the GPU where they lie: feature tables may be larger than its memory.
 *
 * Between GPUs of different nodes all rows that one rank has for another after a stage of the plan are one message, of
 * MPI_STAGED, MPI_DEVICE, UCX_STAGED, UCX_DEVICE or NCCL. Named in the options, such a transport takes what crosses
 * nodes, declared ones too, while rows inside a node go the best way there is. With AUTO the environment's
 * TULLE_TRANSPORT decides, if it names a transport of GPUs; otherwise those that are there are measured with the first
 * exchange of a communicator that needs one, between nodes and for a small and a large message, and the fastest for
 * this exchange is taken. Declared nodes on one machine count as machines when the environment's TULLE_SEPARATE_NODES
 * is 1. One communicator of NCCL is made with the first exchange that uses it; then NCCL_PXN_DISABLE is set to 1 unless
 * it is set.
 * @collective all ranks of the plan's communicator, same order of creations; blocks
 * @param[in]  plan         borrowed; kept alive by the exchange
 * @param[in]  direction    equal on every rank
 * @param[in]  fields       [num_fields] copied; the buffers they name stay the caller's
 * @param[in]  num_fields   [count] >= 1, equal on every rank
 * @param[in]  options      borrowed for the call; NULL = defaults
 * @param[out] exchange_out owned by the caller, free with tulle_exchange_destroy(); untouched on failure
 * @retval TULLE_ERR_ARG a null pointer, a width below 1, a stride below the width, overlapping buffers; plain host
 *         memory where other rows are on GPUs; a transport that does not move rows of such memory; an unknown wire
 * precision; more wire levels than the topology has
 * @retval TULLE_ERR_MISMATCH ranks disagree about direction, op, transport, wire precision or levels, number of fields,
 *         datatype or width
 * @retval TULLE_ERR_UNSUPPORTED an op that the datatype does not know; a peer that the transport does not reach; a
 *         transport that this build or machine lacks; a wire precision for other rows than f32; TULLE_ERR_OVERFLOW
 * sizes beyond 2^62 bytes
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 * @retval TULLE_ERR_TIMEOUT some rank does not make the call within the communicator's time limit; from then on all
 * such calls on this communicator fail so
 * @threads one thread per comm at a time   @cost staging memory for the rows of this rank's messages
 */
TULLE_API tulle_status_t tulle_exchange_create(const tulle_plan_t *plan, tulle_direction_t direction,
                                               const tulle_field_t *fields, int num_fields,
                                               const tulle_exchange_options_t *options,
                                               tulle_exchange_t **exchange_out);

/**
 * Begin one exchange. Until tulle_exchange_wait() returns, gather's owned rows must not change and its ghost rows must
 * not be touched; scatter's ghost rows must not change and its owned rows must not be touched. Several exchanges may be
 * in flight, started and waited for in any order, different from rank to rank; two of them must not write the same
 * rows. While one is in flight, collective calls on its communicator (create, destroy, stats) must come in the same
 * place between its start and wait on every rank.
 *
 * Rows on GPUs: all of it happens on the devices, after what is on the stream already, beside what is put there until
 * tulle_exchange_wait(), and before what is put there after that; buffers are live in that order. The next start may
 * follow at once. Start and wait may be captured into a CUDA graph, both in the same one, and the graph be launched any
 * number of times, as often on every rank. Launches and other starts of one exchange must be ordered by the caller.
 *
 * Between nodes all of these but NCCL need the host: their messages move in test and wait of any exchange of the
 * communicator, and such exchanges cannot be captured. With NCCL, exchanges of a communicator must be started in the
 * same order on every rank.
 * @collective every rank must start it; does not block
 * @param[in,out] exchange not in flight
 * @param[in]     stream   CUDA stream (cudaStream_t) to order after, NULL the default one; NULL on host memory
 * @retval TULLE_ERR_ARG NULL; TULLE_ERR_STATE already started; TULLE_ERR_UNSUPPORTED a stream, but the rows are in host
 *         memory; a driver or transport that cannot capture this; TULLE_ERR_TRANSPORT
 * @threads one thread per comm at a time   @cost packing of this rank's rows, on GPUs a few launches; no allocation, no
 *          lock
 */
TULLE_API tulle_status_t tulle_exchange_start(tulle_exchange_t *exchange, void *stream);

/**
 * Make progress and ask whether the exchange is complete on this rank. On GPUs: whether the device is done with it.
 *
 * A time limit on GPUs is seen where the host comes by: here, at the next start, and when the exchange is destroyed;
 * wait does not block, so who wants to learn of a rank that does not come calls test until it is done. The time runs
 * from when the stream got to the last start. When it is over, streams that wait for the exchange run out, with rows
 * that are none, and partners get TULLE_ERR_REMOTE from their next call. Captured rounds have no limit.
 * @collective no   @threads one thread per comm at a time   @cost one pass over what is outstanding
 * @param[in,out] exchange started
 * @retval TULLE_OK complete: buffers are the caller's again; TULLE_IN_PROGRESS ask again
 * @retval TULLE_ERR_ARG NULL; TULLE_ERR_STATE not started; TULLE_ERR_UNSUPPORTED its stream is being captured;
 *         TULLE_ERR_TRANSPORT; on GPUs TULLE_ERR_TIMEOUT, which names a rank and its level, and TULLE_ERR_REMOTE a
 *         partner has given up: the exchange can only be destroyed
 */
TULLE_API tulle_status_t tulle_exchange_test(tulle_exchange_t *exchange);

/**
 * Wait until the exchange is complete on this rank. Yields the processor when nothing arrives. Where other ranks read
 * this one's rows from tulle_alloc() in place, that includes that they have read them. On GPUs the host does not wait:
 * what is put on the stream of the start from now on does, and sees the rows. But where MPI or UCX carries rows between
 * nodes, the host moves them here, and returns once the device is done with the exchange.
 * @collective every rank must reach test or wait for the others to finish   @threads one thread per comm at a time
 * @cost as long as the slowest neighbour; no allocation, no lock
 * @param[in,out] exchange started
 * @retval TULLE_OK complete: buffers are the caller's again
 * @retval TULLE_ERR_ARG NULL; TULLE_ERR_STATE not started; TULLE_ERR_TRANSPORT
 * @retval TULLE_ERR_TIMEOUT the detail says which rank is waited for at which level; the exchange can only be destroyed
 */
TULLE_API tulle_status_t tulle_exchange_wait(tulle_exchange_t *exchange);

/** What travels over one transport in one exchange. */
typedef struct tulle_transport_stats {
    int64_t messages; /**< [messages] of the plan, whole ones */
    int64_t rows;     /**< [rows] */
    int64_t bytes;    /**< [bytes] of all fields, in the precision in which they travel */
} tulle_transport_stats_t;

/** How an exchange moves its rows, summed over all ranks. */
typedef struct tulle_exchange_stats {
    size_t struct_size; /**< [bytes] set by the caller before the call */
    int32_t on_device;  /**< [bool] the GPUs move the rows */
    int32_t num_stages; /**< [count] on GPUs: kernels that follow each other on the rank with most; else 0 */
    int32_t in_place;   /**< [ranks] whose ghost rows are received into without a copy */
    tulle_transport_stats_t transports[TULLE_NUM_TRANSPORTS]; /**< by tulle_transport_t; none travel by AUTO */
    int64_t num_chunks; /**< [count] in which all these messages travel; their number if none is cut */
} tulle_exchange_stats_t;

/**
 * Count what travels how.
 * @collective all ranks of the exchange; blocks
 * @param[in]     exchange borrowed
 * @param[in,out] stats    struct_size set by the caller; equal on every rank afterwards
 * @retval TULLE_ERR_ARG a null pointer or struct_size unset; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE
 * @threads one thread per comm at a time   @cost O(messages) and two reductions
 */
TULLE_API tulle_status_t tulle_exchange_get_stats(const tulle_exchange_t *exchange, tulle_exchange_stats_t *stats);

/**
 * Say how an exchange moves its rows, and why not straight between GPUs where it does not; between nodes also what was
 * measured of each transport, if that decided.
 * @collective all ranks of the exchange; blocks
 * @param[in] exchange borrowed
 * @param[in] out      stream; used on rank 0 only, ignored elsewhere
 * @retval TULLE_ERR_ARG a null pointer; TULLE_ERR_FILE the stream refused; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE
 * @threads one thread per comm at a time   @cost as tulle_exchange_get_stats()
 */
TULLE_API tulle_status_t tulle_exchange_explain(const tulle_exchange_t *exchange, FILE *out);

/**
 * Free an exchange and set *exchange to NULL.
 * @param[in,out] exchange not in flight, on GPUs neither in a graph that is still launched; NULL and pointer to NULL
 * are fine; on GPUs the host waits for the last round, for no longer than the time limit, if there is one
 * @collective all ranks, same order; before MPI_Finalize. After a failed exchange it does not wait for ranks that may
 * be gone, nor do destroying the plan and the communicator   @threads one thread per comm at a time
 */
TULLE_API void tulle_exchange_destroy(tulle_exchange_t **exchange);

/**
 * Destroyed exchanges whose memory this process still keeps. An exchange that failed, say because a rank is gone, may
 * have messages under way that MPI or UCX go on reading. Then its memory, and its communicator, stay until that is
 * over, or the process ends; each later creation or destruction of an exchange on the communicator looks whether it is.
 * While the count is not 0, the rows that a failed exchange was to send must stay where they are, too: scatter sends
 * ghost rows in plan order from where the caller has them.
 * @return [count]
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API int64_t tulle_exchange_num_abandoned(void);

/**
 * Gather once: bind, start and wait. The binding is kept in the plan and reused by later calls with the same datatype
 * and width, whatever the buffers. Rows on GPUs: as an exchange, but the host waits for other ranks' calls; not in a
 * capture.
 * @collective all ranks of the plan's communicator, with equal datatype and width; blocks
 * @param[in]  plan     borrowed
 * @param[in]  owned    [num_owned x width] borrowed
 * @param[out] ghost    [num_ghosts x width] borrowed
 * @param[in]  datatype of the scalars
 * @param[in]  width    [scalars] per row
 * @param[in]  stream   as in tulle_exchange_start()
 * @return as tulle_exchange_create(), tulle_exchange_start() and tulle_exchange_wait(); TULLE_ERR_TIMEOUT also when
 * some rank does not make the call within the communicator's time limit; creating the binding has none
 * @threads one thread per comm at a time   @cost as an exchange and one small reduction; the first call of a kind also
 * creates it
 */
TULLE_API tulle_status_t tulle_gather(tulle_plan_t *plan, const void *owned, void *ghost, tulle_datatype_t datatype,
                                      int64_t width, void *stream);

/**
 * Scatter once: owned row = op(owned row, every ghost row that stands for it), bitwise the same from run to run.
 * @collective all ranks of the plan's communicator, with equal datatype, width and op; blocks
 * @param[in]     plan     borrowed
 * @param[in]     ghost    [num_ghosts x width] borrowed
 * @param[in,out] owned    [num_owned x width] borrowed
 * @param[in]     datatype of the scalars
 * @param[in]     width    [scalars] per row
 * @param[in]     op       reduction; with replace, the last contribution in the plan's order stays
 * @param[in]     stream   as in tulle_exchange_start()
 * @return as tulle_exchange_create(), tulle_exchange_start() and tulle_exchange_wait(); TULLE_ERR_TIMEOUT also when
 * some rank does not make the call within the communicator's time limit; creating the binding has none
 * @threads one thread per comm at a time   @cost as an exchange and one small reduction; the first call of a kind also
 * creates it
 */
TULLE_API tulle_status_t tulle_scatter(tulle_plan_t *plan, const void *ghost, void *owned, tulle_datatype_t datatype,
                                       int64_t width, tulle_op_t op, void *stream);

/**
 * tulle_gather() with options: a transport, a wire precision, chunks, a time limit. Bindings are kept per datatype,
 * width and options; the time limit is each call's own.
 * @collective all ranks of the plan's communicator, with equal datatype, width and options; blocks
 * @param[in]  plan     borrowed
 * @param[in]  owned    [num_owned x width] borrowed
 * @param[out] ghost    [num_ghosts x width] borrowed
 * @param[in]  datatype of the scalars
 * @param[in]  width    [scalars] per row
 * @param[in]  options  borrowed for the call; NULL = defaults
 * @param[in]  stream   as in tulle_exchange_start()
 * @return as tulle_gather()
 * @threads one thread per comm at a time   @cost as tulle_gather()
 */
TULLE_API tulle_status_t tulle_gather_with(tulle_plan_t *plan, const void *owned, void *ghost,
                                           tulle_datatype_t datatype, int64_t width,
                                           const tulle_exchange_options_t *options, void *stream);

/**
 * tulle_scatter() with options: its reduction is theirs, too.
 * @collective all ranks of the plan's communicator, with equal datatype, width and options; blocks
 * @param[in]     plan     borrowed
 * @param[in]     ghost    [num_ghosts x width] borrowed
 * @param[in,out] owned    [num_owned x width] borrowed
 * @param[in]     datatype of the scalars
 * @param[in]     width    [scalars] per row
 * @param[in]     options  borrowed for the call; NULL = defaults
 * @param[in]     stream   as in tulle_exchange_start()
 * @return as tulle_scatter()
 * @threads one thread per comm at a time   @cost as tulle_scatter()
 */
TULLE_API tulle_status_t tulle_scatter_with(tulle_plan_t *plan, const void *ghost, void *owned,
                                            tulle_datatype_t datatype, int64_t width,
                                            const tulle_exchange_options_t *options, void *stream);

TULLE_END_DECLS

#endif
