/* SPDX-License-Identifier: Apache-2.0
 * What every transport must do, as one suite. A way says over which transport rows go, and by whom they are moved: the
 * host (test_conformance.c) or GPUs (test_device_conformance.c). */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include "tests/support/trial.h"

struct way;

/** One exchange on trial, bound to buffers that its mover made. */
typedef struct flight {
    const struct way *way;
    spt_trial_t trial;
    tulle_exchange_t *exchange;
    void *moved; /* the mover's */
} flight_t;

/** Who moves rows. Collective. */
typedef struct mover {
    void (*bind)(flight_t *flight, const tulle_plan_t *plan);
    tulle_status_t (*start)(flight_t *flight);  /* with the values that are in the trial's buffers */
    tulle_status_t (*finish)(flight_t *flight); /* then the results are there */
    void (*release)(flight_t *flight);
} mover_t;

typedef struct way {
    const mover_t *mover;
    const char *topology;
    int disable_shared_memory;
    tulle_transport_t carrier;   /* of the communicator */
    tulle_transport_t transport; /* of the exchange */
    size_t chunk_bytes;          /* of the exchange */
    tulle_transport_t only;      /* what all messages must take; AUTO: a mixture */
} way_t;

/** Run everything over a way. */
void conformance_run(const way_t *way);

#endif
