/* SPDX-License-Identifier: Apache-2.0
 * The transports there are, in order of preference. A rank's messages to itself are copies of the executor and need
 * none. */
#include <string.h>

#include "src/fault.h"
#include "src/transport/transport.h"

const tli_transport_t *const tli_transports[] = {
    &tli_transport_shared_memory,
    &tli_transport_mpi,
#ifdef TULLE_HAVE_UCX
    &tli_transport_ucx,
#endif
};

const int tli_num_transports = (int)(sizeof tli_transports / sizeof tli_transports[0]);

_Static_assert(sizeof tli_transports / sizeof tli_transports[0] <= TLI_MAX_TRANSPORTS, "room for all channels");

static int find(tulle_transport_t id)
{
    int t = 0;
    while (t < tli_num_transports && tli_transports[t]->id != id)
        t++;
    return t;
}

int tli_transport_is_for_gpus(tulle_transport_t transport)
{
    return transport != TULLE_TRANSPORT_AUTO && transport != TULLE_TRANSPORT_SHARED_MEMORY &&
           transport != TULLE_TRANSPORT_MPI && transport != TULLE_TRANSPORT_UCX;
}

int tli_transport_is_built(tulle_transport_t transport)
{
    return transport == TULLE_TRANSPORT_AUTO || find(transport) < tli_num_transports;
}

int tli_transport_for(const tulle_comm_t *comm, tulle_transport_t choice, int peer)
{
    int t = 0;
    if (choice == TULLE_TRANSPORT_AUTO) {
        while (t < tli_num_transports && !(tli_transports[t]->reads_remotely && tli_transports[t]->reaches(comm, peer)))
            t++;
        return t < tli_num_transports ? t : find(comm->carriers[tli_comm_level(comm, peer)]);
    }
    t = find(choice);
    return t < tli_num_transports && tli_transports[t]->reaches(comm, peer) ? t : tli_num_transports;
}

const char *tulle_transport_name(tulle_transport_t transport)
{
    switch (transport) {
#define NAME_CASE(name, value, text)                                                                                   \
    case TULLE_TRANSPORT_##name:                                                                                       \
        return text;
        TULLE_TRANSPORT_MAP(NAME_CASE)
#undef NAME_CASE
    }
    return "unknown";
}

tulle_status_t tulle_transport_parse(const char *name, tulle_transport_t *transport_out)
{
    tulle_status_t st = TULLE_OK;
    int found = -1;
    TLI_REQUIRE(name != NULL && transport_out != NULL, TULLE_ERR_ARG, "name or transport_out is NULL");
    for (int t = 0; t < TULLE_NUM_TRANSPORTS; t++)
        if (strcmp(name, tulle_transport_name((tulle_transport_t)t)) == 0)
            found = t;
    TLI_REQUIRE(
        found >= 0, TULLE_ERR_ARG,
        "transport \"%s\" is none of auto shared_memory mpi cuda_ipc cuda_staged ucx mpi_staged mpi_device nccl "
        "ucx_staged ucx_device",
        name);
    *transport_out = (tulle_transport_t)found;
done:
    return st;
}
