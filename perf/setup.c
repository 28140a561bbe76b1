/* SPDX-License-Identifier: Apache-2.0
 * Everything is made once per turn and destroyed untimed. The slowest rank counts, as it does for exchanges. */
#include "perf/setup.h"

#include <stdio.h>

#include <tulle/tulle.h>

#include "perf/methods.h"
#include "src/agree.h"
#include "src/start_line.h"

/* Something that is made: by the library, or by a peer's method. */
typedef struct maker {
    enum { MAKES_PATTERN, MAKES_PLAN, MAKES_EXCHANGE, MAKES_PEER } kind;
    tulle_strategy_t strategy;   /* of a plan */
    const perf_method_t *method; /* the peer */
    double *times;               /* [repeats] s */
} maker_t;

typedef struct workshop {
    const perf_setup_options_t *options;
    tulle_pattern_t *pattern; /* for plans */
    perf_rows_t ghost;
    tli_start_line_t start;
    int num_makers;
    maker_t makers[PERF_SETUP_MOST];
    tli_arena_t arena;
} workshop_t;

static tulle_status_t make_pattern(const perf_setup_options_t *options, tulle_pattern_t **pattern_out)
{
    const perf_input_t *input = options->input;
    tulle_layout_t rows = TULLE_LAYOUT_BLOCK(input->num_rows);
    tulle_layout_t columns = TULLE_LAYOUT_BLOCK(input->num_cols);
    return tulle_pattern_create_from_csr(options->tulle, &rows, &columns, input->row_ptr, input->col_idx, pattern_out);
}

static tulle_status_t time_pattern(const workshop_t *shop, double *ended)
{
    tulle_pattern_t *pattern = NULL;
    tulle_status_t st = make_pattern(shop->options, &pattern);
    *ended = tli_clock();
    tulle_pattern_destroy(&pattern);
    return st;
}

static tulle_status_t time_plan(const workshop_t *shop, tulle_strategy_t strategy, double *ended)
{
    tulle_plan_options_t options = TULLE_PLAN_OPTIONS_INIT;
    tulle_plan_t *plan = NULL;
    options.strategy = strategy;
    options.row_bytes = (int64_t)shop->options->one->row_bytes;
    tulle_status_t st = tulle_plan_create(shop->options->tulle, shop->pattern, &options, &plan);
    *ended = tli_clock();
    tulle_plan_destroy(&plan);
    return st;
}

static tulle_status_t time_exchange(const workshop_t *shop, double *ended)
{
    const perf_case_t *one = shop->options->one;
    tulle_exchange_t *exchange = NULL;
    tulle_status_t st = perf_case_create_exchange(one, one->plan, 0, shop->ghost.home, &exchange);
    *ended = tli_clock();
    tulle_exchange_destroy(&exchange);
    return st;
}

static tulle_status_t time_peer(const workshop_t *shop, const perf_method_t *method, double *ended)
{
    void *state = NULL;
    tulle_status_t st = method->setup(shop->options->one, shop->ghost.image, &state);
    *ended = tli_clock();
    method->teardown(state);
    return st;
}

static tulle_status_t make(workshop_t *shop, const maker_t *maker, double *seconds_out)
{
    tulle_status_t st = TULLE_OK;
    double began = 0, ended = 0;
    TLI_TRY(tli_start_together(&shop->start, &began));
    switch (maker->kind) {
    case MAKES_PATTERN:
        st = time_pattern(shop, &ended);
        break;
    case MAKES_PLAN:
        st = time_plan(shop, maker->strategy, &ended);
        break;
    case MAKES_EXCHANGE:
        st = time_exchange(shop, &ended);
        break;
    case MAKES_PEER:
        st = time_peer(shop, maker->method, &ended);
        break;
    }
    *seconds_out = ended - began;
    st = tli_agree(shop->start.mpi, st);
done:
    return st;
}

static void add_maker(workshop_t *shop, maker_t maker)
{
    shop->makers[shop->num_makers++] = maker;
}

