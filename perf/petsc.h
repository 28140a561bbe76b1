/* SPDX-License-Identifier: Apache-2.0
 * Failures of PETSc as statuses. Only for builds with PETSc. */
#ifndef PERF_PETSC_H
#define PERF_PETSC_H

#include <petscsys.h>

#include "src/fault.h"

/* PETSc call that must succeed; expects `st` and `done`. */
#define TRY_PETSC(call)                                                                                                \
    do {                                                                                                               \
        PetscErrorCode petsc_code_ = (call);                                                                           \
        if (petsc_code_ != 0) {                                                                                        \
            st = perf_fail_petsc(petsc_code_, #call);                                                                  \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

/** Record a failed call with PETSc's words for it. @return TULLE_ERR_TRANSPORT */
tulle_status_t perf_fail_petsc(PetscErrorCode code, const char *call);

#endif
