/* SPDX-License-Identifier: Apache-2.0
 * The matrix that partial sinograms are reduced by. Of parallel rays those that cross a pixel are neighbours, so each
 * rank finds the rays of its own pixels, angle by angle, and traces none. */
#include "perf/tomography.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "perf/curve.h"
#include "perf/input.h"
#include "src/fault.h"

#define PI              3.14159265358979323846
#define SHORTEST_LENGTH 1e-9 /* [pixels] a shorter one is rounding: the ray touches a corner */

/* Of the rays at one angle. */
typedef struct normal {
    double x, y;
} normal_t;

static normal_t normal_at(const perf_scan_t *scan, int64_t angle)
{
    double phi = PI * (double)angle / (double)scan->num_angles;
    return (normal_t){cos(phi), sin(phi)};
}

/* Where the middle of a pixel casts its shadow: on detector 0 at 0, on detector 1 at 1, with all between. */
static double shadow_of(const perf_scan_t *scan, normal_t normal, int64_t x, int64_t y)
{
    double middle = (double)(scan->side - 1) / 2;
    return ((double)x - middle) * normal.x + ((double)y - middle) * normal.y + middle;
}

/* Half the width of a pixel's shadow. */
static double reach_of(normal_t normal)
{
    return (fabs(normal.x) + fabs(normal.y)) / 2;
}

/* A unit square is crossed from side to opposite side near its middle, and further out around a corner, where the
 * length falls to 0 in proportion. */
static double length_at(normal_t normal, double offset)
{
    double larger = fmax(fabs(normal.x), fabs(normal.y));
    double smaller = fmin(fabs(normal.x), fabs(normal.y));
    double margin = reach_of(normal) - fabs(offset);
    if (margin >= smaller) /* also where rays are parallel to a side: no corner is cut */
        return 1 / larger;
    return margin > 0 ? margin / (larger * smaller) : 0;
}

static double trim(double length)
{
    return length < SHORTEST_LENGTH ? 0 : length;
}

double perf_scan_length(const perf_scan_t *scan, int64_t angle, int64_t detector, int64_t x, int64_t y)
{
    normal_t normal = normal_at(scan, angle);
    return trim(length_at(normal, (double)detector - shadow_of(scan, normal, x, y)));
}

/* What all pixels of a rank share. */
typedef struct sweep {
    perf_scan_t scan;
    normal_t *normals; /* [num_angles] */
} sweep_t;

/* The first detector whose ray crosses a pixel, and how many do: at most 2, as a shadow is narrower than that. */
static int find_detectors(const sweep_t *sweep, int64_t angle, int64_t x, int64_t y, int64_t *first_out)
{
    normal_t normal = sweep->normals[angle];
    double shadow = shadow_of(&sweep->scan, normal, x, y);
    double reach = reach_of(normal);
    int64_t last = (int64_t)fmin(floor(shadow + reach), (double)(sweep->scan.side - 1));
    int count = 0;
    for (int64_t detector = (int64_t)fmax(ceil(shadow - reach), 0); detector <= last; detector++)
        if (trim(length_at(normal, (double)detector - shadow)) > 0 && count++ == 0)
            *first_out = detector;
    return count;
}

static int64_t count_rays(const sweep_t *sweep, int64_t x, int64_t y)
{
    int64_t first = 0;
    int64_t count = 0;
    for (int64_t angle = 0; angle < sweep->scan.num_angles; angle++)
        count += find_detectors(sweep, angle, x, y, &first);
    return count;
}

static int compare_columns(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void fill_rays(const sweep_t *sweep, int64_t x, int64_t y, int64_t *columns)
{
    const perf_scan_t *scan = &sweep->scan;
    int64_t num = 0;
    for (int64_t angle = 0; angle < scan->num_angles; angle++) {
        int64_t first = 0;
        int count = find_detectors(sweep, angle, x, y, &first);
        for (int i = 0; i < count; i++)
            columns[num++] = perf_curve_index(scan->side, scan->num_angles, first + i, angle);
    }
    qsort(columns, (size_t)num, sizeof *columns, compare_columns);
}

static tulle_status_t make_normals(const perf_scan_t *scan, tli_arena_t *arena, sweep_t *sweep)
{
    tulle_status_t st = TULLE_OK;
    sweep->scan = *scan;
    TLI_TRY(tli_arena_alloc_raw(arena, scan->num_angles, sizeof *sweep->normals, &sweep->normals));
    for (int64_t angle = 0; angle < scan->num_angles; angle++)
        sweep->normals[angle] = normal_at(scan, angle);
done:
    return st;
}

/* Counted, then filled: twice the search is cheaper than room for the most rays that pixels could have. */
static tulle_status_t fill_pixels(const sweep_t *sweep, perf_input_t *input)
{
    tulle_status_t st = TULLE_OK;
    int64_t side = sweep->scan.side;
    int64_t x = 0;
    int64_t y = 0;
    for (int64_t row = 0; row < input->num_rows; row++) {
        perf_curve_cell(side, side, input->first_row + row, &x, &y);
        input->row_ptr[row + 1] = input->row_ptr[row] + count_rays(sweep, x, y);
    }
    TLI_TRY(tli_arena_alloc_raw(&input->arena, input->row_ptr[input->num_rows], sizeof(int64_t), &input->col_idx));
    for (int64_t row = 0; row < input->num_rows; row++) {
        perf_curve_cell(side, side, input->first_row + row, &x, &y);
        fill_rays(sweep, x, y, input->col_idx + input->row_ptr[row]);
    }
done:
    return st;
}

static tulle_status_t fill_scan(MPI_Comm comm, const perf_scan_t *scan, perf_input_t *input)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    sweep_t sweep = {{0}, NULL};
    TLI_REQUIRE(scan->side >= 1 && scan->num_angles >= 1, TULLE_ERR_ARG, "%lld pixels a side and %lld angles",
                (long long)scan->side, (long long)scan->num_angles);
    TLI_REQUIRE(scan->side <= PERF_SCAN_MOST && scan->num_angles <= PERF_SCAN_MOST, TULLE_ERR_OVERFLOW,
                "%lld pixels a side or %lld angles are more than %d", (long long)scan->side,
                (long long)scan->num_angles, PERF_SCAN_MOST);
    TLI_TRY(perf_input_init(comm, scan->side * scan->side, scan->side * scan->num_angles, input));
    TLI_TRY(make_normals(scan, &scratch, &sweep));
    TLI_TRY(fill_pixels(&sweep, input));
done:
    tli_arena_release(&scratch);
    return st;
}

tulle_status_t perf_input_make_tomography(MPI_Comm comm, int64_t side, int64_t num_angles, perf_input_t *input_out)
{
    perf_input_t input = {0};
    perf_scan_t scan = {side, num_angles};
    tulle_status_t st = fill_scan(comm, &scan, &input);
    snprintf(input.name, sizeof input.name, "tomography-%lldx%lld", (long long)side, (long long)num_angles);
    return perf_input_finish(comm, st, &input, input_out);
}
