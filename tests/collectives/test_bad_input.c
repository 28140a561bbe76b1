/* SPDX-License-Identifier: Apache-2.0
 * Misuse of plans and exchanges, on one rank and on all, and ranks that come late: a status everywhere, words with the
 * offending values, nothing hangs, and the communicator works afterwards. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "src/comm.h"
#include "tests/collectives/misuse.h"

#define TOP ((int64_t)1 << 62)

/* --- plans ------------------------------------------------------------------------------------------------------- */

static const bad_t bad_plan[] = {
    {TULLE_ERR_ARG, "pattern is NULL"}, {TULLE_ERR_ARG, "plan_out is NULL"}, {TULLE_ERR_ARG, "struct_size is 0"},
    {TULLE_ERR_ARG, "strategy 9"},      {TULLE_ERR_ARG, "ghost order 5"},    {TULLE_ERR_ARG, "row_bytes is -8"},
    {TULLE_ERR_ARG, "strategy -1"},
};

static void test_plan_bad_argument_fails_all(void **state)
{
    for (int kind = 0; kind < COUNT(bad_plan); kind++) {
        for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
            spt_pattern_t p = spt_pattern_random(3);
            tulle_pattern_t *pattern = spt_pattern_make(comm, &p);
            tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
            tulle_plan_t *plan = NULL;
            int k = is_culprit(culprit) ? kind : -1;
            options.struct_size = k == 2 ? 0 : options.struct_size;
            options.strategy = k == 3 ? (tulle_strategy_t)9 : k == 6 ? (tulle_strategy_t)-1 : TULLE_STRATEGY_RAIL;
            options.ghost_order = k == 4 ? (tulle_ghost_order_t)5 : TULLE_GHOST_ORDER_CALLER;
            options.row_bytes = k == 5 ? -8 : 0;
            expect(tulle_plan_create(comm, k == 0 ? NULL : pattern, &options, k == 1 ? NULL : &plan), bad_plan[kind],
                   culprit);
            tulle_pattern_destroy(&pattern);
        }
        spt_teardown(NULL);
    }
}

static void test_plan_ranks_disagree_is_mismatch(void **state)
{
    spt_pattern_t p = spt_pattern_random(4);
    tulle_pattern_t *pattern = spt_pattern_make(comm, &p);
    for (int kind = 0; kind < 3 && spt_size() > 1; kind++) {
        tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
        tulle_plan_t *plan = NULL;
        if (spt_rank() == 0) {
            options.strategy = kind == 0 ? TULLE_STRATEGY_DIRECT : TULLE_STRATEGY_AUTO;
            options.ghost_order = kind == 1 ? TULLE_GHOST_ORDER_PLAN : TULLE_GHOST_ORDER_CALLER;
            options.row_bytes = kind == 2 ? 64 : 0;
        }
        expect(tulle_plan_create(comm, pattern, &options, &plan), (bad_t){TULLE_ERR_MISMATCH, "plan's options"}, ALL);
    }
    tulle_pattern_destroy(&pattern);
}

static void test_plan_pattern_of_another_communicator_is_refused(void **state)
{
    tulle_comm_t *other = spt_comm(NULL, 0);
    spt_pattern_t p = spt_pattern_random(5);
    tulle_pattern_t *pattern = spt_pattern_make(other, &p);
    tulle_plan_t *plan = NULL;
    expect(tulle_plan_create(comm, pattern, NULL, &plan), (bad_t){TULLE_ERR_ARG, "another communicator"}, ALL);
    tulle_pattern_destroy(&pattern);
    tulle_comm_destroy(&other);
}

static tulle_plan_t *good_plan(spt_pattern_t *pattern)
{
    /* Every rank owns rows and needs some, own ones among them. */
    *pattern = (spt_pattern_t){.num_owned = ROWS, .first = ROWS * spt_rank(), .num_needed = 3 * spt_size()};
    pattern->needed_ids = spt_alloc(pattern->num_needed, 8);
    pattern->owner_rank = spt_alloc(pattern->num_needed, 4);
    pattern->owner_row = spt_alloc(pattern->num_needed, 8);
    for (int i = 0; i < pattern->num_needed; i++) {
        pattern->owner_rank[i] = i / 3;
        pattern->owner_row[i] = i % ROWS;
        pattern->needed_ids[i] = ROWS * pattern->owner_rank[i] + pattern->owner_row[i];
    }
    return spt_plan_make(comm, pattern, TULLE_STRATEGY_DIRECT, TULLE_GHOST_ORDER_CALLER);
}

