/* SPDX-License-Identifier: Apache-2.0
 * The blocks of a distributed sparse matrix in device memory. A stream cannot look what has arrived: so the parts of
 * the gathered rows are one block here, and all rows of f16 and bf16 are kept as sums, which makes two passes less to
 * tell apart and costs them a pass over C. */
#include "collectives/spmm_device.h"

#include <string.h>

#include "src/device/device.h"
#include "src/device/stream.h"
#include "src/fault.h"

#define MOST_BLOCKS 64 /* parts of gathered rows */

/* --- what is there ------------------------------------------------------------------------------------------------ */

tulle_status_t tli_spmm_device_check_options(const tulle_spmm_options_t *options)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(options->space == TULLE_SPACE_HOST || options->space == TULLE_SPACE_DEVICE, TULLE_ERR_ARG,
                "options.space is %d: products are in host or device memory", (int)options->space);
    TLI_REQUIRE(options->library >= TULLE_SPMM_LIBRARY_AUTO && options->library <= TULLE_SPMM_LIBRARY_CUSPARSE,
                TULLE_ERR_ARG, "options.library is %d, none of TULLE_SPMM_LIBRARY_MAP", (int)options->library);
    TLI_REQUIRE(options->space == TULLE_SPACE_HOST || tli_device_is_built(), TULLE_ERR_UNSUPPORTED,
                "products in device memory need a build with CUDA (TULLE_ENABLE_CUDA)");
    TLI_REQUIRE(options->library != TULLE_SPMM_LIBRARY_CUSPARSE ||
                    (options->space == TULLE_SPACE_DEVICE && tli_cusparse_is_there()),
                TULLE_ERR_UNSUPPORTED,
                "cuSPARSE multiplies in device memory, in a build with it (TULLE_ENABLE_CUSPARSE) and where the "
                "library is installed");
done:
    return st;
}

tulle_status_t tli_spmm_device_check_rows(const tulle_spmm_t *spmm, const char *name, const void *rows)
{
    tulle_status_t st = TULLE_OK;
    tulle_space_t space = TULLE_SPACE_HOST;
    int device = -1;
    TLI_TRY(tulle_space_of(rows, &space));
    TLI_REQUIRE(space != TULLE_SPACE_HOST, TULLE_ERR_ARG,
                "%s is in plain host memory, but the matrix was created for rows in device memory", name);
    if (space == TULLE_SPACE_DEVICE)
        TLI_TRY(tli_device_of(rows, &device));
    TLI_REQUIRE(device < 0 || device == spmm->device->device, TULLE_ERR_ARG,
                "%s is on device %d, the matrix on device %d: that was the current one when it was created", name,
                device, spmm->device->device);
done:
    return st;
}

tulle_status_t tli_spmm_enter(const tulle_spmm_t *spmm, int *previous_out)
{
    return tli_spmm_is_on_device(spmm) ? tli_device_enter(spmm->device->device, previous_out) : TULLE_OK;
}

void tli_spmm_leave(const tulle_spmm_t *spmm, int previous)
{
    if (tli_spmm_is_on_device(spmm))
        tli_device_leave(spmm->device->device, previous);
}

static tulle_status_t copy(const tli_spmm_device_t *m, void *target, const void *source, size_t bytes)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_device_copy(target, source, bytes, m->stream));
    TLI_TRY(tli_device_synchronize(m->stream));
done:
    return st;
}

tulle_status_t tli_spmm_copy(const tulle_spmm_t *spmm, void *target, const void *source, size_t bytes)
{
    if (bytes > 0 && tli_spmm_is_on_device(spmm))
        return copy(spmm->device, target, source, bytes);
    if (bytes > 0)
        memcpy(target, source, bytes);
    return TULLE_OK;
}

/* --- uploads ------------------------------------------------------------------------------------------------------ */

/* Memory of the matrix, which goes when it does. */
static tulle_status_t reserve(tli_spmm_device_t *m, int64_t bytes, void *out)
{
    tulle_status_t st = TULLE_OK;
    void *memory = NULL;
    TLI_ASSERT(m->num_buffers < TLI_MOST_DEVICE_BUFFERS);
    TLI_TRY(tli_device_alloc(TULLE_SPACE_DEVICE, (size_t)bytes + 1, &memory));
    m->buffers[m->num_buffers++] = memory;
    memcpy(out, &memory, sizeof memory);
done:
    return st;
}

