/* SPDX-License-Identifier: Apache-2.0
 * Whether MPI takes addresses of device memory. Open MPI, and those that follow it, say so in a header of their own. */
#include <mpi.h>
#if defined(__has_include)
#if __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif
#endif

#include "src/device/device.h"
#include "src/transport/carrier.h"

int tli_mpi_takes_device_memory(void)
{
#ifdef MPIX_CUDA_AWARE_SUPPORT
    return tli_device_is_built() && MPIX_Query_cuda_support() == 1;
#else
    return 0;
#endif
}
