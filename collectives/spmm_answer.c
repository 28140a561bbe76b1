/* SPDX-License-Identifier: Apache-2.0
 * Answering sections: all sections of one node are one block; its covers, of every kind that is wanted, are kept as
 * answers until the ranks have chosen a kind. */
#include <string.h>

#include "collectives/spmm_sections.h"
#include "src/agree.h"
#include "src/sort.h"

static void set_bit(int64_t *words, int64_t bit)
{
    words[bit / 64] = (int64_t)((uint64_t)words[bit / 64] | UINT64_C(1) << bit % 64);
}

static tulle_status_t list_sections(tli_answering_t *a, const tli_packets_t *asked)
{
    tulle_status_t st = TULLE_OK;
    for (int pass = 0; pass < 2; pass++) {
        int64_t n = 0;
        for (int p = 0; p < asked->num_peers; p++) {
            for (int64_t at = asked->ptr[p]; at < asked->ptr[p + 1]; at += tli_section_words(asked->words + at)) {
                if (pass == 1)
                    a->sections[n] = (tli_section_t){.words = asked->words + at, .peer = p};
                n++;
            }
        }
        if (pass == 0)
            TLI_TRY(tli_arena_alloc(a->arena, n, sizeof *a->sections, &a->sections));
        a->num_sections = n;
    }
done:
    return st;
}

/* All sections of one node, as one block. */
typedef struct block {
    tli_block_graph_t graph;
    int64_t num_cols; /* before those of several sections are merged */
    int32_t *merged;  /* [num_cols] */
} block_t;

/* Columns that several ranks of my node have nonzeros in are one. */
static tulle_status_t merge_columns(const tli_answering_t *a, int64_t node, tli_arena_t *arena, block_t *block)
{
    tulle_status_t st = TULLE_OK;
    int64_t *records = NULL, *scratch = NULL, n = 0;
    TLI_TRY(tli_arena_alloc_raw(arena, block->num_cols, 3 * sizeof *records, &records));
    TLI_TRY(tli_arena_alloc_raw(arena, block->num_cols, 3 * sizeof *scratch, &scratch));
    TLI_TRY(tli_arena_alloc_raw(arena, block->num_cols, sizeof *block->merged, &block->merged));
    for (int64_t s = 0; s < a->num_sections; s++) {
        const int64_t *words = a->sections[s].words;
        for (int64_t i = 0; words[TLI_SECTION_NODE] == node && i < words[TLI_SECTION_COLS]; i++, n++) {
            records[3 * n] = words[TLI_SECTION_HEADER + 2 * i];
            records[3 * n + 1] = words[TLI_SECTION_HEADER + 2 * i + 1];
            records[3 * n + 2] = n;
        }
    }
    tli_sort(records, scratch, n, 3, 1);
    tli_sort(records, scratch, n, 3, 0);
    for (int64_t i = 0; i < n; i++) {
        const int64_t *record = records + 3 * i;
        block->graph.num_cols += i == 0 || record[0] != record[-3] || record[1] != record[-2];
        block->merged[record[2]] = block->graph.num_cols - 1;
    }
done:
    return st;
}

/* Counted one place too far, col_ptr[col + 1] is where the next nonzero of a column goes, and in the end its end. */
static void add_nonzeros(const tli_answering_t *a, int64_t node, int is_counting, block_t *block)
{
    int64_t first_col = 0;
    int32_t row = 0;
    for (int64_t s = 0; s < a->num_sections; s++) {
        const int64_t *words = a->sections[s].words,
                      *degrees = words + TLI_SECTION_HEADER + 2 * words[TLI_SECTION_COLS];
        const int64_t *nonzero = degrees + words[TLI_SECTION_ROWS];
        if (words[TLI_SECTION_NODE] != node)
            continue;
        for (int64_t i = 0; i < words[TLI_SECTION_ROWS]; i++, row++) {
            for (int64_t k = 0; k < degrees[i]; k++, nonzero++) {
                int64_t *place = &block->graph.col_ptr[block->merged[first_col + *nonzero] + (is_counting ? 2 : 1)];
                if (!is_counting)
                    block->graph.row[*place] = row;
                ++*place;
            }
        }
        first_col += words[TLI_SECTION_COLS];
    }
}

static tulle_status_t build_block(const tli_answering_t *a, int64_t node, tli_arena_t *arena, block_t *block)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_rows = 0, num_nonzeros = 0;
    for (int64_t s = 0; s < a->num_sections; s++) {
        const int64_t *words = a->sections[s].words;
        num_rows += words[TLI_SECTION_NODE] == node ? words[TLI_SECTION_ROWS] : 0;
        num_nonzeros += words[TLI_SECTION_NODE] == node ? words[TLI_SECTION_NONZEROS] : 0;
        block->num_cols += words[TLI_SECTION_NODE] == node ? words[TLI_SECTION_COLS] : 0;
    }
    TLI_REQUIRE(num_rows < INT32_MAX && block->num_cols < INT32_MAX, TULLE_ERR_OVERFLOW,
                "%lld rows and %lld columns between two nodes: at most 2^31 - 2", (long long)num_rows,
                (long long)block->num_cols);
    TLI_TRY(merge_columns(a, node, arena, block));
    block->graph.num_rows = (int32_t)num_rows;
    TLI_TRY(tli_arena_alloc(arena, block->graph.num_cols + 2, sizeof(int64_t), &block->graph.col_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, num_nonzeros, sizeof(int32_t), &block->graph.row));
    add_nonzeros(a, node, 1, block);
    for (int32_t col = 0; col < block->graph.num_cols; col++)
        block->graph.col_ptr[col + 2] += block->graph.col_ptr[col + 1];
    add_nonzeros(a, node, 0, block);
