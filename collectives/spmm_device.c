/* SPDX-License-Identifier: Apache-2.0
 * The blocks of a distributed sparse matrix in device memory. A stream cannot look what has arrived: so the parts of
 * the gathered rows are one block here, and all rows of f16 and bf16 are kept as sums, which makes two passes less to
 * tell apart and costs them a pass over C. */
#include "collectives/spmm_device.h"

#include <string.h>

#include "src/device/device.h"
#include "src/device/pack_device.h"
#include "src/device/stream.h"
#include "src/fault.h"

#define MOST_BUFFERS 32 /* of a matrix, both ways */
#define MOST_BLOCKS  64 /* parts of gathered rows */

/** A block on the device, and where its values come from. */
typedef struct block {
    tli_device_sparse_t sparse;
    int64_t *entry; /* [num_nonzeros] in host memory: place in the list of values */
} block_t;

/** What one way has on the device. */
typedef struct device_way {
    int is_ready;
    block_t own, partial, arriving;
    int64_t *landings;               /* [num_landings] */
    int64_t *entry_ptr, *entry_area; /* [num_landings + 1], [num_landings]: each landing has one entry, in area 0 */
} device_way_t;

typedef struct tli_spmm_device {
    int device;
    void *stream; /* of uploads */
    device_way_t forward, transposed;
    void *buffers[MOST_BUFFERS];
    int num_buffers;
} matrix_t;

/** Device side of a binding. */
typedef struct tli_spmm_device_rows {
    void *ghosts, *partials, *landed, *sums, *zeros;
    tli_rows_t *areas; /* on the device: landed alone */
    tli_cusparse_t *own, *partial;
} rows_t;

static const device_way_t *device_way_of(const tulle_spmm_t *spmm, const tli_spmm_way_t *way)
{
    return way == &spmm->transposed ? &spmm->device->transposed : &spmm->device->forward;
}

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

/* --- uploads ------------------------------------------------------------------------------------------------------ */

/* Memory of the matrix, which goes when it does. */
static tulle_status_t reserve(matrix_t *m, int64_t bytes, void *out)
{
    tulle_status_t st = TULLE_OK;
    void *memory = NULL;
    TLI_ASSERT(m->num_buffers < MOST_BUFFERS);
    TLI_TRY(tli_device_alloc(TULLE_SPACE_DEVICE, (size_t)bytes + 1, &memory));
    m->buffers[m->num_buffers++] = memory;
    memcpy(out, &memory, sizeof memory);
done:
    return st;
}

static tulle_status_t upload(matrix_t *m, const void *list, int64_t n, size_t size, void *out)
{
    tulle_status_t st = TULLE_OK;
    void *there = NULL;
    TLI_TRY(reserve(m, n * (int64_t)size, &there));
    if (n > 0)
        TLI_TRY(tli_device_copy(there, list, (size_t)n * size, m->stream));
    TLI_TRY(tli_device_synchronize(m->stream));
    memcpy(out, &there, sizeof there);
done:
    return st;
}

