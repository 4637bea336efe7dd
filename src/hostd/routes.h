// SPDX-License-Identifier: Apache-2.0
// The way to the pods of other hosts: follows the API's Nodes; each one's pod range is reached through its address, and pods
// of all ranges see each other's own addresses.
#ifndef BH_HOSTD_ROUTES_H
#define BH_HOSTD_ROUTES_H

#include "base/err.h"
#include "host.h"

struct routes;

int routes_start(const struct host *h, const char *pod_cidr, struct routes **r, struct err *e);
void routes_stop(struct routes *r);                       // routes stay: pods go on
int routes_remove(const char *root, struct err *e);       // all that a host of this root has made

#endif
