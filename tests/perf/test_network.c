/* SPDX-License-Identifier: Apache-2.0
 * Networks against the words of their family, one pair of neurons at a time; the real layers too, where they are. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "perf/network.h"
#include "tests/perf/world.h"

static const char *real_folder; /* NULL: the real layers are not here */

/* Every neuron's class in a block, from its layer of stride 1: input i feeds the classes p and p - 1. */
static void find_classes(const perf_network_t *network, int64_t layer, int64_t *class_of)
{
    int64_t c = network->num_classes;
    int64_t *inputs = calloc((size_t)network->neurons, sizeof *inputs);
    unsigned char *feeds = calloc((size_t)(network->neurons * c), 1);
    for (int64_t j = 0; j < network->neurons; j++) {
        int64_t count = perf_network_inputs(network, layer, j, inputs);
        for (int64_t k = 0; k < count; k++)
            feeds[inputs[k] * c + j % c] = 1;
    }
    for (int64_t i = 0; i < network->neurons; i++) {
        class_of[i] = -1;
        for (int64_t p = 0; p < c; p++)
            if (feeds[i * c + p] && feeds[i * c + (p + c - 1) % c])
                class_of[i] = p;
        assert_true(class_of[i] >= 0);
    }
    free(feeds);
    free(inputs);
}

/* The inputs of every output must be exactly those whose class says so, and there must be 16 neurons of each class. */
static void assert_is_of_the_family(const perf_network_t *network, int64_t layer, const int64_t *class_of)
{
    int64_t c = network->num_classes;
    int64_t stride = (int64_t)1 << layer % perf_network_block_length(network->neurons);
    int64_t *inputs = calloc((size_t)network->neurons, sizeof *inputs);
    int64_t *size = calloc((size_t)c, sizeof *size);
    for (int64_t i = 0; i < network->neurons; i++)
        size[class_of[i]]++;
    for (int64_t p = 0; p < c; p++)
        assert_int_equal(size[p], 16);
    for (int64_t j = 0; j < network->neurons; j++) {
        int64_t k = 0;
        int64_t count = perf_network_inputs(network, layer, j, inputs);
        assert_int_equal(count, 32);
        for (int64_t i = 0; i < network->neurons; i++)
            if (j % c == class_of[i] || j % c == (class_of[i] - stride + c) % c)
                assert_true(k < count && inputs[k++] == i);
        assert_int_equal(k, count);
    }
    free(size);
    free(inputs);
}

static void assert_network_is_of_the_family(const perf_network_t *network)
{
    int length = perf_network_block_length(network->neurons);
    int64_t *class_of = calloc((size_t)network->neurons, sizeof *class_of);
    for (int64_t layer = 0; layer < network->num_layers; layer++) {
        if (layer % length == 0)
            find_classes(network, layer, class_of);
        for (int64_t i = 0; layer < length && i < network->neurons; i++)
            assert_int_equal(class_of[i], i % network->num_classes);
        assert_is_of_the_family(network, layer, class_of);
    }
    free(class_of);
}

static void test_network_make_follows_the_family(void **state)
{
    static const int lengths[] = {6, 8, 10, 12};
    perf_network_t network = {0};
    for (int s = 0; s < 4; s++)
        assert_int_equal(perf_network_block_length((int64_t)1024 << 2 * s), lengths[s]);
    assert_int_equal(perf_network_make(1024, 20, 1, &network), TULLE_OK);
    assert_true(network.bias == -0.3);
    assert_network_is_of_the_family(&network);
    perf_network_release(&network);
    assert_int_equal(perf_network_make(4096, 9, 1, &network), TULLE_OK);
    assert_network_is_of_the_family(&network);
    perf_network_release(&network);
}

static void test_network_make_seeds_differ_after_the_first_block(void **state)
{
    perf_network_t a = {0}, b = {0}, again = {0};
    assert_int_equal(perf_network_make(1024, 12, 1, &a), TULLE_OK);
    assert_int_equal(perf_network_make(1024, 12, 2, &b), TULLE_OK);
    assert_int_equal(perf_network_make(1024, 12, 1, &again), TULLE_OK);
    assert_memory_equal(a.members, again.members, 2 * 1024 * sizeof *a.members);
    assert_memory_equal(a.members, b.members, 1024 * sizeof *a.members);
    assert_true(memcmp(a.members + 1024, b.members + 1024, 1024 * sizeof *a.members) != 0);
    perf_network_release(&a);
    perf_network_release(&b);
    perf_network_release(&again);
}

static void test_network_make_other_sizes_are_refused(void **state)
{
    perf_network_t network = {0};
    assert_int_equal(perf_network_make(2048, 1, 1, &network), TULLE_ERR_ARG);
    assert_int_equal(perf_network_make(1024, 0, 1, &network), TULLE_ERR_ARG);
}

static void test_network_real_layers_are_of_the_family(void **state)
{
    perf_network_t network = {0};
    perf_images_t images = {0};
    if (real_folder == NULL)
        skip();
    assert_int_equal(perf_network_read(MPI_COMM_WORLD, real_folder, &network, &images), TULLE_OK);
    assert_int_equal(network.neurons, 1024);
    assert_int_equal(network.num_layers, 30);
    assert_int_equal(images.num, 1200);
    assert_int_equal(images.row_ptr[1024], 122713);
    assert_network_is_of_the_family(&network);
    perf_network_release(&network);
    perf_images_release(&images);
}

