/* SPDX-License-Identifier: Apache-2.0
 * Plans: options, ghost order, what stats count against counts made here from everybody's needs, both forms of explain.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef TULLE_HAVE_JANSSON
#include <jansson.h>
#endif

#include "tests/support/trial.h"

#define MAX_LEVELS TULLE_TOPOLOGY_MAX_LEVELS

/* --- counts made here -------------------------------------------------------------------------------------------- */

/* A distinct remote row that a rank needs. */
typedef struct need {
    int64_t rank, owner, row;
} need_t;

typedef struct job {
    const tulle_topology_t *topology;
    int num_levels;
    int64_t *owned; /* [num_ranks] */
    int64_t num_needs;
    need_t *needs; /* of all ranks, ascending by (owner, row, rank) */
} job_t;

typedef struct counts {
    int64_t naive_rows[MAX_LEVELS], naive_messages[MAX_LEVELS];
    int64_t direct_rows[MAX_LEVELS], direct_messages[MAX_LEVELS];
    int64_t limit_rows[MAX_LEVELS];
    int64_t node_pairs;
} counts_t;

static int compare_needs(const void *a, const void *b)
{
    const need_t *x = a, *y = b;
    if (x->owner != y->owner)
        return x->owner < y->owner ? -1 : 1;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static job_t collect_job(const tulle_comm_t *comm, const spt_pattern_t *p)
{
    job_t job = {tulle_comm_topology(comm), tulle_topology_num_levels(tulle_comm_topology(comm)),
                 spt_alloc(spt_size(), 8), 0, NULL};
    need_t *mine = spt_alloc(p->num_needed * spt_size(), sizeof *mine);
    int32_t *to = spt_alloc(p->num_needed * spt_size(), sizeof *to);
    int64_t n = 0;
    MPI_Allgather(&p->num_owned, 1, MPI_INT64_T, job.owned, 1, MPI_INT64_T, MPI_COMM_WORLD);
    for (int64_t i = 0; i < p->num_needed; i++) {
        for (int32_t rank = 0; rank < spt_size() && p->owner_rank[i] != spt_rank(); rank++) {
            mine[n] = (need_t){spt_rank(), p->owner_rank[i], p->owner_row[i]};
            to[n++] = rank;
        }
    }
    spt_mail_t mail = spt_deliver(n, to, mine, sizeof *mine);
    job.needs = (need_t *)mail.records;
    if (mail.num > 0)
        qsort(job.needs, (size_t)mail.num, sizeof *job.needs, compare_needs);
    for (int64_t i = 0; i < mail.num; i++)
        if (i == 0 || compare_needs(&job.needs[i], &job.needs[i - 1]) != 0)
            job.needs[job.num_needs++] = job.needs[i];
    return job;
}

static int group(const job_t *job, int level, int64_t rank)
{
    return level < 0 ? 0 : tulle_topology_group(job->topology, level, (int)rank);
}

/* Outermost level at which two ranks are apart. */
static int crossing(const job_t *job, int64_t a, int64_t b)
{
    int level = 0;
    while (group(job, level, a) == group(job, level, b))
        level++;
    return level;
}

/* Needs first..last-1 are of one row. Inside a parent group, every child group that needs the row takes it once; none
 * is taken by the owner's child, nor by the first child of a parent into which the row came from outside. */
static int64_t limit_of_row(const job_t *job, int level, int64_t first, int64_t last)
{
    int64_t limit = 0;
    for (int parent = 0; parent < (level > 0 ? tulle_topology_num_groups(job->topology, level - 1) : 1); parent++) {
        int64_t owner = job->needs[first].owner, num_children = 0;
        int is_home = group(job, level - 1, owner) == parent, has_own = 0;
        for (int child = 0; child < tulle_topology_num_groups(job->topology, level); child++) {
            int is_needed = 0;
            for (int64_t i = first; i < last; i++)
                is_needed |= group(job, level - 1, job->needs[i].rank) == parent &&
                             group(job, level, job->needs[i].rank) == child;
            num_children += is_needed;
            has_own |= is_needed && is_home && group(job, level, owner) == child;
        }
        limit += num_children - (is_home ? has_own : num_children > 0);
    }
    return limit;
}

static counts_t count(const job_t *job)
{
    counts_t c = {0};
    int num_nodes = tulle_topology_num_groups(job->topology, 0);
    unsigned char *has_pair = spt_alloc(num_nodes, (size_t)num_nodes);
    unsigned char *has_message = spt_alloc(spt_size(), (size_t)spt_size());
    for (int64_t a = 0; a < spt_size(); a++) {
        for (int64_t b = 0; b < spt_size(); b++) {
            if (a != b && job->owned[a] > 0) {
                c.naive_rows[crossing(job, a, b)] += job->owned[a];
                c.naive_messages[crossing(job, a, b)]++;
            }
        }
    }
    for (int64_t i = 0, first = 0; i < job->num_needs; i++) {
        need_t *n = &job->needs[i];
        int level = crossing(job, n->rank, n->owner), is_last = i + 1 == job->num_needs;
        unsigned char *pair = &has_pair[group(job, 0, n->rank) * num_nodes + group(job, 0, n->owner)];
        c.direct_rows[level]++;
        c.direct_messages[level] += !has_message[n->rank * spt_size() + n->owner]++;
        c.node_pairs += level == 0 && *pair == 0;
        *pair |= level == 0;
        if (is_last || n[1].owner != n->owner || n[1].row != n->row) {
            for (int l = 0; l < job->num_levels; l++)
                c.limit_rows[l] += limit_of_row(job, l, first, i + 1);
            first = i + 1;
        }
    }
    return c;
}

/* --- stats ------------------------------------------------------------------------------------------------------- */

static tulle_plan_stats_t stats_of(const tulle_plan_t *plan)
{
    tulle_plan_stats_t stats = {.struct_size = sizeof stats}, first;
    spt_assert_ok_all(tulle_plan_get_stats(plan, &stats));
    first = stats;
    MPI_Bcast(&first, (int)sizeof first, MPI_BYTE, 0, MPI_COMM_WORLD);
    spt_assert_all(memcmp(&first, &stats, sizeof stats) == 0);
    return stats;
}

static void check_alternatives(const tulle_plan_stats_t *stats, const job_t *job, const counts_t *c)
{
    int64_t num_owned = 0;
    for (int rank = 0; rank < spt_size(); rank++)
        num_owned += job->owned[rank];
    assert_int_equal(stats->num_owned, num_owned);
    assert_int_equal(stats->num_needed, job->num_needs);
    assert_int_equal(stats->num_levels, job->num_levels);
    for (int level = 0; level < job->num_levels; level++) {
        const tulle_level_stats_t *l = &stats->levels[level];
        assert_string_equal(l->name, tulle_topology_level_name(job->topology, level));
        assert_int_equal(l->naive_rows, c->naive_rows[level]);
        assert_int_equal(l->naive_messages, c->naive_messages[level]);
        assert_int_equal(l->direct_rows, c->direct_rows[level]);
        assert_int_equal(l->direct_messages, c->direct_messages[level]);
        assert_int_equal(l->limit_rows, c->limit_rows[level]);
    }
}

/* What each strategy promises. */
static void check_plan(const tulle_plan_stats_t *stats, const counts_t *c)
{
    int is_once = stats->strategy != TULLE_STRATEGY_DIRECT && stats->strategy != TULLE_STRATEGY_AUTO;
    int64_t staged = 0;
    for (int level = 0; level < stats->num_levels; level++) {
        const tulle_level_stats_t *l = &stats->levels[level];
        staged += l->plan_rows;
        assert_true(l->busiest_rows <= l->plan_rows && l->busiest_rows * spt_size() >= l->plan_rows);
        assert_true(l->plan_messages <= l->plan_rows);
        if (stats->strategy == TULLE_STRATEGY_DIRECT) {
            assert_int_equal(l->plan_rows, c->direct_rows[level]);
            assert_int_equal(l->plan_messages, c->direct_messages[level]);
        } else if (is_once &&
                   (level == 0 || (level < stats->num_levels - 1 && stats->strategy != TULLE_STRATEGY_AGGREGATED &&
                                   stats->strategy != TULLE_STRATEGY_STRIPED))) {
            assert_int_equal(l->plan_rows, c->limit_rows[level]);
        }
    }
    /* Each row that a rank receives is one that it needs or passes on. */
    assert_int_equal(staged, stats->num_needed + stats->staging_rows);
    assert_int_equal(stats->routed_pairs + stats->aggregated_pairs + stats->direct_pairs + stats->striped_pairs,
                     c->node_pairs);
    if (stats->strategy == TULLE_STRATEGY_AGGREGATED)
        assert_int_equal(stats->levels[0].plan_messages, c->node_pairs);
    if (stats->strategy == TULLE_STRATEGY_DIRECT)
        assert_int_equal(stats->staging_rows, 0);
    assert_true(stats->setup_ns > 0 && stats->predicted_plan_ns >= 0);
    assert_true(stats->break_even_exchanges == -1 || stats->predicted_plan_ns < stats->predicted_direct_ns);
}

static void test_stats_agree_with_counts_of_everybodys_needs(void **state)
{
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        for (uint64_t stream = 0; stream < 4; stream++) {
            spt_pattern_t pattern = spt_pattern_random(100 + stream * 50 + (uint64_t)t);
            job_t job = collect_job(comm, &pattern);
            counts_t c = count(&job);
            int64_t busiest[6];
            for (int s = TULLE_STRATEGY_AUTO; s <= TULLE_STRATEGY_STRIPED; s++) {
                tulle_plan_t *plan = spt_plan_make(comm, &pattern, (tulle_strategy_t)s, TULLE_GHOST_ORDER_CALLER);
                tulle_plan_stats_t stats = stats_of(plan);
                check_alternatives(&stats, &job, &c);
                check_plan(&stats, &c);
                busiest[s] = stats.levels[0].busiest_rows;
                tulle_plan_destroy(&plan);
            }
            assert_true(busiest[TULLE_STRATEGY_BALANCED] <= busiest[TULLE_STRATEGY_RAIL]);
            spt_teardown(NULL);
        }
        tulle_comm_destroy(&comm);
    }
}

