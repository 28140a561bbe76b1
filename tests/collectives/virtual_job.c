/* SPDX-License-Identifier: Apache-2.0
 * Random needs, and counting by definition: qsort and plain loops, nothing of the library's planning. */
#include "virtual_job.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/topology/trees.h"

#define LARGE_ROW ((int64_t)1 << 40)

void *virtual_alloc(int64_t count, size_t size)
{
    void *memory = calloc((size_t)count + 1, size);
    assert_non_null(memory);
    return memory;
}

/* --- needs ------------------------------------------------------------------------------------------------------- */

static const char *const kind_names[] = {
#define KIND_NAME(name, text) text,
    VIRTUAL_KIND_MAP(KIND_NAME)
#undef KIND_NAME
};

/* What the next need of a rank is drawn with. */
typedef struct draw {
    const tulle_topology_t *topology;
    virtual_kind_t kind;
    int64_t num_ranks, num_each, chosen;
    spt_random_t random;
} draw_t;

static int64_t skewed(draw_t *draw, int64_t bound)
{
    return (int64_t)((double)bound * pow((double)spt_below(&draw->random, 1 << 20) / (1 << 20), 4));
}

static int64_t draw_owner(draw_t *draw, int64_t rank)
{
    int64_t any = spt_below(&draw->random, draw->num_ranks);
    switch (draw->kind) {
    case VIRTUAL_POWER_LAW:
        return skewed(draw, draw->num_ranks);
    case VIRTUAL_LOCAL:
        return (rank + draw->num_ranks * 3 + spt_below(&draw->random, 7) - 3) % draw->num_ranks;
    case VIRTUAL_ONE_OWNER:
        return draw->chosen;
    default:
        return any;
    }
}

static int64_t draw_row(draw_t *draw, int64_t owner)
{
    int64_t row =
        draw->kind == VIRTUAL_POWER_LAW ? skewed(draw, draw->num_each) : spt_below(&draw->random, draw->num_each);
    return owner % 2 * LARGE_ROW + row;
}

static int is_wanted(const draw_t *draw, int64_t owner, int64_t rank)
{
    int owner_node = tulle_topology_group(draw->topology, 0, (int)owner);
    int node = tulle_topology_group(draw->topology, 0, (int)rank);
    switch (draw->kind) {
    case VIRTUAL_ONE_NEEDER:
        return rank == draw->chosen;
    case VIRTUAL_EMPTY_RANKS:
        return rank % 3 != 1 && owner % 4 != 2;
    case VIRTUAL_EMPTY_NODES:
        return node % 3 != 1 && owner_node % 4 != 2;
    case VIRTUAL_NOTHING:
        return 0;
    default:
        return 1;
    }
}

static void draw_needs(draw_t *draw, virtual_job_t *job)
{
    spt_random_t start = draw->random;
    for (int64_t rank = 0; rank < draw->num_ranks; rank++) {
        if (draw->kind == VIRTUAL_SHARED)
            draw->random = start;
        for (int64_t i = 0; i < draw->num_each; i++) {
            int64_t owner = draw_owner(draw, rank), row = draw_row(draw, owner);
            if (owner != rank && is_wanted(draw, owner, rank))
                virtual_job_add(job, owner, row, rank);
        }
    }
}

void virtual_job_add(virtual_job_t *job, int64_t owner, int64_t row, int64_t needer)
{
    tli_needs_t *needs = &job->needs;
    int is_full = (needs->num & (needs->num - 1)) == 0; /* at every power of two */
    if (is_full)
        needs->words = realloc(needs->words, (size_t)(2 * needs->num + 1) * 3 * sizeof *needs->words);
    assert_non_null(needs->words);
    memcpy(needs->words + 3 * needs->num++, (int64_t[]){owner, row, needer}, 3 * sizeof *needs->words);
}

void virtual_job_init(virtual_job_t *job, tulle_topology_t *topology, virtual_kind_t kind, int num_each, uint64_t seed)
{
    draw_t draw = {topology, kind, tulle_topology_num_ranks(topology), num_each, 0, {seed}};
    *job = (virtual_job_t){.topology = topology};
    snprintf(job->name, sizeof job->name, "%.80s, %s, seed %llu", tulle_topology_text(topology), kind_names[kind],
             (unsigned long long)seed);
    draw.chosen = spt_below(&draw.random, draw.num_ranks);
    draw_needs(&draw, job);
    virtual_shuffle(&job->needs, seed);
}

void virtual_job_init_text(virtual_job_t *job, const char *text)
{
    *job = (virtual_job_t){.topology = NULL};
    assert_int_equal(tulle_topology_parse(text, 0, &job->topology), TULLE_OK);
    snprintf(job->name, sizeof job->name, "%s", text);
}

void virtual_job_fini(virtual_job_t *job)
{
    tulle_topology_destroy(&job->topology);
    free(job->needs.words);
}

void virtual_shuffle(tli_needs_t *needs, uint64_t seed)
{
    spt_random_t random = {seed};
    for (int64_t i = needs->num - 1; i > 0; i--) {
        int64_t held[3], *a = needs->words + 3 * i, *b = needs->words + 3 * spt_below(&random, i + 1);
        memcpy(held, a, sizeof held);
        memmove(a, b, sizeof held);
        memcpy(b, held, sizeof held);
    }
}

