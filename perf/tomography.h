/* SPDX-License-Identifier: Apache-2.0
 * Geometry of a parallel-beam scan. The image is a square of unit pixels around the origin; at angle k of n the rays
 * are the lines x cos(pi k / n) + y sin(pi k / n) = s, one for each of `side` detectors of unit width, whose middle is
 * the origin's shadow. */
#ifndef PERF_TOMOGRAPHY_H
#define PERF_TOMOGRAPHY_H

#include <stdint.h>

#define PERF_SCAN_MOST 1048576 /* of side and angles: positions stay exact to 1e-10 pixels */

typedef struct perf_scan {
    int64_t side;       /* [pixels] of the image, [detectors] */
    int64_t num_angles; /* over half a turn */
} perf_scan_t;

/**
 * Length of a ray within a pixel, as Siddon's tracing finds it, from the pixel alone. 0 where it passes by, or touches
 * a corner.
 * @param[in] angle    0 to num_angles - 1
 * @param[in] detector 0 to side - 1
 * @param[in] x, y     pixel, 0 to side - 1
 * @return [pixels] 0 to sqrt(2)
 */
double perf_scan_length(const perf_scan_t *scan, int64_t angle, int64_t detector, int64_t x, int64_t y);

#endif
