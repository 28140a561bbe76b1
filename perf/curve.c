/* SPDX-License-Identifier: Apache-2.0
 * The generalised Hilbert curve ("gilbert", J. Cerveny): a rectangle is cut into two or three, through which the curve
 * passes one after the other, until they are lines. A lookup goes down into the one piece that it asks for. The
 * enclosing power of two with cells left out would be as short, but leaves and enters the rectangle many times, so that
 * blocks of it fall into pieces. */
#include "perf/curve.h"

#include <stdlib.h>

typedef struct vector {
    int64_t x, y;
} vector_t;

/* The curve enters at the first cell and leaves at the other end of `along`. Both sides are parallel to an axis, with
 * the sign of the direction, as long as there are cells. */
typedef struct region {
    vector_t first, along, across;
} region_t;

static vector_t add(vector_t a, vector_t b)
{
    return (vector_t){a.x + b.x, a.y + b.y};
}

static vector_t subtract(vector_t a, vector_t b)
{
    return (vector_t){a.x - b.x, a.y - b.y};
}

static int64_t length_of(vector_t side)
{
    return llabs(side.x + side.y); /* one of them is 0 */
}

static vector_t step_of(vector_t side)
{
    return (vector_t){(side.x > 0) - (side.x < 0), (side.y > 0) - (side.y < 0)};
}

static int64_t num_cells(const region_t *region)
{
    return length_of(region->along) * length_of(region->across);
}

/* An even half, where there is one: then every piece can be entered and left at neighbouring corners. */
static vector_t even_half(vector_t side)
{
    vector_t half = {side.x / 2, side.y / 2};
    return length_of(half) % 2 != 0 && length_of(side) > 2 ? add(half, step_of(side)) : half;
}

/* A long region is halved. Any other is walked as Hilbert does: up through one half, along the far side, down through
 * the other half. Returns the number of parts. */
static int split(const region_t *whole, region_t parts[3])
{
    vector_t across = even_half(whole->across);
    vector_t half = {whole->along.x / 2, whole->along.y / 2};
    vector_t rest = subtract(whole->along, half);
    vector_t last = subtract(add(whole->along, across), add(step_of(whole->along), step_of(across)));
    if (2 * length_of(whole->along) > 3 * length_of(whole->across)) {
        vector_t along = even_half(whole->along);
        parts[0] = (region_t){whole->first, along, whole->across};
        parts[1] = (region_t){add(whole->first, along), subtract(whole->along, along), whole->across};
        return 2;
    }
    parts[0] = (region_t){whole->first, across, half};
    parts[1] = (region_t){add(whole->first, across), whole->along, subtract(whole->across, across)};
    parts[2] = (region_t){add(whole->first, last), {-across.x, -across.y}, {-rest.x, -rest.y}};
    return 3;
}

/* How far a cell is from the first one in the direction of a side; negative behind it. */
static int64_t distance(const region_t *region, vector_t side, vector_t cell)
{
    vector_t way = subtract(cell, region->first);
    vector_t step = step_of(side);
    return way.x * step.x + way.y * step.y;
}

static int has_cell(const region_t *region, vector_t cell)
{
    int64_t along = distance(region, region->along, cell);
    int64_t across = distance(region, region->across, cell);
    return along >= 0 && along < length_of(region->along) && across >= 0 && across < length_of(region->across);
}

static int is_line(const region_t *region)
{
    return length_of(region->along) == 1 || length_of(region->across) == 1;
}

/* The whole is entered along its longer side. */
static region_t rectangle(int64_t width, int64_t height)
{
    region_t region = {{0, 0}, {width, 0}, {0, height}};
    if (height > width)
        region = (region_t){{0, 0}, {0, height}, {width, 0}};
    return region;
}

int64_t perf_curve_index(int64_t width, int64_t height, int64_t x, int64_t y)
{
    vector_t cell = {x, y};
    region_t region = rectangle(width, height);
    region_t parts[3];
    int64_t index = 0;
    while (!is_line(&region)) {
        int part = 0;
        split(&region, parts);
        while (!has_cell(&parts[part], cell))
            index += num_cells(&parts[part++]);
        region = parts[part];
    }
    return index + distance(&region, region.along, cell) + distance(&region, region.across, cell);
}

void perf_curve_cell(int64_t width, int64_t height, int64_t index, int64_t *x_out, int64_t *y_out)
{
    region_t region = rectangle(width, height);
    region_t parts[3];
    while (!is_line(&region)) {
        int part = 0;
        split(&region, parts);
        while (index >= num_cells(&parts[part]))
            index -= num_cells(&parts[part++]);
        region = parts[part];
    }
    vector_t step = step_of(length_of(region.along) > 1 ? region.along : region.across);
    *x_out = region.first.x + index * step.x;
    *y_out = region.first.y + index * step.y;
}
