/* SPDX-License-Identifier: Apache-2.0
 * Real matrices through every strategy, both directions and both ghost orders, on the topologies that the number of
 * ranks allows. Files and folders are given as arguments; folders are searched. The oracle knows nothing of Tulle:
 * values are functions of global ids, and scatter's sums are formed by one dense MPI_Allreduce. */
#define _XOPEN_SOURCE 700
#include <ftw.h>
#include <mpi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tulle/mpi.h>
#include <tulle/tulle.h>

#include "perf/input.h"

#define WIDTH          2
#define MAX_FILES      1024
#define MAX_TOPOLOGIES 8
#define SKIPPED        77

static char *files[MAX_FILES];
static int num_files = 0;
static tulle_comm_t *comms[MAX_TOPOLOGIES];
static int num_comms = 0;
static int my_rank, num_ranks;

static const char *const topologies[] = {"2x4", "2x2x2", "3,1,4",   "4x2:cyclic", "4x4", "2x8",
                                         "2x2", "3,1",   "(2,1),1", "2x1",        "3,4", "1"};

static int64_t owned_value(int64_t id, int k)
{
    return id * 7 + k;
}

static int64_t contribution(int64_t id, int rank, int k)
{
    return (id % 1009 + 1) * (rank + 1) + k;
}

typedef struct problem {
    const perf_input_t *input;
    const tulle_pattern_t *pattern;
    const int64_t *sums; /* [cols * WIDTH] of all ranks' contributions */
    const char *topology;
} problem_t;

static void check_ok(tulle_status_t st, const problem_t *p, const char *what)
{
    if (st != TULLE_OK)
        fail_msg("%s on %s: %s: %s", p->input->name, p->topology, what, tulle_last_error()->text);
}

static int64_t gather_errors(tulle_plan_t *plan, const problem_t *p, const int64_t *position)
{
    const int64_t *ids = tulle_pattern_needed_ids(p->pattern);
    int64_t errors = 0, num_owned = tulle_plan_num_owned(plan), num_ghosts = tulle_plan_num_ghosts(plan);
    int64_t *owned = calloc((size_t)(num_owned * WIDTH) + 1, sizeof *owned);
    int64_t *ghost = calloc((size_t)(num_ghosts * WIDTH) + 1, sizeof *ghost);
    for (int64_t i = 0; i < num_owned * WIDTH; i++)
        owned[i] = owned_value(p->input->first_col + i / WIDTH, (int)(i % WIDTH));
    memset(ghost, 0x55, (size_t)(num_ghosts * WIDTH) * sizeof *ghost);
    check_ok(tulle_gather(plan, owned, ghost, TULLE_I64, WIDTH, NULL), p, "gather");
    for (int64_t i = 0; i < tulle_plan_num_needed(plan); i++)
        for (int k = 0; k < WIDTH; k++)
            errors += ghost[position[i] * WIDTH + k] != owned_value(ids[i], k);
    free(owned);
    free(ghost);
    return errors;
}

static int64_t scatter_errors(tulle_plan_t *plan, const problem_t *p, const int64_t *position)
{
    const int64_t *ids = tulle_pattern_needed_ids(p->pattern);
    int64_t errors = 0, num_owned = tulle_plan_num_owned(plan), num_ghosts = tulle_plan_num_ghosts(plan);
    int64_t *owned = calloc((size_t)(num_owned * WIDTH) + 1, sizeof *owned);
    int64_t *ghost = calloc((size_t)(num_ghosts * WIDTH) + 1, sizeof *ghost);
    for (int64_t i = 0; i < num_owned * WIDTH; i++)
        owned[i] = owned_value(p->input->first_col + i / WIDTH, (int)(i % WIDTH));
    for (int64_t i = 0; i < tulle_plan_num_needed(plan); i++)
        for (int k = 0; k < WIDTH; k++)
            ghost[position[i] * WIDTH + k] = contribution(ids[i], my_rank, k);
    check_ok(tulle_scatter(plan, ghost, owned, TULLE_I64, WIDTH, TULLE_OP_SUM, NULL), p, "scatter");
    for (int64_t i = 0; i < num_owned * WIDTH; i++)
        errors += owned[i] != owned_value(p->input->first_col + i / WIDTH, (int)(i % WIDTH)) +
                                  p->sums[p->input->first_col * WIDTH + i];
    free(owned);
    free(ghost);
    return errors;
}

