/* SPDX-License-Identifier: Apache-2.0
 * Inside of an exchange, as far as other files of the room need it. */
#ifndef TLI_EXCHANGE_H
#define TLI_EXCHANGE_H

#include <tulle/exchange.h>

/** Free a list of cached bindings; collective; sets *first to NULL. */
void tli_exchange_destroy_all(tulle_exchange_t **first);

#endif