static void test_plan_bad_questions_fail_all(void **state)
{
    spt_pattern_t p;
    tulle_plan_t *plan = good_plan(&p);
    for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
        tulle_plan_stats_t stats = {.struct_size = is_culprit(culprit) ? 0 : sizeof stats};
        expect(tulle_plan_get_stats(plan, &stats), (bad_t){TULLE_ERR_ARG, "struct_size"}, culprit);
        stats.struct_size = sizeof stats;
        expect(tulle_plan_get_stats(plan, is_culprit(culprit) ? NULL : &stats), (bad_t){TULLE_ERR_ARG, "stats is NULL"},
               culprit);
        expect(
            tulle_plan_explain(plan, is_culprit(culprit) ? (tulle_explain_format_t)7 : TULLE_EXPLAIN_TABLE, tmpfile()),
            (bad_t){TULLE_ERR_ARG, "format 7"}, culprit);
    }
    expect(tulle_plan_explain(plan, TULLE_EXPLAIN_TABLE, NULL), (bad_t){TULLE_ERR_ARG, "out is NULL"}, 0);
    spt_assert_all(tulle_plan_ghost_order(plan, NULL) == TULLE_ERR_ARG);
    tulle_plan_destroy(&plan);
}

/* --- exchanges --------------------------------------------------------------------------------------------------- */

typedef struct exchange_call {
    tulle_direction_t direction;
    tulle_field_t field[2];
    const tulle_field_t *fields;
    int num_fields;
    tulle_exchange_options_t options;
    int has_no_out;
} exchange_call_t;

static void init_exchange(exchange_call_t *c, const spt_pattern_t *p)
{
    *c = (exchange_call_t){.direction = TULLE_SCATTER, .num_fields = 2, .options = TULLE_EXCHANGE_OPTIONS_INIT};
    for (int f = 0; f < 2; f++)
        c->field[f] = (tulle_field_t){
            spt_alloc(p->num_owned * 8, 16), spt_alloc(p->num_needed * 8, 16), f == 0 ? TULLE_F64 : TULLE_I32, 3, 4, 0};
    c->fields = c->field;
}

static tulle_status_t call_exchange(const tulle_plan_t *plan, const exchange_call_t *c)
{
    tulle_exchange_t *exchange = NULL;
    tulle_status_t st = tulle_exchange_create(plan, c->direction, c->fields, c->num_fields, &c->options,
                                              c->has_no_out ? NULL : &exchange);
    spt_assert_all((exchange != NULL) == (st == TULLE_OK));
    tulle_exchange_destroy(&exchange);
    return st;
}

static const bad_t bad_exchange[] = {
    {TULLE_ERR_ARG, "fields is NULL"},
    {TULLE_ERR_ARG, "num_fields is 0"},
    {TULLE_ERR_ARG, "num_fields is -3"},
    {TULLE_ERR_ARG, "exchange_out is NULL"},
    {TULLE_ERR_ARG, "direction 2"},
    {TULLE_ERR_ARG, "struct_size is 0"},
    {TULLE_ERR_ARG, "timeout_ms is -1"},
    {TULLE_ERR_ARG, "reduction 6"},
    {TULLE_ERR_ARG, "field 1: width is 0"},
    {TULLE_ERR_ARG, "field 1: width is -2"},
    {TULLE_ERR_ARG, "field 0: datatype 12"},
    {TULLE_ERR_ARG, "field 0: strides 2 (owned)"},
    {TULLE_ERR_ARG, "and 2 (ghost)"},
    {TULLE_ERR_ARG, "field 0: owned is NULL"},
    {TULLE_ERR_ARG, "field 1: ghost is NULL"},
    {TULLE_ERR_ARG, "overlap"},
    {TULLE_ERR_ARG, "overlap"},
    {TULLE_ERR_ARG, "field 0: owned at"},
    {TULLE_ERR_ARG, "field 1: ghost at"},
    {TULLE_ERR_UNSUPPORTED, "field 1: byte does not know the reduction sum"},
    {TULLE_ERR_UNSUPPORTED, "field 0: c128 does not know the reduction max"},
    {TULLE_ERR_OVERFLOW, "exceed 2^62"},
    {TULLE_ERR_OVERFLOW, "exceed 2^62"},
    {TULLE_ERR_ARG, "width is 9223372036854775807"},
    {TULLE_ERR_ARG, "strides -4 (owned)"},
};

