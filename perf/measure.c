/* SPDX-License-Identifier: Apache-2.0
 * Times are taken from a common start to the end of run() on each rank; the slowest rank counts. Every timed run is
 * followed by an agreement, so that a failure on one rank ends all of them. */
#include "perf/measure.h"

#include <stdio.h>

#include "perf/rounding.h"
#include "src/agree.h"
#include "src/start_line.h"

#define SLOW_ITERATIONS 3 /* a slow method is repeated for as long as so many slow exchanges, and not warmed up */

typedef struct contestant {
    const perf_method_t *method;
    const perf_case_t *one;
    void *state;
    perf_rows_t ghost;       /* [num_ghosts rows] */
    const int64_t *position; /* of needed ids in ghost; NULL = in their order */
    int64_t num_done;
    double *times; /* [iterations] s */
    perf_result_t *result;
} contestant_t;

typedef struct contest {
    const perf_measure_options_t *options;
    MPI_Comm comm;
    tli_start_line_t start;
    int num;
    perf_case_t
        plain; /* for all but Tulle: owned rows in plain memory, which MPI reads fastest, or on the device too */
    contestant_t entries[PERF_NUM_METHODS];
    tli_arena_t arena;
} contest_t;

static tulle_status_t slowest(MPI_Comm comm, double *seconds, int num)
{
    tulle_status_t st = TULLE_OK;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, seconds, num, MPI_DOUBLE, MPI_MAX, comm));
done:
    return st;
}

/* Others than Tulle know no device memory: for them rows are copied to the host and back, as programs have to do. */
static int is_staged(const contestant_t *entry)
{
    return entry->one->memory == PERF_MEMORY_DEVICE && ((unsigned)entry->method->bit & PERF_METHODS_OF_TULLE) == 0;
}

static tulle_status_t run_staged(const contestant_t *entry)
{
    tulle_status_t st = TULLE_OK;
    int is_gather = entry->one->direction == TULLE_GATHER;
    TLI_TRY(perf_rows_download(&entry->one->owned_rows));
    if (!is_gather)
        TLI_TRY(perf_rows_download(&entry->ghost));
    TLI_TRY(entry->method->run(entry->state));
    TLI_TRY(perf_rows_upload(is_gather ? &entry->ghost : &entry->one->owned_rows));
done:
    return st;
}

static tulle_status_t run_timed(contest_t *contest, contestant_t *entry, double *seconds_out)
{
    tulle_status_t st = TULLE_OK;
    double began = 0;
    TLI_TRY(tli_start_together(&contest->start, &began));
    st = is_staged(entry) ? run_staged(entry) : entry->method->run(entry->state);
    *seconds_out = tli_clock() - began;
    TLI_TRY(tli_agree(contest->comm, st));
done:
    return st;
}

static tulle_status_t prepare(contestant_t *entry)
{
    tulle_status_t st = TULLE_OK;
    perf_case_prepare(entry->one, entry->ghost.image, entry->position);
    TLI_TRY(perf_rows_upload(&entry->ghost));
    TLI_TRY(perf_rows_upload(&entry->one->owned_rows));
done:
    return tli_agree(entry->one->halo->comm, st);
}

static tulle_status_t reset(contestant_t *entry)
{
    tulle_status_t st = TULLE_OK;
    if (entry->one->direction == TULLE_SCATTER) {
        perf_case_reset(entry->one);
        st = perf_rows_upload(&entry->one->owned_rows);
    }
    return st;
}

static tulle_status_t check(contestant_t *entry)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(perf_rows_download(&entry->ghost));
    TLI_TRY(perf_rows_download(&entry->one->owned_rows));
    int64_t wrong = 0;
    double *rounding = &entry->result->rounding;
    if (entry->one->wire_precision == TULLE_WIRE_PRECISION_NONE)
        wrong = perf_case_count_wrong(entry->one, entry->ghost.image, entry->position);
    else
        wrong = perf_rounding_count_wrong(entry->one, entry->ghost.image, entry->position, rounding);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, rounding, 1, MPI_DOUBLE, MPI_MAX, entry->one->halo->comm));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_INT64_T, MPI_SUM, entry->one->halo->comm));
    if (wrong > entry->result->wrong)
        entry->result->wrong = wrong;
