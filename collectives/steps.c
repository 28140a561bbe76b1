/* SPDX-License-Identifier: Apache-2.0
 * The steps of an exchange: what both directions share is made here, then steps_gather.c or steps_scatter.c fills it.
 */
#include "collectives/steps_build.h"

#include "src/transport/transport.h"
#include "topology/model.h"

/* Messages between the same two ranks over a transport that needs tags are numbered in the plan's order, which both
 * ends know. */
static void number_ends(tli_end_t *ends, int64_t n, int *num_tags)
{
    for (int64_t i = 0; i < n; i++) {
        int is_first = i == 0 || ends[i].peer != ends[i - 1].peer;
        ends[i].tag = is_first ? 0 : ends[i - 1].tag + 1;
        *num_tags = ends[i].tag >= *num_tags ? ends[i].tag + 1 : *num_tags;
    }
}

static tulle_status_t choose_host_way(const tli_steps_builder_t *b, tli_end_t *end)
{
    tulle_status_t st = TULLE_OK;
    const tulle_comm_t *comm = b->plan->comm;
    int t = tli_transport_for(comm, b->options.transport, (int)end->peer);
    TLI_REQUIRE(tli_transport_is_built(b->options.transport), TULLE_ERR_UNSUPPORTED,
                "transport %s is not in this build of Tulle", tulle_transport_name(b->options.transport));
    TLI_REQUIRE(t < tli_num_transports, TULLE_ERR_UNSUPPORTED, "transport %s does not lead from rank %d to rank %d",
                tulle_transport_name(b->options.transport), comm->rank, (int)end->peer);
    end->transport = t;
    end->way = tli_transports[t]->reads_remotely ? TLI_WAY_READ : TLI_WAY_SENT;
done:
    return st;
}

/* Both ends find the same. What is read in shared memory travels over no wire. */
static tulle_wire_precision_t choose_precision(const tli_steps_builder_t *b, const tli_end_t *end)
{
    const tulle_comm_t *comm = b->plan->comm;
    int is_chosen = tli_topology_crossing(comm->topology, comm->rank, (int)end->peer) < b->options.wire_levels;
    return is_chosen && end->way != TLI_WAY_READ ? b->options.wire_precision : TULLE_WIRE_PRECISION_NONE;
}

static tulle_status_t choose_gpu_way(const tli_steps_builder_t *b, tli_end_t *end)
{
    static const tli_way_t ways[] = {
        [TLI_REACH_NONE] = TLI_WAY_CARRIED, [TLI_REACH_PINNED] = TLI_WAY_STAGED, [TLI_REACH_DEVICE] = TLI_WAY_STORED};
    tulle_status_t st = TULLE_OK;
    tli_reach_t reach = tli_gpu_peers_reach(b->options.gpus, (int)end->peer);
    tulle_transport_t only = b->options.transport;
    TLI_REQUIRE(reach != TLI_REACH_NONE || (only != TULLE_TRANSPORT_CUDA_IPC && only != TULLE_TRANSPORT_CUDA_STAGED),
                TULLE_ERR_UNSUPPORTED, "transport %s does not lead from rank %d to rank %d on another machine",
                tulle_transport_name(only), b->plan->comm->rank, (int)end->peer);
    TLI_REQUIRE(reach != TLI_REACH_PINNED || only != TULLE_TRANSPORT_CUDA_IPC, TULLE_ERR_UNSUPPORTED,
                "transport cuda_ipc does not lead from rank %d to rank %d: their GPUs do not reach each other's memory",
                b->plan->comm->rank, (int)end->peer);
    end->way = ways[reach];
done:
    return st;
}

static tulle_status_t make_ends(tli_steps_builder_t *b, int64_t n, const int64_t *peer, const int64_t *ptr,
                                tli_end_t **ends_out)
{
    tulle_status_t st = TULLE_OK;
    tli_end_t *ends = NULL;
    TLI_TRY(tli_arena_alloc(b->arena, n, sizeof *ends, &ends));
    for (int64_t i = 0; i < n; i++) {
        ends[i].peer = peer[i];
        ends[i].area = -1;
        ends[i].num_rows = ptr[i + 1] - ptr[i];
        TLI_TRY(b->options.gpus != NULL ? choose_gpu_way(b, &ends[i]) : choose_host_way(b, &ends[i]));
        ends[i].precision = choose_precision(b, &ends[i]);
    }
    number_ends(ends, n, &b->steps.num_tags);
    *ends_out = ends;
done:
    return st;
}

