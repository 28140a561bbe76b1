/* SPDX-License-Identifier: Apache-2.0
 * Exchanges of rows on GPUs against the naive one: every strategy, type, op, transport and memory space; the contract
 * of streams; several at once; captured into graphs; misuse. Runs on an emulated GPU, and on a real one where there is
 * one. */
#include <string.h>

#include "src/arena.h"
#include "tests/collectives/device_job.h"
#include "tests/support/gpu_main.h"

/* --- values ------------------------------------------------------------------------------------------------------ */

static void test_device_random_patterns_match_naive_exchange(void **state)
{
    check_every_plan(TULLE_TRANSPORT_AUTO, 1);
}

static void test_device_staged_random_patterns_match_naive_exchange(void **state)
{
    check_every_plan(TULLE_TRANSPORT_CUDA_STAGED, 1);
}

static void check_type(const tulle_plan_t *plan, const spt_pattern_t *pattern, tulle_datatype_t datatype,
                       tulle_direction_t direction, tulle_op_t op)
{
    spt_trial_t trial = spt_trial(plan, pattern, direction, op);
    spt_trial_add(&trial, datatype, 3, 0);
    spt_trial_add(&trial, datatype, 1, 2);
    spt_trial_add(&trial, datatype, 16, 0);
    check_trial(&trial, plan, TULLE_SPACE_DEVICE, TULLE_SPACE_DEVICE, TULLE_TRANSPORT_AUTO, 7);
}

static void test_device_every_type_and_op_matches_naive_exchange(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_pattern_t pattern = spt_pattern_random(7);
    for (int i = 0; i < SPT_NUM_DATATYPES; i++) {
        tulle_plan_t *plan = spt_plan_make(comm, &pattern, (tulle_strategy_t)(i % 5), (tulle_ghost_order_t)(i / 5 % 2));
        check_type(plan, &pattern, spt_datatypes[i], TULLE_GATHER, TULLE_OP_SUM);
        for (int op = TULLE_OP_SUM; op <= TULLE_OP_REPLACE; op++)
            if (spt_knows(spt_datatypes[i], (tulle_op_t)op))
                check_type(plan, &pattern, spt_datatypes[i], TULLE_SCATTER, (tulle_op_t)op);
        tulle_plan_destroy(&plan);
    }
    tulle_comm_destroy(&comm);
}

/* One side at least on the device; the ranks need not agree which. */
static void test_device_every_space_matches_naive_exchange(void **state)
{
    static const tulle_space_t spaces[][2] = {{TULLE_SPACE_PINNED, TULLE_SPACE_DEVICE},
                                              {TULLE_SPACE_DEVICE, TULLE_SPACE_PINNED},
                                              {TULLE_SPACE_MANAGED, TULLE_SPACE_DEVICE},
                                              {TULLE_SPACE_DEVICE, TULLE_SPACE_MANAGED},
                                              {TULLE_SPACE_MANAGED, TULLE_SPACE_MANAGED}};
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_random_t shared = spt_random_shared(9);
    spt_pattern_t pattern = spt_pattern_random(9);
    for (int i = 0; i < 20; i++) {
        const tulle_space_t *pair = spaces[i < 10 ? i / 2 : (i + spt_rank()) % 5];
        tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_BALANCED, (tulle_ghost_order_t)(i / 2 % 2));
        spt_trial_t trial = spt_trial(plan, &pattern, i % 2 ? TULLE_SCATTER : TULLE_GATHER, TULLE_OP_SUM);
        spt_trial_add_random(&trial, &shared);
        check_trial(&trial, plan, pair[0], pair[1], TULLE_TRANSPORT_AUTO, (uint64_t)i);
        tulle_plan_destroy(&plan);
    }
    tulle_comm_destroy(&comm);
}

/* --- streams ----------------------------------------------------------------------------------------------------- */

