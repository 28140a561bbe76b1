/* SPDX-License-Identifier: Apache-2.0
 * Rows on GPUs between nodes, by every carrier that is there: values, sizes, streams, graphs, faults, what is said of
 * it. Nodes are declared, so that one machine and one GPU, emulated or real, do for all of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/arena.h"
#include "src/transport/carrier.h"
#include "tests/collectives/device_job.h"
#include "tests/support/gpu_main.h"

/* Every rank is a node. */
static const char *all_apart(void)
{
    return "*x1";
}

/* The next carrier that is there, from c on; NULL: no more. */
static const tli_carrier_t *carrier_at(int *c)
{
    while (*c < tli_num_carriers && !tli_carriers[*c]->is_there())
        (*c)++;
    return *c < tli_num_carriers ? tli_carriers[(*c)++] : NULL;
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static void test_carriers_random_patterns_match_naive_exchange(void **state)
{
    const tli_carrier_t *carrier = NULL;
    for (int c = 0; (carrier = carrier_at(&c)) != NULL;)
        check_every_plan(carrier->id, 1);
}

/* Rows of 120000 bytes and 13 more: several pieces to a parcel, none of them whole rows. */
static void check_long_parcels(tulle_transport_t transport, tulle_direction_t direction, tulle_strategy_t strategy)
{
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    spt_pattern_t pattern = spt_pattern_random(4);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, strategy, TULLE_GHOST_ORDER_CALLER);
    spt_trial_t trial = spt_trial(plan, &pattern, direction, TULLE_OP_SUM);
    spt_trial_add(&trial, TULLE_F32, 30000, 0);
    spt_trial_add(&trial, TULLE_U8, 13, 0);
    check_trial(&trial, plan, TULLE_SPACE_DEVICE, TULLE_SPACE_DEVICE, transport, 4);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

static void test_carriers_long_parcels_match_naive_exchange(void **state)
{
    const tli_carrier_t *carrier = NULL;
    for (int c = 0; (carrier = carrier_at(&c)) != NULL;) {
        check_long_parcels(carrier->id, TULLE_GATHER, TULLE_STRATEGY_BALANCED);
        check_long_parcels(carrier->id, TULLE_SCATTER, TULLE_STRATEGY_DIRECT);
        check_long_parcels(carrier->id, TULLE_SCATTER, TULLE_STRATEGY_AGGREGATED);
    }
}

/* --- streams ----------------------------------------------------------------------------------------------------- */

static void test_carriers_start_returns_while_the_stream_is_busy(void **state)
{
    const tli_carrier_t *carrier = NULL;
    for (int c = 0; (carrier = carrier_at(&c)) != NULL;) {
        job_t r = job_make_on(all_apart(), 31, TULLE_GHOST_ORDER_PLAN, carrier->id);
        job_fill(&r, 3);
        MPI_Barrier(MPI_COMM_WORLD);
        spt_gpu_delay(stream, 100000);
        spt_gpu_copy(r.owned, r.values, r.owned_bytes, stream);
        tulle_status_t st = tulle_exchange_start(r.exchange, stream);
        int was_busy = spt_gpu_is_busy(stream);
        spt_assert_ok_all(st);
        spt_assert_ok_all(tulle_exchange_wait(r.exchange));
        spt_gpu_copy(r.received, r.ghost, r.ghost_bytes, stream);
        spt_gpu_synchronize(stream);
        spt_assert_all(was_busy);
        spt_assert_all(job_is_right(&r, 3));
        job_free(&r);
    }
}

static void test_carriers_rounds_back_to_back_stay_apart(void **state)
{
    const tli_carrier_t *carrier = NULL;
    for (int c = 0; (carrier = carrier_at(&c)) != NULL;)
        check_back_to_back((tulle_ghost_order_t)(c % 2), carrier->id);
}

/* test alone brings an exchange to its end. */
static void test_carriers_test_makes_progress(void **state)
{
    const tli_carrier_t *carrier = NULL;
    for (int c = 0; (carrier = carrier_at(&c)) != NULL;) {
        job_t r = job_make_on(all_apart(), 33, TULLE_GHOST_ORDER_CALLER, carrier->id);
        tulle_status_t st = TULLE_OK;
        job_fill(&r, 5);
        spt_gpu_copy(r.owned, r.values, r.owned_bytes, stream);
        spt_assert_ok_all(tulle_exchange_start(r.exchange, stream));
        while ((st = tulle_exchange_test(r.exchange)) == TULLE_IN_PROGRESS)
            ;
        spt_gpu_copy(r.received, r.ghost, r.ghost_bytes, stream);
        spt_gpu_synchronize(stream);
        spt_assert_ok_all(st);
        spt_assert_all(job_is_right(&r, 5));
        job_free(&r);
    }
}

/* Started in one order, waited for in an order of each rank's own: waiting for one moves all of the communicator. */
static void check_many_in_flight(tulle_transport_t transport)
{
    enum { NUM_AT_ONCE = 3 };
    job_t jobs[NUM_AT_ONCE];
    tulle_comm_t *comm = spt_comm(some_topology(), 0);
    for (int i = 0; i < NUM_AT_ONCE; i++)
        jobs[i] = job_make_in(tli_comm_retain(comm), 40 + (uint64_t)i, (tulle_ghost_order_t)(i % 2), transport);
    for (int64_t round = 0; round < 10; round++) {
        tulle_status_t st = TULLE_OK;
        int is_right = 1;
        for (int i = 0; i < NUM_AT_ONCE && st == TULLE_OK; i++) {
            job_fill(&jobs[i], round);
            spt_gpu_copy(jobs[i].owned, jobs[i].values, jobs[i].owned_bytes, stream);
            st = tulle_exchange_start(jobs[i].exchange, stream);
        }
        for (int k = 0; k < NUM_AT_ONCE && st == TULLE_OK; k++) {
            const job_t *r = &jobs[(k + spt_rank()) % NUM_AT_ONCE];
            st = tulle_exchange_wait(r->exchange);
            spt_gpu_copy(r->received, r->ghost, r->ghost_bytes, stream);
        }
        spt_gpu_synchronize(stream);
        for (int i = 0; i < NUM_AT_ONCE; i++)
            is_right = is_right && job_is_right(&jobs[i], round);
        spt_assert_ok_all(st);
        spt_assert_all(is_right);
    }
    for (int i = 0; i < NUM_AT_ONCE; i++)
        job_free(&jobs[i]);
    tulle_comm_destroy(&comm);
}

static void test_carriers_many_in_flight(void **state)
{
    const tli_carrier_t *carrier = NULL;
    for (int c = 0; (carrier = carrier_at(&c)) != NULL;)
        check_many_in_flight(carrier->id);
}

static void test_carriers_start_and_wait_allocate_nothing(void **state)
{
    const tli_carrier_t *carrier = NULL;
    for (int c = 0; (carrier = carrier_at(&c)) != NULL;) {
        job_t r = job_make_on(all_apart(), 34, TULLE_GHOST_ORDER_CALLER, carrier->id);
        spt_assert_ok_all(start_and_wait(r.exchange, stream));
        int64_t before = tli_alloc_count();
        for (int round = 0; round < 10; round++)
            spt_assert_ok_all(start_and_wait(r.exchange, stream));
        spt_assert_all(tli_alloc_count() == before);
        spt_gpu_synchronize(stream);
        job_free(&r);
    }
}

/* --- graphs ------------------------------------------------------------------------------------------------------ */

static void check_rounds(const job_t *r, int64_t num_rounds)
{
    for (int64_t round = 0; round < num_rounds; round++) {
        job_fill(r, round);
        spt_gpu_copy(r->owned, r->values, r->owned_bytes, stream);
        tulle_status_t st = start_and_wait(r->exchange, stream);
        spt_gpu_copy(r->received, r->ghost, r->ghost_bytes, stream);
        spt_gpu_synchronize(stream);
        spt_assert_ok_all(st);
        spt_assert_all(job_is_right(r, round));
    }
}

/* What the host would have to do is refused, and the exchange goes on as if nothing had been. */
static void check_capture_is_refused(job_t *r)
{
    spt_gpu_begin_capture(stream);
    tulle_status_t st = tulle_exchange_start(r->exchange, stream);
    void *graph = spt_gpu_end_capture(stream);
    int is_named = strstr(tulle_last_error()->text, "graph") != NULL;
    if (graph != NULL)
        spt_gpu_graph_free(graph);
    spt_assert_all(st == TULLE_ERR_UNSUPPORTED && is_named);
    check_rounds(r, 2);
}

static void check_capture_is_replayed(job_t *r)
{
    spt_gpu_begin_capture(stream);
    tulle_status_t st = start_and_wait(r->exchange, stream);
    void *graph = spt_gpu_end_capture(stream);
    spt_assert_ok_all(st);
    spt_assert_all(graph != NULL);
    replay(r, graph, 200);
    spt_assert_ok_all(start_and_wait(r->exchange, stream));
    replay(r, graph, 3);
    spt_gpu_graph_free(graph);
}

static void test_carriers_capture_is_replayed_or_refused(void **state)
{
    const tli_carrier_t *carrier = NULL;
    for (int c = 0; (carrier = carrier_at(&c)) != NULL;) {
        job_t r = job_make_on(all_apart(), 51, TULLE_GHOST_ORDER_CALLER, carrier->id);
        if (!carrier->is_host_driven)
            check_capture_is_replayed(&r);
        else if (spt_size() > 1)
            check_capture_is_refused(&r);
        job_free(&r);
    }
}

/* --- what is said of it ------------------------------------------------------------------------------------------ */

/* Messages of one stage between two ranks are one; where every rank is a node no other way is taken. */
static void test_carriers_stats_count_parcels(void **state)
{
    const tli_carrier_t *carrier = NULL;
    for (int c = 0; (carrier = carrier_at(&c)) != NULL;) {
        job_t r = job_make_on(all_apart(), 71, TULLE_GHOST_ORDER_PLAN, carrier->id);
        char text[2048] = "";
        FILE *out = spt_rank() == 0 ? fmemopen(text, sizeof text - 1, "w") : NULL;
        tulle_exchange_stats_t stats = stats_of(&r);
        const tulle_transport_stats_t *carried = &stats.transports[carrier->id];
        spt_assert_ok_all(tulle_exchange_explain(r.exchange, out));
        if (out != NULL)
            fclose(out);
        spt_assert_all(carried->bytes == 8 * carried->rows && (spt_size() == 1 || carried->rows > 0));
        spt_assert_all(carried->messages <= (int64_t)spt_size() * (spt_size() - 1) * stats.num_stages);
        spt_assert_all(stats.transports[TULLE_TRANSPORT_CUDA_IPC].messages == 0);
        spt_assert_all(spt_rank() != 0 || spt_size() == 1 || strstr(text, tulle_transport_name(carrier->id)) != NULL);
        job_free(&r);
    }
}

/* Without a transport asked for, only the environment makes machines of declared nodes. */
static void test_carriers_separate_nodes_are_asked_for(void **state)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_t *none = NULL;
    job_t near = job_make_on(all_apart(), 72, TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_AUTO);
    tulle_exchange_stats_t a = stats_of(&near);
    setenv("TULLE_SEPARATE_NODES", "1", 1);
    job_t far = job_make_on(all_apart(), 72, TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_AUTO);
    tulle_exchange_stats_t b = stats_of(&far);
    options.transport = TULLE_TRANSPORT_CUDA_IPC;
    tulle_field_t field = {far.owned, far.ghost, TULLE_I64, 1, 0, 0};
    if (spt_size() > 1)
        spt_assert_fails_all(tulle_exchange_create(far.plan, TULLE_GATHER, &field, 1, &options, &none));
    unsetenv("TULLE_SEPARATE_NODES");
    spt_assert_all(spt_size() == 1 || a.transports[TULLE_TRANSPORT_CUDA_IPC].messages > 0);
    spt_assert_all(b.transports[TULLE_TRANSPORT_CUDA_IPC].messages == 0);
    spt_assert_all(b.transports[TULLE_TRANSPORT_CUDA_STAGED].messages == 0);
    job_free(&near);
    job_free(&far);
}

