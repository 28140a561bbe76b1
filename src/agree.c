/* SPDX-License-Identifier: Apache-2.0
 * Agreement by one small reduction; the text of a failure travels only when there is one. */
#include "src/agree.h"

#include <sched.h>

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
void tli_agree_fill(int rank, tulle_status_t local, int64_t value, int64_t most, int64_t words[TLI_AGREE_WORDS])
{
    words[0] = local == TULLE_OK ? INT64_MAX : rank;
    words[1] = value;
    words[2] = -value;
    words[3] = -most;
}

tulle_status_t tli_agree_judge(MPI_Comm comm, tulle_status_t local, const int64_t least[TLI_AGREE_WORDS],
                               const char *what)
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
    int64_t least[TLI_AGREE_WORDS];
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    tli_agree_fill(rank, local, value, *most, least);
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, least, TLI_AGREE_WORDS, MPI_INT64_T, MPI_MIN, comm));
    *most = -least[3];
    st = tli_agree_judge(comm, local, least, what);
done:
    return st;
}

static int have_all_come(int64_t limit_ms, tli_parting_t *parting)
{
    double began = MPI_Wtime();
    int is_over = 0;
    while (parting->is_pending && !is_over) {
        int is_done = 0;
        is_over = MPI_Test(&parting->request, &is_done, MPI_STATUS_IGNORE) != MPI_SUCCESS;
        parting->is_pending = !is_done;
        is_over = is_over || (limit_ms > 0 && (MPI_Wtime() - began) * 1e3 >= (double)limit_ms);
        sched_yield();
    }
    return !parting->is_pending;
}

int tli_agree_in_parting(MPI_Comm comm, int has_fault, int64_t count, int64_t limit_ms, tli_parting_t *parting)
{
    int rank = 0;
    int64_t *least = parting->least;
    MPI_Comm_rank(comm, &rank);
    tli_agree_fill(rank, has_fault ? TULLE_ERR_REMOTE : TULLE_OK, count, 0, least);
    parting->is_pending = MPI_Iallreduce(MPI_IN_PLACE, least, TLI_AGREE_WORDS, MPI_INT64_T, MPI_MIN, comm,
                                         &parting->request) == MPI_SUCCESS;
    int has_begun = parting->is_pending;
    return has_begun && have_all_come(limit_ms, parting) && least[0] == INT64_MAX && least[1] == -least[2];
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
