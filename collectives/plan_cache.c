/* SPDX-License-Identifier: Apache-2.0
 * A table of few plans, alike on all ranks: plans enter and leave it in collective calls only. A rank may find its part
 * of a pattern in several plans; the plan is the one that all ranks find. */
#include "collectives/plan_cache.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "src/agree.h"

typedef struct entry {
    tli_plan_key_t key;
    tulle_plan_t *plan; /* NULL: free */
    int64_t last_use;
} entry_t;

struct tli_plan_cache {
    int64_t num_uses;
    entry_t entries[TLI_MOST_KEPT_PLANS];
};

_Static_assert(TLI_MOST_KEPT_PLANS <= 64, "a bit for each");

tli_plan_key_t tli_plan_key(const tulle_pattern_t *pattern, const tulle_plan_options_t *options)
{
    size_t bytes = (size_t)pattern->num_needed * sizeof(int64_t);
    int64_t rest[8] = {pattern->num_owned, pattern->num_needed, (int)options->strategy,       (int)options->ghost_order,
                       options->row_bytes, options->measure,    (int)options->wire_precision, options->wire_levels};
    XXH3_state_t state;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, rest, sizeof rest);
    XXH3_128bits_update(&state, pattern->owner_rank, bytes);
    XXH3_128bits_update(&state, pattern->owner_row, bytes);
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    return (tli_plan_key_t){{hash.low64, hash.high64}};
}

static uint64_t find_key(const struct tli_plan_cache *cache, tli_plan_key_t key)
{
    uint64_t found = 0;
    for (int i = 0; cache != NULL && i < TLI_MOST_KEPT_PLANS; i++) {
        const entry_t *entry = &cache->entries[i];
        int is_same = entry->key.words[0] == key.words[0] && entry->key.words[1] == key.words[1];
        found |= (uint64_t)(entry->plan != NULL && is_same) << i;
    }
    return found;
}

tulle_status_t tli_plan_cache_find(tulle_comm_t *comm, tli_plan_key_t key, tulle_plan_t **plan_out)
{
    tulle_status_t st = TULLE_OK;
    struct tli_plan_cache *cache = comm->plans;
    uint64_t found = find_key(cache, key);
    int i = 0;
    *plan_out = NULL;
    if (cache == NULL)
        goto done;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &found, 1, MPI_UINT64_T, MPI_BAND, comm->mpi));
    if (found == 0)
        goto done;
    while ((found >> i & 1) == 0)
        i++;
    cache->entries[i].last_use = ++cache->num_uses;
    *plan_out = tli_plan_retain(cache->entries[i].plan);
done:
    return st;
}

/* Called when the communicator goes. */
static void destroy_all(struct tli_plan_cache *cache)
{
    for (int i = 0; i < TLI_MOST_KEPT_PLANS; i++)
        if (cache->entries[i].plan != NULL)
            tli_plan_let_go(cache->entries[i].plan);
    tli_free(cache);
}

static entry_t *place_for_one_more(struct tli_plan_cache *cache, int most)
{
    entry_t *oldest = &cache->entries[0];
    for (int i = 0; i < most && oldest->plan != NULL; i++)
        if (cache->entries[i].plan == NULL || cache->entries[i].last_use < oldest->last_use)
            oldest = &cache->entries[i];
    return oldest;
}

void tli_plan_cache_keep(tulle_comm_t *comm, tli_plan_key_t key, tulle_plan_t *plan)
{
    struct tli_plan_cache *cache = comm->plans;
    if (cache == NULL)
        return;
    comm->destroy_plans = destroy_all;
    entry_t *entry = place_for_one_more(cache, comm->most_plans);
    if (entry->plan != NULL)
        tli_plan_let_go(entry->plan);
    *entry = (entry_t){key, plan, ++cache->num_uses};
    plan->num_kept++; /* a plan chosen by measuring was kept before, as one of its strategies */
}

tulle_status_t tli_plan_cache_open(tulle_comm_t *comm)
{
    return comm->most_plans > 0 && comm->plans == NULL ? tli_alloc(sizeof *comm->plans, &comm->plans) : TULLE_OK;
}
