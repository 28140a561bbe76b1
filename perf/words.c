/* SPDX-License-Identifier: Apache-2.0
 * Values of options, and what is said when they are none. */
#include "perf/words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/fault.h"

tulle_status_t perf_parse_int(const char *option, const char *text, int64_t least, int64_t most, int64_t *value_out)
{
    tulle_status_t st = TULLE_OK;
    char *end = NULL;
    errno = 0;
    int64_t value = strtoimax(text, &end, 10);
    TLI_REQUIRE(end != text && *end == '\0' && errno == 0 && value >= least && value <= most, TULLE_ERR_ARG,
                "--%s is '%.60s'; give a number from %" PRId64 " to %" PRId64, option, text, least, most);
    *value_out = value;
done:
    return st;
}

tulle_status_t perf_parse_word(const char *option, const char *text, const perf_word_t *words, size_t num_words,
                               int *value_out)
{
    char allowed[320] = "";
    for (size_t i = 0; i < num_words; i++) {
        size_t used = strlen(allowed);
        if (strcmp(text, words[i].text) == 0) {
            *value_out = words[i].value;
            return TULLE_OK;
        }
        snprintf(allowed + used, sizeof allowed - used, "%s%s", i == 0 ? "" : ", ", words[i].text);
    }
    return tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "--%s is '%.60s'; give one of: %s", option, text, allowed);
}

error_t perf_parse_rest(int key, const char *text, const struct argp_state *argp, const char *help, int takes_matrix,
                        tulle_status_t *status)
{
    if (key == ARGP_KEY_ARG && takes_matrix)
        *status = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE,
                           "unexpected argument '%.60s'; a matrix is given as --matrix %.60s", text, text);
    else if (key == ARGP_KEY_ARG)
        *status = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "unexpected argument '%.60s'; see %s", text, help);
    else if (key == ARGP_KEY_ERROR && *status == TULLE_OK) /* getopt stepped over a word it does not know */
        *status = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE,
                           "'%.60s' is no option, is ambiguous, or lacks or takes no value; see %s",
                           argp->argv[argp->next - 1], help);
    else
        return ARGP_ERR_UNKNOWN;
    return EINVAL;
}
