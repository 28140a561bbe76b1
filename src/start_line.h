/* SPDX-License-Identifier: Apache-2.0
 * Where ranks begin together, for times that are taken. A barrier is not enough: the first rank to leave it sends, the
 * last one's way out waits behind those rows in the network, and that rank's clock starts when half of them have come.
 */
#ifndef TLI_START_LINE_H
#define TLI_START_LINE_H

#include <mpi.h>

#include "src/fault.h"

/** For one communicator. */
typedef struct tli_start_line {
    MPI_Comm mpi;         /* borrowed */
    int has_common_clock; /* [bool] all ranks read the same clock: they run on one machine, if only in parts of it */
    double lead;          /* [s] from the last rank's arrival to the start: longer than it takes to tell everybody */
} tli_start_line_t;

/** This machine's clock. [s] */
double tli_clock(void);

/** @collective all ranks @param[in] mpi borrowed for the life of the line; nothing to release
 * @retval TULLE_ERR_TRANSPORT */
tulle_status_t tli_start_line_create(MPI_Comm mpi, tli_start_line_t *line_out);

/**
 * Return when all ranks are there and it is time. With a common clock all begin at the same moment, which is returned
 * however late a rank comes; otherwise each begins a pause after it has heard of the last arrival, in which the network
 * is quiet.
 * @param[out] began_out [s] by tli_clock(): where this rank's time starts
 * @collective all ranks
 * @retval TULLE_ERR_TRANSPORT
 */
tulle_status_t tli_start_together(tli_start_line_t *line, double *began_out);

#endif
