/* SPDX-License-Identifier: Apache-2.0
 * The only place that reads the environment, and what callers of other versions hand over. */
#include "src/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/fault.h"

/* [bytes] No options struct will ever be larger: a struct_size beyond is a struct that was not initialised. */
#define LARGEST_STRUCT ((size_t)4096)

static const char *read_text(const char *name)
{
    const char *text = getenv(name);
    return text != NULL && text[0] != '\0' ? text : NULL;
}

const char *tli_options_topology(void)
{
    return read_text("TULLE_TOPOLOGY");
}

const char *tli_options_transport(void)
{
    return read_text("TULLE_TRANSPORT");
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

int tli_options_separates_nodes(void)
{
    const char *text = getenv("TULLE_SEPARATE_NODES");
    return text != NULL && text[0] != '\0' && strcmp(text, "0") != 0;
}

void tli_options_disable_pxn(void)
{
    setenv("NCCL_PXN_DISABLE", "1", 0);
}

tulle_status_t tli_options_take(const void *given, void *options, size_t size, size_t oldest_size,
                                const char *initializer)
{
    tulle_status_t st = TULLE_OK;
    size_t given_size = 0;
    if (given == NULL)
        goto done;
    memcpy(&given_size, given, sizeof given_size);
    TLI_REQUIRE(given_size >= oldest_size && given_size <= LARGEST_STRUCT, TULLE_ERR_ARG,
                "options.struct_size is %zu, expected %zu: start from %s", given_size, size, initializer);
    for (size_t i = size; i < given_size; i++)
        TLI_REQUIRE(
            ((const unsigned char *)given)[i] == 0, TULLE_ERR_ARG,
            "options.struct_size is %zu and an option beyond byte %zu is set: this library is too old to know it",
            given_size, size);
    memcpy(options, given, given_size < size ? given_size : size);
    memcpy(options, &size, sizeof size);
done:
    return st;
}

tulle_status_t tli_options_check_results(const void *given, size_t size, size_t oldest_size)
{
    tulle_status_t st = TULLE_OK;
    size_t given_size = 0;
    TLI_REQUIRE(given != NULL, TULLE_ERR_ARG, "stats is NULL; give a struct with its struct_size set");
    memcpy(&given_size, given, sizeof given_size);
    TLI_REQUIRE(given_size >= oldest_size && given_size <= LARGEST_STRUCT, TULLE_ERR_ARG,
                "stats.struct_size is %zu; set it to the size of the struct, here %zu", given_size, size);
done:
    return st;
}

void tli_options_give(const void *results, size_t size, void *given)
{
    size_t given_size = 0;
    memcpy(&given_size, given, sizeof given_size);
    memcpy((unsigned char *)given + sizeof given_size, (const unsigned char *)results + sizeof given_size,
           (given_size < size ? given_size : size) - sizeof given_size);
}
