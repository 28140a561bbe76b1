/* SPDX-License-Identifier: Apache-2.0
 * Stacks of layers against a serial model in double precision, and gradients against differences of its loss. */
#include <math.h>
#include <string.h>

#include "src/comm.h"
#include "tests/src/half_reference.h"
#include "tests/support/failing.h"
#include "tests/support/world.h"

#define MOST_LAYERS 4
#define MOST_UNITS  24
#define MOST_WIDTH  5

/* A model that every rank knows as a whole. Units of level 0 are inputs, those of level l + 1 outputs of layer l. */
typedef struct model {
    tulle_datatype_t rounds_to; /* what products and outputs are rounded to; f64: nothing is */
    int num_layers;
    int64_t num_units[MOST_LAYERS + 1];
    int64_t first[MOST_LAYERS + 1]; /* of this rank's units */
    int64_t num_mine[MOST_LAYERS + 1];
    tulle_activation_t activation[MOST_LAYERS];
    double limit[MOST_LAYERS];
    int has_sparse_bias[MOST_LAYERS];
    int is_there[MOST_LAYERS][MOST_UNITS][MOST_UNITS];
    double weight[MOST_LAYERS][MOST_UNITS][MOST_UNITS]; /* by output and input */
    double bias[MOST_LAYERS][MOST_UNITS];
    int64_t width;
    double x[MOST_UNITS][MOST_WIDTH];
    double dy[MOST_UNITS][MOST_WIDTH]; /* the loss is the sum of dy * y */
} model_t;

static double random_value(spt_random_t *random)
{
    return (double)(spt_below(random, 2001) - 1000) / 500;
}

/* Cut anywhere, so that ranks have different numbers of units, and some none. */
static void deal(spt_random_t *random, model_t *m, int level)
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

static void fill_layer(spt_random_t *random, model_t *m, int l, int kinds)
{
    m->activation[l] = (tulle_activation_t)spt_below(random, kinds);
    m->limit[l] = 1.5;
    m->has_sparse_bias[l] = m->activation[l] != TULLE_ACTIVATION_NONE && spt_below(random, 2);
    for (int64_t i = 0; i < m->num_units[l + 1]; i++) {
        m->bias[l][i] = random_value(random) / 2;
        for (int64_t j = 0; j < m->num_units[l]; j++) {
            m->is_there[l][i][j] = spt_below(random, 5) == 0;
            m->weight[l][i][j] = m->is_there[l][i][j] ? random_value(random) : 0;
        }
    }
}

static double coarse(double value)
{
    return round(4 * value) / 4;
}

/* Numbers of few bits, so that all sums are exact in f32 and only what is written is rounded. */
static void make_coarse(model_t *m)
{
    for (int l = 0; l < m->num_layers; l++)
        for (int64_t i = 0; i < MOST_UNITS; i++) {
            m->bias[l][i] = coarse(m->bias[l][i]);
            for (int64_t j = 0; j < MOST_UNITS; j++)
                m->weight[l][i][j] = coarse(m->weight[l][i][j]);
        }
    for (int64_t i = 0; i < MOST_UNITS; i++)
        for (int64_t k = 0; k < m->width; k++) {
            m->x[i][k] = coarse(m->x[i][k]);
            m->dy[i][k] = coarse(m->dy[i][k]);
        }
}

static model_t *make_model(spt_random_t *random, int num_layers, int kinds)
{
    model_t *m = spt_alloc(1, sizeof *m);
    m->num_layers = num_layers;
    m->rounds_to = TULLE_F64;
    m->width = 1 + spt_below(random, MOST_WIDTH);
    for (int level = 0; level <= num_layers; level++) {
        m->num_units[level] = 1 + spt_below(random, MOST_UNITS);
        deal(random, m, level);
    }
    for (int l = 0; l < num_layers; l++)
        fill_layer(random, m, l, kinds);
    for (int64_t i = 0; i < MOST_UNITS; i++)
        for (int64_t k = 0; k < m->width; k++) {
            m->x[i][k] = random_value(random);
            m->dy[i][k] = random_value(random);
        }
    return m;
}

/* --- the serial model -------------------------------------------------------------------------------------------- */

static double rounded(tulle_datatype_t type, double value)
{
    if (type != TULLE_F16 && type != TULLE_BF16)
        return value;
    half_format_t format = type == TULLE_F16 ? half_f16 : half_bf16;
    return half_reference_value(format, half_reference_nearest(format, value));
}

