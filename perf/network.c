/* SPDX-License-Identifier: Apache-2.0
 * Networks and batches that are made, and what a network computes. */
#include "perf/network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/random.h"
#include "src/fault.h"

/* --- made -------------------------------------------------------------------------------------------------------- */

int perf_network_block_length(int64_t neurons)
{
    int length = 0;
    for (int64_t classes = neurons / PERF_NETWORK_CLASS_SIZE; classes > 1; classes /= 2)
        length++;
    return length;
}

/* A random order of the neurons, then the neurons of each class in ascending order. */
static void list_members(int64_t neurons, int is_first_block, uint64_t *state, int64_t *place, int64_t *members)
{
    int64_t num_classes = neurons / PERF_NETWORK_CLASS_SIZE;
    int64_t filled[65536 / PERF_NETWORK_CLASS_SIZE] = {0};
    for (int64_t i = 0; i < neurons; i++)
        place[i] = i;
    for (int64_t i = neurons - 1; i > 0 && !is_first_block; i--) {
        int64_t other = perf_random_below(state, i + 1);
        int64_t kept = place[i];
        place[i] = place[other];
        place[other] = kept;
    }
    for (int64_t i = 0; i < neurons; i++) {
        int64_t class = place[i] % num_classes;
        members[class * PERF_NETWORK_CLASS_SIZE + filled[class]++] = i;
    }
}

double perf_network_bias(int64_t neurons)
{
    return neurons == 1024 ? -0.3 : neurons == 4096 ? -0.35 : neurons == 16384 ? -0.4 : -0.45;
}

tulle_status_t perf_network_make(int64_t neurons, int64_t num_layers, uint64_t seed, perf_network_t *network_out)
{
    tulle_status_t st = TULLE_OK;
    perf_network_t network = {.neurons = neurons, .num_layers = num_layers};
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t *place = NULL;
    TLI_REQUIRE(neurons == 1024 || neurons == 4096 || neurons == 16384 || neurons == 65536, TULLE_ERR_ARG,
                "%lld neurons; the family has 1024, 4096, 16384 and 65536", (long long)neurons);
    TLI_REQUIRE(num_layers >= 1, TULLE_ERR_ARG, "%lld layers", (long long)num_layers);
    network.num_classes = neurons / PERF_NETWORK_CLASS_SIZE;
    network.bias = perf_network_bias(neurons);
    int length = perf_network_block_length(neurons);
    int64_t num_blocks = (num_layers + length - 1) / length;
    TLI_TRY(tli_arena_alloc_raw(&scratch, neurons, sizeof *place, &place));
    TLI_TRY(tli_arena_alloc_raw(&network.arena, num_blocks, (size_t)neurons * sizeof(int64_t), &network.members));
    uint64_t state = seed;
    for (int64_t block = 0; block < num_blocks; block++)
        list_members(neurons, block == 0, &state, place, network.members + block * neurons);
    snprintf(network.name, sizeof network.name, "radixnet-%lldx%lld", (long long)neurons, (long long)num_layers);
    *network_out = network;
    network.arena = (tli_arena_t)TLI_ARENA_INIT;
done:
    tli_arena_release(&scratch);
    tli_arena_release(&network.arena);
    return st;
}

/* Two ascending lists as one. */
static void merge(const int64_t *a, const int64_t *b, int64_t *out)
{
    int64_t i = 0, j = 0;
    for (int64_t k = 0; k < PERF_NETWORK_FAN; k++)
        out[k] = j == PERF_NETWORK_CLASS_SIZE || (i < PERF_NETWORK_CLASS_SIZE && a[i] < b[j]) ? a[i++] : b[j++];
}

void perf_network_connect(int64_t neurons, const int64_t *members, int64_t stride, int64_t output, int64_t *inputs)
{
    int64_t num_classes = neurons / PERF_NETWORK_CLASS_SIZE;
    int64_t class = output % num_classes;
    int64_t further = (class + stride) % num_classes;
    merge(members + class * PERF_NETWORK_CLASS_SIZE, members + further * PERF_NETWORK_CLASS_SIZE, inputs);
}

