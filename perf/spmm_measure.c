/* SPDX-License-Identifier: Apache-2.0
 * Times are taken from a common start to the end of run() on each rank; the slowest rank counts. Local methods end with
 * a barrier, too. */
#include "perf/spmm_measure.h"

#include <string.h>

#include "src/agree.h"
#include "src/start_line.h"

#define POISON        0xAA
#define LOCAL_SECONDS 0.02 /* of runs in a row, so that barriers do not count */

typedef struct contestant {
    const perf_spmm_method_t *method;
    void *state;
    double *times;  /* [iterations] s */
    int64_t in_row; /* runs between a start and a barrier */
    perf_spmm_result_t *result;
} contestant_t;

typedef struct contest {
    const perf_spmm_problem_t *problem;
    const perf_spmm_measure_options_t *options;
    MPI_Comm comm;
    tli_start_line_t start;
    int num;
    contestant_t entries[PERF_SPMM_NUM_METHODS];
    tli_arena_t arena;
} contest_t;

static tulle_status_t slowest(MPI_Comm comm, double *seconds, int64_t num)
{
    tulle_status_t st = TULLE_OK;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, seconds, (int)num, MPI_DOUBLE, MPI_MAX, comm));
done:
    return st;
}

static tulle_status_t run_timed(contest_t *contest, const contestant_t *entry, double *seconds_out)
{
    tulle_status_t st = TULLE_OK;
    double began = 0;
    TLI_TRY(tli_start_together(&contest->start, &began));
    for (int64_t i = 0; i < entry->in_row && st == TULLE_OK; i++)
        st = entry->method->run(entry->state);
    if (entry->method->is_local)
        TLI_MPI(MPI_Barrier(contest->comm));
    *seconds_out = (tli_clock() - began) / (double)entry->in_row;
    TLI_TRY(tli_agree(contest->comm, st));
done:
    return st;
}

static void poison(const contest_t *contest, const contestant_t *entry)
{
    const perf_spmm_case_t *one = contest->problem->one;
    int64_t row_stride = 0, col_stride = 0;
    void *c = entry->method->result(entry->state, &row_stride, &col_stride);
    if (one->num_c > 0)
        memset(c, POISON, (size_t)(one->num_c * one->width) * one->scalar_bytes);
}

static tulle_status_t run_checked(contest_t *contest, const contestant_t *entry, double *seconds_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t wrong = 0, row_stride = 0, col_stride = 0;
    if (entry->method->has_result)
        poison(contest, entry);
    TLI_TRY(run_timed(contest, entry, seconds_out));
    if (entry->method->has_result) {
        const void *c = entry->method->result(entry->state, &row_stride, &col_stride);
        wrong = perf_spmm_case_count_wrong(contest->problem->one, c, row_stride, col_stride);
    }
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_INT64_T, MPI_SUM, contest->comm));
    if (wrong > entry->result->wrong)
        entry->result->wrong = wrong;
done:
    return st;
}

static tulle_status_t enter(contest_t *contest, const perf_spmm_method_t *method, perf_spmm_result_t *result)
{
    tulle_status_t st = TULLE_OK;
    double seconds = 0;
    *result = (perf_spmm_result_t){.method = method};
    result->refusal = method->refuses != NULL ? method->refuses(contest->problem) : NULL;
    if (result->refusal != NULL)
        goto done;
    perf_watch_begin(contest->options->watch, "checking %s", method->name);
    contestant_t *entry = &contest->entries[contest->num++];
    *entry = (contestant_t){.method = method, .in_row = 1, .result = result};
    st = tli_arena_alloc(&contest->arena, contest->options->iterations, sizeof(double), &entry->times);
    TLI_TRY(tli_agree(contest->comm, st));
    TLI_MPI(MPI_Barrier(contest->comm));
    double began = MPI_Wtime();
    TLI_TRY(method->setup(contest->problem, &entry->state));
    result->setup_us = 1e6 * (MPI_Wtime() - began);
    TLI_TRY(slowest(contest->comm, &result->setup_us, 1));
    TLI_TRY(run_checked(contest, entry, &seconds));
    TLI_TRY(slowest(contest->comm, &seconds, 1));
    if (method->is_local && seconds > 0 && seconds < LOCAL_SECONDS)
        entry->in_row = (int64_t)(LOCAL_SECONDS / seconds);
done:
    return st;
}

/* Every method begins as many turns as any other, and none always follows the same one. */
static tulle_status_t repeat(contest_t *contest)
{
    tulle_status_t st = TULLE_OK;
    const perf_spmm_measure_options_t *options = contest->options;
    int64_t total = options->warmup + options->iterations;
    for (int64_t k = 0; k < total; k++) {
        int is_reversed = k / (contest->num > 0 ? contest->num : 1) % 2 != 0;
        for (int i = 0; i < contest->num; i++) {
            const contestant_t *entry = &contest->entries[(k + (is_reversed ? contest->num - i : i)) % contest->num];
            double seconds = 0;
            TLI_TRY(k == total - 1 ? run_checked(contest, entry, &seconds) : run_timed(contest, entry, &seconds));
            if (k >= options->warmup)
                entry->times[k - options->warmup] = seconds;
        }
        perf_watch_advance(options->watch, (double)(k + 1) / (double)total);
    }
done:
    return st;
}

static tulle_status_t compare(contest_t *contest)
{
    tulle_status_t st = TULLE_OK;
    int64_t n = contest->options->iterations;
    double *scratch = NULL;
    TLI_TRY(tli_arena_alloc(&contest->arena, 2 * n + PERF_RATIO_DRAWS, sizeof(double), &scratch));
    for (int i = 0; i < contest->num; i++)
        contest->entries[i].result->ratio =
            perf_ratio(contest->entries[i].times, contest->entries[0].times, n, scratch);
done:
    return st;
}

static tulle_status_t summarize(contest_t *contest)
{
    tulle_status_t st = TULLE_OK;
    int64_t n = contest->options->iterations;
    for (int i = 0; i < contest->num; i++)
        TLI_TRY(slowest(contest->comm, contest->entries[i].times, n));
    TLI_TRY(tli_agree(contest->comm, compare(contest)));
    for (int i = 0; i < contest->num; i++) {
        perf_spmm_result_t *result = contest->entries[i].result;
        perf_statistics_t statistics = perf_statistics(contest->entries[i].times, n);
        result->min_us = 1e6 * statistics.min;
        result->median_us = 1e6 * statistics.median;
        result->p99_us = 1e6 * statistics.p99;
    }
done:
    return st;
}

tulle_status_t perf_spmm_measure(const perf_spmm_problem_t *problem, const perf_spmm_measure_options_t *options,
                                 perf_spmm_result_t *results, int *num_results_out)
{
    tulle_status_t st = TULLE_OK;
    contest_t contest = {.problem = problem, .options = options, .comm = problem->one->comm};
    *num_results_out = 0;
    TLI_TRY(tli_start_line_create(contest.comm, &contest.start));
    for (int i = 0; i < PERF_SPMM_NUM_METHODS; i++)
        if ((options->methods & (unsigned)perf_spmm_methods[i]->bit) != 0)
            TLI_TRY(enter(&contest, perf_spmm_methods[i], &results[(*num_results_out)++]));
    perf_watch_begin(options->watch, "timing products");
    TLI_TRY(repeat(&contest));
    TLI_TRY(summarize(&contest));
done:
    perf_watch_end(options->watch);
    for (int i = 0; i < contest.num; i++)
        contest.entries[i].method->teardown(contest.entries[i].state);
    tli_arena_release(&contest.arena);
    return st;
}
