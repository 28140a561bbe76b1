/* SPDX-License-Identifier: Apache-2.0
 * Which mode for which source node. AUTO counts what every way would move for every pair of nodes, prices each for all
 * pairs alike, begins with the cheapest, and then changes the way of one pair at a time as long as the node gains. What
 * is taken is what costs the dearest node least. */
#include "collectives/modes.h"

#include <string.h>

#include "collectives/ports.h"
#include "src/fault.h"
#include "topology/cost.h"

/* Passes over all pairs; each gains less than the one before. */
#define MOST_PASSES 8

/* A pair goes a way of its own only where the node gains this part of the mean pair's share of its time: less is within
 * the model's error, and mixed ways have costs that it does not see. */
#define LEAST_GAIN 0.1

/* What is not direct must promise to save this part of the time of direct messages, and of the latency between nodes:
 * so much may the model be wrong by. README.md has what was measured. */
#define LEAST_PROMISE       0.005
#define LEAST_PART_OF_DELAY 0.2

/* A mode with a choice of ports, in the order in which ties are decided. */
typedef enum way { DIRECT, RAIL, BALANCED, STRIPED, AGGREGATED, NUM_WAYS } way_t;
_Static_assert(TLI_NUM_PRICES == NUM_WAYS + 1, "one price for each way, and one for ways of pairs");

static const tli_pair_mode_t mode_of_way[NUM_WAYS] = {
    [DIRECT] = TLI_PAIR_DIRECT,   [RAIL] = TLI_PAIR_ROUTED,           [BALANCED] = TLI_PAIR_ROUTED,
    [STRIPED] = TLI_PAIR_STRIPED, [AGGREGATED] = TLI_PAIR_AGGREGATED,
};

static const tli_pair_mode_t mode_of_strategy[] = {
    [TULLE_STRATEGY_DIRECT] = TLI_PAIR_DIRECT,   [TULLE_STRATEGY_RAIL] = TLI_PAIR_ROUTED,
    [TULLE_STRATEGY_BALANCED] = TLI_PAIR_ROUTED, [TULLE_STRATEGY_AGGREGATED] = TLI_PAIR_AGGREGATED,
    [TULLE_STRATEGY_STRIPED] = TLI_PAIR_STRIPED,
};

/* What one pair of nodes moves in one way. */
typedef struct volume {
    int64_t rows, messages;             /* between the nodes */
    int64_t inner_rows, inner_messages; /* inside either node on the way */
    int64_t busiest_rows;               /* of one sender */
    int hops;                           /* inside, that wait for one another */
} volume_t;

typedef struct choice {
    tli_node_route_t *route;
    int num_ranks;       /* of the node */
    int *rail_port;      /* [outside.num_rows] */
    volume_t *volumes;   /* [num_pairs * NUM_WAYS] */
    int64_t *num_owners; /* [num_pairs] ranks that rows come from */
    int64_t *stamp;      /* [3][num_ranks of the job] owner that was last seen with a needer, a rail, a balanced port */
    int *way;            /* [num_pairs] */
} choice_t;

