/* SPDX-License-Identifier: Apache-2.0
 * All nodes of a virtual job routed in one process: what the first ranks of the nodes decide and tell each other. */
#ifndef TEST_COLLECTIVES_VIRTUAL_WORLD_H
#define TEST_COLLECTIVES_VIRTUAL_WORLD_H

#include "virtual_job.h"

/** A message, wherever it is received. */
typedef struct virtual_message {
    int64_t receiver, sender;
    int64_t num_rows;
    const int64_t *rows; /* [num_rows * 2] owner's rank, row there */
} virtual_message_t;

typedef struct virtual_world {
    const virtual_job_t *job;
    tulle_strategy_t strategy;
    int num_nodes;
    tli_arena_t *arenas;      /* [num_nodes] as if each were a process */
    tli_node_route_t *routes; /* [num_nodes] finished */
    int64_t num_messages;
    virtual_message_t *messages; /* of all nodes, node by node */
} virtual_world_t;

/** Test-side state in the failure message: which job and strategy. */
#define virtual_require(world, condition)                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            virtual_fail((world), #condition, __FILE__, __LINE__);                                                     \
    } while (0)
void virtual_fail(const virtual_world_t *world, const char *what, const char *file, int line);

/**
 * Route a job.
 * @param[in]  job    borrowed until release
 * @param[in]  seed   order in which needs and transit reach the library
 * @param[out] world  release it also after a failure
 * @return the first failure of the library
 */
tulle_status_t virtual_world_route(const virtual_job_t *job, tulle_strategy_t strategy, int64_t row_bytes,
                                   uint64_t seed, virtual_world_t *world);

/** The same, and it must succeed. Row size by the job, from 4 bytes to 64 KiB. */
virtual_world_t virtual_world_routed(const virtual_job_t *job, tulle_strategy_t strategy);
void virtual_world_release(virtual_world_t *world);

int virtual_is_between_nodes(const virtual_world_t *world, const virtual_message_t *message);

/** Rows that cross each level. @param[out] volume [num_levels] */
void virtual_world_volume(const virtual_world_t *world, int64_t *volume);

/** Rows that each rank receives from other nodes. @param[out] load [num_ranks] */
void virtual_world_ports(const virtual_world_t *world, int64_t *load);

#endif
