/* SPDX-License-Identifier: Apache-2.0
 * Plans in files. All words are 64-bit in the machine's byte order:
 *
 *     magic, version, byte-order mark, ranks, topology hash, strategy, ghost order, row bytes, total words,
 *     words of each rank's part, the parts, checksum (XXH3-64) of everything before it
 *
 * Rank 0 does all file access, so that no file system needs to be shared. */
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "collectives/pattern.h"
#include "collectives/plan.h"
#include "src/agree.h"
#include "topology/model.h"

#define MAGIC           INT64_C(0x4e414c50454c4c55) /* "ULLEPLAN" in little-endian bytes */
#define VERSION         3
#define BYTE_ORDER_MARK INT64_C(0x0102030405060708)
#define CHUNK_WORDS     (1 << 20)
#define PART_TAG        0

enum {
    H_MAGIC,
    H_VERSION,
    H_ORDER,
    H_RANKS,
    H_TOPOLOGY,
    H_STRATEGY,
    H_GHOST_ORDER,
    H_ROW_BYTES,
    H_WIRE_ROW_BYTES,
    H_WIRE_LEVELS,
    H_TOTAL,
    H_WORDS
};

/* --- a rank's part as words -------------------------------------------------------------------------------------- */

/* Counts first, arrays after: what both directions agree on. */
#define NUM_COUNTS 12

static void read_counts(const tulle_plan_t *plan, int64_t *counts)
{
    int64_t values[NUM_COUNTS] = {plan->num_owned,
                                  plan->num_needed,
                                  plan->num_remote,
                                  plan->num_in,
                                  plan->in_ptr[plan->num_in],
                                  plan->num_out,
                                  plan->out_ptr[plan->num_out],
                                  plan->num_published,
                                  plan->num_pairs[0],
                                  plan->num_pairs[1],
                                  plan->num_pairs[2],
                                  plan->num_pairs[3]};
    memcpy(counts, values, sizeof values);
}

static void write_counts(const int64_t *counts, tulle_plan_t *plan)
{
    plan->num_owned = counts[0];
    plan->num_needed = counts[1];
    plan->num_remote = counts[2];
    plan->num_in = counts[3];
    plan->num_out = counts[5];
    plan->num_published = counts[7];
    memcpy(plan->num_pairs, counts + 8, sizeof plan->num_pairs);
}

typedef struct array {
    int64_t **words;
    int64_t count;
} array_t;

#define NUM_ARRAYS 13

static void list_arrays(tulle_plan_t *plan, const int64_t *counts, array_t *arrays)
{
    int64_t num_in = counts[3], num_slots = counts[4], num_out = counts[5], num_out_rows = counts[6];
    array_t list[NUM_ARRAYS] = {
        {&plan->in_peer, num_in},         {&plan->in_ptr, num_in + 1},       {&plan->in_peer_index, num_in},
        {&plan->in_read, num_in},         {&plan->slot_owner, num_slots},    {&plan->slot_row, num_slots},
        {&plan->slot_read, num_slots},    {&plan->out_peer, num_out},        {&plan->out_ptr, num_out + 1},
        {&plan->out_peer_index, num_out}, {&plan->out_source, num_out_rows}, {&plan->need_source, counts[1]},
        {&plan->published, counts[7]},
    };
    memcpy(arrays, list, sizeof list);
}

static int64_t part_words(const array_t *arrays)
{
    int64_t n = NUM_COUNTS;
    for (int a = 0; a < NUM_ARRAYS; a++)
        n += arrays[a].count;
    return n;
}

static tulle_status_t pack_part(const tulle_plan_t *plan, tli_arena_t *arena, int64_t **words_out, int64_t *num_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t counts[NUM_COUNTS], *words = NULL, at = NUM_COUNTS;
    array_t arrays[NUM_ARRAYS];
    read_counts(plan, counts);
    list_arrays((tulle_plan_t *)plan, counts, arrays);
    *num_out = part_words(arrays);
    TLI_TRY(tli_arena_alloc_raw(arena, *num_out, sizeof *words, &words));
    memcpy(words, counts, sizeof counts);
    for (int a = 0; a < NUM_ARRAYS; a++) {
        memcpy(words + at, *arrays[a].words, (size_t)arrays[a].count * sizeof *words);
        at += arrays[a].count;
    }
    *words_out = words;
done:
    return st;
}

