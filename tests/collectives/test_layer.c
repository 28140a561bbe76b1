/* SPDX-License-Identifier: Apache-2.0
 * Stacks of layers against a serial model in double precision, and gradients against differences of its loss. */
#include <string.h>

#include "src/comm.h"
#include "tests/collectives/layer_case.h"
#include "tests/support/failing.h"

static tulle_layers_t *create(tulle_comm_t *comm, const layer_case_t *m, tulle_datatype_t type, tulle_cover_t cover,
                              int is_training)
{
    tulle_layers_t *layers = NULL;
    tulle_spmm_options_t product = TULLE_SPMM_OPTIONS_INIT;
    product.cover = cover;
    spt_assert_ok_all(layer_case_create(m, comm, type, &product, is_training, &layers));
    return layers;
}

static void forward(tulle_layers_t *layers, const layer_case_t *m, tulle_datatype_t type, void *x, void *y)
{
    tulle_batch_t batch = {m->width, x, m->width + 1, y, m->width + 1};
    spt_assert_ok_all(tulle_layers_forward(layers, &batch, NULL));
    spt_assert_all(layer_case_output_is_right(m, y, type));
}

static void check_forward(tulle_comm_t *comm, const layer_case_t *m, tulle_datatype_t type, tulle_cover_t cover)
{
    tulle_layers_t *layers = create(comm, m, type, cover, 0);
    void *x = layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, type);
    void *y = layer_case_rows(NULL, 0, m->num_mine[m->num_layers], m->width, type);
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
            for (int num_layers = 1; num_layers <= LAYER_CASE_MOST_LAYERS; num_layers++)
                check_forward(comm, layer_case_make(&random, num_layers, 3), num_layers % 2 ? TULLE_F64 : TULLE_F32,
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
            layer_case_t *m = layer_case_make(&random, num_layers, 3);
            m->rounds_to = (t + num_layers) % 2 ? TULLE_F16 : TULLE_BF16;
            layer_case_coarsen(m);
            check_forward(comm, m, m->rounds_to, (tulle_cover_t)(num_layers % 4));
        }
        tulle_comm_destroy(&comm);
    }
}

/* --- gradients --------------------------------------------------------------------------------------------------- */

static void check_backward(tulle_comm_t *comm, layer_case_t *m, tulle_cover_t cover)
{
    int last = m->num_layers;
    tulle_layers_t *layers = create(comm, m, TULLE_F64, cover, 1);
    void *x = layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
    void *y = layer_case_rows(NULL, 0, m->num_mine[last], m->width, TULLE_F64);
    void *dy = layer_case_rows(m->dy, m->first[last], m->num_mine[last], m->width, TULLE_F64);
    layer_case_found_t found = layer_case_alloc_found(m, TULLE_F64);
    tulle_gradients_t gradients = {dy, m->width + 1, found.dx, m->width + 1, found.weights, found.bias, 0, 0};
    forward(layers, m, TULLE_F64, x, y);
    spt_assert_ok_all(tulle_layers_backward(layers, &gradients, NULL));
    spt_assert_all(layer_case_inputs_are_right(m, &found));
    for (int l = 0; l < m->num_layers; l++)
        spt_assert_all(layer_case_weights_are_right(m, &found, l));
    tulle_layers_destroy(&layers);
}

static layer_case_found_t differentiate_layers(tulle_comm_t *comm, const layer_case_t *m, tulle_datatype_t type)
{
    int last = m->num_layers;
    tulle_layers_t *layers = create(comm, m, type, TULLE_COVER_LEAST, 1);
    void *x = layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, type);
    void *y = layer_case_rows(NULL, 0, m->num_mine[last], m->width, type);
    void *dy = layer_case_rows(m->dy, m->first[last], m->num_mine[last], m->width, type);
    layer_case_found_t found = layer_case_alloc_found(m, type);
    tulle_batch_t batch = {m->width, x, m->width + 1, y, m->width + 1};
    tulle_gradients_t gradients = {dy, m->width + 1, found.dx, m->width + 1, found.weights, found.bias, 0, 0};
    spt_assert_ok_all(tulle_layers_forward(layers, &batch, NULL));
    spt_assert_ok_all(tulle_layers_backward(layers, &gradients, NULL));
    tulle_layers_destroy(&layers);
    return found;
}

