/* SPDX-License-Identifier: Apache-2.0
 * Names and sizes of datatypes and reductions. */
#include <string.h>

#include "src/fault.h"

#include <tulle/types.h>

size_t tulle_datatype_size(tulle_datatype_t datatype)
{
    switch (datatype) {
#define SIZE_CASE(name, value, size, text)                                                                             \
    case TULLE_##name:                                                                                                 \
        return size;
        TULLE_DATATYPE_MAP(SIZE_CASE)
#undef SIZE_CASE
    }
    return 0;
}

const char *tulle_datatype_name(tulle_datatype_t datatype)
{
    switch (datatype) {
#define NAME_CASE(name, value, size, text)                                                                             \
    case TULLE_##name:                                                                                                 \
        return text;
        TULLE_DATATYPE_MAP(NAME_CASE)
#undef NAME_CASE
    }
    return "unknown";
}

tulle_status_t tulle_datatype_parse(const char *name, tulle_datatype_t *datatype_out)
{
    static const struct {
        const char *text;
        tulle_datatype_t datatype;
    } known[] = {
#define KNOWN_ENTRY(name, value, size, text) {text, TULLE_##name},
        TULLE_DATATYPE_MAP(KNOWN_ENTRY)
#undef KNOWN_ENTRY
    };
    tulle_status_t st = TULLE_OK;
    size_t i = 0;
    TLI_REQUIRE(name != NULL && datatype_out != NULL, TULLE_ERR_ARG, "a pointer is NULL");
    while (i < sizeof known / sizeof known[0] && strcmp(known[i].text, name) != 0)
        i++;
    TLI_REQUIRE(i < sizeof known / sizeof known[0], TULLE_ERR_ARG,
                "datatype \"%s\" is none of f64 f32 f16 bf16 i8 i32 i64 u8 c64 c128 byte", name);
    *datatype_out = known[i].datatype;
done:
    return st;
}

const char *tulle_op_name(tulle_op_t op)
{
    switch (op) {
#define OP_CASE(name, value, text)                                                                                     \
    case TULLE_OP_##name:                                                                                              \
        return text;
        TULLE_OP_MAP(OP_CASE)
#undef OP_CASE
    }
    return "unknown";
}
