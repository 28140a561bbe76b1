/* SPDX-License-Identifier: Apache-2.0
 * The plan: over which ranks every row travels. Made once from a pattern and a topology, used in both directions. */
#ifndef TULLE_PLAN_H
#define TULLE_PLAN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <tulle/pattern.h>

TULLE_BEGIN_DECLS

/** A reusable, topology-aware plan. Opaque; immutable. */
typedef struct tulle_plan tulle_plan_t;

/** How rows cross between nodes: name, frozen value, text. */
#define TULLE_STRATEGY_MAP(X)                                                                                          \
    X(AUTO, 0, "auto")                                                                                                 \
    X(DIRECT, 1, "direct")                                                                                             \
    X(RAIL, 2, "rail")                                                                                                 \
    X(BALANCED, 3, "balanced")                                                                                         \
    X(AGGREGATED, 4, "aggregated")                                                                                     \
    X(STRIPED, 5, "striped")

/**
 * AUTO decides per pair of nodes by the cost model. DIRECT: each rank pair moves what it needs. RAIL: each row enters a
 * node once, on the rank with the owner's local index. BALANCED: once, on ports chosen so that the busiest receives
 * least. AGGREGATED: once, in one message per pair of nodes, collected inside the source node first. STRIPED: balanced,
 * and sent by the rank of the source node that has the port's local index, so that one owner's rows leave by all links.
 */
typedef enum tulle_strategy {
#define TULLE_STRATEGY_ENUM(name, value, text) TULLE_STRATEGY_##name = value,
    TULLE_STRATEGY_MAP(TULLE_STRATEGY_ENUM)
#undef TULLE_STRATEGY_ENUM
} tulle_strategy_t;

/** Order of the ghost rows in the caller's buffer. */
typedef enum tulle_ghost_order {
    TULLE_GHOST_ORDER_CALLER = 0, /**< row i is needed row i of the pattern, duplicates and own rows included */
    TULLE_GHOST_ORDER_PLAN = 1    /**< distinct remote rows in order of arrival: see tulle_plan_ghost_order() */
} tulle_ghost_order_t;

/** Tunables of tulle_plan_create(). Zero always means "library default". Append fields, never reorder. */
typedef struct tulle_plan_options {
    size_t struct_size;        /**< [bytes] set by the initializer: old callers keep working with newer libraries */
    tulle_strategy_t strategy; /**< default AUTO */
    tulle_ghost_order_t ghost_order; /**< default CALLER */
    int64_t row_bytes;               /**< [bytes] of one row, all fields, for the cost model; 0 = 256 */
    int32_t measure;                 /**< [bool] 1 = time the best strategies and keep the fastest; with AUTO only */
    tulle_wire_precision_t wire_precision; /**< of the exchanges to come, for the cost model and measure; rows of f32 */
    int32_t wire_levels;                   /**< [count] likewise: outermost levels that it is for; 0 = 1 */
} tulle_plan_options_t;

/* clang-format off */
/** Defaults for every field. */
#define TULLE_PLAN_OPTIONS_INIT \
    {sizeof(tulle_plan_options_t), TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_CALLER, 0, 0, TULLE_WIRE_PRECISION_NONE, 0}
/* clang-format on */

/**
 * Turn a pattern into a plan.
 * @collective all ranks of @p comm; blocks
 * @param[in]  comm     borrowed, the one that the pattern was made on; kept alive by the plan
 * @param[in]  pattern  borrowed; may be destroyed afterwards
 * @param[in]  options  borrowed for the call; NULL = defaults; equal on every rank
 * @param[out] plan_out owned by the caller, free with tulle_plan_destroy(); untouched on failure
 * @retval TULLE_ERR_ARG a null pointer or an unknown option; TULLE_ERR_MISMATCH ranks disagree about the options
 * @retval TULLE_ERR_NOMEM; TULLE_ERR_OVERFLOW; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE another rank failed
 * @threads one thread per comm at a time
 * @cost O(needed log needed) time, O(needed) for a plan that the communicator keeps; memory in proportion to needed
 *       rows, on one rank per node to the node's; messages to neighbours only. With measure: six plans, owned and ghost
 *       rows of row_bytes each while it lasts, three exchanges of each promising plan, or 0.3 s of them if that is more
 * @see Bienz, Gropp, Olson, "Improving performance models for irregular point-to-point communication", EuroMPI 2018
 */
