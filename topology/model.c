/* SPDX-License-Identifier: Apache-2.0
 * The tree: built from the group of every rank at every level, copied, compared, hashed and queried.
 * Groups are numbered in one pass over the ranks with a hash table, so that a build is linear in ranks x levels. */
#include "topology/model.h"

#include <math.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "src/fault.h"
#include "topology/outline.h"

/* Scratch of one build. The table never holds an order that shows: a group gets its number at its lowest rank. */
typedef struct numbering {
    uint64_t mask;
    int *table;      /* [mask + 1] open addressing: group number, -1 = free */
    int *first_rank; /* [num_ranks] lowest rank of each group */
    int *cursor;     /* [num_ranks] next free place among the members of each group */
} numbering_t;

/* Why these values: README.md, decision of 2026-11-23. */
static const tulle_link_t default_node_link = {2000.0, 12.5e9, 1, 0, 0, 0};
static const tulle_link_t default_domain_link = {700.0, 8e9, 0, 0, 0, 0};
static const tulle_link_t default_rank_link = {400.0, 10e9, 0, 0, 0, 0};

static tulle_status_t numbering_alloc(tli_arena_t *scratch, int num_ranks, numbering_t *numbering)
{
    tulle_status_t st = TULLE_OK;
    int64_t size = 16;
    while (size < 2 * (int64_t)num_ranks)
        size *= 2;
    numbering->mask = (uint64_t)size - 1;
    TLI_TRY(tli_arena_alloc_raw(scratch, size, sizeof(int), &numbering->table));
    TLI_TRY(tli_arena_alloc_raw(scratch, num_ranks, sizeof(int), &numbering->first_rank));
    TLI_TRY(tli_arena_alloc_raw(scratch, num_ranks, sizeof(int), &numbering->cursor));
done:
    return st;
}

/* What makes two ranks share a group: the same parent and the same number. */
static uint64_t group_key(const int *parent_of, const int *number_of, int rank)
{
    uint64_t parent = parent_of == NULL ? 0 : (uint32_t)parent_of[rank];
    return parent << 32 | (uint32_t)number_of[rank];
}

/* Number the groups of one level by their lowest rank; return how many there are. parent_of is NULL for nodes. */
static int number_groups(const numbering_t *scratch, int num_ranks, const int *parent_of, const int *number_of,
                         int *group_of)
{
    int num_groups = 0;
    memset(scratch->table, -1, (scratch->mask + 1) * sizeof(int));
    for (int rank = 0; rank < num_ranks; rank++) {
        uint64_t key = group_key(parent_of, number_of, rank);
        uint64_t at = XXH3_64bits(&key, sizeof key) & scratch->mask;
        while (scratch->table[at] >= 0 &&
               group_key(parent_of, number_of, scratch->first_rank[scratch->table[at]]) != key)
            at = (at + 1) & scratch->mask;
        if (scratch->table[at] < 0) {
            scratch->first_rank[num_groups] = rank;
            scratch->table[at] = num_groups++;
        }
        group_of[rank] = scratch->table[at];
    }
    return num_groups;
}

static void list_members(tli_level_t *level, int num_ranks, int *cursor)
{
    memset(level->member_ptr, 0, ((size_t)level->num_groups + 1) * sizeof(int));
    for (int rank = 0; rank < num_ranks; rank++)
        level->member_ptr[level->group_of[rank] + 1]++;
    for (int group = 0; group < level->num_groups; group++) {
        level->member_ptr[group + 1] += level->member_ptr[group];
        cursor[group] = level->member_ptr[group];
    }
    for (int rank = 0; rank < num_ranks; rank++) {
        int group = level->group_of[rank];
        level->local_index[rank] = cursor[group] - level->member_ptr[group];
        level->members[cursor[group]++] = rank;
    }
}

