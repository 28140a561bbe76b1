/* SPDX-License-Identifier: Apache-2.0
 * The text form: what it means, what is refused and how, and that what is written is the shortest that reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <tulle/topology.h>

#include "topology/outline.h"
#include "trees.h"

/* Groups of a level as digits, one per rank. */
typedef struct meaning {
    const char *text;
    const char *shortest;
    int num_levels;
    const char *groups[4]; /* at each group level */
} meaning_t;

static const meaning_t meanings[] = {
    {"8", "8", 2, {"00000000"}},
    {"1", "1", 2, {"0"}},
    {"2x4", "2x4", 2, {"00001111"}},
    {"4,4,2", "2x4,2", 2, {"0000111122"}},
    {"2x4,3", "2x4,3", 2, {"00001111222"}},
    {"1,2,3:block", "1,2,3", 2, {"011222"}},
    {"2x2x3", "2x2x3", 3, {"000000111111", "000111222333"}},
    {"(3,1),(2x2)", "(3,1),(2x2)", 3, {"00001111", "00012233"}},
    {"1x2x4", "1x2x4", 3, {"00000000", "00001111"}},
    {"(2x4)", "1x2x4", 3, {"00000000", "00001111"}},
    {"(2,1)", "(2,1)", 3, {"000", "001"}},
    {"2x(2,1)", "2x(2,1)", 3, {"000111", "001223"}},
    /* Branches of different depth are padded with an only child. */
    {"4,(2x2)", "4,(2x2)", 3, {"00001111", "00001122"}},
    {"((2,1),3),2", "((2,1),3),2", 4, {"00000011", "00011122", "00122233"}},
    {"3x1x2", "3x1x2", 3, {"001122", "001122"}},
    {"(3),(2),(1)", "(3),2,1", 3, {"000112", "000112"}},
    {"2x4:cyclic", "2x4:cyclic", 2, {"01010101"}},
    {"3,1,2:cyclic", "3,1,2:cyclic", 2, {"012020"}},
    {"2x(2,1):cyclic", "2x(2,1):cyclic", 3, {"010101", "010123"}},
    /* Placements that are block in truth say nothing. */
    {"8:cyclic", "8", 2, {"00000000"}},
    {"3x1:cyclic", "3x1", 2, {"012"}},
};

static void check_groups(const tulle_topology_t *topology, const meaning_t *meaning)
{
    assert_int_equal(tulle_topology_num_levels(topology), meaning->num_levels);
    assert_int_equal(tulle_topology_num_ranks(topology), strlen(meaning->groups[0]));
    for (int l = 0; l < meaning->num_levels - 1; l++)
        for (int rank = 0; meaning->groups[l][rank] != '\0'; rank++)
            assert_int_equal(tulle_topology_group(topology, l, rank), meaning->groups[l][rank] - '0');
}

static void test_parse_valid_text_gives_its_tree(void **state)
{
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        tulle_topology_t *topology = NULL;
        int num_ranks = (int)strlen(meanings[i].groups[0]);
        assert_int_equal(tulle_topology_parse(meanings[i].text, num_ranks, &topology), TULLE_OK);
        check_groups(topology, &meanings[i]);
        assert_string_equal(tulle_topology_text(topology), meanings[i].shortest);
        tulle_topology_destroy(&topology);
    }
}

/* A refused text and words that its error must contain. */
typedef struct refusal {
    const char *text;
    int num_ranks;
    const char *words[3];
} refusal_t;

