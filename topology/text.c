/* SPDX-License-Identifier: Apache-2.0
 * Parser of the text form. First the text becomes a small tree of items, as long as the text and no longer, in which
 * sizes are checked; then the items are repeated into an outline.
 *
 *     list := item (',' item)*                           one group after the other
 *     item := INT | INT 'x' body | '*' 'x' body | '(' list ')'
 *     body := INT | INT 'x' body | '(' list ')'          what one group is made of: ranks or groups */
#include <stdio.h>
#include <string.h>

#include "src/fault.h"
#include "topology/outline.h"

#define MAX_GROUP_LEVELS (TULLE_TOPOLOGY_MAX_LEVELS - 1)

/* `copies` groups, each of `num_ranks` ranks, made of `children` or, without any, holding ranks only. */
typedef struct item {
    int64_t copies; /* 0 = as many as the job fills */
    int64_t num_ranks;
    struct item *children;
    struct item *next;
} item_t;

typedef struct parser {
    const char *text;
    const char *at;
    tli_arena_t *arena;
    int num_levels; /* deepest group seen */
    item_t *star;   /* the item that fills the job, if any */
    int64_t total;  /* ranks of all top-level items but the star */
} parser_t;

/* Text as it may stand in an error: cut to fit, nothing unprintable. */
typedef struct quote {
    char text[56];
} quote_t;

static quote_t quote(const char *text, size_t most)
{
    quote_t quoted;
    const char *tail = strlen(text) > most ? "..." : "";
    size_t length = 0;
    for (; text[length] != '\0' && length < most; length++)
        quoted.text[length] = (char)(text[length] >= ' ' && text[length] <= '~' ? text[length] : '?');
    memcpy(quoted.text + length, tail, strlen(tail) + 1);
    return quoted;
}

/* What is wrong and what to do about it, at a column of the text. */
static tulle_status_t syntax_error(const parser_t *parser, const char *at, const char *where, const char *message)
{
    quote_t text = quote(parser->text, 40);
    quote_t rest = quote(at, 12);
    const char *mark = *at == '\0' ? "" : "\"";
    return tli_fail(TULLE_ERR_ARG, 0, where, "topology \"%s\", column %d, at %s%s%s: %s", text.text,
                    (int)(at - parser->text) + 1, mark, *at == '\0' ? "the end" : rest.text, mark, message);
}

/* Expects `st`, `done` and a `parser` like the macros of src/fault.h. */
#define REQUIRE_AT(condition, at, message)                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            st = syntax_error(parser, (at), TLI_WHERE, (message));                                                     \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

static int accept(parser_t *parser, char symbol)
{
    int is_there = *parser->at == symbol;
    parser->at += is_there;
    return is_there;
}

static int is_digit(char symbol)
{
    return symbol >= '0' && symbol <= '9';
}

static tulle_status_t parse_count(parser_t *parser, int64_t *count_out)
{
    tulle_status_t st = TULLE_OK;
    const char *start = parser->at;
    int64_t count = 0;
    REQUIRE_AT(*start != ' ' && *start != '\t', start, "spaces are not allowed; remove them");
    REQUIRE_AT(*start != '*', start, "\"*\" may stand once, before the \"x\" of a top-level item");
    REQUIRE_AT(is_digit(*start), start, "expected a count or \"(\"");
    for (; is_digit(*parser->at); parser->at++) {
        count = 10 * count + (*parser->at - '0');
        REQUIRE_AT(count <= TLI_OUTLINE_MAX_SLOTS, start, "above 16777216, the most ranks; use a smaller count");
    }
    REQUIRE_AT(count > 0, start, "a count of 0 is not allowed; leave the group out");
    *count_out = count;
done:
    return st;
}

/* A list holds items, and an item may hold a list. */
static tulle_status_t parse_list(parser_t *parser, int level, item_t **list_out, int64_t *num_ranks_out);

static tulle_status_t new_item(parser_t *parser, int level, item_t **item_out)
{
    tulle_status_t st = TULLE_OK;
    REQUIRE_AT(level < MAX_GROUP_LEVELS, parser->at, "more than 7 levels of groups; leave some out");
    if (parser->num_levels < level + 1)
        parser->num_levels = level + 1;
    TLI_TRY(tli_arena_alloc(parser->arena, 1, sizeof **item_out, item_out));
done:
    return st;
}

