/* SPDX-License-Identifier: Apache-2.0
 * How ranks agree: on success or failure, and on values that must be equal everywhere. */
#ifndef TLI_AGREE_H
#define TLI_AGREE_H

#include <mpi.h>
#include <stdint.h>

#include "src/fault.h"

/* MPI call that must succeed; expects `st` and `done`. */
#define TLI_MPI(call)                                                                                                  \
    do {                                                                                                               \
        int mpi_code_ = (call);                                                                                        \
        if (mpi_code_ != MPI_SUCCESS) {                                                                                \
            st = tli_fail_mpi(mpi_code_, TLI_WHERE, #call);                                                            \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

/** Record an MPI failure with MPI's own words. */
tulle_status_t tli_fail_mpi(int mpi_code, const char *where, const char *call);

/**
 * One status for all: TULLE_OK if every rank passes TULLE_OK. Otherwise a rank that failed gets its own status back,
 * the others get TULLE_ERR_REMOTE with the text of the lowest failing rank.
 * @collective all ranks of @p comm, whatever their status: a failure must not skip this call
 */
tulle_status_t tli_agree(MPI_Comm comm, tulle_status_t local);

/**
 * Check that a value is the same on every rank; names both when not.
 * @retval TULLE_ERR_MISMATCH on every rank
 * @collective all ranks of @p comm
 */
tulle_status_t tli_agree_equal(MPI_Comm comm, int64_t value, const char *what);

/**
 * Both at once, for the price of one: agree on success, then on a value.
 * @param[in] value ignored unless every rank passes TULLE_OK
 * @collective all ranks of @p comm, whatever their status
 */
tulle_status_t tli_agree_on(MPI_Comm comm, tulle_status_t local, int64_t value, const char *what);

/**
 * The same, and the largest of a second value.
 * @param[in,out] most this rank's, then that of all ranks; undefined on failure
 * @collective all ranks of @p comm, whatever their status
 */
tulle_status_t tli_agree_on_most(MPI_Comm comm, tulle_status_t local, int64_t value, const char *what, int64_t *most);

/* What an agreement takes from each rank, and the minima of all of which it makes its status: however they come about.
 */
#define TLI_AGREE_WORDS 4
void tli_agree_fill(int rank, tulle_status_t local, int64_t value, int64_t most, int64_t words[TLI_AGREE_WORDS]);
/** @collective all ranks of @p comm if any of them failed */
tulle_status_t tli_agree_judge(MPI_Comm comm, tulle_status_t local, const int64_t least[TLI_AGREE_WORDS],
                               const char *what);

/** A last agreement, which may be given up: what MPI still reads and writes then. */
typedef struct tli_parting {
    int64_t least[TLI_AGREE_WORDS];
    int is_pending; /* for ever: some rank did not come */
    MPI_Request request;
} tli_parting_t;

/**
 * Whether all ranks part in peace: none has seen a fault, and all count the same. Leaves the last error as it is.
 * @param[in]     count    what each rank did that all should have done, not negative
 * @param[in]     limit_ms [ms] 0 = none; who does not come by then is no reason for peace
 * @param[in,out] parting  zeroed; must live as long as MPI does
 * @collective all ranks of @p comm
 */
int tli_agree_in_parting(MPI_Comm comm, int has_fault, int64_t count, int64_t limit_ms, tli_parting_t *parting);

#endif
