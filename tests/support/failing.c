/* SPDX-License-Identifier: Apache-2.0
 * A job with a failing allocation, again and again. */
#include "tests/support/failing.h"

#include "src/arena.h"

/* Sanitizer builds make many more allocations: then not every k is tried. */
#define MOST_POINTS 40
#define ALL_RANKS   (-1)

static void fail_at(spt_job_t job, const void *world, int64_t k, int culprit)
{
    int64_t live = tli_alloc_live(), count = tli_alloc_count();
    tli_alloc_fail_at(culprit == ALL_RANKS || culprit == spt_rank() ? k : 0);
    tulle_status_t st = job(world);
    tli_alloc_fail_at(0);
    int is_hit = (culprit == ALL_RANKS || culprit == spt_rank()) && tli_alloc_count() - count >= k, any = 0;
    MPI_Allreduce(&is_hit, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    spt_assert_all((st != TULLE_OK) == any);
    spt_assert_all(!is_hit || st == TULLE_ERR_NOMEM || st == TULLE_ERR_REMOTE);
    spt_assert_all(tli_alloc_live() == live);
}

void spt_assert_survives_failing_allocations(spt_job_t job, const void *world)
{
    int64_t before = tli_alloc_count();
    spt_assert_ok_all(job(world));
    int64_t most = tli_alloc_count() - before;
    MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
    int64_t stride = 1 + most / MOST_POINTS;
    for (int64_t k = 1; k <= most + 1; k += stride) {
        fail_at(job, world, k, (int)(k / stride) % spt_size());
        fail_at(job, world, k, ALL_RANKS);
    }
}