static void spoil_exchange(exchange_call_t *c, int kind)
{
    tulle_field_t *f = c->field;
    switch (kind) {
    case 0:
        c->fields = NULL;
        break;
    case 1:
        c->num_fields = 0;
        break;
    case 2:
        c->num_fields = -3;
        break;
    case 3:
        c->has_no_out = 1;
        break;
    case 4:
        c->direction = (tulle_direction_t)2;
        break;
    case 5:
        c->options.struct_size = 0;
        break;
    case 6:
        c->options.timeout_ms = -1;
        break;
    case 7:
        c->options.op = (tulle_op_t)6;
        break;
    case 8:
        f[1].width = 0;
        break;
    case 9:
        f[1].width = -2;
        break;
    case 10:
        f[0].datatype = (tulle_datatype_t)12;
        break;
    case 11:
        f[0].owned_stride = 2;
        break;
    case 12:
        f[0].ghost_stride = 2;
        break;
    case 13:
        f[0].owned = NULL;
        break;
    case 14:
        f[1].ghost = NULL;
        break;
    case 15:
        f[0].ghost = f[0].owned;
        break;
    case 16:
        f[0].ghost = (double *)f[0].owned + (ROWS - 1) * 4 + 2;
        break;
    case 17:
        f[0].owned = (char *)f[0].owned + 4;
        break;
    case 18:
        f[1].ghost = (char *)f[1].ghost + 2;
        break;
    case 19:
        f[1].datatype = TULLE_BYTE;
        break;
    case 20:
        f[0].datatype = TULLE_C128;
        c->options.op = TULLE_OP_MAX;
        break;
    case 21:
        f[0].owned_stride = TOP / 2;
        break;
    case 22:
        f[0].ghost_stride = TOP / 8;
        break;
    case 23:
        f[0].width = INT64_MAX;
        break;
    case 24:
        f[0].owned_stride = -4;
        break;
    default:
        break;
    }
}

static void test_exchange_bad_argument_fails_all(void **state)
{
    spt_pattern_t p;
    tulle_plan_t *plan = good_plan(&p);
    for (int kind = 0; kind < COUNT(bad_exchange); kind++) {
        for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
            exchange_call_t call;
            init_exchange(&call, &p);
            if (is_culprit(culprit))
                spoil_exchange(&call, kind);
            expect(call_exchange(plan, &call), bad_exchange[kind], culprit);
        }
    }
    tulle_plan_destroy(&plan);
}

static const char *const disagreements[] = {"number of fields",    "reduction", "direction",  "width of field 1",
                                            "datatype of field 0", "transport", "wire levels"};

static void test_exchange_ranks_disagree_is_mismatch(void **state)
{
    spt_pattern_t p;
    tulle_plan_t *plan = good_plan(&p);
    for (int kind = 0; kind < COUNT(disagreements) && spt_size() > 1; kind++) {
        for (int culprit = 0; culprit < spt_size(); culprit++) {
            exchange_call_t call;
            init_exchange(&call, &p);
            if (is_culprit(culprit)) {
                call.num_fields = kind == 0 ? 1 : 2;
                call.options.op = kind == 1 ? TULLE_OP_MIN : TULLE_OP_SUM;
                call.direction = kind == 2 ? TULLE_GATHER : TULLE_SCATTER;
                call.field[1].width = kind == 3 ? 2 : 3;
                call.field[0].datatype = kind == 4 ? TULLE_I64 : TULLE_F64;
                call.options.transport = kind == 5 ? TULLE_TRANSPORT_MPI : TULLE_TRANSPORT_AUTO;
                call.options.wire_levels = kind == 6 ? 2 : 0;
            }
            expect(call_exchange(plan, &call), (bad_t){TULLE_ERR_MISMATCH, disagreements[kind]}, ALL);
        }
    }
    tulle_plan_destroy(&plan);
}