static int are_rounded(const void *halves, tulle_datatype_t type, const void *exact, int64_t num)
{
    int is_right = 1;
    for (int64_t i = 0; i < num; i++)
        is_right &= layer_case_get(halves, type, i) == layer_case_rounded(type, layer_case_get(exact, TULLE_F64, i));
    return is_right;
}

/* One layer, in which all is exact but for what is written. */
static void test_layers_gradients_of_halves_are_those_of_f64_rounded_once(void **state)
{
    spt_random_t random = spt_random_shared(9);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_datatype_t type = t % 2 ? TULLE_F16 : TULLE_BF16;
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        layer_case_t *m = layer_case_make(&random, 1, 3);
        layer_case_coarsen(m);
        layer_case_found_t halves = differentiate_layers(comm, m, type),
                           exact = differentiate_layers(comm, m, TULLE_F64);
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
            check_backward(comm, layer_case_make(&random, num_layers, 3), (tulle_cover_t)spt_below(&random, 4));
        tulle_comm_destroy(&comm);
    }
}

/* What is left out is not written, and what is wanted is the same as before. */
static void test_layers_backward_leaves_out_what_is_not_wanted(void **state)
{
    spt_random_t random = spt_random_shared(3);
    tulle_comm_t *comm = spt_comm(NULL, 0);
    layer_case_t *m = layer_case_make(&random, 2, 1);
    tulle_layers_t *layers = create(comm, m, TULLE_F64, TULLE_COVER_AUTO, 1);
    void *x = layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
    void *y = layer_case_rows(NULL, 0, m->num_mine[2], m->width, TULLE_F64);
    void *dy = layer_case_rows(m->dy, m->first[2], m->num_mine[2], m->width, TULLE_F64);
    layer_case_found_t found = layer_case_alloc_found(m, TULLE_F64);
    tulle_gradients_t no_x = {dy, m->width + 1, NULL, 0, found.weights, found.bias, 1, 0};
    tulle_gradients_t only_x = {dy, m->width + 1, found.dx, m->width + 1, NULL, NULL, 0, 1};
    forward(layers, m, TULLE_F64, x, y);
    spt_assert_ok_all(tulle_layers_backward(layers, &no_x, NULL));
    for (int l = 0; l < 2; l++)
        spt_assert_all(layer_case_weights_are_right(m, &found, l));
    spt_assert_ok_all(tulle_layers_backward(layers, &only_x, NULL));
    spt_assert_all(layer_case_inputs_are_right(m, &found));
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
    layer_case_t *model;
    tulle_layers_t *layers;
    tulle_batch_t batch;
    tulle_gradients_t gradients;
    layer_case_found_t *found;
} training_t;

static training_t train(spt_random_t *random, int topology, int is_apart, tulle_cover_t cover)
{
    int num_layers = 3;
    layer_case_t *m = layer_case_make(random, num_layers, 3);
    training_t t = {
        .comm = spt_comm(spt_topology(topology), is_apart), .model = m, .found = spt_alloc(1, sizeof *t.found)};
    int64_t stride = m->width + 1;
    *t.found = layer_case_alloc_found(m, TULLE_F64);
    t.layers = create(t.comm, m, TULLE_F64, cover, 1);
    t.batch = (tulle_batch_t){m->width, layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64), stride,
                              layer_case_rows(NULL, 0, m->num_mine[num_layers], m->width, TULLE_F64), stride};
    t.gradients =
        (tulle_gradients_t){layer_case_rows(m->dy, m->first[num_layers], m->num_mine[num_layers], m->width, TULLE_F64),
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
    spt_assert_ok_all(tulle_layers_forward(t->layers, &t->batch, NULL));
    spt_assert_ok_all(tulle_layers_backward(t->layers, &t->gradients, NULL));
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
        spt_assert_ok_all(tulle_layers_forward(t.layers, &t.batch, NULL));
        spt_assert_all(t.comm->meeting->number == before + 1);
        spt_assert_ok_all(tulle_layers_backward(t.layers, &t.gradients, NULL));
        spt_assert_all(t.comm->meeting->number == before + 2);
        for (int l = 0; l < t.model->num_layers; l++)
            spt_assert_all(layer_case_weights_are_right(t.model, t.found, l));
        stop(&t);
    }
}

