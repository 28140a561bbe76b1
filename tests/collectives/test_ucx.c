/* SPDX-License-Identifier: Apache-2.0
 * What connections of UCX alone can show; run with UCX_TLS=tcp,self, as between machines, where ranks must answer each
 * other before they are connected. */
#include "src/transport/transport.h"
#include "tests/support/world.h"

static tulle_comm_t *comm_over_ucx(void)
{
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    tulle_comm_t *comm = NULL;
    options.topology_text = "*x1";
    options.transport = TULLE_TRANSPORT_UCX;
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
    return comm;
}

/* Two ranks need each other's row, the others none. */
static tulle_exchange_t *pair_up(tulle_comm_t *comm, int a, int b, int64_t *owned, int64_t *ghost)
{
    const int64_t row = 0;
    const int32_t partner = spt_rank() == a ? b : a;
    tulle_field_t field = {owned, ghost, TULLE_I64, 1, 0, 0};
    tulle_pattern_t *pattern = NULL;
    tulle_plan_t *plan = NULL;
    tulle_exchange_t *exchange = NULL;
    int is_one = spt_rank() == a || spt_rank() == b;
    spt_assert_ok_all(tulle_pattern_create_from_forest(comm, 1, is_one, &partner, &row, &pattern));
    spt_assert_ok_all(tulle_plan_create(comm, pattern, NULL, &plan));
    spt_assert_ok_all(tulle_exchange_create(plan, TULLE_GATHER, &field, 1, NULL, &exchange));
    tulle_plan_destroy(&plan);
    tulle_pattern_destroy(&pattern);
    return exchange;
}

/* The last rank has met the first one, for another exchange, and answers nobody: it waits outside of the library. */
static void test_ucx_wait_needs_nobody_else(void **state)
{
    int64_t owned = spt_rank(), ghost[2] = {-1, -1};
    int last = spt_size() - 1;
    if (!tli_transport_is_built(TULLE_TRANSPORT_UCX))
        skip();
    tulle_comm_t *comm = comm_over_ucx();
    tulle_exchange_t *of_two = pair_up(comm, 0, 1, &owned, &ghost[0]);
    tulle_exchange_t *of_others = pair_up(comm, 0, last, &owned, &ghost[1]);
    tulle_status_t st = tulle_exchange_start(of_two, NULL);
    if (st == TULLE_OK)
        st = tulle_exchange_wait(of_two);
    MPI_Barrier(MPI_COMM_WORLD);
    spt_assert_ok_all(st);
    spt_assert_all(spt_rank() > 1 || ghost[0] == 1 - spt_rank());
    spt_assert_ok_all(tulle_exchange_start(of_others, NULL));
    spt_assert_ok_all(tulle_exchange_wait(of_others));
    spt_assert_all(spt_rank() != last || ghost[1] == 0);
    tulle_exchange_destroy(&of_two);
    tulle_exchange_destroy(&of_others);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        spt_test(test_ucx_wait_needs_nobody_else),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests_name("collectives.ucx", tests, NULL, NULL));
}
