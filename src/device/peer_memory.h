/* SPDX-License-Identifier: Apache-2.0
 * Device memory of one process in the address space of another. A handle is plain data that can be sent. */
#ifndef TLI_PEER_MEMORY_H
#define TLI_PEER_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include <tulle/status.h>

#define TLI_IPC_BYTES 64

/** Device memory to be imported elsewhere: the allocation it lies in, and where in there. */
typedef struct tli_memory_handle {
    unsigned char ipc[TLI_IPC_BYTES]; /* of the allocation */
    int64_t offset;                   /* [bytes] from its beginning */
    uint64_t process;                 /* that exported it: there, the address is the memory */
    void *address;
} tli_memory_handle_t;

/** An allocation of another process, mapped here. */
typedef struct tli_mapping tli_mapping_t;

/** @param[in] memory of space device @retval TULLE_ERR_UNSUPPORTED an allocation that cannot be shared */
tulle_status_t tli_memory_export(const void *memory, tli_memory_handle_t *handle_out);
/** The driver maps an allocation once per process, so imports of the same one share its mapping, whichever exchange
 * asked first. @param[out] mapping_out for tli_memory_release(); NULL for memory of this process itself */
tulle_status_t tli_memory_import(const tli_memory_handle_t *handle, tli_mapping_t **mapping_out, void **address_out);
/** NULL-safe. Nothing may be on its way to the memory. */
void tli_memory_release(tli_mapping_t *mapping);

/** Let the device of the calling thread read and write this host memory, at the address that the host uses. */
tulle_status_t tli_host_register(void *memory, size_t bytes);
void tli_host_unregister(void *memory);

/* What peer_memory.c asks of the driver: peer_memory_cuda.c, or device_none.c. */

/** Handle of the allocation that memory lies in, and the distance from its beginning. */
tulle_status_t tli_ipc_export(const void *memory, unsigned char ipc[TLI_IPC_BYTES], int64_t *offset_out);
tulle_status_t tli_ipc_open(const unsigned char ipc[TLI_IPC_BYTES], void **base_out);
void tli_ipc_close(void *base);

#endif
