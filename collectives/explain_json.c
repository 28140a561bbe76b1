/* SPDX-License-Identifier: Apache-2.0
 * A plan as JSON, through Jansson where the build has it. */
#include "collectives/explain.h"
#include "src/fault.h"

#ifdef TULLE_HAVE_JANSSON

#include <jansson.h>

static json_t *level_object(const tulle_level_stats_t *level, int64_t row_bytes)
{
    return json_pack("{s:s, s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I}, s:I, s:I}", "name", level->name, "rows", "naive",
                     (json_int_t)level->naive_rows, "direct", (json_int_t)level->direct_rows, "plan",
                     (json_int_t)level->plan_rows, "limit", (json_int_t)level->limit_rows, "messages", "naive",
                     (json_int_t)level->naive_messages, "direct", (json_int_t)level->direct_messages, "plan",
                     (json_int_t)level->plan_messages, "plan_bytes", (json_int_t)(level->plan_rows * row_bytes),
                     "busiest_rows", (json_int_t)level->busiest_rows);
}

static json_t *plan_object(const tulle_plan_stats_t *stats, const tulle_topology_t *topology, int is_emulated)
{
    json_t *levels = json_array();
    for (int level = 0; level < stats->num_levels; level++)
        json_array_append_new(levels, level_object(&stats->levels[level], tli_explained_row_bytes(stats, level)));
    return json_pack(
        "{s:s, s:s, s:i, s:b, s:I, s:I, s:i, s:I, s:I, s:I, s:{s:i, s:i, s:i, s:i}, s:{s:f, s:f, s:f}, s:f, s:f, s:o}",
        "strategy", tulle_strategy_name(stats->strategy), "topology", tulle_topology_text(topology), "ranks",
        tulle_topology_num_ranks(topology), "emulated", is_emulated, "row_bytes", (json_int_t)stats->row_bytes,
        "wire_row_bytes", (json_int_t)stats->wire_row_bytes, "wire_levels", (int)stats->wire_levels, "owned_rows",
        (json_int_t)stats->num_owned, "needed_rows", (json_int_t)stats->num_needed, "staging_rows",
        (json_int_t)stats->staging_rows, "node_pairs", "routed", (int)stats->routed_pairs, "aggregated",
        (int)stats->aggregated_pairs, "striped", (int)stats->striped_pairs, "direct", (int)stats->direct_pairs,
        "predicted_us", "naive", stats->predicted_naive_ns * 1e-3, "direct", stats->predicted_direct_ns * 1e-3, "plan",
        stats->predicted_plan_ns * 1e-3, "setup_us", stats->setup_ns * 1e-3, "break_even_exchanges",
        stats->break_even_exchanges, "levels", levels);
}

tulle_status_t tli_explain_json(const tulle_plan_stats_t *stats, const tulle_topology_t *topology, int is_emulated,
                                FILE *out)
{
    tulle_status_t st = TULLE_OK;
    json_t *object = plan_object(stats, topology, is_emulated);
    TLI_REQUIRE(object != NULL, TULLE_ERR_NOMEM, "Jansson could not build the plan's JSON");
    TLI_REQUIRE(json_dumpf(object, out, JSON_INDENT(2)) == 0 && fputc('\n', out) != EOF && fflush(out) == 0,
                TULLE_ERR_FILE, "the stream refused the JSON");
done:
    json_decref(object);
    return st;
}

#else

tulle_status_t tli_explain_json(const tulle_plan_stats_t *stats, const tulle_topology_t *topology, int is_emulated,
                                FILE *out)
{
    (void)stats, (void)topology, (void)is_emulated, (void)out;
    return tli_fail(TULLE_ERR_UNSUPPORTED, 0, TLI_WHERE,
                    "this library was built without Jansson: configure with TULLE_ENABLE_JANSSON=ON for JSON");
}

#endif
