/* SPDX-License-Identifier: Apache-2.0
 * Agreement by one small reduction; the text of a failure travels only when there is one. */
#include "src/agree.h"

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

/* Lowest failing rank, smallest value, largest value, most: all by one minimum. */
static void pack_agreement(int rank, tulle_status_t local, int64_t value, int64_t most, int64_t *least)
{
    least[0] = local == TULLE_OK ? INT64_MAX : rank;
    least[1] = value;
    least[2] = -value;
    least[3] = -most;
}

static tulle_status_t judge(MPI_Comm comm, tulle_status_t local, const int64_t *least, const char *what)
{
    tulle_status_t st = TULLE_OK;
    if (least[0] != INT64_MAX) {
        tulle_error_t error;
        TLI_TRY(spread_error(comm, (int)least[0], &error));
        st = local != TULLE_OK ? local : fail_remote((int)least[0], &error);
    } else {
        TLI_REQUIRE(least[1] == -least[2], TULLE_ERR_MISMATCH, "ranks disagree about %s: from %lld to %lld", what,
                    (long long)least[1], (long long)-least[2]);
    }
done:
    return st;
}

tulle_status_t tli_agree_on_most(MPI_Comm comm, tulle_status_t local, int64_t value, const char *what, int64_t *most)
{
    tulle_status_t st = TULLE_OK;
    int64_t least[4];
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    pack_agreement(rank, local, value, *most, least);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, least, 4, MPI_INT64_T, MPI_MIN, comm));
    *most = -least[3];
    TLI_TRY(judge(comm, local, least, what));
done:
    return st;
}

void tli_agree_begin(MPI_Comm comm, tulle_status_t local, int64_t value, tli_agreement_t *agreement)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    agreement->local = local;
    agreement->request = MPI_REQUEST_NULL;
    pack_agreement(rank, local, value, 0, agreement->least);
    int code = MPI_Iallreduce(MPI_IN_PLACE, agreement->least, 4, MPI_INT64_T, MPI_MIN, comm, &agreement->request);
    if (code != MPI_SUCCESS && local == TULLE_OK)
        agreement->local = tli_fail_mpi(code, TLI_WHERE, "MPI_Iallreduce");
}

tulle_status_t tli_agree_end(MPI_Comm comm, tli_agreement_t *agreement, const char *what)
{
    tulle_status_t st = agreement->local;
    if (agreement->request == MPI_REQUEST_NULL && st != TULLE_OK)
        goto done; /* it did not begin */
    TLI_MPI(MPI_Wait(&agreement->request, MPI_STATUS_IGNORE));
    TLI_TRY(judge(comm, agreement->local, agreement->least, what));
done:
    return st;
}

tulle_status_t tli_agree_on(MPI_Comm comm, tulle_status_t local, int64_t value, const char *what)
{
    int64_t none = 0;
    return tli_agree_on_most(comm, local, value, what, &none);
}

tulle_status_t tli_agree(MPI_Comm comm, tulle_status_t local)
{
    return tli_agree_on(comm, local, 0, "nothing");
}

tulle_status_t tli_agree_equal(MPI_Comm comm, int64_t value, const char *what)
{
    return tli_agree_on(comm, TULLE_OK, value, what);
}
