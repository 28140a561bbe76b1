/* SPDX-License-Identifier: Apache-2.0
 * Products by cuSPARSE, in plain C. product_cusparse.c answers, which loads the library at its first use, or
 * product_library_none.c in a build without. */
#ifndef TLI_PRODUCT_LIBRARY_H
#define TLI_PRODUCT_LIBRARY_H

#include "src/device/product_device.h"

/** A block and all that the library keeps for its products of one width. */
typedef struct tli_cusparse tli_cusparse_t;

/** Whether this build knows cuSPARSE and the library is on this machine. */
int tli_cusparse_is_there(void);

/** For products like this one, on the current device: other rows and strides of B and C, other factors, the same block,
 * whose values may change. It has nonzeros and a row_ptr_32, and all its rows are listed. */
tulle_status_t tli_cusparse_open(const tli_product_args_t *like, tli_cusparse_t **product_out);
/** As tli_product_launch(), with sums in an order of the library's that is the same in every run. */
tulle_status_t tli_cusparse_multiply(tli_cusparse_t *product, const tli_product_args_t *args, void *stream);
/** NULL-safe. Nothing of it is on a stream any more. */
void tli_cusparse_close(tli_cusparse_t *product);

#endif
