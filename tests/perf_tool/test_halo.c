/* SPDX-License-Identifier: Apache-2.0
 * Who needs what, and the volumes counted from it, against a table of every pair on every rank. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "perf/halo.h"
#include "perf/volume.h"
#include "tests/perf_tool/harness.h"

#define MAX_RANKS 16
#define MAX_ROWS  128

/* needs[rank][row]: whether the rank holds an entry in that column and does not own it. Equal on every rank. */
typedef struct needs {
    unsigned char of[MAX_RANKS][MAX_ROWS];
} needs_t;

static void fill_needs(const perf_input_t *input, needs_t *needs)
{
    memset(needs, 0, sizeof *needs);
    for (int64_t i = 0; i < input->row_ptr[input->num_rows]; i++)
        if (perf_block_owner(input->cols, harness_size, input->col_idx[i]) != harness_rank)
            needs->of[harness_rank][input->col_idx[i]] = 1;
    MPI_Allreduce(MPI_IN_PLACE, needs, (int)sizeof *needs, MPI_UNSIGNED_CHAR, MPI_MAX, harness_comm);
}

static void check_needed(const perf_halo_t *halo, const needs_t *needs)
{
    int64_t num = 0;
    for (int64_t row = 0; row < halo->num_rows; row++)
        if (needs->of[halo->rank][row])
            assert_int_equal(halo->needed_ids[num++], row);
    assert_int_equal(halo->num_needed, num);
    for (int r = 0; r < halo->num_ranks; r++) {
        assert_int_equal(halo->needed_start[r + 1] - halo->needed_start[r], halo->needed_count[r]);
        for (int i = halo->needed_start[r]; i < halo->needed_start[r + 1]; i++)
            assert_int_equal(perf_block_owner(halo->num_rows, halo->num_ranks, halo->needed_ids[i]), r);
    }
}

static void check_wanted(const perf_halo_t *halo, const needs_t *needs)
{
    int64_t num = 0;
    for (int r = 0; r < halo->num_ranks; r++) {
        assert_int_equal(halo->wanted_start[r], num);
        for (int64_t row = 0; row < halo->num_owned; row++)
            if (needs->of[r][halo->first_owned + row])
                assert_int_equal(halo->wanted_rows[num++], row);
        assert_int_equal(halo->wanted_start[r] + halo->wanted_count[r], num);
    }
    assert_int_equal(halo->num_wanted, num);
    num = 0;
    for (int64_t row = 0; row < halo->num_owned; row++) {
        assert_int_equal(halo->contributor_ptr[row], num);
        for (int r = 0; r < halo->num_ranks; r++)
            if (needs->of[r][halo->first_owned + row])
                assert_int_equal(halo->contributors[num++], r);
    }
    assert_int_equal(halo->contributor_ptr[halo->num_owned], num);
}

/* The definitions of the words, row by row. */
static perf_volume_t count_by_definition(const needs_t *needs, int64_t num_rows, const int *node_of)
{
    perf_volume_t volume = {0, 0, 0, 0, 0, 0};
    int64_t entering[MAX_RANKS] = {0}; /* by node */
    int64_t leaving[MAX_RANKS] = {0};
    unsigned char is_naive[MAX_RANKS][MAX_RANKS] = {{0}};
    unsigned char is_direct[MAX_RANKS][MAX_RANKS] = {{0}};
    for (int64_t row = 0; row < num_rows; row++) {
        int owner = perf_block_owner(num_rows, harness_size, row);
        unsigned char enters[MAX_RANKS] = {0}; /* by node */
        for (int r = 0; r < harness_size; r++) {
            if (node_of[r] == node_of[owner])
                continue;
            volume.naive_rows++;
            volume.direct_rows += needs->of[r][row];
            is_naive[owner][r] = 1;
            is_direct[owner][r] |= needs->of[r][row];
            enters[node_of[r]] |= needs->of[r][row];
        }
        for (int node = 0; node < harness_size; node++) {
            volume.limit_rows += enters[node];
            entering[node] += enters[node];
            leaving[node_of[owner]] += enters[node];
        }
    }
    for (int i = 0; i < 2 * MAX_RANKS; i++) {
        int64_t rows = i % 2 ? entering[i / 2] : leaving[i / 2];
        volume.busiest_rows = rows > volume.busiest_rows ? rows : volume.busiest_rows;
    }
    for (int i = 0; i < MAX_RANKS * MAX_RANKS; i++) {
        volume.naive_messages += is_naive[i / MAX_RANKS][i % MAX_RANKS];
        volume.direct_messages += is_direct[i / MAX_RANKS][i % MAX_RANKS];
    }
    return volume;
}

