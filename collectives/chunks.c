/* SPDX-License-Identifier: Apache-2.0
 * Where messages are cut. The rows of each fall into blocks, by their place in it. A chunk is a run of rows that are in
 * one block of their message and, where they are read from a message that came to the sender before, in one block of
 * that, too. Both ends know both places, so nobody needs to be told; and a chunk can go on as soon as one block came.
 */
#include "collectives/chunks.h"

#include <tulle/exchange.h>

#include "src/fault.h"
#include "topology/model.h"

#define LEAST_CHUNK_BYTES ((int64_t)64 << 10)
/* A chunk takes so many times as long as the latency that it costs. */
#define LEAST_LATENCIES  8.0
#define BLOCKS_OF_A_SIZE ((int64_t)64)

int64_t tli_chunk_rows(const tulle_topology_t *topology, size_t chunk_bytes, int64_t row_bytes)
{
    const tulle_link_t *link = &topology->levels[0].link;
    int is_automatic = chunk_bytes == TULLE_CHUNK_AUTOMATIC;
    double worth = LEAST_LATENCIES * link->latency_ns * 1e-9 * link->bytes_per_second;
    double bytes = worth > (double)LEAST_CHUNK_BYTES ? worth : (double)LEAST_CHUNK_BYTES;
    if (chunk_bytes == TULLE_CHUNK_NEVER || (is_automatic && topology->levels[0].num_groups < 2))
        return 0;
    if (!is_automatic)
        bytes = (double)chunk_bytes;
    double rows = bytes / (double)row_bytes;
    return rows > (double)(INT64_MAX / 2) ? 0 : rows < 1 ? 1 : (int64_t)rows;
}

/* As floating point numbers are laid out: so many of a size, then so many of twice the size. */
int64_t tli_block_of(int64_t row, int64_t chunk_rows)
{
    int64_t unit = row / chunk_rows + BLOCKS_OF_A_SIZE, group = 0;
    while (unit >> group >= 2 * BLOCKS_OF_A_SIZE)
        group++;
    return BLOCKS_OF_A_SIZE * group + (unit >> group) - BLOCKS_OF_A_SIZE;
}

int64_t tli_block_first(int64_t block, int64_t chunk_rows)
{
    int64_t group = block / BLOCKS_OF_A_SIZE;
    return (((block % BLOCKS_OF_A_SIZE + BLOCKS_OF_A_SIZE) << group) - BLOCKS_OF_A_SIZE) * chunk_rows;
}

typedef struct cut {
    const tulle_plan_t *plan;
    int64_t chunk_rows;
    tli_chunks_t chunks;
    int64_t *block_of_slot; /* [slots] of the message that fills it */
} cut_t;

static tulle_status_t find_blocks(cut_t *c, tli_arena_t *scratch)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = c->plan;
    TLI_TRY(tli_arena_alloc_raw(scratch, tli_plan_num_slots(plan), sizeof(int64_t), &c->block_of_slot));
    for (int64_t k = 0; k < plan->num_in; k++)
        for (int64_t slot = plan->in_ptr[k]; slot < plan->in_ptr[k + 1]; slot++)
            c->block_of_slot[slot] = tli_block_of(slot - plan->in_ptr[k], c->chunk_rows);
done:
    return st;
}

/* Of the sender's message that a slot is read from; the same for all slots of messages that are not. */
static int64_t source_block_in(const cut_t *c, int64_t k, int64_t slot)
{
    return c->plan->in_read[k] >= 0 ? tli_block_of(c->plan->slot_read[slot], c->chunk_rows) : 0;
}

/* The same at the sender. */
static int64_t source_block_out(const cut_t *c, int64_t m, int64_t i)
{
    const tulle_plan_t *plan = c->plan;
    int64_t source = plan->out_source[i];
    int is_inside = tli_topology_crossing(plan->comm->topology, plan->comm->rank, (int)plan->out_peer[m]) > 0;
    return is_inside && !TLI_IS_OWNED(source) ? c->block_of_slot[TLI_SLOT_OF(source)] : 0;
}

static int begins_chunk_in(const cut_t *c, int64_t k, int64_t slot)
{
    return slot == c->plan->in_ptr[k] || c->block_of_slot[slot] != c->block_of_slot[slot - 1] ||
           source_block_in(c, k, slot) != source_block_in(c, k, slot - 1);
}

