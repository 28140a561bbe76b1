/* SPDX-License-Identifier: Apache-2.0
 * Sections: what one rank has between its rows and the columns of another node, as it is sent to the rank of its node
 * that finds the cover. Answers: one bit for each of its rows, then, from a new word on, one for each of its columns.
 */
#ifndef TLI_SPMM_SECTIONS_H
#define TLI_SPMM_SECTIONS_H

#include "collectives/cover.h"
#include "collectives/spmm.h"
#include "src/sparse_exchange.h"
#include "topology/model.h"

/** A section: these words, owner and row there of each column, nonzeros of each row, columns of the nonzeros. */
enum {
    TLI_SECTION_NODE,
    TLI_SECTION_COLS,
    TLI_SECTION_ROWS,
    TLI_SECTION_NONZEROS,
    TLI_SECTION_HEADER /* number of words */
};

/** Kinds of covers among which AUTO chooses, the plainest first. */
enum { TLI_CHOICE_COLUMNS, TLI_CHOICE_LEAST, TLI_CHOICE_BALANCED, TLI_NUM_CHOICES };

/** A section that this rank answers. */
typedef struct tli_section {
    const int64_t *words;
    int peer;                             /* place among the packets */
    const int64_t *bits[TLI_NUM_CHOICES]; /* the answers */
} tli_section_t;

/** The sections that this rank answers. */
typedef struct tli_answering {
    tulle_spmm_t *spmm;
    tli_arena_t *arena;
    const tli_level_t *nodes;
    int my_node;
    tli_section_t *sections; /* [num_sections] by peer, then as they came */
    int64_t num_sections;
    const int *peer;                   /* [] ranks that sections came from */
    int is_wanted[TLI_NUM_CHOICES];    /* [bool] to be tried */
    int64_t *flow[TLI_NUM_CHOICES];    /* of this rank's pairs, then of all */
    int64_t num_rows[TLI_NUM_CHOICES]; /* that cross into this node in this rank's pairs: of C */
    int64_t num_cols[TLI_NUM_CHOICES]; /* of B */
} tli_answering_t;

/** Rows of B that a partial row of C weighs: its sums may be wider. */
static inline int64_t tli_weight_of_partial(const tulle_spmm_t *spmm)
{
    return (int64_t)(tulle_datatype_size(tli_sum_type(spmm->type)) / tulle_datatype_size(spmm->type));
}

static inline int64_t tli_words_of_bits(int64_t num_bits)
{
    return (num_bits + 63) / 64;
}

static inline int64_t tli_section_words(const int64_t *header)
{
    return TLI_SECTION_HEADER + 2 * header[TLI_SECTION_COLS] + header[TLI_SECTION_ROWS] + header[TLI_SECTION_NONZEROS];
}

static inline int64_t tli_answer_words(const int64_t *header)
{
    return tli_words_of_bits(header[TLI_SECTION_ROWS]) + tli_words_of_bits(header[TLI_SECTION_COLS]);
}

/** Find the covers of all sections that came. Local. */
tulle_status_t tli_answering_cover(tli_answering_t *a, const tli_packets_t *asked);

/** The cheapest kind for the job; the plainer one of two that cost the same. @collective all ranks, with success so far
 */
tulle_status_t tli_answering_choose(tli_answering_t *a, int *choice_out);

/** Answers of one kind, for those who asked. Local. */
tulle_status_t tli_answering_pack(const tli_answering_t *a, const tli_packets_t *asked, int choice,
                                  tli_packets_t *answers);

#endif