/* Rows in transit times width is too much, though every buffer alone is not looked at: they hold no rows here. */
static void test_exchange_messages_too_large_fail_all(void **state)
{
    spt_pattern_t p;
    tulle_plan_t *plan = good_plan(&p);
    exchange_call_t call;
    init_exchange(&call, &p);
    call.num_fields = 1;
    call.field[0].width = ((int64_t)1 << 55) / 3;
    call.field[0].owned_stride = 0;
    /* So wide that owned rows would overlap ghost rows, or memory ends. */
    spt_assert_fails_all(call_exchange(plan, &call));
    spt_assert_comm_works(comm);
    tulle_plan_destroy(&plan);
}

static void test_exchange_calls_out_of_order_are_refused(void **state)
{
    spt_pattern_t p;
    tulle_plan_t *plan = good_plan(&p);
    exchange_call_t call;
    tulle_exchange_t *x = NULL;
    init_exchange(&call, &p);
    spt_assert_ok_all(tulle_exchange_create(plan, TULLE_GATHER, call.fields, 2, NULL, &x));
    for (int round = 0; round < 2; round++) {
        spt_assert_fails_alike(tulle_exchange_wait(x), TULLE_ERR_STATE, "wait without start");
        spt_assert_fails_alike(tulle_exchange_test(x), TULLE_ERR_STATE, "test without start");
        spt_assert_fails_alike(tulle_exchange_start(x, &round), TULLE_ERR_UNSUPPORTED, "stream");
        spt_assert_ok_all(tulle_exchange_start(x, NULL));
        spt_assert_fails_alike(tulle_exchange_start(x, NULL), TULLE_ERR_STATE, "started twice");
        spt_assert_ok_all(tulle_exchange_wait(x));
    }
    tulle_exchange_destroy(&x);
    spt_assert_fails_alike(tulle_exchange_start(x, NULL), TULLE_ERR_ARG, "exchange is NULL");
    spt_assert_fails_alike(tulle_exchange_wait(x), TULLE_ERR_ARG, "exchange is NULL");
    spt_assert_fails_alike(tulle_exchange_test(x), TULLE_ERR_ARG, "exchange is NULL");
    tulle_exchange_destroy(&x);
    tulle_plan_destroy(&plan);
}

static void test_one_shot_bad_argument_fails_all(void **state)
{
    static const bad_t bads[] = {{TULLE_ERR_ARG, "owned is NULL"}, {TULLE_ERR_ARG, "ghost is NULL"},
                                 {TULLE_ERR_ARG, "width is 0"},    {TULLE_ERR_ARG, "datatype 0"},
                                 {TULLE_ERR_UNSUPPORTED, "byte"},  {TULLE_ERR_UNSUPPORTED, "f32"}};
    spt_pattern_t p;
    tulle_plan_t *plan = good_plan(&p);
    double *owned = spt_alloc(p.num_owned, 8), *ghost = spt_alloc(p.num_needed, 8);
    for (int kind = 0; kind < COUNT(bads); kind++) {
        for (int culprit = ALL; culprit < spt_size(); culprit = next_culprit(culprit)) {
            int k = is_culprit(culprit) ? kind : -1;
            tulle_datatype_t datatype = k == 3 ? (tulle_datatype_t)0 : k == 4 ? TULLE_BYTE : TULLE_F32;
            expect(tulle_scatter(plan, k == 1 ? NULL : ghost, k == 0 ? NULL : owned, datatype, k == 2 ? 0 : 1,
                                 k == 5 ? (tulle_op_t)77 : TULLE_OP_SUM, NULL),
                   bads[kind], culprit);
        }
    }
    tulle_plan_destroy(&plan);
}

