/* SPDX-License-Identifier: Apache-2.0
 * Where the rows of an exchange are, and whether the GPUs move them. */
#include "collectives/device.h"
#include "src/agree.h"
#include "src/device/device.h"

static tulle_status_t add_space(const void *rows, int64_t num_rows, int *spaces)
{
    tulle_space_t space = TULLE_SPACE_HOST;
    tulle_status_t st = num_rows > 0 ? tli_device_space_of(rows, &space) : TULLE_OK;
    if (st == TULLE_OK && num_rows > 0)
        *spaces |= 1 << space;
    return st;
}

tulle_status_t tli_spaces_of(const tulle_plan_t *plan, const tulle_field_t *fields, int num_fields, int *spaces_out)
{
    tulle_status_t st = TULLE_OK;
    int spaces = 0;
    for (int f = 0; f < num_fields; f++) {
        TLI_TRY(add_space(fields[f].owned, plan->num_owned, &spaces));
        TLI_TRY(add_space(fields[f].ghost, tulle_plan_num_ghosts(plan), &spaces));
    }
    *spaces_out = spaces;
done:
    return st;
}

tulle_status_t tli_spaces_join(const tulle_comm_t *comm, int *spaces)
{
    tulle_status_t st = TULLE_OK;
    if (tli_device_is_built())
        TLI_MPI(MPI_Allreduce(MPI_IN_PLACE, spaces, 1, MPI_INT, MPI_BOR, comm->mpi));
done:
    return st;
}

/* Pinned rows alone are as good on the host, where no kernel has to be launched. */
int tli_is_device_exchange(int spaces)
{
    return (spaces & (1 << TULLE_SPACE_DEVICE | 1 << TULLE_SPACE_MANAGED)) != 0;
}

/* Rows on a device decide which one it is. */
static tulle_status_t check_rows(const void *rows, int64_t num_rows, int field, const char *name, int *device)
{
    tulle_status_t st = TULLE_OK;
    tulle_space_t space = TULLE_SPACE_PINNED;
    int found = -1;
    if (num_rows == 0)
        goto done;
    TLI_TRY(tli_device_space_of(rows, &space));
    TLI_REQUIRE(
        space != TULLE_SPACE_HOST, TULLE_ERR_ARG,
        "field %d: %s rows at %p are in plain host memory, but others of this exchange are on a GPU, which does "
        "not reach them: allocate them with tulle_alloc(TULLE_SPACE_PINNED, ...)",
        field, name, rows);
    if (space != TULLE_SPACE_DEVICE)
        goto done;
    TLI_TRY(tli_device_of(rows, &found));
    TLI_REQUIRE(*device < 0 || *device == found, TULLE_ERR_ARG,
                "field %d: %s rows are on device %d, others of this rank on device %d", field, name, found, *device);
    *device = found;
done:
    return st;
}

tulle_status_t tli_device_check_fields(const tulle_plan_t *plan, const tulle_field_t *fields, int num_fields,
                                       int *device_out)
{
    tulle_status_t st = TULLE_OK;
    int device = -1;
    for (int f = 0; f < num_fields; f++) {
        TLI_TRY(check_rows(fields[f].owned, plan->num_owned, f, "owned", &device));
        TLI_TRY(check_rows(fields[f].ghost, tulle_plan_num_ghosts(plan), f, "ghost", &device));
    }
    if (device < 0)
        TLI_TRY(tli_device_current(&device));
    *device_out = device;
done:
    return st;
}
