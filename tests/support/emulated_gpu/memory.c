/* SPDX-License-Identifier: Apache-2.0
 * Memory of the emulated GPU: device memory is a file without a name, that another process maps by way of /proc. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/arena.h"
#include "src/device/device.h"
#include "src/device/peer_memory.h"
#include "src/fault.h"
#include "src/transport/carrier.h"
#ifdef TULLE_HAVE_UCX
#include "src/transport/ucx_worker.h"
#endif
#include "tests/support/emulated_gpu/emulated_gpu.h"
#include "tests/support/gpu.h"

#define MAX_REGIONS 4096
#define PAGE        4096

typedef enum kind { FREE, DEVICE, PINNED, MANAGED, REGISTERED, IMPORTED } kind_t;

typedef struct region {
    kind_t kind;
    unsigned char *base;
    size_t bytes;
    int file;          /* of device memory */
    uint64_t identity; /* never used again by this process */
    int64_t owner;     /* process, of imported memory */
    void *token;       /* of the library's allocator, so that tests can let allocations here fail, too */
} region_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static region_t regions[MAX_REGIONS];
static uint64_t last_identity;
static int my_gpu, is_alone;

void emulated_gpu_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "emulated GPU: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    abort();
}

/* --- regions: the lock is held ----------------------------------------------------------------------------------- */

static region_t *find(const void *address)
{
    const unsigned char *at = address;
    for (int i = 0; i < MAX_REGIONS; i++)
        if (regions[i].kind != FREE && at >= regions[i].base && at < regions[i].base + regions[i].bytes)
            return &regions[i];
    return NULL;
}

static region_t *add(kind_t kind, void *base, size_t bytes)
{
    int i = 0;
    while (i < MAX_REGIONS && regions[i].kind != FREE)
        i++;
    if (i == MAX_REGIONS)
        emulated_gpu_die("more than %d regions of memory: something is not freed", MAX_REGIONS);
    regions[i] = (region_t){kind, base, bytes, -1, ++last_identity, 0, NULL};
    return &regions[i];
}

static region_t *find_start(const void *base, kind_t kind, const char *what)
{
    region_t *region = find(base);
    if (region == NULL || region->base != base || region->kind != kind)
        emulated_gpu_die("%s: nothing of this kind begins at %p", what, base);
    return region;
}

int emulated_gpu_reaches(const void *address)
{
    pthread_mutex_lock(&lock);
    int reaches = find(address) != NULL;
    pthread_mutex_unlock(&lock);
    return reaches;
}

static void *map_file(int file, size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return base == MAP_FAILED ? NULL : base;
}

/* --- device.h ---------------------------------------------------------------------------------------------------- */

int tli_device_is_built(void)
{
    return 1;
}

static void *map_new_file(size_t bytes, int *file_out)
{
    int file = memfd_create("emulated gpu", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, (off_t)bytes) != 0)
        emulated_gpu_die("no memory file of %zu bytes", bytes);
    *file_out = file;
    return map_file(file, bytes);
}

/* Rows of ours begin where no page does, as allocations of CUDA begin inside of larger blocks. */
tulle_status_t tli_device_alloc(tulle_space_t space, size_t bytes, void **memory_out)
{
    static const kind_t kinds[] = {
        [TULLE_SPACE_PINNED] = PINNED, [TULLE_SPACE_DEVICE] = DEVICE, [TULLE_SPACE_MANAGED] = MANAGED};
    size_t whole = (bytes + PAGE - 1) / PAGE * PAGE;
    int file = -1;
    void *token = NULL;
    tulle_status_t st = tli_alloc(1, &token);
    if (st != TULLE_OK)
        return st;
    void *base = space == TULLE_SPACE_DEVICE ? map_new_file(whole, &file) : aligned_alloc(PAGE, whole);
    if (base == NULL)
        emulated_gpu_die("no %zu bytes", bytes);
    pthread_mutex_lock(&lock);
    region_t *region = add(kinds[space], base, whole);
    region->file = file;
    region->token = token;
    pthread_mutex_unlock(&lock);
    *memory_out = base;
    return TULLE_OK;
}

void tli_device_free(tulle_space_t space, void *memory)
{
    pthread_mutex_lock(&lock);
    region_t *region = find(memory);
    if (region == NULL || region->base != memory || region->kind == IMPORTED || region->kind == REGISTERED)
        emulated_gpu_die("free of %p, which was not allocated", memory);
    region_t freed = *region;
    region->kind = FREE;
    pthread_mutex_unlock(&lock);
    (void)space;
    tli_free(freed.token);
    if (freed.kind != DEVICE) {
        free(memory);
    } else {
        munmap(memory, freed.bytes);
        close(freed.file);
    }
}

tulle_status_t tli_device_space_of(const void *pointer, tulle_space_t *space_out)
{
    static const tulle_space_t spaces[] = {
        [FREE] = TULLE_SPACE_HOST,       [DEVICE] = TULLE_SPACE_DEVICE,     [PINNED] = TULLE_SPACE_PINNED,
        [MANAGED] = TULLE_SPACE_MANAGED, [REGISTERED] = TULLE_SPACE_PINNED, [IMPORTED] = TULLE_SPACE_DEVICE};
    pthread_mutex_lock(&lock);
    const region_t *region = find(pointer);
    *space_out = region != NULL ? spaces[region->kind] : TULLE_SPACE_HOST;
    pthread_mutex_unlock(&lock);
    return TULLE_OK;
}

