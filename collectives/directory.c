/* SPDX-License-Identifier: Apache-2.0
 * The directory of owners: ids in [lo, hi) are split into equal blocks, block d is kept by rank d. */
#include "collectives/directory.h"

#include "src/agree.h"
#include "src/sort.h"
#include "src/sparse_exchange.h"

/* What the directory knows of a run: first, count, row, owner. */
#define ENTRY_WORDS 4

typedef struct directory {
    tulle_comm_t *comm;
    const tli_runs_t *runs;
    const char *what;
    int64_t lo, hi; /* all owned ids are in here; lo == hi: nobody owns anything */
    int64_t block;  /* ids per rank */
    tli_arena_t arena;
    tli_packets_t entries; /* received runs, by sender */
    int64_t num_entries;
    int64_t *by_first; /* [num_entries * ENTRY_WORDS] all received runs, ascending, disjoint */
    int64_t num_asked; /* ids that I must ask for, the rest are my own */
    int64_t *asked;    /* [num_asked] position in the caller's ids */
} directory_t;

static int keeper(const directory_t *d, int64_t id)
{
    return (int)((id - d->lo) / d->block);
}

/* The range that is owned at all: agreed by one reduction. */
static tulle_status_t find_range(directory_t *d, tulle_status_t local)
{
    tulle_status_t st = local;
    int64_t ends[2] = {INT64_MIN, INT64_MIN}; /* -lo, hi */
    if (local == TULLE_OK && d->runs->num > 0) {
        const int64_t *last = d->runs->words + 3 * (d->runs->num - 1);
        ends[0] = -d->runs->words[0];
        ends[1] = last[0] + last[1];
    }
    int code = MPI_Allreduce(MPI_IN_PLACE, ends, 2, MPI_INT64_T, MPI_MAX, d->comm->mpi);
    if (st == TULLE_OK && code != MPI_SUCCESS)
        st = tli_fail_mpi(code, TLI_WHERE, "MPI_Allreduce");
    d->lo = ends[1] == INT64_MIN ? 0 : -ends[0];
    d->hi = ends[1] == INT64_MIN ? 0 : ends[1];
    d->block = (d->hi - d->lo + d->comm->size - 1) / d->comm->size;
    return st;
}

/* My runs, cut where a block ends, each with the rank that keeps it. */
static tulle_status_t pack_registrations(directory_t *d, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    int64_t *records = NULL;
    int64_t num_pieces = 0, at = 0;
    for (int64_t r = 0; r < d->runs->num; r++) {
        const int64_t *run = d->runs->words + 3 * r;
        num_pieces += keeper(d, run[0] + run[1] - 1) - keeper(d, run[0]) + 1;
    }
    TLI_TRY(tli_arena_alloc_raw(&d->arena, num_pieces, 4 * sizeof *records, &records));
    for (int64_t r = 0; r < d->runs->num; r++) {
        const int64_t *run = d->runs->words + 3 * r;
        int64_t end = run[0] + run[1];
        for (int64_t first = run[0], next; first < end; first = next) {
            int64_t block_end = d->lo + (keeper(d, first) + (int64_t)1) * d->block;
            next = block_end < end ? block_end : end;
            int64_t piece[4] = {keeper(d, first), first, next - first, run[2] + (first - run[0])};
            for (int w = 0; w < 4; w++)
                records[at++] = piece[w];
        }
    }
    TLI_TRY(tli_packets_from_records(&d->arena, records, num_pieces, 4, packets));
done:
    return st;
}

static tulle_status_t index_entries(directory_t *d)
{
    tulle_status_t st = TULLE_OK;
    int64_t *scratch = NULL;
    int64_t at = 0;
    d->num_entries = d->entries.ptr[d->entries.num_peers] / 3;
    TLI_TRY(tli_arena_alloc_raw(&d->arena, d->num_entries, ENTRY_WORDS * sizeof(int64_t), &d->by_first));
    TLI_TRY(tli_arena_alloc_raw(&d->arena, d->num_entries, ENTRY_WORDS * sizeof(int64_t), &scratch));
    for (int p = 0; p < d->entries.num_peers; p++) {
        for (int64_t w = d->entries.ptr[p]; w < d->entries.ptr[p + 1]; w += 3, at += ENTRY_WORDS) {
            d->by_first[at] = d->entries.words[w];
            d->by_first[at + 1] = d->entries.words[w + 1];
            d->by_first[at + 2] = d->entries.words[w + 2];
            d->by_first[at + 3] = d->entries.peer[p];
        }
    }
    tli_sort(d->by_first, scratch, d->num_entries, ENTRY_WORDS, 0);
    for (int64_t e = 1; e < d->num_entries; e++) {
        const int64_t *here = d->by_first + e * ENTRY_WORDS, *before = here - ENTRY_WORDS;
        TLI_REQUIRE(before[0] + before[1] <= here[0], TULLE_ERR_ARG,
                    "id %lld is owned twice, by ranks %lld and %lld (%s): every id has one owner", (long long)here[0],
                    (long long)before[3], (long long)here[3], d->what);
    }
done:
    return st;
}