static tulle_status_t upload_values(matrix_t *m, const block_t *block, const void *values, size_t size)
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
    TLI_TRY(tli_device_copy((void *)block->sparse.values, list, (size_t)n * size, m->stream));
    TLI_TRY(tli_device_synchronize(m->stream));
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
static tulle_status_t upload_short_offsets(matrix_t *m, const tli_sparse_t *draft, tli_arena_t *scratch,
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

static tulle_status_t place(tulle_spmm_t *spmm, const tli_sparse_t *draft, tli_arena_t *scratch, block_t *block)
{
    tulle_status_t st = TULLE_OK;
    matrix_t *m = spmm->device;
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
                                 int64_t num_rows, int lists_all, block_t *block)
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

static tulle_status_t make_arriving(tulle_spmm_t *spmm, const tli_spmm_way_t *way, block_t *block)
{
    const tli_sparse_t *parts[MOST_BLOCKS];
    TLI_ASSERT(way->num_parts <= MOST_BLOCKS);
    for (int i = 0; i < way->num_parts; i++)
        parts[i] = &way->parts[i].block;
    return make_block(spmm, parts, way->num_parts, way->num_c, 0, block);
}

static tulle_status_t upload_landings(tulle_spmm_t *spmm, const tli_spmm_way_t *way, device_way_t *there)
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
static tulle_status_t fill_way(tulle_spmm_t *spmm, device_way_t *there)
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

static tulle_status_t make_way(tulle_spmm_t *spmm, const tli_spmm_way_t *way, device_way_t *there)
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
    st = make_way(spmm, way, (device_way_t *)device_way_of(spmm, way));
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

void tli_spmm_device_release(tulle_spmm_t *spmm)
{
    matrix_t *m = spmm->device;
    if (m == NULL)
        return;
    for (int i = 0; i < m->num_buffers; i++)
        tli_device_free(TULLE_SPACE_DEVICE, m->buffers[i]);
    tli_stream_destroy(m->stream);
    spmm->device = NULL;
}

/* --- bindings ------------------------------------------------------------------------------------------------------
 */

static tulle_status_t alloc_rows(int64_t num_rows, int64_t width, tulle_datatype_t type, void **out)
{
    tulle_status_t st = TULLE_OK;
    size_t bytes = (size_t)num_rows * (size_t)width * tulle_datatype_size(type);
    if (num_rows > 0)
        TLI_TRY(tli_device_alloc(TULLE_SPACE_DEVICE, bytes, out));
done:
    return st;
}

/* As host bindings have them, but for sums: of every row of C where there are any. */
static tulle_status_t alloc_buffers(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, int64_t width, rows_t *rows)
{
    tulle_status_t st = TULLE_OK;
    tulle_datatype_t sum_type = tli_sum_type(spmm->type);
    int has_sums = sum_type != spmm->type;
    TLI_TRY(alloc_rows(tulle_plan_num_ghosts(way->gather), width, spmm->type, &rows->ghosts));
    TLI_TRY(alloc_rows(tulle_plan_num_ghosts(way->scatter), width, sum_type, &rows->partials));
    TLI_TRY(alloc_rows(way->scatter != NULL ? way->num_c : 0, width, sum_type, &rows->landed));
    TLI_TRY(alloc_rows(has_sums ? way->num_c : 0, width, sum_type, &rows->sums));
    TLI_TRY(alloc_rows(1, width, sum_type, &rows->zeros));
    TLI_TRY(tli_device_alloc(TULLE_SPACE_DEVICE, sizeof *rows->areas, (void **)&rows->areas));
done:
    return st;
}

/* Lists that kernels read, and the row of zeros that sums begin with. */
static tulle_status_t write_lists(const tulle_spmm_t *spmm, int64_t width, const rows_t *rows)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t row_bytes = width * (int64_t)tulle_datatype_size(tli_sum_type(spmm->type));
    tli_rows_t area = {rows->landed, row_bytes};
    unsigned char *zeros = NULL;
    void *stream = spmm->device->stream;
    TLI_TRY(tli_arena_alloc(&scratch, row_bytes, 1, &zeros));
    TLI_TRY(tli_device_copy(rows->areas, &area, sizeof area, stream));
    TLI_TRY(tli_device_copy(rows->zeros, zeros, (size_t)row_bytes, stream));
    TLI_TRY(tli_device_synchronize(stream));
done:
    tli_arena_release(&scratch);
    return st;
}

/* Where the library multiplies. It is opened with rows that are there; each product names its own. */
static tulle_status_t open_library(const tulle_spmm_t *spmm, const block_t *block, int64_t width, const rows_t *rows,
                                   tli_cusparse_t **library_out)
{
    tulle_status_t st = TULLE_OK;
    tli_product_args_t like = {.block = block->sparse,
                               .datatype = spmm->type,
                               .width = width,
                               .b = rows->zeros,
                               .b_stride = width,
                               .c = rows->zeros,
                               .c_stride = width,
                               .alpha = 1};
    int is_wanted = spmm->options.library != TULLE_SPMM_LIBRARY_OWN && tli_cusparse_is_there();
    if (is_wanted && like.block.row_ptr_32 != NULL && like.block.num_nonzeros > 0)
        TLI_TRY(tli_cusparse_open(&like, library_out));
done:
    return st;
}