/* Matrices of a folder, of rank 0. */
static void write_matrix(const char *name, int rows, int cols, const char *entries, int num)
{
    char text[512];
    int length = snprintf(text, sizeof text, "%%%%MatrixMarket matrix coordinate pattern general\n%d %d %d\n%s", rows,
                          cols, num, entries);
    world_write(name, text, (size_t)length);
}

static const char *own_folder(void)
{
    static char folder[1024];
    snprintf(folder, sizeof folder, "%s", world_path("x"));
    folder[strlen(folder) - 2] = '\0';
    return folder;
}

/* Two layers of three neurons, two inputs: by hand. */
static void test_network_read_and_infer_small_files_by_hand(void **state)
{
    perf_network_t network = {0};
    perf_images_t images = {0};
    double y[6];
    int64_t inputs[3];
    write_matrix("n3-l1.mtx", 3, 3, "1 1\n2 1\n3 2\n", 3);
    write_matrix("n3-l2.mtx", 3, 3, "1 2\n1 3\n2 3\n", 3);
    write_matrix("sparse-images-3.mtx", 2, 3, "1 1\n1 2\n2 3\n", 3);
    assert_int_equal(perf_network_read(MPI_COMM_WORLD, own_folder(), &network, &images), TULLE_OK);
    assert_int_equal(network.num_layers, 2);
    assert_int_equal(images.num, 2);
    assert_int_equal(perf_network_inputs(&network, 0, 0, inputs), 2);
    assert_true(inputs[0] == 0 && inputs[1] == 1);
    assert_int_equal(perf_network_inputs(&network, 1, 0, inputs), 0);
    network.bias = 0.25;
    assert_int_equal(perf_network_infer(&network, &images, 2, y), TULLE_OK);
    /* After layer 1 input 1 has (1/8 + 1/4, 0, 0), input 2 (0, 1/16 + 1/4, 0). */
    double expected[6] = {0, 0, 0.375 / 16 + 0.25, 0, 0.375 / 16 + 0.25, 0.3125 / 16 + 0.25};
    for (int i = 0; i < 6; i++)
        assert_true(fabs(y[i] - expected[i]) < 1e-15);
    perf_network_release(&network);
    perf_images_release(&images);
}

static void test_network_read_foreign_files_fail_on_every_rank(void **state)
{
    perf_network_t network = {0};
    perf_images_t images = {0};
    write_matrix("n3-l2.mtx", 3, 4, "1 2\n", 1);
    assert_true(perf_network_read(MPI_COMM_WORLD, own_folder(), &network, &images) == TULLE_ERR_FILE);
    write_matrix("n3-l2.mtx", 3, 3, "1 2\n", 1);
    write_matrix("sparse-images-3.mtx", 2, 4, "1 1\n", 1);
    assert_true(perf_network_read(MPI_COMM_WORLD, own_folder(), &network, &images) == TULLE_ERR_FILE);
    write_matrix("sparse-images-3.mtx", 2, 3, "7 1\n", 1);
    assert_failed_on_rank_0(TULLE_ERR_FILE, perf_network_read(MPI_COMM_WORLD, own_folder(), &network, &images));
    assert_true(perf_network_read(MPI_COMM_WORLD, "/nowhere", &network, &images) == TULLE_ERR_FILE);
}

/* Input k has about (1 + k mod 8) / 16 of all entries, none twice. */
static void test_images_make_has_inputs_of_eight_densities(void **state)
{
    perf_images_t images = {0};
    int64_t num[16] = {0};
    assert_int_equal(perf_images_make(4096, 16, 3, &images), TULLE_OK);
    for (int64_t i = 0; i < 4096; i++)
        for (int64_t e = images.row_ptr[i]; e < images.row_ptr[i + 1]; e++) {
            assert_true(images.col_idx[e] >= 0 && images.col_idx[e] < 16);
            assert_true(e == images.row_ptr[i] || images.col_idx[e] > images.col_idx[e - 1]);
            num[images.col_idx[e]]++;
        }
    for (int k = 0; k < 16; k++)
        assert_true(labs((long)num[k] - 256 * (1 + k % 8)) < 130);
    perf_images_release(&images);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network_make_follows_the_family),
        cmocka_unit_test(test_network_make_seeds_differ_after_the_first_block),
        cmocka_unit_test(test_network_make_other_sizes_are_refused),
        cmocka_unit_test(test_network_real_layers_are_of_the_family),
        cmocka_unit_test(test_network_read_and_infer_small_files_by_hand),
        cmocka_unit_test(test_network_read_foreign_files_fail_on_every_rank),
        cmocka_unit_test(test_images_make_has_inputs_of_eight_densities),
    };
    char folder[1024] = "";
    world_init(&argc, &argv);
    if (argc > 1)
        snprintf(folder, sizeof folder, "%s/../shared/data/radixnet_n1024", argv[1]);
    if (argc > 1 && access(folder, R_OK) == 0)
        real_folder = folder;
    return world_finish(cmocka_run_group_tests(tests, NULL, NULL));
}