static const refusal_t refusals[] = {
    {"", 0, {"column 1", "the end", "for instance"}},
    {" ", 0, {"column 1", "spaces"}},
    {"2x4 ", 0, {"column 4", "spaces"}},
    {"2 x4", 0, {"column 2", "spaces"}},
    {"2x 4", 0, {"column 3", "\" 4\"", "spaces"}},
    {"0", 0, {"column 1", "count of 0"}},
    {"2x0", 0, {"column 3", "count of 0"}},
    {"0x4", 0, {"column 1", "count of 0"}},
    {"4,00", 0, {"column 3", "count of 0"}},
    {"2x", 0, {"column 3", "the end", "expected a count"}},
    {"x4", 0, {"column 1", "\"x4\"", "expected a count"}},
    {"2xx4", 0, {"column 3", "expected a count"}},
    {"2X4", 0, {"column 2", "\"X4\"", "expected"}},
    {"-2", 0, {"column 1", "expected a count"}},
    {"2,,4", 0, {"column 3", "\",4\""}},
    {"2,", 0, {"column 3", "the end"}},
    {",2", 0, {"column 1"}},
    {"()", 0, {"column 2", "expected a count"}},
    {"(2", 0, {"column 3", "expected \",\" or \")\""}},
    {"2)", 0, {"column 2", "\")\""}},
    {"(2)x2", 0, {"column 4", "\"x2\""}},
    {"2(3)", 0, {"column 2"}},
    {"2x4;", 0, {"column 4", "\";\"", "expected"}},
    {"2x4\n", 0, {"column 4", "\"?\""}},
    {"2x4:", 0, {"column 4", "unknown placement"}},
    {"2x4:cyclical", 0, {"column 4", "unknown placement", ":cyclic"}},
    {"2x4:block:cyclic", 0, {"column 4", "unknown placement"}},
    {"2x4:custom", 0, {"column 4", "save the topology"}},
    {"16777217", 0, {"column 1", "16777216"}},
    {"99999999999999999999999999", 0, {"column 1", "16777216"}},
    {"4096x4097", 0, {"column 1", "16777216"}},
    {"2x16777216x16777216x16777216", 0, {"column 12", "16777216"}},
    {"16777216,1", 0, {"column 10", "16777216"}},
    {"1x1x1x1x1x1x1x1x1", 0, {"7 levels"}},
    {"((((((((1))))))))", 0, {"column 8", "7 levels"}},
    {"*x8", 0, {"number of ranks"}},
    {"*x8", 12, {"8 ranks", "steps of 8", "12"}},
    {"4,*x8", 4, {"12 ranks", "steps of 8", "4"}},
    {"*", 8, {"column 2", "\"x\"", "*x8"}},
    {"*8", 8, {"column 2", "\"x\""}},
    {"2x*x4", 8, {"column 3", "top-level"}},
    {"(*x4)", 8, {"column 2", "top-level"}},
    {"*x2,*x4", 8, {"column 5", "once"}},
    {"**x2", 8, {"column 2"}},
    {"2x4", 6, {"\"2x4\"", "8 ranks", "the job has 6"}},
    {"2x4", -1, {"-1"}},
};

static void test_parse_malformed_text_names_the_place(void **state)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        tulle_topology_t *topology = NULL;
        tulle_status_t st = tulle_topology_parse(refusals[i].text, refusals[i].num_ranks, &topology);
        if (st != TULLE_ERR_ARG || topology != NULL)
            fail_msg("\"%s\" gives %s", refusals[i].text, tulle_status_name(st));
        for (int k = 0; k < 3 && refusals[i].words[k] != NULL; k++)
            if (strstr(tulle_last_error()->text, refusals[i].words[k]) == NULL)
                fail_msg("\"%s\": no \"%s\" in: %s", refusals[i].text, refusals[i].words[k], tulle_last_error()->text);
    }
    assert_int_equal(tulle_topology_parse(NULL, 0, NULL), TULLE_ERR_ARG);
    assert_int_equal(tulle_topology_parse("2x4", 0, NULL), TULLE_ERR_ARG);
}

static void check_star(const char *text, int num_ranks, const char *expected)
{
    tulle_topology_t *topology = NULL;
    assert_int_equal(tulle_topology_parse(text, num_ranks, &topology), TULLE_OK);
    assert_int_equal(tulle_topology_num_ranks(topology), num_ranks);
    assert_string_equal(tulle_topology_text(topology), expected);
    tulle_topology_destroy(&topology);
}

static void test_parse_star_fills_the_job(void **state)
{
    check_star("*x8", 8, "8");
    check_star("*x8", 24, "3x8");
    check_star("*x2x3", 18, "3x2x3");
    check_star("*x(2,1):cyclic", 9, "3x(2,1):cyclic");
    check_star("4,*x8,2", 22, "4,2x8,2");
}

static tulle_topology_t *parse(const char *text)
{
    tulle_topology_t *topology = NULL;
    if (tulle_topology_parse(text, 0, &topology) != TULLE_OK)
        fail_msg("\"%s\": %s", text, tulle_last_error()->text);
    return topology;
}

/* What is written reads back equal, and is no longer than a text that gave the same tree. */
static void check_written(const tulle_topology_t *topology, const char *text)
{
    tulle_topology_t *again = parse(tulle_topology_text(topology));
    if (!tli_topology_equal(topology, again) || strlen(tulle_topology_text(topology)) > strlen(text))
        fail_msg("\"%s\" is written as \"%s\"", text, tulle_topology_text(topology));
    assert_string_equal(tulle_topology_text(again), tulle_topology_text(topology));
    tulle_topology_destroy(&again);
}

/* Whether a text could describe thousands of ranks; tests of many texts leave those out. */
static int is_large(const char *text)
{
    size_t digits = 0;
    for (; *text != '\0' && digits < 4; text++)
        digits = *text >= '0' && *text <= '9' ? digits + 1 : 0;
    return digits == 4;
}

