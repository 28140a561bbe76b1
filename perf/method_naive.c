/* SPDX-License-Identifier: Apache-2.0
 * All-to-all without a pattern. Gather: every rank receives every row that it does not own and copies out what it
 * needs. Scatter, the adjoint: every rank sends a contribution to every row, the op's identity where it has none, and
 * owners reduce them in rank order. */
#include "perf/methods.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "perf/reduce.h"
#include "src/agree.h"

#define BYTES_PER_SECOND                                                                                               \
    1e9                    /* all ranks of a host together: what two cores copy through shared memory, pessimistic     \
                            */
#define LONGEST_SECONDS 20 /* of one exchange */

typedef struct state {
    const perf_case_t *one;
    void *ghost;      /* [num_needed rows] borrowed */
    void *dense;      /* [num_rows rows] gather: rows of all ranks; scatter: contributions to them */
    void *incoming;   /* [num_ranks][num_owned rows] scatter: contributions of all ranks to mine */
    int *block_count; /* [num_ranks] rows of the rank's block, none of mine */
    int *block_start; /* [num_ranks] first row of the rank's block */
    int *mine_count;  /* [num_ranks] my rows for every other rank */
    int *mine_start;  /* [num_ranks] gather: 0; scatter: place in incoming */
    tli_arena_t arena;
} state_t;

/* [rows] in memory; at most 3 * 2^62 / row_bytes, so no double rounding matters. */
static double memory_bytes(const perf_case_t *one)
{
    const perf_halo_t *halo = one->halo;
    double rows = (double)halo->num_rows;
    if (one->direction == TULLE_SCATTER)
        rows += (double)halo->num_ranks * (double)halo->num_owned;
    return rows * (double)one->row_bytes;
}