/* What the stream has still to do decides what is gathered, and the host does not wait for it. */
static void test_device_start_returns_while_the_stream_is_busy(void **state)
{
    job_t r = job_make(31, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    for (int64_t round = 0; round < 3; round++) {
        job_fill(&r, round);
        MPI_Barrier(MPI_COMM_WORLD);
        spt_gpu_delay(stream, 10000);
        spt_gpu_copy(r.owned, r.values, r.owned_bytes, stream);
        tulle_status_t st = tulle_exchange_start(r.exchange, stream);
        int was_busy = spt_gpu_is_busy(stream);
        spt_assert_ok_all(st);
        spt_assert_ok_all(tulle_exchange_wait(r.exchange));
        spt_gpu_copy(r.received, r.ghost, r.ghost_bytes, stream);
        spt_gpu_synchronize(stream);
        spt_assert_all(was_busy);
        spt_assert_all(job_is_right(&r, round));
    }
    job_free(&r);
}

static void test_device_rounds_back_to_back_stay_apart(void **state)
{
    check_back_to_back(TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    check_back_to_back(TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_AUTO);
    check_back_to_back(TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_CUDA_STAGED);
}

/* Work put on the stream between start and wait does not hold the exchange up, nor does it wait for it. */
static void test_device_work_between_start_and_wait_runs_beside(void **state)
{
    job_t r = job_make(33, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    tulle_status_t st = TULLE_OK;
    job_fill(&r, 5);
    spt_gpu_copy(r.owned, r.values, r.owned_bytes, stream);
    spt_assert_ok_all(tulle_exchange_start(r.exchange, stream));
    spt_gpu_delay(stream, 200000);
    while ((st = tulle_exchange_test(r.exchange)) == TULLE_IN_PROGRESS)
        ;
    int was_busy = spt_gpu_is_busy(stream);
    spt_gpu_synchronize(stream);
    spt_gpu_copy(r.received, r.ghost, r.ghost_bytes, stream);
    spt_gpu_synchronize(stream);
    spt_assert_ok_all(st);
    spt_assert_all(was_busy);
    spt_assert_all(job_is_right(&r, 5));
    job_free(&r);
}

#define NUM_AT_ONCE 4

static void test_device_many_in_flight_on_different_streams(void **state)
{
    job_t jobs[NUM_AT_ONCE];
    void *streams[NUM_AT_ONCE];
    for (int i = 0; i < NUM_AT_ONCE; i++) {
        jobs[i] = job_make(40 + (uint64_t)i, (tulle_ghost_order_t)(i % 2), TULLE_TRANSPORT_AUTO);
        streams[i] = spt_gpu_stream();
    }
    for (int64_t round = 0; round < 10; round++) {
        tulle_status_t st = TULLE_OK;
        int is_right = 1;
        for (int k = 0; k < NUM_AT_ONCE && st == TULLE_OK; k++) {
            int i = (k + spt_rank()) % NUM_AT_ONCE; /* every rank in an order of its own */
            job_fill(&jobs[i], round);
            spt_gpu_copy(jobs[i].owned, jobs[i].values, jobs[i].owned_bytes, streams[i]);
            st = tulle_exchange_start(jobs[i].exchange, streams[i]);
        }
        for (int i = 0; i < NUM_AT_ONCE && st == TULLE_OK; i++) {
            st = tulle_exchange_wait(jobs[i].exchange);
            spt_gpu_copy(jobs[i].received, jobs[i].ghost, jobs[i].ghost_bytes, streams[i]);
        }
        for (int i = 0; i < NUM_AT_ONCE; i++) {
            spt_gpu_synchronize(streams[i]);
            is_right = is_right && job_is_right(&jobs[i], round);
        }
        spt_assert_ok_all(st);
        spt_assert_all(is_right);
    }
    for (int i = 0; i < NUM_AT_ONCE; i++) {
        spt_gpu_stream_free(streams[i]);
        job_free(&jobs[i]);
    }
}

static void test_device_start_and_wait_allocate_nothing(void **state)
{
    job_t r = job_make(34, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    spt_assert_ok_all(start_and_wait(r.exchange, stream));
    int64_t before = tli_alloc_count();
    for (int round = 0; round < 10; round++)
        spt_assert_ok_all(start_and_wait(r.exchange, stream));
    spt_assert_all(tli_alloc_count() == before);
    spt_gpu_synchronize(stream);
    job_free(&r);
}

/* --- graphs ------------------------------------------------------------------------------------------------------ */

static void test_device_captured_exchange_is_replayed(void **state)
{
    job_t r = job_make(51, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    spt_gpu_begin_capture(stream);
    tulle_status_t st = start_and_wait(r.exchange, stream);
    void *graph = spt_gpu_end_capture(stream);
    spt_assert_ok_all(st);
    spt_assert_all(graph != NULL);
    replay(&r, graph, 1000);
    spt_assert_ok_all(start_and_wait(r.exchange, stream)); /* and it still runs by itself */
    replay(&r, graph, 3);
    spt_gpu_graph_free(graph);
    job_free(&r);
}

/* The second one sends on, by way of a scatter, what the first one gathered: owned = owned + number of needers * owned.
 */
static void test_device_two_captured_exchanges_are_replayed_in_order(void **state)
{
    job_t r = job_make(52, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    tulle_field_t field = {r.owned, r.ghost, TULLE_I64, 1, 0, 0};
    tulle_exchange_t *scatter = NULL;
    int64_t *ones = spt_alloc(r.pattern.num_needed, 8), *result = spt_alloc(r.pattern.num_owned, 8);
    int64_t *num_needers = spt_alloc(r.pattern.num_owned, 8);
    int is_right = 1;
    for (int64_t i = 0; i < r.pattern.num_needed; i++)
        ones[i] = 1;
    spt_assert_ok_all(tulle_scatter(r.plan, ones, num_needers, TULLE_I64, 1, TULLE_OP_SUM, NULL));
    spt_assert_ok_all(tulle_exchange_create(r.plan, TULLE_SCATTER, &field, 1, NULL, &scatter));
    spt_gpu_begin_capture(stream);
    tulle_status_t st = start_and_wait(r.exchange, stream);
    if (st == TULLE_OK)
        st = start_and_wait(scatter, stream);
    void *graph = spt_gpu_end_capture(stream);
    spt_assert_ok_all(st);
    spt_assert_all(graph != NULL);
    for (int64_t round = 0; round < 1000; round++) {
        job_fill(&r, round);
        spt_gpu_copy(r.owned, r.values, r.owned_bytes, stream);
        spt_gpu_launch(graph, stream);
        spt_gpu_copy(result, r.owned, r.owned_bytes, stream);
        spt_gpu_synchronize(stream);
        for (int64_t i = 0; i < r.pattern.num_owned; i++)
            is_right = is_right && result[i] == r.values[i] * (1 + num_needers[i]);
    }
    spt_assert_all(is_right);
    spt_gpu_graph_free(graph);
    tulle_exchange_destroy(&scatter);
    job_free(&r);
}

static void test_device_test_and_one_shot_in_a_capture_are_refused(void **state)
{
    job_t r = job_make(53, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    spt_gpu_begin_capture(stream);
    tulle_status_t started = tulle_exchange_start(r.exchange, stream);
    tulle_status_t tested = tulle_exchange_test(r.exchange);
    tulle_status_t waited = tulle_exchange_wait(r.exchange);
    tulle_status_t once = tulle_gather(r.plan, r.owned, r.ghost, TULLE_I64, 1, stream);
    void *graph = spt_gpu_end_capture(stream);
    spt_assert_all(started == TULLE_OK && tested == TULLE_ERR_UNSUPPORTED && waited == TULLE_OK);
    spt_assert_all(once == TULLE_ERR_UNSUPPORTED);
    spt_assert_all(graph != NULL);
    replay(&r, graph, 3);
    spt_gpu_graph_free(graph);
    job_free(&r);
}

/* --- in one call ------------------------------------------------------------------------------------------------- */

static void test_device_one_shot_changing_buffers_are_followed(void **state)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_random_t mine = spt_random_mine(61);
    spt_pattern_t pattern = spt_pattern_random(61);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_RAIL, TULLE_GHOST_ORDER_PLAN);
    for (int call = 0; call < 12; call++) {
        tulle_space_t space = call % 3 == 2 ? TULLE_SPACE_HOST : TULLE_SPACE_DEVICE;
        void *on = space == TULLE_SPACE_DEVICE ? stream : NULL;
        spt_trial_t trial = spt_trial(plan, &pattern, call % 2 ? TULLE_SCATTER : TULLE_GATHER, TULLE_OP_SUM);
        spt_trial_add(&trial, TULLE_F32, 4, 0);
        spt_trial_fill(&trial, &mine);
        spt_gpu_trial_t t = spt_gpu_trial(&trial, space, space);
        spt_gpu_trial_upload(&t, on);
        spt_gpu_synchronize(on);
        const tulle_field_t *f = &t.fields[0];
        if (trial.direction == TULLE_GATHER)
            spt_assert_ok_all(tulle_gather(plan, f->owned, f->ghost, TULLE_F32, 4, on));
        else
            spt_assert_ok_all(tulle_scatter(plan, f->ghost, f->owned, TULLE_F32, 4, TULLE_OP_SUM, on));
        spt_gpu_trial_download(&t, on);
        spt_gpu_synchronize(on);
        spt_assert_all(spt_trial_is_right(&trial));
        spt_gpu_trial_free(&t);
    }
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

/* --- transports, and what is said of them ------------------------------------------------------------------------- */

static void test_device_stats_name_the_transport(void **state)
{
    job_t direct = job_make(71, TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_CUDA_IPC);
    job_t staged = job_make(71, TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_CUDA_STAGED);
    tulle_exchange_stats_t a = stats_of(&direct), b = stats_of(&staged);
    const tulle_transport_stats_t *ipc = &a.transports[TULLE_TRANSPORT_CUDA_IPC];
    const tulle_transport_stats_t *pinned = &b.transports[TULLE_TRANSPORT_CUDA_STAGED];
    spt_assert_all(a.on_device && b.on_device && b.in_place == 0);
    spt_assert_all(ipc->messages == pinned->messages && ipc->rows == pinned->rows && ipc->bytes == 8 * ipc->rows);
    spt_assert_all(a.transports[TULLE_TRANSPORT_CUDA_STAGED].messages == 0);
    spt_assert_all(spt_size() == 1 || (ipc->messages > 0 && a.in_place > 0));
    job_free(&direct);
    job_free(&staged);
}

/* Rank 0 alone is on a GPU that no other reaches: what goes to and from it is staged, the rest is not. */
static void test_device_isolated_gpu_is_staged_and_explained(void **state)
{
    if (spt_gpu_is_real())
        skip();
    char text[2048] = "";
    FILE *out = spt_rank() == 0 ? fmemopen(text, sizeof text - 1, "w") : NULL;
    spt_gpu_move_to(spt_rank(), spt_rank() == 0);
    job_t r = job_make(72, TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_AUTO);
    tulle_exchange_stats_t stats = stats_of(&r);
    int64_t num_staged = stats.transports[TULLE_TRANSPORT_CUDA_STAGED].messages;
    spt_assert_ok_all(tulle_exchange_explain(r.exchange, out));
    if (out != NULL)
        fclose(out);
    spt_assert_all(spt_size() == 1 || num_staged > 0);
    spt_assert_all(spt_size() <= 2 || stats.transports[TULLE_TRANSPORT_CUDA_IPC].messages > 0);
    spt_assert_all(spt_rank() != 0 || num_staged == 0 || strstr(text, "do not reach each other") != NULL);
    for (int64_t round = 0; round < 20; round++) {
        job_fill(&r, round);
        spt_gpu_copy(r.owned, r.values, r.owned_bytes, stream);
        tulle_status_t st = start_and_wait(r.exchange, stream);
        spt_gpu_copy(r.received, r.ghost, r.ghost_bytes, stream);
        spt_gpu_synchronize(stream);
        spt_assert_ok_all(st);
        spt_assert_all(job_is_right(&r, round));
    }
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    options.transport = TULLE_TRANSPORT_CUDA_IPC;
    tulle_field_t field = {r.owned, r.ghost, TULLE_I64, 1, 0, 0};
    tulle_exchange_t *none = NULL;
    if (spt_size() > 1)
        spt_assert_fails_all(tulle_exchange_create(r.plan, TULLE_GATHER, &field, 1, &options, &none));
    assert_null(none);
    job_free(&r);
    spt_gpu_move_to(0, 0);
}

/* --- misuse ------------------------------------------------------------------------------------------------------ */

static void test_device_plain_host_rows_beside_device_rows_are_refused(void **state)
{
    job_t r = job_make(81, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    int culprit = spt_size() - 1;
    int64_t *plain = spt_alloc(r.pattern.num_needed + 1, 8);
    tulle_field_t field = {r.owned, spt_rank() == culprit ? plain : r.ghost, TULLE_I64, 1, 0, 0};
    tulle_exchange_t *none = NULL;
    int64_t num_needed = r.pattern.num_needed;
    MPI_Bcast(&num_needed, 1, MPI_INT64_T, culprit, MPI_COMM_WORLD);
    if (num_needed > 0 && spt_size() > 1)
        spt_assert_blames(tulle_exchange_create(r.plan, TULLE_GATHER, &field, 1, NULL, &none), TULLE_ERR_ARG, culprit,
                          "plain host memory");
    assert_null(none);
    job_free(&r);
}

static void test_device_transport_of_the_other_memory_is_refused(void **state)
{
    job_t r = job_make(82, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_field_t on_device = {r.owned, r.ghost, TULLE_I64, 1, 0, 0};
    tulle_field_t on_host = {
        spt_alloc(r.pattern.num_owned + 1, 8), spt_alloc(r.pattern.num_needed + 1, 8), TULLE_I64, 1, 0, 0};
    tulle_exchange_t *none = NULL;
    options.transport = TULLE_TRANSPORT_MPI;
    spt_assert_fails_alike(tulle_exchange_create(r.plan, TULLE_GATHER, &on_device, 1, &options, &none), TULLE_ERR_ARG,
                           "mpi does not move rows in device memory");
    options.transport = TULLE_TRANSPORT_CUDA_IPC;
    spt_assert_fails_alike(tulle_exchange_create(r.plan, TULLE_GATHER, &on_host, 1, &options, &none), TULLE_ERR_ARG,
                           "cuda_ipc does not move rows in host memory");
    assert_null(none);
    job_free(&r);
}

static void test_device_start_twice_and_wait_without_start_are_refused(void **state)
{
    job_t r = job_make(83, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    spt_assert_all(tulle_exchange_wait(r.exchange) == TULLE_ERR_STATE);
    spt_assert_all(tulle_exchange_test(r.exchange) == TULLE_ERR_STATE);
    spt_assert_ok_all(tulle_exchange_start(r.exchange, stream));
    spt_assert_all(tulle_exchange_start(r.exchange, stream) == TULLE_ERR_STATE);
    spt_assert_ok_all(tulle_exchange_wait(r.exchange));
    spt_gpu_synchronize(stream);
    job_free(&r);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        spt_test(test_device_random_patterns_match_naive_exchange),
        spt_test(test_device_staged_random_patterns_match_naive_exchange),
        spt_test(test_device_every_type_and_op_matches_naive_exchange),
        spt_test(test_device_every_space_matches_naive_exchange),
        spt_test(test_device_start_returns_while_the_stream_is_busy),
        spt_test(test_device_rounds_back_to_back_stay_apart),
        spt_test(test_device_work_between_start_and_wait_runs_beside),
        spt_test(test_device_many_in_flight_on_different_streams),
        spt_test(test_device_start_and_wait_allocate_nothing),
        spt_test(test_device_captured_exchange_is_replayed),
        spt_test(test_device_two_captured_exchanges_are_replayed_in_order),
        spt_test(test_device_test_and_one_shot_in_a_capture_are_refused),
        spt_test(test_device_one_shot_changing_buffers_are_followed),
        spt_test(test_device_stats_name_the_transport),
        spt_test(test_device_isolated_gpu_is_staged_and_explained),
        spt_test(test_device_plain_host_rows_beside_device_rows_are_refused),
        spt_test(test_device_transport_of_the_other_memory_is_refused),
        spt_test(test_device_start_twice_and_wait_without_start_are_refused),
    };
    return spt_gpu_main(argc, argv, "collectives.device_exchange", tests, &stream);
}
