/* SPDX-License-Identifier: Apache-2.0
 * PETSc's star forest: owned rows are roots, ghost rows are leaves; gather is Bcast, scatter is Reduce. Types basic
 * (persistent messages) and neighbor (neighborhood collectives). It packs and unpacks itself. */
#include "perf/methods.h"

#ifdef TULLE_HAVE_PETSC

#include <petscsf.h>
#include <stdio.h>

#include "perf/petsc.h"
#include "perf/reduce.h"
#include "src/agree.h"

typedef struct state {
    const perf_case_t *one;
    void *ghost; /* [num_needed rows] borrowed */
    PetscSF forest;
    MPI_Datatype unit; /* one row */
    MPI_Op op;         /* of scatter */
    int has_own_unit;  /* [bool] unit is ours to free */
    int has_own_op;    /* [bool] op is ours to free */
} state_t;

tulle_status_t perf_fail_petsc(PetscErrorCode code, const char *call)
{
    const char *text = NULL;
    PetscErrorMessage(code, &text, NULL);
    return tli_fail(TULLE_ERR_TRANSPORT, (long)code, TLI_WHERE, "PETSc: %s: %s", call, text == NULL ? "?" : text);
}

static tulle_status_t open_petsc(void)
{
    tulle_status_t st = TULLE_OK;
    PetscBool is_open = PETSC_FALSE;
    TRY_PETSC(PetscInitialized(&is_open));
    if (is_open)
        goto done;
    TRY_PETSC(PetscOptionsSetValue(NULL, "-no_signal_handler", NULL)); /* signals are not PETSc's */
    TRY_PETSC(PetscInitializeNoArguments());
    TRY_PETSC(PetscPushErrorHandler(PetscReturnErrorHandler, NULL)); /* errors are returned, not printed */
done:
    return st;
}

static void close_petsc(void)
{
    PetscBool is_open = PETSC_FALSE;
    if (PetscInitialized(&is_open) == 0 && is_open)
        PetscFinalize();
}

static void admit(const perf_case_t *one, perf_skip_t *skip)
{
    if (one->halo->num_owned > PETSC_MAX_INT)
        snprintf(skip->reason, sizeof skip->reason, "more rows than this PETSc can count");
}

static void teardown(void *memory)
{
    state_t *state = memory;
    if (state == NULL)
        return;
    if (state->forest != NULL)
        PetscSFDestroy(&state->forest);
    if (state->has_own_unit)
        MPI_Type_free(&state->unit);
    if (state->has_own_op)
        MPI_Op_free(&state->op);
    tli_free(state);
}

/* The case whose rows are being reduced: an MPI_Op has no other way to learn what its scalars are. */
static const perf_case_t *reduced_case;

static void reduce_rows(void *from, void *into, int *num_rows, MPI_Datatype *unit)
{
    const perf_values_t *values = &reduced_case->values;
    (void)unit;
    perf_reduce(values->datatype, values->op, from, into, *num_rows * values->width);
}

/* The scalars that PETSc reduces with loops of its own; it takes others through MPI_Reduce_local, row by row. */
static MPI_Datatype native_scalar(tulle_datatype_t datatype)
{
    if (datatype == TULLE_F64 && sizeof(PetscReal) == sizeof(double))
        return MPI_DOUBLE;
    if (datatype == TULLE_I32 && sizeof(PetscInt) == sizeof(int32_t))
        return MPIU_INT;
    if (datatype == TULLE_I8)
        return MPI_SIGNED_CHAR;
    if (datatype == TULLE_U8)
        return MPI_UNSIGNED_CHAR;
    return MPI_DATATYPE_NULL;
}

static MPI_Op native_op(tulle_op_t op)
{
    static const MPI_Op ops[] = {[TULLE_OP_SUM] = MPI_SUM,
                                 [TULLE_OP_MIN] = MPI_MIN,
                                 [TULLE_OP_MAX] = MPI_MAX,
                                 [TULLE_OP_PROD] = MPI_PROD,
                                 [TULLE_OP_REPLACE] = MPI_REPLACE};
    return ops[op];
}

/* One row as PETSc knows it: it does not look into a contiguous type of one scalar. */
static tulle_status_t make_unit(state_t *state, MPI_Datatype scalar)
{
    tulle_status_t st = TULLE_OK;
    const perf_case_t *one = state->one;
    state->unit = scalar;
    if (scalar != MPI_DATATYPE_NULL && one->values.width == 1)
        goto done;
    if (scalar != MPI_DATATYPE_NULL)
        TLI_MPI(MPI_Type_contiguous((int)one->values.width, scalar, &state->unit));
    else
        TLI_MPI(MPI_Type_contiguous((int)one->row_bytes, MPI_BYTE, &state->unit));
    state->has_own_unit = 1;
    TLI_MPI(MPI_Type_commit(&state->unit));
done:
    return st;
}

