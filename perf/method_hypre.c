/* SPDX-License-Identifier: Apache-2.0
 * hypre's communication package, as its products with matrices and their transposes use it: pack by an index per
 * double, one message per rank pair (job 1; job 2 backwards). It moves doubles only, so a row travels as the doubles
 * that hold its bytes; scatter reduces what arrives as the other peers do. */
#include "perf/methods.h"

#ifdef TULLE_HAVE_HYPRE

#include <_hypre_parcsr_mv.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "src/agree.h"

#define JOB_GATHER  1
#define JOB_SCATTER 2

typedef struct state {
    const perf_case_t *one;
    void *ghost;    /* [num_needed rows] borrowed */
    double *packed; /* [num_wanted rows] */
    hypre_ParCSRCommPkg *package;
    tli_arena_t arena; /* holds packed */
} state_t;

static int is_open;

static tulle_status_t open_hypre(void)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(is_open || HYPRE_Init() == 0, TULLE_ERR_TRANSPORT, "hypre cannot be started");
    is_open = 1;
done:
    return st;
}

static void close_hypre(void)
{
    if (is_open)
        HYPRE_Finalize();
    is_open = 0;
}

static HYPRE_Int doubles_per_row(const perf_case_t *one)
{
    return (HYPRE_Int)(one->row_bytes / sizeof(double));
}

static void admit(const perf_case_t *one, perf_skip_t *skip)
{
    const perf_halo_t *halo = one->halo;
    int64_t rows = halo->num_owned > halo->num_needed ? halo->num_owned : halo->num_needed;
    if (rows < halo->num_wanted)
        rows = halo->num_wanted;
    if (one->row_bytes % sizeof(double) != 0)
        snprintf(skip->reason, sizeof skip->reason, "moves doubles, and a row of %zu bytes is no whole number of them",
                 one->row_bytes);
    else if (rows > INT_MAX / doubles_per_row(one))
        snprintf(skip->reason, sizeof skip->reason, "more doubles than its int can count");
}

static void teardown(void *memory)
{
    state_t *state = memory;
    if (state == NULL)
        return;
    if (state->package != NULL)
        hypre_MatvecCommPkgDestroy(state->package);
    tli_arena_release(&state->arena);
    tli_free(state);
}

/* The ranks on one side, and where their doubles start; hypre's to free. */
static HYPRE_Int list_side(const perf_case_t *one, const int *count, const int *start, HYPRE_Int **ranks_out,
                           HYPRE_Int **starts_out)
{
    int num_ranks = one->halo->num_ranks;
    HYPRE_Int num = 0;
    HYPRE_Int *ranks = hypre_CTAlloc(HYPRE_Int, num_ranks, HYPRE_MEMORY_HOST);
    HYPRE_Int *starts = hypre_CTAlloc(HYPRE_Int, num_ranks + 1, HYPRE_MEMORY_HOST);
    for (int r = 0; r < num_ranks; r++) {
        if (count[r] == 0)
            continue;
        ranks[num] = r;
        starts[num++] = start[r] * doubles_per_row(one);
    }
    starts[num] = start[num_ranks] * doubles_per_row(one);
    if (num == 0)
        hypre_TFree(ranks, HYPRE_MEMORY_HOST); /* sets it to NULL; of no ranks hypre would not free the list */
    *ranks_out = ranks;
    *starts_out = starts;
    return num;
}

/* Which double of the owned rows is each to send: rows lie one after the other, as hypre keeps vectors side by side. */
static HYPRE_Int *list_doubles(const perf_case_t *one)
{
    const perf_halo_t *halo = one->halo;
    HYPRE_Int per_row = doubles_per_row(one);
    HYPRE_Int *index = hypre_CTAlloc(HYPRE_Int, halo->num_wanted * per_row, HYPRE_MEMORY_HOST);
    for (HYPRE_Int i = 0; i < (HYPRE_Int)halo->num_wanted; i++)
        for (HYPRE_Int k = 0; k < per_row; k++)
            index[i * per_row + k] = (HYPRE_Int)halo->wanted_rows[i] * per_row + k;
    return index;
}

static void make_package(const perf_case_t *one, state_t *state)
{
    const perf_halo_t *halo = one->halo;
    HYPRE_Int *recv_ranks = NULL;
    HYPRE_Int *recv_starts = NULL;
    HYPRE_Int *send_ranks = NULL;
    HYPRE_Int *send_starts = NULL;
    HYPRE_Int num_recvs = list_side(one, halo->needed_count, halo->needed_start, &recv_ranks, &recv_starts);
    HYPRE_Int num_sends = list_side(one, halo->wanted_count, halo->wanted_start, &send_ranks, &send_starts);
    hypre_ParCSRCommPkgCreateAndFill(halo->comm, num_recvs, recv_ranks, recv_starts, num_sends, send_ranks, send_starts,
                                     list_doubles(one), &state->package);
}

static tulle_status_t setup(const perf_case_t *one, void *ghost, void **state_out)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = NULL;
    st = tli_alloc(sizeof *state, &state);
    if (st == TULLE_OK)
        st = tli_arena_alloc(&state->arena, one->halo->num_wanted, one->row_bytes, &state->packed);
    TLI_TRY(tli_agree(one->halo->comm, st));
    state->one = one;
    state->ghost = ghost;
    make_package(one, state);
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
}

static tulle_status_t move(HYPRE_Int job, hypre_ParCSRCommPkg *package, void *from, void *into)
{
    tulle_status_t st = TULLE_OK;
    hypre_ParCSRCommHandle *handle = hypre_ParCSRCommHandleCreate(job, package, from, into);
    TLI_REQUIRE(handle != NULL && hypre_ParCSRCommHandleDestroy(handle) == 0, TULLE_ERR_TRANSPORT,
                "hypre did not exchange its messages");
done:
    return st;
}

static tulle_status_t run(void *memory)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = memory;
    const perf_case_t *one = state->one;
    const perf_halo_t *halo = one->halo;
    HYPRE_Int num_doubles = (HYPRE_Int)halo->num_wanted * doubles_per_row(one);
    const HYPRE_Int *index = hypre_ParCSRCommPkgSendMapElmts(state->package);
    if (one->direction == TULLE_GATHER) {
        for (HYPRE_Int i = 0; i < num_doubles; i++)
            memcpy(&state->packed[i], (const char *)one->owned + (size_t)index[i] * sizeof(double), sizeof(double));
        TLI_TRY(move(JOB_GATHER, state->package, state->packed, state->ghost));
    } else {
        TLI_TRY(move(JOB_SCATTER, state->package, state->ghost, state->packed));
        perf_rows_reduce(one, state->packed, halo->wanted_rows, halo->num_wanted, one->owned);
    }
done:
    return st;
}

const perf_method_t perf_method_hypre = {
    .name = "hypre",
    .bit = PERF_METHOD_HYPRE,
    .open = open_hypre,
    .close = close_hypre,
    .admit = admit,
    .setup = setup,
    .run = run,
    .teardown = teardown,
};

#else

const perf_method_t perf_method_hypre = {
    .name = "hypre",
    .bit = PERF_METHOD_HYPRE,
    .lacks = "hypre (Debian package libhypre-dev)",
};

#endif
