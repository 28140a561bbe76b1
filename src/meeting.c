/* SPDX-License-Identifier: Apache-2.0
 * Who comes notes its words in its place of the hall and counts itself. The rank in seat 0 waits for all, takes the
 * minima, exchanges them with other nodes, notes the result and opens the door.
 *
 * A rank that waits offers its processor. Where somebody else took it, there are more ranks than processors, and it
 * sleeps until what it waits for is there, so that those who are waited for run; waking up now and then, since messages
 * of this rank may need MPI to be called. */
#define _GNU_SOURCE /* syscall */
#include "src/meeting.h"

#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "src/comm.h"
#include "src/start_line.h"

#define LINE      64
#define LEAST_NAP 250000 /* [ns] */
#define MOST_NAP  1000000
#define LONG      4e-6 /* [s] a processor that is offered and not wanted comes back sooner */

/* A number that ranks wait for. */
typedef struct gauge {
    _Alignas(LINE) _Atomic uint32_t value;
    _Atomic uint32_t num_asleep;
} gauge_t;

typedef struct seat {
    _Alignas(LINE) _Atomic uint32_t number; /* of the last meeting that its rank came to */
    int64_t words[TLI_MEETING_WORDS];
} seat_t;

/* Shared memory of a node. */
typedef struct tli_hall {
    gauge_t num_came; /* in all meetings */
    gauge_t door;     /* the last meeting that is over */
    int64_t words[TLI_MEETING_WORDS];
    seat_t seats[];
} hall_t;

/* One wait of a rank. */
typedef struct patience {
    tulle_comm_t *comm;
    int64_t limit_ms;
    double began; /* [s] 0: not yet */
    long nap_ns;
} patience_t;

/* --- waiting ----------------------------------------------------------------------------------------------------- */

static void sleep_until_changed(gauge_t *gauge, uint32_t seen, long nap_ns)
{
    const struct timespec nap = {0, nap_ns};
    atomic_fetch_add(&gauge->num_asleep, 1);
    syscall(SYS_futex, &gauge->value, FUTEX_WAIT, seen, &nap, NULL, 0); /* returns at once if it is another by now */
    atomic_fetch_sub(&gauge->num_asleep, 1);
}

