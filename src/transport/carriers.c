/* SPDX-License-Identifier: Apache-2.0
 * The carriers there are. */
#include "src/transport/carrier_choice.h"

const tli_carrier_t *const tli_carriers[] = {
    &tli_carrier_nccl,       &tli_carrier_mpi_device,
#ifdef TULLE_HAVE_UCX
    &tli_carrier_ucx_device,
#endif
    &tli_carrier_mpi_staged,
#ifdef TULLE_HAVE_UCX
    &tli_carrier_ucx_staged,
#endif
};

const int tli_num_carriers = (int)(sizeof tli_carriers / sizeof tli_carriers[0]);

_Static_assert(sizeof tli_carriers / sizeof tli_carriers[0] <= TLI_MOST_CARRIERS, "room for their figures");

const tli_carrier_t *tli_carrier_of(tulle_transport_t transport)
{
    for (int c = 0; c < tli_num_carriers; c++)
        if (tli_carriers[c]->id == transport)
            return tli_carriers[c];
    return NULL;
}
