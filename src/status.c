/* SPDX-License-Identifier: Apache-2.0
 * Statuses, and the last error of each thread. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/fault.h"

#include <tulle/tulle.h>

#define VERSION_TEXT                                                                                                   \
    TLI_STRINGIFY(TULLE_VERSION_MAJOR) "." TLI_STRINGIFY(TULLE_VERSION_MINOR) "." TLI_STRINGIFY(TULLE_VERSION_PATCH)

static _Thread_local tulle_error_t last_error = {TULLE_OK, -1, 0, "", ""};
static _Thread_local int current_rank = -1;

const tulle_error_t *tulle_last_error(void)
{
    return &last_error;
}

const char *tulle_status_name(tulle_status_t status)
{
    switch (status) {
#define NAME_CASE(name, value, text)                                                                                   \
    case TULLE_##name:                                                                                                 \
        return "TULLE_" #name;
        TULLE_STATUS_MAP(NAME_CASE)
#undef NAME_CASE
    }
    return "TULLE_UNKNOWN";
}

const char *tulle_status_text(tulle_status_t status)
{
    switch (status) {
#define TEXT_CASE(name, value, text)                                                                                   \
    case TULLE_##name:                                                                                                 \
        return text;
        TULLE_STATUS_MAP(TEXT_CASE)
#undef TEXT_CASE
    }
    return "unknown status";
}

const char *tulle_version(void)
{
    return VERSION_TEXT;
}

tulle_status_t tli_fail(tulle_status_t status, long native, const char *where, const char *format, ...)
{
    va_list arguments;
    /* Formatted aside: an argument may be the text of the last error itself. */
    char text[sizeof last_error.text];
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(last_error.text, text, sizeof text);
    last_error.status = status;
    last_error.rank = current_rank;
    last_error.native = native;
    last_error.where = where;
    return status;
}

void tli_fault_set_rank(int rank)
{
    current_rank = rank;
}

void tli_fault_set(const tulle_error_t *error)
{
    last_error = *error;
}
