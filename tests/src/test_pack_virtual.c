/* SPDX-License-Identifier: Apache-2.0
 * The GPU kernels without a GPU: every thread of a launch in a loop on the host, in shuffled order, against the host
 * implementation. Where a sanitizer checks alignment, it checks that of the GPU's wide accesses. */
#include <stdlib.h>
#include <string.h>

#include "pack_case.h"
#include "src/device/pack_kernel.h"

static const int64_t widths[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 64, 129};
#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

static pack_block_t expected_block, got_block;

static int set_up(void **state)
{
    expected_block.image = aligned_alloc(256, PACK_CASE_BYTES);
    got_block.image = aligned_alloc(256, PACK_CASE_BYTES);
    expected_block.base = expected_block.image;
    got_block.base = got_block.image;
    return expected_block.image == NULL || got_block.image == NULL;
}

static int tear_down(void **state)
{
    free(expected_block.image);
    free(got_block.image);
    return 0;
}

static void fail_case(const char *what, const pack_case_t *c)
{
    fail_msg("%s: %s %s, width %d, gap %d, %d rows, misaligned by %d, index %d, %s", what,
             tulle_datatype_name(c->datatype), tulle_op_name(c->op), (int)c->width, (int)c->gap, (int)c->num_rows,
             (int)c->misalignment, c->is_indexed, c->keeps_target ? "onto old values" : "afresh");
}

