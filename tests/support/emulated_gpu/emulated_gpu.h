/* SPDX-License-Identifier: Apache-2.0
 * Inside of the emulated GPU: memory.c keeps what its kernels may touch, kernels.c runs them, stream.c keeps their
 * order. Whatever a real GPU would refuse or crash on ends the test here. */
#ifndef EMULATED_GPU_H
#define EMULATED_GPU_H

#include <stddef.h>
#include <stdint.h>

/** Say what is wrong and end the process. */
_Noreturn void emulated_gpu_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Whether kernels can read and write here. */
int emulated_gpu_reaches(const void *address);

/** Run one thing on the calling thread, which stands for the device. */
typedef void (*emulated_work_t)(const void *args);
/** Put work on a stream; args are copied. */
void emulated_gpu_enqueue(void *stream, emulated_work_t work, const void *args, size_t bytes);

#endif
