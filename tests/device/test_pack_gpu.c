/* SPDX-License-Identifier: Apache-2.0
 * The kernels on a GPU against the host implementation: rows in device, pinned and managed memory, every datatype and
 * op, more rows than a launch has threads. Exit code 77 where there is no GPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/device/device.h"
#include "src/device/half.h"
#include "tests/src/pack_case.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof *(a)))

#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        if ((call) != TULLE_OK)                                                                                        \
            fail_msg("%s: %s", #call, tulle_last_error()->text);                                                       \
    } while (0)

/* Where a case of this space is at home, and its image on the host; the same case for the host implementation. */
static pack_block_t gpu_block, host_block;

static void begin(tulle_space_t space)
{
    void *home = NULL;
    assert_ok(tulle_alloc(space, PACK_CASE_BYTES, &home));
    gpu_block = (pack_block_t){aligned_alloc(256, PACK_CASE_BYTES), home, 0};
    host_block.image = host_block.base = aligned_alloc(256, PACK_CASE_BYTES);
    assert_true(gpu_block.image != NULL && host_block.image != NULL);
}

static void end(void)
{
    void *home = gpu_block.base;
    tulle_free(&home);
    free(gpu_block.image);
    free(host_block.image);
}

static void upload(void)
{
    assert_ok(tli_device_copy(gpu_block.base, gpu_block.image, gpu_block.used_bytes, NULL));
}

static void download(void)
{
    assert_ok(tli_device_copy(gpu_block.image, gpu_block.base, gpu_block.used_bytes, NULL));
    assert_ok(tli_device_synchronize(NULL));
}

static void check_written(const char *what, const pack_case_t *c, const pack_written_t *expected,
                          const pack_written_t *got)
{
    if (memcmp(expected->begin, got->begin, got->bytes) != 0)
        fail_msg("%s: %s %s, width %d, %d rows, misaligned by %d", what, tulle_datatype_name(c->datatype),
                 tulle_op_name(c->op), (int)c->width, (int)c->num_rows, (int)c->misalignment);
}

static void check_copy(const pack_case_t *c)
{
    tli_copy_args_t args, launch;
    host_block.used_bytes = gpu_block.used_bytes = 0;
    pack_written_t expected = pack_case_copy(c, &host_block, &args);
    pack_written_t got = pack_case_copy(c, &gpu_block, &launch);
    upload();
    tli_copy_rows(&args);
    assert_ok(tli_copy_rows_launch(&launch, NULL));
    download();
    check_written("copy", c, &expected, &got);
}

static void check_push(const pack_case_t *c)
{
    tli_push_segment_t *segments, *unused;
    tli_push_args_t args, launch;
    pack_written_t expected[PACK_CASE_PEERS], got[PACK_CASE_PEERS];
    host_block.used_bytes = gpu_block.used_bytes = 0;
    pack_case_push(c, &host_block, &segments, &args, expected);
    pack_case_push(c, &gpu_block, &unused, &launch, got);
    upload();
    for (int peer = 0; peer < PACK_CASE_PEERS; peer++)
        tli_copy_rows(&segments[peer].rows);
    assert_ok(tli_push_rows_launch(&launch, NULL));
    download();
    for (int peer = 0; peer < PACK_CASE_PEERS; peer++)
        check_written("push", c, &expected[peer], &got[peer]);
}

/* The host implementation gets the same rows at addresses that suit it. */
static void check_reduction(const pack_case_t *c)
{
    int64_t alignment = 0;
    tli_reduce_args_t args, launch;
    pack_case_t aligned = *c;
    aligned.misalignment = 0;
    host_block.used_bytes = gpu_block.used_bytes = 0;
    pack_written_t expected = pack_case_reduce(&aligned, &host_block, &args, &alignment);
    pack_written_t got = pack_case_reduce(c, &gpu_block, &launch, &alignment);
    upload();
    tli_reduce_rows(&args);
    assert_ok(tli_reduce_rows_launch(&launch, alignment, NULL));
    download();
    check_written("reduction", c, &expected, &got);
}

static void test_copy_and_push_in_every_space_match_host(void **state)
{
    static const tulle_space_t spaces[] = {TULLE_SPACE_DEVICE, TULLE_SPACE_PINNED, TULLE_SPACE_MANAGED};
    static const int64_t misalignments[] = {0, 1, 2, 4, 8};
    spt_random_t random = {1};
    for (int s = 0; s < COUNT(spaces); s++) {
        begin(spaces[s]);
        for (int64_t width = 1; width < 1500; width += 1 + width / 3) {
            for (int m = 0; m < COUNT(misalignments); m++) {
                pack_case_t c = {.seed = spt_next(&random),
                                 .datatype = width < 200 ? TULLE_C128 : TULLE_F32,
                                 .op = TULLE_OP_REPLACE,
                                 .width = width,
                                 .gap = m % 3,
                                 .num_rows = 1 + spt_below(&random, 30),
                                 .misalignment = misalignments[m],
                                 .is_indexed = (int)spt_below(&random, 4)};
                check_copy(&c);
                c.datatype = TULLE_F32;
                check_push(&c);
            }
        }
        end();
    }
}

