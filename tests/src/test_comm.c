/* SPDX-License-Identifier: Apache-2.0
 * Communicators: where the topology comes from, ranks that do not fit it or disagree about it, the environment, handles
 * kept alive. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/comm.h"
#include "src/transport/transport.h"
#include "tests/support/trial.h"

#define INIT TULLE_COMM_OPTIONS_INIT

static tulle_status_t create(const tulle_comm_options_t *options)
{
    tulle_comm_t *comm = NULL;
    tulle_status_t st = tulle_comm_create(MPI_COMM_WORLD, options, &comm);
    spt_assert_all((comm != NULL) == (st == TULLE_OK));
    tulle_comm_destroy(&comm);
    return st;
}

static char *flat(char *text, size_t size, int num_ranks)
{
    snprintf(text, size, "%dx1", num_ranks);
    return text;
}

/* --- topology ---------------------------------------------------------------------------------------------------- */

static void test_comm_defaults_discover_one_machine(void **state)
{
    tulle_comm_t *comm = NULL;
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, NULL, &comm));
    assert_int_equal(tulle_comm_rank(comm), spt_rank());
    assert_int_equal(tulle_comm_size(comm), spt_size());
    assert_int_equal(tulle_topology_num_ranks(tulle_comm_topology(comm)), spt_size());
    assert_int_equal(tulle_topology_num_groups(tulle_comm_topology(comm), 0), 1);
    assert_int_equal(tulle_comm_is_emulated(comm), 0);
    spt_assert_comm_works(comm);
    tulle_comm_destroy(&comm);
    assert_null(comm);
}

static void test_comm_declared_text_is_used(void **state)
{
    const char *topology = NULL;
    for (int i = 0; (topology = spt_topology(i)) != NULL; i++) {
        tulle_comm_t *comm = spt_comm(topology, 0);
        tulle_topology_t *wanted = NULL;
        assert_int_equal(tulle_topology_parse(topology, spt_size(), &wanted), TULLE_OK);
        assert_string_equal(tulle_topology_text(tulle_comm_topology(comm)), tulle_topology_text(wanted));
        /* All ranks share memory here: more than one declared node is emulation. */
        spt_assert_all(tulle_comm_is_emulated(comm) == (tulle_topology_num_groups(wanted, 0) > 1));
        tulle_topology_destroy(&wanted);
        tulle_comm_destroy(&comm);
    }
}

static void test_comm_topology_object_overrides_text_and_is_copied(void **state)
{
    char text[32];
    tulle_comm_options_t options = INIT;
    tulle_topology_t *topology = NULL;
    tulle_comm_t *comm = NULL;
    assert_int_equal(tulle_topology_parse(flat(text, sizeof text, spt_size()), 0, &topology), TULLE_OK);
    options.topology = topology;
    options.topology_text = "not looked at";
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
    tulle_topology_destroy(&topology);
    assert_int_equal(tulle_topology_num_groups(tulle_comm_topology(comm), 0), spt_size());
    tulle_comm_destroy(&comm);
}

static void test_comm_wrong_number_of_ranks_is_refused(void **state)
{
    char text[32], words[64];
    tulle_comm_options_t options = INIT;
    tulle_topology_t *topology = NULL;
    options.topology_text = flat(text, sizeof text, spt_size() + 1);
    snprintf(words, sizeof words, "%d", spt_size() + 1);
    spt_assert_fails_alike(create(&options), TULLE_ERR_ARG, words);
    assert_int_equal(tulle_topology_parse(text, 0, &topology), TULLE_OK);
    options.topology = topology;
    spt_assert_fails_alike(create(&options), TULLE_ERR_ARG, words);
    tulle_topology_destroy(&topology);
}

static void test_comm_malformed_text_is_refused(void **state)
{
    static const char *const texts[] = {"", "x", "2x", "0", "-1x2", "2x2:sideways", "(1", "1e9", "99999999999x9"};
    tulle_comm_options_t options = INIT;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        options.topology_text = texts[i];
        spt_assert_all(create(&options) == TULLE_ERR_ARG);
    }
}

