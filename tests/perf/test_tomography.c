/* SPDX-License-Identifier: Apache-2.0
 * The matrix of a scan against every line cut with every square, one pair at a time, and its lengths against the chords
 * of the whole image. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "perf/curve.h"
#include "perf/tomography.h"
#include "src/arena.h"
#include "tests/perf/world.h"

#define TOUCH 1e-9 /* [pixels] shorter is no crossing */

static const perf_scan_t scans[] = {{1, 1},  {1, 7},  {2, 4},  {3, 4},   {4, 1},  {5, 8}, {8, 6},
                                    {9, 12}, {16, 9}, {17, 4}, {12, 31}, {20, 2}, {3, 64}};

#define NUM_SCANS (sizeof scans / sizeof scans[0])

/* Keep of [*from, *to] what lies in the strip low <= point + t * step <= high. */
static void clip(double point, double step, double low, double high, double *from, double *to)
{
    double a = (low - point) / step;
    double b = (high - point) / step;
    if (fabs(step) < 1e-12) { /* along the strip: all or nothing */
        a = point > low && point < high ? *from : *to;
        b = *to;
    }
    *from = fmax(*from, fmin(a, b));
    *to = fmin(*to, fmax(a, b));
}

/* Length of a ray in the square from (x, y) with sides of `extent`: the line as a point and a direction, cut by two
 * strips. */
static double cut(const perf_scan_t *scan, int64_t angle, int64_t detector, double x, double y, double extent)
{
    double phi = acos(-1) * (double)angle / (double)scan->num_angles;
    double half = (double)scan->side / 2;
    double s = (double)detector + 0.5 - half;
    double from = -4 * half - 4;
    double to = -from;
    clip(s * cos(phi), -sin(phi), x - half, x - half + extent, &from, &to);
    clip(s * sin(phi), cos(phi), y - half, y - half + extent, &from, &to);
    return to > from ? to - from : 0;
}

static void assert_row_is_cut(const perf_scan_t *scan, const perf_input_t *input, int64_t row)
{
    int64_t x = 0;
    int64_t y = 0;
    int64_t k = input->row_ptr[row];
    perf_curve_cell(scan->side, scan->side, input->first_row + row, &x, &y);
    for (int64_t ray = 0; ray < input->cols; ray++) {
        int64_t detector = 0;
        int64_t angle = 0;
        perf_curve_cell(scan->side, scan->num_angles, ray, &detector, &angle);
        double length = cut(scan, angle, detector, (double)x, (double)y, 1);
        double found = perf_scan_length(scan, angle, detector, x, y);
        int is_entry = k < input->row_ptr[row + 1] && input->col_idx[k] == ray;
        assert_int_equal(is_entry, length > TOUCH);
        assert_true(fabs(found - length) < TOUCH && (found > 0) == is_entry);
        k += is_entry;
    }
    assert_int_equal(k, input->row_ptr[row + 1]);
}

static void test_tomography_entries_are_the_pixels_that_rays_cross(void **state)
{
    for (size_t i = 0; i < NUM_SCANS; i++) {
        perf_input_t input = {0};
        assert_int_equal(perf_input_make_tomography(MPI_COMM_WORLD, scans[i].side, scans[i].num_angles, &input),
                         TULLE_OK);
        assert_is_well_formed(&input);
        assert_int_equal(input.rows, scans[i].side * scans[i].side);
        assert_int_equal(input.cols, scans[i].side * scans[i].num_angles);
        for (int64_t row = 0; row < input.num_rows; row++)
            assert_row_is_cut(&scans[i], &input, row);
        perf_input_release(&input);
    }
}

/* This rank's part of each ray's length. */
static void add_lengths(const perf_scan_t *scan, const perf_input_t *input, double *lengths)
{
    for (int64_t row = 0; row < input->num_rows; row++) {
        int64_t x = 0;
        int64_t y = 0;
        perf_curve_cell(scan->side, scan->side, input->first_row + row, &x, &y);
        for (int64_t k = input->row_ptr[row]; k < input->row_ptr[row + 1]; k++) {
            int64_t detector = 0;
            int64_t angle = 0;
            perf_curve_cell(scan->side, scan->num_angles, input->col_idx[k], &detector, &angle);
            lengths[input->col_idx[k]] += perf_scan_length(scan, angle, detector, x, y);
        }
    }
}

