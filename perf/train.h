/* SPDX-License-Identifier: Apache-2.0
 * An example: a graph network of two layers, trained on a graph that is split over ranks.
 *
 *     Y = relu(W0 (X T0)),  Z = W1 (Y T1),  loss = mean cross entropy of softmax(Z) and the labels
 *
 * W0 and W1 have the graph's edges, loops included, and begin as means over neighbours; T0 and T1 are small and dense,
 * the same on every rank. All four are learned. Features X and labels are derived from the graph alone: a vertex's
 * features say in which of eight classes its degree is, its label whether the mean degree of it and its neighbours is
 * low, middle or high. So a vertex must ask its neighbours to know its label.
 *
 * The loop is written once and runs on two engines, which multiply by W0 and W1: train_tulle.c with the graph split
 * over ranks, train_serial.c with all of it on one. */
#ifndef PERF_TRAIN_H
#define PERF_TRAIN_H

#include <stdint.h>

#include <tulle/mpi.h>

#include "perf/matrix_file.h"
#include "src/arena.h"

#define TRAIN_LAYERS   2
#define TRAIN_FEATURES 8
#define TRAIN_HIDDEN   16
#define TRAIN_CLASSES  3

/** What multiplies by the graph's edges, and back. Rows are those of this rank; a row is `width` doubles. */
typedef struct train_engine train_engine_t;
struct train_engine {
    int64_t num_vertices;   /* of this rank */
    int64_t num_edges;      /* of this rank, loops included */
    const int64_t *row_ptr; /* [num_vertices + 1] edges of each vertex */
    /** y = W x, and relu of it for layer 0; x and y are kept until backward. */
    tulle_status_t (*forward)(train_engine_t *engine, int layer, int64_t width, const double *x, double *y);
    /** dx and dw [num_edges] from dy, of the last forward of that layer. */
    tulle_status_t (*backward)(train_engine_t *engine, int layer, const double *dy, double *dx, double *dw);
    /** Replace W: one weight for each edge. */
    tulle_status_t (*set_weights)(train_engine_t *engine, int layer, const double *weights);
    /** Sums over all ranks, in place. */
    tulle_status_t (*sum)(train_engine_t *engine, double *values, int num);
};

/** Loss and the share of vertices whose label is found, before every step. */
typedef struct train_curve {
    int num_epochs;
    double *loss, *accuracy; /* [num_epochs] */
} train_curve_t;

/**
 * Train from the same start as any other run.
 * @collective if the engine is
 * @param[in,out] curve num_epochs is set, the arrays are the caller's
 * @retval what the engine reported; TULLE_ERR_NOMEM
 */
tulle_status_t train(train_engine_t *engine, train_curve_t *curve);

/**
 * The whole graph on this rank.
 * @param[in] graph borrowed, with a loop at every vertex
 * @param[in] arena holds everything
 */
tulle_status_t train_serial_open(const perf_matrix_t *graph, tli_arena_t *arena, train_engine_t **engine_out);

/**
 * The graph split over ranks.
 * @collective all ranks of @p comm
 * @param[in]  comm       borrowed
 * @param[in]  graph      borrowed, this rank's rows, with a loop at every vertex
 * @param[out] engine_out owned by the caller, train_tulle_close() frees it
 */
tulle_status_t train_tulle_open(tulle_comm_t *tulle, MPI_Comm comm, const perf_input_t *graph,
                                train_engine_t **engine_out);
/** Collective. */
void train_tulle_close(train_engine_t **engine);

#endif