static void test_comm_one_rank_with_bad_text_fails_all(void **state)
{
    char text[32];
    tulle_comm_options_t options = INIT;
    for (int culprit = 0; culprit < spt_size(); culprit++) {
        options.topology_text = spt_rank() == culprit ? "3x?" : flat(text, sizeof text, spt_size());
        spt_assert_blames(create(&options), TULLE_ERR_ARG, culprit, "3x?");
    }
}

static void test_comm_ranks_disagree_on_topology_is_refused(void **state)
{
    char text[32];
    tulle_comm_options_t options = INIT;
    tulle_topology_t *topology = NULL;
    tulle_link_t link = {1.0, 1e9, 1, 0, 0, 0};
    if (spt_size() == 1)
        skip();
    flat(text, sizeof text, spt_size());
    for (int culprit = 0; culprit < spt_size(); culprit += spt_size() - 1) {
        options = (tulle_comm_options_t)INIT;
        options.topology_text = spt_rank() == culprit ? spt_topology(0) : text;
        spt_assert_fails_alike(create(&options), TULLE_ERR_MISMATCH, "topology");
        /* Declared on one rank only. */
        options.topology_text = spt_rank() == culprit ? text : NULL;
        spt_assert_fails_alike(create(&options), TULLE_ERR_MISMATCH, "declared");
        /* The same tree with another link. */
        assert_int_equal(tulle_topology_parse(text, 0, &topology), TULLE_OK);
        if (spt_rank() == culprit)
            assert_int_equal(tulle_topology_set_link(topology, 0, &link), TULLE_OK);
        options.topology = topology;
        spt_assert_fails_alike(create(&options), TULLE_ERR_MISMATCH, "topology");
        tulle_topology_destroy(&topology);
    }
}

/* --- other options ----------------------------------------------------------------------------------------------- */

static void test_comm_bad_options_on_one_rank_fail_all(void **state)
{
    for (int culprit = 0; culprit < spt_size(); culprit++) {
        tulle_comm_options_t options = INIT;
        options.struct_size = spt_rank() == culprit ? 3 : sizeof options;
        spt_assert_blames(create(&options), TULLE_ERR_ARG, culprit, "struct_size is 3");
        options = (tulle_comm_options_t)INIT;
        options.timeout_ms = spt_rank() == culprit ? -5 : 0;
        spt_assert_blames(create(&options), TULLE_ERR_ARG, culprit, "timeout_ms is -5");
        tulle_comm_t *comm = NULL;
        spt_assert_blames(tulle_comm_create(MPI_COMM_WORLD, NULL, spt_rank() == culprit ? NULL : &comm), TULLE_ERR_ARG,
                          culprit, "comm_out is NULL");
        spt_assert_all(comm == NULL);
    }
}

static void test_comm_disagreement_on_shared_memory_is_refused(void **state)
{
    tulle_comm_options_t options = INIT;
    options.disable_shared_memory = spt_rank() == 0;
    if (spt_size() == 1)
        skip();
    spt_assert_fails_alike(create(&options), TULLE_ERR_MISMATCH, "disable_shared_memory");
}

static void test_comm_shared_memory_can_be_disabled(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    spt_assert_all(comm->num_shared == spt_size());
    tulle_comm_destroy(&comm);
    comm = spt_comm(NULL, 1);
    spt_assert_all(comm->num_shared == 1 && tli_comm_shared_rank(comm, spt_rank()) == 0);
    tulle_comm_destroy(&comm);
}