static void check_plan(tulle_comm_t *comm, const problem_t *p, tulle_strategy_t strategy, tulle_ghost_order_t order)
{
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_plan_t *plan = NULL;
    options.strategy = strategy;
    options.ghost_order = order;
    options.row_bytes = WIDTH * 8;
    check_ok(tulle_plan_create(comm, p->pattern, &options, &plan), p, "plan");
    int64_t *position = calloc((size_t)tulle_plan_num_needed(plan) + 1, sizeof *position);
    check_ok(tulle_plan_ghost_order(plan, position), p, "ghost order");
    int64_t errors[2] = {gather_errors(plan, p, position), scatter_errors(plan, p, position)};
    MPI_Allreduce(MPI_IN_PLACE, errors, 2, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    if (errors[0] + errors[1] > 0)
        fail_msg("%s on %s, strategy %s, ghost order %d: %lld wrong values in gather, %lld in scatter", p->input->name,
                 p->topology, tulle_strategy_name(strategy), (int)order, (long long)errors[0], (long long)errors[1]);
    free(position);
    tulle_plan_destroy(&plan);
}

static void check_on(tulle_comm_t *comm, problem_t *p)
{
    tulle_layout_t rows = TULLE_LAYOUT_BLOCK(p->input->num_rows), columns = TULLE_LAYOUT_BLOCK(p->input->num_cols);
    tulle_pattern_t *pattern = NULL;
    p->topology = tulle_topology_text(tulle_comm_topology(comm));
    check_ok(tulle_pattern_create_from_csr(comm, &rows, &columns, p->input->row_ptr, p->input->col_idx, &pattern), p,
             "pattern");
    p->pattern = pattern;
    for (int strategy = TULLE_STRATEGY_AUTO; strategy <= TULLE_STRATEGY_STRIPED; strategy++)
        for (int order = 0; order < 2; order++)
            check_plan(comm, p, (tulle_strategy_t)strategy, (tulle_ghost_order_t)order);
    tulle_pattern_destroy(&pattern);
}

/* Each rank contributes once to every column that its rows name and that it does not own. */
static int64_t *sum_contributions(const perf_input_t *input)
{
    int64_t *sums = calloc((size_t)(input->cols * WIDTH) + 1, sizeof *sums);
    for (int64_t e = 0; e < input->row_ptr[input->num_rows]; e++) {
        int64_t id = input->col_idx[e];
        int is_own = id >= input->first_col && id < input->first_col + input->num_cols;
        for (int k = 0; k < WIDTH && !is_own; k++)
            sums[id * WIDTH + k] = contribution(id, my_rank, k);
    }
    MPI_Allreduce(MPI_IN_PLACE, sums, (int)(input->cols * WIDTH), MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    return sums;
}

static void test_real_matrices_every_strategy_delivers_every_value(void **state)
{
    for (int f = 0; f < num_files; f++) {
        perf_input_t input = {0};
        problem_t problem = {.input = &input};
        if (perf_input_read_matrix(MPI_COMM_WORLD, files[f], NULL, NULL, &input) != TULLE_OK)
            fail_msg("%s: %s", files[f], tulle_last_error()->text);
        int64_t *sums = sum_contributions(&input);
        problem.sums = sums;
        for (int c = 0; c < num_comms; c++)
            check_on(comms[c], &problem);
        if (my_rank == 0)
            print_message("%s: %lld x %lld, %lld entries, %d topologies\n", input.name, (long long)input.rows,
                          (long long)input.cols, (long long)input.nnz, num_comms);
        free(sums);
        perf_input_release(&input);
    }
}

static int add_file(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    const char *suffix = strstr(path, ".mtx");
    if (kind == FTW_F && suffix != NULL && num_files < MAX_FILES)
        files[num_files++] = strdup(path);
    return 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void open_comms(void)
{
    for (size_t t = 0; t < sizeof topologies / sizeof topologies[0] && num_comms < MAX_TOPOLOGIES; t++) {
        tulle_topology_t *topology = NULL;
        tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
        if (tulle_topology_parse(topologies[t], num_ranks, &topology) != TULLE_OK)
            continue;
        options.topology = topology;
        if (tulle_comm_create(MPI_COMM_WORLD, &options, &comms[num_comms]) == TULLE_OK)
            num_comms++;
        tulle_topology_destroy(&topology);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_real_matrices_every_strategy_delivers_every_value)};
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &my_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &num_ranks);
    if (num_ranks > 1)
        setenv("CMOCKA_TEST_ABORT", "1", 1);
    for (int a = 1; a < argc; a++)
        nftw(argv[a], add_file, 16, FTW_PHYS);
    qsort(files, (size_t)num_files, sizeof files[0], compare_paths);
    open_comms();
    int failures = num_files == 0 ? SKIPPED : cmocka_run_group_tests(tests, NULL, NULL);
    for (int c = 0; c < num_comms; c++)
        tulle_comm_destroy(&comms[c]);
    for (int f = 0; f < num_files; f++)
        free(files[f]);
    MPI_Finalize();
    return failures;
}