/* Left to itself, the library measures each carrier once, takes one, and says why. */
static void test_carriers_choice_is_measured_and_explained(void **state)
{
    char text[4096] = "";
    FILE *out = spt_rank() == 0 ? fmemopen(text, sizeof text - 1, "w") : NULL;
    int64_t num_carried = 0;
    setenv("TULLE_SEPARATE_NODES", "1", 1);
    job_t r = job_make_on(all_apart(), 74, TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_AUTO);
    unsetenv("TULLE_SEPARATE_NODES");
    tulle_exchange_stats_t stats = stats_of(&r);
    for (int c = 0; c < tli_num_carriers; c++)
        num_carried += stats.transports[tli_carriers[c]->id].messages > 0;
    spt_assert_all(num_carried == (spt_size() > 1));
    spt_assert_ok_all(tulle_exchange_explain(r.exchange, out));
    if (out != NULL)
        fclose(out);
    int is_explained = strstr(text, "the fastest for") != NULL;
    for (int c = 0; c < tli_num_carriers; c++)
        is_explained = is_explained && strstr(text, tulle_transport_name(tli_carriers[c]->id)) != NULL;
    spt_assert_all(spt_rank() != 0 || spt_size() == 1 || is_explained);
    check_rounds(&r, 3);
    job_free(&r);
}

