/* SPDX-License-Identifier: Apache-2.0
 * How a failure is recorded and passed up: the first function to see it says what and which values; callers only pass
 * the status on, through one exit. */
#ifndef TLI_FAULT_H
#define TLI_FAULT_H

#include <tulle/status.h>

#define TLI_STRINGIFY_(x) #x
#define TLI_STRINGIFY(x)  TLI_STRINGIFY_(x)
#define TLI_WHERE         __FILE__ ":" TLI_STRINGIFY(__LINE__)

/** Record a failure as this thread's last error and return @p status. */
tulle_status_t tli_fail(tulle_status_t status, long native, const char *where, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** Rank that later failures of this thread are attributed to. */
void tli_fault_set_rank(int rank);

/** Replace this thread's last error, with one that another rank reported. */
void tli_fault_set(const tulle_error_t *error);

/* All three expect a variable `st` and a label `done` in the function. */
#define TLI_FAIL(status, ...)                                                                                          \
    do {                                                                                                               \
        st = tli_fail((status), 0, TLI_WHERE, __VA_ARGS__);                                                            \
        goto done;                                                                                                     \
    } while (0)
#define TLI_REQUIRE(condition, status, ...)                                                                            \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            TLI_FAIL((status), __VA_ARGS__);                                                                           \
    } while (0)
#define TLI_TRY(call)                                                                                                  \
    do {                                                                                                               \
        st = (call);                                                                                                   \
        if (st != TULLE_OK)                                                                                            \
            goto done;                                                                                                 \
    } while (0)

/* A proven internal invariant: checked in debug builds only, no side effects. */
#ifdef NDEBUG
#define TLI_ASSERT(condition) ((void)0)
#else
#include <assert.h>
#define TLI_ASSERT(condition) assert(condition)
#endif

#endif
