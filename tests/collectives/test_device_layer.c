/* SPDX-License-Identifier: Apache-2.0
 * Layers with rows in device memory: forward against a serial model, gradients against differences of its loss, halves
 * against the host to the bit; inner products of one matrix; new weights from both memories; streams, graphs, what is
 * refused. */
#include <stdlib.h>
#include <string.h>

#include "tests/collectives/layer_case.h"
#include "tests/support/failing.h"
#include "tests/support/gpu_main.h"

static void *stream;

/* --- rows here and there ------------------------------------------------------------------------------------------ */

static void *on_device(int64_t bytes)
{
    void *memory = NULL;
    if (tulle_alloc(TULLE_SPACE_DEVICE, (size_t)bytes, &memory) != TULLE_OK)
        abort();
    return memory;
}

/* A copy of values there, which is not waited for. */
static void *sent(const void *values, int64_t num, tulle_datatype_t type)
{
    int64_t bytes = num * (int64_t)tulle_datatype_size(type);
    void *there = on_device(bytes);
    if (bytes > 0)
        spt_gpu_copy(there, values, bytes, stream);
    return there;
}

/* And back, when all that is on the stream is done. */
static void fetch(void *values, const void *there, int64_t num, tulle_datatype_t type)
{
    if (num > 0)
        spt_gpu_copy(values, there, num * (int64_t)tulle_datatype_size(type), stream);
    spt_gpu_synchronize(stream);
}

/* A case with all its rows in both memories. */
typedef struct job {
    layer_case_t *m;
    tulle_datatype_t type;
    tulle_comm_t *comm;
    tulle_layers_t *layers;
    int64_t num_x, num_y; /* [scalars] gaps included */
    void *x, *y, *dy;     /* in host memory */
    void *x_there, *y_there, *dy_there;
    layer_case_found_t found, found_there;
} job_t;

static int64_t num_weights(const job_t *job, int l)
{
    return job->m->num_mine[l + 1] * job->m->num_units[l];
}

static tulle_status_t try_to_create(const job_t *job, tulle_space_t space, tulle_cover_t cover, int is_training,
                                    tulle_layers_t **layers_out)
{
    tulle_spmm_options_t product = TULLE_SPMM_OPTIONS_INIT;
    product.cover = cover;
    product.space = space;
    return layer_case_create(job->m, job->comm, job->type, &product, is_training, layers_out);
}

static tulle_layers_t *create(const job_t *job, tulle_space_t space, tulle_cover_t cover, int is_training)
{
    tulle_layers_t *layers = NULL;
    spt_assert_ok_all(try_to_create(job, space, cover, is_training, &layers));
    return layers;
}

static job_t open_job(tulle_comm_t *comm, layer_case_t *m, tulle_datatype_t type, tulle_cover_t cover, int is_training)
{
    int last = m->num_layers;
    job_t job = {.m = m, .type = type, .comm = comm};
    job.num_x = m->num_mine[0] * (m->width + 1);
    job.num_y = m->num_mine[last] * (m->width + 1);
    job.x = layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, type);
    job.y = layer_case_rows(NULL, 0, m->num_mine[last], m->width, type);
    job.dy = layer_case_rows(m->dy, m->first[last], m->num_mine[last], m->width, type);
    job.x_there = sent(job.x, job.num_x, type);
    job.y_there = sent(job.y, job.num_y, type);
    job.dy_there = sent(job.dy, job.num_y, type);
    job.found = layer_case_alloc_found(m, type);
    job.found_there.dx = sent(job.found.dx, job.num_x, type);
    for (int l = 0; l < m->num_layers; l++) {
        job.found_there.weights[l] = on_device(num_weights(&job, l) * (int64_t)tulle_datatype_size(type));
        job.found_there.bias[l] = on_device(m->num_mine[l + 1] * (int64_t)tulle_datatype_size(type));
    }
    job.layers = create(&job, TULLE_SPACE_DEVICE, cover, is_training);
    return job;
}

static void close_job(job_t *job)
{
    tulle_layers_destroy(&job->layers);
    tulle_free(&job->x_there);
    tulle_free(&job->y_there);
    tulle_free(&job->dy_there);
    tulle_free(&job->found_there.dx);
    for (int l = 0; l < job->m->num_layers; l++) {
        tulle_free(&job->found_there.weights[l]);
        tulle_free(&job->found_there.bias[l]);
    }
}