static tulle_status_t upload(tli_spmm_device_t *m, const void *list, int64_t n, size_t size, void *out)
{
    tulle_status_t st = TULLE_OK;
    void *there = NULL;
    TLI_TRY(reserve(m, n * (int64_t)size, &there));
    if (n > 0)
        TLI_TRY(copy(m, there, list, (size_t)n * size));
    memcpy(out, &there, sizeof there);
done:
    return st;
}

static tulle_status_t upload_values(tli_spmm_device_t *m, const tli_device_block_t *block, const void *values,
                                    size_t size)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    unsigned char *list = NULL;
    int64_t n = block->sparse.num_nonzeros;
    if (n == 0)
        return TULLE_OK;
    TLI_TRY(tli_arena_alloc_raw(&scratch, n, size, &list));
    for (int64_t e = 0; e < n; e++)
        memcpy(list + (size_t)e * size, (const unsigned char *)values + (size_t)block->entry[e] * size, size);
    TLI_TRY(copy(m, (void *)block->sparse.values, list, (size_t)n * size));
done:
    tli_arena_release(&scratch);
    return st;
}

/* --- blocks ------------------------------------------------------------------------------------------------------- */

static int64_t row_of(const tli_sparse_t *block, int64_t i)
{
    return block->row != NULL ? block->row[i] : i;
}

static void count_rows(const tli_sparse_t *const *blocks, int num_blocks, int64_t *row_ptr)
{
    for (int b = 0; b < num_blocks; b++)
        for (int64_t i = 0; i < blocks[b]->num_rows; i++)
            row_ptr[row_of(blocks[b], i) + 2] += blocks[b]->row_ptr[i + 1] - blocks[b]->row_ptr[i];
}

static void copy_row(const tli_sparse_t *block, int64_t i, tli_sparse_t *draft)
{
    int64_t *at = &draft->row_ptr[row_of(block, i) + 1];
    for (int64_t e = block->row_ptr[i]; e < block->row_ptr[i + 1]; e++, (*at)++) {
        draft->col[*at] = block->col[e];
        draft->entry[*at] = block->entry[e];
    }
}

/* Several blocks of the same rows as one, all rows listed, each with its nonzeros in the blocks' order. */
static tulle_status_t merge(const tli_sparse_t *const *blocks, int num_blocks, int64_t num_rows, tli_arena_t *scratch,
                            tli_sparse_t *draft)
{
    tulle_status_t st = TULLE_OK;
    int64_t n = 0;
    draft->num_rows = num_rows;
    for (int b = 0; b < num_blocks; b++) {
        n += blocks[b]->num_rows > 0 ? blocks[b]->row_ptr[blocks[b]->num_rows] : 0;
        draft->num_cols = blocks[b]->num_cols;
    }
    TLI_TRY(tli_arena_alloc(scratch, num_rows + 2, sizeof *draft->row_ptr, &draft->row_ptr));
    TLI_TRY(tli_arena_alloc_raw(scratch, n, sizeof *draft->col, &draft->col));
    TLI_TRY(tli_arena_alloc_raw(scratch, n, sizeof *draft->entry, &draft->entry));
    /* Counted one place too far, row_ptr[row + 1] is where the next nonzero of a row goes, and in the end its end. */
    count_rows(blocks, num_blocks, draft->row_ptr);
    for (int64_t row = 0; row < num_rows; row++)
        draft->row_ptr[row + 2] += draft->row_ptr[row + 1];
    for (int b = 0; b < num_blocks; b++)
        for (int64_t i = 0; i < blocks[b]->num_rows; i++)
            copy_row(blocks[b], i, draft);
done:
    return st;
}

/* cuSPARSE takes blocks of all rows whose nonzeros 32 bits can count. */
static tulle_status_t upload_short_offsets(tli_spmm_device_t *m, const tli_sparse_t *draft, tli_arena_t *scratch,
                                           tli_device_sparse_t *sparse)
{
    tulle_status_t st = TULLE_OK;
    int32_t *row_ptr = NULL;
    if (draft->row != NULL || sparse->num_nonzeros > INT32_MAX)
        return TULLE_OK;
    TLI_TRY(tli_arena_alloc_raw(scratch, draft->num_rows + 1, sizeof *row_ptr, &row_ptr));
    for (int64_t i = 0; i <= draft->num_rows; i++)
        row_ptr[i] = (int32_t)draft->row_ptr[i];
    TLI_TRY(upload(m, row_ptr, draft->num_rows + 1, sizeof *row_ptr, &sparse->row_ptr_32));
done:
    return st;
}

