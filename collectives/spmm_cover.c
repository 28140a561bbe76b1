/* SPDX-License-Identifier: Apache-2.0
 * Covers in a running job. The ranks of a node share out the other nodes among them: what is between the node's rows
 * and the columns of another node comes together on one rank, as a *section* from each rank that has any. The answers
 * say which columns are gathered; nonzeros of the others move. Between two ranks of a node all nonzeros are on one of
 * them, which decides alone. */
#include <string.h>

#include "collectives/spmm_build.h"
#include "collectives/spmm_sections.h"
#include "src/agree.h"

/* A rank gathers another one's columns unless there are so many for each row that uses some: a row of B is copied once,
 * where a partial row is written, read, and added twice. */
#define LEAST_COLUMNS_PER_ROW 4

static const tulle_cover_t cover_of_choice[] = {TULLE_COVER_COLUMNS, TULLE_COVER_LEAST, TULLE_COVER_BALANCED};

/* What this rank has with the columns of another node, or of another rank of its own. */
typedef struct pair {
    int64_t num_cols, num_rows, num_nonzeros;
    int64_t last_row;                   /* that was counted */
    int64_t *cols, *degrees, *nonzeros; /* where the parts of its section are, in the packet; NULL: it has none */
} pair_t;

typedef struct covering {
    tli_spmm_builder_t *b;
    tli_arena_t *arena;
    const tli_level_t *nodes;
    int my_node;
    int num_nodes;
    int32_t *pair_of_col;   /* [num_foreign] */
    int64_t *place_in_pair; /* [num_foreign] */
    pair_t *pairs;          /* [num_pairs] with other nodes, by node; behind them with the ranks of mine */
    int num_pairs;
} covering_t;

/* --- asking ------------------------------------------------------------------------------------------------------ */

static void count_columns(covering_t *c)
{
    const tulle_pattern_t *pattern = c->b->pattern;
    for (int64_t g = 0; g < c->b->num_foreign; g++) {
        int64_t owner = pattern->owner_rank[g];
        int node = c->nodes->group_of[owner];
        c->pair_of_col[g] = node == c->my_node ? c->num_nodes + c->nodes->local_index[owner] : node;
        c->place_in_pair[g] = c->pairs[c->pair_of_col[g]].num_cols++;
    }
}

/* Pair that a nonzero is in; NULL: its column is this rank's. */
static pair_t *pair_of(const covering_t *c, int64_t e)
{
    int64_t place = c->b->place[e];
    return place >= 0 ? NULL : &c->pairs[c->pair_of_col[-1 - place]];
}

static void count_nonzeros(covering_t *c)
{
    const int64_t *row_ptr = c->b->matrix->row_ptr;
    for (int pair = 0; pair < c->num_pairs; pair++)
        c->pairs[pair].last_row = -1;
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
            num_words += TLI_SECTION_HEADER + 2 * c->pairs[node].num_cols + c->pairs[node].num_rows +
                         c->pairs[node].num_nonzeros;
    TLI_TRY(tli_arena_alloc_raw(c->arena, num_words, sizeof(int64_t), &packets->words));
    num_words = 0;
    for (int m = 0; m < num_members; m++) {
        for (int node = m; node < c->num_nodes; node += num_members) {
            pair_t *pair = &c->pairs[node];
            if (pair->num_cols == 0)
                continue;
            int64_t header[TLI_SECTION_HEADER] = {node, pair->num_cols, pair->num_rows, pair->num_nonzeros};
            memcpy(packets->words + num_words, header, sizeof header);
            pair->cols = packets->words + num_words + TLI_SECTION_HEADER;
            pair->degrees = pair->cols + 2 * pair->num_cols;
            pair->nonzeros = pair->degrees + pair->num_rows;
            num_words += tli_section_words(header);
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
        if (c->pairs[c->pair_of_col[g]].cols != NULL) {
            int64_t *col = c->pairs[c->pair_of_col[g]].cols + 2 * c->place_in_pair[g];
            col[0] = b->pattern->owner_rank[g];
            col[1] = b->pattern->owner_row[g];
        }
    }
    for (int node = 0; node < c->num_nodes; node++) {
        c->pairs[node].last_row = -1;
        if (c->pairs[node].degrees != NULL)
            c->pairs[node].degrees--; /* moves on at the first nonzero of a row */
    }
    for (int64_t row = 0; row < b->spmm->num_rows; row++) {
        for (int64_t e = b->matrix->row_ptr[row]; e < b->matrix->row_ptr[row + 1]; e++) {
            pair_t *pair = pair_of(c, e);
            if (pair == NULL || pair->cols == NULL)
                continue;
            if (pair->last_row != row)
                *++pair->degrees = 0;
            ++*pair->degrees;
            pair->last_row = row;
            *pair->nonzeros++ = c->place_in_pair[-1 - b->place[e]];
        }
    }
}

static tulle_status_t count_pairs(covering_t *c)
{
    tulle_status_t st = TULLE_OK;
    c->num_pairs = c->num_nodes + c->nodes->member_ptr[c->my_node + 1] - c->nodes->member_ptr[c->my_node];
    TLI_TRY(tli_arena_alloc_raw(c->arena, c->b->num_foreign, sizeof *c->pair_of_col, &c->pair_of_col));
    TLI_TRY(tli_arena_alloc_raw(c->arena, c->b->num_foreign, sizeof *c->place_in_pair, &c->place_in_pair));
    TLI_TRY(tli_arena_alloc(c->arena, c->num_pairs, sizeof *c->pairs, &c->pairs));
    count_columns(c);
    count_nonzeros(c);
done:
    return st;
}

static tulle_status_t ask(covering_t *c, tli_packets_t *packets)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(count_pairs(c));
    TLI_TRY(lay_out_sections(c, packets));
    fill_sections(c);
done:
    return st;
}

