/* SPDX-License-Identifier: Apache-2.0
 * The communicator: ranks, the topology they form, the transports between them. Made by tulle/mpi.h. */
#ifndef TULLE_COMM_H
#define TULLE_COMM_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/topology.h>
#include <tulle/types.h>

TULLE_BEGIN_DECLS

/** Ranks that exchange rows. Opaque; plans and exchanges made from it keep what they need of it alive. */
typedef struct tulle_comm tulle_comm_t;

/** Tunables of tulle_comm_create(). Zero always means "library default". Append fields, never reorder. */
typedef struct tulle_comm_options {
    size_t struct_size;               /**< [bytes] set by the initializer */
    const char *topology_text;        /**< text form; NULL = environment TULLE_TOPOLOGY, else discover */
    const tulle_topology_t *topology; /**< copied; overrides topology_text; NULL = none given */
    int64_t timeout_ms;               /**< [ms] longest wait; 0 = TULLE_TIMEOUT_MS or for ever */
    int32_t disable_shared_memory;    /**< [bool] 1 = MPI point-to-point inside a node too */
    int64_t num_kept_plans; /**< [count] plans kept for the same pattern and options to be planned again, also after
                                 tulle_plan_destroy(); the one not asked for longest goes first; 0 = none, at most 64 */
    tulle_transport_t transport; /**< MPI or UCX: what carries rows between ranks that share no memory; equal on every
                                      rank; AUTO = TULLE_TRANSPORT, else what a probe found faster, else MPI */
} tulle_comm_options_t;

/* clang-format off */
/** Defaults for every field. */
#define TULLE_COMM_OPTIONS_INIT {sizeof(tulle_comm_options_t), NULL, NULL, 0, 0, 0, TULLE_TRANSPORT_AUTO}
/* clang-format on */

/**
 * Free a communicator and set *comm to NULL. Plans and exchanges made from it stay usable. With the last of them, or
 * here, ranks agree on whether a message may be under way still: where an exchange failed, was destroyed before it was
 * over, or was started by some ranks only. Then MPI's communicators are not freed, as MPI would bring it to the next
 * ones. That waits for all ranks, for no longer than the time limit; after a failure for half a second at most.
 * @param[in,out] comm NULL and pointer to NULL are fine
 * @collective all ranks, before MPI_Finalize   @threads one thread per comm at a time
 */
TULLE_API void tulle_comm_destroy(tulle_comm_t **comm);

/** This rank; -1 for NULL. @param[in] comm borrowed @return rank @collective no @threads any @cost O(1) */
TULLE_API int tulle_comm_rank(const tulle_comm_t *comm);

/** Number of ranks; 0 for NULL. @param[in] comm borrowed @return count @collective no @threads any @cost O(1) */
TULLE_API int tulle_comm_size(const tulle_comm_t *comm);

/**
 * The topology in use.
 * @param[in] comm borrowed
 * @return borrowed, valid while the communicator lives; NULL for NULL
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const tulle_topology_t *tulle_comm_topology(const tulle_comm_t *comm);

/**
 * Whether the declared topology differs from the machine: some ranks that share memory were declared to be on different
 * nodes, so that figures between nodes are not network figures.
 * @param[in] comm borrowed
 * @return 1 or 0; 0 for NULL
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API int tulle_comm_is_emulated(const tulle_comm_t *comm);

/** Tunables of tulle_comm_probe(). Zero always means "library default". Append fields, never reorder. */
typedef struct tulle_probe_options {
    size_t struct_size; /**< [bytes] set by the initializer */
    int64_t time_ms;    /**< [ms] after which no new round begins; 0 = 1200; equal on every rank */
} tulle_probe_options_t;

/* clang-format off */
/** Defaults for every field. */
#define TULLE_PROBE_OPTIONS_INIT {sizeof(tulle_probe_options_t), 0}
/* clang-format on */

/**
 * Measure the cost of crossing each level of the running job, by exchanges as plans run them: the latency of one
 * message, what those of further ranks and further messages of a rank cost, the bandwidth of one pair of ranks, and
 * what a group sends when all its ranks do (the injection limit of a node, for instance). A level without two groups
 * side by side keeps its figures. Use the result by making a communicator with it (tulle_comm_options.topology) or
 * write it with tulle_topology_save().
 * @collective all ranks of @p comm; blocks
 * @param[in]  comm         borrowed; its topology says who is measured with whom, and stays as it is
 * @param[in]  options      borrowed for the call; NULL = defaults
 * @param[out] topology_out owned by the caller, free with tulle_topology_destroy(): the tree of @p comm with measured
 *                          links, equal on every rank; untouched on failure
 * @retval TULLE_ERR_ARG a null pointer or a negative time; TULLE_ERR_MISMATCH ranks gave different times
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_TIMEOUT; TULLE_ERR_REMOTE another rank failed
 * @threads one thread per comm at a time
 * @cost the time asked for, but no less than setting up and four rounds; in each up to 2 MiB per node, or 16 KiB per
 * rank when that is more, over each level
 */
TULLE_API tulle_status_t tulle_comm_probe(tulle_comm_t *comm, const tulle_probe_options_t *options,
                                          tulle_topology_t **topology_out);

TULLE_END_DECLS

#endif