static double activate(const model_t *m, int l, double product, double bias)
{
    double z = m->has_sparse_bias[l] && product == 0 ? 0 : product + bias;
    if (m->activation[l] != TULLE_ACTIVATION_NONE && z < 0)
        z = 0;
    return m->activation[l] == TULLE_ACTIVATION_CLAMP && z > m->limit[l] ? m->limit[l] : z;
}

static void run_serially(const model_t *m, double y[MOST_UNITS][MOST_WIDTH])
{
    double x[MOST_UNITS][MOST_WIDTH];
    memcpy(x, m->x, sizeof x);
    for (int l = 0; l < m->num_layers; l++) {
        memset(y, 0, sizeof x);
        for (int64_t i = 0; i < m->num_units[l + 1]; i++)
            for (int64_t k = 0; k < m->width; k++) {
                double product = 0;
                for (int64_t j = 0; j < m->num_units[l]; j++)
                    product += m->weight[l][i][j] * x[j][k];
                y[i][k] = rounded(m->rounds_to, activate(m, l, rounded(m->rounds_to, product), m->bias[l][i]));
            }
        memcpy(x, y, sizeof x);
    }
}

static double loss_of(const model_t *m)
{
    double y[MOST_UNITS][MOST_WIDTH];
    double loss = 0;
    run_serially(m, y);
    for (int64_t i = 0; i < m->num_units[m->num_layers]; i++)
        for (int64_t k = 0; k < m->width; k++)
            loss += m->dy[i][k] * y[i][k];
    return loss;
}

/* Central difference of the loss by one number of the model. Two steps agree unless a kink lies between. */
static double differentiate(model_t *m, double *number, int *is_smooth)
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

/* Values of either type, so that one text checks both. */
static void *alloc_values(int64_t num, tulle_datatype_t type)
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

static double get(const void *values, tulle_datatype_t type, int64_t i)
{
    if (type == TULLE_F16 || type == TULLE_BF16)
        return half_reference_value(type == TULLE_F16 ? half_f16 : half_bf16, ((const uint16_t *)values)[i]);
    return type == TULLE_F32 ? (double)((const float *)values)[i] : ((const double *)values)[i];
}

static tulle_layer_t describe(const model_t *m, int l, tulle_datatype_t type)
{
    int64_t n = 0;
    int64_t *row_ptr = spt_alloc(m->num_mine[l + 1] + 1, sizeof *row_ptr);
    int64_t *columns = spt_alloc(m->num_mine[l + 1] * m->num_units[l], sizeof *columns);
    void *values = alloc_values(m->num_mine[l + 1] * m->num_units[l], type);
    void *bias = alloc_values(m->num_mine[l + 1], type);
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

static tulle_layers_t *create(tulle_comm_t *comm, const model_t *m, tulle_datatype_t type, tulle_cover_t cover,
                              int is_training)
{
    tulle_layers_t *layers = NULL;
    tulle_layer_t described[MOST_LAYERS];
    tulle_layout_t inputs = TULLE_LAYOUT_BLOCK(m->num_mine[0]);
    tulle_spmm_options_t product = TULLE_SPMM_OPTIONS_INIT;
    tulle_layers_options_t options = TULLE_LAYERS_OPTIONS_INIT;
    product.cover = cover;
    options.product = &product;
    options.is_training = is_training;
    for (int l = 0; l < m->num_layers; l++)
        described[l] = describe(m, l, type);
    spt_assert_ok_all(tulle_layers_create(comm, &inputs, described, m->num_layers, &options, &layers));
    return layers;
}

/* Rows of this rank with a gap behind each, which nobody may touch. */
static void *make_rows(const double rows[MOST_UNITS][MOST_WIDTH], int64_t first, int64_t num, int64_t width,
                       tulle_datatype_t type)
{
    void *mine = alloc_values(num * (width + 1), type);
    for (int64_t i = 0; i < num; i++)
        for (int64_t k = 0; k <= width; k++)
            put(mine, type, i * (width + 1) + k, k < width && rows != NULL ? rows[first + i][k] : 77);
    return mine;
}

static void forward(tulle_layers_t *layers, const model_t *m, tulle_datatype_t type, void *x, void *y)
{
    tulle_batch_t batch = {m->width, x, m->width + 1, y, m->width + 1};
    double expected[MOST_UNITS][MOST_WIDTH];
    int last = m->num_layers;
    int is_right = 1;
    run_serially(m, expected);
    spt_assert_ok_all(tulle_layers_forward(layers, &batch));
    for (int64_t i = 0; i < m->num_mine[last]; i++)
        for (int64_t k = 0; k <= m->width; k++) {
            double wanted = k < m->width ? expected[m->first[last] + i][k] : 77;
            double found = get(y, type, i * (m->width + 1) + k);
            double tolerance = m->rounds_to != TULLE_F64 ? 0 : type == TULLE_F32 ? 2e-4 : 1e-11;
            is_right &= fabs(found - wanted) <= tolerance * (1 + fabs(wanted));
        }
    spt_assert_all(is_right);
}

static void check_forward(tulle_comm_t *comm, const model_t *m, tulle_datatype_t type, tulle_cover_t cover)
{
    tulle_layers_t *layers = create(comm, m, type, cover, 0);
    void *x = make_rows(m->x, m->first[0], m->num_mine[0], m->width, type);
    void *y = make_rows(NULL, 0, m->num_mine[m->num_layers], m->width, type);
    spt_assert_all(tulle_layers_count(layers) == m->num_layers &&
                   tulle_layers_product(layers, m->num_layers - 1) != NULL &&
                   tulle_layers_product(layers, m->num_layers) == NULL);
    for (int run = 0; run < 2; run++)
        forward(layers, m, type, x, y);
    tulle_layers_destroy(&layers);
}

static void test_layers_forward_equals_serial_model(void **state)
{
    spt_random_t random = spt_random_shared(1);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        for (int cover = TULLE_COVER_AUTO; cover <= TULLE_COVER_BALANCED; cover++)
            for (int num_layers = 1; num_layers <= MOST_LAYERS; num_layers++)
                check_forward(comm, make_model(&random, num_layers, 3), num_layers % 2 ? TULLE_F64 : TULLE_F32,
                              (tulle_cover_t)cover);
        tulle_comm_destroy(&comm);
    }
}

