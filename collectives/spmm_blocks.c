/* SPDX-License-Identifier: Apache-2.0
 * The blocks of a distributed sparse matrix: built from triples, transposed, cut into parts that arrive together. */
#include <string.h>

#include "collectives/plan.h"
#include "collectives/spmm_device.h"
#include "src/fault.h"
#include "topology/model.h"

/* Parts of the gathered rows: more let multiplication begin earlier, and read and write rows of C more often. */
#define MOST_PARTS 8

tulle_status_t tli_triples_alloc(tli_arena_t *arena, int64_t most, tli_triples_t *triples_out)
{
    tulle_status_t st = TULLE_OK;
    tli_triples_t triples = {0, NULL, NULL, NULL};
    TLI_TRY(tli_arena_alloc_raw(arena, most, sizeof *triples.row, &triples.row));
    TLI_TRY(tli_arena_alloc_raw(arena, most, sizeof *triples.col, &triples.col));
    TLI_TRY(tli_arena_alloc_raw(arena, most, sizeof *triples.entry, &triples.entry));
    *triples_out = triples;
done:
    return st;
}

tulle_status_t tli_sparse_build(tli_arena_t *arena, int64_t num_rows, int64_t num_cols, const tli_triples_t *triples,
                                tli_sparse_t *block_out)
{
    tulle_status_t st = TULLE_OK;
    tli_sparse_t block = {.num_rows = num_rows, .num_cols = num_cols};
    TLI_TRY(tli_arena_alloc(arena, num_rows + 2, sizeof *block.row_ptr, &block.row_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, triples->num, sizeof *block.col, &block.col));
    TLI_TRY(tli_arena_alloc_raw(arena, triples->num, sizeof *block.entry, &block.entry));
    /* Counted one place too far, row_ptr[row + 1] is where the next triple of a row goes, and in the end its end. */
    for (int64_t t = 0; t < triples->num; t++)
        block.row_ptr[triples->row[t] + 2]++;
    for (int64_t row = 0; row < num_rows; row++)
        block.row_ptr[row + 2] += block.row_ptr[row + 1];
    for (int64_t t = 0; t < triples->num; t++) {
        int64_t at = block.row_ptr[triples->row[t] + 1]++;
        block.col[at] = triples->col[t];
        block.entry[at] = triples->entry[t];
    }
    *block_out = block;
done:
    return st;
}

static int64_t num_nonzeros(const tli_sparse_t *block)
{
    return block->row_ptr != NULL ? block->row_ptr[block->num_rows] : 0;
}

tulle_status_t tli_spmm_drop_empty_rows(tli_arena_t *arena, tli_sparse_t *block)
{
    tulle_status_t st = TULLE_OK;
    int64_t n = 0;
    TLI_TRY(tli_arena_alloc_raw(arena, block->num_rows, sizeof *block->row, &block->row));
    for (int64_t i = 0; i < block->num_rows; i++) {
        if (block->row_ptr[i + 1] > block->row_ptr[i]) {
            block->row[n++] = (int32_t)i;
            block->row_ptr[n] = block->row_ptr[i + 1];
        }
    }
    block->num_rows = n;
done:
    return st;
}

static tulle_status_t list_triples(tli_arena_t *arena, const tli_sparse_t *block, int is_transposed,
                                   const int32_t *order, tli_triples_t *triples_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_triples_alloc(arena, num_nonzeros(block), triples_out));
    for (int64_t i = 0; i < block->num_rows; i++) {
        for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++) {
            int64_t row = is_transposed ? block->col[e] : i;
            tli_triples_add(triples_out, order != NULL ? order[row] : row, is_transposed ? i : block->col[e],
                            block->entry[e]);
        }
    }
done:
    return st;
}

/* The block as a way wants it: transposed or not, of its own memory. @param[in] order place of each row; NULL: as it is
 */
static tulle_status_t orient(tli_arena_t *arena, const tli_sparse_t *block, int is_transposed, const int32_t *order,
                             tli_sparse_t *block_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_triples_t triples;
    int64_t num_rows = is_transposed ? block->num_cols : block->num_rows;
    int64_t num_cols = is_transposed ? block->num_rows : block->num_cols;
    TLI_TRY(list_triples(&scratch, block, is_transposed, order, &triples));
    TLI_TRY(tli_sparse_build(arena, num_rows, num_cols, &triples, block_out));
done:
    tli_arena_release(&scratch);
    return st;
}

