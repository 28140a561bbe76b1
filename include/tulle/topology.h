/* SPDX-License-Identifier: Apache-2.0
 * The machine as a tree: machine > node > (domains) > rank. Plain data, no MPI: any machine can be written as text.
 *
 * Text form. "2x4": 2 nodes of 4 ranks. "4x2x3": 4 nodes of 2 domains of 3 ranks. "4,4,2": three nodes of 4, 4 and 2
 * ranks. "(3,1),(2x2)": a node with domains of 3 and 1 ranks, and a node with two domains of 2. "*x8": as many nodes of
 * 8 ranks as the job fills. A suffix ":cyclic" deals ranks to nodes in turn (round-robin placement); the default
 * ":block" fills one node after the other. */
#ifndef TULLE_TOPOLOGY_H
#define TULLE_TOPOLOGY_H

#include <stdint.h>
#include <stdio.h>

#include <tulle/status.h>
#include <tulle/types.h>

TULLE_BEGIN_DECLS

/** A machine tree with the cost of crossing each level. Opaque; immutable once a communicator uses it. */
typedef struct tulle_topology tulle_topology_t;

/** What it costs to cross one level of the tree. Level 0 lies between nodes; the last level between ranks of one
 * innermost group. */
typedef struct tulle_link {
    double latency_ns;       /**< [ns] of one message, or of the first of several that a rank sends at once */
    double bytes_per_second; /**< [bytes/s] of one link: one NIC between nodes, one rank pair inside */
    int32_t num_links;       /**< [count] links out of one group of this level: NICs of a node; 0 = one per rank */
    double overhead_ns;      /**< [ns] that each further message costs its rank; 0 = as much as the first */
    double group_bytes_per_second; /**< [bytes/s] out of one group when all its ranks send at once, the injection
                                      limit; 0 = what its links carry together */
    double group_overhead_ns;      /**< [ns] that the message of each further rank costs its group: ranks that share
                                        processors or a NIC take turns; 0 = nothing, ranks start side by side */
} tulle_link_t;

/** What carries messages over one level, between ranks that share no memory; and what a probe measured of both ways:
 * the time of an exchange of one message per rank, small (8 bytes) and large (as tulle_comm_probe() says); 0 = not
 * measured. Plans do not depend on it. */
typedef struct tulle_carrier {
    tulle_transport_t transport; /**< MPI or UCX; AUTO = nobody has chosen: MPI */
    double mpi_small_ns;         /**< [ns] */
    double mpi_large_ns;         /**< [ns] */
    double ucx_small_ns;         /**< [ns] */
    double ucx_large_ns;         /**< [ns] */
} tulle_carrier_t;

/**
 * Read a topology from its text form.
 * @param[in]  text         see the head of this file
 * @param[in]  num_ranks    number of ranks that the text must describe; 0 takes what the text says (then no "*")
 * @param[out] topology_out owned by the caller, free with tulle_topology_destroy(); untouched on failure
 * @retval TULLE_ERR_ARG malformed text (the column is named), or a number of ranks other than @p num_ranks
 * @retval TULLE_ERR_NOMEM out of memory
 * @collective no   @threads any   @cost O(ranks x levels)
 */
TULLE_API tulle_status_t tulle_topology_parse(const char *text, int num_ranks, tulle_topology_t **topology_out);

/**
 * Read a topology file (see topology/README.md for the format; topology/machines holds examples).
 * @param[in]  path         file to read
 * @param[in]  num_ranks    as in tulle_topology_parse()
 * @param[out] topology_out owned by the caller; untouched on failure
 * @retval TULLE_ERR_FILE cannot be opened or read; TULLE_ERR_ARG malformed (the line is named); TULLE_ERR_NOMEM
 * @collective no   @threads any   @cost O(file + ranks x levels)
 */
TULLE_API tulle_status_t tulle_topology_load(const char *path, int num_ranks, tulle_topology_t **topology_out);

/**
 * Write a topology file that tulle_topology_load() reads back to an equal topology.
 * @param[in] topology borrowed
 * @param[in] path     file to write; replaced if it exists
 * @retval TULLE_ERR_FILE cannot be written; TULLE_ERR_ARG a pointer is NULL; TULLE_ERR_NOMEM
 * @collective no: call it on one rank   @threads any   @cost O(ranks x levels)
 */
TULLE_API tulle_status_t tulle_topology_save(const tulle_topology_t *topology, const char *path);

/**
 * Print a topology for people: one line per level with its links, then the ranks of each node. If it was discovered in
 * a job that uses GPUs, also the GPU of every rank, the NUMA domain of that GPU and the NIC nearest to it, where known.
 * @param[in] topology borrowed
 * @param[in] out      stream to write to
 * @retval TULLE_ERR_ARG a pointer is NULL; TULLE_ERR_FILE the stream refused; TULLE_ERR_NOMEM
 * @collective no   @threads any   @cost O(ranks x levels)
 */