static tulle_status_t place(tulle_spmm_t *spmm, const tli_sparse_t *draft, tli_arena_t *scratch,
                            tli_device_block_t *block)
{
    tulle_status_t st = TULLE_OK;
    tli_spmm_device_t *m = spmm->device;
    tli_device_sparse_t *sparse = &block->sparse;
    int64_t n = draft->row_ptr[draft->num_rows], size = (int64_t)tulle_datatype_size(spmm->type);
    *sparse = (tli_device_sparse_t){.num_rows = draft->num_rows, .num_cols = draft->num_cols, .num_nonzeros = n};
    if (draft->row != NULL)
        TLI_TRY(upload(m, draft->row, draft->num_rows, sizeof *draft->row, &sparse->row));
    TLI_TRY(upload(m, draft->row_ptr, draft->num_rows + 1, sizeof *draft->row_ptr, &sparse->row_ptr));
    TLI_TRY(upload_short_offsets(m, draft, scratch, sparse));
    TLI_TRY(upload(m, draft->col, n, sizeof *draft->col, &sparse->col));
    TLI_TRY(reserve(m, n * size, &sparse->values));
    TLI_TRY(tli_arena_alloc_raw(&spmm->arena, n, sizeof *block->entry, &block->entry));
    if (n > 0)
        memcpy(block->entry, draft->entry, (size_t)n * sizeof *block->entry);
done:
    return st;
}

static tulle_status_t make_block(tulle_spmm_t *spmm, const tli_sparse_t *const *blocks, int num_blocks,
                                 int64_t num_rows, int lists_all, tli_device_block_t *block)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_sparse_t draft = {0};
    TLI_TRY(merge(blocks, num_blocks, num_rows, &scratch, &draft));
    if (!lists_all)
        TLI_TRY(tli_spmm_drop_empty_rows(&scratch, &draft));
    TLI_TRY(place(spmm, &draft, &scratch, block));
done:
    tli_arena_release(&scratch);
    return st;
}

/* @param[out] parts [MOST_BLOCKS] */
static void list_parts(const tli_spmm_way_t *way, const tli_sparse_t **parts)
{
    TLI_ASSERT(way->num_parts <= MOST_BLOCKS);
    for (int i = 0; i < way->num_parts; i++)
        parts[i] = &way->parts[i].block;
}

static tulle_status_t make_arriving(tulle_spmm_t *spmm, const tli_spmm_way_t *way, tli_device_block_t *block)
{
    const tli_sparse_t *parts[MOST_BLOCKS];
    list_parts(way, parts);
    return make_block(spmm, parts, way->num_parts, way->num_c, 0, block);
}

static tulle_status_t upload_landings(tulle_spmm_t *spmm, const tli_spmm_way_t *way, tli_device_way_t *there)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t n = way->num_landings, *ptr = NULL, *area = NULL;
    TLI_TRY(tli_arena_alloc_raw(&scratch, n + 1, sizeof *ptr, &ptr));
    TLI_TRY(tli_arena_alloc(&scratch, n, sizeof *area, &area));
    for (int64_t i = 0; i <= n; i++)
        ptr[i] = i;
    TLI_TRY(upload(spmm->device, way->landings, n, sizeof *ptr, &there->landings));
    TLI_TRY(upload(spmm->device, ptr, n + 1, sizeof *ptr, &there->entry_ptr));
    TLI_TRY(upload(spmm->device, area, n, sizeof *area, &there->entry_area));
done:
    tli_arena_release(&scratch);
    return st;
}

/* Lists as tli_spmm_fill() takes them for the blocks of the host. */
static tulle_status_t fill_way(tulle_spmm_t *spmm, tli_device_way_t *there)
{
    tulle_status_t st = TULLE_OK;
    int is_transposed = there == &spmm->device->transposed;
    const void *partial = is_transposed ? spmm->values : spmm->moved.values;
    const void *arriving = is_transposed ? spmm->moved.values : spmm->values;
    size_t size = tulle_datatype_size(spmm->type);
    TLI_TRY(upload_values(spmm->device, &there->own, spmm->values, size));
    TLI_TRY(upload_values(spmm->device, &there->partial, partial, size));
    TLI_TRY(upload_values(spmm->device, &there->arriving, arriving, size));
done:
    return st;
}

static tulle_status_t open_matrix(tulle_spmm_t *spmm)
{
    tulle_status_t st = TULLE_OK;
    if (spmm->device != NULL)
        return TULLE_OK;
    TLI_TRY(tli_arena_alloc(&spmm->arena, 1, sizeof *spmm->device, &spmm->device));
    TLI_TRY(tli_device_current(&spmm->device->device));
    TLI_TRY(tli_stream_create(&spmm->device->stream));
done:
    return st;
}

