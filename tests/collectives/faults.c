/* SPDX-License-Identifier: Apache-2.0
 * A job in which one rank fails in the middle of its exchanges; test_faults.py runs it and judges what the others
 * print.
 *
 *     faults KIND CARRIER    KIND: killed, stopped, absent, late, idle; CARRIER: shared_memory, mpi, ucx
 *
 * The last rank is the victim. Killed and stopped: once it has started an exchange. Absent: it starts none. Late: it
 * starts when the others have given up. Idle: nothing fails, but it destroys when the others have. Exchanges before
 * that are checked. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/world.h"

#define WIDTH          50000 /* such messages are not sent before the receiver is asked */
#define ROUND_OF_FAULT 2
#define MOST_ROUNDS    20 /* what a victim has sent before it was killed may still suffice for a round or two */

static const char *kind;

typedef struct job {
    tulle_comm_t *comm;
    tulle_pattern_t *pattern;
    tulle_plan_t *plan;
    tulle_exchange_t *exchanges[2]; /* by direction */
    tulle_spmm_t *spmm;
    double *owned, *ghost;
    int64_t num_ghosts;
    pid_t *pids; /* [ranks] */
} job_t;

static void nap(int64_t ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static int is_victim(void)
{
    return spt_rank() == spt_size() - 1;
}

/* Of one row per rank, with one nonzero in the column of the next one. */
static tulle_status_t make_matrix(job_t *job)
{
    static const int64_t row_ptr[] = {0, 1};
    static const double value = 1;
    int64_t column = (spt_rank() + 1) % spt_size();
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(1);
    tulle_csr_t csr = {row_ptr, &column, &value, TULLE_I64, TULLE_F64};
    return tulle_spmm_create(job->comm, &layout, &layout, &csr, NULL, &job->spmm);
}

/* Every rank owns a row and needs that of all others. */
static tulle_status_t make_job(const char *carrier, job_t *job)
{
    char topology[32];
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    tulle_plan_options_t plan_options = TULLE_PLAN_OPTIONS_INIT;
    tulle_field_t field = {NULL, NULL, TULLE_F64, WIDTH, 0, 0};
    int32_t *owners = spt_alloc(spt_size(), sizeof *owners);
    int64_t *rows = spt_alloc(spt_size(), sizeof *rows);
    int is_shared = strcmp(carrier, "shared_memory") == 0;
    for (int rank = 0; rank < spt_size(); rank++)
        if (rank != spt_rank())
            owners[job->num_ghosts++] = rank;
    snprintf(topology, sizeof topology, is_shared ? "1x%d" : "%dx1", spt_size());
    options.topology_text = topology;
    plan_options.strategy = TULLE_STRATEGY_DIRECT;
    field.owned = job->owned = spt_alloc(WIDTH, sizeof(double));
    field.ghost = job->ghost = spt_alloc(job->num_ghosts * WIDTH, sizeof(double));
    tulle_status_t st = is_shared ? TULLE_OK : tulle_transport_parse(carrier, &options.transport);
    if (st == TULLE_OK)
        st = tulle_comm_create(MPI_COMM_WORLD, &options, &job->comm);
    if (st == TULLE_OK)
        st = tulle_pattern_create_from_forest(job->comm, 1, job->num_ghosts, owners, rows, &job->pattern);
    if (st == TULLE_OK)
        st = tulle_plan_create(job->comm, job->pattern, &plan_options, &job->plan);
    for (int direction = TULLE_GATHER; direction <= TULLE_SCATTER && st == TULLE_OK; direction++)
        st =
            tulle_exchange_create(job->plan, (tulle_direction_t)direction, &field, 1, NULL, &job->exchanges[direction]);
    if (st == TULLE_OK)
        st = make_matrix(job);
    return st;
}

static tulle_status_t run(tulle_exchange_t *exchange)
{
    tulle_status_t st = tulle_exchange_start(exchange, NULL);
    return st == TULLE_OK ? tulle_exchange_wait(exchange) : st;
}

static void fill(const job_t *job, int round)
{
    for (int i = 0; i < WIDTH; i++)
        job->owned[i] = spt_rank() * 1000 + round;
}

static tulle_status_t gather(job_t *job, int round)
{
    int is_right = 1;
    fill(job, round);
    tulle_status_t st = run(job->exchanges[TULLE_GATHER]);
    for (int64_t g = 0; g < job->num_ghosts && st == TULLE_OK; g++) {
        double wanted = (double)(g + (g >= spt_rank())) * 1000 + round;
        is_right = is_right && job->ghost[g * WIDTH] == wanted && job->ghost[g * WIDTH + WIDTH - 1] == wanted;
    }
    if (!is_right)
        printf("rank %d: wrong values in round %d\n", spt_rank(), round);
    return st;
}

static void report(const char *what, tulle_status_t st)
{
    printf("rank %d %s: %s: %s\n", spt_rank(), what, tulle_status_name(st),
           st == TULLE_OK ? "" : tulle_last_error()->text);
    fflush(stdout);
}

/* The others must not reach MPI_Finalize while it is stopped, or gone: none of them does. */
static void suffer(job_t *job)
{
    if (strcmp(kind, "late") == 0) {
        nap(4000); /* else its last word would meet a call that the others still wait in */
        report("gather", gather(job, ROUND_OF_FAULT));
        return;
    }
    fill(job, ROUND_OF_FAULT);
    if (strcmp(kind, "absent") != 0)
        (void)tulle_exchange_start(job->exchanges[TULLE_GATHER], NULL);
    if (strcmp(kind, "killed") == 0)
        raise(SIGKILL);
    if (strcmp(kind, "stopped") == 0)
        raise(SIGSTOP);
    nap(60000); /* ended by a survivor */
}

static tulle_status_t gather_once(job_t *job)
{
    return tulle_gather(job->plan, job->owned, job->ghost, TULLE_F64, WIDTH, NULL);
}

static tulle_status_t multiply(job_t *job)
{
    tulle_product_t product = TULLE_PRODUCT(1, job->owned, job->ghost);
    return tulle_spmm_run(job->spmm, &product, NULL);
}

static tulle_status_t create(job_t *job)
{
    tulle_exchange_t *exchange = NULL;
    tulle_field_t field = {job->owned, job->ghost, TULLE_F64, WIDTH, 0, 0};
    tulle_status_t st = tulle_exchange_create(job->plan, TULLE_GATHER, &field, 1, NULL, &exchange);
    tulle_exchange_destroy(&exchange);
    return st;
}

/* What all ranks must call. The first to find that one does not come spares the others the wait: each kind of fault
 * begins with another one. */
static void call_in_vain(job_t *job)
{
    static const struct {
        const char *what;
        tulle_status_t (*call)(job_t *job);
    } calls[] = {{"one-shot", gather_once}, {"product", multiply}, {"creation", create}};
    int first = strcmp(kind, "killed") == 0 ? 1 : strcmp(kind, "stopped") == 0 ? 2 : 0;
    for (int i = 0; i < 3; i++)
        report(calls[(first + i) % 3].what, calls[(first + i) % 3].call(job));
    report("one-shot again", gather_once(job)); /* at once */
}

static void survive(job_t *job)
{
    tulle_status_t st = TULLE_OK;
    for (int round = ROUND_OF_FAULT; round < MOST_ROUNDS && st == TULLE_OK; round++)
        st = gather(job, round);
    report("gather", st);
    report("gather again", run(job->exchanges[TULLE_GATHER]));
    report("scatter", run(job->exchanges[TULLE_SCATTER]));
    call_in_vain(job);
}

static void destroy(job_t *job)
{
    double began = MPI_Wtime();
    tulle_exchange_destroy(&job->exchanges[TULLE_GATHER]);
    tulle_exchange_destroy(&job->exchanges[TULLE_SCATTER]);
    tulle_spmm_destroy(&job->spmm);
    tulle_plan_destroy(&job->plan);
    tulle_pattern_destroy(&job->pattern);
    tulle_comm_destroy(&job->comm);
    spt_teardown(NULL); /* the caller's rows are gone */
    printf("rank %d destroyed all in %.0f ms, %lld abandoned\n", spt_rank(), (MPI_Wtime() - began) * 1e3,
           (long long)tulle_exchange_num_abandoned());
    fflush(stdout);
}

/* Survivors meet, as a launcher may end all when the first one leaves; then the first of them ends what is left of the
 * victim. */
static void leave(const pid_t *pids)
{
    char mine = 0, its = 0;
    for (int rank = 1; rank < spt_size() - 1; rank++) {
        int peer = spt_rank() == 0 ? rank : spt_rank() == rank ? 0 : MPI_PROC_NULL;
        MPI_Sendrecv(&mine, 1, MPI_CHAR, peer, 1, &its, 1, MPI_CHAR, peer, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    if (spt_rank() == 0)
        kill(pids[spt_size() - 1], SIGKILL);
    _exit(0);
}

int main(int argc, char **argv)
{
    static pid_t pids[64];
    job_t job = {0};
    pid_t pid = getpid();
    MPI_Init(&argc, &argv);
    if (argc != 3 || spt_size() < 2 || spt_size() > 64)
        MPI_Abort(MPI_COMM_WORLD, 2);
    kind = argv[1];
    MPI_Allgather(&pid, sizeof pid, MPI_BYTE, pids, sizeof pid, MPI_BYTE, MPI_COMM_WORLD);
    tulle_status_t st = make_job(argv[2], &job);
    for (int round = 0; round < ROUND_OF_FAULT && st == TULLE_OK; round++)
        st = gather(&job, round);
    if (st != TULLE_OK) {
        report("before the fault", st);
        MPI_Abort(MPI_COMM_WORLD, st == TULLE_ERR_UNSUPPORTED ? 77 : 3);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (strcmp(kind, "idle") == 0)
        nap(is_victim() ? 2000 : 0);
    else if (is_victim())
        suffer(&job);
    else
        survive(&job);
    destroy(&job);
    if (strcmp(kind, "late") != 0 && strcmp(kind, "idle") != 0)
        leave(pids);
    MPI_Finalize();
    return 0;
}
