/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/collectives/device_job.h"

#include <string.h>

void *stream;

const char *some_topology(void)
{
    static const char *const texts[] = {"1x1", "2x1", "2,1", "2x2", "2,3", "(2,1),(1,2)", "(2,1),(1,3)", "2x2x2"};
    return texts[spt_size() - 1];
}

void check_trial(spt_trial_t *trial, const tulle_plan_t *plan, tulle_space_t owned, tulle_space_t ghost,
                 tulle_transport_t transport, uint64_t seed)
{
    spt_random_t mine = spt_random_mine(seed);
    spt_gpu_trial_t t = spt_gpu_trial(trial, owned, ghost);
    tulle_exchange_t *exchange = spt_gpu_trial_bind(&t, plan, transport);
    for (int round = 0; round < 2; round++)
        spt_gpu_trial_run(&t, exchange, stream, &mine);
    tulle_exchange_destroy(&exchange);
    spt_gpu_trial_free(&t);
}

static void check_plan(const tulle_plan_t *plan, const spt_pattern_t *pattern, tulle_transport_t transport,
                       uint64_t seed)
{
    spt_random_t shared = spt_random_shared(seed);
    for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER; direction++) {
        tulle_op_t op = (tulle_op_t)(TULLE_OP_SUM + spt_below(&shared, 5));
        spt_trial_t trial = spt_trial(plan, pattern, (tulle_direction_t)direction, op);
        spt_trial_add_random(&trial, &shared);
        check_trial(&trial, plan, TULLE_SPACE_DEVICE, TULLE_SPACE_DEVICE, transport, seed);
    }
}

void check_every_plan(tulle_transport_t transport, uint64_t num_patterns)
{
    const char *topology = NULL;
    for (int i = 0; (topology = spt_topology(i)) != NULL; i += spt_size() > 4 ? 3 : 1) {
        tulle_comm_t *comm = spt_comm(topology, 0);
        for (uint64_t k = 0; k < num_patterns; k++) {
            uint64_t seed = (uint64_t)i * 100 + k;
            spt_pattern_t pattern = spt_pattern_random(seed);
            for (int kind = 0; kind < 10; kind++) {
                tulle_plan_t *plan =
                    spt_plan_make(comm, &pattern, (tulle_strategy_t)(kind / 2), (tulle_ghost_order_t)(kind % 2));
                check_plan(plan, &pattern, transport, seed * 16 + (uint64_t)kind);
                tulle_plan_destroy(&plan);
            }
        }
        tulle_comm_destroy(&comm);
        spt_teardown(NULL);
    }
}

/* --- a pattern in which everybody is busy ------------------------------------------------------------------------- */

/* Some rank needs rows of others, where there are others. */
static spt_pattern_t busy_pattern(uint64_t seed)
{
    int64_t num_remote = 0;
    spt_pattern_t pattern = {0};
    while (num_remote == 0) {
        pattern = spt_pattern_random(seed++);
        for (int64_t i = 0; i < pattern.num_needed; i++)
            num_remote += pattern.owner_rank[i] != spt_rank() || spt_size() == 1;
        MPI_Allreduce(MPI_IN_PLACE, &num_remote, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    }
    return pattern;
}

job_t job_make_in(tulle_comm_t *comm, uint64_t seed, tulle_ghost_order_t order, tulle_transport_t transport)
{
    job_t r = {.comm = comm, .pattern = busy_pattern(seed)};
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    options.transport = transport;
    r.plan = spt_plan_make(r.comm, &r.pattern, TULLE_STRATEGY_BALANCED, order);
    r.owned_bytes = r.pattern.num_owned * 8;
    r.ghost_bytes = tulle_plan_num_ghosts(r.plan) * 8;
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_PINNED, (size_t)r.owned_bytes, (void **)&r.values));
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_PINNED, (size_t)r.ghost_bytes, (void **)&r.received));
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)r.owned_bytes, (void **)&r.owned));
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)r.ghost_bytes, (void **)&r.ghost));
    tulle_field_t field = {r.owned, r.ghost, TULLE_I64, 1, 0, 0};
    spt_assert_ok_all(tulle_exchange_create(r.plan, TULLE_GATHER, &field, 1, &options, &r.exchange));
    return r;
}

