/* SPDX-License-Identifier: Apache-2.0
 * Exchanges of rows on GPUs, bound while memory runs out: of the host, and of the device, whose emulation counts its
 * allocations with the library's. */
#include "src/transport/carrier.h"
#include "tests/support/failing.h"
#include "tests/support/gpu_trial.h"

typedef struct world {
    tulle_comm_t *comm;
    spt_pattern_t needs;
    tulle_plan_t *plan;
    tulle_direction_t direction;
    tulle_transport_t transport;
    void *owned, *ghost; /* on the device */
} world_t;

static tulle_status_t make_exchange(const void *world)
{
    const world_t *w = world;
    tulle_field_t field = {w->owned, w->ghost, TULLE_F32, 3, 0, 0};
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_t *exchange = NULL;
    options.transport = w->transport;
    tulle_status_t st = tulle_exchange_create(w->plan, w->direction, &field, 1, &options, &exchange);
    tulle_exchange_destroy(&exchange);
    return st;
}

/* The same plan still moves rows. */
static void check_plan(const world_t *w)
{
    spt_random_t mine = spt_random_mine(3);
    spt_trial_t trial = spt_trial(w->plan, &w->needs, TULLE_GATHER, TULLE_OP_SUM);
    spt_trial_add(&trial, TULLE_I32, 2, 0);
    spt_gpu_trial_t t = spt_gpu_trial(&trial, TULLE_SPACE_DEVICE, TULLE_SPACE_DEVICE);
    tulle_exchange_t *exchange = spt_gpu_trial_bind(&t, w->plan, TULLE_TRANSPORT_AUTO);
    spt_gpu_trial_run(&t, exchange, NULL, &mine);
    tulle_exchange_destroy(&exchange);
    spt_gpu_trial_free(&t);
}

static void check_exchanges(const char *topology, tulle_ghost_order_t order, tulle_transport_t transport)
{
    world_t w = {.comm = spt_comm(topology, 0), .needs = spt_pattern_random(2), .transport = transport};
    w.plan = spt_plan_make(w.comm, &w.needs, TULLE_STRATEGY_BALANCED, order);
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)w.needs.num_owned * 12, &w.owned));
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)w.needs.num_needed * 12, &w.ghost));
    for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++) {
        w.direction = (tulle_direction_t)direction;
        spt_assert_survives_failing_allocations(make_exchange, &w);
    }
    check_plan(&w);
    tulle_free(&w.owned);
    tulle_free(&w.ghost);
    tulle_plan_destroy(&w.plan);
    tulle_comm_destroy(&w.comm);
}

static void test_device_exchange_create_failing_allocation_fails_all(void **state)
{
    check_exchanges(spt_topology(0), TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_AUTO);
    check_exchanges(spt_topology(0), TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_AUTO);
    check_exchanges(spt_topology(0), TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_CUDA_STAGED);
    check_exchanges("*x1", TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_MPI_STAGED);
    check_exchanges("*x1", TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_NCCL);
    if (tli_carrier_of(TULLE_TRANSPORT_UCX_STAGED) != NULL) {
        check_exchanges("*x1", TULLE_GHOST_ORDER_PLAN, TULLE_TRANSPORT_UCX_STAGED);
        check_exchanges("*x1", TULLE_GHOST_ORDER_CALLER, TULLE_TRANSPORT_UCX_DEVICE);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_device_exchange_create_failing_allocation_fails_all),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests_name("collectives.device_allocations", tests, NULL, NULL));
}
