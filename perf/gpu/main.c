/* SPDX-License-Identifier: Apache-2.0
 * tulle_perf_gpu: figures of kernels and exchanges on GPUs. Exit status 0, 1 on a failure or a wrong value, 2 on wrong
 * usage, 77 without a GPU. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>

#include <tulle/mpi.h>

#include "perf/gpu/figures.h"
#include "src/agree.h"
#include "tests/support/gpu.h"

typedef struct options {
    int64_t megabytes, repeat;
} options_t;

static const struct argp_option option_table[] = {
    {"megabytes", 'm', "N", 0, "rows that a kernel moves; an exchange moves a quarter of it per rank (default 256)", 0},
    {"repeat", 'r', "N", 0, "repetitions of everything large (default 20)", 0},
    {0}};

static error_t parse(int key, char *text, struct argp_state *state)
{
    options_t *options = state->input;
    int64_t *value = key == 'm' ? &options->megabytes : key == 'r' ? &options->repeat : NULL;
    char *end = NULL;
    if (value == NULL)
        return key == ARGP_KEY_ARG ? (error_t)(argp_error(state, "'%s' is no option", text), EINVAL) : ARGP_ERR_UNKNOWN;
    *value = strtoll(text, &end, 10);
    if (*end != '\0' || *value < 1 || *value > 65536)
        argp_error(state, "'%s' is no number from 1 to 65536", text);
    return 0;
}

void perf_gpu_print(const perf_gpu_t *gpu, const char *name, double value, const char *unit, double ceiling)
{
    if (gpu->rank != 0)
        return;
    printf("figure: %s %.1f %s", name, value, unit);
    if (ceiling > 0)
        printf(" of %.1f %s", ceiling, unit);
    printf("\n");
    fflush(stdout);
}

/* Kernels on rank 0 alone, so that nobody shares the GPU; its ceiling is everybody's. */
static tulle_status_t measure(perf_gpu_t *gpu)
{
    tulle_status_t st = TULLE_OK;
    tulle_comm_t *comm = NULL;
    TLI_TRY(tulle_comm_create(MPI_COMM_WORLD, NULL, &comm));
    TLI_TRY(tli_agree(MPI_COMM_WORLD, gpu->rank == 0 ? perf_gpu_measure_kernels(gpu) : TULLE_OK));
    TLI_MPI(MPI_Bcast(&gpu->ceiling, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD));
    if (gpu->num_ranks > 1)
        TLI_TRY(perf_gpu_measure_exchanges(gpu, comm));
    TLI_TRY(perf_gpu_measure_products(gpu, comm));
    if (gpu->num_ranks == 4 || gpu->num_ranks == 8)
        TLI_TRY(perf_gpu_measure_between_nodes(gpu, gpu->num_ranks == 4 ? "2x2" : "2x4"));
    if (gpu->num_ranks == 8)
        TLI_TRY(perf_gpu_measure_between_nodes(gpu, "4x2"));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &gpu->num_wrong, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD));
    TLI_REQUIRE(gpu->num_wrong == 0, TULLE_ERR_TRANSPORT, "%lld values are wrong", (long long)gpu->num_wrong);
done:
    tulle_comm_destroy(&comm);
    return st;
}

int main(int argc, char **argv)
{
    static const struct argp argp = {
        option_table, parse, NULL, "Figures of kernels and exchanges on GPUs, each beside its ceiling.",
        NULL,         NULL,  NULL};
    options_t options = {256, 20};
    perf_gpu_t gpu = {0};
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    if (!spt_gpu_is_there()) {
        puts("no GPU here: skipped");
        return 77;
    }
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &gpu.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &gpu.num_ranks);
    spt_gpu_be_a_host(gpu.rank);
    gpu.bytes = options.megabytes << 20;
    gpu.repeat = options.repeat;
    gpu.stream = spt_gpu_stream();
    if (gpu.rank == 0)
        printf("%d ranks on %s: they show kernels and protocol, not the links between GPUs\n", gpu.num_ranks,
               spt_gpu_is_real() ? "one shared GPU, or one each" : "an emulated GPU");
    tulle_status_t st = measure(&gpu);
    if (st != TULLE_OK && gpu.rank == 0)
        fprintf(stderr, "tulle_perf_gpu: %s\n", tulle_last_error()->text);
    spt_gpu_stream_free(gpu.stream);
    MPI_Finalize();
    return st == TULLE_OK ? 0 : 1;
}
