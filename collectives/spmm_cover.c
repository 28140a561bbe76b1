/* SPDX-License-Identifier: Apache-2.0
 * Covers in a running job. The ranks of a node share out the other nodes among them: what is between the node's rows
 * and the columns of another node comes together on one rank, as a *section* from each rank that has any, and every
 * section is answered by one bit for each of its rows and columns. */
#include <string.h>

#include "collectives/cover.h"
#include "collectives/spmm_build.h"
#include "src/agree.h"
#include "src/sort.h"
#include "src/sparse_exchange.h"
#include "topology/model.h"

/* A section: these words, owner and row there of each column, nonzeros of each row, columns of the nonzeros. */
enum { NODE, NUM_COLS, NUM_ROWS, NUM_NONZEROS, HEADER_WORDS };

/* Kinds of covers among which AUTO chooses, the plainest first. */
enum { COLUMNS, LEAST, BALANCED, NUM_CHOICES };

static const tulle_cover_t cover_of_choice[] = {TULLE_COVER_COLUMNS, TULLE_COVER_LEAST, TULLE_COVER_BALANCED};

/* One section of this rank. */
typedef struct pair {
    int64_t num_cols, num_rows, num_nonzeros;
    int64_t last_row;                   /* that was counted */
    int64_t *cols, *degrees, *nonzeros; /* where its parts are, in the packet */
} pair_t;

/* A section that this rank answers. */
typedef struct section {
    const int64_t *words;
    int peer;                         /* place among the packets */
    const int64_t *bits[NUM_CHOICES]; /* [rows, then columns: each from a word on] the answers */
} section_t;

typedef struct covering {
    tli_spmm_builder_t *b;
    tli_arena_t *arena;
    const tli_level_t *nodes;
    int my_node;
    int num_nodes;
    int32_t *node_of;       /* [num_foreign] node of a foreign column; -1: mine */
    int64_t *place_in_pair; /* [num_foreign] */
    pair_t *pairs;          /* [num_nodes] */
    section_t *sections;    /* [num_sections] by peer, then as they came */
    int64_t num_sections;
    const int *peer;               /* [] ranks that sections came from */
    int is_wanted[NUM_CHOICES];    /* [bool] to be tried */
    int64_t *flow[NUM_CHOICES];    /* of this rank's pairs, then of all */
    int64_t num_rows[NUM_CHOICES]; /* that cross into this node in this rank's pairs: of C */
    int64_t num_cols[NUM_CHOICES]; /* of B */
} covering_t;

static int64_t num_words_of_bits(int64_t num_bits)
{
    return (num_bits + 63) / 64;
}

static int64_t section_words(const int64_t *header)
{
    return HEADER_WORDS + 2 * header[NUM_COLS] + header[NUM_ROWS] + header[NUM_NONZEROS];
}

static int64_t answer_words(const int64_t *header)
{
    return num_words_of_bits(header[NUM_ROWS]) + num_words_of_bits(header[NUM_COLS]);
}

static void set_bit(int64_t *words, int64_t bit)
{
    words[bit / 64] = (int64_t)((uint64_t)words[bit / 64] | UINT64_C(1) << bit % 64);
}

static int has_bit(const int64_t *words, int64_t bit)
{
    return (int)((uint64_t)words[bit / 64] >> bit % 64 & 1);
}

/* --- asking ------------------------------------------------------------------------------------------------------ */

static void count_columns(covering_t *c)
{
    const tulle_pattern_t *pattern = c->b->pattern;
    for (int64_t g = 0; g < c->b->num_foreign; g++) {
        int node = c->nodes->group_of[pattern->owner_rank[g]];
        c->node_of[g] = node == c->my_node ? -1 : node;
        if (node != c->my_node)
            c->place_in_pair[g] = c->pairs[node].num_cols++;
    }
}

/* Pair that a nonzero is in; NULL: it stays inside this node. */
static pair_t *pair_of(const covering_t *c, int64_t e)
{
    int64_t place = c->b->place[e];
    return place >= 0 || c->node_of[-1 - place] < 0 ? NULL : &c->pairs[c->node_of[-1 - place]];
}

