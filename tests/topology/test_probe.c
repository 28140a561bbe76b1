/* SPDX-License-Identifier: Apache-2.0
 * The probe: who is measured with whom, what times mean, and a live run. No test knows how fast anything is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/comm.h"
#include "src/transport/transport.h"
#include "tests/support/trial.h"
#include "topology/probe.h"
#include "trees.h"

static int group_above(const tulle_topology_t *topology, int level, int rank)
{
    return level == 0 ? 0 : tulle_topology_group(topology, level - 1, rank);
}

/* Ranks across the level, but not across the one above. */
static int count_beside(const tulle_topology_t *topology, int level, int rank)
{
    int num = 0;
    for (int other = 0; other < tulle_topology_num_ranks(topology); other++)
        num += group_above(topology, level, other) == group_above(topology, level, rank) &&
               tulle_topology_group(topology, level, other) != tulle_topology_group(topology, level, rank);
    return num;
}

static int check_partners(const tulle_topology_t *topology, int level, int rank)
{
    unsigned char *is_partner = spt_alloc(tulle_topology_num_ranks(topology), 1);
    int num = 0;
    for (int partner = 0; (partner = tli_probe_partner(topology, level, rank, num)) >= 0; num++) {
        assert_int_equal(group_above(topology, level, partner), group_above(topology, level, rank));
        assert_int_not_equal(tulle_topology_group(topology, level, partner),
                             tulle_topology_group(topology, level, rank));
        assert_false(is_partner[partner]);
        is_partner[partner] = 1;
    }
    assert_true(num <= count_beside(topology, level, rank));
    assert_int_equal(num > 0, count_beside(topology, level, rank) > 0);
    return num;
}

static void test_partners_are_different_ranks_across_the_level(void **state)
{
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint64_t random = seed;
        tulle_topology_t *topology = trees_random_topology(&random);
        for (int level = 0; level < tulle_topology_num_levels(topology); level++) {
            int most = 0;
            for (int rank = 0; rank < tulle_topology_num_ranks(topology); rank++) {
                int num = check_partners(topology, level, rank);
                most = num > most ? num : most;
            }
            assert_int_equal(tli_probe_num_partners(topology, level, 1000), most);
            assert_int_equal(tli_probe_num_partners(topology, level, 2), most < 2 ? most : 2);
        }
        tulle_topology_destroy(&topology);
        spt_teardown(NULL);
    }
}

static void test_partners_in_equal_groups_are_chosen_equally_often(void **state)
{
    static const char *const texts[] = {"4x4", "2x8", "3x2x3", "2x2x2x2", "4x2x3:cyclic"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        tulle_topology_t *topology = NULL;
        assert_int_equal(tulle_topology_parse(texts[t], 0, &topology), TULLE_OK);
        int num_ranks = tulle_topology_num_ranks(topology);
        for (int level = 0; level < tulle_topology_num_levels(topology); level++) {
            for (int number = 0; number < count_beside(topology, level, 0); number++) {
                int *times = spt_alloc(num_ranks, sizeof *times);
                for (int rank = 0; rank < num_ranks; rank++)
                    times[tli_probe_partner(topology, level, rank, number)]++;
                for (int rank = 0; rank < num_ranks; rank++)
                    assert_int_equal(times[rank], 1);
            }
        }
        tulle_topology_destroy(&topology);
    }
}

/* With two ways between two ranks that send to each other, rows of one carry what TCP has to say of the other's. */
static void test_partners_choose_each_other_where_their_number_allows(void **state)
{
    static const char *const texts[] = {"4x4", "2x8", "5x3", "3x2x3"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        tulle_topology_t *topology = NULL;
        assert_int_equal(tulle_topology_parse(texts[t], 0, &topology), TULLE_OK);
        int num_beside = count_beside(topology, 0, 0), num_ranks = tulle_topology_num_ranks(topology);
        for (int rank = 0; rank < num_ranks; rank++) {
            for (int i = 0; i < num_beside; i++) {
                int partner = tli_probe_partner(topology, 0, rank, i), is_mutual = 0;
                for (int k = 0; k <= i + 1 && k < num_beside; k++)
                    is_mutual |= tli_probe_partner(topology, 0, partner, k) == rank;
                assert_true(is_mutual || tulle_topology_num_groups(topology, 0) > 2);
                for (int k = 0; k < num_beside; k++)
                    is_mutual |= tli_probe_partner(topology, 0, partner, k) == rank;
                assert_true(is_mutual);
            }
        }
        tulle_topology_destroy(&topology);
    }
}

/* --- what times mean --------------------------------------------------------------------------------------------- */

static void assert_near(double actual, double expected)
{
    if (fabs(actual - expected) > 1e-9 * (1 + fabs(expected)))
        fail_msg("%.17g is not %.17g", actual, expected);
}

