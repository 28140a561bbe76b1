/* SPDX-License-Identifier: Apache-2.0
 * Imports of device memory, counted: opening an allocation that is open already is an error of some drivers, closing it
 * twice of all. The list is the process's, as the mappings are; it is short, and used while binding only. */
#include "src/device/peer_memory.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/arena.h"
#include "src/fault.h"

struct tli_mapping {
    tli_mapping_t *next;
    unsigned char ipc[TLI_IPC_BYTES];
    uint64_t process;
    unsigned char *base;
    int64_t num_users;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tli_mapping_t *mappings;

/* Process ids repeat from container to container. */
static uint64_t this_process(void)
{
    struct stat container = {0};
    (void)stat("/proc/self/ns/pid", &container);
    return (uint64_t)container.st_ino << 32 | (uint64_t)getpid();
}

static tulle_status_t open_mapping(const tli_memory_handle_t *handle, tli_mapping_t **mapping_out)
{
    tulle_status_t st = TULLE_OK;
    tli_mapping_t *mapping = NULL;
    void *base = NULL;
    TLI_TRY(tli_alloc(sizeof *mapping, &mapping));
    TLI_TRY(tli_ipc_open(handle->ipc, &base));
    memcpy(mapping->ipc, handle->ipc, TLI_IPC_BYTES);
    mapping->process = handle->process;
    mapping->base = base;
    mapping->next = mappings;
    mappings = *mapping_out = mapping;
    mapping = NULL;
done:
    tli_free(mapping);
    return st;
}

static void close_mapping(tli_mapping_t *mapping)
{
    tli_mapping_t **link = &mappings;
    while (*link != mapping)
        link = &(*link)->next;
    *link = mapping->next;
    tli_ipc_close(mapping->base);
    tli_free(mapping);
}

tulle_status_t tli_memory_export(const void *memory, tli_memory_handle_t *handle_out)
{
    tli_memory_handle_t handle = {.process = this_process(), .address = (void *)memory};
    tulle_status_t st = tli_ipc_export(memory, handle.ipc, &handle.offset);
    if (st == TULLE_OK)
        *handle_out = handle;
    return st;
}

tulle_status_t tli_memory_import(const tli_memory_handle_t *handle, tli_mapping_t **mapping_out, void **address_out)
{
    tulle_status_t st = TULLE_OK;
    tli_mapping_t *mapping = NULL;
    if (handle->process == this_process()) {
        *mapping_out = NULL;
        *address_out = handle->address;
        return st;
    }
    pthread_mutex_lock(&lock);
    mapping = mappings;
    while (mapping != NULL &&
           (mapping->process != handle->process || memcmp(mapping->ipc, handle->ipc, TLI_IPC_BYTES) != 0))
        mapping = mapping->next;
    if (mapping == NULL)
        TLI_TRY(open_mapping(handle, &mapping));
    mapping->num_users++;
    *mapping_out = mapping;
    *address_out = mapping->base + handle->offset;
done:
    pthread_mutex_unlock(&lock);
    return st;
}

void tli_memory_release(tli_mapping_t *mapping)
{
    if (mapping == NULL)
        return;
    pthread_mutex_lock(&lock);
    if (--mapping->num_users == 0)
        close_mapping(mapping);
    pthread_mutex_unlock(&lock);
}
