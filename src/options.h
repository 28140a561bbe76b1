/* SPDX-License-Identifier: Apache-2.0
 * The environment, read, and for NCCL completed, in one place: TULLE_TOPOLOGY, TULLE_TIMEOUT_MS, TULLE_TRANSPORT,
 * TULLE_CHUNK_BYTES and TULLE_SEPARATE_NODES. Options given in code come first. */
#ifndef TLI_OPTIONS_H
#define TLI_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/status.h>

/** Text form of the topology, or NULL when TULLE_TOPOLOGY is unset or empty. Borrowed from the environment. */
const char *tli_options_topology(void);

/** [ms] TULLE_TIMEOUT_MS, 0 when unset. Fails with TULLE_ERR_ARG on anything but a whole number >= 0. */
tulle_status_t tli_options_timeout_ms(int64_t *timeout_ms_out);

/** TULLE_TRANSPORT, or NULL when unset or empty. Borrowed from the environment. */
const char *tli_options_transport(void);

/** [bytes] TULLE_CHUNK_BYTES; TULLE_CHUNK_AUTOMATIC for "auto" or when unset, TULLE_CHUNK_NEVER for 0. Fails with
 * TULLE_ERR_ARG on anything but that or a whole number >= 0. */
tulle_status_t tli_options_chunk_bytes(size_t *chunk_bytes_out);

/** Whether TULLE_SEPARATE_NODES is set, and not to 0: nodes that were declared count as machines of their own. */
int tli_options_separates_nodes(void);

/** Keep NCCL from sending by way of other GPUs (NCCL_PXN_DISABLE=1), unless the user has decided. */
void tli_options_disable_pxn(void);

/**
 * Take an options struct from a caller who may have been compiled with another version of the headers: fields that the
 * caller's struct lacks keep their defaults, fields that this library does not know must be zero.
 * @param[in]     given       the caller's struct, which begins with its size; NULL = defaults
 * @param[in,out] options     our struct, set to its defaults
 * @param[in]     size        [bytes] of our struct
 * @param[in]     oldest_size [bytes] of the struct in the first release that had it
 * @param[in]     initializer name of the macro to start from, for the error text
 * @retval TULLE_ERR_ARG a struct_size below oldest_size, or an unknown field that is set
 */
tulle_status_t tli_options_take(const void *given, void *options, size_t size, size_t oldest_size,
                                const char *initializer);

/**
 * Whether such a caller can be handed results.
 * @param[in] given       the caller's struct, which begins with its size; or NULL
 * @param[in] size        [bytes] of our struct
 * @param[in] oldest_size [bytes] of the struct in the first release that had it
 * @retval TULLE_ERR_ARG NULL, or a struct_size below oldest_size
 */
tulle_status_t tli_options_check_results(const void *given, size_t size, size_t oldest_size);

/** Hand them over: as much of our struct as the caller's has room for, whose size stays as it was set. */
void tli_options_give(const void *results, size_t size, void *given);

#endif
