/* SPDX-License-Identifier: Apache-2.0
 * Routing one node. Rows from outside land on a port each; from the port, or from an owner inside, they go down the
 * tree of groups: once into every subgroup that needs them, then on to its ranks. What is decided is a list of hops;
 * hops with the same receiver, sender and origin are one message, which is known by them while hops are added. */
#include "collectives/routes.h"

#include <string.h>

#include "collectives/modes.h"
#include "collectives/ports.h"
#include "src/fault.h"
#include "src/sort.h"

/* At first; a power of two. */
#define FEWEST_DRAFTS 64

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

/* Mode of a row from outside, `mode` being that of the row before it: the same where both have one owner. */
static tli_pair_mode_t mode_of_next(const tli_node_route_t *route, int64_t row, tli_pair_mode_t mode)
{
    const int64_t *owner = route->outside.owner;
    if (row > 0 && owner[row] == owner[row - 1])
        return mode;
    return route->mode[route->pair_of_node[node_of(route->topology, owner[row])]];
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
static int64_t sender_of(const tli_node_route_t *route, int64_t row, tli_pair_mode_t mode)
{
    int64_t owner = route->outside.owner[row];
    int source = node_of(route->topology, owner);
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
    tli_pair_mode_t mode = TLI_PAIR_DIRECT;
    int collects = 0;
    for (int pair = 0; pair < route->num_pairs; pair++)
        collects |= tli_pair_mode_collects(route->mode[pair]);
    TLI_TRY(tli_arena_alloc_raw(route->arena, collects ? route->outside.num_rows : 0, 3 * sizeof(int64_t),
                                &route->transit.words));
    for (int64_t row = 0; collects && row < route->outside.num_rows; row++) {
        mode = mode_of_next(route, row, mode);
        int64_t owner = route->outside.owner[row], sender = sender_of(route, row, mode);
        if (mode == TLI_PAIR_AGGREGATED)
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

tulle_status_t tli_route_begin(const tulle_topology_t *topology, int node, tulle_strategy_t strategy,
                               tli_row_size_t row, const tli_needs_t *needs, tli_arena_t *arena,
                               tli_node_route_t *route)
{
    tulle_status_t st = TULLE_OK;
    *route = (tli_node_route_t){.topology = topology, .node = node, .strategy = strategy, .row = row};
    route->arena = arena;
    TLI_TRY(tli_row_set_split(needs, topology->levels[0].group_of, node, arena, &route->inside, &route->outside));
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

/* A message under construction. What its sender does not own and does not get from outside comes with one message. */
typedef struct draft {
    int64_t receiver, sender;
    int64_t parent;   /* draft that its rows come to the sender with, -1 if none */
    int depth;        /* 0 without parent, else parent's + 1 */
    int64_t num_rows; /* hops of this draft */
    int64_t order;    /* among all messages by set, depth, receiver, sender, order of the parent */
} draft_t;

/* All drafts of a node, numbered as they were begun. */
typedef struct drafts {
    int64_t num, capacity;
    draft_t *list;   /* [capacity] */
    int64_t *index;  /* [2 * capacity] 1 + draft, by receiver, sender and parent; 0: none. capacity is a power of two */
    int64_t *latest; /* [ranks of the node] 1 + draft of the receiver's last hop, 0: none. Often the next one's, too */
    const int *local_index; /* of ranks in the node */
    int max_depth;
    tli_arena_t *arena;
} drafts_t;

/* Hops of one row set. Sets have drafts of their own, as their first hops have senders on other nodes or inside. */
typedef struct hops {
    const tli_row_set_t *rows;
    drafts_t *drafts;
    int64_t first_draft, num_drafts; /* of the set, once all hops are there */
    int64_t num;
    int64_t *row, *draft; /* [num] */
} hops_t;

static tulle_status_t hops_alloc(const tulle_topology_t *topology, const tli_row_set_t *rows, drafts_t *drafts,
                                 hops_t *hops)
{
    tulle_status_t st = TULLE_OK;
    /* Each needer is reached once, and each group on the way adds at most one port that has no need of its own. */
    int64_t capacity = rows->needer_ptr[rows->num_rows] * topology->num_levels;
    *hops = (hops_t){.rows = rows, .drafts = drafts, .first_draft = drafts->num};
    TLI_TRY(tli_arena_alloc_raw(drafts->arena, capacity, sizeof(int64_t), &hops->row));
    TLI_TRY(tli_arena_alloc_raw(drafts->arena, capacity, sizeof(int64_t), &hops->draft));
done:
    return st;
}

/* Where a draft is in the index, or would be. */
static int64_t *find_draft(const drafts_t *drafts, int64_t receiver, int64_t sender, int64_t parent)
{
    const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15), last = 2 * (uint64_t)drafts->capacity - 1;
    uint64_t hash = (((uint64_t)receiver * factor + (uint64_t)sender) * factor + (uint64_t)parent) * factor;
    uint64_t place = hash >> 32 & last;
    for (; drafts->index[place] != 0; place = (place + 1) & last) {
        const draft_t *draft = &drafts->list[drafts->index[place] - 1];
        if (draft->receiver == receiver && draft->sender == sender && draft->parent == parent)
            break;
    }
    return &drafts->index[place];
}

static tulle_status_t grow_drafts(drafts_t *drafts)
{
    tulle_status_t st = TULLE_OK;
    const draft_t *before = drafts->list;
    int64_t capacity = drafts->capacity > 0 ? 2 * drafts->capacity : FEWEST_DRAFTS;
    TLI_TRY(tli_arena_alloc_raw(drafts->arena, capacity, sizeof *drafts->list, &drafts->list));
    TLI_TRY(tli_arena_alloc(drafts->arena, 2 * capacity, sizeof *drafts->index, &drafts->index));
    drafts->capacity = capacity;
    if (drafts->num > 0)
        memcpy(drafts->list, before, (size_t)drafts->num * sizeof *before);
    for (int64_t d = 0; d < drafts->num; d++)
        *find_draft(drafts, before[d].receiver, before[d].sender, before[d].parent) = d + 1;
done:
    return st;
}

static tulle_status_t begin_draft(drafts_t *drafts, int64_t receiver, int64_t sender, int64_t parent)
{
    tulle_status_t st = TULLE_OK;
    int depth = parent < 0 ? 0 : drafts->list[parent].depth + 1;
    if (drafts->num == drafts->capacity)
        TLI_TRY(grow_drafts(drafts));
    drafts->list[drafts->num] = (draft_t){receiver, sender, parent, depth, 0, 0};
    *find_draft(drafts, receiver, sender, parent) = ++drafts->num;
    drafts->max_depth = depth > drafts->max_depth ? depth : drafts->max_depth;
done:
    return st;
}

static tulle_status_t add_hop(hops_t *hops, int64_t receiver, int64_t sender, int64_t row, int64_t parent)
{
    tulle_status_t st = TULLE_OK;
    drafts_t *drafts = hops->drafts;
    int64_t *latest = &drafts->latest[drafts->local_index[receiver]], draft = *latest - 1;
    if (draft < 0 || drafts->list[draft].sender != sender || drafts->list[draft].parent != parent)
        draft = drafts->capacity > 0 ? *find_draft(drafts, receiver, sender, parent) - 1 : -1;
    if (draft < 0) {
        draft = drafts->num;
        TLI_TRY(begin_draft(drafts, receiver, sender, parent));
    }
    *latest = draft + 1;
    drafts->list[draft].num_rows++;
    hops->row[hops->num] = row;
    hops->draft[hops->num++] = draft;
done:
    return st;
}

static int64_t last_draft(const hops_t *hops)
{
    return hops->draft[hops->num - 1];
}

/* Rows that are inside a group, each on the rank where it came in. */
typedef struct arrived {
    int64_t num;
    int64_t *row;
    int64_t *rank;  /* that has it */
    int64_t *draft; /* that brings it there, -1 for an owner */
} arrived_t;

static tulle_status_t arrived_alloc(int64_t capacity, tli_arena_t *arena, arrived_t *arrived)
{
    tulle_status_t st = TULLE_OK;
    arrived->num = 0;
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &arrived->row));
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &arrived->rank));
    TLI_TRY(tli_arena_alloc_raw(arena, capacity, sizeof(int64_t), &arrived->draft));