static void test_link_follows_from_times(void **state)
{
    tulle_topology_t *topology = NULL;
    tulle_link_t before = {1, 1, 1, 1, 1, 1};
    tli_probe_times_t times = {.few_ns = 1000, .many_ns = 3100, .lone_ns = 4700, .all_ns = 9000, .num_many = 8};
    times.one_ns = 700;
    times.bytes = 8000;
    assert_int_equal(tulle_topology_parse("2x4", 0, &topology), TULLE_OK);
    tulle_link_t link = tli_probe_link(topology, 0, &times, &before);
    assert_near(link.latency_ns, 700);
    assert_near(link.group_overhead_ns, 100); /* of each of three further ranks */
    assert_near(link.overhead_ns, 300);
    assert_near(link.bytes_per_second, 2e9);
    assert_near(link.group_bytes_per_second, 4e9); /* four ranks, 8000 bytes each, 8000 ns */
    assert_int_equal(link.num_links, 2);
    times.hop_ns = 50;
    link = tli_probe_link(topology, 1, &times, &before);
    assert_near(link.latency_ns, 50);
    assert_near(link.group_overhead_ns, 0); /* a rank is a group by itself */
    assert_near(link.group_bytes_per_second, 1e9);
    assert_int_equal(link.num_links, 1); /* as before: between ranks there is nothing to count */
    times.num_many = 0;
    link = tli_probe_link(topology, 0, &times, &before);
    assert_near(link.latency_ns, 1);
    assert_near(link.bytes_per_second, 1);
    tulle_topology_destroy(&topology);
}

static int is_sane(const tulle_link_t *link)
{
    return isfinite(link->latency_ns) && link->latency_ns > 0 && isfinite(link->bytes_per_second) &&
           link->bytes_per_second > 0 && link->num_links >= 0 && isfinite(link->overhead_ns) &&
           link->overhead_ns >= 0 && isfinite(link->group_bytes_per_second) && link->group_bytes_per_second > 0 &&
           isfinite(link->group_overhead_ns) && link->group_overhead_ns >= 0;
}

static void test_link_of_absurd_times_stays_usable(void **state)
{
    static const double times_ns[] = {0, 1, 1e3, 1e12};
    tulle_topology_t *topology = NULL;
    tulle_link_t before = {1, 1, 0, 0, 0, 0};
    assert_int_equal(tulle_topology_parse("2x2x4", 0, &topology), TULLE_OK);
    for (int i = 0; i < 4 * 4 * 4 * 4 * 2 * 4; i++) {
        tli_probe_times_t times = {.few_ns = times_ns[i % 4], .many_ns = times_ns[i / 4 % 4], .bytes = 1 << 20};
        times.lone_ns = times_ns[i / 16 % 4];
        times.all_ns = times_ns[i / 64 % 4];
        times.num_many = i / 256 % 2 + 1;
        times.one_ns = times_ns[i / 512];
        for (int level = 0; level < 3; level++) {
            tulle_link_t link = tli_probe_link(topology, level, &times, &before);
            assert_true(is_sane(&link));
            assert_int_equal(tulle_topology_set_link(topology, level, &link), TULLE_OK);
        }
    }
    tulle_topology_destroy(&topology);
}

static void test_carrier_is_ucx_only_where_it_gains_and_loses_nowhere(void **state)
{
    static const struct {
        double small, large; /* of UCX by MPI */
        tulle_transport_t carrier;
    } cases[] = {{0.5, 0.5, TULLE_TRANSPORT_UCX},  {0.8, 1.0, TULLE_TRANSPORT_UCX},   {1.0, 0.85, TULLE_TRANSPORT_UCX},
                 {1.04, 0.8, TULLE_TRANSPORT_UCX}, {0.97, 0.97, TULLE_TRANSPORT_MPI}, {0.3, 1.1, TULLE_TRANSPORT_MPI},
                 {1.2, 0.3, TULLE_TRANSPORT_MPI},  {1.0, 1.0, TULLE_TRANSPORT_MPI},   {2.0, 2.0, TULLE_TRANSPORT_MPI},
                 {0.0, 0.5, TULLE_TRANSPORT_MPI}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tli_probe_times_t mpi = {.few_ns = 3e4, .all_ns = 2e6}, ucx = mpi;
        ucx.few_ns *= cases[i].small;
        ucx.all_ns *= cases[i].large;
        assert_int_equal(tli_probe_carrier(&mpi, &ucx), cases[i].carrier);
    }
}

/* --- live -------------------------------------------------------------------------------------------------------- */