done:
    return st;
}

static tulle_status_t alloc_entry(contest_t *contest, contestant_t *entry)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_ghosts = entry->one->num_ghosts;
    TLI_TRY(perf_case_alloc_rows(entry->one, num_ghosts, &entry->ghost));
    TLI_TRY(tli_arena_alloc(&contest->arena, contest->options->iterations, sizeof(double), &entry->times));
done:
    return st;
}

/* Set up and run once, checked. Its time decides whether the method can be repeated as often as asked for. */
static tulle_status_t enter(contest_t *contest, contestant_t *entry)
{
    tulle_status_t st = TULLE_OK;
    perf_result_t *result = entry->result;
    double seconds = 0;
    TLI_TRY(tli_agree(contest->comm, alloc_entry(contest, entry)));
    TLI_MPI(MPI_Barrier(contest->comm));
    double began = MPI_Wtime();
    void *ghost = is_staged(entry) ? entry->ghost.image : entry->ghost.home;
    TLI_TRY(entry->method->setup(entry->one, ghost, &entry->state));
    double setup_seconds = MPI_Wtime() - began;
    TLI_TRY(slowest(contest->comm, &setup_seconds, 1));
    TLI_TRY(prepare(entry));
    TLI_TRY(run_timed(contest, entry, &seconds));
    TLI_TRY(check(entry));
    TLI_TRY(slowest(contest->comm, &seconds, 1));
    result->setup_us = 1e6 * setup_seconds;
    if (entry->method->predict != NULL && entry->one->wire_precision == TULLE_WIRE_PRECISION_NONE)
        result->predicted_us = entry->method->predict(entry->state);
    result->iterations = contest->options->iterations;
    double slow_seconds = contest->options->slow_seconds;
    double total_seconds = SLOW_ITERATIONS * slow_seconds;
    if (seconds <= slow_seconds || seconds * (double)result->iterations <= total_seconds)
        goto done;
    result->iterations = seconds >= total_seconds ? 1 : (int64_t)(total_seconds / seconds);
    snprintf(result->note.reason, sizeof result->note.reason, "%lld of %lld iterations, because one takes %.1f s",
             (long long)result->iterations, (long long)contest->options->iterations, seconds);
done:
    return st;
}

static tulle_status_t repeat_one(contest_t *contest, contestant_t *entry, int is_warmup)
{
    tulle_status_t st = TULLE_OK;
    int is_slow = entry->result->note.reason[0] != '\0';
    int is_last = !is_warmup && entry->num_done == entry->result->iterations - 1;
    double seconds = 0;
    if (is_warmup ? is_slow : entry->num_done == entry->result->iterations)
        goto done;
    TLI_TRY(is_last ? prepare(entry) : reset(entry));
    TLI_TRY(run_timed(contest, entry, &seconds));
    if (is_last)
        TLI_TRY(check(entry));
    if (!is_warmup)
        entry->times[entry->num_done++] = seconds;
done:
    return st;
}

/* Shuffle the methods differently in each iteration, alike on every rank: a method that leaves cold caches behind must
 * not always do so to the same other one. */
