/* SPDX-License-Identifier: Apache-2.0
 * A build without NCCL. */
#include "src/fault.h"
#include "src/transport/nccl.h"

static tulle_status_t refuse(const char *where)
{
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, where, "this Tulle was built without NCCL (TULLE_ENABLE_NCCL)");
}

int tli_nccl_is_there(void)
{
    return 0;
}

tulle_status_t tli_nccl_make_id(unsigned char id[TLI_NCCL_ID_BYTES])
{
    (void)id;
    return refuse(TLI_WHERE);
}

tulle_status_t tli_nccl_open(int num_ranks, int rank, const unsigned char id[TLI_NCCL_ID_BYTES], tli_nccl_t **nccl_out)
{
    (void)num_ranks, (void)rank, (void)id, (void)nccl_out;
    return refuse(TLI_WHERE);
}

tulle_status_t tli_nccl_test(tli_nccl_t *nccl)
{
    (void)nccl;
    return refuse(TLI_WHERE);
}

tulle_status_t tli_nccl_settle(tli_nccl_t *nccl)
{
    return tli_nccl_test(nccl);
}

tulle_status_t tli_nccl_move(tli_nccl_t *nccl, const tli_nccl_message_t *messages, int num_messages, void *stream)
{
    (void)nccl, (void)messages, (void)num_messages, (void)stream;
    return refuse(TLI_WHERE);
}

tulle_status_t tli_nccl_register(tli_nccl_t *nccl, void *memory, int64_t bytes, void **handle_out)
{
    (void)nccl, (void)memory, (void)bytes, (void)handle_out;
    return refuse(TLI_WHERE);
}

void tli_nccl_deregister(tli_nccl_t *nccl, void *handle)
{
    (void)nccl, (void)handle;
}

void tli_nccl_abort(tli_nccl_t *nccl)
{
    (void)nccl;
}

void tli_nccl_close(tli_nccl_t *nccl)
{
    (void)nccl;
}