static void check_written(const char *what, const pack_case_t *c, const pack_written_t *expected,
                          const pack_written_t *got)
{
    if (memcmp(expected->begin, got->begin, got->bytes) != 0)
        fail_case(what, c);
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

typedef void (*thread_t)(const void *launch, int64_t thread, int64_t num_threads);

/* Threads in the order offset + i * stride modulo their number, which an odd stride visits all of: their number is a
 * power of two or is rounded up to one. */
static void run_threads(thread_t run, const void *launch, int64_t num_threads, spt_random_t *random)
{
    int64_t range = 1, stride = 2 * spt_below(random, 1 << 20) + 1, offset = spt_below(random, 1 << 20);
    while (range < num_threads)
        range *= 2;
    for (int64_t i = 0; i < range; i++) {
        int64_t thread = (offset + i * stride) & (range - 1);
        if (thread < num_threads)
            run(launch, thread, num_threads);
    }
}

/* As many as a launch has, or fewer or more warps than that, which must not matter. */
static int64_t draw_threads(int64_t num_blocks, spt_random_t *random)
{
    int64_t num_warps = spt_below(random, 2) ? 1 + spt_below(random, 12) : 0;
    return num_warps > 0 && num_blocks > 0 ? num_warps * TLI_WARP_THREADS : num_blocks * TLI_BLOCK_THREADS;
}

typedef struct copy_launch {
    tli_copy_args_t args;
    tli_shape_t shape;
} copy_launch_t;

typedef struct reduce_launch {
    tli_reduce_args_t args;
    tli_shape_t shape;
} reduce_launch_t;

static void run_copy(const void *launch, int64_t thread, int64_t num_threads)
{
    const copy_launch_t *copy = launch;
    tli_copy_thread(&copy->args, &copy->shape, thread, num_threads);
}

static void run_push(const void *launch, int64_t thread, int64_t num_threads)
{
    tli_push_thread(launch, thread, num_threads);
}

static void run_reduce(const void *launch, int64_t thread, int64_t num_threads)
{
    const reduce_launch_t *reduce = launch;
    tli_reduce_thread(&reduce->args, &reduce->shape, reduce->args.datatype,
                      (int)tulle_datatype_size(reduce->args.datatype), reduce->args.op, thread, num_threads);
}

/* --- copies ------------------------------------------------------------------------------------------------------ */

static void check_copy(const pack_case_t *c, spt_random_t *random)
{
    tli_copy_args_t args;
    copy_launch_t launch;
    expected_block.used_bytes = got_block.used_bytes = 0;
    pack_written_t expected = pack_case_copy(c, &expected_block, &args);
    pack_written_t got = pack_case_copy(c, &got_block, &launch.args);
    tli_copy_rows(&args);
    launch.shape = tli_copy_shape(&launch.args);
    run_threads(run_copy, &launch, draw_threads(tli_copy_blocks(&launch.shape, c->num_rows), random), random);
    check_written("copy", c, &expected, &got);
}

static void test_copy_threads_all_shapes_match_host(void **state)
{
    static const int64_t misalignments[] = {0, 1, 2, 4, 8, 16, 24};
    static const tulle_datatype_t sizes[] = {TULLE_BYTE, TULLE_F16, TULLE_F32, TULLE_F64, TULLE_C128};
    spt_random_t random = {1};
    for (int d = 0; d < COUNT(sizes); d++)
        for (int w = 0; w < COUNT(widths); w++)
            for (int m = 0; m < COUNT(misalignments); m++)
                for (int is_indexed = 0; is_indexed < 4; is_indexed++)
                    check_copy(&(pack_case_t){.seed = spt_next(&random),
                                              .datatype = sizes[d],
                                              .op = TULLE_OP_REPLACE,
                                              .width = widths[w],
                                              .gap = spt_below(&random, 3),
                                              .num_rows = spt_below(&random, 50),
                                              .misalignment = misalignments[m],
                                              .is_indexed = is_indexed},
                               &random);
}

/* Several pieces per row, the last one in part. */
static void test_copy_threads_very_wide_rows_match_host(void **state)
{
    spt_random_t random = {2};
    for (int64_t width = 250; width < 4000; width += 125)
        for (int64_t misalignment = 0; misalignment <= 8; misalignment += 4)
            check_copy(&(pack_case_t){.seed = spt_next(&random),
                                      .datatype = TULLE_F64,
                                      .op = TULLE_OP_REPLACE,
                                      .width = width,
                                      .gap = 1,
                                      .num_rows = 1 + spt_below(&random, 7),
                                      .misalignment = misalignment,
                                      .is_indexed = 3},
                       &random);
}

static void test_push_threads_match_host(void **state)
{
    spt_random_t random = {3};
    for (int i = 0; i < 400; i++) {
        pack_case_t c = {.seed = spt_next(&random),
                         .datatype = pack_datatypes[spt_below(&random, COUNT(pack_datatypes))],
                         .op = TULLE_OP_REPLACE,
                         .width = 1 + spt_below(&random, 90),
                         .gap = spt_below(&random, 2),
                         .num_rows = 1 + spt_below(&random, 40),
                         .misalignment = i % 3};
        tli_push_segment_t *segments, *unused;
        tli_push_args_t args, launch;
        pack_written_t expected[PACK_CASE_PEERS], got[PACK_CASE_PEERS];
        expected_block.used_bytes = got_block.used_bytes = 0;
        pack_case_push(&c, &expected_block, &segments, &args, expected);
        pack_case_push(&c, &got_block, &unused, &launch, got);
        for (int peer = 0; peer < PACK_CASE_PEERS; peer++)
            tli_copy_rows(&segments[peer].rows);
        run_threads(run_push, &launch, draw_threads(launch.num_blocks, &random), &random);
        for (int peer = 0; peer < PACK_CASE_PEERS; peer++)
            check_written("push", &c, &expected[peer], &got[peer]);
    }
}

/* --- reductions -------------------------------------------------------------------------------------------------- */

/* The host implementation gets the same rows at addresses that suit it. */
static void check_reduction(const pack_case_t *c, spt_random_t *random)
{
    int64_t alignment = 0;
    tli_reduce_args_t args;
    reduce_launch_t launch;
    pack_case_t aligned = *c;
    aligned.misalignment = 0;
    expected_block.used_bytes = got_block.used_bytes = 0;
    pack_written_t expected = pack_case_reduce(&aligned, &expected_block, &args, &alignment);
    pack_written_t got = pack_case_reduce(c, &got_block, &launch.args, &alignment);
    tli_reduce_rows(&args);
    launch.shape = tli_reduce_shape(&launch.args, alignment);
    run_threads(run_reduce, &launch, draw_threads(tli_reduce_blocks(&launch.shape, c->num_rows), random), random);
    check_written("reduction", c, &expected, &got);
}

static void test_reduce_threads_every_datatype_op_and_shape_match_host(void **state)
{
    static const int64_t misalignments[] = {0, 1, 2, 4, 8, 16};
    spt_random_t random = {4};
    for (int d = 0; d < COUNT(pack_datatypes); d++)
        for (int o = 0; o < COUNT(pack_ops); o++)
            for (int w = 0; w < COUNT(widths) && tli_has_reduction(pack_datatypes[d], pack_ops[o]); w++)
                for (int i = 0; i < 12; i++)
                    check_reduction(&(pack_case_t){.seed = spt_next(&random),
                                                   .datatype = pack_datatypes[d],
                                                   .op = pack_ops[o],
                                                   .width = widths[w],
                                                   .gap = spt_below(&random, 3),
                                                   .num_rows = spt_below(&random, 20),
                                                   .misalignment = misalignments[i / 2],
                                                   .is_indexed = i & 1,
                                                   .keeps_target = (int)spt_below(&random, 2)},
                                    &random);
}

/* --- shapes ------------------------------------------------------------------------------------------------------ */

static tli_shape_t shape_of(uintptr_t base, int64_t stride_bytes, int64_t row_bytes)
{
    tli_rows_t rows = {(unsigned char *)base, stride_bytes};
    return tli_copy_shape(&(tli_copy_args_t){.target = rows, .source = rows, .num_rows = 1, .row_bytes = row_bytes});
}

static void test_copy_shape_widest_access_that_alignment_allows(void **state)
{
    for (int64_t unit = 1; unit <= 16; unit *= 2) {
        assert_int_equal(shape_of(4096, 4096, 256 + unit).unit_bytes, unit);
        assert_int_equal(shape_of(4096, 4096 + unit, 256).unit_bytes, unit);
        assert_int_equal(shape_of(4096 + (uintptr_t)unit, 4096, 256).unit_bytes, unit);
    }
    assert_int_equal(shape_of(4096, 4096, 32).unit_bytes, 16);
}

/* Rows that begin within a line of memory are read line by line; others need no care, and get no more pieces. */
static void test_copy_shape_wide_rows_are_read_by_lines(void **state)
{
    for (int64_t units = 1; units <= 600; units++) {
        tli_shape_t aligned = shape_of(4096, 1 << 20, 16 * units), anywhere = shape_of(4096 + 16, 1 << 20, 16 * units);
        int64_t piece = TLI_DEPTH * TLI_WARP_THREADS, most_skipped = TLI_LINE_BYTES / 16 - 1;
        assert_int_equal(aligned.line_bytes, 0);
        assert_int_equal(anywhere.line_bytes, units > TLI_WARP_THREADS ? TLI_LINE_BYTES : 0);
        if (units > TLI_WARP_THREADS) {
            assert_true(anywhere.num_pieces * piece >= units + most_skipped);
            assert_true(anywhere.num_pieces <= aligned.num_pieces + 1);
        }
    }
}

static void test_copy_shape_lanes_and_pieces_cover_a_row(void **state)
{
    for (int64_t units = 1; units < 1000; units++) {
        tli_shape_t shape = shape_of(4096, 1 << 20, 16 * units);
        int64_t lanes = (int64_t)1 << shape.lane_bits, depth = units > 32 ? TLI_DEPTH : 1;
        assert_int_equal(shape.num_items, units);
        assert_true(lanes <= TLI_WARP_THREADS && (lanes < 2 * units));
        assert_true(lanes * depth * shape.num_pieces >= units && lanes * depth * (shape.num_pieces - 1) < units);
    }
}

static void test_blocks_follow_the_work_up_to_a_limit(void **state)
{
    tli_shape_t narrow = shape_of(4096, 16, 16), wide = shape_of(4096, 1 << 20, 1 << 20);
    assert_int_equal(tli_copy_blocks(&narrow, 0), 0);
    assert_int_equal(tli_copy_blocks(&narrow, 8), 1);
    assert_int_equal(tli_copy_blocks(&narrow, 257), 2);
    assert_int_equal(tli_copy_blocks(&narrow, 1024 * 256), 1024);
    assert_int_equal(tli_copy_blocks(&narrow, 8192 * 256), 8192 / TLI_DEPTH);
    assert_int_equal(tli_copy_blocks(&wide, 1), 64); /* 512 warps of 2 KiB each */
    assert_int_equal(tli_copy_blocks(&narrow, (int64_t)1 << 40), 65536);
    assert_int_equal(tli_copy_blocks(&wide, (int64_t)1 << 40), 65536);
    assert_int_equal(tli_push_prepare(NULL, 0).num_blocks, 0);
}

/* Row numbers and byte offsets beyond 2^32: addresses are computed, nothing is read. */
static void test_row_of_task_beyond_32_bits(void **state)
{
    static const int64_t pieces[] = {1, 2, 3, 7, (int64_t)1 << 33};
    spt_random_t random = {5};
    for (int p = 0; p < COUNT(pieces); p++) {
        for (int i = 0; i < 1000; i++) {
            int64_t piece = -1, task = (int64_t)(spt_next(&random) >> (1 + spt_below(&random, 60)));
            int64_t row = tli_row_of_task(task, pieces[p], &piece);
            assert_true(row == task / pieces[p] && piece == task % pieces[p]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_threads_all_shapes_match_host),
        cmocka_unit_test(test_copy_threads_very_wide_rows_match_host),
        cmocka_unit_test(test_push_threads_match_host),
        cmocka_unit_test(test_reduce_threads_every_datatype_op_and_shape_match_host),
        cmocka_unit_test(test_copy_shape_widest_access_that_alignment_allows),
        cmocka_unit_test(test_copy_shape_wide_rows_are_read_by_lines),
        cmocka_unit_test(test_copy_shape_lanes_and_pieces_cover_a_row),
        cmocka_unit_test(test_blocks_follow_the_work_up_to_a_limit),
        cmocka_unit_test(test_row_of_task_beyond_32_bits),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