/* --- many jobs --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    int num_each;
} machines[] = {
    {"1", 10},
    {"2", 10},
    {"1,1", 10},
    {"8", 40},
    {"2x4", 40},
    {"4x2x3", 40},
    {"3,1,4", 40},
    {"8x8", 30},
    {"(2,1),(3,1,2)", 40},
    {"16x1", 20},
    {"1,7,2", 40},
    {"3x(1,(2,3))", 20},
    {"16x2x4x2", 10},
    {"64x8", 8},
    {"2x2x2x2x2x2x2", 10},
    {"2x4:cyclic", 40},
    {"8x8:cyclic", 30},
    {"4x2x3:cyclic", 40},
    {"8:cyclic", 20},
    {"3,1,4:cyclic", 40},
    {"(2,1),(3,1,2):cyclic", 40},
    {"4x128", 8},
    {"16x2x4x2:cyclic", 10},
};
#define NUM_MACHINES     (sizeof machines / sizeof *machines)
#define NUM_RANDOM_TREES 150

static void check_machine(size_t i, void (*check)(const virtual_job_t *job))
{
    for (int kind = 0; kind < VIRTUAL_NUM_KINDS; kind++) {
        virtual_job_t job;
        tulle_topology_t *topology = NULL;
        assert_int_equal(tulle_topology_parse(machines[i].text, 0, &topology), TULLE_OK);
        virtual_job_init(&job, topology, (virtual_kind_t)kind, machines[i].num_each, i);
        /* Large machines take turns: all of them with all kinds would take minutes under sanitizers. */
        if (tulle_topology_num_ranks(topology) <= 64 || ((size_t)kind + i) % 3 == 0)
            check(&job);
        virtual_job_fini(&job);
    }
}

void virtual_for_all_jobs(void (*check)(const virtual_job_t *job))
{
    for (size_t i = 0; i < NUM_MACHINES; i++)
        check_machine(i, check);
    for (uint64_t seed = 0; seed < NUM_RANDOM_TREES; seed++) {
        virtual_job_t job;
        uint64_t state = seed;
        tulle_topology_t *topology = trees_random_topology(&state);
        virtual_job_init(&job, topology, (virtual_kind_t)(seed % VIRTUAL_NUM_KINDS), 20, seed);
        check(&job);
        virtual_job_fini(&job);
    }
}

/* --- by definition ----------------------------------------------------------------------------------------------- */

int virtual_compare_needs(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    int order = 0;
    for (int w = 0; w < 3 && order == 0; w++)
        order = (x[w] > y[w]) - (x[w] < y[w]);
    return order;
}

tli_needs_t virtual_distinct(const tli_needs_t *needs)
{
    tli_needs_t distinct = {0, virtual_alloc(needs->num, 3 * sizeof(int64_t))};
    tli_needs_t sorted = {needs->num, virtual_alloc(needs->num, 3 * sizeof(int64_t))};
    if (needs->num > 0)
        memcpy(sorted.words, needs->words, (size_t)needs->num * 3 * sizeof(int64_t));
    qsort(sorted.words, (size_t)sorted.num, 3 * sizeof(int64_t), virtual_compare_needs);
    for (int64_t i = 0; i < sorted.num; i++)
        if (i == 0 || virtual_compare_needs(sorted.words + 3 * i, sorted.words + 3 * (i - 1)) != 0)
            memcpy(distinct.words + 3 * distinct.num++, sorted.words + 3 * i, 3 * sizeof(int64_t));
    free(sorted.words);
    return distinct;
}

int virtual_crossing(const tulle_topology_t *topology, int64_t a, int64_t b)
{
    int level = 0;
    while (level < tulle_topology_num_levels(topology) &&
           tulle_topology_group(topology, level, (int)a) == tulle_topology_group(topology, level, (int)b))
        level++;
    return level;
}

/* Groups of a level that hold a row in the end; `mark` differs from row to row. */
static int64_t num_groups_reached(const tulle_topology_t *topology, int level, const int64_t *needs, int64_t num_needs,
                                  int64_t *stamp, int64_t mark)
{
    int64_t num_groups = 1;
    stamp[tulle_topology_group(topology, level, (int)needs[0])] = mark;
    for (int64_t i = 0; i < num_needs; i++) {
        int group = tulle_topology_group(topology, level, (int)needs[3 * i + 2]);
        num_groups += stamp[group] != mark;
        stamp[group] = mark;
    }
    return num_groups;
}

void virtual_limits(const virtual_job_t *job, int64_t *limits)
{
    int num_levels = tulle_topology_num_levels(job->topology);
    tli_needs_t needs = virtual_distinct(&job->needs);
    int64_t *stamp = virtual_alloc(tulle_topology_num_ranks(job->topology), sizeof *stamp);
    int64_t mark = 0;
    memset(limits, 0, (size_t)num_levels * sizeof *limits);
    for (int64_t first = 0, next = 0; first < needs.num; first = next) {
        int64_t outer = 1;
        const int64_t *row = needs.words + 3 * first;
        while (next < needs.num && memcmp(needs.words + 3 * next, row, 2 * sizeof *row) == 0)
            next++;
        for (int level = 0; level < num_levels; level++) {
            int64_t reached = num_groups_reached(job->topology, level, row, next - first, stamp, ++mark);
            limits[level] += reached - outer;
            outer = reached;
        }
    }
    free(stamp);
    free(needs.words);
}

int64_t virtual_direct_rows(const virtual_job_t *job)
{
    tli_needs_t needs = virtual_distinct(&job->needs);
    int64_t num_rows = 0;
    for (int64_t i = 0; i < needs.num; i++)
        num_rows += virtual_crossing(job->topology, needs.words[3 * i], needs.words[3 * i + 2]) == 0;
    free(needs.words);
    return num_rows;
}
