/* SPDX-License-Identifier: Apache-2.0
 * What the two ends of each message tell each other when an exchange on GPUs is bound: in which stage it travels, where
 * its rows go, which flags speak of it. Messages of one peer and stage share a flag. */
#include <string.h>

#include "collectives/device.h"
#include "src/agree.h"

/* --- talk along the wires ---------------------------------------------------------------------------------------- */

/* Each wire carries num_words words, from its sender to its receiver or back. Ends of the same peer are numbered alike
 * on both sides, and MPI keeps the order of what goes between two ranks, so calls need no tags of their own. */
static tulle_status_t talk(const tulle_exchange_t *x, int is_forward, int first_tag, int num_words, int64_t *told,
                           int64_t *heard)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    const tli_steps_t *steps = &x->steps;
    const tli_end_t *to = is_forward ? steps->send_ends : steps->receive_ends;
    const tli_end_t *from = is_forward ? steps->receive_ends : steps->send_ends;
    int64_t num_to = is_forward ? steps->num_sends : steps->num_receives;
    int64_t num_from = is_forward ? steps->num_receives : steps->num_sends;
    MPI_Comm comm = x->plan->comm->mpi;
    MPI_Request *requests = NULL;
    TLI_TRY(tli_agree(comm, tli_arena_alloc(&scratch, num_to + num_from, sizeof *requests, &requests)));
    for (int64_t w = 0; w < num_from; w++)
        TLI_MPI(MPI_Irecv(heard + w * num_words, num_words, MPI_INT64_T, (int)from[w].peer, first_tag + from[w].tag,
                          comm, &requests[w]));
    for (int64_t w = 0; w < num_to; w++)
        TLI_MPI(MPI_Isend(told + w * num_words, num_words, MPI_INT64_T, (int)to[w].peer, first_tag + to[w].tag, comm,
                          &requests[num_from + w]));
    TLI_MPI(MPI_Waitall((int)(num_to + num_from), requests, MPI_STATUSES_IGNORE));
done:
    tli_arena_release(&scratch);
    return st;
}

/* --- stages ------------------------------------------------------------------------------------------------------ */

static void place_tasks(const tli_steps_t *steps, tli_wiring_t *wiring)
{
    for (int64_t w = 0; w < steps->num_receives; w++)
        for (int64_t i = steps->waiter_ptr[w]; i < steps->waiter_ptr[w + 1]; i++) {
            int64_t *stage = &wiring->stage_of_task[steps->waiters[i]];
            *stage = wiring->arrival[w] > *stage ? wiring->arrival[w] : *stage;
        }
    for (int64_t t = 0; t < steps->num_tasks; t++)
        for (int64_t i = 0; i < steps->tasks[t].num_sends; i++)
            wiring->departure[steps->sends[steps->tasks[t].first_send + i]] = wiring->stage_of_task[t];
}

static int take_arrivals(const tli_steps_t *steps, const int64_t *departed, tli_wiring_t *wiring)
{
    int has_changed = 0;
    for (int64_t w = 0; w < steps->num_receives; w++) {
        has_changed |= wiring->arrival[w] != departed[w] + 1;
        wiring->arrival[w] = departed[w] + 1;
    }
    return has_changed;
}

static tulle_status_t alloc_wiring(const tli_steps_t *steps, tli_arena_t *arena, tli_wiring_t *wiring)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc(arena, steps->num_tasks, sizeof(int64_t), &wiring->stage_of_task));
    TLI_TRY(tli_arena_alloc(arena, steps->num_receives, sizeof(int64_t), &wiring->arrival));
    TLI_TRY(tli_arena_alloc(arena, steps->num_sends, sizeof(int64_t), &wiring->departure));
    TLI_TRY(tli_arena_alloc(arena, steps->num_receives, sizeof(uint32_t *), &wiring->arrived));
    TLI_TRY(tli_arena_alloc(arena, steps->num_receives, sizeof(uint32_t *), &wiring->tell_ready));
    TLI_TRY(tli_arena_alloc(arena, steps->num_sends, sizeof(uint32_t *), &wiring->tell_arrived));
    TLI_TRY(tli_arena_alloc(arena, steps->num_sends, sizeof(uint32_t *), &wiring->ready));