static void count_nonzeros(covering_t *c)
{
    const int64_t *row_ptr = c->b->matrix->row_ptr;
    for (int node = 0; node < c->num_nodes; node++)
        c->pairs[node].last_row = -1;
    for (int64_t row = 0; row < c->b->spmm->num_rows; row++) {
        for (int64_t e = row_ptr[row]; e < row_ptr[row + 1]; e++) {
            pair_t *pair = pair_of(c, e);
            if (pair == NULL)
                continue;
            pair->num_rows += pair->last_row != row;
            pair->last_row = row;
            pair->num_nonzeros++;
        }
    }
}

/* Sections in the order of their packets: by the member of my node that answers for a node, then by node. */
static tulle_status_t lay_out_sections(covering_t *c, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    const int *members = c->nodes->members + c->nodes->member_ptr[c->my_node];
    int num_members = c->nodes->member_ptr[c->my_node + 1] - c->nodes->member_ptr[c->my_node];
    int64_t num_words = 0;
    TLI_TRY(tli_arena_alloc(c->arena, num_members, sizeof(int), &packets->peer));
    TLI_TRY(tli_arena_alloc(c->arena, num_members + 1, sizeof(int64_t), &packets->ptr));
    for (int node = 0; node < c->num_nodes; node++)
        if (c->pairs[node].num_cols > 0)
            num_words +=
                HEADER_WORDS + 2 * c->pairs[node].num_cols + c->pairs[node].num_rows + c->pairs[node].num_nonzeros;
    TLI_TRY(tli_arena_alloc_raw(c->arena, num_words, sizeof(int64_t), &packets->words));
    num_words = 0;
    for (int m = 0; m < num_members; m++) {
        for (int node = m; node < c->num_nodes; node += num_members) {
            pair_t *pair = &c->pairs[node];
            if (pair->num_cols == 0)
                continue;
            int64_t header[HEADER_WORDS] = {node, pair->num_cols, pair->num_rows, pair->num_nonzeros};
            memcpy(packets->words + num_words, header, sizeof header);
            pair->cols = packets->words + num_words + HEADER_WORDS;
            pair->degrees = pair->cols + 2 * pair->num_cols;
            pair->nonzeros = pair->degrees + pair->num_rows;
            num_words += section_words(header);
        }
        packets->peer[packets->num_peers] = members[m];
        packets->num_peers += num_words > packets->ptr[packets->num_peers];
        packets->ptr[packets->num_peers] = num_words;
    }
done:
    return st;
}

static void fill_sections(covering_t *c)
{
    const tli_spmm_builder_t *b = c->b;
    for (int64_t g = 0; g < b->num_foreign; g++) {
        if (c->node_of[g] >= 0) {
            int64_t *col = c->pairs[c->node_of[g]].cols + 2 * c->place_in_pair[g];
            col[0] = b->pattern->owner_rank[g];
            col[1] = b->pattern->owner_row[g];
        }
    }
    for (int node = 0; node < c->num_nodes; node++) {
        c->pairs[node].last_row = -1;
        c->pairs[node].degrees--; /* moves on at the first nonzero of a row */
    }
    for (int64_t row = 0; row < b->spmm->num_rows; row++) {
        for (int64_t e = b->matrix->row_ptr[row]; e < b->matrix->row_ptr[row + 1]; e++) {
            pair_t *pair = pair_of(c, e);
            if (pair == NULL)
                continue;
            if (pair->last_row != row)
                *++pair->degrees = 0;
            ++*pair->degrees;
            pair->last_row = row;
            *pair->nonzeros++ = c->place_in_pair[-1 - b->place[e]];
        }
    }
}

static tulle_status_t ask(covering_t *c, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_arena_alloc_raw(c->arena, c->b->num_foreign, sizeof *c->node_of, &c->node_of));
    TLI_TRY(tli_arena_alloc_raw(c->arena, c->b->num_foreign, sizeof *c->place_in_pair, &c->place_in_pair));
    TLI_TRY(tli_arena_alloc(c->arena, c->num_nodes, sizeof *c->pairs, &c->pairs));
    count_columns(c);
    count_nonzeros(c);
    TLI_TRY(lay_out_sections(c, packets));
    fill_sections(c);
