/* SPDX-License-Identifier: Apache-2.0
 * Direct pairs by MPI_Neighbor_alltoallv on a graph of exactly the ranks that exchange rows, weighted by their number;
 * and by its persistent form, of MPI 4 or as an extension of Open MPI 4. Packs as alltoallv does. */
#include "perf/methods.h"

#ifdef TULLE_HAVE_MPIX_NEIGHBOR_INIT
#include <mpi-ext.h>
#define MPI_Neighbor_alltoallv_init MPIX_Neighbor_alltoallv_init
#endif

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
    void *ghost;         /* [num_needed rows] borrowed */
    void *packed;        /* [num_wanted rows] */
    side_t owners;       /* of rows that this rank needs */
    side_t needers;      /* of rows that this rank owns */
    MPI_Comm graph;      /* from owners to needers for gather, the other way for scatter */
    MPI_Request request; /* of the persistent form */
    tli_arena_t arena;
} state_t;

static void teardown(void *memory)
{
    state_t *state = memory;
    if (state == NULL)
        return;
    if (state->request != MPI_REQUEST_NULL)
        MPI_Request_free(&state->request);
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
    state->request = MPI_REQUEST_NULL;
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

const perf_method_t perf_method_neighbor = {
    .name = "neighbor_alltoallv",
    .bit = PERF_METHOD_NEIGHBOR,
    .setup = setup,
    .run = run,
    .teardown = teardown,
};

#if defined(TULLE_HAVE_NEIGHBOR_INIT) || defined(TULLE_HAVE_MPIX_NEIGHBOR_INIT)

static tulle_status_t init_request(state_t *state)
{
    tulle_status_t st = TULLE_OK;
    MPI_Datatype type = state->one->row_type;
    const side_t *owners = &state->owners;
    const side_t *needers = &state->needers;
    if (state->one->direction == TULLE_GATHER)
        TLI_MPI(MPI_Neighbor_alltoallv_init(state->packed, needers->count, needers->start, type, state->ghost,
                                            owners->count, owners->start, type, state->graph, MPI_INFO_NULL,
                                            &state->request));
    else
        TLI_MPI(MPI_Neighbor_alltoallv_init(state->ghost, owners->count, owners->start, type, state->packed,
                                            needers->count, needers->start, type, state->graph, MPI_INFO_NULL,
                                            &state->request));
done:
    return st;
}

static tulle_status_t setup_persistent(const perf_case_t *one, void *ghost, void **state_out)
{
    tulle_status_t st = TULLE_OK;
    void *state = NULL;
    TLI_TRY(setup(one, ghost, &state));
    TLI_TRY(tli_agree(one->halo->comm, init_request(state)));
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
}

static tulle_status_t run_persistent(void *memory)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = memory;
    const perf_case_t *one = state->one;
    const perf_halo_t *halo = one->halo;
    if (one->direction == TULLE_GATHER)
        perf_rows_pack(one, one->owned, halo->wanted_rows, halo->num_wanted, state->packed);
    TLI_MPI(MPI_Start(&state->request));
    TLI_MPI(MPI_Wait(&state->request, MPI_STATUS_IGNORE));
    if (one->direction == TULLE_SCATTER)
        perf_rows_reduce(one, state->packed, halo->wanted_rows, halo->num_wanted, one->owned);
done:
    return st;
}

const perf_method_t perf_method_neighbor_init = {
    .name = "neighbor_alltoallv_init",
    .bit = PERF_METHOD_NEIGHBOR_INIT,
    .setup = setup_persistent,
    .run = run_persistent,
    .teardown = teardown,
};

#else

const perf_method_t perf_method_neighbor_init = {
    .name = "neighbor_alltoallv_init",
    .bit = PERF_METHOD_NEIGHBOR_INIT,
    .lacks = "an MPI with MPI_Neighbor_alltoallv_init: MPI 4, or Open MPI 4 with mpi-ext.h",
};

#endif