/* --- parts ------------------------------------------------------------------------------------------------------- */

typedef struct cut {
    const tulle_plan_t *plan;
    int64_t *order;      /* [num_in] messages: those of my node, which come soonest, then the others */
    int64_t *nonzeros;   /* [num_in] that wait for the message */
    int64_t *message_of; /* [ghosts] */
    int64_t *part_of;    /* [num_in] */
    tli_arena_t arena;   /* scratch */
} cut_t;

static tulle_status_t count_waiting(cut_t *c, const tli_sparse_t *block)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = c->plan;
    int64_t *position = NULL, num_ghosts = 0;
    TLI_TRY(tli_plan_slot_positions(plan, &c->arena, &position, &num_ghosts));
    TLI_TRY(tli_arena_alloc_raw(&c->arena, num_ghosts, sizeof *c->message_of, &c->message_of));
    TLI_TRY(tli_arena_alloc(&c->arena, plan->num_in, sizeof *c->nonzeros, &c->nonzeros));
    for (int64_t k = 0; k < plan->num_in; k++)
        for (int64_t slot = plan->in_ptr[k]; slot < plan->in_ptr[k + 1]; slot++)
            if (position[slot] >= 0)
                c->message_of[position[slot]] = k;
    for (int64_t e = 0; e < num_nonzeros(block); e++)
        c->nonzeros[c->message_of[block->col[e]]]++;
done:
    return st;
}

static tulle_status_t order_messages(cut_t *c)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = c->plan;
    const int *node_of = plan->comm->topology->levels[0].group_of;
    int64_t n = 0;
    TLI_TRY(tli_arena_alloc_raw(&c->arena, plan->num_in, sizeof *c->order, &c->order));
    for (int is_far = 0; is_far <= 1; is_far++)
        for (int64_t k = 0; k < plan->num_in; k++)
            if ((node_of[plan->in_peer[k]] != node_of[plan->comm->rank]) == is_far)
                c->order[n++] = k;
done:
    return st;
}

/* Messages in order, cut where a part has its share of the nonzeros. */
static tulle_status_t assign_parts(cut_t *c, int64_t total, tli_arena_t *arena, tli_spmm_way_t *way)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_in = c->plan->num_in, share = total / MOST_PARTS + 1, in_part = 0;
    int64_t *messages = NULL;
    TLI_TRY(tli_arena_alloc(arena, MOST_PARTS + 1, sizeof *way->parts, &way->parts));
    TLI_TRY(tli_arena_alloc_raw(arena, num_in, sizeof *messages, &messages));
    TLI_TRY(tli_arena_alloc_raw(&c->arena, num_in, sizeof *c->part_of, &c->part_of));
    for (int64_t i = 0; i < num_in; i++) {
        if (i == 0 || in_part >= share) {
            way->parts[way->num_parts++].messages = messages + i;
            in_part = 0;
        }
        messages[i] = c->order[i];
        c->part_of[c->order[i]] = way->num_parts - 1;
        way->parts[way->num_parts - 1].num_messages++;
        in_part += c->nonzeros[c->order[i]];
    }
done:
    return st;
}

static tulle_status_t fill_part(cut_t *c, const tli_sparse_t *block, int part, tli_arena_t *arena, tli_sparse_t *out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_triples_t triples;
    TLI_TRY(tli_triples_alloc(&scratch, num_nonzeros(block), &triples));
    for (int64_t i = 0; i < block->num_rows; i++)
        for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++)
            if (c->part_of[c->message_of[block->col[e]]] == part)
                tli_triples_add(&triples, i, block->col[e], block->entry[e]);
    TLI_TRY(tli_sparse_build(arena, block->num_rows, block->num_cols, &triples, out));
    TLI_TRY(tli_spmm_drop_empty_rows(arena, out));
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t cut_into_parts(const tli_sparse_t *block, tli_arena_t *arena, tli_spmm_way_t *way)
{
    tulle_status_t st = TULLE_OK;
    cut_t c = {.plan = way->gather};
    way->num_parts = 0;
    if (way->gather == NULL || way->gather->num_in == 0)
        goto done;
    TLI_TRY(count_waiting(&c, block));
    TLI_TRY(order_messages(&c));
    TLI_TRY(assign_parts(&c, num_nonzeros(block), arena, way));
    for (int part = 0; part < way->num_parts; part++)
        TLI_TRY(fill_part(&c, block, part, arena, &way->parts[part].block));
done:
    tli_arena_release(&c.arena);
    return st;
}

