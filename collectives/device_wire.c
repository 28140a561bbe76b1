/* SPDX-License-Identifier: Apache-2.0
 * On GPUs: kernels of what a stage rounds or widens. Each operation has one of its own; whatever crosses as it came is
 * pushed with all other copies. */
#include "collectives/device.h"

static tli_wire_args_t copy_args(const tulle_exchange_t *x, const tli_operation_t *o, int field)
{
    const tli_rows_t *areas = x->areas + field * x->steps.num_areas;
    return (tli_wire_args_t){.copy = {.rows = {.target = tli_rows_from(&areas[o->target], o->target_first),
                                               .source = tli_rows_from(&areas[o->source], o->source_first),
                                               .target_index = o->target_index,
                                               .source_index = o->source_index,
                                               .num_rows = o->num_rows},
                                      .target = x->steps.areas[o->target].precision,
                                      .source = x->steps.areas[o->source].precision,
                                      .width = x->fields[field].width}};
}

static tli_wire_args_t reduction_args(const tulle_exchange_t *x, const tli_program_t *program, const tli_operation_t *o,
                                      int field)
{
    return (tli_wire_args_t){.is_reduction = 1,
                             .reduction = {.rows = {.target = x->areas[field * x->steps.num_areas + o->target],
                                                    .target_index = o->target_index,
                                                    .num_rows = o->num_rows,
                                                    .keeps_target = o->keeps_target,
                                                    .entry_ptr = o->entry_ptr,
                                                    .entry_area = o->entry_area,
                                                    .entry_row = o->entry_row,
                                                    .areas = program->areas + field * x->steps.num_areas,
                                                    .datatype = TULLE_F32,
                                                    .op = x->op,
                                                    .width = x->fields[field].width},
                                           .target = x->steps.areas[o->target].precision,
                                           .area_precision = program->area_precision}};
}

int tli_converts(const tulle_exchange_t *x, const tli_operation_t *o)
{
    const tli_area_t *areas = x->steps.areas;
    return x->wire_precision != TULLE_WIRE_PRECISION_NONE &&
           (o->entry_ptr != NULL || areas[o->target].precision != areas[o->source].precision);
}

tli_launch_t tli_wire_launch(const tulle_exchange_t *x, const tli_program_t *program, const tli_operation_t *o,
                             int field)
{
    return (tli_launch_t){.is_wire = 1,
                          .wire = o->entry_ptr != NULL ? reduction_args(x, program, o, field) : copy_args(x, o, field)};
}
