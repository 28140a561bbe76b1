/* SPDX-License-Identifier: Apache-2.0
 * tulle_train FILE [EPOCHS]: train on a graph, serially and split over ranks, and print both curves. Exit status 1 when
 * they differ, or the loss does not fall. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/input_whole.h"
#include "perf/train.h"
#include "src/agree.h"

#define DEFAULT_EPOCHS 100
#define TOLERANCE      1e-8 /* of the loss: both run in f64, but add up in another order */

typedef struct example {
    MPI_Comm comm;
    int rank;
    perf_input_t input;  /* as read */
    perf_matrix_t whole; /* on rank 0, with loops */
    perf_input_t graph;  /* with loops */
    tulle_comm_t *tulle;
    train_engine_t *engine;
    train_curve_t split, serial; /* serial: on rank 0 */
    tli_arena_t arena;
} example_t;

/* A vertex is its own neighbour, too. Rank 0. */
static tulle_status_t add_loops(example_t *x, perf_matrix_t *graph)
{
    tulle_status_t st = TULLE_OK;
    perf_matrix_t *whole = &x->whole;
    int64_t *row_ptr = NULL, *col_idx = NULL;
    int64_t num = 0;
    TLI_REQUIRE(graph->rows == graph->cols, TULLE_ERR_FILE, "%lld rows and %lld columns are no graph",
                (long long)graph->rows, (long long)graph->cols);
    TLI_TRY(tli_arena_alloc(&x->arena, graph->rows + 1, sizeof *row_ptr, &row_ptr));
    TLI_TRY(tli_arena_alloc(&x->arena, graph->nnz + graph->rows, sizeof *col_idx, &col_idx));
    for (int64_t i = 0; i < graph->rows; i++) {
        int is_there = 0;
        for (int64_t e = graph->row_ptr[i]; e < graph->row_ptr[i + 1]; e++) {
            if (!is_there && graph->col_idx[e] > i)
                col_idx[num++] = i;
            is_there |= graph->col_idx[e] >= i;
            col_idx[num++] = graph->col_idx[e];
        }
        if (!is_there)
            col_idx[num++] = i;
        row_ptr[i + 1] = num;
    }
    *whole = (perf_matrix_t){graph->rows, graph->cols, num, row_ptr, col_idx, NULL};
done:
    return st;
}

static tulle_status_t read_graph(example_t *x, const char *path)
{
    tulle_status_t st = TULLE_OK;
    perf_matrix_t graph = {0};
    TLI_TRY(perf_input_read_matrix(x->comm, path, NULL, NULL, &x->input));
    TLI_TRY(perf_input_collect(x->comm, &x->input, &x->arena, &graph));
    if (x->rank == 0)
        st = add_loops(x, &graph);
    TLI_TRY(tli_agree(x->comm, st));
    TLI_TRY(perf_input_distribute(x->comm, x->input.name, &x->whole, NULL, NULL, &x->graph));
done:
    return st;
}

static tulle_status_t alloc_curve(example_t *x, int num_epochs, train_curve_t *curve)
{
    tulle_status_t st = TULLE_OK;
    curve->num_epochs = num_epochs;
    TLI_TRY(tli_arena_alloc(&x->arena, num_epochs, sizeof(double), &curve->loss));
    TLI_TRY(tli_arena_alloc(&x->arena, num_epochs, sizeof(double), &curve->accuracy));
done:
    return st;
}

static tulle_status_t train_serially(example_t *x)
{
    tulle_status_t st = TULLE_OK;
    train_engine_t *engine = NULL;
    TLI_TRY(train_serial_open(&x->whole, &x->arena, &engine));
    TLI_TRY(train(engine, &x->serial));
done:
    return st;
}

static tulle_status_t run(example_t *x, const char *path, int num_epochs)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(read_graph(x, path));
    st = alloc_curve(x, num_epochs, &x->split);
    if (st == TULLE_OK)
        st = alloc_curve(x, num_epochs, &x->serial);
    TLI_TRY(tli_agree(x->comm, st));
    TLI_TRY(tulle_comm_create(x->comm, NULL, &x->tulle));
    TLI_TRY(train_tulle_open(x->tulle, x->comm, &x->graph, &x->engine));
    TLI_TRY(train(x->engine, &x->split));
    TLI_TRY(tli_agree(x->comm, x->rank == 0 ? train_serially(x) : TULLE_OK));
done:
    return st;
}

/* Rank 0. @return whether all is as it must be */
static int show(const example_t *x)
{
    int num_epochs = x->split.num_epochs;
    double largest = 0;
    printf("# graph %s: %lld vertices, %lld edges with loops; %d ranks, topology %s\n", x->graph.name,
           (long long)x->graph.rows, (long long)x->graph.nnz, tulle_comm_size(x->tulle),
           tulle_topology_text(tulle_comm_topology(x->tulle)));
    printf("# features: class of a vertex's degree; label: is the mean degree of it and its neighbours low, middle, "
           "high\n# %6s %18s %18s %10s\n",
           "epoch", "loss, serial", "loss, split", "accuracy");
    for (int e = 0; e < num_epochs; e++) {
        if (e % 10 == 0 || e == num_epochs - 1)
            printf("  %6d %18.12f %18.12f %9.2f%%\n", e, x->serial.loss[e], x->split.loss[e],
                   100 * x->split.accuracy[e]);
        largest = fmax(largest, fabs(x->serial.loss[e] - x->split.loss[e]) / x->serial.loss[e]);
    }
    int is_right = largest <= TOLERANCE && x->split.loss[num_epochs - 1] < x->split.loss[0];
    printf("# Largest difference of the curves : %.1e %s\n", largest, is_right ? "OK" : "FAILED");
    return is_right;
}

static void release(example_t *x)
{
    train_tulle_close(&x->engine);
    tulle_comm_destroy(&x->tulle);
    perf_input_release(&x->graph);
    perf_input_release(&x->input);
    tli_arena_release(&x->arena);
}

int main(int argc, char **argv)
{
    int result = 1;
    example_t x = {.comm = MPI_COMM_NULL};
    MPI_Init(&argc, &argv);
    MPI_Comm_dup(MPI_COMM_WORLD, &x.comm);
    MPI_Comm_set_errhandler(x.comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(x.comm, &x.rank);
    int num_epochs = argc == 3 ? atoi(argv[2]) : DEFAULT_EPOCHS;
    if (argc < 2 || argc > 3 || num_epochs < 2) {
        if (x.rank == 0)
            fprintf(stderr, "Usage: tulle_train FILE.mtx [EPOCHS]    a graph; at least 2 epochs\n");
    } else if (run(&x, argv[1], num_epochs) == TULLE_OK) {
        result = x.rank == 0 ? !show(&x) : 0;
    } else if (x.rank == 0) {
        fprintf(stderr, "tulle_train: %s\n", tulle_last_error()->text);
    }
    release(&x);
    MPI_Comm_free(&x.comm);
    MPI_Finalize();
    return result;
}