static tulle_status_t build_groups(tulle_topology_t *topology, const int *number_of, const numbering_t *scratch)
{
    tulle_status_t st = TULLE_OK;
    int num_ranks = topology->num_ranks;
    int num_group_levels = topology->num_levels - 1;
    int *all_groups = NULL;
    /* One array for all group levels, in the layout that tli_topology_from_groups() takes: dup relies on it. */
    TLI_TRY(tli_arena_alloc_raw(&topology->arena, (int64_t)num_group_levels * num_ranks, sizeof(int), &all_groups));
    for (int l = 0; l < num_group_levels; l++) {
        tli_level_t *level = &topology->levels[l];
        level->group_of = all_groups + (size_t)l * (size_t)num_ranks;
        level->num_groups = number_groups(scratch, num_ranks, l == 0 ? NULL : topology->levels[l - 1].group_of,
                                          number_of + (size_t)l * (size_t)num_ranks, level->group_of);
        TLI_TRY(tli_arena_alloc_raw(&topology->arena, (int64_t)level->num_groups + 1, sizeof(int), &level->member_ptr));
        TLI_TRY(tli_arena_alloc_raw(&topology->arena, num_ranks, sizeof(int), &level->members));
        TLI_TRY(tli_arena_alloc_raw(&topology->arena, num_ranks, sizeof(int), &level->local_index));
        list_members(level, num_ranks, scratch->cursor);
    }
done:
    return st;
}

/* Every rank is its own group: one identity array serves as group_of, member_ptr and members. */
static tulle_status_t build_rank_level(tulle_topology_t *topology)
{
    tulle_status_t st = TULLE_OK;
    tli_level_t *level = &topology->levels[topology->num_levels - 1];
    int *identity = NULL;
    TLI_TRY(tli_arena_alloc_raw(&topology->arena, (int64_t)topology->num_ranks + 1, sizeof(int), &identity));
    TLI_TRY(tli_arena_alloc(&topology->arena, topology->num_ranks, sizeof(int), &level->local_index));
    for (int rank = 0; rank <= topology->num_ranks; rank++)
        identity[rank] = rank;
    level->num_groups = topology->num_ranks;
    level->group_of = identity;
    level->member_ptr = identity;
    level->members = identity;
done:
    return st;
}

static tulle_status_t set_names(tulle_topology_t *topology, const char *const *names)
{
    tulle_status_t st = TULLE_OK;
    static const char *const defaults[TULLE_TOPOLOGY_MAX_LEVELS - 1] = {"node",    "domain",  "domain2", "domain3",
                                                                        "domain4", "domain5", "domain6"};
    int last = topology->num_levels - 1;
    for (int l = 0; l < last; l++)
        TLI_TRY(tli_topology_set_name(topology, l, names == NULL ? defaults[l] : names[l]));
    TLI_TRY(tli_topology_set_name(topology, last, "rank"));
done:
    return st;
}

static void set_default_links(tulle_topology_t *topology)
{
    int last = topology->num_levels - 1;
    for (int l = 1; l < last; l++)
        topology->levels[l].link = default_domain_link;
    topology->levels[0].link = default_node_link;
    topology->levels[last].link = default_rank_link;
}

tulle_status_t tli_topology_from_groups(int num_ranks, int num_group_levels, const int *group_of,
                                        const char *const *names, tulle_topology_t **topology_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_topology_t *topology = NULL;
    tli_arena_t scratch = TLI_ARENA_INIT;
    numbering_t numbering = {0, NULL, NULL, NULL};
    TLI_REQUIRE(num_ranks >= 1, TULLE_ERR_ARG, "num_ranks is %d; a topology has at least 1 rank", num_ranks);
    TLI_REQUIRE(num_group_levels >= 1 && num_group_levels < TULLE_TOPOLOGY_MAX_LEVELS, TULLE_ERR_ARG,
                "num_group_levels is %d; allowed are 1 to %d", num_group_levels, TULLE_TOPOLOGY_MAX_LEVELS - 1);
    TLI_TRY(tli_alloc(sizeof *topology, &topology));
    topology->num_ranks = num_ranks;
    topology->num_levels = num_group_levels + 1;
    TLI_TRY(numbering_alloc(&scratch, num_ranks, &numbering));
    TLI_TRY(build_groups(topology, group_of, &numbering));
    TLI_TRY(build_rank_level(topology));
    TLI_TRY(set_names(topology, names));
    set_default_links(topology);
    TLI_TRY(tli_topology_format(topology, &topology->arena, &topology->text));
    tli_arena_seal(&topology->arena);
    *topology_out = topology;
    topology = NULL;
done:
    tli_arena_release(&scratch);
    tulle_topology_destroy(&topology);
    return st;
}

