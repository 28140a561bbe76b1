/* SPDX-License-Identifier: Apache-2.0
 * NCCL of the emulated GPU: messages go from process to process through mailboxes in a memory file, one for each
 * ordered pair of ranks, and a group is over when all its messages are, in whatever order they move. Communicators take
 * time to make, groups of one run in the order in which they were given, and what NCCL forbids or Tulle promises not to
 * do ends the test. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "src/arena.h"
#include "src/device/stream.h"
#include "src/fault.h"
#include "src/transport/nccl.h"
#include "tests/support/emulated_gpu/emulated_gpu.h"

#define MOST_RANKS    16
#define MOST_MESSAGES (2 * MOST_RANKS)
#define BOX_BYTES     16384
#define MOST_NAPS     500

typedef struct box {
    _Atomic uint32_t is_full;
    int64_t message_bytes, bytes;
    unsigned char rows[BOX_BYTES];
} box_t;

typedef struct post {
    _Atomic int num_open, num_closed;
    box_t boxes[MOST_RANKS][MOST_RANKS]; /* [from][to] */
} post_t;

typedef struct nccl_id {
    int64_t process;
    int32_t file;
} nccl_id_t;

struct tli_nccl {
    post_t *post;
    int num_ranks, rank, own_file;
    int64_t num_given; /* groups, captured ones not counted */
    _Atomic int64_t num_run;
    _Atomic int is_aborted;
};

static int own_file = -1; /* of the last id: closed when its communicator is */

int tli_nccl_is_there(void)
{
    return 1;
}

tulle_status_t tli_nccl_make_id(unsigned char bytes[TLI_NCCL_ID_BYTES])
{
    nccl_id_t id = {(int64_t)getpid(), memfd_create("emulated nccl", MFD_CLOEXEC)};
    if (id.file < 0 || ftruncate(id.file, sizeof(post_t)) != 0)
        emulated_gpu_die("no memory file for messages");
    own_file = id.file;
    memcpy(bytes, &id, sizeof id);
    return TULLE_OK;
}

