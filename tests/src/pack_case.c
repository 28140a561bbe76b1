/* SPDX-License-Identifier: Apache-2.0
 * Random arguments: rows with gaps, shuffled targets, repeated sources, none to four entries per target. */
#include "pack_case.h"

#include <string.h>

#include "pack_oracle.h"

#define NUM_AREAS   3
#define MAX_ENTRIES 4

const tulle_datatype_t pack_datatypes[] = {
#define DATATYPE_ENTRY(name, value, size, text) TULLE_##name,
    TULLE_DATATYPE_MAP(DATATYPE_ENTRY)
#undef DATATYPE_ENTRY
};
const tulle_op_t pack_ops[] = {
#define OP_ENTRY(name, value, text) TULLE_OP_##name,
    TULLE_OP_MAP(OP_ENTRY)
#undef OP_ENTRY
};

/* Room in the block. What it returns is in the image; home() says where that will be. */
static void *take(pack_block_t *block, int64_t bytes, int64_t misalignment)
{
    unsigned char *memory = block->image + block->used_bytes + misalignment;
    block->used_bytes += ((size_t)(bytes + misalignment) + 255) / 256 * 256;
    assert_true(block->used_bytes <= PACK_CASE_BYTES);
    return memory;
}

static void *home(const pack_block_t *block, const void *image)
{
    return block->base + ((const unsigned char *)image - block->image);
}

static int64_t scalar_bytes(const pack_case_t *c)
{
    return (int64_t)tulle_datatype_size(c->datatype);
}

/* Gaps hold arbitrary values, too. Base is in the image. */
static tli_rows_t new_rows(const pack_case_t *c, spt_random_t *random, pack_block_t *block)
{
    int64_t size = scalar_bytes(c), num_scalars = 2 * c->num_rows * (c->width + c->gap);
    tli_rows_t rows = {take(block, num_scalars * size, c->misalignment), (c->width + c->gap) * size};
    for (int64_t i = 0; i < num_scalars; i++)
        pack_oracle_random(random, c->datatype, rows.base + i * size);
    return rows;
}

static pack_written_t all_of(const pack_case_t *c, const tli_rows_t *rows)
{
    return (pack_written_t){rows->base, (size_t)(2 * c->num_rows * rows->stride_bytes)};
}

static int64_t *new_shuffled(spt_random_t *random, pack_block_t *block, int64_t n)
{
    int64_t *values = take(block, n * (int64_t)sizeof *values, 0);
    for (int64_t i = 0; i < n; i++) {
        int64_t j = spt_below(random, i + 1);
        values[i] = values[j];
        values[j] = i;
    }
    return values;
}

static int64_t *new_drawn(spt_random_t *random, pack_block_t *block, int64_t n, int64_t bound)
{
    int64_t *values = take(block, n * (int64_t)sizeof *values, 0);
    for (int64_t i = 0; i < n; i++)
        values[i] = spt_below(random, bound);
    return values;
}

pack_written_t pack_case_copy(const pack_case_t *c, pack_block_t *block, tli_copy_args_t *args)
{
    spt_random_t random = {c->seed};
    tli_rows_t target = new_rows(c, &random, block), source = new_rows(c, &random, block);
    int64_t *target_index = new_shuffled(&random, block, 2 * c->num_rows);
    int64_t *source_index = new_drawn(&random, block, c->num_rows, 2 * c->num_rows);
    *args = (tli_copy_args_t){.target = {home(block, target.base), target.stride_bytes},
                              .source = {home(block, source.base), source.stride_bytes},
                              .target_index = c->is_indexed & 1 ? home(block, target_index) : NULL,
                              .source_index = c->is_indexed & 2 ? home(block, source_index) : NULL,
                              .num_rows = c->num_rows,
                              .row_bytes = c->width * scalar_bytes(c)};
    return all_of(c, &target);
}

pack_written_t pack_case_reduce(const pack_case_t *c, pack_block_t *block, tli_reduce_args_t *args,
                                int64_t *alignment_out)
{
    spt_random_t random = {c->seed};
    tli_rows_t target = new_rows(c, &random, block);
    tli_rows_t *areas = take(block, NUM_AREAS * (int64_t)sizeof *areas, 0);
    for (int i = 0; i < NUM_AREAS; i++) {
        areas[i] = new_rows(c, &random, block);
        areas[i].base = home(block, areas[i].base);
    }
    int64_t *target_index = new_shuffled(&random, block, 2 * c->num_rows);
    int64_t *entry_ptr = take(block, (c->num_rows + 1) * (int64_t)sizeof *entry_ptr, 0);
    int64_t least = c->keeps_target ? 0 : 1;
    entry_ptr[0] = 0;
    for (int64_t t = 0; t < c->num_rows; t++)
        entry_ptr[t + 1] = entry_ptr[t] + least + spt_below(&random, MAX_ENTRIES + 1 - least);
    int64_t *entry_area = new_drawn(&random, block, entry_ptr[c->num_rows], NUM_AREAS);
    int64_t *entry_row = new_drawn(&random, block, entry_ptr[c->num_rows], 2 * c->num_rows);
    *alignment_out = tli_areas_alignment(areas, NUM_AREAS);
    *args = (tli_reduce_args_t){.target = {home(block, target.base), target.stride_bytes},
                                .target_index = c->is_indexed ? home(block, target_index) : NULL,
                                .num_rows = c->num_rows,
                                .keeps_target = c->keeps_target,
                                .entry_ptr = home(block, entry_ptr),
                                .entry_area = home(block, entry_area),
                                .entry_row = home(block, entry_row),
                                .areas = home(block, areas),
                                .datatype = c->datatype,
                                .op = c->op,
                                .width = c->width};
    return all_of(c, &target);
}

void pack_case_push(const pack_case_t *c, pack_block_t *block, tli_push_segment_t **segments, tli_push_args_t *args,
                    pack_written_t *written)
{
    *segments = take(block, PACK_CASE_PEERS * (int64_t)sizeof **segments, 0);
    memset(*segments, 0, PACK_CASE_PEERS * sizeof **segments);
    for (int64_t peer = 0; peer < PACK_CASE_PEERS; peer++) {
        pack_case_t part = *c;
        part.seed += (uint64_t)peer;
        part.width += 7 * peer;
        part.num_rows = peer == 2 ? 0 : 1 + c->num_rows * peer / PACK_CASE_PEERS;
        part.is_indexed = (int)peer;
        written[peer] = pack_case_copy(&part, block, &(*segments)[peer].rows);
    }
    *args = tli_push_prepare(*segments, PACK_CASE_PEERS);
    args->segments = home(block, *segments);
}