/* To the bit: products are rounded once, and so is what becomes of them. */
static void test_layers_of_halves_round_products_and_outputs_once(void **state)
{
    spt_random_t random = spt_random_shared(8);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        for (int num_layers = 1; num_layers <= 3; num_layers++) {
            model_t *m = make_model(&random, num_layers, 3);
            m->rounds_to = (t + num_layers) % 2 ? TULLE_F16 : TULLE_BF16;
            make_coarse(m);
            check_forward(comm, m, m->rounds_to, (tulle_cover_t)(num_layers % 4));
        }
        tulle_comm_destroy(&comm);
    }
}

/* --- gradients --------------------------------------------------------------------------------------------------- */

typedef struct found {
    void *dx;
    void *weights[MOST_LAYERS];
    void *bias[MOST_LAYERS];
} found_t;

static found_t alloc_found(const model_t *m, tulle_datatype_t type)
{
    found_t found = {make_rows(NULL, 0, m->num_mine[0], m->width, type), {NULL}, {NULL}};
    for (int l = 0; l < m->num_layers; l++) {
        found.weights[l] = alloc_values(m->num_mine[l + 1] * m->num_units[l], type);
        found.bias[l] = alloc_values(m->num_mine[l + 1], type);
    }
    return found;
}

static int is_close(double found, model_t *m, double *number)
{
    int is_smooth = 0;
    double expected = differentiate(m, number, &is_smooth);
    return !is_smooth || fabs(found - expected) < 1e-5 * (1 + fabs(expected));
}

static int are_weights_right(model_t *m, const found_t *found, int l)
{
    int is_right = 1;
    int64_t n = 0;
    for (int64_t r = 0; r < m->num_mine[l + 1]; r++) {
        int64_t i = m->first[l + 1] + r;
        is_right &= is_close(get(found->bias[l], TULLE_F64, r), m, &m->bias[l][i]);
        for (int64_t j = 0; j < m->num_units[l]; j++)
            if (m->is_there[l][i][j])
                is_right &= is_close(get(found->weights[l], TULLE_F64, n++), m, &m->weight[l][i][j]);
    }
    return is_right;
}

static int are_inputs_right(model_t *m, const found_t *found)
{
    int is_right = 1;
    for (int64_t i = 0; i < m->num_mine[0]; i++)
        for (int64_t k = 0; k < m->width; k++)
            is_right &= is_close(get(found->dx, TULLE_F64, i * (m->width + 1) + k), m, &m->x[m->first[0] + i][k]);
    return is_right;
}