static void check_volumes(const perf_halo_t *halo, const needs_t *needs)
{
    for (int ranks_per_node = 1; ranks_per_node <= 3; ranks_per_node++)
        for (int is_cyclic = 0; is_cyclic < 2; is_cyclic++) {
            int node_of[MAX_RANKS];
            int num_nodes = (harness_size + ranks_per_node - 1) / ranks_per_node;
            perf_volume_t volume;
            for (int r = 0; r < harness_size; r++)
                node_of[r] = is_cyclic ? r % num_nodes : r / ranks_per_node;
            perf_volume_t expected = count_by_definition(needs, halo->num_rows, node_of);
            assert_int_equal(perf_volume_count(halo, node_of, &volume), TULLE_OK);
            assert_memory_equal(&volume, &expected, sizeof volume);
        }
}

static void check_input(perf_input_t *input)
{
    perf_halo_t halo;
    needs_t needs;
    assert_int_equal(perf_halo_create(harness_comm, input, &halo), TULLE_OK);
    assert_int_equal(halo.num_rows, input->cols);
    assert_int_equal(halo.num_owned, input->num_cols);
    fill_needs(input, &needs);
    check_needed(&halo, &needs);
    check_wanted(&halo, &needs);
    check_volumes(&halo, &needs);
    perf_halo_release(&halo);
    perf_halo_release(&halo);
    perf_input_release(input);
}

static void test_halo_random_matrices_match_table(void **state)
{
    static const int64_t rows[] = {0, 3, 17, MAX_ROWS};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int64_t nnz = 0; nnz <= 5; nnz += 5) {
            perf_input_t input;
            assert_int_equal(perf_input_make_random(harness_comm, rows[i], nnz, (uint64_t)i, &input), TULLE_OK);
            check_input(&input);
        }
}

static void test_halo_grid_matches_table(void **state)
{
    static const int64_t dims[3] = {8, 5, 3};
    static const int periodic[3] = {1, 0, 1};
    perf_input_t input;
    assert_int_equal(perf_input_make_grid(harness_comm, dims, 3, 27, periodic, &input), TULLE_OK);
    check_input(&input);
}

static void test_volume_check_names_what_differs(void **state)
{
    perf_volume_t volume = {100, 50, 40, 12, 6, 0};
    tulle_plan_stats_t stats;
    memset(&stats, 0, sizeof stats);
    stats.num_levels = 1;
    stats.levels[0] = (tulle_level_stats_t){"node", 100, 50, 45, 40, 12, 6, 4, 0};
    assert_int_equal(perf_volume_check(&volume, &stats), TULLE_OK);
    stats.levels[0].limit_rows = 41;
    assert_int_equal(perf_volume_check(&volume, &stats), TULLE_ERR_MISMATCH);
    assert_non_null(strstr(tulle_last_error()->text, "41 limit rows"));
    volume.limit_rows = -1; /* not counted */
    assert_int_equal(perf_volume_check(&volume, &stats), TULLE_OK);
    stats.levels[0].plan_rows = 40;
    assert_int_equal(perf_volume_check(&volume, &stats), TULLE_ERR_MISMATCH);
    assert_non_null(strstr(tulle_last_error()->text, "fewer than the limit"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_halo_random_matrices_match_table),
        cmocka_unit_test(test_halo_grid_matches_table),
        cmocka_unit_test(test_volume_check_names_what_differs),
    };
    harness_init(&argc, &argv);
    return harness_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
