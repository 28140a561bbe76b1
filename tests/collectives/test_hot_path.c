/* SPDX-License-Identifier: Apache-2.0
 * Start and wait allocate nothing. This program is linked with --wrap, so that every call of malloc and its kin in the
 * library's objects, but not in MPI's, is counted. */
#include <stdlib.h>

#include "src/arena.h"
#include "src/transport/transport.h"
#include "tests/support/trial.h"

#define NUM_ROUNDS 100

static int64_t num_calls = 0;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t size)
{
    num_calls++;
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    num_calls++;
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    num_calls++;
    return __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    num_calls++;
    return __real_aligned_alloc(alignment, size);
}

void __wrap_free(void *memory)
{
    num_calls++;
    __real_free(memory);
}

static tulle_status_t run_rounds(tulle_exchange_t *exchange)
{
    tulle_status_t st = TULLE_OK;
    for (int round = 0; round < NUM_ROUNDS && st == TULLE_OK; round++) {
        st = tulle_exchange_start(exchange, NULL);
        if (st == TULLE_OK)
            st = tulle_exchange_wait(exchange);
    }
    return st;
}

static void check_exchange(const tulle_plan_t *plan, const spt_pattern_t *pattern, tulle_direction_t direction,
                           tulle_wire_precision_t precision, size_t chunk_bytes)
{
    int64_t calls = num_calls;
    spt_trial_t trial = spt_trial(plan, pattern, direction, TULLE_OP_SUM);
    int is_rounded = precision != TULLE_WIRE_PRECISION_NONE;
    trial.wire_precision = precision;
    trial.chunk_bytes = chunk_bytes;
    spt_trial_add(&trial, is_rounded ? TULLE_F32 : TULLE_BF16, 150, 0);
    spt_trial_add(&trial, is_rounded ? TULLE_F32 : TULLE_F64, 3, 1);
    tulle_exchange_t *exchange = spt_trial_bind(&trial, plan);
    spt_assert_all(num_calls > calls); /* calls are counted indeed */
    spt_run(exchange);
    int64_t count = tli_alloc_count();
    calls = num_calls;
    tulle_status_t st = run_rounds(exchange);
    calls = num_calls - calls;
    spt_assert_ok_all(st);
    spt_assert_all(calls == 0);
    spt_assert_all(tli_alloc_count() == count);
    tulle_exchange_destroy(&exchange);
}

static void check_plans(const char *topology, int disable_shared_memory)
{
    tulle_comm_t *comm = spt_comm(topology, disable_shared_memory);
    spt_pattern_t pattern = spt_pattern_random(2);
    for (int strategy = TULLE_STRATEGY_AUTO; strategy <= TULLE_STRATEGY_STRIPED; strategy++) {
        tulle_plan_t *plan =
            spt_plan_make(comm, &pattern, (tulle_strategy_t)strategy, (tulle_ghost_order_t)(strategy % 2));
        for (int precision = TULLE_WIRE_PRECISION_NONE; precision <= TULLE_WIRE_PRECISION_FP8; precision += 3) {
            check_exchange(plan, &pattern, TULLE_GATHER, (tulle_wire_precision_t)precision, 0);
            check_exchange(plan, &pattern, TULLE_SCATTER, (tulle_wire_precision_t)precision, 1);
        }
        tulle_plan_destroy(&plan);
    }
    tulle_comm_destroy(&comm);
}

static void test_start_and_wait_allocate_nothing(void **state)
{
    for (int i = 0; spt_topology(i) != NULL; i += 2)
        check_plans(spt_topology(i), 0);
    check_plans(spt_topology(0), 1);
}

static void test_start_and_wait_over_ucx_allocate_nothing(void **state)
{
    if (!tli_transport_is_built(TULLE_TRANSPORT_UCX))
        skip();
    setenv("TULLE_TRANSPORT", "ucx", 1);
    check_plans(spt_topology(0), 1);
    unsetenv("TULLE_TRANSPORT");
}

/* Nor does the one-shot form once its binding is cached. */
static void test_second_one_shot_allocates_nothing(void **state)
{
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    spt_pattern_t pattern = spt_pattern_random(2);
    tulle_plan_t *plan = spt_plan_make(comm, &pattern, TULLE_STRATEGY_AUTO, TULLE_GHOST_ORDER_CALLER);
    double *owned = spt_alloc(pattern.num_owned, 8), *ghost = spt_alloc(pattern.num_needed, 8);
    tulle_status_t st = tulle_gather(plan, owned, ghost, TULLE_F64, 1, NULL);
    int64_t calls = num_calls;
    for (int round = 0; round < 20 && st == TULLE_OK; round++)
        st = tulle_gather(plan, owned, ghost, TULLE_F64, 1, NULL);
    calls = num_calls - calls;
    spt_assert_ok_all(st);
    spt_assert_all(calls == 0);
    tulle_plan_destroy(&plan);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_start_and_wait_allocate_nothing),
        spt_test(test_start_and_wait_over_ucx_allocate_nothing),
        spt_test(test_second_one_shot_allocates_nothing),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
