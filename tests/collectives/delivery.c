/* SPDX-License-Identifier: Apache-2.0
 * Every row of every message is traced to where its sender has it from: its own rows, or another message. */
#include "delivery.h"

#include <stdlib.h>
#include <string.h>

#define OWNED (-1) /* as the number of a message: the sender owns the row */

/* A row that arrives at a rank. */
typedef struct arrival {
    int64_t row[3]; /* owner, row, rank where it arrives */
    int64_t message;
    int is_used; /* needed there, or passed on */
    int is_needed;
} arrival_t;

typedef struct delivery {
    const virtual_world_t *world;
    int64_t num_arrivals;
    arrival_t *arrivals; /* ascending by row */
    int64_t *first;      /* [num_messages] into source */
    int64_t *source;     /* [num_arrivals] message that brought the row to the sender, or OWNED */
} delivery_t;

static int compare_arrivals(const void *a, const void *b)
{
    return virtual_compare_needs(((const arrival_t *)a)->row, ((const arrival_t *)b)->row);
}

static arrival_t *find_arrival(const delivery_t *d, int64_t owner, int64_t row, int64_t rank)
{
    arrival_t wanted = {{owner, row, rank}, 0, 0, 0};
    return bsearch(&wanted, d->arrivals, (size_t)d->num_arrivals, sizeof wanted, compare_arrivals);
}

static void check_form(const virtual_world_t *world, const virtual_message_t *message)
{
    virtual_require(world, message->num_rows > 0);
    virtual_require(world, message->sender != message->receiver);
    for (int64_t i = 0; i < message->num_rows; i++) {
        const int64_t *row = message->rows + 2 * i;
        int is_ascending = i == 0 || row[0] > row[-2] || (row[0] == row[-2] && row[1] > row[-1]);
        virtual_require(world, is_ascending);
        virtual_require(world, row[0] != message->receiver);
    }
}

/* Each node lists its own, by receiver and sender; between nodes at most one per pair. */
static void check_order(const virtual_world_t *world)
{
    for (int node = 0; node < world->num_nodes; node++) {
        const tli_route_messages_t *m = &world->routes[node].messages;
        for (int64_t i = 0; i < m->num; i++) {
            virtual_require(world, tulle_topology_group(world->job->topology, 0, (int)m->receiver[i]) == node);
            if (i == 0)
                continue;
            int is_same_pair = m->receiver[i] == m->receiver[i - 1] && m->sender[i] == m->sender[i - 1];
            int is_inside = tulle_topology_group(world->job->topology, 0, (int)m->sender[i]) == node;
            virtual_require(world, m->receiver[i] >= m->receiver[i - 1]);
            virtual_require(world, m->receiver[i] > m->receiver[i - 1] || m->sender[i] >= m->sender[i - 1]);
            virtual_require(world, !is_same_pair || is_inside);
        }
    }
}

static void list_arrivals(delivery_t *d)
{
    const virtual_world_t *world = d->world;
    for (int64_t m = 0; m < world->num_messages; m++) {
        d->first[m] = d->num_arrivals;
        d->num_arrivals += world->messages[m].num_rows;
    }
    d->arrivals = virtual_alloc(d->num_arrivals, sizeof *d->arrivals);
    for (int64_t m = 0, at = 0; m < world->num_messages; m++)
        for (int64_t i = 0; i < world->messages[m].num_rows; i++) {
            const int64_t *row = world->messages[m].rows + 2 * i;
            d->arrivals[at++] = (arrival_t){{row[0], row[1], world->messages[m].receiver}, m, 0, 0};
        }
    qsort(d->arrivals, (size_t)d->num_arrivals, sizeof *d->arrivals, compare_arrivals);
    for (int64_t i = 1; i < d->num_arrivals; i++)
        virtual_require(world, compare_arrivals(&d->arrivals[i - 1], &d->arrivals[i]) != 0);
}

static void trace_sources(delivery_t *d)
{
    const virtual_world_t *world = d->world;
    d->source = virtual_alloc(d->num_arrivals, sizeof *d->source);
    for (int64_t m = 0; m < world->num_messages; m++) {
        const virtual_message_t *message = &world->messages[m];
        for (int64_t i = 0; i < message->num_rows; i++) {
            const int64_t *row = message->rows + 2 * i;
            arrival_t *from = find_arrival(d, row[0], row[1], message->sender);
            virtual_require(world, row[0] == message->sender || from != NULL);
            d->source[d->first[m] + i] = from == NULL ? OWNED : from->message;
            if (from != NULL)
                from->is_used = 1;
        }
    }
}

/* Inside a node a receiver reads from one place; two messages of one pair come from two places. */
static void check_places(const delivery_t *d)
{
    const virtual_world_t *world = d->world;
    for (int64_t m = 0; m < world->num_messages; m++) {
        const virtual_message_t *message = &world->messages[m];
        if (virtual_is_between_nodes(world, message))
            continue;
        for (int64_t i = 1; i < message->num_rows; i++)
            virtual_require(world, d->source[d->first[m] + i] == d->source[d->first[m]]);
        for (int64_t b = m - 1;
             b >= 0 && world->messages[b].receiver == message->receiver && world->messages[b].sender == message->sender;
             b--)
            virtual_require(world, d->source[d->first[b]] != d->source[d->first[m]]);
    }
}

static int is_ready(const delivery_t *d, int64_t m, const unsigned char *is_done)
{
    int64_t i = 0;
    while (i < d->world->messages[m].num_rows &&
           (d->source[d->first[m] + i] == OWNED || is_done[d->source[d->first[m] + i]]))
        i++;
    return i == d->world->messages[m].num_rows;
}

/* Send whatever can be sent, round after round. */
static void check_no_cycle(const delivery_t *d)
{
    int64_t num_done = 0, num_before = -1;
    unsigned char *is_done = virtual_alloc(d->world->num_messages, 1);
    while (num_done > num_before) {
        num_before = num_done;
        for (int64_t m = 0; m < d->world->num_messages; m++) {
            if (!is_done[m] && is_ready(d, m, is_done)) {
                is_done[m] = 1;
                num_done++;
            }
        }
    }
    free(is_done);
    virtual_require(d->world, num_done == d->world->num_messages);
}

static int64_t check_use(delivery_t *d)
{
    const tli_needs_t *needs = &d->world->job->needs;
    int64_t num_staged = 0;
    for (int64_t i = 0; i < needs->num; i++) {
        const int64_t *need = needs->words + 3 * i;
        arrival_t *arrival = find_arrival(d, need[0], need[1], need[2]);
        virtual_require(d->world, arrival != NULL);
        arrival->is_needed = arrival->is_used = 1;
    }
    for (int64_t i = 0; i < d->num_arrivals; i++) {
        virtual_require(d->world, d->arrivals[i].is_used);
        num_staged += !d->arrivals[i].is_needed;
    }
    return num_staged;
}

int64_t delivery_check(const virtual_world_t *world)
{
    delivery_t d = {world, 0, NULL, virtual_alloc(world->num_messages, sizeof(int64_t)), NULL};
    int64_t num_staged = 0;
    for (int64_t m = 0; m < world->num_messages; m++)
        check_form(world, &world->messages[m]);
    check_order(world);
    list_arrivals(&d);
    trace_sources(&d);
    check_places(&d);
    check_no_cycle(&d);
    num_staged = check_use(&d);
    free(d.source);
    free(d.arrivals);
    free(d.first);
    return num_staged;
}