done:
    return st;
}

static void add_arrived(arrived_t *arrived, int64_t row, int64_t rank, int64_t draft)
{
    arrived->row[arrived->num] = row;
    arrived->rank[arrived->num] = rank;
    arrived->draft[arrived->num++] = draft;
}

/* Inside an innermost group: from where a row is to every other rank that needs it. */
static tulle_status_t hand_to_ranks(const tli_node_route_t *route, hops_t *hops, int level, int group,
                                    const arrived_t *arrived)
{
    tulle_status_t st = TULLE_OK;
    const int *group_of = route->topology->levels[level].group_of;
    const tli_row_set_t *rows = hops->rows;
    for (int64_t i = 0; i < arrived->num; i++) {
        int64_t row = arrived->row[i];
        for (int64_t n = rows->needer_ptr[row]; n < rows->needer_ptr[row + 1]; n++)
            if (group_of[rows->needer[n]] == group && rows->needer[n] != arrived->rank[i])
                TLI_TRY(add_hop(hops, rows->needer[n], arrived->rank[i], row, arrived->draft[i]));
    }
done:
    return st;
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
            add_arrived(&inner, outer->row[i], outer->rank[i], outer->draft[i]);
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
        TLI_TRY(add_hop(hops, port[e], outer->rank[i], outer->row[i], outer->draft[i]));
        add_arrived(&inner, outer->row[i], port[e], last_draft(hops));
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
        TLI_TRY(hand_to_ranks(route, hops, level, group, arrived));
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
static tulle_status_t hop_outside(const tli_node_route_t *route, drafts_t *drafts, hops_t *hops)
{
    tulle_status_t st = TULLE_OK;
    const tli_row_set_t *rows = &route->outside;
    arrived_t landed;
    tli_pair_mode_t mode = TLI_PAIR_DIRECT;
    TLI_TRY(hops_alloc(route->topology, rows, drafts, hops));
    TLI_TRY(arrived_alloc(rows->num_rows, route->arena, &landed));
    for (int64_t row = 0; row < rows->num_rows; row++) {
        mode = mode_of_next(route, row, mode);
        if (mode == TLI_PAIR_DIRECT) {
            for (int64_t i = rows->needer_ptr[row]; i < rows->needer_ptr[row + 1]; i++)
                TLI_TRY(add_hop(hops, rows->needer[i], rows->owner[row], row, -1));
        } else {
            TLI_TRY(add_hop(hops, route->port[row], sender_of(route, row, mode), row, -1));
            add_arrived(&landed, row, route->port[row], last_draft(hops));
        }
    }
    TLI_TRY(spread(route, hops, 0, route->node, &landed));
    hops->num_drafts = drafts->num - hops->first_draft;
done:
    return st;
}

/* Rows owned on this node, for its own ranks and for those that collect them for other nodes. */
static tulle_status_t merge_transit(const tli_node_route_t *route, const tli_needs_t *transit, tli_row_set_t *rows)
{
    tulle_status_t st = TULLE_OK;
    const tli_row_set_t *inside = &route->inside;
    int64_t num_inside = inside->needer_ptr[inside->num_rows];
    tli_needs_t needs = {num_inside + transit->num, NULL};
    TLI_TRY(tli_arena_alloc_raw(route->arena, needs.num, 3 * sizeof *needs.words, &needs.words));
    for (int64_t row = 0; row < inside->num_rows; row++) {
        for (int64_t i = inside->needer_ptr[row]; i < inside->needer_ptr[row + 1]; i++) {
            const int64_t need[3] = {inside->owner[row], inside->row[row], inside->needer[i]};
            memcpy(needs.words + 3 * i, need, sizeof need);
        }
    }
    memcpy(needs.words + 3 * num_inside, transit->words, (size_t)transit->num * 3 * sizeof *needs.words);
    TLI_TRY(tli_row_set_build(&needs, route->arena, rows));
done:
    return st;
}

static tulle_status_t hop_inside(const tli_node_route_t *route, const tli_row_set_t *rows, drafts_t *drafts,
                                 hops_t *hops)
{
    tulle_status_t st = TULLE_OK;
    arrived_t owned;
    TLI_TRY(hops_alloc(route->topology, rows, drafts, hops));
    TLI_TRY(arrived_alloc(rows->num_rows, route->arena, &owned));
    for (int64_t row = 0; row < rows->num_rows; row++)
        add_arrived(&owned, row, rows->owner[row], -1);
    TLI_TRY(spread(route, hops, 0, route->node, &owned));
    hops->num_drafts = drafts->num - hops->first_draft;
done:
    return st;
}

/* --- finish: messages -------------------------------------------------------------------------------------------- */

/* Numbers the drafts of one set and depth, whose parents are numbered. */
static void order_drafts(const hops_t *hops, int depth, int64_t *records, int64_t *scratch, int64_t *num_ordered)
{
    draft_t *list = hops->drafts->list;
    int64_t n = 0;
    for (int64_t d = hops->first_draft; d < hops->first_draft + hops->num_drafts; d++) {
        if (list[d].depth == depth) {
            int64_t *record = records + 4 * n++;
            record[0] = list[d].receiver;
            record[1] = list[d].sender;
            record[2] = depth > 0 ? list[list[d].parent].order : 0;
            record[3] = d;
        }
    }
    tli_sort_by(records, scratch, n, 4, 2 + 1);
    for (int64_t i = 0; i < n; i++)
        list[records[4 * i + 3]].order = (*num_ordered)++;
}

/* Drafts as messages: by receiver, sender, order. Returns where the rows of each draft begin. */
static tulle_status_t list_messages(const drafts_t *drafts, int64_t *records, int64_t *scratch,
                                    tli_route_messages_t *messages, int64_t **place_out)
{
    tulle_status_t st = TULLE_OK;
    const draft_t *list = drafts->list;
    int64_t *place = NULL;
    TLI_TRY(tli_arena_alloc_raw(drafts->arena, drafts->num, sizeof(int64_t), &place));
    TLI_TRY(tli_arena_alloc_raw(drafts->arena, drafts->num, sizeof(int64_t), &messages->receiver));
    TLI_TRY(tli_arena_alloc_raw(drafts->arena, drafts->num, sizeof(int64_t), &messages->sender));
    TLI_TRY(tli_arena_alloc(drafts->arena, drafts->num + 1, sizeof(int64_t), &messages->ptr));
    for (int64_t d = 0; d < drafts->num; d++) {
        const int64_t record[4] = {list[d].receiver, list[d].sender, list[d].order, d};
        memcpy(records + 4 * d, record, sizeof record);
    }
    tli_sort_by(records, scratch, drafts->num, 4, 2 + 1);
    messages->num = drafts->num;
    for (int64_t m = 0; m < drafts->num; m++) {
        int64_t d = records[4 * m + 3];
        messages->receiver[m] = list[d].receiver;
        messages->sender[m] = list[d].sender;
        messages->ptr[m + 1] = messages->ptr[m] + list[d].num_rows;
        place[d] = messages->ptr[m];
    }
    *place_out = place;
done:
    return st;
}

/* Hops were made in the order of their rows, so those of a message ascend. */
static void fill_messages(const hops_t *hops, int64_t *place, tli_route_messages_t *messages)
{
    for (int64_t i = 0; i < hops->num; i++) {
        int64_t *to = messages->rows + 2 * place[hops->draft[i]]++;
        to[0] = hops->rows->owner[hops->row[i]];
        to[1] = hops->rows->row[hops->row[i]];
    }
}

tulle_status_t tli_route_finish(tli_node_route_t *route, const tli_needs_t *transit)
{
    tulle_status_t st = TULLE_OK;
    tli_row_set_t inside = route->inside;
    const tli_level_t *nodes = &route->topology->levels[0];
    drafts_t drafts = {.arena = route->arena, .local_index = nodes->local_index};
    hops_t hops[2];
    int64_t *records = NULL, *scratch = NULL, *place = NULL, num_ordered = 0;
    TLI_TRY(tli_arena_alloc(route->arena, nodes->member_ptr[route->node + 1] - nodes->member_ptr[route->node],
                            sizeof *drafts.latest, &drafts.latest));
    if (transit->num > 0)
        TLI_TRY(merge_transit(route, transit, &inside));
    TLI_TRY(hop_outside(route, &drafts, &hops[0]));
    TLI_TRY(hop_inside(route, &inside, &drafts, &hops[1]));
    TLI_TRY(tli_arena_alloc_raw(route->arena, drafts.num, 4 * sizeof *records, &records));
    TLI_TRY(tli_arena_alloc_raw(route->arena, drafts.num, 4 * sizeof *scratch, &scratch));
    for (int set = 0; set < 2; set++)
        for (int depth = 0; depth <= drafts.max_depth; depth++)
            order_drafts(&hops[set], depth, records, scratch, &num_ordered);
    TLI_TRY(list_messages(&drafts, records, scratch, &route->messages, &place));
    TLI_TRY(tli_arena_alloc_raw(route->arena, hops[0].num + hops[1].num, 2 * sizeof(int64_t), &route->messages.rows));
    for (int set = 0; set < 2; set++)
        fill_messages(&hops[set], place, &route->messages);
done:
    return st;
}