static tulle_status_t make_rows(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, int64_t width, rows_t *rows)
{
    tulle_status_t st = TULLE_OK;
    const device_way_t *there = device_way_of(spmm, way);
    TLI_TRY(alloc_buffers(spmm, way, width, rows));
    TLI_TRY(write_lists(spmm, width, rows));
    TLI_TRY(open_library(spmm, &there->own, width, rows, &rows->own));
    TLI_TRY(open_library(spmm, &there->partial, width, rows, &rows->partial));
done:
    return st;
}

tulle_status_t tli_spmm_device_bind(const tulle_spmm_t *spmm, const tli_spmm_way_t *way, tli_spmm_binding_t *binding)
{
    tulle_status_t st = TULLE_OK;
    int previous = -1;
    TLI_TRY(tli_arena_alloc(&binding->arena, 1, sizeof *binding->device, &binding->device));
    TLI_TRY(tli_device_enter(spmm->device->device, &previous));
    st = make_rows(spmm, way, binding->width, binding->device);
    tli_device_leave(spmm->device->device, previous);
    binding->ghosts = binding->device->ghosts;
    binding->partials = binding->device->partials;
    binding->landed = binding->device->landed;
    binding->sums = binding->device->sums;
done:
    return st;
}

static void free_rows(void *rows)
{
    if (rows != NULL)
        tli_device_free(TULLE_SPACE_DEVICE, rows);
}

void tli_spmm_device_unbind(tli_spmm_binding_t *binding)
{
    rows_t *rows = binding->device;
    if (rows == NULL)
        return;
    tli_cusparse_close(rows->own);
    tli_cusparse_close(rows->partial);
    free_rows(rows->ghosts);
    free_rows(rows->partials);
    free_rows(rows->landed);
    free_rows(rows->sums);
    free_rows(rows->zeros);
    free_rows(rows->areas);
}

/* --- a product -----------------------------------------------------------------------------------------------------
 */

typedef struct run {
    const tulle_spmm_t *spmm;
    const tli_spmm_way_t *way;
    const device_way_t *there;
    const tulle_product_t *product;
    const tli_spmm_binding_t *binding;
    void *stream;
} run_t;

static int has_sums(const run_t *r)
{
    return tli_sum_type(r->spmm->type) != r->spmm->type;
}

static tli_product_args_t product_of(const run_t *r, const block_t *block)
{
    const tulle_product_t *p = r->product;
    tli_product_args_t args = {.block = block->sparse,
                               .datatype = r->spmm->type,
                               .width = p->width,
                               .b = p->b,
                               .b_stride = p->b_stride,
                               .c = has_sums(r) ? r->binding->sums : p->c,
                               .c_stride = has_sums(r) ? p->width : p->c_stride,
                               .alpha = p->alpha};
    return args;
}

static tulle_status_t multiply(const run_t *r, tli_cusparse_t *library, const tli_product_args_t *args)
{
    return library != NULL ? tli_cusparse_multiply(library, args, r->stream) : tli_product_launch(args, r->stream);
}

static tulle_status_t multiply_partial(const run_t *r)
{
    tli_product_args_t args = product_of(r, &r->there->partial);
    args.c = r->binding->partials;
    args.c_stride = r->product->width;
    return multiply(r, r->binding->device->partial, &args);
}

static tulle_status_t multiply_own(const run_t *r)
{
    tli_product_args_t args = product_of(r, &r->there->own);
    args.beta = has_sums(r) ? 0 : r->product->beta;
    return multiply(r, r->binding->device->own, &args);
}