done:
    return st;
}

/* --- answering --------------------------------------------------------------------------------------------------- */

static tulle_status_t list_sections(covering_t *c, const tli_packets_t *asked)
{
    tulle_status_t st = TULLE_OK;
    for (int pass = 0; pass < 2; pass++) {
        int64_t n = 0;
        for (int p = 0; p < asked->num_peers; p++) {
            for (int64_t at = asked->ptr[p]; at < asked->ptr[p + 1]; at += section_words(asked->words + at)) {
                if (pass == 1)
                    c->sections[n] = (section_t){.words = asked->words + at, .peer = p};
                n++;
            }
        }
        if (pass == 0)
            TLI_TRY(tli_arena_alloc(c->arena, n, sizeof *c->sections, &c->sections));
        c->num_sections = n;
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
static tulle_status_t merge_columns(const covering_t *c, int64_t node, tli_arena_t *arena, block_t *block)
{
    tulle_status_t st = TULLE_OK;
    int64_t *records = NULL, *scratch = NULL, n = 0;
    TLI_TRY(tli_arena_alloc_raw(arena, block->num_cols, 3 * sizeof *records, &records));
    TLI_TRY(tli_arena_alloc_raw(arena, block->num_cols, 3 * sizeof *scratch, &scratch));
    TLI_TRY(tli_arena_alloc_raw(arena, block->num_cols, sizeof *block->merged, &block->merged));
    for (int64_t s = 0; s < c->num_sections; s++) {
        const int64_t *words = c->sections[s].words;
        for (int64_t i = 0; words[NODE] == node && i < words[NUM_COLS]; i++, n++) {
            records[3 * n] = words[HEADER_WORDS + 2 * i];
            records[3 * n + 1] = words[HEADER_WORDS + 2 * i + 1];
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
static void add_nonzeros(const covering_t *c, int64_t node, int is_counting, block_t *block)
{
    int64_t first_col = 0;
    int32_t row = 0;
    for (int64_t s = 0; s < c->num_sections; s++) {
        const int64_t *words = c->sections[s].words, *degrees = words + HEADER_WORDS + 2 * words[NUM_COLS];
        const int64_t *nonzero = degrees + words[NUM_ROWS];
        if (words[NODE] != node)
            continue;
        for (int64_t i = 0; i < words[NUM_ROWS]; i++, row++) {
            for (int64_t k = 0; k < degrees[i]; k++, nonzero++) {
                int64_t *place = &block->graph.col_ptr[block->merged[first_col + *nonzero] + (is_counting ? 2 : 1)];
                if (!is_counting)
                    block->graph.row[*place] = row;
                ++*place;
            }
        }
        first_col += words[NUM_COLS];
    }
}

static tulle_status_t build_block(const covering_t *c, int64_t node, tli_arena_t *arena, block_t *block)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_rows = 0, num_nonzeros = 0;
    for (int64_t s = 0; s < c->num_sections; s++) {
        const int64_t *words = c->sections[s].words;
        num_rows += words[NODE] == node ? words[NUM_ROWS] : 0;
        num_nonzeros += words[NODE] == node ? words[NUM_NONZEROS] : 0;
        block->num_cols += words[NODE] == node ? words[NUM_COLS] : 0;
    }
    TLI_REQUIRE(num_rows < INT32_MAX && block->num_cols < INT32_MAX, TULLE_ERR_OVERFLOW,
                "%lld rows and %lld columns between two nodes: at most 2^31 - 2", (long long)num_rows,
                (long long)block->num_cols);
    TLI_TRY(merge_columns(c, node, arena, block));
    block->graph.num_rows = (int32_t)num_rows;
    TLI_TRY(tli_arena_alloc(arena, block->graph.num_cols + 2, sizeof(int64_t), &block->graph.col_ptr));
    TLI_TRY(tli_arena_alloc_raw(arena, num_nonzeros, sizeof(int32_t), &block->graph.row));
    add_nonzeros(c, node, 1, block);
    for (int32_t col = 0; col < block->graph.num_cols; col++)
        block->graph.col_ptr[col + 2] += block->graph.col_ptr[col + 1];
    add_nonzeros(c, node, 0, block);
done:
    return st;
}

static tulle_status_t answer_sections(covering_t *c, int64_t node, const block_t *block, const tli_block_cover_t *cover,
                                      int choice)
{
    tulle_status_t st = TULLE_OK;
    int64_t first_row = 0, first_col = 0;
    for (int64_t s = 0; s < c->num_sections; s++) {
        section_t *section = &c->sections[s];
        const int64_t *words = section->words;
        int64_t *bits = NULL;
        if (words[NODE] != node)
            continue;
        TLI_TRY(tli_arena_alloc(c->arena, answer_words(words), sizeof *bits, &bits));
        section->bits[choice] = bits;
        for (int64_t i = 0; i < words[NUM_ROWS]; i++)
            if (cover->has_row[first_row + i])
                set_bit(bits, i);
        bits += num_words_of_bits(words[NUM_ROWS]);
        for (int64_t i = 0; i < words[NUM_COLS]; i++)
            if (cover->has_col[block->merged[first_col + i]])
                set_bit(bits, i);
        first_row += words[NUM_ROWS];
        first_col += words[NUM_COLS];
    }
done:
    return st;
}

/* Ranks that own rows and columns of a block: those of my node by the packets, then those of the other. */
static tulle_status_t find_block_owners(const covering_t *c, int64_t node, const block_t *block, tli_arena_t *arena,
                                        tli_block_owners_t *owners)
{
    tulle_status_t st = TULLE_OK;
    int32_t *of_row = NULL, *of_col = NULL, row = 0;
    int64_t col = 0;
    int num_peers = c->nodes->member_ptr[c->my_node + 1] - c->nodes->member_ptr[c->my_node];
    TLI_TRY(tli_arena_alloc_raw(arena, block->graph.num_rows, sizeof *of_row, &of_row));
    TLI_TRY(tli_arena_alloc_raw(arena, block->graph.num_cols, sizeof *of_col, &of_col));
    for (int64_t s = 0; s < c->num_sections; s++) {
        const int64_t *words = c->sections[s].words;
        for (int64_t i = 0; words[NODE] == node && i < words[NUM_ROWS]; i++)
            of_row[row++] = c->nodes->local_index[c->peer[c->sections[s].peer]];
        for (int64_t i = 0; words[NODE] == node && i < words[NUM_COLS]; i++)
            of_col[block->merged[col++]] = num_peers + c->nodes->local_index[words[HEADER_WORDS + 2 * i]];
    }
    int num_others = c->nodes->member_ptr[node + 1] - c->nodes->member_ptr[node];
    *owners = (tli_block_owners_t){num_peers + num_others, of_row, of_col};
done:
    return st;
}

static void add_flow(covering_t *c, int node, const tli_block_graph_t *graph, const tli_block_owners_t *owners,
                     const tli_block_cover_t *cover, int choice)
{
    const tulle_topology_t *topology = c->b->spmm->comm->topology;
    const int *mine = c->nodes->members + c->nodes->member_ptr[c->my_node];
    const int *others = c->nodes->members + c->nodes->member_ptr[node];
    int num_mine = c->nodes->member_ptr[c->my_node + 1] - c->nodes->member_ptr[c->my_node];
    tli_cover_flow_add(topology, node, c->my_node, cover, c->flow[choice]);
    for (int32_t row = 0; row < graph->num_rows; row++)
        tli_cover_flow_add_rank(topology, mine[owners->of_row[row]], 0, cover->has_row[row], c->flow[choice]);
    for (int32_t col = 0; col < graph->num_cols; col++)
        tli_cover_flow_add_rank(topology, others[owners->of_col[col] - num_mine], 1, cover->has_col[col],
                                c->flow[choice]);
    c->num_rows[choice] += cover->num_rows;
    c->num_cols[choice] += cover->num_cols;
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

static tulle_status_t cover_node(covering_t *c, int64_t node)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    block_t block = {.num_cols = 0};
    tli_block_owners_t owners;
    tli_block_cover_t cover;
    TLI_TRY(build_block(c, node, &scratch, &block));
    TLI_TRY(find_block_owners(c, node, &block, &scratch, &owners));
    for (int choice = COLUMNS; choice < NUM_CHOICES; choice++) {
        if (!c->is_wanted[choice])
            continue;
        TLI_TRY(choice == COLUMNS ? cover_all_columns(&block.graph, &scratch, &cover)
                : choice == LEAST ? tli_cover_least(&block.graph, &scratch, &cover)
                                  : tli_cover_balanced(&block.graph, &owners, &scratch, &cover));
        TLI_TRY(answer_sections(c, node, &block, &cover, choice));
        add_flow(c, (int)node, &block.graph, &owners, &cover, choice);
    }
    c->b->spmm->columns_rows += block.graph.num_cols;
done:
    tli_arena_release(&scratch);
    return st;
}

static tulle_status_t cover_nodes(covering_t *c, const tli_packets_t *asked)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_words = tli_cover_flow_words(c->b->spmm->comm->topology);
    int tried = LEAST;
    while (!c->is_wanted[tried])
        tried++;
    for (int choice = COLUMNS; choice < NUM_CHOICES; choice++)
        TLI_TRY(tli_arena_alloc(c->arena, num_words, sizeof(int64_t), &c->flow[choice]));
    c->peer = asked->peer;
    TLI_TRY(list_sections(c, asked));
    for (int64_t s = 0; s < c->num_sections; s++)
        if (c->sections[s].bits[tried] == NULL)
            TLI_TRY(cover_node(c, c->sections[s].words[NODE]));
done:
    return st;
}

/* The cheapest kind for the job; the plainer one of two that cost the same. All ranks come here, with success. */
static tulle_status_t choose(covering_t *c, int *choice_out)
{
    tulle_status_t st = TULLE_OK;
    const tulle_spmm_t *spmm = c->b->spmm;
    const tulle_topology_t *topology = spmm->comm->topology;
    int64_t row_bytes = spmm->options.width * (int64_t)tulle_datatype_size(spmm->type);
    double best_ns = 0;
    int best = -1;
    for (int choice = COLUMNS; choice < NUM_CHOICES; choice++) {
        if (!c->is_wanted[choice])
            continue;
        TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, c->flow[choice], (int)tli_cover_flow_words(topology), MPI_INT64_T, MPI_SUM,
                              spmm->comm->mpi));
        double ns = tli_cover_flow_ns(topology, row_bytes, c->flow[choice]);
        if (best < 0 || ns < best_ns) {
            best = choice;
            best_ns = ns;
        }
    }
    *choice_out = best;
done:
    return st;
}

static tulle_status_t answer(covering_t *c, const tli_packets_t *asked, int choice, tli_packets_t *answers)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_words = 0;
    for (int64_t s = 0; s < c->num_sections; s++)
        num_words += answer_words(c->sections[s].words);
    *answers = (tli_packets_t){asked->num_peers, asked->peer, NULL, NULL};
    TLI_TRY(tli_arena_alloc(c->arena, asked->num_peers + 1, sizeof(int64_t), &answers->ptr));
    TLI_TRY(tli_arena_alloc_raw(c->arena, num_words, sizeof(int64_t), &answers->words));
    num_words = 0;
    for (int64_t s = 0; s < c->num_sections; s++) {
        int64_t n = answer_words(c->sections[s].words);
        memcpy(answers->words + num_words, c->sections[s].bits[choice], (size_t)n * sizeof(int64_t));
        num_words += n;
        answers->ptr[c->sections[s].peer + 1] = num_words;
    }
done:
    return st;
}

