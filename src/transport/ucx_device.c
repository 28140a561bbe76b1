/* SPDX-License-Identifier: Apache-2.0
 * What device memory is to UCX, which says at run time whether it was built for it. */
#include "src/transport/ucx_worker.h"

ucs_memory_type_t tli_ucx_device_memory(ucp_context_h context)
{
    ucp_context_attr_t attributes = {.field_mask = UCP_ATTR_FIELD_MEMORY_TYPES};
    int is_asked = ucp_context_query(context, &attributes) == UCS_OK;
    int is_known = is_asked && (attributes.memory_types & UCS_BIT(UCS_MEMORY_TYPE_CUDA)) != 0;
    return is_known ? UCS_MEMORY_TYPE_CUDA : UCS_MEMORY_TYPE_UNKNOWN;
}