tulle_status_t tli_device_current(int *device_out)
{
    *device_out = 0;
    return TULLE_OK;
}

tulle_status_t tli_device_of(const void *pointer, int *device_out)
{
    (void)pointer;
    *device_out = 0;
    return TULLE_OK;
}

tulle_status_t tli_device_enter(int device, int *previous_out)
{
    *previous_out = device;
    return TULLE_OK;
}

void tli_device_leave(int device, int previous)
{
    (void)device, (void)previous;
}

tulle_status_t tli_device_gpu(int device, tli_gpu_t *gpu_out)
{
    (void)device;
    memset(gpu_out, 0, sizeof *gpu_out);
    gpu_out->pci = TLI_PCI(0, my_gpu, 0);
    gpu_out->pad = is_alone;
    return TULLE_OK;
}

tulle_status_t tli_device_reaches(int device, const tli_gpu_t *gpu, int *reaches_out)
{
    tli_gpu_t mine;
    tli_device_gpu(device, &mine);
    *reaches_out = mine.pci == gpu->pci || (!is_alone && !gpu->pad);
    return TULLE_OK;
}

/* Discovery finds no GPU here: topologies of tests are as on any machine. */
void tli_device_identify(tli_gpu_t *gpu_out)
{
    memset(gpu_out, 0, sizeof *gpu_out);
    gpu_out->pci = -1;
}

int tli_device_peer_access(int64_t pci)
{
    (void)pci;
    return -1;
}

void spt_gpu_move_to(int gpu, int is_isolated)
{
    my_gpu = gpu;
    is_alone = is_isolated;
}

/* --- peer_memory.h ----------------------------------------------------------------------------------------------- */

typedef struct handle {
    int64_t process;
    int32_t file;
    uint64_t identity;
    uint64_t bytes;
} handle_t;

_Static_assert(sizeof(handle_t) <= TLI_IPC_BYTES, "fits");

tulle_status_t tli_ipc_export(const void *memory, unsigned char ipc[TLI_IPC_BYTES], int64_t *offset_out)
{
    pthread_mutex_lock(&lock);
    const region_t *found = find(memory);
    region_t region = found != NULL ? *found : (region_t){.kind = FREE};
    pthread_mutex_unlock(&lock);
    if (region.kind != DEVICE)
        return tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE, "%p is not device memory", memory);
    handle_t handle = {(int64_t)getpid(), region.file, region.identity, region.bytes};
    memcpy(ipc, &handle, sizeof handle);
    *offset_out = (const unsigned char *)memory - region.base;
    return TULLE_OK;
}

/* As drivers do: an allocation is open once at a time, and never where it comes from. */
tulle_status_t tli_ipc_open(const unsigned char ipc[TLI_IPC_BYTES], void **base_out)
{
    handle_t handle;
    char path[64];
    memcpy(&handle, ipc, sizeof handle);
    if (handle.process == (int64_t)getpid())
        emulated_gpu_die("a handle is opened in the process that made it");
    snprintf(path, sizeof path, "/proc/%lld/fd/%d", (long long)handle.process, (int)handle.file);
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *base = file >= 0 ? map_file(file, handle.bytes) : NULL;
    if (file >= 0)
        close(file);
    if (base == NULL)
        return tli_fail(TULLE_ERR_TRANSPORT, 0, TLI_WHERE, "%s cannot be mapped", path);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_REGIONS; i++)
        if (regions[i].kind == IMPORTED && regions[i].owner == handle.process && regions[i].identity == handle.identity)
            emulated_gpu_die("an allocation of process %lld is opened twice", (long long)handle.process);
    region_t *region = add(IMPORTED, base, handle.bytes);
    region->owner = handle.process;
    region->identity = handle.identity;
    pthread_mutex_unlock(&lock);
    *base_out = base;
    return TULLE_OK;
}

void tli_ipc_close(void *base)
{
    pthread_mutex_lock(&lock);
    region_t *region = find_start(base, IMPORTED, "close of an import");
    size_t bytes = region->bytes;
    region->kind = FREE;
    pthread_mutex_unlock(&lock);
    munmap(base, bytes);
}

tulle_status_t tli_host_register(void *memory, size_t bytes)
{
    if ((uintptr_t)memory % PAGE != 0)
        emulated_gpu_die("registered memory at %p does not begin with a page", memory);
    pthread_mutex_lock(&lock);
    if (find(memory) != NULL)
        emulated_gpu_die("%p is registered already", memory);
    add(REGISTERED, memory, bytes);
    pthread_mutex_unlock(&lock);
    return TULLE_OK;
}

void tli_host_unregister(void *memory)
{
    pthread_mutex_lock(&lock);
    find_start(memory, REGISTERED, "unregister")->kind = FREE;
    pthread_mutex_unlock(&lock);
}

/* Messages of NCCL are emulated as between hosts. */
void spt_gpu_be_a_host(int rank)
{
    (void)rank;
}

/* --- carrier.h ---------------------------------------------------------------------------------------------------- */

/* Device memory here is plain memory to MPI, and to UCX. */
int tli_mpi_takes_device_memory(void)
{
    return 1;
}

#ifdef TULLE_HAVE_UCX
ucs_memory_type_t tli_ucx_device_memory(ucp_context_h context)
{
    (void)context;
    return UCS_MEMORY_TYPE_HOST;
}
#endif