static tulle_batch_t batch_of(const job_t *job)
{
    int64_t stride = job->m->width + 1;
    return (tulle_batch_t){job->m->width, job->x_there, stride, job->y_there, stride};
}

static tulle_gradients_t gradients_of(const job_t *job)
{
    int64_t stride = job->m->width + 1;
    return (tulle_gradients_t){
        job->dy_there, stride, job->found_there.dx, stride, job->found_there.weights, job->found_there.bias, 0, 0};
}

/* Forward and backward on the stream. */
static tulle_status_t step(const job_t *job, tulle_layers_t *layers)
{
    tulle_batch_t batch = batch_of(job);
    tulle_gradients_t gradients = gradients_of(job);
    tulle_status_t st = tulle_layers_forward(layers, &batch, stream);
    return st == TULLE_OK ? tulle_layers_backward(layers, &gradients, stream) : st;
}

static void fetch_gradients(const job_t *job)
{
    const layer_case_t *m = job->m;
    fetch(job->found.dx, job->found_there.dx, job->num_x, job->type);
    for (int l = 0; l < m->num_layers; l++) {
        fetch(job->found.weights[l], job->found_there.weights[l], num_weights(job, l), job->type);
        fetch(job->found.bias[l], job->found_there.bias[l], m->num_mine[l + 1], job->type);
    }
}

/* --- forward ------------------------------------------------------------------------------------------------------ */

/* As if Y were not there yet. */
static void forget_output(const job_t *job)
{
    void *blank = layer_case_rows(NULL, 0, job->m->num_mine[job->m->num_layers], job->m->width, job->type);
    if (job->num_y > 0)
        spt_gpu_copy(job->y_there, blank, job->num_y * (int64_t)tulle_datatype_size(job->type), stream);
}

static void forward(const job_t *job)
{
    tulle_batch_t batch = batch_of(job);
    forget_output(job);
    spt_assert_ok_all(tulle_layers_forward(job->layers, &batch, stream));
    fetch(job->y, job->y_there, job->num_y, job->type);
    spt_assert_all(layer_case_output_is_right(job->m, job->y, job->type));
}

static void check_forward(tulle_comm_t *comm, layer_case_t *m, tulle_datatype_t type, tulle_cover_t cover)
{
    job_t job = open_job(comm, m, type, cover, 0);
    for (int run = 0; run < 2; run++)
        forward(&job);
    close_job(&job);
}

static void test_device_layers_forward_equals_serial_model(void **state)
{
    spt_random_t random = spt_random_shared(1);
    for (int t = 0; spt_topology(t) != NULL; t += spt_size() > 4 ? 2 : 1) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        for (int num_layers = 1; num_layers <= LAYER_CASE_MOST_LAYERS; num_layers++)
            check_forward(comm, layer_case_make(&random, num_layers, 3), num_layers % 2 ? TULLE_F64 : TULLE_F32,
                          (tulle_cover_t)((t + num_layers) % 4));
        tulle_comm_destroy(&comm);
        spt_teardown(NULL);
    }
}

/* To the bit: all sums are exact. */
static void test_device_layers_of_halves_round_as_the_host_does(void **state)
{
    spt_random_t random = spt_random_shared(2);
    for (int t = 0; spt_topology(t) != NULL; t += spt_size() > 4 ? 2 : 1) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        for (int num_layers = 1; num_layers <= 3; num_layers++) {
            layer_case_t *m = layer_case_make(&random, num_layers, 3);
            m->rounds_to = (t + num_layers) % 2 ? TULLE_F16 : TULLE_BF16;
            layer_case_coarsen(m);
            check_forward(comm, m, m->rounds_to, (tulle_cover_t)(num_layers % 4));
        }
        tulle_comm_destroy(&comm);
        spt_teardown(NULL);
    }
}

/* --- backward ----------------------------------------------------------------------------------------------------- */

static void test_device_layers_backward_equals_finite_differences(void **state)
{
    spt_random_t random = spt_random_shared(3);
    for (int t = 0; spt_topology(t) != NULL; t += spt_size() > 4 ? 2 : 1) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        for (int num_layers = 1; num_layers <= 3; num_layers++) {
            layer_case_t *m = layer_case_make(&random, num_layers, 3);
            job_t job = open_job(comm, m, TULLE_F64, (tulle_cover_t)spt_below(&random, 4), 1);
            tulle_gradients_t gradients = gradients_of(&job);
            for (int run = 0; run < 2; run++) {
                forward(&job);
                spt_assert_ok_all(tulle_layers_backward(job.layers, &gradients, stream));
            }
            fetch_gradients(&job);
            spt_assert_all(layer_case_inputs_are_right(m, &job.found));
            for (int l = 0; l < num_layers; l++)
                spt_assert_all(layer_case_weights_are_right(m, &job.found, l));
            close_job(&job);
        }
        tulle_comm_destroy(&comm);
        spt_teardown(NULL);
    }
}