done:
    return st;
}

/* A path of n messages settles after n rounds; paths are as long as the machine has levels, or twice that. */
tulle_status_t tli_wiring_find_stages(const tulle_exchange_t *x, int first_tag, tli_arena_t *arena,
                                      tli_wiring_t *wiring)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_t *steps = &x->steps;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t *departed = NULL, num_stages = 1;
    int has_changed = 1;
    st = alloc_wiring(steps, arena, wiring);
    if (st == TULLE_OK)
        st = tli_arena_alloc(&scratch, steps->num_receives, sizeof *departed, &departed);
    TLI_TRY(tli_agree(x->plan->comm->mpi, st));
    while (has_changed) {
        place_tasks(steps, wiring);
        TLI_TRY(talk(x, 1, first_tag, 1, wiring->departure, departed));
        has_changed = take_arrivals(steps, departed, wiring);
        TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &has_changed, 1, MPI_INT, MPI_MAX, x->plan->comm->mpi));
    }
    for (int64_t t = 0; t < steps->num_tasks; t++)
        num_stages = wiring->stage_of_task[t] >= num_stages ? wiring->stage_of_task[t] + 1 : num_stages;
    wiring->num_stages = num_stages;
done:
    tli_arena_release(&scratch);
    return st;
}

/* --- flags and slots --------------------------------------------------------------------------------------------- */

/* Earlier wire of the same peer, and of the same stage where stages count, which has a flag already; -1: none. Wires of
 * a peer follow each other. */
static int64_t sharing_wire(const tli_end_t *ends, int64_t w, const int64_t *stages)
{
    int64_t earlier = w - 1;
    while (earlier >= 0 && ends[earlier].peer == ends[w].peer && stages != NULL && stages[earlier] != stages[w])
        earlier--;
    return earlier >= 0 && ends[earlier].peer == ends[w].peer ? earlier : -1;
}

/* Offset of each wire's flag from the front of its region; more are added behind the given bytes. */
static void number_flags(const tli_end_t *ends, int64_t n, const int64_t *stages, int64_t bytes[TLI_NUM_REGIONS],
                         int64_t *offsets, int64_t offset_step)
{
    for (int64_t w = 0; w < n; w++) {
        if (tli_is_carried(&ends[w]))
            continue;
        int64_t shared = sharing_wire(ends, w, stages);
        int64_t *end = &bytes[tli_region_of(&ends[w])];
        int64_t offset = shared >= 0 && offsets != NULL ? offsets[shared * offset_step] : *end;
        if (shared < 0)
            *end += TLI_FLAG_BYTES;
        if (offsets != NULL)
            offsets[w * offset_step] = offset;
    }
}

void tli_wiring_count_flags(const tulle_exchange_t *x, const tli_wiring_t *wiring, int64_t bytes_out[TLI_NUM_REGIONS])
{
    const tli_steps_t *steps = &x->steps;
    memset(bytes_out, 0, TLI_NUM_REGIONS * sizeof *bytes_out);
    number_flags(steps->receive_ends, steps->num_receives, wiring->arrival, bytes_out, NULL, 0);
    number_flags(steps->send_ends, steps->num_sends, NULL, bytes_out, NULL, 0);
}

/* What a receiver tells of a wire, and a sender. */
enum { SLOT_REGION, SLOT_OFFSET, SLOT_ROWS, ARRIVED_OFFSET, NUM_RECEIVER_WORDS };

static void describe_slots(const tulle_exchange_t *x, const int64_t *offset_of_area, int64_t *words)
{
    const tli_steps_t *steps = &x->steps;
    for (int64_t w = 0; w < steps->num_receives; w++) {
        const tli_end_t *end = &steps->receive_ends[w];
        int64_t *told = words + w * NUM_RECEIVER_WORDS;
        if (tli_is_carried(end))
            continue;
        int is_in_place = end->area == TLI_AREA_GHOST;
        told[SLOT_REGION] = is_in_place ? TLI_REGION_ROWS : (int64_t)tli_region_of(end);
        told[SLOT_OFFSET] =
            is_in_place ? end->first_row * x->areas[TLI_AREA_GHOST].stride_bytes : offset_of_area[end->area];
        told[SLOT_ROWS] = steps->areas[end->area].rows;
    }
}

