/* SPDX-License-Identifier: Apache-2.0
 * Networks from files: rank 0 reads, all ranks get all of it. */
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "perf/matrix_file.h"
#include "perf/network.h"
#include "src/agree.h"
#include "src/fault.h"

/* A pattern by columns, as rows: layers are stored by input and inputs by image. */
typedef struct transpose {
    int64_t rows, cols; /* of the transpose */
    int64_t *row_ptr, *col_idx;
} transpose_t;

static tulle_status_t transpose(const perf_matrix_t *matrix, tli_arena_t *arena, transpose_t *out)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc(arena, matrix->cols + 1, sizeof(int64_t), &out->row_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, matrix->nnz, sizeof(int64_t), &out->col_idx));
    for (int64_t e = 0; e < matrix->nnz; e++)
        out->row_ptr[matrix->col_idx[e] + 1]++;
    for (int64_t j = 0; j < matrix->cols; j++)
        out->row_ptr[j + 1] += out->row_ptr[j];
    for (int64_t i = 0; i < matrix->rows; i++)
        for (int64_t e = matrix->row_ptr[i]; e < matrix->row_ptr[i + 1]; e++)
            out->col_idx[out->row_ptr[matrix->col_idx[e]]++] = i;
    memmove(out->row_ptr + 1, out->row_ptr, (size_t)matrix->cols * sizeof(int64_t)); /* each is at its end now */
    out->row_ptr[0] = 0;
    out->rows = matrix->cols;
    out->cols = matrix->rows;
done:
    return st;
}

/* The first file that matches. @retval TULLE_ERR_FILE there is none */
static tulle_status_t read_transpose(const char *pattern, tli_arena_t *arena, transpose_t *out)
{
    tulle_status_t st = TULLE_OK;
    perf_matrix_t matrix = {0};
    glob_t found = {0};
    TLI_REQUIRE(glob(pattern, 0, NULL, &found) == 0, TULLE_ERR_FILE, "there is no file '%.160s'", pattern);
    TLI_TRY(perf_matrix_read(found.gl_pathv[0], NULL, NULL, &matrix));
    TLI_TRY(transpose(&matrix, arena, out));
done:
    globfree(&found);
    perf_matrix_release(&matrix);
    return st;
}

static int64_t count_layers(const char *folder)
{
    int64_t num = 0;
    int is_there = 1;
    while (is_there) {
        char pattern[PATH_MAX];
        glob_t found = {0};
        snprintf(pattern, sizeof pattern, "%s/n*-l%lld.mtx*", folder, (long long)num + 1);
        is_there = glob(pattern, 0, NULL, &found) == 0;
        globfree(&found);
        num += is_there;
    }
    return num;
}

/* From rank 0 to all. */
static tulle_status_t share(MPI_Comm comm, tli_arena_t *arena, transpose_t *t)
{
    tulle_status_t st = TULLE_OK;
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    int64_t sizes[3] = {t->rows, t->cols, rank == 0 ? t->row_ptr[t->rows] : 0};
    TLI_MPI(MPI_Bcast(sizes, 3, MPI_INT64_T, 0, comm));
    t->rows = sizes[0];
    t->cols = sizes[1];
    st = sizes[2] <= INT_MAX ? TULLE_OK
                             : tli_fail(TULLE_ERR_OVERFLOW, 0, TLI_WHERE, "%lld entries are more than MPI can count",
                                        (long long)sizes[2]);
    if (st == TULLE_OK && rank != 0)
        st = tli_arena_alloc_raw(arena, sizes[0] + 1, sizeof(int64_t), &t->row_ptr);
    if (st == TULLE_OK && rank != 0)
        st = tli_arena_alloc_raw(arena, sizes[2], sizeof(int64_t), &t->col_idx);
    TLI_TRY(tli_agree(comm, st));
    TLI_MPI(MPI_Bcast(t->row_ptr, (int)sizes[0] + 1, MPI_INT64_T, 0, comm));
    TLI_MPI(MPI_Bcast(t->col_idx, (int)sizes[2], MPI_INT64_T, 0, comm));
done:
    return st;
}

