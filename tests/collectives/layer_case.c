/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/collectives/layer_case.h"

#include <math.h>
#include <string.h>

#include "tests/src/half_reference.h"

double layer_case_random_value(spt_random_t *random)
{
    return (double)(spt_below(random, 2001) - 1000) / 500;
}

/* Cut anywhere, so that ranks have different numbers of units, and some none. */
static void deal(spt_random_t *random, layer_case_t *m, int level)
{
    int64_t end = 0;
    for (int r = 0; r < spt_size(); r++) {
        int64_t first = end;
        end = r == spt_size() - 1 ? m->num_units[level] : first + spt_below(random, m->num_units[level] - first + 1);
        if (r == spt_rank()) {
            m->first[level] = first;
            m->num_mine[level] = end - first;
        }
    }
}

static void fill_layer(spt_random_t *random, layer_case_t *m, int l, int kinds)
{
    m->activation[l] = (tulle_activation_t)spt_below(random, kinds);
    m->limit[l] = 1.5;
    m->has_sparse_bias[l] = m->activation[l] != TULLE_ACTIVATION_NONE && spt_below(random, 2);
    for (int64_t i = 0; i < m->num_units[l + 1]; i++) {
        m->bias[l][i] = layer_case_random_value(random) / 2;
        for (int64_t j = 0; j < m->num_units[l]; j++) {
            m->is_there[l][i][j] = spt_below(random, 5) == 0;
            m->weight[l][i][j] = m->is_there[l][i][j] ? layer_case_random_value(random) : 0;
        }
    }
}

void layer_case_change_weights(spt_random_t *random, layer_case_t *m, int l)
{
    for (int64_t i = 0; i < m->num_units[l + 1]; i++) {
        m->bias[l][i] = layer_case_random_value(random);
        for (int64_t j = 0; j < m->num_units[l]; j++)
            m->weight[l][i][j] = m->is_there[l][i][j] ? layer_case_random_value(random) : 0;
    }
}

static double coarse(double value)
{
    return round(4 * value) / 4;
}

void layer_case_coarsen(layer_case_t *m)
{
    for (int l = 0; l < m->num_layers; l++)
        for (int64_t i = 0; i < LAYER_CASE_MOST_UNITS; i++) {
            m->bias[l][i] = coarse(m->bias[l][i]);
            for (int64_t j = 0; j < LAYER_CASE_MOST_UNITS; j++)
                m->weight[l][i][j] = coarse(m->weight[l][i][j]);
        }
    for (int64_t i = 0; i < LAYER_CASE_MOST_UNITS; i++)
        for (int64_t k = 0; k < m->width; k++) {
            m->x[i][k] = coarse(m->x[i][k]);
            m->dy[i][k] = coarse(m->dy[i][k]);
        }
}

layer_case_t *layer_case_make(spt_random_t *random, int num_layers, int kinds)
{
    layer_case_t *m = spt_alloc(1, sizeof *m);
    m->num_layers = num_layers;
    m->rounds_to = TULLE_F64;
    m->width = 1 + spt_below(random, LAYER_CASE_MOST_WIDTH);
    for (int level = 0; level <= num_layers; level++) {
        m->num_units[level] = 1 + spt_below(random, LAYER_CASE_MOST_UNITS);
        deal(random, m, level);
    }
    for (int l = 0; l < num_layers; l++)
        fill_layer(random, m, l, kinds);
    for (int64_t i = 0; i < LAYER_CASE_MOST_UNITS; i++)
        for (int64_t k = 0; k < m->width; k++) {
            m->x[i][k] = layer_case_random_value(random);
            m->dy[i][k] = layer_case_random_value(random);
        }
    return m;
}

/* --- the serial model -------------------------------------------------------------------------------------------- */

double layer_case_rounded(tulle_datatype_t type, double value)
{
    if (type != TULLE_F16 && type != TULLE_BF16)
        return value;
    half_format_t format = type == TULLE_F16 ? half_f16 : half_bf16;
    return half_reference_value(format, half_reference_nearest(format, value));
}

static double activate(const layer_case_t *m, int l, double product, double bias)
{
    double z = m->has_sparse_bias[l] && product == 0 ? 0 : product + bias;
    if (m->activation[l] != TULLE_ACTIVATION_NONE && z < 0)
        z = 0;
    return m->activation[l] == TULLE_ACTIVATION_CLAMP && z > m->limit[l] ? m->limit[l] : z;
}

