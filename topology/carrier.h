/* SPDX-License-Identifier: Apache-2.0
 * Carriers in topology files. */
#ifndef TLI_TOPOLOGY_CARRIER_H
#define TLI_TOPOLOGY_CARRIER_H

#include "topology/model.h"

/**
 * Take one key=value of a level line.
 * @param[out] end_out where reading the value stopped: not at its end = it is malformed
 * @return whether the key is one of ours
 */
int tli_carrier_read(const char *key, const char *value, char **end_out, tulle_carrier_t *carrier);

/** Write what tli_carrier_read() reads, nothing for a level whose carrier nobody has chosen. */
void tli_carrier_write(const tulle_carrier_t *carrier, FILE *file);

#endif