/* The binding of one rank's call is there already, that of the other ranks' is not: none may wait for the others. */
static void test_one_shot_disagreement_fails_all_whatever_is_cached(void **state)
{
    spt_pattern_t p;
    tulle_plan_t *plan = good_plan(&p);
    double *owned = spt_alloc(p.num_owned, 2 * 8), *ghost = spt_alloc(p.num_needed, 2 * 8);
    tulle_status_t st = tulle_gather(plan, owned, ghost, TULLE_F64, 1, NULL);
    spt_assert_ok_all(st);
    for (int culprit = 0; culprit < spt_size() && spt_size() > 1; culprit++) {
        int is_other = is_culprit(culprit);
        st = tulle_gather(plan, owned, ghost, TULLE_F64, is_other ? 2 : 1, NULL);
        spt_assert_fails_alike(st, TULLE_ERR_MISMATCH, "disagree about the call");
        st = tulle_gather(plan, owned, ghost, is_other ? TULLE_F32 : TULLE_F64, 1, NULL);
        spt_assert_fails_alike(st, TULLE_ERR_MISMATCH, "disagree about the call");
        st = is_other ? tulle_scatter(plan, ghost, owned, TULLE_F64, 1, TULLE_OP_SUM, NULL)
                      : tulle_gather(plan, owned, ghost, TULLE_F64, 1, NULL);
        spt_assert_fails_alike(st, TULLE_ERR_MISMATCH, "disagree about the call");
        expect(tulle_gather(plan, owned, is_other ? NULL : ghost, TULLE_F64, 1, NULL),
               (bad_t){TULLE_ERR_ARG, "ghost is NULL"}, culprit);
    }
    tulle_plan_destroy(&plan);
}

/* --- handles that are not there, on all ranks --------------------------------------------------------------------- */

static void test_null_handles_are_refused(void **state)
{
    tulle_plan_t *plan = NULL;
    tulle_pattern_t *pattern = NULL;
    tulle_exchange_t *exchange = NULL;
    tulle_plan_stats_t stats = {.struct_size = sizeof stats};
    tulle_layout_t layout = TULLE_LAYOUT_BLOCK(0);
    tulle_grid_t grid = {0};
    tulle_field_t field = {NULL, NULL, TULLE_F64, 1, 0, 0};
    int64_t row_ptr[1] = {0};
    const char *comm_words = "communicator is NULL", *plan_words = "plan is NULL";
    spt_assert_fails_alike(tulle_pattern_create_from_ids(NULL, &layout, NULL, 0, &pattern), TULLE_ERR_ARG, comm_words);
    spt_assert_fails_alike(tulle_pattern_create_from_csr(NULL, &layout, &layout, row_ptr, NULL, &pattern),
                           TULLE_ERR_ARG, comm_words);
    spt_assert_fails_alike(tulle_pattern_create_from_forest(NULL, 0, 0, NULL, NULL, &pattern), TULLE_ERR_ARG,
                           comm_words);
    spt_assert_fails_alike(tulle_pattern_create_from_grid(NULL, &grid, &pattern), TULLE_ERR_ARG, comm_words);
    spt_assert_fails_alike(tulle_plan_create(NULL, NULL, NULL, &plan), TULLE_ERR_ARG, comm_words);
    spt_assert_fails_alike(tulle_plan_load(NULL, "x", &plan), TULLE_ERR_ARG, comm_words);
    spt_assert_fails_alike(tulle_plan_save(NULL, "x"), TULLE_ERR_ARG, plan_words);
    spt_assert_fails_alike(tulle_plan_get_stats(NULL, &stats), TULLE_ERR_ARG, plan_words);
    spt_assert_fails_alike(tulle_plan_explain(NULL, TULLE_EXPLAIN_TABLE, stdout), TULLE_ERR_ARG, plan_words);
    spt_assert_fails_alike(tulle_plan_ghost_order(NULL, row_ptr), TULLE_ERR_ARG, plan_words);
    spt_assert_fails_alike(tulle_exchange_create(NULL, TULLE_GATHER, &field, 1, NULL, &exchange), TULLE_ERR_ARG,
                           plan_words);
    spt_assert_fails_alike(tulle_gather(NULL, NULL, NULL, TULLE_F64, 1, NULL), TULLE_ERR_ARG, plan_words);
    spt_assert_fails_alike(tulle_scatter(NULL, NULL, NULL, TULLE_F64, 1, TULLE_OP_SUM, NULL), TULLE_ERR_ARG,
                           plan_words);
    spt_assert_all(plan == NULL && pattern == NULL && exchange == NULL);
    tulle_plan_destroy(&plan);
    tulle_plan_destroy(NULL);
    tulle_exchange_destroy(NULL);
}