static uint32_t *flag_at(const tli_device_exchange_t *device, int rank, const tli_end_t *end, int64_t offset)
{
    return (uint32_t *)(tli_gpu_memory_address(&device->memory, rank, tli_region_of(end)) + offset);
}

static void take_receivers_word(tulle_exchange_t *x, const int64_t *words, tli_wiring_t *wiring)
{
    const tli_steps_t *steps = &x->steps;
    for (int64_t w = 0; w < steps->num_sends; w++) {
        const tli_end_t *end = &steps->send_ends[w];
        const int64_t *heard = words + w * NUM_RECEIVER_WORDS;
        if (tli_is_carried(end))
            continue;
        unsigned char *region =
            tli_gpu_memory_address(&x->device->memory, (int)end->peer, (tli_region_t)heard[SLOT_REGION]);
        tli_area_place(x, end->area, region + heard[SLOT_OFFSET], heard[SLOT_ROWS]);
        wiring->tell_arrived[w] = flag_at(x->device, (int)end->peer, end, heard[ARRIVED_OFFSET]);
    }
}

tulle_status_t tli_wiring_connect(tulle_exchange_t *x, int first_tag, const int64_t *offset_of_area,
                                  tli_wiring_t *wiring)
{
    tulle_status_t st = TULLE_OK;
    const tli_steps_t *steps = &x->steps;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t *receivers_told = NULL, *receivers_heard = NULL, *senders_told = NULL, *senders_heard = NULL;
    int64_t bytes[TLI_NUM_REGIONS] = {0};
    int me = x->plan->comm->rank;
    st = tli_arena_alloc(&scratch, steps->num_receives, NUM_RECEIVER_WORDS * sizeof(int64_t), &receivers_told);
    if (st == TULLE_OK)
        st = tli_arena_alloc(&scratch, steps->num_sends, NUM_RECEIVER_WORDS * sizeof(int64_t), &receivers_heard);
    if (st == TULLE_OK)
        st = tli_arena_alloc(&scratch, steps->num_sends, sizeof(int64_t), &senders_told);
    if (st == TULLE_OK)
        st = tli_arena_alloc(&scratch, steps->num_receives, sizeof(int64_t), &senders_heard);
    TLI_TRY(tli_agree(x->plan->comm->mpi, st));
    describe_slots(x, offset_of_area, receivers_told);
    number_flags(steps->receive_ends, steps->num_receives, wiring->arrival, bytes, receivers_told + ARRIVED_OFFSET,
                 NUM_RECEIVER_WORDS);
    number_flags(steps->send_ends, steps->num_sends, NULL, bytes, senders_told, 1);
    TLI_TRY(talk(x, 0, first_tag, NUM_RECEIVER_WORDS, receivers_told, receivers_heard));
    TLI_TRY(talk(x, 1, first_tag, 1, senders_told, senders_heard));
    take_receivers_word(x, receivers_heard, wiring);
    for (int64_t w = 0; w < steps->num_receives; w++) {
        const tli_end_t *end = &steps->receive_ends[w];
        if (tli_is_carried(end))
            continue;
        wiring->arrived[w] = flag_at(x->device, me, end, receivers_told[w * NUM_RECEIVER_WORDS + ARRIVED_OFFSET]);
        wiring->tell_ready[w] = flag_at(x->device, (int)end->peer, end, senders_heard[w]);
    }
    for (int64_t w = 0; w < steps->num_sends; w++)
        if (!tli_is_carried(&steps->send_ends[w]))
            wiring->ready[w] = flag_at(x->device, me, &steps->send_ends[w], senders_told[w]);
done:
    tli_arena_release(&scratch);
    return st;
}