static int begins_chunk_out(const cut_t *c, int64_t m, int64_t i)
{
    int64_t first = c->plan->out_ptr[m];
    return i == first || tli_block_of(i - first, c->chunk_rows) != tli_block_of(i - 1 - first, c->chunk_rows) ||
           source_block_out(c, m, i) != source_block_out(c, m, i - 1);
}

/* Chunks of each message, counted and then listed. */
static tulle_status_t cut_messages(const cut_t *c, int64_t num, const int64_t *ptr, const int64_t *peer,
                                   int (*begins)(const cut_t *c, int64_t message, int64_t row), tli_arena_t *arena,
                                   int64_t **chunk_ptr_out, int64_t **ptr_out, int64_t **peer_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t *chunk_ptr = NULL, *first = NULL, *peer_of = NULL, at = 0;
    TLI_TRY(tli_arena_alloc(arena, num + 1, sizeof *chunk_ptr, &chunk_ptr));
    for (int64_t m = 0; m < num; m++) {
        for (int64_t i = ptr[m]; i < ptr[m + 1]; i++)
            at += begins(c, m, i);
        chunk_ptr[m + 1] = at;
    }
    TLI_TRY(tli_arena_alloc_raw(arena, at + 1, sizeof *first, &first));
    TLI_TRY(tli_arena_alloc_raw(arena, at, sizeof *peer_of, &peer_of));
    first[at] = ptr[num];
    at = 0;
    for (int64_t m = 0; m < num; m++) {
        for (int64_t i = ptr[m]; i < ptr[m + 1]; i++) {
            if (begins(c, m, i)) {
                first[at] = i;
                peer_of[at++] = peer[m];
            }
        }
    }
    *chunk_ptr_out = chunk_ptr;
    *ptr_out = first;
    *peer_out = peer_of;
done:
    return st;
}

/* What readers must know of chunks that come in; rows of their sender's are counted from the first of their block. */
static tulle_status_t describe_arrivals(cut_t *c, tli_arena_t *arena)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *whole = c->plan;
    tulle_plan_t *plan = &c->chunks.plan;
    TLI_TRY(tli_arena_alloc_raw(arena, plan->num_in, sizeof(int64_t), &plan->in_read));
    TLI_TRY(tli_arena_alloc_raw(arena, plan->num_in, sizeof(int64_t), &c->chunks.in_block));
    TLI_TRY(tli_arena_alloc_raw(arena, tli_plan_num_slots(whole), sizeof(int64_t), &plan->slot_read));
    for (int64_t m = 0; m < whole->num_in; m++) {
        for (int64_t k = c->chunks.in_chunk_ptr[m]; k < c->chunks.in_chunk_ptr[m + 1]; k++) {
            int64_t first = plan->in_ptr[k];
            int begins_block = k == c->chunks.in_chunk_ptr[m] || c->block_of_slot[first] != c->block_of_slot[first - 1];
            c->chunks.in_block[k] = begins_block ? k : c->chunks.in_block[k - 1];
            plan->in_read[k] = whole->in_read[m];
            for (int64_t slot = first; slot < plan->in_ptr[k + 1]; slot++)
                plan->slot_read[slot] =
                    whole->slot_read[slot] - tli_block_first(source_block_in(c, m, slot), c->chunk_rows);
        }
    }
done:
    return st;
}

tulle_status_t tli_chunks_cut(const tulle_plan_t *whole, int64_t chunk_rows, tli_arena_t *arena,
                              tli_chunks_t *chunks_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    cut_t c = {.plan = whole, .chunk_rows = chunk_rows, .chunks.plan = *whole};
    tulle_plan_t *plan = &c.chunks.plan;
    TLI_TRY(find_blocks(&c, &scratch));
    TLI_TRY(cut_messages(&c, whole->num_in, whole->in_ptr, whole->in_peer, begins_chunk_in, arena,
                         &c.chunks.in_chunk_ptr, &plan->in_ptr, &plan->in_peer));
    TLI_TRY(cut_messages(&c, whole->num_out, whole->out_ptr, whole->out_peer, begins_chunk_out, arena,
                         &c.chunks.out_chunk_ptr, &plan->out_ptr, &plan->out_peer));
    plan->num_in = c.chunks.in_chunk_ptr[whole->num_in];
    plan->num_out = c.chunks.out_chunk_ptr[whole->num_out];
    TLI_TRY(describe_arrivals(&c, arena));
    *chunks_out = c.chunks;
done:
    tli_arena_release(&scratch);
    return st;
}
