/* SPDX-License-Identifier: Apache-2.0
 * Routing one node. Rows from outside land on a port each; from the port, or from an owner inside, they go down the
 * tree of groups: once into every subgroup that needs them, then on to its ranks. What is decided is a list of hops;
 * hops with the same receiver, sender and origin become one message. */
#include "collectives/routes.h"

#include <string.h>

#include "collectives/modes.h"
#include "collectives/ports.h"
#include "src/fault.h"
#include "src/sort.h"

static int node_of(const tulle_topology_t *topology, int64_t rank)
{
    return topology->levels[0].group_of[rank];
}

static int node_member(const tulle_topology_t *topology, int node, int index)
{
    const tli_level_t *nodes = &topology->levels[0];
    int first = nodes->member_ptr[node], size = nodes->member_ptr[node + 1] - first;
    return nodes->members[first + index % size];
}

/* Spread over the ranks of a node, so that different partner nodes use different ranks. */
int tli_aggregation_sender(const tulle_topology_t *topology, int source, int target)
{
    return node_member(topology, source, target);
}

int tli_aggregation_port(const tulle_topology_t *topology, int source, int target)
{
    return node_member(topology, target, source);
}

/* --- begin: what crosses, and where it lands --------------------------------------------------------------------- */

static tulle_status_t split_needs(tli_node_route_t *route, const tli_needs_t *needs, tli_needs_t *outside)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc_raw(route->arena, needs->num, 3 * sizeof *needs->words, &route->inside.words));
    TLI_TRY(tli_arena_alloc_raw(route->arena, needs->num, 3 * sizeof *needs->words, &outside->words));
    for (int64_t i = 0; i < needs->num; i++) {
        const int64_t *need = needs->words + 3 * i;
        tli_needs_t *side = node_of(route->topology, need[0]) == route->node ? &route->inside : outside;
        memcpy(side->words + 3 * side->num++, need, 3 * sizeof *need);
    }
done:
    return st;
}

static tulle_status_t list_pairs(tli_node_route_t *route)
{
    tulle_status_t st = TULLE_OK;
    int num_nodes = route->topology->levels[0].num_groups;
    TLI_TRY(tli_arena_alloc_raw(route->arena, num_nodes, sizeof *route->pair_of_node, &route->pair_of_node));
    for (int node = 0; node < num_nodes; node++)
        route->pair_of_node[node] = -1;
    for (int64_t row = 0; row < route->outside.num_rows; row++) {
        int source = node_of(route->topology, route->outside.owner[row]);
        if (route->pair_of_node[source] < 0)
            route->pair_of_node[source] = route->num_pairs++;
    }
    TLI_TRY(tli_arena_alloc(route->arena, route->num_pairs, sizeof *route->mode, &route->mode));
done:
    return st;
}

static tli_pair_mode_t *pair_mode(const tli_node_route_t *route, int64_t row)
{
    return &route->mode[route->pair_of_node[node_of(route->topology, route->outside.owner[row])]];
}

static tulle_status_t choose_ports(tli_node_route_t *route)
{
    tulle_status_t st = TULLE_OK;
    tli_entry_t entry = {route->topology, 0, route->node, &route->outside, NULL, route->outside.num_rows};
    int64_t *all = NULL;
    TLI_TRY(tli_arena_alloc_raw(route->arena, entry.num_entering, sizeof *all, &all));
    TLI_TRY(tli_arena_alloc_raw(route->arena, entry.num_entering, sizeof *route->port, &route->port));
    for (int64_t row = 0; row < entry.num_entering; row++)
        all[row] = row;
    entry.entering = all;
    if (route->strategy == TULLE_STRATEGY_RAIL)
        tli_ports_rail(&entry, route->port);
    else
        TLI_TRY(tli_ports_balanced(&entry, route->arena, route->port));
done:
    return st;
}

/* Rank that sends a row into the node. With striping each port has its partner, of equal local index: the rows of one
 * owner leave by as many ranks as they arrive on. */
