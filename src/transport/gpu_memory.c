/* SPDX-License-Identifier: Apache-2.0
 * Device regions travel as CUDA IPC handles. Pinned regions are one shared window of the machine, that every rank
 * registers its partners' parts of with its own GPU. */
#include "src/transport/gpu_memory.h"

#include <sched.h>
#include <string.h>

#include "src/agree.h"
#include "src/device/device.h"

#define PAGE 4096 /* GPUs are told of whole pages */

/* What a rank tells all others of its machine. */
typedef struct offer {
    tli_memory_handle_t handles[TLI_NUM_REGIONS];
    int64_t pinned_bytes;
    int32_t has[TLI_NUM_REGIONS];
} offer_t;

static int64_t whole_pages(int64_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static unsigned char **address_of(const tli_gpu_memory_t *memory, int position, tli_region_t region)
{
    return &memory->addresses[position * TLI_NUM_REGIONS + (int)region];
}

/* --- this rank's regions ----------------------------------------------------------------------------------------- */

static tulle_status_t zero_device(void *memory, int64_t bytes)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    void *zeros = NULL;
    TLI_TRY(tli_arena_alloc(&scratch, bytes, 1, &zeros));
    TLI_TRY(tli_device_copy(memory, zeros, (size_t)bytes, NULL));
    TLI_TRY(tli_device_synchronize(NULL));
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t make_device_region(tli_gpu_memory_t *memory, const tli_gpu_memory_wish_t *wish, offer_t *offer)
{
    tulle_status_t st = TULLE_OK;
    int64_t bytes = wish->bytes[TLI_REGION_DEVICE];
    if (bytes > 0) {
        TLI_TRY(tli_device_alloc(TULLE_SPACE_DEVICE, (size_t)bytes, &memory->device_memory));
        TLI_TRY(zero_device(memory->device_memory, wish->zero_bytes[TLI_REGION_DEVICE]));
        TLI_TRY(tli_memory_export(memory->device_memory, &offer->handles[TLI_REGION_DEVICE]));
        offer->has[TLI_REGION_DEVICE] = 1;
    }
    if (wish->rows != NULL) {
        TLI_TRY(tli_memory_export(wish->rows, &offer->handles[TLI_REGION_ROWS]));
        offer->has[TLI_REGION_ROWS] = 1;
    }
    *address_of(memory, memory->peers->me, TLI_REGION_DEVICE) = memory->device_memory;
    offer->pinned_bytes = wish->bytes[TLI_REGION_PINNED];
done:
    return st;
}

static tulle_status_t alloc_lists(tli_gpu_memory_t *memory, tli_arena_t *scratch, offer_t **offers_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t n = memory->peers->num_ranks;
    TLI_TRY(tli_arena_alloc(&memory->arena, n * TLI_NUM_REGIONS, sizeof *memory->addresses, &memory->addresses));
    TLI_TRY(tli_arena_alloc(&memory->arena, n * TLI_NUM_REGIONS, sizeof *memory->mappings, &memory->mappings));
    TLI_TRY(tli_arena_alloc(&memory->arena, n, sizeof *memory->registered, &memory->registered));
    TLI_TRY(tli_arena_alloc(&memory->arena, 2, sizeof *memory->parting, &memory->parting));
    TLI_TRY(tli_arena_alloc(scratch, n, sizeof **offers_out, offers_out));
done:
    return st;
}

/* --- those of the partners --------------------------------------------------------------------------------------- */

static tulle_status_t import_regions(tli_gpu_memory_t *memory, const tli_gpu_memory_wish_t *wish, const offer_t *offers)
{
    tulle_status_t st = TULLE_OK;
    for (int r = 0; r < memory->peers->num_ranks; r++) {
        int is_wanted = r != memory->peers->me && wish->is_partner[r] && memory->peers->reach[r] == TLI_REACH_DEVICE;
        for (int region = 0; region < TLI_NUM_REGIONS && is_wanted; region++) {
            void *address = NULL;
            if (offers[r].has[region])
                TLI_TRY(tli_memory_import(&offers[r].handles[region], &memory->mappings[r * TLI_NUM_REGIONS + region],
                                          &address));
            *address_of(memory, r, (tli_region_t)region) = address;
        }
    }
done:
    return st;
}

static tulle_status_t share_pinned(tli_gpu_memory_t *memory, int64_t bytes)
{
    tulle_status_t st = TULLE_OK;
    MPI_Info info = MPI_INFO_NULL;
    MPI_Aint size = (MPI_Aint)(bytes > 0 ? whole_pages(bytes) + PAGE : 0);
    TLI_MPI(MPI_Info_create(&info));
    TLI_MPI(MPI_Info_set(info, "alloc_shared_noncontig", "true"));
    TLI_MPI(MPI_Win_allocate_shared(size, 1, info, memory->peers->host, &memory->pinned_memory, &memory->window));
    TLI_MPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, memory->window));
done:
    if (info != MPI_INFO_NULL)
        MPI_Info_free(&info);
    return st;
}

static tulle_status_t register_pinned(tli_gpu_memory_t *memory, const tli_gpu_memory_wish_t *wish,
                                      const offer_t *offers)
{
    tulle_status_t st = TULLE_OK;
    for (int r = 0; r < memory->peers->num_ranks; r++) {
        int is_wanted = r == memory->peers->me || (wish->is_partner[r] && memory->peers->reach[r] == TLI_REACH_PINNED);
        unsigned char *part = NULL;
        MPI_Aint size = 0;
        int unit = 0;
        if (!is_wanted || offers[r].pinned_bytes == 0)
            continue;
        TLI_MPI(MPI_Win_shared_query(memory->window, r, &size, &unit, &part));
        part += (PAGE - (uintptr_t)part % PAGE) % PAGE;
        TLI_TRY(tli_host_register(part, (size_t)whole_pages(offers[r].pinned_bytes)));
        memory->registered[r] = *address_of(memory, r, TLI_REGION_PINNED) = part;
    }
    if (memory->registered[memory->peers->me] != NULL)
        memset(memory->registered[memory->peers->me], 0, (size_t)wish->zero_bytes[TLI_REGION_PINNED]);
done:
    return st;
}