/* The run of mine that holds an id; NULL if none. */
static const int64_t *find_run(const int64_t *runs, int64_t num_runs, int words, int64_t id)
{
    int64_t low = 0, high = num_runs;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (runs[middle * words] <= id)
            low = middle + 1;
        else
            high = middle;
    }
    const int64_t *run = low > 0 ? runs + (low - 1) * words : NULL;
    return run != NULL && id < run[0] + run[1] ? run : NULL;
}

/* Own ids are answered here, the rest become questions to the rank that keeps them. */
static tulle_status_t pack_questions(directory_t *d, const int64_t *ids, int64_t num_ids, int64_t *owners,
                                     tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    int64_t *records = NULL;
    TLI_TRY(tli_arena_alloc_raw(&d->arena, num_ids, 2 * sizeof *records, &records));
    TLI_TRY(tli_arena_alloc_raw(&d->arena, num_ids, sizeof *d->asked, &d->asked));
    for (int64_t i = 0; i < num_ids; i++) {
        const int64_t *run = find_run(d->runs->words, d->runs->num, 3, ids[i]);
        TLI_REQUIRE(ids[i] >= d->lo && ids[i] < d->hi, TULLE_ERR_ARG,
                    "needed id %lld is out of range: the %s are in [%lld, %lld)", (long long)ids[i], d->what,
                    (long long)d->lo, (long long)d->hi);
        if (run != NULL) {
            owners[2 * i] = d->comm->rank;
            owners[2 * i + 1] = run[2] + (ids[i] - run[0]);
        } else {
            records[2 * d->num_asked] = keeper(d, ids[i]);
            records[2 * d->num_asked + 1] = ids[i];
            d->asked[d->num_asked++] = i;
        }
    }
    TLI_TRY(tli_packets_from_records(&d->arena, records, d->num_asked, 2, packets));
done:
    return st;
}

static tulle_status_t answer(directory_t *d, const tli_packets_t *questions, tli_packets_t *answers)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_ids = questions->ptr[questions->num_peers];
    TLI_TRY(tli_arena_alloc(&d->arena, questions->num_peers + 1, sizeof *answers->ptr, &answers->ptr));
    TLI_TRY(tli_arena_alloc_raw(&d->arena, num_ids, 2 * sizeof *answers->words, &answers->words));
    answers->num_peers = questions->num_peers;
    answers->peer = questions->peer;
    for (int p = 0; p <= questions->num_peers; p++)
        answers->ptr[p] = 2 * questions->ptr[p];
    for (int64_t i = 0; i < num_ids; i++) {
        int64_t id = questions->words[i];
        const int64_t *run = find_run(d->by_first, d->num_entries, ENTRY_WORDS, id);
        answers->words[2 * i] = run != NULL ? run[3] : -1;
        answers->words[2 * i + 1] = run != NULL ? run[2] + (id - run[0]) : -1;
    }
done:
    return st;
}

/* Ids were asked in ascending order, so the answers, by keeper, come in that order too. */
static tulle_status_t take_answers(const directory_t *d, const tli_packets_t *answers, const int64_t *ids,
                                   int64_t *owners)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t q = 0; q < d->num_asked; q++) {
        int64_t i = d->asked[q];
        owners[2 * i] = answers->words[2 * q];
        owners[2 * i + 1] = answers->words[2 * q + 1];
        TLI_REQUIRE(owners[2 * i] >= 0, TULLE_ERR_ARG, "needed id %lld is owned by no rank (%s)", (long long)ids[i],
                    d->what);
    }
done:
    return st;
}

tulle_status_t tli_directory_find(tulle_comm_t *comm, tulle_status_t local, const tli_runs_t *runs, const int64_t *ids,
                                  int64_t num_ids, const char *what, int64_t *owners)
{
    directory_t d = {.comm = comm, .runs = runs, .what = what, .arena = TLI_ARENA_INIT};
    tli_packets_t registrations = {0}, questions = {0}, asked_of_me = {0}, answers = {0}, answered = {0};
    tulle_status_t st = find_range(&d, local);
    if (st == TULLE_OK)
        st = pack_registrations(&d, &registrations);
    st = tli_sparse_exchange(comm, st, &registrations, &d.arena, &d.entries);
    if (st == TULLE_OK)
        st = index_entries(&d);
    if (st == TULLE_OK)
        st = pack_questions(&d, ids, num_ids, owners, &questions);
    st = tli_sparse_exchange(comm, st, &questions, &d.arena, &asked_of_me);
    if (st == TULLE_OK)
        st = answer(&d, &asked_of_me, &answers);
    st = tli_sparse_exchange(comm, st, &answers, &d.arena, &answered);
    if (st == TULLE_OK)
        st = take_answers(&d, &answered, ids, owners);
    tli_arena_release(&d.arena);
    return st;
}