static int64_t sender_of(const tli_node_route_t *route, int64_t row)
{
    int64_t owner = route->outside.owner[row];
    int source = node_of(route->topology, owner);
    tli_pair_mode_t mode = *pair_mode(route, row);
    if (mode == TLI_PAIR_AGGREGATED)
        return tli_aggregation_sender(route->topology, source, route->node);
    if (mode == TLI_PAIR_STRIPED)
        return node_member(route->topology, source, route->topology->levels[0].local_index[route->port[row]]);
    return owner;
}

/* Aggregated rows land on the pair's port. Owners hand rows to those who send them. */
static tulle_status_t ask_transit(tli_node_route_t *route)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc_raw(route->arena, route->outside.num_rows, 3 * sizeof(int64_t), &route->transit.words));
    for (int64_t row = 0; row < route->outside.num_rows; row++) {
        int64_t owner = route->outside.owner[row], sender = sender_of(route, row);
        if (*pair_mode(route, row) == TLI_PAIR_AGGREGATED)
            route->port[row] = tli_aggregation_port(route->topology, node_of(route->topology, owner), route->node);
        if (sender != owner) {
            int64_t *asked = route->transit.words + 3 * route->transit.num++;
            asked[0] = owner;
            asked[1] = route->outside.row[row];
            asked[2] = sender;
        }
    }
done:
    return st;
}

tulle_status_t tli_route_begin(const tulle_topology_t *topology, int node, tulle_strategy_t strategy, int64_t row_bytes,
                               const tli_needs_t *needs, tli_arena_t *arena, tli_node_route_t *route)
{
    tulle_status_t st = TULLE_OK;
    tli_needs_t outside = {0, NULL};
    *route = (tli_node_route_t){.topology = topology, .node = node, .strategy = strategy, .row_bytes = row_bytes};
    route->arena = arena;
    TLI_TRY(split_needs(route, needs, &outside));
    TLI_TRY(tli_row_set_build(&outside, arena, &route->outside));
    TLI_TRY(list_pairs(route));
    TLI_TRY(choose_ports(route));
    TLI_TRY(tli_modes_price(route));
done:
    return st;
}

tulle_status_t tli_route_settle(tli_node_route_t *route, const double dearest_ns[TLI_NUM_PRICES])
{
    tli_modes_settle(route, dearest_ns);
    return ask_transit(route);
}

/* --- finish: hops ------------------------------------------------------------------------------------------------ */

/* Hops of one row set. A hop continues the one that brought the row to its sender: its parent. */
typedef struct hops {
    const tli_row_set_t *rows;
    int64_t num;
    int64_t *receiver, *sender, *row, *parent; /* parent -1: the sender owns the row or is on another node */
    int *depth;                                /* 0 without parent, else parent's + 1 */
    int max_depth;
    int64_t *message; /* of the hop; filled when hops are grouped */
} hops_t;

static tulle_status_t hops_alloc(const tulle_topology_t *topology, const tli_row_set_t *rows, tli_arena_t *arena,
                                 hops_t *hops)
{
    tulle_status_t st = TULLE_OK;
    /* Each needer is reached once, and each group on the way adds at most one port that has no need of its own. */
    int64_t capacity = rows->needer_ptr[rows->num_rows] * topology->num_levels;
    *hops = (hops_t){.rows = rows};
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &hops->receiver));
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &hops->sender));
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &hops->row));
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &hops->parent));
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &hops->message));
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int), &hops->depth));
done:
    return st;
}

static int64_t add_hop(hops_t *hops, int64_t receiver, int64_t sender, int64_t row, int64_t parent)
{
    int64_t hop = hops->num++;
    int depth = parent < 0 ? 0 : hops->depth[parent] + 1;
    hops->receiver[hop] = receiver;
    hops->sender[hop] = sender;
    hops->row[hop] = row;
    hops->parent[hop] = parent;
    hops->depth[hop] = depth;
    hops->max_depth = depth > hops->max_depth ? depth : hops->max_depth;
    return hop;
}