static layer_case_found_t differentiate_on_host(const job_t *job, tulle_cover_t cover)
{
    const layer_case_t *m = job->m;
    int64_t stride = m->width + 1;
    tulle_layers_t *layers = create(job, TULLE_SPACE_HOST, cover, 1);
    layer_case_found_t found = layer_case_alloc_found(m, job->type);
    tulle_batch_t batch = {m->width, job->x, stride, job->y, stride};
    tulle_gradients_t gradients = {job->dy, stride, found.dx, stride, found.weights, found.bias, 0, 0};
    spt_assert_ok_all(tulle_layers_forward(layers, &batch, NULL));
    spt_assert_ok_all(tulle_layers_backward(layers, &gradients, NULL));
    tulle_layers_destroy(&layers);
    return found;
}

static int64_t num_nonzeros(const layer_case_t *m, int l)
{
    int64_t n = 0;
    for (int64_t r = 0; r < m->num_mine[l + 1]; r++)
        for (int64_t j = 0; j < m->num_units[l]; j++)
            n += m->is_there[l][m->first[l + 1] + r][j];
    return n;
}

/* One layer of numbers of few bits: sums are exact in any order, so that both memories agree to the bit. */
static void test_device_layers_gradients_are_those_of_the_host(void **state)
{
    static const tulle_datatype_t types[] = {TULLE_F32, TULLE_F16, TULLE_BF16};
    spt_random_t random = spt_random_shared(4);
    for (int t = 0; spt_topology(t) != NULL; t++) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        layer_case_t *m = layer_case_make(&random, 1, 3);
        layer_case_coarsen(m);
        job_t job = open_job(comm, m, types[t % 3], TULLE_COVER_LEAST, 1);
        size_t size = tulle_datatype_size(job.type);
        layer_case_found_t host = differentiate_on_host(&job, TULLE_COVER_LEAST);
        spt_assert_ok_all(step(&job, job.layers));
        fetch_gradients(&job);
        spt_assert_all(memcmp(host.dx, job.found.dx, (size_t)job.num_x * size) == 0);
        spt_assert_all(memcmp(host.weights[0], job.found.weights[0], (size_t)num_nonzeros(m, 0) * size) == 0);
        spt_assert_all(memcmp(host.bias[0], job.found.bias[0], (size_t)m->num_mine[1] * size) == 0);
        close_job(&job);
        tulle_comm_destroy(&comm);
        spt_teardown(NULL);
    }
}

static void test_device_layers_backward_leaves_out_what_is_not_wanted(void **state)
{
    spt_random_t random = spt_random_shared(5);
    tulle_comm_t *comm = spt_comm(spt_topology(1), 0);
    layer_case_t *m = layer_case_make(&random, 2, 1);
    job_t job = open_job(comm, m, TULLE_F64, TULLE_COVER_LEAST, 1);
    tulle_gradients_t no_x = gradients_of(&job), only_x = gradients_of(&job);
    no_x.x = NULL;
    no_x.leave_out_x = 1;
    only_x.weights = only_x.bias = NULL;
    only_x.leave_out_weights = 1;
    forward(&job);
    spt_assert_ok_all(tulle_layers_backward(job.layers, &no_x, stream));
    fetch_gradients(&job);
    for (int l = 0; l < 2; l++)
        spt_assert_all(layer_case_weights_are_right(m, &job.found, l));
    spt_assert_ok_all(tulle_layers_backward(job.layers, &only_x, stream));
    fetch_gradients(&job);
    spt_assert_all(layer_case_inputs_are_right(m, &job.found));
    close_job(&job);
    tulle_comm_destroy(&comm);
}

/* --- weights ------------------------------------------------------------------------------------------------------ */

