/* SPDX-License-Identifier: Apache-2.0
 * The pure parts of the probe: who is measured with whom, and what the times say. */
#ifndef TLI_TOPOLOGY_PROBE_H
#define TLI_TOPOLOGY_PROBE_H

#include "topology/model.h"

/**
 * A rank to exchange rows with over a level: in another group of it, but in the same one of the level above. Different
 * numbers give different ranks, side by side ones first in different groups; where groups are of equal size, every rank
 * is chosen as often as it chooses.
 * @param[in] number >= 0
 * @return rank; -1 when there are no more, or no more in the smallest of these groups
 * @cost O(groups side by side)
 */
int tli_probe_partner(const tulle_topology_t *topology, int level, int rank, int number);

/** Most partners, up to a limit, that any rank has over a level; 0 = nothing crosses it. */
int tli_probe_num_partners(const tulle_topology_t *topology, int level, int limit);

/** Times of one level, each of the slowest rank. */
typedef struct tli_probe_times {
    double one_ns;  /* a small message for one rank of each group */
    double few_ns;  /* one for every rank */
    double hop_ns;  /* what such a message adds to another that it waits for; 0 = not measured */
    double many_ns; /* one from each of num_many partners */
    double lone_ns; /* a large message for one rank of each group */
    double all_ns;  /* one for every rank */
    int num_many;
    int64_t bytes; /* [bytes] of a large message */
} tli_probe_times_t;

/** What carries messages over a level from now on: the one that is faster by more than chance, and slower nowhere.
 * Noise is some percent, and MPI is what others use. */
tulle_transport_t tli_probe_carrier(const tli_probe_times_t *mpi, const tli_probe_times_t *ucx);

/** Time that a has and b lacks: positive, also when noise says otherwise. */
double tli_probe_excess_ns(double a_ns, double b_ns);

/**
 * What the times say of a level. Always positive and finite, also when noise makes a large message the faster one.
 * @param[in] before what is kept where nothing was measured
 */
tulle_link_t tli_probe_link(const tulle_topology_t *topology, int level, const tli_probe_times_t *times,
                            const tulle_link_t *before);

#endif