/* Rows that are inside a group, each on the rank where it came in. */
typedef struct arrived {
    int64_t num;
    int64_t *row;
    int64_t *rank; /* that has it */
    int64_t *hop;  /* that brought it there, -1 for an owner */
} arrived_t;

static tulle_status_t arrived_alloc(int64_t capacity, tli_arena_t *arena, arrived_t *arrived)
{
    tulle_status_t st = TULLE_OK;
    arrived->num = 0;
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &arrived->row));
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &arrived->rank));
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &arrived->hop));
done:
    return st;
}

static void add_arrived(arrived_t *arrived, int64_t row, int64_t rank, int64_t hop)
{
    arrived->row[arrived->num] = row;
    arrived->rank[arrived->num] = rank;
    arrived->hop[arrived->num++] = hop;
}

/* Inside an innermost group: from where a row is to every other rank that needs it. */
static void hand_to_ranks(const tli_node_route_t *route, hops_t *hops, int level, int group, const arrived_t *arrived)
{
    const int *group_of = route->topology->levels[level].group_of;
    const tli_row_set_t *rows = hops->rows;
    for (int64_t i = 0; i < arrived->num; i++) {
        int64_t row = arrived->row[i];
        for (int64_t n = rows->needer_ptr[row]; n < rows->needer_ptr[row + 1]; n++)
            if (group_of[rows->needer[n]] == group && rows->needer[n] != arrived->rank[i])
                add_hop(hops, rows->needer[n], arrived->rank[i], row, arrived->hop[i]);
    }
}

static tulle_status_t spread(const tli_node_route_t *route, hops_t *hops, int level, int group,
                             const arrived_t *arrived);

/* Into one subgroup: rows that are there already stay where they are, others land on a port. */
static tulle_status_t enter_subgroup(const tli_node_route_t *route, hops_t *hops, int level, int subgroup,
                                     const arrived_t *outer)
{
    tulle_status_t st = TULLE_OK;
    const tulle_topology_t *topology = route->topology;
    const int *group_of = topology->levels[level].group_of;
    arrived_t inner;
    int64_t *entering = NULL, *from = NULL;
    int *port = NULL;
    tli_entry_t entry = {topology, level, subgroup, hops->rows, NULL, 0};
    TLI_TRY(arrived_alloc(outer->num, route->arena, &inner));
    TLI_TRY(tli_arena_alloc_raw(route->arena, outer->num, sizeof *entering, &entering));
    TLI_TRY(tli_arena_alloc_raw(route->arena, outer->num, sizeof *from, &from));
    TLI_TRY(tli_arena_alloc_raw(route->arena, outer->num, sizeof *port, &port));
    for (int64_t i = 0; i < outer->num; i++) {
        if (group_of[outer->rank[i]] == subgroup) {
            add_arrived(&inner, outer->row[i], outer->rank[i], outer->hop[i]);
        } else if (tli_is_needed_in(topology, hops->rows, outer->row[i], level, subgroup)) {
            from[entry.num_entering] = i;
            entering[entry.num_entering++] = outer->row[i];
        }
    }
    entry.entering = entering;
    if (route->strategy == TULLE_STRATEGY_RAIL)
        tli_ports_rail(&entry, port);
    else
        TLI_TRY(tli_ports_balanced(&entry, route->arena, port));
    for (int64_t e = 0; e < entry.num_entering; e++) {
        int64_t i = from[e];
        add_arrived(&inner, outer->row[i], port[e],
                    add_hop(hops, port[e], outer->rank[i], outer->row[i], outer->hop[i]));
    }
    TLI_TRY(spread(route, hops, level, subgroup, &inner));
done:
    return st;
}

/* From where rows came into a group to all its subgroups and ranks. */
static tulle_status_t spread(const tli_node_route_t *route, hops_t *hops, int level, int group,
                             const arrived_t *arrived)
{
    tulle_status_t st = TULLE_OK;
    const tli_level_t *outer = &route->topology->levels[level];
    int is_innermost = level == route->topology->num_levels - 2;
    if (is_innermost)
        hand_to_ranks(route, hops, level, group, arrived);
    for (int m = outer->member_ptr[group]; !is_innermost && m < outer->member_ptr[group + 1]; m++) {
        const tli_level_t *inner = outer + 1;
        int rank = outer->members[m];
        if (inner->local_index[rank] == 0)
            TLI_TRY(enter_subgroup(route, hops, level + 1, inner->group_of[rank], arrived));
    }
done:
    return st;
}

