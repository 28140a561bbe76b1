/* SPDX-License-Identifier: Apache-2.0
 * Naive and direct are sums over rank pairs. For the limit, one rank of each node collects what all of them need. */
#include "perf/volume.h"

#include <limits.h>
#include <stdlib.h>

#include "src/agree.h"

static void count_pairs(const perf_halo_t *halo, const int *node_of, perf_volume_t *volume)
{
    int node = node_of[halo->rank];
    for (int owner = 0; owner < halo->num_ranks; owner++) {
        int64_t first = 0;
        int64_t num_rows = 0;
        if (node_of[owner] == node)
            continue;
        perf_block(halo->num_rows, halo->num_ranks, owner, &first, &num_rows);
        volume->naive_rows += num_rows;
        volume->naive_messages += num_rows > 0;
        volume->direct_rows += halo->needed_count[owner];
        volume->direct_messages += halo->needed_count[owner] > 0;
    }
}

/* What the ranks of this node need from other nodes, in one list on the node's lowest rank. */
typedef struct union_list {
    MPI_Comm node;
    int rank;         /* in node */
    int num_ranks;    /* in node */
    int num_mine;     /* [rows] */
    int64_t *mine;    /* [num_mine] */
    int *count;       /* [num_ranks] on rank 0 */
    int *start;       /* [num_ranks] on rank 0 */
    int64_t *leaving; /* [num_ranks of the job] by node: rows that it sends to this one, each once */
    int64_t num_all;  /* [rows] on rank 0, several times those that several need */
    int64_t *all;     /* [num_all] on rank 0 */
    tli_arena_t arena;
} union_list_t;

static tulle_status_t list_mine(const perf_halo_t *halo, const int *node_of, union_list_t *list)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc_raw(&list->arena, halo->num_needed, sizeof(int64_t), &list->mine));
    TLI_TRY(tli_arena_alloc(&list->arena, list->num_ranks, sizeof(int), &list->count));
    TLI_TRY(tli_arena_alloc(&list->arena, list->num_ranks, sizeof(int), &list->start));
    TLI_TRY(tli_arena_alloc(&list->arena, halo->num_ranks, sizeof(int64_t), &list->leaving));
    for (int owner = 0; owner < halo->num_ranks; owner++)
        for (int i = halo->needed_start[owner]; i < halo->needed_start[owner + 1]; i++)
            if (node_of[owner] != node_of[halo->rank])
                list->mine[list->num_mine++] = halo->needed_ids[i];
done:
    return st;
}

static tulle_status_t place_all(union_list_t *list)
{
    tulle_status_t st = TULLE_OK;
    for (int r = 0; r < list->num_ranks; r++) {
        list->start[r] = (int)list->num_all;
        list->num_all += list->count[r];
        if (list->num_all > INT_MAX)
            goto done;
    }
    TLI_TRY(tli_arena_alloc_raw(&list->arena, list->num_all, sizeof(int64_t), &list->all));
done:
    return st;
}

static int compare_ids(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Distinct rows of the list, and by which nodes they are sent. */
static int64_t count_distinct(const perf_halo_t *halo, const int *node_of, union_list_t *list)
{
    int64_t num = 0;
    qsort(list->all, (size_t)list->num_all, sizeof *list->all, compare_ids);
    for (int64_t i = 0; i < list->num_all; i++) {
        if (i > 0 && list->all[i] == list->all[i - 1])
            continue;
        list->leaving[node_of[perf_block_owner(halo->num_rows, halo->num_ranks, list->all[i])]]++;
        num++;
    }
    return num;
}

/* The larger of what enters and what leaves, of the node where it is most. */
static tulle_status_t find_busiest(const perf_halo_t *halo, int64_t num_entering, int64_t *leaving, int64_t *rows_out)
{
    tulle_status_t st = TULLE_OK;
    int64_t busiest = 0;
    TLI_MPI(MPI_Allreduce(&num_entering, &busiest, 1, MPI_INT64_T, MPI_MAX, halo->comm));
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, leaving, halo->num_ranks, MPI_INT64_T, MPI_SUM, halo->comm));
    for (int node = 0; node < halo->num_ranks; node++) /* no more nodes than ranks */
        if (leaving[node] > busiest)
            busiest = leaving[node];
    *rows_out = busiest;
