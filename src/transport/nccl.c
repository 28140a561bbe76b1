/* SPDX-License-Identifier: Apache-2.0
 * NCCL, loaded when first asked for: a build with it starts on machines without, and shares the library with a program
 * that has loaded it itself. Communicators never block the host. */
#include "src/transport/nccl.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include <nccl.h>

#include "src/arena.h"
#include "src/fault.h"

_Static_assert(sizeof(ncclUniqueId) == TLI_NCCL_ID_BYTES, "an id fits");

#define OLDEST_VERSION NCCL_VERSION(2, 14, 0) /* the first whose communicators need not block */

#define SECONDS_TO_CLOSE 10

/* Functions by their own names; those that older libraries lack may be NULL. */
#define NEEDED_FUNCTIONS(X)                                                                                            \
    X(ncclGetVersion)                                                                                                  \
    X(ncclGetUniqueId)                                                                                                 \
    X(ncclCommInitRankConfig)                                                                                          \
    X(ncclCommGetAsyncError)                                                                                           \
    X(ncclCommFinalize)                                                                                                \
    X(ncclCommDestroy)                                                                                                 \
    X(ncclCommAbort)                                                                                                   \
    X(ncclGetErrorString)                                                                                              \
    X(ncclGetLastError)                                                                                                \
    X(ncclGroupStart)                                                                                                  \
    X(ncclGroupEnd)                                                                                                    \
    X(ncclSend)                                                                                                        \
    X(ncclRecv)
#define NEWER_FUNCTIONS(X)                                                                                             \
    X(ncclCommRegister)                                                                                                \
    X(ncclCommDeregister)

typedef struct library {
    int is_there;
#define MEMBER(name) __typeof__(&name) name;
    NEEDED_FUNCTIONS(MEMBER)
    NEWER_FUNCTIONS(MEMBER)
#undef MEMBER
} library_t;

struct tli_nccl {
    ncclComm_t comm;
    int is_aborted;
};

static library_t library;

static void *find(void *handle, const char *name, int *is_missing)
{
    void *function = dlsym(handle, name);
    *is_missing |= function == NULL;
    return function;
}

static void load(void)
{
    void *handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    int is_missing = handle == NULL, is_older = 0, version = 0;
    if (handle == NULL)
        return;
        /* Pointers to data and to functions are alike on POSIX, though not in C. */
#define LOOK_UP(name, flag) *(void **)&library.name = find(handle, #name, flag);
#define NEEDED(name)        LOOK_UP(name, &is_missing)
#define NEWER(name)         LOOK_UP(name, &is_older)
    NEEDED_FUNCTIONS(NEEDED)
    NEWER_FUNCTIONS(NEWER)
#undef NEEDED
#undef NEWER
#undef LOOK_UP
    library.is_there = !is_missing && library.ncclGetVersion(&version) == ncclSuccess && version >= OLDEST_VERSION;
}

int tli_nccl_is_there(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return library.is_there;
}

static tulle_status_t fail(ncclComm_t comm, ncclResult_t code, const char *where, const char *call)
{
    const char *detail = comm != NULL ? library.ncclGetLastError(comm) : NULL;
    return tli_fail(TULLE_ERR_TRANSPORT, (long)code, where, "%s: NCCL says \"%s\"%s%.120s", call,
                    library.ncclGetErrorString(code), detail != NULL && detail[0] != '\0' ? ": " : "",
                    detail != NULL ? detail : "");
}