static tulle_topology_t *probe(tulle_comm_t *comm)
{
    tulle_probe_options_t options = TULLE_PROBE_OPTIONS_INIT;
    tulle_topology_t *topology = NULL;
    options.time_ms = 5;
    spt_assert_ok_all(tulle_comm_probe(comm, &options, &topology));
    return topology;
}

/* Levels with groups side by side got sane figures, the others kept theirs. */
static void check_links(const tulle_topology_t *probed, const tulle_topology_t *before)
{
    for (int level = 0; level < tulle_topology_num_levels(before); level++) {
        tulle_link_t old, link;
        assert_int_equal(tulle_topology_get_link(before, level, &old), TULLE_OK);
        assert_int_equal(tulle_topology_get_link(probed, level, &link), TULLE_OK);
        if (tli_probe_num_partners(before, level, 1) > 0)
            spt_assert_all(is_sane(&link));
        else
            spt_assert_all(link.latency_ns == old.latency_ns && link.bytes_per_second == old.bytes_per_second);
    }
}

static void test_probe_gives_every_rank_the_same_usable_topology(void **state)
{
    const char *text = NULL;
    for (int i = 0; (text = spt_topology(i)) != NULL; i++) {
        tulle_comm_t *comm = spt_comm(text, i % 2);
        tulle_topology_t *topology = probe(comm);
        tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
        tulle_comm_t *with_links = NULL;
        assert_string_equal(tulle_topology_text(topology), tulle_topology_text(tulle_comm_topology(comm)));
        check_links(topology, tulle_comm_topology(comm));
        /* Ranks that held different links would be refused. */
        options.topology = topology;
        spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &with_links));
        spt_assert_comm_works(with_links);
        spt_assert_comm_works(comm);
        tulle_comm_destroy(&with_links);
        tulle_topology_destroy(&topology);
        tulle_comm_destroy(&comm);
    }
}

/* Both are measured between nodes, and what is chosen follows from the figures; not where the carrier was asked for. */
static void test_probe_compares_carriers_where_nobody_chose(void **state)
{
    int is_measured = spt_size() > 1 && tli_transport_is_built(TULLE_TRANSPORT_UCX);
    for (int is_asked = 0; is_asked < 2; is_asked++) {
        tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
        tulle_comm_t *comm = NULL;
        tulle_carrier_t carrier;
        options.topology_text = spt_size() > 1 ? spt_topology(1) : "1x1";
        options.transport = is_asked ? TULLE_TRANSPORT_MPI : TULLE_TRANSPORT_AUTO;
        spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
        tulle_topology_t *topology = probe(comm);
        assert_int_equal(tulle_topology_get_carrier(topology, 0, &carrier), TULLE_OK);
        if (is_measured && !is_asked) {
            tli_probe_times_t mpi = {.few_ns = carrier.mpi_small_ns, .all_ns = carrier.mpi_large_ns};
            tli_probe_times_t ucx = {.few_ns = carrier.ucx_small_ns, .all_ns = carrier.ucx_large_ns};
            spt_assert_all(ucx.few_ns > 0 && ucx.all_ns > 0 && carrier.transport == tli_probe_carrier(&mpi, &ucx));
        } else {
            spt_assert_all(carrier.transport == TULLE_TRANSPORT_AUTO && carrier.ucx_small_ns == 0);
        }
        spt_assert_comm_works(comm);
        tulle_topology_destroy(&topology);
        tulle_comm_destroy(&comm);
    }
}

/* A communicator follows its topology; what was asked for comes first. */
static void test_carrier_of_the_topology_is_taken(void **state)
{
    tulle_transport_t ucx = tli_transport_is_built(TULLE_TRANSPORT_UCX) ? TULLE_TRANSPORT_UCX : TULLE_TRANSPORT_MPI;
    tulle_carrier_t carrier = {TULLE_TRANSPORT_UCX, 4e4, 2e6, 3e4, 1e6};
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    tulle_topology_t *topology = NULL;
    assert_int_equal(tulle_topology_parse(spt_size() > 1 ? spt_topology(1) : "1x1", spt_size(), &topology), TULLE_OK);
    assert_int_equal(tulle_topology_set_carrier(topology, 0, &carrier), TULLE_OK);
    options.topology = topology;
    for (int is_asked = 0; is_asked < 2; is_asked++) {
        tulle_comm_t *comm = NULL;
        options.transport = is_asked ? TULLE_TRANSPORT_MPI : TULLE_TRANSPORT_AUTO;
        spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
        spt_assert_all(comm->carriers[0] == (is_asked ? TULLE_TRANSPORT_MPI : ucx));
        spt_assert_comm_works(comm);
        tulle_comm_destroy(&comm);
    }
    carrier.transport = spt_rank() == 0 ? TULLE_TRANSPORT_MPI : TULLE_TRANSPORT_UCX;
    assert_int_equal(tulle_topology_set_carrier(topology, 0, &carrier), TULLE_OK);
    options.transport = TULLE_TRANSPORT_AUTO;
    if (spt_size() > 1 && ucx == TULLE_TRANSPORT_UCX) {
        tulle_comm_t *none = NULL;
        spt_assert_fails_alike(tulle_comm_create(MPI_COMM_WORLD, &options, &none), TULLE_ERR_MISMATCH, "carries");
    }
    tulle_topology_destroy(&topology);
}

