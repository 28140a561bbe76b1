/* SPDX-License-Identifier: Apache-2.0
 * PETSc: MPIAIJ times MPIDense, into a result that is reused. Its dense matrices are column-major, and stay so: neither
 * B nor C is converted while the time runs. */
#include "perf/spmm_methods.h"

#ifdef TULLE_HAVE_PETSC

#include <petscmat.h>

#include "perf/methods.h"
#include "src/agree.h"

/* PETSc call that must succeed; expects `st` and `done`. */
#define TRY_PETSC(call)                                                                                                \
    do {                                                                                                               \
        PetscErrorCode petsc_code_ = (call);                                                                           \
        if (petsc_code_ != 0) {                                                                                        \
            st = fail_petsc(petsc_code_, #call);                                                                       \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

typedef struct state {
    const perf_spmm_case_t *one;
    Mat a, b, c;
    PetscScalar *c_values; /* between result() and the next run */
} state_t;

static tulle_status_t fail_petsc(PetscErrorCode code, const char *call)
{
    const char *text = NULL;
    PetscErrorMessage(code, &text, NULL);
    return tli_fail(TULLE_ERR_TRANSPORT, (long)code, TLI_WHERE, "PETSc: %s: %s", call, text == NULL ? "?" : text);
}

static tulle_status_t open_petsc(void)
{
    return perf_method_petsc_basic.open();
}

static void close_petsc(void)
{
    perf_method_petsc_basic.close();
}

static const char *refuses(const perf_spmm_problem_t *problem)
{
    const perf_input_t *input = problem->one->input;
    if (problem->one->datatype != TULLE_F64)
        return "PETSc was built for f64";
    if (input->nnz > PETSC_MAX_INT || input->rows > PETSC_MAX_INT || input->cols > PETSC_MAX_INT)
        return "more entries than this PETSc can count";
    return NULL;
}

static void teardown(void *memory)
{
    state_t *state = memory;
    if (state == NULL)
        return;
    if (state->c_values != NULL)
        MatDenseRestoreArray(state->c, &state->c_values);
    MatDestroy(&state->a);
    MatDestroy(&state->b);
    MatDestroy(&state->c);
    tli_free(state);
}

static tulle_status_t make_sparse(state_t *state)
{
    tulle_status_t st = TULLE_OK;
    const perf_input_t *input = state->one->input;
    tli_arena_t scratch = TLI_ARENA_INIT;
    PetscInt *row_ptr = NULL, *col_idx = NULL;
    int64_t n = input->row_ptr[input->num_rows];
    TLI_TRY(tli_arena_alloc_raw(&scratch, input->num_rows + 1, sizeof *row_ptr, &row_ptr));
    TLI_TRY(tli_arena_alloc_raw(&scratch, n, sizeof *col_idx, &col_idx));
    for (int64_t row = 0; row <= input->num_rows; row++)
        row_ptr[row] = (PetscInt)input->row_ptr[row];
    for (int64_t e = 0; e < n; e++)
        col_idx[e] = (PetscInt)input->col_idx[e];
    TRY_PETSC(MatCreateMPIAIJWithArrays(state->one->comm, (PetscInt)input->num_rows, (PetscInt)input->num_cols,
                                        (PetscInt)input->rows, (PetscInt)input->cols, row_ptr, col_idx,
                                        state->one->values, &state->a));
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t make_dense(state_t *state)
{
    tulle_status_t st = TULLE_OK;
    const perf_spmm_case_t *one = state->one;
    int64_t rows = one->is_transposed ? one->input->rows : one->input->cols;
    PetscScalar *values = NULL;
    TRY_PETSC(MatCreateDense(one->comm, (PetscInt)one->num_b, PETSC_DECIDE, (PetscInt)rows, (PetscInt)one->width, NULL,
                             &state->b));
    TRY_PETSC(MatDenseGetArray(state->b, &values));
    for (int64_t k = 0; k < one->width; k++)
        for (int64_t row = 0; row < one->num_b; row++)
            values[k * one->num_b + row] = perf_spmm_case_b(one->first_b + row, k);
    TRY_PETSC(MatDenseRestoreArray(state->b, &values));
    TRY_PETSC(MatAssemblyBegin(state->b, MAT_FINAL_ASSEMBLY));
    TRY_PETSC(MatAssemblyEnd(state->b, MAT_FINAL_ASSEMBLY));
done:
    return st;
}

static tulle_status_t multiply(state_t *state, MatReuse reuse)
{
    tulle_status_t st = TULLE_OK;
    if (state->one->is_transposed)
        TRY_PETSC(MatTransposeMatMult(state->a, state->b, reuse, PETSC_DEFAULT, &state->c));
    else
        TRY_PETSC(MatMatMult(state->a, state->b, reuse, PETSC_DEFAULT, &state->c));
done:
    return st;
}

static tulle_status_t make_state(const perf_spmm_problem_t *problem, state_t **state_out)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = NULL;
    TLI_TRY(tli_alloc(sizeof *state, &state));
    state->one = problem->one;
    TLI_TRY(make_sparse(state));
    TLI_TRY(make_dense(state));
    TLI_TRY(multiply(state, MAT_INITIAL_MATRIX));
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
}

static tulle_status_t setup(const perf_spmm_problem_t *problem, void **state_out)
{
    state_t *state = NULL;
    tulle_status_t st = tli_agree(problem->one->comm, make_state(problem, &state));
    if (st == TULLE_OK)
        *state_out = state;
    else
        teardown(state);
    return st;
}

static tulle_status_t run(void *memory)
{
    state_t *state = memory;
    if (state->c_values != NULL)
        MatDenseRestoreArray(state->c, &state->c_values);
    return multiply(state, MAT_REUSE_MATRIX);
}

static void *result(void *memory, int64_t *row_stride, int64_t *col_stride)
{
    state_t *state = memory;
    *row_stride = 1;
    *col_stride = state->one->num_c;
    if (state->c_values == NULL)
        MatDenseGetArray(state->c, &state->c_values);
    return state->c_values;
}

const perf_spmm_method_t perf_spmm_petsc = {.name = "petsc",
                                            .bit = PERF_SPMM_PETSC,
                                            .has_result = 1,
                                            .open = open_petsc,
                                            .close = close_petsc,
                                            .refuses = refuses,
                                            .setup = setup,
                                            .run = run,
                                            .result = result,
                                            .teardown = teardown};

#else

const perf_spmm_method_t perf_spmm_petsc = {
    .name = "petsc", .bit = PERF_SPMM_PETSC, .lacks = "PETSc (Debian package libpetsc-real-dev)"};

#endif