TULLE_API tulle_status_t tulle_plan_create(tulle_comm_t *comm, const tulle_pattern_t *pattern,
                                           const tulle_plan_options_t *options, tulle_plan_t **plan_out);

/**
 * Free a plan and set *plan to NULL. Exchanges made from it stay usable.
 * @param[in,out] plan NULL and pointer to NULL are fine
 * @collective all ranks, before MPI_Finalize   @threads one thread per comm at a time
 */
TULLE_API void tulle_plan_destroy(tulle_plan_t **plan);

/** Rows owned by this rank; 0 for NULL. @param[in] plan borrowed @return count
 * @collective no @threads any @cost O(1) */
TULLE_API int64_t tulle_plan_num_owned(const tulle_plan_t *plan);

/** Rows needed by this rank as the pattern listed them; 0 for NULL. @param[in] plan borrowed @return count
 * @collective no @threads any @cost O(1) */
TULLE_API int64_t tulle_plan_num_needed(const tulle_plan_t *plan);

/** Rows of this rank's ghost buffer: num_needed in caller order, distinct remote rows in plan order; 0 for NULL.
 * @param[in] plan borrowed @return count @collective no @threads any @cost O(1) */
TULLE_API int64_t tulle_plan_num_ghosts(const tulle_plan_t *plan);

/** Strategy that was asked for, or that was the fastest when measured; AUTO for NULL. @param[in] plan borrowed @return
 * strategy @collective no @threads any
 * @cost O(1) */
TULLE_API tulle_strategy_t tulle_plan_strategy(const tulle_plan_t *plan);

/** Text form of a strategy, such as "balanced"; "unknown" for another value. @param[in] strategy any value
 * @return never NULL; static storage @collective no @threads any @cost O(1) */
TULLE_API const char *tulle_strategy_name(tulle_strategy_t strategy);

/**
 * Where each needed row lies, so that a caller can renumber (rewrite CSR columns) once and never unpack.
 * @param[in]  plan     borrowed
 * @param[out] position [num_needed] row of the ghost buffer that holds needed row i; with plan order an own row is
 *                      given as -1 - (its owned row): read it there
 * @retval TULLE_ERR_ARG a pointer is NULL
 * @collective no   @threads any   @cost O(needed)
 */
TULLE_API tulle_status_t tulle_plan_ghost_order(const tulle_plan_t *plan, int64_t *position);

/** What crosses one level in one exchange, summed over all ranks. A crossing is a hop between two ranks whose groups
 * differ at this level but not at the one above it. */
typedef struct tulle_level_stats {
    char name[32];          /**< "node" between nodes, ..., "rank" inside an innermost group */
    int64_t naive_rows;     /**< [rows] if every rank received every row it does not own */
    int64_t direct_rows;    /**< [rows] if each rank pair moved what it needs */
    int64_t plan_rows;      /**< [rows] in this plan */
    int64_t limit_rows;     /**< [rows] each row enters each group that needs it once: the least a routed plan can do */
    int64_t naive_messages; /**< [messages] */
    int64_t direct_messages; /**< [messages] */
    int64_t plan_messages;   /**< [messages] */
    int64_t busiest_rows;    /**< [rows] largest number that one rank receives over this level in this plan */
} tulle_level_stats_t;