static void run_serially(const layer_case_t *m, double y[LAYER_CASE_MOST_UNITS][LAYER_CASE_MOST_WIDTH])
{
    double x[LAYER_CASE_MOST_UNITS][LAYER_CASE_MOST_WIDTH];
    memcpy(x, m->x, sizeof x);
    for (int l = 0; l < m->num_layers; l++) {
        memset(y, 0, sizeof x);
        for (int64_t i = 0; i < m->num_units[l + 1]; i++)
            for (int64_t k = 0; k < m->width; k++) {
                double product = 0;
                for (int64_t j = 0; j < m->num_units[l]; j++)
                    product += m->weight[l][i][j] * x[j][k];
                y[i][k] = layer_case_rounded(m->rounds_to,
                                             activate(m, l, layer_case_rounded(m->rounds_to, product), m->bias[l][i]));
            }
        memcpy(x, y, sizeof x);
    }
}

static double loss_of(const layer_case_t *m)
{
    double y[LAYER_CASE_MOST_UNITS][LAYER_CASE_MOST_WIDTH];
    double loss = 0;
    run_serially(m, y);
    for (int64_t i = 0; i < m->num_units[m->num_layers]; i++)
        for (int64_t k = 0; k < m->width; k++)
            loss += m->dy[i][k] * y[i][k];
    return loss;
}

/* Central difference of the loss by one number of the model. Two steps agree unless a kink lies between. */
static double differentiate(layer_case_t *m, double *number, int *is_smooth)
{
    double difference[2];
    double kept = *number;
    for (int s = 0; s < 2; s++) {
        double step = s == 0 ? 1e-5 : 1e-6;
        *number = kept + step;
        double above = loss_of(m);
        *number = kept - step;
        difference[s] = (above - loss_of(m)) / (2 * step);
    }
    *number = kept;
    *is_smooth = fabs(difference[0] - difference[1]) < 1e-6 * (1 + fabs(difference[0]));
    return difference[0];
}

/* --- the model on all ranks -------------------------------------------------------------------------------------- */

void *layer_case_values(int64_t num, tulle_datatype_t type)
{
    return spt_alloc(num, tulle_datatype_size(type));
}

static void put(void *values, tulle_datatype_t type, int64_t i, double value)
{
    if (type == TULLE_F16)
        ((uint16_t *)values)[i] = half_reference_nearest(half_f16, value);
    else if (type == TULLE_BF16)
        ((uint16_t *)values)[i] = half_reference_nearest(half_bf16, value);
    else if (type == TULLE_F32)
        ((float *)values)[i] = (float)value;
    else
        ((double *)values)[i] = value;
}

double layer_case_get(const void *values, tulle_datatype_t type, int64_t i)
{
    if (type == TULLE_F16 || type == TULLE_BF16)
        return half_reference_value(type == TULLE_F16 ? half_f16 : half_bf16, ((const uint16_t *)values)[i]);
    return type == TULLE_F32 ? (double)((const float *)values)[i] : ((const double *)values)[i];
}

tulle_layer_t layer_case_describe(const layer_case_t *m, int l, tulle_datatype_t type)
{
    int64_t n = 0;
    int64_t *row_ptr = spt_alloc(m->num_mine[l + 1] + 1, sizeof *row_ptr);
    int64_t *columns = spt_alloc(m->num_mine[l + 1] * m->num_units[l], sizeof *columns);
    void *values = layer_case_values(m->num_mine[l + 1] * m->num_units[l], type);
    void *bias = layer_case_values(m->num_mine[l + 1], type);
    for (int64_t r = 0; r < m->num_mine[l + 1]; r++) {
        int64_t i = m->first[l + 1] + r;
        put(bias, type, r, m->bias[l][i]);
        for (int64_t j = 0; j < m->num_units[l]; j++)
            if (m->is_there[l][i][j]) {
                columns[n] = j;
                put(values, type, n++, m->weight[l][i][j]);
            }
        row_ptr[r + 1] = n;
    }
    tulle_layer_t layer = {TULLE_LAYOUT_BLOCK(m->num_mine[l + 1]),
                           {row_ptr, columns, values, TULLE_I64, type},
                           bias,
                           m->activation[l],
                           m->limit[l],
                           m->has_sparse_bias[l]};
    return layer;
}

