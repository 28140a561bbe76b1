/* SPDX-License-Identifier: Apache-2.0
 * Which carrier takes the parcels of an exchange, where the caller names none: what is measured once per communicator,
 * between nodes and from device memory to device memory, decides by the bytes of the busiest rank. */
#ifndef TLI_CARRIER_CHOICE_H
#define TLI_CARRIER_CHOICE_H

#include "src/transport/carrier.h"

#define TLI_MOST_CARRIERS 8

#define TLI_PROBE_SMALL_BYTES ((int64_t)4 << 10)
#define TLI_PROBE_LARGE_BYTES ((int64_t)4 << 20)

/** What one carrier takes for a parcel from every rank to one on another node: the slowest rank. */
typedef struct tli_carrier_figure {
    int works; /* on all ranks */
    double small_ns, large_ns;
    char why_not[128]; /* words of the failure */
} tli_carrier_figure_t;

/** By index into tli_carriers[]; alike on all ranks. */
typedef struct tli_carrier_figures {
    tli_carrier_figure_t of[TLI_MOST_CARRIERS];
} tli_carrier_figures_t;

/** Measure them, unless that was done for this communicator. The current device is that of the rows.
 * @collective all ranks got here  @cost once some 10 parcels of 4 MiB per carrier, and making NCCL's communicator */
tulle_status_t tli_carrier_measure(tulle_comm_t *comm, const tli_carrier_figures_t **figures_out);

/** Time for so many bytes, on the line through both figures. Pure. */
double tli_carrier_estimate_ns(const tli_carrier_figure_t *figure, int64_t bytes);

/** Index of the fastest that works; the first of equals; -1: none does. Pure. */
int tli_carrier_fastest(const tli_carrier_figures_t *figures, int num_carriers, int64_t bytes);

/** With whom each rank is measured: one it sends to and one it receives from, both on other nodes; -1: none. Pure.
 * @param[in] node [num_ranks] of every rank @param[in] scratch [num_ranks] */
void tli_carrier_partners(const int *node, int num_ranks, int rank, int *scratch, int *to_out, int *from_out);

#endif
