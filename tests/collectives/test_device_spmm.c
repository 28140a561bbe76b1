/* SPDX-License-Identifier: Apache-2.0
 * Products of rows in device memory against a serial product in double precision: random matrices of any layout on all
 * topologies, with every cover and carrier, in both directions, by cuSPARSE and by kernels of our own; values replaced,
 * streams, graphs, what is refused. */
#include <stdlib.h>
#include <string.h>

#include "src/device/product_library.h"
#include "src/transport/carrier.h"
#include "tests/collectives/spmm_case.h"
#include "tests/support/gpu_main.h"

static void *stream;

static void *on_device(int64_t bytes)
{
    void *memory = NULL;
    if (bytes > 0 && tulle_alloc(TULLE_SPACE_DEVICE, (size_t)bytes, &memory) != TULLE_OK)
        abort();
    return memory;
}

/* Rows go to the GPU and C comes back, all on the stream. */
static tulle_status_t run_on_device(tulle_spmm_t *spmm, const tulle_product_t *product, int64_t b_bytes,
                                    int64_t c_bytes, int is_transposed)
{
    tulle_product_t there = *product;
    void *b = on_device(b_bytes), *c = on_device(c_bytes);
    there.b = b;
    there.c = c;
    if (b_bytes > 0)
        spt_gpu_copy(b, product->b, b_bytes, stream);
    if (c_bytes > 0)
        spt_gpu_copy(c, product->c, c_bytes, stream);
    tulle_status_t st =
        is_transposed ? tulle_spmm_run_transpose(spmm, &there, stream) : tulle_spmm_run(spmm, &there, stream);
    if (c_bytes > 0)
        spt_gpu_copy(product->c, c, c_bytes, stream);
    spt_gpu_synchronize(stream);
    tulle_free(&b);
    tulle_free(&c);
    return st;
}

static tulle_datatype_t value_type_of(int i)
{
    static const tulle_datatype_t types[] = {TULLE_F64, TULLE_F32, TULLE_F16, TULLE_BF16};
    return types[(i + i / 4) % 4];
}

/* Libraries in turn; the real one may not be there. */
static tulle_spmm_options_t options_of(int i)
{
    tulle_spmm_options_t options = TULLE_SPMM_OPTIONS_INIT;
    options.space = TULLE_SPACE_DEVICE;
    options.cover = (tulle_cover_t)(i % 4);
    options.num_bindings = i % 3;
    options.is_trusted = i == 7;
    options.library = (tulle_spmm_library_t)(i % 3);
    if (options.library == TULLE_SPMM_LIBRARY_CUSPARSE && !tli_cusparse_is_there())
        options.library = TULLE_SPMM_LIBRARY_AUTO;
    return options;
}

static void test_device_spmm_equals_serial_products(void **state)
{
    spt_random_t random = spt_random_shared(1);
    for (int t = 0; spt_topology(t) != NULL; t += spt_size() > 4 ? 3 : 1) {
        tulle_comm_t *comm = spt_comm(spt_topology(t), 0);
        for (int i = 0; i < 8; i++) {
            spmm_case_t c = spmm_case_random(&random, value_type_of(i), i % 2 == 0 ? TULLE_I32 : TULLE_I64);
            tulle_spmm_options_t options = options_of(i);
            options.strategy = (tulle_strategy_t)spt_below(&random, 6);
            spmm_case_check_by(run_on_device, comm, &c, &options, &random);
        }
        tulle_comm_destroy(&comm);
        spt_teardown(NULL);
    }
}

/* Between nodes, by each carrier that is there. */
static void test_device_spmm_crosses_nodes_by_every_carrier(void **state)
{
    spt_random_t random = spt_random_shared(2);
    setenv("TULLE_SEPARATE_NODES", "1", 1);
    for (int k = 0; k < tli_num_carriers; k++) {
        if (!tli_carriers[k]->is_there())
            continue;
        setenv("TULLE_TRANSPORT", tulle_transport_name(tli_carriers[k]->id), 1);
        tulle_comm_t *comm = spt_comm("*x1", 0);
        for (int i = 0; i < 4; i++) {
            spmm_case_t c = spmm_case_random(&random, value_type_of(i), TULLE_I64);
            tulle_spmm_options_t options = options_of(i);
            options.cover = TULLE_COVER_LEAST;
            spmm_case_check_by(run_on_device, comm, &c, &options, &random);
        }
        tulle_comm_destroy(&comm);
        unsetenv("TULLE_TRANSPORT");
    }
    unsetenv("TULLE_SEPARATE_NODES");
}