/* After "(": the groups that this one is made of. */
static tulle_status_t parse_members(parser_t *parser, int level, item_t *item)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(parse_list(parser, level + 1, &item->children, &item->num_ranks));
    REQUIRE_AT(accept(parser, ')'), parser->at, "expected \",\" or \")\"");
done:
    return st;
}

/* What each copy of a group is made of. A chain such as 2x3x4 makes one child item per "x". */
static tulle_status_t parse_body(parser_t *parser, int level, item_t *item)
{
    tulle_status_t st = TULLE_OK;
    const char *start = parser->at;
    int64_t count = 0;
    if (accept(parser, '(')) {
        TLI_TRY(parse_members(parser, level, item));
    } else {
        TLI_TRY(parse_count(parser, &count));
        item->num_ranks = count;
        if (accept(parser, 'x')) {
            TLI_TRY(new_item(parser, level + 1, &item->children));
            item->children->copies = count;
            TLI_TRY(parse_body(parser, level + 1, item->children));
            item->num_ranks = count * item->children->num_ranks;
        }
    }
    REQUIRE_AT(item->num_ranks <= TLI_OUTLINE_MAX_SLOTS, start, "more than 16777216 ranks; use smaller counts");
done:
    return st;
}

static tulle_status_t parse_star(parser_t *parser, int level, item_t *item)
{
    tulle_status_t st = TULLE_OK;
    const char *start = parser->at - 1;
    REQUIRE_AT(level == 0 && parser->star == NULL, start, "\"*\" may stand once, before the \"x\" of a top-level item");
    REQUIRE_AT(accept(parser, 'x'), parser->at, "expected \"x\" and what to repeat, as in \"*x8\"");
    parser->star = item;
    TLI_TRY(parse_body(parser, level, item));
done:
    return st;
}

static tulle_status_t parse_item(parser_t *parser, int level, item_t *item)
{
    tulle_status_t st = TULLE_OK;
    item->copies = 1;
    if (accept(parser, '*')) {
        item->copies = 0;
        TLI_TRY(parse_star(parser, level, item));
    } else if (accept(parser, '(')) {
        TLI_TRY(parse_members(parser, level, item));
    } else {
        TLI_TRY(parse_count(parser, &item->num_ranks));
        if (accept(parser, 'x')) {
            item->copies = item->num_ranks;
            TLI_TRY(parse_body(parser, level, item));
        }
    }
done:
    return st;
}

static tulle_status_t parse_list(parser_t *parser, int level, item_t **list_out, int64_t *num_ranks_out)
{
    tulle_status_t st = TULLE_OK;
    item_t **tail = list_out;
    int64_t num_ranks = 0;
    do {
        const char *start = parser->at;
        TLI_TRY(new_item(parser, level, tail));
        TLI_TRY(parse_item(parser, level, *tail));
        num_ranks += (*tail)->copies * (*tail)->num_ranks;
        REQUIRE_AT(num_ranks <= TLI_OUTLINE_MAX_SLOTS, start, "more than 16777216 ranks; use smaller counts");
        tail = &(*tail)->next;
    } while (accept(parser, ','));
    *num_ranks_out = num_ranks;
done:
    return st;
}

static tulle_status_t parse_suffix(parser_t *parser, tli_placement_t *placement_out, int *suffix_out)
{
    tulle_status_t st = TULLE_OK;
    const char *suffix = parser->at;
    REQUIRE_AT(*suffix == ':' || *suffix == '\0', suffix,
               "expected \"x\", \",\", \":block\", \":cyclic\" or the end, without spaces");
    REQUIRE_AT(strcmp(suffix, ":custom") != 0, suffix,
               "\":custom\" does not say which rank is where; save the topology to a file and load that");
    *placement_out = strcmp(suffix, ":cyclic") == 0 ? TLI_PLACEMENT_CYCLIC : TLI_PLACEMENT_BLOCK;
    REQUIRE_AT(*suffix == '\0' || *placement_out == TLI_PLACEMENT_CYCLIC || strcmp(suffix, ":block") == 0, suffix,
               "unknown placement; use \":block\" or \":cyclic\"");
    if (suffix_out != NULL)
        *suffix_out = *suffix != '\0';
done:
    return st;
}

