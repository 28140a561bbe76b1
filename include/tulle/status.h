/* SPDX-License-Identifier: Apache-2.0
 * Statuses and the readable detail behind the last failure. The library never aborts, exits or prints on its own. */
#ifndef TULLE_STATUS_H
#define TULLE_STATUS_H

#include <tulle/export.h>

TULLE_BEGIN_DECLS

/** Every status: name, frozen value, meaning. Append, never renumber. */
#define TULLE_STATUS_MAP(X)                                                                                            \
    X(OK, 0, "success")                                                                                                \
    X(IN_PROGRESS, 1, "not finished")                                                                                  \
    X(ERR_ARG, -1, "invalid argument")                                                                                 \
    X(ERR_NOMEM, -2, "out of memory")                                                                                  \
    X(ERR_REMOTE, -3, "another rank failed")                                                                           \
    X(ERR_TRANSPORT, -4, "transport failed")                                                                           \
    X(ERR_STATE, -5, "call out of order")                                                                              \
    X(ERR_FILE, -6, "file cannot be used")                                                                             \
    X(ERR_MISMATCH, -7, "ranks or objects do not fit together")                                                        \
    X(ERR_OVERFLOW, -8, "size too large")                                                                              \
    X(ERR_UNSUPPORTED, -9, "not supported")                                                                            \
    X(ERR_TIMEOUT, -10, "timed out")

/** Result of every fallible call: 0 is success, 1 is "ask again", negative values are failures. */
typedef enum tulle_status {
#define TULLE_STATUS_ENUM(name, value, text) TULLE_##name = value,
    TULLE_STATUS_MAP(TULLE_STATUS_ENUM)
#undef TULLE_STATUS_ENUM
} tulle_status_t;

/** What went wrong, for people and for logs. */
typedef struct tulle_error {
    tulle_status_t status; /**< the status that the failing call returned */
    int rank;              /**< rank on which the fault was found; -1 when no communicator was at hand */
    long native;           /**< raw MPI, CUDA, NCCL or UCX code; 0 if none */
    const char *where;     /**< "file:line" in the library */
    char text[256];        /**< what, which rank, which values, and the remedy where there is one */
} tulle_error_t;

/**
 * Detail of this thread's most recent failure.
 * @return never NULL; borrowed; valid until this thread's next failure; status TULLE_OK when nothing failed yet
 * @collective no   @threads any; each thread has its own   @cost O(1)
 */
TULLE_API const tulle_error_t *tulle_last_error(void);

/**
 * Short name of a status, such as "TULLE_ERR_ARG".
 * @param[in] status any value
 * @return never NULL; static storage; "TULLE_UNKNOWN" for a value that is none of ours
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const char *tulle_status_name(tulle_status_t status);

/**
 * Meaning of a status in words, such as "invalid argument".
 * @param[in] status any value
 * @return never NULL; static storage
 * @collective no   @threads any   @cost O(1)
 */
TULLE_API const char *tulle_status_text(tulle_status_t status);

TULLE_END_DECLS

#endif