/* --- a rank that comes late -------------------------------------------------------------------------------------- */

static void check_late(int late, const char *topology, const char *level, tulle_direction_t direction)
{
    tulle_comm_t *kept = comm;
    spt_pattern_t p;
    exchange_call_t call;
    tulle_exchange_t *x = NULL;
    char words[32];
    const struct timespec nap = {0, 600000000};
    comm = spt_comm(topology, 0);
    tulle_plan_t *plan = good_plan(&p);
    init_exchange(&call, &p);
    call.options.timeout_ms = spt_rank() == late ? 20000 : 50;
    spt_assert_ok_all(tulle_exchange_create(plan, direction, call.fields, 2, &call.options, &x));
    if (spt_rank() == late)
        nanosleep(&nap, NULL);
    tulle_status_t st = tulle_exchange_start(x, NULL);
    if (st == TULLE_OK)
        st = tulle_exchange_wait(x);
    if (spt_rank() != late) {
        snprintf(words, sizeof words, "for rank %d (level %s,", late, level);
        assert_int_equal(st, TULLE_ERR_TIMEOUT);
        assert_non_null(strstr(tulle_last_error()->text, words));
        assert_non_null(strstr(tulle_last_error()->text, "waited 50 ms"));
        /* It can only be destroyed, and that while the late rank still sleeps. */
        assert_int_equal(tulle_exchange_wait(x), TULLE_ERR_TIMEOUT);
        assert_int_equal(tulle_exchange_test(x), TULLE_ERR_TIMEOUT);
        assert_int_equal(tulle_exchange_start(x, NULL), TULLE_ERR_TIMEOUT);
    }
    tulle_exchange_destroy(&x);
    spt_assert_all(spt_rank() != late || st == TULLE_OK);
    tulle_plan_destroy(&plan);
    spt_assert_comm_works(comm);
    tulle_comm_destroy(&comm);
    comm = kept;
}

static void test_wait_late_rank_is_named(void **state)
{
    char nodes[32];
    if (spt_size() == 1)
        skip();
    snprintf(nodes, sizeof nodes, "%dx1", spt_size());
    check_late(0, spt_topology(0), "rank", TULLE_GATHER);
    check_late(spt_size() - 1, nodes, "node", TULLE_GATHER);
    check_late(spt_size() - 1, spt_topology(0), "rank", TULLE_SCATTER);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        spt_test(test_plan_bad_argument_fails_all),
        spt_test(test_plan_ranks_disagree_is_mismatch),
        spt_test(test_plan_pattern_of_another_communicator_is_refused),
        spt_test(test_plan_bad_questions_fail_all),
        spt_test(test_exchange_bad_argument_fails_all),
        spt_test(test_exchange_ranks_disagree_is_mismatch),
        spt_test(test_exchange_messages_too_large_fail_all),
        spt_test(test_exchange_calls_out_of_order_are_refused),
        spt_test(test_one_shot_bad_argument_fails_all),
        spt_test(test_one_shot_disagreement_fails_all_whatever_is_cached),
        spt_test(test_null_handles_are_refused),
        spt_test(test_wait_late_rank_is_named),
    };
    spt_init(&argc, &argv);
    return spt_finish(cmocka_run_group_tests(tests, misuse_setup, misuse_teardown));
}