int64_t perf_network_inputs(const perf_network_t *network, int64_t layer, int64_t output, int64_t *inputs)
{
    if (network->members != NULL) {
        int length = perf_network_block_length(network->neurons);
        perf_network_connect(network->neurons, network->members + layer / length * network->neurons,
                             (int64_t)1 << layer % length, output, inputs);
        return PERF_NETWORK_FAN;
    }
    const int64_t *row_ptr = network->row_ptr[layer];
    int64_t count = row_ptr[output + 1] - row_ptr[output];
    memcpy(inputs, network->col_idx[layer] + row_ptr[output], (size_t)count * sizeof *inputs);
    return count;
}

tulle_status_t perf_images_make(int64_t neurons, int64_t num, uint64_t seed, perf_images_t *images_out)
{
    tulle_status_t st = TULLE_OK;
    perf_images_t images = {.num = num};
    uint64_t state = ~seed;
    int64_t most = neurons * num / 2 + 64; /* more than is expected */
    int64_t count = 0;
    TLI_TRY(tli_arena_alloc(&images.arena, neurons + 1, sizeof(int64_t), &images.row_ptr));
    TLI_TRY(tli_arena_alloc_raw(&images.arena, most, sizeof(int64_t), &images.col_idx));
    for (int64_t i = 0; i < neurons; i++) {
        for (int64_t k = 0; k < num && count < most; k++)
            if (perf_random_below(&state, 16) < 1 + k % 8)
                images.col_idx[count++] = k;
        images.row_ptr[i + 1] = count;
    }
    *images_out = images;
    images.arena = (tli_arena_t)TLI_ARENA_INIT;
done:
    tli_arena_release(&images.arena);
    return st;
}

/* --- inference --------------------------------------------------------------------------------------------------- */

static void infer_neuron(const perf_network_t *network, const int64_t *inputs, int64_t num_inputs, const double *x,
                         int64_t num, double *y)
{
    for (int64_t k = 0; k < num; k++)
        y[k] = 0;
    for (int64_t i = 0; i < num_inputs; i++)
        for (int64_t k = 0; k < num; k++)
            y[k] += PERF_NETWORK_WEIGHT * x[inputs[i] * num + k];
    for (int64_t k = 0; k < num; k++)
        y[k] = y[k] == 0 ? 0 : fmin(fmax(y[k] + network->bias, 0), PERF_NETWORK_LIMIT);
}

tulle_status_t perf_network_infer(const perf_network_t *network, const perf_images_t *images, int64_t num, double *y)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    double *x = NULL;
    int64_t *inputs = NULL;
    size_t bytes = (size_t)network->neurons * (size_t)num * sizeof *x;
    TLI_TRY(tli_arena_alloc_raw(&scratch, network->neurons * num, sizeof *x, &x));
    TLI_TRY(tli_arena_alloc_raw(&scratch, network->neurons, sizeof *inputs, &inputs));
    memset(y, 0, bytes);
    for (int64_t i = 0; i < network->neurons; i++)
        for (int64_t e = images->row_ptr[i]; e < images->row_ptr[i + 1]; e++)
            if (images->col_idx[e] < num)
                y[i * num + images->col_idx[e]] = 1;
    for (int64_t layer = 0; layer < network->num_layers; layer++) {
        memcpy(x, y, bytes);
        for (int64_t output = 0; output < network->neurons; output++) {
            int64_t count = perf_network_inputs(network, layer, output, inputs);
            infer_neuron(network, inputs, count, x, num, y + output * num);
        }
    }
done:
    tli_arena_release(&scratch);
    return st;
}

void perf_network_release(perf_network_t *network)
{
    if (network == NULL)
        return;
    tli_arena_release(&network->arena);
    memset(network, 0, sizeof *network);
}

void perf_images_release(perf_images_t *images)
{
    if (images == NULL)
        return;
    tli_arena_release(&images->arena);
    memset(images, 0, sizeof *images);
}