static tulle_status_t open_pinned(tli_gpu_memory_t *memory, const tli_gpu_memory_wish_t *wish, const offer_t *offers)
{
    tulle_status_t st = TULLE_OK;
    int64_t most = 0;
    for (int r = 0; r < memory->peers->num_ranks; r++)
        most = offers[r].pinned_bytes > most ? offers[r].pinned_bytes : most;
    if (most > 0) {
        TLI_TRY(share_pinned(memory, wish->bytes[TLI_REGION_PINNED]));
        TLI_TRY(register_pinned(memory, wish, offers));
    }
done:
    return st;
}

tulle_status_t tli_gpu_memory_open(tulle_comm_t *comm, tulle_status_t local, const tli_gpu_peers_t *peers,
                                   const tli_gpu_memory_wish_t *wish, tli_gpu_memory_t *memory)
{
    tulle_status_t st = local;
    tli_arena_t scratch = TLI_ARENA_INIT;
    offer_t *offers = NULL, offer = {0};
    memory->comm = comm;
    memory->peers = peers;
    memory->window = MPI_WIN_NULL;
    if (st == TULLE_OK)
        st = alloc_lists(memory, &scratch, &offers);
    if (st == TULLE_OK)
        st = make_device_region(memory, wish, &offer);
    TLI_TRY(tli_agree(comm->mpi, st));
    memory->is_open = 1;
    TLI_MPI(MPI_Allgather(&offer, sizeof offer, MPI_BYTE, offers, sizeof offer, MPI_BYTE, peers->host));
    /* Every rank of the machine sees the same offers, so that all share a window or none does. */
    st = open_pinned(memory, wish, offers);
    if (st == TULLE_OK)
        st = import_regions(memory, wish, offers);
    st = tli_agree(comm->mpi, st); /* also a barrier: all is zeroed and mapped before anybody stores */
done:
    tli_arena_release(&scratch);
    return st;
}

unsigned char *tli_gpu_memory_address(const tli_gpu_memory_t *memory, int rank, tli_region_t region)
{
    int position = tli_gpu_peers_position(memory->peers, rank);
    return position >= 0 ? *address_of(memory, position, region) : NULL;
}

/* All ranks of the machine are here, within the limit. Who does not wait takes part all the same: MPI matches
 * collective calls by their order, and would take a later one for this. */
static int meet(const tli_gpu_memory_t *memory, int is_alone, int64_t limit_ms)
{
    MPI_Request request = MPI_REQUEST_NULL;
    double began = MPI_Wtime();
    int *parting = memory->parting, is_so = 0, is_late = 0;
    parting[0] = is_alone;
    is_late =
        MPI_Iallreduce(&parting[0], &parting[1], 1, MPI_INT, MPI_MAX, memory->peers->host, &request) != MPI_SUCCESS;
    while (!is_so && !is_late) {
        is_late = MPI_Test(&request, &is_so, MPI_STATUS_IGNORE) != MPI_SUCCESS || is_alone ||
                  (limit_ms > 0 && (MPI_Wtime() - began) * 1e3 > (double)limit_ms);
        sched_yield();
    }
    memory->comm->num_faults += !is_so || parting[1];
    return is_so;
}

/* Twice: one rank may have given up the first meeting, as another was late to it, who then finds everybody there. But
 * not the second one: nobody comes to that who gave up the first. */
static int is_everybody_here(const tli_gpu_memory_t *memory, int is_alone, int64_t limit_ms)
{
    return meet(memory, is_alone, limit_ms) && (limit_ms == 0 || memory->parting[1] || meet(memory, 0, limit_ms));
}

/* Freeing it waits for all ranks, of which some do not come where any has seen a fault. */
static void free_window(tli_gpu_memory_t *memory)
{
    if (memory->window != MPI_WIN_NULL && !memory->parting[1]) {
        MPI_Win_unlock_all(memory->window);
        MPI_Win_free(&memory->window);
    }
}

static void unmap(const tli_gpu_memory_t *memory)
{
    for (int i = 0; memory->mappings != NULL && i < memory->peers->num_ranks * TLI_NUM_REGIONS; i++)
        tli_memory_release(memory->mappings[i]);
    for (int r = 0; memory->registered != NULL && r < memory->peers->num_ranks; r++)
        if (memory->registered[r] != NULL)
            tli_host_unregister(memory->registered[r]);
}

void tli_gpu_memory_close(tli_gpu_memory_t *memory, int is_alone, int64_t limit_ms)
{
    int is_open = memory->is_open;
    unmap(memory);
    if (!is_open || is_everybody_here(memory, is_alone || memory->comm->num_faults > 0, limit_ms)) {
        if (is_open)
            free_window(memory);
        if (memory->device_memory != NULL) /* nobody has it mapped any more */
            tli_device_free(TULLE_SPACE_DEVICE, memory->device_memory);
        tli_arena_release(&memory->arena);
    } else {
        tli_arena_keep(&memory->arena); /* MPI writes to it still */
    }
    *memory = (tli_gpu_memory_t){.window = MPI_WIN_NULL};
}
