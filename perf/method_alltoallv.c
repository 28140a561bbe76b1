/* SPDX-License-Identifier: Apache-2.0
 * Direct pairs by MPI_Alltoallv. Needed ids ascend, so what arrives lies where it belongs and only owned rows are
 * packed or reduced: the best that a caller of MPI_Alltoallv can do. */
#include "perf/methods.h"

#include "src/agree.h"

typedef struct state {
    const perf_case_t *one;
    void *ghost;  /* [num_needed rows] borrowed */
    void *packed; /* [num_wanted rows] */
    tli_arena_t arena;
} state_t;

static void teardown(void *memory)
{
    state_t *state = memory;
    if (state == NULL)
        return;
    tli_arena_release(&state->arena);
    tli_free(state);
}

static tulle_status_t alloc_state(const perf_case_t *one, void *ghost, state_t **state_out)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = NULL;
    TLI_TRY(tli_alloc(sizeof *state, &state));
    state->one = one;
    state->ghost = ghost;
    TLI_TRY(tli_arena_alloc(&state->arena, one->halo->num_wanted, one->row_bytes, &state->packed));
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

static tulle_status_t run(void *memory)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = memory;
    const perf_case_t *one = state->one;
    const perf_halo_t *halo = one->halo;
    if (one->direction == TULLE_GATHER) {
        perf_rows_pack(one, one->owned, halo->wanted_rows, halo->num_wanted, state->packed);
        TLI_MPI(MPI_Alltoallv(state->packed, halo->wanted_count, halo->wanted_start, one->row_type, state->ghost,
                              halo->needed_count, halo->needed_start, one->row_type, halo->comm));
    } else {
        TLI_MPI(MPI_Alltoallv(state->ghost, halo->needed_count, halo->needed_start, one->row_type, state->packed,
                              halo->wanted_count, halo->wanted_start, one->row_type, halo->comm));
        perf_rows_reduce(one, state->packed, halo->wanted_rows, halo->num_wanted, one->owned);
    }
done:
    return st;
}

const perf_method_t perf_method_alltoallv = {
    .name = "alltoallv",
    .bit = PERF_METHOD_ALLTOALLV,
    .setup = setup,
    .run = run,
    .teardown = teardown,
};
