/* SPDX-License-Identifier: Apache-2.0
 * tulle_perf: a sparse matrix in, a verified and timed exchange out. See perf/README.md. */
#include <stdio.h>
#include <string.h>

#include <tulle/tulle.h>

#include "perf/dnn.h"
#include "perf/spmm.h"
#include "perf/tool.h"
#include "src/agree.h"

/* Ranks that were started with different words would disagree later, perhaps about what to wait for. */
static tulle_status_t agree_on_words(MPI_Comm comm, int argc, char **argv)
{
    tulle_status_t st = TULLE_OK;
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    int64_t extremes[2];
    for (int i = 1; i < argc; i++)
        for (const char *c = argv[i]; c == argv[i] || c[-1] != '\0'; c++)
            hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    extremes[0] = (int64_t)(hash >> 2);
    extremes[1] = -extremes[0];
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, extremes, 2, MPI_INT64_T, MPI_MAX, comm));
    TLI_REQUIRE(extremes[0] == -extremes[1], TULLE_ERR_ARG,
                "ranks were started with different command lines; give "
                "every rank the same");
done:
    return st;
}

static perf_exit_t run(MPI_Comm comm, int argc, char **argv)
{
    tulle_status_t st = TULLE_OK;
    perf_options_t options;
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    TLI_TRY(agree_on_words(comm, argc, argv));
    if (argc > 1 && strcmp(argv[1], "dnn") == 0)
        return perf_dnn_run(comm, argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "spmm") == 0)
        return perf_spmm_run(comm, argc - 1, argv + 1);
    TLI_TRY(perf_options_parse(argc, argv, &options));
    if (rank == 0 && options.wants_help)
        perf_options_print_help(stdout);
    if (rank == 0 && options.wants_version)
        printf("tulle_perf %s\n", tulle_version());
    if (options.wants_help || options.wants_version)
        return PERF_EXIT_OK;
    return perf_tool_run(comm, &options);
done:
    perf_tool_print_error(rank);
    return PERF_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    MPI_Comm comm = MPI_COMM_NULL;
    int provided = MPI_THREAD_SINGLE;
    /* Funneled: the watch has a thread, which never calls MPI. */
    if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return PERF_EXIT_FAILED;
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    perf_exit_t result = run(comm, argc, argv);
    fflush(stdout);
    MPI_Comm_free(&comm);
    MPI_Finalize();
    return result;
}