tulle_status_t tulle_topology_dup(const tulle_topology_t *topology, tulle_topology_t **topology_out)
{
    tulle_status_t st = TULLE_OK;
    tulle_topology_t *copy = NULL;
    TLI_REQUIRE(topology != NULL && topology_out != NULL, TULLE_ERR_ARG, "the topology or its output pointer is NULL");
    TLI_TRY(tli_topology_from_groups(topology->num_ranks, topology->num_levels - 1, topology->levels[0].group_of, NULL,
                                     &copy));
    for (int l = 0; l < topology->num_levels; l++) {
        memcpy(copy->levels[l].name, topology->levels[l].name, sizeof copy->levels[l].name);
        copy->levels[l].link = topology->levels[l].link;
        copy->levels[l].carrier = topology->levels[l].carrier;
    }
    TLI_TRY(tli_topology_set_places(copy, topology->places));
    *topology_out = copy;
    copy = NULL;
done:
    tulle_topology_destroy(&copy);
    return st;
}

void tulle_topology_destroy(tulle_topology_t **topology)
{
    if (topology == NULL || *topology == NULL)
        return;
    tli_arena_release(&(*topology)->arena);
    tli_free((*topology)->places);
    tli_free(*topology);
    *topology = NULL;
}

static int has_level(const tulle_topology_t *topology, int level)
{
    return topology != NULL && level >= 0 && level < topology->num_levels;
}

int tulle_topology_num_ranks(const tulle_topology_t *topology)
{
    return topology == NULL ? 0 : topology->num_ranks;
}

int tulle_topology_num_levels(const tulle_topology_t *topology)
{
    return topology == NULL ? 0 : topology->num_levels;
}

const char *tulle_topology_level_name(const tulle_topology_t *topology, int level)
{
    return has_level(topology, level) ? topology->levels[level].name : "";
}

int tulle_topology_group(const tulle_topology_t *topology, int level, int rank)
{
    int is_valid = has_level(topology, level) && rank >= 0 && rank < topology->num_ranks;
    return is_valid ? topology->levels[level].group_of[rank] : -1;
}

int tulle_topology_num_groups(const tulle_topology_t *topology, int level)
{
    return has_level(topology, level) ? topology->levels[level].num_groups : 0;
}

const char *tulle_topology_text(const tulle_topology_t *topology)
{
    return topology == NULL ? "" : topology->text;
}

static tulle_status_t check_level(const tulle_topology_t *topology, int level, const void *argument)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(topology != NULL && argument != NULL, TULLE_ERR_ARG, "the topology or the link pointer is NULL");
    TLI_REQUIRE(has_level(topology, level), TULLE_ERR_ARG, "level is %d; topology \"%.64s\" has levels 0 to %d", level,
                topology->text, topology->num_levels - 1);
done:
    return st;
}

tulle_status_t tulle_topology_get_link(const tulle_topology_t *topology, int level, tulle_link_t *link_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(check_level(topology, level, link_out));
    *link_out = topology->levels[level].link;
done:
    return st;
}