/* --- taking the answers ------------------------------------------------------------------------------------------ */

/* Answers come from the ranks that were asked, section by section. */
static tulle_status_t read_answers(const tli_packets_t *asked, const tli_packets_t *answers, const int64_t **col_bits)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(asked->num_peers == answers->num_peers, TULLE_ERR_TRANSPORT, "%d ranks were asked, %d answered",
                asked->num_peers, answers->num_peers);
    for (int p = 0; p < asked->num_peers; p++) {
        const int64_t *bits = answers->words + answers->ptr[p];
        for (int64_t at = asked->ptr[p]; at < asked->ptr[p + 1]; at += section_words(asked->words + at)) {
            const int64_t *header = asked->words + at;
            col_bits[header[NODE]] = bits + num_words_of_bits(header[NUM_ROWS]);
            bits += answer_words(header);
        }
    }
done:
    return st;
}

/* Keep in the pattern what is to be gathered. */
static void keep_covered(covering_t *c, const int64_t *const *col_bits)
{
    tli_spmm_builder_t *b = c->b;
    tulle_pattern_t *pattern = b->pattern;
    int64_t n = 0;
    for (int64_t g = 0; g < b->num_foreign; g++) {
        b->owner_rank[g] = pattern->owner_rank[g];
        b->owner_row[g] = pattern->owner_row[g];
        int is_kept = c->node_of[g] < 0 || has_bit(col_bits[c->node_of[g]], c->place_in_pair[g]);
        b->kept[g] = is_kept ? n : -1;
        if (is_kept) {
            pattern->owner_rank[n] = pattern->owner_rank[g];
            pattern->owner_row[n] = pattern->owner_row[g];
            pattern->needed_ids[n++] = pattern->needed_ids[g];
        }
    }
    pattern->num_needed = n;
}