static int64_t messages_of_backward(training_t *t, int leave_out_weights)
{
    t->gradients.leave_out_weights = leave_out_weights;
    spt_assert_ok_all(tulle_layers_forward(t->layers, &t->batch, NULL));
    num_started = 0;
    spt_assert_ok_all(tulle_layers_backward(t->layers, &t->gradients, NULL));
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
    product.cover = TULLE_COVER_LEAST;
    product.num_bindings = 1;
    for (int topology = 0; spt_topology(topology) != NULL; topology++) {
        tulle_comm_t *comm = spt_comm(spt_topology(topology), 0);
        layer_case_t *m = layer_case_make(&random, 1, 3);
        tulle_layers_t *layers = NULL;
        spt_assert_ok_all(layer_case_create(m, comm, TULLE_F64, &product, 1, &layers));
        layer_case_found_t found = layer_case_alloc_found(m, TULLE_F64);
        void *x = layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
        void *y = layer_case_rows(NULL, 0, m->num_mine[1], m->width, TULLE_F64);
        void *dy = layer_case_rows(m->dy, m->first[1], m->num_mine[1], m->width, TULLE_F64);
        tulle_gradients_t gradients = {dy, m->width + 1, x, m->width + 1, found.weights, found.bias, 0, 0};
        forward(layers, m, TULLE_F64, x, y);
        found.dx = x; /* where X was: nothing needs it any more */
        spt_assert_ok_all(tulle_layers_backward(layers, &gradients, NULL));
        spt_assert_all(layer_case_weights_are_right(m, &found, 0) && layer_case_inputs_are_right(m, &found));
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
        layer_case_t *m = layer_case_make(&random, 2, 3);
        tulle_layers_t *layers = create(comm, m, TULLE_F64, TULLE_COVER_LEAST, 0);
        void *x = layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
        void *y = layer_case_rows(NULL, 0, m->num_mine[2], m->width, TULLE_F64);
        forward(layers, m, TULLE_F64, x, y);
        for (int l = 0; l < 2; l++) {
            layer_case_change_weights(&random, m, l);
            tulle_layer_t changed = layer_case_describe(m, l, TULLE_F64);
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
    layer_case_t *m = layer_case_make(&random, 3, 3);
    tulle_layers_t *layers = create(comm, m, TULLE_F64, TULLE_COVER_AUTO, 0);
    for (int64_t width = 1; width <= 9; width += 2) {
        m->width = width <= LAYER_CASE_MOST_WIDTH ? width : 9 - width + 1;
        void *x = layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
        void *y = layer_case_rows(NULL, 0, m->num_mine[3], m->width, TULLE_F64);
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
    spt_assert_ok_all(tulle_layers_forward(layers, &batch, NULL));
    spt_assert_all(y[0] == 0 && y[1] == 2.25 && y[2] == 0);
    tulle_layers_destroy(&layers);
    tulle_comm_destroy(&comm);
}

/* --- misuse ------------------------------------------------------------------------------------------------------ */

static void test_layers_create_bad_input_fails_on_every_rank(void **state)
{
    spt_random_t random = spt_random_shared(6);
    tulle_comm_t *comm = spt_comm(NULL, 0);
    layer_case_t *m = layer_case_make(&random, 2, 1);
    tulle_layers_t *layers = NULL;
    tulle_layout_t inputs = TULLE_LAYOUT_BLOCK(m->num_mine[0]);
    tulle_layer_t good[2] = {layer_case_describe(m, 0, TULLE_F64), layer_case_describe(m, 1, TULLE_F64)};
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
    spt_assert_fails_alike(tulle_layers_backward(layers, &gradients, NULL), TULLE_ERR_STATE, "forward");
    bad.y = is_culprit ? x + 1 : y;
    spt_assert_blames(tulle_layers_forward(layers, &bad, NULL), TULLE_ERR_ARG, culprit, "overlap");
    bad.y = is_culprit ? NULL : y;
    spt_assert_blames(tulle_layers_forward(layers, &bad, NULL), TULLE_ERR_ARG, culprit, "y is NULL");
    bad = good;
    bad.x = is_culprit ? (const char *)x + 1 : (const char *)x;
    spt_assert_blames(tulle_layers_forward(layers, &bad, NULL), TULLE_ERR_ARG, culprit, "not aligned");
    bad = good;
    bad.x_stride = is_culprit ? 2 : 0;
    spt_assert_blames(tulle_layers_forward(layers, &bad, NULL), TULLE_ERR_ARG, culprit, "stride of 2");
    spt_assert_blames(tulle_layers_forward(layers, is_culprit ? NULL : &good, NULL), TULLE_ERR_ARG, culprit,
                      "batch is NULL");
    if (spt_size() > 1) {
        bad = good;
        bad.width = is_culprit ? 2 : 3;
        spt_assert_fails_alike(tulle_layers_forward(layers, &bad, NULL), TULLE_ERR_MISMATCH, "width");
    }
    spt_assert_ok_all(tulle_layers_forward(layers, &good, NULL));
    spt_assert_all(y[0] == 2 && y[2] == 6);
    spt_assert_fails_alike(tulle_layers_backward(layers, &gradients, NULL), TULLE_ERR_ARG, "weights[0] is NULL");
    gradients.leave_out_weights = 1;
    spt_assert_ok_all(tulle_layers_backward(layers, &gradients, NULL));
    spt_assert_all(dx[0] == 4 && dx[2] == 12);
    spt_assert_fails_alike(tulle_layers_set_weights(layers, 1, &weight, NULL), TULLE_ERR_ARG, "index is 1");
    assert_int_equal(tulle_layers_forward(NULL, &good, NULL), TULLE_ERR_ARG);
    tulle_layers_destroy(&layers);
    tulle_layers_destroy(&layers);
    tulle_comm_destroy(&comm);
}

/* --- allocations ------------------------------------------------------------------------------------------------- */

typedef struct job {
    tulle_comm_t *comm;
    const layer_case_t *model;
    void *x, *y, *dy;
    layer_case_found_t found;
} job_t;

static tulle_status_t train_once(const void *world)
{
    const job_t *job = world;
    const layer_case_t *m = job->model;
    tulle_layers_t *layers = NULL;
    tulle_batch_t batch = {m->width, job->x, m->width + 1, job->y, m->width + 1};
    tulle_gradients_t gradients = {
        job->dy, m->width + 1, job->found.dx, m->width + 1, job->found.weights, job->found.bias, 0, 0};
    tulle_status_t st = layer_case_create(m, job->comm, TULLE_F64, NULL, 1, &layers);
    if (st == TULLE_OK)
        st = tulle_layers_forward(layers, &batch, NULL);
    if (st == TULLE_OK)
        st = tulle_layers_backward(layers, &gradients, NULL);
    tulle_layers_destroy(&layers);
    return st;
}

static void test_layers_survive_failing_allocations(void **state)
{
    spt_random_t random = spt_random_shared(7);
    job_t job = {.comm = spt_comm(NULL, 0), .model = layer_case_make(&random, 2, 3)};
    const layer_case_t *m = job.model;
    job.x = layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, TULLE_F64);
    job.y = layer_case_rows(NULL, 0, m->num_mine[2], m->width, TULLE_F64);
    job.dy = layer_case_rows(m->dy, m->first[2], m->num_mine[2], m->width, TULLE_F64);
    job.found = layer_case_alloc_found(m, TULLE_F64);
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
