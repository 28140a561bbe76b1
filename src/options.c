/* SPDX-License-Identifier: Apache-2.0
 * The only place that reads the environment. */
#include "src/options.h"

#include <errno.h>
#include <stdlib.h>

#include "src/fault.h"

const char *tli_options_topology(void)
{
    const char *text = getenv("TULLE_TOPOLOGY");
    return text != NULL && text[0] != '\0' ? text : NULL;
}

tulle_status_t tli_options_timeout_ms(int64_t *timeout_ms_out)
{
    tulle_status_t st = TULLE_OK;
    const char *text = getenv("TULLE_TIMEOUT_MS");
    char *end = NULL;
    long long value = 0;
    if (text != NULL && text[0] != '\0') {
        errno = 0;
        value = strtoll(text, &end, 10);
        TLI_REQUIRE(errno == 0 && *end == '\0' && value >= 0, TULLE_ERR_ARG,
                    "TULLE_TIMEOUT_MS is \"%s\": give milliseconds as a whole number, 0 for no limit", text);
    }
    *timeout_ms_out = value;
done:
    return st;
}
