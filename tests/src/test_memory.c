/* SPDX-License-Identifier: Apache-2.0
 * Memory in every space: aligned, recognised, given back; where there is no GPU, refused with the reason. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "src/arena.h"
#include "src/device/device.h"
#include "tests/support/world.h"

static const tulle_space_t spaces[] = {
#define SPACE_ENTRY(name, value, text) TULLE_SPACE_##name,
    TULLE_SPACE_MAP(SPACE_ENTRY)
#undef SPACE_ENTRY
};
#define NUM_SPACES ((int)(sizeof spaces / sizeof *spaces))

static void test_alloc_host_is_aligned_and_given_back(void **state)
{
    static const size_t sizes[] = {0, 1, 63, 64, 65, 1000000};
    int64_t live = tli_alloc_live();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *memory = NULL;
        tulle_space_t space = TULLE_SPACE_DEVICE;
        assert_int_equal(tulle_alloc(TULLE_SPACE_HOST, sizes[i], &memory), TULLE_OK);
        assert_true(memory != NULL && (uintptr_t)memory % 64 == 0);
        memset(memory, 1, sizes[i]);
        assert_int_equal(tulle_space_of(memory, &space), TULLE_OK);
        assert_int_equal(space, TULLE_SPACE_HOST);
        tulle_free(&memory);
        assert_null(memory);
    }
    assert_int_equal(tli_alloc_live(), live);
}

static void test_alloc_other_spaces_are_recognised_or_refused_with_reason(void **state)
{
    for (int i = 0; i < NUM_SPACES; i++) {
        void *memory = NULL;
        tulle_space_t space = TULLE_SPACE_HOST;
        tulle_status_t st = tulle_alloc(spaces[i], 1000, &memory);
        if (st == TULLE_OK) {
            assert_int_equal(tulle_space_of((char *)memory + 999, &space), TULLE_OK);
            assert_int_equal(space, spaces[i]);
            assert_true(spaces[i] == TULLE_SPACE_HOST || (uintptr_t)memory % 256 == 0);
            if (spaces[i] != TULLE_SPACE_DEVICE)
                memset(memory, 1, 1000);
            tulle_free(&memory);
        } else {
            print_message("%s: %s\n", tulle_space_name(spaces[i]), tulle_last_error()->text);
            assert_int_equal(st, TULLE_ERR_UNSUPPORTED);
            assert_true(spaces[i] != TULLE_SPACE_HOST);
            assert_non_null(strstr(tulle_last_error()->text, "CUDA"));
        }
        assert_null(memory);
    }
}

static void test_alloc_wrong_arguments_are_named(void **state)
{
    void *memory = NULL;
    assert_int_equal(tulle_alloc(TULLE_SPACE_HOST, 1, NULL), TULLE_ERR_ARG);
    assert_int_equal(tulle_alloc((tulle_space_t)4, 1, &memory), TULLE_ERR_ARG);
    assert_non_null(strstr(tulle_last_error()->text, "4"));
    assert_int_equal(tulle_alloc((tulle_space_t)-1, 1, &memory), TULLE_ERR_ARG);
    for (int i = 0; i < NUM_SPACES; i++)
        assert_int_equal(tulle_alloc(spaces[i], SIZE_MAX, &memory), TULLE_ERR_OVERFLOW);
    assert_null(memory);
}

static void test_alloc_without_memory_fails_and_leaves_nothing(void **state)
{
    void *memory = NULL;
    int64_t live = tli_alloc_live();
    tli_alloc_fail_at(1);
    assert_int_equal(tulle_alloc(TULLE_SPACE_HOST, 100, &memory), TULLE_ERR_NOMEM);
    tli_alloc_fail_at(0);
    assert_null(memory);
    assert_int_equal(tli_alloc_live(), live);
}

static void test_space_of_foreign_memory_is_host(void **state)
{
    int on_stack = 0;
    void *heap = malloc(8);
    const void *pointers[] = {NULL, &on_stack, heap, spaces};
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        tulle_space_t space = TULLE_SPACE_DEVICE;
        assert_int_equal(tulle_space_of(pointers[i], &space), TULLE_OK);
        assert_int_equal(space, TULLE_SPACE_HOST);
    }
    assert_int_equal(tulle_space_of(heap, NULL), TULLE_ERR_ARG);
    free(heap);
}

/* The linker sends the library's calls of dlopen() here (--wrap). */
static int num_searches;
void *__real_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags);

void *__wrap_dlopen(const char *name, int flags)
{
    num_searches++;
    return __real_dlopen(name, flags);
}

static int num_searches_of(const void *pointer)
{
    tulle_space_t space = TULLE_SPACE_DEVICE;
    num_searches = 0;
    assert_int_equal(tulle_space_of(pointer, &space), TULLE_OK);
    assert_int_equal(space, TULLE_SPACE_HOST);
    return num_searches;
}

/* Products ask for the space of their rows each time. */
static void test_space_of_searches_the_driver_only_where_libraries_were_loaded(void **state)
{
    int on_stack = 0;
    if (__real_dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD) != NULL)
        skip();
    num_searches_of(&on_stack);
    assert_int_equal(num_searches_of(&on_stack), 0);
    if (__real_dlopen("libBrokenLocale.so.1", RTLD_LAZY) == NULL)
        skip();
    assert_int_equal(num_searches_of(&on_stack), tli_device_is_built());
    assert_int_equal(num_searches_of(&on_stack), 0);
}

static void test_free_of_nothing_is_fine(void **state)
{
    void *memory = NULL;
    tulle_free(NULL);
    tulle_free(&memory);
}

static void test_space_name_of_every_value(void **state)
{
    assert_string_equal(tulle_space_name(TULLE_SPACE_HOST), "host");
    assert_string_equal(tulle_space_name(TULLE_SPACE_PINNED), "pinned");
    assert_string_equal(tulle_space_name(TULLE_SPACE_DEVICE), "device");
    assert_string_equal(tulle_space_name(TULLE_SPACE_MANAGED), "managed");
    assert_string_equal(tulle_space_name((tulle_space_t)4), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_host_is_aligned_and_given_back),
        cmocka_unit_test(test_alloc_other_spaces_are_recognised_or_refused_with_reason),
        cmocka_unit_test(test_alloc_wrong_arguments_are_named),
        cmocka_unit_test(test_alloc_without_memory_fails_and_leaves_nothing),
        cmocka_unit_test(test_space_of_foreign_memory_is_host),
        cmocka_unit_test(test_space_of_searches_the_driver_only_where_libraries_were_loaded),
        cmocka_unit_test(test_free_of_nothing_is_fine),
        cmocka_unit_test(test_space_name_of_every_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