/* Plans with rails cost what balanced ones do; those that collect or stripe are for special cases. */
static tulle_status_t list_makers(workshop_t *shop)
{
    tulle_status_t st = TULLE_OK;
    const perf_setup_options_t *options = shop->options;
    const unsigned peers = options->methods & ~(unsigned)(PERF_METHODS_OF_TULLE | PERF_METHOD_NAIVE);
    add_maker(shop, (maker_t){.kind = MAKES_PLAN, .strategy = TULLE_STRATEGY_DIRECT});
    add_maker(shop, (maker_t){.kind = MAKES_PLAN, .strategy = TULLE_STRATEGY_BALANCED});
    add_maker(shop, (maker_t){.kind = MAKES_PLAN, .strategy = TULLE_STRATEGY_AUTO});
    add_maker(shop, (maker_t){.kind = MAKES_PATTERN});
    add_maker(shop, (maker_t){.kind = MAKES_EXCHANGE});
    for (int i = 0; i < PERF_NUM_METHODS; i++) {
        perf_skip_t skip = {""};
        if ((peers & perf_methods[i]->bit) == 0)
            continue;
        TLI_TRY(perf_method_admit(perf_methods[i], options->one, &skip));
        if (skip.reason[0] == '\0')
            add_maker(shop, (maker_t){.kind = MAKES_PEER, .method = perf_methods[i]});
    }
    for (int i = 0; i < shop->num_makers && st == TULLE_OK; i++)
        st = tli_arena_alloc(&shop->arena, options->repeats, sizeof(double), &shop->makers[i].times);
    TLI_TRY(tli_agree(options->one->halo->comm, st));
done:
    return st;
}

static tulle_status_t repeat(workshop_t *shop)
{
    tulle_status_t st = TULLE_OK;
    const perf_setup_options_t *options = shop->options;
    double unused = 0;
    for (int64_t turn = -1; turn < options->repeats; turn++) {
        for (int i = 0; i < shop->num_makers; i++)
            TLI_TRY(make(shop, &shop->makers[i], turn < 0 ? &unused : &shop->makers[i].times[turn]));
        perf_watch_advance(options->watch, (double)(turn + 1) / (double)options->repeats);
    }
done:
    return st;
}

static void name_result(const maker_t *maker, perf_setup_result_t *result)
{
    const char *name = maker->kind == MAKES_PATTERN    ? "pattern"
                       : maker->kind == MAKES_EXCHANGE ? "exchange"
                       : maker->kind == MAKES_PEER     ? maker->method->name
                                                       : tulle_strategy_name(maker->strategy);
    snprintf(result->name, sizeof result->name, "%s%s", maker->kind == MAKES_PLAN ? "plan " : "", name);
}

/* Ratios before order statistics, which sort. The first maker is what the others are compared with. */
static tulle_status_t summarize(workshop_t *shop, perf_setup_result_t *results)
{
    tulle_status_t st = TULLE_OK;
    int64_t repeats = shop->options->repeats;
    MPI_Comm comm = shop->options->one->halo->comm;
    double *scratch = NULL;
    TLI_TRY(tli_agree(comm, tli_arena_alloc(&shop->arena, 2 * repeats + PERF_RATIO_DRAWS, sizeof(double), &scratch)));
    for (int i = 0; i < shop->num_makers; i++)
        TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, shop->makers[i].times, (int)repeats, MPI_DOUBLE, MPI_MAX, comm));
    for (int i = 1; i < shop->num_makers; i++)
        results[i].ratio = perf_ratio(shop->makers[i].times, shop->makers[0].times, repeats, scratch);
    for (int i = 0; i < shop->num_makers; i++) {
        name_result(&shop->makers[i], &results[i]);
        results[i].seconds = perf_statistics(shop->makers[i].times, repeats);
    }
done:
    return st;
}

tulle_status_t perf_setup_measure(const perf_setup_options_t *options, perf_setup_result_t *results,
                                  int *num_results_out)
{
    tulle_status_t st = TULLE_OK;
    workshop_t shop = {.options = options};
    perf_watch_begin(options->watch, "making patterns, plans and exchanges");
    TLI_TRY(
        tli_agree(options->one->halo->comm, perf_case_alloc_rows(options->one, options->one->num_ghosts, &shop.ghost)));
    TLI_TRY(tli_start_line_create(options->one->halo->comm, &shop.start));
    TLI_TRY(make_pattern(options, &shop.pattern));
    TLI_TRY(list_makers(&shop));
    TLI_TRY(repeat(&shop));
    TLI_TRY(summarize(&shop, results));
    *num_results_out = shop.num_makers;
done:
    tulle_pattern_destroy(&shop.pattern);
    perf_rows_free(&shop.ghost);
    tli_arena_release(&shop.arena);
    return st;
}