static void keep_all(tli_spmm_builder_t *b)
{
    for (int64_t g = 0; g < b->num_foreign; g++)
        b->kept[g] = g;
}

static tulle_status_t find_cover(covering_t *c)
{
    tulle_status_t st = TULLE_OK;
    tulle_spmm_t *spmm = c->b->spmm;
    tulle_comm_t *comm = spmm->comm;
    tli_packets_t asking = {0}, asked = {0}, answering = {0}, answers = {0};
    const int64_t **col_bits = NULL;
    int choice = COLUMNS;
    st = ask(c, &asking);
    st = tli_sparse_exchange(comm, st, &asking, c->arena, &asked);
    if (st == TULLE_OK)
        st = cover_nodes(c, &asked);
    TLI_TRY(tli_agree(comm->mpi, st));
    TLI_TRY(choose(c, &choice));
    spmm->options.cover = cover_of_choice[choice];
    spmm->gathered_rows = c->num_cols[choice];
    spmm->scattered_rows = c->num_rows[choice];
    if (choice == COLUMNS) {
        keep_all(c->b);
        goto done;
    }
    st = tli_sparse_exchange(comm, answer(c, &asked, choice, &answering), &answering, c->arena, &answers);
    if (st == TULLE_OK)
        st = tli_arena_alloc(c->arena, c->num_nodes, sizeof *col_bits, &col_bits);
    if (st == TULLE_OK)
        st = read_answers(&asking, &answers, col_bits);
    if (st == TULLE_OK)
        keep_covered(c, col_bits);
    st = tli_agree(comm->mpi, st);
done:
    return st;
}

tulle_status_t tli_spmm_cover(tli_spmm_builder_t *b)
{
    tulle_status_t st = TULLE_OK;
    tulle_spmm_t *spmm = b->spmm;
    tulle_cover_t asked = spmm->options.cover;
    const tli_level_t *nodes = &spmm->comm->topology->levels[0];
    covering_t c = {.b = b, .arena = &b->arena, .nodes = nodes, .num_nodes = nodes->num_groups};
    int is_auto = asked == TULLE_COVER_AUTO;
    c.my_node = nodes->group_of[spmm->comm->rank];
    c.is_wanted[COLUMNS] = is_auto;
    c.is_wanted[LEAST] = is_auto || asked == TULLE_COVER_LEAST;
    c.is_wanted[BALANCED] = (is_auto && tli_cover_can_balance(spmm->comm->topology)) || asked == TULLE_COVER_BALANCED;
    if (c.num_nodes > 1 && asked != TULLE_COVER_COLUMNS) {
        TLI_TRY(find_cover(&c));
    } else {
        spmm->options.cover = TULLE_COVER_COLUMNS;
        keep_all(b);
    }
done:
    return st;
}