static void test_comm_null_and_inter_communicators_are_refused(void **state)
{
    tulle_comm_t *comm = NULL;
    MPI_Comm half = MPI_COMM_NULL, inter = MPI_COMM_NULL;
    spt_assert_fails_alike(tulle_comm_create(MPI_COMM_NULL, NULL, &comm), TULLE_ERR_ARG, "MPI_COMM_NULL");
    if (spt_size() > 1) {
        int is_upper = spt_rank() > 0;
        MPI_Comm_split(MPI_COMM_WORLD, is_upper, 0, &half);
        MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, is_upper ? 0 : 1, 1, &inter);
        spt_assert_fails_alike(tulle_comm_create(inter, NULL, &comm), TULLE_ERR_ARG, "intercommunicator");
        MPI_Comm_free(&inter);
        MPI_Comm_free(&half);
    }
}

/* Half of the job, its ranks in reverse. */
static void test_comm_of_a_part_of_the_job_works(void **state)
{
    MPI_Comm part = MPI_COMM_NULL;
    tulle_comm_t *comm = NULL;
    int rank = -1;
    MPI_Comm_split(MPI_COMM_WORLD, spt_rank() % 2, -spt_rank(), &part);
    MPI_Comm_rank(part, &rank);
    spt_assert_ok_all(tulle_comm_create(part, NULL, &comm));
    MPI_Comm_free(&part);
    spt_assert_all(tulle_comm_rank(comm) == rank && tulle_comm_size(comm) == (spt_size() + 1 - spt_rank() % 2) / 2);
    tulle_comm_destroy(&comm);
}

/* --- environment ------------------------------------------------------------------------------------------------- */

static void test_comm_environment_topology_is_used_unless_given(void **state)
{
    char text[32];
    tulle_comm_options_t options = INIT;
    tulle_comm_t *comm = NULL;
    setenv("TULLE_TOPOLOGY", flat(text, sizeof text, spt_size()), 1);
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, NULL, &comm));
    spt_assert_all(tulle_topology_num_groups(tulle_comm_topology(comm), 0) == spt_size());
    tulle_comm_destroy(&comm);
    options.topology_text = spt_topology(0);
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
    spt_assert_all(tulle_topology_num_groups(tulle_comm_topology(comm), 0) == 1);
    tulle_comm_destroy(&comm);
    setenv("TULLE_TOPOLOGY", "7*7", 1);
    spt_assert_all(create(NULL) == TULLE_ERR_ARG);
    setenv("TULLE_TOPOLOGY", "", 1);
    spt_assert_ok_all(create(NULL));
    unsetenv("TULLE_TOPOLOGY");
}

static void test_comm_environment_timeout_is_read(void **state)
{
    static const char *const bad[] = {"soon", "-1", "10s", "1.5", "99999999999999999999", " "};
    tulle_comm_options_t options = INIT;
    tulle_comm_t *comm = NULL;
    setenv("TULLE_TIMEOUT_MS", "12345", 1);
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, NULL, &comm));
    spt_assert_all(comm->timeout_ms == 12345);
    tulle_comm_destroy(&comm);
    options.timeout_ms = 77;
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
    spt_assert_all(comm->timeout_ms == 77);
    tulle_comm_destroy(&comm);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("TULLE_TIMEOUT_MS", bad[i], 1);
        spt_assert_fails_alike(create(NULL), TULLE_ERR_ARG, bad[i]);
    }
    for (int culprit = 0; culprit < spt_size(); culprit++) {
        setenv("TULLE_TIMEOUT_MS", spt_rank() == culprit ? "never" : "1000", 1);
        spt_assert_blames(create(NULL), TULLE_ERR_ARG, culprit, "never");
    }
    unsetenv("TULLE_TIMEOUT_MS");
}

