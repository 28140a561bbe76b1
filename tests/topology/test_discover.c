/* SPDX-License-Identifier: Apache-2.0
 * Discovery in a running job: the same tree on every rank, nodes as MPI sees them, one failing rank fails all. Binding
 * is tested on a made-up machine that hwloc is told to see, with real binding to two processors. */
#define _GNU_SOURCE /* sched_setaffinity */
#include <dirent.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tulle/mpi.h>

#include "topology/discover.h"
#include "topology/model.h"

/* Every rank fails if one does: a rank that goes on alone would hang in the next collective. */
static void assert_all(int is_good)
{
    int all_good = 0;
    MPI_Allreduce(&is_good, &all_good, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
    assert_true(all_good);
}

static int same_everywhere(const tulle_topology_t *topology)
{
    uint64_t mine = tli_topology_hash(topology);
    uint64_t least = 0;
    uint64_t most = 0;
    MPI_Allreduce(&mine, &least, 1, MPI_UINT64_T, MPI_MIN, MPI_COMM_WORLD);
    MPI_Allreduce(&mine, &most, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
    return least == most;
}

static void test_discover_nodes_are_those_of_mpi(void **state)
{
    tulle_topology_t *topology = NULL;
    MPI_Comm node_comm = MPI_COMM_NULL;
    int rank = 0;
    int size = 0;
    int node_size = 0;
    int num_together = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node_comm);
    MPI_Comm_size(node_comm, &node_size);
    MPI_Comm_free(&node_comm);
    assert_all(tulle_topology_discover(MPI_COMM_WORLD, &topology) == TULLE_OK);
    assert_all(tulle_topology_num_ranks(topology) == size);
    assert_all(same_everywhere(topology));
    for (int other = 0; other < size; other++)
        num_together += tulle_topology_group(topology, 0, other) == tulle_topology_group(topology, 0, rank);
    assert_all(num_together == node_size);
    tulle_topology_destroy(&topology);
}

static void test_discover_of_a_subset_numbers_its_own_ranks(void **state)
{
    tulle_topology_t *topology = NULL;
    MPI_Comm half = MPI_COMM_NULL;
    int rank = 0;
    int half_size = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    /* Reversed order: rank 0 of the half is the highest of the world. */
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &half);
    MPI_Comm_size(half, &half_size);
    assert_all(tulle_topology_discover(half, &topology) == TULLE_OK);
    assert_all(tulle_topology_num_ranks(topology) == half_size);
    assert_all(tulle_topology_group(topology, 0, 0) == 0);
    MPI_Comm_free(&half);
    tulle_topology_destroy(&topology);
}

static void test_discover_bad_arguments_are_refused(void **state)
{
    tulle_topology_t *topology = NULL;
    int rank = 0;
    int size = 0;
    tulle_status_t st = TULLE_OK;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    assert_all(tulle_topology_discover(MPI_COMM_NULL, &topology) == TULLE_ERR_ARG);
    /* Only the last rank is wrong: it hears why, the others that another rank failed. */
    st = tulle_topology_discover(MPI_COMM_WORLD, rank == size - 1 ? NULL : &topology);
    assert_all(st == (rank == size - 1 ? TULLE_ERR_ARG : TULLE_ERR_REMOTE));
    assert_all(topology == NULL);
}

static void test_discover_intercommunicator_is_refused(void **state)
{
    tulle_topology_t *topology = NULL;
    MPI_Comm side = MPI_COMM_NULL;
    MPI_Comm inter = MPI_COMM_NULL;
    int rank = 0;
    int size = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size < 2)
        skip();
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &side);
    MPI_Intercomm_create(side, 0, MPI_COMM_WORLD, 1 - rank % 2, 0, &inter);
    assert_all(tulle_topology_discover(inter, &topology) == TULLE_ERR_ARG);
    assert_all(topology == NULL);
    MPI_Comm_free(&inter);
    MPI_Comm_free(&side);
}

