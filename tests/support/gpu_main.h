/* SPDX-License-Identifier: Apache-2.0
 * The frame of main of tests on a GPU, emulated or real. */
#ifndef SPT_GPU_MAIN_H
#define SPT_GPU_MAIN_H

#include "tests/support/gpu.h"
#include "tests/support/world.h"

/**
 * spt_init(), the tests, spt_finish(); each rank is a machine to NCCL.
 * @param[out] stream for the time of the tests; NULL: they need none that lives so long
 * @return exit code; 77 where there is no GPU
 */
#define spt_gpu_main(argc, argv, name, tests, stream)                                                                  \
    spt_gpu_run(&(argc), &(argv), (name), (tests), sizeof(tests) / sizeof((tests)[0]), (stream))

int spt_gpu_run(int *argc, char ***argv, const char *name, const struct CMUnitTest *tests, size_t num_tests,
                void **stream);

#endif