job_t job_make_on(const char *topology, uint64_t seed, tulle_ghost_order_t order, tulle_transport_t transport)
{
    return job_make_in(spt_comm(topology, 0), seed, order, transport);
}

job_t job_make(uint64_t seed, tulle_ghost_order_t order, tulle_transport_t transport)
{
    return job_make_on(some_topology(), seed, order, transport);
}

void job_free(job_t *r)
{
    tulle_exchange_destroy(&r->exchange);
    tulle_plan_destroy(&r->plan);
    tulle_comm_destroy(&r->comm);
    tulle_free((void **)&r->values);
    tulle_free((void **)&r->received);
    tulle_free((void **)&r->owned);
    tulle_free((void **)&r->ghost);
}

void job_fill(const job_t *r, int64_t round)
{
    for (int64_t i = 0; i < r->pattern.num_owned; i++)
        r->values[i] = r->pattern.ids[i] * 1000 + round;
}

int job_is_right(const job_t *r, int64_t round)
{
    int is_right = 1;
    int64_t *position = spt_alloc(r->pattern.num_needed, sizeof *position);
    tulle_plan_ghost_order(r->plan, position);
    for (int64_t i = 0; i < r->pattern.num_needed; i++)
        is_right = is_right && (position[i] < 0 || r->received[position[i]] == r->pattern.needed_ids[i] * 1000 + round);
    return is_right;
}

tulle_status_t start_and_wait(tulle_exchange_t *exchange, void *on)
{
    tulle_status_t st = tulle_exchange_start(exchange, on);
    return st == TULLE_OK ? tulle_exchange_wait(exchange) : st;
}

void check_back_to_back(tulle_ghost_order_t order, tulle_transport_t transport)
{
    enum { ROUNDS = 100 };
    job_t r = job_make(32, order, transport);
    int64_t num_ghosts = r.ghost_bytes / 8;
    int64_t *sent = NULL, *got = NULL, *last = r.received;
    tulle_status_t st = TULLE_OK;
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_PINNED, (size_t)(r.owned_bytes * ROUNDS), (void **)&sent));
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_PINNED, (size_t)(r.ghost_bytes * ROUNDS), (void **)&got));
    for (int64_t round = 0; round < ROUNDS; round++) {
        job_fill(&r, round);
        memcpy(sent + round * r.pattern.num_owned, r.values, (size_t)r.owned_bytes);
    }
    for (int64_t round = 0; round < ROUNDS && st == TULLE_OK; round++) {
        if (round % 7 == spt_rank() % 7)
            spt_gpu_delay(stream, 300);
        spt_gpu_copy(r.owned, sent + round * r.pattern.num_owned, r.owned_bytes, stream);
        st = start_and_wait(r.exchange, stream);
        spt_gpu_copy(got + round * num_ghosts, r.ghost, r.ghost_bytes, stream);
    }
    spt_gpu_synchronize(stream);
    spt_assert_ok_all(st);
    for (int64_t round = 0; round < ROUNDS; round++) {
        r.received = got + round * num_ghosts;
        spt_assert_all(job_is_right(&r, round));
    }
    r.received = last;
    tulle_free((void **)&sent);
    tulle_free((void **)&got);
    job_free(&r);
}

void replay(const job_t *r, void *graph, int num_replays)
{
    int is_right = 1;
    for (int64_t round = 0; round < num_replays; round++) {
        job_fill(r, round % 1000);
        spt_gpu_copy(r->owned, r->values, r->owned_bytes, stream);
        spt_gpu_launch(graph, stream);
        spt_gpu_copy(r->received, r->ghost, r->ghost_bytes, stream);
        spt_gpu_synchronize(stream);
        is_right = is_right && job_is_right(r, round % 1000);
    }
    spt_assert_all(is_right);
}

tulle_exchange_stats_t stats_of(const job_t *r)
{
    tulle_exchange_stats_t stats = {.struct_size = sizeof stats};
    spt_assert_ok_all(tulle_exchange_get_stats(r->exchange, &stats));
    return stats;
}
