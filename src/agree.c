/* SPDX-License-Identifier: Apache-2.0
 * Agreement by one small reduction; the text of a failure travels only when there is one. */
#include "src/agree.h"

#include <sched.h>
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
static tulle_status_t fill(MPI_Comm comm, tulle_status_t local, int64_t value, int64_t most, int64_t least[4])
{
    tulle_status_t st = TULLE_OK;
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    least[0] = local == TULLE_OK ? INT64_MAX : rank;
    least[1] = value;
    least[2] = -value;
    least[3] = -most;
done:
    return st;
}

/* What follows from the minimum over all ranks. */
static tulle_status_t judge(MPI_Comm comm, tulle_status_t local, const int64_t least[4], const char *what)
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
    TLI_TRY(fill(comm, local, value, *most, least));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, least, 4, MPI_INT64_T, MPI_MIN, comm));
    *most = -least[3];
    st = judge(comm, local, least, what);
done:
    return st;
}

static tulle_status_t await_all(int64_t limit_ms, tli_agreement_t *agreement)
{
    tulle_status_t st = TULLE_OK;
    double began = MPI_Wtime();
    while (agreement->is_pending) {
        int is_done = 0;
        TLI_MPI(MPI_Test(&agreement->request, &is_done, MPI_STATUS_IGNORE));
        agreement->is_pending = !is_done;
        TLI_REQUIRE(is_done || limit_ms == 0 || (MPI_Wtime() - began) * 1e3 < (double)limit_ms, TULLE_ERR_TIMEOUT,
                    "waited %lld ms for all ranks to make the same call: at least one does not come",
                    (long long)limit_ms);
        sched_yield();
    }
done:
    return st;
}

/* The minimum over all ranks, in the agreement. */
static tulle_status_t meet(MPI_Comm comm, tulle_status_t local, int64_t value, int64_t limit_ms,
                           tli_agreement_t *agreement)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(fill(comm, local, value, 0, agreement->least));
    TLI_MPI(MPI_Iallreduce(MPI_IN_PLACE, agreement->least, 4, MPI_INT64_T, MPI_MIN, comm, &agreement->request));
    agreement->is_pending = 1;
    TLI_TRY(await_all(limit_ms, agreement));
done:
    return st;
}

tulle_status_t tli_agree_on_within(MPI_Comm comm, tulle_status_t local, int64_t value, const char *what,
                                   int64_t limit_ms, tli_agreement_t *agreement)
{
    tulle_status_t st = TULLE_OK;
    if (limit_ms == 0)
        return tli_agree_on(comm, local, value, what);
    TLI_REQUIRE(!agreement->is_pending, TULLE_ERR_TIMEOUT, "a rank did not come to an earlier call of all ranks");
    TLI_TRY(meet(comm, local, value, limit_ms, agreement));
    st = judge(comm, local, agreement->least, what);
done:
    return st;
}

/* Where an earlier agreement was given up, MPI takes that for this one: of four words as well, and no peace to others,
 * as its values are other ones. */
int tli_agree_in_parting(MPI_Comm comm, int has_fault, int64_t count, int64_t limit_ms, tli_agreement_t *agreement)
{
    tulle_error_t last = *tulle_last_error();
    tulle_status_t local = has_fault ? TULLE_ERR_REMOTE : TULLE_OK;
    int is_peace = !agreement->is_pending && meet(comm, local, count, limit_ms, agreement) == TULLE_OK &&
                   agreement->least[0] == INT64_MAX && agreement->least[1] == -agreement->least[2];
    tli_fault_set(&last);
    return is_peace;
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
