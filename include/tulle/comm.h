/* SPDX-License-Identifier: Apache-2.0
 * The communicator: ranks, the topology they form, the transports between them. Made by tulle/mpi.h. */
#ifndef TULLE_COMM_H
#define TULLE_COMM_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/topology.h>

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
} tulle_comm_options_t;

/* clang-format off */
/** Defaults for every field. */
#define TULLE_COMM_OPTIONS_INIT {sizeof(tulle_comm_options_t), NULL, NULL, 0, 0, 0}
/* clang-format on */

/**
 * Free a communicator and set *comm to NULL. Plans and exchanges made from it stay usable.
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

TULLE_END_DECLS

#endif