static tulle_status_t unpack_part(const int64_t *words, int64_t num_words, tulle_plan_t *plan)
{
    tulle_status_t st = TULLE_OK;
    array_t arrays[NUM_ARRAYS];
    int64_t at = NUM_COUNTS;
    int is_sane = num_words >= NUM_COUNTS;
    for (int c = 0; c < NUM_COUNTS && is_sane; c++)
        is_sane = words[c] >= 0 && words[c] < ((int64_t)1 << 48);
    TLI_REQUIRE(is_sane, TULLE_ERR_FILE, "a part of the plan has impossible sizes");
    write_counts(words, plan);
    list_arrays(plan, words, arrays);
    TLI_REQUIRE(part_words(arrays) == num_words, TULLE_ERR_FILE, "a part of the plan has %lld words, expected %lld",
                (long long)num_words, (long long)part_words(arrays));
    for (int a = 0; a < NUM_ARRAYS; a++) {
        TLI_TRY(tli_arena_alloc_raw(&plan->arena, arrays[a].count, sizeof *words, arrays[a].words));
        memcpy(*arrays[a].words, words + at, (size_t)arrays[a].count * sizeof *words);
        at += arrays[a].count;
    }
done:
    return st;
}

/* --- between ranks ----------------------------------------------------------------------------------------------- */

static tulle_status_t move_words(MPI_Comm mpi, int is_send, int peer, int64_t *words, int64_t n)
{
    tulle_status_t st = TULLE_OK;
    for (int64_t at = 0; at < n; at += CHUNK_WORDS) {
        int count = (int)(n - at < CHUNK_WORDS ? n - at : CHUNK_WORDS);
        if (is_send)
            TLI_MPI(MPI_Send(words + at, count, MPI_INT64_T, peer, PART_TAG, mpi));
        else
            TLI_MPI(MPI_Recv(words + at, count, MPI_INT64_T, peer, PART_TAG, mpi, MPI_STATUS_IGNORE));
    }
done:
    return st;
}