static void check_backward(tulle_comm_t *comm, model_t *m, tulle_cover_t cover)
{
    int last = m->num_layers;
    tulle_layers_t *layers = create(comm, m, TULLE_F64, cover, 1);
    void *x = make_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
    void *y = make_rows(NULL, 0, m->num_mine[last], m->width, TULLE_F64);
    void *dy = make_rows(m->dy, m->first[last], m->num_mine[last], m->width, TULLE_F64);
    found_t found = alloc_found(m, TULLE_F64);
    tulle_gradients_t gradients = {dy, m->width + 1, found.dx, m->width + 1, found.weights, found.bias, 0, 0};
    forward(layers, m, TULLE_F64, x, y);
    spt_assert_ok_all(tulle_layers_backward(layers, &gradients));
    spt_assert_all(are_inputs_right(m, &found));
    for (int l = 0; l < m->num_layers; l++)
        spt_assert_all(are_weights_right(m, &found, l));
    tulle_layers_destroy(&layers);
}

static found_t differentiate_layers(tulle_comm_t *comm, const model_t *m, tulle_datatype_t type)
{
    int last = m->num_layers;
    tulle_layers_t *layers = create(comm, m, type, TULLE_COVER_LEAST, 1);
    void *x = make_rows(m->x, m->first[0], m->num_mine[0], m->width, type);
    void *y = make_rows(NULL, 0, m->num_mine[last], m->width, type);
    void *dy = make_rows(m->dy, m->first[last], m->num_mine[last], m->width, type);
    found_t found = alloc_found(m, type);
    tulle_batch_t batch = {m->width, x, m->width + 1, y, m->width + 1};
    tulle_gradients_t gradients = {dy, m->width + 1, found.dx, m->width + 1, found.weights, found.bias, 0, 0};
    spt_assert_ok_all(tulle_layers_forward(layers, &batch));
    spt_assert_ok_all(tulle_layers_backward(layers, &gradients));
    tulle_layers_destroy(&layers);
    return found;
}

static int are_rounded(const void *halves, tulle_datatype_t type, const void *exact, int64_t num)
{
    int is_right = 1;
    for (int64_t i = 0; i < num; i++)
        is_right &= get(halves, type, i) == rounded(type, get(exact, TULLE_F64, i));
    return is_right;
}

/* One layer, in which all is exact but for what is written. */
static void test_layers_gradients_of_halves_are_those_of_f64_rounded_once(void **state)
{
    spt_random_t random = spt_random_shared(9);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_datatype_t type = t % 2 ? TULLE_F16 : TULLE_BF16;
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        model_t *m = make_model(&random, 1, 3);
        make_coarse(m);
        found_t halves = differentiate_layers(comm, m, type), exact = differentiate_layers(comm, m, TULLE_F64);
        spt_assert_all(are_rounded(halves.dx, type, exact.dx, m->num_mine[0] * (m->width + 1)));
        spt_assert_all(are_rounded(halves.weights[0], type, exact.weights[0], m->num_mine[1] * m->num_units[0]));
        spt_assert_all(are_rounded(halves.bias[0], type, exact.bias[0], m->num_mine[1]));
        tulle_comm_destroy(&comm);
    }
}

static void test_layers_backward_equals_finite_differences(void **state)
{
    spt_random_t random = spt_random_shared(2);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        for (int num_layers = 1; num_layers <= 3; num_layers++)
            check_backward(comm, make_model(&random, num_layers, 3), (tulle_cover_t)spt_below(&random, 4));
        tulle_comm_destroy(&comm);
    }
}

/* What is left out is not written, and what is wanted is the same as before. */
static void test_layers_backward_leaves_out_what_is_not_wanted(void **state)
{
    spt_random_t random = spt_random_shared(3);
    tulle_comm_t *comm = spt_comm(NULL, 0);
    model_t *m = make_model(&random, 2, 1);
    tulle_layers_t *layers = create(comm, m, TULLE_F64, TULLE_COVER_AUTO, 1);
    void *x = make_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
    void *y = make_rows(NULL, 0, m->num_mine[2], m->width, TULLE_F64);
    void *dy = make_rows(m->dy, m->first[2], m->num_mine[2], m->width, TULLE_F64);
    found_t found = alloc_found(m, TULLE_F64);
    tulle_gradients_t no_x = {dy, m->width + 1, NULL, 0, found.weights, found.bias, 1, 0};
    tulle_gradients_t only_x = {dy, m->width + 1, found.dx, m->width + 1, NULL, NULL, 0, 1};
    forward(layers, m, TULLE_F64, x, y);
    spt_assert_ok_all(tulle_layers_backward(layers, &no_x));
    for (int l = 0; l < 2; l++)
        spt_assert_all(are_weights_right(m, &found, l));
    spt_assert_ok_all(tulle_layers_backward(layers, &only_x));
    spt_assert_all(are_inputs_right(m, &found));
    tulle_layers_destroy(&layers);
    tulle_comm_destroy(&comm);
}

