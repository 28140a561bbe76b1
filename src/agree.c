/* SPDX-License-Identifier: Apache-2.0
 * Agreement by one small reduction; the text of a failure travels only when there is one. */
#include "src/agree.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

tulle_status_t tli_fail_mpi(int mpi_code, const char *where, const char *call)
{
    char text[MPI_MAX_ERROR_STRING] = "unknown MPI error";
    int length = 0;
    MPI_Error_string(mpi_code, text, &length);
    return tli_fail(TULLE_ERR_TRANSPORT, mpi_code, where, "%.60s: %.160s", call, text);
}

/* The error of one rank, as bytes. The pointer in it means nothing elsewhere and is replaced. */
static tulle_status_t spread_error(MPI_Comm comm, int failing_rank, tulle_error_t *error)
{
    tulle_status_t st = TULLE_OK;
    *error = *tulle_last_error();
    TLI_MPI(MPI_Bcast(error, (int)sizeof *error, MPI_BYTE, failing_rank, comm));
done:
    return st;
}

/* The error as this rank reports it: found on that rank, in its words. */
static tulle_status_t fail_remote(int failing_rank, const tulle_error_t *error)
{
    tulle_status_t st = tli_fail(TULLE_ERR_REMOTE, error->native, TLI_WHERE, "rank %d: %s", failing_rank, error->text);
    tulle_error_t remote = *tulle_last_error();
    remote.rank = failing_rank;
    tli_fault_set(&remote);
    return st;
}

tulle_status_t tli_agree(MPI_Comm comm, tulle_status_t local)
{
    tulle_status_t st = TULLE_OK;
    int rank = 0;
    int first = INT_MAX;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    int mine = local == TULLE_OK ? INT_MAX : rank;
    TLI_MPI(MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, comm));
    if (first != INT_MAX) {
        tulle_error_t error;
        TLI_TRY(spread_error(comm, first, &error));
        st = local != TULLE_OK ? local : fail_remote(first, &error);
    }
done:
    return st;
}

tulle_status_t tli_agree_equal(MPI_Comm comm, int64_t value, const char *what)
{
    tulle_status_t st = TULLE_OK;
    int64_t extremes[2] = {value, -value};
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, extremes, 2, MPI_INT64_T, MPI_MAX, comm));
    TLI_REQUIRE(extremes[0] == -extremes[1], TULLE_ERR_MISMATCH, "ranks disagree about %s: from %lld to %lld", what,
                (long long)-extremes[1], (long long)extremes[0]);
done:
    return st;
}