static void test_device_layers_take_weights_from_both_memories(void **state)
{
    spt_random_t random = spt_random_shared(6);
    tulle_comm_t *comm = spt_comm(spt_topology(1), 0);
    layer_case_t *m = layer_case_make(&random, 2, 3);
    job_t job = open_job(comm, m, TULLE_F64, TULLE_COVER_LEAST, 0);
    forward(&job);
    for (int l = 0; l < 2; l++) {
        layer_case_change_weights(&random, m, l);
        tulle_layer_t changed = layer_case_describe(m, l, TULLE_F64);
        void *weights = sent(changed.weights.values, num_nonzeros(m, l), TULLE_F64);
        void *bias = sent(changed.bias, m->num_mine[l + 1], TULLE_F64);
        spt_gpu_synchronize(stream);
        spt_assert_ok_all(tulle_layers_set_weights(job.layers, l, l == 0 ? weights : changed.weights.values,
                                                   l == 0 ? bias : changed.bias));
        tulle_free(&weights);
        tulle_free(&bias);
    }
    forward(&job);
    close_job(&job);
    tulle_comm_destroy(&comm);
}

/* --- on a stream -------------------------------------------------------------------------------------------------- */

static void test_device_layers_keep_the_order_of_the_stream(void **state)
{
    spt_random_t random = spt_random_shared(7);
    tulle_comm_t *comm = spt_comm(spt_topology(1), 0);
    layer_case_t *m = layer_case_make(&random, 3, 3);
    job_t job = open_job(comm, m, TULLE_F64, TULLE_COVER_AUTO, 1);
    for (int round = 0; round < 5; round++) {
        spt_gpu_delay(stream, spt_rank() % 2 == 0 ? 2000 : 0);
        forget_output(&job);
        tulle_status_t st = step(&job, job.layers);
        fetch(job.y, job.y_there, job.num_y, job.type);
        fetch_gradients(&job);
        spt_assert_ok_all(st);
        spt_assert_all(layer_case_output_is_right(m, job.y, job.type));
        spt_assert_all(layer_case_inputs_are_right(m, &job.found) && layer_case_weights_are_right(m, &job.found, 0));
    }
    close_job(&job);
    tulle_comm_destroy(&comm);
}

/* A step of training, recorded once and replayed with other inputs. */
static void test_device_layers_are_replayed_from_a_graph(void **state)
{
    spt_random_t random = spt_random_shared(8);
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    layer_case_t *m = layer_case_make(&random, 2, 3);
    job_t job = open_job(comm, m, TULLE_F64, TULLE_COVER_LEAST, 1);
    spt_assert_ok_all(step(&job, job.layers)); /* makes what the first calls make */
    spt_gpu_synchronize(stream);
    spt_gpu_begin_capture(stream);
    tulle_status_t st = step(&job, job.layers);
    void *graph = spt_gpu_end_capture(stream);
    spt_assert_ok_all(st);
    spt_assert_all(graph != NULL);
    for (int round = 0; round < 3; round++) {
        for (int64_t i = 0; i < m->num_units[0]; i++)
            m->x[i][0] = layer_case_random_value(&random);
        void *x = layer_case_rows(m->x, m->first[0], m->num_mine[0], m->width, job.type);
        if (job.num_x > 0)
            spt_gpu_copy(job.x_there, x, job.num_x * (int64_t)sizeof(double), stream);
        spt_gpu_launch(graph, stream);
        fetch(job.y, job.y_there, job.num_y, job.type);
        fetch_gradients(&job);
        spt_assert_all(layer_case_output_is_right(m, job.y, job.type));
        spt_assert_all(layer_case_weights_are_right(m, &job.found, 0) &&
                       layer_case_weights_are_right(m, &job.found, 1));
    }
    spt_gpu_graph_free(graph);
    close_job(&job);
    tulle_comm_destroy(&comm);
}

/* --- no memory ---------------------------------------------------------------------------------------------------- */

static tulle_status_t train_once(const void *world)
{
    tulle_layers_t *layers = NULL;
    tulle_status_t st = try_to_create(world, TULLE_SPACE_DEVICE, TULLE_COVER_LEAST, 1, &layers);
    if (st == TULLE_OK)
        st = step(world, layers);
    spt_gpu_synchronize(stream);
    tulle_layers_destroy(&layers);
    return st;
}

/* Of the host, and of the device, whose emulation counts its allocations with the library's. */
static void test_device_layers_survive_failing_allocations(void **state)
{
    spt_random_t random = spt_random_shared(11);
    if (spt_gpu_is_real())
        skip();
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    job_t job = open_job(comm, layer_case_make(&random, 2, 3), TULLE_F32, TULLE_COVER_LEAST, 1);
    spt_assert_survives_failing_allocations(train_once, &job);
    close_job(&job);
    tulle_comm_destroy(&comm);
}