/* --- what ranks tell each other ---------------------------------------------------------------------------------- */

static int64_t num_started; /* messages of this rank */

int MPI_Start(MPI_Request *request)
{
    num_started++;
    return PMPI_Start(request);
}

/* Layers with all that forward and backward need, for calls on the same rows again and again. */
typedef struct training {
    tulle_comm_t *comm;
    model_t *model;
    tulle_layers_t *layers;
    tulle_batch_t batch;
    tulle_gradients_t gradients;
    found_t *found;
} training_t;

static training_t train(spt_random_t *random, int topology, int is_apart, tulle_cover_t cover)
{
    int num_layers = 3;
    model_t *m = make_model(random, num_layers, 3);
    training_t t = {
        .comm = spt_comm(spt_topology(topology), is_apart), .model = m, .found = spt_alloc(1, sizeof *t.found)};
    int64_t stride = m->width + 1;
    *t.found = alloc_found(m, TULLE_F64);
    t.layers = create(t.comm, m, TULLE_F64, cover, 1);
    t.batch = (tulle_batch_t){m->width, make_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64), stride,
                              make_rows(NULL, 0, m->num_mine[num_layers], m->width, TULLE_F64), stride};
    t.gradients =
        (tulle_gradients_t){make_rows(m->dy, m->first[num_layers], m->num_mine[num_layers], m->width, TULLE_F64),
                            stride,
                            t.found->dx,
                            stride,
                            t.found->weights,
                            t.found->bias,
                            0,
                            0};
    return t;
}

static void step(training_t *t)
{
    spt_assert_ok_all(tulle_layers_forward(t->layers, &t->batch));
    spt_assert_ok_all(tulle_layers_backward(t->layers, &t->gradients));
}

static void stop(training_t *t)
{
    tulle_layers_destroy(&t->layers);
    tulle_comm_destroy(&t->comm);
}

static void test_layers_agree_once_per_call(void **state)
{
    spt_random_t random = spt_random_shared(10);
    for (int topology = 0; spt_topology(topology) != NULL; topology++) {
        training_t t = train(&random, topology, 0, TULLE_COVER_LEAST);
        step(&t); /* makes what the first calls make */
        uint32_t before = t.comm->meeting->number;
        spt_assert_ok_all(tulle_layers_forward(t.layers, &t.batch));
        spt_assert_all(t.comm->meeting->number == before + 1);
        spt_assert_ok_all(tulle_layers_backward(t.layers, &t.gradients));
        spt_assert_all(t.comm->meeting->number == before + 2);
        for (int l = 0; l < t.model->num_layers; l++)
            spt_assert_all(are_weights_right(t.model, t.found, l));
        stop(&t);
    }
}

static int64_t messages_of_backward(training_t *t, int leave_out_weights)
{
    t->gradients.leave_out_weights = leave_out_weights;
    spt_assert_ok_all(tulle_layers_forward(t->layers, &t->batch));
    num_started = 0;
    spt_assert_ok_all(tulle_layers_backward(t->layers, &t->gradients));
    return num_started;
}

/* What the products gathered is there already. Columns alone: nothing is computed for others. */
static void test_layers_gradients_of_weights_gather_nothing(void **state)
{
    spt_random_t random = spt_random_shared(11);
    for (int topology = 0; spt_topology(topology) != NULL; topology++) {
        training_t t = train(&random, topology, 1, TULLE_COVER_COLUMNS);
        step(&t);
        int64_t with_weights = messages_of_backward(&t, 0), without = messages_of_backward(&t, 1);
        spt_assert_all(with_weights == without);
        stop(&t);
    }
}

