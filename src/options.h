/* SPDX-License-Identifier: Apache-2.0
 * The environment, read in one place: TULLE_TOPOLOGY and TULLE_TIMEOUT_MS. Options given in code come first. */
#ifndef TLI_OPTIONS_H
#define TLI_OPTIONS_H

#include <stdint.h>

#include <tulle/status.h>

/** Text form of the topology, or NULL when TULLE_TOPOLOGY is unset or empty. Borrowed from the environment. */
const char *tli_options_topology(void);

/** [ms] TULLE_TIMEOUT_MS, 0 when unset. Fails with TULLE_ERR_ARG on anything but a whole number >= 0. */
tulle_status_t tli_options_timeout_ms(int64_t *timeout_ms_out);

#endif
