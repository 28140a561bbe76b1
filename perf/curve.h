/* SPDX-License-Identifier: Apache-2.0
 * A Hilbert curve through any rectangle of cells. Blocks of a line that follows it are compact pieces of the plane, so
 * that what lies beside each other there mostly has one owner. */
#ifndef PERF_CURVE_H
#define PERF_CURVE_H

#include <stdint.h>

/**
 * Place of a cell on the curve, which starts at cell (0, 0) and visits each cell once. From each cell it goes on to one
 * beside it; but once across a corner, where the longer side is odd and the shorter one even and above 2.
 * @param[in] width, height [cells] >= 1; their product fits in 62 bits
 * @param[in] x, y          0 to width - 1, 0 to height - 1
 * @return 0 to width * height - 1
 * @cost O(log(width + height))
 */
int64_t perf_curve_index(int64_t width, int64_t height, int64_t x, int64_t y);

/** The cell at a place: the inverse of perf_curve_index(), at the same cost. */
void perf_curve_cell(int64_t width, int64_t height, int64_t index, int64_t *x_out, int64_t *y_out);

#endif
