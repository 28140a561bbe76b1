/* SPDX-License-Identifier: Apache-2.0
 * What a process can find out about its own place in a node, without asking the others. */
#ifndef TLI_TOPOLOGY_DISCOVER_H
#define TLI_TOPOLOGY_DISCOVER_H

/**
 * The domain inside which this process is bound: a NUMA domain, or a package where the machine has no two NUMA domains.
 * @return number of the domain, the same for all processes inside it and different for others of the node; -1 when the
 *         process is not bound inside one, when it cannot be known, or in a build without hwloc
 * @cost one look at the machine: milliseconds
 */
int tli_discover_domain(void);

#endif