static tulle_status_t make_way(tulle_spmm_t *spmm, const tli_spmm_way_t *way, tli_device_way_t *there)
{
    tulle_status_t st = TULLE_OK;
    const tli_sparse_t *own = &way->own, *partial = &way->partial;
    TLI_TRY(make_block(spmm, &own, 1, way->num_c, 1, &there->own));
    TLI_TRY(make_block(spmm, &partial, 1, partial->num_rows, 1, &there->partial));
    TLI_TRY(make_arriving(spmm, way, &there->arriving));
    TLI_TRY(upload_landings(spmm, way, there));
    TLI_TRY(fill_way(spmm, there));
    there->is_ready = 1;
done:
    return st;
}

tulle_status_t tli_spmm_device_prepare(tulle_spmm_t *spmm, const tli_spmm_way_t *way)
{
    tulle_status_t st = TULLE_OK;
    int previous = -1;
    TLI_TRY(open_matrix(spmm));
    TLI_TRY(tli_device_enter(spmm->device->device, &previous));
    st = make_way(spmm, way, (tli_device_way_t *)tli_device_way_of(spmm, way));
    tli_device_leave(spmm->device->device, previous);
done:
    return st;
}

tulle_status_t tli_spmm_device_fill(tulle_spmm_t *spmm)
{
    tulle_status_t st = TULLE_OK;
    if (spmm->device != NULL && spmm->device->forward.is_ready)
        TLI_TRY(fill_way(spmm, &spmm->device->forward));
    if (spmm->device != NULL && spmm->device->transposed.is_ready)
        TLI_TRY(fill_way(spmm, &spmm->device->transposed));
done:
    return st;
}

/* --- inner products ----------------------------------------------------------------------------------------------- */

/* The row of each nonzero and its place among the values, as the block on the device has its nonzeros. */
static tulle_status_t list_nonzeros(tulle_spmm_t *spmm, const tli_sparse_t *const *blocks, int num_blocks,
                                    int64_t num_rows, tli_device_block_t *block)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_sparse_t draft = {0};
    int32_t *row = NULL;
    int64_t n = block->sparse.num_nonzeros;
    TLI_TRY(merge(blocks, num_blocks, num_rows, &scratch, &draft));
    TLI_TRY(tli_arena_alloc_raw(&scratch, n, sizeof *row, &row));
    for (int64_t i = 0; i < num_rows; i++)
        for (int64_t e = draft.row_ptr[i]; e < draft.row_ptr[i + 1]; e++)
            row[e] = (int32_t)i;
    if (block->nonzero_row == NULL)
        TLI_TRY(upload(spmm->device, row, n, sizeof *row, &block->nonzero_row));
    if (block->nonzero_entry == NULL)
        TLI_TRY(upload(spmm->device, block->entry, n, sizeof *block->entry, &block->nonzero_entry));
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t list_all_nonzeros(tulle_spmm_t *spmm)
{
    tulle_status_t st = TULLE_OK;
    const tli_spmm_way_t *way = &spmm->forward;
    const tli_sparse_t *own = &way->own, *partial = &way->partial, *parts[MOST_BLOCKS];
    tli_device_way_t *there = &spmm->device->forward;
    int64_t size = (int64_t)tulle_datatype_size(spmm->type);
    list_parts(way, parts);
    TLI_TRY(list_nonzeros(spmm, &own, 1, way->num_c, &there->own));
    TLI_TRY(list_nonzeros(spmm, &partial, 1, partial->num_rows, &there->partial));
    TLI_TRY(list_nonzeros(spmm, parts, way->num_parts, way->num_c, &there->arriving));
    if (spmm->moved.sampled == NULL)
        TLI_TRY(reserve(spmm->device, spmm->moved.num * size, &spmm->moved.sampled));
done:
    return st;
}

tulle_status_t tli_spmm_device_prepare_sampling(tulle_spmm_t *spmm)
{
    tulle_status_t st = TULLE_OK;
    int previous = -1;
    TLI_TRY(tli_device_enter(spmm->device->device, &previous));
    st = list_all_nonzeros(spmm);
    tli_device_leave(spmm->device->device, previous);
done:
    return st;
}

void tli_spmm_device_release(tulle_spmm_t *spmm)
{
    tli_spmm_device_t *m = spmm->device;
    if (m == NULL)
        return;
    for (int i = 0; i < m->num_buffers; i++)
        tli_device_free(TULLE_SPACE_DEVICE, m->buffers[i]);
    tli_stream_destroy(m->stream);
    spmm->device = NULL;
}
