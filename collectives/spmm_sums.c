/* SPDX-License-Identifier: Apache-2.0
 * Rows of C in f16 and bf16, each rounded once: what own columns alone add to is rounded when it is computed; the
 * others are kept as sums, in f32, until the last of their parts is there. */
#include <string.h>

#include "collectives/spmm.h"
#include "src/fault.h"

/* Which sum each row is; -1: none. */
static tulle_status_t find_sums(tli_arena_t *arena, tli_spmm_way_t *way, int32_t *sum_of)
{
    tulle_status_t st = TULLE_OK;
    memset(sum_of, 0xff, (size_t)way->num_c * sizeof *sum_of);
    for (int p = 0; p < way->num_parts; p++)
        for (int64_t i = 0; i < way->parts[p].block.num_rows; i++)
            sum_of[way->parts[p].block.row[i]] = 0;
    for (int64_t i = 0; i < way->num_landings; i++)
        sum_of[way->landings[i]] = 0;
    for (int64_t row = 0; row < way->num_c; row++)
        if (sum_of[row] == 0)
            sum_of[row] = (int32_t)way->num_sums++;
    TLI_TRY(tli_arena_alloc_raw(arena, way->num_sums, sizeof *way->sum_rows, &way->sum_rows));
    for (int64_t row = 0; row < way->num_c; row++)
        if (sum_of[row] >= 0)
            way->sum_rows[sum_of[row]] = (int32_t)row;
done:
    return st;
}

static tulle_status_t order_rows(tli_arena_t *arena, tli_spmm_way_t *way, const int32_t *sum_of, tli_row_order_t *order)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc_raw(arena, way->num_c, sizeof *order->place, &order->place));
    TLI_TRY(tli_arena_alloc_raw(arena, way->num_c, sizeof *order->row, &order->row));
    TLI_TRY(tli_arena_alloc_raw(arena, way->num_c, sizeof *order->sum_row, &order->sum_row));
    way->num_whole = 0;
    for (int64_t row = 0; row < way->num_c; row++) {
        int is_whole = sum_of[row] < 0;
        order->place[row] = (int32_t)(is_whole ? way->num_whole : way->num_c - way->num_sums + sum_of[row]);
        order->row[order->place[row]] = (int32_t)row;
        order->sum_row[order->place[row]] = sum_of[row];
        way->num_whole += is_whole;
    }
done:
    return st;
}

static tulle_status_t point_at_sums(tli_arena_t *arena, tli_spmm_way_t *way, const int32_t *sum_of)
{
    tulle_status_t st = TULLE_OK;
    for (int p = 0; p < way->num_parts; p++) {
        tli_sparse_t *block = &way->parts[p].block;
        TLI_TRY(tli_arena_alloc_raw(arena, block->num_rows, sizeof *block->sum_row, &block->sum_row));
        for (int64_t i = 0; i < block->num_rows; i++)
            block->sum_row[i] = sum_of[block->row[i]];
    }
    TLI_TRY(tli_arena_alloc_raw(arena, way->num_landings, sizeof *way->landing_sums, &way->landing_sums));
    for (int64_t i = 0; i < way->num_landings; i++)
        way->landing_sums[i] = sum_of[way->landings[i]];
done:
    return st;
}

tulle_status_t tli_spmm_separate_sums(tli_arena_t *arena, tli_spmm_way_t *way, tli_row_order_t *order_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int32_t *sum_of = NULL;
    way->num_sums = 0;
    TLI_TRY(tli_arena_alloc_raw(&scratch, way->num_c + 1, sizeof *sum_of, &sum_of));
    TLI_TRY(find_sums(arena, way, sum_of));
    TLI_TRY(order_rows(arena, way, sum_of, order_out));
    TLI_TRY(point_at_sums(arena, way, sum_of));
done:
    tli_arena_release(&scratch);
    return st;
}