/* A call that is under way is as good as one that is done; expects `st` and `done`. */
#define TRY_NCCL(comm, call)                                                                                           \
    do {                                                                                                               \
        ncclResult_t code_ = library.call;                                                                             \
        if (code_ != ncclSuccess && code_ != ncclInProgress) {                                                         \
            st = fail((comm), code_, TLI_WHERE, #call);                                                                \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

tulle_status_t tli_nccl_make_id(unsigned char id[TLI_NCCL_ID_BYTES])
{
    tulle_status_t st = TULLE_OK;
    ncclUniqueId made;
    TRY_NCCL(NULL, ncclGetUniqueId(&made));
    memcpy(id, &made, sizeof made);
done:
    return st;
}

tulle_status_t tli_nccl_open(int num_ranks, int rank, const unsigned char id[TLI_NCCL_ID_BYTES], tli_nccl_t **nccl_out)
{
    tulle_status_t st = TULLE_OK;
    tli_nccl_t *nccl = NULL;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId given;
    config.blocking = 0;
    memcpy(&given, id, sizeof given);
    TLI_TRY(tli_alloc(sizeof *nccl, &nccl));
    TRY_NCCL(NULL, ncclCommInitRankConfig(&nccl->comm, num_ranks, given, rank, &config));
    *nccl_out = nccl;
    nccl = NULL;
done:
    tli_free(nccl);
    return st;
}

tulle_status_t tli_nccl_test(tli_nccl_t *nccl)
{
    tulle_status_t st = TULLE_OK;
    ncclResult_t code = ncclSuccess;
    TLI_REQUIRE(!nccl->is_aborted, TULLE_ERR_TRANSPORT, "this communicator of NCCL was given up");
    TRY_NCCL(nccl->comm, ncclCommGetAsyncError(nccl->comm, &code));
    if (code == ncclInProgress)
        st = TULLE_IN_PROGRESS;
    else if (code != ncclSuccess)
        st = fail(nccl->comm, code, TLI_WHERE, "messages between nodes");
done:
    return st;
}

tulle_status_t tli_nccl_settle(tli_nccl_t *nccl)
{
    tulle_status_t st = TULLE_IN_PROGRESS;
    while ((st = tli_nccl_test(nccl)) == TULLE_IN_PROGRESS)
        sched_yield();
    return st;
}

tulle_status_t tli_nccl_move(tli_nccl_t *nccl, const tli_nccl_message_t *messages, int num_messages, void *stream)
{
    tulle_status_t st = TULLE_OK;
    int is_open = 0;
    TLI_REQUIRE(!nccl->is_aborted, TULLE_ERR_TRANSPORT, "this communicator of NCCL was given up");
    TRY_NCCL(nccl->comm, ncclGroupStart());
    is_open = 1;
    for (int i = 0; i < num_messages; i++) {
        const tli_nccl_message_t *m = &messages[i];
        if (m->is_send)
            TRY_NCCL(nccl->comm, ncclSend(m->address, (size_t)m->bytes, ncclInt8, m->peer, nccl->comm, stream));
        else
            TRY_NCCL(nccl->comm, ncclRecv(m->address, (size_t)m->bytes, ncclInt8, m->peer, nccl->comm, stream));
    }
    is_open = 0;
    TRY_NCCL(nccl->comm, ncclGroupEnd());
done:
    if (is_open)
        library.ncclGroupEnd(); /* groups nest: one that is left open would swallow all calls to come */
    return st;
}

tulle_status_t tli_nccl_register(tli_nccl_t *nccl, void *memory, int64_t bytes, void **handle_out)
{
    tulle_status_t st = TULLE_OK;
    *handle_out = NULL;
    if (library.ncclCommRegister != NULL && library.ncclCommDeregister != NULL) {
        TRY_NCCL(nccl->comm, ncclCommRegister(nccl->comm, memory, (size_t)bytes, handle_out));
        TLI_TRY(tli_nccl_settle(nccl));
    }
done:
    return st;
}

void tli_nccl_deregister(tli_nccl_t *nccl, void *handle)
{
    if (handle != NULL && !nccl->is_aborted)
        library.ncclCommDeregister(nccl->comm, handle);
}

void tli_nccl_abort(tli_nccl_t *nccl)
{
    if (!nccl->is_aborted)
        library.ncclCommAbort(nccl->comm);
    nccl->is_aborted = 1;
}

/* Others may have given up, and then never come. */
static tulle_status_t settle_in_time(tli_nccl_t *nccl, time_t seconds)
{
    tulle_status_t st = TULLE_IN_PROGRESS;
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t end = now.tv_sec + seconds;
    while ((st = tli_nccl_test(nccl)) == TULLE_IN_PROGRESS && now.tv_sec < end) {
        sched_yield();
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
    return st;
}

void tli_nccl_close(tli_nccl_t *nccl)
{
    if (nccl == NULL)
        return;
    if (!nccl->is_aborted) {
        library.ncclCommFinalize(nccl->comm);
        if (settle_in_time(nccl, SECONDS_TO_CLOSE) == TULLE_OK)
            library.ncclCommDestroy(nccl->comm);
        else
            library.ncclCommAbort(nccl->comm);
    }
    tli_free(nccl);
}