static tulle_status_t make_op(state_t *state, MPI_Datatype scalar)
{
    tulle_status_t st = TULLE_OK;
    const perf_case_t *one = state->one;
    state->op = MPI_REPLACE;
    if (one->direction == TULLE_GATHER || one->values.op == TULLE_OP_REPLACE)
        goto done;
    state->op = native_op(one->values.op);
    if (scalar != MPI_DATATYPE_NULL)
        goto done;
    TLI_MPI(MPI_Op_create(reduce_rows, 1, &state->op));
    state->has_own_op = 1;
done:
    return st;
}

/* Leaf i is needed row i; its root is the owner's row. */
static tulle_status_t set_graph(const perf_halo_t *halo, PetscSF forest)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    PetscSFNode *roots = NULL;
    TLI_TRY(tli_arena_alloc_raw(&scratch, halo->num_needed, sizeof *roots, &roots));
    for (int owner = 0; owner < halo->num_ranks; owner++) {
        int64_t first = 0;
        int64_t count = 0;
        perf_block(halo->num_rows, halo->num_ranks, owner, &first, &count);
        for (int i = halo->needed_start[owner]; i < halo->needed_start[owner + 1]; i++)
            roots[i] = (PetscSFNode){owner, (PetscInt)(halo->needed_ids[i] - first)};
    }
    TRY_PETSC(PetscSFSetGraph(forest, (PetscInt)halo->num_owned, (PetscInt)halo->num_needed, NULL, PETSC_COPY_VALUES,
                              roots, PETSC_COPY_VALUES));
    TRY_PETSC(PetscSFSetUp(forest));
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t make_state(const perf_case_t *one, void *ghost, PetscSFType type, state_t **state_out)
{
    tulle_status_t st = TULLE_OK;
    state_t *state = NULL;
    MPI_Datatype scalar = native_scalar(one->values.datatype);
    TLI_TRY(tli_alloc(sizeof *state, &state));
    *state = (state_t){.one = one, .ghost = ghost, .unit = MPI_DATATYPE_NULL, .op = MPI_OP_NULL};
    TLI_TRY(make_unit(state, scalar));
    TLI_TRY(make_op(state, scalar));
    TRY_PETSC(PetscSFCreate(one->halo->comm, &state->forest));
    TRY_PETSC(PetscSFSetType(state->forest, type));
    TLI_TRY(set_graph(one->halo, state->forest));
    *state_out = state;
    state = NULL;
done:
    teardown(state);
    return st;
}

static tulle_status_t setup(const perf_case_t *one, void *ghost, PetscSFType type, void **state_out)
{
    state_t *state = NULL;
    tulle_status_t st = tli_agree(one->halo->comm, make_state(one, ghost, type, &state));
    if (st == TULLE_OK)
        *state_out = state;
    else
        teardown(state);
    return st;
}

static tulle_status_t setup_basic(const perf_case_t *one, void *ghost, void **state_out)
{
    return setup(one, ghost, PETSCSFBASIC, state_out);
}

static tulle_status_t setup_neighbor(const perf_case_t *one, void *ghost, void **state_out)
{
    return setup(one, ghost, PETSCSFNEIGHBOR, state_out);
}

static tulle_status_t run(void *memory)
{
    tulle_status_t st = TULLE_OK;
    const state_t *state = memory;
    void *owned = state->one->owned;
    reduced_case = state->one;
    if (state->one->direction == TULLE_GATHER) {
        TRY_PETSC(PetscSFBcastBegin(state->forest, state->unit, owned, state->ghost, state->op));
        TRY_PETSC(PetscSFBcastEnd(state->forest, state->unit, owned, state->ghost, state->op));
    } else {
        TRY_PETSC(PetscSFReduceBegin(state->forest, state->unit, state->ghost, owned, state->op));
        TRY_PETSC(PetscSFReduceEnd(state->forest, state->unit, state->ghost, owned, state->op));
    }
done:
    return st;
}

const perf_method_t perf_method_petsc_basic = {
    .name = "petsc_basic",
    .bit = PERF_METHOD_PETSC_BASIC,
    .open = open_petsc,
    .close = close_petsc,
    .admit = admit,
    .setup = setup_basic,
    .run = run,
    .teardown = teardown,
};

const perf_method_t perf_method_petsc_neighbor = {
    .name = "petsc_neighbor",
    .bit = PERF_METHOD_PETSC_NEIGHBOR,
    .open = open_petsc,
    .close = close_petsc,
    .admit = admit,
    .setup = setup_neighbor,
    .run = run,
    .teardown = teardown,
};

#else

#define LACKS "PETSc (Debian package libpetsc-real-dev)"

const perf_method_t perf_method_petsc_basic = {
    .name = "petsc_basic",
    .bit = PERF_METHOD_PETSC_BASIC,
    .lacks = LACKS,
};

const perf_method_t perf_method_petsc_neighbor = {
    .name = "petsc_neighbor",
    .bit = PERF_METHOD_PETSC_NEIGHBOR,
    .lacks = LACKS,
};

#endif