static void shuffle(int64_t iteration, int num, int *order)
{
    uint64_t draw = (uint64_t)iteration * 0x9e3779b97f4a7c15u;
    for (int i = 0; i < num; i++)
        order[i] = i;
    for (int i = num - 1; i > 0; i--) {
        draw = (draw ^ (draw >> 29)) * 0xbf58476d1ce4e5b9u;
        int j = (int)((draw >> 32) % (uint64_t)(i + 1));
        int kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* When two more turns of all methods would take too long, the next one is the last: it is checked. */
static tulle_status_t keep_limit(contest_t *contest, int64_t num_turns, double began, int64_t *total_turns)
{
    tulle_status_t st = TULLE_OK;
    const perf_measure_options_t *options = contest->options;
    double seconds = MPI_Wtime() - began;
    if (options->most_seconds == 0 || num_turns < options->warmup + PERF_LEAST_ITERATIONS - 1 ||
        num_turns + 1 >= *total_turns)
        goto done;
    TLI_TRY(slowest(contest->comm, &seconds, 1));
    if (seconds + 2 * seconds / (double)num_turns <= options->most_seconds)
        goto done;
    *total_turns = num_turns + 1;
    for (int i = 0; i < contest->num; i++) {
        contestant_t *entry = &contest->entries[i];
        if (entry->num_done + 1 >= entry->result->iterations)
            continue;
        entry->result->iterations = entry->num_done + 1;
        snprintf(entry->result->note.reason, sizeof entry->result->note.reason,
                 "%lld of %lld iterations, because all together take %.1f s", (long long)entry->result->iterations,
                 (long long)options->iterations, seconds);
    }
done:
    return st;
}

static tulle_status_t repeat(contest_t *contest)
{
    tulle_status_t st = TULLE_OK;
    const perf_measure_options_t *options = contest->options;
    int64_t total = options->warmup + options->iterations;
    double began = MPI_Wtime();
    for (int64_t k = 0; k < total; k++) {
        int order[PERF_NUM_METHODS];
        shuffle(k + 1, contest->num, order);
        for (int i = 0; i < contest->num; i++)
            TLI_TRY(repeat_one(contest, &contest->entries[order[i]], k < options->warmup));
        TLI_TRY(keep_limit(contest, k + 1, began, &total));
        perf_watch_advance(options->watch, (double)(k + 1) / (double)total);
    }
done:
    return st;
}

static contestant_t *find(contest_t *contest, perf_method_bit_t bit)
{
    for (int i = 0; i < contest->num; i++)
        if (contest->entries[i].method->bit == bit)
            return &contest->entries[i];
    return NULL;
}

/* Turn by turn: both ran in each of the iterations that are compared. */
static tulle_status_t compare(contest_t *contest, const contestant_t *entry)
{
    tulle_status_t st = TULLE_OK;
    const contestant_t *tulle = find(contest, PERF_METHOD_TULLE);
    double *scratch = NULL;
    if (tulle == NULL || tulle == entry)
        goto done;
    int64_t num = entry->num_done < tulle->num_done ? entry->num_done : tulle->num_done;
    TLI_TRY(tli_arena_alloc(&contest->arena, 2 * num + PERF_RATIO_DRAWS, sizeof(double), &scratch));
    entry->result->ratio = perf_ratio(entry->times, tulle->times, num, scratch);
done:
    return st;
}

static tulle_status_t summarize(contest_t *contest)
{
    tulle_status_t st = TULLE_OK;
    for (int i = 0; i < contest->num; i++)
        TLI_TRY(slowest(contest->comm, contest->entries[i].times, (int)contest->entries[i].num_done));
    for (int i = 0; i < contest->num && st == TULLE_OK; i++)
        st = compare(contest, &contest->entries[i]);
    TLI_TRY(tli_agree(contest->comm, st));
    for (int i = 0; i < contest->num; i++) {
        perf_result_t *result = contest->entries[i].result;
        perf_statistics_t statistics = perf_statistics(contest->entries[i].times, result->iterations);
        result->min_us = 1e6 * statistics.min;
        result->median_us = 1e6 * statistics.median;
        result->p99_us = 1e6 * statistics.p99;
    }
done:
    return st;
}

/* Naive moves so many more rows that it may take minutes. By alltoallv, run once more as its first time was a cold one,
 * that is known before. */
static tulle_status_t predict_naive(contest_t *contest, perf_result_t *result)
{
    tulle_status_t st = TULLE_OK;
    contestant_t *entry = find(contest, PERF_METHOD_ALLTOALLV);
    double seconds = 0;
    if (entry == NULL)
        goto done;
    TLI_TRY(prepare(entry));
    TLI_TRY(run_timed(contest, entry, &seconds));
    TLI_TRY(slowest(contest->comm, &seconds, 1));
    seconds = perf_load_predict_naive(&entry->one->load, entry->one->row_bytes, seconds);
    result->predicted_us = 1e6 * seconds;
    if (seconds > contest->options->slow_seconds)
        snprintf(result->skip.reason, sizeof result->skip.reason,
                 "would take about %.1f s per exchange, at the rate of alltoallv", seconds);
done:
    return st;
}

static tulle_status_t admit_and_enter(contest_t *contest, const perf_case_t *one, const perf_method_t *method,
                                      perf_result_t *result)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(perf_method_admit(method, one, &result->skip));
    if (result->skip.reason[0] == '\0' && method->bit == PERF_METHOD_NAIVE)
        TLI_TRY(predict_naive(contest, result));
    if (result->skip.reason[0] != '\0')
        goto done;
    perf_watch_begin(contest->options->watch, "checking %s", method->name);
    contestant_t *entry = &contest->entries[contest->num++];
    *entry = (contestant_t){.method = method, .one = one, .result = result};
    if (((unsigned)method->bit & PERF_METHODS_OF_TULLE) == 0)
        entry->one = &contest->plain;
    entry->position = method->has_plan_order ? one->plan_position : NULL;
    TLI_TRY(enter(contest, entry));
done:
    return st;
}

/* Results in the order of perf_methods; naive enters last, when the rate of alltoallv is known. */
static tulle_status_t enter_all(contest_t *contest, const perf_case_t *one, perf_result_t *results, int *num_results)
{
    tulle_status_t st = TULLE_OK;
    perf_result_t *naive_result = NULL;
    for (int i = 0; i < PERF_NUM_METHODS; i++) {
        const perf_method_t *method = perf_methods[i];
        if ((contest->options->methods & (unsigned)method->bit) == 0)
            continue;
        perf_result_t *result = &results[(*num_results)++];
        *result = (perf_result_t){.method = method->name, .direction = one->direction};
        if (method->bit == PERF_METHOD_NAIVE)
            naive_result = result;
        else
            TLI_TRY(admit_and_enter(contest, one, method, result));
    }
    if (naive_result != NULL)
        TLI_TRY(admit_and_enter(contest, one, &perf_method_naive, naive_result));
done:
    return st;
}

tulle_status_t perf_measure(const perf_case_t *one, const perf_measure_options_t *options, perf_result_t *results,
                            int *num_results_out)
{
    tulle_status_t st = TULLE_OK;
    contest_t contest = {.options = options, .comm = one->halo->comm, .arena = TLI_ARENA_INIT};
    *num_results_out = 0;
    perf_memory_t memory = one->memory == PERF_MEMORY_DEVICE ? PERF_MEMORY_DEVICE : PERF_MEMORY_PLAIN;
    TLI_TRY(tli_agree(contest.comm, perf_case_copy(one, memory, &contest.plain)));
    TLI_TRY(tli_start_line_create(contest.comm, &contest.start));
    TLI_TRY(enter_all(&contest, one, results, num_results_out));
    perf_watch_begin(options->watch, "timing %s", one->direction == TULLE_GATHER ? "gather" : "scatter");
    TLI_TRY(repeat(&contest));
    TLI_TRY(summarize(&contest));
done:
    perf_watch_end(options->watch);
    for (int i = 0; i < contest.num; i++) {
        contest.entries[i].method->teardown(contest.entries[i].state);
        perf_rows_free(&contest.entries[i].ghost);
    }
    perf_case_end_copy(&contest.plain);
    tli_arena_release(&contest.arena);
    return st;
}