/* Inner products need two bindings, whatever is kept; and the gradient of X may be put where X was. */
static void test_layers_gradients_survive_few_bindings(void **state)
{
    spt_random_t random = spt_random_shared(12);
    tulle_spmm_options_t product = TULLE_SPMM_OPTIONS_INIT;
    tulle_layers_options_t options = TULLE_LAYERS_OPTIONS_INIT;
    tulle_layer_t described[1];
    product.cover = TULLE_COVER_LEAST;
    product.num_bindings = 1;
    options.product = &product;
    options.is_training = 1;
    for (int topology = 0; spt_topology(topology) != NULL; topology++) {
        tulle_comm_t *comm = spt_comm(spt_topology(topology), 0);
        model_t *m = make_model(&random, 1, 3);
        tulle_layers_t *layers = NULL;
        tulle_layout_t inputs = TULLE_LAYOUT_BLOCK(m->num_mine[0]);
        described[0] = describe(m, 0, TULLE_F64);
        spt_assert_ok_all(tulle_layers_create(comm, &inputs, described, 1, &options, &layers));
        found_t found = alloc_found(m, TULLE_F64);
        void *x = make_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
        void *y = make_rows(NULL, 0, m->num_mine[1], m->width, TULLE_F64);
        void *dy = make_rows(m->dy, m->first[1], m->num_mine[1], m->width, TULLE_F64);
        tulle_gradients_t gradients = {dy, m->width + 1, x, m->width + 1, found.weights, found.bias, 0, 0};
        forward(layers, m, TULLE_F64, x, y);
        found.dx = x; /* where X was: nothing needs it any more */
        spt_assert_ok_all(tulle_layers_backward(layers, &gradients));
        spt_assert_all(are_weights_right(m, &found, 0) && are_inputs_right(m, &found));
        tulle_layers_destroy(&layers);
        tulle_comm_destroy(&comm);
    }
}

/* --- weights ----------------------------------------------------------------------------------------------------- */

/* New weights and biases: as if the layers had been made with them, and with the nonzeros still where they were. */
static void test_layers_set_weights_is_as_made_with_them(void **state)
{
    spt_random_t random = spt_random_shared(4);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        model_t *m = make_model(&random, 2, 3);
        tulle_layers_t *layers = create(comm, m, TULLE_F64, TULLE_COVER_LEAST, 0);
        void *x = make_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
        void *y = make_rows(NULL, 0, m->num_mine[2], m->width, TULLE_F64);
        forward(layers, m, TULLE_F64, x, y);
        for (int l = 0; l < 2; l++) {
            for (int64_t i = 0; i < m->num_units[l + 1]; i++) {
                m->bias[l][i] = random_value(&random);
                for (int64_t j = 0; j < m->num_units[l]; j++)
                    m->weight[l][i][j] = m->is_there[l][i][j] ? random_value(&random) : 0;
            }
            tulle_layer_t changed = describe(m, l, TULLE_F64);
            spt_assert_ok_all(tulle_layers_set_weights(layers, l, changed.weights.values, changed.bias));
        }
        forward(layers, m, TULLE_F64, x, y);
        tulle_layers_destroy(&layers);
        tulle_comm_destroy(&comm);
    }
}

/* A batch wider than the one before, and narrower again. */
static void test_layers_forward_width_changes_from_run_to_run(void **state)
{
    spt_random_t random = spt_random_shared(5);
    tulle_comm_t *comm = spt_comm(NULL, 0);
    model_t *m = make_model(&random, 3, 3);
    tulle_layers_t *layers = create(comm, m, TULLE_F64, TULLE_COVER_AUTO, 0);
    for (int64_t width = 1; width <= 9; width += 2) {
        m->width = width <= MOST_WIDTH ? width : 9 - width + 1;
        void *x = make_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
        void *y = make_rows(NULL, 0, m->num_mine[3], m->width, TULLE_F64);
        forward(layers, m, TULLE_F64, x, y);
    }
    tulle_layers_destroy(&layers);
    tulle_comm_destroy(&comm);
}

/* The bias of the Graph Challenge: a column without entries stays empty although the bias is positive. */
static void test_layers_forward_sparse_bias_leaves_zeros_alone(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    tulle_layers_t *layers = NULL;
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(1);
    int64_t row_ptr[2] = {0, 1};
    int64_t column[1] = {(spt_rank() + 1) % spt_size()};
    double weight = 2, bias = 0.25, x[3] = {0, 1, -5}, y[3];
    tulle_batch_t batch = TULLE_BATCH(3, x, y);
    tulle_layer_t layer = {
        TULLE_LAYOUT_BLOCK(1), {row_ptr, column, &weight, TULLE_I64, TULLE_F64}, &bias, TULLE_ACTIVATION_RELU, 0, 1};
    spt_assert_ok_all(tulle_layers_create(comm, &layout, &layer, 1, NULL, &layers));
    spt_assert_ok_all(tulle_layers_forward(layers, &batch));
    spt_assert_all(y[0] == 0 && y[1] == 2.25 && y[2] == 0);
    tulle_layers_destroy(&layers);
    tulle_comm_destroy(&comm);
}

/* --- misuse ------------------------------------------------------------------------------------------------------ */