/* Rows from other nodes. */
static tulle_status_t hop_outside(const tli_node_route_t *route, hops_t *hops)
{
    tulle_status_t st = TULLE_OK;
    const tli_row_set_t *rows = &route->outside;
    arrived_t landed;
    TLI_TRY(hops_alloc(route->topology, rows, route->arena, hops));
    TLI_TRY(arrived_alloc(rows->num_rows, route->arena, &landed));
    for (int64_t row = 0; row < rows->num_rows; row++) {
        if (*pair_mode(route, row) == TLI_PAIR_DIRECT) {
            for (int64_t i = rows->needer_ptr[row]; i < rows->needer_ptr[row + 1]; i++)
                add_hop(hops, rows->needer[i], rows->owner[row], row, -1);
        } else {
            add_arrived(&landed, row, route->port[row],
                        add_hop(hops, route->port[row], sender_of(route, row), row, -1));
        }
    }
    TLI_TRY(spread(route, hops, 0, route->node, &landed));
done:
    return st;
}

/* Rows owned on this node, for its own ranks and for those that collect them for other nodes. */
static tulle_status_t hop_inside(const tli_node_route_t *route, const tli_needs_t *transit, tli_row_set_t *rows,
                                 hops_t *hops)
{
    tulle_status_t st = TULLE_OK;
    tli_needs_t needs = {route->inside.num + transit->num, NULL};
    arrived_t owned;
    TLI_TRY(tli_arena_alloc_raw(route->arena, needs.num, 3 * sizeof *needs.words, &needs.words));
    memcpy(needs.words, route->inside.words, (size_t)route->inside.num * 3 * sizeof *needs.words);
    if (transit->num > 0)
        memcpy(needs.words + 3 * route->inside.num, transit->words, (size_t)transit->num * 3 * sizeof *needs.words);
    TLI_TRY(tli_row_set_build(&needs, route->arena, rows));
    TLI_TRY(hops_alloc(route->topology, rows, route->arena, hops));
    TLI_TRY(arrived_alloc(rows->num_rows, route->arena, &owned));
    for (int64_t row = 0; row < rows->num_rows; row++)
        add_arrived(&owned, row, rows->owner[row], -1);
    TLI_TRY(spread(route, hops, 0, route->node, &owned));
done:
    return st;
}

/* --- finish: messages -------------------------------------------------------------------------------------------- */

/* Messages under construction: records of receiver, sender, id; rows are found through first and the grouped hops. */
typedef struct grouping {
    int64_t num;
    int64_t *records;     /* [capacity * 3] receiver, sender, id in order of making */
    int64_t *first;       /* [capacity] into grouped, by id */
    int64_t *count;       /* [capacity] by id */
    int64_t *owner, *row; /* of the grouped hops */
    int64_t num_grouped;
} grouping_t;

