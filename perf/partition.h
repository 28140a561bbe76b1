/* SPDX-License-Identifier: Apache-2.0
 * Which rank gets which rows and columns of a matrix. Pure: a whole matrix and a machine in, places out.
 *
 * Every rank keeps as many rows and columns as it has in block order, so a partition is a new order: the permutation
 * that makes the rows of each rank its block. Rows and columns of a square matrix move together; those of a rectangular
 * one are partitioned apart, so that few rows need columns of others. */
#ifndef PERF_PARTITION_H
#define PERF_PARTITION_H

#include <stdint.h>

#include <tulle/topology.h>

#include "perf/matrix_file.h"
#include "src/arena.h"

/** What is dealt out: vertices are the rows of a square matrix, or rows and then columns of a rectangular one. Every
 * entry off the diagonal is an edge, in both directions. Classes are dealt out evenly each for itself. */
typedef struct perf_graph {
    int64_t num_vertices;
    int num_classes;         /* 1: rows; 2: rows, then columns */
    int64_t class_ptr[3];    /* [num_classes + 1] first vertex of each class */
    int64_t *adj_ptr;        /* [num_vertices + 1] */
    int64_t *adj;            /* [adj_ptr[num_vertices]] ascending and distinct for each vertex */
    unsigned char *is_asked; /* [adj_ptr[num_vertices]] the neighbour's rank needs this vertex: it has the entry */
} perf_graph_t;

/** Where everything goes. */
typedef struct perf_partition {
    int64_t *new_row;  /* [rows] of each old row */
    int64_t *new_col;  /* [cols] of each old column; new_row when the matrix is square */
    int64_t num_moved; /* vertices that left the part they were given, because its block was full */
} perf_partition_t;

/**
 * The graph of a matrix.
 * @param[in]  arena     holds the arrays
 * @param[out] graph_out untouched on failure
 * @retval TULLE_ERR_NOMEM
 * @cost O(entries)
 */
tulle_status_t perf_graph_create(const perf_matrix_t *matrix, tli_arena_t *arena, perf_graph_t *graph_out);

/**
 * Vertices that other parts ask for, counted once for each part that asks: what crosses between the parts.
 * @param[in]     part    [num_vertices]
 * @param[in,out] scratch [number of parts]
 */
int64_t perf_graph_volume(const perf_graph_t *graph, const int *part, int num_parts, int64_t *scratch);

/**
 * Move vertices out of parts that have too many into parts that have too few, those first that have most edges there
 * and fewest at home.
 * @param[in]     room      [num_parts * num_classes] vertices that each part shall have; they sum up to the classes
 * @param[in,out] part      [num_vertices]
 * @param[out]    moved_out vertices that were moved
 * @retval TULLE_ERR_NOMEM
 */
tulle_status_t perf_graph_settle(const perf_graph_t *graph, int num_parts, const int64_t *room, int *part,
                                 int64_t *moved_out);

/** Whether this build can partition. */
int perf_partition_has_metis(void);

/**
 * Deal the matrix out by METIS: first over the nodes, then over the groups inside each, down to its ranks. Of METIS's
 * ways and block order the one with the least volume is taken, at every step. The same input gives the same result.
 * @param[in]  arena         holds the arrays
 * @param[out] partition_out untouched on failure
 * @retval TULLE_ERR_UNSUPPORTED built without METIS; TULLE_ERR_OVERFLOW more edges than METIS's integers count;
 *         TULLE_ERR_NOMEM
 */
tulle_status_t perf_partition_by_metis(const perf_matrix_t *matrix, const tulle_topology_t *topology,
                                       tli_arena_t *arena, perf_partition_t *partition_out);

/**
 * Read a partition: one number of a rank for each row, and behind them for each column of a rectangular matrix, apart
 * by white space: what gpmetis writes.
 * @param[in]  num_ranks     numbers are below it
 * @param[in]  arena         holds the arrays
 * @param[out] partition_out untouched on failure
 * @retval TULLE_ERR_FILE cannot be read, too few or too many numbers, a number that is no rank; TULLE_ERR_NOMEM
 */
tulle_status_t perf_partition_read(const perf_matrix_t *matrix, const char *path, int num_ranks, tli_arena_t *arena,
                                   perf_partition_t *partition_out);

/**
 * The places that a part for every vertex means; within a part the old order is kept.
 * @param[in,out] part settled by this
 * @retval TULLE_ERR_NOMEM
 */
tulle_status_t perf_partition_place(const perf_graph_t *graph, int num_ranks, int *part, tli_arena_t *arena,
                                    perf_partition_t *partition_out);

/**
 * The matrix in its new order.
 * @param[in]  arena      holds the arrays
 * @param[out] matrix_out not to be released; untouched on failure
 * @retval TULLE_ERR_NOMEM
 */
tulle_status_t perf_matrix_permute(const perf_matrix_t *matrix, const perf_partition_t *partition, tli_arena_t *arena,
                                   perf_matrix_t *matrix_out);

#endif