/* [bytes] that could be allocated without swapping, as Linux estimates it; free pages where it does not. */
static double available_bytes(void)
{
    char line[128];
    int64_t kib = -1;
    FILE *file = fopen("/proc/meminfo", "r");
    while (file != NULL && kib < 0 && fgets(line, (int)sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %" SCNd64 " kB", &kib) != 1)
            kib = -1;
    if (file != NULL)
        fclose(file);
    return kib >= 0 ? (double)kib * 1024.0 : (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

static void admit(const perf_case_t *one, perf_skip_t *skip)
{
    const perf_halo_t *halo = one->halo;
    double bytes = memory_bytes(one);
    double share = available_bytes() / 2 / one->load.num_local_ranks;
    double seconds = (double)halo->num_rows * (double)one->row_bytes * one->load.num_local_ranks / BYTES_PER_SECOND;
    if (one->direction == TULLE_SCATTER && one->values.op == TULLE_OP_REPLACE)
        snprintf(skip->reason, sizeof skip->reason, "no value stands for \"no contribution\" when replacing");
    else if (halo->num_rows > INT_MAX || (int64_t)halo->num_ranks * halo->num_owned > INT_MAX)
        snprintf(skip->reason, sizeof skip->reason, "%" PRId64 " rows are more than MPI can count", halo->num_rows);
    else if (bytes > (double)one->naive_limit_bytes)
        snprintf(skip->reason, sizeof skip->reason, "needs %.0f MiB per rank; allow them with --naive-limit-mb %.0f",
                 bytes / 0x1p20, bytes / 0x1p20 + 1);
    else if (bytes > share)
        snprintf(skip->reason, sizeof skip->reason, "needs %.0f MiB per rank; half of this machine's memory has %.0f",
                 bytes / 0x1p20, share / 0x1p20);
    else if (seconds > LONGEST_SECONDS)
        snprintf(skip->reason, sizeof skip->reason, "would take about %.0f s per exchange", seconds);
}

static void teardown(void *memory)
{
    state_t *state = memory;
    if (state == NULL)
        return;
    tli_arena_release(&state->arena);
    tli_free(state);
}

static tulle_status_t alloc_rows(const perf_case_t *one, state_t *state)
{
    tulle_status_t st = TULLE_OK;
    const perf_halo_t *halo = one->halo;
    const perf_values_t *values = &one->values;
    /* Zeroed, not raw: pages are touched here and not in the first exchange, which decides on the number of others. */
    TLI_TRY(tli_arena_alloc(&state->arena, halo->num_rows, one->row_bytes, &state->dense));
    if (one->direction == TULLE_GATHER)
        goto done;
    TLI_TRY(tli_arena_alloc(&state->arena, halo->num_ranks * halo->num_owned, one->row_bytes, &state->incoming));
    perf_reduce_fill_identity(values->datatype, values->op, state->dense, halo->num_rows * values->width);
done:
    return st;
}

static tulle_status_t alloc_state(const perf_case_t *one, void *ghost, state_t **state_out)
{
    tulle_status_t st = TULLE_OK;
    const perf_halo_t *halo = one->halo;
    state_t *state = NULL;
    TLI_TRY(tli_alloc(sizeof *state, &state));
    state->one = one;
    state->ghost = ghost;
    TLI_TRY(alloc_rows(one, state));
    TLI_TRY(tli_arena_alloc(&state->arena, halo->num_ranks, sizeof(int), &state->block_count));
    TLI_TRY(tli_arena_alloc(&state->arena, halo->num_ranks, sizeof(int), &state->block_start));
    TLI_TRY(tli_arena_alloc(&state->arena, halo->num_ranks, sizeof(int), &state->mine_count));
    TLI_TRY(tli_arena_alloc(&state->arena, halo->num_ranks, sizeof(int), &state->mine_start));
    for (int r = 0; r < halo->num_ranks; r++) {
        int64_t first = 0;
        int64_t count = 0;
        perf_block(halo->num_rows, halo->num_ranks, r, &first, &count);
        state->block_start[r] = (int)first;
        state->block_count[r] = r == halo->rank ? 0 : (int)count;
        state->mine_count[r] = r == halo->rank ? 0 : (int)halo->num_owned;
        state->mine_start[r] = one->direction == TULLE_GATHER ? 0 : (int)(r * halo->num_owned);
    }
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
}

static tulle_status_t setup(const perf_case_t *one, void *ghost, void **state_out)
{
    state_t *state = NULL;
    tulle_status_t st = tli_agree(one->halo->comm, alloc_state(one, ghost, &state));
    if (st == TULLE_OK)
        *state_out = state;
    else
        teardown(state);
    return st;
}

static tulle_status_t gather(const state_t *state)
{
    tulle_status_t st = TULLE_OK;
    const perf_case_t *one = state->one;
    const perf_halo_t *halo = one->halo;
    TLI_MPI(MPI_Alltoallv(one->owned, state->mine_count, state->mine_start, one->row_type, state->dense,
                          state->block_count, state->block_start, one->row_type, halo->comm));
    perf_rows_pack(one, state->dense, halo->needed_ids, halo->num_needed, state->ghost);
done:
    return st;
}

static tulle_status_t scatter(const state_t *state)
{
    tulle_status_t st = TULLE_OK;
    const perf_case_t *one = state->one;
    const perf_halo_t *halo = one->halo;
    const perf_values_t *values = &one->values;
    /* Only these rows ever hold contributions: the others keep the identity from setup. */
    for (int64_t i = 0; i < halo->num_needed; i++)
        memcpy((char *)state->dense + (size_t)halo->needed_ids[i] * one->row_bytes,
               (const char *)state->ghost + (size_t)i * one->row_bytes, one->row_bytes);
    TLI_MPI(MPI_Alltoallv(state->dense, state->block_count, state->block_start, one->row_type, state->incoming,
                          state->mine_count, state->mine_start, one->row_type, halo->comm));
    for (int r = 0; r < halo->num_ranks; r++)
        if (r != halo->rank)
            perf_reduce(values->datatype, values->op,
                        (const char *)state->incoming + (size_t)(r * halo->num_owned) * one->row_bytes, one->owned,
                        halo->num_owned * values->width);
done:
    return st;
}

static tulle_status_t run(void *memory)
{
    const state_t *state = memory;
    return state->one->direction == TULLE_GATHER ? gather(state) : scatter(state);
}

const perf_method_t perf_method_naive = {
    .name = "naive",
    .bit = PERF_METHOD_NAIVE,
    .admit = admit,
    .setup = setup,
    .run = run,
    .teardown = teardown,
};