static void test_comm_environment_transport_is_read(void **state)
{
    static const char *const bad[] = {"shared_memory", "tcp"};
    tulle_comm_options_t options = INIT;
    tulle_comm_t *comm = NULL;
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, NULL, &comm));
    spt_assert_all(comm->carriers[0] == TULLE_TRANSPORT_MPI && !comm->is_carrier_asked);
    tulle_comm_destroy(&comm);
    setenv("TULLE_TRANSPORT", "cuda_staged", 1); /* for GPUs */
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, NULL, &comm));
    spt_assert_all(comm->carriers[0] == TULLE_TRANSPORT_MPI && !comm->is_carrier_asked);
    tulle_comm_destroy(&comm);
    setenv("TULLE_TRANSPORT", "mpi", 1);
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, NULL, &comm));
    spt_assert_all(comm->carriers[0] == TULLE_TRANSPORT_MPI && comm->is_carrier_asked);
    tulle_comm_destroy(&comm);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("TULLE_TRANSPORT", bad[i], 1);
        spt_assert_fails_alike(create(NULL), TULLE_ERR_ARG, bad[i]);
    }
    unsetenv("TULLE_TRANSPORT");
    options.transport = TULLE_TRANSPORT_UCX;
    if (tli_transport_is_built(TULLE_TRANSPORT_UCX)) {
        spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
        spt_assert_all(comm->carriers[0] == TULLE_TRANSPORT_UCX);
        tulle_comm_destroy(&comm);
        options.transport = spt_rank() == 0 ? TULLE_TRANSPORT_UCX : TULLE_TRANSPORT_AUTO;
        spt_assert_all(spt_size() == 1 || create(&options) == TULLE_ERR_MISMATCH);
    } else {
        spt_assert_fails_alike(create(&options), TULLE_ERR_UNSUPPORTED, "ucx, which this build");
    }
}

/* --- handles ----------------------------------------------------------------------------------------------------- */

static void test_comm_null_handles_are_harmless(void **state)
{
    tulle_comm_t *none = NULL;
    assert_int_equal(tulle_comm_rank(NULL), -1);
    assert_int_equal(tulle_comm_size(NULL), 0);
    assert_null(tulle_comm_topology(NULL));
    assert_int_equal(tulle_comm_is_emulated(NULL), 0);
    tulle_comm_destroy(&none);
    tulle_comm_destroy(NULL);
}

static void test_comm_retained_lives_on(void **state)
{
    int64_t live = tli_alloc_live();
    tulle_comm_t *comm = spt_comm(NULL, 0);
    tulle_comm_t *kept = tli_comm_retain(comm);
    tulle_comm_destroy(&comm);
    spt_assert_all(comm == NULL && tulle_comm_size(kept) == spt_size());
    spt_assert_comm_works(kept);
    tulle_comm_destroy(&kept);
    spt_assert_all(tli_alloc_live() == live);
}

static void test_comm_many_at_once_do_not_meet(void **state)
{
    tulle_comm_t *comms[4];
    for (int i = 0; i < 4; i++)
        comms[i] = spt_comm(spt_topology(spt_topology(i) != NULL ? i : 0), i % 2);
    for (int i = 0; i < 4; i++)
        spt_assert_comm_works(comms[i]);
    for (int i = 0; i < 4; i++)
        tulle_comm_destroy(&comms[(i + 2) % 4]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_comm_defaults_discover_one_machine),
        spt_test(test_comm_declared_text_is_used),
        spt_test(test_comm_topology_object_overrides_text_and_is_copied),
        spt_test(test_comm_wrong_number_of_ranks_is_refused),
        spt_test(test_comm_malformed_text_is_refused),
        spt_test(test_comm_one_rank_with_bad_text_fails_all),
        spt_test(test_comm_ranks_disagree_on_topology_is_refused),
        spt_test(test_comm_bad_options_on_one_rank_fail_all),
        spt_test(test_comm_disagreement_on_shared_memory_is_refused),
        spt_test(test_comm_shared_memory_can_be_disabled),
        spt_test(test_comm_null_and_inter_communicators_are_refused),
        spt_test(test_comm_of_a_part_of_the_job_works),
        spt_test(test_comm_environment_topology_is_used_unless_given),
        spt_test(test_comm_environment_timeout_is_read),
        spt_test(test_comm_environment_transport_is_read),
        spt_test(test_comm_null_handles_are_harmless),
        spt_test(test_comm_retained_lives_on),
        spt_test(test_comm_many_at_once_do_not_meet),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
