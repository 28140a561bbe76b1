/* SPDX-License-Identifier: Apache-2.0
 * Tulle: sparse communication between the ranks of a hierarchical machine. Include this and tulle/mpi.h. */
#ifndef TULLE_TULLE_H
#define TULLE_TULLE_H

/** Version of the headers: changes that break programs. */
#define TULLE_VERSION_MAJOR 0
/** Version of the headers: additions; before 1.0 also changes that break programs. */
#define TULLE_VERSION_MINOR 1
/** Version of the headers: corrections. */
#define TULLE_VERSION_PATCH 0

#include <tulle/comm.h>
#include <tulle/exchange.h>
#include <tulle/layer.h>
#include <tulle/memory.h>
#include <tulle/pattern.h>
#include <tulle/plan.h>
#include <tulle/spmm.h>
#include <tulle/status.h>
#include <tulle/topology.h>
#include <tulle/types.h>

TULLE_BEGIN_DECLS

/** Version of the library at run time, such as "0.1.0". @return never NULL; static storage @collective no @threads any
 * @cost O(1) */
TULLE_API const char *tulle_version(void);

TULLE_END_DECLS

#endif
