/* SPDX-License-Identifier: Apache-2.0
 * Direct pairs by MPI_Neighbor_alltoallv on a graph of exactly the ranks that exchange rows, weighted by their number.
 * Packs as alltoallv does. */
#include "perf/methods.h"

#include "src/agree.h"

/* The ranks on one side of this one, and where their rows lie. */
typedef struct side {
    int num; /* [ranks] */
    int *ranks;
    int *count; /* [rows] */
    int *start; /* [rows] */
} side_t;

typedef struct state {
    const perf_case_t *one;
    void *ghost;    /* [num_needed rows] borrowed */
    void *packed;   /* [num_wanted rows] */
    side_t owners;  /* of rows that this rank needs */
    side_t needers; /* of rows that this rank owns */
    MPI_Comm graph; /* from owners to needers for gather, the other way for scatter */
    tli_arena_t arena;
} state_t;

static void teardown(void *memory)
{
    state_t *state = memory;
    if (state == NULL)
        return;
    if (state->graph != MPI_COMM_NULL)
        MPI_Comm_free(&state->graph);
    tli_arena_release(&state->arena);
    tli_free(state);
}

static tulle_status_t list_side(int num_ranks, const int *count, const int *start, tli_arena_t *arena, side_t *side)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc(arena, num_ranks, sizeof(int), &side->ranks));
    TLI_TRY(tli_arena_alloc(arena, num_ranks, sizeof(int), &side->count));
    TLI_TRY(tli_arena_alloc(arena, num_ranks, sizeof(int), &side->start));
    for (int r = 0; r < num_ranks; r++) {
        if (count[r] == 0)
            continue;
        side->ranks[side->num] = r;
        side->count[side->num] = count[r];
        side->start[side->num++] = start[r];
    }
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
    state->graph = MPI_COMM_NULL;
    TLI_TRY(tli_arena_alloc(&state->arena, halo->num_wanted, one->row_bytes, &state->packed));
    TLI_TRY(list_side(halo->num_ranks, halo->needed_count, halo->needed_start, &state->arena, &state->owners));
    TLI_TRY(list_side(halo->num_ranks, halo->wanted_count, halo->wanted_start, &state->arena, &state->needers));
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
}

static tulle_status_t setup(const perf_case_t *one, void *ghost, void **state_out)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = NULL;
    TLI_TRY(tli_agree(one->halo->comm, alloc_state(one, ghost, &state)));
    const side_t *from = one->direction == TULLE_GATHER ? &state->owners : &state->needers;
    const side_t *to = one->direction == TULLE_GATHER ? &state->needers : &state->owners;
    TLI_MPI(MPI_Dist_graph_create_adjacent(one->halo->comm, from->num, from->ranks, from->count, to->num, to->ranks,
                                           to->count, MPI_INFO_NULL, 0, &state->graph));
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
}

static tulle_status_t run(void *memory)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = memory;
    const perf_case_t *one = state->one;
    const perf_halo_t *halo = one->halo;
    const side_t *owners = &state->owners;
    const side_t *needers = &state->needers;
    if (one->direction == TULLE_GATHER) {
        perf_rows_pack(one, one->owned, halo->wanted_rows, halo->num_wanted, state->packed);
        TLI_MPI(MPI_Neighbor_alltoallv(state->packed, needers->count, needers->start, one->row_type, state->ghost,
                                       owners->count, owners->start, one->row_type, state->graph));
    } else {
        TLI_MPI(MPI_Neighbor_alltoallv(state->ghost, owners->count, owners->start, one->row_type, state->packed,
                                       needers->count, needers->start, one->row_type, state->graph));
        perf_rows_reduce(one, state->packed, halo->wanted_rows, halo->num_wanted, one->owned);
    }
done:
    return st;
}

const perf_method_t perf_method_neighbor = {"neighbor_alltoallv", PERF_METHOD_NEIGHBOR, 0, NULL, setup, run, teardown};
