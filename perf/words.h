/* SPDX-License-Identifier: Apache-2.0
 * The words of a command line: numbers, and names that stand for values. */
#ifndef PERF_WORDS_H
#define PERF_WORDS_H

#include <argp.h>
#include <stddef.h>
#include <stdint.h>

#include <tulle/status.h>

#define PERF_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/** A word of a list: its text and what it stands for. */
typedef struct perf_word {
    const char *text;
    int value;
} perf_word_t;

/**
 * A whole number.
 * @param[in]  option    its name without dashes, for the error text
 * @param[out] value_out untouched on failure
 * @retval TULLE_ERR_ARG no number, or not from least to most
 */
tulle_status_t perf_parse_int(const char *option, const char *text, int64_t least, int64_t most, int64_t *value_out);

/**
 * What a word stands for.
 * @param[out] value_out untouched on failure
 * @retval TULLE_ERR_ARG it is not in the list, which the error text has
 */
tulle_status_t perf_parse_word(const char *option, const char *text, const perf_word_t *words, size_t num_words,
                               int *value_out);

/**
 * What argp finds that is no option: arguments, and words that it does not know.
 * @param[in]     help         how more is said, such as "spmm --help"
 * @param[in]     takes_matrix [bool] an argument may have been meant as a matrix
 * @param[in,out] status       a failure that is there already stays
 * @return what the parser function returns
 */
error_t perf_parse_rest(int key, const char *text, const struct argp_state *argp, const char *help, int takes_matrix,
                        tulle_status_t *status);

#endif
