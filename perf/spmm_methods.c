/* SPDX-License-Identifier: Apache-2.0
 * Tulle's product, its two halves, and the product after an allgather. */
#include "perf/spmm_methods.h"

#include <limits.h>
#include <string.h>

#include <tulle/tulle.h>

#include "collectives/spmm.h"
#include "src/agree.h"

const perf_spmm_method_t *perf_spmm_find_method(const char *name, size_t length)
{
    for (int i = 0; i < PERF_SPMM_NUM_METHODS; i++)
        if (strlen(perf_spmm_methods[i]->name) == length && strncmp(perf_spmm_methods[i]->name, name, length) == 0)
            return perf_spmm_methods[i];
    return NULL;
}

unsigned perf_spmm_methods_built(void)
{
    unsigned built = 0;
    for (int i = 0; i < PERF_SPMM_NUM_METHODS; i++)
        if (perf_spmm_methods[i]->lacks == NULL)
            built |= (unsigned)perf_spmm_methods[i]->bit;
    return built;
}

/* What all but PETSc have: a row-major C of their own. */
typedef struct state {
    perf_spmm_problem_t problem;
    void *c;
    tulle_exchange_t *gather, *scatter; /* exchange */
    void *all_b;                        /* allgather */
    int *counts, *starts;               /* [num_ranks] rows of B */
    MPI_Datatype row_type;
    tli_sparse_t block; /* this rank's rows of A, columns as they are */
    tli_arena_t arena;
} state_t;

static void teardown(void *memory)
{
    state_t *state = memory;
    if (state == NULL)
        return;
    tulle_exchange_destroy(&state->gather);
    tulle_exchange_destroy(&state->scatter);
    if (state->row_type != MPI_DATATYPE_NULL)
        MPI_Type_free(&state->row_type);
    tli_arena_release(&state->arena);
    tli_free(state);
}

static tulle_status_t alloc_state(const perf_spmm_problem_t *problem, state_t **state_out)
{
    tulle_status_t st = TULLE_OK;
    const perf_spmm_case_t *one = problem->one;
    state_t *state = NULL;
    TLI_TRY(tli_alloc(sizeof *state, &state));
    state->problem = *problem;
    state->row_type = MPI_DATATYPE_NULL;
    TLI_TRY(tli_arena_alloc(&state->arena, one->num_c * one->width, one->scalar_bytes, &state->c));
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
}

static tulle_status_t setup_plain(const perf_spmm_problem_t *problem, void **state_out)
{
    state_t *state = NULL;
    tulle_status_t st = tli_agree(problem->one->comm, alloc_state(problem, &state));
    if (st == TULLE_OK)
        *state_out = state;
    else
        teardown(state);
    return st;
}

static void *result(void *memory, int64_t *row_stride, int64_t *col_stride)
{
    state_t *state = memory;
    *row_stride = state->problem.one->width;
    *col_stride = 1;
    return state->c;
}

/* --- tulle, and its halves --------------------------------------------------------------------------------------- */

static tulle_status_t run_tulle(void *memory)
{
    const state_t *state = memory;
    const perf_spmm_case_t *one = state->problem.one;
    tulle_product_t product = TULLE_PRODUCT(one->width, one->b, state->c);
    return one->is_transposed ? tulle_spmm_run_transpose(state->problem.spmm, &product, NULL)
                              : tulle_spmm_run(state->problem.spmm, &product, NULL);
}

static tulle_status_t run_multiply(void *memory)
{
    const state_t *state = memory;
    const perf_spmm_case_t *one = state->problem.one;
    tulle_product_t product = TULLE_PRODUCT(one->width, one->b, state->c);
    return tli_spmm_run_local(state->problem.spmm, one->is_transposed, &product);
}

/* As the product binds them: ghost rows of their own, rows of B in plain memory, sums that land elsewhere than in C and
 * may be wider. */
