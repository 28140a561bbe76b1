/* SPDX-License-Identifier: Apache-2.0
 * Fields of an exchange: checked on this rank, then compared with those of the others. */
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "collectives/exchange.h"
#include "src/agree.h"

static tulle_status_t check_buffer(const void *buffer, int64_t rows, int64_t stride, int64_t scalar_bytes, int index,
                                   const char *name)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(buffer != NULL || rows == 0, TULLE_ERR_ARG, "field %d: %s is NULL but has %lld rows", index, name,
                (long long)rows);
    TLI_REQUIRE(stride < TLI_MOST_BYTES / scalar_bytes / (rows + 1), TULLE_ERR_OVERFLOW,
                "field %d: %lld %s rows of stride %lld exceed 2^62 bytes", index, (long long)rows, name,
                (long long)stride);
    TLI_REQUIRE((uintptr_t)buffer % (uintptr_t)(scalar_bytes == 16 ? 8 : scalar_bytes) == 0, TULLE_ERR_ARG,
                "field %d: %s at %p is not aligned to its scalars", index, name, buffer);
done:
    return st;
}

static tulle_status_t check_overlap(const tulle_plan_t *plan, const tulle_field_t *field, int64_t scalar_bytes,
                                    int index)
{
    tulle_status_t st = TULLE_OK;
    int64_t num_ghosts = tulle_plan_num_ghosts(plan);
    uintptr_t owned = (uintptr_t)field->owned, ghost = (uintptr_t)field->ghost;
    uintptr_t owned_bytes =
        plan->num_owned > 0 ? (uintptr_t)(((plan->num_owned - 1) * field->owned_stride + field->width) * scalar_bytes)
                            : 0;
    uintptr_t ghost_bytes =
        num_ghosts > 0 ? (uintptr_t)(((num_ghosts - 1) * field->ghost_stride + field->width) * scalar_bytes) : 0;
    int overlaps = owned_bytes > 0 && ghost_bytes > 0 && owned < ghost + ghost_bytes && ghost < owned + owned_bytes;
    TLI_REQUIRE(!overlaps, TULLE_ERR_ARG, "field %d: owned rows at %p and ghost rows at %p overlap", index,
                field->owned, field->ghost);
done:
    return st;
}

tulle_status_t tli_field_check(const tulle_plan_t *plan, tulle_direction_t direction, tulle_op_t op, int index,
                               tulle_field_t *field)
{
    tulle_status_t st = TULLE_OK;
    int64_t scalar_bytes = (int64_t)tulle_datatype_size(field->datatype);
    TLI_REQUIRE(scalar_bytes > 0, TULLE_ERR_ARG, "field %d: datatype %d is unknown", index, (int)field->datatype);
    TLI_REQUIRE(field->width >= 1 && field->width < TLI_MOST_BYTES / scalar_bytes, TULLE_ERR_ARG,
                "field %d: width is %lld, must be at least 1", index, (long long)field->width);
    if (field->owned_stride == 0)
        field->owned_stride = field->width;
    if (field->ghost_stride == 0)
        field->ghost_stride = field->width;
    TLI_REQUIRE(field->owned_stride >= field->width && field->ghost_stride >= field->width, TULLE_ERR_ARG,
                "field %d: strides %lld (owned) and %lld (ghost) must not be below the width %lld", index,
                (long long)field->owned_stride, (long long)field->ghost_stride, (long long)field->width);
    TLI_REQUIRE(direction == TULLE_GATHER || tli_has_reduction(field->datatype, op), TULLE_ERR_UNSUPPORTED,
                "field %d: %s does not know the reduction %s", index, tulle_datatype_name(field->datatype),
                tulle_op_name(op));
    TLI_TRY(check_buffer(field->owned, plan->num_owned, field->owned_stride, scalar_bytes, index, "owned"));
    TLI_TRY(check_buffer(field->ghost, tulle_plan_num_ghosts(plan), field->ghost_stride, scalar_bytes, index, "ghost"));
    TLI_TRY(check_overlap(plan, field, scalar_bytes, index));
done:
    return st;
}

/* Which of its properties ranks disagree about. */
static tulle_status_t compare_fields(const tulle_exchange_t *x, MPI_Comm comm)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(tli_agree_equal(comm, x->num_fields, "the number of fields"));
    TLI_TRY(tli_agree_equal(comm, (int)x->direction, "the direction (0 gather, 1 scatter)"));
    TLI_TRY(tli_agree_equal(comm, (int)x->op, "the reduction (TULLE_OP_MAP)"));
    TLI_TRY(tli_agree_equal(comm, (int)x->transport, "the transport (TULLE_TRANSPORT_MAP)"));
    TLI_TRY(tli_agree_equal(comm, (int)x->wire_precision, "the wire precision (TULLE_WIRE_PRECISION_MAP)"));
    TLI_TRY(tli_agree_equal(comm, x->wire_levels, "the wire levels"));
    TLI_TRY(tli_agree_equal(comm, x->chunk_rows, "the rows of a chunk (chunk_bytes, TULLE_CHUNK_BYTES)"));
    for (int f = 0; f < x->num_fields; f++) {
        char what[64];
        snprintf(what, sizeof what, "the width of field %d", f);
        TLI_TRY(tli_agree_equal(comm, x->fields[f].width, what));
        snprintf(what, sizeof what, "the datatype of field %d", f);
        TLI_TRY(tli_agree_equal(comm, (int)x->fields[f].datatype, what));
    }
done:
    return st;
}

static int64_t fingerprint(const tulle_exchange_t *x)
{
    int64_t kind[7] = {x->num_fields,          (int)x->op,   (int)x->direction, (int)x->transport, x->wire_levels,
                       (int)x->wire_precision, x->chunk_rows};
    XXH64_hash_t hash = XXH3_64bits(kind, sizeof kind);
    for (int f = 0; f < x->num_fields; f++) {
        int64_t field[2] = {x->fields[f].width, (int)x->fields[f].datatype};
        hash = XXH3_64bits_withSeed(field, sizeof field, hash);
    }
    return (int64_t)(hash >> 1);
}

/* One reduction, unless ranks disagree and want to know about what. */
tulle_status_t tli_exchange_agree(const tulle_exchange_t *x, MPI_Comm comm, tulle_status_t local, int64_t *num_tags)
{
    *num_tags = local == TULLE_OK && x->steps.num_tags > 0 ? x->steps.num_tags : 1;
    tulle_status_t st = tli_agree_on_most(comm, local, local == TULLE_OK ? fingerprint(x) : 0,
                                          "the exchange (fingerprints differ)", num_tags);
    if (st == TULLE_ERR_MISMATCH && local == TULLE_OK)
        st = compare_fields(x, comm);
    return st;
}
