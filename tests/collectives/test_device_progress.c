/* SPDX-License-Identifier: Apache-2.0
 * A rank that waits for its stream, and has no message of its own under way, still brings those of others on their way.
 * On the emulated GPU alone, whose streams can be held until something happens. */
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "src/transport/carrier.h"
#include "tests/collectives/device_job.h"
#include "tests/support/emulated_gpu/emulated_gpu.h"
#include "tests/support/gpu_main.h"

#define MESSAGE_BYTES (8 << 20) /* longer than what any MPI sends ahead */
#define MOST_NAPS     20000     /* of a millisecond: then the test has failed */
#define TAG           3

typedef struct gate {
    _Atomic int is_open;
    _Atomic int has_given_up;
} gate_t;

static void hold(const void *args)
{
    gate_t *gate = NULL;
    struct timespec nap = {0, 1000000};
    memcpy(&gate, args, sizeof gate);
    for (int i = 0; i < MOST_NAPS && !atomic_load(&gate->is_open); i++)
        nanosleep(&nap, NULL);
    if (!atomic_load(&gate->is_open))
        atomic_store(&gate->has_given_up, 1);
}

static gate_t *make_gate(MPI_Win *window)
{
    gate_t *mine = NULL, *gate = NULL;
    MPI_Aint bytes = 0;
    int unit = 1;
    MPI_Win_allocate_shared(spt_rank() == 0 ? sizeof *gate : 0, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &mine, window);
    MPI_Win_shared_query(*window, 0, &bytes, &unit, &gate);
    if (spt_rank() == 0)
        memset(gate, 0, sizeof *gate);
    MPI_Barrier(MPI_COMM_WORLD);
    return gate;
}

/* Where there is a time limit the library looks for words of others in every call, which hides what is tested. */
static tulle_comm_t *comm_without_limit(void)
{
    tulle_comm_options_t options = TULLE_COMM_OPTIONS_INIT;
    tulle_comm_t *comm = NULL;
    options.topology_text = "*x1";
    spt_assert_ok_all(tulle_comm_create(MPI_COMM_WORLD, &options, &comm));
    return comm;
}

/* The stream of rank 0 goes on when the last rank has sent rank 0 a message; that one needs rank 0's answer. */
static void check_progress(tulle_transport_t transport)
{
    MPI_Win window = MPI_WIN_NULL;
    gate_t *gate = make_gate(&window);
    MPI_Request request = MPI_REQUEST_NULL;
    unsigned char *message = spt_alloc(MESSAGE_BYTES, 1);
    int sender = spt_size() - 1;
    job_t r = job_make_in(comm_without_limit(), 31, TULLE_GHOST_ORDER_PLAN, transport);
    job_fill(&r, 3);
    if (spt_rank() == 0) {
        MPI_Irecv(message, MESSAGE_BYTES, MPI_BYTE, sender, TAG, MPI_COMM_WORLD, &request);
        emulated_gpu_enqueue(stream, hold, &gate, sizeof gate);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (spt_rank() == sender) {
        MPI_Send(message, MESSAGE_BYTES, MPI_BYTE, 0, TAG, MPI_COMM_WORLD);
        atomic_store(&gate->is_open, 1);
    }
    spt_gpu_copy(r.owned, r.values, r.owned_bytes, stream);
    tulle_status_t st = start_and_wait(r.exchange, stream);
    spt_gpu_copy(r.received, r.ghost, r.ghost_bytes, stream);
    spt_gpu_synchronize(stream);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    spt_assert_ok_all(st);
    spt_assert_all(!atomic_load(&gate->has_given_up));
    spt_assert_all(job_is_right(&r, 3));
    job_free(&r);
    MPI_Win_free(&window);
}

static void test_waiting_for_the_stream_lets_mpi_move(void **state)
{
    for (int c = 0; c < tli_num_carriers && spt_size() > 1; c++)
        if (tli_carriers[c]->is_host_driven && tli_carriers[c]->is_there())
            check_progress(tli_carriers[c]->id);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        spt_test(test_waiting_for_the_stream_lets_mpi_move),
    };
    return spt_gpu_main(argc, argv, "collectives.device_progress", tests, &stream);
}
