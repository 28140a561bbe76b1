/* SPDX-License-Identifier: Apache-2.0
 * Exchanges whose messages carry rows of f32 in less: checked when bound, run with every area in its own precision. */
#include "collectives/exchange.h"
#include "src/fault.h"
#include "topology/model.h"

tulle_status_t tli_wire_options_check(const tulle_comm_t *comm, tulle_wire_precision_t precision, int32_t num_wired)
{
    tulle_status_t st = TULLE_OK;
    int num_levels = tulle_topology_num_levels(comm->topology);
    TLI_REQUIRE(precision >= TULLE_WIRE_PRECISION_NONE && precision <= TULLE_WIRE_PRECISION_FP8, TULLE_ERR_ARG,
                "options.wire_precision is %d, none of TULLE_WIRE_PRECISION_MAP", (int)precision);
    TLI_REQUIRE(num_wired >= 0 && num_wired <= num_levels, TULLE_ERR_ARG,
                "options.wire_levels is %d: rows can cross %d levels here", (int)num_wired, num_levels);
done:
    return st;
}

tulle_status_t tli_wire_precision_check(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_wire_options_check(x->plan->comm, x->wire_precision, x->wire_levels));
    for (int f = 0; f < x->num_fields; f++)
        TLI_REQUIRE(x->wire_precision == TULLE_WIRE_PRECISION_NONE || x->fields[f].datatype == TULLE_F32,
                    TULLE_ERR_UNSUPPORTED, "field %d: wire precision %s is for f32, not for %s", f,
                    tulle_wire_precision_name(x->wire_precision), tulle_datatype_name(x->fields[f].datatype));
done:
    return st;
}

tulle_status_t tli_wire_precision_prepare(tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    int64_t widest = 0;
    if (x->wire_precision == TULLE_WIRE_PRECISION_NONE)
        goto done;
    for (int f = 0; f < x->num_fields; f++)
        widest = x->fields[f].width > widest ? x->fields[f].width : widest;
    TLI_TRY(tli_arena_alloc_raw(&x->arena, tli_wire_scratch_elems(widest), sizeof(float), &x->wire_scratch));
    TLI_TRY(tli_arena_alloc_raw(&x->arena, x->steps.num_areas, 1, &x->area_precision));
    for (int64_t a = 0; a < x->steps.num_areas; a++)
        x->area_precision[a] = (unsigned char)x->steps.areas[a].precision;
done:
    return st;
}

static void copy_or_combine(const tulle_exchange_t *x, const tli_operation_t *o, const tli_rows_t *areas, int64_t width)
{
    tli_wire_copy_args_t copy = {.rows = {.target = tli_rows_from(&areas[o->target], o->target_first),
                                          .source = tli_rows_from(&areas[o->source], o->source_first),
                                          .target_index = o->target_index,
                                          .source_index = o->source_index,
                                          .num_rows = o->num_rows},
                                 .target = x->steps.areas[o->target].precision,
                                 .source = x->steps.areas[o->source].precision,
                                 .width = width,
                                 .scratch = x->wire_scratch};
    if (o->combines)
        tli_wire_combine_rows(&copy, x->op);
    else
        tli_wire_copy_rows(&copy);
}

void tli_wire_precision_run(const tulle_exchange_t *x, const tli_operation_t *o, int field)
{
    const tli_rows_t *areas = x->areas + field * x->steps.num_areas;
    int64_t width = x->fields[field].width;
    tli_wire_reduce_args_t reduce = {.rows = {.target = areas[o->target],
                                              .target_index = o->target_index,
                                              .num_rows = o->num_rows,
                                              .keeps_target = o->keeps_target,
                                              .entry_ptr = o->entry_ptr,
                                              .entry_area = o->entry_area,
                                              .entry_row = o->entry_row,
                                              .areas = areas,
                                              .datatype = TULLE_F32,
                                              .op = x->op,
                                              .width = width},
                                     .target = x->steps.areas[o->target].precision,
                                     .area_precision = x->area_precision,
                                     .scratch = x->wire_scratch};
    if (o->entry_ptr == NULL)
        copy_or_combine(x, o, areas, width);
    else
        tli_wire_reduce_rows(&reduce);
}
