/* SPDX-License-Identifier: Apache-2.0
 * Partners and links of the probe: pure functions of topology and times. */
#include <math.h>

#include "src/fault.h"
#include "topology/probe.h"

#define NS_PER_SECOND 1e9

/* Noise can make a difference of two times vanish; it is not taken for less than this part of the longer one. */
#define LEAST_PART 0.05

/* Ratios of times: the product of that of small and large messages must be below the first, each below the second. */
#define LEAST_GAIN 0.9
#define MOST_LOSS  1.05

/* Ranks among which the groups of a level lie side by side with a rank's own: those of its group one level up. */
static int ranks_above(const tulle_topology_t *topology, int level, int rank, const int **ranks_out)
{
    const tli_level_t *above = &topology->levels[level - 1];
    int first = above->member_ptr[above->group_of[rank]];
    *ranks_out = above->members + first;
    return above->member_ptr[above->group_of[rank] + 1] - first;
}

/* The group `steps` further on, going round; num_groups_out gets how many lie side by side. */
static int neighbour_group(const tulle_topology_t *topology, int level, int rank, int steps, int *num_groups_out)
{
    const tli_level_t *here = &topology->levels[level];
    const int *ranks = NULL;
    int num_groups = 0, mine = 0, found = here->group_of[rank];
    if (level == 0) {
        *num_groups_out = here->num_groups;
        return (here->group_of[rank] + steps) % here->num_groups;
    }
    int num_ranks = ranks_above(topology, level, rank, &ranks);
    for (int i = 0; i < num_ranks; i++) {
        mine = here->group_of[ranks[i]] == here->group_of[rank] && here->local_index[ranks[i]] == 0 ? num_groups : mine;
        num_groups += here->local_index[ranks[i]] == 0;
    }
    *num_groups_out = num_groups;
    for (int i = 0, group = 0; i < num_ranks; i++)
        if (here->local_index[ranks[i]] == 0 && group++ == (mine + steps) % num_groups)
            found = here->group_of[ranks[i]];
    return found;
}

/* 0, 1, 2, 3, ... to steps 1, -1, 2, -2, ... round a circle: who is near in one direction is chosen in the other, too.
 */
static int alternate(int number, int circle)
{
    int steps = number / 2 + 1;
    return number % 2 == 0 ? steps : circle - steps;
}

int tli_probe_partner(const tulle_topology_t *topology, int level, int rank, int number)
{
    const tli_level_t *here = &topology->levels[level];
    int num_groups = 0;
    neighbour_group(topology, level, rank, 0, &num_groups);
    if (num_groups < 2)
        return -1;
    int steps = alternate(number % (num_groups - 1), num_groups);
    int group = neighbour_group(topology, level, rank, steps, &num_groups);
    int first = here->member_ptr[group], size = here->member_ptr[group + 1] - first;
    int turn = number / (num_groups - 1);
    int shift = turn > 0 && turn < size ? alternate(turn - 1, size) : 0;
    return turn < size ? here->members[first + (here->local_index[rank] + shift) % size] : -1;
}

int tli_probe_num_partners(const tulle_topology_t *topology, int level, int limit)
{
    int most = 0;
    for (int rank = 0; rank < topology->num_ranks && most < limit; rank++) {
        int num = 0;
        while (num < limit && tli_probe_partner(topology, level, rank, num) >= 0)
            num++;
        most = num > most ? num : most;
    }
    return most;
}

tulle_transport_t tli_probe_carrier(const tli_probe_times_t *mpi, const tli_probe_times_t *ucx)
{
    if (!(mpi->few_ns > 0 && mpi->all_ns > 0 && ucx->few_ns > 0 && ucx->all_ns > 0))
        return TULLE_TRANSPORT_MPI;
    double small = ucx->few_ns / mpi->few_ns, large = ucx->all_ns / mpi->all_ns;
    return fmax(small, large) < MOST_LOSS && small * large < LEAST_GAIN ? TULLE_TRANSPORT_UCX : TULLE_TRANSPORT_MPI;
}

double tli_probe_excess_ns(double a_ns, double b_ns)
{
    return fmax(a_ns - b_ns, LEAST_PART * fmax(a_ns, 1.0));
}

tulle_link_t tli_probe_link(const tulle_topology_t *topology, int level, const tli_probe_times_t *times,
                            const tulle_link_t *before)
{
    tulle_link_t link = *before;
    const tli_level_t *here = &topology->levels[level];
    double ranks_per_group = (double)topology->num_ranks / here->num_groups, bytes = (double)times->bytes;
    if (times->num_many == 0)
        return link;
    double first_ns = ranks_per_group > 1 ? fmin(times->one_ns, times->few_ns) : times->few_ns;
    link.latency_ns = fmax(times->hop_ns > 0 ? times->hop_ns : first_ns, 1.0);
    link.group_overhead_ns = (times->few_ns - first_ns) / fmax(ranks_per_group - 1.0, 1.0);
    link.bytes_per_second = bytes / tli_probe_excess_ns(times->lone_ns, times->one_ns) * NS_PER_SECOND;
    /* Here a group sends to one other only, so that nothing gets in its way. */
    link.group_bytes_per_second =
        ranks_per_group * bytes / tli_probe_excess_ns(times->all_ns, times->few_ns) * NS_PER_SECOND;
    if (times->num_many > 1)
        link.overhead_ns = tli_probe_excess_ns(times->many_ns, times->few_ns) / (times->num_many - 1);
    /* A further message is never dearer than an exchange of its own, whatever a disturbed measurement says. */
    link.overhead_ns = fmin(link.overhead_ns, fmax(times->few_ns, 1.0));
    /* As many links as are seen to work side by side; together they carry what the group sends. */
    if (level < topology->num_levels - 1)
        link.num_links = (int32_t)fmax(
            1.0, fmin(round(ranks_per_group), round(link.group_bytes_per_second / link.bytes_per_second)));
    double num_links = link.num_links > 0 ? link.num_links : ranks_per_group;
    link.bytes_per_second = fmax(link.bytes_per_second, link.group_bytes_per_second / num_links);
    return link;
}