static void test_layers_create_bad_input_fails_on_every_rank(void **state)
{
    spt_random_t random = spt_random_shared(6);
    tulle_comm_t *comm = spt_comm(NULL, 0);
    model_t *m = make_model(&random, 2, 1);
    tulle_layers_t *layers = NULL;
    tulle_layout_t inputs = TULLE_LAYOUT_BLOCK(m->num_mine[0]);
    tulle_layer_t good[2] = {describe(m, 0, TULLE_F64), describe(m, 1, TULLE_F64)};
    tulle_layer_t bad[2];
    int culprit = spt_size() - 1;
    int is_culprit = spt_rank() == culprit;
#define BAD(change, status, words)                                                                                     \
    memcpy(bad, good, sizeof bad);                                                                                     \
    if (is_culprit)                                                                                                    \
        change;                                                                                                        \
    spt_assert_blames(tulle_layers_create(comm, &inputs, bad, 2, NULL, &layers), status, culprit, words)
    BAD(bad[1].activation = (tulle_activation_t)7, TULLE_ERR_ARG, "layer 1: activation is 7");
    BAD((bad[0].activation = TULLE_ACTIVATION_CLAMP, bad[0].limit = -2), TULLE_ERR_ARG, "layer 0: limit is -2");
    BAD(bad[0].has_sparse_bias = 1, TULLE_ERR_ARG, "layer 0: a sparse bias");
    BAD(bad[1].weights.value_type = TULLE_F32, TULLE_ERR_MISMATCH, "layer 1: weights are f32");
    BAD(bad[1].weights.row_ptr = NULL, TULLE_ERR_ARG, "row_ptr");
    BAD(bad[0].outputs.num_rows = -1, TULLE_ERR_ARG, "layer 0: -1 outputs");
#undef BAD
    spt_assert_fails_alike(tulle_layers_create(comm, &inputs, good, 0, NULL, &layers), TULLE_ERR_ARG,
                           "num_layers is 0");
    spt_assert_fails_alike(tulle_layers_create(comm, NULL, good, 2, NULL, &layers), TULLE_ERR_ARG, "NULL");
    if (spt_size() > 1) {
        spt_assert_fails_alike(tulle_layers_create(comm, &inputs, good, is_culprit ? 1 : 2, NULL, &layers),
                               TULLE_ERR_MISMATCH, "number of layers");
        memcpy(bad, good, sizeof bad);
        bad[1].activation = is_culprit ? TULLE_ACTIVATION_RELU : TULLE_ACTIVATION_NONE;
        spt_assert_fails_alike(tulle_layers_create(comm, &inputs, bad, 2, NULL, &layers), TULLE_ERR_MISMATCH,
                               "activations");
    }
    assert_null(layers);
    tulle_comm_destroy(&comm);
}

static void test_layers_bad_run_fails_on_every_rank_and_leaves_them_usable(void **state)
{
    tulle_comm_t *comm = spt_comm(NULL, 0);
    tulle_layers_t *layers = NULL;
    tulle_layers_options_t options = TULLE_LAYERS_OPTIONS_INIT;
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(1);
    int64_t row_ptr[2] = {0, 1};
    int64_t column[1] = {spt_rank()};
    double weight = 2, x[3] = {1, 2, 3}, y[3], dx[3];
    void *by_weights[1] = {NULL};
    int culprit = spt_size() / 2;
    int is_culprit = spt_rank() == culprit;
    tulle_batch_t good = TULLE_BATCH(3, x, y);
    tulle_batch_t bad = good;
    tulle_gradients_t gradients = {y, 0, dx, 0, by_weights, NULL, 0, 0};
    tulle_layer_t layer = {
        TULLE_LAYOUT_BLOCK(1), {row_ptr, column, &weight, TULLE_I64, TULLE_F64}, NULL, TULLE_ACTIVATION_NONE, 0, 0};
    options.is_training = 1;
    spt_assert_ok_all(tulle_layers_create(comm, &layout, &layer, 1, &options, &layers));
    spt_assert_fails_alike(tulle_layers_backward(layers, &gradients), TULLE_ERR_STATE, "forward");
    bad.y = is_culprit ? x + 1 : y;
    spt_assert_blames(tulle_layers_forward(layers, &bad), TULLE_ERR_ARG, culprit, "overlap");
    bad.y = is_culprit ? NULL : y;
    spt_assert_blames(tulle_layers_forward(layers, &bad), TULLE_ERR_ARG, culprit, "y is NULL");
    bad = good;
    bad.x = is_culprit ? (const char *)x + 1 : (const char *)x;
    spt_assert_blames(tulle_layers_forward(layers, &bad), TULLE_ERR_ARG, culprit, "not aligned");
    bad = good;
    bad.x_stride = is_culprit ? 2 : 0;
    spt_assert_blames(tulle_layers_forward(layers, &bad), TULLE_ERR_ARG, culprit, "stride of 2");
    spt_assert_blames(tulle_layers_forward(layers, is_culprit ? NULL : &good), TULLE_ERR_ARG, culprit, "batch is NULL");
    if (spt_size() > 1) {
        bad = good;
        bad.width = is_culprit ? 2 : 3;
        spt_assert_fails_alike(tulle_layers_forward(layers, &bad), TULLE_ERR_MISMATCH, "width");
    }
    spt_assert_ok_all(tulle_layers_forward(layers, &good));
    spt_assert_all(y[0] == 2 && y[2] == 6);
    spt_assert_fails_alike(tulle_layers_backward(layers, &gradients), TULLE_ERR_ARG, "weights[0] is NULL");
    gradients.leave_out_weights = 1;
    spt_assert_ok_all(tulle_layers_backward(layers, &gradients));
    spt_assert_all(dx[0] == 4 && dx[2] == 12);
    spt_assert_fails_alike(tulle_layers_set_weights(layers, 1, &weight, NULL), TULLE_ERR_ARG, "index is 1");
    assert_int_equal(tulle_layers_forward(NULL, &good), TULLE_ERR_ARG);
    tulle_layers_destroy(&layers);
    tulle_layers_destroy(&layers);
    tulle_comm_destroy(&comm);
}