/** What a plan costs and saves. */
typedef struct tulle_plan_stats {
    size_t struct_size;          /**< [bytes] set by the caller before the call */
    int32_t num_levels;          /**< [count] valid entries of levels */
    tulle_strategy_t strategy;   /**< as tulle_plan_strategy() */
    int32_t routed_pairs;        /**< [count] ordered node pairs routed once per node */
    int32_t aggregated_pairs;    /**< [count] ordered node pairs collected on the sending side */
    int32_t direct_pairs;        /**< [count] ordered node pairs served directly */
    int64_t row_bytes;           /**< [bytes] used by the cost model */
    int64_t num_owned;           /**< [rows] owned by all ranks */
    int64_t num_needed;          /**< [rows] distinct needed remote rows, summed over ranks */
    int64_t staging_rows;        /**< [rows] passed on by ranks that do not need them */
    double setup_ns;             /**< [ns] tulle_plan_create() or load, slowest rank */
    double predicted_naive_ns;   /**< [ns] one exchange by the cost model */
    double predicted_direct_ns;  /**< [ns] */
    double predicted_plan_ns;    /**< [ns] */
    double break_even_exchanges; /**< [count] predicted, against direct; -1 = never */
    tulle_level_stats_t levels[TULLE_TOPOLOGY_MAX_LEVELS]; /**< outermost first */
    int32_t striped_pairs;  /**< [count] ordered node pairs spread over ranks on the sending side */
    int64_t memory_bytes;   /**< [bytes] of the plan on the rank where it takes most */
    int64_t wire_row_bytes; /**< [bytes] of one row on the levels that the options' wire_precision is for: row_bytes
                                 without one */
    int32_t wire_levels;    /**< [count] these levels, outermost first */
} tulle_plan_stats_t;

/**
 * Count what a plan moves, and what the alternatives would.
 * @collective all ranks of the plan's communicator; blocks
 * @param[in]     plan  borrowed
 * @param[in,out] stats struct_size set by the caller; equal on every rank afterwards
 * @retval TULLE_ERR_ARG a null pointer or struct_size unset; TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE
 * @threads one thread per comm at a time   @cost O(needed) and a handful of reductions
 */
TULLE_API tulle_status_t tulle_plan_get_stats(const tulle_plan_t *plan, tulle_plan_stats_t *stats);

/** Form of tulle_plan_explain(). */
typedef enum tulle_explain_format {
    TULLE_EXPLAIN_TABLE = 0, /**< for people */
    TULLE_EXPLAIN_JSON = 1   /**< for machines; needs a library built with Jansson */
} tulle_explain_format_t;

/**
 * Say what a plan does and why.
 * @collective all ranks of the plan's communicator; blocks
 * @param[in] plan   borrowed
 * @param[in] format table or JSON
 * @param[in] out    stream; used on rank 0 only, ignored elsewhere
 * @retval TULLE_ERR_ARG a null pointer; TULLE_ERR_UNSUPPORTED JSON in a build without Jansson; TULLE_ERR_FILE the
 *         stream refused; TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE
 * @threads one thread per comm at a time   @cost as tulle_plan_get_stats()
 */
TULLE_API tulle_status_t tulle_plan_explain(const tulle_plan_t *plan, tulle_explain_format_t format, FILE *out);

/**
 * Write a plan to one file: versioned, checksummed. The file appears complete or not at all.
 * @collective all ranks of the plan's communicator; blocks
 * @param[in] plan borrowed
 * @param[in] path borrowed; used on rank 0, which does all file access
 * @retval TULLE_ERR_ARG a null pointer; TULLE_ERR_FILE cannot be written; TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT;
 *         TULLE_ERR_REMOTE
 * @threads one thread per comm at a time   @cost 16 bytes per row and message end
 */
TULLE_API tulle_status_t tulle_plan_save(const tulle_plan_t *plan, const char *path);

/**
 * Read a plan back.
 * @collective all ranks of @p comm; blocks
 * @param[in]  comm     borrowed; as many ranks and the same topology as the plan was made for
 * @param[in]  path     borrowed; used on rank 0, which does all file access
 * @param[out] plan_out owned by the caller, free with tulle_plan_destroy(); untouched on failure
 * @retval TULLE_ERR_FILE cannot be read, truncated, damaged, no plan, or of another version
 * @retval TULLE_ERR_MISMATCH made for another number of ranks or another topology
 * @retval TULLE_ERR_ARG a null pointer; TULLE_ERR_NOMEM; TULLE_ERR_TRANSPORT; TULLE_ERR_REMOTE
 * @threads one thread per comm at a time   @cost O(file)
 */
TULLE_API tulle_status_t tulle_plan_load(tulle_comm_t *comm, const char *path, tulle_plan_t **plan_out);

TULLE_END_DECLS

#endif
