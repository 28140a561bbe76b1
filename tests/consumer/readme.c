#include <tulle/mpi.h> /* SPDX-License-Identifier: Apache-2.0 */
#include <tulle/tulle.h>
int main(int argc, char **argv)
{
    double owned[1000][8] = {{1.0}}, ghost[500][8];   /* a row is 8 numbers here */
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(1000); /* each rank owns 1000 rows, numbered on from rank to rank */
    int64_t needed[500];                              /* and needs these of the whole job */
    for (int i = 0; i < 500; i++)
        needed[i] = 4 * i;
    tulle_comm_t *comm = NULL;
    tulle_pattern_t *pattern = NULL;
    tulle_plan_t *plan = NULL;
    MPI_Init(&argc, &argv);
    int failed = tulle_comm_create(MPI_COMM_WORLD, NULL, &comm) ||
                 tulle_pattern_create_from_ids(comm, &layout, needed, 500, &pattern) ||
                 tulle_plan_create(comm, pattern, NULL, &plan) || /* once: all is decided here */
                 tulle_plan_explain(plan, TULLE_EXPLAIN_TABLE, stdout) ||
                 tulle_gather(plan, owned, ghost, TULLE_F64, 8, NULL) ||              /* owners -> ghosts */
                 tulle_scatter(plan, ghost, owned, TULLE_F64, 8, TULLE_OP_SUM, NULL); /* owners += ghosts */
    if (failed)
        fprintf(stderr, "%s\n", tulle_last_error()->text);
    tulle_plan_destroy(&plan), tulle_pattern_destroy(&pattern), tulle_comm_destroy(&comm);
    MPI_Finalize();
    return failed;
}