static void test_text_of_every_short_text_is_shortest(void **state)
{
    static const char symbols[] = "12x,()";
    char text[8] = "";
    int num_valid = 0;
    int num_texts = 0;
    for (int length = 1, combinations = 6; length <= 7; length++, combinations *= 6) {
        for (int i = 0; i < combinations; i++) {
            tulle_topology_t *topology = NULL;
            for (int k = 0, digits = i; k < length; k++, digits /= 6)
                text[k] = symbols[digits % 6];
            text[length] = '\0';
            num_texts++;
            if (is_large(text) || tulle_topology_parse(text, 0, &topology) != TULLE_OK)
                continue;
            num_valid++;
            check_written(topology, text);
            tulle_topology_destroy(&topology);
        }
    }
    print_message("%d of %d texts are valid\n", num_valid, num_texts);
}

static void test_text_of_random_text_reads_back_equal(void **state)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        uint64_t random = seed;
        char text[1024];
        tulle_topology_t *topology = NULL;
        trees_random_text(&random, text, sizeof text);
        topology = parse(text);
        check_written(topology, text);
        tulle_topology_destroy(&topology);
    }
}

static void test_text_of_random_tree_reads_back_equal(void **state)
{
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        uint64_t random = seed;
        tulle_topology_t *anywhere = trees_random_topology(&random);
        tulle_topology_t *topology = trees_without_placement(anywhere);
        assert_null(strchr(tulle_topology_text(topology), ':'));
        check_written(topology, tulle_topology_text(topology));
        /* The shape in the text of the same tree with ranks anywhere is the same. */
        assert_int_equal(strncmp(tulle_topology_text(anywhere), tulle_topology_text(topology),
                                 strlen(tulle_topology_text(topology))),
                         0);
        tulle_topology_destroy(&topology);
        tulle_topology_destroy(&anywhere);
    }
}

static void test_text_of_irregular_placement_is_custom(void **state)
{
    static const int nodes[6] = {0, 1, 1, 0, 0, 1};
    tulle_topology_t *topology = NULL;
    assert_int_equal(tli_topology_from_groups(6, 1, nodes, NULL, &topology), TULLE_OK);
    assert_string_equal(tulle_topology_text(topology), "2x3:custom");
    tulle_topology_destroy(&topology);
}

/* Random symbols: whatever comes back, nothing is read or written out of bounds (seen by the sanitizers). */
static void test_parse_random_symbols_is_safe(void **state)
{
    static const char symbols[] = "123450x,()*: blockcyclic\xc3\n";
    for (uint64_t seed = 1; seed <= 100000; seed++) {
        uint64_t random = seed;
        char text[24];
        int length = trees_random(&random, (int)sizeof text);
        tulle_topology_t *topology = NULL;
        for (int k = 0; k < length; k++)
            text[k] = symbols[trees_random(&random, (int)sizeof symbols - 1)];
        text[length] = '\0';
        if (!is_large(text) && tulle_topology_parse(text, trees_random(&random, 9), &topology) == TULLE_OK)
            check_written(topology, text);
        tulle_topology_destroy(&topology);
    }
}

static void test_parse_failing_allocation_leaks_nothing(void **state)
{
    static const char text[] = "2x(3,1),((2,1),4),3x2:cyclic";
    tulle_topology_t *topology = NULL;
    int64_t live = tli_alloc_live();
    tulle_status_t st = TULLE_ERR_NOMEM;
    int64_t k = 0;
    while (st != TULLE_OK) {
        tli_alloc_fail_at(++k);
        st = tulle_topology_parse(text, 0, &topology);
        tli_alloc_fail_at(0);
        assert_true(st == TULLE_OK || (st == TULLE_ERR_NOMEM && topology == NULL && tli_alloc_live() == live));
    }
    assert_true(k > 3);
    tulle_topology_destroy(&topology);
    assert_int_equal(tli_alloc_live(), live);
}

static void test_parse_large_machine_is_linear(void **state)
{
    for (int i = 0; i < 3; i++) {
        static const char *const texts[] = {"1048576x1", "16384x8x8:cyclic", "524288,524288x1:cyclic"};
        tulle_topology_t *topology = parse(texts[i]);
        assert_int_equal(tulle_topology_num_ranks(topology), 1048576);
        assert_string_equal(tulle_topology_text(topology), texts[i]);
        tulle_topology_destroy(&topology);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_valid_text_gives_its_tree),
        cmocka_unit_test(test_parse_malformed_text_names_the_place),
        cmocka_unit_test(test_parse_star_fills_the_job),
        cmocka_unit_test(test_text_of_every_short_text_is_shortest),
        cmocka_unit_test(test_text_of_random_text_reads_back_equal),
        cmocka_unit_test(test_text_of_random_tree_reads_back_equal),
        cmocka_unit_test(test_text_of_irregular_placement_is_custom),
        cmocka_unit_test(test_parse_random_symbols_is_safe),
        cmocka_unit_test(test_parse_failing_allocation_leaks_nothing),
        cmocka_unit_test(test_parse_large_machine_is_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
