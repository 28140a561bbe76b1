/* SPDX-License-Identifier: Apache-2.0
 * Exchanges that were destroyed while messages were under way, to a rank that is late or gone. MPI cannot take back
 * what it was given to send, and may read it any time. So their memory is kept, and looked at whenever an exchange of
 * the same communicator comes or goes, until the messages have gone too; or until the process ends. The list is the
 * process's: nobody else knows of them any more. */
#include <pthread.h>

#include "collectives/exchange.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tulle_exchange_t *abandoned; /* by `after` */
static int64_t num_abandoned;

static tulle_status_t halt(const tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    for (int t = 0; t < tli_num_transports; t++) {
        tulle_status_t halted = x->channels[t] != NULL ? tli_transports[t]->halt(x->channels[t]) : TULLE_OK;
        st = st == TULLE_OK ? halted : st;
    }
    return st;
}

static void free_exchange(tulle_exchange_t *x)
{
    for (int t = 0; t < tli_num_transports; t++)
        tli_transports[t]->close(x->channels[t]);
    tli_arena_release(&x->arena);
    tli_free(x);
}

/* Those of one communicator: no other may be in use by this thread. Taken off the list first, because releasing may
 * destroy the communicator. */
static tulle_exchange_t *take_halted(const tulle_comm_t *comm)
{
    tulle_exchange_t *halted = NULL, **link = &abandoned;
    pthread_mutex_lock(&lock);
    while (*link != NULL) {
        tulle_exchange_t *x = *link;
        if (x->comm == comm && halt(x) == TULLE_OK) {
            *link = x->after;
            x->after = halted;
            halted = x;
            num_abandoned--;
        } else {
            link = &x->after;
        }
    }
    pthread_mutex_unlock(&lock);
    return halted;
}

void tli_exchange_sweep(const tulle_comm_t *comm)
{
    tulle_exchange_t *x = comm->num_faults > 0 ? take_halted(comm) : NULL;
    while (x != NULL) {
        tulle_exchange_t *next = x->after;
        tulle_comm_t *kept = x->comm;
        kept->num_kept--;
        free_exchange(x);
        tulle_comm_destroy(&kept);
        x = next;
    }
}

static void keep(tulle_exchange_t *x)
{
    x->comm = tli_comm_retain(x->plan->comm);
    x->comm->num_kept++;
    pthread_mutex_lock(&lock);
    x->after = abandoned;
    abandoned = x;
    num_abandoned++;
    pthread_mutex_unlock(&lock);
}

/* What was sent may be out of this rank's hands and still never be received: a fault also where nothing need be kept.
 */
void tli_exchange_release(tulle_exchange_t *x)
{
    tulle_plan_t *plan = x->is_cached ? NULL : x->plan;
    int is_over = x->phase == TLI_PHASE_IDLE || x->phase == TLI_PHASE_COMPLETE;
    x->plan->comm->num_faults += !is_over;
    if (is_over || halt(x) == TULLE_OK)
        free_exchange(x);
    else
        keep(x);
    tulle_plan_destroy(&plan);
}

int64_t tulle_exchange_num_abandoned(void)
{
    pthread_mutex_lock(&lock);
    int64_t num = num_abandoned;
    pthread_mutex_unlock(&lock);
    return num;
}
