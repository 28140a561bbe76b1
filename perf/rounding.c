/* SPDX-License-Identifier: Apache-2.0
 * Bounds of what rounding on the wire may do to the values of a case, all of them integers that f32 holds. */
#include "perf/rounding.h"

#include <math.h>

double perf_rounding_bound(tulle_wire_precision_t precision, double magnitude, double largest, int64_t num)
{
    switch (precision) {
    case TULLE_WIRE_PRECISION_BF16:
        return ldexp(magnitude, -8) + (double)num * ldexp(1, -134);
    case TULLE_WIRE_PRECISION_F16:
        return ldexp(magnitude, -11) + (double)num * ldexp(1, -25);
    case TULLE_WIRE_PRECISION_FP8:
        return ldexp(magnitude, -4) + (double)num * ldexp(largest, -17);
    case TULLE_WIRE_PRECISION_NONE:
        break;
    }
    return 0;
}

/* Scalars of a row beyond their bound. No number is within any. */
static int64_t judge_row(const perf_case_t *one, const float *got, int64_t num, double *error_out)
{
    const float *expected = one->expected;
    double largest = 0;
    int64_t num_wrong = 0;
    for (int64_t k = 0; k < one->values.width; k++)
        largest = fmax(largest, one->magnitude[k]);
    for (int64_t k = 0; k < one->values.width; k++) {
        double error = fabs((double)got[k] - (double)expected[k]);
        double bound = perf_rounding_bound(one->wire_precision, one->magnitude[k], largest, num);
        num_wrong += !(error <= bound);
        if (error > 0 && bound > 0)
            *error_out = fmax(*error_out, error / bound);
    }
    return num_wrong;
}

static int64_t judge_ghosts(const perf_case_t *one, const float *ghost, const int64_t *position, double *error_out)
{
    const perf_halo_t *halo = one->halo;
    int64_t width = one->values.width, num_wrong = 0;
    for (int64_t i = 0; i < halo->num_needed; i++) {
        perf_values_owned(&one->values, halo->needed_ids[i], one->expected);
        for (int64_t k = 0; k < width; k++)
            one->magnitude[k] = fabs((double)((const float *)one->expected)[k]);
        num_wrong += judge_row(one, ghost + (position == NULL ? i : position[i]) * width, 1, error_out);
    }
    return num_wrong;
}

static int64_t judge_owned(const perf_case_t *one, double *error_out)
{
    const perf_halo_t *halo = one->halo;
    int64_t num_wrong = 0;
    for (int64_t row = 0; row < halo->num_owned; row++) {
        int64_t id = halo->first_owned + row, first = halo->contributor_ptr[row];
        int64_t num = halo->contributor_ptr[row + 1] - first;
        perf_values_reduced(&one->values, id, halo->contributors + first, num, one->expected);
        perf_values_magnitude(&one->values, id, halo->contributors + first, num, one->magnitude);
        num_wrong += judge_row(one, (const float *)one->owned + row * one->values.width, num, error_out);
    }
    return num_wrong;
}

int64_t perf_rounding_count_wrong(const perf_case_t *one, const void *ghost, const int64_t *position, double *error_out)
{
    if (one->direction == TULLE_GATHER)
        return judge_ghosts(one, ghost, position, error_out) + perf_case_count_wrong_owned(one);
    return judge_owned(one, error_out) + perf_case_count_wrong_ghosts(one, ghost, position);
}
