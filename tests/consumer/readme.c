/* SPDX-License-Identifier: Apache-2.0. Every rank reads 500 rows of the whole job, then adds to them; ten times. */
#include <stdio.h>
#include <tulle/mpi.h>
#include <tulle/tulle.h>

int main(int argc, char **argv)
{
    int size, failed;
    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    tulle_comm_t *comm = NULL;
    tulle_pattern_t *pattern = NULL;
    tulle_plan_t *plan = NULL;
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(1000); /* this rank owns 1000 rows, numbered on from rank to rank */
    double owned[1000][8] = {{1.0}}, ghost[500][8];   /* a row is 8 numbers */
    int64_t needed[500];                              /* and needs these, by their numbers */
    for (int i = 0; i < 500; i++)
        needed[i] = (int64_t)i * 2 * size;
    failed = tulle_comm_create(MPI_COMM_WORLD, NULL, &comm) ||
             tulle_pattern_create_from_ids(comm, &layout, needed, 500, &pattern) ||
             tulle_plan_create(comm, pattern, NULL, &plan) || /* once: everything is decided here */
             tulle_plan_explain(plan, TULLE_EXPLAIN_TABLE, stdout);
    for (int step = 0; !failed && step < 10; step++)
        failed = tulle_gather(plan, owned, ghost, TULLE_F64, 8, NULL) ||              /* owners -> ghosts */
                 tulle_scatter(plan, ghost, owned, TULLE_F64, 8, TULLE_OP_SUM, NULL); /* owners += ghosts */
    if (failed)
        fprintf(stderr, "%s\n", tulle_last_error()->text);
    tulle_plan_destroy(&plan);
    tulle_pattern_destroy(&pattern);
    tulle_comm_destroy(&comm);
    MPI_Finalize();
    return failed;
}