static void test_carriers_environment_names_the_transport(void **state)
{
    tulle_exchange_t *none = NULL;
    setenv("TULLE_TRANSPORT", "mpi_staged", 1);
    job_t r = job_make_on(all_apart(), 73, TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_AUTO);
    tulle_exchange_stats_t stats = stats_of(&r);
    setenv("TULLE_TRANSPORT", "pigeon", 1);
    tulle_field_t field = {r.owned, r.ghost, TULLE_I64, 1, 0, 0};
    spt_assert_fails_all(tulle_exchange_create(r.plan, TULLE_GATHER, &field, 1, NULL, &none));
    unsetenv("TULLE_TRANSPORT");
    spt_assert_all(spt_size() == 1 || stats.transports[TULLE_TRANSPORT_MPI_STAGED].messages > 0);
    job_free(&r);
}

/* --- faults ------------------------------------------------------------------------------------------------------ */

/* Each rank owns one row and needs that of the next rank. */
static spt_pattern_t ring_pattern(void)
{
    spt_pattern_t p = {.num_owned = 1, .first = spt_rank(), .num_needed = 1};
    p.ids = spt_alloc(1, sizeof *p.ids);
    p.needed_ids = spt_alloc(1, sizeof *p.needed_ids);
    p.owner_rank = spt_alloc(1, sizeof *p.owner_rank);
    p.owner_row = spt_alloc(1, sizeof *p.owner_row);
    p.ids[0] = spt_rank();
    p.needed_ids[0] = p.owner_rank[0] = (spt_rank() + 1) % spt_size();
    return p;
}

