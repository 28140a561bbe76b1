/* SPDX-License-Identifier: Apache-2.0
 * network -> models, one for each layout -> runs in turns -> check -> report. Each step ends with the same status on
 * every rank. */
#include "perf/dnn.h"

#include <string.h>

#include "src/agree.h"
#include "src/device/device.h"
#include "src/start_line.h"

#define DEFAULT_BATCH 64

typedef struct dnn {
    MPI_Comm comm;
    tli_start_line_t start;
    int rank, num_ranks;
    perf_dnn_options_t options;
    perf_network_t network;
    perf_images_t images;
    tulle_topology_t *topology;
    tulle_comm_t *tulle;
    int num_models;
    perf_dnn_model_t models[PERF_DNN_NUM_LAYOUTS];
    double *times[PERF_DNN_NUM_LAYOUTS]; /* [iterations] us, slowest rank */
    perf_dnn_report_t report;
    tli_arena_t arena;
} dnn_t;

static tulle_status_t open_network(dnn_t *dnn)
{
    tulle_status_t st = TULLE_OK;
    const perf_dnn_options_t *options = &dnn->options;
    if (options->folder != NULL) {
        TLI_TRY(perf_network_read(dnn->comm, options->folder, &dnn->network, &dnn->images));
    } else {
        int64_t block = perf_network_block_length(options->neurons);
        int64_t num_layers = options->num_layers > 0 ? options->num_layers : block + block / 2;
        int64_t batch = options->batch > 0 ? options->batch : DEFAULT_BATCH;
        st = perf_network_make(options->neurons, num_layers, options->seed, &dnn->network);
        if (st == TULLE_OK)
            st = perf_images_make(options->neurons, batch, options->seed, &dnn->images);
        TLI_TRY(tli_agree(dnn->comm, st));
    }
    dnn->report.batch = options->batch > 0 ? options->batch : dnn->images.num;
    TLI_REQUIRE(dnn->report.batch <= dnn->images.num, TULLE_ERR_ARG, "--batch is %lld, but there are %lld inputs",
                (long long)dnn->report.batch, (long long)dnn->images.num);
done:
    return st;
}

static tulle_status_t count_nonzeros(dnn_t *dnn)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    int64_t *inputs = NULL;
    TLI_TRY(tli_agree(dnn->comm, tli_arena_alloc_raw(&scratch, dnn->network.neurons, sizeof *inputs, &inputs)));
    for (int64_t l = 0; l < dnn->network.num_layers; l++)
        for (int64_t j = 0; j < dnn->network.neurons; j++)
            dnn->report.nonzeros += perf_network_inputs(&dnn->network, l, j, inputs);
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t open_comm(dnn_t *dnn)
{
    tulle_status_t st = TULLE_OK;
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    if (dnn->options.topology != NULL)
        st = tulle_topology_parse(dnn->options.topology, dnn->num_ranks, &dnn->topology);
    TLI_TRY(tli_agree(dnn->comm, st));
    options.topology = dnn->topology;
    options.timeout_ms = dnn->options.timeout_ms;
    options.disable_shared_memory = dnn->options.disable_shared_memory;
    TLI_TRY(tulle_comm_create(dnn->comm, &options, &dnn->tulle));
    dnn->report.topology = tulle_topology_text(tulle_comm_topology(dnn->tulle));
    dnn->report.is_emulated = tulle_comm_is_emulated(dnn->tulle);
done:
    return st;
}

static tulle_status_t make_models(dnn_t *dnn)
{
    tulle_status_t st = TULLE_OK;
    for (unsigned bit = 1; bit <= PERF_DNN_BY_CLASS; bit <<= 1) {
        if ((dnn->options.layouts & bit) == 0)
            continue;
        TLI_TRY(perf_dnn_model_create(dnn->comm, dnn->tulle, &dnn->network, &dnn->images, dnn->report.batch,
                                      (perf_dnn_layout_t)bit, &dnn->options, &dnn->models[dnn->num_models]));
        dnn->num_models++;
        st = tli_arena_alloc(&dnn->arena, dnn->options.iterations, sizeof(double), &dnn->times[dnn->num_models - 1]);
        TLI_TRY(tli_agree(dnn->comm, st));
    }
done:
    return st;
}

/* On the GPU until it is through. */
static tulle_status_t infer_once(const perf_dnn_model_t *model)
{
    tulle_status_t st = TULLE_OK;
    tulle_batch_t batch = TULLE_BATCH(model->batch, model->x.home, model->y.home);
    TLI_TRY(tulle_layers_forward(model->layers, &batch, NULL));
    if (model->y.memory == PERF_MEMORY_DEVICE)
        TLI_TRY(tli_device_synchronize(NULL));
done:
    return st;
}

static tulle_status_t run_once(dnn_t *dnn, int m, double *us_out)
{
    tulle_status_t st = TULLE_OK;
    double began = 0;
    TLI_TRY(tli_start_together(&dnn->start, &began));
    TLI_TRY(infer_once(&dnn->models[m]));
    double us = 1e6 * (tli_clock() - began);
    TLI_MPI(MPI_Allreduce(&us, us_out, 1, MPI_DOUBLE, MPI_MAX, dnn->comm));
done:
    return st;
}