done:
    return st;
}

/* Distinct rows that enter this node, on its lowest rank; 0 on the others. And those of the busiest node. */
static tulle_status_t count_union(const perf_halo_t *halo, const int *node_of, int64_t *rows_out, int64_t *busiest_out,
                                  int *is_too_many_out)
{
    tulle_status_t st = TULLE_OK;
    union_list_t list = {.node = MPI_COMM_NULL, .arena = TLI_ARENA_INIT};
    int is_too_many = 0;
    TLI_MPI(MPI_Comm_split(halo->comm, node_of[halo->rank], halo->rank, &list.node));
    TLI_MPI(MPI_Comm_rank(list.node, &list.rank));
    TLI_MPI(MPI_Comm_size(list.node, &list.num_ranks));
    TLI_TRY(tli_agree(halo->comm, list_mine(halo, node_of, &list)));
    TLI_MPI(MPI_Gather(&list.num_mine, 1, MPI_INT, list.count, 1, MPI_INT, 0, list.node));
    TLI_TRY(tli_agree(halo->comm, place_all(&list)));
    is_too_many = list.num_all > INT_MAX;
    TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, &is_too_many, 1, MPI_INT, MPI_MAX, halo->comm));
    if (!is_too_many) {
        TLI_MPI(MPI_Gatherv(list.mine, list.num_mine, MPI_INT64_T, list.all, list.count, list.start, MPI_INT64_T, 0,
                            list.node));
        *rows_out = list.rank == 0 ? count_distinct(halo, node_of, &list) : 0;
        TLI_TRY(find_busiest(halo, *rows_out, list.leaving, busiest_out));
    }
    *is_too_many_out = is_too_many;
done:
    if (list.node != MPI_COMM_NULL)
        MPI_Comm_free(&list.node);
    tli_arena_release(&list.arena);
    return st;
}

tulle_status_t perf_volume_count(const perf_halo_t *halo, const int *node_of, perf_volume_t *volume_out)
{
    tulle_status_t st = TULLE_OK;
    perf_volume_t volume = {0, 0, 0, 0, 0, 0};
    int64_t busiest_rows = 0;
    int is_too_many = 0;
    count_pairs(halo, node_of, &volume);
    TLI_TRY(count_union(halo, node_of, &volume.limit_rows, &busiest_rows, &is_too_many));
    TLI_MPI(
        MPI_Allreduce(MPI_IN_PLACE, &volume, (int)(sizeof volume / sizeof(int64_t)), MPI_INT64_T, MPI_SUM, halo->comm));
    volume.busiest_rows = is_too_many ? -1 : busiest_rows;
    if (is_too_many)
        volume.limit_rows = -1;
    *volume_out = volume;
done:
    return st;
}

tulle_status_t perf_volume_check(const perf_volume_t *volume, const tulle_plan_stats_t *stats)
{
    tulle_status_t st = TULLE_OK;
    const tulle_level_stats_t *level = &stats->levels[0];
    const struct {
        const char *what;
        int64_t counted;
        int64_t reported;
    } figures[] = {{"naive rows", volume->naive_rows, level->naive_rows},
                   {"direct rows", volume->direct_rows, level->direct_rows},
                   {"limit rows", volume->limit_rows < 0 ? level->limit_rows : volume->limit_rows, level->limit_rows},
                   {"naive messages", volume->naive_messages, level->naive_messages},
                   {"direct messages", volume->direct_messages, level->direct_messages}};
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        TLI_REQUIRE(figures[i].counted == figures[i].reported, TULLE_ERR_MISMATCH,
                    "between nodes the plan reports %lld %s, the matrix has %lld", (long long)figures[i].reported,
                    figures[i].what, (long long)figures[i].counted);
    TLI_REQUIRE(level->plan_rows >= level->limit_rows, TULLE_ERR_MISMATCH,
                "the plan reports %lld rows between nodes, fewer than the limit of %lld", (long long)level->plan_rows,
                (long long)level->limit_rows);
done:
    return st;
}