tulle_status_t tulle_topology_set_link(tulle_topology_t *topology, int level, const tulle_link_t *link)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(check_level(topology, level, link));
    TLI_REQUIRE(isfinite(link->latency_ns) && link->latency_ns >= 0, TULLE_ERR_ARG,
                "latency of level %d is %g ns; it must be finite and at least 0", level, link->latency_ns);
    TLI_REQUIRE(isfinite(link->bytes_per_second) && link->bytes_per_second > 0, TULLE_ERR_ARG,
                "bandwidth of level %d is %g bytes/s; it must be finite and above 0", level, link->bytes_per_second);
    TLI_REQUIRE(link->num_links >= 0, TULLE_ERR_ARG,
                "level %d has %d links; write 0 for one per rank, else a positive count", level, link->num_links);
    TLI_REQUIRE(isfinite(link->overhead_ns) && link->overhead_ns >= 0, TULLE_ERR_ARG,
                "overhead of level %d is %g ns; it must be finite and at least 0", level, link->overhead_ns);
    TLI_REQUIRE(isfinite(link->group_bytes_per_second) && link->group_bytes_per_second >= 0, TULLE_ERR_ARG,
                "group bandwidth of level %d is %g bytes/s; it must be finite and at least 0", level,
                link->group_bytes_per_second);
    TLI_REQUIRE(isfinite(link->group_overhead_ns) && link->group_overhead_ns >= 0, TULLE_ERR_ARG,
                "group overhead of level %d is %g ns; it must be finite and at least 0", level,
                link->group_overhead_ns);
    topology->levels[level].link = *link;
    /* -0.0 becomes 0.0: equal links must hash alike */
    topology->levels[level].link.latency_ns += 0.0;
    topology->levels[level].link.overhead_ns += 0.0;
    topology->levels[level].link.group_bytes_per_second += 0.0;
    topology->levels[level].link.group_overhead_ns += 0.0;
done:
    return st;
}

tulle_status_t tli_topology_set_name(tulle_topology_t *topology, int level, const char *name)
{
    tulle_status_t st = TULLE_OK;
    size_t length = strlen(name);
    TLI_REQUIRE(length >= 1 && length < sizeof topology->levels[level].name &&
                    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length,
                TULLE_ERR_ARG, "level name \"%.40s\" is not 1 to 31 characters of a-z, 0-9, _ and -", name);
    memcpy(topology->levels[level].name, name, length + 1);
done:
    return st;
}

int tli_topology_crossing(const tulle_topology_t *topology, int a, int b)
{
    int level = 0;
    TLI_ASSERT(a >= 0 && a < topology->num_ranks && b >= 0 && b < topology->num_ranks);
    while (level < topology->num_levels && topology->levels[level].group_of[a] == topology->levels[level].group_of[b])
        level++;
    return level;
}

uint64_t tli_topology_hash(const tulle_topology_t *topology)
{
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, &topology->num_ranks, sizeof topology->num_ranks);
    XXH3_64bits_update(&state, &topology->num_levels, sizeof topology->num_levels);
    for (int l = 0; l < topology->num_levels; l++) {
        /* Field by field: the padding of the struct has no defined value. */
        const tulle_link_t *link = &topology->levels[l].link;
        XXH3_64bits_update(&state, topology->levels[l].group_of, (size_t)topology->num_ranks * sizeof(int));
        XXH3_64bits_update(&state, &link->latency_ns, sizeof link->latency_ns);
        XXH3_64bits_update(&state, &link->bytes_per_second, sizeof link->bytes_per_second);
        XXH3_64bits_update(&state, &link->num_links, sizeof link->num_links);
        XXH3_64bits_update(&state, &link->overhead_ns, sizeof link->overhead_ns);
        XXH3_64bits_update(&state, &link->group_bytes_per_second, sizeof link->group_bytes_per_second);
        XXH3_64bits_update(&state, &link->group_overhead_ns, sizeof link->group_overhead_ns);
    }
    return XXH3_64bits_digest(&state);
}

static int links_equal(const tulle_link_t *a, const tulle_link_t *b)
{
    return a->latency_ns == b->latency_ns && a->bytes_per_second == b->bytes_per_second &&
           a->num_links == b->num_links && a->overhead_ns == b->overhead_ns &&
           a->group_bytes_per_second == b->group_bytes_per_second && a->group_overhead_ns == b->group_overhead_ns;
}

int tli_topology_equal(const tulle_topology_t *a, const tulle_topology_t *b)
{
    int is_equal = a->num_ranks == b->num_ranks && a->num_levels == b->num_levels;
    for (int l = 0; l < a->num_levels && is_equal; l++) {
        const tli_level_t *x = &a->levels[l];
        const tli_level_t *y = &b->levels[l];
        is_equal = links_equal(&x->link, &y->link) &&
                   memcmp(x->group_of, y->group_of, (size_t)a->num_ranks * sizeof(int)) == 0;
    }
    return is_equal;
}