/* --- allocations ------------------------------------------------------------------------------------------------- */

typedef struct job {
    tulle_comm_t *comm;
    const model_t *model;
    tulle_layer_t layers[2];
    void *x, *y, *dy;
    found_t found;
} job_t;

static tulle_status_t train_once(const void *world)
{
    const job_t *job = world;
    const model_t *m = job->model;
    tulle_layers_t *layers = NULL;
    tulle_layout_t inputs = TULLE_LAYOUT_BLOCK(m->num_mine[0]);
    tulle_layers_options_t options = TULLE_LAYERS_OPTIONS_INIT;
    tulle_batch_t batch = {m->width, job->x, m->width + 1, job->y, m->width + 1};
    tulle_gradients_t gradients = {
        job->dy, m->width + 1, job->found.dx, m->width + 1, job->found.weights, job->found.bias, 0, 0};
    options.is_training = 1;
    tulle_status_t st = tulle_layers_create(job->comm, &inputs, job->layers, 2, &options, &layers);
    if (st == TULLE_OK)
        st = tulle_layers_forward(layers, &batch);
    if (st == TULLE_OK)
        st = tulle_layers_backward(layers, &gradients);
    tulle_layers_destroy(&layers);
    return st;
}

static void test_layers_survive_failing_allocations(void **state)
{
    spt_random_t random = spt_random_shared(7);
    job_t job = {.comm = spt_comm(NULL, 0), .model = make_model(&random, 2, 3)};
    const model_t *m = job.model;
    for (int l = 0; l < 2; l++)
        job.layers[l] = describe(m, l, TULLE_F64);
    job.x = make_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
    job.y = make_rows(NULL, 0, m->num_mine[2], m->width, TULLE_F64);
    job.dy = make_rows(m->dy, m->first[2], m->num_mine[2], m->width, TULLE_F64);
    job.found = alloc_found(m, TULLE_F64);
    spt_assert_survives_failing_allocations(train_once, &job);
    tulle_comm_destroy(&job.comm);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_layers_forward_equals_serial_model),
        spt_test(test_layers_of_halves_round_products_and_outputs_once),
        spt_test(test_layers_gradients_of_halves_are_those_of_f64_rounded_once),
        spt_test(test_layers_backward_equals_finite_differences),
        spt_test(test_layers_backward_leaves_out_what_is_not_wanted),
        spt_test(test_layers_agree_once_per_call),
        spt_test(test_layers_gradients_of_weights_gather_nothing),
        spt_test(test_layers_gradients_survive_few_bindings),
        spt_test(test_layers_set_weights_is_as_made_with_them),
        spt_test(test_layers_forward_width_changes_from_run_to_run),
        spt_test(test_layers_forward_sparse_bias_leaves_zeros_alone),
        spt_test(test_layers_create_bad_input_fails_on_every_rank),
        spt_test(test_layers_bad_run_fails_on_every_rank_and_leaves_them_usable),
        spt_test(test_layers_survive_failing_allocations),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