tulle_status_t tli_nccl_open(int num_ranks, int rank, const unsigned char bytes[TLI_NCCL_ID_BYTES],
                             tli_nccl_t **nccl_out)
{
    tli_nccl_t *nccl = NULL;
    char path[64];
    nccl_id_t id;
    tulle_status_t st = tli_alloc(sizeof *nccl, &nccl);
    if (st != TULLE_OK)
        return st;
    memcpy(&id, bytes, sizeof id);
    snprintf(path, sizeof path, "/proc/%lld/fd/%d", (long long)id.process, (int)id.file);
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *post = file >= 0 ? mmap(NULL, sizeof(post_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
    if (num_ranks > MOST_RANKS || post == MAP_FAILED)
        emulated_gpu_die("no messages for %d ranks by way of %s", num_ranks, path);
    close(file);
    nccl->post = post;
    nccl->num_ranks = num_ranks;
    nccl->rank = rank;
    nccl->own_file = rank == 0 ? own_file : -1;
    atomic_fetch_add(&nccl->post->num_open, 1);
    *nccl_out = nccl;
    return TULLE_OK;
}

tulle_status_t tli_nccl_test(tli_nccl_t *nccl)
{
    if (atomic_load(&nccl->is_aborted))
        return tli_fail(TULLE_ERR_TRANSPORT, 0, TLI_WHERE, "this communicator of NCCL was given up");
    return atomic_load(&nccl->post->num_open) < nccl->num_ranks ? TULLE_IN_PROGRESS : TULLE_OK;
}

tulle_status_t tli_nccl_settle(tli_nccl_t *nccl)
{
    return tli_nccl_test(nccl);
}

/* --- groups ------------------------------------------------------------------------------------------------------- */

typedef struct group {
    tli_nccl_t *nccl;
    int64_t number; /* -1: captured */
    int num_messages;
    tli_nccl_message_t messages[MOST_MESSAGES];
} group_t;

static int64_t send_some(const tli_nccl_message_t *m, int64_t done, box_t *box)
{
    int64_t bytes = m->bytes - done < BOX_BYTES ? m->bytes - done : BOX_BYTES;
    if (atomic_load_explicit(&box->is_full, memory_order_acquire))
        return 0;
    memcpy(box->rows, m->address + done, (size_t)bytes);
    box->message_bytes = m->bytes;
    box->bytes = bytes;
    atomic_store_explicit(&box->is_full, 1, memory_order_release);
    return bytes;
}

static int64_t receive_some(const tli_nccl_message_t *m, int64_t done, box_t *box)
{
    if (!atomic_load_explicit(&box->is_full, memory_order_acquire))
        return 0;
    int64_t bytes = box->bytes;
    if (box->message_bytes != m->bytes)
        emulated_gpu_die("a message of %lld bytes is received as one of %lld", (long long)box->message_bytes,
                         (long long)m->bytes);
    memcpy(m->address + done, box->rows, (size_t)bytes);
    atomic_store_explicit(&box->is_full, 0, memory_order_release);
    return bytes;
}

static void run_group(const void *args)
{
    const group_t *group = args;
    tli_nccl_t *nccl = group->nccl;
    int64_t done[MOST_MESSAGES] = {0};
    int num_left = group->num_messages;
    while (group->number >= 0 && atomic_load(&nccl->num_run) < group->number && !atomic_load(&nccl->is_aborted))
        sched_yield();
    while (num_left > 0 && !atomic_load(&nccl->is_aborted)) {
        int64_t moved = 0;
        num_left = 0;
        for (int i = 0; i < group->num_messages; i++) {
            const tli_nccl_message_t *m = &group->messages[i];
            int64_t bytes = 0;
            if (done[i] < m->bytes)
                bytes = m->is_send ? send_some(m, done[i], &nccl->post->boxes[nccl->rank][m->peer])
                                   : receive_some(m, done[i], &nccl->post->boxes[m->peer][nccl->rank]);
            done[i] += bytes;
            moved += bytes;
            num_left += done[i] < m->bytes;
        }
        if (moved == 0)
            sched_yield();
    }
    if (group->number >= 0)
        atomic_fetch_add(&nccl->num_run, 1);
}

static void check(const tli_nccl_t *nccl, const tli_nccl_message_t *messages, int i)
{
    const tli_nccl_message_t *m = &messages[i];
    if (m->bytes < 1)
        emulated_gpu_die("a message of %lld bytes", (long long)m->bytes);
    if (m->peer < 0 || m->peer >= nccl->num_ranks || m->peer == nccl->rank)
        emulated_gpu_die("a message from rank %d to rank %d", nccl->rank, m->peer);
    if (!emulated_gpu_reaches(m->address))
        emulated_gpu_die("a message is at %p, which the device does not reach", (void *)m->address);
    for (int k = 0; k < i; k++)
        if (messages[k].peer == m->peer && messages[k].is_send == m->is_send)
            emulated_gpu_die("two messages between ranks %d and %d in one group", nccl->rank, m->peer);
}

tulle_status_t tli_nccl_move(tli_nccl_t *nccl, const tli_nccl_message_t *messages, int num_messages, void *stream)
{
    tulle_status_t st = TULLE_OK;
    group_t group = {.nccl = nccl, .num_messages = num_messages};
    int is_capturing = 0;
    TLI_TRY(tli_nccl_test(nccl));
    TLI_TRY(tli_stream_is_capturing(stream, &is_capturing));
    for (int i = 0; i < num_messages; i++) {
        check(nccl, messages, i);
        group.messages[i] = messages[i];
    }
    group.number = is_capturing ? -1 : nccl->num_given++;
    emulated_gpu_enqueue(stream, run_group, &group, sizeof group);
done:
    return st;
}

tulle_status_t tli_nccl_register(tli_nccl_t *nccl, void *memory, int64_t bytes, void **handle_out)
{
    (void)nccl;
    if (bytes < 1 || !emulated_gpu_reaches(memory))
        emulated_gpu_die("%lld bytes at %p are registered", (long long)bytes, memory);
    return tli_alloc(1, handle_out);
}

void tli_nccl_deregister(tli_nccl_t *nccl, void *handle)
{
    (void)nccl;
    tli_free(handle);
}

void tli_nccl_abort(tli_nccl_t *nccl)
{
    atomic_store(&nccl->is_aborted, 1);
}

/* As ncclCommFinalize(), for all ranks at once; those that gave up may never come, and are waited for a while. */
void tli_nccl_close(tli_nccl_t *nccl)
{
    const struct timespec nap = {0, 1000000};
    if (nccl == NULL)
        return;
    atomic_fetch_add(&nccl->post->num_closed, 1);
    for (int i = 0; i < MOST_NAPS && atomic_load(&nccl->post->num_closed) < nccl->num_ranks; i++)
        nanosleep(&nap, NULL);
    munmap(nccl->post, sizeof(post_t));
    if (nccl->own_file >= 0)
        close(nccl->own_file);
    tli_free(nccl);
}