static tulle_status_t create_exchange(const state_t *state, tli_arena_t *arena, const tulle_plan_t *plan,
                                      tulle_direction_t direction, tulle_exchange_t **exchange_out)
{
    tulle_status_t st = TULLE_OK;
    const perf_spmm_case_t *one = state->problem.one;
    tulle_datatype_t type = direction == TULLE_GATHER ? one->datatype : tli_sum_type(one->datatype);
    size_t bytes = tulle_datatype_size(type);
    void *ghost = NULL, *owned = NULL;
    if (plan == NULL)
        goto done;
    st = tli_arena_alloc(arena, tulle_plan_num_ghosts(plan) * one->width, bytes, &ghost);
    if (st == TULLE_OK)
        st = tli_arena_alloc(arena, tulle_plan_num_owned(plan) * one->width, bytes, &owned);
    TLI_TRY(tli_agree(one->comm, st));
    tulle_field_t field = {owned, ghost, type, one->width, 0, 0};
    TLI_TRY(tulle_exchange_create(plan, direction, &field, 1, NULL, exchange_out));
done:
    return st;
}

static tulle_status_t setup_exchange(const perf_spmm_problem_t *problem, void **state_out)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = NULL;
    int is_transposed = problem->one->is_transposed;
    const tulle_plan_t *columns = tulle_spmm_plan(problem->spmm, TULLE_GATHER);
    const tulle_plan_t *rows = tulle_spmm_plan(problem->spmm, TULLE_SCATTER);
    TLI_TRY(tli_agree(problem->one->comm, alloc_state(problem, &state)));
    TLI_TRY(create_exchange(state, &state->arena, is_transposed ? rows : columns, TULLE_GATHER, &state->gather));
    TLI_TRY(create_exchange(state, &state->arena, is_transposed ? columns : rows, TULLE_SCATTER, &state->scatter));
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
}

static tulle_status_t run_exchange(void *memory)
{
    tulle_status_t st = TULLE_OK;
    const state_t *state = memory;
    if (state->gather != NULL)
        TLI_TRY(tulle_exchange_start(state->gather, NULL));
    if (state->scatter != NULL)
        TLI_TRY(tulle_exchange_start(state->scatter, NULL));
    if (state->gather != NULL)
        TLI_TRY(tulle_exchange_wait(state->gather));
    if (state->scatter != NULL)
        TLI_TRY(tulle_exchange_wait(state->scatter));
done:
    return st;
}

/* --- allgather --------------------------------------------------------------------------------------------------- */

static const char *refuse_transpose(const perf_spmm_problem_t *problem)
{
    return problem->one->is_transposed ? "it is there for A B only" : NULL;
}

static const char *refuse_allgather(const perf_spmm_problem_t *problem)
{
    const perf_spmm_case_t *one = problem->one;
    double bytes = (double)one->input->cols * (double)one->width * (double)one->scalar_bytes;
    if (bytes * one->num_ranks > 4e9)
        return "needs more than 4 GB for the copies of B";
    return refuse_transpose(problem);
}

static tulle_status_t make_block(state_t *state)
{
    tulle_status_t st = TULLE_OK;
    const perf_spmm_case_t *one = state->problem.one;
    const perf_input_t *input = one->input;
    int64_t n = input->row_ptr[input->num_rows];
    TLI_REQUIRE(input->cols < INT32_MAX, TULLE_ERR_OVERFLOW, "%lld columns", (long long)input->cols);
    state->block = (tli_sparse_t){.num_rows = input->num_rows, .num_cols = input->cols, .row_ptr = input->row_ptr};
    TLI_TRY(tli_arena_alloc_raw(&state->arena, n, sizeof(int32_t), &state->block.col));
    TLI_TRY(
        tli_arena_alloc_raw(&state->arena, n, tulle_datatype_size(tli_sum_type(one->datatype)), &state->block.values));
    tli_sparse_fill(&state->block, one->values, one->datatype);
    for (int64_t e = 0; e < n; e++)
        state->block.col[e] = (int32_t)input->col_idx[e];
    TLI_TRY(tli_sparse_list_fresh(&state->arena, &state->block));
done:
    return st;
}

