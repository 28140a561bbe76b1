/* SPDX-License-Identifier: Apache-2.0 */
#include "perf/spmm_model.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "src/fault.h"

#define LEAST_L1_BYTES (INT64_C(32) << 10)
#define LEAST_L2_BYTES (INT64_C(256) << 10)
#define LEAST_L3_BYTES (INT64_C(4) << 20)

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

perf_caches_t perf_caches_find(int num_ranks)
{
    int64_t l1 = larger(sysconf(_SC_LEVEL1_DCACHE_SIZE), LEAST_L1_BYTES);
    int64_t l2 = larger(sysconf(_SC_LEVEL2_CACHE_SIZE), LEAST_L2_BYTES);
    int64_t l3 = larger(sysconf(_SC_LEVEL3_CACHE_SIZE), LEAST_L3_BYTES) / num_ranks;
    return (perf_caches_t){{l1, l2, larger(l2, l3)}};
}

/* --- a cache of rows --------------------------------------------------------------------------------------------- */

/* Rows from the oldest to the newest, as a ring through a place behind all rows; newer is -1 where a row is not there.
 */
typedef struct cache {
    int32_t *newer, *older; /* [num_rows + 1] */
    int64_t num_rows, num, capacity;
} cache_t;

static void take_out(cache_t *c, int32_t row)
{
    c->newer[c->older[row]] = c->newer[row];
    c->older[c->newer[row]] = c->older[row];
    c->newer[row] = -1;
    c->num--;
}

static void put_in(cache_t *c, int32_t row)
{
    int32_t ring = (int32_t)c->num_rows, newest = c->older[ring];
    c->newer[newest] = row;
    c->older[row] = newest;
    c->newer[row] = ring;
    c->older[ring] = row;
    c->num++;
}

/* Whether it was not there. */
static int use_row(cache_t *c, int32_t row)
{
    int is_miss = c->newer[row] < 0;
    if (!is_miss)
        take_out(c, row);
    else if (c->num >= c->capacity)
        take_out(c, c->newer[c->num_rows]);
    put_in(c, row);
    return is_miss;
}

tulle_status_t perf_count_misses(const int32_t *use, int64_t num_uses, int64_t num_rows, int64_t capacity,
                                 int64_t *misses_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    cache_t c = {.num_rows = num_rows, .capacity = capacity > 1 ? capacity : 1};
    int64_t misses = 0;
    TLI_TRY(tli_arena_alloc_raw(&scratch, num_rows + 1, sizeof *c.newer, &c.newer));
    TLI_TRY(tli_arena_alloc_raw(&scratch, num_rows + 1, sizeof *c.older, &c.older));
    memset(c.newer, 0xff, (size_t)num_rows * sizeof *c.newer);
    c.newer[num_rows] = c.older[num_rows] = (int32_t)num_rows;
    for (int64_t i = 0; i < num_uses; i++)
        use_row(&c, use[i]);
    for (int64_t i = 0; i < num_uses; i++)
        misses += use_row(&c, use[i]);
    *misses_out = misses;
done:
    tli_arena_release(&scratch);
    return st;
}

/* --- one product ------------------------------------------------------------------------------------------------- */

/* Rows of B in the order in which they are used; those that are gathered count behind the own ones. */
typedef struct uses {
    int32_t *row;
    int64_t num, num_rows;
} uses_t;

static void add_uses(const tli_sparse_t *block, int64_t first_row, uses_t *uses)
{
    for (int64_t e = 0; block->row_ptr != NULL && e < block->row_ptr[block->num_rows]; e++)
        uses->row[uses->num++] = (int32_t)(first_row + block->col[e]);
}

static int64_t count_nonzeros(const tli_spmm_way_t *way)
{
    int64_t n = way->own.row_ptr[way->own.num_rows] + way->partial.row_ptr[way->partial.num_rows];
    for (int part = 0; part < way->num_parts; part++)
        n += way->parts[part].block.row_ptr[way->parts[part].block.num_rows];
    return n;
}

static tulle_status_t list_uses(const tli_spmm_way_t *way, tli_arena_t *arena, uses_t *uses)
{
    tulle_status_t st = TULLE_OK;
    uses->num_rows = way->num_b + tulle_plan_num_ghosts(way->gather);
    TLI_TRY(tli_arena_alloc_raw(arena, count_nonzeros(way), sizeof *uses->row, &uses->row));
    add_uses(&way->partial, 0, uses);
    add_uses(&way->own, 0, uses);
    for (int part = 0; part < way->num_parts; part++)
        add_uses(&way->parts[part].block, way->num_b, uses);
done:
    return st;
}

/* The nearest cache that holds all; else memory. */
static int level_of_all(int64_t bytes, const perf_caches_t *caches)
{
    int level = PERF_FROM_L1;
    while (level < PERF_FROM_MEMORY && bytes > caches->of_level[level])
        level++;
    return level;
}

tulle_status_t perf_spmm_traffic(const tli_spmm_way_t *way, int64_t sum_bytes, int64_t row_bytes, int is_streamed,
                                 const perf_caches_t *caches, perf_spmm_traffic_t *traffic_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    uses_t uses = {NULL, 0, 0};
    perf_spmm_traffic_t traffic = {{0}, {0}};
    int64_t misses = 0;
    TLI_TRY(list_uses(way, &scratch, &uses));
    int64_t columns = uses.num * (int64_t)sizeof(int32_t), left = uses.num;
    int64_t once = uses.num * sum_bytes + (is_streamed ? 1 : 2) * way->num_c * row_bytes;
    int64_t all = columns + uses.num * sum_bytes + (way->num_c + uses.num_rows) * row_bytes;
    int furthest = level_of_all(all, caches);
    for (int level = PERF_FROM_L1; level < furthest; level++) {
        TLI_TRY(perf_count_misses(uses.row, uses.num, uses.num_rows, caches->of_level[level] / row_bytes, &misses));
        traffic.rows[level] = (left - misses) * row_bytes;
        left = misses;
    }
    traffic.rows[furthest] = left * row_bytes;
    traffic.once[furthest] = once + (furthest == PERF_FROM_MEMORY ? columns : 0);
    *traffic_out = traffic;
done:
    tli_arena_release(&scratch);
    return st;
}

/* Rows that come from the caches in turns take as long as one after the other; what is fetched from memory ahead of
 * time comes beside them: see README.md, "Sparse times dense". */
double perf_spmm_model_us(const perf_spmm_traffic_t *traffic, const perf_spmm_rates_t *rates)
{
    double us[2] = {0, 0};
    for (int level = 0; level < PERF_NUM_LEVELS; level++)
        us[level == PERF_FROM_MEMORY] += (double)traffic->rows[level] / rates->rows[level] / 1e3 +
                                         (double)traffic->once[level] / rates->stream[level] / 1e3;
    return fmax(us[0], us[1]);
}
