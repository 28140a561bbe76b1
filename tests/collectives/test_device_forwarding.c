/* SPDX-License-Identifier: Apache-2.0
 * What has come from another machine is passed on inside while the rest is not even sent: the last rank starts only
 * when a rank of the first node has rows of another sender, which came through its neighbour. */
#include <time.h>

#include "src/transport/carrier.h"
#include "tests/support/gpu.h"
#include "tests/support/gpu_main.h"
#include "tests/support/reference.h"

#define WIDTH     512   /* rows of 4 KiB */
#define MOST_NAPS 10000 /* of a millisecond: then the test has failed */
#define TAG       3

/* A node whose first rank needs all rows, so that they come there, and two nodes that have them. */
enum { PORT, READER, OTHER_READER, SENDER, LATE_SENDER, NUM_RANKS };

typedef struct job {
    tulle_comm_t *comm;
    spt_pattern_t pattern;
    tulle_plan_t *plan;
    int64_t *values, *received; /* on the host */
    void *owned, *ghost;        /* on the device */
    int64_t owned_bytes, ghost_bytes;
    tulle_exchange_t *exchange;
    void *stream;
    void *eyes; /* stream on which the reader looks at its ghost rows */
} job_t;

/* Readers need all rows, or each those of one sender. */
static spt_pattern_t pattern_of(int64_t rows_per_sender, int is_shared)
{
    int is_sender = spt_rank() >= SENDER;
    int64_t from = spt_rank() == OTHER_READER && !is_shared ? rows_per_sender : 0;
    int64_t to = spt_rank() == READER && !is_shared ? rows_per_sender : 2 * rows_per_sender;
    spt_pattern_t p = {.num_owned = is_sender ? rows_per_sender : 0,
                       .first = is_sender ? (spt_rank() - SENDER) * rows_per_sender : 2 * rows_per_sender,
                       .num_needed = is_sender ? 0 : to - from};
    p.needed_ids = spt_alloc(p.num_needed, sizeof *p.needed_ids);
    p.owner_rank = spt_alloc(p.num_needed, sizeof *p.owner_rank);
    p.owner_row = spt_alloc(p.num_needed, sizeof *p.owner_row);
    for (int64_t i = 0; i < p.num_needed; i++) {
        p.needed_ids[i] = from + i;
        p.owner_rank[i] = (int32_t)(SENDER + (from + i) / rows_per_sender);
        p.owner_row[i] = (from + i) % rows_per_sender;
    }
    return p;
}

static job_t make_job(int64_t rows_per_sender, int is_shared, tulle_ghost_order_t order, tulle_transport_t transport)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    job_t r = {.comm = spt_comm("3,1,1", 0), .pattern = pattern_of(rows_per_sender, is_shared)};
    options.transport = transport;
    r.plan = spt_plan_make(r.comm, &r.pattern, TULLE_STRATEGY_RAIL, order);
    r.owned_bytes = r.pattern.num_owned * WIDTH * 8;
    r.ghost_bytes = tulle_plan_num_ghosts(r.plan) * WIDTH * 8;
    r.values = spt_alloc(r.pattern.num_owned * WIDTH, sizeof *r.values);
    r.received = spt_alloc(r.pattern.num_needed * WIDTH, sizeof *r.received);
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)r.owned_bytes, &r.owned));
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)r.ghost_bytes, &r.ghost));
    r.stream = spt_gpu_stream();
    r.eyes = spt_gpu_stream();
    for (int64_t i = 0; i < r.pattern.num_owned * WIDTH; i++)
        r.values[i] = (r.pattern.first + i / WIDTH) * 1000 + 1;
    spt_gpu_copy(r.owned, r.values, r.owned_bytes, r.stream);
    spt_gpu_copy(r.ghost, r.received, r.ghost_bytes, r.stream);
    spt_gpu_synchronize(r.stream);
    tulle_field_t field = {r.owned, r.ghost, TULLE_I64, WIDTH, 0, 0};
    spt_assert_ok_all(tulle_exchange_create(r.plan, TULLE_GATHER, &field, 1, &options, &r.exchange));
    return r;
}