static int is_true_anywhere(int holds)
{
    MPI_Allreduce(MPI_IN_PLACE, &holds, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    return holds;
}

/* The last rank never starts. Whoever waits for it is told so, by name and level, unless a partner gave up a moment
 * before: the rank that sends to the last one has the same limit. Everything can be destroyed. */
static void check_absent_rank(tulle_transport_t transport, int tests)
{
    tulle_comm_t *comm = spt_comm(all_apart(), 0);
    spt_pattern_t pattern = ring_pattern();
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_DIRECT, TULLE_GHOST_ORDER_CALLER);
    spt_trial_t trial = spt_trial(plan, &pattern, TULLE_GATHER, TULLE_OP_SUM);
    spt_trial_add(&trial, TULLE_F32, 200000, 0);
    spt_gpu_trial_t t = spt_gpu_trial(&trial, TULLE_SPACE_DEVICE, TULLE_SPACE_DEVICE);
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_t *exchange = NULL;
    tulle_status_t st = TULLE_OK;
    int absent = spt_size() - 1, waits = (spt_rank() + 1) % spt_size() == absent && spt_size() > 1;
    char name[48];
    options.transport = transport;
    options.timeout_ms = 200;
    spt_assert_ok_all(tulle_exchange_create(plan, TULLE_GATHER, t.fields, 1, &options, &exchange));
    if (spt_rank() != absent)
        st = tulle_exchange_start(exchange, stream);
    for (int is_over = spt_rank() == absent || st != TULLE_OK; !is_over; is_over = st != TULLE_IN_PROGRESS)
        st = tests ? tulle_exchange_test(exchange) : tulle_exchange_wait(exchange);
    snprintf(name, sizeof name, "for rank %d (level node", absent);
    int is_named = st != TULLE_ERR_TIMEOUT || !waits || strstr(tulle_last_error()->text, name) != NULL;
    spt_assert_all(!waits || st == TULLE_ERR_TIMEOUT || st == TULLE_ERR_REMOTE);
    spt_assert_all(is_named);
    spt_assert_all(spt_size() == 1 || is_true_anywhere(st == TULLE_ERR_TIMEOUT));
    tulle_exchange_destroy(&exchange);
    spt_gpu_synchronize(stream);
    spt_gpu_trial_free(&t);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

static void test_carriers_absent_rank_is_named_in_time(void **state)
{
    const tli_carrier_t *carrier = NULL;
    for (int c = 0; (carrier = carrier_at(&c)) != NULL;) {
        check_absent_rank(carrier->id, 1);
        if (carrier->is_host_driven)
            check_absent_rank(carrier->id, 0);
    }
}

/* wait leaves an exchange without a part for the host to the streams; destroying it gives up in time. */
static void test_carriers_destroy_does_not_wait_for_an_absent_rank(void **state)
{
    int absent = spt_size() - 1;
    job_t r = job_make_on(all_apart(), 91, TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_MPI_STAGED);
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_field_t field = {r.owned, r.ghost, TULLE_I64, 1, 0, 0};
    tulle_exchange_t *exchange = NULL;
    options.transport = TULLE_TRANSPORT_NCCL;
    options.timeout_ms = 100;
    if (tli_carrier_nccl.is_there()) {
        spt_assert_ok_all(tulle_exchange_create(r.plan, TULLE_GATHER, &field, 1, &options, &exchange));
        spt_assert_ok_all(spt_rank() != absent ? start_and_wait(exchange, stream) : TULLE_OK);
        tulle_exchange_destroy(&exchange);
        spt_gpu_synchronize(stream);
    }
    job_free(&r);
}

/* Nothing is left out where everything is emulated. */
static void test_carriers_are_all_there(void **state)
{
    int n = 0;
    for (int c = 0; carrier_at(&c) != NULL; n++)
        ;
    assert_true(spt_gpu_is_real() || n == tli_num_carriers);
    assert_true(n >= 1);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        spt_test(test_carriers_are_all_there),
        spt_test(test_carriers_random_patterns_match_naive_exchange),
        spt_test(test_carriers_long_parcels_match_naive_exchange),
        spt_test(test_carriers_start_returns_while_the_stream_is_busy),
        spt_test(test_carriers_rounds_back_to_back_stay_apart),
        spt_test(test_carriers_test_makes_progress),
        spt_test(test_carriers_many_in_flight),
        spt_test(test_carriers_start_and_wait_allocate_nothing),
        spt_test(test_carriers_capture_is_replayed_or_refused),
        spt_test(test_carriers_stats_count_parcels),
        spt_test(test_carriers_separate_nodes_are_asked_for),
        spt_test(test_carriers_choice_is_measured_and_explained),
        spt_test(test_carriers_environment_names_the_transport),
        spt_test(test_carriers_absent_rank_is_named_in_time),
        spt_test(test_carriers_destroy_does_not_wait_for_an_absent_rank),
    };
    return spt_gpu_main(argc, argv, "collectives.device_carriers", tests, &stream);
}