static void test_device_spmm_empty_matrices(void **state)
{
    spt_random_t random = spt_random_shared(3);
    tulle_comm_t *comm = spt_comm(spt_topology(0), 0);
    tulle_spmm_options_t options = options_of(0);
    spmm_case_t none = spmm_case_dense(spt_alloc(12, sizeof(double)), 3, 4, TULLE_F64, TULLE_I32);
    spmm_case_t nothing = spmm_case_dense(spt_alloc(1, sizeof(double)), 0, 0, TULLE_F32, TULLE_I64);
    spmm_case_check_by(run_on_device, comm, &none, &options, &random);
    spmm_case_check_by(run_on_device, comm, &nothing, &options, &random);
    tulle_comm_destroy(&comm);
}

/* --- on a stream -------------------------------------------------------------------------------------------------- */

/* B, C and the matrix of ones in which each row of C is the sum of all rows of B. */
typedef struct sums {
    tulle_comm_t *comm;
    tulle_spmm_t *spmm;
    spmm_case_t c;
    int64_t width, bytes;
    float *values, *result; /* pinned */
    tulle_product_t product;
} sums_t;

static sums_t make_sums(tulle_spmm_library_t library)
{
    sums_t s = {.comm = spt_comm(spt_topology(1), 0), .width = 8};
    tulle_spmm_options_t options = options_of(0);
    const int64_t n = 3 * spt_size();
    double *ones = spt_alloc(n * n, sizeof *ones);
    for (int64_t i = 0; i < n * n; i++)
        ones[i] = 1;
    options.library = library;
    options.cover = TULLE_COVER_AUTO;
    s.c = spmm_case_dense(ones, n, n, TULLE_F32, TULLE_I32);
    s.bytes = s.c.rows.num_rows * s.width * (int64_t)sizeof(float);
    spt_assert_ok_all(tulle_spmm_create(s.comm, &s.c.rows, &s.c.columns, &s.c.csr, &options, &s.spmm));
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_PINNED, (size_t)s.bytes, (void **)&s.values));
    spt_assert_ok_all(tulle_alloc(TULLE_SPACE_PINNED, (size_t)s.bytes, (void **)&s.result));
    s.product = (tulle_product_t)TULLE_PRODUCT(s.width, on_device(s.bytes), on_device(s.bytes));
    return s;
}

static void free_sums(sums_t *s)
{
    void *b = (void *)s->product.b;
    tulle_spmm_destroy(&s->spmm);
    tulle_free(&b);
    tulle_free(&s->product.c);
    tulle_free((void **)&s->values);
    tulle_free((void **)&s->result);
    tulle_comm_destroy(&s->comm);
}

static void fill_sums(const sums_t *s, int64_t round)
{
    for (int64_t i = 0; i < s->bytes / (int64_t)sizeof(float); i++)
        s->values[i] = (float)(i % s->width + round);
}

static int are_right(const sums_t *s, int64_t round)
{
    int is_right = 1;
    for (int64_t i = 0; i < s->bytes / (int64_t)sizeof(float); i++)
        is_right = is_right && s->result[i] == (float)(3 * spt_size() * (i % s->width + round));
    return is_right;
}

/* What is before on the stream is seen by the product, and the product by what comes after; nobody waits. */
static void test_device_spmm_keeps_the_order_of_the_stream(void **state)
{
    sums_t s = make_sums(TULLE_SPMM_LIBRARY_AUTO);
    for (int64_t round = 0; round < 10; round++) {
        fill_sums(&s, round);
        spt_gpu_delay(stream, spt_rank() % 2 == 0 ? 2000 : 0);
        spt_gpu_copy((void *)s.product.b, s.values, s.bytes, stream);
        tulle_status_t st = tulle_spmm_run(s.spmm, &s.product, stream);
        spt_gpu_copy(s.result, s.product.c, s.bytes, stream);
        spt_gpu_synchronize(stream);
        spt_assert_ok_all(st);
        spt_assert_all(are_right(&s, round));
    }
    free_sums(&s);
}

static void check_graph(tulle_spmm_library_t library)
{
    sums_t s = make_sums(library);
    spt_gpu_copy((void *)s.product.b, s.values, s.bytes, stream);
    spt_assert_ok_all(tulle_spmm_run(s.spmm, &s.product, stream)); /* binds */
    spt_gpu_synchronize(stream);
    spt_gpu_begin_capture(stream);
    tulle_status_t st = tulle_spmm_run(s.spmm, &s.product, stream);
    void *graph = spt_gpu_end_capture(stream);
    spt_assert_ok_all(st);
    spt_assert_all(graph != NULL);
    for (int64_t round = 0; round < 20; round++) {
        fill_sums(&s, round);
        spt_gpu_copy((void *)s.product.b, s.values, s.bytes, stream);
        spt_gpu_launch(graph, stream);
        spt_gpu_copy(s.result, s.product.c, s.bytes, stream);
        spt_gpu_synchronize(stream);
        spt_assert_all(are_right(&s, round));
    }
    spt_gpu_graph_free(graph);
    free_sums(&s);
}