/* --- options and ghost order ------------------------------------------------------------------------------------- */

static void test_plan_options_are_kept(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    spt_pattern_t p = spt_pattern_random(3);
    tulle_pattern_t *pattern = spt_pattern_make(comm, &p);
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_plan_t *plan = NULL;
    spt_assert_ok_all(tulle_plan_create(comm, pattern, NULL, &plan));
    assert_int_equal(tulle_plan_strategy(plan), TULLE_STRATEGY_AUTO);
    assert_int_equal(stats_of(plan).row_bytes, 256);
    assert_int_equal(tulle_plan_num_owned(plan), p.num_owned);
    assert_int_equal(tulle_plan_num_needed(plan), p.num_needed);
    assert_int_equal(tulle_plan_num_ghosts(plan), p.num_needed);
    tulle_plan_destroy(&plan);
    options.strategy = TULLE_STRATEGY_RAIL;
    options.row_bytes = 12345;
    spt_assert_ok_all(tulle_plan_create(comm, pattern, &options, &plan));
    assert_int_equal(tulle_plan_strategy(plan), TULLE_STRATEGY_RAIL);
    assert_int_equal(stats_of(plan).row_bytes, 12345);
    assert_int_equal(stats_of(plan).strategy, TULLE_STRATEGY_RAIL);
    tulle_plan_destroy(&plan);
    tulle_pattern_destroy(&pattern);
    tulle_comm_destroy(&comm);
}