static tulle_status_t prepare_allgather(state_t *state)
{
    tulle_status_t st = TULLE_OK;
    const perf_spmm_case_t *one = state->problem.one;
    TLI_TRY(make_block(state));
    TLI_TRY(tli_arena_alloc_raw(&state->arena, one->input->cols * one->width, one->scalar_bytes, &state->all_b));
    TLI_TRY(tli_arena_alloc(&state->arena, one->num_ranks, sizeof(int), &state->counts));
    TLI_TRY(tli_arena_alloc(&state->arena, one->num_ranks, sizeof(int), &state->starts));
    for (int r = 0; r < one->num_ranks; r++) {
        int64_t first = 0, count = 0;
        perf_block(one->input->cols, one->num_ranks, r, &first, &count);
        state->counts[r] = (int)count;
        state->starts[r] = (int)first;
    }
    TLI_MPI(MPI_Type_contiguous((int)(one->width * (int64_t)one->scalar_bytes), MPI_BYTE, &state->row_type));
    TLI_MPI(MPI_Type_commit(&state->row_type));
done:
    return st;
}

static tulle_status_t setup_allgather(const perf_spmm_problem_t *problem, void **state_out)
{
    state_t *state = NULL;
    tulle_status_t st = alloc_state(problem, &state);
    if (st == TULLE_OK)
        st = prepare_allgather(state);
    st = tli_agree(problem->one->comm, st);
    if (st == TULLE_OK)
        *state_out = state;
    else
        teardown(state);
    return st;
}

static tulle_status_t run_allgather(void *memory)
{
    tulle_status_t st = TULLE_OK;
    const state_t *state = memory;
    const perf_spmm_case_t *one = state->problem.one;
    int64_t far_bytes = tli_multiply_far_bytes(one->num_ranks);
    int64_t c_bytes = state->block.num_rows * one->width * (int64_t)one->scalar_bytes;
    tli_multiply_args_t args = {.block = &state->block,
                                .last = state->block.num_rows,
                                .datatype = one->datatype,
                                .width = one->width,
                                .b = state->all_b,
                                .b_stride = one->width,
                                .c = state->c,
                                .c_stride = one->width,
                                .alpha = 1,
                                .is_b_far = tli_sparse_is_b_far(&state->block, one->datatype, one->width, far_bytes),
                                .is_far = c_bytes >= far_bytes};
    TLI_MPI(MPI_Allgatherv(one->b, (int)one->num_b, state->row_type, state->all_b, state->counts, state->starts,
                           state->row_type, one->comm));
    tli_multiply(&args);
done:
    return st;
}

static const perf_spmm_method_t tulle = {.name = "tulle",
                                         .bit = PERF_SPMM_TULLE,
                                         .has_result = 1,
                                         .setup = setup_plain,
                                         .run = run_tulle,
                                         .result = result,
                                         .teardown = teardown};
static const perf_spmm_method_t exchange = {.name = "exchange",
                                            .bit = PERF_SPMM_EXCHANGE,
                                            .setup = setup_exchange,
                                            .run = run_exchange,
                                            .result = result,
                                            .teardown = teardown};
static const perf_spmm_method_t multiply = {.name = "multiply",
                                            .bit = PERF_SPMM_MULTIPLY,
                                            .is_local = 1,
                                            .setup = setup_plain,
                                            .run = run_multiply,
                                            .result = result,
                                            .teardown = teardown};
static const perf_spmm_method_t allgather = {.name = "allgather",
                                             .bit = PERF_SPMM_ALLGATHER,
                                             .has_result = 1,
                                             .refuses = refuse_allgather,
                                             .setup = setup_allgather,
                                             .run = run_allgather,
                                             .result = result,
                                             .teardown = teardown};

const perf_spmm_method_t *const perf_spmm_methods[PERF_SPMM_NUM_METHODS] = {&tulle, &exchange, &multiply,
                                                                            &perf_spmm_petsc, &allgather};