done:
    return st;
}

static tulle_status_t answer_sections(tli_answering_t *a, int64_t node, const block_t *block,
                                      const tli_block_cover_t *cover, int choice)
{
    tulle_status_t st = TULLE_OK;
    int64_t first_row = 0, first_col = 0;
    for (int64_t s = 0; s < a->num_sections; s++) {
        tli_section_t *section = &a->sections[s];
        const int64_t *words = section->words;
        int64_t *bits = NULL;
        if (words[TLI_SECTION_NODE] != node)
            continue;
        TLI_TRY(tli_arena_alloc(a->arena, tli_answer_words(words), sizeof *bits, &bits));
        section->bits[choice] = bits;
        for (int64_t i = 0; i < words[TLI_SECTION_ROWS]; i++)
            if (cover->has_row[first_row + i])
                set_bit(bits, i);
        bits += tli_words_of_bits(words[TLI_SECTION_ROWS]);
        for (int64_t i = 0; i < words[TLI_SECTION_COLS]; i++)
            if (cover->has_col[block->merged[first_col + i]])
                set_bit(bits, i);
        first_row += words[TLI_SECTION_ROWS];
        first_col += words[TLI_SECTION_COLS];
    }
done:
    return st;
}

/* Ranks that own rows and columns of a block: those of my node by the packets, then those of the other. */
static tulle_status_t find_block_owners(const tli_answering_t *a, int64_t node, const block_t *block,
                                        tli_arena_t *arena, tli_block_owners_t *owners)
{
    tulle_status_t st = TULLE_OK;
    int32_t *of_row = NULL, *of_col = NULL, row = 0;
    int64_t col = 0;
    int num_peers = a->nodes->member_ptr[a->my_node + 1] - a->nodes->member_ptr[a->my_node];
    TLI_TRY(tli_arena_alloc_raw(arena, block->graph.num_rows, sizeof *of_row, &of_row));
    TLI_TRY(tli_arena_alloc_raw(arena, block->graph.num_cols, sizeof *of_col, &of_col));
    for (int64_t s = 0; s < a->num_sections; s++) {
        const int64_t *words = a->sections[s].words;
        for (int64_t i = 0; words[TLI_SECTION_NODE] == node && i < words[TLI_SECTION_ROWS]; i++)
            of_row[row++] = a->nodes->local_index[a->peer[a->sections[s].peer]];
        for (int64_t i = 0; words[TLI_SECTION_NODE] == node && i < words[TLI_SECTION_COLS]; i++)
            of_col[block->merged[col++]] = num_peers + a->nodes->local_index[words[TLI_SECTION_HEADER + 2 * i]];
    }
    int num_others = a->nodes->member_ptr[node + 1] - a->nodes->member_ptr[node];
    *owners = (tli_block_owners_t){num_peers + num_others, of_row, of_col};
done:
    return st;
}

static void add_flow(tli_answering_t *a, int node, const tli_block_graph_t *graph, const tli_block_owners_t *owners,
                     const tli_block_cover_t *cover, int choice)
{
    const tulle_topology_t *topology = a->spmm->comm->topology;
    const int *mine = a->nodes->members + a->nodes->member_ptr[a->my_node];
    const int *others = a->nodes->members + a->nodes->member_ptr[node];
    int num_mine = a->nodes->member_ptr[a->my_node + 1] - a->nodes->member_ptr[a->my_node];
    int64_t weight = tli_weight_of_partial(a->spmm);
    tli_cover_flow_add(topology, node, a->my_node, cover, weight, a->flow[choice]);
    for (int32_t row = 0; row < graph->num_rows; row++)
        tli_cover_flow_add_rank(topology, mine[owners->of_row[row]], 0, weight * cover->has_row[row], a->flow[choice]);
    for (int32_t col = 0; col < graph->num_cols; col++)
        tli_cover_flow_add_rank(topology, others[owners->of_col[col] - num_mine], 1, cover->has_col[col],
                                a->flow[choice]);
    a->num_rows[choice] += cover->num_rows;
    a->num_cols[choice] += cover->num_cols;
}

static tulle_status_t cover_all_columns(const tli_block_graph_t *graph, tli_arena_t *arena, tli_block_cover_t *cover)
{
    tulle_status_t st = TULLE_OK;
    *cover = (tli_block_cover_t){.num_cols = graph->num_cols};
    TLI_TRY(tli_arena_alloc(arena, graph->num_rows, 1, &cover->has_row));
    TLI_TRY(tli_arena_alloc(arena, graph->num_cols, 1, &cover->has_col));
    memset(cover->has_col, 1, (size_t)graph->num_cols);
done:
    return st;
}

