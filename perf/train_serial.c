/* SPDX-License-Identifier: Apache-2.0
 * The engine that Tulle's is compared with: the whole graph, one loop for each sum. */
#include <string.h>

#include "perf/train.h"
#include "src/fault.h"

typedef struct serial {
    train_engine_t engine; /* first: handed out in its place */
    const perf_matrix_t *graph;
    double *weights[TRAIN_LAYERS];
    int64_t width[TRAIN_LAYERS];
    const double *x[TRAIN_LAYERS], *y[TRAIN_LAYERS];
} serial_t;

static tulle_status_t forward(train_engine_t *engine, int layer, int64_t width, const double *x, double *y)
{
    serial_t *s = (serial_t *)engine;
    const perf_matrix_t *graph = s->graph;
    memset(y, 0, (size_t)(graph->rows * width) * sizeof *y);
    for (int64_t i = 0; i < graph->rows; i++) {
        for (int64_t e = graph->row_ptr[i]; e < graph->row_ptr[i + 1]; e++)
            for (int64_t k = 0; k < width; k++)
                y[i * width + k] += s->weights[layer][e] * x[graph->col_idx[e] * width + k];
        for (int64_t k = 0; k < width && layer == 0; k++)
            y[i * width + k] = y[i * width + k] > 0 ? y[i * width + k] : 0;
    }
    s->width[layer] = width;
    s->x[layer] = x;
    s->y[layer] = y;
    return TULLE_OK;
}

static tulle_status_t backward(train_engine_t *engine, int layer, const double *dy, double *dx, double *dw)
{
    serial_t *s = (serial_t *)engine;
    const perf_matrix_t *graph = s->graph;
    int64_t width = s->width[layer];
    memset(dx, 0, (size_t)(graph->rows * width) * sizeof *dx);
    for (int64_t i = 0; i < graph->rows; i++)
        for (int64_t e = graph->row_ptr[i]; e < graph->row_ptr[i + 1]; e++) {
            int64_t j = graph->col_idx[e];
            dw[e] = 0;
            for (int64_t k = 0; k < width; k++) {
                double dz = layer == 0 && s->y[layer][i * width + k] <= 0 ? 0 : dy[i * width + k];
                dw[e] += dz * s->x[layer][j * width + k];
                dx[j * width + k] += dz * s->weights[layer][e];
            }
        }
    return TULLE_OK;
}

static tulle_status_t set_weights(train_engine_t *engine, int layer, const double *weights)
{
    serial_t *s = (serial_t *)engine;
    memcpy(s->weights[layer], weights, (size_t)engine->num_edges * sizeof *weights);
    return TULLE_OK;
}

static tulle_status_t sum(train_engine_t *engine, double *values, int num)
{
    (void)engine, (void)values, (void)num;
    return TULLE_OK;
}

tulle_status_t train_serial_open(const perf_matrix_t *graph, tli_arena_t *arena, train_engine_t **engine_out)
{
    tulle_status_t st = TULLE_OK;
    serial_t *s = NULL;
    TLI_TRY(tli_arena_alloc(arena, 1, sizeof *s, &s));
    s->engine = (train_engine_t){graph->rows, graph->nnz, graph->row_ptr, forward, backward, set_weights, sum};
    s->graph = graph;
    for (int l = 0; l < TRAIN_LAYERS; l++)
        TLI_TRY(tli_arena_alloc(arena, graph->nnz, sizeof(double), &s->weights[l]));
    *engine_out = &s->engine;
done:
    return st;
}