/* --- ways -------------------------------------------------------------------------------------------------------- */

/* Rows of C that others send partial sums for: those that the plan, run forwards, would send out. */
static tulle_status_t list_landings(tli_arena_t *arena, tli_spmm_way_t *way)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = way->scatter;
    unsigned char *is_sent = NULL;
    way->num_landings = 0;
    if (plan == NULL)
        goto done;
    TLI_TRY(tli_arena_alloc(arena, way->num_c, 1, &is_sent));
    for (int64_t i = 0; i < plan->out_ptr[plan->num_out]; i++) {
        int64_t row = plan->out_source[i];
        way->num_landings += TLI_IS_OWNED(row) && !is_sent[row];
        if (TLI_IS_OWNED(row))
            is_sent[row] = 1;
    }
    TLI_TRY(tli_arena_alloc_raw(arena, way->num_landings, sizeof *way->landings, &way->landings));
    for (int64_t row = 0, n = 0; row < way->num_c; row++)
        if (is_sent[row])
            way->landings[n++] = row;
done:
    return st;
}

static void fill_way(const tulle_spmm_t *spmm, tli_spmm_way_t *way)
{
    int is_transposed = way == &spmm->transposed;
    tli_sparse_fill(&way->own, spmm->values, spmm->type);
    tli_sparse_fill(&way->partial, is_transposed ? spmm->values : spmm->moved.values, spmm->type);
    for (int part = 0; part < way->num_parts; part++)
        tli_sparse_fill(&way->parts[part].block, is_transposed ? spmm->moved.values : spmm->values, spmm->type);
}

void tli_spmm_fill(tulle_spmm_t *spmm)
{
    if (spmm->forward.is_ready)
        fill_way(spmm, &spmm->forward);
    if (spmm->transposed.is_ready)
        fill_way(spmm, &spmm->transposed);
}

/* What a block of a way has besides its nonzeros. */
static tulle_status_t finish_block(tulle_spmm_t *spmm, tli_sparse_t *block)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc_raw(&spmm->arena, num_nonzeros(block), tulle_datatype_size(tli_sum_type(spmm->type)),
                                &block->values));
    if (!tli_spmm_is_on_device(spmm))
        TLI_TRY(tli_sparse_list_fresh(&spmm->arena, block));
done:
    return st;
}

tulle_status_t tli_spmm_prepare(tulle_spmm_t *spmm, tli_spmm_way_t *way)
{
    tulle_status_t st = TULLE_OK;
    int is_transposed = way == &spmm->transposed;
    tli_row_order_t order = {NULL, NULL, NULL};
    tli_sparse_t arriving;
    way->gather = is_transposed ? spmm->scatter : spmm->gather;
    way->scatter = is_transposed ? spmm->gather : spmm->scatter;
    way->num_b = is_transposed ? spmm->num_rows : spmm->num_cols;
    way->num_c = is_transposed ? spmm->num_cols : spmm->num_rows;
    TLI_TRY(orient(&spmm->arena, is_transposed ? &spmm->ghost : &spmm->foreign, is_transposed, NULL, &way->partial));
    TLI_TRY(orient(&spmm->arena, is_transposed ? &spmm->foreign : &spmm->ghost, is_transposed, NULL, &arriving));
    TLI_TRY(cut_into_parts(&arriving, &spmm->arena, way));
    TLI_TRY(list_landings(&spmm->arena, way));
    if (tli_sum_type(spmm->type) != spmm->type)
        TLI_TRY(tli_spmm_separate_sums(&spmm->arena, way, &order));
    TLI_TRY(orient(&spmm->arena, &spmm->own, is_transposed, order.place, &way->own));
    way->own.row = order.row;
    way->own.sum_row = order.sum_row;
    TLI_TRY(finish_block(spmm, &way->own));
    TLI_TRY(finish_block(spmm, &way->partial));
    for (int part = 0; part < way->num_parts; part++)
        TLI_TRY(finish_block(spmm, &way->parts[part].block));
    fill_way(spmm, way);
    if (tli_spmm_is_on_device(spmm))
        TLI_TRY(tli_spmm_device_prepare(spmm, way));
    way->is_ready = 1;
done:
    return st;
}
