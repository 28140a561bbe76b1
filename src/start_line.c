/* SPDX-License-Identifier: Apache-2.0
 * Nobody computes the moment: every rank says when it could start, and the latest of these is when all do. */
#include "src/start_line.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "src/agree.h"

#define NUM_REHEARSALS 8
#define LEAST_LEAD     20e-6 /* [s] */
#define MOST_LEAD      20e-3

double tli_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Of the clock that this process reads: the machine's boot, and the namespace, which may have set it. 0 = not known. */
static uint64_t clock_identity(void)
{
    char boot[64] = {0};
    struct stat namespace;
    uint64_t identity = 0;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL)
        goto done;
    if (fgets(boot, sizeof boot, file) != NULL && stat("/proc/self/ns/time", &namespace) == 0)
        identity = XXH3_64bits_withSeed(boot, strlen(boot), (uint64_t) namespace.st_ino) | 1u;
    fclose(file);
done:
    return identity;
}

static tulle_status_t compare_clocks(tli_start_line_t *line)
{
    tulle_status_t st = TULLE_OK;
    uint64_t identity = clock_identity();
    uint64_t least[2] = {identity, ~identity};
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, least, 2, MPI_UINT64_T, MPI_MIN, line->mpi));
    line->has_common_clock = least[0] == ~least[1] && identity != 0;
done:
    return st;
}

static double clamp(double seconds)
{
    seconds = seconds < LEAST_LEAD ? LEAST_LEAD : seconds;
    return seconds > MOST_LEAD ? MOST_LEAD : seconds;
}

/* How long after the last arrival the last rank hears of it. */
static tulle_status_t rehearse(tli_start_line_t *line)
{
    tulle_status_t st = TULLE_OK;
    double longest = 0;
    for (int i = 0; i < NUM_REHEARSALS; i++) {
        double arrived = tli_clock(), last = arrived;
        TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &last, 1, MPI_DOUBLE, MPI_MAX, line->mpi));
        double seconds = tli_clock() - (line->has_common_clock ? last : arrived);
        longest = seconds > longest ? seconds : longest;
    }
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &longest, 1, MPI_DOUBLE, MPI_MAX, line->mpi));
    line->lead = clamp(2 * longest);
done:
    return st;
}

tulle_status_t tli_start_line_create(MPI_Comm mpi, tli_start_line_t *line_out)
{
    tulle_status_t st = TULLE_OK;
    tli_start_line_t line = {.mpi = mpi};
    TLI_TRY(compare_clocks(&line));
    TLI_TRY(rehearse(&line));
    *line_out = line;
done:
    return st;
}

/* As busily as ranks wait in MPI: a core that fell asleep would start late. */
static void wait_until(double moment)
{
    while (tli_clock() < moment)
        sched_yield();
}

tulle_status_t tli_start_together(tli_start_line_t *line, double *began_out)
{
    tulle_status_t st = TULLE_OK;
    double moment = tli_clock() + line->lead;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &moment, 1, MPI_DOUBLE, MPI_MAX, line->mpi));
    if (!line->has_common_clock)
        moment = tli_clock() + line->lead;
    if (tli_clock() > moment) /* it was too short for this rank; the longest lead counts */
        line->lead = clamp(2 * line->lead);
    wait_until(moment);
    *began_out = moment;
done:
    return st;
}