/* --- refused ------------------------------------------------------------------------------------------------------ */

static void test_device_layers_refuse_what_the_gpu_cannot_reach(void **state)
{
    spt_random_t random = spt_random_shared(9);
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    layer_case_t *m = layer_case_make(&random, 1, 3);
    double here[1] = {0};
    m->num_units[0] = m->num_units[1] = spt_size(); /* everybody has something */
    m->num_mine[0] = m->num_mine[1] = 1;
    m->first[0] = m->first[1] = spt_rank();
    for (int i = 0; i < spt_size(); i++)
        for (int j = 0; j < spt_size(); j++)
            m->is_there[0][i][j] = 1;
    job_t job = open_job(comm, m, TULLE_F64, TULLE_COVER_AUTO, 1);
    tulle_batch_t batch = batch_of(&job);
    tulle_gradients_t gradients = gradients_of(&job);
    void *in_host_memory[1] = {here};
    int is_culprit = spt_rank() == spt_size() - 1;
    batch.x = is_culprit ? here : job.x_there;
    spt_assert_blames(tulle_layers_forward(job.layers, &batch, stream), TULLE_ERR_ARG, spt_size() - 1, "x is in plain");
    forward(&job);
    gradients.weights = is_culprit ? in_host_memory : job.found_there.weights;
    spt_assert_blames(tulle_layers_backward(job.layers, &gradients, stream), TULLE_ERR_ARG, spt_size() - 1,
                      "a gradient of weights is in plain");
    gradients = gradients_of(&job);
    gradients.bias = is_culprit ? in_host_memory : job.found_there.bias;
    spt_assert_blames(tulle_layers_backward(job.layers, &gradients, stream), TULLE_ERR_ARG, spt_size() - 1,
                      "a gradient of biases is in plain");
    gradients = gradients_of(&job);
    spt_assert_ok_all(tulle_layers_backward(job.layers, &gradients, stream));
    spt_gpu_synchronize(stream);
    close_job(&job);
    tulle_comm_destroy(&comm);
}

static void test_host_layers_refuse_a_stream_and_device_memory(void **state)
{
    spt_random_t random = spt_random_shared(10);
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    layer_case_t *m = layer_case_make(&random, 1, 3);
    job_t job = {.m = m, .type = TULLE_F64, .comm = comm};
    m->num_units[0] = spt_size(); /* everybody has an input */
    m->num_mine[0] = 1;
    m->first[0] = spt_rank();
    void *x = layer_case_rows(m->x, m->first[0], 1, m->width, TULLE_F64);
    void *y = layer_case_rows(NULL, 0, m->num_mine[1], m->width, TULLE_F64);
    void *x_there = sent(x, m->width + 1, TULLE_F64);
    tulle_layers_t *layers = create(&job, TULLE_SPACE_HOST, TULLE_COVER_AUTO, 0);
    tulle_batch_t batch = {m->width, x, m->width + 1, y, m->width + 1};
    spt_assert_fails_alike(tulle_layers_forward(layers, &batch, stream), TULLE_ERR_UNSUPPORTED, "a stream was given");
    batch.x = x_there;
    spt_assert_fails_alike(tulle_layers_forward(layers, &batch, NULL), TULLE_ERR_UNSUPPORTED, "x is in device memory");
    batch.x = x;
    spt_assert_ok_all(tulle_layers_forward(layers, &batch, NULL));
    spt_gpu_synchronize(stream);
    tulle_layers_destroy(&layers);
    tulle_free(&x_there);
    tulle_comm_destroy(&comm);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        spt_test(test_device_layers_forward_equals_serial_model),
        spt_test(test_device_layers_of_halves_round_as_the_host_does),
        spt_test(test_device_layers_backward_equals_finite_differences),
        spt_test(test_device_layers_gradients_are_those_of_the_host),
        spt_test(test_device_layers_backward_leaves_out_what_is_not_wanted),
        spt_test(test_device_layers_take_weights_from_both_memories),
        spt_test(test_device_layers_keep_the_order_of_the_stream),
        spt_test(test_device_layers_are_replayed_from_a_graph),
        spt_test(test_device_layers_survive_failing_allocations),
        spt_test(test_device_layers_refuse_what_the_gpu_cannot_reach),
        spt_test(test_host_layers_refuse_a_stream_and_device_memory),
    };
    return spt_gpu_main(argc, argv, "collectives.device_layer", tests, &stream);
}