static void test_device_spmm_is_replayed_from_a_graph(void **state)
{
    check_graph(TULLE_SPMM_LIBRARY_OWN);
    if (tli_cusparse_is_there())
        check_graph(TULLE_SPMM_LIBRARY_CUSPARSE);
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static void test_device_spmm_values_are_replaced(void **state)
{
    sums_t s = make_sums(TULLE_SPMM_LIBRARY_AUTO);
    int64_t n = spmm_case_num_nonzeros(&s.c);
    float *twos = spt_alloc(n, sizeof *twos);
    for (int64_t e = 0; e < n; e++)
        twos[e] = 2;
    fill_sums(&s, 0);
    for (int transposed = 0; transposed < 2; transposed++) {
        spt_gpu_copy((void *)s.product.b, s.values, s.bytes, stream);
        spt_assert_ok_all(transposed ? tulle_spmm_run_transpose(s.spmm, &s.product, stream)
                                     : tulle_spmm_run(s.spmm, &s.product, stream));
        spt_gpu_synchronize(stream);
    }
    spt_assert_ok_all(tulle_spmm_set_values(s.spmm, twos));
    s.product.alpha = 0.5;
    for (int transposed = 0; transposed < 2; transposed++) {
        tulle_status_t st = transposed ? tulle_spmm_run_transpose(s.spmm, &s.product, stream)
                                       : tulle_spmm_run(s.spmm, &s.product, stream);
        spt_gpu_copy(s.result, s.product.c, s.bytes, stream);
        spt_gpu_synchronize(stream);
        spt_assert_ok_all(st);
        spt_assert_all(are_right(&s, 0));
    }
    free_sums(&s);
}

/* --- refused ------------------------------------------------------------------------------------------------------ */

static void test_device_spmm_refuses_what_the_gpu_cannot_reach(void **state)
{
    sums_t s = make_sums(TULLE_SPMM_LIBRARY_AUTO);
    tulle_product_t product = s.product;
    product.b = spt_alloc(s.bytes, 1);
    spt_assert_all(tulle_spmm_run(s.spmm, &product, stream) == TULLE_ERR_ARG);
    spt_assert_all(tulle_spmm_run_sampled(s.spmm, &s.product, (void *)product.b, stream) == TULLE_ERR_ARG);
    fill_sums(&s, 4);
    spt_gpu_copy((void *)s.product.b, s.values, s.bytes, stream);
    spt_assert_ok_all(tulle_spmm_run(s.spmm, &s.product, stream));
    spt_gpu_copy(s.result, s.product.c, s.bytes, stream);
    spt_gpu_synchronize(stream);
    spt_assert_all(are_right(&s, 4));
    free_sums(&s);
}

static void refuse(const sums_t *s, const tulle_spmm_options_t *options, tulle_status_t status)
{
    tulle_spmm_t *none = NULL;
    tulle_status_t st = tulle_spmm_create(s->comm, &s->c.rows, &s->c.columns, &s->c.csr, options, &none);
    spt_assert_all(st == status && none == NULL);
}

static void test_device_spmm_refuses_options_that_mean_nothing(void **state)
{
    sums_t s = make_sums(TULLE_SPMM_LIBRARY_OWN);
    tulle_spmm_options_t options = options_of(0);
    options.space = TULLE_SPACE_MANAGED;
    refuse(&s, &options, TULLE_ERR_ARG);
    options = options_of(0);
    options.library = (tulle_spmm_library_t)3;
    refuse(&s, &options, TULLE_ERR_ARG);
    options = options_of(0);
    options.space = TULLE_SPACE_HOST;
    options.library = TULLE_SPMM_LIBRARY_CUSPARSE;
    refuse(&s, &options, TULLE_ERR_UNSUPPORTED);
    if (!spt_gpu_is_real()) {
        setenv("EMULATED_GPU_WITHOUT_CUSPARSE", "1", 1);
        options.space = TULLE_SPACE_DEVICE;
        refuse(&s, &options, TULLE_ERR_UNSUPPORTED);
        sums_t without = make_sums(TULLE_SPMM_LIBRARY_AUTO);
        free_sums(&without);
        unsetenv("EMULATED_GPU_WITHOUT_CUSPARSE");
    }
    free_sums(&s);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        spt_test(test_device_spmm_equals_serial_products),
        spt_test(test_device_spmm_crosses_nodes_by_every_carrier),
        spt_test(test_device_spmm_empty_matrices),
        spt_test(test_device_spmm_keeps_the_order_of_the_stream),
        spt_test(test_device_spmm_is_replayed_from_a_graph),
        spt_test(test_device_spmm_values_are_replaced),
        spt_test(test_device_spmm_refuses_what_the_gpu_cannot_reach),
        spt_test(test_device_spmm_refuses_options_that_mean_nothing),
    };
    return spt_gpu_main(argc, argv, "collectives.device_spmm", tests, &stream);
}
