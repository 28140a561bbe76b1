/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/gpu_main.h"

#include <stdio.h>

int spt_gpu_run(int *argc, char ***argv, const char *name, const struct CMUnitTest *tests, size_t num_tests,
                void **stream)
{
    if (!spt_gpu_is_there()) {
        puts("no GPU here: skipped");
        return 77;
    }
    spt_init(argc, argv);
    spt_gpu_be_a_host(spt_rank());
    if (stream != NULL)
        *stream = spt_gpu_stream();
    int failures = _cmocka_run_group_tests(name, tests, num_tests, NULL, NULL);
    if (stream != NULL)
        spt_gpu_stream_free(*stream);
    return spt_finish(failures);
}