/* --- rows that cross in less -------------------------------------------------------------------------------------- */

static tulle_plan_stats_t stats_of_rows(tulle_comm_t *comm, const spt_pattern_t *pattern, int64_t row_bytes,
                                        tulle_wire_precision_t precision, int levels, int measure)
{
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_pattern_t *handle = spt_pattern_make(comm, pattern);
    tulle_plan_t *plan = NULL;
    options.row_bytes = row_bytes;
    options.wire_precision = precision;
    options.wire_levels = levels;
    options.measure = measure;
    spt_assert_ok_all(tulle_plan_create(comm, handle, &options, &plan));
    tulle_plan_stats_t stats = stats_of(plan);
    tulle_plan_destroy(&plan);
    tulle_pattern_destroy(&handle);
    return stats;
}

static int decides_alike(const tulle_plan_stats_t *a, const tulle_plan_stats_t *b)
{
    return a->direct_pairs == b->direct_pairs && a->routed_pairs == b->routed_pairs &&
           a->aggregated_pairs == b->aggregated_pairs && a->striped_pairs == b->striped_pairs;
}

/* A plan for rows that cross all levels in half their bytes is one for rows of half the bytes; for those that cross
 * only between nodes in less, it costs something in between. */
static void test_plan_counts_rows_as_they_cross(void **state)
{
    for (int i = 0; spt_topology(i) != NULL; i++) {
        tulle_comm_t *comm = spt_comm(spt_topology(i), 0);
        int num_levels = tulle_topology_num_levels(tulle_comm_topology(comm));
        spt_pattern_t pattern = spt_pattern_random(70 + (uint64_t)i);
        tulle_plan_stats_t whole = stats_of_rows(comm, &pattern, 65536, TULLE_WIRE_PRECISION_NONE, 0, 0);
        tulle_plan_stats_t half = stats_of_rows(comm, &pattern, 32768, TULLE_WIRE_PRECISION_NONE, 0, 0);
        tulle_plan_stats_t all = stats_of_rows(comm, &pattern, 65536, TULLE_WIRE_PRECISION_F16, num_levels, 0);
        tulle_plan_stats_t some = stats_of_rows(comm, &pattern, 65536, TULLE_WIRE_PRECISION_BF16, 0, 0);
        spt_assert_all(all.predicted_plan_ns == half.predicted_plan_ns);
        spt_assert_all(all.predicted_direct_ns == half.predicted_direct_ns && decides_alike(&all, &half));
        spt_assert_all(half.predicted_direct_ns <= some.predicted_direct_ns);
        spt_assert_all(some.predicted_direct_ns <= whole.predicted_direct_ns);
        spt_assert_all(whole.levels[0].direct_rows == 0 || some.predicted_direct_ns < whole.predicted_direct_ns);
        spt_assert_all(some.row_bytes == 65536 && some.wire_row_bytes == 32768 && some.wire_levels == 1);
        spt_assert_all(whole.wire_row_bytes == 65536);
        tulle_comm_destroy(&comm);
        spt_teardown(NULL);
    }
}

