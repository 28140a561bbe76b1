/* SPDX-License-Identifier: Apache-2.0
 * Statuses: frozen values, names and texts; the last error of each thread. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tulle/tulle.h>

#include "src/fault.h"

static const struct {
    int value;
    const char *name, *text;
} frozen[] = {
    {0, "TULLE_OK", "success"},
    {1, "TULLE_IN_PROGRESS", "not finished"},
    {-1, "TULLE_ERR_ARG", "invalid argument"},
    {-2, "TULLE_ERR_NOMEM", "out of memory"},
    {-3, "TULLE_ERR_REMOTE", "another rank failed"},
    {-4, "TULLE_ERR_TRANSPORT", "transport failed"},
    {-5, "TULLE_ERR_STATE", "call out of order"},
    {-6, "TULLE_ERR_FILE", "file cannot be used"},
    {-7, "TULLE_ERR_MISMATCH", "ranks or objects do not fit together"},
    {-8, "TULLE_ERR_OVERFLOW", "size too large"},
    {-9, "TULLE_ERR_UNSUPPORTED", "not supported"},
    {-10, "TULLE_ERR_TIMEOUT", "timed out"},
};
#define NUM_FROZEN (sizeof frozen / sizeof *frozen)

static void test_status_values_names_and_texts_are_frozen(void **state)
{
    static const tulle_status_t all[] = {
#define STATUS_ENTRY(name, value, text) TULLE_##name,
        TULLE_STATUS_MAP(STATUS_ENTRY)
#undef STATUS_ENTRY
    };
    assert_int_equal(sizeof all / sizeof *all, NUM_FROZEN);
    for (size_t i = 0; i < NUM_FROZEN; i++) {
        assert_true((int)all[i] == frozen[i].value);
        assert_string_equal(tulle_status_name(all[i]), frozen[i].name);
        assert_string_equal(tulle_status_text(all[i]), frozen[i].text);
    }
}

static void test_status_unknown_value_has_a_name_and_a_text(void **state)
{
    static const int unknown[] = {2, -11, 12345};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_string_equal(tulle_status_name((tulle_status_t)unknown[i]), "TULLE_UNKNOWN");
        assert_string_equal(tulle_status_text((tulle_status_t)unknown[i]), "unknown status");
    }
}

static void test_version_is_that_of_the_header(void **state)
{
    char expected[64];
    snprintf(expected, sizeof expected, "%d.%d.%d", TULLE_VERSION_MAJOR, TULLE_VERSION_MINOR, TULLE_VERSION_PATCH);
    assert_string_equal(tulle_version(), expected);
}

static void test_fail_records_everything(void **state)
{
    const tulle_error_t *error = tulle_last_error();
    tli_fault_set_rank(5);
    assert_int_equal(tli_fail(TULLE_ERR_FILE, 42, "here:7", "row %d of %s", 3, "plan"), TULLE_ERR_FILE);
    tli_fault_set_rank(-1);
    assert_ptr_equal(tulle_last_error(), error);
    assert_int_equal(error->status, TULLE_ERR_FILE);
    assert_int_equal(error->rank, 5);
    assert_int_equal(error->native, 42);
    assert_string_equal(error->where, "here:7");
    assert_string_equal(error->text, "row 3 of plan");
}

static void test_fail_without_communicator_has_no_rank(void **state)
{
    tli_fail(TULLE_ERR_ARG, 0, "here:1", "nothing");
    assert_int_equal(tulle_last_error()->rank, -1);
    assert_int_equal(tulle_last_error()->native, 0);
}

static void test_fail_long_text_is_cut(void **state)
{
    char text[1000];
    const size_t room = sizeof tulle_last_error()->text;
    for (size_t length = room - 3; length <= room + 3; length++) {
        size_t kept = length < room ? length : room - 1;
        memset(text, 'x', length);
        text[length] = '\0';
        tli_fail(TULLE_ERR_ARG, 0, "here:1", "%s", text);
        assert_int_equal(strlen(tulle_last_error()->text), kept);
        assert_memory_equal(tulle_last_error()->text, text, kept);
    }
}

static void test_fail_text_may_quote_the_last_error(void **state)
{
    tli_fail(TULLE_ERR_FILE, 0, "here:1", "cannot open a.plan");
    tli_fail(TULLE_ERR_REMOTE, 0, "here:2", "rank 3: %s (%s)", tulle_last_error()->text, tulle_last_error()->where);
    assert_string_equal(tulle_last_error()->text, "rank 3: cannot open a.plan (here:1)");
    /* Longer with every round, until it is cut. */
    for (int i = 0; i < 300; i++)
        tli_fail(TULLE_ERR_REMOTE, 0, "here:3", "+%s", tulle_last_error()->text);
    assert_int_equal(strlen(tulle_last_error()->text), sizeof tulle_last_error()->text - 1);
}