/* --- taking the answers ------------------------------------------------------------------------------------------ */

static int has_bit(const int64_t *words, int64_t bit)
{
    return (int)((uint64_t)words[bit / 64] >> bit % 64 & 1);
}

/* Answers come from the ranks that were asked, section by section. */
static tulle_status_t read_answers(const tli_packets_t *asked, const tli_packets_t *answers, const int64_t **col_bits)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(asked->num_peers == answers->num_peers, TULLE_ERR_TRANSPORT, "%d ranks were asked, %d answered",
                asked->num_peers, answers->num_peers);
    for (int p = 0; p < asked->num_peers; p++) {
        const int64_t *bits = answers->words + answers->ptr[p];
        for (int64_t at = asked->ptr[p]; at < asked->ptr[p + 1]; at += tli_section_words(asked->words + at)) {
            const int64_t *header = asked->words + at;
            col_bits[header[TLI_SECTION_NODE]] = bits + tli_words_of_bits(header[TLI_SECTION_ROWS]);
            bits += tli_answer_words(header);
        }
    }
done:
    return st;
}

/* Whether this rank's rows get partial sums from a rank of its node instead of its columns. */
static int is_summed_there(const covering_t *c, const pair_t *pair)
{
    return pair->num_cols >= LEAST_COLUMNS_PER_ROW * tli_weight_of_partial(c->b->spmm) * pair->num_rows;
}

static int is_gathered(const covering_t *c, const int64_t *const *col_bits, int64_t g)
{
    int pair = c->pair_of_col[g];
    if (pair >= c->num_nodes)
        return !is_summed_there(c, &c->pairs[pair]);
    return has_bit(col_bits[pair], c->place_in_pair[g]);
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
        int is_kept = is_gathered(c, col_bits, g);
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

static tulle_status_t take_answers(covering_t *c, const tli_packets_t *asking, const tli_packets_t *answers)
{
    tulle_status_t st = TULLE_OK;
    const int64_t **col_bits = NULL;
    TLI_TRY(tli_arena_alloc(c->arena, c->num_nodes, sizeof *col_bits, &col_bits));
    TLI_TRY(read_answers(asking, answers, col_bits));
    keep_covered(c, col_bits);
done:
    return st;
}

static tulle_status_t find_cover(covering_t *c, tli_answering_t *a)
{
    tulle_status_t st = TULLE_OK;
    tulle_comm_t *comm = a->spmm->comm;
    tli_packets_t asking = {0}, asked = {0}, answering = {0}, answers = {0};
    int choice = TLI_CHOICE_COLUMNS;
    st = tli_sparse_exchange(comm, ask(c, &asking), &asking, c->arena, &asked);
    if (st == TULLE_OK)
        st = tli_answering_cover(a, &asked);
    TLI_TRY(tli_agree(comm->mpi, st));
    TLI_TRY(tli_answering_choose(a, &choice));
    a->spmm->options.cover = cover_of_choice[choice];
    a->spmm->gathered_rows = a->num_cols[choice];
    a->spmm->scattered_rows = a->num_rows[choice];
    if (choice == TLI_CHOICE_COLUMNS) {
        keep_all(c->b);
        goto done;
    }
    st = tli_sparse_exchange(comm, tli_answering_pack(a, &asked, choice, &answering), &answering, c->arena, &answers);
    if (st == TULLE_OK)
        st = take_answers(c, &asking, &answers);
    st = tli_agree(comm->mpi, st);
done:
    return st;
}

/* Nothing crosses, but ranks may sum up for one another. */
static tulle_status_t cover_one_node(covering_t *c)
{
    tulle_status_t st = count_pairs(c);
    tli_spmm_builder_t *b = c->b;
    int64_t num_summed = 0;
    if (st == TULLE_OK) {
        keep_covered(c, NULL);
        num_summed = b->num_foreign - b->pattern->num_needed;
    }
    TLI_TRY(tli_agree_on_most(b->spmm->comm->mpi, st, 0, "whether rows are summed up for others", &num_summed));
    b->spmm->options.cover = num_summed > 0 ? TULLE_COVER_LEAST : TULLE_COVER_COLUMNS;
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
    tli_answering_t a = {.spmm = spmm, .arena = &b->arena, .nodes = nodes};
    int is_auto = asked == TULLE_COVER_AUTO, can_balance = tli_cover_can_balance(spmm->comm->topology);
    c.my_node = a.my_node = nodes->group_of[spmm->comm->rank];
    a.is_wanted[TLI_CHOICE_COLUMNS] = is_auto;
    a.is_wanted[TLI_CHOICE_LEAST] = is_auto || asked == TULLE_COVER_LEAST;
    a.is_wanted[TLI_CHOICE_BALANCED] = (is_auto && can_balance) || asked == TULLE_COVER_BALANCED;
    if (asked == TULLE_COVER_COLUMNS)
        keep_all(b);
    else
        TLI_TRY(c.num_nodes > 1 ? find_cover(&c, &a) : cover_one_node(&c));
done:
    return st;
}
