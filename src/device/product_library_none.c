/* SPDX-License-Identifier: Apache-2.0
 * A build without cuSPARSE: kernels of our own multiply. */
#include "src/device/product_library.h"
#include "src/fault.h"

int tli_cusparse_is_there(void)
{
    return 0;
}

tulle_status_t tli_cusparse_open(const tli_product_args_t *like, tli_cusparse_t **product_out)
{
    (void)like, (void)product_out;
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE, "Tulle was built without cuSPARSE (cusparse.h)");
}

tulle_status_t tli_cusparse_multiply(tli_cusparse_t *product, const tli_product_args_t *args, void *stream)
{
    (void)product, (void)args, (void)stream;
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE, "Tulle was built without cuSPARSE (cusparse.h)");
}

void tli_cusparse_close(tli_cusparse_t *product)
{
    (void)product;
}
