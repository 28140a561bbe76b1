/* SPDX-License-Identifier: Apache-2.0
 * Rounds go through all exchanges in turn, so that a busy moment of the machine does not fall on one of them alone. */
#include "topology/stopwatch.h"

#include <stdlib.h>

#include "src/agree.h"
#include "src/start_line.h"

#define LEAST_ROUNDS 3

static int turns_of(const tli_lap_t *lap)
{
    return lap->num_turns > 0 ? lap->num_turns : 1;
}

static tulle_status_t time_one(tli_start_line_t *line, tli_lap_t *lap, int round, int turn)
{
    tulle_status_t st = TULLE_OK;
    if (lap->exchange == NULL || turn >= turns_of(lap))
        goto done;
    double began = 0;
    TLI_TRY(tli_start_together(line, &began));
    TLI_TRY(tulle_exchange_start(lap->exchange, NULL));
    TLI_TRY(tulle_exchange_wait(lap->exchange));
    lap->ns[round * turns_of(lap) + turn] = (tli_clock() - began) * 1e9;
done:
    return st;
}

/* A rank on which something failed goes on to the end: others may wait for it at the next start. */
static tulle_status_t run_round(tli_start_line_t *line, int num_laps, tli_lap_t *laps, int round)
{
    tulle_status_t first = TULLE_OK;
    for (int turn = 0; turn < TLI_MOST_TURNS; turn++) {
        for (int i = 0; i < num_laps; i++) {
            tulle_status_t st = time_one(line, &laps[i], round, turn);
            first = first == TULLE_OK ? st : first;
        }
    }
    return tli_agree(line->mpi, first);
}

/* Round 0 is run twice: the first time warms up. */
static tulle_status_t run_rounds(MPI_Comm mpi, double time_ms, int num_laps, tli_lap_t *laps, int *num_rounds_out)
{
    tulle_status_t st = TULLE_OK;
    double began = MPI_Wtime();
    int num_rounds = 0, goes_on = 1;
    tli_start_line_t line;
    TLI_TRY(tli_start_line_create(mpi, &line));
    TLI_TRY(run_round(&line, num_laps, laps, 0));
    while (goes_on) {
        TLI_TRY(run_round(&line, num_laps, laps, num_rounds++));
        goes_on = num_rounds < LEAST_ROUNDS || (num_rounds < TLI_MOST_ROUNDS && (MPI_Wtime() - began) * 1e3 < time_ms);
        TLI_MPI(MPI_Bcast(&goes_on, 1, MPI_INT, 0, mpi));
    }
    *num_rounds_out = num_rounds;
done:
    return st;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

tulle_status_t tli_time_exchanges(MPI_Comm mpi, double time_ms, int num_laps, tli_lap_t *laps)
{
    tulle_status_t st = TULLE_OK;
    int num_rounds = 0;
    TLI_TRY(run_rounds(mpi, time_ms, num_laps, laps, &num_rounds));
    for (int i = 0; i < num_laps; i++) {
        double *ns = laps[i].ns;
        int num = num_rounds * turns_of(&laps[i]);
        TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, ns, num, MPI_DOUBLE, MPI_MAX, mpi));
        qsort(ns, (size_t)num, sizeof *ns, compare_doubles);
        laps[i].median_ns = (ns[(num - 1) / 2] + ns[num / 2]) / 2;
    }
done:
    return st;
}