/* Fail the k-th allocation of one rank, for every k that discovery has. */
static void test_discover_failing_allocation_fails_all(void **state)
{
    int64_t live = tli_alloc_live();
    int rank = 0;
    int size = 0;
    int has_failed = 1;
    int64_t k = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    while (has_failed) {
        tulle_topology_t *topology = NULL;
        tulle_status_t st = TULLE_OK;
        int is_unlucky = rank == k % size;
        tli_alloc_fail_at(is_unlucky ? k / size + 1 : 0);
        st = tulle_topology_discover(MPI_COMM_WORLD, &topology);
        tli_alloc_fail_at(0);
        has_failed = st != TULLE_OK;
        assert_all(st == TULLE_OK || (topology == NULL && st == (is_unlucky ? TULLE_ERR_NOMEM : TULLE_ERR_REMOTE)));
        MPI_Bcast(&has_failed, 1, MPI_INT, 0, MPI_COMM_WORLD);
        assert_all(has_failed == (st != TULLE_OK));
        tulle_topology_destroy(&topology);
        assert_all(tli_alloc_live() == live);
        k++;
    }
    assert_true(k > size);
}

/* Bind all threads: those of the MPI library belong to the process too. */
static int bind_to(const cpu_set_t *cpus)
{
    DIR *threads = opendir("/proc/self/task");
    int has_failed = threads == NULL;
    for (struct dirent *entry = NULL; !has_failed && (entry = readdir(threads)) != NULL;)
        if (entry->d_name[0] != '.')
            has_failed = sched_setaffinity(atoi(entry->d_name), sizeof *cpus, cpus);
    if (threads != NULL)
        closedir(threads);
    return has_failed;
}

static int bind_to_range(int first_cpu, int last_cpu)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (int cpu = first_cpu; cpu <= last_cpu; cpu++)
        CPU_SET((size_t)cpu, &cpus);
    return bind_to(&cpus);
}

/* What hwloc sees: two packages of one processor each, as wide as the first two processors of this machine. */
static int pretend_two_packages(void)
{
    return setenv("HWLOC_SYNTHETIC", "package:2 core:1 pu:1", 1) | setenv("HWLOC_THISSYSTEM", "1", 1);
}

static void test_discover_bound_ranks_have_domains(void **state)
{
    tulle_topology_t *topology = NULL;
    int rank = 0;
    int size = 0;
    int is_usable = 0;
    int all_usable = 0;
    cpu_set_t before;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    assert_all(sched_getaffinity(0, sizeof before, &before) == 0 && pretend_two_packages() == 0);
    is_usable = bind_to_range(rank % 2, rank % 2) == 0 && tli_discover_domain() == rank % 2;
    MPI_Allreduce(&is_usable, &all_usable, 1, MPI_INT, MPI_LAND, MPI_COMM_WORLD);
    if (all_usable) {
        assert_all(tulle_topology_discover(MPI_COMM_WORLD, &topology) == TULLE_OK);
        assert_all(same_everywhere(topology));
        assert_all(tulle_topology_num_levels(topology) == (size == 1 ? 2 : 3));
        assert_all(size == 1 || tulle_topology_group(topology, 1, rank) == rank % 2);
        tulle_topology_destroy(&topology);
        /* The last rank loose over both packages: no domains for anyone. */
        assert_all(rank < size - 1 || (bind_to_range(0, 1) == 0 && tli_discover_domain() == -1));
        assert_all(tulle_topology_discover(MPI_COMM_WORLD, &topology) == TULLE_OK);
        assert_all(tulle_topology_num_levels(topology) == 2);
        tulle_topology_destroy(&topology);
    }
    unsetenv("HWLOC_SYNTHETIC");
    unsetenv("HWLOC_THISSYSTEM");
    assert_all(bind_to(&before) == 0);
    if (!all_usable) {
        print_message("no hwloc, or fewer than two processors\n");
        skip();
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_discover_nodes_are_those_of_mpi),
        cmocka_unit_test(test_discover_of_a_subset_numbers_its_own_ranks),
        cmocka_unit_test(test_discover_bad_arguments_are_refused),
        cmocka_unit_test(test_discover_intercommunicator_is_refused),
        cmocka_unit_test(test_discover_failing_allocation_fails_all),
        cmocka_unit_test(test_discover_bound_ranks_have_domains),
    };
    int size = 0;
    int failures = 0;
    int all_failures = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size > 1)
        setenv("CMOCKA_TEST_ABORT", "1", 1);
    failures = cmocka_run_group_tests(tests, NULL, NULL);
    MPI_Allreduce(&failures, &all_failures, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Finalize();
    return all_failures;
}
