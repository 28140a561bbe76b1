/* SPDX-License-Identifier: Apache-2.0
 * The transports there are, in order of preference. A rank's messages to itself are copies of the executor and need
 * none. */
#include "src/transport/transport.h"

const tli_transport_t *const tli_transports[] = {
    &tli_transport_shared_memory,
    &tli_transport_mpi,
};

const int tli_num_transports = (int)(sizeof tli_transports / sizeof tli_transports[0]);

_Static_assert(sizeof tli_transports / sizeof tli_transports[0] <= TLI_MAX_TRANSPORTS, "room for all channels");

int tli_transport_for(const tulle_comm_t *comm, int peer)
{
    int t = 0;
    while (t < tli_num_transports - 1 && !tli_transports[t]->reaches(comm, peer))
        t++;
    return t;
}