static int64_t largest(const int64_t *values, int n)
{
    int64_t most = 0;
    for (int i = 0; i < n; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

/* --- save -------------------------------------------------------------------------------------------------------- */

typedef struct writer {
    FILE *file;
    XXH3_state_t hash;
} writer_t;

static void put_words(writer_t *writer, const int64_t *words, int64_t n)
{
    XXH3_64bits_update(&writer->hash, words, (size_t)n * sizeof *words);
    fwrite(words, sizeof *words, (size_t)n, writer->file);
}

/* Rank 0: header, its own part, then each rank's as it comes. Parts are taken even after a write error. */
static tulle_status_t write_file(const tulle_plan_t *plan, const char *path, const int64_t *sizes, int64_t *words,
                                 int64_t *room, FILE *file)
{
    tulle_status_t st = TULLE_OK;
    const tulle_comm_t *comm = plan->comm;
    writer_t writer = {.file = file};
    int64_t header[H_WORDS] = {MAGIC,
                               VERSION,
                               BYTE_ORDER_MARK,
                               comm->size,
                               (int64_t)tli_topology_hash(comm->topology),
                               plan->strategy,
                               plan->ghost_order,
                               plan->row.bytes,
                               plan->row.wire_bytes,
                               plan->row.wire_levels,
                               H_WORDS + comm->size + 1};
    for (int rank = 0; rank < comm->size; rank++)
        header[H_TOTAL] += sizes[rank];
    XXH3_64bits_reset(&writer.hash);
    put_words(&writer, header, H_WORDS);
    put_words(&writer, sizes, comm->size);
    put_words(&writer, words, sizes[0]);
    for (int rank = 1; rank < comm->size; rank++) {
        TLI_TRY(move_words(comm->mpi, 0, rank, room, sizes[rank]));
        put_words(&writer, room, sizes[rank]);
    }
    int64_t checksum = (int64_t)XXH3_64bits_digest(&writer.hash);
    fwrite(&checksum, sizeof checksum, 1, file);
    TLI_REQUIRE(fflush(file) == 0 && !ferror(file), TULLE_ERR_FILE, "cannot write plan file %s: is the disk full?",
                path);
done:
    return st;
}

typedef struct save {
    char *temporary; /* written first, then renamed */
    FILE *file;
    int64_t *sizes; /* [num_ranks] on rank 0 */
    int64_t *words, num_words;
    int64_t *room;
    tli_arena_t arena;
} save_t;

static tulle_status_t open_save(save_t *save, const tulle_plan_t *plan, const char *path)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(pack_part(plan, &save->arena, &save->words, &save->num_words));
    TLI_TRY(tli_arena_alloc(&save->arena, plan->comm->size, sizeof(int64_t), &save->sizes));
    if (plan->comm->rank == 0) {
        TLI_REQUIRE(path != NULL, TULLE_ERR_ARG, "path is NULL on rank 0");
        TLI_TRY(tli_arena_alloc(&save->arena, (int64_t)strlen(path) + 8, 1, &save->temporary));
        snprintf(save->temporary, strlen(path) + 8, "%s.part", path);
        save->file = fopen(save->temporary, "wb");
        TLI_REQUIRE(save->file != NULL, TULLE_ERR_FILE, "cannot write plan file %s", save->temporary);
    }
done:
    return st;
}

tulle_status_t tulle_plan_save(const tulle_plan_t *plan, const char *path)
{
    tulle_status_t st = TULLE_OK;
    save_t save = {0};
    TLI_REQUIRE(plan != NULL, TULLE_ERR_ARG, "the plan is NULL: was it created, or already destroyed?");
    const tulle_comm_t *comm = plan->comm;
    TLI_TRY(tli_agree(comm->mpi, open_save(&save, plan, path)));
    TLI_MPI(MPI_Gather(&save.num_words, 1, MPI_INT64_T, save.sizes, 1, MPI_INT64_T, 0, comm->mpi));
    if (comm->rank == 0)
        st = tli_arena_alloc_raw(&save.arena, largest(save.sizes, comm->size), sizeof(int64_t), &save.room);
    TLI_TRY(tli_agree(comm->mpi, st));
    if (comm->rank == 0)
        st = write_file(plan, path, save.sizes, save.words, save.room, save.file);
    else
        st = move_words(comm->mpi, 1, 0, save.words, save.num_words);
    if (save.file != NULL && fclose(save.file) != 0 && st == TULLE_OK)
        st = tli_fail(TULLE_ERR_FILE, 0, TLI_WHERE, "cannot write plan file %s", path);
    if (save.file != NULL && st == TULLE_OK && rename(save.temporary, path) != 0)
        st = tli_fail(TULLE_ERR_FILE, 0, TLI_WHERE, "cannot rename %s to %s", save.temporary, path);
    if (save.file != NULL && st != TULLE_OK)
        remove(save.temporary);
    save.file = NULL;
    st = tli_agree(comm->mpi, st);
done:
    if (save.file != NULL) {
        fclose(save.file);
        remove(save.temporary);
    }
    tli_arena_release(&save.arena);
    return st;
}

/* --- load -------------------------------------------------------------------------------------------------------- */

typedef struct load {
    FILE *file; /* on rank 0 */
    int64_t header[H_WORDS];
    int64_t *sizes;            /* [num_ranks] on rank 0 */
    int64_t *words, num_words; /* my part; on rank 0 with room for the largest */
    tli_arena_t arena;
} load_t;

static tulle_status_t check_header(const load_t *load, const tulle_comm_t *comm, const char *path)
{
    tulle_status_t st = TULLE_OK;
    const int64_t *header = load->header;
    TLI_REQUIRE(header[H_MAGIC] == MAGIC, TULLE_ERR_FILE, "%s is no plan file", path);
    TLI_REQUIRE(header[H_ORDER] == BYTE_ORDER_MARK, TULLE_ERR_FILE, "%s was written on a machine of another byte order",
                path);
    TLI_REQUIRE(header[H_VERSION] == VERSION, TULLE_ERR_FILE, "%s has version %lld, this library reads version %d",
                path, (long long)header[H_VERSION], VERSION);
    TLI_REQUIRE(header[H_RANKS] == comm->size, TULLE_ERR_MISMATCH, "%s was made for %lld ranks but the job has %d",
                path, (long long)header[H_RANKS], comm->size);
    TLI_REQUIRE(header[H_TOPOLOGY] == (int64_t)tli_topology_hash(comm->topology), TULLE_ERR_MISMATCH,
                "%s was made for another topology than \"%s\"", path, tulle_topology_text(comm->topology));
done:
    return st;
}

static tulle_status_t check_sum(load_t *load, const char *path)
{
    tulle_status_t st = TULLE_OK;
    XXH3_state_t hash;
    int64_t *chunk = NULL, checksum = 0, left = 0;
    TLI_REQUIRE(load->header[H_TOTAL] > H_WORDS, TULLE_ERR_FILE, "%s is damaged: it claims to have %lld words", path,
                (long long)load->header[H_TOTAL]);
    left = load->header[H_TOTAL] - H_WORDS - 1;
    TLI_TRY(tli_arena_alloc_raw(&load->arena, CHUNK_WORDS, sizeof *chunk, &chunk));
    XXH3_64bits_reset(&hash);
    XXH3_64bits_update(&hash, load->header, sizeof load->header);
    for (; left > 0; left -= CHUNK_WORDS) {
        size_t n = (size_t)(left < CHUNK_WORDS ? left : CHUNK_WORDS);
        TLI_REQUIRE(fread(chunk, sizeof *chunk, n, load->file) == n, TULLE_ERR_FILE, "%s is truncated", path);
        XXH3_64bits_update(&hash, chunk, n * sizeof *chunk);
    }
    TLI_REQUIRE(fread(&checksum, sizeof checksum, 1, load->file) == 1, TULLE_ERR_FILE, "%s is truncated", path);
    TLI_REQUIRE(checksum == (int64_t)XXH3_64bits_digest(&hash) && fgetc(load->file) == EOF, TULLE_ERR_FILE,
                "%s is damaged: its checksum does not match", path);
done:
    return st;
}

static tulle_status_t open_file(load_t *load, const tulle_comm_t *comm, const char *path)
{
    tulle_status_t st = TULLE_OK;
    int64_t total = H_WORDS + comm->size + 1;
    TLI_REQUIRE(path != NULL, TULLE_ERR_ARG, "path is NULL on rank 0");
    load->file = fopen(path, "rb");
    TLI_REQUIRE(load->file != NULL, TULLE_ERR_FILE, "cannot open plan file %s", path);
    TLI_REQUIRE(fread(load->header, sizeof(int64_t), H_WORDS, load->file) == H_WORDS, TULLE_ERR_FILE,
                "%s is no plan file: too short", path);
    TLI_TRY(check_header(load, comm, path));
    TLI_TRY(check_sum(load, path));
    TLI_REQUIRE(fseek(load->file, H_WORDS * (long)sizeof(int64_t), SEEK_SET) == 0 &&
                    fread(load->sizes, sizeof(int64_t), (size_t)comm->size, load->file) == (size_t)comm->size,
                TULLE_ERR_FILE, "cannot read plan file %s again", path);
    for (int rank = 0; rank < comm->size; rank++) {
        TLI_REQUIRE(load->sizes[rank] >= NUM_COUNTS && load->sizes[rank] <= load->header[H_TOTAL], TULLE_ERR_FILE,
                    "%s: the part of rank %d has %lld words", path, rank, (long long)load->sizes[rank]);
        total += load->sizes[rank];
    }
    TLI_REQUIRE(total == load->header[H_TOTAL], TULLE_ERR_FILE, "%s: parts do not add up", path);
done:
    return st;
}

/* Rank 0 reads the parts in order; its own comes first and is kept aside. */
static tulle_status_t hand_out(load_t *load, const tulle_comm_t *comm, int64_t *room)
{
    tulle_status_t st = TULLE_OK, read_status = TULLE_OK;
    for (int rank = 0; rank < comm->size; rank++) {
        int64_t *words = rank == 0 ? load->words : room;
        size_t n = (size_t)load->sizes[rank];
        if (fread(words, sizeof *words, n, load->file) != n)
            read_status = tli_fail(TULLE_ERR_FILE, 0, TLI_WHERE, "the plan file changed while it was read");
        if (rank > 0)
            TLI_TRY(move_words(comm->mpi, 1, rank, words, load->sizes[rank]));
    }
    st = read_status;
done:
    return st;
}

static tulle_status_t alloc_loaded(tulle_comm_t *comm, const load_t *load, tulle_plan_t **plan_out)
{
    tulle_plan_t *plan = NULL;
    tulle_status_t st = tli_alloc(sizeof *plan, &plan);
    if (st == TULLE_OK) {
        plan->comm = tli_comm_retain(comm);
        plan->references = 1;
        plan->strategy = (tulle_strategy_t)load->header[H_STRATEGY];
        plan->ghost_order = (tulle_ghost_order_t)load->header[H_GHOST_ORDER];
        plan->row = (tli_row_size_t){load->header[H_ROW_BYTES], load->header[H_WIRE_ROW_BYTES],
                                     (int)load->header[H_WIRE_LEVELS]};
        *plan_out = plan;
    }
    return st;
}

/* Every rank knows the size of its part before any part travels, so that none has to be taken without room for it. */
static tulle_status_t receive_parts(load_t *load, tulle_comm_t *comm, tulle_plan_t **plan)
{
    tulle_status_t st = TULLE_OK;
    int64_t *room = NULL;
    TLI_MPI(MPI_Bcast(load->header, H_WORDS, MPI_INT64_T, 0, comm->mpi));
    TLI_MPI(MPI_Scatter(load->sizes, 1, MPI_INT64_T, &load->num_words, 1, MPI_INT64_T, 0, comm->mpi));
    st = tli_arena_alloc_raw(&load->arena, load->num_words, sizeof(int64_t), &load->words);
    if (st == TULLE_OK && comm->rank == 0)
        st = tli_arena_alloc_raw(&load->arena, largest(load->sizes, comm->size), sizeof(int64_t), &room);
    if (st == TULLE_OK)
        st = alloc_loaded(comm, load, plan);
    TLI_TRY(tli_agree(comm->mpi, st));
    st = comm->rank == 0 ? hand_out(load, comm, room) : move_words(comm->mpi, 0, 0, load->words, load->num_words);
    if (st == TULLE_OK)
        st = unpack_part(load->words, load->num_words, *plan);
    st = tli_agree(comm->mpi, st);
done:
    return st;
}

tulle_status_t tulle_plan_load(tulle_comm_t *comm, const char *path, tulle_plan_t **plan_out)
{
    tulle_status_t st = TULLE_OK;
    load_t load = {0};
    tulle_plan_t *plan = NULL;
    TLI_TRY(tli_check_comm(comm));
    if (plan_out == NULL)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "plan_out is NULL");
    double began = MPI_Wtime();
    if (st == TULLE_OK)
        st = tli_arena_alloc(&load.arena, comm->size, sizeof(int64_t), &load.sizes);
    if (st == TULLE_OK && comm->rank == 0)
        st = open_file(&load, comm, path);
    TLI_TRY(tli_agree(comm->mpi, st));
    TLI_TRY(receive_parts(&load, comm, &plan));
    plan->setup_ns = (MPI_Wtime() - began) * 1e9;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &plan->setup_ns, 1, MPI_DOUBLE, MPI_MAX, comm->mpi));
    *plan_out = plan;
    plan = NULL;
done:
    if (load.file != NULL)
        fclose(load.file);
    tulle_plan_destroy(&plan);
    tli_arena_release(&load.arena);
    return st;
}
