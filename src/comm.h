/* SPDX-License-Identifier: Apache-2.0
 * Inside of a communicator. Plans and exchanges hold a reference, so it lives as long as any of them. */
#ifndef TLI_COMM_H
#define TLI_COMM_H

#include <mpi.h>

#include <tulle/comm.h>
#include <tulle/mpi.h>

#include "src/agree.h"
#include "src/arena.h"
#include "src/meeting.h"
#include "src/pool.h"

struct tulle_comm {
    MPI_Comm mpi;    /* ours alone; errors are returned */
    MPI_Comm host;   /* ranks of this machine, whatever nodes were declared, in the order of mpi */
    MPI_Comm shared; /* ranks of my declared node that share memory with me; MPI_COMM_NULL when it is only me */
    int rank;
    int size;
    int num_shared;    /* [count] ranks of `shared`, 1 for only me */
    int *shared_ranks; /* [num_shared] their ranks in mpi, ascending: position = rank in `shared` */
    tli_pool_t pool;   /* memory that they can map */
    int64_t *heard;    /* [num_shared * TLI_MOST_TOLD] room for tli_comm_tell() */
    int is_emulated;
    int64_t timeout_ms;
    tulle_topology_t *topology;
    tulle_transport_t carriers[TULLE_TOPOLOGY_MAX_LEVELS]; /* by level: of messages where no memory is shared */
    int is_carrier_asked;                                  /* by an option or the environment, not found by a probe */
    struct tli_ucx *ucx;                                   /* src/transport/ucx_worker.h; NULL: not used so far */
    void (*close_ucx)(struct tulle_comm *);                /* set with it, as is */
    void (*progress_ucx)(const struct tulle_comm *);
    int round;    /* sparse exchanges so far: neighbouring rounds use different tags */
    int next_tag; /* first tag free for an exchange */
    int max_tag;
    int references;
    int num_kept;           /* references of abandoned exchanges: nobody else knows of them */
    int has_exchanges;      /* some were made */
    int has_parted;         /* all other references are gone */
    uint64_t rounds;        /* a fingerprint of all rounds started: alike on all ranks, unless some left one out */
    tli_meeting_t *meeting; /* of all ranks, in every call that runs what exists */
    tli_parting_t *parting;
    int num_faults;                                 /* exchanges that failed, or were destroyed, while they ran */
    struct tulle_exchange *in_flight;               /* started and not yet waited for: waiting for one advances all */
    int most_plans;                                 /* that are kept, 0: none */
    struct tli_plan_cache *plans;                   /* collectives/plan_cache.h */
    void (*destroy_plans)(struct tli_plan_cache *); /* set with the first one kept */
    struct tli_carrier_figures *carrier_figures;    /* transport/carrier_choice.h: NULL until measured */
    struct tli_nccl *nccl;                          /* transport/nccl.h: made with the first exchange that needs it */
    tli_arena_t arena;
};

/** [ms] How long ranks wait for each other's last word once something failed. */
#define TLI_LINGER_MS 500

/** Tag of messages between nodes in meetings, beside those of sparse exchanges. */
#define TLI_MEETING_TAG 2

/** Most plans that a communicator can be asked to keep. */
#define TLI_MOST_KEPT_PLANS 64

/** One more user of the communicator; matched by tulle_comm_destroy() on the returned handle. */
tulle_comm_t *tli_comm_retain(tulle_comm_t *comm);

/** Position of a rank in an ascending list; -1 when it is not there. */
int tli_find_rank(const int *ranks, int num_ranks, int rank);

/** Rank of a peer in `shared`; -1 when it does not share memory with me. */
int tli_comm_shared_rank(const tulle_comm_t *comm, int peer);

/** Level that a message to a peer crosses, and its name. */
int tli_comm_level(const tulle_comm_t *comm, int peer);
const char *tli_comm_level_name(const tulle_comm_t *comm, int peer);

/** Most words for tli_comm_tell(). */
#define TLI_MOST_TOLD 8

/**
 * Tell all ranks that share memory with me some words, and hear theirs: comm->heard[shared rank * num_words]. What was
 * written to shared memory before is seen by all afterwards.
 * @collective ranks of comm->shared, whatever their status; of which there are several
 */
tulle_status_t tli_comm_tell(tulle_comm_t *comm, const int64_t *words, int num_words);

/**
 * Let messages of MPI and UCX move. MPI brings messages and answers on their way in calls alone, and not in all of
 * them: those that test requests do it when some are active, and a probe when it finds nothing. A rank that waits for
 * something else may have none, but a peer may need its answer. So this probes for a message to itself, which nobody
 * sends.
 */
tulle_status_t tli_comm_let_move(const tulle_comm_t *comm);

/** As tli_agree_on(), by a meeting and so cheaper, and within the communicator's time limit; a rank that does not come
 * by then is a fault.
 * @retval TULLE_ERR_TIMEOUT now, and from every later call
 * @collective all ranks, whatever their status */
tulle_status_t tli_comm_agree_on(tulle_comm_t *comm, tulle_status_t local, int64_t value, const char *what);

/** Wait for all ranks, where there is a time limit: those that come will take part in what follows. Otherwise nothing.
 * @collective all ranks, whatever their status */
tulle_status_t tli_comm_meet(tulle_comm_t *comm);

/** Reserve a block of message tags; every rank must ask for the same number in the same order. */
int tli_comm_take_tags(tulle_comm_t *comm, int num_tags);

/** Note that a round of an exchange is started, which all ranks should do. @param[in] first_tag of the exchange */
void tli_comm_note_round(tulle_comm_t *comm, int first_tag);

#endif
