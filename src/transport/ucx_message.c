/* SPDX-License-Identifier: Apache-2.0
 * One end of a message of UCX. */
#include "src/transport/ucx_message.h"

#include "src/agree.h"

/* [bytes] Memory of longer messages is registered when they are made; shorter ones are copied by UCX. */
#define LEAST_REGISTERED ((int64_t)8192)

#define REQUEST_ALIGNMENT 64

/* --- what UCX calls ---------------------------------------------------------------------------------------------- */

static void end_message(tli_ucx_message_t *message, ucs_status_t status)
{
    message->is_under_way = 0;
    message->end(message, status);
}

static void on_sent(void *request, ucs_status_t status, void *opaque)
{
    (void)request;
    end_message(opaque, status);
}

static void on_received(void *request, ucs_status_t status, const ucp_tag_recv_info_t *info, void *opaque)
{
    (void)request;
    (void)info;
    end_message(opaque, status);
}

/* The connection, not a message of it, may be what fails. */
static void on_flushed(void *request, ucs_status_t status, void *opaque)
{
    (void)request;
    (void)status;
    ((tli_ucx_flush_t *)opaque)->is_under_way = 0;
}

/* --- making ------------------------------------------------------------------------------------------------------ */

/* UCX writes before the address that it is given, as much as it says it needs. */
tulle_status_t tli_ucx_alloc_requests(const tli_ucx_t *ucx, int64_t num, tli_arena_t *arena, unsigned char **memory_out,
                                      size_t *stride_out)
{
    *stride_out = (ucx->request_bytes + REQUEST_ALIGNMENT - 1) / REQUEST_ALIGNMENT * REQUEST_ALIGNMENT;
    return tli_arena_alloc(arena, num, *stride_out, memory_out);
}

static tulle_status_t register_memory(ucs_memory_type_t memory_type, tli_ucx_message_t *message)
{
    tulle_status_t st = TULLE_OK;
    const ucp_mem_map_params_t params = {.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS |
                                                       UCP_MEM_MAP_PARAM_FIELD_LENGTH |
                                                       UCP_MEM_MAP_PARAM_FIELD_MEMORY_TYPE,
                                         .address = message->address,
                                         .length = message->bytes,
                                         .memory_type = memory_type};
    ucs_status_t status = ucp_mem_map(message->ucx->context, &params, &message->memory.handle);
    if (status != UCS_OK) {
        message->memory.handle = NULL;
        st = tli_fail_ucx(status, TLI_WHERE, "registering memory");
    }
    return st;
}

tulle_status_t tli_ucx_message_fill(unsigned char *address, int64_t bytes, ucs_memory_type_t memory_type, int sender,
                                    int tag, tli_ucx_message_t *message)
{
    tulle_status_t st = TULLE_OK;
    message->address = address;
    message->bytes = (size_t)bytes;
    message->tag = tli_ucx_tag(sender, tag);
    if (bytes >= LEAST_REGISTERED)
        TLI_TRY(register_memory(memory_type, message));
    message->param = (ucp_request_param_t){
        .op_attr_mask = UCP_OP_ATTR_FIELD_REQUEST | UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                        UCP_OP_ATTR_FIELD_MEMORY_TYPE | (message->memory.handle != NULL ? UCP_OP_ATTR_FIELD_MEMH : 0),
        .request = message->request,
        .user_data = message,
        .memory_type = memory_type,
        .memh = message->memory.handle};
done:
    return st;
}

void tli_ucx_message_release(tli_ucx_message_t *message)
{
    tli_ucx_memory_t *memory = &message->memory;
    if (memory->handle == NULL)
        return;
    if (message->is_under_way) {
        memory->next = message->ucx->kept;
        message->ucx->kept = memory;
    } else {
        ucp_mem_unmap(message->ucx->context, memory->handle);
        memory->handle = NULL;
    }
}

/* --- a round ----------------------------------------------------------------------------------------------------- */

void tli_ucx_message_send(tli_ucx_message_t *message)
{
    message->is_under_way = 1;
    message->param.cb.send = on_sent;
    void *request =
        ucp_tag_send_nbx(message->peer->endpoint, message->address, message->bytes, message->tag, &message->param);
    if (!UCS_PTR_IS_PTR(request))
        end_message(message, UCS_PTR_RAW_STATUS(request));
}

void tli_ucx_message_receive(tli_ucx_message_t *message)
{
    message->is_under_way = 1;
    message->param.cb.recv = on_received;
    void *request = ucp_tag_recv_nbx(message->ucx->worker, message->address, message->bytes, message->tag,
                                     ~(ucp_tag_t)0, &message->param);
    if (!UCS_PTR_IS_PTR(request))
        end_message(message, UCS_PTR_RAW_STATUS(request));
}

void tli_ucx_message_cancel(tli_ucx_message_t *message)
{
    if (message->is_under_way)
        ucp_request_cancel(message->ucx->worker, message->request);
}

static void start_flush(tli_ucx_flush_t *flush)
{
    const ucp_request_param_t param = {.op_attr_mask = UCP_OP_ATTR_FIELD_REQUEST | UCP_OP_ATTR_FIELD_CALLBACK |
                                                       UCP_OP_ATTR_FIELD_USER_DATA,
                                       .request = flush->request,
                                       .cb.send = on_flushed,
                                       .user_data = flush};
    flush->is_under_way = 1;
    if (!UCS_PTR_IS_PTR(ucp_worker_flush_nbx(flush->ucx->worker, &param)))
        flush->is_under_way = 0;
}

int tli_ucx_flush_is_over(tli_ucx_flush_t *flush)
{
    if (!flush->has_begun)
        start_flush(flush);
    flush->has_begun = flush->is_under_way;
    return !flush->is_under_way;
}