static void test_plan_measures_rows_as_they_cross(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(1), 0);
    spt_pattern_t pattern = spt_pattern_random(77);
    tulle_plan_stats_t stats = stats_of_rows(comm, &pattern, 1024, TULLE_WIRE_PRECISION_FP8, 0, 1);
    spt_assert_all(stats.strategy != TULLE_STRATEGY_AUTO || spt_size() >= 1);
    spt_assert_all(stats.wire_row_bytes == 257);
    tulle_comm_destroy(&comm);
}

static void test_plan_wire_options_that_mean_nothing_are_refused(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    spt_pattern_t pattern = spt_pattern_random(78);
    tulle_pattern_t *handle = spt_pattern_make(comm, &pattern);
    for (int i = 0; i < 4; i++) {
        tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
        tulle_plan_t *plan = NULL;
        options.wire_precision = i == 0 ? (tulle_wire_precision_t)9 : TULLE_WIRE_PRECISION_BF16;
        options.wire_levels = i == 1 ? -1 : i == 2 ? TULLE_TOPOLOGY_MAX_LEVELS + 1 : 0;
        options.row_bytes = i == 3 ? 6 : 8;
        spt_assert_all(tulle_plan_create(comm, handle, &options, &plan) == TULLE_ERR_ARG && plan == NULL);
    }
    tulle_pattern_destroy(&handle);
    tulle_comm_destroy(&comm);
}

