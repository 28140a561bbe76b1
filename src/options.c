/* SPDX-License-Identifier: Apache-2.0
 * The only place that reads the environment, and what callers of other versions hand over. */
#include "src/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <tulle/exchange.h>

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

/* A whole number >= 0; text: unset or empty is 0. */
static int read_number(const char *text, long long *number_out)
{
    char *end = NULL;
    errno = 0;
    *number_out = text != NULL ? strtoll(text, &end, 10) : 0;
    return text == NULL || (errno == 0 && *end == '\0' && *number_out >= 0);
}

tulle_status_t tli_options_timeout_ms(int64_t *timeout_ms_out)
{
    tulle_status_t st = TULLE_OK;
    const char *text = read_text("TULLE_TIMEOUT_MS");
    long long value = 0;
    TLI_REQUIRE(read_number(text, &value), TULLE_ERR_ARG,
                "TULLE_TIMEOUT_MS is \"%s\": give milliseconds as a whole number, 0 for no limit", text);
    *timeout_ms_out = value;
done:
    return st;
}

tulle_status_t tli_options_chunk_bytes(size_t *chunk_bytes_out)
{
    tulle_status_t st = TULLE_OK;
    const char *text = read_text("TULLE_CHUNK_BYTES");
    int is_automatic = text == NULL || strcmp(text, "auto") == 0;
    long long value = 0;
    TLI_REQUIRE(is_automatic || read_number(text, &value), TULLE_ERR_ARG,
                "TULLE_CHUNK_BYTES is \"%s\": give bytes as a whole number, 0 for whole messages, or auto", text);
    *chunk_bytes_out = (size_t)value;
    if (is_automatic || value == 0)
        *chunk_bytes_out = is_automatic ? TULLE_CHUNK_AUTOMATIC : TULLE_CHUNK_NEVER;
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