/* A rank that died asleep is counted for ever: that costs calls of the system, no more. */
static void wake(gauge_t *gauge)
{
    if (atomic_load(&gauge->num_asleep) > 0)
        syscall(SYS_futex, &gauge->value, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* Who in this node did not come; else somebody elsewhere. */
static tulle_status_t give_up(const patience_t *p)
{
    tli_meeting_t *m = p->comm->meeting;
    int seat = 0;
    m->is_given_up = 1;
    while (m->hall != NULL && seat < p->comm->num_shared && atomic_load(&m->hall->seats[seat].number) == m->number)
        seat++;
    if (m->hall != NULL && seat < p->comm->num_shared)
        return tli_fail(TULLE_ERR_TIMEOUT, 0, TLI_WHERE,
                        "waited %lld ms for all ranks to make the same call: rank %d does not come",
                        (long long)p->limit_ms, p->comm->shared_ranks[seat]);
    return tli_fail(TULLE_ERR_TIMEOUT, 0, TLI_WHERE,
                    "waited %lld ms for all ranks to make the same call: at least one of another node does not come",
                    (long long)p->limit_ms);
}

/* Offers the processor. @param[in] gauge NULL: nothing to sleep at */
static tulle_status_t wait_a_little(patience_t *p, gauge_t *gauge, uint32_t seen)
{
    tulle_status_t st = TULLE_OK;
    double before = tli_clock();
    p->began = p->began > 0 ? p->began : before;
    if (p->limit_ms > 0 && (before - p->began) * 1e3 >= (double)p->limit_ms)
        return give_up(p);
    sched_yield();
    if (gauge != NULL && tli_clock() - before > LONG) {
        sleep_until_changed(gauge, seen, p->nap_ns);
        p->nap_ns = 2 * p->nap_ns < MOST_NAP ? 2 * p->nap_ns : MOST_NAP;
    }
    return st;
}

static tulle_status_t await_value(patience_t *p, gauge_t *gauge, uint32_t wanted)
{
    tulle_status_t st = TULLE_OK;
    uint32_t seen = 0;
    while ((seen = atomic_load_explicit(&gauge->value, memory_order_acquire)) != wanted) {
        TLI_TRY(tli_comm_let_move(p->comm));
        TLI_TRY(wait_a_little(p, gauge, seen));
    }
done:
    return st;
}

static tulle_status_t await_messages(patience_t *p, int num)
{
    tulle_status_t st = TULLE_OK;
    tli_meeting_t *m = p->comm->meeting;
    while (m->is_pending) {
        int is_done = 0;
        TLI_MPI(MPI_Testall(2 * num, m->requests, &is_done, MPI_STATUSES_IGNORE));
        m->is_pending = !is_done;
        if (m->is_pending)
            TLI_TRY(wait_a_little(p, NULL, 0));
    }
done:
    return st;
}

/* --- meeting ----------------------------------------------------------------------------------------------------- */

static void take_minima(int64_t *least, const int64_t *words)
{
    for (int i = 0; i < TLI_MEETING_WORDS; i++)
        least[i] = words[i] < least[i] ? words[i] : least[i];
}

int tli_meeting_round(int num_nodes, int64_t stride, int distance[TLI_MEETING_FAN])
{
    int num = 0;
    while (num < TLI_MEETING_FAN && (num + 1) * stride < num_nodes) {
        distance[num] = (int)((num + 1) * stride);
        num++;
    }
    return num;
}

/* One round: what this node knows for what others know. */
static tulle_status_t exchange(patience_t *p, const int *to, const int *from, int num, int64_t *words)
{
    tulle_status_t st = TULLE_OK;
    tli_meeting_t *m = p->comm->meeting;
    memcpy(m->said, words, sizeof m->said);
    for (int i = 0; i < num; i++)
        TLI_MPI(MPI_Irecv(m->heard[i], TLI_MEETING_WORDS, MPI_INT64_T, from[i], TLI_MEETING_TAG, p->comm->mpi,
                          &m->requests[i]));
    for (int i = 0; i < num; i++)
        TLI_MPI(MPI_Isend(m->said, TLI_MEETING_WORDS, MPI_INT64_T, to[i], TLI_MEETING_TAG, p->comm->mpi,
                          &m->requests[num + i]));
    m->is_pending = 1;
    TLI_TRY(await_messages(p, num));
    for (int i = 0; i < num; i++)
        take_minima(words, m->heard[i]);
done:
    return st;
}

static tulle_status_t tell_nodes(patience_t *p, int64_t *words)
{
    tulle_status_t st = TULLE_OK;
    const tli_meeting_t *m = p->comm->meeting;
    int distance[TLI_MEETING_FAN], first = 0;
    for (int64_t stride = 1; stride < m->num_nodes; stride *= 1 + TLI_MEETING_FAN) {
        int num = tli_meeting_round(m->num_nodes, stride, distance);
        TLI_TRY(exchange(p, m->to + first, m->from + first, num, words));
        first += num;
    }
done:
    return st;
}

static void come(tli_meeting_t *m, int num_seats, const int64_t *words)
{
    seat_t *seat = &m->hall->seats[m->seat];
    memcpy(seat->words, words, sizeof seat->words);
    atomic_store(&seat->number, m->number);
    if (atomic_fetch_add(&m->hall->num_came.value, 1) + 1 == m->number * (uint32_t)num_seats)
        wake(&m->hall->num_came);
}

static tulle_status_t preside(patience_t *p, int64_t *words)
{
    tulle_status_t st = TULLE_OK;
    tli_meeting_t *m = p->comm->meeting;
    int num_seats = p->comm->num_shared;
    if (m->hall != NULL) {
        come(m, num_seats, words);
        TLI_TRY(await_value(p, &m->hall->num_came, m->number * (uint32_t)num_seats));
        for (int seat = 1; seat < num_seats; seat++)
            take_minima(words, m->hall->seats[seat].words);
    }
    TLI_TRY(tell_nodes(p, words));
    if (m->hall != NULL) {
        memcpy(m->hall->words, words, sizeof m->hall->words);
        atomic_store(&m->hall->door.value, m->number);
        wake(&m->hall->door);
    }
done:
    return st;
}

static tulle_status_t attend(patience_t *p, int64_t *words)
{
    tulle_status_t st = TULLE_OK;
    tli_meeting_t *m = p->comm->meeting;
    come(m, p->comm->num_shared, words);
    TLI_TRY(await_value(p, &m->hall->door, m->number));
    memcpy(words, m->hall->words, sizeof m->hall->words);
done:
    return st;
}

tulle_status_t tli_meeting_hold(tulle_comm_t *comm, int64_t limit_ms, int64_t words[TLI_MEETING_WORDS])
{
    tulle_status_t st = TULLE_OK;
    patience_t patience = {comm, limit_ms, 0, LEAST_NAP};
    TLI_REQUIRE(!comm->meeting->is_given_up, TULLE_ERR_TIMEOUT, "a rank did not come to an earlier call of all ranks");
    comm->meeting->number++;
    st = comm->meeting->seat == 0 ? preside(&patience, words) : attend(&patience, words);
done:
    return st;
}

/* --- opening ----------------------------------------------------------------------------------------------------- */

static size_t hall_bytes(const tulle_comm_t *comm)
{
    return sizeof(hall_t) + (size_t)comm->num_shared * sizeof(seat_t);
}

/* What may fail on this rank alone. */
static tulle_status_t prepare(tulle_comm_t *comm, tli_arena_t *scratch, int **first_ranks_out)
{
    tulle_status_t st = TULLE_OK;
    tli_meeting_t *m = comm->meeting;
    TLI_TRY(tli_arena_alloc(scratch, comm->size, sizeof(int), first_ranks_out));
    m->seat = tli_comm_shared_rank(comm, comm->rank);
    if (m->seat == 0 && comm->num_shared > 1) {
        TLI_TRY(tli_pool_take(&comm->pool, hall_bytes(comm), &m->block));
        memset(m->block.address, 0, hall_bytes(comm));
    }
done:
    return st;
}

static tulle_status_t enter_hall(tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    unsigned char *address = NULL;
    TLI_TRY(tli_comm_tell(comm, (const int64_t *)&comm->meeting->block.name,
                          sizeof comm->meeting->block.name / sizeof(int64_t)));
    TLI_TRY(tli_pool_view(&comm->pool, (const tli_block_name_t *)comm->heard, &address));
    comm->meeting->hall = (hall_t *)address;
done:
    return st;
}

/* Counted, then filled. */
static int list_partners(const tli_meeting_t *m, const int *first_ranks, int node)
{
    int distance[TLI_MEETING_FAN], num_partners = 0;
    for (int64_t stride = 1; stride < m->num_nodes; stride *= 1 + TLI_MEETING_FAN) {
        int num = tli_meeting_round(m->num_nodes, stride, distance);
        for (int i = 0; i < num && m->to != NULL; i++) {
            m->to[num_partners + i] = first_ranks[(node + distance[i]) % m->num_nodes];
            m->from[num_partners + i] = first_ranks[(node + m->num_nodes - distance[i]) % m->num_nodes];
        }
        num_partners += num;
    }
    return num_partners;
}

/* @param[in] first_ranks of the node of every rank; made a list of nodes */
static tulle_status_t find_partners(tulle_comm_t *comm, int *first_ranks)
{
    tulle_status_t st = TULLE_OK;
    tli_meeting_t *m = comm->meeting;
    int node = 0;
    for (int rank = 0; rank < comm->size; rank++)
        if (first_ranks[rank] == rank) {
            node = rank == comm->rank ? m->num_nodes : node;
            first_ranks[m->num_nodes++] = rank;
        }
    if (m->seat != 0)
        goto done;
    int num_partners = list_partners(m, first_ranks, node), *both = NULL;
    TLI_TRY(tli_arena_alloc(&comm->arena, 2 * num_partners, sizeof(int), &both));
    m->to = both;
    m->from = both + num_partners;
    list_partners(m, first_ranks, node);
done:
    return st;
}

tulle_status_t tli_meeting_open(tulle_comm_t *comm)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int *first_ranks = NULL;
    TLI_TRY(tli_agree(comm->mpi, prepare(comm, &scratch, &first_ranks)));
    if (comm->num_shared > 1)
        st = enter_hall(comm);
    TLI_MPI(MPI_Allgather(comm->shared_ranks, 1, MPI_INT, first_ranks, 1, MPI_INT, comm->mpi));
    if (st == TULLE_OK)
        st = find_partners(comm, first_ranks);
    st = tli_agree(comm->mpi, st);
done:
    tli_arena_release(&scratch);
    return st;
}