/* Hops of one depth, ordered by receiver, sender and the message that they depend on; rows stay in ascending order. */
static tulle_status_t group_depth(grouping_t *g, hops_t *hops, int depth, tli_arena_t *arena)
{
    tulle_status_t st = TULLE_OK;
    int64_t *records = NULL, *scratch = NULL;
    int64_t n = 0;
    TLI_TRY(tli_arena_alloc_raw(arena, hops->num, 4 * sizeof *records, &records));
    TLI_TRY(tli_arena_alloc_raw(arena, hops->num, 4 * sizeof *records, &scratch));
    for (int64_t hop = 0; hop < hops->num; hop++) {
        if (hops->depth[hop] == depth) {
            int64_t *record = records + 4 * n++;
            record[0] = hops->receiver[hop];
            record[1] = hops->sender[hop];
            record[2] = depth > 0 ? hops->message[hops->parent[hop]] : 0;
            record[3] = hop;
        }
    }
    tli_sort_by(records, scratch, n, 4, 2 + 1);
    for (int64_t i = 0; i < n; i++) {
        const int64_t *record = records + 4 * i;
        if (i == 0 || memcmp(record, record - 4, 3 * sizeof *record) != 0) {
            g->records[3 * g->num] = record[0];
            g->records[3 * g->num + 1] = record[1];
            g->records[3 * g->num + 2] = g->num;
            g->count[g->num] = 0;
            g->first[g->num++] = g->num_grouped;
        }
        hops->message[record[3]] = g->num - 1;
        g->count[g->num - 1]++;
        g->owner[g->num_grouped] = hops->rows->owner[hops->row[record[3]]];
        g->row[g->num_grouped++] = hops->rows->row[hops->row[record[3]]];
    }
done:
    return st;
}

static tulle_status_t grouping_alloc(int64_t num_hops, tli_arena_t *arena, grouping_t *g)
{
    tulle_status_t st = TULLE_OK;
    *g = (grouping_t){0};
    TLI_TRY(tli_arena_alloc_raw(arena, num_hops, 3 * sizeof(int64_t), &g->records));
    TLI_TRY(tli_arena_alloc_raw(arena, num_hops, sizeof(int64_t), &g->first));
    TLI_TRY(tli_arena_alloc_raw(arena, num_hops, sizeof(int64_t), &g->count));
    TLI_TRY(tli_arena_alloc_raw(arena, num_hops, sizeof(int64_t), &g->owner));
    TLI_TRY(tli_arena_alloc_raw(arena, num_hops, sizeof(int64_t), &g->row));
done:
    return st;
}

static tulle_status_t list_messages(grouping_t *g, tli_arena_t *arena, tli_route_messages_t *messages)
{
    tulle_status_t st = TULLE_OK;
    int64_t *scratch = NULL;
    TLI_TRY(tli_arena_alloc_raw(arena, g->num, 3 * sizeof *scratch, &scratch));
    tli_sort_by(g->records, scratch, g->num, 3, 2 + 1);
    messages->num = g->num;
    TLI_TRY(tli_arena_alloc_raw(arena, g->num, sizeof(int64_t), &messages->receiver));
    TLI_TRY(tli_arena_alloc_raw(arena, g->num, sizeof(int64_t), &messages->sender));
    TLI_TRY(tli_arena_alloc(arena, g->num + 1, sizeof(int64_t), &messages->ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, g->num_grouped, 2 * sizeof(int64_t), &messages->rows));
    for (int64_t m = 0; m < g->num; m++) {
        int64_t id = g->records[3 * m + 2];
        messages->receiver[m] = g->records[3 * m];
        messages->sender[m] = g->records[3 * m + 1];
        messages->ptr[m + 1] = messages->ptr[m] + g->count[id];
        for (int64_t i = 0; i < g->count[id]; i++) {
            messages->rows[2 * (messages->ptr[m] + i)] = g->owner[g->first[id] + i];
            messages->rows[2 * (messages->ptr[m] + i) + 1] = g->row[g->first[id] + i];
        }
    }
done:
    return st;
}

tulle_status_t tli_route_finish(tli_node_route_t *route, const tli_needs_t *transit)
{
    tulle_status_t st = TULLE_OK;
    tli_row_set_t inside_rows;
    hops_t hops[2];
    grouping_t grouping;
    TLI_TRY(hop_outside(route, &hops[0]));
    TLI_TRY(hop_inside(route, transit, &inside_rows, &hops[1]));
    TLI_TRY(grouping_alloc(hops[0].num + hops[1].num, route->arena, &grouping));
    for (int set = 0; set < 2; set++)
        for (int depth = 0; depth <= hops[set].max_depth; depth++)
            TLI_TRY(group_depth(&grouping, &hops[set], depth, route->arena));
    TLI_TRY(list_messages(&grouping, route->arena, &route->messages));
done:
    return st;
}