static void test_plan_measured_is_one_of_the_strategies_and_the_same_everywhere(void **state)
{
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), t % 2);
        spt_pattern_t p = spt_pattern_random(300 + (uint64_t)t);
        tulle_pattern_t *pattern = spt_pattern_make(comm, &p);
        tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
        tulle_plan_t *plan = NULL;
        options.measure = 1;
        options.row_bytes = 24;
        options.ghost_order = (tulle_ghost_order_t)(t % 2);
        spt_assert_ok_all(tulle_plan_create(comm, pattern, &options, &plan));
        int strategies[2] = {(int)tulle_plan_strategy(plan), -(int)tulle_plan_strategy(plan)};
        MPI_Allreduce(MPI_IN_PLACE, strategies, 2, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
        assert_int_equal(strategies[0], -strategies[1]);
        assert_string_not_equal(tulle_strategy_name(tulle_plan_strategy(plan)), "unknown");
        assert_int_equal(stats_of(plan).row_bytes, 24);
        spt_assert_plan_works(plan, &p, (uint64_t)t, 2);
        tulle_plan_destroy(&plan);
        tulle_pattern_destroy(&pattern);
        tulle_comm_destroy(&comm);
    }
}

static void test_plan_measuring_another_strategy_is_refused(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    spt_pattern_t p = spt_pattern_random(3);
    tulle_pattern_t *pattern = spt_pattern_make(comm, &p);
    for (int culprit = 0; culprit < spt_size(); culprit++) {
        tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
        tulle_plan_t *plan = NULL;
        options.measure = 1;
        options.strategy = spt_rank() == culprit ? TULLE_STRATEGY_RAIL : TULLE_STRATEGY_AUTO;
        spt_assert_blames(tulle_plan_create(comm, pattern, &options, &plan), TULLE_ERR_ARG, culprit, "measure");
        options.strategy = TULLE_STRATEGY_AUTO;
        options.measure = spt_rank() == culprit;
        if (spt_size() > 1)
            spt_assert_fails_alike(tulle_plan_create(comm, pattern, &options, &plan), TULLE_ERR_MISMATCH, "measure");
    }
    tulle_pattern_destroy(&pattern);
    tulle_comm_destroy(&comm);
}

/* A program that was compiled before there was a choice by measurement. */
static void test_plan_options_of_the_first_release_are_taken(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    spt_pattern_t p = spt_pattern_random(3);
    tulle_pattern_t *pattern = spt_pattern_make(comm, &p);
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_plan_t *plan = NULL;
    options.struct_size = offsetof(tulle_plan_options_t, measure);
    options.strategy = TULLE_STRATEGY_RAIL;
    options.measure = 1; /* beyond the end: not looked at */
    spt_assert_ok_all(tulle_plan_create(comm, pattern, &options, &plan));
    assert_int_equal(tulle_plan_strategy(plan), TULLE_STRATEGY_RAIL);
    tulle_plan_destroy(&plan);
    tulle_pattern_destroy(&pattern);
    tulle_comm_destroy(&comm);
}

static void test_plan_null_has_no_rows(void **state)
{
    assert_int_equal(tulle_plan_num_owned(NULL), 0);
    assert_int_equal(tulle_plan_num_needed(NULL), 0);
    assert_int_equal(tulle_plan_num_ghosts(NULL), 0);
    assert_int_equal(tulle_plan_strategy(NULL), TULLE_STRATEGY_AUTO);
    assert_string_equal(tulle_strategy_name(TULLE_STRATEGY_BALANCED), "balanced");
    assert_string_equal(tulle_strategy_name((tulle_strategy_t)99), "unknown");
}

/* Equal rows share a place, other rows do not, own rows are named, every place is taken. */
static int is_plan_order(const spt_pattern_t *p, const int64_t *position, int64_t num_ghosts)
{
    int64_t num_places = 0;
    int is_right = 1;
    for (int64_t i = 0; i < p->num_needed && is_right; i++) {
        int is_first = position[i] >= 0;
        if (p->owner_rank[i] == spt_rank())
            is_right = position[i] == -1 - p->owner_row[i];
        else
            is_right = position[i] >= 0 && position[i] < num_ghosts;
        for (int64_t j = 0; j < i; j++) {
            is_first = is_first && position[j] != position[i];
            is_right = is_right && (position[i] == position[j]) == (p->needed_ids[i] == p->needed_ids[j]);
        }
        num_places += is_first;
    }
    return is_right && num_places == num_ghosts;
}

