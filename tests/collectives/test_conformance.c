/* SPDX-License-Identifier: Apache-2.0
 * Every transport of the host, and mixtures, through the same suite: to oneself, shared memory, MPI, UCX. Which one a
 * message takes follows from the topology and from the options of communicator and exchange. */
#include "src/transport/transport.h"
#include "tests/collectives/conformance.h"

static void host_bind(flight_t *flight, const tulle_plan_t *plan)
{
    const spt_trial_t *trial = &flight->trial;
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    options.op = trial->op;
    options.chunk_bytes = flight->way->chunk_bytes;
    options.transport = flight->way->transport;
    spt_assert_ok_all(
        tulle_exchange_create(plan, trial->direction, trial->fields, trial->num_fields, &options, &flight->exchange));
}

static tulle_status_t host_start(flight_t *flight)
{
    return tulle_exchange_start(flight->exchange, NULL);
}

static tulle_status_t host_finish(flight_t *flight)
{
    return tulle_exchange_wait(flight->exchange);
}

static void host_release(flight_t *flight)
{
    (void)flight;
}

static const mover_t host = {host_bind, host_start, host_finish, host_release};

/* --- only on the host: there test makes progress ------------------------------------------------------------------ */

/* Rounds without synchronisation, the values changing right after each: nothing may be read late. */
static void check_no_round_reads_the_next(const way_t *way)
{
    tulle_comm_options_t comm_options = TULLE_COMM_OPTIONS_INIT;
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_comm_t *comm = NULL;
    spt_pattern_t pattern = spt_pattern_random(11);
    comm_options.topology_text = way->topology;
    comm_options.disable_shared_memory = way->disable_shared_memory;
    comm_options.transport = way->carrier;
    options.transport = way->transport;
    options.chunk_bytes = way->chunk_bytes;
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &comm_options, &comm));
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_BALANCED, TULLE_GHOST_ORDER_CALLER);
    int64_t *owned = spt_alloc(pattern.num_owned, 8), *ghost = spt_alloc(pattern.num_needed, 8);
    tulle_field_t field = {owned, ghost, TULLE_I64, 1, 0, 0};
    tulle_exchange_t *exchange = NULL;
    tulle_status_t st = TULLE_OK;
    int is_right = 1;
    spt_assert_ok_all(tulle_exchange_create(plan, TULLE_GATHER, &field, 1, &options, &exchange));
    for (int64_t round = 0; round < 60 && st == TULLE_OK; round++) {
        for (int64_t i = 0; i < pattern.num_owned; i++)
            owned[i] = pattern.ids[i] * 1000 + round;
        st = tulle_exchange_start(exchange, NULL);
        while (st == TULLE_OK && (st = tulle_exchange_test(exchange)) == TULLE_IN_PROGRESS)
            st = TULLE_OK;
        for (int64_t i = 0; i < pattern.num_owned; i++)
            owned[i] = -1;
        for (int64_t i = 0; i < pattern.num_needed; i++)
            is_right = is_right && ghost[i] == pattern.needed_ids[i] * 1000 + round;
    }
    spt_assert_ok_all(st);
    spt_assert_all(is_right);
    tulle_exchange_destroy(&exchange);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

/* In whole messages, and in chunks of a few rows. More ranks than two take long to do all of it twice: test_chunks has
 * chunks in every plan. */
static void run_suite(way_t way)
{
    static const size_t chunk_bytes[] = {TULLE_CHUNK_NEVER, 20};
    way.mover = &host;
    for (int i = 0; i < 2; i++) {
        way.chunk_bytes = chunk_bytes[i];
        if (i == 0 || spt_size() <= 2)
            conformance_run(&way);
        check_no_round_reads_the_next(&way);
    }
}

/* --- over each ---------------------------------------------------------------------------------------------------- */

static void test_conformance_self(void **state)
{
    if (spt_size() > 1)
        skip();
    for (int disable = 0; disable < 2; disable++)
        run_suite((way_t){.topology = "1x1", .disable_shared_memory = disable});
}

static void test_conformance_shared_memory(void **state)
{
    if (spt_size() == 1)
        skip();
    run_suite((way_t){.topology = spt_topology(0), .only = TULLE_TRANSPORT_SHARED_MEMORY});
}

/* Between nodes, and where the exchange wants nothing else. */
static void check_carrier(tulle_transport_t carrier)
{
    run_suite((way_t){.topology = spt_topology(1), .carrier = carrier, .only = carrier});
    run_suite((way_t){.topology = spt_topology(0), .transport = carrier, .only = carrier});
}

static void test_conformance_mpi(void **state)
{
    if (spt_size() == 1)
        skip();
    check_carrier(TULLE_TRANSPORT_MPI);
}

static void test_conformance_ucx(void **state)
{
    if (spt_size() == 1 || !tli_transport_is_built(TULLE_TRANSPORT_UCX))
        skip();
    check_carrier(TULLE_TRANSPORT_UCX);
}

static void test_conformance_mixture(void **state)
{
    if (spt_size() < 3)
        skip();
    for (int i = 2; spt_topology(i) != NULL; i += 3) {
        int is_ucx = i % 2 == 0 && tli_transport_is_built(TULLE_TRANSPORT_UCX);
        run_suite((way_t){.topology = spt_topology(i), .carrier = is_ucx ? TULLE_TRANSPORT_UCX : TULLE_TRANSPORT_MPI});
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_conformance_self), spt_test(test_conformance_shared_memory), spt_test(test_conformance_mpi),
        spt_test(test_conformance_ucx),  spt_test(test_conformance_mixture),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
