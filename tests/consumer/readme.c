/* SPDX-License-Identifier: Apache-2.0. Every rank reads two rows of the next rank, then adds to them; ten times. */
#include <stdio.h>
#include <tulle/mpi.h>
#include <tulle/tulle.h>

int main(int argc, char **argv)
{
    int rank, size, failed;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    tulle_comm_t *comm = NULL;
    tulle_pattern_t *pattern = NULL;
    tulle_plan_t *plan = NULL;
    double owned[100][8] = {{rank}}, ghost[2][8];    /* rows of 8 numbers */
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(100); /* this rank owns rows 100 * rank to 100 * rank + 99 */
    int64_t next = (int64_t)((rank + 1) % size) * 100, needed[2] = {next, next + 99}; /* and needs these */
    failed = tulle_comm_create(MPI_COMM_WORLD, NULL, &comm) ||
             tulle_pattern_create_from_ids(comm, &layout, needed, 2, &pattern) ||
             tulle_plan_create(comm, pattern, NULL, &plan) || /* once: everything is decided here */
             tulle_plan_explain(plan, TULLE_EXPLAIN_TABLE, stdout);
    for (int step = 0; !failed && step < 10; step++)
        failed = tulle_gather(plan, owned, ghost, TULLE_F64, 8, NULL) ||              /* owners -> ghosts */
                 tulle_scatter(plan, ghost, owned, TULLE_F64, 8, TULLE_OP_SUM, NULL); /* owners += ghosts */
    if (failed)
        fprintf(stderr, "rank %d: %s\n", rank, tulle_last_error()->text);
    tulle_plan_destroy(&plan);
    tulle_pattern_destroy(&pattern);
    tulle_comm_destroy(&comm);
    MPI_Finalize();
    return failed;
}