static tulle_status_t read_layer(MPI_Comm comm, const char *folder, int64_t layer, perf_network_t *network)
{
    tulle_status_t st = TULLE_OK;
    char pattern[PATH_MAX];
    transpose_t t = {0};
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    snprintf(pattern, sizeof pattern, "%s/n*-l%lld.mtx*", folder, (long long)layer + 1);
    if (rank == 0)
        st = read_transpose(pattern, &network->arena, &t);
    TLI_TRY(tli_agree(comm, st));
    TLI_TRY(share(comm, &network->arena, &t));
    if (layer == 0)
        network->neurons = t.rows;
    TLI_REQUIRE(t.rows == network->neurons && t.cols == network->neurons, TULLE_ERR_FILE,
                "layer %lld of '%.120s' has %lld inputs and %lld outputs; all layers must have %lld",
                (long long)layer + 1, folder, (long long)t.cols, (long long)t.rows, (long long)network->neurons);
    network->row_ptr[layer] = t.row_ptr;
    network->col_idx[layer] = t.col_idx;
done:
    return st;
}

static tulle_status_t read_layers(MPI_Comm comm, const char *folder, perf_network_t *network)
{
    tulle_status_t st = TULLE_OK;
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    network->num_layers = rank == 0 ? count_layers(folder) : 0;
    TLI_MPI(MPI_Bcast(&network->num_layers, 1, MPI_INT64_T, 0, comm));
    TLI_REQUIRE(network->num_layers > 0, TULLE_ERR_FILE, "there is no layer '%.120s/n*-l1.mtx'", folder);
    st = tli_arena_alloc(&network->arena, network->num_layers, sizeof *network->row_ptr, &network->row_ptr);
    if (st == TULLE_OK)
        st = tli_arena_alloc(&network->arena, network->num_layers, sizeof *network->col_idx, &network->col_idx);
    TLI_TRY(tli_agree(comm, st));
    for (int64_t layer = 0; layer < network->num_layers; layer++)
        TLI_TRY(read_layer(comm, folder, layer, network));
    network->num_classes = network->neurons / PERF_NETWORK_CLASS_SIZE;
    network->bias = perf_network_bias(network->neurons);
    snprintf(network->name, sizeof network->name, "files-%lldx%lld", (long long)network->neurons,
             (long long)network->num_layers);
done:
    return st;
}

static tulle_status_t read_images(MPI_Comm comm, const char *folder, int64_t neurons, perf_images_t *images)
{
    tulle_status_t st = TULLE_OK;
    char pattern[PATH_MAX];
    transpose_t t = {0};
    int rank = 0;
    TLI_MPI(MPI_Comm_rank(comm, &rank));
    snprintf(pattern, sizeof pattern, "%s/sparse-images-%lld*.mtx*", folder, (long long)neurons);
    if (rank == 0)
        st = read_transpose(pattern, &images->arena, &t);
    TLI_TRY(tli_agree(comm, st));
    TLI_TRY(share(comm, &images->arena, &t));
    TLI_REQUIRE(t.rows == neurons, TULLE_ERR_FILE, "the inputs of '%.120s' have %lld entries; layers have %lld neurons",
                folder, (long long)t.rows, (long long)neurons);
    images->num = t.cols;
    images->row_ptr = t.row_ptr;
    images->col_idx = t.col_idx;
done:
    return st;
}

tulle_status_t perf_network_read(MPI_Comm comm, const char *folder, perf_network_t *network_out,
                                 perf_images_t *images_out)
{
    tulle_status_t st = TULLE_OK;
    perf_network_t network = {0};
    perf_images_t images = {0};
    TLI_TRY(read_layers(comm, folder, &network));
    TLI_TRY(read_images(comm, folder, network.neurons, &images));
    *network_out = network;
    *images_out = images;
    memset(&network, 0, sizeof network);
    memset(&images, 0, sizeof images);
done:
    perf_network_release(&network);
    perf_images_release(&images);
    return st;
}
