/* SPDX-License-Identifier: Apache-2.0
 * What tests of exchanges on GPUs ask of a GPU beyond what the library does. Answered twice: by gpu_cuda.cu on a real
 * one, and by emulated_gpu/, which stands in for the CUDA files of src/device and runs streams as threads of the host.
 * So every such test runs everywhere, and once more where there is a GPU. */
#ifndef SPT_GPU_H
#define SPT_GPU_H

#include <stdint.h>

/** Whether there is one; without, the test exits with 77. */
int spt_gpu_is_there(void);
/** Whether it is a real one. */
int spt_gpu_is_real(void);

/** As if this rank were on another GPU of the machine: emulation only. @param[in] is_isolated it reaches no other */
void spt_gpu_move_to(int gpu, int is_isolated);

/** To NCCL, this rank is alone on its machine, unless the environment says otherwise: ranks may then share a GPU, and
 * their messages go through sockets, as between nodes. */
void spt_gpu_be_a_host(int rank);
/** From now on the emulation lets a flag be set that is set already: after a fault. */
void spt_gpu_forgive(void);

/* All of these end the test when CUDA fails. */

void *spt_gpu_stream(void);
void spt_gpu_stream_free(void *stream);
/** Put work on a stream that takes so long and does nothing. */
void spt_gpu_delay(void *stream, int64_t microseconds);
/** Whether work on the stream is not done. */
int spt_gpu_is_busy(void *stream);
void spt_gpu_copy(void *target, const void *source, int64_t bytes, void *stream);
void spt_gpu_synchronize(void *stream);

/** Record what is put on the stream, and on streams that follow it, instead of running it. */
void spt_gpu_begin_capture(void *stream);
/** @return the graph; NULL when the capture failed, for instance because a stream that followed was not joined again */
void *spt_gpu_end_capture(void *stream);
void spt_gpu_launch(void *graph, void *stream);
void spt_gpu_graph_free(void *graph);

#endif