static void test_carrier_that_cannot_be_is_refused(void **state)
{
    tulle_carrier_t carrier = {TULLE_TRANSPORT_CUDA_IPC, 0, 0, 0, 0};
    tulle_topology_t *topology = NULL;
    assert_int_equal(tulle_topology_parse("2x1", 2, &topology), TULLE_OK);
    assert_int_equal(tulle_topology_set_carrier(topology, 0, &carrier), TULLE_ERR_ARG);
    carrier.transport = TULLE_TRANSPORT_UCX;
    assert_int_equal(tulle_topology_set_carrier(topology, 2, &carrier), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_set_carrier(topology, 0, NULL), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_get_carrier(NULL, 0, &carrier), TULLE_ERR_ARG);
    carrier.ucx_large_ns = -1;
    assert_int_equal(tulle_topology_set_carrier(topology, 0, &carrier), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_get_carrier(topology, 0, &carrier), TULLE_OK);
    assert_int_equal(carrier.transport, TULLE_TRANSPORT_AUTO);
    tulle_topology_destroy(&topology);
}

static void test_probe_result_survives_a_file(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_size() > 1 ? spt_topology(1) : "1x1", 0);
    tulle_topology_t *topology = probe(comm), *loaded = NULL;
    char path[64];
    snprintf(path, sizeof path, "/tmp/tulle-probe-%ld-%d.topo", (long)getpid(), spt_rank());
    spt_assert_ok_all(tulle_topology_save(topology, path));
    spt_assert_ok_all(tulle_topology_load(path, spt_size(), &loaded));
    remove(path);
    spt_assert_all(tli_topology_equal(topology, loaded));
    for (int level = 0; level < tulle_topology_num_levels(topology); level++) {
        tulle_carrier_t written, read;
        assert_int_equal(tulle_topology_get_carrier(topology, level, &written), TULLE_OK);
        assert_int_equal(tulle_topology_get_carrier(loaded, level, &read), TULLE_OK);
        spt_assert_all(written.transport == read.transport && written.mpi_small_ns == read.mpi_small_ns &&
                       written.mpi_large_ns == read.mpi_large_ns && written.ucx_small_ns == read.ucx_small_ns &&
                       written.ucx_large_ns == read.ucx_large_ns);
    }
    tulle_topology_destroy(&loaded);
    tulle_topology_destroy(&topology);
    tulle_comm_destroy(&comm);
}

static void test_probe_bad_arguments_are_refused_everywhere(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    tulle_topology_t *topology = NULL;
    assert_int_equal(tulle_comm_probe(NULL, NULL, &topology), TULLE_ERR_ARG);
    for (int culprit = 0; culprit < spt_size(); culprit++) {
        tulle_probe_options_t options = TULLE_PROBE_OPTIONS_INIT;
        spt_assert_blames(tulle_comm_probe(comm, NULL, spt_rank() == culprit ? NULL : &topology), TULLE_ERR_ARG,
                          culprit, "topology_out");
        options.time_ms = spt_rank() == culprit ? -1 : 0;
        spt_assert_blames(tulle_comm_probe(comm, &options, &topology), TULLE_ERR_ARG, culprit, "time_ms");
        options.time_ms = spt_rank() == culprit ? 3 : 4;
        if (spt_size() > 1)
            spt_assert_fails_alike(tulle_comm_probe(comm, &options, &topology), TULLE_ERR_MISMATCH, "time_ms");
    }
    assert_null(topology);
    spt_assert_comm_works(comm);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_partners_are_different_ranks_across_the_level),
        spt_test(test_partners_in_equal_groups_are_chosen_equally_often),
        spt_test(test_partners_choose_each_other_where_their_number_allows),
        spt_test(test_link_follows_from_times),
        spt_test(test_link_of_absurd_times_stays_usable),
        spt_test(test_carrier_is_ucx_only_where_it_gains_and_loses_nowhere),
        spt_test(test_probe_compares_carriers_where_nobody_chose),
        spt_test(test_probe_gives_every_rank_the_same_usable_topology),
        spt_test(test_carrier_of_the_topology_is_taken),
        spt_test(test_carrier_that_cannot_be_is_refused),
        spt_test(test_probe_result_survives_a_file),
        spt_test(test_probe_bad_arguments_are_refused_everywhere),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