static int size_of_node(const tulle_topology_t *topology, int node)
{
    return topology->levels[0].member_ptr[node + 1] - topology->levels[0].member_ptr[node];
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* --- what every way would move ----------------------------------------------------------------------------------- */

/* Of the rows of one owner, which are consecutive: messages, and rows that are passed on inside. */
static void count_messages(choice_t *c, int64_t first, int64_t end, volume_t *volumes)
{
    const tli_row_set_t *set = &c->route->outside;
    const int *rail = c->rail_port, *balanced = c->route->port;
    int64_t num_ranks = c->route->topology->num_ranks, mark = set->owner[first] + 1;
    int64_t *needer_stamp = c->stamp, *rail_stamp = c->stamp + num_ranks, *balanced_stamp = c->stamp + 2 * num_ranks;
    for (int64_t row = first; row < end; row++) {
        for (int64_t i = set->needer_ptr[row]; i < set->needer_ptr[row + 1]; i++) {
            int64_t needer = set->needer[i];
            volumes[DIRECT].messages += needer_stamp[needer] != mark;
            needer_stamp[needer] = mark;
            volumes[RAIL].inner_rows += needer != rail[row];
            volumes[BALANCED].inner_rows += needer != balanced[row];
        }
        volumes[RAIL].messages += rail_stamp[rail[row]] != mark;
        rail_stamp[rail[row]] = mark;
        volumes[BALANCED].messages += balanced_stamp[balanced[row]] != mark;
        balanced_stamp[balanced[row]] = mark;
    }
}

/* Of the rows of one owner, collected: to the rank that sends them, unless that owns them, and from the port to others
 * that need one. */
static int collected_hops(const choice_t *c, int64_t first, int64_t end)
{
    const tli_row_set_t *set = &c->route->outside;
    const tulle_topology_t *topology = c->route->topology;
    int owner = (int)set->owner[first], source = topology->levels[0].group_of[owner], is_passed_on = 0;
    int port = tli_aggregation_port(topology, source, c->route->node);
    for (int64_t i = set->needer_ptr[first]; i < set->needer_ptr[end] && !is_passed_on; i++)
        is_passed_on = set->needer[i] != port;
    return (owner != tli_aggregation_sender(topology, source, c->route->node)) + is_passed_on;
}

static void add_owner(choice_t *c, int64_t first, int64_t end, int pair)
{
    const tli_row_set_t *set = &c->route->outside;
    volume_t *volumes = c->volumes + (int64_t)pair * NUM_WAYS;
    const int64_t num_rows[] = {
        [DIRECT] = set->needer_ptr[end] - set->needer_ptr[first], [RAIL] = end - first, [BALANCED] = end - first};
    int hops = collected_hops(c, first, end);
    count_messages(c, first, end, volumes);
    c->num_owners[pair]++;
    if (hops > volumes[AGGREGATED].hops)
        volumes[AGGREGATED].hops = hops;
    for (int way = DIRECT; way <= BALANCED; way++) {
        volumes[way].rows += num_rows[way];
        if (num_rows[way] > volumes[way].busiest_rows)
            volumes[way].busiest_rows = num_rows[way];
    }
}

/* Rows are spread over lanes, each from a rank of the source node to a port: owners hand them to those who send, and
 * ports on to those who need. */
static volume_t striped_volume(const volume_t *volumes, int64_t num_lanes, int64_t num_owners, int64_t size)
{
    volume_t volume = {.rows = volumes[BALANCED].rows, .messages = num_lanes, .hops = 2};
    volume.inner_rows = volumes[BALANCED].rows + volumes[BALANCED].inner_rows;
    volume.inner_messages = num_owners * num_lanes + least(volumes[DIRECT].messages, num_lanes * (size - 1));
    volume.busiest_rows = (volumes[BALANCED].rows + num_lanes - 1) / num_lanes;
    return volume;
}

/* One rank collects a pair's rows, and one passes them on, while other pairs use other ranks, as far as there are. */
static volume_t aggregated_volume(const volume_t *volumes, int64_t num_pairs, int64_t num_owners, int64_t size)
{
    volume_t volume = {.rows = volumes[BALANCED].rows, .messages = 1, .hops = volumes[AGGREGATED].hops};
    volume.inner_rows = size / least(size, num_pairs) * (volumes[BALANCED].rows + volumes[DIRECT].rows);
    volume.inner_messages = num_owners - 1 + least(volumes[DIRECT].messages, size - 1);
    volume.busiest_rows = volumes[BALANCED].rows;
    return volume;
}

/* What follows from the counts: messages inside, as many as would have come directly, and the ways that collect. */
static void derive_rest(const choice_t *c, int source, int pair)
{
    volume_t *volumes = c->volumes + (int64_t)pair * NUM_WAYS;
    int64_t num_lanes = least(c->num_ranks, size_of_node(c->route->topology, source));
    for (int way = RAIL; way <= BALANCED; way++) {
        volumes[way].hops = volumes[way].inner_rows > 0;
        volumes[way].inner_messages = volumes[way].hops ? volumes[DIRECT].messages : 0;
    }
    num_lanes = least(num_lanes, volumes[BALANCED].messages);
    volumes[STRIPED] = striped_volume(volumes, num_lanes, c->num_owners[pair], c->num_ranks);
    volumes[AGGREGATED] = aggregated_volume(volumes, c->route->num_pairs, c->num_owners[pair], c->num_ranks);
}

static tulle_status_t measure_pairs(choice_t *c)
{
    tulle_status_t st = TULLE_OK;
    const tli_node_route_t *route = c->route;
    const int *group_of = route->topology->levels[0].group_of;
    TLI_TRY(tli_arena_alloc(route->arena, route->topology->num_ranks, 3 * sizeof *c->stamp, &c->stamp));
    TLI_TRY(tli_arena_alloc(route->arena, route->num_pairs, NUM_WAYS * sizeof *c->volumes, &c->volumes));
    TLI_TRY(tli_arena_alloc(route->arena, route->num_pairs, sizeof *c->num_owners, &c->num_owners));
    for (int64_t first = 0, end = 0; first < route->outside.num_rows; first = end) {
        while (end < route->outside.num_rows && route->outside.owner[end] == route->outside.owner[first])
            end++;
        add_owner(c, first, end, route->pair_of_node[group_of[route->outside.owner[first]]]);
    }
    for (int node = 0; node < route->topology->levels[0].num_groups; node++)
        if (route->pair_of_node[node] >= 0)
            derive_rest(c, node, route->pair_of_node[node]);
done:
    return st;
}

/* --- the cheapest ------------------------------------------------------------------------------------------------ */

/* What the node receives with the present ways; hops are counted by pairs, so that pairs can be taken out again. */
typedef struct total {
    volume_t sum;
    int num_with_hops[3]; /* [hops] pairs */
} total_t;

static void add_volume(total_t *total, const volume_t *volume, int sign)
{
    total->sum.rows += sign * volume->rows;
    total->sum.messages += sign * volume->messages;
    total->sum.inner_rows += sign * volume->inner_rows;
    total->sum.inner_messages += sign * volume->inner_messages;
    total->num_with_hops[volume->hops] += sign;
}

static double total_ns(const choice_t *c, const total_t *total)
{
    const tli_node_route_t *route = c->route;
    int inner = route->topology->num_levels - 1;
    tli_load_t load = {.hops = {1}};
    load.messages[0] = total->sum.messages;
    load.bytes[0] = total->sum.rows * tli_row_bytes_at(&route->row, 0);
    load.busiest_bytes = total->sum.busiest_rows * tli_row_bytes_at(&route->row, 0);
    load.messages[inner] = total->sum.inner_messages;
    load.bytes[inner] = total->sum.inner_rows * tli_row_bytes_at(&route->row, inner);
    load.hops[inner] = total->num_with_hops[2] > 0 ? 2 : total->num_with_hops[1] > 0;
    return tli_cost_load_ns(route->topology, c->num_ranks, &load);
}

static const volume_t *volume_of(const choice_t *c, int pair, int way)
{
    return &c->volumes[(int64_t)pair * NUM_WAYS + way];
}

/* Busiest sender of all pairs but one. */
static int64_t busiest_of_others(const choice_t *c, int pair)
{
    int64_t busiest = 0;
    for (int other = 0; other < c->route->num_pairs; other++)
        if (other != pair && volume_of(c, other, c->way[other])->busiest_rows > busiest)
            busiest = volume_of(c, other, c->way[other])->busiest_rows;
    return busiest;
}

static total_t total_of_ways(const choice_t *c)
{
    total_t total = {.sum = {0}};
    for (int pair = 0; pair < c->route->num_pairs; pair++)
        add_volume(&total, volume_of(c, pair, c->way[pair]), 1);
    total.sum.busiest_rows = busiest_of_others(c, -1);
    return total;
}

static void set_all(const choice_t *c, way_t way)
{
    for (int pair = 0; pair < c->route->num_pairs; pair++)
        c->way[pair] = (int)way;
}

/* What the node's share takes with every way for all pairs; leaves them all at the cheapest. */
static void price_alike(const choice_t *c)
{
    way_t best = DIRECT;
    double *price_ns = c->route->price_ns;
    for (int way = DIRECT; way < NUM_WAYS; way++) {
        set_all(c, (way_t)way);
        total_t total = total_of_ways(c);
        price_ns[way] = total_ns(c, &total);
        best = price_ns[way] < price_ns[best] ? (way_t)way : best;
    }
    set_all(c, best);
}

/* The way of one pair that is best for the node, the others being as they are. Returns whether it changed. */
static int improve_pair(const choice_t *c, int pair, total_t *total)
{
    int before = c->way[pair];
    const volume_t *old = volume_of(c, pair, before);
    int64_t others = old->busiest_rows < total->sum.busiest_rows ? total->sum.busiest_rows : busiest_of_others(c, pair);
    double best_ns = (1 - LEAST_GAIN / c->route->num_pairs) * total_ns(c, total);
    total_t best = *total;
    for (int way = DIRECT; way < NUM_WAYS; way++) {
        const volume_t *volume = volume_of(c, pair, way);
        total_t with = *total;
        add_volume(&with, old, -1);
        add_volume(&with, volume, 1);
        with.sum.busiest_rows = volume->busiest_rows > others ? volume->busiest_rows : others;
        double ns = total_ns(c, &with);
        if (ns < best_ns) {
            best_ns = ns;
            best = with;
            c->way[pair] = way;
        }
    }
    *total = best;
    return c->way[pair] != before;
}

static void price_ways(const choice_t *c)
{
    int has_changed = 1;
    price_alike(c);
    total_t total = total_of_ways(c);
    for (int pass = 0; pass < MOST_PASSES && has_changed; pass++) {
        has_changed = 0;
        for (int pair = 0; pair < c->route->num_pairs; pair++)
            has_changed |= improve_pair(c, pair, &total);
    }
    c->route->price_ns[NUM_WAYS] = total_ns(c, &total);
}

/* Ways of their own, for pairs, must gain as much over one way for all as they must gain for a pair. */
static int cheapest(const tulle_topology_t *topology, const double dearest_ns[TLI_NUM_PRICES])
{
    int best = DIRECT;
    for (int way = DIRECT; way < NUM_WAYS; way++)
        best = dearest_ns[way] < dearest_ns[best] ? way : best;
    if (dearest_ns[NUM_WAYS] < (1 - LEAST_GAIN) * dearest_ns[best])
        best = NUM_WAYS;
    double saved_ns = dearest_ns[DIRECT] - dearest_ns[best];
    int pays = saved_ns > LEAST_PROMISE * dearest_ns[DIRECT] &&
               saved_ns > LEAST_PART_OF_DELAY * topology->levels[0].link.latency_ns;
    return pays ? best : DIRECT;
}

static tulle_status_t find_rails(choice_t *c)
{
    tulle_status_t st = TULLE_OK;
    const tli_node_route_t *route = c->route;
    tli_entry_t entry = {route->topology, 0, route->node, &route->outside, NULL, route->outside.num_rows};
    int64_t *all = NULL;
    TLI_TRY(tli_arena_alloc_raw(route->arena, entry.num_entering, sizeof *all, &all));
    TLI_TRY(tli_arena_alloc_raw(route->arena, entry.num_entering, sizeof *c->rail_port, &c->rail_port));
    for (int64_t row = 0; row < entry.num_entering; row++)
        all[row] = row;
    entry.entering = all;
    tli_ports_rail(&entry, c->rail_port);
done:
    return st;
}

tulle_status_t tli_modes_price(tli_node_route_t *route)
{
    tulle_status_t st = TULLE_OK;
    choice_t c = {.route = route, .num_ranks = size_of_node(route->topology, route->node)};
    if (route->strategy != TULLE_STRATEGY_AUTO)
        goto done;
    TLI_TRY(find_rails(&c));
    TLI_TRY(measure_pairs(&c));
    TLI_TRY(tli_arena_alloc(route->arena, route->num_pairs, sizeof *c.way, &c.way));
    if (route->num_pairs > 0)
        price_ways(&c);
    route->way = c.way;
    route->rail_port = c.rail_port;
done:
    return st;
}

static void settle_automatically(tli_node_route_t *route, const double dearest_ns[TLI_NUM_PRICES])
{
    const int *group_of = route->topology->levels[0].group_of;
    int chosen = cheapest(route->topology, dearest_ns);
    for (int pair = 0; pair < route->num_pairs; pair++) {
        route->way[pair] = chosen == NUM_WAYS ? route->way[pair] : chosen;
        route->mode[pair] = mode_of_way[route->way[pair]];
    }
    for (int64_t row = 0; row < route->outside.num_rows; row++)
        if (route->way[route->pair_of_node[group_of[route->outside.owner[row]]]] == RAIL)
            route->port[row] = route->rail_port[row];
}

int tli_modes_collect(const tulle_topology_t *topology, tulle_strategy_t strategy,
                      const double dearest_ns[TLI_NUM_PRICES])
{
    if (strategy != TULLE_STRATEGY_AUTO)
        return tli_pair_mode_collects(mode_of_strategy[strategy]);
    int chosen = cheapest(topology, dearest_ns);
    return chosen == NUM_WAYS || tli_pair_mode_collects(mode_of_way[chosen]);
}

void tli_modes_settle(tli_node_route_t *route, const double dearest_ns[TLI_NUM_PRICES])
{
    if (route->strategy == TULLE_STRATEGY_AUTO)
        settle_automatically(route, dearest_ns);
    for (int pair = 0; route->strategy != TULLE_STRATEGY_AUTO && pair < route->num_pairs; pair++)
        route->mode[pair] = mode_of_strategy[route->strategy];
}