static void test_fault_set_replaces_the_last_error(void **state)
{
    tulle_error_t remote = {TULLE_ERR_NOMEM, 9, 12, "there:3", "no memory on rank 9"};
    tli_fail(TULLE_ERR_ARG, 0, "here:1", "mine");
    tli_fault_set(&remote);
    assert_memory_equal(tulle_last_error()->text, remote.text, sizeof remote.text);
    assert_int_equal(tulle_last_error()->status, TULLE_ERR_NOMEM);
    assert_int_equal(tulle_last_error()->rank, 9);
    assert_int_equal(tulle_last_error()->native, 12);
    assert_string_equal(tulle_last_error()->where, "there:3");
    tli_fault_set(tulle_last_error());
    assert_string_equal(tulle_last_error()->text, "no memory on rank 9");
}

/* What a new thread finds, and what it leaves. */
typedef struct visit {
    tulle_error_t before, after;
    const tulle_error_t *address;
} visit_t;

static void *fail_in_thread(void *argument)
{
    visit_t *visit = argument;
    visit->address = tulle_last_error();
    visit->before = *tulle_last_error();
    tli_fault_set_rank(77);
    tli_fail(TULLE_ERR_TIMEOUT, 0, "thread:1", "in a thread");
    visit->after = *tulle_last_error();
    return NULL;
}

static void test_last_error_belongs_to_its_thread(void **state)
{
    visit_t visit;
    pthread_t thread;
    tli_fail(TULLE_ERR_STATE, 0, "here:1", "mine");
    assert_int_equal(pthread_create(&thread, NULL, fail_in_thread, &visit), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_ptr_not_equal(visit.address, tulle_last_error());
    assert_int_equal(visit.before.status, TULLE_OK);
    assert_int_equal(visit.before.rank, -1);
    assert_string_equal(visit.before.text, "");
    assert_string_equal(visit.before.where, "");
    assert_int_equal(visit.after.status, TULLE_ERR_TIMEOUT);
    assert_int_equal(visit.after.rank, 77);
    assert_int_equal(tulle_last_error()->status, TULLE_ERR_STATE);
    assert_string_equal(tulle_last_error()->text, "mine");
    tli_fail(TULLE_ERR_STATE, 0, "here:2", "mine again");
    assert_int_equal(tulle_last_error()->rank, -1);
}

static tulle_status_t leave_by(int way)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(way != 0, TULLE_ERR_ARG, "way is %d", way);
    TLI_TRY(way == 1 ? tli_fail(TULLE_ERR_FILE, 0, "inner:1", "first") : TULLE_OK);
    if (way == 2)
        TLI_FAIL(TULLE_ERR_MISMATCH, "way %d", way);
    st = TULLE_IN_PROGRESS;
done:
    return st;
}

static void test_macros_first_failure_is_recorded_where_it_was_seen(void **state)
{
    assert_int_equal(leave_by(0), TULLE_ERR_ARG);
    assert_string_equal(tulle_last_error()->text, "way is 0");
    assert_non_null(strstr(tulle_last_error()->where, "test_status.c:"));
    assert_int_equal(leave_by(1), TULLE_ERR_FILE);
    assert_string_equal(tulle_last_error()->where, "inner:1");
    assert_int_equal(leave_by(2), TULLE_ERR_MISMATCH);
    assert_string_equal(tulle_last_error()->text, "way 2");
    assert_int_equal(leave_by(3), TULLE_IN_PROGRESS);
    assert_string_equal(tulle_last_error()->text, "way 2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status_values_names_and_texts_are_frozen),
        cmocka_unit_test(test_status_unknown_value_has_a_name_and_a_text),
        cmocka_unit_test(test_version_is_that_of_the_header),
        cmocka_unit_test(test_fail_records_everything),
        cmocka_unit_test(test_fail_without_communicator_has_no_rank),
        cmocka_unit_test(test_fail_long_text_is_cut),
        cmocka_unit_test(test_fail_text_may_quote_the_last_error),
        cmocka_unit_test(test_fault_set_replaces_the_last_error),
        cmocka_unit_test(test_last_error_belongs_to_its_thread),
        cmocka_unit_test(test_macros_first_failure_is_recorded_where_it_was_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
