/* SPDX-License-Identifier: Apache-2.0
 * A trial whose buffers are in other memory than the host's: values are made and checked in the host's buffers, and
 * copied there and back on a stream. */
#ifndef SPT_GPU_TRIAL_H
#define SPT_GPU_TRIAL_H

#include "tests/support/gpu.h"
#include "tests/support/trial.h"

typedef struct spt_gpu_trial {
    spt_trial_t *trial;
    tulle_field_t fields[SPT_MAX_FIELDS];
    int64_t owned_bytes[SPT_MAX_FIELDS], ghost_bytes[SPT_MAX_FIELDS];
} spt_gpu_trial_t;

/** Buffers for every field of the trial. Collective. */
spt_gpu_trial_t spt_gpu_trial(spt_trial_t *trial, tulle_space_t owned, tulle_space_t ghost);
void spt_gpu_trial_free(spt_gpu_trial_t *trial);
tulle_exchange_t *spt_gpu_trial_bind(const spt_gpu_trial_t *trial, const tulle_plan_t *plan,
                                     tulle_transport_t transport);
/** Put the copies on the stream. */
void spt_gpu_trial_upload(const spt_gpu_trial_t *trial, void *stream);
void spt_gpu_trial_download(const spt_gpu_trial_t *trial, void *stream);

/** New values, upload, start, wait, download; then the host waits and checks. Collective. */
void spt_gpu_trial_run(const spt_gpu_trial_t *trial, tulle_exchange_t *exchange, void *stream, spt_random_t *random);

#endif