tulle_status_t layer_case_create(const layer_case_t *m, tulle_comm_t *comm, tulle_datatype_t type,
                                 const tulle_spmm_options_t *product, int is_training, tulle_layers_t **layers_out)
{
    tulle_layer_t described[LAYER_CASE_MOST_LAYERS];
    tulle_layout_t inputs = TULLE_LAYOUT_BLOCK(m->num_mine[0]);
    tulle_layers_options_t options = TULLE_LAYERS_OPTIONS_INIT;
    options.product = product;
    options.is_training = is_training;
    for (int l = 0; l < m->num_layers; l++)
        described[l] = layer_case_describe(m, l, type);
    return tulle_layers_create(comm, &inputs, described, m->num_layers, &options, layers_out);
}

void *layer_case_rows(const double rows[LAYER_CASE_MOST_UNITS][LAYER_CASE_MOST_WIDTH], int64_t first, int64_t num,
                      int64_t width, tulle_datatype_t type)
{
    void *mine = layer_case_values(num * (width + 1), type);
    for (int64_t i = 0; i < num; i++)
        for (int64_t k = 0; k <= width; k++)
            put(mine, type, i * (width + 1) + k, k < width && rows != NULL ? rows[first + i][k] : 77);
    return mine;
}

/* --- what comes out ----------------------------------------------------------------------------------------------- */

int layer_case_output_is_right(const layer_case_t *m, const void *y, tulle_datatype_t type)
{
    double expected[LAYER_CASE_MOST_UNITS][LAYER_CASE_MOST_WIDTH];
    double tolerance = m->rounds_to != TULLE_F64 ? 0 : type == TULLE_F32 ? 2e-4 : 1e-11;
    int last = m->num_layers, is_right = 1;
    run_serially(m, expected);
    for (int64_t i = 0; i < m->num_mine[last]; i++)
        for (int64_t k = 0; k <= m->width; k++) {
            double wanted = k < m->width ? expected[m->first[last] + i][k] : 77;
            double found = layer_case_get(y, type, i * (m->width + 1) + k);
            is_right &= fabs(found - wanted) <= tolerance * (1 + fabs(wanted));
        }
    return is_right;
}

/* --- gradients --------------------------------------------------------------------------------------------------- */

layer_case_found_t layer_case_alloc_found(const layer_case_t *m, tulle_datatype_t type)
{
    layer_case_found_t found = {layer_case_rows(NULL, 0, m->num_mine[0], m->width, type), {NULL}, {NULL}};
    for (int l = 0; l < m->num_layers; l++) {
        found.weights[l] = layer_case_values(m->num_mine[l + 1] * m->num_units[l], type);
        found.bias[l] = layer_case_values(m->num_mine[l + 1], type);
    }
    return found;
}

static int is_close(double found, layer_case_t *m, double *number)
{
    int is_smooth = 0;
    double expected = differentiate(m, number, &is_smooth);
    return !is_smooth || fabs(found - expected) < 1e-5 * (1 + fabs(expected));
}

int layer_case_weights_are_right(layer_case_t *m, const layer_case_found_t *found, int l)
{
    int is_right = 1;
    int64_t n = 0;
    for (int64_t r = 0; r < m->num_mine[l + 1]; r++) {
        int64_t i = m->first[l + 1] + r;
        is_right &= is_close(layer_case_get(found->bias[l], TULLE_F64, r), m, &m->bias[l][i]);
        for (int64_t j = 0; j < m->num_units[l]; j++)
            if (m->is_there[l][i][j])
                is_right &= is_close(layer_case_get(found->weights[l], TULLE_F64, n++), m, &m->weight[l][i][j]);
    }
    return is_right;
}

int layer_case_inputs_are_right(layer_case_t *m, const layer_case_found_t *found)
{
    int is_right = 1;
    for (int64_t i = 0; i < m->num_mine[0]; i++)
        for (int64_t k = 0; k < m->width; k++)
            is_right &=
                is_close(layer_case_get(found->dx, TULLE_F64, i * (m->width + 1) + k), m, &m->x[m->first[0] + i][k]);
    return is_right;
}
