/* SPDX-License-Identifier: Apache-2.0
 * The table of methods, and what the peers among them share. */
#include "perf/methods.h"

#include <limits.h>
#include <string.h>

#include "perf/reduce.h"
#include "src/agree.h"

const perf_method_t *const perf_methods[PERF_NUM_METHODS] = {
    &perf_method_tulle,         &perf_method_naive,       &perf_method_alltoallv,      &perf_method_neighbor,
    &perf_method_neighbor_init, &perf_method_petsc_basic, &perf_method_petsc_neighbor, &perf_method_hypre,
    &perf_method_tulle_direct,  &perf_method_tulle_rail,  &perf_method_tulle_balanced, &perf_method_tulle_aggregated,
    &perf_method_tulle_striped, &perf_method_tulle_whole};

unsigned perf_methods_built(void)
{
    unsigned built = 0;
    for (int i = 0; i < PERF_NUM_METHODS; i++)
        if (perf_methods[i]->lacks == NULL &&
            ((unsigned)perf_methods[i]->bit & PERF_METHODS_OF_TULLE & ~(unsigned)PERF_METHOD_TULLE) == 0)
            built |= (unsigned)perf_methods[i]->bit;
    return built;
}

tulle_status_t perf_methods_open(unsigned methods, MPI_Comm comm)
{
    tulle_status_t st = TULLE_OK;
    for (int i = 0; i < PERF_NUM_METHODS && st == TULLE_OK; i++)
        if ((methods & (unsigned)perf_methods[i]->bit) != 0 && perf_methods[i]->open != NULL)
            st = tli_agree(comm, perf_methods[i]->open());
    return st;
}

void perf_methods_close(unsigned methods)
{
    for (int i = PERF_NUM_METHODS - 1; i >= 0; i--)
        if ((methods & (unsigned)perf_methods[i]->bit) != 0 && perf_methods[i]->close != NULL)
            perf_methods[i]->close();
}

tulle_status_t perf_method_admit(const perf_method_t *method, const perf_case_t *one, perf_skip_t *skip_out)
{
    tulle_status_t st = TULLE_OK;
    const perf_halo_t *halo = one->halo;
    perf_skip_t skip = {""};
    int first = INT_MAX;
    if (method->admit != NULL)
        method->admit(one, &skip);
    int mine = skip.reason[0] == '\0' ? INT_MAX : halo->rank;
    TLI_MPI(MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, halo->comm));
    if (first != INT_MAX)
        TLI_MPI(MPI_Bcast(&skip, (int)sizeof skip, MPI_BYTE, first, halo->comm));
    *skip_out = skip;
done:
    return st;
}

void perf_rows_pack(const perf_case_t *one, const void *rows, const int64_t *index, int64_t n, void *message)
{
    size_t row_bytes = one->row_bytes;
    for (int64_t i = 0; i < n; i++)
        memcpy((char *)message + (size_t)i * row_bytes, (const char *)rows + (size_t)index[i] * row_bytes, row_bytes);
}

void perf_rows_reduce(const perf_case_t *one, const void *message, const int64_t *index, int64_t n, void *rows)
{
    const perf_values_t *values = &one->values;
    size_t row_bytes = one->row_bytes;
    for (int64_t i = 0; i < n; i++)
        perf_reduce(values->datatype, values->op, (const char *)message + (size_t)i * row_bytes,
                    (char *)rows + (size_t)index[i] * row_bytes, values->width);
}
