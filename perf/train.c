/* SPDX-License-Identifier: Apache-2.0
 * The loop: forward, loss, backward, a step of gradient descent with momentum. */
#include "perf/train.h"

#include <math.h>
#include <string.h>

#include "perf/random.h"
#include "src/fault.h"

#define RATE_DENSE 0.5
#define RATE_EDGES 0.5 /* times the number of vertices: the loss is a mean over them */
#define MOMENTUM   0.9

typedef struct training {
    train_engine_t *engine;
    double num_vertices;    /* of all ranks */
    double *features;       /* [vertices * FEATURES] */
    int *labels;            /* [vertices] */
    double *dense[2];       /* T0 [FEATURES * HIDDEN], T1 [HIDDEN * CLASSES] */
    double *dense_speed[2]; /* the same */
    double *edges[2];       /* W0, W1 [edges] */
    double *edges_speed[2]; /* the same */
    double *edges_slope;    /* [edges] */
    double *x[2];           /* X T0, Y T1 */
    double *y;              /* [vertices * HIDDEN] */
    double *z;              /* [vertices * CLASSES], then the gradient by it */
    double *dx[2];          /* gradients by x */
    double *dy;             /* by y */
} training_t;

static const int64_t num_in[2] = {TRAIN_FEATURES, TRAIN_HIDDEN};
static const int64_t num_out[2] = {TRAIN_HIDDEN, TRAIN_CLASSES};

/* --- start ------------------------------------------------------------------------------------------------------- */

static tulle_status_t alloc_training(train_engine_t *engine, tli_arena_t *arena, training_t *t)
{
    tulle_status_t st = TULLE_OK;
    int64_t n = engine->num_vertices;
    t->engine = engine;
    TLI_TRY(tli_arena_alloc(arena, n, TRAIN_FEATURES * sizeof(double), &t->features));
    TLI_TRY(tli_arena_alloc(arena, n, sizeof(int), &t->labels));
    TLI_TRY(tli_arena_alloc(arena, engine->num_edges, sizeof(double), &t->edges_slope));
    TLI_TRY(tli_arena_alloc(arena, n, TRAIN_HIDDEN * sizeof(double), &t->y));
    TLI_TRY(tli_arena_alloc(arena, n, TRAIN_HIDDEN * sizeof(double), &t->dy));
    TLI_TRY(tli_arena_alloc(arena, n, TRAIN_CLASSES * sizeof(double), &t->z));
    for (int l = 0; l < TRAIN_LAYERS; l++) {
        TLI_TRY(tli_arena_alloc(arena, num_in[l] * num_out[l], sizeof(double), &t->dense[l]));
        TLI_TRY(tli_arena_alloc(arena, num_in[l] * num_out[l], sizeof(double), &t->dense_speed[l]));
        TLI_TRY(tli_arena_alloc(arena, engine->num_edges, sizeof(double), &t->edges[l]));
        TLI_TRY(tli_arena_alloc(arena, engine->num_edges, sizeof(double), &t->edges_speed[l]));
        TLI_TRY(tli_arena_alloc(arena, n, (size_t)num_out[l] * sizeof(double), &t->x[l]));
        TLI_TRY(tli_arena_alloc(arena, n, (size_t)num_out[l] * sizeof(double), &t->dx[l]));
    }
done:
    return st;
}

static tulle_status_t start_weights(training_t *t)
{
    tulle_status_t st = TULLE_OK;
    uint64_t state = 1;
    for (int l = 0; l < TRAIN_LAYERS; l++) {
        for (int64_t i = 0; i < num_in[l] * num_out[l]; i++)
            t->dense[l][i] = (double)(perf_random_below(&state, 2001) - 1000) / 1000;
        for (int64_t v = 0; v < t->engine->num_vertices; v++) {
            int64_t first = t->engine->row_ptr[v], last = t->engine->row_ptr[v + 1];
            for (int64_t e = first; e < last; e++)
                t->edges[l][e] = 1.0 / (double)(last - first);
        }
        TLI_TRY(t->engine->set_weights(t->engine, l, t->edges[l]));
    }
done:
    return st;
}

/* Low, middle, high: less than half a deviation from the mean is the middle. */
static int label_of(double value, double mean, double deviation)
{
    return value < mean - deviation / 2 ? 0 : value > mean + deviation / 2 ? 2 : 1;
}

/* The graph's own numbers: degrees, and their means over neighbours, for which W1 as it begins is asked. */
static tulle_status_t derive(training_t *t)
{
    tulle_status_t st = TULLE_OK;
    int64_t n = t->engine->num_vertices;
    double *degree = t->x[0], *mean_degree = t->y; /* not used otherwise yet */
    double sums[3] = {(double)n, 0, 0};
    for (int64_t v = 0; v < n; v++) {
        int64_t edges = t->engine->row_ptr[v + 1] - t->engine->row_ptr[v];
        degree[v] = (double)edges;
        t->features[v * TRAIN_FEATURES + (edges / 2 < TRAIN_FEATURES ? edges / 2 : TRAIN_FEATURES - 1)] = 1;
    }
    TLI_TRY(t->engine->forward(t->engine, 1, 1, degree, mean_degree));
    for (int64_t v = 0; v < n; v++) {
        sums[1] += mean_degree[v];
        sums[2] += mean_degree[v] * mean_degree[v];
    }
    TLI_TRY(t->engine->sum(t->engine, sums, 3));
    t->num_vertices = sums[0];
    double mean = sums[1] / sums[0];
    double deviation = sqrt(fmax(sums[2] / sums[0] - mean * mean, 0));
    for (int64_t v = 0; v < n; v++)
        t->labels[v] = label_of(mean_degree[v], mean, deviation);
done:
    return st;
}

