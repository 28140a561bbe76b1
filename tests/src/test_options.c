/* SPDX-License-Identifier: Apache-2.0
 * Options of callers that were compiled with other versions of the headers, and the environment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/options.h"

#include <tulle/exchange.h>
#include <tulle/status.h>

/* One struct in three releases. */
typedef struct old_options {
    size_t struct_size;
    int64_t first;
} old_options_t;
typedef struct our_options {
    size_t struct_size;
    int64_t first, second;
} our_options_t;
typedef struct new_options {
    size_t struct_size;
    int64_t first, second, third;
} new_options_t;

static tulle_status_t take(const void *given, our_options_t *options)
{
    *options = (our_options_t){sizeof *options, 10, 20};
    return tli_options_take(given, options, sizeof *options, sizeof(old_options_t), "OPTIONS_INIT");
}

static void test_options_take_null_keeps_defaults(void **state)
{
    our_options_t options;
    assert_int_equal(take(NULL, &options), TULLE_OK);
    assert_int_equal(options.first, 10);
    assert_int_equal(options.second, 20);
}

static void test_options_take_older_struct_keeps_defaults_of_newer_fields(void **state)
{
    const old_options_t given = {sizeof given, 1};
    our_options_t options;
    assert_int_equal(take(&given, &options), TULLE_OK);
    assert_int_equal(options.first, 1);
    assert_int_equal(options.second, 20);
    assert_int_equal(options.struct_size, sizeof options);
}

static void test_options_take_newer_struct_is_fine_unless_it_asks_for_more(void **state)
{
    new_options_t given = {sizeof given, 1, 2, 0};
    our_options_t options;
    assert_int_equal(take(&given, &options), TULLE_OK);
    assert_int_equal(options.second, 2);
    given.third = 3;
    assert_int_equal(take(&given, &options), TULLE_ERR_ARG);
    assert_non_null(strstr(tulle_last_error()->text, "too old"));
}

static void test_options_take_struct_without_size_is_refused(void **state)
{
    static const size_t sizes[] = {0, 3, sizeof(old_options_t) - 1, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const our_options_t given = {sizes[i], 1, 2};
        our_options_t options;
        assert_int_equal(take(&given, &options), TULLE_ERR_ARG);
        assert_non_null(strstr(tulle_last_error()->text, "OPTIONS_INIT"));
    }
}

static void test_options_results_fill_as_much_as_the_caller_knows(void **state)
{
    const our_options_t results = {sizeof results, 1, 2};
    old_options_t old = {sizeof old, 0};
    new_options_t new = {sizeof new, 0, 0, 9};
    assert_int_equal(tli_options_check_results(&old, sizeof results, sizeof old), TULLE_OK);
    tli_options_give(&results, sizeof results, &old);
    tli_options_give(&results, sizeof results, &new);
    assert_int_equal(old.first, 1);
    assert_int_equal(old.struct_size, sizeof old);
    assert_true(new.first == 1 && new.second == 2 && new.third == 9);
    assert_int_equal(new.struct_size, sizeof new);
    assert_int_equal(tli_options_check_results(NULL, sizeof results, sizeof old), TULLE_ERR_ARG);
    old.struct_size = sizeof old - 1;
    assert_int_equal(tli_options_check_results(&old, sizeof results, sizeof old), TULLE_ERR_ARG);
    assert_non_null(strstr(tulle_last_error()->text, "struct_size is 15"));
}

static void test_options_timeout_reads_whole_milliseconds_only(void **state)
{
    static const char *const bad[] = {"-1", "ten", "1.5", "5s", "99999999999999999999"};
    int64_t timeout_ms = -1;
    unsetenv("TULLE_TIMEOUT_MS");
    assert_int_equal(tli_options_timeout_ms(&timeout_ms), TULLE_OK);
    assert_int_equal(timeout_ms, 0);
    setenv("TULLE_TIMEOUT_MS", "250", 1);
    assert_int_equal(tli_options_timeout_ms(&timeout_ms), TULLE_OK);
    assert_int_equal(timeout_ms, 250);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("TULLE_TIMEOUT_MS", bad[i], 1);
        assert_int_equal(tli_options_timeout_ms(&timeout_ms), TULLE_ERR_ARG);
        assert_non_null(strstr(tulle_last_error()->text, bad[i]));
        assert_int_equal(timeout_ms, 250);
    }
    unsetenv("TULLE_TIMEOUT_MS");
}

static void test_options_chunk_bytes_reads_whole_bytes_or_auto(void **state)
{
    static const char *const bad[] = {"-1", "always", "never", "1.5", "64K", "99999999999999999999"};
    size_t chunk_bytes = 1;
    unsetenv("TULLE_CHUNK_BYTES");
    assert_int_equal(tli_options_chunk_bytes(&chunk_bytes), TULLE_OK);
    assert_true(chunk_bytes == TULLE_CHUNK_AUTOMATIC);
    setenv("TULLE_CHUNK_BYTES", "0", 1);
    assert_int_equal(tli_options_chunk_bytes(&chunk_bytes), TULLE_OK);
    assert_true(chunk_bytes == TULLE_CHUNK_NEVER);
    setenv("TULLE_CHUNK_BYTES", "auto", 1);
    assert_int_equal(tli_options_chunk_bytes(&chunk_bytes), TULLE_OK);
    assert_true(chunk_bytes == TULLE_CHUNK_AUTOMATIC);
    setenv("TULLE_CHUNK_BYTES", "65536", 1);
    assert_int_equal(tli_options_chunk_bytes(&chunk_bytes), TULLE_OK);
    assert_int_equal(chunk_bytes, 65536);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("TULLE_CHUNK_BYTES", bad[i], 1);
        assert_int_equal(tli_options_chunk_bytes(&chunk_bytes), TULLE_ERR_ARG);
        assert_non_null(strstr(tulle_last_error()->text, bad[i]));
        assert_int_equal(chunk_bytes, 65536);
    }
    unsetenv("TULLE_CHUNK_BYTES");
}

static void test_options_topology_empty_is_none(void **state)
{
    unsetenv("TULLE_TOPOLOGY");
    assert_null(tli_options_topology());
    setenv("TULLE_TOPOLOGY", "", 1);
    assert_null(tli_options_topology());
    setenv("TULLE_TOPOLOGY", "2x4", 1);
    assert_string_equal(tli_options_topology(), "2x4");
    unsetenv("TULLE_TOPOLOGY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_take_null_keeps_defaults),
        cmocka_unit_test(test_options_chunk_bytes_reads_whole_bytes_or_auto),
        cmocka_unit_test(test_options_take_older_struct_keeps_defaults_of_newer_fields),
        cmocka_unit_test(test_options_take_newer_struct_is_fine_unless_it_asks_for_more),
        cmocka_unit_test(test_options_take_struct_without_size_is_refused),
        cmocka_unit_test(test_options_results_fill_as_much_as_the_caller_knows),
        cmocka_unit_test(test_options_timeout_reads_whole_milliseconds_only),
        cmocka_unit_test(test_options_topology_empty_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