static void free_job(job_t *r)
{
    tulle_exchange_destroy(&r->exchange);
    tulle_plan_destroy(&r->plan);
    tulle_comm_destroy(&r->comm);
    tulle_free(&r->owned);
    tulle_free(&r->ghost);
    spt_gpu_stream_free(r->stream);
    spt_gpu_stream_free(r->eyes);
}

/* Whether all rows of a sender lie among the ghost rows now. */
static int has_rows_of(const job_t *r, int sender)
{
    int is_there = 1;
    int64_t *position = spt_alloc(r->pattern.num_needed, sizeof *position);
    tulle_plan_ghost_order(r->plan, position);
    spt_gpu_copy(r->received, r->ghost, r->ghost_bytes, r->eyes);
    spt_gpu_synchronize(r->eyes);
    for (int64_t i = 0; i < r->pattern.num_needed * WIDTH; i++)
        is_there = is_there && (r->pattern.owner_rank[i / WIDTH] != sender ||
                                r->received[position[i / WIDTH] * WIDTH + i % WIDTH] ==
                                    r->pattern.needed_ids[i / WIDTH] * 1000 + 1);
    return is_there;
}

static int look_for_rows(const job_t *r)
{
    const struct timespec nap = {0, 1000000};
    int is_there = has_rows_of(r, SENDER);
    for (int i = 0; i < MOST_NAPS && !is_there; i++) {
        nanosleep(&nap, NULL);
        is_there = has_rows_of(r, SENDER);
    }
    return is_there;
}

static void check_forwarding(int64_t rows_per_sender, int is_shared, tulle_ghost_order_t order,
                             tulle_transport_t transport)
{
    job_t r = make_job(rows_per_sender, is_shared, order, transport);
    int was_there = 1;
    if (spt_rank() == LATE_SENDER)
        MPI_Recv(NULL, 0, MPI_BYTE, READER, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    tulle_status_t st = tulle_exchange_start(r.exchange, r.stream);
    if (spt_rank() == READER) {
        was_there = st == TULLE_OK && look_for_rows(&r);
        MPI_Send(NULL, 0, MPI_BYTE, LATE_SENDER, TAG, MPI_COMM_WORLD);
    }
    if (st == TULLE_OK)
        st = tulle_exchange_wait(r.exchange);
    spt_gpu_synchronize(r.stream);
    spt_assert_ok_all(st);
    spt_assert_all(was_there);
    spt_assert_all(has_rows_of(&r, SENDER) && has_rows_of(&r, LATE_SENDER));
    free_job(&r);
}

/* Parcels of 256 KiB, which staging leaves where the kernels put them, and of more, which it copies. */
static void check_carriers(int is_shared, tulle_ghost_order_t order)
{
    for (int c = 0; c < tli_num_carriers && spt_size() == NUM_RANKS; c++) {
        if (tli_carriers[c]->arrives_together || !tli_carriers[c]->is_there())
            continue;
        check_forwarding(64, is_shared, order, tli_carriers[c]->id);
        check_forwarding(80, is_shared, order, tli_carriers[c]->id);
    }
}

/* Ghost rows in plan order are stored where they are to lie, so they can be looked at as they come. */
static void test_rows_are_passed_on_before_others_are_sent(void **state)
{
    check_carriers(1, TULLE_GHOST_ORDER_PLAN);
}

/* In the caller's order the reader puts them there, when it is told that all it waits for has come. */
static void test_readers_are_told_before_others_have_their_rows(void **state)
{
    check_carriers(0, TULLE_GHOST_ORDER_CALLER);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        spt_test(test_rows_are_passed_on_before_others_are_sent),
        spt_test(test_readers_are_told_before_others_have_their_rows),
    };
    return spt_gpu_main(argc, argv, "collectives.device_forwarding", tests, NULL);
}