/* Layouts take turns: the machine may change over a run. */
static tulle_status_t measure(dnn_t *dnn)
{
    tulle_status_t st = TULLE_OK;
    double us = 0;
    TLI_TRY(tli_start_line_create(dnn->comm, &dnn->start));
    for (int64_t k = -dnn->options.warmup; k < dnn->options.iterations; k++)
        for (int m = 0; m < dnn->num_models; m++) {
            TLI_TRY(run_once(dnn, m, &us));
            if (k >= 0)
                dnn->times[m][k] = us;
        }
done:
    return st;
}

/* The serial run, on rank 0. */
static tulle_status_t infer(dnn_t *dnn, double **expected_out)
{
    tulle_status_t st = TULLE_OK;
    if (dnn->rank == 0) {
        st = tli_arena_alloc_raw(&dnn->arena, dnn->network.neurons * dnn->report.batch, sizeof(double), expected_out);
        double began = MPI_Wtime();
        if (st == TULLE_OK)
            st = perf_network_infer(&dnn->network, &dnn->images, dnn->report.batch, *expected_out);
        dnn->report.serial_us = 1e6 * (MPI_Wtime() - began);
    }
    return tli_agree(dnn->comm, st);
}

static tulle_status_t judge(dnn_t *dnn)
{
    tulle_status_t st = TULLE_OK;
    double *expected = NULL;
    TLI_TRY(infer(dnn, &expected));
    for (int m = 0; m < dnn->num_models; m++) {
        const perf_dnn_model_t *model = &dnn->models[m];
        perf_dnn_result_t *result = &dnn->report.results[dnn->report.num_results++];
        result->layout = model->layout;
        result->setup_us = model->setup_us;
        for (int64_t l = 0; l < dnn->network.num_layers; l++) {
            result->sum.direct += model->rows[l].direct;
            result->sum.limit += model->rows[l].limit;
            result->sum.reported += model->rows[l].reported;
            result->sum.crossing += model->rows[l].crossing;
        }
        result->us = perf_statistics(dnn->times[m], dnn->options.iterations);
        result->edges_per_second = (double)dnn->report.nonzeros * (double)dnn->report.batch / result->us.median * 1e6;
        TLI_TRY(perf_dnn_model_check(model, expected, &result->verdict));
    }
done:
    return st;
}

static tulle_status_t show(const dnn_t *dnn)
{
    tulle_status_t st = TULLE_OK;
    if (dnn->rank == 0)
        perf_dnn_report_print(&dnn->report, stdout);
    if (dnn->rank == 0 && dnn->options.json != NULL)
        st = perf_dnn_report_write_json(&dnn->report, dnn->options.json);
    return tli_agree(dnn->comm, st);
}

static tulle_status_t run_steps(dnn_t *dnn)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(open_network(dnn));
    TLI_TRY(count_nonzeros(dnn));
    TLI_TRY(open_comm(dnn));
    TLI_TRY(make_models(dnn));
    TLI_TRY(measure(dnn));
    TLI_TRY(judge(dnn));
    TLI_TRY(show(dnn));
done:
    return st;
}

static void release(dnn_t *dnn)
{
    for (int m = 0; m < dnn->num_models; m++)
        perf_dnn_model_release(&dnn->models[m]);
    tulle_comm_destroy(&dnn->tulle);
    tulle_topology_destroy(&dnn->topology);
    perf_network_release(&dnn->network);
    perf_images_release(&dnn->images);
    tli_arena_release(&dnn->arena);
}

perf_exit_t perf_dnn_run(MPI_Comm comm, int argc, char **argv)
{
    perf_exit_t result = PERF_EXIT_OK;
    dnn_t dnn = {.comm = comm};
    MPI_Comm_rank(comm, &dnn.rank);
    MPI_Comm_size(comm, &dnn.num_ranks);
    if (perf_dnn_options_parse(argc, argv, &dnn.options) != TULLE_OK) {
        perf_tool_print_error(dnn.rank);
        return PERF_EXIT_USAGE;
    }
    if (dnn.options.wants_help) {
        if (dnn.rank == 0)
            perf_dnn_options_print_help(stdout);
        return PERF_EXIT_OK;
    }
    dnn.report.options = &dnn.options;
    dnn.report.network = &dnn.network;
    dnn.report.num_ranks = dnn.num_ranks;
    tulle_status_t st = run_steps(&dnn);
    if (st != TULLE_OK) {
        perf_tool_print_error(dnn.rank);
        result = PERF_EXIT_FAILED;
    }
    for (int m = 0; m < dnn.report.num_results; m++)
        if (!perf_dnn_result_is_right(&dnn.report.results[m]))
            result = PERF_EXIT_FAILED;
    release(&dnn);
    return result;
}