/* --- dense products: vertices by small matrices ------------------------------------------------------------------ */

static void multiply(const training_t *t, int l, const double *in, double *out)
{
    memset(out, 0, (size_t)(t->engine->num_vertices * num_out[l]) * sizeof *out);
    for (int64_t v = 0; v < t->engine->num_vertices; v++)
        for (int64_t i = 0; i < num_in[l]; i++)
            for (int64_t o = 0; o < num_out[l]; o++)
                out[v * num_out[l] + o] += in[v * num_in[l] + i] * t->dense[l][i * num_out[l] + o];
}

static void multiply_back(const training_t *t, int l, const double *dout, double *din)
{
    memset(din, 0, (size_t)(t->engine->num_vertices * num_in[l]) * sizeof *din);
    for (int64_t v = 0; v < t->engine->num_vertices; v++)
        for (int64_t i = 0; i < num_in[l]; i++)
            for (int64_t o = 0; o < num_out[l]; o++)
                din[v * num_in[l] + i] += dout[v * num_out[l] + o] * t->dense[l][i * num_out[l] + o];
}

static tulle_status_t step_dense(training_t *t, int l, const double *in, const double *dout)
{
    tulle_status_t st = TULLE_OK;
    double slope[TRAIN_HIDDEN * TRAIN_HIDDEN] = {0};
    for (int64_t v = 0; v < t->engine->num_vertices; v++)
        for (int64_t i = 0; i < num_in[l]; i++)
            for (int64_t o = 0; o < num_out[l]; o++)
                slope[i * num_out[l] + o] += in[v * num_in[l] + i] * dout[v * num_out[l] + o];
    TLI_TRY(t->engine->sum(t->engine, slope, (int)(num_in[l] * num_out[l])));
    for (int64_t i = 0; i < num_in[l] * num_out[l]; i++) {
        t->dense_speed[l][i] = MOMENTUM * t->dense_speed[l][i] - RATE_DENSE * slope[i];
        t->dense[l][i] += t->dense_speed[l][i];
    }
done:
    return st;
}

/* --- one step ---------------------------------------------------------------------------------------------------- */

/* Softmax and cross entropy of one vertex; z becomes the gradient. @return whether the label is found */
static int judge_vertex(double *z, int label, double num_vertices, double *loss)
{
    double sum = 0;
    int best = 0;
    for (int c = 1; c < TRAIN_CLASSES; c++)
        best = z[c] > z[best] ? c : best;
    double most = z[best];
    for (int c = 0; c < TRAIN_CLASSES; c++)
        sum += exp(z[c] - most);
    *loss -= z[label] - most - log(sum);
    for (int c = 0; c < TRAIN_CLASSES; c++)
        z[c] = (exp(z[c] - most) / sum - (c == label)) / num_vertices;
    return best == label;
}

static tulle_status_t judge(training_t *t, double *loss_out, double *accuracy_out)
{
    tulle_status_t st = TULLE_OK;
    double sums[2] = {0, 0};
    for (int64_t v = 0; v < t->engine->num_vertices; v++)
        sums[1] += judge_vertex(t->z + v * TRAIN_CLASSES, t->labels[v], t->num_vertices, &sums[0]);
    TLI_TRY(t->engine->sum(t->engine, sums, 2));
    *loss_out = sums[0] / t->num_vertices;
    *accuracy_out = sums[1] / t->num_vertices;
done:
    return st;
}

/* Edges of one layer a step down the slope that backward found. */
static tulle_status_t step_edges(training_t *t, int l)
{
    for (int64_t e = 0; e < t->engine->num_edges; e++) {
        t->edges_speed[l][e] = MOMENTUM * t->edges_speed[l][e] - RATE_EDGES * t->edges_slope[e];
        t->edges[l][e] += t->edges_speed[l][e];
    }
    return t->engine->set_weights(t->engine, l, t->edges[l]);
}

static tulle_status_t step(training_t *t, double *loss_out, double *accuracy_out)
{
    tulle_status_t st = TULLE_OK;
    train_engine_t *engine = t->engine;
    multiply(t, 0, t->features, t->x[0]);
    TLI_TRY(engine->forward(engine, 0, TRAIN_HIDDEN, t->x[0], t->y));
    multiply(t, 1, t->y, t->x[1]);
    TLI_TRY(engine->forward(engine, 1, TRAIN_CLASSES, t->x[1], t->z));
    TLI_TRY(judge(t, loss_out, accuracy_out));
    TLI_TRY(engine->backward(engine, 1, t->z, t->dx[1], t->edges_slope));
    multiply_back(t, 1, t->dx[1], t->dy);
    TLI_TRY(step_edges(t, 1));
    TLI_TRY(step_dense(t, 1, t->y, t->dx[1]));
    TLI_TRY(engine->backward(engine, 0, t->dy, t->dx[0], t->edges_slope));
    TLI_TRY(step_edges(t, 0));
    TLI_TRY(step_dense(t, 0, t->features, t->dx[0]));
done:
    return st;
}

tulle_status_t train(train_engine_t *engine, train_curve_t *curve)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t arena = TLI_ARENA_INIT;
    training_t t = {0};
    TLI_TRY(alloc_training(engine, &arena, &t));
    TLI_TRY(start_weights(&t));
    TLI_TRY(derive(&t));
    for (int epoch = 0; epoch < curve->num_epochs; epoch++)
        TLI_TRY(step(&t, &curve->loss[epoch], &curve->accuracy[epoch]));
done:
    tli_arena_release(&arena);
    return st;
}