static tulle_status_t multiply_arriving(const run_t *r)
{
    tli_product_args_t args = product_of(r, &r->there->arriving);
    args.b = r->binding->ghosts;
    args.b_stride = r->product->width;
    args.beta = 1;
    return tli_product_launch(&args, r->stream);
}

static int64_t sum_row_bytes(const run_t *r, int64_t stride)
{
    return stride * (int64_t)tulle_datatype_size(tli_sum_type(r->spmm->type));
}

static tulle_status_t clear_landings(const run_t *r)
{
    int64_t row_bytes = sum_row_bytes(r, r->product->width);
    tli_copy_args_t clear = {.target = {r->binding->landed, row_bytes},
                             .source = {r->binding->device->zeros, 0},
                             .target_index = r->there->landings,
                             .num_rows = r->way->num_landings,
                             .row_bytes = row_bytes};
    return tli_copy_rows_launch(&clear, r->stream);
}

static tulle_status_t add_landings(const run_t *r)
{
    tli_product_args_t args = product_of(r, &r->there->own); /* for where C is */
    tli_rows_t landed = {r->binding->landed, sum_row_bytes(r, args.width)};
    tli_reduce_args_t add = {.target = {args.c, sum_row_bytes(r, args.c_stride)},
                             .target_index = r->there->landings,
                             .num_rows = r->way->num_landings,
                             .keeps_target = 1,
                             .entry_ptr = r->there->entry_ptr,
                             .entry_area = r->there->entry_area,
                             .entry_row = r->there->landings,
                             .areas = r->binding->device->areas,
                             .datatype = tli_sum_type(r->spmm->type),
                             .op = TULLE_OP_SUM,
                             .width = args.width};
    return tli_reduce_rows_launch(&add, tli_areas_alignment(&landed, 1), r->stream);
}

static tulle_status_t round_sums(const run_t *r)
{
    const tulle_product_t *p = r->product;
    tli_round_args_t args = {.datatype = r->spmm->type,
                             .width = p->width,
                             .num_rows = r->way->num_c,
                             .sums = r->binding->sums,
                             .c = p->c,
                             .c_stride = p->c_stride,
                             .beta = p->beta};
    return has_sums(r) ? tli_round_rows_launch(&args, r->stream) : TULLE_OK;
}

static tulle_status_t start(const run_t *r)
{
    tulle_status_t st = TULLE_OK;
    const tli_spmm_binding_t *binding = r->binding;
    if (binding->gather != NULL) {
        tli_exchange_move_owned(binding->gather, (void *)r->product->b, r->product->b_stride);
        TLI_TRY(tulle_exchange_start(binding->gather, r->stream));
    }
    if (binding->scatter != NULL) {
        TLI_TRY(clear_landings(r));
        TLI_TRY(multiply_partial(r));
        TLI_TRY(tulle_exchange_start(binding->scatter, r->stream));
    }
done:
    return st;
}

static tulle_status_t finish(const run_t *r)
{
    tulle_status_t st = TULLE_OK;
    if (r->binding->gather != NULL) {
        TLI_TRY(tulle_exchange_wait(r->binding->gather));
        TLI_TRY(multiply_arriving(r));
    }
    if (r->binding->scatter != NULL) {
        TLI_TRY(tulle_exchange_wait(r->binding->scatter));
        TLI_TRY(add_landings(r));
    }
    TLI_TRY(round_sums(r));
done:
    return st;
}

tulle_status_t tli_spmm_device_run(tulle_spmm_t *spmm, const tli_spmm_way_t *way, const tulle_product_t *product,
                                   tli_spmm_binding_t *binding, void *stream)
{
    tulle_status_t st = TULLE_OK;
    run_t r = {spmm, way, device_way_of(spmm, way), product, binding, stream};
    int previous = -1;
    TLI_TRY(tli_device_enter(spmm->device->device, &previous));
    st = start(&r);
    if (st == TULLE_OK)
        st = multiply_own(&r);
    if (st == TULLE_OK)
        st = finish(&r);
    tli_device_leave(spmm->device->device, previous);
done:
    return st;
}