static void test_reduce_every_datatype_and_op_matches_host(void **state)
{
    static const int64_t widths[] = {1, 2, 3, 4, 7, 8, 16, 17, 64, 129};
    static const int64_t misalignments[] = {0, 1, 4, 8};
    spt_random_t random = {2};
    begin(TULLE_SPACE_DEVICE);
    for (int d = 0; d < COUNT(pack_datatypes); d++)
        for (int o = 0; o < COUNT(pack_ops); o++)
            for (int w = 0; w < COUNT(widths) && tli_has_reduction(pack_datatypes[d], pack_ops[o]); w++)
                for (int i = 0; i < 8; i++)
                    check_reduction(&(pack_case_t){.seed = spt_next(&random),
                                                   .datatype = pack_datatypes[d],
                                                   .op = pack_ops[o],
                                                   .width = widths[w],
                                                   .gap = spt_below(&random, 3),
                                                   .num_rows = spt_below(&random, 20),
                                                   .misalignment = misalignments[i / 2],
                                                   .is_indexed = i & 1,
                                                   .keeps_target = (int)spt_below(&random, 2)});
    end();
}

/* The conversions of f16 are the GPU's own. A sum of one entry afresh widens and narrows every pattern; NaN stays NaN.
 */
static void test_reduce_halves_of_every_pattern_match_host(void **state)
{
    enum { N = 65536 };
    uint16_t *halves = malloc(2 * N * sizeof *halves);
    void *memory = NULL;
    assert_non_null(halves);
    assert_ok(tulle_alloc(TULLE_SPACE_MANAGED, 1024 + 2 * N * sizeof *halves, &memory));
    int64_t *lists = memory; /* entry_ptr[2], entry_area[1], entry_row[1] */
    tli_rows_t *areas = (tli_rows_t *)(lists + 8);
    unsigned char *rows = (unsigned char *)memory + 1024;
    for (int i = 0; i < N; i++)
        halves[i] = (uint16_t)i;
    for (int is_bf16 = 0; is_bf16 < 2; is_bf16++) {
        memset(memory, 0, 1024);
        lists[1] = 1;
        areas[0] = (tli_rows_t){rows, N * 2};
        memcpy(rows, halves, N * sizeof *halves);
        assert_ok(tli_reduce_rows_launch(&(tli_reduce_args_t){.target = {rows + N * 2, N * 2},
                                                              .num_rows = 1,
                                                              .entry_ptr = lists,
                                                              .entry_area = lists + 2,
                                                              .entry_row = lists + 3,
                                                              .areas = areas,
                                                              .datatype = is_bf16 ? TULLE_BF16 : TULLE_F16,
                                                              .op = TULLE_OP_SUM,
                                                              .width = N},
                                         16, NULL));
        assert_ok(tli_device_synchronize(NULL));
        memcpy(halves + N, rows + N * 2, N * sizeof *halves);
        for (int i = 0; i < N; i++) {
            int is_nan = (i & 0x7fff) > (is_bf16 ? 0x7f80 : 0x7c00);
            int stays_nan = (halves[N + i] & 0x7fff) > (is_bf16 ? 0x7f80 : 0x7c00);
            assert_true(is_nan ? stays_nan : halves[N + i] == i);
        }
    }
    tulle_free(&memory);
    free(halves);
}

/* Three rows per thread of the largest launch, gathered backwards from pinned memory. */
static void test_copy_of_more_rows_than_threads(void **state)
{
    const int64_t num_rows = 3 * (int64_t)65536 * TLI_BLOCK_THREADS;
    void *source = NULL, *index = NULL, *target = NULL;
    assert_ok(tulle_alloc(TULLE_SPACE_PINNED, (size_t)num_rows * 4, &source));
    assert_ok(tulle_alloc(TULLE_SPACE_PINNED, (size_t)num_rows * 8, &index));
    assert_ok(tulle_alloc(TULLE_SPACE_DEVICE, (size_t)num_rows * 4, &target));
    for (int64_t i = 0; i < num_rows; i++) {
        ((uint32_t *)source)[i] = (uint32_t)i;
        ((int64_t *)index)[i] = num_rows - 1 - i;
    }
    assert_ok(tli_copy_rows_launch(
        &(tli_copy_args_t){
            .target = {target, 4}, .source = {source, 4}, .source_index = index, .num_rows = num_rows, .row_bytes = 4},
        NULL));
    assert_ok(tli_device_copy(source, target, (size_t)num_rows * 4, NULL));
    assert_ok(tli_device_synchronize(NULL));
    for (int64_t i = 0; i < num_rows; i++)
        assert_true(((uint32_t *)source)[i] == (uint32_t)(num_rows - 1 - i));
    tulle_free(&source);
    tulle_free(&index);
    tulle_free(&target);
}

static void test_launch_of_nothing_is_fine(void **state)
{
    assert_ok(tli_copy_rows_launch(&(tli_copy_args_t){.row_bytes = 8}, NULL));
    assert_ok(tli_push_rows_launch(&(tli_push_args_t){.num_segments = 0}, NULL));
    assert_ok(
        tli_reduce_rows_launch(&(tli_reduce_args_t){.datatype = TULLE_F64, .op = TULLE_OP_SUM, .width = 3}, 16, NULL));
    assert_ok(tli_device_synchronize(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy_and_push_in_every_space_match_host),
        cmocka_unit_test(test_reduce_every_datatype_and_op_matches_host),
        cmocka_unit_test(test_reduce_halves_of_every_pattern_match_host),
        cmocka_unit_test(test_copy_of_more_rows_than_threads),
        cmocka_unit_test(test_launch_of_nothing_is_fine),
    };
    void *memory = NULL;
    tulle_status_t st = tulle_alloc(TULLE_SPACE_DEVICE, 1, &memory);
    tulle_free(&memory);
    if (st == TULLE_ERR_UNSUPPORTED) {
        printf("skipped: %s\n", tulle_last_error()->text);
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
