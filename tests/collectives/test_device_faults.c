/* SPDX-License-Identifier: Apache-2.0
 * A rank that does not start its exchange on GPUs: within the time limit the others get a status that names it, their
 * streams run out, and all can be destroyed. Comes the rank later, it is told. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/support/gpu_main.h"
#include "tests/support/gpu_trial.h"

#define LIMIT_MS 300

typedef struct job {
    tulle_comm_t *comm;
    spt_pattern_t pattern;
    tulle_plan_t *plan;
    spt_trial_t trial;
    spt_gpu_trial_t rows;
    tulle_exchange_t *exchange;
    void *stream;
} job_t;

static int is_late(void)
{
    return spt_rank() == spt_size() - 1;
}

static void nap(int64_t ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Every rank needs a row of all others. */
static spt_pattern_t everybody(void)
{
    spt_pattern_t p = {.num_owned = 1, .first = spt_rank(), .num_needed = spt_size()};
    p.needed_ids = spt_alloc(p.num_needed, 8);
    p.owner_rank = spt_alloc(p.num_needed, 4);
    p.owner_row = spt_alloc(p.num_needed, 8);
    for (int i = 0; i < p.num_needed; i++)
        p.needed_ids[i] = p.owner_rank[i] = i;
    return p;
}

static void make_job(tulle_direction_t direction, tulle_transport_t transport, job_t *job)
{
    spt_random_t mine = spt_random_mine(5);
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    job->comm = spt_comm(spt_topology(0), 0);
    job->pattern = everybody();
    job->plan = spt_plan_make(job->comm, &job->pattern, TULLE_STRATEGY_DIRECT, TULLE_GHOST_ORDER_CALLER);
    job->trial = spt_trial(job->plan, &job->pattern, direction, TULLE_OP_SUM);
    spt_trial_add(&job->trial, TULLE_F64, 3, 0);
    job->rows = spt_gpu_trial(&job->trial, TULLE_SPACE_DEVICE, TULLE_SPACE_DEVICE);
    job->stream = spt_gpu_stream();
    options.timeout_ms = LIMIT_MS;
    options.transport = transport;
    spt_assert_ok_all(tulle_exchange_create(job->plan, direction, job->rows.fields, 1, &options, &job->exchange));
    spt_gpu_trial_run(&job->rows, job->exchange, job->stream, &mine); /* a good round */
    spt_gpu_forgive();
}

static void free_job(job_t *job)
{
    tulle_exchange_destroy(&job->exchange);
    tulle_plan_destroy(&job->plan);
    tulle_comm_destroy(&job->comm);
    spt_gpu_synchronize(job->stream);
    spt_gpu_trial_free(&job->rows);
    spt_gpu_stream_free(job->stream);
    spt_teardown(NULL);
}

/* Another survivor that gave up first is as good a reason. */
static int names_the_culprit(tulle_status_t st)
{
    char words[64];
    snprintf(words, sizeof words, "for rank %d (level rank)", spt_size() - 1);
    return (st == TULLE_ERR_TIMEOUT && strstr(tulle_last_error()->text, words) != NULL) ||
           (st == TULLE_ERR_REMOTE && strstr(tulle_last_error()->text, "(level rank) has given up") != NULL);
}

static tulle_status_t test_until_over(tulle_exchange_t *exchange)
{
    tulle_status_t st = TULLE_IN_PROGRESS;
    while (st == TULLE_IN_PROGRESS) {
        st = tulle_exchange_test(exchange);
        nap(1);
    }
    return st;
}

static void check_test(tulle_direction_t direction, tulle_transport_t transport)
{
    job_t job = {0};
    int is_right = 1;
    make_job(direction, transport, &job);
    if (is_late()) {
        nap(4 * LIMIT_MS);
        is_right = tulle_exchange_start(job.exchange, job.stream) == TULLE_ERR_REMOTE &&
                   strstr(tulle_last_error()->text, "has given up") != NULL;
    } else {
        tulle_status_t st = tulle_exchange_start(job.exchange, job.stream);
        is_right = st == TULLE_OK && names_the_culprit(test_until_over(job.exchange));
        is_right = is_right && tulle_exchange_start(job.exchange, job.stream) < 0;
        spt_gpu_synchronize(job.stream);
    }
    spt_assert_all(is_right);
    free_job(&job);
}

static void test_test_says_who_does_not_start(void **state)
{
    if (spt_size() == 1)
        skip();
    check_test(TULLE_GATHER, TULLE_TRANSPORT_AUTO);
    check_test(TULLE_SCATTER, TULLE_TRANSPORT_AUTO);
    check_test(TULLE_GATHER, TULLE_TRANSPORT_CUDA_STAGED);
}

/* After wait, which does not block, the next start sees it. */
static void test_next_start_says_who_does_not_start(void **state)
{
    job_t job = {0};
    int is_right = 1;
    if (spt_size() == 1)
        skip();
    make_job(TULLE_GATHER, TULLE_TRANSPORT_AUTO, &job);
    if (!is_late()) {
        is_right =
            tulle_exchange_start(job.exchange, job.stream) == TULLE_OK && tulle_exchange_wait(job.exchange) == TULLE_OK;
        for (int i = 0; i < 3; i++)
            nap(LIMIT_MS);
        tulle_status_t st = tulle_exchange_start(job.exchange, job.stream);
        if (st == TULLE_OK) /* the time began when that call saw the stream there */
            st = test_until_over(job.exchange);
        is_right = is_right && names_the_culprit(st);
    }
    spt_assert_all(is_right);
    free_job(&job);
}

static void test_destroy_does_not_wait_for_ever(void **state)
{
    job_t job = {0};
    int is_right = 1;
    if (spt_size() == 1)
        skip();
    make_job(TULLE_GATHER, TULLE_TRANSPORT_AUTO, &job);
    if (!is_late())
        is_right =
            tulle_exchange_start(job.exchange, job.stream) == TULLE_OK && tulle_exchange_wait(job.exchange) == TULLE_OK;
    spt_assert_all(is_right);
    free_job(&job);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        spt_test(test_test_says_who_does_not_start),
        spt_test(test_next_start_says_who_does_not_start),
        spt_test(test_destroy_does_not_wait_for_ever),
    };
    return spt_gpu_main(argc, argv, "collectives.device_faults", tests, NULL);
}