TULLE_API tulle_status_t tulle_topology_print(const tulle_topology_t *topology, FILE *out);

/**
 * Copy a topology.
 * @param[in]  topology     borrowed
 * @param[out] topology_out owned by the caller; untouched on failure
 * @retval TULLE_ERR_ARG a pointer is NULL; TULLE_ERR_NOMEM
 * @collective no   @threads any   @cost O(ranks x levels)
 */
TULLE_API tulle_status_t tulle_topology_dup(const tulle_topology_t *topology, tulle_topology_t **topology_out);

/**
 * Free a topology and set *topology to NULL.
 * @param[in,out] topology NULL and pointer to NULL are fine
 * @collective no   @threads any
 */
TULLE_API void tulle_topology_destroy(tulle_topology_t **topology);

/** Number of ranks; 0 for NULL. @param[in] topology borrowed @return count @collective no @threads any @cost O(1) */
TULLE_API int tulle_topology_num_ranks(const tulle_topology_t *topology);

/**
 * Number of levels at which a row can cross: group levels (node, domain, ...) plus one for "between ranks".
 * "2x4" has 2 (node, rank), "4x2x3" has 3 (node, domain, rank). 0 for NULL.
 * @param[in] topology borrowed
 * @return count, at most TULLE_TOPOLOGY_MAX_LEVELS
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API int tulle_topology_num_levels(const tulle_topology_t *topology);

/** Most levels a topology may have. */
#define TULLE_TOPOLOGY_MAX_LEVELS 8

/**
 * Name of a level: "node", "domain" (or what the file calls it), ..., "rank".
 * @param[in] topology borrowed
 * @param[in] level    0 = between nodes
 * @return borrowed, valid while the topology lives; "" when @p level is out of range
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const char *tulle_topology_level_name(const tulle_topology_t *topology, int level);

/**
 * Group of a rank at a level: groups are numbered from 0 in order of their lowest rank; at the last level every rank
 * is its own group.
 * @param[in] topology borrowed
 * @param[in] level    0 = node
 * @param[in] rank     0 to num_ranks - 1
 * @return group number; -1 when an argument is out of range
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API int tulle_topology_group(const tulle_topology_t *topology, int level, int rank);

/**
 * Number of groups of a level: nodes at level 0, ranks at the last.
 * @param[in] topology borrowed
 * @param[in] level    0 = node
 * @return count; 0 when @p level is out of range
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API int tulle_topology_num_groups(const tulle_topology_t *topology, int level);

/**
 * Shortest text form that parses back to the same tree with ranks placed alike; ranks in an order that no text form can
 * say are written as ":custom" (use tulle_topology_save() for those).
 * @param[in] topology borrowed
 * @return borrowed, valid while the topology lives; "" for NULL
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const char *tulle_topology_text(const tulle_topology_t *topology);

/**
 * Cost of crossing a level.
 * @param[in]  topology borrowed
 * @param[in]  level    0 = between nodes
 * @param[out] link_out untouched on failure
 * @retval TULLE_ERR_ARG a pointer is NULL or the level is out of range
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API tulle_status_t tulle_topology_get_link(const tulle_topology_t *topology, int level, tulle_link_t *link_out);

/**
 * Set the cost of crossing a level, for instance from a measurement.
 * @param[in,out] topology not yet used by a communicator
 * @param[in]     level    0 = between nodes
 * @param[in]     link     copied; latency >= 0, bandwidth > 0, the others >= 0
 * @retval TULLE_ERR_ARG a pointer is NULL, the level is out of range or a value is not allowed
 * @collective no; every rank must set the same values   @threads one   @cost O(1)
 */
TULLE_API tulle_status_t tulle_topology_set_link(tulle_topology_t *topology, int level, const tulle_link_t *link);

/**
 * What carries messages over a level.
 * @param[in]  topology    borrowed
 * @param[in]  level       0 = between nodes
 * @param[out] carrier_out untouched on failure
 * @retval TULLE_ERR_ARG a pointer is NULL or the level is out of range
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API tulle_status_t tulle_topology_get_carrier(const tulle_topology_t *topology, int level,
                                                    tulle_carrier_t *carrier_out);

/**
 * Choose what carries messages over a level. A communicator made with this topology follows, unless its options or
 * TULLE_TRANSPORT say otherwise; where a build lacks UCX, MPI carries.
 * @param[in,out] topology not yet used by a communicator
 * @param[in]     level    0 = between nodes
 * @param[in]     carrier  copied; AUTO, MPI or UCX; times finite and at least 0
 * @retval TULLE_ERR_ARG a pointer is NULL, the level is out of range or a value is not allowed
 * @collective no; every rank must set the same   @threads one   @cost O(1)
 */
TULLE_API tulle_status_t tulle_topology_set_carrier(tulle_topology_t *topology, int level,
                                                    const tulle_carrier_t *carrier);

TULLE_END_DECLS

#endif
