/* SPDX-License-Identifier: Apache-2.0
 * Areas of an exchange: how the rows of several fields lie in one, and which of them are the caller's. */
#include "collectives/exchange.h"
#include "src/fault.h"

#define FIELD_ALIGNMENT 64

int64_t tli_field_row_bytes(const tulle_field_t *field)
{
    return field->width * (int64_t)tulle_datatype_size(field->datatype);
}

int64_t tli_travelling_row_bytes(const tulle_exchange_t *x, tulle_wire_precision_t precision)
{
    int64_t bytes = 0;
    for (int f = 0; f < x->num_fields; f++)
        bytes += precision == TULLE_WIRE_PRECISION_NONE ? tli_field_row_bytes(&x->fields[f])
                                                        : tli_wire_row_bytes(precision, x->fields[f].width);
    return bytes;
}

int64_t tli_area_row_bytes(const tulle_exchange_t *x, int field, int64_t area)
{
    tulle_wire_precision_t precision = x->steps.areas[area].precision;
    return precision == TULLE_WIRE_PRECISION_NONE ? tli_field_row_bytes(&x->fields[field])
                                                  : tli_wire_row_bytes(precision, x->fields[field].width);
}

static int64_t round_up(int64_t bytes)
{
    return (bytes + FIELD_ALIGNMENT - 1) / FIELD_ALIGNMENT * FIELD_ALIGNMENT;
}

/* Nothing follows the last field, so that a message of a single one is as long as its rows. */
int64_t tli_area_bytes(const tulle_exchange_t *x, int64_t area, int64_t rows)
{
    int64_t bytes = 0;
    for (int f = 0; f < x->num_fields; f++)
        bytes = round_up(bytes) + rows * tli_area_row_bytes(x, f, area);
    return bytes;
}

void tli_area_place(tulle_exchange_t *x, int64_t area, unsigned char *base, int64_t rows)
{
    for (int f = 0; f < x->num_fields; f++) {
        int64_t bytes = tli_area_row_bytes(x, f, area);
        x->areas[f * x->steps.num_areas + area] = (tli_rows_t){base, bytes};
        base += round_up(rows * bytes);
    }
}

void tli_areas_place_user(tulle_exchange_t *x)
{
    for (int f = 0; f < x->num_fields; f++) {
        const tulle_field_t *field = &x->fields[f];
        int64_t scalar_bytes = (int64_t)tulle_datatype_size(field->datatype);
        tli_rows_t *areas = x->areas + f * x->steps.num_areas;
        areas[TLI_AREA_OWNED] = (tli_rows_t){field->owned, field->owned_stride * scalar_bytes};
        areas[TLI_AREA_GHOST] = (tli_rows_t){field->ghost, field->ghost_stride * scalar_bytes};
    }
}

int64_t tli_staging_bytes(const tulle_exchange_t *x, tli_area_kind_t kind)
{
    int64_t bytes = 0;
    for (int64_t a = TLI_FIRST_STAGING; a < x->steps.num_areas; a++)
        if (x->steps.areas[a].kind == kind)
            bytes += round_up(tli_area_bytes(x, a, x->steps.areas[a].rows));
    return bytes;
}

void tli_staging_place(tulle_exchange_t *x, tli_area_kind_t kind, unsigned char *base)
{
    for (int64_t a = TLI_FIRST_STAGING; a < x->steps.num_areas; a++) {
        if (x->steps.areas[a].kind == kind) {
            tli_area_place(x, a, base, x->steps.areas[a].rows);
            base += round_up(tli_area_bytes(x, a, x->steps.areas[a].rows));
        }
    }
}

tulle_status_t tli_check_staging(const tulle_exchange_t *x)
{
    tulle_status_t st = TULLE_OK;
    int64_t rows = 1, bytes = 0; /* as they are: rounded they are no longer */
    for (int64_t a = TLI_FIRST_STAGING; a < x->steps.num_areas; a++)
        rows += x->steps.areas[a].rows + FIELD_ALIGNMENT;
    for (int f = 0; f < x->num_fields; f++) {
        TLI_REQUIRE(tli_field_row_bytes(&x->fields[f]) < TLI_MOST_BYTES / rows - bytes, TULLE_ERR_OVERFLOW,
                    "%lld rows in transit of %lld bytes in field %d exceed 2^62 bytes", (long long)rows,
                    (long long)tli_field_row_bytes(&x->fields[f]), f);
        bytes += tli_field_row_bytes(&x->fields[f]);
    }
done:
    return st;
}

int tli_can_use_ghosts_in_place(const tulle_exchange_t *x)
{
    return !x->is_cached && x->num_fields == 1 && x->fields[0].ghost_stride == x->fields[0].width &&
           x->plan->ghost_order == TULLE_GHOST_ORDER_PLAN;
}