static void assert_lengths_are_chords(const perf_scan_t *scan)
{
    perf_input_t input = {0};
    int num_rays = (int)(scan->side * scan->num_angles);
    double *lengths = calloc((size_t)num_rays, sizeof *lengths);
    assert_non_null(lengths);
    assert_int_equal(perf_input_make_tomography(MPI_COMM_WORLD, scan->side, scan->num_angles, &input), TULLE_OK);
    add_lengths(scan, &input, lengths);
    MPI_Allreduce(MPI_IN_PLACE, lengths, num_rays, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (int64_t ray = 0; ray < num_rays; ray++) {
        int64_t detector = 0;
        int64_t angle = 0;
        perf_curve_cell(scan->side, scan->num_angles, ray, &detector, &angle);
        double chord = cut(scan, angle, detector, 0, 0, (double)scan->side);
        assert_true(fabs(lengths[ray] - chord) < 2 * (double)scan->side * TOUCH);
    }
    perf_input_release(&input);
    free(lengths);
}

static void test_tomography_lengths_of_a_ray_add_up_to_its_chord(void **state)
{
    static const perf_scan_t larger[] = {{64, 45}, {61, 60}};
    for (size_t i = 0; i < NUM_SCANS; i++)
        assert_lengths_are_chords(&scans[i]);
    for (size_t i = 0; i < sizeof larger / sizeof larger[0]; i++)
        assert_lengths_are_chords(&larger[i]);
}

/* One rank's copy of the whole, made alone, is the reference for every number of ranks. */
static void test_tomography_is_the_same_on_any_number_of_ranks(void **state)
{
    for (size_t i = 0; i < NUM_SCANS; i++) {
        perf_input_t whole = {0};
        perf_input_t part = {0};
        assert_int_equal(perf_input_make_tomography(MPI_COMM_SELF, scans[i].side, scans[i].num_angles, &whole),
                         TULLE_OK);
        assert_int_equal(perf_input_make_tomography(MPI_COMM_WORLD, scans[i].side, scans[i].num_angles, &part),
                         TULLE_OK);
        assert_int_equal(part.nnz, whole.nnz);
        int64_t offset = whole.row_ptr[part.first_row];
        for (int64_t row = 0; row <= part.num_rows; row++)
            assert_int_equal(part.row_ptr[row] + offset, whole.row_ptr[part.first_row + row]);
        assert_memory_equal(part.col_idx, whole.col_idx + offset,
                            (size_t)part.row_ptr[part.num_rows] * sizeof(int64_t));
        perf_input_release(&whole);
        perf_input_release(&part);
    }
}

static void test_tomography_name_tells_the_scan(void **state)
{
    perf_input_t input = {0};
    assert_int_equal(perf_input_make_tomography(MPI_COMM_WORLD, 6, 5, &input), TULLE_OK);
    assert_string_equal(input.name, "tomography-6x5");
    perf_input_release(&input);
}

static void test_tomography_bad_arguments_are_refused(void **state)
{
    static const struct {
        perf_scan_t scan;
        tulle_status_t status;
    } cases[] = {{{0, 4}, TULLE_ERR_ARG},
                 {{4, 0}, TULLE_ERR_ARG},
                 {{-1, -1}, TULLE_ERR_ARG},
                 {{PERF_SCAN_MOST + 1, 1}, TULLE_ERR_OVERFLOW},
                 {{1, INT64_MAX}, TULLE_ERR_OVERFLOW}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        perf_input_t input = {0};
        assert_int_equal(
            perf_input_make_tomography(MPI_COMM_WORLD, cases[k].scan.side, cases[k].scan.num_angles, &input),
            cases[k].status);
        assert_null(input.row_ptr);
    }
}

/* On the last rank only: the others must fail with it and say whose fault it is. */
static void test_tomography_fails_on_all_ranks_when_an_allocation_fails_on_one(void **state)
{
    int64_t live = tli_alloc_live();
    tulle_status_t st = TULLE_ERR_NOMEM;
    int64_t k = 0;
    for (k = 1; st != TULLE_OK; k++) {
        perf_input_t input = {0};
        int is_failing = world_rank() == world_size() - 1;
        tli_alloc_fail_at(is_failing ? k : 0);
        st = perf_input_make_tomography(MPI_COMM_WORLD, 9, 5, &input);
        tli_alloc_fail_at(0);
        assert_true(st == TULLE_OK || st == (is_failing ? TULLE_ERR_NOMEM : TULLE_ERR_REMOTE));
        assert_true((st == TULLE_OK) == (input.row_ptr != NULL));
        perf_input_release(&input);
        assert_int_equal(tli_alloc_live(), live);
    }
    assert_true(k > 3); /* offsets, angles, entries */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tomography_entries_are_the_pixels_that_rays_cross),
        cmocka_unit_test(test_tomography_lengths_of_a_ray_add_up_to_its_chord),
        cmocka_unit_test(test_tomography_is_the_same_on_any_number_of_ranks),
        cmocka_unit_test(test_tomography_name_tells_the_scan),
        cmocka_unit_test(test_tomography_bad_arguments_are_refused),
        cmocka_unit_test(test_tomography_fails_on_all_ranks_when_an_allocation_fails_on_one),
    };
    world_init(&argc, &argv);
    return world_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