/* As few bytes as can be. */
static tulle_status_t cover_least(const tli_block_graph_t *graph, int64_t weight, tli_arena_t *arena,
                                  tli_block_cover_t *cover)
{
    tulle_status_t st = TULLE_OK;
    int64_t *of_row = NULL, *of_col = NULL;
    if (weight == 1)
        return tli_cover_least(graph, arena, cover);
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_rows, sizeof *of_row, &of_row));
    TLI_TRY(tli_arena_alloc_raw(arena, graph->num_cols, sizeof *of_col, &of_col));
    for (int32_t row = 0; row < graph->num_rows; row++)
        of_row[row] = weight;
    for (int32_t col = 0; col < graph->num_cols; col++)
        of_col[col] = 1;
    TLI_TRY(tli_cover_weighted(graph, of_row, of_col, arena, cover));
done:
    return st;
}

static tulle_status_t cover_node(tli_answering_t *a, int64_t node)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    block_t block = {.num_cols = 0};
    tli_block_owners_t owners;
    tli_block_cover_t cover;
    TLI_TRY(build_block(a, node, &scratch, &block));
    TLI_TRY(find_block_owners(a, node, &block, &scratch, &owners));
    for (int choice = TLI_CHOICE_COLUMNS; choice < TLI_NUM_CHOICES; choice++) {
        if (!a->is_wanted[choice])
            continue;
        TLI_TRY(choice == TLI_CHOICE_COLUMNS ? cover_all_columns(&block.graph, &scratch, &cover)
                : choice == TLI_CHOICE_LEAST
                    ? cover_least(&block.graph, tli_weight_of_partial(a->spmm), &scratch, &cover)
                    : tli_cover_balanced(&block.graph, &owners, &scratch, &cover));
        TLI_TRY(answer_sections(a, node, &block, &cover, choice));
        add_flow(a, (int)node, &block.graph, &owners, &cover, choice);
    }
    a->spmm->columns_rows += block.graph.num_cols;
done:
    tli_arena_release(&scratch);
    return st;
}

tulle_status_t tli_answering_cover(tli_answering_t *a, const tli_packets_t *asked)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_words = tli_cover_flow_words(a->spmm->comm->topology);
    int tried = TLI_CHOICE_LEAST;
    while (!a->is_wanted[tried])
        tried++;
    for (int choice = TLI_CHOICE_COLUMNS; choice < TLI_NUM_CHOICES; choice++)
        TLI_TRY(tli_arena_alloc(a->arena, num_words, sizeof(int64_t), &a->flow[choice]));
    a->peer = asked->peer;
    TLI_TRY(list_sections(a, asked));
    for (int64_t s = 0; s < a->num_sections; s++)
        if (a->sections[s].bits[tried] == NULL)
            TLI_TRY(cover_node(a, a->sections[s].words[TLI_SECTION_NODE]));
done:
    return st;
}

tulle_status_t tli_answering_choose(tli_answering_t *a, int *choice_out)
{
    tulle_status_t st = TULLE_OK;
    const tulle_spmm_t *spmm = a->spmm;
    const tulle_topology_t *topology = spmm->comm->topology;
    int64_t row_bytes = spmm->options.width * (int64_t)tulle_datatype_size(spmm->type);
    double best_ns = 0;
    int best = -1;
    for (int choice = TLI_CHOICE_COLUMNS; choice < TLI_NUM_CHOICES; choice++) {
        if (!a->is_wanted[choice])
            continue;
        TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, a->flow[choice], (int)tli_cover_flow_words(topology), MPI_INT64_T, MPI_SUM,
                              spmm->comm->mpi));
        double ns = tli_cover_flow_ns(topology, row_bytes, a->flow[choice]);
        if (best < 0 || ns < best_ns) {
            best = choice;
            best_ns = ns;
        }
    }
    *choice_out = best;
done:
    return st;
}

tulle_status_t tli_answering_pack(const tli_answering_t *a, const tli_packets_t *asked, int choice,
                                  tli_packets_t *answers)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_words = 0;
    for (int64_t s = 0; s < a->num_sections; s++)
        num_words += tli_answer_words(a->sections[s].words);
    *answers = (tli_packets_t){asked->num_peers, asked->peer, NULL, NULL};
    TLI_TRY(tli_arena_alloc(a->arena, asked->num_peers + 1, sizeof(int64_t), &answers->ptr));
    TLI_TRY(tli_arena_alloc_raw(a->arena, num_words, sizeof(int64_t), &answers->words));
    num_words = 0;
    for (int64_t s = 0; s < a->num_sections; s++) {
        int64_t n = tli_answer_words(a->sections[s].words);
        memcpy(answers->words + num_words, a->sections[s].bits[choice], (size_t)n * sizeof(int64_t));
        num_words += n;
        answers->ptr[a->sections[s].peer + 1] = num_words;
    }
done:
    return st;
}
