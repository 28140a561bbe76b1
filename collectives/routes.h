/* SPDX-License-Identifier: Apache-2.0
 * Routes: over which ranks every needed row travels. Pure functions of (who needs what, topology, options): no MPI, no
 * clock, no pointer or hash order. One node is routed at a time, from the needs of its ranks alone; the same code plans
 * a real job, where the first rank of each node calls it, and a machine of thousands of virtual ranks in one process.
 *
 *     needs of a node --begin--> crossings, prices
 *                                     |
 *     prices of all nodes --settle--> modes, transit asked of other nodes
 *                                     |
 *     transit asked by other nodes --finish--> messages that the node's ranks receive
 */
#ifndef TLI_ROUTES_H
#define TLI_ROUTES_H

#include <stdint.h>

#include <tulle/plan.h>

#include "src/arena.h"
#include "topology/model.h"

/** Rows and who needs them, as records of three words: owner's rank, row there, rank that needs it. */
typedef struct tli_needs {
    int64_t num;
    int64_t *words; /* [num * 3] */
} tli_needs_t;

/** Distinct rows, ascending by (owner, row), each with the ranks that need it, ascending. */
typedef struct tli_row_set {
    int64_t num_rows;
    int64_t *owner;      /* [num_rows] */
    int64_t *row;        /* [num_rows] */
    int64_t *needer_ptr; /* [num_rows + 1] */
    int64_t *needer;     /* [needer_ptr[num_rows]] */
} tli_row_set_t;

/** How the rows of one source node come to this node. */
typedef enum tli_pair_mode {
    TLI_PAIR_DIRECT,
    TLI_PAIR_ROUTED,
    TLI_PAIR_AGGREGATED,
    TLI_PAIR_STRIPED,
    TLI_NUM_PAIR_MODES
} tli_pair_mode_t;

/** Whether rows come to those who send them from their owners first: these are asked for transit. */
static inline int tli_pair_mode_collects(tli_pair_mode_t mode)
{
    return mode == TLI_PAIR_AGGREGATED || mode == TLI_PAIR_STRIPED;
}

/** Messages that ranks of the node receive, sorted by (receiver, sender, order of dependence). */
typedef struct tli_route_messages {
    int64_t num;
    int64_t *receiver; /* [num] */
    int64_t *sender;   /* [num] */
    int64_t *ptr;      /* [num + 1] */
    int64_t *rows;     /* [ptr[num] * 2] owner's rank, row there; ascending within a message */
} tli_route_messages_t;

/** Choices that AUTO prices: five ways for all pairs of nodes alike, and one for each pair. */
#define TLI_NUM_PRICES 6

/** Bytes of one row, for the cost model: on the outermost levels it may travel in fewer. */
typedef struct tli_row_size {
    int64_t bytes, wire_bytes;
    int wire_levels; /* [count] on which it has wire_bytes */
} tli_row_size_t;

static inline int64_t tli_row_bytes_at(const tli_row_size_t *row, int level)
{
    return level < row->wire_levels ? row->wire_bytes : row->bytes;
}

/** State of routing one node between begin and finish; all memory is in the arena given to begin. */
typedef struct tli_node_route {
    const tulle_topology_t *topology;
    int node;
    tulle_strategy_t strategy;
    tli_row_size_t row;
    tli_arena_t *arena;
    tli_row_set_t inside;            /* rows whose owner is on this node */
    tli_row_set_t outside;           /* rows that must cross into this node */
    int *port;                       /* [outside.num_rows] rank on which the row lands; unused for direct pairs */
    int num_pairs;                   /* [count] source nodes */
    int *pair_of_node;               /* [num_nodes] index of the pair, -1 if this node needs nothing from there */
    tli_pair_mode_t *mode;           /* [num_pairs] after settle */
    double price_ns[TLI_NUM_PRICES]; /* AUTO: what the node's share takes, by choice; 0 where nothing enters */
    int *way, *rail_port;            /* AUTO: [num_pairs] best ways for pairs; [outside.num_rows] ports of rails */
    tli_needs_t transit;             /* (owner, row, sender) asked of other nodes: rows to collect on their sender */
    tli_route_messages_t messages;   /* after finish */
} tli_node_route_t;

/**
 * Find, for every row that must enter the node, its port, and with AUTO what its modes would cost.
 * @param[in] topology  borrowed, as all of the route, until the route is no longer used
 * @param[in] needs     of this node's ranks; any order, duplicates allowed; own rows must be left out; used up
 * @param[in] row       for the cost model of AUTO
 * @cost O(needs) time and memory
 */
tulle_status_t tli_route_begin(const tulle_topology_t *topology, int node, tulle_strategy_t strategy,
                               tli_row_size_t row, const tli_needs_t *needs, tli_arena_t *arena,
                               tli_node_route_t *route);

/**
 * Decide by which mode rows come.
 * @param[in] dearest_ns with AUTO: of every price, the largest of all nodes; the same on all, so that they choose alike
 */
tulle_status_t tli_route_settle(tli_node_route_t *route, const double dearest_ns[TLI_NUM_PRICES]);

/**
 * Lay out all messages that ranks of the node receive.
 * @param[in] transit (owner, row, sender) that other nodes asked of this one; owners and senders are on this node
 */
tulle_status_t tli_route_finish(tli_node_route_t *route, const tli_needs_t *transit);

/** Rank of node `source` that collects what node `target` needs of it, and the port where that lands. */
int tli_aggregation_sender(const tulle_topology_t *topology, int source, int target);
int tli_aggregation_port(const tulle_topology_t *topology, int source, int target);

/** Sort and merge needs into rows. @param[in,out] needs not to be used afterwards */
tulle_status_t tli_row_set_build(const tli_needs_t *needs, tli_arena_t *arena, tli_row_set_t *set_out);

/** The same, apart: rows whose owner is in a group and others. @param[in] group_of [num_ranks] */
tulle_status_t tli_row_set_split(const tli_needs_t *needs, const int *group_of, int group, tli_arena_t *arena,
                                 tli_row_set_t *inside, tli_row_set_t *outside);

/**
 * Least number of rows that must cross each level so that every rank of the node gets what it needs, each row entering
 * each group that needs it once.
 * @param[in]  needs  of this node's ranks; used up
 * @param[out] limits [num_levels]
 */
tulle_status_t tli_route_limits(const tulle_topology_t *topology, const tli_needs_t *needs, tli_arena_t *scratch,
                                int64_t *limits);

#endif
