/* SPDX-License-Identifier: Apache-2.0
 * Exchanges on GPUs against the naive one. */
#include "tests/support/gpu_trial.h"

static int64_t scalars(int64_t num_rows, int64_t stride, const tulle_field_t *field)
{
    return num_rows * (stride > 0 ? stride : field->width);
}

spt_gpu_trial_t spt_gpu_trial(spt_trial_t *trial, tulle_space_t owned, tulle_space_t ghost)
{
    spt_gpu_trial_t t = {.trial = trial};
    tulle_status_t st = TULLE_OK;
    for (int f = 0; f < trial->num_fields && st == TULLE_OK; f++) {
        const tulle_field_t *field = &trial->fields[f];
        int64_t scalar = (int64_t)spt_scalar_bytes(field->datatype);
        t.fields[f] = *field;
        t.owned_bytes[f] = scalars(trial->pattern->num_owned, field->owned_stride, field) * scalar;
        t.ghost_bytes[f] = scalars(trial->num_ghosts, field->ghost_stride, field) * scalar;
        t.fields[f].owned = t.fields[f].ghost = NULL;
        st = tulle_alloc(owned, (size_t)t.owned_bytes[f], &t.fields[f].owned);
        if (st == TULLE_OK)
            st = tulle_alloc(ghost, (size_t)t.ghost_bytes[f], &t.fields[f].ghost);
    }
    spt_assert_ok_all(st);
    return t;
}

void spt_gpu_trial_free(spt_gpu_trial_t *t)
{
    for (int f = 0; f < t->trial->num_fields; f++) {
        tulle_free(&t->fields[f].owned);
        tulle_free(&t->fields[f].ghost);
    }
}

tulle_exchange_t *spt_gpu_trial_bind(const spt_gpu_trial_t *t, const tulle_plan_t *plan, tulle_transport_t transport)
{
    tulle_exchange_options_t options = TULLE_EXCHANGE_OPTIONS_INIT;
    tulle_exchange_t *exchange = NULL;
    options.op = t->trial->op;
    options.transport = transport;
    spt_assert_ok_all(
        tulle_exchange_create(plan, t->trial->direction, t->fields, t->trial->num_fields, &options, &exchange));
    return exchange;
}

void spt_gpu_trial_upload(const spt_gpu_trial_t *t, void *stream)
{
    for (int f = 0; f < t->trial->num_fields; f++) {
        spt_gpu_copy(t->fields[f].owned, t->trial->fields[f].owned, t->owned_bytes[f], stream);
        spt_gpu_copy(t->fields[f].ghost, t->trial->fields[f].ghost, t->ghost_bytes[f], stream);
    }
}

void spt_gpu_trial_download(const spt_gpu_trial_t *t, void *stream)
{
    for (int f = 0; f < t->trial->num_fields; f++) {
        spt_gpu_copy(t->trial->fields[f].owned, t->fields[f].owned, t->owned_bytes[f], stream);
        spt_gpu_copy(t->trial->fields[f].ghost, t->fields[f].ghost, t->ghost_bytes[f], stream);
    }
}

void spt_gpu_trial_run(const spt_gpu_trial_t *t, tulle_exchange_t *exchange, void *stream, spt_random_t *random)
{
    spt_trial_fill(t->trial, random);
    spt_gpu_trial_upload(t, stream);
    tulle_status_t st = tulle_exchange_start(exchange, stream);
    if (st == TULLE_OK)
        st = tulle_exchange_wait(exchange);
    if (st == TULLE_OK)
        spt_gpu_trial_download(t, stream);
    spt_gpu_synchronize(stream);
    spt_assert_ok_all(st);
    spt_assert_all(spt_trial_is_right(t->trial));
}