/* Most areas, tasks, operations that either direction can need. */
static tulle_status_t alloc_lists(tli_steps_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = b->plan;
    int64_t num_messages = plan->num_in + plan->num_out;
    TLI_TRY(tli_arena_alloc(b->arena, 3 + 2 * num_messages, sizeof *b->steps.areas, &b->steps.areas));
    TLI_TRY(tli_arena_alloc(b->arena, 3 + 2 * num_messages, sizeof *b->steps.tasks, &b->steps.tasks));
    TLI_TRY(tli_arena_alloc(b->arena, 3 + 3 * num_messages + b->num_feeds, sizeof *b->steps.operations,
                            &b->steps.operations));
    TLI_TRY(tli_arena_alloc(b->arena, num_messages, sizeof(int64_t), &b->steps.sends));
    TLI_TRY(tli_arena_alloc(b->arena, num_messages + b->num_feeds, sizeof(int64_t), &b->steps.releases));
    b->steps.num_areas = TLI_FIRST_STAGING;
    b->steps.areas[TLI_AREA_OWNED] = (tli_area_t){TLI_AREA_USER, plan->num_owned, -1, TULLE_WIRE_PRECISION_NONE};
    b->steps.areas[TLI_AREA_GHOST] =
        (tli_area_t){TLI_AREA_USER, tulle_plan_num_ghosts(plan), -1, TULLE_WIRE_PRECISION_NONE};
done:
    return st;
}

/* The same pairs by in, then by out. */
static tulle_status_t list_uses(tli_steps_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = b->plan;
    TLI_TRY(tli_arena_alloc(&b->scratch, plan->num_in + 2, sizeof *b->use_ptr, &b->use_ptr));
    TLI_TRY(tli_arena_alloc_raw(&b->scratch, b->num_feeds, sizeof *b->uses, &b->uses));
    for (int64_t f = 0; f < b->num_feeds; f++)
        b->use_ptr[b->feeds[f] + 2]++;
    for (int64_t k = 0; k < plan->num_in; k++)
        b->use_ptr[k + 2] += b->use_ptr[k + 1];
    for (int64_t m = 0; m < plan->num_out; m++)
        for (int64_t f = b->feed_ptr[m]; f < b->feed_ptr[m + 1]; f++)
            b->uses[b->use_ptr[b->feeds[f] + 1]++] = m;
done:
    return st;
}

/* Which incoming message feeds which outgoing ones. A feed is a pair (in, out); they are listed by out, then by in. */
static tulle_status_t list_feeds(tli_steps_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    const tulle_plan_t *plan = b->plan;
    int64_t *stamp = NULL;
    TLI_TRY(tli_arena_alloc(&b->scratch, plan->num_in, sizeof *stamp, &stamp));
    TLI_TRY(tli_arena_alloc_raw(&b->scratch, tli_plan_num_slots(plan), sizeof *b->in_of_slot, &b->in_of_slot));
    TLI_TRY(tli_arena_alloc(&b->scratch, plan->num_out + 1, sizeof *b->feed_ptr, &b->feed_ptr));
    TLI_TRY(tli_arena_alloc_raw(&b->scratch, plan->out_ptr[plan->num_out], sizeof *b->feeds, &b->feeds));
    TLI_TRY(tli_arena_alloc(&b->scratch, plan->num_out, sizeof *b->has_owned, &b->has_owned));
    for (int64_t k = 0; k < plan->num_in; k++)
        for (int64_t slot = plan->in_ptr[k]; slot < plan->in_ptr[k + 1]; slot++)
            b->in_of_slot[slot] = k;
    for (int64_t m = 0; m < plan->num_out; m++) {
        for (int64_t i = plan->out_ptr[m]; i < plan->out_ptr[m + 1]; i++) {
            int64_t source = plan->out_source[i];
            int64_t k = TLI_IS_OWNED(source) ? -1 : b->in_of_slot[TLI_SLOT_OF(source)];
            b->has_owned[m] |= k < 0;
            if (k >= 0 && stamp[k] != m + 1) {
                stamp[k] = m + 1;
                b->feeds[b->num_feeds++] = k;
            }
        }
        b->feed_ptr[m + 1] = b->num_feeds;
    }
    TLI_TRY(list_uses(b));
done:
    return st;
}

tulle_status_t tli_steps_build(const tulle_plan_t *plan, tulle_direction_t direction,
                               const tli_steps_options_t *options, tli_arena_t *arena, tli_steps_t *steps_out)
{
    tulle_status_t st = TULLE_OK;
    tli_steps_builder_t b = {.plan = plan, .arena = arena, .options = *options};
    int is_gather = direction == TULLE_GATHER;
    tli_end_t *in = NULL, *out = NULL;
    TLI_TRY(list_feeds(&b));
    TLI_TRY(alloc_lists(&b));
    TLI_TRY(tli_plan_slot_positions(plan, &b.scratch, &b.slot_position, NULL));
    TLI_TRY(make_ends(&b, plan->num_in, plan->in_peer, plan->in_ptr, &in));
    TLI_TRY(make_ends(&b, plan->num_out, plan->out_peer, plan->out_ptr, &out));
    b.steps.num_sends = is_gather ? plan->num_out : plan->num_in;
    b.steps.num_receives = is_gather ? plan->num_in : plan->num_out;
    b.steps.send_ends = is_gather ? out : in;
    b.steps.receive_ends = is_gather ? in : out;
    TLI_TRY(is_gather ? tli_steps_gather(&b) : tli_steps_scatter(&b));
    *steps_out = b.steps;
done:
    tli_arena_release(&b.scratch);
    return st;
}
