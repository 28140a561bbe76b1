/* SPDX-License-Identifier: Apache-2.0
 * The transports between GPUs through the suite that the host's go through, on an emulated GPU or a real one. */

#include "tests/collectives/conformance.h"
#include "tests/support/gpu_main.h"
#include "tests/support/gpu_trial.h"

typedef struct moved {
    spt_gpu_trial_t rows;
    void *stream;
} moved_t;

static void gpu_bind(flight_t *flight, const tulle_plan_t *plan)
{
    moved_t *moved = spt_alloc(1, sizeof *moved);
    moved->rows = spt_gpu_trial(&flight->trial, TULLE_SPACE_DEVICE, TULLE_SPACE_DEVICE);
    moved->stream = spt_gpu_stream();
    flight->exchange = spt_gpu_trial_bind(&moved->rows, plan, flight->way->transport);
    flight->moved = moved;
}

static tulle_status_t gpu_start(flight_t *flight)
{
    const moved_t *moved = flight->moved;
    spt_gpu_trial_upload(&moved->rows, moved->stream);
    return tulle_exchange_start(flight->exchange, moved->stream);
}

static tulle_status_t gpu_finish(flight_t *flight)
{
    const moved_t *moved = flight->moved;
    tulle_status_t st = tulle_exchange_wait(flight->exchange);
    if (st == TULLE_OK)
        spt_gpu_trial_download(&moved->rows, moved->stream);
    spt_gpu_synchronize(moved->stream);
    return st;
}

static void gpu_release(flight_t *flight)
{
    moved_t *moved = flight->moved;
    spt_gpu_trial_free(&moved->rows);
    spt_gpu_stream_free(moved->stream);
}

static const mover_t gpu = {gpu_bind, gpu_start, gpu_finish, gpu_release};

/* Flat, and with levels that rows are passed on over. */
static void check_way(tulle_transport_t transport, tulle_transport_t only)
{
    for (int i = 0; i < 4 && spt_topology(i) != NULL; i += 2)
        conformance_run(&(way_t){.mover = &gpu, .topology = spt_topology(i), .transport = transport, .only = only});
}

static void test_conformance_cuda_ipc(void **state)
{
    check_way(TULLE_TRANSPORT_CUDA_IPC, TULLE_TRANSPORT_CUDA_IPC);
}

static void test_conformance_cuda_staged(void **state)
{
    check_way(TULLE_TRANSPORT_CUDA_STAGED, TULLE_TRANSPORT_CUDA_STAGED);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        spt_test(test_conformance_cuda_ipc),
        spt_test(test_conformance_cuda_staged),
    };
    return spt_gpu_main(argc, argv, "collectives.device_conformance", tests, NULL);
}