/* Fill the star and compare with the job; leaves the number of ranks in parser->total. */
static tulle_status_t fit_job(parser_t *parser, int num_ranks)
{
    tulle_status_t st = TULLE_OK;
    item_t *star = parser->star;
    int64_t rest = num_ranks - parser->total;
    quote_t text = quote(parser->text, 40);
    if (star != NULL) {
        TLI_REQUIRE(num_ranks > 0, TULLE_ERR_ARG,
                    "topology \"%s\" fits any job; give the number of ranks, or a count instead of \"*\"", text.text);
        TLI_REQUIRE(num_ranks <= TLI_OUTLINE_MAX_SLOTS, TULLE_ERR_ARG, "the job has %d ranks, above %d, the most",
                    num_ranks, TLI_OUTLINE_MAX_SLOTS);
        TLI_REQUIRE(rest > 0 && rest % star->num_ranks == 0, TULLE_ERR_ARG,
                    "topology \"%s\" describes %lld ranks or more, in steps of %lld, but the job has %d", text.text,
                    (long long)(parser->total + star->num_ranks), (long long)star->num_ranks, num_ranks);
        star->copies = rest / star->num_ranks;
        parser->total = num_ranks;
    }
    TLI_REQUIRE(num_ranks == 0 || num_ranks == parser->total, TULLE_ERR_ARG,
                "topology \"%s\" describes %lld ranks but the job has %d", text.text, (long long)parser->total,
                num_ranks);
done:
    return st;
}

/* Repeat a list into the outline. A branch that ends early gets only children down to the innermost level. */
static void expand(const item_t *list, int level, tli_outline_t *outline)
{
    for (const item_t *item = list; item != NULL; item = item->next) {
        for (int64_t copy = 0; copy < item->copies; copy++) {
            tli_outline_open(outline, level);
            if (item->children != NULL) {
                expand(item->children, level + 1, outline);
                continue;
            }
            for (int inner = level + 1; inner < outline->num_levels; inner++)
                tli_outline_open(outline, inner);
            outline->num_slots += (int)item->num_ranks;
        }
    }
}

tulle_status_t tli_outline_parse(const char *text, int num_ranks, tli_arena_t *arena, tli_outline_t *outline_out,
                                 int *suffix_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    parser_t state = {text, text, &scratch, 0, NULL, 0};
    parser_t *parser = &state;
    item_t *nodes = NULL;
    tli_outline_t outline;
    tli_placement_t placement = TLI_PLACEMENT_BLOCK;
    TLI_REQUIRE(num_ranks >= 0, TULLE_ERR_ARG, "num_ranks is %d; give the size of the job, or 0 for any", num_ranks);
    REQUIRE_AT(*text != '\0', text, "the text is empty; write for instance \"2x4\", 2 nodes of 4 ranks");
    TLI_TRY(parse_list(parser, 0, &nodes, &parser->total));
    TLI_TRY(parse_suffix(parser, &placement, suffix_out));
    TLI_TRY(fit_job(parser, num_ranks));
    TLI_TRY(tli_outline_alloc(arena, (int)parser->total, parser->num_levels, &outline));
    expand(nodes, 0, &outline);
    tli_outline_close(&outline);
    TLI_ASSERT(outline.num_slots == parser->total);
    TLI_TRY(tli_outline_place(&outline, placement));
    *outline_out = outline;
done:
    tli_arena_release(&scratch);
    return st;
}

tulle_status_t tulle_topology_parse(const char *text, int num_ranks, tulle_topology_t **topology_out)
{
    tulle_status_t st = TULLE_OK;
    tli_arena_t scratch = TLI_ARENA_INIT;
    tli_outline_t outline;
    TLI_REQUIRE(text != NULL && topology_out != NULL, TULLE_ERR_ARG, "the text or the output pointer is NULL");
    TLI_TRY(tli_outline_parse(text, num_ranks, &scratch, &outline, NULL));
    TLI_TRY(tli_outline_build(&outline, topology_out));
done:
    tli_arena_release(&scratch);
    return st;
}