static void test_ghost_order_plan_numbers_distinct_remote_rows(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    for (int kind = 0; kind < 10; kind++) {
        spt_pattern_t p = spt_pattern_random(200 + (uint64_t)kind);
        int64_t *position = spt_alloc(p.num_needed, sizeof *position);
        tulle_plan_t *plan = spt_plan_make(comm, &p, (tulle_strategy_t)(kind % 6), TULLE_GHOST_ORDER_PLAN);
        spt_assert_ok_all(tulle_plan_ghost_order(plan, position));
        spt_assert_all(is_plan_order(&p, position, tulle_plan_num_ghosts(plan)));
        tulle_plan_destroy(&plan);
    }
    tulle_comm_destroy(&comm);
}

static void test_ghost_order_caller_is_the_callers(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    spt_pattern_t p = spt_pattern_random(7);
    int64_t *position = spt_alloc(p.num_needed, sizeof *position);
    tulle_plan_t *plan = spt_plan_make(comm, &p, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_CALLER);
    spt_assert_ok_all(tulle_plan_ghost_order(plan, position));
    for (int64_t i = 0; i < p.num_needed; i++)
        assert_int_equal(position[i], i);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

/* --- explain ----------------------------------------------------------------------------------------------------- */

static tulle_plan_t *plan_to_explain(tulle_comm_t **comm)
{
    int last = 0;
    while (spt_topology(last + 1) != NULL)
        last++;
    *comm = spt_comm(spt_topology(last), 0);
    spt_pattern_t p = spt_pattern_random(2);
    return spt_plan_make(*comm, &p, TULLE_STRATEGY_BALANCED, TULLE_GHOST_ORDER_CALLER);
}

static void test_explain_table_names_strategy_and_levels(void **state)
{
    tulle_comm_t *comm = NULL;
    tulle_plan_t *plan = plan_to_explain(&comm);
    const tulle_topology_t *topology = tulle_comm_topology(comm);
    FILE *out = spt_rank() == 0 ? tmpfile() : NULL;
    spt_assert_ok_all(tulle_plan_explain(plan, TULLE_EXPLAIN_TABLE, out));
    if (out != NULL) {
        char text[8192] = "";
        rewind(out);
        assert_true(fread(text, 1, sizeof text - 1, out) > 0);
        assert_non_null(strstr(text, "strategy balanced"));
        assert_non_null(strstr(text, tulle_topology_text(topology)));
        for (int level = 0; level < tulle_topology_num_levels(topology); level++)
            assert_non_null(strstr(text, tulle_topology_level_name(topology, level)));
        fclose(out);
    }
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

#ifdef TULLE_HAVE_JANSSON
static int64_t integer_at(const json_t *object, const char *outer, const char *inner)
{
    const json_t *value = json_object_get(json_object_get(object, outer), inner);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void check_json(FILE *out, const tulle_plan_stats_t *stats)
{
    json_error_t error;
    rewind(out);
    json_t *object = json_loadf(out, 0, &error);
    assert_non_null(object);
    const json_t *levels = json_object_get(object, "levels");
    assert_string_equal(json_string_value(json_object_get(object, "strategy")), "balanced");
    assert_int_equal(json_array_size(levels), stats->num_levels);
    for (int level = 0; level < stats->num_levels; level++) {
        const json_t *l = json_array_get(levels, (size_t)level);
        const tulle_level_stats_t *s = &stats->levels[level];
        assert_string_equal(json_string_value(json_object_get(l, "name")), s->name);
        assert_int_equal(integer_at(l, "rows", "naive"), s->naive_rows);
        assert_int_equal(integer_at(l, "rows", "direct"), s->direct_rows);
        assert_int_equal(integer_at(l, "rows", "plan"), s->plan_rows);
        assert_int_equal(integer_at(l, "rows", "limit"), s->limit_rows);
        assert_int_equal(integer_at(l, "messages", "plan"), s->plan_messages);
    }
    json_decref(object);
}
#endif

static void test_explain_json_says_what_stats_say(void **state)
{
#ifdef TULLE_HAVE_JANSSON
    tulle_comm_t *comm = NULL;
    tulle_plan_t *plan = plan_to_explain(&comm);
    tulle_plan_stats_t stats = stats_of(plan);
    FILE *out = spt_rank() == 0 ? tmpfile() : NULL;
    spt_assert_ok_all(tulle_plan_explain(plan, TULLE_EXPLAIN_JSON, out));
    if (out != NULL) {
        check_json(out, &stats);
        fclose(out);
    }
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
#else
    skip();
#endif
}

static void test_explain_stream_that_refuses_fails_all(void **state)
{
    tulle_comm_t *comm = NULL;
    tulle_plan_t *plan = plan_to_explain(&comm);
    FILE *full = fopen("/dev/full", "w");
    int has_full = full != NULL, all = 0;
    MPI_Allreduce(&has_full, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (all) {
        spt_assert_blames(tulle_plan_explain(plan, TULLE_EXPLAIN_TABLE, full), TULLE_ERR_FILE, 0, "stream refused");
        spt_assert_comm_works(comm);
    }
    if (full != NULL)
        fclose(full);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

/* Predicted for a collected exchange of one row for each rank that names an owner. */
static double predict_collected(tulle_comm_t *comm, const int32_t owners[4])
{
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_plan_stats_t stats = {.struct_size = sizeof stats};
    tulle_pattern_t *pattern = NULL;
    tulle_plan_t *plan = NULL;
    int64_t row = 0;
    options.strategy = TULLE_STRATEGY_AGGREGATED;
    spt_assert_ok_all(
        tulle_pattern_create_from_forest(comm, 1, owners[spt_rank()] >= 0, &owners[spt_rank()], &row, &pattern));
    spt_assert_ok_all(tulle_plan_create(comm, pattern, &options, &plan));
    spt_assert_ok_all(tulle_plan_get_stats(plan, &stats));
    tulle_plan_destroy(&plan);
    tulle_pattern_destroy(&pattern);
    return stats.predicted_plan_ns;
}

/* From node 1 to 0 rows leave by rank 2 and land on rank 1; the other way they leave by rank 1 and land on rank 2. */
static void test_hops_are_those_of_the_longest_way_of_a_row(void **state)
{
    static const int32_t collected[] = {-1, 3, -1, -1}, passed_on[] = {-1, -1, -1, 1}, either[] = {-1, 3, -1, 1};
    static const int32_t both[] = {3, -1, -1, -1};
    if (spt_size() != 4)
        skip();
    tulle_comm_t *comm = spt_comm("2x2", 0);
    tulle_link_t link;
    assert_int_equal(tulle_topology_get_link(tulle_comm_topology(comm), 1, &link), TULLE_OK);
    double one = predict_collected(comm, collected);
    spt_assert_all(fabs(predict_collected(comm, passed_on) - one) < link.latency_ns / 10);
    spt_assert_all(fabs(predict_collected(comm, either) - one) < link.latency_ns / 10);
    spt_assert_all(fabs(predict_collected(comm, both) - one - link.latency_ns) < link.latency_ns / 10);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_stats_agree_with_counts_of_everybodys_needs),
        spt_test(test_plan_options_are_kept),
        spt_test(test_plan_counts_rows_as_they_cross),
        spt_test(test_hops_are_those_of_the_longest_way_of_a_row),
        spt_test(test_plan_measures_rows_as_they_cross),
        spt_test(test_plan_wire_options_that_mean_nothing_are_refused),
        spt_test(test_plan_measured_is_one_of_the_strategies_and_the_same_everywhere),
        spt_test(test_plan_measuring_another_strategy_is_refused),
        spt_test(test_plan_options_of_the_first_release_are_taken),
        spt_test(test_plan_null_has_no_rows),
        spt_test(test_ghost_order_plan_numbers_distinct_remote_rows),
        spt_test(test_ghost_order_caller_is_the_callers),
        spt_test(test_explain_table_names_strategy_and_levels),
        spt_test(test_explain_json_says_what_stats_say),
        spt_test(test_explain_stream_that_refuses_fails_all),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
