// SPDX-License-Identifier: Apache-2.0
// Several servers of one store know of each other by Leases kube-system/bulkhead-server-HASH, whose holder is where pods reach
// the server, "ADDR:PORT".
#ifndef BH_SERVER_CONTROLLERS_SERVER_LEASE_H
#define BH_SERVER_CONTROLLERS_SERVER_LEASE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/server.h"

struct obj;

bool server_lease_is(const struct obj *o);     // by its name

/* Where servers are now: a sorted array of "ADDR:PORT", this server's own among them, new reference. *next (real time): when
 * the first Lease runs out, if that is sooner. */
json_t *server_lease_endpoints(struct server *srv, uint64_t now, uint64_t *next);

#endif
