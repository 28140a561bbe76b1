/* SPDX-License-Identifier: Apache-2.0
 * A plan in a table that people can read. */
#include "collectives/explain.h"

#include "collectives/plan.h"
#include "src/agree.h"

static double percent_saved(int64_t plan, int64_t reference)
{
    return reference > 0 ? 100.0 * (1.0 - (double)plan / (double)reference) : 0.0;
}

static void print_level(const tulle_level_stats_t *level, int64_t row_bytes, FILE *out)
{
    fprintf(out, "  %-10s %12lld %12lld %12lld %12lld %12.3f %8.1f%% %10lld %10lld %10lld\n", level->name,
            (long long)level->naive_rows, (long long)level->direct_rows, (long long)level->plan_rows,
            (long long)level->limit_rows, (double)level->plan_rows * (double)row_bytes / 1e6,
            percent_saved(level->plan_rows, level->direct_rows), (long long)level->direct_messages,
            (long long)level->plan_messages, (long long)level->busiest_rows);
}

tulle_status_t tli_explain_table(const tulle_plan_stats_t *stats, const tulle_topology_t *topology, int is_emulated,
                                 FILE *out)
{
    tulle_status_t st = TULLE_OK;
    fprintf(out, "plan: strategy %s on topology %s (%d ranks%s), rows of %lld bytes\n",
            tulle_strategy_name(stats->strategy), tulle_topology_text(topology), tulle_topology_num_ranks(topology),
            is_emulated ? ", emulated" : "", (long long)stats->row_bytes);
    if (stats->wire_row_bytes != stats->row_bytes)
        fprintf(out, "rows of %lld bytes between the outermost groups (levels %s to %s)\n",
                (long long)stats->wire_row_bytes, stats->levels[0].name, stats->levels[stats->wire_levels - 1].name);
    fprintf(out, "rows owned %lld, needed from other ranks %lld, passed on by ranks that do not need them %lld\n",
            (long long)stats->num_owned, (long long)stats->num_needed, (long long)stats->staging_rows);
    fprintf(out, "node pairs: %d routed, %d aggregated, %d striped, %d direct\n\n", (int)stats->routed_pairs,
            (int)stats->aggregated_pairs, (int)stats->striped_pairs, (int)stats->direct_pairs);
    fprintf(out, "  %-10s %12s %12s %12s %12s %12s %9s %10s %10s %10s\n", "level", "naive", "direct", "plan", "limit",
            "plan MB", "saved", "msg direct", "msg plan", "busiest");
    for (int level = 0; level < stats->num_levels; level++)
        print_level(&stats->levels[level], tli_explained_row_bytes(stats, level), out);
    fprintf(out, "  (rows that cross each level; saved: against direct; busiest: rows into one rank)\n\n");
    fprintf(out, "predicted by the cost model: naive %.1f us, direct %.1f us, plan %.1f us\n",
            stats->predicted_naive_ns * 1e-3, stats->predicted_direct_ns * 1e-3, stats->predicted_plan_ns * 1e-3);
    fprintf(out, "setup %.1f us; ", stats->setup_ns * 1e-3);
    if (stats->break_even_exchanges >= 0)
        fprintf(out, "pays off against direct after %.0f exchanges, as predicted\n", stats->break_even_exchanges);
    else
        fprintf(out, "not predicted to be faster than direct\n");
    TLI_REQUIRE(fflush(out) == 0 && !ferror(out), TULLE_ERR_FILE, "the stream refused the table");
done:
    return st;
}

tulle_status_t tulle_plan_explain(const tulle_plan_t *plan, tulle_explain_format_t format, FILE *out)
{
    tulle_status_t st = TULLE_OK;
    tulle_plan_stats_t stats = {.struct_size = sizeof stats};
    TLI_REQUIRE(plan != NULL, TULLE_ERR_ARG, "the plan is NULL: was it created, or already destroyed?");
    TLI_TRY(tulle_plan_get_stats(plan, &stats));
    if (format != TULLE_EXPLAIN_TABLE && format != TULLE_EXPLAIN_JSON)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "format %d is neither table (0) nor JSON (1)", (int)format);
    else if (plan->comm->rank == 0 && out == NULL)
        st = tli_fail(TULLE_ERR_ARG, 0, TLI_WHERE, "out is NULL on rank 0");
    else if (plan->comm->rank == 0 && format == TULLE_EXPLAIN_TABLE)
        st = tli_explain_table(&stats, plan->comm->topology, plan->comm->is_emulated, out);
    else if (plan->comm->rank == 0)
        st = tli_explain_json(&stats, plan->comm->topology, plan->comm->is_emulated, out);
    st = tli_agree(plan->comm->mpi, st);
done:
    return st;
}
