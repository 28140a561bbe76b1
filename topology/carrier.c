/* SPDX-License-Identifier: Apache-2.0
 * What carries messages over a level where ranks share no memory, and what was measured of it: data beside the links.
 * Plans do not depend on it. */
#include "topology/carrier.h"

#include <stdlib.h>
#include <string.h>

#include "src/fault.h"

/* Key of a topology file, and where its value goes. */
typedef struct figure {
    const char *key;
    size_t offset;
} figure_t;

static const figure_t figures[] = {
    {"mpi_small_ns", offsetof(tulle_carrier_t, mpi_small_ns)},
    {"mpi_large_ns", offsetof(tulle_carrier_t, mpi_large_ns)},
    {"ucx_small_ns", offsetof(tulle_carrier_t, ucx_small_ns)},
    {"ucx_large_ns", offsetof(tulle_carrier_t, ucx_large_ns)},
};
#define NUM_FIGURES ((int)(sizeof figures / sizeof figures[0]))

static double *value_of(const figure_t *figure, tulle_carrier_t *carrier)
{
    return (double *)(void *)((unsigned char *)carrier + figure->offset);
}

static tulle_status_t check_level(const tulle_topology_t *topology, int level, const void *argument)
{
    tulle_status_t st = TULLE_OK;
    TLI_REQUIRE(topology != NULL && argument != NULL, TULLE_ERR_ARG, "the topology or the carrier pointer is NULL");
    TLI_REQUIRE(level >= 0 && level < topology->num_levels, TULLE_ERR_ARG,
                "level is %d; topology \"%.64s\" has levels 0 to %d", level, topology->text, topology->num_levels - 1);
done:
    return st;
}

tulle_status_t tulle_topology_get_carrier(const tulle_topology_t *topology, int level, tulle_carrier_t *carrier_out)
{
    tulle_status_t st = TULLE_OK;
    TLI_TRY(check_level(topology, level, carrier_out));
    *carrier_out = topology->levels[level].carrier;
done:
    return st;
}

tulle_status_t tulle_topology_set_carrier(tulle_topology_t *topology, int level, const tulle_carrier_t *carrier)
{
    tulle_status_t st = TULLE_OK;
    tulle_carrier_t copy;
    TLI_TRY(check_level(topology, level, carrier));
    TLI_REQUIRE(carrier->transport == TULLE_TRANSPORT_AUTO || carrier->transport == TULLE_TRANSPORT_MPI ||
                    carrier->transport == TULLE_TRANSPORT_UCX,
                TULLE_ERR_ARG, "the carrier of level %d is %s, must be auto, mpi or ucx", level,
                tulle_transport_name(carrier->transport));
    copy = *carrier;
    for (int i = 0; i < NUM_FIGURES; i++)
        TLI_REQUIRE(*value_of(&figures[i], &copy) >= 0 && *value_of(&figures[i], &copy) < 1e18, TULLE_ERR_ARG,
                    "%s of level %d is %g, must be finite and at least 0", figures[i].key, level,
                    *value_of(&figures[i], &copy));
    topology->levels[level].carrier = copy;
done:
    return st;
}

int tli_carrier_read(const char *key, const char *value, char **end_out, tulle_carrier_t *carrier)
{
    for (int i = 0; i < NUM_FIGURES; i++) {
        if (strcmp(key, figures[i].key) == 0) {
            *value_of(&figures[i], carrier) = strtod(value, end_out);
            return 1;
        }
    }
    if (strcmp(key, "carrier") != 0)
        return 0;
    *end_out = (char *)value;
    if (tulle_transport_parse(value, &carrier->transport) == TULLE_OK)
        *end_out += strlen(value);
    return 1;
}

void tli_carrier_write(const tulle_carrier_t *carrier, FILE *file)
{
    tulle_carrier_t copy = *carrier;
    if (carrier->transport == TULLE_TRANSPORT_AUTO)
        return;
    fprintf(file, " carrier=%s", tulle_transport_name(carrier->transport));
    for (int i = 0; i < NUM_FIGURES; i++)
        if (*value_of(&figures[i], &copy) > 0)
            fprintf(file, " %s=%.17g", figures[i].key, *value_of(&figures[i], &copy));
}
